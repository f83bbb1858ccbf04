//! Edges of the output: when a writer is told that there is room.

use super::links::*;
use crate::facts::support::*;
use libc::{F_SETPIPE_SZ, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "et-out-initial",
        claim: "An edge-triggered entry that asks for OUT reports a writable descriptor once, when it is \
                added, and not again for as long as the peer takes nothing out. What is an edge then depends \
                on the kind of descriptor: pipes and TCP had to be full.",
        reference: "epoll(7); ep_insert in fs/eventpoll.c",
        matters: "Registering IN+OUT+EPOLLET once and for all is cheap for TCP and pipes: OUT does not keep the loop awake.",
        experiment: "A pipe, an AF_UNIX stream and a TCP connection are added with OUT+EPOLLET: one event, \
                     and then none, also after a byte was written.",
        run: |k| {
            each_of(k, &["a pipe", "AF_UNIX, stream", "TCP"], |link| {
                let epoll = watching(k, link.writer, OUT | ET)?;
                is("the first wait", events(k, epoll)?, vec![OUT])?;
                is("the second wait", events(k, epoll)?, SILENT)?;
                link.write(k, b"x")?;
                link.settle(k)?;
                is("the third wait, after a write", events(k, epoll)?, SILENT)?;
                is("what poll says", mask_of(k, link.writer, OUT)?, OUT)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-pipe-out-only-from-full",
        claim: "Reading from a pipe is an edge for its writer only if the pipe was full and the read frees a \
                slot. Reading from a pipe that is filled in part is none.",
        reference: "pipe_read in fs/pipe.c wakes writers only if was_full; commit f467a6a66419. Before, \
                    every read that freed a slot did.",
        since: Since(5, 5),
        matters: "A writer that waits for OUT without having met EAGAIN waits for ever.",
        experiment: "A pipe of 4 pages, its writer with OUT+EPOLLET: 100 bytes written and read, no event; 2 \
                     pages written, 1 read, no event; filled, 1 byte read, no event; the rest of that page \
                     read, OUT; one more page read, no event.",
        wrong: &["tgoskits, edges between two waits: https://github.com/rcore-os/tgoskits/issues/2235"],
        run: |k| {
            let [reader, writer] = k.pipe2(libc::O_CLOEXEC)?;
            // The smallest pipe that there can be is one page.
            let page = k.fcntl(writer, F_SETPIPE_SZ, 1)?.cast_unsigned() as usize;
            let size = k.fcntl(writer, F_SETPIPE_SZ, 4 * page as i32)?.cast_unsigned() as usize;
            is("the size of the pipe", size, 4 * page)?;
            let mut buffer = vec![0; size];
            let mut read = |n: usize| -> Held { is("read", k.read(reader, &mut buffer[..n]), Ok(n)) };
            let epoll = watching(k, writer, OUT | ET)?;
            is("the first wait", events(k, epoll)?, vec![OUT])?;
            k.write(writer, &[0; 100])?;
            read(100)?;
            is("100 bytes written and read", events(k, epoll)?, SILENT)?;
            k.write(writer, &vec![0; 2 * page])?;
            read(page)?;
            is("two pages written, one read", events(k, epoll)?, SILENT)?;
            read(page)?;
            is("the other read", events(k, epoll)?, SILENT)?;
            is("bytes that fill the pipe", fill(k, writer, page)?, size)?;
            is("the pipe filled until EAGAIN", events(k, epoll)?, SILENT)?;
            read(1)?;
            is("one byte read from the full pipe", events(k, epoll)?, SILENT)?;
            read(page - 1)?;
            is("the rest of its page read", events(k, epoll)?, vec![OUT])?;
            is("the wait after that", events(k, epoll)?, SILENT)?;
            read(page)?;
            is("one more page read", events(k, epoll)?, SILENT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-unix-out-on-every-peer-read",
        claim: "On AF_UNIX sockets of all types each read of the peer that frees a buffer is an edge of the \
                output for the writer, though it was never full. So it is on a pty. TCP, UDP and pipes give \
                no event. A write is an edge for the writer itself on a pty, and on UDP over loopback.",
        reference: "sock_wfree in net/core/sock.c and unix_write_space in net/unix/af_unix.c, against \
                    SOCK_NOSPACE in sk_stream_write_space; tty_write_unlock in drivers/tty/tty_io.c; \
                    n_tty_read in drivers/tty/n_tty.c; pipes since commit f467a6a66419",
        since: Since(5, 5),
        matters: "With IN+OUT+EPOLLET on AF_UNIX there is an event for each message that the peer takes. \
                  Code that was measured over TCP wakes far more often over AF_UNIX.",
        experiment: "For each kind of link the writer is watched with OUT+EPOLLET; its first event is taken. A byte is written \
                     and arrives: OUT on ptys and UDP, nothing on the others. The byte is read: OUT on AF_UNIX and ptys, nothing \
                     on the others, where a fence shows that nothing is on its way. On a stream of AF_UNIX reading half of a \
                     write frees nothing, and reports nothing.",
        run: |k| {
            each_of(k, KINDS, |link| {
                let is_pty = link.name.starts_with("a pty");
                let sent = if is_pty || link.name == "UDP" { vec![OUT] } else { SILENT };
                let taken = if is_pty || link.name.starts_with("AF_UNIX") { vec![OUT] } else { SILENT };
                let (input, output) = (watching(k, link.reader, IN)?, watching(k, link.writer, OUT | ET)?);
                is("the first wait of the writer", events(k, output)?, vec![OUT])?;
                for round in ["first", "second"] {
                    link.write(k, b"x")?;
                    link.settle(k)?;
                    is(format!("the reader after the {round} write"), events_soon(k, input)?, vec![IN])?;
                    is(
                        format!("the writer after the {round} write"),
                        events_when(&sent, k, output)?,
                        sent.clone(),
                    )?;
                    link.read_one(k)?;
                    link.settle(k)?;
                    let what =
                        |wait| format!("the writer, at the {wait} wait after the {round} byte was read");
                    is(what("first"), events_when(&taken, k, output)?, taken.clone())?;
                    is(what("second"), events(k, output)?, SILENT)?;
                }
                if link.name == "AF_UNIX, stream" {
                    link.write(k, b"ab")?;
                    link.read_one(k)?;
                    is("half of a write read", events(k, output)?, SILENT)?;
                    link.read_one(k)?;
                    is("the other half read", events(k, output)?, vec![OUT])?;
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "et-tcp-out-only-after-eagain",
        claim: "On TCP there is an edge of the output only after a send gave EAGAIN, and then only when \
                enough of what was sent is acknowledged: a third of the buffer.",
        reference: "sk_stream_write_space in net/core/stream.c, SOCK_NOSPACE; epoll(7) Q9",
        matters: "Waiting for OUT without having met EAGAIN waits for ever. And OUT comes late: not when \
                  there is room, but when it is worth while.",
        experiment: "OUT+EPOLLET on a connection with a small buffer at the peer: 100 bytes are sent and read, no event. It is \
                     filled until EAGAIN, no event; the peer reads 1 byte, no event; it reads all, one event, and then none.",
        run: |k| {
            let (ours, peer) = tcp_pair(k)?;
            let fence = Fence::new(k)?;
            // net.ipv4.tcp_notsent_lowat would decide instead of the buffer.
            set_option(k, ours, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, -1)?;
            // What the peer takes of its own is too little to make room for an edge.
            set_option(k, ours, SOL_SOCKET, SO_SNDBUF, 200_000)?;
            set_option(k, peer, SOL_SOCKET, SO_RCVBUF, 20_000)?;
            let epoll = watching(k, ours, OUT | ET)?;
            let mut buffer = vec![0; 65536];
            is("the first wait", events(k, epoll)?, vec![OUT])?;
            k.send(ours, &[0; 100], libc::MSG_NOSIGNAL)?;
            is("recv", k.recv(peer, &mut buffer[..100], libc::MSG_WAITALL), Ok(100))?;
            fence.cross(k)?;
            is("100 bytes sent and received", events(k, epoll)?, SILENT)?;
            let mut left = fill(k, ours, 4096)?;
            let more = left > 60_000;
            needs(
                Why::Setting,
                "net.core.wmem_max lets more be sent than the peer's buffer holds",
                more,
                left,
            )?;
            fence.cross(k)?;
            is("sent until EAGAIN", events(k, epoll)?, SILENT)?;
            left -= k.recv(peer, &mut buffer[..1], 0)?;
            fence.cross(k)?;
            is("one byte received", events(k, epoll)?, SILENT)?;
            while left > 0 {
                left -= k.recv(peer, &mut buffer, 0)?;
            }
            is("all received", events_soon(k, epoll)?, vec![OUT])?;
            is("the wait after that", events(k, epoll)?, SILENT)
        },
        ..Fact::ALWAYS
    },
];
