//! Which signals come, in which order, and to whom.

use super::*;
use crate::sys::raw::handled_in;
use libc::{MSG_NOSIGNAL, SA_RESTART, SHUT_WR};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-rt-queue-order",
        claim: "Real-time signals queue: the lowest number first, and in the order of sending within a \
                number. With none left, sigtimedwait with a timeout of 0 fails with EAGAIN.",
        reference: "signal(7), real-time signals; next_signal and collect_signal in kernel/signal.c",
        matters: "With standard signals a program learns that something happened, with these how often, and what.",
        experiment: "Signals 40 and 41 blocked; two of 41 and three of 40 sent with sigqueue in turns; sigtimedwait six times.",
        run: |k| {
            let both = bit(40) | bit(41);
            k.sigprocmask(SIG_BLOCK, both)?;
            for (value, signal) in (1..).zip([41, 40, 40, 41, 40]) {
                match k.sigqueue(me(), signal, value) {
                    Err(refusal) if refusal.errno == Errno::EAGAIN => {
                        return skip(
                            Why::Limits,
                            "sigqueue gives EAGAIN: RLIMIT_SIGPENDING of this user is used up",
                        );
                    }
                    queued => queued?,
                }
            }
            let mut came = Vec::new();
            let end = loop {
                match k.sigtimedwait(both, 0) {
                    Ok(one) if came.len() < 6 => came.push((one.signal, one.value)),
                    end => break end.map(|one| one.signal),
                }
            };
            let expected = vec![(40, 2), (40, 3), (40, 5), (41, 1), (41, 4)];
            is("signals and their values, as they came, and then", (came, end), (expected, no(Errno::EAGAIN)))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-sigpipe-rules",
        claim: "A write to a pipe without readers, or to a stream socket that is shut down for writing, raises SIGPIPE and fails \
                with EPIPE. MSG_NOSIGNAL takes away the signal, not the error. By default the signal kills.",
        reference: "pipe(7), send(2) MSG_NOSIGNAL; pipe_write in fs/pipe.c, sk_stream_error in net/core/stream.c",
        matters: "A server that does not care dies with the first client that leaves early. For pipes there \
                  is no MSG_NOSIGNAL: the signal has to be ignored.",
        experiment: "With a handler that counts: write to a pipe, send on an AF_UNIX and on a TCP socket, \
                     send with MSG_NOSIGNAL on both. In a child with the default: write to a pipe.",
        wrong: &[
            "zbus: https://github.com/z-galaxy/zbus/issues/1657",
            "hiredis: https://github.com/redis/hiredis/issues/1229",
            "Rust: https://github.com/rust-lang/rust/issues/13158",
        ],
        run: |k| {
            k.sigaction(SIGPIPE, Action::Count, 0)?;
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            k.close(reader)?;
            let (unix, _unix_peer) = unix_pair(k)?;
            k.shutdown(unix, SHUT_WR)?;
            let (tcp, _tcp_peer) = tcp_pair(k)?;
            k.shutdown(tcp, SHUT_WR)?;
            let runs = || handled(SIGPIPE);
            let epipe = no(Errno::EPIPE);
            let mut before = 0;
            // How many signals this call has brought.
            let mut raised = |sent: Reply<usize>| (sent, runs() - std::mem::replace(&mut before, runs()));
            noted(is("write to a pipe without readers; SIGPIPEs", raised(k.write(writer, b"x")), (epipe, 1)));
            for (name, fd) in [("an AF_UNIX", unix), ("a TCP", tcp)] {
                let sent = k.send(fd, b"x", 0);
                noted(is(format!("send on {name} socket, shut down; SIGPIPEs"), raised(sent), (epipe, 1)));
                let sent = k.write(fd, b"x");
                noted(is(format!("write to {name} socket, shut down; SIGPIPEs"), raised(sent), (epipe, 1)));
                let sent = k.send(fd, b"x", MSG_NOSIGNAL);
                noted(is(
                    format!("send with MSG_NOSIGNAL on {name} socket; SIGPIPEs"),
                    raised(sent),
                    (epipe, 0),
                ));
            }
            let child = Forked::start(|| {
                k.sigaction(SIGPIPE, Action::Default, 0)?;
                is("write, with SIGPIPE at its default", k.write(writer, b"x"), no(Errno::EPIPE))
            })?;
            let killed = k.waitpid(child.pid, 0).map(|(_, s)| (libc::WIFSIGNALED(s), libc::WTERMSIG(s)));
            is("WIFSIGNALED and WTERMSIG of a child with the default of SIGPIPE", killed, Ok((true, SIGPIPE)))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-no-sigpipe-on-econnreset",
        claim: "The first send after an RST fails with ECONNRESET and raises no SIGPIPE; the next one fails with EPIPE, and does.",
        reference: "send(2); sk_stream_error in net/core/stream.c",
        matters: "A test in which one send after a reset did no harm proves nothing about the second.",
        experiment: "A handler that counts SIGPIPE; a TCP connection that the peer resets; two sends.",
        run: |k| {
            k.sigaction(SIGPIPE, Action::Count, 0)?;
            let (socket, peer) = tcp_pair(k)?;
            reset_connection(k, peer)?;
            let now = mask_with(k, socket, ERR)?;
            needs(Why::Setup, "the connection was reset", now.has(ERR), now)?;
            let send = || (k.send(socket, b"x", 0), handled(SIGPIPE));
            noted(is("the first send; SIGPIPEs", send(), (no(Errno::ECONNRESET), 0)));
            is("the second send; SIGPIPEs", send(), (no(Errno::EPIPE), 1))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-sendfile-sigpipe",
        claim: "sendfile to a stream socket that is shut down for writing, or to a pipe without readers, \
                raises SIGPIPE and fails with EPIPE.",
        reference: "sendfile(2), signal(7); splice_to_socket in fs/splice.c, sk_stream_error in net/core/stream.c",
        gaps: &[Gap {
            from: Since(5, 10),
            until: Some(Since(5, 11)),
            repaired: &[Release(5, 10, 11)],
            commits: "36e2c7421f02 (5.10) refused sendfile to a pipe, f8ad8187c3b5 (5.11, 5.10.11) allowed it again",
        }],
        matters: "sendfile has no flags, and so no MSG_NOSIGNAL: a server that sends files has to ignore the \
                  signal, whatever it does in send.",
        experiment: "A handler that counts SIGPIPE; sendfile from a memfd to an AF_UNIX and a TCP socket, \
                     both shut down, and to a pipe.",
        run: |k| {
            k.sigaction(SIGPIPE, Action::Count, 0)?;
            let file = k.memfd_create(0)?;
            k.write(file, b"file")?;
            let sends_to = |name: &str, fd| {
                let before = handled(SIGPIPE);
                let sent = k.sendfile(fd, file, &mut 0, 4);
                let raised = handled(SIGPIPE) - before;
                is(format!("sendfile to {name}; SIGPIPEs"), (sent, raised), (no(Errno::EPIPE), 1))
            };
            let (unix, _unix_peer) = unix_pair(k)?;
            k.shutdown(unix, SHUT_WR)?;
            noted(sends_to("an AF_UNIX socket", unix));
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            k.close(reader)?;
            noted(sends_to("a pipe", writer));
            let (tcp, _tcp_peer) = tcp_pair(k)?;
            k.shutdown(tcp, SHUT_WR)?;
            sends_to("a TCP socket", tcp)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-process-signal-one-thread",
        claim: "A signal to the process runs its handler in a thread that does not block it: if there is \
                only one, it gets all of them.",
        reference: "signal(7), signal mask and pending signals; complete_signal in kernel/signal.c",
        matters: "Blocking signals in all threads but one is a reliable way to have them handled there.",
        experiment: "Three threads, of which one has not blocked SIGUSR1; 20 signals to the process, one \
                     after the other; the thread of each handler.",
        run: |k| {
            k.sigaction(SIGUSR1, Action::Count, SA_RESTART)?;
            // This thread, and those that it starts.
            k.sigprocmask(SIG_BLOCK, bit(SIGUSR1))?;
            let [reader, writer] = k.pipe2(O_CLOEXEC)?;
            let _deaf = Waiter::asleep(READ, move || k.read(reader, &mut [0]))?;
            let listens = Waiter::asleep(READ, move || {
                k.sigprocmask(SIG_UNBLOCK, bit(SIGUSR1))?;
                k.read(reader, &mut [0])
            })?;
            for n in 1..=20 {
                k.kill(me(), SIGUSR1)?;
                let runs = handled_soon(SIGUSR1, n);
                let expected = (n, listens.thread);
                is(
                    "runs of the handler, and its thread, after one more signal",
                    (runs, handled_in(SIGUSR1)),
                    expected,
                )?;
            }
            k.write(writer, b"ab")?;
            is("read in that thread", listens.join()?, Ok(1))
        },
        ..Fact::ALWAYS
    },
];
