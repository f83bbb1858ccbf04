//! The course's `demo2`, both versions: a blocking server for one client, call by call.
//!
//! `--close-first` and `--reuse-addr` are what the second version has in comments. Who closes first has
//! the connection in TIME_WAIT for a minute, and a server that did so cannot have its port again, unless
//! it asks for it with `SO_REUSEADDR` before bind. What surprised us: the server before must have asked,
//! too, because the connection remembers. That is why every server should, always.

use clap::Parser;
use io_models::Error;
use io_models::course::{self, perror, say};
use io_models::sys::socket::{self, Accepted, Mode};
use io_models::sys::sockopt;
use io_models::sys::{Call, Errno};
use io_models::tcp::{recv_some, send_all};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

const USAGE: &str = "Using:./demo2-server 通讯端口\nExample:./demo2-server 5005\n\n\
                     注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。\n\
                     \x20     如果是云服务器，还要开通云平台的访问策略。\n\n";

/// A server that answers `ok` to one client, and ends with it
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
    /// Take the port although connections of it are in TIME_WAIT, left by a server with this option, too
    #[arg(long)]
    reuse_addr: bool,
    /// Close the connection as soon as it is there
    #[arg(long)]
    close_first: bool,
}

fn main() -> ExitCode {
    let args: Args = course::arguments(USAGE);
    let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, args.port));

    // 1. A socket.
    let listenfd = match socket::tcp(&addr, Mode::Blocking) {
        Ok(listenfd) => listenfd,
        Err(error) => return perror("socket", &error),
    };
    if args.reuse_addr
        && let Err(error) = sockopt::set_reuse_addr(&listenfd, true)
    {
        return perror("setsockopt", &error);
    }

    // 2. Its address.
    if let Err(error) = socket::bind(&listenfd, &addr) {
        return perror("bind", &error);
    }

    // 3. From now on clients can connect: up to 5 wait for accept.
    if let Err(error) = socket::listen(&listenfd, 5) {
        return perror("listen", &error);
    }
    if let Ok(addr) = socket::local_addr(&listenfd) {
        course::tell_chosen_port(args.port, addr);
    }

    // 4. A client.
    let clientfd = loop {
        match socket::accept(&listenfd, Mode::Blocking) {
            Ok(Accepted::Client(clientfd, _)) => break clientfd,
            // It has gone already.
            Ok(Accepted::Nobody | Accepted::NotThis(Errno::ECONNABORTED)) => {}
            Ok(Accepted::NotThis(source)) => {
                return perror("accept", &Error::Call { call: Call::Accept4, fd: None, source });
            }
            Err(error) => return perror("accept", &error),
        }
    };
    say("客户端已连接。");

    // 5. Its requests; and 6. the end: dropping the sockets closes them.
    if args.close_first { ExitCode::SUCCESS } else { talk(&clientfd) }
}

fn talk(clientfd: &OwnedFd) -> ExitCode {
    let mut buffer = [0; course::PIECE];
    loop {
        match recv_some(clientfd, &mut buffer) {
            Ok(0) => {
                say("iret=0");
                return ExitCode::SUCCESS;
            }
            Ok(n) => say(["接收：".as_bytes(), &buffer[..n]].concat()),
            Err(error) => {
                say("iret=-1");
                return perror("recv", &error);
            }
        }
        if let Err(error) = send_all(clientfd, b"ok") {
            return perror("send", &error);
        }
        say("发送：ok");
    }
}
