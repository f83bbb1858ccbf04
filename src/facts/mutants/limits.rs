//! Kernels that break a fact of `facts/limits.rs`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::limits::Nofile;
use crate::sys::raw::{self, Refusal, Reply};

pub(super) const MUTANTS: &[Mutant] = &[Mutant {
    name: "emfile-drops-connection",
    breaks: "fd-accept-emfile-keeps-connection",
    behaviour: "accept that fails with EMFILE takes the connection out of the queue and closes it.",
    also: &[],
    kernel: &EmfileDropsConnection,
}];

struct EmfileDropsConnection;

impl Kernel for EmfileDropsConnection {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd);
        if !matches!(accepted, Err(Refusal { errno: Errno::EMFILE, .. })) {
            return accepted;
        }
        // Room for one more, for as long as it takes to lose the connection.
        let soft = Nofile::current().map_or(0, |nofile| nofile.soft);
        raw::limit_descriptors(soft + 1)?;
        raw::close(raw::accept(fd)?)?;
        raw::limit_descriptors(soft)?;
        accepted
    }
}
