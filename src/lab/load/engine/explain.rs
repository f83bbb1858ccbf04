//! Finds out where unexpected bytes come from. This runs once for each lost connection.

use super::Engine;
use crate::lab::load::connection::{Connection, Mismatch, State};
use crate::lab::load::plan::{Expect, OK};
use crate::lab::load::trouble::{Source, Trouble};
use crate::lab::load::wire::Wire;

/// How many characters of a server's own words are quoted.
const QUOTED: usize = 40;

/// Fewer printable characters than this may be chance.
const FEWEST_WORDS: usize = 4;

#[expect(private_bounds, reason = "the two wires are all there are")]
impl<W: Wire> Engine<W> {
    /// What the bytes are that came last, on the connection of that slot.
    #[cold]
    pub(super) fn explain(&self, slot: usize, mismatch: Mismatch) -> Trouble {
        let bytes = self.wire.bytes();
        let connection = &self.connections[slot];
        match mismatch {
            Mismatch::TooMuch(known) => {
                let extra = &bytes[known..];
                let source = match self.origin(slot, connection.received(), extra) {
                    _ if extra.iter().all(|&byte| byte == 0) => Source::Zeros,
                    Source::Unknown => words(extra).map_or(Source::Unknown, Source::Words),
                    source => source,
                };
                Trouble::TooMuch { bytes: extra.len(), source }
            }
            Mismatch::Wrong(wrong) => {
                let at = (wrong.position - connection.received()) as usize;
                let own_words = || {
                    let begins = connection.is_between_answers();
                    let most = wrong.bytes * 2 > bytes.len() as u64 || bytes.starts_with(b"ok");
                    words(bytes).filter(|_| begins && most)
                };
                let source = match self.origin(slot, wrong.position, &bytes[at..]) {
                    _ if connection.is_between_answers() && matches!(bytes, b"ok" | b"ok\0") => Source::Ok,
                    Source::Unknown if bytes[at..].len() > 1 && bytes[at..].iter().all(|&byte| byte == 0) => {
                        Source::Zeros
                    }
                    Source::Unknown => own_words().map_or(Source::Unknown, Source::Words),
                    source => source,
                };
                Trouble::Wrong { wrong, source }
            }
        }
    }

    /// Whether and where `bytes`, which came instead of those at `position`, were sent: in the same stream or in that of
    /// another connection, whichever has them nearer to the bytes that are under way.
    fn origin(&self, slot: usize, position: u64, bytes: &[u8]) -> Source {
        let found = self.block.find(bytes).filter(|_| self.plan.expect == Expect::Echo);
        let Some(place) = found else { return Source::Unknown };
        let own = self.connections[slot].distance(&self.block, position, place);
        let under_way = (u64::from(self.plan.sizes.largest()) * self.plan.depth as u64) as i64;
        if let Some(by) = own.filter(|by| (-under_way..0).contains(by) || *by > 0) {
            return Source::Displaced(by);
        }
        let distance = |(other, connection): (usize, &Connection)| {
            let by = connection.distance(&self.block, connection.received(), place)?;
            (other != slot && connection.state != State::Closed).then_some((by.unsigned_abs(), other))
        };
        let other = self.connections.iter().enumerate().filter_map(distance).min();
        let nearest = own.map_or(u64::MAX, i64::unsigned_abs).min(other.map_or(u64::MAX, |(by, _)| by));
        // Each stream covers a part of the block. What is so far from all of them may be in any of them.
        let is_chance = nearest.saturating_mul(self.connections.len() as u64) >= self.block.period();
        match (own, other) {
            _ if is_chance => Source::Foreign(None),
            (Some(by), _) if by.unsigned_abs() == nearest => Source::Displaced(by),
            (_, other) => Source::Foreign(other.map(|(_, other)| self.first + other)),
        }
    }
}

/// The first line of `bytes`, if it is text.
fn words(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|&byte| matches!(byte, b'\r' | b'\n' | 0)).next()?;
    let line = &line[..line.len().min(QUOTED)];
    let is_text =
        (line.len() >= FEWEST_WORDS || line == OK) && line.iter().all(|&byte| (b' '..=b'~').contains(&byte));
    is_text.then(|| String::from_utf8_lossy(line).into_owned())
}
