//! What poll says of descriptors of all kinds, and what it does with the array that it is given.

mod arguments;
mod timeouts;
mod files;
mod pipes;
mod fresh;
mod tcp_masks;
mod unix;
mod datagrams;
mod special;
mod watermarks;

use super::check::{Held, Show, available, differs, holds, is, skip};
use super::support::*;
use super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, Address, At, no};
use libc::pollfd;
use std::time::{Duration, Instant};

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
