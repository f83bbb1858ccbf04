//! Which events a wait returns, in which order, and as of when.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-fifo-order",
        claim: "Events are returned in the order in which the descriptors became ready, not in that of registration or of \
                their numbers.",
        reference: "ep_poll_callback in fs/eventpoll.c appends to the list of what is ready",
        matters: "Who has waited longest is served first. With select and poll the low numbers always come first.",
        experiment: "Four pipes are added in the order b, d, a, c and written to in the order c, a, d, b.",
        run: |k| {
            let ep = epoll(k)?;
            let mut pipes = [(0, 0); 4];
            for pair in &mut pipes {
                *pair = pipe(k)?;
            }
            for at in [1, 3, 0, 2] {
                add(k, ep, pipes[at].0, IN)?;
            }
            let became_ready = [2, 0, 3, 1];
            for at in became_ready {
                k.write(pipes[at].1, b"x")?;
            }
            let order: Vec<_> = ready(k, ep)?.iter().map(|(fd, _)| name(&pipes, *fd)).collect();
            let expected = became_ready.map(|at| name(&pipes, pipes[at].0));
            is("pipes in the order of their events", order.concat(), expected.concat())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-round-robin",
        claim: "When more level-triggered descriptors are ready than a wait has room for, successive waits rotate: none is \
                reported again before all were.",
        reference: "epoll_wait(2) NOTES; ep_send_events in fs/eventpoll.c puts level-triggered entries back at the tail",
        matters: "A small array starves nobody. A loop over select that stops after a few descriptors does.",
        experiment: "13 readable pipes, never read from; nine waits with room for three.",
        run: |k| {
            const PIPES: usize = 13;
            let ep = epoll(k)?;
            let mut readers = Vec::new();
            for _ in 0..PIPES {
                let (r, w) = pipe(k)?;
                add(k, ep, r, IN)?;
                k.write(w, b"x")?;
                readers.push(r);
            }
            let mut seen = Vec::new();
            for _ in 0..9 {
                let mut events = [epoll_event { events: 0, u64: 0 }; 3];
                is(
                    "events of a wait with room for three",
                    k.epoll_wait(ep, At::from(&mut events), 3, 0)?,
                    3,
                )?;
                let pipe_of = |event: &epoll_event| {
                    let fd = event.u64 as i32;
                    readers.iter().position(|r| *r == fd).unwrap_or(usize::MAX)
                };
                seen.extend(events.iter().map(pipe_of));
            }
            let mut first = seen[..PIPES].to_vec();
            first.sort_unstable();
            let all: Vec<usize> = (0..PIPES).collect();
            if first != all {
                return differs("the first 13 events", "each of 13 pipes", seen[..PIPES].show());
            }
            is("the pipes of the next 13 events", &seen[PIPES..2 * PIPES], &seen[..PIPES])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-add-ready-reports",
        claim: "Adding a descriptor that is ready already reports it with the next wait, with EPOLLET too.",
        reference: "ep_insert in fs/eventpoll.c asks the file",
        matters: "Data that came before the registration is no lost edge: nobody must read once before the first wait.",
        experiment: "A pipe with a byte in it is added, level-triggered to one instance and edge-triggered to another.",
        run: |k| {
            let (r, w) = pipe(k)?;
            k.write(w, b"x")?;
            for (what, flags) in [("level-triggered", NONE), ("edge-triggered", ET)] {
                let ep = epoll(k)?;
                add(k, ep, r, IN | flags)?;
                is(
                    format!("{what}, the events of a pipe that was readable when added"),
                    ready(k, ep)?,
                    vec![(r, IN)],
                )?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-state-at-delivery",
        claim: "The events that a wait returns are those at its time, not those of the wake-up: what has gone is not \
                reported, what came later is reported along.",
        reference: "ep_send_events in fs/eventpoll.c asks each file again",
        matters: "A connection that another process has accepted already costs no wake-up here; but between the wait and \
                  accept it may still go, so that the listener must be non-blocking.",
        experiment: "Two instances watch one listener; one client connects; the first instance reports it, a child accepts, \
                     the second instance is asked. A pipe is written to and its writing end closed before the first wait.",
        run: |k| {
            let (listener, address) = listener(k, 5)?;
            let (first, second) = (epoll(k)?, epoll(k)?);
            add(k, first, listener, IN)?;
            add(k, second, listener, IN)?;
            connected(k, &address)?;
            is("the first instance, with a connection", ready_soon(k, first)?, vec![(listener, IN)])?;
            is("the second instance as poll sees it, with the connection", mask(k, second)?, IN)?;
            Forked::start(|| Ok(k.accept(listener).map(drop)?))?.join()?;
            is("the second instance, once another process has accepted", ready(k, second)?, vec![])?;

            let (r, w) = pipe(k)?;
            let ep = epoll(k)?;
            add(k, ep, r, IN)?;
            k.write(w, b"x")?;
            k.close(w)?;
            is("a pipe that was written to, then closed", ready(k, ep)?, vec![(r, IN | HUP)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-delivered-events-are-stale",
        claim: "Closing a descriptor does not revoke an event that a wait has delivered already. The number of that event \
                may belong to another file by the time the program comes to it.",
        reference: "epoll(7), Possible pitfalls",
        matters: "A handler that closes another client must also forget what the same batch says of it; or it will read from \
                  the wrong one.",
        experiment: "Two readable pipes come with one wait; the second is closed while the first is handled; an eventfd gets \
                     its number; the next wait is looked at.",
        run: |k| {
            let ep = epoll(k)?;
            let ((r, w), (gone, other)) = (pipe(k)?, pipe(k)?);
            for (reader, writer) in [(r, w), (gone, other)] {
                add(k, ep, reader, IN)?;
                k.write(writer, b"x")?;
            }
            let mut events = [epoll_event { events: 0, u64: 0 }; 2];
            is("events of the wait", k.epoll_wait(ep, At::from(&mut events), 2, 0)?, 2)?;
            k.close(gone)?;
            is("the number of the next descriptor", k.eventfd(0, libc::EFD_CLOEXEC)?, gone)?;
            let [_, second] = events;
            is(
                "(descriptor, events) of the second event, after that was closed",
                (second.u64 as i32, Events(second.events)),
                (gone, IN),
            )?;
            is("the file that has its number now", mask(k, gone)?, OUT)?;
            is("the next wait", ready(k, ep)?, vec![(r, IN)])
        },
        ..Fact::ALWAYS
    },
];

/// a, b, c, or d.
fn name(pipes: &[(i32, i32); 4], fd: i32) -> &'static str {
    let at = pipes.iter().position(|(r, _)| *r == fd);
    at.map_or("?", |at| ["a", "b", "c", "d"][at])
}
