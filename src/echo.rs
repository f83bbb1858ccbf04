//! The echo handler: what every server here does for a client.
//!
//! [`Echo::pump`] moves bytes for one client and says what the connection [`Want`]s next. How that
//! is asked of the kernel is the model's business. These three values are all that passes between
//! handler and model.
//!
//! The usual request costs two system calls, and no copy of ours: recv(2) into one buffer that all clients
//! of a loop share, send(2) out of it at once. Only what the kernel does not take is copied aside,
//! and while a client has such *unsent* bytes it is not read: a client that sends without reading
//! fills its own receive window and then waits (back-pressure). So the unsent bytes of a client
//! never exceed the shared buffer, and a quiet client costs 16 bytes of ours.

use crate::observer::{Observer, Silent};
use crate::sys::socket::{Received, Sent, recv, send};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reply {
    /// The bytes that came.
    #[default]
    Echo,
    /// `ok`, for each piece received, as demo2, demo8 and demo10 of the course.
    Ok,
}

/// What a connection needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// To be read when something arrives.
    Read,
    /// To be written when the client has made room; not to be read until then.
    Write,
    /// To be closed: the client has ended, or failed.
    Close,
}

/// How far [`Echo::pump`] should read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Once. For level-triggered models, which will be told again if there is more.
    OneRead,
    /// Until a read does not fill the buffer. On a stream that means that no byte was left, so an
    /// edge-triggered model will be told of the next one; it saves the recv(2) that would only
    /// answer `EAGAIN` (3 to 6 % of a request). Two things may still be there: the end of the
    /// stream, and urgent data with what follows, because recv(2) stops in front of its mark.
    ShortRead,
    /// Until `EAGAIN` or the end. For an edge-triggered model that was told of a hang-up or of urgent
    /// data: no further edge would tell of what a short read left.
    Dry,
}

/// One client: its socket and what it has not taken yet.
#[derive(Debug)]
pub struct Conn<S = OwnedFd> {
    socket: S,
    unsent: Option<Box<Unsent>>,
}

#[derive(Debug)]
struct Unsent {
    bytes: Box<[u8]>,
    sent: usize,
}

impl<S: AsFd> Conn<S> {
    /// A client that has just connected.
    pub fn new(socket: S) -> Conn<S> {
        Conn { socket, unsent: None }
    }

    /// Whether bytes wait for the client to make room. They are at most one piece.
    #[inline]
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }
}

impl Conn {
    /// End the connection. Bytes unsent are dropped.
    pub fn close(self) {
        crate::sys::close(self.socket);
    }

    /// The socket alone. Bytes unsent are dropped.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Move the connection to the lowest free descriptor number, if that is lower.
    ///
    /// # Errors
    ///
    /// `EMFILE`. The connection is as it was.
    pub fn renumber(&mut self) -> crate::Result<()> {
        let copy = crate::sys::fcntl::duplicate(&self.socket)?;
        crate::sys::close(std::mem::replace(&mut self.socket, copy));
        Ok(())
    }
}

impl<S: AsFd> AsFd for Conn<S> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The size of the shared buffer. Large enough that common messages take one recv(2), small enough
/// to stay in the processor's nearer caches.
pub const SCRATCH_BYTES: usize = 16 * 1024;

/// How many reads one client may have in a row before it is the others' turn: 256 KiB.
const READS_IN_A_ROW: usize = 16;

/// The handler of a loop: the answer, the shared buffer, who is told, and what went through.
#[derive(Debug)]
pub struct Echo<O = Silent> {
    reply: Reply,
    scratch: Box<[u8]>,
    ran_out: bool,
    /// Who is told what happens.
    pub observer: O,
    /// Bytes received from clients.
    pub bytes_in: u64,
    /// Bytes that the kernel took to send to clients.
    pub bytes_out: u64,
}

impl Echo {
    /// A handler that tells nobody, with a buffer of [`SCRATCH_BYTES`].
    #[must_use]
    pub fn new(reply: Reply) -> Echo {
        Echo::observed(reply, SCRATCH_BYTES, Silent)
    }
}

impl<O: Observer> Echo<O> {
    /// A handler that tells `observer` what happens, and takes from a client at most `piece` bytes at a
    /// time.
    ///
    /// # Panics
    ///
    /// With a piece of 0 bytes, which could not be told from the end of the stream.
    #[must_use]
    pub fn observed(reply: Reply, piece: usize, observer: O) -> Echo<O> {
        assert!(piece > 0, "a piece has at least one byte");
        Echo { reply, scratch: vec![0; piece].into(), ran_out: false, observer, bytes_in: 0, bytes_out: 0 }
    }

    /// What [`observed`](Echo::observed) made it of: for a process that hands the work to children.
    #[must_use]
    pub fn into_parts(self) -> (Reply, usize, O) {
        (self.reply, self.scratch.len(), self.observer)
    }

    /// Tell that a client is served from now on.
    #[inline]
    pub fn welcome(&mut self, conn: &Conn, peer: SocketAddr) {
        self.observer.accepted(conn.as_fd().as_raw_fd(), peer);
    }

    /// Send what is unsent, then receive and answer until `until`.
    ///
    /// A failure of the connection (reset, broken pipe) is [`Want::Close`]: it concerns this client
    /// alone. On a blocking socket this waits for the client.
    #[inline]
    pub fn pump<S: AsFd>(&mut self, conn: &mut Conn<S>, until: Until) -> Want {
        self.ran_out = false;
        if conn.has_unsent() {
            match self.flush(conn) {
                // The kernel will tell a level-triggered loop whether there is something to read.
                Want::Read if until != Until::OneRead => {}
                want => return want,
            }
        }
        for _ in 0..READS_IN_A_ROW {
            let n = match recv(&conn.socket, &mut self.scratch) {
                Ok(Received::Bytes(n)) => n,
                Ok(Received::NotNow) => return Want::Read,
                Ok(Received::End) => return self.leaves(conn, Ok(())),
                Err(error) => return self.leaves(conn, Err(error)),
            };
            self.bytes_in += n as u64;
            self.observer.received(conn.socket.as_fd().as_raw_fd(), &self.scratch[..n]);
            match self.answer(conn, n) {
                Want::Read => {}
                want => return want,
            }
            match until {
                Until::OneRead => return Want::Read,
                Until::ShortRead if n < self.scratch.len() => return Want::Read,
                Until::ShortRead | Until::Dry => {}
            }
        }
        self.ran_out = true;
        Want::Read
    }

    /// Whether the last [`pump`](Echo::pump) ended because it was somebody else's turn, and there may
    /// be more to read that no edge will announce.
    #[inline]
    #[must_use]
    pub fn ran_out(&self) -> bool {
        self.ran_out
    }

    /// Answer the first `n` bytes of the buffer.
    #[inline]
    fn answer<S: AsFd>(&mut self, conn: &mut Conn<S>, n: usize) -> Want {
        let answer = match self.reply {
            Reply::Echo => &self.scratch[..n],
            Reply::Ok => b"ok",
        };
        let sent = match send(&conn.socket, answer) {
            Ok(Sent::Bytes(sent)) => sent,
            Ok(Sent::NotNow) => 0,
            Err(error) => return self.leaves(conn, Err(error)),
        };
        self.bytes_out += sent as u64;
        self.observer.answered(conn.socket.as_fd().as_raw_fd(), answer);
        if sent == answer.len() {
            return Want::Read;
        }
        conn.unsent = Some(Box::new(Unsent { bytes: answer[sent..].into(), sent: 0 }));
        Want::Write
    }

    /// Send what is unsent, as far as the client has room: [`Want::Read`] when nothing is left.
    pub fn flush<S: AsFd>(&mut self, conn: &mut Conn<S>) -> Want {
        while let Some(unsent) = &mut conn.unsent {
            match send(&conn.socket, &unsent.bytes[unsent.sent..]) {
                Ok(Sent::Bytes(n)) => {
                    self.bytes_out += n as u64;
                    unsent.sent += n;
                    if unsent.sent == unsent.bytes.len() {
                        conn.unsent = None;
                    }
                }
                Ok(Sent::NotNow) => return Want::Write,
                Err(error) => return self.leaves(conn, Err(error)),
            }
        }
        Want::Read
    }

    #[inline]
    fn leaves<S: AsFd>(&mut self, conn: &Conn<S>, how: crate::Result<()>) -> Want {
        self.observer.left(conn.socket.as_fd().as_raw_fd(), how);
        Want::Close
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

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
            let mut echo = Echo::new(reply);
            assert_eq!(echo.pump(&mut conn, Until::Dry), Want::Read);
            client.write_all(b"a\0b").unwrap();
            assert_eq!(echo.pump(&mut conn, Until::ShortRead), Want::Read);
            let mut got = vec![0; answer.len()];
            client.read_exact(&mut got).unwrap();
            assert_eq!(got, answer);
            assert_eq!((echo.bytes_in, echo.bytes_out), (3, answer.len() as u64));
            drop(client);
            assert_eq!(echo.pump(&mut conn, Until::OneRead), Want::Close);
        }
    }

    #[test]
    fn a_short_read_hides_the_end_that_dry_finds() {
        let (mut conn, mut client) = connected();
        client.write_all(b"last words").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut echo = Echo::new(Reply::Echo);
        assert_eq!(echo.pump(&mut conn, Until::ShortRead), Want::Read);
        assert_eq!(echo.pump(&mut conn, Until::Dry), Want::Close);
        conn.close();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "last words");
    }

    #[test]
    fn a_client_that_does_not_read_is_not_read() {
        let (mut conn, mut client) = connected();
        client.set_nonblocking(true).unwrap();
        let mut echo = Echo::new(Reply::Echo);
        let mut sent = 0;
        // Until the answers have filled the client's side and the questions ours.
        loop {
            let wrote = client.write(&[9; 1000]).unwrap_or(0);
            sent += wrote as u64;
            if echo.pump(&mut conn, Until::OneRead) == Want::Write && wrote == 0 {
                break;
            }
        }
        assert!(conn.has_unsent());
        let (bytes_in, bytes_out) = (echo.bytes_in, echo.bytes_out);
        assert!(bytes_in - bytes_out <= SCRATCH_BYTES as u64, "unsent is bounded");
        assert!(bytes_in < sent, "the rest waits in the kernel");
        assert_eq!(echo.pump(&mut conn, Until::Dry), Want::Write);
        assert_eq!(echo.bytes_in, bytes_in, "not read while bytes are unsent");
        // Once it reads, all of it arrives.
        let mut got = 0;
        let mut buffer = [0; 4096];
        while got < sent {
            got += client.read(&mut buffer).map_or(0, |n| n as u64);
            echo.pump(&mut conn, Until::Dry);
        }
        assert_eq!((echo.bytes_in, echo.bytes_out), (sent, sent));
    }

    #[test]
    fn a_busy_client_gets_only_its_turn() {
        let (mut conn, mut client) = connected();
        let mut echo = Echo::observed(Reply::Echo, 10, Silent);
        client.write_all(&[1; 1000]).unwrap();
        assert_eq!(echo.pump(&mut conn, Until::ShortRead), Want::Read);
        assert!(echo.ran_out());
        assert_eq!(echo.bytes_in, 10 * READS_IN_A_ROW as u64);
        assert_eq!(echo.pump(&mut conn, Until::OneRead), Want::Read);
        assert!(!echo.ran_out());
    }
}
