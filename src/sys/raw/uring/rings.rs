//! The rings of this process.

use super::super::{AllZero, Refusal, fresh_pages};
use super::{Completion, Op, Reply, SETUP_DEFER_TASKRUN, SETUP_SINGLE_ISSUER, Submission, Take};
use crate::sys::Errno;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use libc::epoll_event;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether this program can use io_uring at all.
pub(crate) const HAS_URING: bool = true;

/// Memory of an operation. It is never given back, and shared with the kernel, hence the atomics.
type Memory = &'static [AtomicU8];

/// How much memory an operation has.
const ROOM: usize = 64;

static RINGS: Mutex<Vec<&'static Ring>> = Mutex::new(Vec::new());

struct Ring {
    uring: IoUring,
    /// What was submitted; the user data is an index of it. Whoever touches the queues holds this lock.
    submitted: Mutex<Vec<(&'static str, Memory)>>,
}

/// Of an operation that does not exist.
const NOBODY: u64 = u64::MAX;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ring(fd: i32) -> Reply<&'static Ring> {
    let ring = lock(&RINGS).iter().rev().find(|ring| ring.uring.as_raw_fd() == fd).copied();
    ring.ok_or(Refusal { call: "io_uring_enter", errno: Errno::EBADF })
}

fn reply<T>(call: &'static str, result: io::Result<T>) -> Reply<T> {
    result.map_err(|why| {
        let errno = Errno::from_raw(why.raw_os_error().unwrap_or(libc::EINVAL));
        Refusal { call, errno }
    })
}

/// io_uring_setup: room for so many operations and completions, and IORING_SETUP_* flags of those above.
pub(crate) fn uring_setup(entries: u32, completions: u32, flags: u32) -> Reply<i32> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(completions);
    if flags & SETUP_SINGLE_ISSUER != 0 {
        builder.setup_single_issuer();
    }
    if flags & SETUP_DEFER_TASKRUN != 0 {
        builder.setup_defer_taskrun();
    }
    let uring = reply("io_uring_setup", builder.build(entries))?;
    let fd = uring.as_raw_fd();
    // The process is thrown away: its rings end with it, and the kernel never writes to memory of somebody else.
    lock(&RINGS).push(Box::leak(Box::new(Ring { uring, submitted: Mutex::default() })));
    Ok(fd)
}

/// io_uring_register with IORING_REGISTER_EVENTFD: the eventfd is written to for each completion.
pub(crate) fn uring_eventfd(fd: i32, eventfd: i32) -> Reply<()> {
    reply("io_uring_register", ring(fd)?.uring.submitter().register_eventfd(eventfd))
}

/// `struct io_uring_buf`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Buffer {
    start: u64,
    len: u32,
    number: u16,
    /// In the first one: how many there are.
    tail: u16,
}

// SAFETY: a buffer consists of numbers, and a page is aligned for eight bytes.
unsafe impl AllZero for Buffer {}

/// The only group of buffers.
const GROUP: u16 = 0;

/// io_uring_register with IORING_REGISTER_PBUF_RING, since Linux 5.19: `n` buffers of `size` bytes each.
pub(crate) fn uring_buffers(fd: i32, n: u32, size: u32) -> Reply<()> {
    let ring = ring(fd)?;
    let slots = n.next_power_of_two() as u16;
    let no_room = Refusal { call: "mmap", errno: Errno::ENOMEM };
    let buffers = fresh_pages::<Buffer>(usize::from(slots)).ok_or(no_room)?;
    for (number, buffer) in (0..n as u16).zip(buffers.iter_mut()) {
        let memory: Memory = Box::leak((0..size).map(|_| AtomicU8::new(0)).collect());
        *buffer = Buffer { start: memory.as_ptr().addr() as u64, len: size, number, tail: 0 };
    }
    buffers[0].tail = n as u16;
    let start = buffers.as_ptr().addr() as u64;
    // SAFETY: pages of ours that are never unmapped, with as many slots as is said; from here on the kernel alone reads
    // them. They name `n` pieces of leaked memory, each as long as it says.
    reply("io_uring_register", unsafe {
        ring.uring.submitter().register_buf_ring_with_flags(start, slots, GROUP, 0)
    })
}

/// io_uring_enter to submit these, without waiting; how many were taken.
pub(crate) fn uring_submit(fd: i32, operations: &[Submission]) -> Reply<usize> {
    let ring = ring(fd)?;
    for operation in operations {
        ring.push(operation)?;
    }
    reply("io_uring_enter", ring.uring.submitter().submit())
}

/// io_uring_enter to wait until there are `want` completions. Without a limit it waits for ever, with one it gives
/// `ETIME` in the end.
pub(crate) fn uring_wait(fd: i32, want: usize, limit: Option<Duration>) -> Reply<()> {
    let submitter = ring(fd)?.uring.submitter();
    let entered = match limit {
        Some(limit) => {
            let limit = Timespec::from(limit);
            submitter.submit_with_args(want, &SubmitArgs::new().timespec(&limit))
        }
        None => submitter.submit_and_wait(want),
    };
    reply("io_uring_enter", entered).map(drop)
}

/// The next completion that is there: no system call.
pub(crate) fn uring_next(fd: i32) -> Reply<Option<Completion>> {
    let ring = ring(fd)?;
    let submitted = lock(&ring.submitted);
    // SAFETY: the lock is held, without which nobody has one.
    let entry = unsafe { ring.uring.completion_shared() }.next();
    Ok(entry.map(|entry| Completion {
        name: submitted.get(entry.user_data() as usize).map_or("an unknown operation", |(name, _)| name),
        result: result_of(entry.result()),
        more: cqueue::more(entry.flags()),
        notice: cqueue::notif(entry.flags()),
    }))
}

/// What a completion says: a negative number is a refusal.
fn result_of(number: i32) -> Reply<i32> {
    if number < 0 {
        return Err(Refusal { call: "an operation of io_uring", errno: Errno::from_raw(-number) });
    }
    Ok(number)
}

/// Whether the kernel says that it keeps completions for which there is no room: IORING_FEAT_NODROP.
pub(crate) fn uring_keeps_overflow(fd: i32) -> Reply<bool> {
    Ok(ring(fd)?.uring.params().is_feature_nodrop())
}

/// Whether [`uring_wait`] can have a limit: IORING_FEAT_EXT_ARG.
pub(crate) fn uring_has_limits(fd: i32) -> Reply<bool> {
    Ok(ring(fd)?.uring.params().is_feature_ext_arg())
}

/// The first `n` bytes, at most 64, that the operation of that name has received.
pub(crate) fn uring_received(fd: i32, name: &str, n: usize) -> Reply<Vec<u8>> {
    let ring = ring(fd)?;
    let submitted = lock(&ring.submitted);
    let memory = submitted.iter().rev().find(|(its, _)| *its == name).map_or(&[][..], |(_, memory)| memory);
    Ok(memory.iter().take(n).map(|byte| byte.load(Ordering::Relaxed)).collect())
}

/// The event that the EPOLL_WAIT of that name has received.
pub(crate) fn uring_event(fd: i32, name: &str) -> Reply<epoll_event> {
    let bytes = uring_received(fd, name, size_of::<epoll_event>())?;
    let data = bytes.get(offset_of!(epoll_event, u64)..).and_then(|bytes| bytes.first_chunk());
    Ok(epoll_event {
        events: bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes)),
        u64: data.map_or(0, |bytes| u64::from_ne_bytes(*bytes)),
    })
}

impl Ring {
    fn push(&self, operation: &Submission) -> Reply<()> {
        let mut submitted = lock(&self.submitted);
        let find = |name| submitted.iter().rposition(|(its, _)| *its == name).map_or(NOBODY, |at| at as u64);
        let memory: Memory = Box::leak((0..ROOM).map(|_| AtomicU8::new(0)).collect());
        let mut flags = squeue::Flags::empty();
        flags.set(squeue::Flags::IO_LINK, operation.linked);
        flags.set(squeue::Flags::SKIP_SUCCESS, operation.quiet);
        let entry = entry_of(&operation.op, memory, find).user_data(submitted.len() as u64).flags(flags);
        // SAFETY: the lock is held, without which nobody has one.
        let mut queue = unsafe { self.uring.submission_shared() };
        // SAFETY: all pointers of an entry lead to memory that is leaked, and that is as long as the entry says;
        // descriptors that are not open give an error, no more.
        let pushed = unsafe { queue.push(&entry) };
        drop(queue);
        submitted.push((operation.name, memory));
        pushed.map_err(|_| Refusal { call: "io_uring_enter", errno: Errno::EBUSY })
    }
}

/// The entry of an operation; all its pointers lead to `memory`, or to memory that it leaks.
fn entry_of(op: &Op, memory: Memory, find: impl Fn(&'static str) -> u64) -> squeue::Entry {
    let start = memory.as_ptr().cast::<u8>().cast_mut();
    match *op {
        Op::Nop => opcode::Nop::new().build(),
        Op::PollAdd { fd, events, multi } => opcode::PollAdd::new(Fd(fd), events).multi(multi).build(),
        Op::PollRemove { name } => opcode::PollRemove::new(find(name)).build(),
        Op::Accept { fd, multi: true, .. } => opcode::AcceptMulti::new(Fd(fd)).build(),
        Op::Accept { fd, dont_wait, .. } => {
            let entry = opcode::Accept::new(Fd(fd), null_mut(), null_mut()).build();
            if dont_wait { with_priority(entry, ACCEPT_DONTWAIT) } else { entry }
        }
        Op::Connect { fd, to } => {
            let address = to.bytes().to_vec().leak();
            let length = address.len() as libc::socklen_t;
            opcode::Connect::new(Fd(fd), address.as_ptr().cast(), length).build()
        }
        Op::Recv { fd, flags } => opcode::Recv::new(Fd(fd), start, ROOM as u32).flags(flags).build(),
        Op::Read { fd } => opcode::Read::new(Fd(fd), start, ROOM as u32).build(),
        Op::RecvInto { fd, how: Take::ManyBundles } => opcode::RecvMultiBundle::new(Fd(fd), GROUP).build(),
        Op::RecvInto { fd, how: Take::Many } => opcode::RecvMulti::new(Fd(fd), GROUP).build(),
        Op::RecvInto { fd, how: Take::One } => {
            let entry = opcode::Recv::new(Fd(fd), null_mut(), 0).buf_group(GROUP).build();
            entry.flags(squeue::Flags::BUFFER_SELECT)
        }
        Op::SendZc { fd, n } => opcode::SendZc::new(Fd(fd), start, n.min(ROOM as u32)).build(),
        Op::Timeout { ms } => opcode::Timeout::new(time(ms)).build(),
        Op::LinkTimeout { ms } => opcode::LinkTimeout::new(time(ms)).build(),
        Op::EpollCtl { epoll, op, fd, event } => {
            let event = std::ptr::from_ref(Box::leak(Box::new(event))).cast();
            opcode::EpollCtl::new(Fd(epoll), Fd(fd), op, event).build()
        }
        Op::EpollWait { epoll } => opcode::EpollWait::new(Fd(epoll), start.cast(), 1).build(),
        Op::Cancel { name } => opcode::AsyncCancel::new(find(name)).build(),
        Op::CancelFd { fd } => opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(fd)).all()).build(),
    }
}

const _: () = assert!(size_of::<epoll_event>() <= ROOM);

fn time(ms: u64) -> *const Timespec {
    Box::leak(Box::new(Timespec::from(Duration::from_millis(ms))))
}

/// Not in the io-uring crate, which has no way to set it either.
const ACCEPT_DONTWAIT: u16 = 1 << 1;

/// The entry with these flags in `ioprio`, where accept and its like have flags of their own.
fn with_priority(mut entry: squeue::Entry, flags: u16) -> squeue::Entry {
    const { assert!(size_of::<squeue::Entry>() == 64 && align_of::<squeue::Entry>() >= 2) };
    let ioprio = std::ptr::from_mut(&mut entry).cast::<u16>().wrapping_add(1);
    // SAFETY: an entry is a `struct io_uring_sqe` and nothing else (64 bytes of numbers): its third and fourth bytes
    // are `ioprio`, by the kernel's ABI, and any number is a value of it.
    unsafe { ioprio.write(flags) };
    entry
}
