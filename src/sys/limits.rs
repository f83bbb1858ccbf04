//! Limits of a process, above all how many descriptors it may have: getrlimit(2), `RLIMIT_NOFILE`. Over
//! `nix::sys::resource`.

#[cfg(feature = "uring")]
use super::eventfd::EventFd;
use super::{Call, cvt};
use crate::Result;
use nix::sys::resource::{getrlimit, setrlimit};
use std::fmt;
#[cfg(feature = "uring")]
use std::os::fd::{AsFd, AsRawFd};

pub use nix::sys::resource::Resource;

/// The limit on `resource` that holds now, in the unit of getrlimit(2): bytes, processes. `None` where it cannot be read.
#[must_use]
#[doc(alias = "getrlimit")]
pub fn soft(resource: Resource) -> Option<u64> {
    cvt(Call::Prlimit64, getrlimit(resource)).map(|(soft, _)| soft).ok()
}

/// Set the soft limit on descriptors of another process: prlimit(2). Those that it has open stay open.
///
/// # Errors
///
/// `ESRCH`, `EPERM`.
#[doc(hidden)]
#[doc(alias = "prlimit")]
pub fn set_soft_nofile_of(pid: super::fork::Pid, soft: u64) -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: with a null pointer for the new limit prlimit writes one `rlimit` to the old one, which is ours and lives until
    // the call returns.
    let read = unsafe { libc::prlimit(pid.as_raw(), libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
    cvt(Call::Prlimit64, super::Errno::result(read))?;
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: with a null pointer for the old limit prlimit reads one `rlimit` from the new one, which is ours and lives until
    // the call returns.
    let set =
        unsafe { libc::prlimit(pid.as_raw(), libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    cvt(Call::Prlimit64, super::Errno::result(set)).map(drop)
}

/// The limit on open descriptors of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nofile {
    /// What holds now.
    pub soft: u64,
    /// How far a process may raise it by itself.
    pub hard: u64,
}

impl Nofile {
    /// The limit that holds now.
    ///
    /// # Errors
    ///
    /// None in practice.
    #[doc(alias = "getrlimit")]
    pub fn current() -> Result<Nofile> {
        let (soft, hard) = cvt(Call::Prlimit64, getrlimit(Resource::RLIMIT_NOFILE))?;
        Ok(Nofile { soft, hard })
    }

    /// How many more descriptors this process can have now.
    ///
    /// Where there is no /proc, it assumes that no descriptor above the lowest free one is open.
    ///
    /// # Errors
    ///
    /// `EMFILE` when none is left.
    #[cfg(feature = "uring")]
    pub fn left(self) -> Result<u64> {
        let used = match std::fs::read_dir("/proc/self/fd") {
            Ok(names) => {
                let numbers = names.flatten().filter_map(|name| name.file_name().to_str()?.parse().ok());
                // One of them is that of the directory itself. Those above the limit were opened before it was lowered.
                numbers.filter(|&number: &u64| number < self.soft).count().saturating_sub(1) as u64
            }
            Err(_) => {
                let lowest = EventFd::new()?;
                lowest.as_fd().as_raw_fd() as u64
            }
        };
        Ok(self.soft.saturating_sub(used))
    }

    /// Raise the soft limit to the hard one where the system lets us, and return what holds then.
    ///
    /// Shells start with a soft limit of 1024 for the sake of select(2); a server that does not
    /// use it should do this first.
    ///
    /// # Errors
    ///
    /// None in practice.
    #[doc(alias = "setrlimit")]
    pub fn raise() -> Result<Nofile> {
        let now @ Nofile { soft, hard } = Nofile::current()?;
        if soft == hard {
            return Ok(now);
        }
        match cvt(Call::Prlimit64, setrlimit(Resource::RLIMIT_NOFILE, hard, hard)) {
            Ok(()) => Ok(Nofile { soft: hard, hard }),
            // A hard limit above fs.nr_open: no process can have it, and this one goes on without.
            Err(_) => Ok(now),
        }
    }
}

/// The limit and how to raise it, for error messages.
impl fmt::Display for Nofile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this process may hold {} descriptors (hard limit {}); raise it with `ulimit -n` in a root \
             shell, LimitNOFILE= of a systemd unit, or /etc/security/limits.conf",
            self.soft, self.hard
        )
    }
}
