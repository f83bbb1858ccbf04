//! Frames: messages on a stream, each behind its length.

use crate::{Error, Result};

/// The bytes of a length.
const LENGTH: usize = 4;

/// Cuts what comes on a stream into messages. A message is a frame: four bytes with the length of its body, the most significant first,
/// and the body.
///
/// A stream has no messages of its own: one recv(2) may give a part of a message, or several of them.
///
/// ```
/// use io_models::echo::{Frames, framed};
///
/// let mut frames = Frames::new(1 << 20);
/// let sent = [framed(b"one"), framed(b"two")].concat();
/// frames.heard(&sent[..9]);
/// assert_eq!(frames.next()?, Some(b"one".to_vec()));
/// assert_eq!(frames.next()?, None);
/// frames.heard(&sent[9..]);
/// assert_eq!(frames.next()?, Some(b"two".to_vec()));
/// # Ok::<(), io_models::Error>(())
/// ```
#[derive(Debug)]
pub struct Frames {
    heard: Vec<u8>,
    longest: usize,
}

impl Frames {
    /// For a stream whose bodies are not longer than that.
    #[must_use]
    pub fn new(longest: usize) -> Frames {
        Frames { heard: Vec::new(), longest }
    }

    /// These bytes have come.
    pub fn heard(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }

    /// The body of the next message; `None` while not all of it has come.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] when it is longer than any may be: what follows on the stream cannot be told apart any more.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end where more bytes may come")]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((length, rest)) = self.heard.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.longest {
            return Err(Error::Misuse("a message is longer than any may be"));
        }
        let Some(body) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.heard.drain(..LENGTH + length);
        Ok(Some(body))
    }
}

/// A message as it is sent: its length, and its body.
///
/// # Panics
///
/// With a body of 4 GiB or more, whose length has no room.
#[must_use]
pub fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a body has less than 4 GiB");
    [&length.to_be_bytes()[..], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_are_the_same_however_the_stream_is_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            cuts in prop::collection::vec(1..50_usize, 0..40),
        ) {
            let sent: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
            let (mut frames, mut got, mut rest) = (Frames::new(40), Vec::new(), &sent[..]);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, others) = rest.split_at(cut.min(rest.len()));
                frames.heard(piece);
                rest = others;
                while let Some(body) = frames.next().unwrap() {
                    got.push(body);
                }
            }
            prop_assert_eq!(got, bodies);
        }
    }

    #[test]
    fn a_length_that_nobody_sends_is_refused_before_its_body_comes() {
        let mut frames = Frames::new(4096);
        frames.heard(&0x7fff_ffff_u32.to_be_bytes());
        assert!(frames.next().is_err());
    }
}
