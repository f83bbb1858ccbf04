//! What to do about an error of the kernel whose cause is known: the one place that maps an errno to a remedy.
//!
//! Limits, settings and sandboxes are the administrator's. An error that comes from them says so, and is never reported
//! as a fault of a server.

use crate::error::Error;
use crate::sys::limits::{Nofile, Resource, soft};
use crate::sys::{Call, Errno};
use std::io;
use std::net::SocketAddr;

/// What to do about `errno`, which `call` gave, if that is known (`None` for a call of the standard library).
#[must_use]
pub fn of(call: Option<Call>, errno: Errno) -> Option<String> {
    use Call::{Accept4, Bind, Clone, Connect, EpollCtl, IoUringRegister, IoUringSetup, MemfdCreate};
    let limit =
        |resource| soft(resource).map_or_else(|| "unknown".to_owned(), |bytes| format!("{bytes} bytes"));
    Some(match (call, errno) {
        (_, Errno::EMFILE) => {
            Nofile::current().map_or_else(|_| "raise `ulimit -n`".to_owned(), |limit| limit.to_string())
        }
        (_, Errno::ENFILE) => {
            "all programs together have the most descriptors that this system allows: end some, or raise \
                               `sysctl fs.file-max`"
                .to_owned()
        }
        (Some(IoUringSetup | IoUringRegister), Errno::ENOMEM) => format!(
            "the limit on locked memory is {}: raise `ulimit -l`, or use --engine epoll",
            limit(Resource::RLIMIT_MEMLOCK)
        ),
        (_, Errno::ENOMEM) => {
            "memory is used up, or `ulimit -v` or the control group allows no more of it".to_owned()
        }
        (Some(Connect), Errno::EADDRNOTAVAIL) => {
            "all local ports towards it are in use: give more --sources, or widen \
                                                  `sysctl net.ipv4.ip_local_port_range`"
                .to_owned()
        }
        (Some(Bind), Errno::EADDRNOTAVAIL) => {
            "it is not an address of this machine: `ip address` lists those".to_owned()
        }
        (_, Errno::EAFNOSUPPORT) => "IPv6 is off on this machine: use an IPv4 address".to_owned(),
        (Some(Clone) | None, Errno::EAGAIN) => {
            "no more threads or processes are allowed: raise `ulimit -u` or pids.max of \
                                                the control group, or ask for fewer"
                .to_owned()
        }
        (Some(EpollCtl), Errno::ENOSPC) => "epoll watches as much as this user may: raise `sysctl \
                                            fs.epoll.max_user_watches`"
            .to_owned(),
        (_, Errno::ENOSPC) => "is the disk full? `df` shows how full each is".to_owned(),
        (_, Errno::EDQUOT) => "the quota of this user on this disk is used up: `quota` shows it".to_owned(),
        (_, Errno::EFBIG) => {
            format!("the limit on the size of a file is {}: raise `ulimit -f`", limit(Resource::RLIMIT_FSIZE))
        }
        (_, Errno::EROFS) => "the file system is mounted read-only: write somewhere else".to_owned(),
        (Some(IoUringSetup), Errno::EPERM) => {
            "io_uring is forbidden here (`sysctl kernel.io_uring_disabled`, or a sandbox \
                                               such as that of containers): use --engine epoll"
                .to_owned()
        }
        (Some(Accept4 | MemfdCreate), Errno::EACCES) | (_, Errno::EPERM) => {
            "a sandbox (seccomp, a container, a security module) may forbid this call".to_owned()
        }
        (Some(_), Errno::ENOSYS) => "this kernel does not have the call, or a sandbox hides it".to_owned(),
        _ => return None,
    })
}

/// What to do about `errno` for a server that was to listen on `addr`, if that is known.
#[must_use]
pub fn to_listen_on(addr: SocketAddr, errno: Errno) -> Option<String> {
    let (ip, port) = (addr.ip(), addr.port());
    Some(match errno {
        Errno::EADDRINUSE => format!(
            "port {port} is in use: choose another, or 0 for a free one (`ss -ltnp` shows who has it)"
        ),
        Errno::EACCES => format!(
            "port {port} is privileged: choose one from 1024 up, or 0 for a free one, or give the program \
             CAP_NET_BIND_SERVICE"
        ),
        Errno::EADDRNOTAVAIL => format!("{ip} is not an address of this machine: `ip address` lists those"),
        _ => return of(Some(Call::Bind), errno),
    })
}

/// An error and its causes in one line.
#[must_use]
pub fn in_words(error: &anyhow::Error) -> String {
    // The message of a failed call says its errno; its cause is that errno once more.
    let call = error.chain().position(|cause| cause.is::<Error>()).unwrap_or(usize::MAX);
    let causes: Vec<_> = error.chain().take(call.saturating_add(1)).map(ToString::to_string).collect();
    causes.join(": ")
}

/// An error and its causes in one line, with the remedy if there is one.
#[must_use]
pub fn explain(error: &anyhow::Error) -> String {
    let line = in_words(error);
    match error.chain().find_map(of_cause) {
        // Somebody has told it already.
        Some(remedy) if !line.contains(&remedy) => format!("{line}; {remedy}"),
        _ => line,
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(Error::Call { call, source, .. }) = cause.downcast_ref() {
        return of(Some(*call), *source);
    }
    of(None, Errno::from_raw(cause.downcast_ref::<io::Error>()?.raw_os_error()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn refused(call: Call, source: Errno) -> anyhow::Error {
        Error::Call { call, fd: None, source }.into()
    }

    #[test]
    fn one_errno_of_two_calls_has_two_remedies() {
        assert!(explain(&refused(Call::Bind, Errno::EADDRNOTAVAIL)).contains("ip address"));
        assert!(explain(&refused(Call::Connect, Errno::EADDRNOTAVAIL)).contains("--sources"));
        assert!(explain(&refused(Call::EpollCtl, Errno::ENOSPC)).contains("max_user_watches"));
    }

    #[test]
    fn the_remedy_stands_behind_the_error_once_however_deep_its_cause_is() {
        let error = Err::<(), _>(io::Error::from(Errno::EFBIG)).context("cannot write a log").unwrap_err();
        let line = explain(&error);
        assert!(line.starts_with("cannot write a log: File too large (os error 27); the limit on"), "{line}");
        let told = anyhow::anyhow!(line.clone());
        assert_eq!(explain(&told), line);
    }

    #[test]
    fn an_error_without_a_known_cause_stays_as_it_is() {
        let refused = refused(Call::Read, Errno::EIO).context("no luck");
        assert_eq!(explain(&refused), "no luck: read: Input/output error (os error 5)");
    }
}
