//! Level-triggered entries.

use super::links::*;
use crate::facts::support::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "et-lt-repeats-until-drained",
        claim: "A level-triggered entry reports on every wait until the data is gone, and then not once \
                more.",
        reference: "epoll(7); ep_send_events in fs/eventpoll.c puts such an entry back, and asks it again at \
                    the next wait",
        matters: "A server that reads a part of what there is loses nothing; it is told of the rest. This is \
                  why the default is the safe one.",
        experiment: "3 bytes are written to a pipe. epoll_wait reports it, twice; 2 bytes are read, it \
                     reports it still; the last is read, it reports nothing.",
        run: |k| {
            let [reader, writer] = k.pipe2(libc::O_CLOEXEC)?;
            let epoll = watching(k, reader, IN)?;
            is("events of an empty pipe", events(k, epoll)?, SILENT)?;
            k.write(writer, b"abc")?;
            for what in ["the first", "the second"] {
                is(format!("{what} wait with 3 bytes in the pipe"), events(k, epoll)?, vec![IN])?;
            }
            k.read(reader, &mut [0; 2])?;
            for what in ["the first", "the second"] {
                is(format!("{what} wait with 1 byte left"), events(k, epoll)?, vec![IN])?;
            }
            k.read(reader, &mut [0; 2])?;
            is("a wait with nothing left", events(k, epoll)?, SILENT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-lt-eof-sticky",
        claim: "A level-triggered entry reports the end of a stream, as IN, and RDHUP if asked for, on every \
                wait, even after read has returned 0.",
        reference: "epoll(7); tcp_poll in net/ipv4/tcp.c and unix_poll in net/unix/af_unix.c look at the \
                    state alone",
        matters: "A server that does not close or delete a connection at its end spins: each wait returns at \
                  once.",
        experiment: "The peer of a TCP connection, and of an AF_UNIX pair, shuts its writing side. \
                     epoll_wait reports it twice; read gives 0; it reports it again. An entry that asks for \
                     IN alone has IN alone.",
        run: |k| {
            for (name, (ours, peer)) in [("TCP", tcp_pair(k)?), ("AF_UNIX", unix_pair(k)?)] {
                let (epoll, plain) = (watching(k, ours, IN | RDHUP)?, watching(k, ours, IN)?);
                k.shutdown(peer, libc::SHUT_WR)?;
                let what = |wait| format!("{name}, the {wait} wait after the end of the stream");
                is(what("first"), events_soon(k, epoll)?, vec![IN | RDHUP])?;
                is(what("second"), events(k, epoll)?, vec![IN | RDHUP])?;
                is(format!("{name}, read at the end"), k.read(ours, &mut [0; 8]), Ok(0))?;
                for wait in ["third", "fourth"] {
                    is(format!("{} and a read of 0", what(wait)), events(k, epoll)?, vec![IN | RDHUP])?;
                    is(format!("{}, without RDHUP asked for", what(wait)), events(k, plain)?, vec![IN])?;
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-lt-out-spins",
        claim: "A level-triggered entry that asks for OUT on a socket with room makes every wait return at \
                once.",
        reference: "epoll(7)",
        matters: "The classic busy loop: OUT belongs into the mask only while there is something left to \
                  send.",
        experiment: "20 calls of epoll_wait with a limit of 5 s, of a connection to which nothing was sent, \
                     each report OUT; five times, the fastest in less than 500 ms.",
        wrong: &["mTCP, OUT only once: https://github.com/mtcp-stack/mtcp/issues/297"],
        run: |k| {
            let (ours, _peer) = tcp_pair(k)?;
            let epoll = watching(k, ours, OUT)?;
            let mut shortest = Duration::MAX;
            // Another program can make any try last longer. No try is short where the waits themselves take time.
            for _ in 0..5 {
                let start = Instant::now();
                for n in 1..=20 {
                    is(format!("wait {n} of a socket with room"), events_soon(k, epoll)?, vec![OUT])?;
                }
                shortest = shortest.min(start.elapsed());
            }
            holds(
                "the fastest 20 waits together take less than 500 ms",
                shortest < Duration::from_millis(500),
                shortest,
            )
        },
        ..Fact::ALWAYS
    },
];
