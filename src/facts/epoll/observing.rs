//! What can be seen of an epoll instance: its own readiness, /proc, kcmp, the parameters of busy polling.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-fd-is-pollable",
        claim: "The epoll descriptor itself has IN while some entry is ready, and nothing otherwise. read \
                and write on it are EINVAL.",
        reference: "epoll(7) Q4; ep_eventpoll_poll in fs/eventpoll.c",
        matters: "One event loop can be put into another: a library's into the program's.",
        experiment: "An instance is polled while it is empty, with an empty pipe, with a byte in the pipe, \
                     and when that is read; then it is read from and written to.",
        run: |k| {
            let ep = epoll(k)?;
            is("an empty instance", mask(k, ep)?, NONE)?;
            let (r, w) = pipe(k)?;
            add(k, ep, r, IN)?;
            is("an instance with an empty pipe", mask(k, ep)?, NONE)?;
            k.write(w, b"x")?;
            is("an instance with a readable pipe", mask(k, ep)?, IN)?;
            k.read(r, &mut [0])?;
            is("an instance whose pipe was read from", mask(k, ep)?, NONE)?;
            is("read from an epoll descriptor", k.read(ep, &mut [0; 16]), no(Errno::EINVAL))?;
            is("write to an epoll descriptor", k.write(ep, b"x"), no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-fdinfo-lists-entries",
        claim: "/proc/self/fdinfo of an epoll descriptor has one `tfd:` line for each entry, with its events \
                in hexadecimal, including the EPOLLERR and EPOLLHUP that were not asked for.",
        reference: "proc_pid_fdinfo(5); ep_show_fdinfo in fs/eventpoll.c",
        since: Since(3, 8),
        matters: "It shows what a stuck program waits for, and which entries it has forgotten, from outside.",
        experiment: "A pipe and an eventfd are added; fdinfo is read; one is removed, and it is read again.",
        run: |k| {
            let (ep, (r, _w)) = (epoll(k)?, pipe(k)?);
            let event = k.eventfd(0, libc::EFD_CLOEXEC)?;
            let entries = || -> Held<Vec<(i32, Events)>> {
                let mut entries = entries_in_fdinfo(ep)?;
                entries.sort_unstable_by_key(|(fd, _)| *fd);
                Ok(entries)
            };
            let (pipe_entry, event_entry) = ((r, IN | ERR | HUP), (event, OUT | ERR | HUP | ET));
            add(k, ep, r, IN)?;
            is("a pipe, IN asked for", entries()?, vec![pipe_entry])?;
            add(k, ep, event, OUT | ET)?;
            is("an eventfd too, OUT+ET asked for", entries()?, vec![pipe_entry, event_entry])?;
            delete(k, ep, r)?;
            is("once the pipe was removed", entries()?, vec![event_entry])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-kcmp-finds-target",
        claim: "kcmp with KCMP_EPOLL_TFD gives 0 for a descriptor of the file that is registered, also under another number, \
                something else for another file, and ENOENT for an entry that does not exist.",
        reference: "kcmp(2); get_epoll_tfile_raw_ptr in fs/eventpoll.c",
        since: Since(4, 13),
        matters: "Numbers alone do not tell which file an entry is about: it may have been closed, and the \
                  number used again. Checkpointing needs to know.",
        experiment: "A pipe's reading end is added; it, a dup of it and the other end are compared with the entry; then an \
                     offset and a number that are not there, and the entry once more after it was removed.",
        run: |k| {
            let (ep, (r, w)) = watched_pipe(k, IN)?;
            let copy = k.dup(r)?;
            let compare = |fd, number, offset| k.kcmp_epoll_target(fd, ep, number, offset);
            let same = compare(r, r, 0)?;
            is("a pipe with its entry", same, 0)?;
            is("a dup of the pipe with that entry", compare(copy, r, 0), Ok(0))?;
            let other = compare(w, r, 0)?;
            holds("the other end with that entry is 1 or 2", [1, 2].contains(&other), other)?;
            k.close(copy)?;
            is("the second entry of that number", compare(r, r, 1), no(Errno::ENOENT))?;
            is("a number that was not added", compare(w, w, 0), no(Errno::ENOENT))?;
            delete(k, ep, r)?;
            is("an entry that was removed", compare(r, r, 0), no(Errno::ENOENT))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-wakeup-flag-dropped",
        claim: "EPOLLWAKEUP without CAP_BLOCK_SUSPEND is accepted and dropped in silence: fdinfo does not have it.",
        reference: "epoll_ctl(2); ep_take_care_of_epollwakeup in fs/eventpoll.c",
        since: Since(3, 5),
        matters: "A program that relies on it to keep a machine awake gets no error, and the machine sleeps.",
        experiment: "A process that has no such capability, or gives it up, adds a pipe with the flag, and reads fdinfo.",
        run: |k| {
            give_up(CAP_BLOCK_SUSPEND)?;
            let (ep, (r, w)) = (epoll(k)?, pipe(k)?);
            is("EPOLL_CTL_ADD with EPOLLWAKEUP", add(k, ep, r, IN | WAKEUP), Ok(()))?;
            k.write(w, b"x")?;
            is("the event of that entry", ready(k, ep)?, vec![(r, IN)])?;
            is("the events of that entry in fdinfo", events_in_fdinfo(ep)?, IN | ERR | HUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-busy-poll-params",
        claim: "EPIOCGPARAMS of a new instance gives zeros, and later what EPIOCSPARAMS has set. A pad that is \
                not 0, prefer_busy_poll above 1 and more than i32::MAX us are EINVAL; a budget above 64 without \
                CAP_NET_ADMIN is EPERM. What is refused changes nothing.",
        reference: "ioctl_eventpoll(2); ep_eventpoll_bp_ioctl in fs/eventpoll.c; commit 18e2bf0edf4d",
        since: Since(6, 9),
        matters: "Servers that poll the network card instead of waiting for its interrupts set this for each \
                  instance. An array that was not zeroed before it was filled is refused.",
        experiment: "The parameters of a new instance; 40 us, 8 packets, preferred; then each of the wrong \
                     values; then a budget of 65 by a process without the capability; and what is set then.",
        run: |k| {
            let ep = epoll(k)?;
            let get = || -> Reply<[u8; 8]> {
                let mut all = [0xff; 8];
                k.epoll_params(ep, &mut all).map(|()| all)
            };
            let at_first = get();
            if at_first == no(Errno::EOPNOTSUPP) {
                return skip(Why::Missing, "this kernel is built without busy polling");
            }
            if at_first == no(Errno::ENOTTY) {
                return skip(Why::Missing, "EPIOCGPARAMS gives ENOTTY: this kernel does not have it");
            }
            is("the parameters of a new instance", at_first, Ok(params(0, 0, 0, 0)))?;
            is("setting 40 us, 8 packets, preferred", k.set_epoll_params(ep, &params(40, 8, 1, 0)), Ok(()))?;
            is("the parameters then", get(), Ok(params(40, 8, 1, 0)))?;
            let largest = params(i32::MAX as u32, 64, 0, 0);
            is("setting i32::MAX us and 64 packets", k.set_epoll_params(ep, &largest), Ok(()))?;
            for (what, wrong) in [
                ("a pad of 1", params(40, 8, 0, 1)),
                ("prefer_busy_poll of 2", params(40, 8, 2, 0)),
                ("i32::MAX + 1 us", params(1 << 31, 8, 0, 0)),
            ] {
                noted(is(format!("setting {what}"), k.set_epoll_params(ep, &wrong), no(Errno::EINVAL)));
                noted(is(format!("the parameters after setting {what}"), get(), Ok(largest)));
            }
            step("without CAP_NET_ADMIN", || {
                give_up(CAP_NET_ADMIN)?;
                is("setting 65 packets", k.set_epoll_params(ep, &params(40, 65, 0, 0)), no(Errno::EPERM))
            });
            is("the parameters in the end", get(), Ok(largest))
        },
        ..Fact::ALWAYS
    },
];

const CAP_NET_ADMIN: u32 = 12;
const CAP_BLOCK_SUSPEND: u32 = 36;

/// `struct epoll_params` as it lies in memory.
fn params(usecs: u32, budget: u16, prefer: u8, pad: u8) -> [u8; 8] {
    let ([a, b, c, d], [e, f]) = (usecs.to_ne_bytes(), budget.to_ne_bytes());
    [a, b, c, d, e, f, prefer, pad]
}
