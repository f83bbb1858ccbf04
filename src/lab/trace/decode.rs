//! Calls as strace(1) prints them: the names of calls from the crate `syscalls`, the names of flags from nix, the values from the memory
//! of the server.

use crate::lab::results::trace::{On, Ready};
use crate::sys::fork::Pid;
use crate::sys::ptrace;
use nix::sys::epoll::{EpollCreateFlags, EpollFlags};
use nix::sys::eventfd::EfdFlags;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, SockFlag};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The name of a call.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(in crate::lab) fn name(number: i64) -> Option<&'static str> {
    Some(syscalls::Sysno::new(usize::try_from(number).ok()?)?.name())
}

/// No thread is traced on these architectures.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(in crate::lab) fn name(_: i64) -> Option<&'static str> {
    None
}

/// Which arguments of a call are descriptors, or what kind of call it is. `None` for a call that is no event: it is only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// On a descriptor, which is the first argument, whatever that is.
    OnAny,
    /// On a descriptor, which is the first argument: an event only if that is no file of the file system.
    OnNoFile,
    /// Of processes, threads, signals, or several descriptors.
    Other,
}

/// The calls about sockets, readiness, processes and signals.
pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "accept" | "accept4" | "bind" | "connect" | "getpeername" | "getsockname" | "getsockopt"
        | "listen" | "recvfrom" | "recvmmsg" | "recvmsg" | "sendmmsg" | "sendmsg" | "sendto"
        | "setsockopt" | "shutdown" | "epoll_ctl" | "epoll_pwait" | "epoll_pwait2" | "epoll_wait"
        | "io_uring_enter" | "io_uring_register" | "timerfd_settime" => Kind::OnAny,
        "close" | "dup" | "dup2" | "dup3" | "fcntl" | "ioctl" | "read" | "readv" | "sendfile" | "splice"
        | "write" | "writev" => Kind::OnNoFile,
        "clone" | "clone3" | "epoll_create" | "epoll_create1" | "eventfd" | "eventfd2" | "execve"
        | "exit" | "exit_group" | "fork" | "futex" | "io_uring_setup" | "kill" | "nanosleep"
        | "clock_nanosleep" | "pause" | "pidfd_open" | "pidfd_send_signal" | "pipe" | "pipe2" | "poll"
        | "ppoll" | "pselect6" | "rt_sigaction" | "rt_sigprocmask" | "rt_sigqueueinfo" | "rt_sigreturn"
        | "rt_sigsuspend" | "rt_sigtimedwait" | "select" | "signalfd4" | "socket" | "socketpair"
        | "tgkill" | "timerfd_create" | "tkill" | "vfork" | "wait4" | "waitid" => Kind::Other,
        _ => return None,
    })
}

/// Calls that may wait.
pub(super) fn waits(name: &str) -> bool {
    is_readiness(name)
        || matches!(
            name,
            "accept"
                | "accept4"
                | "clock_nanosleep"
                | "connect"
                | "futex"
                | "nanosleep"
                | "pause"
                | "read"
                | "readv"
                | "recvfrom"
                | "recvmmsg"
                | "recvmsg"
                | "rt_sigsuspend"
                | "sendfile"
                | "sendmmsg"
                | "sendmsg"
                | "sendto"
                | "splice"
                | "wait4"
                | "waitid"
                | "write"
                | "writev"
        )
}

/// Calls that wait for one of several descriptors.
pub(super) fn is_readiness(name: &str) -> bool {
    matches!(
        name,
        "epoll_pwait"
            | "epoll_pwait2"
            | "epoll_wait"
            | "io_uring_enter"
            | "poll"
            | "ppoll"
            | "pselect6"
            | "rt_sigtimedwait"
            | "select"
    )
}

/// The bits of flags by name.
macro_rules! flags {
    ($type:ty, $bits:expr) => {{
        let bits = $bits;
        let known = <$type>::from_bits_truncate(bits);
        joined(known.iter_names().map(|(name, _)| name), i64::from(bits & !known.bits()))
    }};
}

/// The name of a constant of libc.
macro_rules! named {
    ($value:expr, $($name:ident),+ $(,)?) => {{
        let value = i64::from($value);
        match value {
            $(_ if value == i64::from(libc::$name) => Some(stringify!($name)),)+
            _ => None,
        }
    }};
}

fn joined<'a>(names: impl Iterator<Item = &'a str>, rest: i64) -> String {
    let mut all: Vec<String> = names.map(str::to_owned).collect();
    if rest != 0 || all.is_empty() {
        all.push(if rest == 0 { "0".to_owned() } else { format!("{rest:#x}") });
    }
    all.join("|")
}

/// A stopped thread, whose memory is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory(pub(super) Pid);

/// So many bytes of what is sent and received are shown.
const SHOWN: usize = 32;

/// So many elements of an array are shown.
const MOST: usize = 32;

/// So many events of epoll_wait(2) are read.
const MOST_READY: usize = 1024;

impl Memory {
    fn bytes(self, address: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let n = ptrace::read_into(self.0, address, &mut bytes).ok()?;
        bytes.truncate(n);
        Some(bytes)
    }

    fn exactly<const N: usize>(self, address: u64) -> Option<[u8; N]> {
        ptrace::read(self.0, address).ok()
    }

    fn int(self, address: u64) -> Option<i32> {
        self.exactly(address).map(i32::from_ne_bytes)
    }

    fn long(self, address: u64) -> Option<u64> {
        self.exactly(address).map(u64::from_ne_bytes)
    }

    /// A string that ends with NUL.
    fn string(self, address: u64) -> String {
        const LONGEST: usize = 200;
        let bytes = self.bytes(address, LONGEST).unwrap_or_default();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        format!("{:?}", String::from_utf8_lossy(&bytes[..end]))
    }

    /// The first of these bytes, in quotes.
    fn quoted(self, address: u64, length: u64) -> String {
        let shown = self.bytes(address, SHOWN.min(length as usize)).unwrap_or_default();
        let more = if length as usize > shown.len() { "..." } else { "" };
        format!("\"{}\"{more}", shown.escape_ascii())
    }

    /// `struct sockaddr`.
    fn address(self, address: u64, length: u64) -> String {
        let bytes = self.bytes(address, (length as usize).min(128)).unwrap_or_default();
        let family = bytes.get(..2).map(|family| u16::from_ne_bytes([family[0], family[1]]));
        let port = |at: usize| bytes.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
        match family.map(i32::from) {
            Some(libc::AF_INET) if bytes.len() >= 8 => {
                let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
                SocketAddr::from((ip, port(2).unwrap_or(0))).to_string()
            }
            Some(libc::AF_INET6) if bytes.len() >= 24 => {
                let ip: [u8; 16] = bytes[8..24].try_into().expect("it has 16 bytes");
                SocketAddr::from((Ipv6Addr::from(ip), port(2).unwrap_or(0))).to_string()
            }
            Some(libc::AF_UNIX) => "{AF_UNIX}".to_owned(),
            Some(family) => format!("{{family {family}}}"),
            None => "NULL".to_owned(),
        }
    }

    /// An address that the kernel has written, with the length that it has written.
    fn returned_address(self, address: u64, length: u64, result: Option<i64>) -> String {
        match (address, result) {
            (0, _) => "NULL, NULL".to_owned(),
            (_, Some(0..)) => {
                let length = self.int(length).unwrap_or(0);
                format!("{}, [{length}]", self.address(address, length.cast_unsigned().into()))
            }
            _ => "..., ...".to_owned(),
        }
    }

    /// An array of `struct iovec`, of which so many bytes count.
    fn vector(self, address: u64, count: u64, bytes: u64) -> String {
        let (mut left, mut parts) = (bytes, Vec::new());
        for i in 0..count.min(MOST as u64) {
            let at = address.wrapping_add(i * 16);
            let (Some(base), Some(length)) = (self.long(at), self.long(at.wrapping_add(8))) else { break };
            let used = length.min(left);
            left -= used;
            parts.push(format!("{{{}, {length}}}", self.quoted(base, used)));
        }
        format!("[{}], {count}", parts.join(", "))
    }

    /// `struct msghdr`, of which so many bytes count.
    fn message(self, address: u64, bytes: u64) -> String {
        // The address and its length, then the vector and its length.
        let vector = self.long(address.wrapping_add(16)).zip(self.long(address.wrapping_add(24)));
        vector.map_or_else(|| "{...}".to_owned(), |(base, n)| format!("{{{}}}", self.vector(base, n, bytes)))
    }

    /// A signal set of 64 signals.
    fn signals(self, address: u64) -> String {
        if address == 0 {
            return "NULL".to_owned();
        }
        let Some(set) = self.long(address) else { return "...".to_owned() };
        let of = |set: u64| {
            let names = (1..=64)
                .filter(move |n| set >> (n - 1) & 1 == 1)
                .map(|n| signal(n).trim_start_matches("SIG").to_owned());
            names.collect::<Vec<_>>().join(" ")
        };
        // As strace(1) does: nearly all are told by those that are missing.
        if set.count_ones() > 32 { format!("~[{}]", of(!set)) } else { format!("[{}]", of(set)) }
    }

    /// `struct timespec`.
    fn time(self, address: u64) -> String {
        if address == 0 {
            return "NULL".to_owned();
        }
        match (self.long(address), self.long(address.wrapping_add(8))) {
            (Some(s), Some(ns)) => format!("{{{s} s, {ns} ns}}"),
            _ => "...".to_owned(),
        }
    }
}

/// The name of a signal: `SIGCHLD`, `SIGRT_3`.
pub(super) fn signal(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if number >= 32 => format!("SIGRT_{}", number - 32),
        Err(_) => number.to_string(),
    }
}

/// The name of an error; those that no program sees as well.
pub(super) fn errno(number: i32) -> String {
    // linux/errno.h: the kernel makes the call again.
    match number {
        512 => "ERESTARTSYS".to_owned(),
        513 => "ERESTARTNOINTR".to_owned(),
        514 => "ERESTARTNOHAND".to_owned(),
        516 => "ERESTART_RESTARTBLOCK".to_owned(),
        _ => format!("{:?}", nix::errno::Errno::from_raw(number)),
    }
}

/// The arguments of a call, without its name. `result` is there when it has returned.
pub(super) fn arguments(
    name: &str,
    a: &[u64; 6],
    memory: Memory,
    result: Option<Result<i64, i32>>,
) -> String {
    let done = result.and_then(Result::ok);
    let n = done.map_or(0, |n| u64::try_from(n).unwrap_or(0));
    let int = |i: usize| a[i] as i32;
    // What was received is there when the call has returned.
    let received = |address: u64| match done {
        Some(_) => memory.quoted(address, n),
        None => "...".to_owned(),
    };
    match name {
        "socket" | "socketpair" => {
            let family = named!(int(0), AF_INET, AF_INET6, AF_UNIX, AF_NETLINK);
            let family = family.map_or_else(|| int(0).to_string(), str::to_owned);
            let kind = named!(int(1) & 0xf, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET);
            let mut text = format!("{family}, {}", kind.unwrap_or("?"));
            let more = SockFlag::from_bits_truncate(int(1) & !0xf);
            more.iter_names().for_each(|(name, _)| text += &format!("|{name}"));
            let protocol =
                named!(int(2), IPPROTO_TCP, IPPROTO_UDP).map_or_else(|| int(2).to_string(), str::to_owned);
            write!(text, ", {protocol}").ok();
            if name == "socketpair" {
                text += &pair(memory, a[3], done);
            }
            text
        }
        "bind" | "connect" => format!("{}, {}, {}", int(0), memory.address(a[1], a[2]), a[2]),
        "listen" => format!("{}, {}", int(0), int(1)),
        "accept" | "getsockname" | "getpeername" => {
            format!("{}, {}", int(0), memory.returned_address(a[1], a[2], done))
        }
        "accept4" => {
            let addr = memory.returned_address(a[1], a[2], done);
            format!("{}, {addr}, {}", int(0), flags!(SockFlag, int(3)))
        }
        "recvfrom" => {
            format!("{}, {}, {}, {}", int(0), received(a[1]), a[2], flags!(MsgFlags, int(3)))
        }
        "sendto" => {
            format!("{}, {}, {}, {}", int(0), memory.quoted(a[1], a[2]), a[2], flags!(MsgFlags, int(3)))
        }
        "recvmsg" => {
            let message = done.map_or_else(|| "{...}".to_owned(), |_| memory.message(a[1], n));
            format!("{}, {message}, {}", int(0), flags!(MsgFlags, int(2)))
        }
        "sendmsg" => {
            format!("{}, {}, {}", int(0), memory.message(a[1], u64::MAX), flags!(MsgFlags, int(2)))
        }
        "read" => format!("{}, {}, {}", int(0), received(a[1]), a[2]),
        "write" => format!("{}, {}, {}", int(0), memory.quoted(a[1], a[2]), a[2]),
        "readv" => {
            let vector = done.map_or_else(|| format!("[...], {}", a[2]), |_| memory.vector(a[1], a[2], n));
            format!("{}, {vector}", int(0))
        }
        "writev" => format!("{}, {}", int(0), memory.vector(a[1], a[2], u64::MAX)),
        "shutdown" => {
            let how = named!(int(1), SHUT_RD, SHUT_WR, SHUT_RDWR);
            format!("{}, {}", int(0), how.unwrap_or("?"))
        }
        "setsockopt" | "getsockopt" => {
            let value = match (name, done) {
                ("getsockopt", None) => "...".to_owned(),
                _ => memory.int(a[3]).map_or_else(|| "?".to_owned(), |value| format!("[{value}]")),
            };
            format!("{}, {}, {value}", int(0), option(int(1), int(2)))
        }
        "close" | "dup" => int(0).to_string(),
        "dup2" => format!("{}, {}", int(0), int(1)),
        "dup3" => format!("{}, {}, {}", int(0), int(1), int(2)),
        "fcntl" => fcntl(int(0), int(1), a[2]),
        "ioctl" => ioctl(int(0), a[1], memory.int(a[2])),
        "sendfile" => format!("{}, {}, ..., {}", int(0), int(1), a[3]),
        "splice" => format!("{}, ..., {}, ..., {}", int(0), int(2), a[4]),
        "pipe" | "pipe2" => pair(memory, a[0], done).trim_start_matches(", ").to_owned(),
        "eventfd" => a[0].to_string(),
        "eventfd2" => format!("{}, {}", a[0], flags!(EfdFlags, int(1))),
        "epoll_create" => a[0].to_string(),
        "epoll_create1" => flags!(EpollCreateFlags, int(0)),
        "epoll_ctl" => {
            let operation = named!(int(1), EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL).unwrap_or("?");
            let event = match int(1) {
                libc::EPOLL_CTL_DEL => "NULL".to_owned(),
                _ => {
                    epoll_events(memory, a[3], 1).first().map_or_else(|| "...".to_owned(), |one| braces(*one))
                }
            };
            format!("{}, {operation}, {}, {event}", int(0), int(2))
        }
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => {
            let events = match done {
                Some(_) => {
                    let events = epoll_events(memory, a[1], n as usize);
                    format!("[{}]", events.into_iter().map(braces).collect::<Vec<_>>().join(", "))
                }
                None => "...".to_owned(),
            };
            let timeout = if name == "epoll_pwait2" { memory.time(a[3]) } else { int(3).to_string() };
            format!("{}, {events}, {}, {timeout}", int(0), int(2))
        }
        "poll" | "ppoll" => {
            let fds = poll_fds(memory, a[0], a[1]).into_iter().map(|(fd, events, returned)| {
                let returned = done.map_or_else(String::new, |_| format!(", {}", poll_names(returned)));
                format!("{{{fd}, {}{returned}}}", poll_names(events))
            });
            let timeout = if name == "ppoll" { memory.time(a[2]) } else { int(2).to_string() };
            format!("[{}], {}, {timeout}", fds.collect::<Vec<_>>().join(", "), a[1])
        }
        "select" | "pselect6" => {
            let sets = [a[1], a[2], a[3]].map(|set| match set {
                0 => "NULL".to_owned(),
                set => {
                    let fds: Vec<_> = bits(memory, set, a[0]).iter().map(ToString::to_string).collect();
                    format!("[{}]", fds.join(" "))
                }
            });
            let timeout = match a[4] {
                0 => "NULL".to_owned(),
                at if name == "select" => match (memory.long(at), memory.long(at.wrapping_add(8))) {
                    (Some(s), Some(us)) => format!("{{{s} s, {us} µs}}"),
                    _ => "...".to_owned(),
                },
                at => memory.time(at),
            };
            format!("{}, {}, {timeout}", a[0], sets.join(", "))
        }
        "io_uring_setup" => format!("{}, ...", a[0]),
        "io_uring_enter" => format!("{}, submit {}, wait for {}, {}", int(0), a[1], a[2], uring_flags(a[3])),
        "io_uring_register" => format!("{}, {}, ..., {}", int(0), a[1], a[3]),
        "signalfd4" => format!("{}, {}, {}", int(0), memory.signals(a[1]), int(3)),
        "timerfd_create" => format!("{}, {}", int(0), int(1)),
        "timerfd_settime" => format!("{}, {}, ...", int(0), int(1)),
        "execve" => memory.string(a[0]),
        "fork" | "vfork" | "pause" | "rt_sigreturn" => String::new(),
        "clone" => clone_flags(a[0]),
        "clone3" => format!("{{{}}}", memory.long(a[0]).map_or_else(|| "...".to_owned(), clone_flags)),
        "exit" | "exit_group" => int(0).to_string(),
        "wait4" => {
            let status = match done {
                Some(1..) if a[1] != 0 => memory.int(a[1]).map_or_else(|| "?".to_owned(), status),
                _ if a[1] == 0 => "NULL".to_owned(),
                _ => "...".to_owned(),
            };
            let options = named!(int(2), WNOHANG).map_or_else(|| int(2).to_string(), str::to_owned);
            format!("{}, {status}, {options}", int(0))
        }
        "waitid" => format!("{}, {}, ..., {:#x}", int(0), int(1), a[3]),
        "kill" | "tkill" => format!("{}, {}", int(0), signal(int(1))),
        "tgkill" => format!("{}, {}, {}", int(0), int(1), signal(int(2))),
        "rt_sigaction" => format!("{}, {}", signal(int(0)), action(memory, a[1])),
        "rt_sigprocmask" => {
            let how = named!(int(0), SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK).unwrap_or("?");
            format!("{how}, {}", memory.signals(a[1]))
        }
        "rt_sigsuspend" => memory.signals(a[0]),
        "rt_sigtimedwait" => format!("{}, {}", memory.signals(a[0]), memory.time(a[2])),
        "pidfd_open" => int(0).to_string(),
        "pidfd_send_signal" => format!("{}, {}", int(0), signal(int(1))),
        "rt_sigqueueinfo" => format!("{}, {}", int(0), signal(int(1))),
        "futex" => futex(int(1), a[2]),
        "nanosleep" => memory.time(a[0]),
        "clock_nanosleep" => memory.time(a[2]),
        _ => "...".to_owned(),
    }
}

/// Two descriptors that the kernel has written.
fn pair(memory: Memory, address: u64, done: Option<i64>) -> String {
    let both = memory.int(address).zip(memory.int(address.wrapping_add(4)));
    match done.and(both) {
        Some((one, two)) => format!(", [{one}, {two}]"),
        None => ", ...".to_owned(),
    }
}

/// `struct epoll_event`: what for, and the number that the program has given.
fn epoll_events(memory: Memory, address: u64, count: usize) -> Vec<(u32, u64)> {
    const SIZE: usize = size_of::<libc::epoll_event>();
    // Packed on x86-64, where the number is not aligned.
    const DATA: usize = SIZE - 8;
    let bytes = memory.bytes(address, count.min(MOST_READY) * SIZE).unwrap_or_default();
    let of = |event: &[u8]| {
        let events = u32::from_ne_bytes(event[..4].try_into().expect("four bytes"));
        (events, u64::from_ne_bytes(event[DATA..].try_into().expect("eight bytes")))
    };
    bytes.chunks_exact(SIZE).map(of).collect()
}

fn braces((events, data): (u32, u64)) -> String {
    format!("{{{}, data {}}}", epoll_names(events), shown_data(data))
}

/// A number that a program has given: small ones are descriptors or places in an array, others pointers.
fn shown_data(data: u64) -> String {
    // A program that sets data.fd leaves the other half as it was.
    match (data, data as u32 as i32) {
        (0..100_000, _) => data.to_string(),
        (_, fd @ 0..100_000) if data >> 32 != 0 => format!("{fd}"),
        _ => format!("{data:#x}"),
    }
}

fn epoll_names(events: u32) -> String {
    flags!(EpollFlags, events.cast_signed())
}

/// `struct pollfd`.
fn poll_fds(memory: Memory, address: u64, count: u64) -> Vec<(i32, i16, i16)> {
    const SIZE: usize = size_of::<libc::pollfd>();
    let bytes = memory.bytes(address, (count as usize).min(1024) * SIZE).unwrap_or_default();
    let of = |entry: &[u8]| {
        let fd = i32::from_ne_bytes(entry[..4].try_into().expect("four bytes"));
        let short = |at: usize| i16::from_ne_bytes(entry[at..at + 2].try_into().expect("two bytes"));
        (fd, short(4), short(6))
    };
    bytes.chunks_exact(SIZE).map(of).collect()
}

fn poll_names(events: i16) -> String {
    flags!(nix::poll::PollFlags, events)
}

/// The descriptors of an `fd_set` for `select`.
fn bits(memory: Memory, address: u64, nfds: u64) -> Vec<i32> {
    let nfds = nfds.min(1 << 16);
    // The kernel reads whole words.
    let bytes = memory.bytes(address, (nfds as usize).div_ceil(64) * 8).unwrap_or_default();
    let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
    let words: Vec<_> = words.collect();
    let is_set = |fd: &i32| {
        let fd = *fd as usize;
        words.get(fd / 64).is_some_and(|word| word >> (fd % 64) & 1 == 1)
    };
    (0..nfds as i32).filter(is_set).collect()
}

fn option(level: i32, option: i32) -> String {
    let name = match level {
        libc::SOL_SOCKET => named!(
            option,
            SO_BROADCAST,
            SO_ERROR,
            SO_INCOMING_CPU,
            SO_KEEPALIVE,
            SO_LINGER,
            SO_RCVBUF,
            SO_RCVTIMEO,
            SO_REUSEADDR,
            SO_REUSEPORT,
            SO_SNDBUF,
            SO_SNDTIMEO,
            SO_TYPE
        ),
        libc::IPPROTO_TCP => named!(
            option,
            TCP_CORK,
            TCP_DEFER_ACCEPT,
            TCP_FASTOPEN,
            TCP_INFO,
            TCP_KEEPCNT,
            TCP_KEEPIDLE,
            TCP_KEEPINTVL,
            TCP_NODELAY,
            TCP_QUICKACK,
            TCP_USER_TIMEOUT
        ),
        libc::IPPROTO_IPV6 => named!(option, IPV6_V6ONLY),
        _ => None,
    };
    let level = named!(level, SOL_SOCKET, IPPROTO_TCP, IPPROTO_IPV6, IPPROTO_IP)
        .map_or_else(|| level.to_string(), str::to_owned);
    format!("{level}, {}", name.map_or_else(|| option.to_string(), str::to_owned))
}

fn fcntl(fd: i32, command: i32, argument: u64) -> String {
    let name = named!(
        command,
        F_DUPFD,
        F_DUPFD_CLOEXEC,
        F_GETFD,
        F_SETFD,
        F_GETFL,
        F_SETFL,
        F_SETOWN,
        F_SETLK,
        F_SETLKW
    );
    let name = name.map_or_else(|| command.to_string(), str::to_owned);
    match command {
        libc::F_GETFD | libc::F_GETFL => format!("{fd}, {name}"),
        libc::F_SETFL => format!(
            "{fd}, {name}, {}",
            flags!(nix::fcntl::OFlag, argument as i32).replace("O_NDELAY", "O_NONBLOCK")
        ),
        libc::F_SETFD => format!("{fd}, {name}, {}", flags!(nix::fcntl::FdFlag, argument as i32)),
        _ => format!("{fd}, {name}, {argument}"),
    }
}

fn ioctl(fd: i32, request: u64, value: Option<i32>) -> String {
    let request = request as i64;
    let name = [
        (libc::FIONBIO as i64, "FIONBIO"),
        (libc::FIONREAD as i64, "FIONREAD"),
        (libc::FIOASYNC as i64, "FIOASYNC"),
        (libc::TIOCOUTQ as i64, "SIOCOUTQ"),
    ];
    let name = name.iter().find(|(number, _)| *number == request);
    let name = name.map_or_else(|| format!("{request:#x}"), |(_, name)| (*name).to_owned());
    format!("{fd}, {name}, [{}]", value.map_or_else(|| "?".to_owned(), |value| value.to_string()))
}

fn clone_flags(bits: u64) -> String {
    let flags = nix::sched::CloneFlags::from_bits_truncate(bits as i32 & !0xff);
    joined(flags.iter_names().map(|(name, _)| name), 0)
}

fn uring_flags(bits: u64) -> String {
    // linux/io_uring.h
    const NAMES: [(u64, &str); 4] = [(1, "GETEVENTS"), (2, "SQ_WAKEUP"), (4, "SQ_WAIT"), (8, "EXT_ARG")];
    let known = NAMES.iter().filter(|(bit, _)| bits & bit != 0);
    joined(known.map(|(_, name)| *name), (bits & !0xf) as i64)
}

fn futex(operation: i32, value: u64) -> String {
    let name =
        named!(operation & 0x7f, FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET);
    format!("{}, {}", name.map_or_else(|| operation.to_string(), str::to_owned), value as u32)
}

/// How a child ended, as wait(2) tells it.
fn status(status: i32) -> String {
    match (libc::WIFEXITED(status), libc::WIFSIGNALED(status)) {
        (true, _) => format!("[exit {}]", libc::WEXITSTATUS(status)),
        (_, true) => format!("[{}]", signal(libc::WTERMSIG(status))),
        _ => format!("[{status:#x}]"),
    }
}

/// The kernel's `struct sigaction` begins with the handler; flags come behind it.
fn action(memory: Memory, address: u64) -> String {
    if address == 0 {
        return "NULL".to_owned();
    }
    let handler = match memory.long(address) {
        Some(0) => "SIG_DFL".to_owned(),
        Some(1) => "SIG_IGN".to_owned(),
        Some(_) => "a handler".to_owned(),
        None => return "...".to_owned(),
    };
    let flags = memory.long(address.wrapping_add(8)).unwrap_or(0) as i32;
    let flags = nix::sys::signal::SaFlags::from_bits_truncate(flags);
    let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { handler } else { format!("{{{handler}, {}}}", names.join("|")) }
}

/// What a wait that has returned tells: descriptors, or the numbers that the program gave for them, and what for.
pub(super) enum Told {
    Descriptor(i32, String),
    /// Of epoll.
    Data(u64, String),
}

/// The descriptors that a wait has found ready.
pub(super) fn told(name: &str, a: &[u64; 6], memory: Memory, n: i64) -> Vec<Told> {
    match name {
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => epoll_events(memory, a[1], n as usize)
            .into_iter()
            .map(|(events, data)| Told::Data(data, epoll_names(events)))
            .collect(),
        "poll" | "ppoll" => poll_fds(memory, a[0], a[1])
            .into_iter()
            .filter(|(_, _, returned)| *returned != 0)
            .map(|(fd, _, returned)| Told::Descriptor(fd, poll_names(returned)))
            .collect(),
        "select" | "pselect6" => {
            let sets = [(a[1], "readable"), (a[2], "writable"), (a[3], "exceptional")];
            let sets = sets.into_iter().filter(|(set, _)| *set != 0);
            sets.flat_map(|(set, what)| {
                bits(memory, set, a[0]).into_iter().map(move |fd| Told::Descriptor(fd, what.to_owned()))
            })
            .collect()
        }
        // siginfo of a descriptor, man 2 sigaction: si_band and si_fd.
        "rt_sigtimedwait"
            if a[1] != 0 && memory.int(a[1].wrapping_add(8)).is_some_and(|code| (1..=6).contains(&code)) =>
        {
            let band = memory.long(a[1].wrapping_add(16));
            let fd = memory.int(a[1].wrapping_add(24));
            let told = band.zip(fd).map(|(band, fd)| Told::Descriptor(fd, poll_names(band as i16)));
            told.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Descriptors that are ready, with what they are.
pub(super) fn ready(told: Vec<Told>, mut on: impl FnMut(&Told) -> On) -> Vec<Ready> {
    let of = |told: Told| {
        let on = on(&told);
        let (Told::Descriptor(_, events) | Told::Data(_, events)) = told;
        Ready { on, events }
    };
    told.into_iter().map(of).collect()
}
