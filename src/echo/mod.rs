//! The echo handler: what every server here does for a client.
//!
//! Parts of which a model uses what it needs:
//!
//! - The [`Handler`] knows bytes only: it hears what a client said, and gives the answer. It makes no system call.
//! - The [`Pump`] joins a handler to a socket: it receives, asks the handler, sends the answer at once, and says what the
//!   connection [`Want`]s next. How that is asked of the kernel is the model's business. Models that wait for readiness, or
//!   block, use it. Where a ring of io_uring(7) receives and sends, `ring_client.rs` is in its place.
//! - [`Frames`] cuts a stream into messages, each [`framed`], for a handler whose protocol has some.
//! - [`Conn`] is one client: its socket, and what it has not taken yet.
//!
//! [`Reply`] is the answer, [`Until`] how far a turn of the pump reads.
//!
//! The usual request costs two system calls, and no copy of ours: recv(2) into one buffer ([`SCRATCH_BYTES`]) that all clients of a loop share,
//! send(2) out of it at once. Only what the kernel does not take is copied aside, and while a client has such *unsent* bytes
//! it is not read: a client that sends without reading fills its own receive window and then waits (back-pressure). So the
//! unsent bytes of a client never exceed the shared buffer, and a quiet client costs 16 bytes of ours.

mod conn;
mod frames;
mod handler;
mod pump;
#[cfg(feature = "uring")]
mod ring_client;

pub use conn::Conn;
pub use frames::{Frames, framed};
pub use handler::Handler;
pub(crate) use pump::Traffic;
pub use pump::{Pump, SCRATCH_BYTES};
#[cfg(feature = "uring")]
pub(crate) use ring_client::{MOST_RECEIVED, Next, RingClient};

/// What a server answers.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub enum Reply {
    /// The bytes that came.
    #[default]
    Echo,
    /// `ok`, for each piece received, as demo2, demo8 and demo10 of the course.
    Ok,
    /// What this function writes, for each piece received, into the vector, which is empty. A stream has no messages: a piece
    /// is what one recv(2) found, and may be a part of what the client sent, or several of its messages.
    Own(fn(&[u8], &mut Vec<u8>)),
}

/// What a connection needs next.
///
/// For models that wait for readiness. Completions need no such value: each operation says by itself that it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// To be read when something arrives.
    Read,
    /// To be read again after the others had their turn. The budget of the pump ran out, and there may be more that no edge
    /// will announce. A level-triggered wait reports it by itself.
    ReadMore,
    /// To be written when the client has made room; not to be read until then.
    Write,
    /// To be closed: the client has ended, or failed.
    Close,
}

/// How far [`Pump::pump`] should read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Once. For level-triggered and blocking models, which find the rest with their next wait.
    OneRead,
    /// Until a read does not fill the buffer. On a stream that means that no byte was left, so an edge-triggered model will be
    /// told of the next one; it saves the recv(2) that would only answer `EAGAIN`. Two things may still be there: the end of
    /// the stream, and urgent data with what follows, because recv(2) stops in front of its mark.
    ShortRead,
    /// Until `EAGAIN` or the end. For an edge-triggered model that was told of a hang-up or of urgent data: no further edge
    /// would tell of what a short read left.
    Dry,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Notices;
    use crate::sys::sockopt::set_send_buffer;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::LazyLock;

    fn connected() -> (Conn, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Conn::new(OwnedFd::from(ours)), theirs)
    }

    #[test]
    fn an_idle_connection_costs_16_bytes() {
        assert_eq!(size_of::<Option<Conn>>(), 16);
    }

    #[test]
    fn answers_at_once_and_waits_for_more() {
        for (reply, answer) in [(Reply::Echo, &b"a\0b"[..]), (Reply::Ok, b"ok")] {
            let (mut conn, mut client) = connected();
            let mut pump = Pump::new(reply, SCRATCH_BYTES, Notices::none());
            assert_eq!(pump.pump(&mut conn, Until::Dry), Want::Read);
            client.write_all(b"a\0b").unwrap();
            assert_eq!(pump.pump(&mut conn, Until::ShortRead), Want::Read);
            let mut got = vec![0; answer.len()];
            client.read_exact(&mut got).unwrap();
            assert_eq!(got, answer);
            assert_eq!((pump.handler.bytes_in, pump.handler.bytes_out), (3, answer.len() as u64));
            drop(client);
            assert_eq!(pump.pump(&mut conn, Until::OneRead), Want::Close);
        }
    }

    #[test]
    fn an_answer_of_ones_own_is_sent_and_counted() {
        let (mut conn, mut client) = connected();
        let reply = Reply::Own(|heard, answer| answer.extend(heard.iter().rev()));
        let mut pump = Pump::new(reply, SCRATCH_BYTES, Notices::none());
        for (question, expected) in [("abc", "cba"), ("12", "21")] {
            client.write_all(question.as_bytes()).unwrap();
            assert_eq!(pump.pump(&mut conn, Until::OneRead), Want::Read);
            let mut got = vec![0; expected.len()];
            client.read_exact(&mut got).unwrap();
            assert_eq!(got, expected.as_bytes());
        }
        assert_eq!((pump.handler.requests, pump.handler.bytes_in, pump.handler.bytes_out), (2, 5, 5));
    }

    #[test]
    fn a_short_read_hides_the_end_that_dry_finds() {
        let (mut conn, mut client) = connected();
        client.write_all(b"last words").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut pump = Pump::new(Reply::Echo, SCRATCH_BYTES, Notices::none());
        assert_eq!(pump.pump(&mut conn, Until::ShortRead), Want::Read);
        assert_eq!(pump.pump(&mut conn, Until::Dry), Want::Close);
        conn.close();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "last words");
    }

    #[test]
    fn a_client_that_does_not_read_is_not_read() {
        let (mut conn, mut client) = connected();
        client.set_nonblocking(true).unwrap();
        let mut pump = Pump::new(Reply::Echo, SCRATCH_BYTES, Notices::none());
        let mut sent = 0;
        // Until the answers have filled the client's side and the questions ours.
        loop {
            let wrote = client.write(&[9; 1000]).unwrap_or(0);
            sent += wrote as u64;
            if pump.pump(&mut conn, Until::OneRead) == Want::Write && wrote == 0 {
                break;
            }
        }
        assert!(conn.has_unsent());
        let (bytes_in, bytes_out) = (pump.handler.bytes_in, pump.handler.bytes_out);
        assert!(bytes_in - bytes_out <= SCRATCH_BYTES as u64, "unsent is bounded");
        assert!(bytes_in < sent, "the rest waits in the kernel");
        assert_eq!(pump.pump(&mut conn, Until::Dry), Want::Write);
        assert_eq!(pump.handler.bytes_in, bytes_in, "not read while bytes are unsent");
        // Once it reads, all of it arrives.
        let mut got = 0;
        let mut buffer = [0; 4096];
        while got < sent {
            got += client.read(&mut buffer).map_or(0, |n| n as u64);
            pump.pump(&mut conn, Until::Dry);
        }
        assert_eq!((pump.handler.bytes_in, pump.handler.bytes_out), (sent, sent));
    }

    #[test]
    fn a_busy_client_gets_only_its_turn() {
        let (mut conn, mut client) = connected();
        let mut pump = Pump::new(Reply::Echo, 10, Notices::none());
        client.write_all(&[1; 1000]).unwrap();
        assert_eq!(pump.pump(&mut conn, Until::ShortRead), Want::ReadMore);
        assert_eq!(pump.handler.bytes_in, 10 * pump::READS_IN_A_ROW as u64);
        assert_eq!(pump.pump(&mut conn, Until::OneRead), Want::Read);
    }

    /// More than is sent in any case, in a pattern that repeats nowhere near a power of two.
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| (0..1_200_000_u32).map(|i| (i % 251) as u8).collect());

    /// What happens next on a connection.
    #[derive(Debug, Clone)]
    enum Turn {
        /// The client sends at most so many bytes.
        Sends(usize),
        /// It reads at most so many.
        Reads(usize),
        Pump(Until),
    }

    fn turns() -> impl Strategy<Value = Vec<Turn>> {
        let until = prop_oneof![Just(Until::OneRead), Just(Until::ShortRead), Just(Until::Dry)];
        let bytes = || prop_oneof![1..20_usize, 1..20_000_usize];
        let turn = prop_oneof![
            bytes().prop_map(Turn::Sends),
            bytes().prop_map(Turn::Reads),
            until.prop_map(Turn::Pump)
        ];
        proptest::collection::vec(turn, 0..60)
    }

    proptest! {
        #[test]
        fn what_comes_back_is_what_was_sent_wherever_the_stream_is_cut_in_either_direction(
            turns in turns(),
            piece in prop_oneof![1..10_usize, 1..=SCRATCH_BYTES],
        ) {
            let (mut conn, mut client) = connected();
            client.set_nonblocking(true).unwrap();
            // So small that many answers do not fit.
            set_send_buffer(&conn, 1).unwrap();
            set_send_buffer(&client, 1).unwrap();
            let mut pump = Pump::new(Reply::Echo, piece, Notices::none());
            let bytes = &*BYTES;
            let (mut sent, mut got, mut buffer) = (0, Vec::new(), vec![0; 20_000]);
            for turn in turns {
                match turn {
                    Turn::Sends(n) => sent += client.write(&bytes[sent..sent + n]).unwrap_or(0),
                    Turn::Reads(n) => {
                        let n = client.read(&mut buffer[..n]).unwrap_or(0);
                        got.extend_from_slice(&buffer[..n]);
                    }
                    Turn::Pump(until) => {
                        let want = pump.pump(&mut conn, until);
                        prop_assert_eq!(want == Want::Write, conn.has_unsent());
                        prop_assert_ne!(want, Want::Close);
                    }
                }
                prop_assert!(pump.handler.bytes_in - pump.handler.bytes_out <= piece as u64, "unsent is bounded");
            }
            client.shutdown(std::net::Shutdown::Write).unwrap();
            // Each turn moves a byte at least, or is the last.
            for _ in 0..=2 * sent + 1 {
                let want = pump.pump(&mut conn, Until::Dry);
                while let Ok(n @ 1..) = client.read(&mut buffer) {
                    got.extend_from_slice(&buffer[..n]);
                }
                if want == Want::Close {
                    break;
                }
            }
            prop_assert!(got == bytes[..sent], "{} bytes were sent, and {} others came back", sent, got.len());
            prop_assert_eq!((pump.handler.bytes_in, pump.handler.bytes_out), (sent as u64, sent as u64));
            prop_assert_eq!(pump.pump(&mut conn, Until::OneRead), Want::Close, "it has ended");
        }
    }
}
