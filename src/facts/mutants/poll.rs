//! Kernels that break a fact of `facts/poll/`.

use super::kinds::*;
use crate::sys::limits::Nofile;
use libc::{
    AF_UNIX, F_GETPIPE_SZ, O_ACCMODE, O_PATH, O_RDONLY, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI,
    SOCK_DGRAM, SOCK_STREAM,
};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "poll-negative-is-nval",
        breaks: "poll-negative-fd-ignored",
        behaviour: "An entry with a negative descriptor gets NVAL and is counted, as one for a number that is not open.",
        kernel: &Gains(POLLNVAL, |entry| entry.fd < 0),
    },
    Mutant {
        name: "poll-ebadf",
        breaks: "poll-closed-fd-nval",
        behaviour: "poll fails with EBADF when one descriptor is not open, as select does.",
        kernel: &instead::poll(|mut fds, timeout| {
            let n = raw::poll(fds.again(), timeout)?;
            match fds {
                At::Memory(entries) if entries.iter().any(|entry| entry.revents & POLLNVAL != 0) => {
                    no(Errno::EBADF)
                }
                _ => Ok(n),
            }
        }),
    },
    Mutant {
        name: "poll-nval-by-request",
        breaks: "poll-nval-not-requestable",
        behaviour: "NVAL that is asked for is reported: a kernel that takes the flag for one of the caller's.",
        kernel: &Gains(POLLNVAL, |entry| entry.events & POLLNVAL != 0),
    },
    Mutant {
        name: "poll-masks-errors",
        breaks: "poll-err-hup-unmaskable",
        behaviour: "An entry that asks for nothing gets neither ERR nor HUP, as people expect.",
        kernel: &Loses(POLLERR | POLLHUP, |entry| entry.events == 0),
    },
    Mutant {
        name: "poll-without-limit",
        breaks: "poll-nfds-over-rlimit-einval",
        behaviour: "poll takes an array of any length, whatever RLIMIT_NOFILE is.",
        kernel: &instead::poll(|fds, timeout| {
            let limit = Nofile::current().map_or(usize::MAX, |nofile| nofile.soft as usize);
            match fds {
                At::Memory(entries) if entries.len() > limit => {
                    for part in entries.chunks_mut(limit.max(1)) {
                        raw::poll(At::from(part), 0)?;
                    }
                    Ok(ready(entries))
                }
                fds => raw::poll(fds, timeout),
            }
        }),
    },
    Mutant {
        name: "poll-duplicates-once",
        breaks: "poll-duplicate-entries",
        behaviour: "A descriptor is reported in its first entry only, as by a kernel that makes a set of the array.",
        kernel: &instead::poll(|mut fds, timeout| {
            let n = raw::poll(fds.again(), timeout)?;
            let At::Memory(entries) = fds else { return Ok(n) };
            for index in 1..entries.len() {
                let (before, rest) = entries.split_at_mut(index);
                if before.iter().any(|entry| entry.fd == rest[0].fd) {
                    rest[0].revents = 0;
                }
            }
            Ok(ready(entries))
        }),
    },
    Mutant {
        name: "poll-writes-ready-only",
        breaks: "poll-revents-overwritten",
        behaviour: "revents of an entry that is not ready stay as they were, as those of epoll_wait's array do.",
        kernel: &instead::poll(|mut fds, timeout| {
            let before = revents_of(&fds);
            let n = raw::poll(fds.again(), timeout)?;
            if let At::Memory(entries) = fds {
                for (entry, old) in entries.iter_mut().zip(before).filter(|(entry, _)| entry.revents == 0) {
                    entry.revents = old;
                }
            }
            Ok(n)
        }),
    },
    Mutant {
        name: "poll-eintr-writes-nothing",
        breaks: "poll-revents-written-on-eintr",
        behaviour: "poll that fails leaves revents as they were, as people expect of a call that fails.",
        kernel: &instead::poll(|mut fds, timeout| {
            let before = revents_of(&fds);
            let reply = raw::poll(fds.again(), timeout);
            if let (Err(_), At::Memory(entries)) = (&reply, fds) {
                for (entry, old) in entries.iter_mut().zip(before) {
                    entry.revents = old;
                }
            }
            reply
        }),
    },
    Mutant {
        name: "poll-takes-events",
        breaks: "poll-events-never-written",
        behaviour: "What is reported is taken out of events, as a one-shot entry of epoll is switched off.",
        kernel: &Changed(|entry| entry.events &= !entry.revents),
    },
    Mutant {
        name: "poll-timeout-einval",
        breaks: "poll-negative-timeout-infinite",
        behaviour: "A timeout below -1 gives EINVAL, as the manual of macOS says.",
        kernel: &instead::poll(
            |fds, timeout| if timeout < -1 { no(Errno::EINVAL) } else { raw::poll(fds, timeout) },
        ),
    },
    Mutant {
        name: "poll-early",
        breaks: "poll-never-early",
        behaviour: "The millisecond that has begun counts as one, so that the wait is up to one too short.",
        kernel: &instead::poll(|fds, timeout| {
            raw::poll(fds, if timeout > 0 { timeout - 1 } else { timeout })
        }),
    },
    Mutant {
        name: "epoll-wait-early",
        breaks: "poll-never-early",
        behaviour: "epoll_wait does so: the millisecond that has begun counts as one.",
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| {
            raw::epoll_wait(epoll, events, max, if timeout > 0 { timeout - 1 } else { timeout })
        }),
    },
    Mutant {
        name: "poll-refuses-files",
        breaks: "poll-regular-file",
        behaviour: "A file that nobody can wait for gets NVAL, as epoll_ctl refuses it with EPERM.",
        kernel: &Changed(|entry| {
            if is_unpollable(entry.fd) {
                entry.revents = POLLNVAL;
            }
        }),
    },
    Mutant {
        name: "poll-sysfs-is-a-file",
        breaks: "poll-sysfs-read-first",
        behaviour: "A file of sysfs has neither PRI nor ERR before its first read, as other files, and as people expect.",
        kernel: &Loses(POLLPRI | POLLERR, |entry| {
            const ALL: i16 = POLLIN | POLLOUT | POLLPRI | POLLERR;
            entry.revents & ALL == ALL
        }),
    },
    Mutant {
        name: "inotify-short-read-is-end",
        breaks: "poll-inotify-short-read",
        behaviour: "read of an inotify descriptor with too little room gives 0, as before Linux 2.6.21.",
        kernel: &instead::read(|fd, buffer| {
            let read = raw::read(fd, buffer);
            if read == no(Errno::EINVAL) { Ok(0) } else { read }
        }),
    },
    Mutant {
        name: "poll-takes-opath",
        breaks: "poll-opath-nval",
        behaviour: "A descriptor that was opened with O_PATH is IN+OUT, as any other of that file.",
        kernel: &Changed(|entry| {
            if flags(entry.fd) & O_PATH != 0 {
                entry.revents = entry.events & (POLLIN | POLLOUT);
            }
        }),
    },
    Mutant {
        name: "poll-pipe-both-ways",
        breaks: "poll-wrong-pipe-end-silent",
        behaviour: "The reading end of a pipe has OUT too, as on systems whose pipes go both ways (FreeBSD).",
        kernel: &Gains(POLLOUT, |entry| is_reading_end(entry.fd) && entry.revents & POLLHUP == 0),
    },
    Mutant {
        name: "poll-pipe-eof-has-in",
        breaks: "poll-pipe-eof-is-hup-only",
        behaviour: "The reading end of a pipe without writers is IN+HUP, since read does not wait.",
        kernel: &Gains(POLLIN, |entry| is_reading_end(entry.fd) && entry.revents & POLLHUP != 0),
    },
    Mutant {
        name: "poll-pipe-hup-hides-data",
        breaks: "poll-pipe-data-then-eof",
        behaviour: "HUP takes the place of IN when the last writer has gone, although there is something to read.",
        kernel: &Loses(POLLIN, |entry| is_reading_end(entry.fd) && entry.revents & POLLHUP != 0),
    },
    Mutant {
        name: "poll-pipe-broken-is-hup",
        breaks: "poll-pipe-broken-writer",
        behaviour: "The writing end of a pipe without readers has HUP instead of ERR, as the reading end has.",
        kernel: &Changed(|entry| {
            if is_writing_end(entry.fd) && entry.revents & POLLERR != 0 {
                entry.revents = entry.revents & !POLLERR | POLLHUP;
            }
        }),
    },
    Mutant {
        name: "poll-fifo-hup-before-writer",
        breaks: "poll-fifo-never-opened-for-write",
        behaviour: "A FIFO without a writer has HUP, also before the first one: whenever read gives 0.",
        kernel: &Gains(POLLHUP, |entry| {
            // Nothing can be read, so that this read takes nothing; it does not wait.
            let has_nothing = entry.events & POLLIN != 0 && entry.revents == 0;
            let waits = !is_reading_end(entry.fd) || !is_nonblocking(entry.fd);
            has_nothing && !waits && raw::read(entry.fd, &mut [0]) == Ok(0)
        }),
    },
    Mutant {
        name: "poll-fifo-hup-stays",
        breaks: "poll-fifo-hup-cleared-by-new-writer",
        behaviour: "HUP of a pipe stays for good, as that of a socket does.",
        kernel: &Gains(POLLHUP, |entry| {
            if is_reading_end(entry.fd) && entry.revents & POLLHUP != 0 {
                mark(entry.fd);
            }
            is_marked(entry.fd)
        }),
    },
    Mutant {
        name: "poll-fifo-rdwr-hup",
        breaks: "poll-fifo-rdwr-no-hup",
        behaviour: "A FIFO that was opened with O_RDWR has HUP when another writer closes it, as people expect.",
        kernel: &Gains(POLLHUP, |entry| {
            let both = flags(entry.fd) & O_ACCMODE == libc::O_RDWR;
            is_pipe(entry.fd) && both && entry.revents & POLLIN != 0
        }),
    },
    Mutant {
        name: "poll-pipe-out-for-a-byte",
        breaks: "poll-pipe-out-needs-free-slot",
        behaviour: "A pipe has OUT for as long as there are fewer bytes in it than its size, as people expect.",
        kernel: &Gains(POLLOUT, has_room_for_a_byte),
    },
    Mutant {
        name: "poll-pipe-out-after-any-read",
        breaks: "poll-pipe-full-read-under-page-no-out",
        behaviour: "A full pipe has OUT again once a byte has been read from it, as a ring of bytes would.",
        kernel: &Gains(POLLOUT, has_room_for_a_byte),
    },
    Mutant {
        name: "poll-tcp-fresh-out",
        breaks: "poll-tcp-fresh-out-hup",
        behaviour: "A TCP socket that never had a connection is OUT: nobody has hung up.",
        kernel: &Loses(POLLHUP, |entry| {
            // One whose two sides are closed has IN too.
            entry.revents == POLLOUT | POLLHUP && tcp_state(entry.fd).is_some()
        }),
    },
    Mutant {
        name: "poll-datagram-without-peer-hup",
        breaks: "poll-unix-fresh-out-hup",
        behaviour: "An AF_UNIX datagram socket without a peer is OUT+HUP, as a stream socket is.",
        kernel: &Gains(POLLHUP, |entry| {
            is_socket(entry.fd, AF_UNIX, SOCK_DGRAM) && raw::getpeername(entry.fd) == no(Errno::ENOTCONN)
        }),
    },
    Mutant {
        name: "poll-listener-stays-hup",
        breaks: "poll-listener-idle-zero",
        behaviour: "An AF_UNIX listener stays OUT+HUP, as the socket was before listen.",
        kernel: &Gains(POLLOUT | POLLHUP, |entry| {
            entry.revents == 0 && is_socket(entry.fd, AF_UNIX, SOCK_STREAM) && is_listener(entry.fd)
        }),
    },
    Mutant {
        name: "poll-listener-in-once",
        breaks: "poll-listener-pending-in",
        behaviour: "A listener from which a connection was accepted is not IN for those that came before that; people \
                    who accept one at a time under EPOLLET expect the opposite.",
        kernel: &Table {
            accept4: |fd, flags| {
                mark(fd);
                raw::accept4(fd, flags)
            },
            poll: |fds, timeout| Loses(POLLIN, |entry| is_marked(entry.fd)).poll(fds, timeout),
            ..Table::LINUX
        },
    },
    Mutant {
        name: "poll-connecting-stays-hup",
        breaks: "poll-tcp-connecting-zero",
        behaviour: "A TCP socket that connects is OUT+HUP until it is connected, as a fresh one is.",
        kernel: &Gains(POLLOUT | POLLHUP, |entry| entry.revents == 0 && is_syn_sent(entry.fd)),
    },
];

fn is_pipe(fd: i32) -> bool {
    raw::fcntl(fd, F_GETPIPE_SZ, 0).is_ok()
}

fn is_reading_end(fd: i32) -> bool {
    is_pipe(fd) && flags(fd) & O_ACCMODE == O_RDONLY
}

fn is_writing_end(fd: i32) -> bool {
    is_pipe(fd) && !is_reading_end(fd)
}

/// Whether it is the writing end of a pipe with fewer bytes in it than its size.
fn has_room_for_a_byte(entry: &pollfd) -> bool {
    let mut bytes = 0;
    is_writing_end(entry.fd)
        && raw::ioctl(entry.fd, libc::FIONREAD, &mut bytes).is_ok()
        && raw::fcntl(entry.fd, F_GETPIPE_SZ, 0).is_ok_and(|size| bytes < size)
}

/// revents as they are before a call.
fn revents_of(fds: &At<'_, pollfd>) -> Vec<i16> {
    match fds {
        At::Memory(entries) => entries.iter().map(|entry| entry.revents).collect(),
        At::Nowhere(..) => Vec::new(),
    }
}
