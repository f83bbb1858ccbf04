//! The client processes: started once, and told for each server to begin.

use super::CLIENTS;
use super::client::{Done, Order};
use crate::lab::child::{self, Failed, Follower, Process};
use crate::stop::Stop;
use anyhow::anyhow;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

/// A load that takes longer than this for each connection of a client has failed.
const LONGEST: Duration = Duration::from_secs(1);

/// What the first connection may take, and a client that waits for its own time limit.
const EXTRA: Duration = Duration::from_secs(30);

/// What a load took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    /// From the first connect(2) to the last close(2).
    pub(super) wall: Duration,
    /// CPU time of all clients.
    pub(super) cpu: Duration,
}

/// All clients.
#[derive(Debug)]
pub(super) struct Crew(Vec<Follower>);

impl Crew {
    /// Start them.
    pub(super) fn start(program: &Path) -> anyhow::Result<Crew> {
        let client = |_| {
            let mut client = child::follower(program, "unp30");
            client.arg("--follow-orders");
            Follower::of(Process::start(&mut client)?)
        };
        (0..CLIENTS).map(client).collect::<anyhow::Result<_>>().map(Crew)
    }

    /// Give the order of this number to all of them, each with an address of its own, and wait for the last one.
    pub(super) fn carry_out(&mut self, number: u32, order: Order, stop: &Stop) -> Result<Took, Failed> {
        for (i, client) in (0..).zip(&mut self.0) {
            let source = own_address(number * CLIENTS as u32 + i);
            client.order(&Order { source, ..order })?;
        }
        let limit = EXTRA + LONGEST * u32::try_from(order.connections).unwrap_or(u32::MAX / 2);
        let (mut began, mut ended, mut cpu) = (Duration::MAX, Duration::ZERO, Duration::ZERO);
        let mut trouble = None;
        for (i, client) in self.0.iter_mut().enumerate() {
            let done: Done = match client.answer(limit, Some(stop), "a client to finish") {
                Err(Failed::Error(error)) => return Err(client.last_words(error).into()),
                done => done?,
            };
            (began, ended, cpu) = (began.min(done.began), ended.max(done.ended), cpu + done.cpu);
            trouble = trouble.or(done.trouble.map(|why| anyhow!("client {i}: {why}")));
        }
        let took = Took { wall: ended.saturating_sub(began), cpu };
        trouble.map_or(Ok(took), |why: anyhow::Error| Err(why.into()))
    }
}

/// Addresses of the loopback device from 127.0.1.0, again and again.
fn own_address(number: u32) -> IpAddr {
    const FIRST: u32 = 256;
    const LAST: u32 = (1 << 24) - 2;
    let host = FIRST + number % (LAST - FIRST + 1);
    IpAddr::V4(Ipv4Addr::from_bits(127 << 24 | host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_different_ones_of_the_loopback_device() {
        let address = |number| own_address(number).to_string();
        assert_eq!([0, 1, 300].map(address), ["127.0.1.0", "127.0.1.1", "127.0.2.44"]);
        let last = (1 << 24) - 258;
        assert_eq!([last, last + 1].map(address), ["127.255.255.254", "127.0.1.0"]);
        assert!(own_address(u32::MAX).is_loopback());
    }
}
