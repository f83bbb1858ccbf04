//! The ring itself: readiness, epoll through it, time, overflow, signals.

use super::*;
use libc::EPOLL_CTL_ADD;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ur-ring-fd-is-pollable",
        claim: "The descriptor of a ring has OUT, and IN as long as completions wait to be taken; it can be put into \
                epoll.",
        reference: "io_uring_poll in io_uring/io_uring.c",
        since: Since(5, 1),
        matters: "A loop over epoll can take in a ring piece by piece: the ring is one more entry.",
        experiment: "poll and epoll_wait without a timeout on a fresh ring, after a NOP, and after its completion \
                     was taken.",
        run: |k| {
            let ring = ring(k)?;
            let epoll = epoll(k)?;
            is("epoll_ctl with a ring", add(k, epoll, ring, IN), Ok(()))?;
            is("a fresh ring", mask(k, ring)?, OUT)?;
            is("epoll_wait with a fresh ring", ready(k, epoll)?, vec![])?;
            submit(k, ring, &[Op::Nop.named("NOP")])?;
            is("a ring with a completion", mask(k, ring)?, IN | OUT)?;
            is("epoll_wait with a completion in the ring", ready(k, epoll)?, vec![(ring, IN)])?;
            is("the completion", now(k, ring)?, vec![done("NOP", Ok(0))])?;
            is("a ring whose completion was taken", mask(k, ring)?, OUT)?;
            is("epoll_wait after the completion was taken", ready(k, epoll)?, vec![])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-epoll-ops",
        claim: "EPOLL_CTL adds to an interest list; EPOLL_WAIT waits until there is an event and has it then; \
                POLL_ADD on the descriptor of an epoll instance gives IN.",
        reference: "io_uring_enter(2) IORING_OP_EPOLL_CTL; io_epoll_wait in io_uring/epoll.c",
        since: Since(6, 15),
        matters: "Old code around epoll can be kept, and waited for through a ring.",
        experiment: "EPOLL_CTL with the reading end of a pipe, twice; EPOLL_WAIT and POLL_ADD; a byte is written.",
        run: |k| {
            let ring = ring(k)?;
            let epoll = epoll(k)?;
            let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let ctl = || Op::EpollCtl { epoll, op: EPOLL_CTL_ADD, fd: read_end, event: event(read_end, IN) };
            submit(k, ring, &[ctl().named("EPOLL_CTL")])?;
            is("the first EPOLL_CTL_ADD", soon(k, ring, 1)?, vec![done("EPOLL_CTL", Ok(0))])?;
            submit(k, ring, &[ctl().named("EPOLL_CTL")])?;
            is("the second EPOLL_CTL_ADD", soon(k, ring, 1)?, vec![done("EPOLL_CTL", no(Errno::EEXIST))])?;

            submit(
                k,
                ring,
                &[Op::EpollWait { epoll }.named("EPOLL_WAIT"), poll_once(epoll, IN).named("POLL_ADD")],
            )?;
            silent(k, ring, "before there is an event")?;
            k.write(write_end, b"!")?;
            let both = vec![done("EPOLL_WAIT", Ok(1)), done("POLL_ADD", Ok(1))];
            is("after a byte was written", soon(k, ring, 2)?, both)?;
            let event = raw::uring_event(ring, "EPOLL_WAIT")?;
            is("the event of EPOLL_WAIT", (event.u64 as i32, Events(event.events)), (read_end, IN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-link-timeout",
        claim: "A linked timeout that expires gives ETIME, and the poll that it guards ECANCELED. A plain TIMEOUT \
                that expires gives ETIME too.",
        reference: "io_uring_enter(2) IORING_OP_LINK_TIMEOUT, IORING_OP_TIMEOUT; io_uring/timeout.c",
        since: Since(5, 5),
        matters: "The errors say the opposite of what one may expect: ETIME is the timeout's success.",
        experiment: "POLL_ADD of an empty pipe with a linked timeout of 5 ms; a plain timeout of 5 ms.",
        run: |k| {
            let ring = ring(k)?;
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let guarded = poll_once(read_end, IN).named("POLL_ADD").linked();
            let started = Instant::now();
            submit(k, ring, &[guarded, Op::LinkTimeout { ms: 5 }.named("LINK_TIMEOUT")])?;
            let both = vec![done("LINK_TIMEOUT", no(Errno::ETIME)), done("POLL_ADD", no(Errno::ECANCELED))];
            is("a poll of nothing with 5 ms", soon(k, ring, 2)?, both)?;
            at_least_5_ms("LINK_TIMEOUT", started.elapsed())?;
            let started = Instant::now();
            submit(k, ring, &[Op::Timeout { ms: 5 }.named("TIMEOUT")])?;
            is("a timeout of 5 ms", soon(k, ring, 1)?, vec![done("TIMEOUT", no(Errno::ETIME))])?;
            at_least_5_ms("TIMEOUT", started.elapsed())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-cq-overflow-keeps-events",
        claim: "With IORING_FEAT_NODROP, 10 completions through a completion queue of 4 are all delivered, in their \
                order.",
        reference: "io_uring_setup(2) IORING_FEAT_NODROP; cq_overflow_list in io_uring/io_uring.c",
        since: Since(5, 5),
        matters: "Without it a completion, and with it a descriptor or a buffer, is lost under load.",
        experiment: "A ring with room for 4 operations and 4 completions; 4, 4 and 2 NOPs; then all completions are \
                     taken.",
        run: |k| {
            const NAMES: [&str; 10] =
                ["NOP 0", "NOP 1", "NOP 2", "NOP 3", "NOP 4", "NOP 5", "NOP 6", "NOP 7", "NOP 8", "NOP 9"];
            let ring = ring_of(k, 4, 4)?;
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
            is("completions, through a queue of 4", all, NAMES.map(|name| done(name, Ok(0))).to_vec())?;
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
            let both = [("with SA_RESTART", libc::SA_RESTART, Some(LONG)), ("without SA_RESTART", 0, None)];
            for (name, flags, limit) in both {
                k.sigaction(libc::SIGUSR1, Action::Count, flags)?;
                let waiter = Waiter::asleep(IO_URING_ENTER, move || k.uring_wait(ring, 1, limit))?;
                raw::tgkill(waiter.thread, libc::SIGUSR1)?;
                is(format!("io_uring_enter after a handler {name}"), waiter.join()?, no(Errno::EINTR))?;
            }
            is("how often the handler has run", raw::handled(libc::SIGUSR1), 2)
        },
        ..Fact::ALWAYS
    },
];

fn at_least_5_ms(name: &str, took: Duration) -> Held {
    holds(format!("{name} of 5 ms takes at least 5 ms"), took >= Duration::from_millis(5), took)
}

/// Longer than it takes to send a signal to a thread that is asleep.
const LONG: Duration = Duration::from_secs(2);
