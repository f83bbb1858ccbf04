//! Maps an errno to what the user can do about it. This is the only place that does.
//!
//! Limits, settings and sandboxes are the administrator's. An error that comes from them says so, and is never reported
//! as a fault of a server or a difference of a kernel.

use crate::sys::limits::{Nofile, Resource, soft};
use crate::sys::{Call, Errno};
use std::net::SocketAddr;

/// What to do about `errno`, which `call` gave, if that is known (`None` for a call of the standard library).
#[must_use]
pub fn of(call: Option<Call>, errno: Errno) -> Option<String> {
    use Call::{Accept4, Bind, Clone, Clone3, Connect, EpollCtl, IoUringRegister, IoUringSetup, MemfdCreate};
    let limit =
        |resource| soft(resource).map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"));
    Some(match (call, errno) {
        (_, Errno::EMFILE) => {
            Nofile::current().map_or_else(|_| "raise `ulimit -n`".to_owned(), |limit| limit.to_string())
        }
        (_, Errno::ENFILE) => {
            "all programs together have the most descriptors that this system allows: end some, or raise \
                               `sysctl fs.file-max`"
                .to_owned()
        }
        (Some(IoUringSetup | IoUringRegister), Errno::ENOMEM) => format!(
            "the limit on locked memory is {}: raise `ulimit -l`; `load --engine epoll` and the other \
             models do without it",
            limit(Resource::RLIMIT_MEMLOCK)
        ),
        (_, Errno::ENOMEM) => {
            "memory is used up, or `ulimit -v` or the control group allows no more of it".to_owned()
        }
        (Some(Connect), Errno::EADDRNOTAVAIL) => {
            "all local ports towards it are in use: give more --sources, or widen \
                                                  `sysctl net.ipv4.ip_local_port_range`"
                .to_owned()
        }
        (Some(Bind), Errno::EADDRNOTAVAIL) => {
            "it is not an address of this machine: `ip address` lists those".to_owned()
        }
        (Some(Connect) | None, Errno::ENETUNREACH) => {
            "no route leads there; in a new network namespace, 127.0.0.1 needs `ip link set lo up`".to_owned()
        }
        (_, Errno::EAFNOSUPPORT) => "IPv6 is off on this machine: use an IPv4 address".to_owned(),
        (Some(Clone | Clone3) | None, Errno::EAGAIN) => {
            "no more threads or processes are allowed: raise `ulimit -u` or pids.max of \
                                                the control group, or ask for fewer"
                .to_owned()
        }
        (Some(EpollCtl), Errno::ENOSPC) => "epoll watches as much as this user may: raise `sysctl \
                                            fs.epoll.max_user_watches`"
            .to_owned(),
        (_, Errno::ENOSPC) => "is the disk full? `df` shows how full each is".to_owned(),
        (_, Errno::EDQUOT) => "the quota of this user on this disk is used up: `quota` shows it".to_owned(),
        (_, Errno::EFBIG) => {
            format!("the limit on the size of a file is {}: raise `ulimit -f`", limit(Resource::RLIMIT_FSIZE))
        }
        (_, Errno::EROFS) => "the file system is mounted read-only: write somewhere else".to_owned(),
        (Some(IoUringSetup), Errno::EPERM) => {
            "io_uring is forbidden here (`sysctl kernel.io_uring_disabled`, or a sandbox such as that of \
             containers): `load --engine epoll` and the other models do without it"
                .to_owned()
        }
        (Some(Accept4 | MemfdCreate), Errno::EACCES) | (_, Errno::EPERM) => {
            "a sandbox (seccomp, a container, a security module) may forbid this call".to_owned()
        }
        (Some(_), Errno::ENOSYS) => "this kernel does not have the call, or a sandbox hides it".to_owned(),
        _ => return None,
    })
}

/// What to do about `errno` for a server that was to listen on `addr`, if that is known.
#[must_use]
pub fn to_listen_on(addr: SocketAddr, errno: Errno) -> Option<String> {
    let (ip, port) = (addr.ip(), addr.port());
    Some(match errno {
        Errno::EADDRINUSE => format!(
            "port {port} is in use: choose another, or 0 for a free one (`ss -ltnp` shows who has it)"
        ),
        Errno::EACCES => format!(
            "port {port} is privileged: choose one from 1024 up, or 0 for a free one, or give the program \
             CAP_NET_BIND_SERVICE"
        ),
        Errno::EADDRNOTAVAIL => format!("{ip} is not an address of this machine: `ip address` lists those"),
        _ => return of(Some(Call::Bind), errno),
    })
}
