//! What the generator sends: a stream of bytes for each connection, the same for the same seed.
//!
//! All streams are one long pseudo-random block, read round and round from a place of their own. A
//! server that changes, loses, repeats, reorders or swaps bytes, within a connection or between
//! two, gives bytes that differ from what the stream has at that position. What cannot be seen is a
//! chance hit (1 in 256 for messages of one byte), and an exchange of bytes that are equal.

use super::plan::Sizes;
use std::ops::Range;
use std::sync::Arc;

/// How long the block is: a prime, so that messages of no size come back to the same place soon; and
/// the next smaller one, for sizes of which the first is a divisor.
const PERIODS: [u32; 2] = [65_521, 65_519];

/// The longest piece that can be had at once.
pub const PIECE: usize = 65_536;

/// The block, with its beginning once more at the end, so that every piece is contiguous.
#[derive(Debug, Clone)]
pub struct Block {
    bytes: Arc<[u8]>,
    period: u32,
}

/// One connection's place in the block.
#[derive(Debug, Clone, Copy)]
pub struct Start(u32);

impl Block {
    /// The block of that seed for messages of these sizes, and where `connections` streams start in it:
    /// each at a place of its own, as long as there are places.
    #[must_use]
    pub fn new(seed: u64, sizes: &Sizes, connections: usize) -> (Block, Vec<Start>) {
        let mut random = fastrand::Rng::with_seed(seed);
        let divides = |size: u32| size.is_multiple_of(PERIODS[0]);
        let period = if sizes.fixed().is_some_and(divides) { PERIODS[1] } else { PERIODS[0] };
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

    /// The whole of it, of which streams are made.
    #[must_use]
    pub fn bytes(&self) -> Arc<[u8]> {
        self.bytes.clone()
    }

    /// Where in it a stream goes on from `position`, for `length` bytes or [`PIECE`], whichever is less.
    #[inline]
    #[must_use]
    pub fn range(&self, start: Start, position: u64, length: u64) -> Range<usize> {
        let at = ((u64::from(start.0) + position) % u64::from(self.period)) as usize;
        at..at + length.min(PIECE as u64) as usize
    }

    /// The bytes of a stream from `position` on, `length` or [`PIECE`], whichever is less.
    #[inline]
    #[must_use]
    pub fn piece(&self, start: Start, position: u64, length: u64) -> &[u8] {
        &self.bytes[self.range(start, position, length)]
    }

    /// How far from `position` the stream has `bytes`: so many bytes earlier, if they were sent twice, and later, if
    /// some before them were lost. `None` when they are nowhere near, or too few to tell.
    #[must_use]
    pub fn displaced(&self, start: Start, position: u64, bytes: &[u8]) -> Option<i64> {
        let sample = &bytes[..bytes.len().min(16)];
        if sample.len() < 8 {
            return None;
        }
        let found = |&by: &i64| {
            let at = position.checked_add_signed(by);
            at.is_some_and(|at| self.piece(start, at, sample.len() as u64) == sample)
        };
        (1..i64::from(self.period) / 2).flat_map(|by| [-by, by]).find(found)
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
        let (one, starts) = Block::new(7, &Sizes::Fixed(64), 3);
        let (two, same) = Block::new(7, &Sizes::Fixed(64), 3);
        let (other, elsewhere) = Block::new(8, &Sizes::Fixed(64), 3);
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
            let (block, starts) = Block::new(1, &Sizes::Fixed(size), 20_000);
            let places: std::collections::HashSet<_> = starts.iter().map(|start| start.0).collect();
            assert_eq!(places.len(), 20_000);
            let size = u64::from(size);
            assert_ne!(block.piece(starts[0], 0, size), block.piece(starts[0], size, size));
        }
    }

    #[test]
    fn pieces_join_seamlessly_around_the_block() {
        let (block, starts) = Block::new(1, &Sizes::Fixed(64), 1);
        let whole = block.piece(starts[0], 0, u64::MAX);
        assert_eq!(whole.len(), PIECE);
        for (position, &byte) in whole.iter().enumerate() {
            assert_eq!(block.piece(starts[0], position as u64, 1), [byte]);
        }
    }

    #[test]
    fn a_wrong_byte_is_found_named_and_counted() {
        let (block, starts) = Block::new(1, &Sizes::Fixed(64), 1);
        let mut bytes = block.piece(starts[0], 1000, 100).to_vec();
        assert_eq!(block.differs(starts[0], 1000, &bytes), None);
        bytes[42] ^= 1;
        bytes[99] ^= 1;
        let wrong = block.differs(starts[0], 1000, &bytes).unwrap();
        assert_eq!((wrong.position, wrong.got, wrong.bytes), (1042, wrong.expected ^ 1, 2));
        bytes.swap(10, 11);
        assert!(block.differs(starts[0], 1000, &bytes).is_some_and(|w| w.position == 1010));
    }

    #[test]
    fn bytes_that_were_repeated_or_skipped_are_recognised() {
        let (block, starts) = Block::new(1, &Sizes::Fixed(64), 1);
        let at = |position| block.piece(starts[0], position, 64);
        assert_eq!(block.displaced(starts[0], 640, at(640 - 64)), Some(-64));
        assert_eq!(block.displaced(starts[0], 640, at(640 + 100)), Some(100));
        assert_eq!(block.displaced(starts[0], 10, at(0)), Some(-10));
        assert_eq!(block.displaced(starts[0], 640, b"nothing of the kind"), None);
        assert_eq!(block.displaced(starts[0], 640, &at(0)[..3]), None, "three bytes are anywhere");
    }
}
