//! The course's `tcpepoll1`: a non-blocking `accept`, asked again and again until there is a client.
//!
//! Each time it answers `EAGAIN`: "nobody, ask later". Asking at once burns a processor; waiting for the
//! listener to be readable is what select, poll and epoll are for.

use clap::Parser;
use io_models::Error;
use io_models::course::{self, perror, say};
use io_models::sys::fcntl::set_nonblocking;
use io_models::sys::socket::{Accepted, Mode, accept};
use io_models::sys::{Call, Errno};
use std::process::ExitCode;

/// Wait for a client in a loop over a non-blocking accept(2)
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments("usage: ./tcpepoll1-accept port\n");
    let listener = match course::listensock(args.port) {
        Ok(listener) => listener,
        Err(code) => return code,
    };
    if let Err(error) = set_nonblocking(&listener) {
        return perror("fcntl", &error);
    }
    let mut nobody: u64 = 0;
    loop {
        match accept(&listener, Mode::Blocking) {
            Ok(Accepted::Client(..)) => break,
            Ok(Accepted::Nobody) => nobody += 1,
            // It has gone already.
            Ok(Accepted::NotThis(Errno::ECONNABORTED)) => {}
            Ok(Accepted::NotThis(source)) => {
                return perror("accept:", &Error::Call { call: Call::Accept4, fd: None, source });
            }
            Err(error) => return perror("accept:", &error),
        }
    }
    say("客户端已连接。");
    course::complain(&format!("accept() answered EAGAIN {nobody} times before the client came"));
    ExitCode::SUCCESS
}
