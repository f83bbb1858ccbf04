//! Edges of the input: new data, partial reads, the end of the stream.

use super::links::*;
use super::*;
use libc::{IN_MODIFY, IN_OPEN, O_CLOEXEC, O_CREAT, O_RDWR};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "et-new-data-without-drain",
        claim: "Every new write is an edge, even if what came before was never read. It holds for pipes, \
                with O_DIRECT too, AF_UNIX, TCP, UDP, both ends of a pty, eventfd, inotify and listeners. An \
                inotify event that is equal to the last one is merged and gives no event.",
        reference: "epoll(7); pipe_write in fs/pipe.c; inotify(7)",
        gaps: &[PIPES_ONLY_FROM_EMPTY],
        matters: "Programs that do not drain work by chance as long as data keeps coming, and rely on it: \
                  the change of 5.5 broke Android programs and was taken back.",
        experiment: "For each kind of descriptor: something arrives, epoll_wait with EPOLLET reports IN, and then nothing. \
                     Nothing is read. Something more arrives: IN again, and then nothing; three times.",
        wrong: &[
            "Linux 5.5 to 5.13, for pipes: commit 1b6b26ae7053, taken back by 3a34b13a88ca",
            "WSL1, for AF_UNIX: https://github.com/microsoft/WSL/issues/8923",
            "netty, which assumed otherwise at first: https://github.com/netty/netty/issues/9348",
        ],
        run: |k| {
            each_of(k, KINDS, |link| each_arrival(k, link.reader, |_| Ok(link.write(k, b"x")?)).map(drop))?;
            step("an eventfd", || {
                let counter = k.eventfd(0, libc::EFD_CLOEXEC)?;
                each_arrival(k, counter, |_| Ok(k.write(counter, &1u64.to_ne_bytes()).map(drop)?))?;
                Ok(())
            });
            step("a listener", || {
                needs_somaxconn(2)?;
                let (listener, address) = listener(k, 8)?;
                each_arrival(k, listener, |_| Ok(connected(k, &address).map(drop)?))?;
                Ok(())
            });
            step("an inotify descriptor", || {
                let scratch = Scratch::new();
                let file = k.open(scratch.path(), O_RDWR | O_CREAT | O_CLOEXEC)?;
                let inotify = raw::inotify_init1(O_CLOEXEC)?;
                raw::inotify_add_watch(inotify, scratch.path(), IN_MODIFY | IN_OPEN)?;
                // Written to, opened, written to: no event is equal to the last.
                let epoll = each_arrival(k, inotify, |n| match n {
                    1 => Ok(k.open(scratch.path(), O_RDWR | O_CLOEXEC).map(drop)?),
                    _ => Ok(k.write(file, b"x").map(drop)?),
                })?;
                k.write(file, b"x")?;
                is("after an event equal to the last", events(k, epoll)?, SILENT)
            });
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-partial-read-silent",
        claim: "Reading a part of the data does not report the rest, on any kind of descriptor.",
        reference: "epoll(7) Q9",
        matters: "The rest stays unseen until something new arrives; if the peer waits for an answer first, both wait for ever.",
        experiment: "For pipes, sockets and ptys: two bytes, or two messages, arrive and are reported once. \
                     One is read: nothing is reported. The other is still there.",
        wrong: &[
            "Shadow, for TCP: https://github.com/shadow/shadow/issues/3274",
            "tgoskits, in review: https://github.com/rcore-os/tgoskits/issues/1034",
        ],
        run: |k| {
            each_of(k, KINDS, |link| {
                let epoll = watching(k, link.reader, IN | ET)?;
                let parts: &[&[u8]] = if link.messages { &[b"a", b"b"] } else { &[b"ab"] };
                for part in parts {
                    link.write(k, part)?;
                }
                link.settle(k)?;
                is("the first wait with two bytes or messages", events_soon(k, epoll)?, vec![IN])?;
                is("the second wait", events(k, epoll)?, SILENT)?;
                is("what was read first", link.read_one(k), Ok(b'a'))?;
                link.settle(k)?;
                is("after one of the two was read", events(k, epoll)?, SILENT)?;
                is("what was left", link.read_one(k), Ok(b'b'))
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-fin-is-an-edge",
        claim: "The end of the stream after data that was reported and not read is a new edge: IN+RDHUP.",
        reference: "tcp_fin in net/ipv4/tcp_input.c and unix_shutdown in net/unix/af_unix.c wake the waiters",
        matters: "A server that holds data back and waits hears of the end nevertheless, without reading.",
        experiment: "A byte over TCP, and an AF_UNIX pair, is reported with EPOLLET and not read. The peer shuts its writing \
                     side: one more event, IN+RDHUP, and then none. The byte is still there.",
        run: |k| {
            each_of(k, &["TCP", "AF_UNIX, stream"], |link| {
                let epoll = watching(k, link.reader, IN | RDHUP | ET)?;
                link.write(k, b"x")?;
                is("the first wait with a byte", events_soon(k, epoll)?, vec![IN])?;
                is("the second wait with a byte", events(k, epoll)?, SILENT)?;
                k.shutdown(link.writer, libc::SHUT_WR)?;
                // A FIN wakes twice, for the state and for the data: both must have been done.
                link.settle(k)?;
                is("the first wait after the end", events_soon(k, epoll)?, vec![IN | RDHUP])?;
                is("the second wait after the end", events(k, epoll)?, SILENT)?;
                is("the byte", k.read(link.reader, &mut [0; 8]), Ok(1))
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-second-shutdown",
        claim: "When a peer that has shut its writing side does so again, AF_UNIX gives an edge again, \
                IN+RDHUP, and TCP gives no event.",
        reference: "unix_shutdown in net/unix/af_unix.c wakes the other end each time; tcp_shutdown in \
                    net/ipv4/tcp.c sends a FIN only from a state that has not sent one",
        matters: "The end of a stream may be reported more than once: a handler that frees a connection must \
                  not be called for it again.",
        experiment: "An entry with IN+RDHUP+EPOLLET; the peer calls shutdown with SHUT_WR, and once more.",
        run: |k| {
            each_of(k, &["TCP", "AF_UNIX, stream"], |link| {
                let epoll = watching(k, link.reader, IN | RDHUP | ET)?;
                let again = if link.name == "TCP" { SILENT } else { vec![IN | RDHUP] };
                for (time, expected) in [("first", vec![IN | RDHUP]), ("second", again)] {
                    is(format!("the {time} shutdown"), k.shutdown(link.writer, libc::SHUT_WR), Ok(()))?;
                    link.settle(k)?;
                    let seen = events_when(&expected, k, epoll)?;
                    is(format!("the first wait after the {time} shutdown"), seen, expected)?;
                    is(format!("the second wait after the {time} shutdown"), events(k, epoll)?, SILENT)?;
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-short-read-means-drained",
        claim: "On a stream a read that gives less than was asked for has drained it: what comes later is a \
                new edge; neither EAGAIN nor a wait that finds nothing need be seen first. For datagrams it \
                does not hold: a short read leaves the next one, without an edge.",
        reference: "epoll(7) Q9",
        matters: "The shortcut of tokio and mio: it saves one read in two. With datagrams it loses messages.",
        experiment: "3 bytes come over a pipe, an AF_UNIX stream, TCP and a pty; a read with a buffer of 64 \
                     gives 3; nothing more is reported. 2 more come and are reported; they are read, and one \
                     more byte comes before the next wait: it is reported. Then two datagrams come: one read \
                     gives 3 bytes of 64, nothing is reported, and the second one is there.",
        wrong: &[
            "tokio over an emulation with poll: https://github.com/tokio-rs/tokio/issues/5881",
            "mio on Windows: https://github.com/tokio-rs/mio/issues/1131",
            "netty, for datagrams: https://github.com/netty/netty/issues/14357",
            "tgoskits, in review, without a wait between: https://github.com/rcore-os/tgoskits/issues/1034",
        ],
        run: |k| {
            each_of(k, KINDS, |link| {
                let epoll = watching(k, link.reader, IN | ET)?;
                let mut buffer = [0; 64];
                link.write(k, b"abc")?;
                if link.messages {
                    link.write(k, b"de")?;
                }
                link.settle(k)?;
                is("the first wait", events_soon(k, epoll)?, vec![IN])?;
                is("a read of up to 64 bytes", k.read(link.reader, &mut buffer), Ok(3))?;
                link.settle(k)?;
                is("after the short read", events(k, epoll)?, SILENT)?;
                if link.messages {
                    return is("the second read", k.read(link.reader, &mut buffer), Ok(2));
                }
                link.write(k, b"de")?;
                is("after a write that came later", events_soon(k, epoll)?, vec![IN])?;
                is("the second read", k.read(link.reader, &mut buffer), Ok(2))?;
                link.write(k, b"f")?;
                is("after a read and a write without a wait between", events_soon(k, epoll)?, vec![IN])
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-udp-one-of-two",
        claim: "Two UDP datagrams and one recv: no further event. A third datagram gives one.",
        reference: "epoll(7); sock_def_readable in net/core/sock.c",
        matters: "A DNS server that reads one query for each event answers late by one for ever, or not at all.",
        experiment: "Two datagrams arrive: IN, once, with EPOLLET. One is received, and a fence on another connection shows that \
                     nothing is on its way: nothing. A third datagram: IN. The second is received next.",
        wrong: &["a program over mio: https://github.com/tokio-rs/mio/issues/1076"],
        run: |k| {
            let link = link(k, "UDP")?;
            let epoll = watching(k, link.reader, IN | ET)?;
            let receive = || -> Reply<u8> {
                let mut one = [0];
                k.recv(link.reader, &mut one, 0)?;
                Ok(one[0])
            };
            link.write(k, b"a")?;
            link.write(k, b"b")?;
            link.settle(k)?;
            is("the first wait with two datagrams", events_soon(k, epoll)?, vec![IN])?;
            is("the second wait with two datagrams", events(k, epoll)?, SILENT)?;
            is("the first datagram", receive(), Ok(b'a'))?;
            link.settle(k)?;
            is("the wait with the second datagram left", events(k, epoll)?, SILENT)?;
            link.write(k, b"c")?;
            is("the wait after a third datagram", events_soon(k, epoll)?, vec![IN])?;
            is("the second wait after a third datagram", events(k, epoll)?, SILENT)?;
            is("the datagram that was left", receive(), Ok(b'b'))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-listener-per-connection",
        claim: "Each new connection is an edge of the listener, even with others in the queue. Accepting one \
                of several gives none.",
        reference: "epoll(7); sock_def_readable in net/core/sock.c, from tcp_child_process",
        matters: "A server with an edge-triggered listener has to accept until EAGAIN; with one accept for \
                  each event, connections that came together stay in the queue.",
        experiment: "Three clients connect, one after the other: an event for each. Then three accepts are \
                     made: nothing is reported after any of them, and the next accept gives EAGAIN.",
        wrong: &["a program over mio: https://github.com/tokio-rs/mio/issues/845"],
        run: |k| {
            needs_somaxconn(2)?;
            let (listener, address) = listener(k, 8)?;
            set_nonblocking(k, listener)?;
            let epoll = watching(k, listener, IN | ET)?;
            for n in 0..3 {
                connected(k, &address)?;
                let what = |wait| format!("the {wait} wait after a connection, {n} being in the queue");
                is(what("first"), events_soon(k, epoll)?, vec![IN])?;
                is(what("second"), events(k, epoll)?, SILENT)?;
            }
            for left in [2, 1, 0] {
                is(format!("accept that leaves {left}"), k.accept(listener).map(drop), Ok(()))?;
                is(format!("the wait after the accept that leaves {left}"), events(k, epoll)?, SILENT)?;
            }
            is("accept of the empty queue", k.accept(listener), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
];

/// Something arrives at `fd` three times, nothing is read, and each time is an edge; then the instance, with no event left.
fn each_arrival(k: K, fd: i32, arrive: impl Fn(usize) -> Held) -> Held<i32> {
    let epoll = watching(k, fd, IN | ET)?;
    is("before anything has come", events(k, epoll)?, SILENT)?;
    for (n, time) in ["first", "second", "third"].into_iter().enumerate() {
        arrive(n)?;
        let what = |wait| format!("the {wait} wait after the {time} arrival, nothing having been read");
        is(what("first"), events_soon(k, epoll)?, vec![IN])?;
        is(what("second"), events(k, epoll)?, SILENT)?;
    }
    Ok(epoll)
}
