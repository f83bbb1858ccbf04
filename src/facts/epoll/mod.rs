//! epoll itself: the interest list, what a wait gives, and what other threads, processes and signals do to it.
//!
//! An entry of the list is an open file and the number under which it was added. Most surprises come from that:
//! the number may be closed, or belong to another file by now, and the entry stays until the file itself is gone.

mod arguments;
mod copying;
mod masks;
mod identity;
mod order;
mod threads;
mod interrupted;
mod timeouts;
mod observing;

pub(super) use identity::help_after_exec;

use super::kernel::Linux;
use crate::facts::support::*;
use libc::epoll_event;

pub(super) const FACTS: &[&[Fact]] = &[
    arguments::FACTS,
    copying::FACTS,
    masks::FACTS,
    identity::FACTS,
    order::FACTS,
    threads::FACTS,
    interrupted::FACTS,
    timeouts::FACTS,
    observing::FACTS,
];

/// A number at which nothing is open.
fn closed_number(k: K) -> Reply<i32> {
    let fd = k.eventfd(0, libc::EFD_CLOEXEC)?;
    k.close(fd)?;
    Ok(fd)
}

/// How long a wait is given to show that it does not end: on a system where a wake-up takes its time it would by then.
const AWHILE: Duration = Duration::from_millis(60);

/// Have a capability no more, by being somebody else, or skip what needs that.
fn give_up(capability: u32) -> Held {
    let has = || -> Held<bool> {
        let effective = line_of("/proc/self/status", "CapEff:")?;
        Ok(u64::from_str_radix(&effective, 16).is_ok_and(|set| set >> capability & 1 == 1))
    };
    if has()? {
        be_user(65534)?;
        raw::stay_dumpable();
    }
    needs(Why::Denied, "a capability can be given up here", !has()?, "still there")
}
