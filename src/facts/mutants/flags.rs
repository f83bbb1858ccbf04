//! Kernels that break a fact of `facts/flags.rs`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, Refusal, Reply};
use libc::{F_GETFL, F_SETFL};
use std::collections::BTreeMap;
use std::sync::Mutex;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nonblock-per-descriptor",
        breaks: "fl-nonblock-is-per-description",
        behaviour: "O_NONBLOCK belongs to the descriptor, as is often believed.",
        also: &[],
        kernel: &NonblockPerDescriptor,
    },
    Mutant {
        name: "procfd-open-is-dup",
        breaks: "fl-procfd-reopen-is-new-description",
        behaviour: "Opening /proc/self/fd/N duplicates the descriptor, as /dev/fd/N does on other systems.",
        also: &[],
        kernel: &ProcfdIsDup,
    },
    Mutant {
        name: "setfl-refuses-access-bits",
        breaks: "fl-setfl-ignores-access-bits",
        behaviour: "F_SETFL gives EINVAL for an access mode, which the manual page lets one hope for.",
        also: &[],
        kernel: &SetflRefuses,
    },
    Mutant {
        name: "regular-file-eagain",
        breaks: "fl-regular-file-ignores-nonblock",
        behaviour: "A read of a file with O_NONBLOCK that has nothing gives EAGAIN.",
        also: &[],
        kernel: &FileEagain,
    },
];

/// What F_SETFL was told, by descriptor.
static FLAGS: Mutex<BTreeMap<i32, i32>> = Mutex::new(BTreeMap::new());

struct NonblockPerDescriptor;

impl Kernel for NonblockPerDescriptor {
    fn fcntl(&self, fd: i32, command: i32, argument: i32) -> Reply<i32> {
        let done = raw::fcntl(fd, command, argument)?;
        let Ok(mut flags) = FLAGS.lock() else { return Ok(done) };
        match command {
            F_SETFL => drop(flags.insert(fd, argument)),
            F_GETFL => return Ok(flags.get(&fd).copied().unwrap_or(done & !libc::O_NONBLOCK)),
            _ => {}
        }
        Ok(done)
    }
}

struct ProcfdIsDup;

impl Kernel for ProcfdIsDup {
    fn open(&self, path: &str, flags: i32) -> Reply<i32> {
        match path.strip_prefix("/proc/self/fd/").and_then(|number| number.parse().ok()) {
            Some(fd) => raw::dup(fd).and_then(|fd| raw::fcntl(fd, F_SETFL, flags).map(|_| fd)),
            None => raw::open(path, flags),
        }
    }
}

struct SetflRefuses;

impl Kernel for SetflRefuses {
    fn fcntl(&self, fd: i32, command: i32, argument: i32) -> Reply<i32> {
        if command == F_SETFL && argument & libc::O_CREAT != 0 {
            return Err(Refusal { call: "fcntl", errno: Errno::EINVAL });
        }
        raw::fcntl(fd, command, argument)
    }
}

struct FileEagain;

impl Kernel for FileEagain {
    fn read(&self, fd: i32, buffer: &mut [u8]) -> Reply<usize> {
        match raw::read(fd, buffer)? {
            0 if raw::fcntl(fd, F_GETFL, 0)? & libc::O_NONBLOCK != 0 => {
                Err(Refusal { call: "read", errno: Errno::EAGAIN })
            }
            n => Ok(n),
        }
    }
}
