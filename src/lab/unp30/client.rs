//! A client process: the client of the book, which also looks at what it gets.
//!
//! It opens its connections one after another. In each it asks, reads the whole answer, compares every byte, and closes
//! first, as in the book. So TIME_WAIT stays with the client, and its ports are not free again at once. For each load each
//! client has another address of the loopback device, and so all the ports of that address.

use super::Load;
use super::answer::as_many_bytes;
use crate::lab::explain;
use crate::sys::clock;
use crate::sys::socket::{self, Received};
use crate::sys::sockopt;
use crate::tcp;
use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long a connect, a send or a receive may take.
const LONGEST: Duration = Duration::from_secs(10);

/// A load on one server.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) server: SocketAddr,
    /// The client's own address, which no connection of another order has.
    pub(super) source: IpAddr,
    pub(super) connections: usize,
    pub(super) load: Load,
    /// Of the bytes that are sent.
    pub(super) seed: u64,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Before the first connect(2), by the monotonic clock, which all processes share.
    pub(super) began: Duration,
    /// After the last close(2).
    pub(super) ended: Duration,
    /// CPU time of the client meanwhile.
    pub(super) cpu: Duration,
    /// Why it ended early.
    pub(super) trouble: Option<String>,
}

/// Follow orders until the input ends.
///
/// # Errors
///
/// When the other process writes what is no order, or does not read the answers. What goes wrong with a server is in the
/// answer.
pub fn follow(orders: impl BufRead, mut answers: impl Write) -> anyhow::Result<()> {
    for line in orders.lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let (began, cpu_before) = (clock::monotonic(), clock::thread_cpu());
        let trouble = order.carry_out().err().map(|why| explain::explain(&why));
        let (ended, cpu) = (clock::monotonic(), clock::thread_cpu() - cpu_before);
        let done = Done { began, ended, cpu, trouble };
        answers.write_all((serde_json::to_string(&done)? + "\n").as_bytes())?;
        answers.flush()?;
    }
    Ok(())
}

impl Order {
    fn carry_out(&self) -> anyhow::Result<()> {
        let exchanges = Exchanges::new(self.load, self.seed);
        let mut buffer = vec![0; exchanges.longest_answer() + 1];
        for i in 0..self.connections {
            self.connection(&exchanges, &mut buffer).with_context(|| format!("connection {i}"))?;
        }
        Ok(())
    }

    fn connection(&self, exchanges: &Exchanges, buffer: &mut [u8]) -> anyhow::Result<()> {
        let socket = tcp::connect(&[self.server], |socket, _| self.prepare(socket))?;
        for i in 0..exchanges.count {
            let (request, answer) = exchanges.at(i);
            tcp::send_all(&socket, request)?;
            expect(&socket, answer, buffer)?;
        }
        Ok(())
    }

    fn prepare(&self, socket: &OwnedFd) -> crate::Result<()> {
        sockopt::set_time_limit(socket, LONGEST)?;
        sockopt::set_bind_address_no_port(socket, true)?;
        socket::bind(socket, &SocketAddr::new(self.source, 0))
    }
}

/// Read `answer`, and not a byte more, if that has arrived.
fn expect(socket: &OwnedFd, answer: &[u8], buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut got = 0;
    while got < answer.len() {
        let known = got;
        match socket::recv(socket, &mut buffer[got..=answer.len()])? {
            Received::Bytes(n) => got += n,
            Received::End => bail!("the server closed after {got} of {} bytes", answer.len()),
            Received::NotNow => {
                bail!("{got} of {} bytes came within {} s", answer.len(), LONGEST.as_secs())
            }
        }
        let right = &answer[known..got.min(answer.len())];
        if buffer[known..][..right.len()] != *right {
            let at = (known..).find(|&at| buffer[at] != answer[at]).unwrap_or(known);
            bail!("byte {at} of the answer is {} instead of {}", buffer[at], answer[at]);
        }
    }
    ensure!(got == answer.len(), "the answer has more than {} bytes", answer.len());
    Ok(())
}

/// What is said in each connection.
struct Exchanges {
    count: usize,
    /// Requests, one behind the other.
    requests: Vec<u8>,
    request_len: usize,
    /// The answer to each of them, if it is not its echo.
    answer: Option<Vec<u8>>,
}

impl Exchanges {
    fn new(load: Load, seed: u64) -> Exchanges {
        match load {
            Load::Book => {
                let requests = format!("{}\n", Load::ANSWER).into_bytes();
                let mut answer = Vec::new();
                as_many_bytes(&requests, &mut answer);
                Exchanges { count: 1, request_len: requests.len(), requests, answer: Some(answer) }
            }
            Load::Echo => {
                let mut requests = vec![0; Load::MESSAGES * Load::MESSAGE];
                fastrand::Rng::with_seed(seed).fill(&mut requests);
                Exchanges { count: Load::MESSAGES, request_len: Load::MESSAGE, requests, answer: None }
            }
        }
    }

    fn longest_answer(&self) -> usize {
        self.answer.as_ref().map_or(self.request_len, Vec::len)
    }

    /// A request, and its answer.
    fn at(&self, i: usize) -> (&[u8], &[u8]) {
        let request = &self.requests[i * self.request_len..][..self.request_len];
        (request, self.answer.as_deref().unwrap_or(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};
    use std::net::TcpListener;
    use std::thread;

    /// What a client says of a server that answers the request of each connection with what `answer` makes of it, and
    /// closes.
    fn trouble(load: Load, answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let source = "127.0.0.2".parse().unwrap();
        let order = Order { server, source, connections: 3, load, seed: 7 };
        let serving = thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut request = [0; 64];
                let n = client.read(&mut request).unwrap();
                client.write_all(&answer(&request[..n])).unwrap();
            }
        });
        let mut said = Vec::new();
        let line = serde_json::to_string(&order).unwrap();
        follow(BufReader::new(line.as_bytes()), &mut said).unwrap();
        drop(serving);
        let done: Done = serde_json::from_slice(&said).unwrap();
        assert!(done.ended > done.began);
        done.trouble
    }

    fn right(request: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        as_many_bytes(request, &mut answer);
        answer
    }

    #[test]
    fn a_right_answer_is_no_trouble() {
        assert_eq!(trouble(Load::Book, right), None);
    }

    #[test]
    fn one_wrong_byte_is_found_also_the_last() {
        for at in [0, 1, 2000, 3999] {
            let wrong = move |request: &[u8]| {
                let mut answer = right(request);
                answer[at] ^= 1;
                answer
            };
            let said = trouble(Load::Book, wrong).unwrap();
            assert!(said.starts_with(&format!("connection 0: byte {at} of the answer is ")), "{said}");
        }
    }

    #[test]
    fn a_short_answer_is_found() {
        let said = trouble(Load::Book, |request| right(request)[1..].to_vec()).unwrap();
        assert!(said.contains("byte 0 of the answer is 1 instead of 0"), "{said}");
        let said = trouble(Load::Book, |request| right(request)[..3999].to_vec()).unwrap();
        assert_eq!(said, "connection 0: the server closed after 3999 of 4000 bytes");
    }

    #[test]
    fn a_long_answer_is_found() {
        let said = trouble(Load::Book, |request| [right(request), vec![0]].concat()).unwrap();
        assert_eq!(said, "connection 0: the answer has more than 4000 bytes");
    }

    #[test]
    fn an_echo_of_something_else_is_found_and_a_server_that_leaves() {
        let said = trouble(Load::Echo, |request| request.iter().map(|byte| !byte).collect()).unwrap();
        assert!(said.starts_with("connection 0: byte 0 of the answer is "), "{said}");
        let said = trouble(Load::Echo, <[u8]>::to_vec).unwrap();
        assert!(said.contains("closed after 0 of 64 bytes") || said.contains("reset"), "{said}");
    }

    #[test]
    fn what_is_no_order_is_an_error() {
        assert!(follow(&b"begin\n"[..], Vec::new()).is_err());
    }
}
