//! What the generator sends: a stream of bytes for each connection, the same for the same seed.
//!
//! All streams are one long pseudo-random block, read round and round from a place of their own. A
//! server that changes, loses, repeats, reorders or swaps bytes, within a connection or between
//! two, gives bytes that differ from what the stream has at that position. What cannot be seen is a
//! chance hit (1 in 256 for messages of one byte), and an exchange of bytes that are equal.

use super::plan::{OK, Payload, Sizes};
use std::ops::Range;
use std::sync::Arc;

/// How long the block is: a prime, so that messages of no size come back to the same place soon; and
/// the next smaller one, for sizes of which the first is a divisor.
const PERIODS: [u32; 2] = [65_521, 65_519];

/// What a payload of text is made of: 64 characters, so that six random bits choose one.
const TEXT: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How many bytes are looked for in the block, at most and at least, to tell where they belong.
const SAMPLE: Range<usize> = 8..16;

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

impl Start {
    /// The beginning of the block.
    pub const ZERO: Start = Start(0);
}

impl Block {
    /// The block of that seed for messages of these sizes, and where `connections` streams start in it:
    /// each at a place of its own, as long as there are places.
    #[must_use]
    pub fn new(seed: u64, payload: Payload, sizes: &Sizes, connections: usize) -> (Block, Vec<Start>) {
        let mut random = fastrand::Rng::with_seed(seed);
        let divides = |size: u32| size.is_multiple_of(PERIODS[0]);
        let period = if sizes.fixed().is_some_and(divides) { PERIODS[1] } else { PERIODS[0] };
        let mut bytes = vec![0; period as usize];
        random.fill(&mut bytes);
        if payload == Payload::Text {
            bytes.iter_mut().for_each(|byte| *byte = TEXT[usize::from(*byte) % TEXT.len()]);
        }
        let mut places: Vec<_> = (0..period).map(Start).collect();
        random.shuffle(&mut places);
        let starts = places.into_iter().cycle().take(connections).collect();
        (Block::of(&bytes), starts)
    }

    /// The stream of a server that answers `ok` to each request. All connections read it from [`Start::ZERO`].
    #[must_use]
    pub fn of_oks() -> Block {
        Block::of(OK)
    }

    /// These bytes again and again.
    fn of(bytes: &[u8]) -> Block {
        let all = bytes.iter().copied().cycle().take(bytes.len() + PIECE);
        Block { bytes: all.collect(), period: bytes.len() as u32 }
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

    /// Where in the block `bytes` are: the first of two places, which are the same bytes, if that happens. `None` when
    /// they are nowhere, or too few to tell.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<Place> {
        let sample = &bytes[..bytes.len().min(SAMPLE.end)];
        if sample.len() < SAMPLE.start {
            return None;
        }
        let windows = self.bytes.windows(sample.len()).take(self.period as usize);
        windows.enumerate().find(|(_, window)| *window == sample).map(|(at, _)| Place(at as u32))
    }

    /// How far from `position` a stream has the bytes of that place: at an earlier position (less than 0), or at a later
    /// one; whichever is nearer.
    #[must_use]
    pub fn distance(&self, start: Start, position: u64, place: Place) -> i64 {
        let period = i64::from(self.period);
        let by = (i64::from(place.0) - self.range(start, position, 0).start as i64).rem_euclid(period);
        if by > period / 2 { by - period } else { by }
    }

    /// How many different places there are.
    #[must_use]
    pub fn period(&self) -> u64 {
        self.period.into()
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

/// A place in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

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
        let (one, starts) = Block::new(7, Payload::Random, &Sizes::Fixed(64), 3);
        let (two, same) = Block::new(7, Payload::Random, &Sizes::Fixed(64), 3);
        let (other, elsewhere) = Block::new(8, Payload::Random, &Sizes::Fixed(64), 3);
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
            let (block, starts) = Block::new(1, Payload::Random, &Sizes::Fixed(size), 20_000);
            let places: std::collections::HashSet<_> = starts.iter().map(|start| start.0).collect();
            assert_eq!(places.len(), 20_000);
            let size = u64::from(size);
            assert_ne!(block.piece(starts[0], 0, size), block.piece(starts[0], size, size));
        }
    }

    #[test]
    fn pieces_join_seamlessly_around_the_block() {
        let (block, starts) = Block::new(1, Payload::Random, &Sizes::Fixed(64), 1);
        let whole = block.piece(starts[0], 0, u64::MAX);
        assert_eq!(whole.len(), PIECE);
        for (position, &byte) in whole.iter().enumerate() {
            assert_eq!(block.piece(starts[0], position as u64, 1), [byte]);
        }
    }

    #[test]
    fn a_wrong_byte_is_found_named_and_counted() {
        let (block, starts) = Block::new(1, Payload::Random, &Sizes::Fixed(64), 1);
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
    fn bytes_that_were_repeated_or_skipped_are_found_where_they_belong() {
        for payload in [Payload::Random, Payload::Text] {
            let (block, starts) = Block::new(1, payload, &Sizes::Fixed(64), 1);
            let at = |position| block.piece(starts[0], position, 64);
            let distance = |position, bytes| Some(block.distance(starts[0], position, block.find(bytes)?));
            assert_eq!(distance(640, at(640 - 64)), Some(-64));
            assert_eq!(distance(640, at(640 + 100)), Some(100));
            assert_eq!(distance(10, at(0)), Some(-10));
            assert_eq!(distance(640, b"nothing of the kind"), None);
            assert_eq!(distance(640, &at(0)[..3]), None, "three bytes are anywhere");
        }
    }

    #[test]
    fn a_payload_of_text_has_letters_and_digits_only_and_does_not_repeat_itself() {
        let (block, starts) = Block::new(1, Payload::Text, &Sizes::Fixed(64), 2);
        let piece = block.piece(starts[0], 0, u64::MAX);
        assert!(piece.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        assert!(TEXT.iter().all(|byte| piece.contains(byte)), "all of them");
        assert_ne!(block.piece(starts[0], 0, 64), block.piece(starts[0], 64, 64));
        assert_ne!(block.piece(starts[0], 0, 64), block.piece(starts[1], 0, 64));
    }

    #[test]
    fn the_answers_of_an_ok_server_are_ok_at_any_position() {
        let block = Block::of_oks();
        for request in [0, 1, 1 << 40] {
            assert_eq!(block.piece(Start::ZERO, 2 * request, 2), b"ok");
            assert_eq!(block.differs(Start::ZERO, 2 * request, b"ok"), None);
            assert!(block.differs(Start::ZERO, 2 * request, b"no").is_some_and(|wrong| wrong.bytes == 2));
        }
    }
}
