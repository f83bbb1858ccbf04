//! EPOLLONESHOT: one event, then silence.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "multi-oneshot-disables",
        claim: "EPOLLONESHOT gives one event, and then nothing for further data, HUP or ERR, until EPOLL_CTL_MOD.",
        reference: "epoll_ctl(2) EPOLLONESHOT; ep_send_events in fs/eventpoll.c leaves only private bits",
        matters: "A connection whose worker forgot to arm it again is lost without a trace, though its peer has hung up.",
        experiment: "A pipe end is added so; a byte comes, is reported; another comes, and the writer \
                     closes: nothing. The writing end of a pipe without readers likewise.",
        wrong: &["Shadow: https://github.com/shadow/shadow/issues/349"],
        run: |k| {
            step("the reading end", || {
                let (epoll, (reading, writing)) = watched_pipe(k, IN | ONESHOT)?;
                k.write(writing, b"x")?;
                is("the first byte", ready(k, epoll)?, vec![(reading, IN)])?;
                k.write(writing, b"x")?;
                is("the second byte", ready(k, epoll)?, vec![])?;
                k.close(writing)?;
                is("after the writer closed", ready(k, epoll)?, vec![])?;
                is("what poll says of it", mask_of(k, reading, IN)?, IN | HUP)
            });
            let (epoll, (reading, writing)) = (epoll(k)?, pipe(k)?);
            add(k, epoll, writing, OUT | ONESHOT)?;
            is("the writing end, with room", ready(k, epoll)?, vec![(writing, OUT)])?;
            k.close(reading)?;
            is("the writing end, after the reader closed", ready(k, epoll)?, vec![])?;
            modify(k, epoll, writing, OUT | ONESHOT)?;
            is("the writing end, after MOD", ready(k, epoll)?, vec![(writing, OUT | ERR)])
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
            let (epoll, (reading, writing)) = watched_pipe(k, IN | ONESHOT)?;
            k.write(writing, b"x")?;
            noted(is("the byte", ready(k, epoll)?, vec![(reading, IN)]));
            let events = events_in_fdinfo(epoll);
            is("ADD of the entry that fired", add(k, epoll, reading, IN), no(Errno::EEXIST))?;
            is("its events in fdinfo", events?, ONESHOT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-oneshot-rearm-reports",
        claim: "EPOLL_CTL_MOD arms an EPOLLONESHOT entry again and reports at once what is still ready; MOD \
                to EPOLLONESHOT alone still reports a HUP.",
        reference: "ep_modify in fs/eventpoll.c",
        matters: "A worker may arm an entry at any time: nothing that came in between is lost.",
        experiment: "An entry fires and is armed again without the byte having been read; then the writer \
                     closes and it is armed with no events.",
        run: |k| {
            let (epoll, (reading, writing)) = watched_pipe(k, IN | ONESHOT)?;
            k.write(writing, b"x")?;
            is("the byte", ready(k, epoll)?, vec![(reading, IN)])?;
            is("the byte, asked again", ready(k, epoll)?, vec![])?;
            modify(k, epoll, reading, IN | ONESHOT)?;
            is("the byte, after MOD", ready(k, epoll)?, vec![(reading, IN)])?;
            k.close(writing)?;
            modify(k, epoll, reading, ONESHOT)?;
            let hung_up = vec![(reading, HUP)];
            is("after the writer closed and MOD to EPOLLONESHOT alone", ready(k, epoll)?, hung_up)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-oneshot-et-rearm",
        claim: "With EPOLLET and EPOLLONESHOT together what arrives after the event is reported by the MOD that arms the entry \
                again, once; a MOD when all was read reports nothing, and the next arrival does.",
        reference: "epoll(7) on EPOLLONESHOT; ep_modify in fs/eventpoll.c",
        matters: "It is the usual way to share a connection among threads. Where an edge that comes while \
                  the entry is disabled is lost, the connection hangs.",
        experiment: "A pipe, and an AF_UNIX pair: a byte, an event; a second byte, none; MOD, an event, \
                     none; both are read and MOD, none; a third byte, an event.",
        wrong: &[
            "Shadow: https://github.com/shadow/shadow/issues/349",
            "NuttX: https://github.com/apache/nuttx/pull/8871",
        ],
        run: |k| {
            for (kind, ends) in [("a pipe", pipe(k)), ("AF_UNIX", unix_pair(k))] {
                step(kind, || {
                    let ((reading, writing), epoll, flags) = (ends?, epoll(k)?, IN | ET | ONESHOT);
                    add(k, epoll, reading, flags)?;
                    k.write(writing, b"x")?;
                    is("the first byte", ready(k, epoll)?, vec![(reading, IN)])?;
                    k.write(writing, b"x")?;
                    is("the second byte, which comes while it is disabled", ready(k, epoll)?, vec![])?;
                    modify(k, epoll, reading, flags)?;
                    is("the first wait after MOD", ready(k, epoll)?, vec![(reading, IN)])?;
                    is("the second wait after MOD", ready(k, epoll)?, vec![])?;
                    k.read(reading, &mut [0; 8])?;
                    modify(k, epoll, reading, flags)?;
                    is("MOD with nothing to read", ready(k, epoll)?, vec![])?;
                    k.write(writing, b"x")?;
                    is("a byte after that", ready(k, epoll)?, vec![(reading, IN)])
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];
