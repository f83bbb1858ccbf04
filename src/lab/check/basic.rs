//! The basic checks: what must be right before a server is measured. A server that fails them can be fast for no good
//! reason, for example because it answers half of a request.

use crate::sys::{socket, sockopt};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// How long an answer may take. On a busy machine a server may have no processor for a while.
const TO_ANSWER: Duration = Duration::from_secs(5);

/// More than the send buffer of a server can hold (4 MiB, unless `net.ipv4.tcp_wmem` is larger than usual), so that a server
/// that ignores a short send is found out.
const LARGE: usize = 8 << 20;

/// The receive buffer of a client that does not read.
const SMALL_BUFFER: usize = 64 << 10;

/// When a server has taken nothing for so long, its buffers are full.
const STALLED: Duration = Duration::from_millis(20);

/// What is wrong with a server, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ask a server at `addr` for what every echo server does; with `clients` it has to serve at least that many at once.
///
/// # Errors
///
/// What it does wrong.
pub fn ask(addr: SocketAddr, clients: usize) -> Result<(), Wrong> {
    echoes_all_bytes(addr)?;
    if clients > 1 {
        serves_a_second_client(addr)?;
    }
    echoes_a_large_message(addr)
}

/// A request with each value of a byte, in two pieces, comes back; and the connection is closed when we end it.
fn echoes_all_bytes(addr: SocketAddr) -> Result<(), Wrong> {
    let what = "a request of 256 bytes, one of each value";
    let bytes: Vec<u8> = (0..=255).collect();
    let mut client = connect(addr)?;
    exchange(&mut client, &bytes, what)?;
    client.shutdown(Shutdown::Write).map_err(|why| Wrong(format!("{what}: {why}")))?;
    match client.read(&mut [0; 16]) {
        Ok(0) => Ok(()),
        Ok(n) => Err(Wrong(format!("after {what}: {n} bytes more than were sent"))),
        Err(why) if is_timeout(&why) => Err(Wrong(format!(
            "it does not close a connection whose client has ended (recv returns 0), within {} s",
            TO_ANSWER.as_secs()
        ))),
        Err(why) => Err(Wrong(format!("the end of a connection: {why}"))),
    }
}

/// A client that is silent keeps no other waiting.
fn serves_a_second_client(addr: SocketAddr) -> Result<(), Wrong> {
    let mut first = connect(addr)?;
    exchange(&mut first, b"first", "the request of a first client")?;
    let mut second = connect(addr)?;
    exchange(&mut second, b"second", "the request of a second client, while the first one is silent")
}

/// All of a message comes back, although the server's send takes only part of it at a time: nothing is read until the server
/// takes no more.
fn echoes_a_large_message(addr: SocketAddr) -> Result<(), Wrong> {
    let what = "a message of 8 MiB";
    let failed = |why: std::io::Error| Wrong(format!("{what}: {why}"));
    let bytes: Vec<u8> = (0..LARGE).map(|i| (i / 251 + i) as u8).collect();
    let mut client = connect(addr)?;
    sockopt::set_receive_buffer(&client, SMALL_BUFFER).map_err(|why| Wrong(format!("{what}: {why}")))?;
    client.set_write_timeout(Some(STALLED)).map_err(failed)?;
    let mut sent = 0;
    while sent < LARGE {
        match client.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) if is_timeout(&why) => break,
            Err(why) => return Err(failed(why)),
        }
    }
    client.set_write_timeout(Some(TO_ANSWER)).map_err(failed)?;
    let mut sender = client.try_clone().map_err(failed)?;
    let rest = bytes[sent..].to_vec();
    let sender = thread::spawn(move || sender.write_all(&rest));
    let read = read_answer(&mut client, &bytes, what);
    client.shutdown(Shutdown::Both).ok();
    sender.join().ok();
    read
}

fn connect(addr: SocketAddr) -> Result<TcpStream, Wrong> {
    let stream = TcpStream::connect_timeout(&addr, TO_ANSWER);
    let stream = stream.map_err(|why| Wrong(format!("cannot connect to {addr}: {why}")))?;
    if socket::is_connected_to_itself(&stream).unwrap_or(false) {
        return Err(Wrong(format!("nobody listens on {addr}")));
    }
    stream
        .set_read_timeout(Some(TO_ANSWER))
        .and_then(|()| stream.set_write_timeout(Some(TO_ANSWER)))
        .map_err(|why| Wrong(why.to_string()))?;
    Ok(stream)
}

/// Send the bytes in two pieces, and expect them back.
fn exchange(client: &mut TcpStream, bytes: &[u8], what: &str) -> Result<(), Wrong> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for piece in [first, second] {
        client.write_all(piece).map_err(|why| Wrong(format!("{what}: cannot be sent: {why}")))?;
    }
    read_answer(client, bytes, what)
}

fn read_answer(client: &mut TcpStream, bytes: &[u8], what: &str) -> Result<(), Wrong> {
    let (mut done, mut piece) = (0, vec![0; 1 << 16]);
    while done < bytes.len() {
        let n = match client.read(&mut piece) {
            Ok(0) => {
                let all = bytes.len();
                return Err(Wrong(format!("{what}: it closed the connection after {done} of {all} bytes")));
            }
            Ok(n) => n,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue,
            Err(why) if is_timeout(&why) => return Err(silent(bytes, done, what)),
            Err(why) => return Err(Wrong(format!("{what}: after {done} bytes: {why}"))),
        };
        let expected = &bytes[done..bytes.len().min(done + n)];
        if let Some(i) = piece[..n].iter().zip(expected).position(|(came, sent)| came != sent) {
            return Err(Wrong(format!(
                "{what}: byte {} came back as {:#04x} instead of {:#04x}: it is no echo server",
                done + i,
                piece[i],
                expected[i]
            )));
        }
        if n > expected.len() {
            return Err(Wrong(format!("{what}: more bytes came back than were sent")));
        }
        done += n;
    }
    Ok(())
}

fn silent(bytes: &[u8], done: usize, what: &str) -> Wrong {
    let hint = match bytes[done] {
        0 => "; the next byte is 0: does it use strlen, printf or %s?",
        _ if bytes.len() == LARGE => "; does it ignore what send returns?",
        _ => "",
    };
    let (all, seconds) = (bytes.len(), TO_ANSWER.as_secs());
    Wrong(format!("{what}: {done} of {all} bytes came back, and nothing more within {seconds} s{hint}"))
}

fn is_timeout(why: &std::io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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

    #[track_caller]
    fn is_wrong(treat: impl Fn(TcpStream) + Clone + Send + 'static, threads: bool, says: &str) {
        let wrong = ask(server(treat, threads), 2).unwrap_err().to_string();
        assert!(wrong.contains(says), "{wrong:?} does not say {says:?}");
    }

    #[test]
    fn an_echo_server_passes() {
        assert_eq!(ask(server(echo, true), 2), Ok(()));
        assert_eq!(ask(server(echo, false), 1), Ok(()), "one client at a time, where no more are needed");
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
    fn a_server_of_one_client_at_a_time_is_found_out() {
        is_wrong(echo, false, "a second client, while the first one is silent");
    }

    #[test]
    fn a_server_that_closes_early_or_answers_something_else_is_found_out() {
        let head_only = |mut client: TcpStream| {
            let mut piece = [0; 16];
            client.read_exact(&mut piece).ok();
            client.write_all(&piece).ok();
            client.shutdown(Shutdown::Write).ok();
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
    fn a_server_that_ignores_a_short_send_is_found_out() {
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
    fn nobody_who_listens_is_told() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        assert!(ask(addr, 1).unwrap_err().to_string().contains(&format!("cannot connect to {addr}")));
    }
}
