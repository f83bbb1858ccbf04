//! Level-triggered entries.

use super::links::*;
use crate::facts::support::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "et-lt-repeats-until-drained",
        claim: "A level-triggered entry reports on every wait until the data is gone, and then not once more.",
        reference: "epoll(7); ep_send_events in fs/eventpoll.c puts such an entry back, and asks it again at the next wait",
        matters: "A server that reads a part of what there is loses nothing; it is told of the rest. This is \
                  why the default is the safe one.",
        experiment: "3 bytes are written to a pipe. epoll_wait reports it, twice; 2 bytes are read, it \
                     reports it still; the last is read, it reports nothing.",
        run: |k| {
            let link = link(k, "a pipe")?;
            let epoll = watching(k, link.reader, IN)?;
            is("events of an empty pipe", events(k, epoll)?, SILENT)?;
            link.write(k, b"abc")?;
            is("the first wait with 3 bytes in the pipe", events(k, epoll)?, vec![IN])?;
            is("the second wait with 3 bytes in the pipe", events(k, epoll)?, vec![IN])?;
            k.read(link.reader, &mut [0; 2])?;
            is("the first wait with 1 byte left", events(k, epoll)?, vec![IN])?;
            is("the second wait with 1 byte left", events(k, epoll)?, vec![IN])?;
            k.read(link.reader, &mut [0; 2])?;
            is("a wait with nothing left", events(k, epoll)?, SILENT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-lt-eof-sticky",
        claim: "A level-triggered entry reports the end of a stream, as IN, and RDHUP if asked for, on every \
                wait, even after read has returned 0.",
        reference: "epoll(7); tcp_poll in net/ipv4/tcp.c and unix_poll in net/unix/af_unix.c look at the state alone",
        matters: "A server that does not close or delete a connection at its end spins: each wait returns at once.",
        experiment: "The peer of a TCP connection, and of an AF_UNIX pair, shuts its writing side. epoll_wait reports it twice; \
                     read gives 0; it reports it again. An entry that asks for IN alone has IN alone.",
        run: |k| {
            each_of(k, &["TCP", "AF_UNIX, stream"], |link| {
                let epoll = watching(k, link.reader, IN | RDHUP)?;
                let plain = watching(k, link.reader, IN)?;
                k.shutdown(link.writer, libc::SHUT_WR)?;
                is("the first wait after the end", events_soon(k, epoll)?, vec![IN | RDHUP])?;
                is("the second wait after the end", events(k, epoll)?, vec![IN | RDHUP])?;
                is("read at the end", k.read(link.reader, &mut [0; 8]), Ok(0))?;
                is("the first wait after read gave 0", events(k, epoll)?, vec![IN | RDHUP])?;
                is("the first such wait, asked for IN alone", events(k, plain)?, vec![IN])?;
                is("the second wait after read gave 0", events(k, epoll)?, vec![IN | RDHUP])
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-lt-out-spins",
        claim: "A level-triggered entry that asks for OUT on a socket with room makes every wait return at once.",
        reference: "epoll(7)",
        matters: "The classic busy loop: OUT belongs into the mask only while there is something left to send.",
        experiment: "20 calls of epoll_wait that do not block, of a connection to which nothing was sent, each report OUT.",
        wrong: &["mTCP, OUT only once: https://github.com/mtcp-stack/mtcp/issues/297"],
        run: |k| {
            let epoll = watching(k, link(k, "TCP")?.writer, OUT)?;
            let mut reports = 0;
            for _ in 0..20 {
                reports += usize::from(events(k, epoll)? == vec![OUT]);
            }
            is("of 20 waits for a socket with room, those that report OUT", reports, 20)
        },
        ..Fact::ALWAYS
    },
];
