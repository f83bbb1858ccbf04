//! System calls of another process, stopped at and changed: ptrace(2), waitpid(2), pidfd_getfd(2). Over `libc`.
//!
//! A tracer is a *thread*: only the one that has seized a thread may wait for it and change it.
//!
//! With `PTRACE_SYSCALL` a traced thread stops twice for each call, before and after it. Before it, the number of the call
//! can be replaced by one that does not exist, and the call is not made; after it, the result can be replaced. Only the registers of
//! x86-64 and aarch64 are known here: on other architectures no thread is traced.

use super::fork::Pid;
use super::{Call, Errno, cvt, retry};
use crate::error::Result;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// What a traced thread stopped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Before a system call: its number and arguments.
    Entry {
        /// The number, as `SYS_…`.
        number: i64,
        /// The arguments.
        arguments: [u64; 6],
    },
    /// After a system call: what it returned, or the number of its error. That may be one which no program sees, such as 512
    /// (`ERESTARTSYS`): the kernel makes the call again when the signal was dealt with.
    Exit(std::result::Result<i64, i32>),
    /// A signal is about to be delivered.
    Signal(i32),
    /// A signal has stopped its process, such as SIGSTOP.
    Group,
    /// It has begun, or was interrupted, or has started another thread or process.
    Event,
    /// At a system call, of which the kernel does not tell more.
    Unknown(Errno),
    /// It has ended.
    Ended(How),
}

/// How a thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// With this code.
    Exit(i32),
    /// Killed by this signal.
    Killed(i32),
}

/// Begin to trace a thread, which goes on: `PTRACE_SEIZE`. Threads and processes that it starts are traced as well. When the tracer ends
/// before them, the kernel kills all of them.
///
/// # Errors
///
/// `EPERM` when tracing is not permitted: kernel.yama.ptrace_scope, a seccomp filter, another tracer; `ESRCH`; `ENOSYS` on an
/// architecture other than x86-64 and aarch64.
#[doc(alias = "PTRACE_SEIZE")]
pub fn seize(thread: Pid) -> Result<()> {
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return cvt(Call::Ptrace, Err(Errno::ENOSYS));
    }
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: PTRACE_SEIZE takes a number and flags, and touches no memory of ours.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread.as_raw(), 0_usize, options as usize) };
    cvt(Call::Ptrace, Errno::result(seized)).map(drop)
}

/// Stop a traced thread: `PTRACE_INTERRUPT`.
///
/// # Errors
///
/// `ESRCH` when it has ended.
#[doc(alias = "PTRACE_INTERRUPT")]
pub fn interrupt(thread: Pid) -> Result<()> {
    // SAFETY: PTRACE_INTERRUPT takes a number, and touches no memory of ours.
    let done = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread.as_raw(), 0_usize, 0_usize) };
    cvt(Call::Ptrace, Errno::result(done)).map(drop)
}

/// Let a stopped thread go on until its next call, with this signal delivered, or 0 for none: `PTRACE_SYSCALL`.
///
/// # Errors
///
/// `ESRCH` when it has ended.
#[doc(alias = "PTRACE_SYSCALL")]
pub fn go_on(thread: Pid, signal: i32) -> Result<()> {
    // SAFETY: PTRACE_SYSCALL takes a number and a signal, and touches no memory of ours.
    let done = unsafe {
        libc::ptrace(libc::PTRACE_SYSCALL, thread.as_raw(), 0_usize, signal.cast_unsigned() as usize)
    };
    cvt(Call::Ptrace, Errno::result(done)).map(drop)
}

/// Leave a thread in its group stop until SIGCONT: `PTRACE_LISTEN`.
///
/// # Errors
///
/// `ESRCH` when it has ended.
#[doc(alias = "PTRACE_LISTEN")]
pub fn listen(thread: Pid) -> Result<()> {
    // SAFETY: PTRACE_LISTEN takes a number, and touches no memory of ours.
    let done = unsafe { libc::ptrace(libc::PTRACE_LISTEN, thread.as_raw(), 0_usize, 0_usize) };
    cvt(Call::Ptrace, Errno::result(done)).map(drop)
}

/// Wait until any thread that this thread traces stops or ends. `None` when it traces none any more.
///
/// # Errors
///
/// None in practice.
#[doc(alias = "waitpid")]
pub fn wait() -> Result<Option<(Pid, Stop)>> {
    let mut status = 0;
    let waited = retry(|| {
        // SAFETY: waitpid writes one `int` to `status`, which is ours and lives until the call returns.
        let waited = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        cvt(Call::Wait4, Errno::result(waited))
    });
    let thread = match waited {
        Ok(thread) => Pid::from_raw(thread),
        Err(error) if error.errno() == Some(Errno::ECHILD) => return Ok(None),
        Err(error) => return Err(error),
    };
    if libc::WIFEXITED(status) {
        return Ok(Some((thread, Stop::Ended(How::Exit(libc::WEXITSTATUS(status))))));
    }
    if libc::WIFSIGNALED(status) {
        return Ok(Some((thread, Stop::Ended(How::Killed(libc::WTERMSIG(status))))));
    }
    let signal = libc::WSTOPSIG(status);
    let stop = match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => match call_of(thread) {
            Ok(stop) => stop,
            // It was killed in the meantime; its end comes next.
            Err(error) if error.errno() == Some(Errno::ESRCH) => Stop::Event,
            Err(error) => Stop::Unknown(error.errno().unwrap_or(Errno::EIO)),
        },
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_STOP if is_stopping(signal) => Stop::Group,
        _ => Stop::Event,
    };
    Ok(Some((thread, stop)))
}

fn is_stopping(signal: i32) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// `struct ptrace_syscall_info` at the entry of a call, man 2 ptrace. At the exit of one the result is in the place of the number, and
/// behind it a byte that says whether it is an error.
#[repr(C)]
struct Info {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction: u64,
    stack: u64,
    number: u64,
    arguments: [u64; 6],
}

/// `AUDIT_ARCH_…` of the programs that we know, linux/audit.h.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: u32 = 0;

/// In the number of a call: a program of x86-64 with pointers of 32 bits.
const X32: u64 = 0x4000_0000;

/// The call at which a thread has stopped: `PTRACE_GET_SYSCALL_INFO`, since Linux 5.3.
fn call_of(thread: Pid) -> Result<Stop> {
    const ENTRY: u8 = 1;
    const EXIT: u8 = 2;
    let mut info = MaybeUninit::<Info>::zeroed();
    // SAFETY: PTRACE_GET_SYSCALL_INFO writes at most as many bytes as the third argument says to the fourth, which is ours, is that
    // large and lives until the call returns.
    let written = unsafe { libc::ptrace(0x420e, thread.as_raw(), size_of::<Info>(), info.as_mut_ptr()) };
    cvt(Call::Ptrace, Errno::result(written))?;
    // SAFETY: it is zeroed or written by the kernel, and each of its fields is a number, for which all bits are valid.
    let info = unsafe { info.assume_init() };
    Ok(match info.op {
        // A program of 32 bits has other numbers, and registers that we do not know.
        _ if info.arch != NATIVE => Stop::Event,
        ENTRY if info.number & X32 != 0 => Stop::Event,
        ENTRY => Stop::Entry { number: info.number.cast_signed(), arguments: info.arguments },
        EXIT => Stop::Exit(match info.arguments[0].to_ne_bytes()[0] {
            0 => Ok(info.number.cast_signed()),
            // Errors are -4095 to -1.
            _ => Err(i32::try_from(-info.number.cast_signed()).unwrap_or(libc::EIO)),
        }),
        _ => Stop::Event,
    })
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub use change::*;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use unchanged::*;

/// Changes to a call at which a thread has stopped.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod change {
    use super::*;

    /// Registers of a stopped thread.
    type Registers = libc::user_regs_struct;

    /// The set of general registers, for `PTRACE_GETREGSET`.
    const NT_PRSTATUS: usize = 1;

    fn registers(thread: Pid) -> Result<Registers> {
        let mut registers = MaybeUninit::<Registers>::zeroed();
        let mut all =
            libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of::<Registers>() };
        // SAFETY: PTRACE_GETREGSET writes at most `iov_len` bytes to `iov_base`, which is `registers`, ours and as large as that; both
        // live until the call returns.
        let read =
            unsafe { libc::ptrace(libc::PTRACE_GETREGSET, thread.as_raw(), NT_PRSTATUS, &raw mut all) };
        cvt(Call::Ptrace, Errno::result(read))?;
        // SAFETY: it is zeroed or written by the kernel, and each of its fields is a number, for which all bits are valid.
        Ok(unsafe { registers.assume_init() })
    }

    fn set_registers(thread: Pid, mut registers: Registers) -> Result<()> {
        let mut all = libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of::<Registers>() };
        // SAFETY: PTRACE_SETREGSET reads at most `iov_len` bytes from `iov_base`, which is `registers`, ours and as large as that; both
        // live until the call returns.
        let set = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, thread.as_raw(), NT_PRSTATUS, &raw mut all) };
        cvt(Call::Ptrace, Errno::result(set)).map(drop)
    }

    /// Before a call: do not make it.
    ///
    /// # Errors
    ///
    /// `ESRCH` when the thread has ended.
    pub fn skip_call(thread: Pid) -> Result<()> {
        #[cfg(target_arch = "x86_64")]
        {
            let mut registers = registers(thread)?;
            registers.orig_rax = u64::MAX;
            set_registers(thread, registers)
        }
        #[cfg(target_arch = "aarch64")]
        {
            /// The set with the number of the call.
            const NT_ARM_SYSTEM_CALL: usize = 0x404;
            let mut none: libc::c_int = -1;
            let mut all = libc::iovec { iov_base: (&raw mut none).cast(), iov_len: size_of::<libc::c_int>() };
            // SAFETY: PTRACE_SETREGSET reads at most `iov_len` bytes from `iov_base`, which is one `int` of ours; both live until the
            // call returns.
            let set = unsafe {
                libc::ptrace(libc::PTRACE_SETREGSET, thread.as_raw(), NT_ARM_SYSTEM_CALL, &raw mut all)
            };
            cvt(Call::Ptrace, Errno::result(set)).map(drop)
        }
    }

    /// After a call: let it have failed so.
    ///
    /// # Errors
    ///
    /// `ESRCH` when the thread has ended.
    pub fn set_failure(thread: Pid, errno: Errno) -> Result<()> {
        let mut registers = registers(thread)?;
        let result = i64::from(-(errno as i32)).cast_unsigned();
        #[cfg(target_arch = "x86_64")]
        {
            registers.rax = result;
        }
        #[cfg(target_arch = "aarch64")]
        {
            registers.regs[0] = result;
        }
        set_registers(thread, registers)
    }

    /// Before a call: replace its third argument, which is the length for read, write, recv and send.
    ///
    /// # Errors
    ///
    /// `ESRCH` when the thread has ended.
    pub fn set_third_argument(thread: Pid, value: u64) -> Result<()> {
        let mut registers = registers(thread)?;
        #[cfg(target_arch = "x86_64")]
        {
            registers.rdx = value;
        }
        #[cfg(target_arch = "aarch64")]
        {
            registers.regs[2] = value;
        }
        set_registers(thread, registers)
    }
}

/// The same where registers are not known, and [`seize`] traces no thread.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod unchanged {
    use super::*;

    /// Before a call: do not make it.
    ///
    /// # Errors
    ///
    /// `ENOSYS` always.
    pub fn skip_call(_: Pid) -> Result<()> {
        cvt(Call::Ptrace, Err(Errno::ENOSYS))
    }

    /// After a call: let it have failed so.
    ///
    /// # Errors
    ///
    /// `ENOSYS` always.
    pub fn set_failure(_: Pid, _: Errno) -> Result<()> {
        cvt(Call::Ptrace, Err(Errno::ENOSYS))
    }

    /// Before a call: replace its third argument.
    ///
    /// # Errors
    ///
    /// `ENOSYS` always.
    pub fn set_third_argument(_: Pid, _: u64) -> Result<()> {
        cvt(Call::Ptrace, Err(Errno::ENOSYS))
    }
}

/// The bytes at this address of a stopped thread.
///
/// # Errors
///
/// `EFAULT`, also when only some of them are there; `ESRCH`.
pub fn read<const N: usize>(thread: Pid, address: u64) -> Result<[u8; N]> {
    let mut value = [0_u8; N];
    match read_into(thread, address, &mut value)? {
        n if n == N => Ok(value),
        _ => cvt(Call::ProcessVmReadv, Err(Errno::EFAULT)),
    }
}

/// The bytes at this address of a stopped thread: process_vm_readv(2). Returns how many there were: fewer at the end of a mapping.
///
/// # Errors
///
/// `EFAULT`, `ESRCH`.
#[doc(alias = "process_vm_readv")]
pub fn read_into(thread: Pid, address: u64, value: &mut [u8]) -> Result<usize> {
    let ours = libc::iovec { iov_base: value.as_mut_ptr().cast(), iov_len: value.len() };
    let theirs =
        libc::iovec { iov_base: std::ptr::without_provenance_mut(address as usize), iov_len: value.len() };
    // SAFETY: process_vm_readv writes at most `iov_len` bytes to `value`, which is ours and that large; the other address is one of the
    // other process, and is not followed here.
    let read =
        unsafe { libc::process_vm_readv(thread.as_raw(), &raw const ours, 1, &raw const theirs, 1, 0) };
    Ok(cvt(Call::ProcessVmReadv, Errno::result(read))?.cast_unsigned())
}

/// A copy of a descriptor of another process, which shares its open file description: pidfd_open(2), pidfd_getfd(2), since Linux 5.6.
///
/// # Errors
///
/// `EBADF` when the process has no such descriptor; `EPERM`; `ESRCH`.
#[doc(alias = "pidfd_getfd")]
pub fn copy_of(process: Pid, fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) };
    let pidfd = owned(cvt(Call::PidfdOpen, Errno::result(pidfd))?);
    // SAFETY: pidfd_getfd takes three numbers; the first is a descriptor that lives until the call returns.
    let copy =
        unsafe { libc::syscall(libc::SYS_pidfd_getfd, std::os::fd::AsRawFd::as_raw_fd(&pidfd), fd, 0) };
    Ok(owned(cvt(Call::PidfdGetfd, Errno::result(copy))?))
}

fn owned(fd: libc::c_long) -> OwnedFd {
    let fd = RawFd::try_from(fd).expect("a descriptor is an int");
    // SAFETY: the kernel has just returned this descriptor to us, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::super::fork::kill;
    use super::super::signal::Signal;
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// Trace `cat` from the start of its first read, and look at each of its stops before it goes on; `fails` says whether the call fails
    /// that it is about to make. What it wrote, or `None` where tracing is not permitted.
    fn cat(input: &str, mut fails: impl FnMut(Pid, Stop) -> bool) -> Option<String> {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat starts");
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut stdin = child.stdin.take();
        if let Err(why) = seize(pid) {
            assert!(matches!(why.errno(), Some(Errno::EPERM | Errno::ENOSYS)), "{why}");
            eprintln!("skipped: a child of ours may not be traced: {why}");
            drop(stdin);
            child.wait().expect("it ends, because its input has");
            return None;
        }
        interrupt(pid).expect("it has not ended");
        let mut failing = false;
        while let Some((thread, stop)) = wait().expect("there is something to wait for") {
            match stop {
                Stop::Ended(_) => break,
                Stop::Unknown(why) => panic!("the kernel does not tell of a system call: {why}"),
                Stop::Entry { .. } => {
                    failing = fails(thread, stop);
                    go_on(thread, 0).expect("it is stopped");
                }
                Stop::Exit(_) => {
                    if failing {
                        set_failure(thread, Errno::EIO).expect("it is stopped");
                    }
                    go_on(thread, 0).expect("it is stopped");
                }
                Stop::Signal(signal) => go_on(thread, signal).expect("it is stopped"),
                Stop::Group => {
                    listen(thread).expect("it is stopped");
                    fails(thread, stop);
                }
                Stop::Event => {
                    if let Some(mut stdin) = stdin.take() {
                        std::io::Write::write_all(&mut stdin, input.as_bytes()).expect("a pipe has room");
                    }
                    go_on(thread, 0).expect("it is stopped");
                }
            }
        }
        // It was waited for above, so there is nothing left of it.
        child.wait().ok();
        let mut said = String::new();
        let mut stdout = child.stdout.take().expect("its output is a pipe");
        std::io::Read::read_to_string(&mut stdout, &mut said).expect("it is text");
        Some(said)
    }

    fn is_write(stop: Stop) -> bool {
        matches!(stop, Stop::Entry { number: libc::SYS_write, .. })
    }

    #[test]
    fn a_call_that_is_not_changed_does_what_it_does() {
        let Some(said) = cat("hello", |_, _| false) else { return };
        assert_eq!(said, "hello");
    }

    #[test]
    fn a_call_is_skipped_and_fails_as_we_say() {
        let said = cat("hello", |thread, stop| {
            if is_write(stop) {
                skip_call(thread).expect("it is stopped");
            }
            is_write(stop)
        });
        let Some(said) = said else { return };
        assert_eq!(said, "", "no write was made");
    }

    #[test]
    fn a_length_is_cut_and_the_program_goes_on_with_the_rest() {
        let mut writes = 0;
        let said = cat("hello", |thread, stop| {
            if is_write(stop) {
                writes += 1;
                set_third_argument(thread, 1).expect("it is stopped");
            }
            false
        });
        let Some(said) = said else { return };
        assert_eq!((said.as_str(), writes), ("hello", 5), "cat writes the rest of a short write");
    }

    /// The state of a process in /proc: `t` and `T` are those of one that is stopped.
    fn is_stopped(process: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it has not ended");
        let (_, after_name) = stat.rsplit_once(')').expect("its name is in parentheses");
        matches!(after_name.trim_start().chars().next(), Some('t' | 'T'))
    }

    #[test]
    fn a_process_that_sigstop_stopped_stays_so_until_sigcont_and_then_goes_on() {
        let (mut calls, mut groups) = (0, 0);
        let said = cat("hello", |thread, stop| {
            match stop {
                Stop::Group => {
                    groups += 1;
                    let until = Instant::now() + Duration::from_secs(10);
                    while !is_stopped(thread) {
                        assert!(Instant::now() < until, "not within 10 s: /proc shows that it is stopped");
                        std::thread::yield_now();
                    }
                    kill(thread, Signal::SIGCONT).expect("a child of ours");
                }
                _ if calls == 0 => {
                    calls += 1;
                    kill(thread, Signal::SIGSTOP).expect("a child of ours");
                }
                _ => calls += 1,
            }
            false
        });
        let Some(said) = said else { return };
        assert_eq!((said.as_str(), groups), ("hello", 1), "it was stopped once, and goes on");
        assert!(calls > 1, "it makes calls after it");
    }
}
