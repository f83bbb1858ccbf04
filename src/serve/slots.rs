//! The clients of a loop that several threads run, found by descriptor number.

use crate::echo::Conn;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Enough for every descriptor number: see [`Slots`].
const BLOCKS: usize = 32;

type Slot = Mutex<Option<Conn>>;

/// A table of clients, each behind a lock of its own.
///
/// It grows by blocks, of which each has as many slots as all before it and one more. So no slot ever moves, and to find one takes
/// no lock of the whole table.
#[derive(Debug, Default)]
pub struct Slots {
    blocks: [OnceLock<Box<[Slot]>>; BLOCKS],
}

impl Slots {
    /// No clients.
    #[must_use]
    pub fn new() -> Slots {
        Slots::default()
    }

    /// The place of the client with that descriptor, for this thread alone.
    #[inline]
    pub fn lock(&self, fd: RawFd) -> MutexGuard<'_, Option<Conn>> {
        // Block n begins at descriptor 2^n - 1.
        let number = fd.cast_unsigned() + 1;
        let block = number.ilog2();
        let slots = self.blocks[block as usize].get_or_init(|| empty(1 << block));
        lock(&slots[number as usize - (1 << block)])
    }

    /// Take out all clients, one after another. A client that another thread serves at the moment comes when that turn is over.
    pub fn take_all(&self) -> impl Iterator<Item = Conn> {
        let slots = self.blocks.iter().filter_map(OnceLock::get).flatten();
        slots.filter_map(|slot| lock(slot).take())
    }
}

fn empty(slots: usize) -> Box<[Slot]> {
    (0..slots).map(|_| Slot::default()).collect()
}

/// A client is whole also when the thread that served it has panicked.
fn lock(slot: &Slot) -> MutexGuard<'_, Option<Conn>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::ptr;

    #[test]
    fn every_descriptor_number_has_a_slot_of_its_own_that_never_moves() {
        let slots = Slots::new();
        let places = || (0..5000).map(|fd| ptr::from_ref(&*slots.lock(fd)) as usize).collect::<Vec<_>>();
        let before = places();
        assert_eq!(before.iter().collect::<HashSet<_>>().len(), 5000);
        assert!(slots.lock(100_000).is_none());
        assert_eq!(places(), before);
    }

    #[test]
    fn all_clients_are_taken_out_once() {
        let slots = Slots::new();
        let pairs: Vec<_> = (0..9).map(|_| UnixStream::pair().unwrap()).collect();
        let mut fds = HashSet::new();
        for (one, _other) in pairs {
            let conn = Conn::new(OwnedFd::from(one));
            let fd = conn.as_fd().as_raw_fd();
            fds.insert(fd);
            *slots.lock(fd) = Some(conn);
        }
        let taken: Vec<_> = slots.take_all().collect();
        assert_eq!(taken.iter().map(|conn| conn.as_fd().as_raw_fd()).collect::<HashSet<_>>(), fds);
        assert_eq!((taken.len(), slots.take_all().count()), (9, 0));
    }
}
