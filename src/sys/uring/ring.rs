//! The queues of a ring, the slots of its sockets, and io_uring_enter(2).

use super::buffers::{Buffers, Lease, Plan};
use super::cvt_io;
use super::operations::{Piece, Sends, Socket, limited};
use crate::error::{Error, Result};
use crate::sys::fork::Origin;
use crate::sys::{Call, Errno, cvt, timespec};
use io_uring::types::{CancelBuilder, Fd, Fixed};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Operations that are queued before the kernel hears of them, at most.
pub(super) const ENTRIES: u32 = 256;

/// Completions that wait to be taken, at most. The kernel keeps what is beyond that, and hands it over later.
const COMPLETIONS: u32 = 4096;

/// For how many operations the kernel does its part of the work in one call before it leaves the others to the next call
/// (`IO_LOCAL_TW_DEFAULT_MAX`, since Linux 6.10).
const WORKS_PER_CALL: usize = 20;

/// A turn needs no more completions than these, or than this share of the operations that are under way, whichever is more: with
/// thousands of sockets larger turns are cheaper.
const ENOUGH: usize = 64;
const ENOUGH_SHARE: usize = 16;

/// The number of the only group of buffers.
pub(super) const GROUP: u16 = 0;

/// With fewer free slots clients are accepted one by one, because one operation for all empties the whole queue of the listener. That
/// has room for 4096 clients by default (`net.core.somaxconn`), and no listener of this crate asks for more.
const MANY_SLOTS: u32 = 4096;

/// How often an operation for which the kernel has no memory is tried again, and how long completions are waited for before each time.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// How long the end of a ring may take. After that its memory is never freed, because the kernel may still use it.
const LONGEST_END: Duration = Duration::from_secs(5);

/// What a ring is made of. The default one has no slots and no buffers.
#[derive(Debug, Default)]
pub struct Setup {
    /// How many sockets it has direct descriptors for; 0 for none. Of ordinary descriptors it accepts no more either.
    pub slots: u32,
    /// Whether it accepts clients as direct descriptors, if the kernel can make ordinary ones of them (Linux 6.8).
    pub direct: bool,
    /// What [`Piece::Source`] is a piece of.
    pub source: Arc<[u8]>,
    /// What it receives into: the first of these plans that the kernel can follow.
    pub buffers: Vec<Plan>,
    /// A receive ends with the piece that brings it to this many bytes, and must be begun again; 0 for no limit. So the program decides
    /// whether more comes from a socket. Before Linux 6.17 there is no limit, and up to 32 full buffers come at a time.
    pub limit: u32,
    /// How often it looks for a completion before it sleeps.
    pub spin: u32,
}

/// A ring, for the thread that made it.
pub struct Ring {
    ring: ManuallyDrop<IoUring>,
    pub(super) kept: ManuallyDrop<Kept>,
    /// Completions that were taken from the queue, and not looked at yet.
    taken: VecDeque<cqueue::Entry>,
    /// The number under which this thread has registered the ring: the kernel need not look for the descriptor at each call.
    index: Option<RawFd>,
    /// Operations that have not ended.
    under_way: usize,
    slots: u32,
    used_slots: u32,
    /// Slots into which a socket was put.
    put: HashSet<u32>,
    /// Whether clients are accepted as direct descriptors.
    pub(super) direct: bool,
    /// How many bytes end a receive, or 0 for no limit.
    pub(super) limit: u32,
    is_ending: bool,
    /// Whether the kernel chooses slots, for clients that it accepts.
    pub(super) accepts: bool,
    /// Slots whose close is queued.
    closing: Vec<u32>,
    /// Whether more buffers are wanted.
    starved: bool,
    /// Sends whose completions do not end the next wait.
    quiet_sends: usize,
    spin: u32,
    /// Distinguishes the sockets and leases of this ring from those of another.
    id: u32,
    /// The process that made it.
    origin: Origin,
    /// The kernel refuses other threads (`IORING_SETUP_SINGLE_ISSUER`).
    only_here: PhantomData<*const ()>,
}

/// What the kernel uses while operations are under way.
pub(super) struct Kept {
    source: Arc<[u8]>,
    buffers: Buffers,
    pub(super) sends: Sends,
}

/// What became of an operation.
#[derive(Debug)]
pub struct Completion {
    /// What was given with the operation.
    pub token: u64,
    /// What happened.
    pub event: Event,
    /// The operation goes on, and will have another completion.
    pub more: bool,
    /// More bytes had come than were received.
    pub has_rest: bool,
}

/// What a completion tells.
#[derive(Debug)]
pub enum Event {
    /// A client was accepted.
    Accepted(core::result::Result<Socket, Errno>),
    /// Bytes have come.
    Received(core::result::Result<Lease, Errno>),
    /// The other side will send no more.
    Ended,
    /// A send has ended, and has sent so many bytes of the piece, which comes back. 0 also when there was room for none
    /// ([`Manner::Now`](super::Manner::Now), [`Manner::Quietly`](super::Manner::Quietly)).
    Sent(Piece, core::result::Result<usize, Errno>),
    /// The socket has these events of poll(2).
    Ready(core::result::Result<u32, Errno>),
}

/// What an operation is, and how its completion is to be read: the upper 8 bits of the kernel's `user_data`. The rest is the
/// token, or the number of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Accept = 1,
    AcceptOrdinary,
    Receive,
    Send,
    Poll,
    Install,
}

const KINDS: [Kind; 6] =
    [Kind::Accept, Kind::AcceptOrdinary, Kind::Receive, Kind::Send, Kind::Poll, Kind::Install];

/// The `user_data` of operations that nobody waits for.
const NOBODY: u64 = 0;

const TOKEN_BITS: u32 = 56;
const TOKEN: u64 = (1 << TOKEN_BITS) - 1;

impl Kind {
    #[inline]
    pub(super) fn tag(self, token: u64) -> u64 {
        debug_assert!(token <= TOKEN, "a token has {TOKEN_BITS} bits");
        (self as u64) << TOKEN_BITS | token & TOKEN
    }

    #[inline]
    fn of(user_data: u64) -> Option<Kind> {
        KINDS.get(((user_data >> TOKEN_BITS) as usize).wrapping_sub(1)).copied()
    }
}

/// `IORING_REGISTER_RING_FDS` and `IORING_UNREGISTER_RING_FDS`
const REGISTER_RING: libc::c_uint = 20;
const UNREGISTER_RING: libc::c_uint = 21;

/// `struct io_uring_rsrc_update`
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// `struct io_uring_getevents_arg`
#[repr(C)]
#[derive(Default)]
struct GetEvents {
    signals: u64,
    size_of_signals: u32,
    min_wait_us: u32,
    timespec: u64,
}

/// The queues alone: io_uring_setup(2).
pub(super) fn set_up(entries: u32, completions: u32) -> Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions);
    // Linux 6.6 has it; it saves the array between the queue and its entries.
    let modern = cvt_io(Call::IoUringSetup, builder.clone().setup_no_sqarray().build(entries));
    match modern {
        Err(error) if error.errno() == Some(Errno::EINVAL) => {
            cvt_io(Call::IoUringSetup, builder.build(entries))
        }
        result => result,
    }
}

impl Ring {
    /// A ring: io_uring_setup(2), io_uring_register(2), and one io_uring_enter(2), which learns what the kernel can do.
    ///
    /// # Errors
    ///
    /// `ENOSYS` and `EPERM` where there is no io_uring, or it is forbidden; `EINVAL` before Linux 6.1, which lacks what this needs, and
    /// for a [`Plan`] that cannot be; `EMFILE` for more slots than this process may have descriptors, or without a descriptor for the
    /// ring; `ENOMEM`, also when the limit on locked memory is too low.
    #[doc(alias = "io_uring_setup")]
    pub fn new(setup: Setup) -> Result<Ring> {
        Ring::with_queues(setup, ENTRIES, COMPLETIONS)
    }

    /// The same with room for so many operations and completions.
    pub(super) fn with_queues(setup: Setup, entries: u32, completions: u32) -> Result<Ring> {
        static IDS: AtomicU32 = AtomicU32::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let Setup { slots, direct, source, buffers, limit, spin } = setup;
        let origin = Origin::here()?;
        let ring = set_up(entries, completions)?;
        let kept = Kept { source, buffers: Buffers::new(Plan::NONE, id), sends: Sends::default() };
        let mut ring = Ring {
            ring: ManuallyDrop::new(ring),
            kept: ManuallyDrop::new(kept),
            taken: VecDeque::new(),
            index: None,
            under_way: 0,
            slots,
            used_slots: 0,
            put: HashSet::new(),
            direct: false,
            limit: 0,
            is_ending: false,
            accepts: false,
            closing: Vec::new(),
            starved: false,
            quiet_sends: 0,
            spin,
            id,
            origin,
            only_here: PhantomData,
        };
        if slots > 0 {
            cvt_io(Call::IoUringRegister, ring.ring.submitter().register_files_sparse(slots))?;
        }
        ring.register_for_this_thread();
        ring.direct = direct && ring.can_install();
        if ring.can_limit()? {
            ring.limit = limit;
        }
        ring.follow(buffers)?;
        Ok(ring)
    }

    /// Have the buffers of the first of these plans that the kernel can follow.
    fn follow(&mut self, plans: Vec<Plan>) -> Result<()> {
        let mut registered = Ok(());
        for plan in plans {
            if !plan.can_be() {
                return Err(refused(Call::IoUringRegister, Errno::EINVAL));
            }
            self.kept.buffers = Buffers::new(plan, self.id);
            registered = self.register_buffers();
            if !registered.as_ref().is_err_and(|error| error.errno() == Some(Errno::EINVAL)) {
                break;
            }
        }
        registered
    }

    /// Whether a receive can be limited (Linux 6.17). Before, the kernel refuses (`EINVAL`) what it does not know before it looks at the
    /// descriptor, which is none.
    fn can_limit(&mut self) -> Result<bool> {
        self.begin(Kind::Receive, 0, limited(opcode::RecvMulti::new(Fd(-1), GROUP).build(), 1))?;
        self.enter_once(1, None)?;
        let refused =
            matches!(self.next(), Some(Completion { event: Event::Received(Err(Errno::EINVAL)), .. }));
        Ok(!refused)
    }

    /// Whether the kernel has `IORING_OP_FIXED_FD_INSTALL`: `IORING_REGISTER_PROBE`.
    fn can_install(&self) -> bool {
        let mut probe = Probe::new();
        let asked = cvt_io(Call::IoUringRegister, self.ring.submitter().register_probe(&mut probe));
        asked.is_ok() && probe.is_supported(opcode::FixedFdInstall::CODE)
    }

    /// `IORING_REGISTER_RING_FDS`. A thread may register 16 rings; another is used by its descriptor.
    fn register_for_this_thread(&mut self) {
        let fd = self.ring.as_raw_fd();
        let mut update = RingUpdate { offset: u32::MAX, reserved: 0, data: fd as u64 };
        // SAFETY: the argument is one `struct io_uring_rsrc_update`, which the kernel reads and writes during the call.
        let registered =
            unsafe { libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING, &raw mut update, 1) };
        if cvt(Call::IoUringRegister, Errno::result(registered)) == Ok(1) {
            self.index = Some(update.offset.cast_signed());
        }
    }

    /// `IORING_UNREGISTER_RING_FDS`, without which the ring would live as long as the thread.
    fn unregister_for_this_thread(&mut self) {
        let Some(index) = self.index.take() else { return };
        let fd = self.ring.as_raw_fd();
        let update = RingUpdate { offset: index.cast_unsigned(), reserved: 0, data: 0 };
        // SAFETY: the argument is one `struct io_uring_rsrc_update`, which the kernel only reads.
        let ended =
            unsafe { libc::syscall(libc::SYS_io_uring_register, fd, UNREGISTER_RING, &raw const update, 1) };
        cvt(Call::IoUringRegister, Errno::result(ended)).ok();
    }

    fn register_buffers(&mut self) -> Result<()> {
        let (start, entries, flags) = self.kept.buffers.ring();
        // SAFETY: the entries begin at a page, are as many as is said, and stay where they are until `drop`, which frees them after
        // the ring.
        let registered =
            unsafe { self.ring.submitter().register_buf_ring_with_flags(start, entries, GROUP, flags) };
        cvt_io(Call::IoUringRegister, registered)
    }

    /// Put a socket into a slot of one's own choice: io_uring_register(2), `IORING_REGISTER_FILES_UPDATE`. The ring holds a copy:
    /// closing the descriptor does not end the connection.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a slot that the ring does not have; `EBUSY` for one that is in use; as [`enter`](Ring::enter), when the slot is one
    /// whose close is queued.
    ///
    /// # Panics
    ///
    /// After [`accept`](Ring::accept), because the kernel may have given the slot to a client.
    pub fn put(&mut self, slot: u32, socket: impl AsFd) -> Result<Socket> {
        assert!(!self.accepts, "the kernel chooses the slots of this ring");
        if self.put.contains(&slot) {
            return Err(refused(Call::IoUringRegister, Errno::EBUSY));
        }
        // A close that the kernel has not heard of would meet the new socket.
        while self.closing.contains(&slot) {
            self.enter_once(0, None)?;
        }
        let fd = socket.as_fd().as_raw_fd();
        cvt_io(Call::IoUringRegister, self.ring.submitter().register_files_update(slot, &[fd]))?;
        self.used_slots += 1;
        self.put.insert(slot);
        Ok(Socket { number: slot, is_direct: true, ring: self.id })
    }

    /// Make an ordinary descriptor of a socket on which no operation is under way, and take it out of the ring. What was queued for
    /// it comes first. For a direct descriptor this is `IORING_OP_FIXED_FD_INSTALL`.
    ///
    /// # Errors
    ///
    /// `EMFILE` without a free descriptor, `ENFILE`, `ENOMEM`: the socket is closed then. As [`enter`](Ring::enter): it stays open as long
    /// as the ring.
    ///
    /// # Panics
    ///
    /// With a socket of another ring.
    pub fn take_out(&mut self, socket: Socket) -> Result<OwnedFd> {
        self.check(&socket);
        self.must_be_here()?;
        if !socket.is_direct {
            while !self.ring.submission().is_empty() {
                self.enter_once(0, None)?;
            }
            self.used_slots -= 1;
            // SAFETY: accept(2) has made this descriptor for the ring, and nobody else owns it: `socket` was the only value with its number,
            // and ends here. The kernel has heard of all operations on it, and so has looked for the socket already.
            return Ok(unsafe { OwnedFd::from_raw_fd(socket.number as RawFd) });
        }
        let install = opcode::FixedFdInstall::new(Fixed(socket.number), 0).build();
        self.begin(Kind::Install, 0, install)?;
        let is_of_install = |entry: &cqueue::Entry| Kind::of(entry.user_data()) == Some(Kind::Install);
        let at = loop {
            if let Some(at) = self.taken.iter().position(is_of_install) {
                break at;
            }
            self.enter_once(1, None)?;
        };
        let installed = self.taken.remove(at).map_or(-libc::EINVAL, |entry| entry.result());
        self.under_way -= 1;
        let installed = match installed {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            0.. => Ok(unsafe { OwnedFd::from_raw_fd(installed) }),
            errno => Err(refused(Call::IoUringEnter, Errno::from_raw(-errno))),
        };
        self.close(socket)?;
        installed
    }

    /// # Panics
    ///
    /// With a socket of another ring.
    #[inline]
    pub(super) fn check(&self, socket: &Socket) {
        assert_eq!(socket.ring, self.id, "a socket of another ring");
    }

    /// Whether there is room for another client. An ordinary descriptor may be missing all the same.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used_slots < self.slots
    }

    pub(super) fn has_many_slots(&self) -> bool {
        self.slots - self.used_slots > MANY_SLOTS
    }

    /// End all operations. Each still has its last completion, and no more are to be begun.
    ///
    /// # Errors
    ///
    /// As [`enter`](Ring::enter), when the queue is full.
    pub fn end(&mut self) -> Result<()> {
        self.is_ending = true;
        self.cancel_all()
    }

    /// Whether it was told to [`end`](Ring::end).
    #[must_use]
    #[inline]
    pub fn is_ending(&self) -> bool {
        self.is_ending
    }

    pub(super) fn slot_closes(&mut self, socket: &Socket) {
        self.used_slots -= 1;
        if socket.is_direct {
            self.put.remove(&socket.number);
            self.closing.push(socket.number);
        }
    }

    /// Whether operations are under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    /// The bytes of a received piece.
    ///
    /// # Panics
    ///
    /// With a lease of another ring.
    #[must_use]
    #[inline]
    pub fn bytes(&self, lease: &Lease) -> &[u8] {
        self.kept.buffers.bytes(lease)
    }

    /// Give the buffer of a received piece back.
    ///
    /// # Panics
    ///
    /// With a lease of another ring.
    #[inline]
    pub fn give(&mut self, lease: Lease) {
        self.kept.buffers.give(lease);
    }

    /// Have more buffers from the next [`enter`](Ring::enter) on: twice as many, as far as the plan allows. For when a receive found
    /// none (`ENOBUFS`).
    pub fn add_buffers(&mut self) {
        self.starved = true;
    }

    /// The bytes of a piece.
    ///
    /// # Panics
    ///
    /// When the source has no such bytes; with a lease of another ring.
    #[must_use]
    #[inline]
    pub fn bytes_of<'a>(&'a self, piece: &'a Piece) -> &'a [u8] {
        match piece {
            Piece::Received(lease) => self.bytes(lease),
            Piece::Source(range) => &self.kept.source[range.clone()],
            Piece::Owned(bytes) => bytes,
        }
    }

    /// Give the buffer of a piece back, if it is in one.
    ///
    /// # Panics
    ///
    /// With a lease of another ring.
    #[inline]
    pub fn give_back(&mut self, piece: Piece) {
        if let Piece::Received(lease) = piece {
            self.give(lease);
        }
    }

    /// Tell the kernel what was queued, and wait until `want` operations have a completion, or for that long:
    /// io_uring_enter(2). With a `want` of 0, and while completions are left from before, it does not wait. Those of sends that were
    /// queued [quietly](super::Manner::Quietly) do not count. Whether the time was up.
    ///
    /// The kernel does a part of what it could do, and leaves the rest to the next call. This makes more calls, until there is no rest or
    /// enough for a turn, so that the answers to all of it go with one call.
    ///
    /// # Errors
    ///
    /// `EBADR` when the kernel had no memory for a completion, which is lost then; `EAGAIN` when it had none for an operation, 100 times
    /// in a row; `EEXIST` in a process that was forked after the ring was made.
    #[doc(alias = "io_uring_enter")]
    #[inline]
    pub fn enter(&mut self, want: usize, timeout: Option<Duration>) -> Result<bool> {
        self.must_be_here()?;
        let quiet = mem::take(&mut self.quiet_sends);
        // What was taken already is not waited for.
        let want = if want > 0 && self.taken.is_empty() { want + quiet } else { 0 };
        // The kernel tells that the time was up only when nothing was queued.
        let limit = timeout.filter(|_| want > 0).map(|timeout| (Instant::now(), timeout));
        let left = || limit.map(|(started, timeout)| timeout.saturating_sub(started.elapsed()));
        if want > 0 && self.spin > 0 {
            self.spin(want)?;
            let more = want.saturating_sub(self.taken.len());
            if more > 0 {
                self.enter_once(more, left())?;
            }
        } else {
            self.enter_once(want, timeout)?;
        }
        let enough = ENOUGH.max(self.under_way / ENOUGH_SHARE);
        let mut before = 0;
        loop {
            let ready = self.taken.len();
            let is_cut_short = ready >= before + WORKS_PER_CALL && self.ring.submission().taskrun();
            if !is_cut_short || ready >= enough {
                return Ok(ready < want && left().is_some_and(|left| left.is_zero()));
            }
            before = ready;
            self.enter_once(0, None)?;
        }
    }

    /// Tell the kernel what was queued, and look for a while whether there are as many completions as wanted.
    fn spin(&mut self, want: usize) -> Result<()> {
        self.enter_once(0, None)?;
        for _ in 0..self.spin {
            if self.ring.submission().taskrun() {
                self.enter_once(0, None)?;
            }
            if self.taken.len() >= want {
                break;
            }
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// One call, if there is something to tell or to wait for.
    #[inline]
    fn enter_once(&mut self, want: usize, timeout: Option<Duration>) -> Result<()> {
        self.must_be_here()?;
        if mem::take(&mut self.starved) {
            self.kept.buffers.grow();
        }
        // What was given back can be used, also by a receive that is queued only now.
        self.kept.buffers.publish();
        let submission = self.ring.submission();
        let queued = submission.len() as u32;
        if want == 0 && queued == 0 && !submission.taskrun() && !submission.cq_overflow() {
            return Ok(()); // Nothing to tell, and nothing to hear.
        }
        drop(submission);
        let entered = match self.call(queued, want as u32, timeout) {
            Err(error) if error.errno() == Some(Errno::EAGAIN) => self.try_again(queued, want, timeout),
            entered => entered,
        };
        let entered = match entered {
            // The time is up; a signal came; completions must be taken first.
            Err(error) if matches!(error.errno(), Some(Errno::ETIME | Errno::EINTR | Errno::EBUSY)) => Ok(()),
            entered => entered,
        };
        // So that the kernel has room for others.
        self.taken.extend(self.ring.completion());
        if self.ring.submission().is_empty() {
            self.closing.clear();
        }
        entered
    }

    /// The kernel had no memory for an operation, and has taken none from the queue. Operations that end free some.
    #[cold]
    fn try_again(&mut self, queued: u32, want: usize, timeout: Option<Duration>) -> Result<()> {
        let mut tries = 0;
        loop {
            // It may fail too, and what it brought is looked at below.
            self.call(0, 1, Some(BETWEEN_TRIES)).ok();
            self.taken.extend(self.ring.completion());
            let want = if self.taken.is_empty() { want as u32 } else { 0 };
            tries += 1;
            match self.call(queued, want, timeout) {
                Err(error) if error.errno() == Some(Errno::EAGAIN) && tries < TRIES => {}
                entered => return entered,
            }
        }
    }

    /// io_uring_enter(2).
    #[inline]
    fn call(&self, queued: u32, want: u32, timeout: Option<Duration>) -> Result<()> {
        let limit = timeout.filter(|_| want > 0).map(timespec);
        let wait = GetEvents {
            timespec: limit.as_ref().map_or(0, |limit| ptr::from_ref(limit) as u64),
            ..GetEvents::default()
        };
        let (fd, registered) = match self.index {
            Some(index) => (index, EnterFlags::REGISTERED_RING),
            None => (self.ring.as_raw_fd(), EnterFlags::empty()),
        };
        let (more, argument, size) = match limit {
            Some(_) => (EnterFlags::EXT_ARG, ptr::from_ref(&wait), size_of::<GetEvents>()),
            None => (EnterFlags::empty(), ptr::null(), 0),
        };
        let flags = EnterFlags::GETEVENTS | registered | more;
        // SAFETY: the argument is null, or a `struct io_uring_getevents_arg` of that size whose `timespec` points to one on this stack.
        // What the queued operations point to is kept by this ring, and goes after they have ended.
        let entered = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, fd, queued, want, flags.bits(), argument, size)
        };
        cvt(Call::IoUringEnter, Errno::result(entered)).map(drop)
    }

    /// Whether a completion is there to be taken.
    #[must_use]
    #[inline]
    pub fn is_ready(&self) -> bool {
        !self.taken.is_empty()
    }

    /// The next completion, if one is there.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would borrow the ring, which is used meanwhile"
    )]
    pub fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.taken.pop_front()?;
            let completion = self.read(&entry);
            if completion.is_some() {
                return completion;
            }
        }
    }

    #[inline]
    fn read(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (flags, rest) = (entry.flags(), entry.user_data() & TOKEN);
        let kind = Kind::of(entry.user_data())?;
        let (more, has_rest) = (cqueue::more(flags), cqueue::sock_nonempty(flags));
        self.under_way -= usize::from(!more);
        let result = u32::try_from(entry.result()).map_err(|_| match Errno::from_raw(-entry.result()) {
            // What a worker thread of the kernel does is cancelled by a signal to that thread.
            Errno::EINTR => Errno::ECANCELED,
            errno => errno,
        });
        let event = match kind {
            Kind::Receive => self.received(flags, result),
            Kind::Send => {
                let (token, piece) = self.kept.sends.take(rest as u32)?;
                let sent = match result {
                    Err(Errno::EAGAIN) => Ok(0),
                    result => result.map(|sent| sent as usize),
                };
                return Some(Completion { token, event: Event::Sent(piece, sent), more, has_rest });
            }
            Kind::Accept | Kind::AcceptOrdinary => {
                self.used_slots += u32::from(result.is_ok());
                if more && self.slots - self.used_slots == MANY_SLOTS {
                    // From here on one by one. A failure shows again in the next `enter`.
                    self.cancel(CancelBuilder::user_data(entry.user_data())).ok();
                }
                Event::Accepted(result.map(|number| self.socket(number, matches!(kind, Kind::Accept))))
            }
            Kind::Poll => Event::Ready(result),
            // `take_out` takes it from the queue itself.
            Kind::Install => return None,
        };
        Some(Completion { token: rest, event, more, has_rest })
    }

    fn socket(&self, number: u32, is_direct: bool) -> Socket {
        Socket { number, is_direct, ring: self.id }
    }

    #[inline]
    fn received(&mut self, flags: u32, result: core::result::Result<u32, Errno>) -> Event {
        let buffers = &mut self.kept.buffers;
        let len = result.unwrap_or(0);
        let lease =
            cqueue::buffer_select(flags).map(|buffer| buffers.lend(buffer, len, cqueue::buffer_more(flags)));
        match (lease, result) {
            (Some(lease), Ok(1..)) => return Event::Received(Ok(lease)),
            (Some(lease), _) => buffers.give(lease),
            (None, _) => {}
        }
        match result {
            Ok(_) => Event::Ended,
            Err(errno) => Event::Received(Err(errno)),
        }
    }

    /// Queue an operation, which has a completion.
    #[inline]
    pub(super) fn begin(&mut self, kind: Kind, token: u64, operation: squeue::Entry) -> Result<()> {
        self.push(&operation.user_data(kind.tag(token)))?;
        self.under_way += 1;
        Ok(())
    }

    /// Queue an operation that has a completion only when it fails, for which nobody waits.
    pub(super) fn push_for_nobody(&mut self, operation: squeue::Entry) -> Result<()> {
        self.push(&operation.flags(squeue::Flags::SKIP_SUCCESS).user_data(NOBODY))
    }

    #[inline]
    fn push(&mut self, entry: &squeue::Entry) -> Result<()> {
        loop {
            self.make_room(1)?;
            // SAFETY: what an entry points to is in `kept`, which stays until the operation has ended, see `drop`. The memory of the queue is
            // shared with forked processes, but `make_room` refuses in those. Descriptors that are not open only give an error.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
        }
    }

    /// Link an operation that does nothing to the send that was queued last. It has no completion if that was sent, and one if not.
    pub(super) fn quiet_send(&mut self) -> Result<()> {
        self.quiet_sends += 1;
        self.push_for_nobody(opcode::Nop::new().build())
    }

    #[cfg(test)]
    pub(super) fn is_queue_full(&mut self) -> bool {
        self.ring.submission().is_full()
    }

    #[inline]
    fn room(&mut self) -> usize {
        let submission = self.ring.submission();
        submission.capacity() - submission.len()
    }

    /// Whether nothing is queued, and no completion is left of those that the last [`enter`](Ring::enter) brought.
    #[must_use]
    #[inline]
    pub fn is_at_rest(&mut self) -> bool {
        self.taken.is_empty() && self.ring.submission().is_empty()
    }

    /// Have room in the queue for so many operations. When there is not, the kernel hears of what is in it.
    ///
    /// # Errors
    ///
    /// `EEXIST` in a forked process. As [`enter`](Ring::enter), when it is full.
    #[inline]
    pub(super) fn make_room(&mut self, needed: usize) -> Result<()> {
        self.must_be_here()?;
        while self.room() < needed {
            // The kernel refuses (`EBUSY`) while completions wait for which it has no room, but each call makes room.
            self.enter_once(0, None)?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// `EEXIST` in a forked process: its queues are those of its parent.
    #[inline]
    fn must_be_here(&self) -> Result<()> {
        if self.origin.is_here() { Ok(()) } else { Err(refused(Call::IoUringEnter, Errno::EEXIST)) }
    }

    /// End everything that is under way; whether that has worked.
    fn quiet(&mut self) -> bool {
        let started = Instant::now();
        if self.enter_once(0, None).is_err() || self.under_way > 0 && self.cancel_all().is_err() {
            return false;
        }
        loop {
            while let Some(completion) = self.next() {
                if let Event::Received(Ok(lease)) | Event::Sent(Piece::Received(lease), _) = completion.event
                {
                    self.give(lease);
                }
            }
            let left = LONGEST_END.saturating_sub(started.elapsed());
            if !self.is_busy() {
                return true;
            }
            if left.is_zero() || self.enter_once(1, Some(left)).is_err() {
                return false;
            }
        }
    }
}

fn refused(call: Call, source: Errno) -> Error {
    Error::Call { call, fd: None, source }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.origin.is_here() {
            return; // It is the ring of the parent, whose operations are not to be ended.
        }
        let is_quiet = self.quiet();
        self.unregister_for_this_thread();
        if !is_quiet {
            return; // The kernel may still use the memory: it stays.
        }
        // SAFETY: the field is not used after this, because the ring is being dropped.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        // SAFETY: the field is not used after this either. The kernel does not use its memory any more: no operation is under way, and
        // the descriptor of the ring, with which the buffers were registered, is closed.
        unsafe { ManuallyDrop::drop(&mut self.kept) };
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} under way, {} of {} slots)", self.under_way, self.used_slots, self.slots)
    }
}
