//! poll(2): an array of descriptors, looked through by the kernel at each call.
//!
//! Over libc: nix's `PollFd` borrows the socket for as long as the array lives, so that an array
//! of a server could neither grow nor shrink. Here a [`PollSet`] holds numbers. The worst that a
//! stale number can do is `POLLNVAL`, or another file's events; memory is never at stake.

use super::{Call, cvt, millis_up, retry_wait};
use crate::Result;
use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

pub use nix::poll::PollFlags;

/// A growing array of `pollfd`. Slots are dense: [`swap_remove`](PollSet::swap_remove) fills a hole
/// with the last entry.
#[derive(Debug, Default, Clone)]
pub struct PollSet {
    entries: Vec<libc::pollfd>,
}

impl PollSet {
    /// An empty set.
    #[must_use]
    pub fn new() -> PollSet {
        PollSet::default()
    }

    /// Watch `fd` for `events` too, in the next slot, whose number is returned.
    pub fn push(&mut self, fd: impl AsFd, events: PollFlags) -> usize {
        self.entries.push(libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: events.bits(), revents: 0 });
        self.entries.len() - 1
    }

    /// Watch for other events in `slot`. With none, errors and hang-ups are still reported.
    ///
    /// # Panics
    ///
    /// When there is no such slot.
    pub fn set_events(&mut self, slot: usize, events: PollFlags) {
        self.entries[slot].events = events.bits();
    }

    /// Stop watching what is in `slot`; the last entry moves there.
    ///
    /// # Panics
    ///
    /// When there is no such slot.
    pub fn swap_remove(&mut self, slot: usize) {
        self.entries.swap_remove(slot);
    }

    /// What the last [`wait`](PollSet::wait) found in `slot`.
    ///
    /// # Panics
    ///
    /// When there is no such slot.
    #[must_use]
    pub fn revents(&self, slot: usize) -> PollFlags {
        PollFlags::from_bits_retain(self.entries[slot].revents)
    }

    /// How many slots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Wait until something happens, and return the number of slots in which it did; 0 after
    /// `timeout` (`None`: wait for ever).
    ///
    /// `int poll(struct pollfd *fds, nfds_t nfds, int timeout)`, man 2 poll. A signal does not end
    /// the wait.
    ///
    /// # Errors
    ///
    /// `EINVAL` with more slots than `RLIMIT_NOFILE`, `ENOMEM`.
    #[doc(alias = "poll")]
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<usize> {
        poll(&mut self.entries, timeout)
    }
}

/// Wait until `fd` has one of `events` (or an error or a hang-up); `false` after `timeout`.
///
/// # Errors
///
/// As [`PollSet::wait`].
pub fn wait_for(fd: impl AsFd, events: PollFlags, timeout: Option<Duration>) -> Result<bool> {
    let fd = fd.as_fd().as_raw_fd();
    poll(&mut [libc::pollfd { fd, events: events.bits(), revents: 0 }], timeout).map(|n| n > 0)
}

fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> Result<usize> {
    retry_wait(timeout, |left| {
        // SAFETY: the pointer and the count are those of one live, exclusively borrowed slice of `pollfd`; the kernel
        // writes `revents` of those entries and nothing else.
        let ready =
            unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, millis_up(left)) };
        cvt(Call::Poll, Errno::result(ready)).map(|n| n as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_set_outlives_grows_and_shrinks_with_its_sockets() {
        let mut set = PollSet::new();
        let (one, mut to_one) = UnixStream::pair().unwrap();
        assert_eq!(set.push(&one, PollFlags::POLLIN), 0);
        assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), 0);
        {
            let (two, mut to_two) = UnixStream::pair().unwrap();
            assert_eq!(set.push(&two, PollFlags::POLLIN), 1);
            to_two.write_all(b"x").unwrap();
            assert_eq!(set.wait(None).unwrap(), 1);
            assert_eq!(set.revents(1), PollFlags::POLLIN);
            set.swap_remove(1);
        }
        to_one.write_all(b"x").unwrap();
        assert_eq!(set.wait(None).unwrap(), 1);
        assert_eq!((set.len(), set.revents(0)), (1, PollFlags::POLLIN));
    }

    #[test]
    fn a_closed_number_is_reported_not_waited_for() {
        let mut set = PollSet::new();
        let (one, _other) = UnixStream::pair().unwrap();
        // No limit lets a process have this number.
        set.push(&one, PollFlags::POLLIN);
        set.entries[0].fd = i32::MAX;
        assert_eq!(set.wait(None).unwrap(), 1);
        assert_eq!(set.revents(0), PollFlags::POLLNVAL);
    }

    #[test]
    fn the_time_limit_is_never_early() {
        let (one, _other) = UnixStream::pair().unwrap();
        for limit in [Duration::from_micros(300), Duration::from_millis(5)] {
            let start = std::time::Instant::now();
            assert!(!wait_for(&one, PollFlags::POLLIN, Some(limit)).unwrap());
            assert!(start.elapsed() >= limit, "{:?} < {limit:?}", start.elapsed());
        }
    }

    /// What is done to a set: a socket of four is put in, an entry is taken out, or its events are changed.
    #[derive(Debug, Clone)]
    enum Change {
        Push(usize, bool),
        Remove(Index),
        Watch(Index, bool),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = prop_oneof![
            3 => (0..4_usize, any::<bool>()).prop_map(|(socket, watch)| Change::Push(socket, watch)),
            1 => any::<Index>().prop_map(Change::Remove),
            1 => any::<(Index, bool)>().prop_map(|(slot, watch)| Change::Watch(slot, watch)),
        ];
        proptest::collection::vec(change, 0..40)
    }

    proptest! {
        /// The first two of the four sockets are readable.
        #[test]
        fn each_slot_tells_of_its_own_socket_whatever_was_done_to_the_set(changes in changes()) {
            let pairs: Vec<_> = (0..4).map(|_| UnixStream::pair().unwrap()).collect();
            pairs.iter().take(2).for_each(|(_, peer)| (&*peer).write_all(b"x").unwrap());
            let events = |watch| if watch { PollFlags::POLLIN } else { PollFlags::empty() };
            let (mut set, mut model) = (PollSet::new(), Vec::new());
            for change in changes {
                match change {
                    Change::Push(socket, watch) => {
                        prop_assert_eq!(set.push(&pairs[socket].0, events(watch)), model.len());
                        model.push((socket, watch));
                    }
                    Change::Remove(slot) if !model.is_empty() => {
                        let slot = slot.index(model.len());
                        set.swap_remove(slot);
                        model.swap_remove(slot);
                    }
                    Change::Watch(slot, watch) if !model.is_empty() => {
                        let slot = slot.index(model.len());
                        set.set_events(slot, events(watch));
                        model[slot].1 = watch;
                    }
                    Change::Remove(_) | Change::Watch(..) => {}
                }
                prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            }
            let is_ready = |&(socket, watch): &(usize, bool)| watch && socket < 2;
            let ready = set.wait(Some(Duration::ZERO)).unwrap();
            prop_assert_eq!(ready, model.iter().filter(|slot| is_ready(slot)).count());
            for (slot, entry) in model.iter().enumerate() {
                prop_assert_eq!(set.revents(slot), events(is_ready(entry)));
            }
        }
    }
}
