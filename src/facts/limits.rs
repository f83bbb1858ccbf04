//! What happens when a process has no descriptor left.

use super::check::{Held, is};
use super::support::*;
use super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, no};

pub(super) const FACTS: &[&[Fact]] = &[&[Fact {
    id: "fd-accept-emfile-keeps-connection",
    area: Area::Limits,
    claim: "accept that fails with EMFILE leaves the connection in the queue: the listener stays readable, and \
            accept succeeds once a descriptor is free.",
    reference: "accept(2) ERRORS; __sys_accept4_file in net/socket.c reserves the descriptor first",
    since: Since::ALWAYS,
    matters: "A level-triggered loop that only logs the error spins at 100 % CPU until somebody else leaves.",
    experiment: "A client connects, the limit on descriptors is lowered to the next free number, accept is called, \
                 the listener polled, the limit raised, and accept called again.",
    wrong: &[
        "libuv: https://github.com/joyent/libuv/issues/690",
        "Node.js: https://github.com/nodejs/node/issues/45242",
    ],
    alone: false,
    run: accept_emfile_keeps_connection,
}]];

fn accept_emfile_keeps_connection(k: K) -> Held {
    let (listener, address) = listener(k, 1)?;
    connected(k, &address)?;
    is("the listener, with a connection in its queue", mask_with(k, listener, IN)?, IN)?;
    let next = k.dup(0)?;
    k.close(next)?;
    raw::limit_descriptors(next as u64)?;
    is("accept at the limit", k.accept(listener), no(Errno::EMFILE))?;
    is("the listener after accept failed", mask(k, listener)?, IN)?;
    raw::limit_descriptors(next as u64 + 1)?;
    is("accept with a descriptor free", k.accept(listener), Ok(next))
}
