//! Kernels that break a fact of `facts/poll/`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Mask, Refusal, Reply, no};
use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, SOL_SOCKET, epoll_event, pollfd, timespec};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "poll-negative-nval",
        breaks: "poll-negative-fd-ignored",
        behaviour: "An entry with a negative descriptor gets NVAL and is counted, as a number that is not open.",
        also: &[],
        kernel: &NegativeNval,
    },
    Mutant {
        name: "poll-closed-ebadf",
        breaks: "poll-closed-fd-nval",
        behaviour: "A descriptor that is not open makes the whole call fail with EBADF, as in select.",
        also: &[],
        kernel: &ClosedEbadf,
    },
    Mutant {
        name: "poll-hup-on-request",
        breaks: "poll-nval-not-requestable",
        behaviour: "An entry that asks for HUP is told HUP when there is nothing else, as by an emulation that gives \
                    back what it cannot test.",
        also: &[],
        kernel: &HupOnRequest,
    },
    Mutant {
        name: "poll-err-hup-masked",
        breaks: "poll-err-hup-unmaskable",
        behaviour: "ERR and HUP are reported only to those who ask for them, as people expect who silence a \
                    descriptor with events 0.",
        also: &[],
        kernel: &ErrHupMasked,
    },
    Mutant {
        name: "poll-any-nfds",
        breaks: "poll-nfds-over-rlimit-einval",
        behaviour: "The array may be longer than the limit on descriptors.",
        also: &[],
        kernel: &AnyNfds,
    },
    Mutant {
        name: "poll-counts-descriptors",
        breaks: "poll-duplicate-entries",
        behaviour: "poll gives the number of descriptors that are ready, not of entries, as an emulation over sets \
                    of descriptors does.",
        also: &[],
        kernel: &CountsDescriptors,
    },
    Mutant {
        name: "poll-writes-ready-only",
        breaks: "poll-revents-overwritten",
        behaviour: "revents are written for entries that are ready, and left as they are for the others.",
        also: &[],
        kernel: &WritesReadyOnly,
    },
    Mutant {
        name: "poll-eintr-leaves-revents",
        breaks: "poll-revents-written-on-eintr",
        behaviour: "poll that fails leaves the array as it is, as people expect of a call that fails.",
        also: &[],
        kernel: &EintrLeavesRevents,
    },
    Mutant {
        name: "poll-clears-events",
        breaks: "poll-events-never-written",
        behaviour: "events keep only what is ready, as the sets of select do.",
        also: &[],
        kernel: &ClearsEvents,
    },
    Mutant {
        name: "poll-minus-5-einval",
        breaks: "poll-negative-timeout-infinite",
        behaviour: "A negative timeout other than -1 gives EINVAL, as on macOS.",
        also: &[],
        kernel: &MinusFiveEinval,
    },
    Mutant {
        name: "poll-early",
        breaks: "poll-never-early",
        behaviour: "The timeout ends a little early, as with timers that round down to their ticks.",
        also: &[],
        kernel: &Early,
    },
    Mutant {
        name: "epoll-wait-early",
        breaks: "poll-never-early",
        behaviour: "The timeout of epoll_wait ends a little early, as with timers that round down to their ticks.",
        also: &[],
        kernel: &EpollEarly,
    },
    Mutant {
        name: "poll-devices-nval",
        breaks: "poll-regular-file",
        behaviour: "/dev/null and other devices give NVAL: \"poll() does not support devices\", as the manual of \
                    macOS says.",
        also: &[],
        kernel: &DevicesNval,
    },
    Mutant {
        name: "poll-opath-ready",
        breaks: "poll-opath-nval",
        behaviour: "A descriptor opened with O_PATH is always ready, as other files without a poll operation.",
        also: &[],
        kernel: &OpathReady,
    },
    Mutant {
        name: "poll-pipe-both-ways",
        breaks: "poll-wrong-pipe-end-silent",
        behaviour: "The reading end of a pipe has OUT, as on FreeBSD, whose pipes go both ways.",
        also: &[],
        kernel: &PipeBothWays,
    },
    Mutant {
        name: "poll-eof-in-hup",
        breaks: "poll-pipe-eof-is-hup-only",
        behaviour: "An empty pipe without writers is IN+HUP, as read does not wait.",
        also: &[],
        kernel: &EofInHup,
    },
    Mutant {
        name: "poll-hup-after-data",
        breaks: "poll-pipe-data-then-eof",
        behaviour: "HUP comes only when all has been read, as programs expect that close on HUP.",
        also: &[],
        kernel: &HupAfterData,
    },
    Mutant {
        name: "poll-broken-pipe-hup",
        breaks: "poll-pipe-broken-writer",
        behaviour: "The writing end of a pipe without readers has HUP in place of ERR, as on FreeBSD.",
        also: &[],
        kernel: &BrokenPipeHup,
    },
    Mutant {
        name: "poll-fifo-born-hup",
        breaks: "poll-fifo-never-opened-for-write",
        behaviour: "A FIFO without writers has HUP from the start, as read gives 0.",
        also: &[],
        kernel: &FifoBornHup,
    },
    Mutant {
        name: "poll-hup-sticky",
        breaks: "poll-fifo-hup-cleared-by-new-writer",
        behaviour: "HUP stays, as that of a connection does.",
        also: &[],
        kernel: &HupSticky,
    },
    Mutant {
        name: "poll-out-for-a-byte",
        breaks: "poll-pipe-out-needs-free-slot",
        behaviour: "A pipe has OUT while any byte fits, as people expect who count them.",
        also: &[],
        kernel: &OutForAByte,
    },
    Mutant {
        name: "poll-out-at-512",
        breaks: "poll-pipe-full-read-under-page-no-out",
        behaviour: "A pipe has OUT when 512 bytes fit, which is what POSIX asks PIPE_BUF to be at least.",
        also: &[],
        kernel: &OutAt512,
    },
    Mutant {
        name: "poll-fresh-tcp-silent",
        breaks: "poll-tcp-fresh-out-hup",
        behaviour: "A TCP socket that was never connected has nothing to report, as people expect.",
        also: &[],
        kernel: &FreshTcpSilent,
    },
    Mutant {
        name: "poll-fresh-unix-no-hup",
        breaks: "poll-unix-fresh-out-hup",
        behaviour: "An AF_UNIX stream that never had a peer is OUT without HUP: nobody has hung up.",
        also: &[],
        kernel: &FreshUnixNoHup,
    },
    Mutant {
        name: "poll-listener-writable",
        breaks: "poll-listener-idle-zero",
        behaviour: "A listener has OUT, as its send buffer is empty.",
        also: &[],
        kernel: &ListenerWritable,
    },
    Mutant {
        name: "poll-listener-in-once",
        breaks: "poll-listener-pending-in",
        behaviour: "The first accept takes the IN of a listener away, with other connections in its queue.",
        also: &[],
        kernel: &ListenerInOnce,
    },
    Mutant {
        name: "poll-connecting-writable",
        breaks: "poll-tcp-connecting-zero",
        behaviour: "A socket that connects has OUT, as its send buffer is empty.",
        also: &[],
        kernel: &ConnectingWritable,
    },
];

/// poll, with each entry changed after it; what a change adds is ready at once.
fn poll_changed(mut fds: At<'_, pollfd>, timeout: i32, change: impl Fn(&mut pollfd)) -> Reply<usize> {
    let mut n = raw::poll(fds.again(), 0)?;
    for timeout in [0, timeout] {
        if timeout != 0 {
            n = raw::poll(fds.again(), timeout)?;
        }
        let At::Memory(entries) = &mut fds else { return Ok(n) };
        entries.iter_mut().for_each(&change);
        n = entries.iter().filter(|entry| entry.revents != 0).count();
        if n != 0 {
            break;
        }
    }
    Ok(n)
}

/// poll, with the whole array changed after it; `changed` is given what it was before.
fn poll_then(
    mut fds: At<'_, pollfd>,
    timeout: i32,
    changed: impl FnOnce(&[pollfd], &mut [pollfd], Reply<usize>) -> Reply<usize>,
) -> Reply<usize> {
    let before = match &fds {
        At::Memory(entries) => entries.to_vec(),
        At::Nowhere(..) => Vec::new(),
    };
    let reply = raw::poll(fds.again(), timeout);
    match fds {
        At::Memory(entries) => changed(&before, entries, reply),
        At::Nowhere(..) => reply,
    }
}

/// Add events that are asked for.
fn add(entry: &mut pollfd, events: i16) {
    entry.revents |= events & entry.events;
}

/// The size of a pipe, or `None` if it is not one.
fn pipe_size(fd: i32) -> Option<i32> {
    raw::fcntl(fd, libc::F_GETPIPE_SZ, 0).ok()
}

/// How many bytes still fit into a pipe of which this is the writing end.
fn room(fd: i32) -> Option<i32> {
    let flags = raw::fcntl(fd, libc::F_GETFL, 0).ok()?;
    let (size, mut filled) = (pipe_size(fd)?, 0);
    raw::ioctl(fd, libc::FIONREAD, &mut filled).ok()?;
    (flags & libc::O_ACCMODE == libc::O_WRONLY).then_some(size - filled)
}

/// An option of a socket, or `None` if it is not one.
fn option(fd: i32, level: i32, option: i32) -> Option<i32> {
    let mut value = [0; 4];
    raw::getsockopt(fd, level, option, &mut value).ok()?;
    Some(i32::from_ne_bytes(value))
}

fn is_listener(fd: i32) -> bool {
    option(fd, SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1)
}

/// The state of a TCP connection: the first byte of `struct tcp_info`.
fn tcp_state(fd: i32) -> Option<u8> {
    let mut info = [0; 8];
    raw::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).ok()?;
    Some(info[0])
}

struct NegativeNval;

impl Kernel for NegativeNval {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if entry.fd < 0 {
                entry.revents = POLLNVAL;
            }
        })
    }
}

struct ClosedEbadf;

impl Kernel for ClosedEbadf {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_then(fds, timeout, |_, entries, reply| {
            if reply.is_ok() && entries.iter().any(|entry| entry.revents & POLLNVAL != 0) {
                return Err(Refusal { call: "poll", errno: Errno::EBADF });
            }
            reply
        })
    }
}

struct HupOnRequest;

impl Kernel for HupOnRequest {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if entry.revents == 0 {
                add(entry, POLLHUP);
            }
        })
    }
}

struct ErrHupMasked;

impl Kernel for ErrHupMasked {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| entry.revents &= entry.events | POLLNVAL)
    }
}

struct AnyNfds;

impl Kernel for AnyNfds {
    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        let reply = raw::poll(fds.again(), timeout);
        match fds {
            At::Memory(entries) if reply == no(Errno::EINVAL) && timeout == 0 => {
                entries.chunks_mut(8).map(|chunk| raw::poll(At::from(chunk), 0)).sum()
            }
            _ => reply,
        }
    }
}

struct CountsDescriptors;

impl Kernel for CountsDescriptors {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_then(fds, timeout, |_, entries, reply| {
            let ready = entries.iter().filter(|entry| entry.revents != 0);
            reply.map(|_| ready.map(|entry| entry.fd).collect::<HashSet<_>>().len())
        })
    }
}

struct WritesReadyOnly;

impl Kernel for WritesReadyOnly {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_then(fds, timeout, |before, entries, reply| {
            for (before, entry) in before.iter().zip(entries) {
                if entry.fd >= 0 && entry.revents == 0 {
                    entry.revents = before.revents;
                }
            }
            reply
        })
    }
}

struct EintrLeavesRevents;

impl Kernel for EintrLeavesRevents {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_then(fds, timeout, |before, entries, reply| {
            if reply.is_err() {
                entries.copy_from_slice(before);
            }
            reply
        })
    }
}

struct ClearsEvents;

impl Kernel for ClearsEvents {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_then(fds, timeout, |_, entries, reply| {
            entries.iter_mut().for_each(|entry| entry.events &= entry.revents);
            reply
        })
    }
}

struct MinusFiveEinval;

impl Kernel for MinusFiveEinval {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        if timeout < -1 {
            return Err(Refusal { call: "poll", errno: Errno::EINVAL });
        }
        raw::poll(fds, timeout)
    }
}

/// Nine tenths of a timeout.
fn early(timeout: i32) -> timespec {
    let ns = i64::from(timeout) * 900_000;
    timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
}

struct Early;

impl Kernel for Early {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        match timeout {
            1.. => raw::ppoll(fds, Some(&mut early(timeout)), Mask::NONE),
            _ => raw::poll(fds, timeout),
        }
    }
}

struct EpollEarly;

impl Kernel for EpollEarly {
    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max_events: i32,
        timeout: i32,
    ) -> Reply<usize> {
        if timeout > 0 {
            // An epoll instance is readable when it has events; poll of it is the wait.
            let mut one = pollfd { fd: epoll, events: POLLIN, revents: 0 };
            raw::ppoll(At::from(&mut one), Some(&mut early(timeout)), Mask::NONE)?;
            return raw::epoll_wait(epoll, events.again(), max_events, 0);
        }
        raw::epoll_wait(epoll, events, max_events, timeout)
    }
}

struct DevicesNval;

impl Kernel for DevicesNval {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            let name = std::fs::read_link(format!("/proc/self/fd/{}", entry.fd));
            if name.is_ok_and(|name| name.starts_with("/dev")) {
                entry.revents = POLLNVAL;
            }
        })
    }
}

struct OpathReady;

impl Kernel for OpathReady {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if raw::fcntl(entry.fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_PATH != 0) {
                entry.revents = entry.events & (POLLIN | POLLOUT);
            }
        })
    }
}

struct PipeBothWays;

impl Kernel for PipeBothWays {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            let flags = raw::fcntl(entry.fd, libc::F_GETFL, 0);
            if pipe_size(entry.fd).is_some()
                && flags.is_ok_and(|flags| flags & libc::O_ACCMODE == libc::O_RDONLY)
            {
                add(entry, POLLOUT);
            }
        })
    }
}

struct EofInHup;

impl Kernel for EofInHup {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if entry.revents & POLLHUP != 0 && pipe_size(entry.fd).is_some() {
                add(entry, POLLIN);
            }
        })
    }
}

struct HupAfterData;

impl Kernel for HupAfterData {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if entry.revents & POLLIN != 0 && pipe_size(entry.fd).is_some() {
                entry.revents &= !POLLHUP;
            }
        })
    }
}

struct BrokenPipeHup;

impl Kernel for BrokenPipeHup {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if entry.revents & POLLERR != 0 && pipe_size(entry.fd).is_some() {
                entry.revents = entry.revents & !POLLERR | POLLHUP;
            }
        })
    }
}

struct FifoBornHup;

impl Kernel for FifoBornHup {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            let flags = raw::fcntl(entry.fd, libc::F_GETFL, 0).unwrap_or(0);
            // With nothing to read, a read that does not wait tells whether there is a writer.
            if entry.revents == 0
                && flags & libc::O_NONBLOCK != 0
                && pipe_size(entry.fd).is_some()
                && raw::read(entry.fd, &mut [0]) == Ok(0)
            {
                entry.revents = POLLHUP;
            }
        })
    }
}

struct HupSticky;

/// Descriptors that have had HUP.
static HUNG_UP: Mutex<Vec<i32>> = Mutex::new(Vec::new());

impl Kernel for HupSticky {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            let mut hung_up = HUNG_UP.lock().unwrap_or_else(PoisonError::into_inner);
            if hung_up.contains(&entry.fd) {
                entry.revents |= POLLHUP;
            } else if entry.revents & POLLHUP != 0 && pipe_size(entry.fd).is_some() {
                hung_up.push(entry.fd);
            }
        })
    }

    fn close(&self, fd: i32) -> Reply<()> {
        HUNG_UP.lock().unwrap_or_else(PoisonError::into_inner).retain(|&known| known != fd);
        raw::close(fd)
    }
}

struct OutForAByte;

impl Kernel for OutForAByte {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if room(entry.fd).is_some_and(|bytes| bytes > 0) {
                add(entry, POLLOUT);
            }
        })
    }
}

struct OutAt512;

impl Kernel for OutAt512 {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if room(entry.fd).is_some_and(|bytes| bytes >= 512) {
                add(entry, POLLOUT);
            }
        })
    }
}

struct FreshTcpSilent;

impl Kernel for FreshTcpSilent {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            // TCP_CLOSE, and not the OUT+HUP+IN of a connection that has ended.
            if entry.revents & (POLLIN | POLLERR) == 0 && tcp_state(entry.fd) == Some(7) {
                entry.revents = 0;
            }
        })
    }
}

struct FreshUnixNoHup;

impl Kernel for FreshUnixNoHup {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            let unix = option(entry.fd, SOL_SOCKET, libc::SO_DOMAIN) == Some(libc::AF_UNIX);
            if unix && raw::getpeername(entry.fd).is_err() {
                entry.revents &= !POLLHUP;
            }
        })
    }
}

struct ListenerWritable;

impl Kernel for ListenerWritable {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if is_listener(entry.fd) && entry.revents == 0 {
                add(entry, POLLOUT);
            }
        })
    }
}

struct ListenerInOnce;

/// Listeners of which a connection has been accepted.
static SERVED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

impl Kernel for ListenerInOnce {
    fn accept4(&self, fd: i32, flags: i32) -> Reply<i32> {
        SERVED.lock().unwrap_or_else(PoisonError::into_inner).push(fd);
        raw::accept4(fd, flags)
    }

    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            let served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
            if is_listener(entry.fd) && served.contains(&entry.fd) {
                entry.revents &= !POLLIN;
            }
        })
    }
}

struct ConnectingWritable;

impl Kernel for ConnectingWritable {
    fn poll(&self, fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        poll_changed(fds, timeout, |entry| {
            if tcp_state(entry.fd) == Some(2) {
                add(entry, POLLOUT);
            }
        })
    }
}
