//! Processes, limits, namespaces.

use super::{Refusal, Reply, done, number};

use crate::sys::Errno;
use libc::{c_long, c_ulong};
use std::ffi::CString;

/// waitpid: which child, and its status; no child yet (`WNOHANG`) is 0.
pub(crate) fn waitpid(pid: i32, options: i32) -> Reply<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status is live.
    let child = number("wait4", unsafe { libc::waitpid(pid, &raw mut status, options) })?;
    Ok((child, status))
}

/// waitid for one child, `P_PID`, such as with `WEXITED | WNOWAIT`: waits, and leaves the child as it is.
pub(crate) fn waitid(pid: i32, options: i32) -> Reply<()> {
    let id = pid.cast_unsigned();
    // SAFETY: nowhere for the information, which Linux allows.
    let waited = unsafe { libc::syscall(libc::SYS_waitid, libc::P_PID, id, 0usize, options, 0usize) };
    done("waitid", waited)
}

/// The same with `P_PIDFD`: for the child of a pidfd.
pub(crate) fn waitid_pidfd(pidfd: i32, options: i32) -> Reply<()> {
    // SAFETY: as `waitid`.
    let waited = unsafe { libc::syscall(libc::SYS_waitid, libc::P_PIDFD, pidfd, 0usize, options, 0usize) };
    done("waitid", waited)
}

/// pidfd_send_signal, as kill does it.
pub(crate) fn pidfd_send_signal(pidfd: i32, signal: i32) -> Reply<()> {
    let call = libc::SYS_pidfd_send_signal;
    // SAFETY: nowhere for the information, which is allowed.
    done("pidfd_send_signal", unsafe { libc::syscall(call, c_long::from(pidfd), signal, 0usize, 0usize) })
}

/// fork: 0 in the child.
///
/// For experiments, whose threads hold no lock when they fork. Under an emulator there is a thread that is not ours,
/// which is why [`sys::fork`](crate::sys::fork) would refuse.
pub(crate) fn fork() -> Reply<i32> {
    // SAFETY: the child has its own copy of the memory, and of the threads only the one that called. A lock that another
    // thread held would stay locked, and the child would wait for it until the experiment's time is over; no memory is
    // used after its end, or by two threads.
    number("fork", unsafe { libc::fork() })
}

/// kill; a negative number is a process group.
pub(crate) fn kill(pid: i32, signal: i32) -> Reply<()> {
    // SAFETY: numbers.
    done("kill", unsafe { libc::kill(pid, signal) })
}

/// tgkill: to a thread of this process.
pub(crate) fn tgkill(thread: i32, signal: i32) -> Reply<()> {
    assert!(![32, 33].contains(&signal), "signal {signal} is libc's own, whose handler trusts its sender");
    let me = c_long::from(std::process::id().cast_signed());
    // SAFETY: numbers.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, me, c_long::from(thread), c_long::from(signal)) };
    done("tgkill", sent)
}

/// The number of the calling thread.
pub(crate) fn gettid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

/// The soft limit on descriptors from now on, with the hard one as it is.
pub(crate) fn limit_descriptors(soft: u64) -> Reply<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is live.
    done("getrlimit", unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = soft;
    // SAFETY: the limit is live.
    done("setrlimit", unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
}

/// personality.
pub(crate) fn personality(persona: c_ulong) -> Reply<i32> {
    // SAFETY: a number; no code of ours depends on what experiments set (STICKY_TIMEOUTS).
    number("personality", unsafe { libc::personality(persona) })
}

/// unshare.
pub(crate) fn unshare(flags: i32) -> Reply<()> {
    const NAMESPACES: i32 = libc::CLONE_NEWUSER | libc::CLONE_NEWNET;
    assert!(flags & !NAMESPACES == 0, "{flags:#x} is more than the user and the network namespace");
    // SAFETY: new namespaces change what names mean, not memory, nor the threads' table of descriptors.
    done("unshare", unsafe { libc::unshare(flags) })
}

/// setuid, all threads.
pub(crate) fn setuid(uid: u32) -> Reply<()> {
    // SAFETY: a number.
    done("setuid", unsafe { libc::setuid(uid) })
}

/// The loopback interface, for a request about its flags.
fn loopback_request() -> libc::ifreq {
    // SAFETY: all-zero bytes are a value of `ifreq`, which consists of numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request
}

/// Whether the loopback interface of this network namespace is up: ioctl with SIOCGIFFLAGS, netdevice(7).
pub(crate) fn loopback_is_up(socket: i32) -> Reply<bool> {
    let mut request = loopback_request();
    // SAFETY: the request is live, and its name ends with a zero.
    done("ioctl", unsafe { libc::ioctl(socket, libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the kernel has written the flags, and any bytes are a value of them.
    Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }) & libc::IFF_UP != 0)
}

/// Bring it up; it has its address then: SIOCSIFFLAGS.
pub(crate) fn loopback_up(socket: i32) -> Reply<()> {
    let mut request = loopback_request();
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is live, and its name ends with a zero.
    done("ioctl", unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) })
}

/// execve of the first word, found as a shell would, with all of them as arguments; it returns only if it failed.
pub(crate) fn exec(words: &[CString]) -> Reply<()> {
    let Some(program) = words.first() else { return Err(Refusal { call: "execve", errno: Errno::ENOENT }) };
    match nix::unistd::execvp(program, words) {
        Ok(never) => match never {},
        Err(errno) => Err(Refusal { call: "execve", errno }),
    }
}

/// prctl with PR_SET_PDEATHSIG: end with the thread that forked us.
pub(crate) fn die_with_parent() {
    // SAFETY: numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// prctl with PR_SET_DUMPABLE: our files in /proc are ours, also after [`setuid`].
pub(crate) fn stay_dumpable() {
    // SAFETY: numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
}

/// What a shell, a service manager or the standard library left to this process is taken back: every
/// signal does what it does by default and none is blocked, descriptors from 3 on are closed. But what RLIMIT_FSIZE does
/// not allow is refused with EFBIG, instead of ending the process: SIGXFSZ is ignored.
pub(crate) fn reset() {
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the default action runs no code of ours. The numbers that libc keeps for itself are
        // refused by it, with no harm.
        unsafe { libc::signal(signal, if signal == libc::SIGXFSZ { libc::SIG_IGN } else { libc::SIG_DFL }) };
    }
    super::sigprocmask(libc::SIG_SETMASK, 0).ok();
    // Without it (Linux before 5.9, a filter) an experiment may start with more descriptors than it knows.
    super::close_from(3).ok();
}
