//! What the generator sends: a stream of bytes for each connection, the same for the same seed.
//!
//! All streams are one long pseudo-random block, read round and round from a place of their own. A
//! server that changes, loses, repeats, reorders or swaps bytes, within a connection or between
//! two, gives bytes that differ from what the stream has at that position. What cannot be seen is a
//! chance hit (1 in 256 for messages of one byte), and an exchange of bytes that are equal.

use std::ops::Range;

/// How long the block is: a prime, so that messages of no size come back to the same place soon; and
/// the next smaller one, for sizes of which the first is a divisor.
const PERIODS: [u32; 2] = [65_521, 65_519];

/// The longest piece that can be had at once.
pub const PIECE: usize = 65_536;

/// The block, with its beginning once more at the end, so that every piece is contiguous.
#[derive(Debug)]
pub struct Block {
    bytes: Box<[u8]>,
    period: u32,
}

/// One connection's place in the block.
#[derive(Debug, Clone, Copy)]
pub struct Start(u32);

impl Block {
    /// The block of that seed for messages of that size, and where `connections` streams start in it:
    /// each at a place of its own, as long as there are places.
    #[must_use]
    pub fn new(seed: u64, size: u32, connections: usize) -> (Block, Vec<Start>) {
        let mut random = fastrand::Rng::with_seed(seed);
        let period = if size.is_multiple_of(PERIODS[0]) { PERIODS[1] } else { PERIODS[0] };
        let mut bytes = vec![0; period as usize + PIECE];
        let (head, tail) = bytes.split_at_mut(period as usize);
        random.fill(head);
        for (i, byte) in tail.iter_mut().enumerate() {
            *byte = head[i % head.len()];
        }
        let mut places: Vec<_> = (0..period).map(Start).collect();
        random.shuffle(&mut places);
        let starts = places.into_iter().cycle().take(connections).collect();
        (Block { bytes: bytes.into(), period }, starts)
    }

    /// The bytes of a stream from `position` on, `length` or [`PIECE`], whichever is less.
    #[inline]
    #[must_use]
    pub fn piece(&self, start: Start, position: u64, length: u64) -> &[u8] {
        let at = ((u64::from(start.0) + position) % u64::from(self.period)) as usize;
        &self.bytes[at..at + length.min(PIECE as u64) as usize]
    }

    /// Which of `bytes`, at most [`PIECE`], are not what the stream has at `position`: the first that
    /// is wrong, and how many are.
    #[inline]
    #[must_use]
    pub fn differs(&self, start: Start, position: u64, bytes: &[u8]) -> Option<Wrong> {
        let expected = self.piece(start, position, bytes.len() as u64);
        if bytes == expected {
            return None;
        }
        let wrong = |&i: &usize| bytes[i] != expected[i];
        let all: Range<usize> = 0..bytes.len();
        let first = all.clone().find(wrong)?;
        Some(Wrong {
            position: position + first as u64,
            expected: expected[first],
            got: bytes[first],
            bytes: all.filter(wrong).count() as u64,
        })
    }
}

/// A byte that is not the one that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// Where in the stream.
    pub position: u64,
    /// What was sent.
    pub expected: u8,
    /// What came back.
    pub got: u8,
    /// How many were wrong in what was received at once.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_streams_and_another_gives_others() {
        let (one, starts) = Block::new(7, 64, 3);
        let (two, same) = Block::new(7, 64, 3);
        let (other, elsewhere) = Block::new(8, 64, 3);
        for i in 0..3 {
            let piece = one.piece(starts[i], 1 << 40, 64);
            assert_eq!(piece.len(), 64);
            assert_eq!(piece, two.piece(same[i], 1 << 40, 64));
            assert_ne!(piece, other.piece(elsewhere[i], 1 << 40, 64));
            assert_ne!(piece, one.piece(starts[(i + 1) % 3], 1 << 40, 64));
        }
    }

    #[test]
    fn no_two_streams_start_at_the_same_place_and_no_size_repeats_itself() {
        for size in PERIODS {
            let (block, starts) = Block::new(1, size, 20_000);
            let places: std::collections::HashSet<_> = starts.iter().map(|start| start.0).collect();
            assert_eq!(places.len(), 20_000);
            let size = u64::from(size);
            assert_ne!(block.piece(starts[0], 0, size), block.piece(starts[0], size, size));
        }
    }

    #[test]
    fn pieces_join_seamlessly_around_the_block() {
        let (block, starts) = Block::new(1, 64, 1);
        let whole = block.piece(starts[0], 0, u64::MAX);
        assert_eq!(whole.len(), PIECE);
        for (position, &byte) in whole.iter().enumerate() {
            assert_eq!(block.piece(starts[0], position as u64, 1), [byte]);
        }
    }

    #[test]
    fn a_wrong_byte_is_found_named_and_counted() {
        let (block, starts) = Block::new(1, 64, 1);
        let mut bytes = block.piece(starts[0], 1000, 100).to_vec();
        assert_eq!(block.differs(starts[0], 1000, &bytes), None);
        bytes[42] ^= 1;
        bytes[99] ^= 1;
        let wrong = block.differs(starts[0], 1000, &bytes).unwrap();
        assert_eq!((wrong.position, wrong.got, wrong.bytes), (1042, wrong.expected ^ 1, 2));
        bytes.swap(10, 11);
        assert!(block.differs(starts[0], 1000, &bytes).is_some_and(|w| w.position == 1010));
    }
}
