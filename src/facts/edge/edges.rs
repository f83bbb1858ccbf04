//! What is an edge, and what an event of one says.

use super::links::*;
use crate::facts::support::*;
use libc::MSG_PEEK;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "et-once-per-edge",
        claim: "An edge-triggered entry reports one write once: the second wait reports nothing, although \
                the data is still there.",
        reference: "epoll(7); ep_send_events in fs/eventpoll.c puts only level-triggered entries back",
        matters: "A server that reads a part and waits again never hears of the rest, and the connection hangs.",
        experiment: "A byte is written to a pipe, to an AF_UNIX pair, and over TCP. epoll_wait with EPOLLET \
                     reports it; the next two do not. poll still says IN.",
        wrong: &["F-Stack, level-triggered all the same: https://github.com/F-Stack/f-stack/issues/115"],
        run: |k| {
            each_of(k, &["a pipe", "AF_UNIX, stream", "TCP"], |link| {
                let epoll = watching(k, link.reader, IN | ET)?;
                is("before the write", events(k, epoll)?, SILENT)?;
                link.write(k, b"x")?;
                is("the first wait after a write", events_soon(k, epoll)?, vec![IN])?;
                is("the second wait after a write", events(k, epoll)?, SILENT)?;
                is("the third wait after a write", events(k, epoll)?, SILENT)?;
                is("what poll says", mask_of(k, link.reader, IN)?, IN)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-writes-coalesce",
        claim: "Several writes before one wait give one event, not one for each.",
        reference: "epoll(7) Q1 to Q9; ep_poll_callback in fs/eventpoll.c queues an entry that is not in the queue yet",
        matters: "Events are no counters. Who reads one message for each event falls behind.",
        experiment: "Three writes to a pipe, and to an AF_UNIX socket of datagrams; epoll_wait with EPOLLET \
                     reports one event, and then none.",
        run: |k| {
            each_of(k, &["a pipe", "AF_UNIX, datagrams"], |link| {
                let epoll = watching(k, link.reader, IN | ET)?;
                for _ in 0..3 {
                    link.write(k, b"x")?;
                }
                is("the first wait after 3 writes", events(k, epoll)?, vec![IN])?;
                is("the second wait after 3 writes", events(k, epoll)?, SILENT)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-drained-before-wait",
        claim: "Data that is written and read again before the wait gives no event.",
        reference: "ep_send_events in fs/eventpoll.c asks each queued entry again, and drops those with nothing to say",
        matters: "An event means that there is something at the time of the wait. A design that counts on an \
                  event for each write, to wake a loop, loses wake-ups when somebody else reads.",
        experiment: "A byte is written to a pipe and read; epoll_wait with EPOLLET, and one without, report \
                     nothing. The next write is reported.",
        run: |k| {
            let link = link(k, "a pipe")?;
            let (edge, level) = (watching(k, link.reader, IN | ET)?, watching(k, link.reader, IN)?);
            link.write(k, b"x")?;
            is("the byte that is read before the wait", link.read_one(k), Ok(b'x'))?;
            is("the wait after that, with EPOLLET", events(k, edge)?, SILENT)?;
            is("the wait after that, without EPOLLET", events(k, level)?, SILENT)?;
            link.write(k, b"y")?;
            is("the wait after a second write, with EPOLLET", events(k, edge)?, vec![IN])?;
            is("the wait after a second write, without EPOLLET", events(k, level)?, vec![IN])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-mod-rearms",
        claim: "EPOLL_CTL_MOD with the same mask reports a descriptor that is still ready once more, with \
                EPOLLET as with EPOLLONESHOT. One that is not ready stays silent.",
        reference: "epoll_ctl(2); ep_modify in fs/eventpoll.c asks the file again, and queues it",
        matters: "This is how a server that stopped reading early gets going again without reading: there is \
                  no need to add the descriptor anew.",
        experiment: "A pipe with a byte: wait 1 event, wait 0, MOD, wait 1, wait 0; with EPOLLET, and with \
                     EPOLLONESHOT. Then the byte is read, and MOD gives no event.",
        wrong: &["Shadow: https://github.com/shadow/shadow/issues/343"],
        run: |k| {
            for (flag, name) in [(ET, "EPOLLET"), (ONESHOT, "EPOLLONESHOT")] {
                step(name, || {
                    let link = link(k, "a pipe")?;
                    let epoll = watching(k, link.reader, IN | flag)?;
                    link.write(k, b"x")?;
                    is("the first wait with a byte", events(k, epoll)?, vec![IN])?;
                    is("the second wait", events(k, epoll)?, SILENT)?;
                    for again in ["first", "second"] {
                        modify(k, epoll, link.reader, IN | flag)?;
                        let what = |wait| format!("the {wait} wait after the {again} EPOLL_CTL_MOD");
                        is(what("first"), events(k, epoll)?, vec![IN])?;
                        is(what("second"), events(k, epoll)?, SILENT)?;
                    }
                    link.read_one(k)?;
                    modify(k, epoll, link.reader, IN | flag)?;
                    is("EPOLL_CTL_MOD with an empty pipe", events(k, epoll)?, SILENT)
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-peek-is-not-progress",
        claim: "recv with MSG_PEEK neither takes the readiness of a level-triggered entry away nor makes an edge.",
        reference: "recv(2)",
        matters: "A server that peeks at the first bytes to choose a protocol, and waits for more, spins \
                  without EPOLLET and waits for the next packet with it.",
        experiment: "A byte over TCP and an AF_UNIX pair, watched without EPOLLET in one instance and with it in another. After \
                     both have reported it, it is peeked at: the first reports it again, the second does not.",
        run: |k| {
            each_of(k, &["AF_UNIX, stream", "TCP"], |link| {
                let (edge, level) = (watching(k, link.reader, IN | ET)?, watching(k, link.reader, IN)?);
                link.write(k, b"x")?;
                is("with EPOLLET, before the peek", events_soon(k, edge)?, vec![IN])?;
                is("without EPOLLET, before the peek", events_soon(k, level)?, vec![IN])?;
                is("recv with MSG_PEEK", k.recv(link.reader, &mut [0; 8], MSG_PEEK), Ok(1))?;
                link.settle(k)?;
                is("with EPOLLET, after the peek", events(k, edge)?, SILENT)?;
                is("without EPOLLET, after the peek", events(k, level)?, vec![IN])
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-mask-is-whole-state",
        claim: "An event of an edge-triggered entry carries all that is true now, not the change: an edge of the input gives \
                IN+OUT if there is room as well, and an edge of the output IN+OUT if there is data.",
        reference: "ep_send_events in fs/eventpoll.c asks the file for its state",
        matters: "OUT in an event does not mean that the socket was full. Code that counts changes from the bits miscounts.",
        experiment: "An AF_UNIX pair with IN+OUT+EPOLLET: the first event is OUT. The peer writes: IN+OUT. \
                     We write and the peer reads, an edge of the output: IN+OUT.",
        run: |k| {
            let (ours, peer) = unix_pair(k)?;
            let epoll = watching(k, ours, IN | OUT | ET)?;
            is("events of a new pair", events(k, epoll)?, vec![OUT])?;
            k.write(peer, b"x")?;
            is("events after the peer wrote", events(k, epoll)?, vec![IN | OUT])?;
            is("events of the wait after that", events(k, epoll)?, SILENT)?;
            k.write(ours, b"y")?;
            k.read(peer, &mut [0])?;
            is("events after the peer read what we wrote", events(k, epoll)?, vec![IN | OUT])?;
            is("events of the wait after that one", events(k, epoll)?, SILENT)
        },
        ..Fact::ALWAYS
    },
];
