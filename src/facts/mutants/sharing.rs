//! Kernels that break a fact of `facts/sharing.rs`.

use super::super::kernel::{Kernel, Linux};
use super::super::support::{own_network, set_sysctl};
use super::Mutant;
use crate::sys::raw::{self, Address, Reply};
use libc::{SO_REUSEPORT, SOL_SOCKET};
use std::sync::Once;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "reuseport-migrates",
        breaks: "mp-reuseport-close-drops-queue",
        behaviour: "The queue of a listener that is closed goes to the others of its group: Linux itself with tcp_migrate_req.",
        also: &[],
        kernel: &ReuseportMigrates,
    },
    Mutant {
        name: "reuseport-for-everybody",
        breaks: "mp-reuseport-all-or-nothing",
        behaviour: "Every socket has SO_REUSEPORT, so that anybody may join.",
        also: &[],
        kernel: &ReuseportForEverybody,
    },
    Mutant {
        name: "steering-off-by-one",
        breaks: "mp-reuseport-cbpf-steers",
        behaviour: "The listeners of a group are counted from its end.",
        also: &[],
        kernel: &SteeringOffByOne,
    },
];

static NETWORK: Once = Once::new();

struct ReuseportMigrates;

impl Kernel for ReuseportMigrates {
    fn socket(&self, domain: i32, kind: i32, protocol: i32) -> Reply<i32> {
        // A namespace with the setting, before there is a socket. Where there may be none, nothing is wrong either.
        NETWORK.call_once(|| {
            drop(own_network(&Linux).and_then(|()| set_sysctl("net.ipv4.tcp_migrate_req", "1")))
        });
        raw::socket(domain, kind, protocol)
    }
}

struct ReuseportForEverybody;

impl Kernel for ReuseportForEverybody {
    fn bind(&self, fd: i32, address: &Address) -> Reply<()> {
        raw::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &1i32.to_ne_bytes())?;
        raw::bind(fd, address)
    }
}

struct SteeringOffByOne;

impl Kernel for SteeringOffByOne {
    fn steer_reuseport(&self, fd: i32, k: u32) -> Reply<()> {
        raw::steer_reuseport(fd, k ^ 1)
    }
}
