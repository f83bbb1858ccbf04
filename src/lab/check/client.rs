//! A client of a check: what it sends, what it must get, and a log of both.

use super::log::shown;
use super::session::{Session, TO_ANSWER};
use super::{Ended, Step, sockets};
use crate::echo::framed;
use crate::error::Error;
use crate::lab::results::check::Expect;
use crate::sys::poll::PollFlags;
use crate::sys::socket::{self, Connected, Mode, Received, Sent, Shutdown};
use crate::sys::{Errno, sockopt};
use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// More than any check reads to the end.
const ENOUGH: usize = 16 << 20;

/// The answer of [`Expect::Ok`].
pub(super) const OK: &[u8] = b"ok";

/// A client that has connected. It closes when it is dropped.
pub(super) struct Client<'a> {
    at: &'a Session<'a>,
    socket: OwnedFd,
    /// Its number in the log; `None` for one whose conversation is not logged.
    number: Option<usize>,
    /// Bytes that it has received.
    received: Cell<usize>,
}

/// What a client found when it looked for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(usize),
    End,
    /// The connection was reset, or could not go on otherwise.
    Broken(Errno),
}

impl<'a> Client<'a> {
    /// Connect a socket that `set` has set options of before: the receive buffer is what the server is offered.
    pub(super) fn connect(
        at: &'a Session<'a>,
        set: impl FnOnce(&OwnedFd) -> crate::Result<()>,
        is_logged: bool,
    ) -> Step<Client<'a>> {
        let expected = || format!("a connection to {}", at.addr);
        let socket = socket::tcp(&at.addr, Mode::Nonblocking)?;
        set(&socket)?;
        // Otherwise the kernel puts small pieces together until the earlier ones are acknowledged.
        sockopt::set_nodelay(&socket, true)?;
        let connected = socket::connect(&socket, &at.addr).map_err(|why| no_connection(&why, expected()))?;
        if connected == Connected::Pending {
            if !at.ready(&socket, PollFlags::POLLOUT, TO_ANSWER)? {
                let seconds = TO_ANSWER.as_secs();
                return Err(Ended::late(expected(), format!("none within {seconds} s")));
            }
            if let Some(why) = sockopt::take_error(&socket)? {
                return Err(Ended::failed(expected(), in_words(why)));
            }
        }
        if socket::is_connected_to_itself(&socket).unwrap_or(false) {
            return Err(Ended::failed(expected(), "nobody listens"));
        }
        let number = is_logged.then(|| {
            at.clients.set(at.clients.get() + 1);
            at.clients.get()
        });
        let client = Client { at, socket, number, received: Cell::new(0) };
        client.say("connects");
        Ok(client)
    }

    /// A socket that has connected. Its conversation is not logged.
    pub(super) fn of(at: &'a Session<'a>, socket: OwnedFd) -> Client<'a> {
        Client { at, socket, number: None, received: Cell::new(0) }
    }

    fn say(&self, what: impl AsRef<str>) {
        if let Some(number) = self.number {
            self.at.say(format!("client {number} {}", what.as_ref()));
        }
    }

    /// Send a request and read its answer.
    pub(super) fn ask(&self, request: &[u8]) -> Step {
        self.request(request)?;
        self.answer(request)
    }

    /// Send a request: the bytes, or the frame that has them.
    pub(super) fn request(&self, request: &[u8]) -> Step {
        self.send(&self.on_the_wire(request))
    }

    /// Read the answer to this request, which was sent at once.
    pub(super) fn answer(&self, request: &[u8]) -> Step {
        match self.at.expect {
            Expect::Echo => self.expect(request),
            Expect::Ok => self.expect(OK),
            Expect::Framed => self.expect(&self.on_the_wire(request)),
        }
    }

    /// A request as it is sent.
    pub(super) fn on_the_wire(&self, request: &[u8]) -> Vec<u8> {
        match self.at.expect {
            Expect::Echo | Expect::Ok => request.to_vec(),
            Expect::Framed => framed(request),
        }
    }

    /// Send all of this.
    pub(super) fn send(&self, bytes: &[u8]) -> Step {
        self.say(format!("sends {}", shown(bytes)));
        let mut sent = 0;
        while sent < bytes.len() {
            sent += match self.send_some(&bytes[sent..])? {
                0 if self.at.ready(&self.socket, PollFlags::POLLOUT, TO_ANSWER)? => 0,
                0 => {
                    return Err(Ended::late(
                        format!("the server takes {} bytes", bytes.len()),
                        format!("it took {sent}, and no more within {} s", TO_ANSWER.as_secs()),
                    ));
                }
                n => n,
            };
        }
        Ok(())
    }

    /// Send what the connection takes at once.
    pub(super) fn send_some(&self, bytes: &[u8]) -> Step<usize> {
        match socket::send(&self.socket, bytes) {
            Ok(Sent::Bytes(n)) => Ok(n),
            Ok(Sent::NotNow) => Ok(0),
            Err(why) => Err(broken(&why, "a connection that stays open", self.received.get())),
        }
    }

    /// Bytes that have arrived, and were not read here.
    pub(super) fn unread(&self) -> Step<u32> {
        Ok(sockopt::unread(&self.socket)?)
    }

    /// Wait until the server's kernel has acknowledged all that was sent.
    pub(super) fn is_acknowledged(&self) -> Step {
        if self.is_acknowledged_within(TO_ANSWER)? {
            return Ok(());
        }
        let seconds = TO_ANSWER.as_secs();
        Err(Ended::late("the server takes what was sent", format!("it has not within {seconds} s")))
    }

    /// The same; `false` when it has not within that time, because it has no room for so much.
    pub(super) fn is_acknowledged_within(&self, limit: Duration) -> Step<bool> {
        self.at.within(limit, || Ok(sockopt::unsent(&self.socket)? == 0))
    }

    /// Wait until the server has read all that was sent, and waits. Of one that runs already, it is only known that its kernel has it.
    pub(super) fn until_it_is_read(&self) -> Step {
        self.is_acknowledged()?;
        if self.at.started.is_some() {
            let is_read =
                || Ok(sockets::established(self.at.addr, self.addr()?)?.is_none_or(|end| end.unread == 0));
            self.at.within(TO_ANSWER, is_read)?;
            self.at.until_it_waits()?;
        }
        Ok(())
    }

    /// Read exactly these bytes.
    pub(super) fn expect(&self, bytes: &[u8]) -> Step {
        let (mut done, mut piece) = (0, vec![0; bytes.len().clamp(1, 1 << 16)]);
        while done < bytes.len() {
            let most = piece.len().min(bytes.len() - done);
            match self.read_within(&mut piece[..most], TO_ANSWER)? {
                Some(Got::Bytes(n)) => {
                    is_right(&piece[..n], bytes, done)?;
                    done += n;
                }
                Some(Got::End) => {
                    self.say(format!("gets {}, then the end", shown(&bytes[..done])));
                    return Err(ended_early(None, bytes, done));
                }
                Some(Got::Broken(why)) => {
                    self.say(format!("gets {}, then {}", shown(&bytes[..done]), in_words(why)));
                    return Err(ended_early(Some(why), bytes, done));
                }
                None => {
                    let seconds = TO_ANSWER.as_secs();
                    self.say(format!("gets {}, then nothing for {seconds} s", shown(&bytes[..done])));
                    return Err(self.goes_on_with_another_byte(bytes[done])?.unwrap_or_else(|| {
                        Ended::late(
                            shown(bytes),
                            format!("{done} of {} bytes, and nothing more within {seconds} s", bytes.len()),
                        )
                    }));
                }
            }
        }
        self.say(format!("gets {}", shown(bytes)));
        Ok(())
    }

    /// When an answer does not come to its end: whether it goes on after another byte. Then the server had the bytes, and only waited
    /// for an event.
    fn goes_on_with_another_byte(&self, next: u8) -> Step<Option<Ended>> {
        // One that runs may only be late.
        let runs = self.at.started.is_some_and(|started| started.server.sleeps() == Some(false));
        if !self.at.tries_another_byte || runs {
            return Ok(None);
        }
        // Since the time was over, it may have answered.
        if self.read_now(&mut [0; 1])?.is_some() {
            return Ok(None);
        }
        let another = if next == b'!' { b"?" } else { b"!" };
        if self.send_some(another).unwrap_or(0) == 0 {
            return Ok(None);
        }
        self.say(format!("sends {}, to see whether the server goes on then", shown(another)));
        let mut piece = [0; 4096];
        let got = self.read_within(&mut piece, TO_ANSWER)?;
        let Some(Got::Bytes(n)) = got.filter(|got| matches!(got, Got::Bytes(_))) else { return Ok(None) };
        self.say(format!("gets {}", shown(&piece[..n])));
        Ok((piece[0] == next).then_some(Ended::OneReadForEachEdge))
    }

    /// As [`expect`](Client::expect), for bytes that may have one more among them.
    pub(super) fn expect_with_or_without(&self, extra: u8, bytes: &[u8]) -> Step {
        let mut piece = [0; 1];
        let mut got = Vec::new();
        let without = |got: &[u8]| got.iter().copied().filter(|byte| *byte != extra).collect::<Vec<_>>();
        while without(&got).len() < bytes.len() {
            match self.read_within(&mut piece, TO_ANSWER)? {
                Some(Got::Bytes(_)) => got.push(piece[0]),
                end => {
                    let what = match end {
                        Some(Got::Broken(why)) => in_words(why),
                        Some(_) => "the end of the connection".to_owned(),
                        None => format!("nothing more within {} s", TO_ANSWER.as_secs()),
                    };
                    self.say(format!("gets {}, then {what}", shown(&got)));
                    let ended = Ended::failed(shown(bytes), format!("{}, then {what}", shown(&got)));
                    return Err(if end.is_none() { ended.that_is_late() } else { ended });
                }
            }
        }
        self.say(format!("gets {}", shown(&got)));
        is_right(&without(&got), bytes, 0)
    }

    /// At least one `ok`, and nothing else: how many pieces a message came in is not known.
    pub(super) fn expect_some_ok(&self) -> Step {
        self.expect(OK)?;
        let (mut all, mut piece) = (Vec::new(), [0; 256]);
        // The answers to the other pieces are under way.
        while let Some(got) = self.read_within(&mut piece, Duration::from_millis(20))? {
            match got {
                Got::Bytes(_) if all.len() > ENOUGH => {
                    return Err(Ended::failed(
                        "`ok` for each piece",
                        format!("{} bytes, and more", all.len()),
                    ));
                }
                Got::Bytes(n) => all.extend_from_slice(&piece[..n]),
                Got::End => {
                    return Err(Ended::failed("`ok` for each piece", "the server closed the connection"));
                }
                Got::Broken(why) => return Err(Ended::failed("`ok` for each piece", in_words(why))),
            }
        }
        if all.iter().zip(OK.iter().cycle()).all(|(came, ok)| came == ok) {
            return Ok(());
        }
        Err(Ended::failed("`ok` for each piece", shown(&all)))
    }

    /// Its own address.
    pub(super) fn addr(&self) -> Step<SocketAddr> {
        Ok(socket::local_addr(&self.socket)?)
    }

    /// Send these bytes in the pieces that `piece` says, and read all of them back meanwhile.
    pub(super) fn exchange(&self, bytes: &[u8], piece: impl FnMut() -> usize) -> Step {
        self.exchange_within(bytes, usize::MAX, piece)
    }

    /// The same, with so many bytes on the way at most.
    pub(super) fn exchange_within(
        &self,
        bytes: &[u8],
        on_the_way: usize,
        piece: impl FnMut() -> usize,
    ) -> Step {
        self.say(format!("sends {}, and reads meanwhile", shown(bytes)));
        self.send_and_read(bytes, 0, on_the_way, piece)
    }

    /// Send the rest of these bytes, of which so many were sent, and read all of them back meanwhile.
    pub(super) fn send_rest_and_expect(&self, bytes: &[u8], sent: usize) -> Step {
        self.say(format!("reads, and sends {} more bytes", bytes.len() - sent));
        self.send_and_read(bytes, sent, usize::MAX, || 1 << 16)
    }

    fn send_and_read(
        &self,
        bytes: &[u8],
        mut sent: usize,
        on_the_way: usize,
        mut piece: impl FnMut() -> usize,
    ) -> Step {
        let (mut done, mut buffer) = (0, vec![0; 1 << 16]);
        while done < bytes.len() {
            let sends = sent < bytes.len() && sent.saturating_sub(done) < on_the_way;
            let events = if sends { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            if !self.at.ready(&self.socket, events, TO_ANSWER)? {
                self.say(format!("has sent {sent} bytes, and got {done}"));
                let (all, seconds) = (bytes.len(), TO_ANSWER.as_secs());
                return Err(self.goes_on_with_another_byte(bytes[done])?.unwrap_or_else(|| {
                    Ended::late(
                        shown(bytes),
                        format!("{done} of {all} bytes, and nothing more within {seconds} s"),
                    )
                }));
            }
            match self.read_now(&mut buffer)? {
                Some(Got::Bytes(n)) => {
                    is_right(&buffer[..n], bytes, done)?;
                    done += n;
                }
                Some(Got::End) => return Err(ended_early(None, bytes, done)),
                Some(Got::Broken(why)) => return Err(ended_early(Some(why), bytes, done)),
                None => {}
            }
            if sends {
                let end = bytes.len().min(sent + piece());
                sent += self.send_some(&bytes[sent..end])?;
            }
        }
        self.say(format!("gets all {} bytes back", bytes.len()));
        Ok(())
    }

    /// Send the same block again and again without reading, at most `most` bytes, until the server takes no more: how many
    /// bytes were sent. The next byte continues the block.
    pub(super) fn send_until_it_stalls(&self, block: &[u8], most: usize) -> Step<usize> {
        /// So long nothing moves before the server counts as full.
        const STALLED: Duration = Duration::from_millis(300);
        /// One that never sleeps counts as full when nothing moved for so many looks.
        const LOOKS: usize = 5;
        let (mut sent, mut looks) = (0, 0);
        while sent < most && looks < LOOKS {
            let from = sent % block.len();
            let end = block.len().min(from + (most - sent));
            let n = self.send_some(&block[from..end])?;
            sent += n;
            if n > 0 || self.at.ready(&self.socket, PollFlags::POLLOUT, STALLED)? {
                looks = 0;
                continue;
            }
            looks += 1;
            // One that runs may have had no processor.
            if self.at.started.is_none_or(|started| started.server.sleeps().unwrap_or(true)) && looks > 1 {
                break;
            }
        }
        self.say(format!("has sent {sent} bytes without reading"));
        Ok(sent)
    }

    /// End its half of the connection: no more bytes will come.
    pub(super) fn end(&self) -> Step {
        self.say("ends its half (FIN)");
        socket::shutdown(&self.socket, Shutdown::Write)
            .map_err(|why| broken(&why, "a connection that stays open", self.received.get()))
    }

    /// Send the last bytes and the end in one segment.
    pub(super) fn send_and_end(&self, bytes: &[u8]) -> Step {
        self.say(format!("sends {} and FIN in one segment", shown(bytes)));
        socket::send_last(&self.socket, bytes)
            .map_err(|why| broken(&why, "a connection that stays open", self.received.get()))
    }

    /// Send a byte of urgent data.
    pub(super) fn send_urgent(&self, byte: u8) -> Step {
        self.say(format!("sends {} as urgent data", shown(&[byte])));
        socket::send_urgent(&self.socket, byte)
            .map_err(|why| broken(&why, "a connection that stays open", self.received.get()))
    }

    /// The server ends its half as well, and sends nothing before.
    pub(super) fn expect_end(&self) -> Step {
        let expected = "the end of the connection (FIN)";
        match self.read_within(&mut [0; 256], TO_ANSWER)? {
            Some(Got::End) => {
                self.say("gets the end (FIN)");
                Ok(())
            }
            Some(Got::Bytes(n)) => {
                self.say(format!("gets {n} bytes more"));
                Err(Ended::failed(expected, format!("{n} bytes more")))
            }
            Some(Got::Broken(why)) => {
                self.say(format!("gets {}", in_words(why)));
                Err(Ended::failed(expected, in_words(why)))
            }
            None => {
                let seconds = TO_ANSWER.as_secs();
                self.say(format!("gets nothing for {seconds} s"));
                Err(Ended::late(expected, format!("the connection is still open after {seconds} s")))
            }
        }
    }

    /// Nothing comes for so long.
    pub(super) fn expect_nothing(&self, long: Duration) -> Step {
        // It may not have come to that yet.
        if self.at.started.is_some() {
            self.at.until_it_waits()?;
        }
        let mut piece = [0; 256];
        let ms = long.as_millis();
        match self.read_within(&mut piece, long)? {
            None => {
                self.say(format!("gets nothing for {ms} ms"));
                Ok(())
            }
            Some(Got::Bytes(n)) => {
                self.say(format!("gets {}", shown(&piece[..n])));
                Err(Ended::failed("nothing", shown(&piece[..n])))
            }
            Some(Got::End) => Err(Ended::failed("a connection that stays open", "the server closed it")),
            Some(Got::Broken(why)) => Err(Ended::failed("a connection that stays open", in_words(why))),
        }
    }

    /// Read to the end: what came, and how it ended; `None` when it did not within the time.
    pub(super) fn read_to_end(&self) -> Step<(Vec<u8>, Option<Got>)> {
        let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match self.read_within(&mut piece, TO_ANSWER)? {
                Some(Got::Bytes(n)) if all.len() < ENOUGH => all.extend_from_slice(&piece[..n]),
                Some(Got::Bytes(_)) => {
                    return Err(Ended::failed(
                        "an end of what is sent",
                        format!("{} bytes, and more", all.len()),
                    ));
                }
                end => {
                    let how = match end {
                        Some(Got::Broken(why)) => in_words(why),
                        Some(_) => "the end (FIN)".to_owned(),
                        None => "nothing".to_owned(),
                    };
                    self.say(format!("gets {} bytes, then {how}", all.len()));
                    return Ok((all, end));
                }
            }
        }
    }

    /// What there is within this time; `None` when nothing is.
    pub(super) fn read_within(&self, buffer: &mut [u8], limit: Duration) -> Step<Option<Got>> {
        loop {
            match self.read_now(buffer)? {
                None if self.at.ready(&self.socket, PollFlags::POLLIN, limit)? => {}
                got => return Ok(got),
            }
        }
    }

    /// What there is now; `None` when nothing is.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> Step<Option<Got>> {
        match socket::recv(&self.socket, buffer) {
            Ok(Received::Bytes(n)) => {
                self.received.set(self.received.get() + n);
                Ok(Some(Got::Bytes(n)))
            }
            Ok(Received::End) => Ok(Some(Got::End)),
            Ok(Received::NotNow) => Ok(None),
            Err(why) => match why.errno() {
                Some(errno) => Ok(Some(Got::Broken(errno))),
                None => Err(why.into()),
            },
        }
    }

    /// Close the connection with RST instead of FIN.
    pub(super) fn reset(self) -> Step {
        self.say("resets its connection (RST)");
        Ok(sockopt::set_reset_on_close(&self.socket)?)
    }

    /// Close it, and say so.
    pub(super) fn close(self) {
        self.say("closes its connection");
    }
}

impl AsFd for Client<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a piece is what must come from byte `done` on.
fn is_right(piece: &[u8], bytes: &[u8], done: usize) -> Step {
    let expected = &bytes[done..bytes.len().min(done + piece.len())];
    if let Some(i) = piece.iter().zip(expected).position(|(came, sent)| came != sent) {
        let at = done + i;
        return Err(Ended::failed(
            format!("byte {at} is {:#04x}, in {}", expected[i], shown(&expected[i..])),
            format!("it is {:#04x}, in {}", piece[i], shown(&piece[i..])),
        ));
    }
    if piece.len() > expected.len() {
        let more = &piece[expected.len()..];
        return Err(Ended::failed(format!("{} bytes", bytes.len()), format!("after them {}", shown(more))));
    }
    Ok(())
}

/// The connection ended, or broke, when `done` of these bytes had come.
fn ended_early(broken: Option<Errno>, bytes: &[u8], done: usize) -> Ended {
    let how = broken.map_or_else(|| "the server closed the connection".to_owned(), in_words);
    Ended::failed(shown(bytes), format!("{how} after {done} of {} bytes", bytes.len()))
}

/// An error of a connection, which is the server's doing.
fn broken(error: &Error, expected: &str, received: usize) -> Ended {
    match error.errno() {
        Some(why) => {
            Ended::failed(expected, format!("{} (the client had got {received} bytes)", in_words(why)))
        }
        None => error.clone().into(),
    }
}

pub(super) fn no_connection(error: &Error, expected: String) -> Ended {
    match error.errno() {
        Some(why @ (Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ETIMEDOUT)) => {
            Ended::failed(expected, in_words(why))
        }
        _ => error.clone().into(),
    }
}

/// What an errno says of the server.
pub(super) fn in_words(errno: Errno) -> String {
    match errno {
        Errno::ECONNRESET => "the connection was reset (ECONNRESET)".to_owned(),
        Errno::EPIPE => "the connection was closed (EPIPE)".to_owned(),
        Errno::ECONNREFUSED => "the connection was refused: nobody listens (ECONNREFUSED)".to_owned(),
        other => format!("{} ({other:?})", other.desc()),
    }
}
