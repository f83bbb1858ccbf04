//! What puts a descriptor into which set.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sel-regular-file-read-write-ready",
        claim: "A regular file is always ready for reading and writing, at its end too, and never in the except set.",
        reference: "DEFAULT_POLLMASK in include/linux/poll.h; poll(2)",
        matters: "select cannot tell when a disk will be slow: the read that follows may block. epoll refuses regular \
                  files instead of saying so.",
        experiment: "select of an empty file on disk, in all sets.",
        run: |k| {
            let scratch = Scratch::new();
            let file = k.open(scratch.path(), libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC)?;
            each_call(|call| {
                is("an empty regular file", call.all_of(k, file), (Ok(2), Three::of(&[file], &[file], &[])))
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-pipe-eof-only-readable",
        claim: "The reading end of a pipe without writers is in the read set only.",
        reference: "POLLIN_SET in fs/select.c, which has HUP",
        matters: "The end of the data is something to read. Code that waits for it in the except set waits for ever.",
        experiment: "The writing end is closed; select of the reading end, in all sets.",
        run: |k| {
            let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            k.close(write_end)?;
            each_call(|call| {
                let expected = (Ok(1), Three::of(&[read_end], &[], &[]));
                is("the reading end of a pipe without writers", call.all_of(k, read_end), expected)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-pipe-broken-read-and-write",
        claim: "The writing end of a pipe without readers is in the read set and in the write set, not in the except \
                set; also when the pipe is full.",
        reference: "POLLIN_SET and POLLOUT_SET in fs/select.c, which both have ERR",
        matters: "A writer can notice that its reader went without writing: it asks whether its own end, from which \
                  nothing can be read, is readable.",
        experiment: "The reading end is closed; select of the writing end, in all sets. The same with a full pipe.",
        run: |k| {
            each_call(|call| {
                for contents in ["empty", "full"] {
                    let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
                    if contents == "full" {
                        fill(k, write_end, 4096)?;
                    }
                    k.close(read_end)?;
                    let what = format!("the writing end of a pipe without readers, {contents}");
                    let expected = (Ok(2), Three::of(&[write_end], &[write_end], &[]));
                    noted(is(what, call.all_of(k, write_end), expected));
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-refused-connect-both-sets",
        claim: "After a non-blocking TCP connect was refused, the socket is in the read set and in the write set, not \
                in the except set.",
        reference: "select(2); connect(2) EINPROGRESS; tcp_poll in net/ipv4/tcp.c",
        matters: "Writable does not mean connected: SO_ERROR tells. Code from Windows, where a failed connect is in \
                  the except set, never hears of it here.",
        experiment: "connect to a loopback port where nobody listens; once poll says ERR, select in all sets.",
        run: |k| {
            let address = refused_address(k)?;
            each_call(|call| {
                let socket = connecting(k, &address)?;
                mask_with(k, socket, RESET)?;
                let expected = (Ok(2), Three::of(&[socket], &[socket], &[]));
                is("a socket whose connect was refused", call.all_of(k, socket), expected)?;
                is("SO_ERROR after that", so_error(k, socket)?, Errno::ECONNREFUSED)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-oob-in-except-set",
        claim: "Urgent data puts a TCP socket into the except set until it is received, and ordinary data, the peer's \
                end and a reset do not.",
        reference: "select(2): POLLPRI and the except set; tcp(7); tcp_poll in net/ipv4/tcp.c",
        matters: "The except set is not the set of errors, as its name suggests: errors are in the read and the write set.",
        experiment: "A peer sends a byte, then an urgent byte, which is received; it ends its side, and another peer \
                     resets its connection. select in all sets at each step.",
        run: |k| {
            each_call(|call| {
                let (peer, socket) = tcp_pair(k)?;
                let now = |state: &str, expected: (Reply<usize>, Three)| {
                    noted(is(format!("a TCP socket {state}"), call.all_of(k, socket), expected));
                };
                let writable = (Ok(1), Three::of(&[], &[socket], &[]));
                let readable = (Ok(2), Three::of(&[socket], &[socket], &[]));
                now("that has nothing to read", writable);

                k.send(peer, b"1", libc::MSG_NOSIGNAL)?;
                mask_with(k, socket, IN)?;
                now("with a byte to read", readable);
                k.recv(socket, &mut [0], libc::MSG_DONTWAIT)?;

                k.send(peer, b"2", libc::MSG_OOB | libc::MSG_NOSIGNAL)?;
                mask_with(k, socket, PRI)?;
                now("with an urgent byte", (Ok(2), Three::of(&[], &[socket], &[socket])));
                k.recv(socket, &mut [0], libc::MSG_OOB)?;
                now("whose urgent byte was received", writable);

                k.shutdown(peer, libc::SHUT_WR)?;
                mask_with(k, socket, IN)?;
                now("whose peer has ended its side", readable);

                let (peer, socket) = tcp_pair(k)?;
                reset_connection(k, peer)?;
                mask_with(k, socket, RESET)?;
                let expected = (Ok(2), Three::of(&[socket], &[socket], &[]));
                is("a TCP socket whose peer has reset the connection", call.all_of(k, socket), expected)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-close-in-other-thread-no-wake",
        claim: "Closing a descriptor in another thread does not wake a select that waits for it. When something wakes \
                it, the closed number is reported ready in every set that held it.",
        reference: "select(2) Multithreaded applications; do_select in fs/select.c; commit 68514dacf271",
        since: Since(5, 17),
        backports: &[Release(5, 10, 95), Release(5, 16, 4)],
        matters: "close is no way to stop a thread that waits: it needs a descriptor of its own for that. And the \
                  number may belong to another file by the time it is reported.",
        experiment: "A thread sleeps in select with an empty pipe in all three sets. Its reading end is closed; 60 ms \
                     later the thread must still be asleep. Then a byte is written to the pipe.",
        wrong: &["Linux before 5.17: the thread could sleep on (commit 68514dacf271)"],
        run: |k| {
            each_call(|call| {
                let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
                // What this thread opens in /proc to see the other asleep must not be mistaken for the pipe.
                let polled = k.fcntl(read_end, libc::F_DUPFD_CLOEXEC, 40)?;
                k.close(read_end)?;
                let mut sets = Three::<1>::of(&[polled], &[polled], &[polled]);
                let waiter = Waiter::asleep(SELECT, move || {
                    let reply = call.call(k, polled + 1, sets.sets(), &mut { LONG });
                    (reply, sets)
                })?;
                k.close(polled)?;
                waiter.sleeps_on(Duration::from_millis(60))?;
                // The sleeping call keeps the pipe: it still has a reader.
                k.write(write_end, b"!")?;
                let what = "a descriptor that was closed meanwhile, after a write to its pipe";
                is(what, waiter.join()?, (Ok(3), Three::of(&[polled], &[polled], &[polled])))
            })
        },
        ..Fact::ALWAYS
    },
];
