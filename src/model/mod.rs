//! The server models, one file each, and the table of them.
//!
//! Read two of these files side by side: [`select`] beside [`poll`], [`epoll_level`] beside
//! [`epoll_edge`]. Each has its whole loop. They have no common trait over "pollers", because it
//! would hide what they are here to show; what is the same in all of them is in
//! [`serve`](crate::serve) and [`echo`](crate::echo).
//!
//! # In reading order
//!
//! One client at a time, then a process or a thread for each, then one loop for all clients, then several loops:
//!
//! 1. [`blocking`]: one client at a time.
//! 2. [`spin`]: non-blocking calls on every socket in turn, without a readiness call.
//! 3. [`forking`]: a process for each client.
//! 4. [`prefork`]: a fixed number of processes, each in accept(2).
//! 5. [`passing`]: a fixed number of processes, to which the parent passes the sockets.
//! 6. [`threads`]: a thread for each client.
//! 7. [`prethread`]: a fixed number of threads, each in accept(2).
//! 8. [`handover`]: a fixed number of threads, for which the first one accepts.
//! 9. [`select`]: select(2), up to descriptor 1023.
//! 10. [`select_big`]: select(2) without that limit.
//! 11. [`poll`]: poll(2), an array that grows.
//! 12. [`sigio`]: a queued signal for each change.
//! 13. [`epoll_level`]: epoll(7), level-triggered.
//! 14. [`epoll_edge`]: epoll(7), edge-triggered.
//! 15. [`epoll_oneshot`]: threads that share one epoll and all clients.
//! 16. [`epoll_exclusive`]: threads with an epoll each and one listener in all.
//! 17. [`reuseport`]: threads or processes with a listener each on one port.
#![cfg_attr(feature = "uring", doc = "18. [`uring_poll`]: io_uring(7) as a source of readiness.")]
#![cfg_attr(feature = "uring", doc = "19. [`uring`]: io_uring(7) accepts, receives and sends.")]
//!
//! A row of the table [`ALL`] is a [`Model`]; [`find`] finds one by its name. CONTRIBUTING.md says how to add one.

pub mod blocking;
pub mod spin;
pub mod forking;
pub mod prefork;
pub mod passing;
pub mod threads;
pub mod prethread;
pub mod handover;
pub mod select;
pub mod select_big;
pub mod poll;
pub mod sigio;
pub mod epoll_level;
pub mod epoll_edge;
pub mod epoll_oneshot;
pub mod epoll_exclusive;
pub mod reuseport;
#[cfg(feature = "uring")]
pub mod uring_poll;
#[cfg(feature = "uring")]
pub mod uring;

use crate::Result;
use crate::initserver::{Listener, initserver, initserver_shared};
use crate::serve::{Job, Totals};
use crate::sys::lock::{RecordLock, SharedMutex};
use crate::sys::select::FdSet;
use std::net::SocketAddr;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// As on the command line, such as `epoll-edge`.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// How many clients it serves at the same time.
    pub clients: Clients,
    /// Where it does so.
    pub runs: Runs,
    /// How many listeners it has.
    pub listens: Listens,
    /// What it does when there is nothing to do.
    pub waits: Waits,
    /// Whether it can look for events several times before it sleeps ([`Job::spin`]).
    pub can_spin: bool,
    /// What the kernel must have, beyond what every model needs.
    pub needs: Option<&'static str>,
    /// Why this system cannot run it; `None` when it can.
    pub why_not: fn() -> Option<String>,
    /// Serve clients of the listener until told to stop.
    pub serve: fn(Job<'_>) -> Result<Totals>,
}

/// How many clients a model serves at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clients {
    /// One; the others wait until it has left.
    One,
    /// So many, for a reason that is the model's own; more have to wait.
    UpTo {
        /// The number.
        most: usize,
        /// The reason.
        because: &'static str,
    },
    /// As many as there are processes.
    Processes,
    /// As many as there are threads.
    Threads,
    /// One for each worker; the others wait until one of them has left.
    Workers,
    /// As many as there are descriptors (`RLIMIT_NOFILE`).
    Descriptors,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Runs {
    /// In the thread that calls `serve`.
    InThread,
    /// In a thread for each client.
    ThreadPerClient,
    /// In a process for each client. `serve` needs a process with one thread.
    ProcessPerClient,
    /// In a fixed number of threads.
    WorkerThreads,
    /// In a fixed number of processes. `serve` needs a process with one thread.
    WorkerProcesses,
}

/// Where a model accepts its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listens {
    /// At one listener.
    Once,
    /// At a listener for each worker, all on one port: [`initserver_shared`] makes the first.
    PerWorker,
}

/// What a model does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It sleeps in a system call.
    Sleeps,
    /// It asks again at once, and keeps a processor busy.
    Spins,
}

/// Descriptors below 1024 that a server does not have for clients: the three standard ones, the stop pipe with its handler's
/// copy, the listener, and two that whoever started it may have left open.
const NOT_FOR_CLIENTS: usize = 9;

/// What most rows have in common.
const USUAL: Model = Model {
    name: "",
    summary: "",
    clients: Clients::Descriptors,
    runs: Runs::InThread,
    listens: Listens::Once,
    waits: Waits::Sleeps,
    can_spin: false,
    needs: None,
    why_not: || None,
    serve: poll::serve,
};

/// Every model, in reading order.
pub const ALL: &[Model] = &[
    Model {
        name: "blocking",
        summary: "one client at a time, blocking calls",
        clients: Clients::One,
        serve: blocking::serve,
        ..USUAL
    },
    Model {
        name: "spin",
        summary: "non-blocking calls on every socket in turn, without a readiness call: never sleeps",
        waits: Waits::Spins,
        serve: spin::serve,
        ..USUAL
    },
    Model {
        name: "fork",
        summary: "a process for each client, blocking calls",
        clients: Clients::Processes,
        runs: Runs::ProcessPerClient,
        serve: forking::serve,
        ..USUAL
    },
    Model {
        name: "prefork",
        summary: "worker processes, one client each; all of them wait in accept",
        clients: Clients::Workers,
        runs: Runs::WorkerProcesses,
        serve: prefork::serve,
        ..USUAL
    },
    Model {
        name: "prefork-flock",
        summary: "worker processes, one client each, with a record lock (fcntl F_SETLKW) around accept",
        clients: Clients::Workers,
        runs: Runs::WorkerProcesses,
        needs: Some("memfd_create(2)"),
        why_not: || RecordLock::new().err().map(|error| error.to_string()),
        serve: prefork::serve_with_record_lock,
        ..USUAL
    },
    Model {
        name: "prefork-mutex",
        summary: "worker processes, one client each, with a pthread mutex in shared memory around accept",
        clients: Clients::Workers,
        runs: Runs::WorkerProcesses,
        needs: Some("robust futexes"),
        why_not: || SharedMutex::new().err().map(|error| error.to_string()),
        serve: prefork::serve_with_mutex,
        ..USUAL
    },
    Model {
        name: "prefork-passing",
        summary: "worker processes to which the first one passes the sockets of clients (SCM_RIGHTS)",
        clients: Clients::Workers,
        runs: Runs::WorkerProcesses,
        serve: passing::serve,
        ..USUAL
    },
    Model {
        name: "thread",
        summary: "a thread for each client, blocking calls",
        clients: Clients::Threads,
        runs: Runs::ThreadPerClient,
        serve: threads::serve,
        ..USUAL
    },
    Model {
        name: "prethread",
        summary: "worker threads, one client each; all of them wait in accept",
        clients: Clients::Workers,
        runs: Runs::WorkerThreads,
        serve: prethread::serve,
        ..USUAL
    },
    Model {
        name: "prethread-handover",
        summary: "worker threads, one client each; the first thread accepts and hands each client to a free one",
        clients: Clients::Workers,
        runs: Runs::WorkerThreads,
        serve: handover::serve,
        ..USUAL
    },
    Model {
        name: "select",
        summary: "select(2): bitmaps of 1024 descriptors, copied and scanned at each turn",
        clients: Clients::UpTo {
            most: FdSet::CAPACITY - NOT_FOR_CLIENTS,
            because: "an fd_set ends at descriptor 1023",
        },
        serve: select::serve,
        ..USUAL
    },
    Model {
        name: "select-big",
        summary: "select(2) as the raw system call, with bitmaps that grow",
        serve: select_big::serve,
        ..USUAL
    },
    Model {
        name: "poll",
        summary: "poll(2): an array that grows, copied and scanned at each turn",
        serve: poll::serve,
        ..USUAL
    },
    Model {
        name: "sigio",
        summary: "signal-driven I/O: a queued real-time signal for each change, taken by sigtimedwait(2)",
        serve: sigio::serve,
        ..USUAL
    },
    Model {
        name: "epoll-level",
        summary: "epoll(7), level-triggered: interest kept in the kernel, changed when it changes",
        can_spin: true,
        serve: epoll_level::serve,
        ..USUAL
    },
    Model {
        name: "epoll-edge",
        summary: "epoll(7), edge-triggered: registered once, read until a read comes back short",
        can_spin: true,
        serve: epoll_edge::serve,
        ..USUAL
    },
    Model {
        name: "epoll-oneshot",
        summary: "worker threads that share one epoll and all clients: each event wakes one of them (EPOLLONESHOT)",
        runs: Runs::WorkerThreads,
        can_spin: true,
        serve: epoll_oneshot::serve,
        ..USUAL
    },
    Model {
        name: "epoll-exclusive",
        summary: "worker threads, each with an epoll; one listener in all: a new client wakes one of them (EPOLLEXCLUSIVE)",
        runs: Runs::WorkerThreads,
        needs: Some("Linux 4.5"),
        can_spin: true,
        serve: epoll_exclusive::serve,
        ..USUAL
    },
    Model {
        name: "epoll-herd",
        summary: "worker threads, each with an epoll; one listener in all: a new client wakes them all; to compare with",
        runs: Runs::WorkerThreads,
        can_spin: true,
        serve: epoll_exclusive::serve_herd,
        ..USUAL
    },
    Model {
        name: "reuseport",
        summary: "worker threads, each with a listener of its own on the same port (SO_REUSEPORT), and epoll",
        runs: Runs::WorkerThreads,
        listens: Listens::PerWorker,
        can_spin: true,
        serve: reuseport::serve,
        ..USUAL
    },
    Model {
        name: "reuseport-processes",
        summary: "worker processes, each with a listener of its own on the same port (SO_REUSEPORT), and epoll",
        runs: Runs::WorkerProcesses,
        listens: Listens::PerWorker,
        can_spin: true,
        serve: reuseport::serve_in_processes,
        ..USUAL
    },
    #[cfg(feature = "uring")]
    Model {
        name: "uring-poll",
        summary: "io_uring(7) as a source of readiness: one poll for each turn of a client, then recv and send",
        needs: Some("io_uring of Linux 6.1"),
        why_not: crate::sys::uring::unavailable,
        can_spin: true,
        serve: uring_poll::serve,
        ..USUAL
    },
    #[cfg(feature = "uring")]
    Model {
        name: "uring",
        summary: "io_uring(7): multishot accept and receive, provided buffers, direct descriptors",
        needs: Some("io_uring of Linux 6.1"),
        why_not: crate::sys::uring::unavailable,
        can_spin: true,
        serve: uring::serve,
        ..USUAL
    },
    #[cfg(feature = "uring")]
    Model {
        name: "uring-reuseport",
        summary: "worker threads, each with a listener of its own on the same port (SO_REUSEPORT), and a ring as `uring`",
        runs: Runs::WorkerThreads,
        listens: Listens::PerWorker,
        needs: Some("io_uring of Linux 6.1"),
        why_not: crate::sys::uring::unavailable,
        can_spin: true,
        serve: reuseport::serve_by_rings,
        ..USUAL
    },
];

impl Model {
    /// A listener as this model needs it.
    ///
    /// # Errors
    ///
    /// As [`initserver`]: also a port that several may share must be free, or two servers would share its clients.
    pub fn listen(&self, addr: SocketAddr) -> Result<Listener> {
        let alone = initserver(addr)?;
        if self.listens == Listens::Once {
            return Ok(alone);
        }
        let addr = alone.addr();
        alone.close();
        initserver_shared(addr)
    }

    /// Whether several workers share its clients.
    #[must_use]
    pub fn has_workers(&self) -> bool {
        matches!(self.runs, Runs::WorkerThreads | Runs::WorkerProcesses)
    }
}

/// The model of that name.
///
/// # Examples
///
/// ```
/// assert!(io_models::model::find("epoll-edge").is_some());
/// assert!(io_models::model::find("epoll").is_none());
/// ```
#[must_use]
pub fn find(name: &str) -> Option<&'static Model> {
    ALL.iter().find(|model| model.name == name)
}
