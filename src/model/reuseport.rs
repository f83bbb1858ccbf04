//! Several listeners on one port (`SO_REUSEPORT`, Linux 3.9), each with a worker of its own: in threads, or in processes.
//!
//! The kernel gives each client to one of the listeners, by a hash of its address and port. The workers share nothing, so nothing
//! is locked and nobody is woken in vain; each is the server of `epoll_level.rs`. The price is fairness: the hash knows nothing
//! of how busy a worker is, and a client that was given to a worker waits for that one, also when others are idle. So a limit on
//! clients is divided: with a count for all, a worker that is busy would take each place that becomes free, and the clients of the
//! others would wait for ever.
//!
//! A process that ends leaves its listener to the next one, because the parent has a copy: clients in its queue wait, and are
//! not lost. (Listeners that come or go change the hash for all: clients whose handshake is under way meanwhile may be reset.)
//!
//! System calls per request: recv, send, and one epoll_wait for all requests of a turn.

use super::epoll_level;
#[cfg(feature = "uring")]
use super::uring;
use crate::Result;
use crate::initserver::Listener;
use crate::observer::Observer;
use crate::serve::workers::{in_processes, in_threads, stop_of_process};
use crate::serve::{Job, Sleepers, Totals, Worker};
use crate::sys::epoll::Epoll;
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// Serve with a thread for each listener until the stop.
///
/// # Errors
///
/// `EADDRINUSE` when the listener is not from [`initserver_shared`](crate::initserver::initserver_shared); `EAGAIN` when there
/// are not as many threads; `EMFILE`; those of `epoll_level`.
pub fn serve<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let Job { listener, stop, reply, piece, workers, max_clients, spin, observe, traffic } = job;
    let listeners = one_each(listener, workers)?;
    // Before there are clients, because one of them could take the last descriptor.
    let epolls = listeners.iter().map(|_| Ok(Epoll::new()?.spinning(spin))).collect::<Result<Vec<_>>>()?;
    let places: Mutex<Vec<_>> = Mutex::new(epolls.into_iter().zip(listeners).collect());
    in_threads(workers, stop, &Sleepers::new(), |worker, stop| {
        let observe = &|_| observe(worker);
        let place = places.lock().unwrap_or_else(PoisonError::into_inner).pop();
        place.map_or(Ok(Totals::default()), |(epoll, listener)| {
            let max_clients = max_clients.share(worker, workers);
            let job = Job { listener, stop, reply, piece, workers, max_clients, spin, observe, traffic };
            epoll_level::serve_with(epoll, job)
        })
    })
}

/// Serve with a thread for each listener, each with a ring as `uring.rs`, until the stop.
///
/// # Errors
///
/// As [`serve`]; those of `uring`.
#[cfg(feature = "uring")]
pub fn serve_by_rings<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let Job { listener, stop, reply, piece, workers, max_clients, spin, observe, traffic } = job;
    let listeners = Mutex::new(one_each(listener, workers)?);
    in_threads(workers, stop, &Sleepers::new(), |worker, stop| {
        let observe = &|_| observe(worker);
        let listener = listeners.lock().unwrap_or_else(PoisonError::into_inner).pop();
        listener.map_or(Ok(Totals::default()), |listener| {
            let max_clients = max_clients.share(worker, workers);
            let job = Job { listener, stop, reply, piece, workers, max_clients, spin, observe, traffic };
            uring::serve_as_one_of(workers, job)
        })
    })
}

/// Serve with a process for each listener until the stop.
///
/// # Errors
///
/// [`Error::Threads`](crate::Error::Threads) in a process with several threads; `EADDRINUSE` as for [`serve`]; `EAGAIN` when
/// there are not as many processes; `EMFILE`.
pub fn serve_in_processes<O: Observer>(job: Job<'_, O>) -> Result<Totals> {
    let Job { listener, stop, reply, piece, workers, max_clients, spin, observe, .. } = job;
    let listeners = RefCell::new(one_each(listener, workers)?);
    let at_stop = || listeners.take().into_iter().for_each(Listener::close);
    in_processes(workers, stop, observe(Worker::ONLY), at_stop, |worker, traffic| {
        let mut others = listeners.take();
        let listener = others.swap_remove(worker.0);
        others.into_iter().for_each(Listener::close);
        let (stop, observe, traffic) = (&stop_of_process()?, &|_| observe(worker), Some(traffic));
        let max_clients = max_clients.share(worker, workers);
        epoll_level::serve(Job { listener, stop, reply, piece, workers, max_clients, spin, observe, traffic })
    })
}

/// A listener for each worker.
fn one_each(first: Listener, workers: NonZeroUsize) -> Result<Vec<Listener>> {
    let mut all = vec![first];
    for _ in 1..workers.get() {
        all.push(all[0].another()?);
    }
    Ok(all)
}
