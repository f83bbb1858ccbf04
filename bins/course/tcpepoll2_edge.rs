//! The course's `tcpepoll2`: edge against level, and when a socket becomes writable.
//!
//! `--mode flood` is what the file runs: whenever a client becomes writable, send until nothing more goes
//! in. Edge-triggered, the kernel tells again only after a full send buffer has been drained (by a third,
//! in Linux), and never when it had not been full. Level-triggered, it tells for as long as there is
//! room: with `--sends 0`, which sends nothing, that is without end, and the loop runs hot. (Sending until
//! `EAGAIN` hides the difference, because then there is no room.)
//!
//! `--mode echo` is what the file holds in a comment: the models `epoll-edge` and `epoll-level`, with
//! something to say.

use clap::{Parser, ValueEnum};
use io_models::Result;
use io_models::course::{self, Full, Printer, perror, say};
use io_models::echo::Conn;
use io_models::initserver::Listener;
use io_models::model::{epoll_edge, epoll_level};
use io_models::serve::{Acceptor, ByFd, Next};
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::fcntl::set_nonblocking;
use io_models::sys::limits::Nofile;
use io_models::sys::socket::{Mode as SocketMode, Sent, send};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::ExitCode;

/// What a client gets, over and over: 30 bytes.
const LETTERS: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaabbb";

const LISTENER: u64 = u64::MAX;

/// An epoll(7) server that floods its clients, or echoes, edge- or level-triggered
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
    /// What to do for clients
    #[arg(long, value_enum, default_value_t = Mode::Flood)]
    mode: Mode,
    /// When the kernel tells of them
    #[arg(long, value_enum, default_value_t = Trigger::Edge)]
    trigger: Trigger,
    /// With flood: how often to send, at most, when a client becomes writable
    #[arg(long, value_name = "COUNT", default_value_t = 10_000_000)]
    sends: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Send until the send buffer is full, whenever it has room
    Flood,
    /// Send back what comes
    Echo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trigger {
    /// When something has changed
    Edge,
    /// For as long as it is so
    Level,
}

fn main() -> ExitCode {
    let args: Args = course::arguments("usage: ./tcpepoll2-edge port\n");
    let printer = Printer::new("epoll", None, course::NO_DESCRIPTOR);
    match (args.mode, args.trigger) {
        (Mode::Echo, Trigger::Edge) => course::multiplexed(args.port, printer, epoll_edge::serve),
        (Mode::Echo, Trigger::Level) => course::multiplexed(args.port, printer, epoll_level::serve),
        (Mode::Flood, trigger) => {
            let listener = match Nofile::raise().map(|_| course::listensock(args.port)) {
                Ok(Ok(listener)) => listener,
                Ok(Err(code)) => return code,
                Err(error) => return perror("setrlimit", &error),
            };
            match flood(listener, trigger, args.sends) {
                Ok(never) => match never {},
                Err(error) => perror("epoll() failed", &error),
            }
        }
    }
}

/// Until Ctrl-C ends the process, which owes its clients nothing.
fn flood(listener: Listener, trigger: Trigger, sends: u64) -> Result<std::convert::Infallible> {
    set_nonblocking(&listener)?;
    let mut interest = match trigger {
        Trigger::Edge => EpollFlags::EPOLLOUT | EpollFlags::EPOLLET,
        Trigger::Level => EpollFlags::EPOLLOUT,
    };
    let mut gone = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
    if sends == 0 {
        // No send will ever fail; so the client's FIN has to tell.
        interest |= EpollFlags::EPOLLRDHUP;
        gone |= EpollFlags::EPOLLRDHUP;
    }
    let epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER, EpollFlags::EPOLLIN)?;
    let mut acceptor = Acceptor::new(&listener, SocketMode::Nonblocking);
    let mut full = Full::new(course::NO_DESCRIPTOR);
    let mut conns = ByFd::new();
    let mut events = Events::with_capacity(10);
    loop {
        epoll.wait(&mut events, acceptor.timeout(None))?;
        for event in events.iter() {
            if event.token == LISTENER {
                while let Next::Client(conn, _) = acceptor.next()? {
                    let fd = conn.as_fd().as_raw_fd();
                    say(format!("accept client(socket={fd}) ok."));
                    match epoll.add(&conn, fd as u64, interest) {
                        Ok(()) => conns.insert(conn),
                        Err(_) => acceptor.turn_away(conn),
                    }
                }
                if let Some(why) = acceptor.paused() {
                    full.tell(why);
                    epoll.modify(&listener, LISTENER, EpollFlags::empty())?;
                }
                continue;
            }
            let fd = event.token as RawFd;
            let Some(conn) = conns.get(fd) else { continue };
            say("触发了写件事。");
            if event.flags.intersects(gone) || fill(conn, sends).is_err() {
                say(format!("client(eventfd={fd}) disconnected."));
                conns.close(fd);
                acceptor.client_left();
            }
        }
        if acceptor.resumes() {
            epoll.modify(&listener, LISTENER, EpollFlags::EPOLLIN)?;
        }
    }
}

/// Send to a client until its buffer is full, `sends` times at most.
fn fill(conn: &Conn, sends: u64) -> Result<()> {
    for _ in 0..sends {
        // A few bytes may be all that there is room for; the kernel takes those. The letters do not matter.
        if send(conn, LETTERS)? == Sent::NotNow {
            say("发送缓冲区已填懣。");
            break;
        }
    }
    Ok(())
}
