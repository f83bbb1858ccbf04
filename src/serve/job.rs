//! What a server is asked to do.

use super::MaxClients;
use crate::echo::{Pump, Reply, SCRATCH_BYTES, Traffic};
use crate::initserver::Listener;
use crate::observer::{Notices, Observer};
use crate::stop::Stop;
use std::fmt;
use std::num::NonZeroUsize;

/// The number of a worker, from 0. A model without workers does the work of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker(pub usize);

impl Worker {
    /// Who serves in a model without workers.
    pub const ONLY: Worker = Worker(0);
}

/// Serve the clients of a listener until a stop: what every model is given.
pub struct Job<'a, O = Notices> {
    /// Where clients connect.
    pub listener: Listener,
    /// It becomes readable when the server has to end.
    pub stop: &'a Stop,
    /// The answer.
    pub reply: Reply,
    /// Bytes that are received at a time, at most.
    pub piece: usize,
    /// How many threads or processes share the work, in models that have workers.
    pub workers: NonZeroUsize,
    /// How many clients there may be at a time, over all workers. The others wait in the queue of the listener.
    pub max_clients: MaxClients,
    /// How often to look for an event before sleeping, in models that can ([`Model::can_spin`](crate::model::Model::can_spin)).
    pub spin: u32,
    /// Makes an observer for each worker, in the thread or process of that worker. (In a model with a process or thread for
    /// each client it makes one for each of these. A thread that only accepts has one more, as the first worker, and so has the
    /// parent of processes.)
    pub observe: &'a (dyn Fn(Worker) -> O + Sync),
    /// Where a process tells its parent what it has done.
    pub(crate) traffic: Option<&'static Traffic>,
}

impl<'a> Job<'a> {
    /// Serve with one worker, which tells nobody.
    #[must_use]
    pub fn new(listener: Listener, stop: &'a Stop, reply: Reply) -> Job<'a> {
        let observe = &|_| Notices::none();
        Job {
            listener,
            stop,
            reply,
            piece: SCRATCH_BYTES,
            workers: NonZeroUsize::MIN,
            max_clients: MaxClients::unlimited(),
            spin: 0,
            observe,
            traffic: None,
        }
    }
}

impl<'a, O: Observer> Job<'a, O> {
    /// The same with so many workers, or as many as there may be clients if that is less.
    #[must_use]
    pub fn with_workers(self, workers: NonZeroUsize) -> Job<'a, O> {
        Job { workers: self.max_clients.workers(workers), ..self }
    }

    /// The same with at most so many clients at a time, over all workers. Clients beyond that wait in the queue of the listener until
    /// one leaves, and the [observer](Observer::paused) is told.
    ///
    /// Where a worker serves one client, as in `prefork`, this is a limit on the workers, and the observer is not told. In `reuseport`,
    /// `reuseport-processes` and `uring-reuseport` each worker has an equal share of the limit: the kernel decides whose client it is,
    /// which then waits for that worker. In `epoll-exclusive` and `epoll-herd` a worker may see only after 100 ms that a client of
    /// another worker has left.
    #[must_use]
    pub fn with_max_clients(self, most: NonZeroUsize) -> Job<'a, O> {
        let max_clients = MaxClients::new(most);
        Job { workers: max_clients.workers(self.workers), max_clients, ..self }
    }

    /// The same, looking for an event so often before sleeping.
    #[must_use]
    pub fn spinning(self, spin: u32) -> Job<'a, O> {
        Job { spin, ..self }
    }

    /// The same, receiving at most `piece` bytes at a time.
    #[must_use]
    pub fn in_pieces(self, piece: usize) -> Job<'a, O> {
        Job { piece, ..self }
    }

    /// The same with another observer.
    #[must_use]
    pub fn observed<P: Observer>(self, observe: &'a (dyn Fn(Worker) -> P + Sync)) -> Job<'a, P> {
        let Job { listener, stop, reply, piece, workers, max_clients, spin, traffic, .. } = self;
        Job { listener, stop, reply, piece, workers, max_clients, spin, observe, traffic }
    }

    /// The pump of a worker.
    #[must_use]
    pub fn pump(&self, worker: Worker) -> Pump<O> {
        Pump::new(self.reply, self.piece, (self.observe)(worker)).publishing_to(self.traffic)
    }
}

impl<O> fmt::Debug for Job<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("listener", &self.listener)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
