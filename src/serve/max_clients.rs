//! The limit on the clients that a server has at a time.

use super::Worker;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many clients a server may have at a time, and how many it has. Clones share the count, within one process.
#[derive(Debug, Clone, Default)]
pub struct MaxClients(Option<Arc<Places>>);

#[derive(Debug)]
struct Places {
    most: NonZeroUsize,
    taken: AtomicUsize,
}

impl MaxClients {
    /// At most so many.
    #[must_use]
    pub fn new(most: NonZeroUsize) -> MaxClients {
        MaxClients(Some(Arc::new(Places { most, taken: AtomicUsize::new(0) })))
    }

    /// No limit.
    #[must_use]
    pub fn unlimited() -> MaxClients {
        MaxClients::default()
    }

    /// The limit.
    #[must_use]
    pub fn most(&self) -> Option<NonZeroUsize> {
        self.0.as_ref().map(|places| places.most)
    }

    /// Not more workers than clients: a worker beyond would have nobody to serve.
    #[must_use]
    pub fn workers(&self, workers: NonZeroUsize) -> NonZeroUsize {
        self.most().map_or(workers, |most| workers.min(most))
    }

    /// The limit of one of several workers that count each for itself. All together they have this limit, if there are not more
    /// [workers](MaxClients::workers) than clients.
    #[must_use]
    pub fn share(&self, Worker(number): Worker, workers: NonZeroUsize) -> MaxClients {
        let Some(most) = self.most() else { return MaxClients::unlimited() };
        let share = most.get() / workers + usize::from(number < most.get() % workers);
        MaxClients::new(NonZeroUsize::new(share).unwrap_or(NonZeroUsize::MIN))
    }

    /// Take the place of one client; `false` when all are taken.
    pub(super) fn take(&self) -> bool {
        let Some(Places { most, taken }) = self.0.as_deref() else { return true };
        taken.fetch_update(Relaxed, Relaxed, |taken| (taken < most.get()).then_some(taken + 1)).is_ok()
    }

    /// Give a place back. Returns whether all were taken.
    pub(crate) fn give_back(&self) -> bool {
        let Some(Places { most, taken }) = self.0.as_deref() else { return false };
        taken.fetch_sub(1, Relaxed) == most.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    #[test]
    fn no_more_places_are_taken_than_there_are_and_the_last_that_is_given_back_is_known() {
        let places = MaxClients::new(number(2));
        let others = places.clone();
        assert!(places.take() && others.take() && !places.take() && !others.take());
        assert!(others.give_back() && !places.give_back());
        assert!(places.take());
        let unlimited = MaxClients::unlimited();
        assert!((0..1000).all(|_| unlimited.take()) && !unlimited.give_back());
    }

    #[test]
    fn the_shares_of_workers_are_the_limit_together_and_none_is_empty() {
        for (most, asked) in [(1, 1), (1, 4), (3, 4), (4, 4), (10, 4), (11, 4)] {
            let limit = MaxClients::new(number(most));
            let workers = limit.workers(number(asked));
            let share = |i| limit.share(Worker(i), workers).most().unwrap().get();
            let shares: Vec<_> = (0..workers.get()).map(share).collect();
            assert_eq!(shares.iter().sum::<usize>(), most, "{shares:?}");
        }
    }
}
