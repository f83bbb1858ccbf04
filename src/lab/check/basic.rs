//! The basic checks: what must be right before a server is measured. A server that fails them can be fast for no good
//! reason, for example because it answers half of a request.

use crate::lab::child::Failed;
use crate::stop::Stop;
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::{self, Connected, Mode, Received, Sent, Shutdown};
use crate::sys::sockopt;
use anyhow::{Context, anyhow, bail, ensure};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long an answer may take. On a busy machine a server may have no processor for a while.
const TO_ANSWER: Duration = Duration::from_secs(5);

/// How long all checks together may take. A server that sends a byte every few seconds would hold them for hours.
const ALL: Duration = Duration::from_secs(30);

/// More than the send buffer of a server can hold (4 MiB, unless `net.ipv4.tcp_wmem` is larger than usual), so that a server
/// that ignores a short send fails the check.
const LARGE: usize = 8 << 20;

/// The receive buffer of a client that does not read.
const SMALL_BUFFER: usize = 64 << 10;

/// When a server has taken nothing for so long, its buffers are full.
const STALLED: Duration = Duration::from_millis(20);

/// Ask a server at `addr` for what every echo server does; with `clients` it has to serve at least that many at once.
///
/// # Errors
///
/// What it does wrong, or [`Failed::Interrupted`] when `stop` comes first.
pub(in crate::lab) fn ask(addr: SocketAddr, clients: usize, stop: &Stop) -> Result<(), Failed> {
    ask_within(ALL, addr, clients, stop)
}

fn ask_within(limit: Duration, addr: SocketAddr, clients: usize, stop: &Stop) -> Result<(), Failed> {
    let check = Check { addr, stop, limit, until: Instant::now() + limit };
    check.echoes_all_bytes()?;
    if clients > 1 {
        check.serves_a_second_client()?;
    }
    check.echoes_a_large_message()
}

/// The checks of a server.
struct Check<'a> {
    addr: SocketAddr,
    stop: &'a Stop,
    limit: Duration,
    until: Instant,
}

impl Check<'_> {
    /// A request with each value of a byte, in two pieces, comes back; and the connection is closed when we end it.
    fn echoes_all_bytes(&self) -> Result<(), Failed> {
        let what = "a request of 256 bytes, one of each value";
        let bytes: Vec<u8> = (0..=255).collect();
        let client = self.connect()?;
        self.exchange(&client, &bytes, what)?;
        socket::shutdown(&client, Shutdown::Write).context(what)?;
        while self.wait(&client, PollFlags::POLLIN, TO_ANSWER, what)? {
            match socket::recv(&client, &mut [0; 16]).context("the end of a connection")? {
                Received::End => return Ok(()),
                Received::NotNow => {}
                Received::Bytes(n) => {
                    return Err(Failed::Error(anyhow!("after {what}: {n} bytes more than were sent")));
                }
            }
        }
        Err(Failed::Error(anyhow!(
            "it does not close a connection whose client has ended (recv returns 0), within {} s",
            TO_ANSWER.as_secs()
        )))
    }

    /// A client that is silent keeps no other waiting.
    fn serves_a_second_client(&self) -> Result<(), Failed> {
        let first = self.connect()?;
        self.exchange(&first, b"first", "the request of a first client")?;
        let second = self.connect()?;
        self.exchange(&second, b"second", "the request of a second client, while the first one is silent")
    }

    /// All of a message comes back, although the server's send takes only part of it at a time: nothing is read until the
    /// server takes no more.
    fn echoes_a_large_message(&self) -> Result<(), Failed> {
        let what = "a message of 8 MiB";
        let bytes: Vec<u8> = (0..LARGE).map(|i| (i / 251 + i) as u8).collect();
        let client = self.connect_with(|client| sockopt::set_receive_buffer(client, SMALL_BUFFER))?;
        let mut sent = 0;
        while sent < LARGE && self.wait(&client, PollFlags::POLLOUT, STALLED, what)? {
            sent += send(&client, &bytes[sent..], what)?;
        }
        self.send_and_read(&client, &bytes, sent, what)
    }

    fn connect(&self) -> Result<OwnedFd, Failed> {
        self.connect_with(|_| Ok(()))
    }

    /// Connect a socket that `set` has set options of before: the receive buffer is what the server is offered.
    fn connect_with(&self, set: impl FnOnce(&OwnedFd) -> crate::Result<()>) -> Result<OwnedFd, Failed> {
        let to = || format!("cannot connect to {}", self.addr);
        let client = socket::tcp(&self.addr, Mode::Nonblocking)?;
        set(&client).with_context(to)?;
        if socket::connect(&client, &self.addr).with_context(to)? == Connected::Pending {
            if !self.wait(&client, PollFlags::POLLOUT, TO_ANSWER, "a connection")? {
                let seconds = TO_ANSWER.as_secs();
                return Err(Failed::Error(anyhow!("{}: no answer within {seconds} s", to())));
            }
            if let Some(why) = sockopt::take_error(&client)? {
                return Err(Failed::Error(anyhow::Error::from(std::io::Error::from(why)).context(to())));
            }
        }
        if socket::is_connected_to_itself(&client).unwrap_or(false) {
            return Err(Failed::Error(anyhow!("no server listens on {}", self.addr)));
        }
        Ok(client)
    }

    /// Send the bytes in two pieces, and expect them back.
    fn exchange(&self, client: &OwnedFd, bytes: &[u8], what: &str) -> Result<(), Failed> {
        let first = send(client, &bytes[..bytes.len() / 2], what)?;
        let sent = first + send(client, &bytes[first..], what)?;
        self.send_and_read(client, bytes, sent, what)
    }

    /// Send the rest of the bytes, and read all of them back meanwhile.
    fn send_and_read(
        &self,
        client: &OwnedFd,
        bytes: &[u8],
        mut sent: usize,
        what: &str,
    ) -> Result<(), Failed> {
        let (mut done, mut piece) = (0, vec![0; 1 << 16]);
        while done < bytes.len() {
            let events =
                if sent < bytes.len() { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            if !self.wait(client, events, TO_ANSWER, what)? {
                return Err(Failed::Error(silent(bytes, done, what)));
            }
            match socket::recv(client, &mut piece).with_context(|| format!("{what}: after {done} bytes"))? {
                Received::Bytes(n) => {
                    is_echo(&piece[..n], bytes, done, what)?;
                    done += n;
                }
                Received::End => {
                    let all = bytes.len();
                    return Err(Failed::Error(anyhow!(
                        "{what}: it closed the connection after {done} of {all} bytes"
                    )));
                }
                Received::NotNow => {}
            }
            if sent < bytes.len() {
                sent += send(client, &bytes[sent..], what)?;
            }
        }
        Ok(())
    }

    /// Wait until the connection is ready; `false` when that takes longer than `limit`.
    fn wait(&self, client: &OwnedFd, events: PollFlags, limit: Duration, what: &str) -> Result<bool, Failed> {
        let left = self.until.saturating_duration_since(Instant::now());
        let mut set = PollSet::new();
        set.push(client, events);
        let stop = set.push(self.stop, PollFlags::POLLIN);
        let ready = set.wait(Some(limit.min(left)))?;
        if !set.revents(stop).is_empty() {
            return Err(Failed::Interrupted);
        }
        if Instant::now() >= self.until {
            let seconds = self.limit.as_secs();
            return Err(Failed::Error(anyhow!(
                "{what}: the checks have taken {seconds} s, and are not done"
            )));
        }
        Ok(ready > 0)
    }
}

/// Send what the connection takes at once.
fn send(client: &OwnedFd, bytes: &[u8], what: &str) -> Result<usize, Failed> {
    match socket::send(client, bytes).with_context(|| format!("{what}: cannot be sent"))? {
        Sent::Bytes(n) => Ok(n),
        Sent::NotNow => Ok(0),
    }
}

/// Whether a piece is what was sent, from byte `done` on.
fn is_echo(piece: &[u8], bytes: &[u8], done: usize, what: &str) -> anyhow::Result<()> {
    let expected = &bytes[done..bytes.len().min(done + piece.len())];
    if let Some(i) = piece.iter().zip(expected).position(|(came, sent)| came != sent) {
        bail!(
            "{what}: byte {} came back as {:#04x} instead of {:#04x}: it is no echo server",
            done + i,
            piece[i],
            expected[i]
        );
    }
    ensure!(piece.len() == expected.len(), "{what}: more bytes came back than were sent");
    Ok(())
}

fn silent(bytes: &[u8], done: usize, what: &str) -> anyhow::Error {
    let hint = match bytes[done] {
        0 => "; the next byte is 0: does it use strlen, printf or %s?",
        _ if bytes.len() == LARGE => "; does it ignore what send returns?",
        _ => "",
    };
    let (all, seconds) = (bytes.len(), TO_ANSWER.as_secs());
    anyhow!("{what}: {done} of {all} bytes came back, and nothing more within {seconds} s{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::explain;
    use crate::stop;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{self, TcpListener, TcpStream};
    use std::thread;

    /// A server that treats each connection so, one after the other or each on its own thread, until the test ends.
    fn server(treat: impl Fn(TcpStream) + Clone + Send + 'static, threads: bool) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let treat = treat.clone();
                if threads { drop(thread::spawn(move || treat(client))) } else { treat(client) }
            }
        });
        addr
    }

    fn echo(mut client: TcpStream) {
        let mut sender = client.try_clone().unwrap();
        std::io::copy(&mut client, &mut sender).ok();
    }

    /// Ask without a stop: what is wrong, in words.
    fn wrong(limit: Duration, addr: SocketAddr, clients: usize) -> Option<String> {
        let (_stopper, stop) = stop::pair().unwrap();
        let asked = ask_within(limit, addr, clients, &stop);
        asked.err().map(|failed| explain::in_words(&failed.into_error()))
    }

    #[track_caller]
    fn is_wrong(treat: impl Fn(TcpStream) + Clone + Send + 'static, threads: bool, says: &str) {
        let wrong = wrong(ALL, server(treat, threads), 2).expect("something is wrong");
        assert!(wrong.contains(says), "{wrong:?} does not say {says:?}");
    }

    #[test]
    fn an_echo_server_passes() {
        assert_eq!(wrong(ALL, server(echo, true), 2), None);
        assert_eq!(
            wrong(ALL, server(echo, false), 1),
            None,
            "one client at a time, where no more are needed"
        );
    }

    #[test]
    fn a_server_that_stops_at_a_zero_byte_is_told_so() {
        let treat = |mut client: TcpStream| {
            let mut piece = [0; 512];
            while let Ok(n @ 1..) = client.read(&mut piece) {
                let text = piece[..n].split(|&byte| byte == 0).next().unwrap();
                client.write_all(text).ok();
            }
        };
        is_wrong(treat, true, "the next byte is 0: does it use strlen");
    }

    #[test]
    fn a_server_of_one_client_at_a_time_fails() {
        is_wrong(echo, false, "a second client, while the first one is silent");
    }

    #[test]
    fn a_server_that_closes_early_or_answers_something_else_fails() {
        let head_only = |mut client: TcpStream| {
            let mut piece = [0; 16];
            client.read_exact(&mut piece).ok();
            client.write_all(&piece).ok();
            client.shutdown(net::Shutdown::Write).ok();
            std::io::copy(&mut client, &mut std::io::sink()).ok();
        };
        is_wrong(head_only, true, "it closed the connection after 16 of 256 bytes");
        let shout = |mut client: TcpStream| {
            client.write_all(b"HELLO").ok();
            std::io::copy(&mut client, &mut std::io::sink()).ok();
        };
        is_wrong(shout, true, "instead of 0x00: it is no echo server");
    }

    #[test]
    fn a_server_that_ignores_a_short_send_fails() {
        let treat = |mut client: TcpStream| {
            client.set_nonblocking(true).unwrap();
            let mut piece = vec![0; 1 << 16];
            loop {
                match client.read(&mut piece) {
                    Ok(0) => return,
                    // What does not fit is lost.
                    Ok(n) => drop(client.write(&piece[..n])),
                    Err(why) if why.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(_) => return,
                }
            }
        };
        is_wrong(treat, true, "a message of 8 MiB");
    }

    #[test]
    fn an_address_without_a_listener_is_named() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let why = wrong(ALL, addr, 1).expect("no server listens");
        assert!(why.contains(&format!("cannot connect to {addr}")), "{why}");
    }

    /// It answers, but a byte at a time, so each wait is short and all of them together are long.
    #[test]
    fn a_server_that_answers_too_slowly_has_a_time_limit() {
        let slowly = |mut client: TcpStream| {
            let mut byte = [0];
            while let Ok(1) = client.read(&mut byte) {
                thread::sleep(Duration::from_millis(10));
                client.write_all(&byte).ok();
            }
        };
        let why = wrong(Duration::from_secs(1), server(slowly, true), 2).expect("it is too slow");
        assert!(why.contains("the checks have taken 1 s, and are not done"), "{why}");
    }

    #[test]
    fn a_stop_ends_the_checks_of_a_server_that_does_not_answer() {
        let (stopper, stop) = stop::pair().unwrap();
        let (accepted, is_accepted) = std::sync::mpsc::channel();
        let addr = server(
            move |mut client: TcpStream| {
                accepted.send(()).ok();
                std::io::copy(&mut client, &mut std::io::sink()).ok();
            },
            true,
        );
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask(addr, 2, &stop));
            is_accepted.recv_timeout(ALL).expect("the server gets a client");
            stopper.stop().unwrap();
            let asked = asked.join().expect("it does not panic");
            assert!(matches!(asked, Err(Failed::Interrupted)), "{asked:?}");
        });
    }
}
