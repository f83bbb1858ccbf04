//! Edges of the input: new data, partial reads, the end of the stream.

use super::links::*;
use crate::facts::support::*;
use libc::{IN_MODIFY, IN_OPEN, O_CLOEXEC, O_CREAT, O_RDWR};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "et-new-data-without-drain",
        claim: "Every new write is an edge, even if what came before was never read. It holds for pipes, \
                with O_DIRECT too, AF_UNIX, TCP, UDP, both ends of a pty, eventfd, inotify and listeners. An \
                inotify event that is equal to the last one is merged into it, and is none.",
        reference: "epoll(7); commits 1b6b26ae7053 (5.5: pipes only when empty) and 3a34b13a88ca (5.14: \
                    pipes always); inotify(7)",
        matters: "Programs that do not drain work by chance as long as data keeps coming, and rely on it: \
                  the change of 5.5 broke Android programs and was taken back.",
        experiment: "For each kind of descriptor: something arrives, epoll_wait with EPOLLET reports IN, and \
                     then nothing. Nothing is read. Something more arrives: IN again, and then nothing; \
                     three times.",
        wrong: &[
            "Linux 5.5 to 5.13, for pipes: commit 1b6b26ae7053, taken back by 3a34b13a88ca",
            "WSL1, for AF_UNIX: https://github.com/microsoft/WSL/issues/8923",
            "netty, which assumed otherwise at first: https://github.com/netty/netty/issues/9348",
        ],
        run: |k| {
            let scratch = Scratch::new();
            for Source { name, fd, arrive } in sources(k, &scratch)? {
                let epoll = watching(k, fd, IN | ET)?;
                is(format!("{name}, before anything has come"), events(k, epoll)?, SILENT)?;
                for (n, time) in ["first", "second", "third"].into_iter().enumerate() {
                    arrive(k, n)?;
                    let what = format!("after the {time} arrival, nothing having been read");
                    is(format!("{name}, the first wait {what}"), events_soon(k, epoll)?, vec![IN])?;
                    is(format!("{name}, the second wait {what}"), events(k, epoll)?, SILENT)?;
                }
                if name == "an inotify descriptor" {
                    arrive(k, 2)?;
                    is("an inotify event equal to the last", events(k, epoll)?, SILENT)?;
                }
            }
            all_kinds()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-partial-read-silent",
        claim: "Reading a part of the data does not report the rest, on any kind of descriptor.",
        reference: "epoll(7) Q9",
        matters: "The rest stays unseen until something new arrives; if the peer waits for an answer first, \
                  both wait for ever.",
        experiment: "For pipes, sockets and ptys: two bytes, or two messages, arrive and are reported once. \
                     One is read: nothing is reported. The other is still there.",
        wrong: &[
            "Shadow, for TCP: https://github.com/shadow/shadow/issues/3274",
            "tgoskits, in review: https://github.com/rcore-os/tgoskits/issues/1034",
        ],
        run: |k| {
            for link in links(k)? {
                let name = link.name;
                let epoll = watching(k, link.reader, IN | ET)?;
                if link.messages {
                    link.write(k, b"a")?;
                    link.write(k, b"b")?;
                } else {
                    link.write(k, b"ab")?;
                }
                link.settle(k)?;
                is(format!("{name}, with two bytes or messages"), events_soon(k, epoll)?, vec![IN])?;
                is(format!("{name}, the second wait"), events(k, epoll)?, SILENT)?;
                is(format!("{name}, what was read first"), link.read_one(k), Ok(b'a'))?;
                link.settle(k)?;
                is(format!("{name}, after one of the two was read"), events(k, epoll)?, SILENT)?;
                is(format!("{name}, what was left"), link.read_one(k), Ok(b'b'))?;
            }
            all_kinds()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-fin-is-an-edge",
        claim: "The end of the stream after data that was reported and not read is a new edge: IN+RDHUP.",
        reference: "tcp_fin in net/ipv4/tcp_input.c and unix_shutdown in net/unix/af_unix.c wake the waiters",
        matters: "A server that holds data back and waits hears of the end nevertheless, without reading.",
        experiment: "A byte over TCP, and an AF_UNIX pair, is reported with EPOLLET and not read. The peer \
                     shuts its writing side: one more event, IN+RDHUP, and then none. The byte is still \
                     there.",
        run: |k| {
            for (name, (ours, peer)) in [("TCP", tcp_pair(k)?), ("AF_UNIX", unix_pair(k)?)] {
                let epoll = watching(k, ours, IN | RDHUP | ET)?;
                k.write(peer, b"x")?;
                is(format!("{name}, the first wait with a byte"), events_soon(k, epoll)?, vec![IN])?;
                is(format!("{name}, the second wait with a byte"), events(k, epoll)?, SILENT)?;
                k.shutdown(peer, libc::SHUT_WR)?;
                let what = "after the end, the byte not having been read";
                is(format!("{name}, the first wait {what}"), events_soon(k, epoll)?, vec![IN | RDHUP])?;
                is(format!("{name}, the second wait {what}"), events(k, epoll)?, SILENT)?;
                is(format!("{name}, the byte"), k.read(ours, &mut [0; 8]), Ok(1))?;
            }
            Ok(())
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
            for link in links(k)? {
                let name = link.name;
                let epoll = watching(k, link.reader, IN | ET)?;
                let mut buffer = [0; 64];
                link.write(k, b"abc")?;
                if link.messages {
                    link.write(k, b"de")?;
                }
                link.settle(k)?;
                is(format!("{name}, the first wait"), events_soon(k, epoll)?, vec![IN])?;
                is(format!("{name}, a read of up to 64 bytes"), k.read(link.reader, &mut buffer), Ok(3))?;
                link.settle(k)?;
                is(format!("{name}, after the short read"), events(k, epoll)?, SILENT)?;
                if !link.messages {
                    link.write(k, b"de")?;
                    is(format!("{name}, after a write that came later"), events_soon(k, epoll)?, vec![IN])?;
                }
                is(format!("{name}, the second read"), k.read(link.reader, &mut buffer), Ok(2))?;
                if !link.messages {
                    link.write(k, b"f")?;
                    let what = format!("{name}, after a read and a write without a wait between");
                    is(what, events_soon(k, epoll)?, vec![IN])?;
                }
            }
            all_kinds()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-udp-one-of-two",
        claim: "Two UDP datagrams and one recv: no further event. A third datagram gives one.",
        reference: "epoll(7); sock_def_readable in net/core/sock.c",
        matters: "A DNS server that reads one query for each event answers late by one for ever, or not at \
                  all.",
        experiment: "Two datagrams arrive: IN, once, with EPOLLET. One is received, and a fence on another \
                     connection shows that nothing is on its way: nothing. A third datagram: IN. The second \
                     is received next.",
        wrong: &["a program over mio: https://github.com/tokio-rs/mio/issues/1076"],
        run: |k| {
            let link = link(k, "UDP")?;
            let epoll = watching(k, link.reader, IN | ET)?;
            link.write(k, b"a")?;
            link.write(k, b"b")?;
            link.settle(k)?;
            is("the first wait with two datagrams", events_soon(k, epoll)?, vec![IN])?;
            is("the second wait with two datagrams", events(k, epoll)?, SILENT)?;
            let mut one = [0];
            is("recv", k.recv(link.reader, &mut one, 0), Ok(1))?;
            is("the first datagram", one, [b'a'])?;
            link.settle(k)?;
            is("the wait with the second datagram left", events(k, epoll)?, SILENT)?;
            link.write(k, b"c")?;
            is("the wait after a third datagram", events_soon(k, epoll)?, vec![IN])?;
            is("the wait after that", events(k, epoll)?, SILENT)?;
            is("recv", k.recv(link.reader, &mut one, 0), Ok(1))?;
            is("the datagram that was left", one, [b'b'])
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
        experiment: "Two clients connect, one after the other: an event for each. A third connects, and one \
                     accept is made: nothing is reported after it. Then two more accepts succeed.",
        wrong: &["a program over mio: https://github.com/tokio-rs/mio/issues/845"],
        run: |k| {
            let (listener, address) = listener(k, 8)?;
            set_nonblocking(k, listener)?;
            let epoll = watching(k, listener, IN | ET)?;
            for (n, which) in ["first", "second", "third"].into_iter().enumerate() {
                connected(k, &address)?;
                let what = format!("after the {which} connection, {n} being in the queue");
                is(format!("the first wait {what}"), events_soon(k, epoll)?, vec![IN])?;
                is(format!("the second wait {what}"), events(k, epoll)?, SILENT)?;
            }
            for left in [2, 1, 0] {
                is("accept", k.accept(listener).map(drop), Ok(()))?;
                is(format!("the wait after accept, {left} being left"), events(k, epoll)?, SILENT)?;
            }
            is("accept of the empty queue", k.accept(listener), raw::no(crate::sys::Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
];

/// Something that can be made readable again and again, each time in another way if need be.
struct Source {
    name: &'static str,
    fd: i32,
    arrive: Box<dyn Fn(K, usize) -> Held>,
}

fn sources(k: K, scratch: &Scratch) -> Held<Vec<Source>> {
    let mut sources: Vec<Source> = links(k)?
        .into_iter()
        .map(|link| Source {
            name: link.name,
            fd: link.reader,
            arrive: Box::new(move |k, _| Ok(link.write(k, b"x")?)),
        })
        .collect();
    let counter = k.eventfd(0, libc::EFD_CLOEXEC)?;
    sources.push(Source {
        name: "an eventfd",
        fd: counter,
        arrive: Box::new(move |k, _| Ok(k.write(counter, &1u64.to_ne_bytes()).map(drop)?)),
    });
    let (listener, address) = listener(k, 8)?;
    sources.push(Source {
        name: "a listener",
        fd: listener,
        arrive: Box::new(move |k, _| Ok(connected(k, &address).map(drop)?)),
    });
    let path = scratch.path().to_owned();
    let file = k.open(&path, O_RDWR | O_CREAT | O_CLOEXEC)?;
    let inotify = raw::inotify_init1(O_CLOEXEC)?;
    raw::inotify_add_watch(inotify, &path, IN_MODIFY | IN_OPEN)?;
    sources.push(Source {
        name: "an inotify descriptor",
        fd: inotify,
        arrive: Box::new(move |k, n| match n % 2 {
            0 => Ok(k.write(file, b"x").map(drop)?),
            _ => Ok(k.open(&path, O_RDWR | O_CLOEXEC).map(drop)?),
        }),
    });
    Ok(sources)
}
