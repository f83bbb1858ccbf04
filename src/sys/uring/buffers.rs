//! Memory that the kernel receives into, and the ring of provided buffers by which it gets it (`IORING_REGISTER_PBUF_RING`).
//!
//! The kernel takes buffers from the ring in the order in which they were put there. A buffer that holds a piece is lent: whoever
//! took the completion has a [`Lease`], may read the piece and send from it, and gives it back. Then the buffer goes into the ring
//! again.
//!
//! Few buffers are better than many. With many, each piece is received into memory that was last touched long ago, and is not in
//! the cache any more. So the ring begins with a few buffers, and gets more when these do not suffice
//! ([`Ring::add_buffers`](super::Ring::add_buffers)).

use io_uring::types::BufRingEntry;
use std::mem::offset_of;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

/// How many buffers a ring has, and how large they are.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The bytes of each, at least 1.
    pub size: u32,
    /// How many there are at first, at least 1.
    pub first: u16,
    /// How many there are at most: a power of 2, up to 32,768. All of them together have less than 4 GiB.
    pub most: u16,
    /// Whether the kernel fills a buffer with one piece after another (`IOU_PBUF_RING_INC`, Linux 6.12). Otherwise each piece takes a
    /// buffer of its own, however short it is.
    pub is_incremental: bool,
}

impl Plan {
    /// No buffers, for a ring that does not receive.
    pub const NONE: Plan = Plan { size: 0, first: 0, most: 0, is_incremental: false };

    /// Whether there can be such buffers: see the fields.
    pub(super) fn can_be(self) -> bool {
        let memory = u64::from(self.most) * u64::from(self.size);
        let limits = 1..=u64::from(u32::MAX);
        self.most.is_power_of_two() && (1..=self.most).contains(&self.first) && limits.contains(&memory)
    }
}

/// A received piece, in a buffer of the ring. Give it back with [`Ring::give`](super::Ring::give), or send it, which gives it back
/// when the send has completed. To drop it is safe, but the buffer is not used again.
#[derive(Debug)]
#[must_use = "its buffer is not used again until it is given back"]
pub struct Lease {
    /// The ring that it is a lease of.
    owner: u32,
    start: u32,
    len: u32,
    buffer: u16,
}

impl Lease {
    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has none, which does not happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// All buffers of a ring.
///
/// Memory and ring are behind raw pointers, made from boxes once: the kernel reads and writes there, so there can be no reference
/// to the whole.
pub(super) struct Buffers {
    ring: *mut [Page],
    memory: *mut [u8],
    plan: Plan,
    /// The state of each buffer that is in use.
    states: Vec<State>,
    tail: u16,
    /// The ring that they are buffers of.
    id: u32,
}

/// The state of a buffer. With incremental consumption (`IOU_PBUF_RING_INC`) it holds several pieces, one after another.
#[derive(Clone, Copy, Default)]
struct State {
    /// Where the kernel writes the next piece.
    end: u32,
    /// How many pieces are lent.
    lent: u32,
    /// The kernel does not write to it any more: it goes back into the ring when nothing is lent.
    is_used_up: bool,
}

/// The kernel wants whole pages.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; 4096]);

/// An entry of the ring: `struct io_uring_buf`. In the first one, `tail` is the tail of the ring: `struct io_uring_buf_ring`.
#[repr(C)]
struct Entry {
    addr: u64,
    len: u32,
    bid: u16,
    tail: u16,
}

const _: () = assert!(size_of::<Entry>() == size_of::<BufRingEntry>());

impl Buffers {
    /// For the ring with this number, after a plan that [can be](Plan::can_be) or is [`Plan::NONE`].
    pub(super) fn new(plan: Plan, id: u32) -> Buffers {
        let Plan { size, first, most, .. } = plan;
        let memory = usize::from(most) * size as usize;
        let pages = (usize::from(most) * size_of::<Entry>()).div_ceil(size_of::<Page>()).max(1);
        let mut buffers = Buffers {
            ring: Box::into_raw(vec![Page([0; 4096]); pages].into_boxed_slice()),
            // Zeroed memory of this size comes from the kernel page by page, as it is used.
            memory: Box::into_raw(vec![0; memory].into_boxed_slice()),
            plan,
            states: Vec::new(),
            tail: 0,
            id,
        };
        buffers.use_up_to(first);
        buffers
    }

    /// Where the ring begins, how many entries it has, and how it is used: for the kernel.
    pub(super) fn ring(&self) -> (u64, u16, u16) {
        /// `IOU_PBUF_RING_INC`
        const INCREMENTAL: u16 = 2;
        (self.entries() as u64, self.plan.most, if self.plan.is_incremental { INCREMENTAL } else { 0 })
    }

    /// Twice as many buffers, as far as the plan allows.
    pub(super) fn grow(&mut self) {
        self.use_up_to(self.plan.most.min((self.states.len() * 2) as u16));
    }

    fn use_up_to(&mut self, count: u16) {
        while self.states.len() < usize::from(count) {
            self.states.push(State::default());
            self.put_into_ring(self.states.len() as u16 - 1);
        }
        self.publish();
    }

    /// The kernel has written `len` bytes to the buffer; it `goes_on` with the rest of it, or has done with it.
    #[inline]
    pub(super) fn lend(&mut self, buffer: u16, len: u32, goes_on: bool) -> Lease {
        let state = &mut self.states[usize::from(buffer)];
        let start = state.end;
        state.end += len;
        state.lent += 1;
        state.is_used_up = !goes_on;
        Lease { owner: self.id, start, len, buffer }
    }

    /// Put the buffer back into the ring, when this was its last piece. The kernel sees it after [`publish`](Buffers::publish).
    ///
    /// # Panics
    ///
    /// With a lease of another ring.
    #[inline]
    pub(super) fn give(&mut self, lease: Lease) {
        assert_eq!(lease.owner, self.id, "a lease of another ring");
        let state = &mut self.states[usize::from(lease.buffer)];
        state.lent -= 1;
        if state.lent == 0 && state.is_used_up {
            *state = State::default();
            self.put_into_ring(lease.buffer);
        }
    }

    /// The bytes of a piece.
    ///
    /// # Panics
    ///
    /// With a lease of another ring.
    #[inline]
    pub(super) fn bytes(&self, lease: &Lease) -> &[u8] {
        assert_eq!(lease.owner, self.id, "a lease of another ring");
        let start = self.start(lease.buffer).wrapping_add(lease.start as usize);
        let len = lease.len().min((self.plan.size.saturating_sub(lease.start)) as usize);
        // SAFETY: the bytes are within `memory`, because `len` ends with the buffer at the latest, and `start` asserts that there is
        // such a buffer. The kernel has written them, and does not write to them before the lease is given back, for which this
        // borrow has to end.
        unsafe { slice::from_raw_parts(start, len) }
    }

    /// Where a buffer begins.
    #[inline]
    fn start(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.plan.most, "buffer {buffer} of {}", self.plan.most);
        self.memory.cast::<u8>().wrapping_add(usize::from(buffer) * self.plan.size as usize)
    }

    fn entries(&self) -> *mut Entry {
        self.ring.cast()
    }

    #[inline]
    fn put_into_ring(&mut self, buffer: u16) {
        let start = self.start(buffer);
        let at = self.entries().wrapping_add(usize::from(self.tail & (self.plan.most - 1)));
        let (addr, len, bid) = (
            at.wrapping_byte_add(offset_of!(Entry, addr)).cast::<u64>(),
            at.wrapping_byte_add(offset_of!(Entry, len)).cast::<u32>(),
            at.wrapping_byte_add(offset_of!(Entry, bid)).cast::<u16>(),
        );
        // SAFETY: the index of the entry is below `most`, for which the ring has room, and the pointer comes from the one of
        // `Box::into_raw`, so it may write there. The field is aligned, because the entry is. The kernel uses an entry only between
        // the `publish` that follows and the completion with its last piece, so it does not use this one; there is no reference to
        // this memory.
        unsafe { addr.write(start as u64) };
        // SAFETY: as for the field above.
        unsafe { len.write(self.plan.size) };
        // SAFETY: as for the field above.
        unsafe { bid.write(buffer) };
        self.tail = self.tail.wrapping_add(1);
    }

    /// Let the kernel use what was put into the ring.
    #[inline]
    pub(super) fn publish(&self) {
        let tail = self.entries().wrapping_byte_add(offset_of!(Entry, tail)).cast::<u16>();
        // SAFETY: it is a field of the first entry, initialised and aligned, and lives as long as the entries. Everybody who uses
        // it meanwhile does so atomically: the kernel, and this function.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: it comes from `Box::into_raw`, and the kernel has ended with it: see `Ring::drop`.
        drop(unsafe { Box::from_raw(self.memory) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.ring) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Miri checks these: they make no system call.

    fn plan(size: u32, first: u16, most: u16) -> Plan {
        Plan { size, first, most, is_incremental: true }
    }

    /// How often a buffer was put into the ring.
    fn in_ring(buffers: &Buffers) -> usize {
        usize::from(buffers.tail)
    }

    #[test]
    fn a_buffer_goes_back_with_its_last_piece() {
        let mut buffers = Buffers::new(plan(8, 2, 4), 0);
        assert_eq!(in_ring(&buffers), 2);
        let first = buffers.lend(1, 3, true);
        let second = buffers.lend(1, 5, false);
        assert_eq!((first.start, second.start), (0, 3));
        assert_eq!((buffers.bytes(&first), buffers.bytes(&second)), (&[0; 3][..], &[0; 5][..]));
        buffers.give(second);
        assert_eq!(in_ring(&buffers), 2, "a piece is still lent");
        buffers.give(first);
        assert_eq!(in_ring(&buffers), 3);
        buffers.publish();
        assert_eq!(buffers.lend(1, 8, false).start, 0, "it begins afresh");
    }

    #[test]
    fn a_buffer_that_the_kernel_goes_on_with_is_not_put_back() {
        let mut buffers = Buffers::new(plan(8, 1, 1), 0);
        let lease = buffers.lend(0, 4, true);
        buffers.give(lease);
        assert_eq!(in_ring(&buffers), 1);
        let lease = buffers.lend(0, 4, false);
        assert_eq!(lease.start, 4);
        buffers.give(lease);
        assert_eq!(in_ring(&buffers), 2);
    }

    #[test]
    fn it_grows_as_far_as_planned() {
        let mut buffers = Buffers::new(plan(1, 3, 8), 0);
        for expected in [6, 8, 8] {
            buffers.grow();
            assert_eq!((buffers.states.len(), in_ring(&buffers)), (expected, expected));
        }
    }

    #[test]
    #[should_panic(expected = "a lease of another ring")]
    fn a_lease_of_another_ring_is_refused() {
        let (mut one, other) = (Buffers::new(plan(1, 1, 1), 0), Buffers::new(plan(1, 1, 1), 1));
        let lease = one.lend(0, 1, false);
        other.bytes(&lease);
    }
}
