//! What poll says of every kind of descriptor: the exact mask, and what changes it.
//!
//! Unless a fact says otherwise, poll is asked for IN, PRI, OUT and RDHUP, and the claim is all that it
//! writes, without the other names of the same bits (RDNORM, WRNORM, RDBAND, WRBAND).

mod tcp_masks;
mod unix;
mod datagrams;
mod special;
mod watermarks;

use super::check::{Held, available, differs, holds, is, skip};
use super::support::*;
use super::{Area, Fact, Since};

pub(super) const FACTS: &[&[Fact]] =
    &[tcp_masks::FACTS, unix::FACTS, datagrams::FACTS, special::FACTS, watermarks::FACTS];
