//! The course's `demo10`: a process for each client, which is the model `fork` with something to say.
//!
//! Ctrl-C or SIGTERM ends the parent, which then ends its children, and nobody else's processes. Each
//! says so: first the parent, then the children.

use clap::Parser;
use io_models::course::{self, Parent, perror, tell};
use io_models::echo::Reply;
use io_models::initserver::initserver;
use io_models::model::forking;
use io_models::observer::Observer;
use io_models::serve::{Job, Paused};
use io_models::sys::calls::Call;
use io_models::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;
use std::process::ExitCode;

const USAGE: &str = "Using:./demo10-fork-server 通讯端口\nExample:./demo10-fork-server 5005\n\n\
                     注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。\n\
                     \x20     如果是云服务器，还要开通云平台的访问策略。\n\n";

/// A server that answers `ok` to each client, in a process of its own
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments(USAGE);
    let stop = match course::stop_on_signals() {
        Ok(stop) => stop,
        Err(error) => return perror("pipe", &error),
    };
    let listener = match initserver((Ipv4Addr::UNSPECIFIED, args.port).into()) {
        Ok(listener) => listener,
        Err(error) => return perror("initserver()", &error),
    };
    course::tell_chosen_port(args.port, listener.addr());
    let printer = Printer { parent: Parent::new() };
    let job = Job::new(listener, stop, Reply::Ok).in_pieces(course::PIECE);
    match forking::serve(job.observed(&|_| printer.clone())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => perror("accept()", &error),
    }
}

/// What a child says; the rest is said by any parent.
#[derive(Clone)]
struct Printer {
    parent: Parent,
}

impl Observer for Printer {
    fn accepted(&mut self, _: RawFd, peer: Option<SocketAddr>) {
        if let Some(peer) = peer {
            tell(format!("客户端已连接({})。", peer.ip()));
        }
    }

    fn received(&mut self, _: RawFd, bytes: &[u8]) {
        tell(["接收：".as_bytes(), bytes].concat());
    }

    fn answered(&mut self, _: RawFd, bytes: &[u8]) {
        tell(["发送：".as_bytes(), bytes].concat());
    }

    fn left(&mut self, _: RawFd, how: Result<()>) {
        if course::child_ends() {
            return;
        }
        match how {
            // The course's notes tell readers to expect these words. `errno` is left over from the
            // original's attempt to ignore SIGKILL; the stream has just ended.
            Ok(()) => course::complain("recv(): Invalid argument"),
            Err(error @ Error::Call { call: Call::Sendto, .. }) => drop(perror("send", &error)),
            Err(error) => drop(perror("recv()", &error)),
        }
    }

    fn paused(&mut self, why: Paused) {
        self.parent.paused(why);
    }

    fn stopping(&mut self) {
        self.parent.stopping();
    }

    fn killed(&mut self, processes: usize) {
        self.parent.killed(processes);
    }
}
