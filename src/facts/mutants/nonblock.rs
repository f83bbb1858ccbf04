//! Kernels that break a fact of `facts/nonblock/`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, Address, At, Refusal, Reply};
use libc::{
    AF_UNIX, F_GETFL, F_SETFL, MSG_DONTWAIT, O_NONBLOCK, POLLIN, POLLOUT, SOL_SOCKET, epoll_event, pollfd,
};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "refused-at-once",
        breaks: "nb-connect-refused-einprogress",
        behaviour: "A non-blocking connect to a closed port gives ECONNREFUSED itself, as WSL 1 did (microsoft/WSL#1584).",
        kernel: &RefusedAtOnce,
    },
    Mutant {
        name: "accept-inherits-nonblock",
        breaks: "nb-accept-flags-not-inherited",
        behaviour: "An accepted socket has O_NONBLOCK from its listener, as on the BSDs.",
        kernel: &AcceptInheritsNonblock,
    },
    Mutant {
        name: "accept-econnaborted",
        breaks: "nb-accept-after-rst",
        behaviour: "accept gives ECONNABORTED for a connection that was reset, as POSIX has it.",
        kernel: &AcceptEconnaborted,
    },
    Mutant {
        name: "connect-afresh-after-error",
        breaks: "nb-connect-after-soerror-econnaborted",
        behaviour: "After SO_ERROR was read connect begins afresh at once, as everybody expects.",
        kernel: &ConnectAfresh,
    },
    Mutant {
        name: "connect-done-on-loopback",
        breaks: "nb-connect-einprogress-loopback",
        behaviour: "A non-blocking connect on loopback returns 0, as the BSDs may do.",
        kernel: &ConnectDoneOnLoopback,
    },
    Mutant {
        name: "connect-restarted",
        breaks: "nb-connect-interrupted-continues",
        behaviour: "A connect that a signal interrupted is called again inside, as language runtimes do.",
        kernel: &ConnectRestarted,
    },
    Mutant {
        name: "so-error-stays",
        breaks: "nb-connect-error-once",
        behaviour: "SO_ERROR does not clear the error it tells.",
        kernel: &SoErrorStays,
    },
    Mutant {
        name: "second-connect-is-eisconn",
        breaks: "nb-connect-poll-sequence",
        behaviour: "The first connect after the connection is established gives EISCONN, as on the BSDs.",
        kernel: &SecondConnectIsEisconn,
    },
    Mutant {
        name: "syn-sent-is-enotconn",
        breaks: "nb-connect-ealready",
        behaviour: "recv and send give ENOTCONN while the connection is being made, as POSIX and the BSDs \
                    have it.",
        kernel: &SynSentIsEnotconn,
    },
    Mutant {
        name: "connect-limit-is-etimedout",
        breaks: "nb-connect-sndtimeo",
        behaviour: "A connect that has waited for SO_SNDTIMEO gives ETIMEDOUT, as its name suggests.",
        kernel: &ConnectLimitIsEtimedout,
    },
    Mutant {
        name: "unspec-is-eafnosupport",
        breaks: "nb-connect-unspec-disconnects",
        behaviour: "connect with AF_UNSPEC is for datagram sockets alone, and gives EAFNOSUPPORT for TCP.",
        kernel: &UnspecIsEafnosupport,
    },
    Mutant {
        name: "fresh-socket-is-silent",
        breaks: "nb-register-before-connect",
        behaviour: "epoll has nothing to say of a socket that never connected, as tokio-rs/tokio#4549 \
                    expected.",
        kernel: &FreshSocketIsSilent,
    },
    Mutant {
        name: "retry-is-econnaborted",
        breaks: "nb-connect-retry-after-refusal",
        behaviour: "connect after a refusal gives ECONNABORTED whether or not SO_ERROR was read, as in \
                    gVisor (google/gvisor#3828).",
        kernel: &RetryIsEconnaborted,
    },
    Mutant {
        name: "unix-connect-in-progress",
        breaks: "nb-connect-unix-eagain",
        behaviour: "A non-blocking AF_UNIX connect to a full queue gives EINPROGRESS, as that of TCP does.",
        kernel: &UnixConnectInProgress,
    },
    Mutant {
        name: "unconnected-send-is-enotconn",
        breaks: "nb-unconnected-errors",
        behaviour: "send on a TCP socket that is not connected gives ENOTCONN, as POSIX has it.",
        kernel: &UnconnectedSendIsEnotconn,
    },
    Mutant {
        name: "accept-resets-options",
        breaks: "nb-accept-options-inherited",
        behaviour: "An accepted socket starts with the default of TCP_NODELAY, as many servers suppose.",
        kernel: &AcceptResetsOptions,
    },
    Mutant {
        name: "dontwait-sticks",
        breaks: "nb-msg-dontwait-one-call",
        behaviour: "MSG_DONTWAIT sets O_NONBLOCK, and leaves it set, as an emulation by fcntl does.",
        kernel: &DontwaitSticks,
    },
    Mutant {
        name: "recv-of-nothing-is-zero",
        breaks: "nb-recv-zero-length",
        behaviour: "recv of 0 bytes gives 0 without a look at the socket, as read of 0 bytes does for files.",
        kernel: &RecvOfNothingIsZero,
    },
    Mutant {
        name: "send-counts-what-it-was-given",
        breaks: "nb-send-partial-then-eagain",
        behaviour: "send says that it took all when it took a part: the belief of all who ignore its result.",
        kernel: &SendCountsAll,
    },
    Mutant {
        name: "pipe-splits-short-writes",
        breaks: "nb-pipe-atomic-write",
        behaviour: "A pipe takes what there is room for of any write, as a socket does.",
        kernel: &PipeSplitsShortWrites,
    },
    Mutant {
        name: "room-lets-the-waiting-in",
        breaks: "nb-connect-completes-on-syn-retransmit",
        behaviour: "accept completes a connect that waits for room at once, as it does for AF_UNIX.",
        kernel: &RoomLetsTheWaitingIn,
    },
    Mutant {
        name: "fin-overtakes-data",
        breaks: "nb-accept-after-fin",
        behaviour: "recv gives 0 as soon as the FIN is there, as in programs that take RDHUP for the end.",
        kernel: &FinOvertakesData,
    },
    Mutant {
        name: "accept-newest-first",
        breaks: "nb-accept-queue-fifo",
        behaviour: "accept hands out the newest connection first, as some servers do with their own queues \
                    under load.",
        kernel: &AcceptNewestFirst,
    },
    Mutant {
        name: "accept-eagain-is-eproto",
        breaks: "nb-accept-eagain",
        behaviour: "accept gives EPROTO when there is nothing in the queue, as SVR4 did for a connection that went.",
        kernel: &AcceptEproto,
    },
];

fn refused(call: &'static str, errno: Errno) -> Refusal {
    Refusal { call, errno }
}

fn is_refusal<T>(reply: &Reply<T>, errno: Errno) -> bool {
    matches!(reply, Err(refusal) if refusal.errno == errno)
}

fn so_error(fd: i32) -> i32 {
    let mut value = [0; 4];
    raw::getsockopt(fd, SOL_SOCKET, libc::SO_ERROR, &mut value).map_or(0, |_| i32::from_ne_bytes(value))
}

fn poll_now(fd: i32, events: i16) -> i16 {
    poll_within(fd, events, 0)
}

/// What poll says of `fd` after at most so many milliseconds: on a busy machine the end of a connect on
/// loopback may come a moment later.
fn poll_within(fd: i32, events: i16, limit_ms: i32) -> i16 {
    let mut one = pollfd { fd, events, revents: 0 };
    raw::poll(At::from(&mut one), limit_ms).map_or(0, |_| one.revents)
}

struct RefusedAtOnce;

impl Kernel for RefusedAtOnce {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        if is_refusal(&reply, Errno::EINPROGRESS) && poll_within(fd, POLLOUT, 1000) & libc::POLLERR != 0 {
            return Err(refused("connect", Errno::from_raw(so_error(fd))));
        }
        reply
    }
}

struct AcceptInheritsNonblock;

impl Kernel for AcceptInheritsNonblock {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd)?;
        let flags = raw::fcntl(fd, libc::F_GETFL, 0)? & O_NONBLOCK;
        raw::fcntl(accepted, libc::F_SETFL, raw::fcntl(accepted, libc::F_GETFL, 0)? | flags)?;
        Ok(accepted)
    }
}

struct AcceptEconnaborted;

impl Kernel for AcceptEconnaborted {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd)?;
        if so_error(accepted) == libc::ECONNRESET {
            raw::close(accepted)?;
            return Err(refused("accept", Errno::ECONNABORTED));
        }
        Ok(accepted)
    }
}

struct ConnectAfresh;

impl Kernel for ConnectAfresh {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        if is_refusal(&reply, Errno::ECONNABORTED) { raw::connect(fd, address) } else { reply }
    }
}

struct ConnectDoneOnLoopback;

impl Kernel for ConnectDoneOnLoopback {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        let done = is_refusal(&reply, Errno::EINPROGRESS) && poll_within(fd, POLLOUT, 1000) == POLLOUT;
        if done { Ok(()) } else { reply }
    }
}

struct ConnectRestarted;

impl Kernel for ConnectRestarted {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let reply = raw::connect(fd, address);
        // It waits for as long as there is no room, and then says that it is connected: after a while, for the
        // experiment to see that rather than its own time limit.
        if is_refusal(&reply, Errno::EINTR) {
            let mut one = pollfd { fd, events: POLLOUT, revents: 0 };
            raw::poll(At::from(&mut one), 300)?;
            return Ok(());
        }
        reply
    }
}

/// The last error that was told.
static ERROR: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

struct SoErrorStays;

impl Kernel for SoErrorStays {
    fn getsockopt(&self, fd: i32, level: i32, option: i32, value: &mut [u8]) -> Reply<usize> {
        let n = raw::getsockopt(fd, level, option, value)?;
        if (level, option) == (SOL_SOCKET, libc::SO_ERROR) {
            match value[..] {
                [0, 0, 0, 0] => value.copy_from_slice(&ERROR.load(SeqCst).to_ne_bytes()),
                [a, b, c, d] => ERROR.store(i32::from_ne_bytes([a, b, c, d]), SeqCst),
                _ => {}
            }
        }
        Ok(n)
    }
}

fn is_nonblocking(fd: i32) -> Reply<bool> {
    Ok(raw::fcntl(fd, libc::F_GETFL, 0)? & O_NONBLOCK != 0)
}

/// Whether `fd` is a TCP socket whose connection is being made.
fn is_syn_sent(fd: i32) -> bool {
    const SYN_SENT: u8 = 2;
    let mut info = [0; 104];
    raw::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).is_ok() && info[0] == SYN_SENT
}

struct SecondConnectIsEisconn;

impl Kernel for SecondConnectIsEisconn {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        raw::connect(fd, address)?;
        if is_nonblocking(fd)? { Err(refused("connect", Errno::EISCONN)) } else { Ok(()) }
    }
}

struct SynSentIsEnotconn;

impl Kernel for SynSentIsEnotconn {
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        if is_syn_sent(fd) { Err(refused("recv", Errno::ENOTCONN)) } else { raw::recv(fd, buffer, flags) }
    }

    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        if is_syn_sent(fd) { Err(refused("send", Errno::ENOTCONN)) } else { raw::send(fd, bytes, flags) }
    }
}

struct ConnectLimitIsEtimedout;

impl Kernel for ConnectLimitIsEtimedout {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let connected = raw::connect(fd, address);
        if is_refusal(&connected, Errno::EINPROGRESS) && !is_nonblocking(fd)? {
            return Err(refused("connect", Errno::ETIMEDOUT));
        }
        connected
    }
}

struct UnspecIsEafnosupport;

impl Kernel for UnspecIsEafnosupport {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        if *address == Address::unspecified() {
            return Err(refused("connect", Errno::EAFNOSUPPORT));
        }
        raw::connect(fd, address)
    }
}

struct FreshSocketIsSilent;

impl Kernel for FreshSocketIsSilent {
    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max_events: i32,
        timeout: i32,
    ) -> Reply<usize> {
        const FRESH: u32 = (libc::EPOLLOUT | libc::EPOLLHUP) as u32;
        let n = raw::epoll_wait(epoll, events.again(), max_events, timeout)?;
        let At::Memory(events) = events else { return Ok(n) };
        let mut kept = 0;
        for at in 0..n {
            if { events[at].events } != FRESH {
                events[kept] = events[at];
                kept += 1;
            }
        }
        Ok(kept)
    }
}

struct RetryIsEconnaborted;

impl Kernel for RetryIsEconnaborted {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        if poll_now(fd, POLLOUT) & libc::POLLERR != 0 {
            so_error(fd);
        }
        raw::connect(fd, address)
    }
}

struct UnixConnectInProgress;

impl Kernel for UnixConnectInProgress {
    fn connect(&self, fd: i32, address: &Address) -> Reply<()> {
        let connected = raw::connect(fd, address);
        let mut family = [0; 4];
        raw::getsockopt(fd, SOL_SOCKET, libc::SO_DOMAIN, &mut family)?;
        if is_refusal(&connected, Errno::EAGAIN) && i32::from_ne_bytes(family) == AF_UNIX {
            return Err(refused("connect", Errno::EINPROGRESS));
        }
        connected
    }
}

struct UnconnectedSendIsEnotconn;

impl Kernel for UnconnectedSendIsEnotconn {
    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        let sent = raw::send(fd, bytes, flags);
        if is_refusal(&sent, Errno::EPIPE) && raw::getpeername(fd).is_err() {
            return Err(refused("send", Errno::ENOTCONN));
        }
        sent
    }
}

struct AcceptResetsOptions;

impl Kernel for AcceptResetsOptions {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd)?;
        // An AF_UNIX socket has no such option.
        raw::setsockopt(accepted, libc::IPPROTO_TCP, libc::TCP_NODELAY, &0i32.to_ne_bytes()).ok();
        Ok(accepted)
    }
}

struct DontwaitSticks;

impl Kernel for DontwaitSticks {
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        if flags & MSG_DONTWAIT != 0 {
            raw::fcntl(fd, F_SETFL, raw::fcntl(fd, F_GETFL, 0)? | O_NONBLOCK)?;
        }
        raw::recv(fd, buffer, flags)
    }
}

struct RecvOfNothingIsZero;

impl Kernel for RecvOfNothingIsZero {
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        if buffer.is_empty() { Ok(0) } else { raw::recv(fd, buffer, flags) }
    }
}

struct SendCountsAll;

impl Kernel for SendCountsAll {
    fn send(&self, fd: i32, bytes: &[u8], flags: i32) -> Reply<usize> {
        raw::send(fd, bytes, flags).map(|_| bytes.len())
    }
}

struct PipeSplitsShortWrites;

impl Kernel for PipeSplitsShortWrites {
    fn write(&self, fd: i32, bytes: &[u8]) -> Reply<usize> {
        let (mut written, mut rest) = (raw::write(fd, bytes), bytes.len());
        while is_refusal(&written, Errno::EAGAIN) && rest > 1 {
            rest /= 2;
            written = raw::write(fd, &bytes[..rest]);
        }
        written
    }
}

/// Whether accept has made room.
static ROOM: AtomicBool = AtomicBool::new(false);

struct RoomLetsTheWaitingIn;

impl Kernel for RoomLetsTheWaitingIn {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let accepted = raw::accept(fd)?;
        ROOM.store(true, SeqCst);
        Ok(accepted)
    }

    fn poll(&self, mut fds: At<'_, pollfd>, timeout: i32) -> Reply<usize> {
        if let At::Memory([one]) = &mut fds
            && ROOM.load(SeqCst)
            && one.events & POLLOUT != 0
            && is_syn_sent(one.fd)
        {
            one.revents = POLLOUT;
            return Ok(1);
        }
        raw::poll(fds, timeout)
    }
}

struct FinOvertakesData;

impl Kernel for FinOvertakesData {
    fn recv(&self, fd: i32, buffer: &mut [u8], flags: i32) -> Reply<usize> {
        let mut one = pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
        raw::poll(At::from(&mut one), 0)?;
        if one.revents & libc::POLLRDHUP != 0 { Ok(0) } else { raw::recv(fd, buffer, flags) }
    }
}

/// What was taken from the queue of a listener and not handed out yet.
static TAKEN: Mutex<Vec<i32>> = Mutex::new(Vec::new());

struct AcceptNewestFirst;

impl Kernel for AcceptNewestFirst {
    fn accept(&self, fd: i32) -> Reply<i32> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut one = pollfd { fd, events: POLLIN, revents: 0 };
        while taken.is_empty() || raw::poll(At::from(&mut one), 0)? == 1 {
            taken.push(raw::accept(fd)?);
        }
        taken.pop().map_or_else(|| Err(refused("accept", Errno::EAGAIN)), Ok)
    }
}

struct AcceptEproto;

impl Kernel for AcceptEproto {
    fn accept(&self, fd: i32) -> Reply<i32> {
        raw::accept(fd).map_err(|refusal| match refusal.errno {
            Errno::EAGAIN => Refusal { errno: Errno::EPROTO, ..refusal },
            _ => refusal,
        })
    }
}
