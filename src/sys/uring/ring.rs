//! The queues of a ring, the slots of its sockets, and io_uring_enter(2).

use super::buffers::{Buffers, Lease, Plan};
use super::cvt_io;
use super::operations::{Piece, Sends, Socket};
use crate::error::Result;
use crate::sys::{Call, Errno, cvt, timespec};
use io_uring::types::CancelBuilder;
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Operations that are queued before the kernel hears of them, at most.
pub(super) const ENTRIES: u32 = 256;

/// Completions that wait to be taken, at most. The kernel keeps what is beyond that, and hands it over later.
const COMPLETIONS: u32 = 4096;

/// How many sockets the kernel looks at in one call, at least, before it leaves the others to the next call
/// (`IO_LOCAL_TW_DEFAULT_MAX`, since Linux 6.10).
const A_PART: usize = 20;

/// Enough completions for a turn: so many, or this part of the operations that are under way. With thousands of sockets larger turns
/// are cheaper.
const ENOUGH: usize = 64;
const ENOUGH_OF: usize = 16;

/// The number of the only group of buffers.
pub(super) const GROUP: u16 = 0;

/// With fewer free slots clients are accepted one by one, because one operation for all empties the whole queue of the listener. That
/// is 4096 by default (`net.core.somaxconn`).
const MANY_SLOTS: u32 = 4096;

/// How long the end of a ring may take: longer, and its memory is left to the kernel for good.
const LONGEST_END: Duration = Duration::from_secs(5);

/// What a ring is made of.
#[derive(Debug)]
pub struct Setup {
    /// How many sockets it has direct descriptors for; 0 for none.
    pub slots: u32,
    /// Whether it accepts clients as direct descriptors, if the kernel can make ordinary ones of them (Linux 6.8).
    pub direct: bool,
    /// What [`Piece::Source`] is a piece of.
    pub source: Arc<[u8]>,
    /// What it receives into: the first of these plans that the kernel can follow.
    pub buffers: Vec<Plan>,
    /// How often it looks for a completion before it sleeps.
    pub spin: u32,
}

/// A ring, for the thread that made it.
pub struct Ring {
    ring: ManuallyDrop<IoUring>,
    kept: ManuallyDrop<Kept>,
    /// Completions that were taken from the queue, and not looked at yet.
    taken: VecDeque<cqueue::Entry>,
    /// The number under which this thread has registered the ring: the kernel need not look for the descriptor at each call.
    index: Option<RawFd>,
    /// Operations that have not ended.
    under_way: usize,
    slots: u32,
    used_slots: u32,
    direct: bool,
    is_ending: bool,
    /// Whether the kernel chooses slots, for clients that it accepts.
    accepts: bool,
    /// Slots whose close is queued.
    closing: Vec<u32>,
    /// Whether more buffers are wanted.
    starved: bool,
    spin: u32,
    /// The kernel refuses other threads (`IORING_SETUP_SINGLE_ISSUER`).
    only_here: PhantomData<*const ()>,
}

/// What the kernel uses while operations are under way.
struct Kept {
    source: Arc<[u8]>,
    buffers: Buffers,
    sends: Sends,
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
    /// ([`Manner::Now`](super::Manner::Now)).
    Sent(Piece, core::result::Result<usize, Errno>),
    /// The socket has these events of poll(2).
    Ready(core::result::Result<u32, Errno>),
    /// The socket is an ordinary descriptor now.
    Installed(core::result::Result<OwnedFd, Errno>),
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

/// Of operations whose end interests nobody.
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
    /// A ring: io_uring_setup(2), io_uring_register(2).
    ///
    /// # Errors
    ///
    /// `ENOSYS` and `EPERM` where there is no io_uring, or it is forbidden; `EINVAL` before Linux 6.1, which lacks what this needs;
    /// `EMFILE` for more slots than this process may have descriptors, or without a descriptor for the ring; `ENOMEM`.
    ///
    /// # Panics
    ///
    /// When the plan of the buffers is not one.
    #[doc(alias = "io_uring_setup")]
    pub fn new(setup: Setup) -> Result<Ring> {
        Ring::with_queues(setup, ENTRIES, COMPLETIONS)
    }

    /// The same with room for so many operations and completions.
    pub(super) fn with_queues(setup: Setup, entries: u32, completions: u32) -> Result<Ring> {
        let Setup { slots, direct, source, buffers, spin } = setup;
        let ring = set_up(entries, completions)?;
        if slots > 0 {
            cvt_io(Call::IoUringRegister, ring.submitter().register_files_sparse(slots))?;
        }
        let kept = Kept { source, buffers: Buffers::new(Plan::NONE), sends: Sends::default() };
        let mut ring = Ring {
            ring: ManuallyDrop::new(ring),
            kept: ManuallyDrop::new(kept),
            taken: VecDeque::new(),
            index: None,
            under_way: 0,
            slots,
            used_slots: 0,
            direct: false,
            is_ending: false,
            accepts: false,
            closing: Vec::new(),
            starved: false,
            spin,
            only_here: PhantomData,
        };
        ring.direct = direct && ring.can_install();
        ring.register_for_this_thread();
        let mut registered = Ok(());
        for plan in buffers {
            ring.kept.buffers = Buffers::new(plan);
            registered = ring.register_buffers();
            if !registered.as_ref().is_err_and(|error| error.errno() == Some(Errno::EINVAL)) {
                break;
            }
        }
        registered.map(|()| ring)
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
    /// `EINVAL` for a slot that the ring does not have.
    ///
    /// # Panics
    ///
    /// After [`accept`](Ring::accept), because the kernel may have given the slot to a client.
    pub fn put(&mut self, slot: u32, socket: impl AsFd) -> Result<Socket> {
        assert!(!self.accepts, "the kernel chooses the slots of this ring");
        if self.closing.contains(&slot) {
            // The close would meet the new socket.
            self.enter(0, None)?;
        }
        let fd = socket.as_fd().as_raw_fd();
        cvt_io(Call::IoUringRegister, self.ring.submitter().register_files_update(slot, &[fd]))?;
        self.used_slots += 1;
        Ok(Socket { number: slot, is_direct: true })
    }

    /// Whether clients are accepted as direct descriptors.
    pub(super) fn is_direct(&self) -> bool {
        self.direct
    }

    /// Whether there is room for another client. An ordinary descriptor may be missing all the same.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.direct || self.used_slots < self.slots
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

    pub(super) fn kernel_chooses_slots(&mut self) {
        self.accepts = true;
    }

    pub(super) fn slot_closes(&mut self, socket: &Socket) {
        if socket.is_direct {
            self.used_slots -= 1;
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

    #[inline]
    pub(super) fn sends(&mut self) -> &mut Sends {
        &mut self.kept.sends
    }

    /// Tell the kernel what was queued, and wait until `want` operations have a completion, or for that long:
    /// io_uring_enter(2). With a `want` of 0 it does not wait.
    ///
    /// The kernel does a part of what it could do, and leaves the rest to the next call. This makes more calls, until there is no rest or
    /// enough for a turn, so that the answers to all of it go with one call.
    ///
    /// # Errors
    ///
    /// `EBADR` when the kernel had no memory for a completion, which is lost then; `EAGAIN` when it had none for an operation.
    #[doc(alias = "io_uring_enter")]
    #[inline]
    pub fn enter(&mut self, want: usize, timeout: Option<Duration>) -> Result<()> {
        if want > 0 && self.spin > 0 && self.spin()? {
            return Ok(());
        }
        self.enter_once(want, timeout)?;
        let enough = ENOUGH.max(self.under_way / ENOUGH_OF);
        let mut before = 0;
        loop {
            let ready = self.taken.len();
            let is_cut_short = ready >= before + A_PART && self.ring.submission().taskrun();
            if !is_cut_short || ready >= enough {
                return Ok(());
            }
            before = ready;
            self.enter_once(0, None)?;
        }
    }

    /// Tell the kernel what was queued, and look for a completion for a while: whether there is one.
    fn spin(&mut self) -> Result<bool> {
        self.enter_once(0, None)?;
        for _ in 0..self.spin {
            if self.ring.submission().taskrun() {
                self.enter_once(0, None)?;
            }
            if !self.taken.is_empty() {
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        Ok(false)
    }

    #[inline]
    fn enter_once(&mut self, want: usize, timeout: Option<Duration>) -> Result<()> {
        if std::mem::take(&mut self.starved) {
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
        let entered = self.call(queued, want as u32, timeout);
        self.take_completions();
        match entered {
            Ok(_) => Ok(()),
            // The time is up; a signal came; completions must be taken first.
            Err(error) if matches!(error.errno(), Some(Errno::ETIME | Errno::EINTR | Errno::EBUSY)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Take what has come from the queue, so that the kernel has room there. And learn which sends have ended without a completion:
    /// those of which the kernel has heard, and of which nothing has come.
    #[inline]
    fn take_completions(&mut self) {
        let Kept { sends, .. } = &mut *self.kept;
        for entry in self.ring.completion() {
            if Kind::of(entry.user_data()) == Some(Kind::Send) {
                sends.has_completion((entry.user_data() & TOKEN) as u32);
            }
            self.taken.push_back(entry);
        }
        let submission = self.ring.submission();
        if submission.is_empty() {
            self.closing.clear();
            // With an overflow a completion may be among those that the kernel has kept.
            if !submission.cq_overflow() {
                sends.were_submitted();
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
    pub fn is_ready(&mut self) -> bool {
        !self.taken.is_empty() || self.kept.sends.have_ended()
    }

    /// The next completion, if one is there.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would borrow the ring, which is used meanwhile"
    )]
    pub fn next(&mut self) -> Option<Completion> {
        if let Some((token, piece, len)) = self.kept.sends.next_quiet() {
            self.under_way -= 1;
            return Some(Completion { token, event: Event::Sent(piece, Ok(len as usize)), more: false });
        }
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
        let more = cqueue::more(flags);
        self.under_way -= usize::from(!more);
        let result = u32::try_from(entry.result()).map_err(|_| Errno::from_raw(-entry.result()));
        let event = match kind {
            Kind::Receive => self.received(flags, result),
            Kind::Send => {
                let (token, piece, _) = self.kept.sends.take(rest as u32)?;
                let sent = match result {
                    Err(Errno::EAGAIN) => Ok(0),
                    result => result.map(|sent| sent as usize),
                };
                return Some(Completion { token, event: Event::Sent(piece, sent), more });
            }
            Kind::Accept => {
                self.used_slots += u32::from(result.is_ok());
                if more && self.slots - self.used_slots == MANY_SLOTS {
                    // From here on one by one. A failure shows again in the next `enter`.
                    self.cancel(CancelBuilder::user_data(entry.user_data())).ok();
                }
                Event::Accepted(result.map(|number| Socket { number, is_direct: true }))
            }
            Kind::AcceptOrdinary => Event::Accepted(result.map(|number| Socket { number, is_direct: false })),
            Kind::Poll => Event::Ready(result),
            Kind::Install => Event::Installed(result.map(|fd| {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
                unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) }
            })),
        };
        Some(Completion { token: rest, event, more })
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

    /// Queue an operation whose end interests nobody.
    pub(super) fn push_for_nobody(&mut self, operation: squeue::Entry) -> Result<()> {
        self.push(&operation.flags(squeue::Flags::SKIP_SUCCESS).user_data(NOBODY))
    }

    #[inline]
    fn push(&mut self, entry: &squeue::Entry) -> Result<()> {
        loop {
            self.make_room()?;
            // SAFETY: what an entry points to is in `kept`, which stays until the operation has ended, see `drop`. Descriptors that are not
            // open only give an error.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
        }
    }

    /// Have room in the queue for an operation. When it is full, the kernel hears of what is in it.
    #[inline]
    pub(super) fn make_room(&mut self) -> Result<()> {
        while self.ring.submission().is_full() {
            // The kernel refuses (`EBUSY`) while completions wait for which it has no room, but each call makes room.
            self.enter_once(0, None)?;
        }
        Ok(())
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

impl Drop for Ring {
    fn drop(&mut self) {
        let is_quiet = self.quiet();
        self.unregister_for_this_thread();
        if !is_quiet {
            return; // The kernel may still use the memory: it stays.
        }
        // SAFETY: not used after this, the last use.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        // SAFETY: as above; no operation is under way, and the ring that knew the buffers is gone.
        unsafe { ManuallyDrop::drop(&mut self.kept) };
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} under way, {} of {} slots)", self.under_way, self.used_slots, self.slots)
    }
}
