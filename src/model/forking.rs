//! A process for each client, blocking calls: the course's `demo10`, UNP chapter 30 design 1.
//!
//! The child is the blocking server at its simplest, for one client; the kernel's scheduler is the
//! event loop. The price is fork(2), with exit and wait some 200 µs for a small process, its memory,
//! and a context switch for each request of another client. The parent only accepts, forks and collects.
//!
//! What must be right, and is wrong in most examples:
//!
//! - The parent closes its copy of the client's socket, or the client would never see the end.
//!   The child closes the listener, or the port would stay taken when the parent has died.
//! - Ended children are collected when SIGCHLD says so, until none is left: several ends may come
//!   as one signal. Otherwise they stay as zombies.
//! - Stopping goes to our own children by number. (`kill(0, …)` of the course hits everything in
//!   the process group, such as the rest of a shell pipeline.) A child that waits in recv(2) sees no
//!   stop descriptor, so SIGTERM shuts its socket's reading side: the call returns what has arrived,
//!   then the end. A child whose client does not take its answers is killed after a while.
//! - When the parent is killed, nobody is left for an orderly end: the kernel kills the children.
//!
//! Calls a request: recv and send.

use crate::Result;
use crate::echo::{Conn, Echo, Until, Want};
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::{Door, FLUSH_GRACE, Totals};
use crate::stop::Stop;
use crate::sys::eventfd::EventFd;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::fork::{Fork, Pid, die_with_parent, exit_child, fork, kill, reap, this_process};
use crate::sys::poll::{PollFlags, PollSet, wait_for};
use crate::sys::shared::SharedCounters;
use crate::sys::signal::{self, Signal};
use crate::sys::socket::Mode;
use crate::sys::{Errno, calls};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

const STOP: usize = 0;
const LISTENER: usize = 1;
const CHILDREN: usize = 2;

/// What children report: bytes in, bytes out.
type Traffic = SharedCounters<2>;

/// Serve clients of `listener` with `echo`, each in a process, until `stop`. The observer's copy in the
/// child hears of the client. The rest is as [`for_each_client`] says.
///
/// # Errors
///
/// As [`for_each_client`].
pub fn serve<O: Observer>(listener: Listener, stop: &Stop, echo: Echo<O>) -> Result<Totals> {
    let traffic = Traffic::new()?;
    let (reply, piece, observer) = echo.into_parts();
    let totals = for_each_client(listener, stop, observer, |mut conn, peer, observer| {
        let mut echo = Echo::observed(reply, piece, observer);
        echo.welcome(&conn, peer);
        loop {
            let want = echo.pump(&mut conn, Until::OneRead);
            traffic.add([std::mem::take(&mut echo.bytes_in), std::mem::take(&mut echo.bytes_out)]);
            if want == Want::Close {
                return conn.close();
            }
        }
    })?;
    let [bytes_in, bytes_out] = traffic.values();
    Ok(Totals { bytes_in, bytes_out, ..totals })
}

/// Give each client of `listener` a process that does `job`, until `stop`. The `observer` is
/// told what concerns them all; `job` has the child's copy of it.
///
/// At the stop the reading side of the client's socket is shut down, in each process, so that `job`
/// finds the end of the stream, and [`signal::hung_up`] tells why; after [`FLUSH_GRACE`] what still runs
/// is killed. Children of this process that somebody else has started are collected too, so it should
/// have none. The totals have no bytes: only `job` knows of those.
///
/// # Errors
///
/// [`Error::Threads`](crate::Error::Threads) in a process with several threads; those of the wait
/// and of the listener. What happens to a client ends that client only.
pub fn for_each_client<O: Observer>(
    listener: Listener,
    stop: &Stop,
    mut observer: O,
    job: impl FnOnce(Conn, SocketAddr, O),
) -> Result<Totals> {
    calls::share()?;
    set_nonblocking(&listener)?;
    let parent = this_process();
    let mut children = Children::new()?;
    let mut set = PollSet::new();
    set.push(stop, PollFlags::POLLIN);
    set.push(&listener, PollFlags::POLLIN);
    set.push(&children.ended, PollFlags::POLLIN);
    let mut door = Door::new(listener, Mode::Blocking);
    let mut parked = None;
    loop {
        set.wait(door.timeout(None))?;
        if !set.revents(STOP).is_empty() {
            break;
        }
        if !set.revents(CHILDREN).is_empty() {
            children.collect()?;
            door.client_left();
        }
        let reopened = door.reopens();
        if reopened || !set.revents(LISTENER).is_empty() {
            while let Some((conn, peer)) = next(&mut parked, &mut door)? {
                match fork() {
                    Ok(Fork::Parent(pid)) => {
                        children.pids.insert(pid);
                        conn.close();
                    }
                    Ok(Fork::Child) => {
                        // Its siblings are the parent's to end; and a panic must not unwind into what the
                        // caller does after serving.
                        std::mem::forget(children);
                        door.leave();
                        let life = || prepare(&conn, parent, stop).map(|()| job(conn, peer, observer));
                        exit_child(match catch_unwind(AssertUnwindSafe(life)) {
                            Ok(Ok(())) => 0,
                            Ok(Err(_)) => 1,
                            Err(_) => 101,
                        });
                    }
                    // No process to be had now: the client waits, as one without descriptor does.
                    Err(error) if matches!(error.errno(), Some(Errno::EAGAIN | Errno::ENOMEM)) => {
                        parked = Some((conn, peer));
                        door.shut();
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            let watch = if door.is_shut() { PollFlags::empty() } else { PollFlags::POLLIN };
            set.set_events(LISTENER, watch);
            if door.is_shut() {
                observer.full();
            }
        }
    }
    observer.stopping();
    let totals = door.leave();
    if let Some((conn, _)) = parked {
        conn.close();
    }
    match children.end()? {
        0 => {}
        killed => observer.killed(killed),
    }
    Ok(totals)
}

type Client = (Conn, SocketAddr);

fn next(parked: &mut Option<Client>, door: &mut Door) -> Result<Option<Client>> {
    match parked.take() {
        None => door.accept(),
        client => Ok(client),
    }
}

/// What a child must do before it may wait for its client.
fn prepare(conn: &Conn, parent: Pid, stop: &Stop) -> Result<()> {
    // Ctrl-C goes to every process of the terminal; the parent will tell us with SIGTERM.
    signal::ignore(Signal::SIGINT)?;
    signal::shut_down(conn.as_fd(), Signal::SIGTERM)?;
    signal::default(Signal::SIGCHLD)?;
    let lives = die_with_parent(parent, Signal::SIGKILL)?;
    // A SIGTERM from before the handler was there, for which the stop descriptor, the parent's and ours,
    // still stands: it comes again.
    if !lives || stop.is_set()? {
        kill(this_process(), Signal::SIGTERM)?;
    }
    Ok(())
}

/// The children that live. None is left behind, however the loop ends.
#[derive(Debug)]
struct Children {
    pids: HashSet<Pid>,
    ended: EventFd,
}

impl Children {
    fn new() -> Result<Children> {
        Ok(Children { pids: HashSet::new(), ended: signal::children()? })
    }

    /// Take the status of all that have ended, so that none stays as a zombie.
    fn collect(&mut self) -> Result<()> {
        self.ended.take()?;
        while let Some(pid) = reap()? {
            self.pids.remove(&pid);
        }
        Ok(())
    }

    /// Tell them to end, wait until they have, and kill those that do not: how many.
    fn end(&mut self) -> Result<usize> {
        let mut told = 0;
        for order in [Signal::SIGTERM, Signal::SIGKILL] {
            told = self.pids.len();
            self.pids.iter().try_for_each(|&pid| kill(pid, order))?;
            let until = Instant::now() + FLUSH_GRACE;
            let left = || until.saturating_duration_since(Instant::now());
            while !self.pids.is_empty() && !left().is_zero() {
                wait_for(&self.ended, PollFlags::POLLIN, Some(left()))?;
                self.collect()?;
            }
        }
        Ok(told)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // After an error of the loop, which is what the caller will hear of.
        self.end().ok();
    }
}
