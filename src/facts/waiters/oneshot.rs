//! EPOLLONESHOT: one event, then silence.

use crate::facts::support::*;
use libc::O_CLOEXEC;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "multi-oneshot-disables",
        claim: "EPOLLONESHOT gives one event, and then nothing for further data, HUP or ERR, until EPOLL_CTL_MOD.",
        reference: "epoll_ctl(2) EPOLLONESHOT; ep_send_events in fs/eventpoll.c leaves only private bits",
        matters: "A connection whose worker forgot to arm it again is lost without a trace, though its peer has hung up.",
        experiment: "A pipe end is added so; a byte comes, is reported; another comes, and the writer closes: nothing. The writing end of a pipe without \
                     readers likewise.",
        run: |k| {
            let epoll = epoll(k)?;
            let [reading, writing] = k.pipe2(O_CLOEXEC)?;
            add(k, epoll, reading, IN | ONESHOT)?;
            k.write(writing, b"x")?;
            is("the first byte", ready(k, epoll)?, vec![(reading, IN)])?;
            k.write(writing, b"x")?;
            is("the second byte", ready(k, epoll)?, vec![])?;
            k.close(writing)?;
            is("after the writer closed", ready(k, epoll)?, vec![])?;
            is("what poll says of it", mask(k, reading)?, IN | HUP)?;

            let [reading, writing] = k.pipe2(O_CLOEXEC)?;
            add(k, epoll, writing, OUT | ONESHOT)?;
            is("a pipe with room", ready(k, epoll)?, vec![(writing, OUT)])?;
            k.close(reading)?;
            is("after the reader closed", ready(k, epoll)?, vec![])?;
            modify(k, epoll, writing, OUT | ONESHOT)?;
            is("after MOD", ready(k, epoll)?, vec![(writing, OUT | ERR)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-oneshot-still-registered",
        claim: "After its event an EPOLLONESHOT entry stays: EPOLL_CTL_ADD gives EEXIST, and fdinfo shows its events as 40000000.",
        reference: "epoll_ctl(2) EPOLLONESHOT; proc_pid_fdinfo(5)",
        matters: "It is armed again with MOD, not with ADD.",
        experiment: "An entry fires, ADD is called, and /proc/self/fdinfo read.",
        run: |k| {
            let epoll = epoll(k)?;
            let [reading, writing] = k.pipe2(O_CLOEXEC)?;
            add(k, epoll, reading, IN | ONESHOT)?;
            k.write(writing, b"x")?;
            is("the byte", ready(k, epoll)?, vec![(reading, IN)])?;
            is("ADD of the entry that fired", add(k, epoll, reading, IN), no(Errno::EEXIST))?;
            match entry_in_fdinfo(epoll, reading)? {
                None => skip(Why::Oracle, "ADD gives EEXIST; but fdinfo lists no entries here"),
                entry => is("its events in fdinfo", entry, Some(ONESHOT)),
            }
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-oneshot-rearm-reports",
        claim: "EPOLL_CTL_MOD arms an EPOLLONESHOT entry again and reports at once what is still ready; MOD to EPOLLONESHOT alone still reports a HUP.",
        reference: "ep_modify in fs/eventpoll.c",
        matters: "A worker may arm an entry at any time: nothing that came in between is lost.",
        experiment: "An entry fires and is armed again without the byte having been read; then the writer closes and it is armed with no events.",
        run: |k| {
            let epoll = epoll(k)?;
            let [reading, writing] = k.pipe2(O_CLOEXEC)?;
            add(k, epoll, reading, IN | ONESHOT)?;
            k.write(writing, b"x")?;
            is("the byte", ready(k, epoll)?, vec![(reading, IN)])?;
            is("the byte, asked again", ready(k, epoll)?, vec![])?;
            modify(k, epoll, reading, IN | ONESHOT)?;
            is("the byte, after MOD", ready(k, epoll)?, vec![(reading, IN)])?;
            k.close(writing)?;
            modify(k, epoll, reading, ONESHOT)?;
            is(
                "after the writer closed and MOD to EPOLLONESHOT alone",
                ready(k, epoll)?,
                vec![(reading, HUP)],
            )
        },
        ..Fact::ALWAYS
    },
];
