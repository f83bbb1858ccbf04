//! poll and ppoll: the array, the time limit, and the exact mask of each kind of descriptor in each of its states.
//!
//! Unless a fact says otherwise, poll is asked for IN, PRI, OUT and RDHUP, and the claim is all that it writes, without
//! the other names of the same bits (RDNORM, WRNORM, RDBAND, WRBAND).

mod arguments;
mod datagrams;
mod files;
mod fresh;
mod pipes;
mod special;
mod tcp_masks;
mod timeouts;
mod unix;
mod watermarks;

use crate::facts::support::*;
use libc::pollfd;

pub(super) const FACTS: &[&[Fact]] = &[
    arguments::FACTS,
    timeouts::FACTS,
    files::FACTS,
    pipes::FACTS,
    fresh::FACTS,
    tcp_masks::FACTS,
    unix::FACTS,
    datagrams::FACTS,
    special::FACTS,
    watermarks::FACTS,
];
