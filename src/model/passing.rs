//! A fixed number of processes, to which the parent passes the sockets of clients: UNP chapter 30 design 5.
//!
//! The parent accepts, and passes the descriptor of each client by `SCM_RIGHTS` over a unix(7) socket to a worker that is free. The
//! worker serves that client, with blocking calls, and then writes one byte to say that it is free again. In `prefork.rs` the kernel
//! decides which worker gets a client; here the parent does, and takes the first that is free. The price is one more process that
//! each client has to pass through, and the calls for that: sendmsg and recvmsg, write and read, and poll.
//!
//! What must be right, and is wrong in most examples:
//!
//! - The parent accepts only while a worker is free. So clients wait in the queue of the listener, and the parent has no
//!   descriptor of a client for longer than it takes to pass it.
//! - A worker may die before it has taken a client. The parent keeps a copy of the worker's end of the sockets, so the client is
//!   still in there: the parent takes it out, and passes it to another worker. A client that the worker has taken dies with it.
//! - A child inherits the sockets of the other workers and closes them, or these would never find the end of theirs.
//! - SIGTERM ends a recvmsg(2) as it ends a recv(2), by a shutdown of the reading side. What is in the socket already can still
//!   be received, so a worker serves the client that was passed to it just before, and then ends.
//!
//! System calls per request: recv and send.

use crate::Result;
use crate::echo::{Conn, Pump};
use crate::observer::Observer;
use crate::serve::children::{shut_reading_at_hang_up, until_hang_up};
use crate::serve::workers::Crew;
use crate::serve::{Acceptor, Job, Next, Paused, Totals, Worker, finish};
use crate::stop::Stop;
use crate::sys::fcntl::set_nonblocking;
use crate::sys::passing::{self, Passed};
use crate::sys::poll::{PollFlags, PollSet, wait_for};
use crate::sys::socket::{Mode, peer_addr};
use crate::sys::stdio::write_all;
use crate::sys::{Call, Errno, cvt_on, retry};
use nix::unistd::read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The slots of the array: three of ours, then the workers, in the order of `channels`.
const STOP: usize = 0;
const LISTENER: usize = 1;
const CREW: usize = 2;
const FIRST_WORKER: usize = 3;

/// Serve one client in each process until the stop.
///
/// # Errors
///
/// [`Error::Threads`](crate::Error::Threads) in a process with several threads; `EAGAIN` when there are not as many processes;
/// `EMFILE` when there are not two descriptors for each. What happens to a client ends that client only.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let mut observer = (job.observe)(Worker::ONLY);
    let Job { listener, stop, reply, piece, workers, observe, .. } = job;
    set_nonblocking(&listener)?;
    let mut crew = Crew::new(workers)?;
    let acceptor = Acceptor::new(&listener, Mode::Blocking);
    let channels = (0..workers.get()).map(|_| Channel::new()).collect::<Result<Vec<_>>>()?;
    let mut parent = Parent { acceptor, channels, held: Vec::new() };
    let mut set = parent.watch(stop, &crew);
    loop {
        if let Some((worker, child)) = crew.fill(&mut observer)? {
            let theirs = parent.leave_all_but(worker);
            listener.close();
            child.run(|traffic| {
                let pump = Pump::new(reply, piece, observe(worker)).publishing_to(Some(traffic));
                one_after_another(pump, &theirs).map(|totals| totals.publish(traffic))
            });
        }
        let is_watched = parent.has_free_worker() && !parent.acceptor.is_paused();
        set.set_events(LISTENER, if is_watched { PollFlags::POLLIN } else { PollFlags::empty() });
        set.wait([parent.acceptor.timeout(None), crew.timeout()].into_iter().flatten().min())?;
        if !set.revents(STOP).is_empty() {
            break;
        }
        for (i, channel) in parent.channels.iter_mut().enumerate() {
            if !set.revents(FIRST_WORKER + i).is_empty() {
                channel.hear()?;
            }
        }
        if !set.revents(CREW).is_empty() {
            for worker in crew.collect(&mut observer)? {
                parent.replace_channel(worker)?;
            }
            set = parent.watch(stop, &crew);
        }
        parent.acceptor.resumes();
        // While the listener is not watched, nobody tells of clients.
        if !is_watched || !set.revents(LISTENER).is_empty() || !parent.held.is_empty() {
            parent.pass_on()?;
        }
        parent.acceptor.paused().into_iter().for_each(|why| observer.paused(why));
    }
    let times_full = parent.acceptor.totals().times_full;
    parent.held.into_iter().for_each(Conn::close);
    listener.close();
    let mut totals = crew.end(&mut observer)?;
    totals.times_full += times_full;
    Ok(totals)
}

/// What the parent works with.
struct Parent<'a> {
    acceptor: Acceptor<'a>,
    channels: Vec<Channel>,
    /// Clients that were accepted, and have no worker.
    held: Vec<Conn>,
}

impl Parent<'_> {
    fn watch(&self, stop: &Stop, crew: &Crew) -> PollSet {
        let mut set = PollSet::new();
        set.push(stop, PollFlags::POLLIN);
        set.push(self.acceptor.listener(), PollFlags::empty());
        set.push(crew, PollFlags::POLLIN);
        for channel in &self.channels {
            set.push(&channel.ours, PollFlags::POLLIN);
        }
        set
    }

    /// In a child: close what is not its own. Returns its end of its channel.
    fn leave_all_but(self, Worker(own): Worker) -> OwnedFd {
        let Parent { mut channels, .. } = self;
        channels.swap_remove(own).theirs
    }

    fn has_free_worker(&self) -> bool {
        self.channels.iter().any(|channel| channel.is_free)
    }

    /// The process of a worker has ended. A client that it was passed and has not taken goes to another one.
    fn replace_channel(&mut self, Worker(ended): Worker) -> Result<()> {
        self.held.extend(self.channels[ended].untaken()?);
        self.channels[ended] = Channel::new()?;
        Ok(())
    }

    /// Pass a client to each worker that is free, as long as there are some.
    fn pass_on(&mut self) -> Result<()> {
        let Parent { acceptor, channels, held } = self;
        for channel in channels.iter_mut().filter(|channel| channel.is_free) {
            let next = || Ok(if let Next::Client(conn, _) = acceptor.next()? { Some(conn) } else { None });
            let Some(conn) = held.pop().map_or_else(next, |conn| Ok(Some(conn)))? else {
                break;
            };
            match passing::send(&channel.ours, &[conn.as_fd()]) {
                Ok(_) => {
                    channel.is_free = false;
                    conn.close();
                }
                // SIGTERM has told the worker to end: it takes nobody any more.
                Err(error) if error.errno() == Some(Errno::EPIPE) => {
                    channel.is_free = false;
                    held.push(conn);
                }
                Err(error) if error.errno() == Some(Errno::ETOOMANYREFS) => {
                    held.push(conn);
                    acceptor.pause(Paused::NoDescriptor);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The way to a worker. A new process gets a new one.
struct Channel {
    ours: OwnedFd,
    theirs: OwnedFd,
    /// Whether the worker waits for a client.
    is_free: bool,
}

impl Channel {
    fn new() -> Result<Channel> {
        let (ours, theirs) = passing::pair()?;
        Ok(Channel { ours, theirs, is_free: false })
    }

    /// The worker has written that it is free.
    fn hear(&mut self) -> Result<()> {
        let ours = self.ours.as_fd();
        self.is_free = retry(|| cvt_on(Call::Read, ours, read(ours, &mut [0])))? == 1;
        Ok(())
    }

    /// The worker has ended: the client that it was passed and has not taken.
    fn untaken(&self) -> Result<Option<Conn>> {
        let has_one = wait_for(&self.theirs, PollFlags::POLLIN, Some(Duration::ZERO))?;
        if has_one { take(&self.theirs) } else { Ok(None) }
    }
}

/// The client that was passed over this socket; `None` when nobody follows.
fn take(socket: &OwnedFd) -> Result<Option<Conn>> {
    Ok(match passing::receive(socket)? {
        Passed::Descriptors(fds) => fds.into_iter().next().map(Conn::new),
        Passed::End | Passed::NotNow => None,
    })
}

/// The life of a worker.
fn one_after_another<O: Observer>(mut pump: Pump<O>, parent: &OwnedFd) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut last = None;
    while last.is_none() {
        write_all(parent, &[0])?;
        shut_reading_at_hang_up(parent);
        let Some(conn) = take(parent)? else { break };
        let Ok(peer) = peer_addr(&conn) else {
            // The client has reset the connection while it was on its way.
            conn.close();
            continue;
        };
        totals.connections += 1;
        pump.welcome(&conn, peer);
        last = until_hang_up(&mut pump, conn);
    }
    last.iter().try_for_each(set_nonblocking)?;
    finish(pump, last, totals)
}
