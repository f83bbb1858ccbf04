//! The course's `client1`: a non-blocking `connect`, which says "not yet", and a wait for its end.
//!
//! A socket becomes writable when its connection stands, and also when it has failed; the notes take the
//! first for granted. `SO_ERROR` tells which it was.

use clap::Parser;
use io_models::course::{self, perror, say};
use io_models::sys::poll::{PollFlags, wait_for};
use io_models::sys::socket::{self, Connected, Mode};
use io_models::sys::sockopt;
use io_models::tcp::resolve;
use io_models::{Error, sys::calls::Call};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Connect without waiting in connect(2), and say whether that worked
#[derive(Debug, Parser)]
struct Args {
    /// Name or address of the server
    host: String,
    /// Its port
    #[arg(value_parser = course::port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments("usage:./client1-connect ip port\n");
    let failed_at_once = |error: Error| {
        say(format!("connect({}:{}) failed.", args.host, args.port));
        perror("connect", &error)
    };
    let addrs = match resolve(&args.host, args.port) {
        Ok(addrs) => addrs,
        Err(error) => return failed_at_once(error),
    };
    // A name may have several addresses, and the server listen on one of them. The failure told is the last one's.
    let (last, others) = addrs.split_last().expect("a name that was resolved has an address");
    if others.iter().any(|addr| matches!(attempt(addr), Attempt::Connected)) {
        say("connect ok.");
        return ExitCode::SUCCESS;
    }
    match attempt(last) {
        Attempt::Connected => {
            say("connect ok.");
            ExitCode::SUCCESS
        }
        Attempt::NoSocket(error) => {
            say("socket() failed.");
            perror("socket", &error)
        }
        Attempt::FailedAtOnce(error) => failed_at_once(error),
        Attempt::Failed(error) => {
            say("connect failed.");
            perror("connect", &error)
        }
    }
}

/// How an attempt to connect went.
enum Attempt {
    Connected,
    NoSocket(Error),
    FailedAtOnce(Error),
    Failed(Error),
}

fn attempt(addr: &SocketAddr) -> Attempt {
    let sockfd = match socket::tcp(addr, Mode::Nonblocking) {
        Ok(sockfd) => sockfd,
        Err(error) => return Attempt::NoSocket(error),
    };
    match socket::connect(&sockfd, addr) {
        Ok(Connected::Yes | Connected::Pending) => {}
        Err(error) => return Attempt::FailedAtOnce(error),
    }
    let outcome = wait_for(&sockfd, PollFlags::POLLOUT, None).and_then(|_| sockopt::take_error(&sockfd));
    match outcome {
        Ok(None) => Attempt::Connected,
        Ok(Some(source)) => Attempt::Failed(Error::Call { call: Call::Connect, fd: None, source }),
        Err(error) => Attempt::Failed(error),
    }
}
