//! Which events a wait returns, in which order, and as of when.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-fifo-order",
        claim: "Events are returned in the order in which the descriptors became ready, not in that of \
                registration or of their numbers.",
        reference: "ep_poll_callback in fs/eventpoll.c appends to the list of what is ready",
        matters: "Who has waited longest is served first. With select and poll the low numbers always come first.",
        experiment: "Four pipes are added in the order b, d, a, c and written to in the order c, a, d, b.",
        run: |k| {
            let (ep, pipes) = (epoll(k)?, [pipe(k)?, pipe(k)?, pipe(k)?, pipe(k)?]);
            for at in [1, 3, 0, 2] {
                add(k, ep, pipes[at].0, IN)?;
            }
            for at in [2, 0, 3, 1] {
                k.write(pipes[at].1, b"x")?;
            }
            let expected = [2, 0, 3, 1].map(|at| (pipes[at].0, IN)).to_vec();
            is("events of pipes that were written to in the order c, a, d, b", ready(k, ep)?, expected)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-round-robin",
        claim: "When more level-triggered descriptors are ready than a wait has room for, successive waits \
                rotate: none is reported again before all were.",
        reference: "epoll_wait(2) NOTES; ep_send_events in fs/eventpoll.c puts level-triggered entries back at the tail",
        matters: "A small array starves nobody. A loop over select that stops after a few descriptors does.",
        experiment: "Five readable pipes, never read from; five waits with room for two.",
        run: |k| {
            let (ep, mut entries) = (epoll(k)?, Vec::new());
            for _ in 0..5 {
                let (r, w) = pipe(k)?;
                add(k, ep, r, IN)?;
                k.write(w, b"x")?;
                entries.push((r, IN));
            }
            let mut seen = Vec::new();
            for nth in 1..=5 {
                is(format!("the instance as poll sees it, before wait {nth}"), mask(k, ep)?, IN)?;
                let mut events = [event(0, NONE); 2];
                let n = wait_into(k, ep, At::from(&mut events), 2, 0)?;
                is(format!("events of wait {nth}, with room for two"), n, 2)?;
                seen.extend(events.map(|event| (event.u64 as i32, Events(event.events))));
            }
            let mut first = seen[..5].to_vec();
            first.sort_unstable_by_key(|(fd, _)| *fd);
            noted(is("the first five events, sorted", first, entries));
            is("the next five events", &seen[5..], &seen[..5])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-add-ready-reports",
        claim: "Adding a descriptor that is ready already reports it with the next wait, with EPOLLET too.",
        reference: "ep_insert in fs/eventpoll.c asks the file",
        matters: "Data that came before the registration is not lost; no first read is needed.",
        experiment: "A pipe with a byte in it is added, level-triggered to one instance and edge-triggered to another.",
        run: |k| {
            let (r, w) = pipe(k)?;
            k.write(w, b"x")?;
            for (what, flags) in [("level-triggered", NONE), ("edge-triggered", ET)] {
                let ep = watching(k, r, IN | flags)?;
                noted(is(
                    format!("{what}, a pipe that was readable when added"),
                    ready(k, ep)?,
                    vec![(r, IN)],
                ));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-state-at-delivery",
        claim: "The events that a wait returns are those at its time, not those of the wake-up: what has \
                gone is not reported, what came later is reported along.",
        reference: "ep_send_events in fs/eventpoll.c asks each file again",
        matters: "A connection that another process has accepted already costs no wake-up here; but between \
                  the wait and accept it may still go, so that the listener must be non-blocking.",
        experiment: "Two instances watch one listener; one client connects; the first instance reports it, a child accepts, the \
                     second instance is asked. A pipe is written to and its writing end closed before the first wait.",
        run: |k| {
            step("a connection", || {
                let (listener, address) = listener(k, 5)?;
                let (first, second) = (epoll(k)?, epoll(k)?);
                add(k, first, listener, IN)?;
                add(k, second, listener, IN)?;
                connected(k, &address)?;
                is("the first instance", ready_soon(k, first)?, vec![(listener, IN)])?;
                is("the second instance as poll sees it", mask(k, second)?, IN)?;
                Forked::start(|| Ok(k.accept(listener).map(drop)?))?.join()?;
                is("the second instance, once another process has accepted", ready(k, second)?, vec![])
            });
            let (ep, (r, w)) = watched_pipe(k, IN)?;
            k.write(w, b"x")?;
            k.close(w)?;
            is("a pipe that was written to, then closed", ready(k, ep)?, vec![(r, IN | HUP)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-delivered-events-are-stale",
        claim: "The number of an event that a wait has delivered may belong to another file by the time the \
                program comes to it: a number is given out again as soon as it is closed.",
        reference: "epoll(7), Possible pitfalls; open(2), the lowest number that is not open",
        matters: "A handler that closes another client must also forget what the same batch says of it; or \
                  it will read from the wrong one.",
        experiment: "Two readable pipes come with one wait; the second is closed while the first is handled; \
                     an eventfd gets its number; the next wait is looked at.",
        run: |k| {
            let (ep, (r, w), (gone, other)) = (epoll(k)?, pipe(k)?, pipe(k)?);
            for (reader, writer) in [(r, w), (gone, other)] {
                add(k, ep, reader, IN)?;
                k.write(writer, b"x")?;
            }
            is("events of the wait", ready(k, ep)?, vec![(r, IN), (gone, IN)])?;
            k.close(gone)?;
            is("the number of the next descriptor", k.eventfd(0, libc::EFD_CLOEXEC)?, gone)?;
            is("the file that has the number of the second event now", mask(k, gone)?, OUT)?;
            is("the next wait", ready(k, ep)?, vec![(r, IN)])
        },
        ..Fact::ALWAYS
    },
];
