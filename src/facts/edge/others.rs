//! Edges of eventfd and timerfd, and one descriptor in several entries.

use super::links::*;
use super::*;

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
            for (n, on) in [(1u64, 0), (1, 1), (0, 2)] {
                k.write(counter, &n.to_ne_bytes())?;
                let what = format!("a write of {n} on a counter of {on}");
                is(format!("events after {what}"), events(k, epoll)?, vec![IN | OUT])?;
                is(format!("events of the second wait after {what}"), events(k, epoll)?, SILENT)?;
            }
            let mut value = [0; 8];
            k.read(counter, &mut value)?;
            is("the counter", u64::from_ne_bytes(value), 2)?;
            is("events after the read", events(k, epoll)?, vec![OUT])?;
            is("events of the second wait after the read", events(k, epoll)?, SILENT)?;
            k.write(counter, &[0; 8])?;
            is("events after a write of 0 on a counter of 0", events(k, epoll)?, vec![OUT])?;
            is("read of a counter of 0", k.read(counter, &mut value), no(Errno::EAGAIN))?;
            is("events after that read", events(k, epoll)?, SILENT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-eventfd-semaphore-rest-is-silent",
        claim: "A read of an eventfd with EFD_SEMAPHORE takes 1, and what is left is no edge for an entry that asks for IN \
                alone. One that asks for OUT too gets IN+OUT, because the read is an edge of the output.",
        reference: "eventfd(2); eventfd_read in fs/eventfd.c wakes with EPOLLOUT, which ep_poll_callback \
                    compares with what an entry asks for",
        matters: "Workers that take one token for each edge of such a semaphore leave the others in it, and sleep.",
        experiment: "A semaphore of 3 is watched with IN+EPOLLET and with IN+OUT+EPOLLET: one event each. 1 \
                     is read, twice, and both are asked after each; then 1 is written.",
        run: |k| {
            let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE;
            let semaphore = k.eventfd(3, flags)?;
            let (input, both) = (watching(k, semaphore, IN | ET)?, watching(k, semaphore, IN | OUT | ET)?);
            is("the first wait, asked for IN", events(k, input)?, vec![IN])?;
            is("the second wait, asked for IN", events(k, input)?, SILENT)?;
            is("the first wait, asked for IN and OUT", events(k, both)?, vec![IN | OUT])?;
            for left in [2, 1] {
                let mut value = [0; 8];
                k.read(semaphore, &mut value)?;
                is(format!("what is read while {left} are left"), u64::from_ne_bytes(value), 1)?;
                is(format!("with {left} left, asked for IN"), events(k, input)?, SILENT)?;
                is(format!("with {left} left, asked for IN and OUT"), events(k, both)?, vec![IN | OUT])?;
            }
            k.write(semaphore, &1u64.to_ne_bytes())?;
            is("after a write, asked for IN", events(k, input)?, vec![IN])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-timerfd-one-edge-until-read",
        claim: "A periodic timerfd gives one event with EPOLLET until it is read; the next expiry after that gives another.",
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
        gaps: &[PIPES_ONLY_FROM_EMPTY],
        matters: "To watch one socket from two threads, each with an instance of its own, wakes both: it shares no load.",
        experiment: "The reader of a pipe, and of an AF_UNIX pair, is in two instances, and a dup of it in the second. A byte is \
                     written: one event of the first, two of the second; then none. Another byte: the same.",
        run: |k| {
            each_of(k, &["a pipe", "AF_UNIX, stream"], |link| {
                let copy = k.dup(link.reader)?;
                let (first, second) =
                    (watching(k, link.reader, IN | ET)?, watching(k, link.reader, IN | ET)?);
                add(k, second, copy, IN | ET)?;
                for write in ["first", "second"] {
                    link.write(k, b"x")?;
                    let what = |which| format!("{which} after the {write} write");
                    is(what("the first instance"), events(k, first)?, vec![IN])?;
                    let mut both = ready(k, second)?;
                    both.sort_unstable_by_key(|(fd, _)| *fd);
                    let expected = vec![(link.reader, IN), (copy, IN)];
                    is(what("the second instance, with the dup,"), both, expected)?;
                    is(what("what poll says"), mask_of(k, link.reader, IN)?, IN)?;
                    is(what("the first instance, at the next wait"), events(k, first)?, SILENT)?;
                    is(what("the second instance, at the next wait"), events(k, second)?, SILENT)?;
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-udp-error-is-an-edge",
        claim: "Each ICMP error of a connected UDP socket is an edge, ERR alone. While it is not taken, by SO_ERROR, send or \
                recv, it is not reported again; the send that fails with it sends nothing, and so gives no further edge.",
        reference: "udp(7) ERRORS; __udp4_lib_err in net/ipv4/udp.c; sock_def_error_report in net/core/sock.c",
        matters: "Over QUIC and DNS a peer that is restarted is an event without data. A loop that only \
                  reads on IN leaves the error in the socket, where the next datagram is lost to it.",
        experiment: "An entry with IN+EPOLLET on a socket whose peer is closed: a send, ERR, nothing; \
                     SO_ERROR; a send, ERR; a send, which fails, nothing.",
        run: |k| {
            let (ours, peer) = udp_pair(k)?;
            k.close(peer)?;
            let epoll = watching(k, ours, IN | ET)?;
            is("the first send", k.send(ours, b"x", 0), Ok(1))?;
            is("the wait after the first error", events_soon(k, epoll)?, vec![ERR])?;
            is("the second wait after the first error", events(k, epoll)?, SILENT)?;
            is("SO_ERROR", so_error(k, ours)?, Errno::ECONNREFUSED)?;
            is("the second send", k.send(ours, b"x", 0), Ok(1))?;
            is("the wait after the second error", events_soon(k, epoll)?, vec![ERR])?;
            is("the third send", k.send(ours, b"x", 0), no(Errno::ECONNREFUSED))?;
            is("the wait after the send that failed", events(k, epoll)?, SILENT)?;
            is("what poll says then", mask_of(k, ours, IN)?, NONE)
        },
        ..Fact::ALWAYS
    },
];
