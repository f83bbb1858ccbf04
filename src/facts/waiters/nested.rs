//! epoll in epoll.

use super::*;

/// A byte that is written to a pipe with something in it wakes nobody who is not edge-triggered himself.
const PIPES_ONLY_FOR_EDGES: Gap = Gap {
    from: Since(7, 3),
    until: None,
    repaired: &[],
    commits: "pipe_poll in fs/pipe.c of 7.3: only who asks with EPOLLET is woken for each write (pseudo_edgetrigger); the \
              inner epoll asks without it, see docs/facts/upstream/linux-7.3-pipe-in-nested-epoll.md",
};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "multi-nested-in",
        claim: "An inner epoll with a ready entry makes the outer one report IN; when it is drained both are silent.",
        reference: "epoll(7) Q4",
        matters: "It is how one event loop is put into another.",
        experiment: "A pipe in an epoll in an epoll: a byte is written, both are asked, it is read, both are asked.",
        wrong: &["libev's notes, which say never", "gVisor: https://github.com/google/gvisor/issues/6427"],
        run: |k| {
            let (outer, inner, (reading, writing)) = nest(k, IN, IN)?;
            is("the outer epoll before", ready(k, outer)?, vec![])?;
            k.write(writing, b"x")?;
            is("the outer epoll", ready(k, outer)?, vec![(inner, IN)])?;
            is("the inner epoll", ready(k, inner)?, vec![(reading, IN)])?;
            k.read(reading, &mut [0; 8])?;
            is("the outer epoll once the byte was read", ready(k, outer)?, vec![])?;
            is("the inner epoll once the byte was read", ready(k, inner)?, vec![])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-nested-outer-et",
        claim: "With EPOLLET outside and level-triggered inside there is one outer event for each new inner \
                one; unread data inside alone does not repeat it.",
        reference: "selftests epoll41 to epoll52",
        gaps: &[PIPES_ONLY_FROM_EMPTY, PIPES_ONLY_FOR_EDGES],
        matters: "Whoever takes the outer event must drain the inner epoll and what is in it.",
        experiment: "A pipe, and an eventfd: it is written to, the outer epoll asked twice, it is written to \
                     again, and the outer epoll asked again.",
        run: |k| {
            for kind in ["a pipe", "an eventfd"] {
                step(kind, || {
                    let (reading, writing) = match kind {
                        "a pipe" => pipe(k)?,
                        _ => k.eventfd(0, libc::EFD_CLOEXEC).map(|fd| (fd, fd))?,
                    };
                    let (outer, inner) = (epoll(k)?, epoll(k)?);
                    add(k, inner, reading, IN)?;
                    add(k, outer, inner, IN | ET)?;
                    k.write(writing, &1u64.to_ne_bytes())?;
                    is("the outer epoll", ready(k, outer)?, vec![(inner, IN)])?;
                    is("the outer epoll, asked again", ready(k, outer)?, vec![])?;
                    k.write(writing, &1u64.to_ne_bytes())?;
                    is("the outer epoll after another write", ready(k, outer)?, vec![(inner, IN)])
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-nested-inner-et",
        claim: "Level-triggered outside over EPOLLET inside reports until the inner epoll_wait has taken the edge.",
        reference: "ep_eventpoll_poll in fs/eventpoll.c",
        matters: "The outer loop cannot lose an inner edge.",
        experiment: "A byte is written, the outer epoll asked twice, the inner one once, the outer one again.",
        run: |k| {
            let (outer, inner, (reading, writing)) = nest(k, IN, IN | ET)?;
            k.write(writing, b"x")?;
            is("the outer epoll", ready(k, outer)?, vec![(inner, IN)])?;
            is("the outer epoll, asked again", ready(k, outer)?, vec![(inner, IN)])?;
            is("the inner epoll", ready(k, inner)?, vec![(reading, IN)])?;
            is("the inner epoll as poll sees it then", mask(k, inner)?, NONE)?;
            is("the outer epoll once the edge was taken", ready(k, outer)?, vec![])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-nested-inner-close",
        claim: "Closing the inner epoll removes it from the outer one.",
        reference: "eventpoll_release in include/linux/eventpoll.h",
        matters: "Nothing is left behind when an inner loop goes.",
        experiment: "The inner epoll has an event and is closed; the outer one is asked.",
        run: |k| {
            let (outer, inner, (_, writing)) = nest(k, IN, IN)?;
            k.write(writing, b"x")?;
            is("the outer epoll", ready(k, outer)?, vec![(inner, IN)])?;
            k.close(inner)?;
            is("the outer epoll once the inner one was closed", ready(k, outer)?, vec![])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-nested-depth-five",
        claim: "A chain of five epolls above a pipe is accepted, and the sixth ADD fails, with ELOOP. \
                Before, it failed with EINVAL from the bottom up, and not at all from the top down.",
        reference: "epoll_ctl(2) ELOOP; EP_MAX_NESTS in fs/eventpoll.c; commit f2e467a48287",
        since: Since(6, 17),
        backports: &[Release(6, 1, 149), Release(6, 12, 43)],
        matters: "Libraries that nest loops in loops meet a limit, and its errno changed in stable kernels.",
        experiment: "A chain is built from the bottom up, and another one from the top down, until ADD fails.",
        run: |k| {
            let (reading, _writing) = pipe(k)?;
            let mut below = reading;
            for n in 1..=5 {
                let above = epoll(k)?;
                is(format!("ADD of level {n}, from the bottom up"), add(k, above, below, IN), Ok(()))?;
                below = above;
            }
            noted(is("ADD of level 6, from the bottom up", add(k, epoll(k)?, below, IN), no(Errno::ELOOP)));

            let (reading, _writing) = pipe(k)?;
            let mut above = epoll(k)?;
            for n in 1..=4 {
                let below = epoll(k)?;
                is(format!("ADD below level {n}, from the top down"), add(k, above, below, IN), Ok(()))?;
                above = below;
            }
            is("ADD of the pipe at the bottom", add(k, above, reading, IN), Ok(()))?;
            is("ADD of an epoll below level 5", add(k, above, epoll(k)?, IN), no(Errno::ELOOP))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-nested-loop-eloop",
        claim: "A ring of two or three epolls fails with ELOOP at the ADD that would close it.",
        reference: "epoll_ctl(2) ELOOP; ep_loop_check in fs/eventpoll.c",
        matters: "Without the check an event would go round for ever; kernels that lack it hang.",
        experiment: "Two epolls are added to each other, and three in a ring.",
        wrong: &["iSH: https://github.com/emkey1/ish-AOK/issues/492"],
        run: |k| {
            let (a, b, c) = (epoll(k)?, epoll(k)?, epoll(k)?);
            add(k, a, b, IN)?;
            is("ADD that closes a ring of two", add(k, b, a, IN), no(Errno::ELOOP))?;
            add(k, b, c, IN)?;
            is("ADD that closes a ring of three", add(k, c, a, IN), no(Errno::ELOOP))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-nested-path-limit",
        claim: "500 outer epolls may watch one inner epoll with a pipe in it, and the 501st ADD gives \
                EINVAL; a pipe itself may be in 3000 epolls.",
        reference: "path_limits in fs/eventpoll.c: 1000, 500, 100, 50, 10; a depth of 1 is exempt",
        since: Since(3, 2),
        matters: "Where each client has a process that watches one shared epoll through its own, client 501 cannot be served.",
        experiment: "An inner epoll is added to outer ones until ADD fails; then a pipe is added to 3000.",
        run: |k| {
            room_for_descriptor(3100)?;
            let (inner, (_reading, _writing)) = watched_pipe(k, IN)?;
            let outers = (0..3000).map(|_| epoll(k)).collect::<Reply<Vec<i32>>>()?;
            let watching =
                outers[..600].iter().take_while(|outer| add(k, **outer, inner, IN).is_ok()).count();
            noted(is("of 600 epolls, those that may watch an inner one", watching, 500));
            noted(is("the next ADD", add(k, outers[watching.min(599)], inner, IN), no(Errno::EINVAL)));
            let (reading, _writing) = pipe(k)?;
            let watching = outers.iter().filter(|outer| add(k, **outer, reading, IN).is_ok()).count();
            is("of 3000 epolls, those that may watch a pipe", watching, 3000)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "multi-poll-on-epfd",
        claim: "poll on an epoll does not take an edge: poll gives IN, epoll_wait one event, poll nothing.",
        reference: "selftests epoll6 and epoll8",
        matters: "An epoll can be asked whether it has something without changing that.",
        experiment: "A byte comes for an edge-triggered entry; poll, epoll_wait, poll.",
        run: |k| {
            let epoll = epoll(k)?;
            let (reading, writing) = pipe(k)?;
            add(k, epoll, reading, IN | ET)?;
            k.write(writing, b"x")?;
            is("poll of the epoll", mask(k, epoll)?, IN)?;
            is("poll of it again", mask(k, epoll)?, IN)?;
            is("epoll_wait", ready(k, epoll)?, vec![(reading, IN)])?;
            is("poll after it", mask(k, epoll)?, NONE)
        },
        ..Fact::ALWAYS
    },
];

/// A pipe in an inner epoll with these events, which is in an outer one with those: outer, inner, the pipe.
fn nest(k: K, outside: Events, inside: Events) -> Reply<(i32, i32, (i32, i32))> {
    let (outer, inner) = (epoll(k)?, epoll(k)?);
    let ends = pipe(k)?;
    add(k, inner, ends.0, inside)?;
    add(k, outer, inner, outside)?;
    Ok((outer, inner, ends))
}
