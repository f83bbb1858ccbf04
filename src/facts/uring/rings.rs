//! The ring itself: readiness, epoll through it, time, overflow, signals.

use super::*;
use libc::EPOLL_CTL_ADD;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ur-ring-fd-is-pollable",
        claim: "The descriptor of a ring has OUT, and IN as long as completions wait to be taken; it can be put into epoll.",
        reference: "io_uring_poll in io_uring/io_uring.c",
        since: Since(5, 1),
        matters: "A loop over epoll can take in a ring piece by piece: the ring is one more entry.",
        experiment: "poll and epoll_wait without a timeout on a fresh ring, after a NOP, and after its completion was taken.",
        run: |k| {
            let ring = ring(k)?;
            let epoll = epoll(k)?;
            is("epoll_ctl with a ring", add(k, epoll, ring, IN), Ok(()))?;
            noted(is("a fresh ring", mask(k, ring), Ok(OUT)));
            noted(is("epoll_wait with a fresh ring", ready(k, epoll), Ok(vec![])));
            submit(k, ring, &[Op::Nop.named("NOP")])?;
            noted(is("a ring with a completion", mask(k, ring), Ok(IN | OUT)));
            noted(is("epoll_wait with a completion in the ring", ready(k, epoll), Ok(vec![(ring, IN)])));
            is("the completion", now(k, ring), Ok(vec![done("NOP", Ok(0))]))?;
            noted(is("a ring whose completion was taken", mask(k, ring), Ok(OUT)));
            is("epoll_wait after the completion was taken", ready(k, epoll), Ok(vec![]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-epoll-ops",
        claim: "EPOLL_CTL adds to an interest list; POLL_ADD on the descriptor of an epoll instance gives \
                IN; since Linux 6.15 EPOLL_WAIT waits until there is an event, and has it then.",
        reference: "io_uring_enter(2) IORING_OP_EPOLL_CTL; io_epoll_wait in io_uring/epoll.c",
        since: Since(5, 6),
        matters: "Old code around epoll can be kept, and waited for through a ring.",
        experiment: "EPOLL_CTL with the reading end of a pipe, twice; POLL_ADD, and then EPOLL_WAIT, each \
                     before a byte is written.",
        run: |k| {
            let ring = ring(k)?;
            let epoll = epoll(k)?;
            let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let ctl = || Op::EpollCtl { epoll, op: EPOLL_CTL_ADD, fd: read_end, event: event(read_end, IN) };
            submit(k, ring, &[ctl().named("EPOLL_CTL")])?;
            come(k, ring, "the first EPOLL_CTL_ADD", &[done("EPOLL_CTL", Ok(0))])?;
            submit(k, ring, &[ctl().named("EPOLL_CTL")])?;
            noted(come(k, ring, "the second EPOLL_CTL_ADD", &[done("EPOLL_CTL", no(Errno::EEXIST))]));
            submit(k, ring, &[poll_once(epoll, IN).named("POLL_ADD")])?;
            noted(silent(k, ring, "of POLL_ADD, before there is an event"));
            k.write(write_end, b"!")?;
            noted(come(k, ring, "POLL_ADD, after a byte was written", &[done("POLL_ADD", Ok(1))]));
            k.read(read_end, &mut [0])?;
            since(Since(6, 15), || {
                submit(k, ring, &[Op::EpollWait { epoll }.named("EPOLL_WAIT")])?;
                silent(k, ring, "of EPOLL_WAIT, before there is an event")?;
                k.write(write_end, b"!")?;
                let completions = soon(k, ring, 1);
                let event = raw::uring_event(ring, "EPOLL_WAIT")
                    .map(|event| (event.u64 as i32, Events(event.events)));
                let expected = (Ok(vec![done("EPOLL_WAIT", Ok(1))]), Ok((read_end, IN)));
                is("EPOLL_WAIT, after a byte was written, and its event", (completions, event), expected)
            });
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-link-timeout",
        claim: "A linked timeout that expires gives ETIME, and the poll that it guards ECANCELED. A plain \
                TIMEOUT that expires gives ETIME too.",
        reference: "io_uring_enter(2) IORING_OP_LINK_TIMEOUT, IORING_OP_TIMEOUT; io_uring/timeout.c",
        since: Since(5, 5),
        matters: "The errors say the opposite of what one may expect: ETIME is the timeout's success.",
        experiment: "POLL_ADD of an empty pipe with a linked timeout of 5 ms; a plain timeout of 5 ms.",
        run: |k| {
            let ring = ring(k)?;
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let guarded = poll_once(read_end, IN).named("POLL_ADD").linked();
            let linked = vec![done("LINK_TIMEOUT", no(Errno::ETIME)), done("POLL_ADD", no(Errno::ECANCELED))];
            let plain = vec![done("TIMEOUT", no(Errno::ETIME))];
            for (what, operations, expected) in [
                (
                    "a poll of nothing with 5 ms",
                    vec![guarded, Op::LinkTimeout { ms: 5 }.named("LINK_TIMEOUT")],
                    linked,
                ),
                ("a timeout of 5 ms", vec![Op::Timeout { ms: 5 }.named("TIMEOUT")], plain),
            ] {
                let started = Instant::now();
                submit(k, ring, &operations)?;
                let all = soon(k, ring, expected.len());
                let in_time = started.elapsed() >= Duration::from_millis(5);
                noted(is(format!("{what}, and that it takes as long"), (all, in_time), (Ok(expected), true)));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-cq-overflow-keeps-events",
        claim: "With IORING_FEAT_NODROP, 10 completions through a completion queue of 4 are all delivered, in their order.",
        reference: "io_uring_setup(2) IORING_FEAT_NODROP; cq_overflow_list in io_uring/io_uring.c",
        since: Since(5, 5),
        matters: "Without it a completion, and with it a descriptor or a buffer, is lost under load.",
        experiment: "A ring with room for 4 operations and 4 completions; 4, 4 and 2 NOPs; then all completions are taken.",
        run: |k| {
            const NAMES: [&str; 10] =
                ["NOP 0", "NOP 1", "NOP 2", "NOP 3", "NOP 4", "NOP 5", "NOP 6", "NOP 7", "NOP 8", "NOP 9"];
            let ring = ring_of(k, 4, 4, 0)?;
            if !raw::uring_keeps_overflow(ring)? {
                return skip(
                    Why::Missing,
                    "this kernel does not claim to keep completions: it lacks IORING_FEAT_NODROP",
                );
            }
            for names in NAMES.chunks(4) {
                submit(k, ring, &names.iter().map(|name| Op::Nop.named(name)).collect::<Vec<_>>())?;
            }
            let mut all = Vec::new();
            // Nothing to wait for: they are there, or the kernel keeps them until it is entered with room for them.
            while let Some(next) = k.uring_next(ring)? {
                all.push(next);
                while let Some(next) = k.uring_next(ring)? {
                    all.push(next);
                }
                k.uring_wait(ring, 0, None)?;
            }
            noted(is("completions, through a queue of 4", all, NAMES.map(|name| done(name, Ok(0))).to_vec()));
            silent(k, ring, "after all were taken")
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-enter-eintr",
        claim: "io_uring_enter that waits for a completion gives EINTR when a handler has run, SA_RESTART or not.",
        reference: "io_uring_enter(2) EINTR; signal(7); io_cqring_wait in io_uring/io_uring.c",
        since: Since(5, 1),
        matters: "A loop that takes EINTR for an error ends when its terminal is resized.",
        experiment: "A thread waits in io_uring_enter; a signal whose handler has SA_RESTART is sent to it.",
        run: |k| {
            let ring = ring(k)?;
            // The first with a limit: a kernel that waits on says so.
            let both =
                [("with SA_RESTART", libc::SA_RESTART, Some(bound() / 2)), ("without SA_RESTART", 0, None)];
            for (runs, (name, flags, limit)) in (1..).zip(both) {
                k.sigaction(libc::SIGUSR1, Action::Count, flags)?;
                let waiter = Waiter::asleep(IO_URING_ENTER, move || {
                    (k.uring_wait(ring, 1, limit), raw::handled(libc::SIGUSR1))
                })?;
                raw::tgkill(waiter.thread, libc::SIGUSR1)?;
                let expected = (no(Errno::EINTR), runs);
                is(
                    format!("io_uring_enter after a handler {name}, and how often it has run"),
                    waiter.join()?,
                    expected,
                )?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-eventfd-loop-ends",
        claim: "A multishot POLL_ADD of the eventfd that is registered for its own ring ends with its first \
                completion, as a single one does.",
        reference: "io_uring_register(2) IORING_REGISTER_EVENTFD; EPOLL_URING_WAKE in io_uring/poll.c, commit 4464853277d0",
        since: Since(6, 2),
        backports: &[Release(5, 10, 162), Release(6, 1, 3)],
        matters: "Each completion writes to the eventfd, which would complete the poll, which would write to \
                  the eventfd: before that commit it did so without end.",
        experiment: "An eventfd registered and polled by a multishot POLL_ADD in one ring; a NOP; then another NOP.",
        run: |k| {
            let ring = ring(k)?;
            let event = k.eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)?;
            known(k.uring_eventfd(ring, event))?;
            submit(k, ring, &[Op::PollAdd { fd: event, events: IN.0, multi: true }.named("POLL_ADD")])?;
            submit(k, ring, &[Op::Nop.named("NOP")])?;
            let both = [done("NOP", Ok(0)), done("POLL_ADD", Ok(1))];
            come(k, ring, "after a NOP", &both)?;
            let mut count = [0; 8];
            let read = k.read(event, &mut count).map(|_| u64::from_ne_bytes(count));
            noted(is("how often the eventfd was written to", read, Ok(2)));
            silent(k, ring, "after another NOP")
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-defer-taskrun",
        claim: "In a ring with IORING_SETUP_DEFER_TASKRUN a poll that is ready does not complete until its thread waits in \
                io_uring_enter, whatever other calls it makes. Another thread that waits gets EEXIST.",
        reference: "io_uring_setup(2) IORING_SETUP_DEFER_TASKRUN; io_allowed_run_tw in io_uring/io_uring.c",
        since: Since(6, 1),
        matters: "A loop that only looks at the queue, and enters the kernel when it is empty of work, never \
                  sees a completion. One that polls the ring sees IN, and finds nothing in it.",
        experiment: "POLL_ADD of an empty pipe in such a ring; a byte is written; the queue is looked at, \
                     before and after a wait. A wait in a second thread.",
        run: |k| {
            let ring = ring_of(k, 16, 32, raw::SETUP_SINGLE_ISSUER | raw::SETUP_DEFER_TASKRUN)?;
            let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            submit(k, ring, &[poll_once(read_end, IN).named("POLL_ADD")])?;
            k.write(write_end, b"!")?;
            noted(is("completions after a byte was written", now(k, ring), Ok(vec![])));
            since(Since(6, 6), || is("what poll says of the ring then", mask(k, ring), Ok(IN | OUT)));
            noted(is("completions after poll", now(k, ring), Ok(vec![])));
            noted(come(k, ring, "after a wait", &[done("POLL_ADD", Ok(1))]));
            let other = Waiter::started(IO_URING_ENTER, move || k.uring_wait(ring, 1, Some(bound() / 2)))?;
            is("io_uring_enter in another thread", other.join()?, no(Errno::EEXIST))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-cancel-all-counts",
        claim: "ASYNC_CANCEL with IORING_ASYNC_CANCEL_FD and _ALL gives the number of operations that it has \
                cancelled, each of which completes with ECANCELED; 0 if there are none.",
        reference: "io_uring_enter(2) IORING_OP_ASYNC_CANCEL; __io_async_cancel in io_uring/cancel.c",
        since: Since(5, 19),
        matters: "It is what close of a client needs first. With a name it gives 0 for success and ENOENT \
                  for nothing; here 0 is nothing.",
        experiment: "Two RECVs on one socket, and one on another; ASYNC_CANCEL of all on the first, twice; \
                     then the other receives.",
        run: |k| {
            let ring = ring(k)?;
            let ((first, _peer), (second, peer)) = (unix_pair(k)?, unix_pair(k)?);
            let recv = |fd, name| Op::Recv { fd, flags: 0 }.named(name);
            submit(
                k,
                ring,
                &[recv(first, "RECV 1"), recv(first, "RECV 2"), recv(second, "RECV of another")],
            )?;
            let cancelled = no(Errno::ECANCELED);
            let all = [done("CANCEL", Ok(2)), done("RECV 1", cancelled), done("RECV 2", cancelled)];
            submit(k, ring, &[Op::CancelFd { fd: first }.named("CANCEL")])?;
            noted(come(k, ring, "after the first", &all));
            submit(k, ring, &[Op::CancelFd { fd: first }.named("CANCEL")])?;
            noted(come(k, ring, "after the second, with nothing left", &[done("CANCEL", Ok(0))]));
            k.send(peer, b"!", 0)?;
            come(k, ring, "after a send to the other socket", &[done("RECV of another", Ok(1))])
        },
        ..Fact::ALWAYS
    },
];
