//! Pseudoterminals.

use super::{Reply, done, ioctl, number, open};

/// A pseudoterminal in raw mode, unlocked, both ends blocking: the master, the slave. Neither becomes the
/// controlling terminal.
pub(crate) fn pty_pair() -> Reply<[i32; 2]> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let master = open("/dev/ptmx", flags)?;
    ioctl(master, libc::TIOCSPTLCK, &mut 0)?;
    // SAFETY: the argument of this request is a number, the flags to open the slave with.
    let slave = number("ioctl", unsafe { libc::ioctl(master, libc::TIOCGPTPEER, flags) })?;
    // SAFETY: all-zero bytes are a value of `termios`, which consists of numbers.
    let mut mode: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the mode is live, and written.
    done("tcgetattr", unsafe { libc::tcgetattr(slave, &raw mut mode) })?;
    // SAFETY: the mode is live, and changed in place.
    unsafe { libc::cfmakeraw(&raw mut mode) };
    // SAFETY: the mode is live, and read.
    done("tcsetattr", unsafe { libc::tcsetattr(slave, libc::TCSANOW, &raw const mode) })?;
    Ok([master, slave])
}
