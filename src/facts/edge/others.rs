//! Edges of eventfd and timerfd, and one descriptor in several entries.

use super::links::*;
use crate::facts::support::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "et-eventfd-any-op-is-an-edge",
        claim: "Each write to an eventfd is an edge, of 0 too, and on a counter that is not 0; so is each \
                read. A read that gives EAGAIN is none.",
        reference: "eventfd_write and eventfd_read in fs/eventfd.c always wake",
        matters: "An event loop can be woken again and again without its reading the counter; libuv does so. \
                  On a system that wakes only from 0 its second wake-up is lost.",
        experiment: "An eventfd with IN+OUT+EPOLLET: the first event is OUT. Write 1, write 1, write 0: \
                     IN+OUT after each. Read: OUT. Write 0: OUT. A read that gives EAGAIN: nothing.",
        wrong: &[
            "nanos: https://github.com/nanovms/nanos/issues/1470",
            "WSL1: https://github.com/microsoft/WSL/issues/2462",
            "Shadow: https://github.com/shadow/shadow/issues/2673",
            "tgoskits: https://github.com/rcore-os/tgoskits/issues/2235",
            "libuv, unsure whether it is a bug: https://github.com/libuv/libuv/issues/4400",
        ],
        run: |k| {
            let counter = k.eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)?;
            let epoll = watching(k, counter, IN | OUT | ET)?;
            is("events of a new eventfd", events(k, epoll)?, vec![OUT])?;
            let write = |n: u64| k.write(counter, &n.to_ne_bytes()).map(drop);
            for (n, on) in [(1, 0), (1, 1), (0, 2)] {
                write(n)?;
                is(
                    format!("events after a write of {n} on a counter of {on}"),
                    events(k, epoll)?,
                    vec![IN | OUT],
                )?;
                is("events of the wait after that", events(k, epoll)?, SILENT)?;
            }
            let mut value = [0; 8];
            k.read(counter, &mut value)?;
            is("the counter", u64::from_ne_bytes(value), 2)?;
            is("events after the read", events(k, epoll)?, vec![OUT])?;
            is("events of the wait after that", events(k, epoll)?, SILENT)?;
            write(0)?;
            is("events after a write of 0 on a counter of 0", events(k, epoll)?, vec![OUT])?;
            is("read of a counter of 0", k.read(counter, &mut value), no(Errno::EAGAIN))?;
            is("events after that read", events(k, epoll)?, SILENT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-timerfd-one-edge-until-read",
        claim: "A periodic timerfd gives one event with EPOLLET until it is read; the next expiry after that \
                gives another.",
        reference: "timerfd_read in fs/timerfd.c starts the timer again; until then it does not run",
        matters: "A loop that does not read its timer ticks once. The number that it reads later is that of \
                  all expiries, nevertheless.",
        experiment: "A period of 3 ms: one event comes. 18 ms go by in epoll_wait without another. read \
                     gives at least 6 expiries. Then one more event comes, and again none in 9 ms.",
        run: |k| {
            const PERIOD_NS: i64 = 3_000_000;
            let timer = k.timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC)?;
            let epoll = watching(k, timer, IN | ET)?;
            k.timerfd_settime(timer, PERIOD_NS, PERIOD_NS)?;
            is("the first expiry", events_soon(k, epoll)?, vec![IN])?;
            is("events within the next 18 ms", wait(k, epoll, 18)?.len(), 0)?;
            let mut value = [0; 8];
            k.read(timer, &mut value)?;
            let expiries = u64::from_ne_bytes(value);
            holds("at least 6 expiries are read", expiries >= 6, expiries)?;
            is("the expiry after the read", events_soon(k, epoll)?, vec![IN])?;
            is("events within the next 9 ms", wait(k, epoll, 9)?.len(), 0)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-two-epolls-two-edges",
        claim: "A descriptor in two epoll instances gives each of them its own event, with EPOLLET too; a \
                descriptor and its dup in one instance give two.",
        reference: "epoll(7) Q1 and Q2",
        matters: "To watch one socket from two threads, each with an instance of its own, wakes both: it \
                  shares no load.",
        experiment: "The reader of a pipe is in two instances, and a dup of it in the second. A byte is \
                     written: one event of the first, two of the second; then none.",
        run: |k| {
            let link = link(k, "a pipe")?;
            let copy = k.dup(link.reader)?;
            let (first, second) = (watching(k, link.reader, IN | ET)?, watching(k, link.reader, IN | ET)?);
            add(k, second, copy, IN | ET)?;
            for write in ["first", "second"] {
                link.write(k, b"x")?;
                let what = format!("after the {write} write");
                is(format!("the first instance {what}"), events(k, first)?, vec![IN])?;
                let mut both: Vec<_> = ready(k, second)?
                    .into_iter()
                    .map(|(fd, events)| (if fd == copy { "the dup" } else { "the reader" }, events))
                    .collect();
                both.sort_unstable_by_key(|(name, _)| *name);
                let expected = vec![("the dup", IN), ("the reader", IN)];
                is(format!("the second instance, with the dup, {what}"), both, expected)?;
                is(format!("the first instance, at the next wait {what}"), events(k, first)?, SILENT)?;
                is(format!("the second instance, at the next wait {what}"), events(k, second)?, SILENT)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];
