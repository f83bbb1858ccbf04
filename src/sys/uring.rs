//! io_uring(7): operations are queued in memory shared with the kernel, and so is what became of them.
//! Over the io-uring crate.
//!
//! [`Ring`] is what a client of many sockets needs: receives that are armed once and go on (multishot, into buffers
//! that the ring provides), sends, and waits for a descriptor. An operation that the kernel works on uses memory
//! of ours; so the ring owns that memory, and lives until the last operation has ended.

use super::limits::{Resource, soft};
use super::{Call, Errno, calls};
use crate::error::{Error, Result};
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use std::io;
use std::mem::{ManuallyDrop, offset_of};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use std::{fmt, slice};

/// Why io_uring cannot be used here, in words; `None` when it can.
///
/// Kernels may lack it (before 5.1), forbid it (`kernel.io_uring_disabled`), and containers
/// usually do (seccomp).
#[must_use]
pub fn unavailable() -> Option<String> {
    calls::count(Call::IoUringSetup);
    match IoUring::new(2) {
        Ok(_ring) => None,
        Err(why) => Some(match why.raw_os_error() {
            Some(libc::ENOSYS) => "this kernel has no io_uring, or a seccomp filter hides it".into(),
            Some(libc::EPERM) => {
                "io_uring is forbidden: sysctl kernel.io_uring_disabled, or a seccomp filter".into()
            }
            // Also where less memory is left below the limit than the smallest ring needs.
            Some(libc::ENOMEM) => {
                let limit = soft(Resource::RLIMIT_MEMLOCK)
                    .map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"));
                format!("io_uring_setup: {why}; the limit on locked memory is {limit}: raise `ulimit -l`")
            }
            _ => format!("io_uring_setup: {why}"),
        }),
    }
}

/// Operations that are queued before the kernel is told of them, at most.
const ENTRIES: u32 = 4096;

/// What has ended and was not looked at, at most; the kernel keeps what is beyond that.
const COMPLETIONS: u32 = 65_536;

/// The number of the only group of buffers.
const GROUP: u16 = 0;

/// Of operations whose end interests nobody.
const NOBODY: u64 = u64::MAX;

/// How long the end of a ring may take: longer, and its memory is left to the kernel for good.
const LONGEST_END: Duration = Duration::from_secs(5);

/// A ring for one thread, with `slots` for sockets.
pub struct Ring {
    ring: ManuallyDrop<IoUring>,
    /// Everything that is ever sent is a piece of this.
    source: ManuallyDrop<Arc<[u8]>>,
    buffers: ManuallyDrop<Buffers>,
    /// The completion that [`next`](Ring::next) handed out last has its bytes in this buffer.
    current: Option<(u16, usize)>,
    /// Operations that have not ended.
    under_way: usize,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// What was given with the operation.
    pub token: u64,
    /// What the like system call would have returned.
    pub result: core::result::Result<u32, Errno>,
    /// The operation goes on, and will have another completion.
    pub more: bool,
}

impl Ring {
    /// A ring with room for `slots` sockets, that sends from `source`, and receives into `buffers` buffers,
    /// a power of 2, of `size` bytes each: io_uring_setup(2).
    ///
    /// # Errors
    ///
    /// `ENOSYS` and `EPERM` where there is no io_uring, or it is forbidden; `EINVAL` before Linux 6.1, which
    /// lacks what this needs; `EMFILE` when `slots` is more than this process may have descriptors; `ENOMEM`.
    ///
    /// # Panics
    ///
    /// When `buffers` is not a power of 2, or `size` is 0.
    #[doc(alias = "io_uring_setup")]
    pub fn new(slots: u32, source: Arc<[u8]>, buffers: u16, size: u32) -> Result<Ring> {
        let ring = cvt_io(
            Call::IoUringSetup,
            IoUring::builder()
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all()
                .setup_cqsize(COMPLETIONS)
                .build(ENTRIES),
        )?;
        let buffers = Buffers::new(buffers, size);
        cvt_io(Call::IoUringRegister, ring.submitter().register_files_sparse(slots))?;
        // From here on the kernel knows the buffers, so they may only go after it has forgotten them: in `drop`.
        let ring = Ring {
            ring: ManuallyDrop::new(ring),
            source: ManuallyDrop::new(source),
            buffers: ManuallyDrop::new(buffers),
            current: None,
            under_way: 0,
        };
        let (base, entries) = (ring.buffers.entries(), ring.buffers.count);
        // SAFETY: `base` is page-aligned memory of at least `entries` entries, and stays where it is until
        // `drop`, which frees it after the ring.
        let registered =
            unsafe { ring.ring.submitter().register_buf_ring_with_flags(base as u64, entries, GROUP, 0) };
        cvt_io(Call::IoUringRegister, registered)?;
        Ok(ring)
    }

    /// Put a socket into a slot, or `None` to take out what is there: io_uring_register(2),
    /// `IORING_REGISTER_FILES_UPDATE`. The ring holds a copy: closing the descriptor does not end the connection while
    /// it is in a slot.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a slot that the ring does not have.
    pub fn set_slot(&mut self, slot: u32, socket: Option<BorrowedFd<'_>>) -> Result<()> {
        let fd = socket.map_or(-1, |socket| socket.as_raw_fd());
        cvt_io(Call::IoUringRegister, self.ring.submitter().register_files_update(slot, &[fd])).map(drop)
    }

    /// Receive from the socket in `slot` for as long as something comes, each time into a buffer of the ring. There is
    /// a completion each time; the last one, without [`Completion::more`], is the end, an error, or `ENOBUFS`, after
    /// which it has to be armed again.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn receive(&mut self, slot: u32, token: u64) -> Result<()> {
        self.push(opcode::RecvMulti::new(Fixed(slot), GROUP).build().user_data(token))
    }

    /// Send these bytes of the source over the socket in `slot`; all of them, unless the connection ends.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    ///
    /// # Panics
    ///
    /// When the source has no such bytes.
    #[inline]
    pub fn send(&mut self, slot: u32, bytes: Range<usize>, token: u64) -> Result<()> {
        let bytes = &self.source[bytes];
        let (at, length) = (bytes.as_ptr(), bytes.len() as u32);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        self.push(opcode::Send::new(Fixed(slot), at, length).flags(flags).build().user_data(token))
    }

    /// Wait until `fd` has one of these poll(2) `events`. It must stay open until then.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn poll(&mut self, fd: impl AsFd, events: i16, token: u64) -> Result<()> {
        let events = u32::from(events.cast_unsigned());
        self.push(opcode::PollAdd::new(Fd(fd.as_fd().as_raw_fd()), events).build().user_data(token))
    }

    /// End the operations that have this token. Each still gets its last completion.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn cancel(&mut self, token: u64) -> Result<()> {
        let which = CancelBuilder::user_data(token).all();
        self.push(opcode::AsyncCancel2::new(which).build().user_data(NOBODY))
    }

    /// Tell the kernel what was queued, and wait until `want` operations have a completion, or for that long:
    /// io_uring_enter(2). With a `want` of 0 it does not wait.
    ///
    /// # Errors
    ///
    /// `EBADR` when the kernel had no memory for a completion, which is lost then.
    #[doc(alias = "io_uring_enter")]
    #[inline]
    pub fn enter(&mut self, want: usize, timeout: Option<Duration>) -> Result<()> {
        // What was given back is to be had again, also for a receive that was armed only now.
        self.buffers.publish();
        let entered = match timeout {
            Some(limit) if want > 0 => {
                let limit = Timespec::from(limit);
                self.ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&limit))
            }
            _ => {
                let submission = self.ring.submission();
                let queued = submission.len() as u32;
                if want == 0 && queued == 0 && !submission.taskrun() && !submission.cq_overflow() {
                    return Ok(()); // Nothing to tell, and nothing to hear.
                }
                drop(submission);
                let flags = EnterFlags::GETEVENTS.bits();
                // SAFETY: the flags take no argument, and none is given; what the queued operations point to,
                // `source` and `buffers`, is this ring's, and goes after they have ended.
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, want as u32, flags, None) }
            }
        };
        match cvt_io(Call::IoUringEnter, entered) {
            Ok(_) => Ok(()),
            // The time is up; a signal came; completions must be taken first.
            Err(error) if matches!(error.errno(), Some(Errno::ETIME | Errno::EINTR | Errno::EBUSY)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How many completions are there to be taken.
    #[must_use]
    #[inline]
    pub fn ready(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// The next completion. The bytes of the one before go back to the kernel.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's items could be kept; these share a buffer"
    )]
    pub fn next(&mut self) -> Option<Completion> {
        loop {
            if let Some((buffer, _)) = self.current.take() {
                self.buffers.give(buffer);
            }
            let entry = self.ring.completion().next();
            let Some(entry) = entry else {
                self.buffers.publish();
                return None;
            };
            let more = cqueue::more(entry.flags());
            self.under_way -= usize::from(!more);
            let result = u32::try_from(entry.result()).map_err(|_| Errno::from_raw(-entry.result()));
            self.current =
                cqueue::buffer_select(entry.flags()).map(|buffer| (buffer, result.unwrap_or(0) as usize));
            if entry.user_data() != NOBODY {
                return Some(Completion { token: entry.user_data(), result, more });
            }
        }
    }

    /// The bytes that came with the completion that [`next`](Ring::next) gave last; none if it was no receive.
    #[must_use]
    #[inline]
    pub fn received(&self) -> &[u8] {
        self.current.map_or(&[], |(buffer, length)| self.buffers.bytes(buffer, length))
    }

    #[inline]
    fn push(&mut self, entry: squeue::Entry) -> Result<()> {
        // When the queue is full, the kernel takes what is in it, unless completions have to be taken first (EBUSY).
        for is_last in [false, true] {
            // SAFETY: what an entry points to is a piece of `source`, or one of `buffers`; both stay until the
            // operation has ended, see `drop`. Descriptors that are not open only give an error.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                self.under_way += 1;
                return Ok(());
            }
            if !is_last {
                self.enter(0, None)?;
            }
        }
        Err(Error::Call { call: Call::IoUringEnter, fd: None, source: Errno::EBUSY })
    }

    /// End everything that is under way; whether that has worked.
    fn quiet(&mut self) -> bool {
        let started = std::time::Instant::now();
        let all = opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(NOBODY);
        if self.under_way > 0 && self.push(all).is_err() {
            return false;
        }
        while self.under_way > 0 {
            let left = LONGEST_END.saturating_sub(started.elapsed());
            if left.is_zero() || self.enter(1, Some(left)).is_err() {
                return false;
            }
            while self.next().is_some() {}
        }
        true
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.quiet() {
            return; // The kernel may still use the memory: it stays.
        }
        // SAFETY: not used after this, the last use.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        // SAFETY: as above; and nobody else uses it: no operation is under way.
        unsafe { ManuallyDrop::drop(&mut self.source) };
        // SAFETY: as above; and the ring that knew the buffers is gone.
        unsafe { ManuallyDrop::drop(&mut self.buffers) };
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} under way)", self.under_way)
    }
}

/// Memory that the kernel receives into, and the ring by which it gets it: `IORING_REGISTER_PBUF_RING`.
///
/// Both are behind raw pointers, made from boxes once: the kernel reads and writes there, so no reference to the whole may be.
struct Buffers {
    entries: *mut [Page],
    memory: *mut [u8],
    count: u16,
    size: usize,
    tail: u16,
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
    fn new(count: u16, size: u32) -> Buffers {
        assert!(count.is_power_of_two() && size > 0, "{count} buffers of {size} bytes");
        let pages = (usize::from(count) * size_of::<BufRingEntry>()).div_ceil(size_of::<Page>());
        let entries = Box::into_raw(vec![Page([0; 4096]); pages].into_boxed_slice());
        let size = size as usize;
        let memory = Box::into_raw(vec![0; size * usize::from(count)].into_boxed_slice());
        let mut buffers = Buffers { entries, memory, count, size, tail: 0 };
        (0..count).for_each(|buffer| buffers.give(buffer));
        buffers.publish();
        buffers
    }

    fn entries(&self) -> *mut Entry {
        self.entries.cast()
    }

    /// Where buffer `buffer` begins.
    #[inline]
    fn start(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "the kernel named buffer {buffer} of {}", self.count);
        self.memory.cast::<u8>().wrapping_add(usize::from(buffer) * self.size)
    }

    /// Put a buffer into the ring. The kernel sees it after [`publish`](Buffers::publish).
    #[inline]
    fn give(&mut self, buffer: u16) {
        let start = self.start(buffer);
        let at = self.entries().wrapping_add(usize::from(self.tail & (self.count - 1)));
        let (addr, len, bid) = (
            at.wrapping_byte_add(offset_of!(Entry, addr)).cast::<u64>(),
            at.wrapping_byte_add(offset_of!(Entry, len)).cast::<u32>(),
            at.wrapping_byte_add(offset_of!(Entry, bid)).cast::<u16>(),
        );
        // SAFETY: the index of the entry is below `count`, for which `entries` has room, and the pointer comes from the one of
        // `Box::into_raw`, so it may write there. The field is aligned, because the entry is. The kernel only reads, and not
        // before `publish` says so; there is no reference to this memory.
        unsafe { addr.write(start as u64) };
        // SAFETY: as for the field above.
        unsafe { len.write(self.size as u32) };
        // SAFETY: as for the field above.
        unsafe { bid.write(buffer) };
        self.tail = self.tail.wrapping_add(1);
    }

    #[inline]
    fn publish(&self) {
        let tail = self.entries().wrapping_byte_add(offset_of!(Entry, tail)).cast::<u16>();
        // SAFETY: it is a field of the first entry, initialised and aligned, and lives as long as the entries. Everybody who uses
        // it meanwhile does so atomically: the kernel, and this function.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }

    /// What the kernel has written to a buffer that it has handed over, and that has not been given back.
    #[inline]
    fn bytes(&self, buffer: u16, length: usize) -> &[u8] {
        let (start, length) = (self.start(buffer), length.min(self.size));
        // SAFETY: `length` bytes from `start` on are within `memory`; the kernel does not write to them until the
        // buffer is given back, for which this borrow has to end.
        unsafe { slice::from_raw_parts(start, length) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: it comes from `Box::into_raw`, and the kernel has ended with it: see `Ring::drop`.
        drop(unsafe { Box::from_raw(self.memory) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.entries) });
    }
}

fn cvt_io<T>(call: Call, result: io::Result<T>) -> Result<T> {
    calls::count(call);
    result.map_err(|why| {
        let source = Errno::from_raw(why.raw_os_error().unwrap_or(libc::EINVAL));
        Error::Call { call, fd: None, source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// A ring with one socket in slot 0, and the other end of it; `None` where there is no io_uring.
    fn ring() -> Option<(Ring, UnixStream, UnixStream)> {
        if let Some(why) = unavailable() {
            eprintln!("skipped: {why}");
            return None;
        }
        let source: Arc<[u8]> = (0..=255).collect();
        let mut ring = Ring::new(4, source, 2, 8).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ring.set_slot(0, Some(ours.as_fd())).unwrap();
        Some((ring, ours, theirs))
    }

    fn one(ring: &mut Ring) -> Completion {
        ring.enter(1, Some(Duration::from_secs(10))).unwrap();
        ring.next().expect("a completion within 10 s")
    }

    /// Miri checks this one: it makes no system call.
    #[test]
    fn buffers_are_given_and_go() {
        let mut buffers = Buffers::new(2, 8);
        buffers.give(1);
        buffers.publish();
        assert_eq!((buffers.tail, buffers.bytes(1, 3)), (3, &[0; 3][..]));
    }

    #[test]
    fn sends_pieces_of_its_source() {
        let Some((mut ring, _ours, mut theirs)) = ring() else { return };
        ring.send(0, 10..13, 7).unwrap();
        assert_eq!(one(&mut ring), Completion { token: 7, result: Ok(3), more: false });
        let mut bytes = [0; 3];
        theirs.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [10, 11, 12]);
    }

    #[test]
    fn a_receive_goes_on_until_the_end_and_gives_its_buffers_back() {
        let Some((mut ring, _ours, mut theirs)) = ring() else { return };
        ring.receive(0, 1).unwrap();
        for round in 0..10 {
            theirs.write_all(&[round; 5]).unwrap();
            assert_eq!(one(&mut ring), Completion { token: 1, result: Ok(5), more: true });
            assert_eq!(ring.received(), [round; 5]);
            assert_eq!(ring.next(), None);
            assert!(ring.received().is_empty());
        }
        drop(theirs);
        assert_eq!(one(&mut ring), Completion { token: 1, result: Ok(0), more: false });
    }

    #[test]
    fn without_buffers_a_receive_says_so_and_nothing_is_lost() {
        let Some((mut ring, _ours, mut theirs)) = ring() else { return };
        theirs.write_all(&[5; 24]).unwrap();
        ring.receive(0, 1).unwrap();
        ring.enter(1, Some(Duration::from_secs(10))).unwrap();
        let mut bytes = 0;
        while let Some(completion) = ring.next() {
            bytes += ring.received().len();
            if !completion.more {
                assert_eq!(completion.result, Err(Errno::ENOBUFS));
                ring.receive(0, 1).unwrap();
            }
        }
        while bytes < 24 {
            assert_eq!(one(&mut ring).result, Ok(8));
            bytes += ring.received().len();
        }
        assert_eq!(bytes, 24);
    }

    #[test]
    fn a_wait_without_events_ends_in_time_and_not_before() {
        let Some((mut ring, ours, theirs)) = ring() else { return };
        ring.poll(&ours, libc::POLLIN, 3).unwrap();
        let (started, limit) = (std::time::Instant::now(), Duration::from_micros(1500));
        ring.enter(1, Some(limit)).unwrap();
        assert!(started.elapsed() >= limit);
        assert_eq!(ring.next(), None);
        ring.cancel(3).unwrap();
        assert_eq!(one(&mut ring), Completion { token: 3, result: Err(Errno::ECANCELED), more: false });
        drop(theirs);
    }

    #[test]
    fn a_ring_that_goes_while_it_receives_ends_the_operations_first() {
        let Some((mut ring, ours, mut theirs)) = ring() else { return };
        ring.receive(0, 1).unwrap();
        ring.enter(0, None).unwrap();
        assert!(ring.quiet());
        assert_eq!(ring.under_way, 0);
        drop((ring, ours));
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "the slot does not hold the socket any more");
    }
}
