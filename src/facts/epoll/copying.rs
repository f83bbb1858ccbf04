//! What a wait writes into the caller's array.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-wait-efault-lazy",
        claim: "An array at an address where nothing is mapped does no harm while nothing is ready: epoll_wait gives 0, and \
                EFAULT only when it has an event to copy. An address of the kernel gives EFAULT at once.",
        reference: "epoll_wait(2) EFAULT; access_ok in ep_check_params, ep_send_events in fs/eventpoll.c",
        matters: "A wrong pointer can go unnoticed in every test in which no event comes.",
        experiment: "Waits that do not block, with the array at 8, at null and at a kernel address; first \
                     with an empty pipe on the list, then with a byte in it.",
        wrong: &[
            "QEMU in user mode (seen with 7.2): do_syscall1 in linux-user/syscall.c locks the array before it waits",
        ],
        run: |k| {
            let (epoll, (_r, w)) = watched_pipe(k, IN)?;
            let mut places =
                vec![("8", Nowhere::Low), ("null", Nowhere::Null), ("a kernel address", Nowhere::Kernel)];
            // On s390x the kernel has addresses of its own, and no number is one of its.
            places.retain(|(_, place)| cfg!(not(target_arch = "s390x")) || *place != Nowhere::Kernel);
            let wait_at = |nowhere| wait_into(k, epoll, At::Nowhere(nowhere, 4), 4, 0);
            for &(name, place) in &places {
                let answer = if place == Nowhere::Kernel { no(Errno::EFAULT) } else { Ok(0) };
                noted(is(format!("nothing is ready, the array at {name}"), wait_at(place), answer));
            }
            k.write(w, b"!")?;
            for (name, place) in places {
                noted(is(format!("a pipe is ready, the array at {name}"), wait_at(place), no(Errno::EFAULT)));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-efault-loses-nothing",
        claim: "An event that could not be copied is not lost: the next wait returns it, even with EPOLLET.",
        reference: "ep_send_events in fs/eventpoll.c puts the entry back when it cannot write the event",
        matters: "An edge that was taken from the list and told to nobody would leave its connection hanging.",
        experiment: "Two pipes with EPOLLET get a byte; a wait into address 8 fails; a wait into memory follows, and one more.",
        run: |k| {
            let epoll = epoll(k)?;
            let (a, b) = (pipe(k)?, pipe(k)?);
            for (r, w) in [a, b] {
                add(k, epoll, r, IN | ET)?;
                k.write(w, b"!")?;
            }
            let failed = wait_into(k, epoll, At::Nowhere(Nowhere::Low, 4), 4, 0);
            is("a wait into address 8", failed, no(Errno::EFAULT))?;
            is("the next wait", ready(k, epoll)?, vec![(a.0, IN), (b.0, IN)])?;
            is("the wait after it, with both edges taken", ready(k, epoll)?, vec![])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-untouched-tail",
        claim: "Of the array only as many entries are written as epoll_wait returns. When it returns 0 nothing is written.",
        reference: "epoll_wait(2); ep_send_events in fs/eventpoll.c",
        matters: "What is behind the returned count is left from an earlier wait. A loop over the whole \
                  array handles old events again.",
        experiment: "An array full of a pattern; waits with nothing ready, with one pipe of three ready, and \
                     with all three ready and room for two.",
        run: |k| {
            let epoll = epoll(k)?;
            let pipes = [pipe(k)?, pipe(k)?, pipe(k)?];
            for (r, _) in pipes {
                add(k, epoll, r, IN)?;
            }
            let untouched = || in_the_array(PATTERN.0, PATTERN.1);
            for timeout in [0, 1] {
                let what = format!("the array after a wait of {timeout} ms without events");
                is(what, patterned(k, epoll, 4, timeout)?, (0, vec![untouched(); 4]))?;
            }
            let one = |n: usize| in_the_array(IN.0, pipes[n].0 as u64);
            k.write(pipes[0].1, b"!")?;
            let expected = (1, vec![one(0), untouched(), untouched(), untouched()]);
            is("the array after one event", patterned(k, epoll, 4, 0)?, expected)?;
            // Edge-triggered: what was delivered is not put back at the end of the list.
            for (r, w) in pipes {
                modify(k, epoll, r, IN | ET)?;
                k.write(w, b"!")?;
            }
            let (n, mut array) = patterned(k, epoll, 2, 0)?;
            array[..2].sort_unstable();
            let expected = (2, vec![one(0), one(1), untouched(), untouched()]);
            is("the array after two events of three", (n, array), expected)?;
            let expected = (1, vec![one(2), untouched(), untouched(), untouched()]);
            is("the array after the third", patterned(k, epoll, 2, 0)?, expected)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-data-opaque",
        claim: "The 64 bits of data come back bit for bit. MOD replaces them, for an event too that is on the ready list already.",
        reference: "epoll_ctl(2); ep_modify and ep_send_events in fs/eventpoll.c",
        matters: "The data may be a pointer, or a number with a generation; the kernel never looks at it. \
                  After MOD no event with the old data can come.",
        experiment: "Entries with several values, all with a byte to read; then MOD to another value before \
                     the event is taken, with and without EPOLLET.",
        run: |k| {
            const VALUES: [u64; 5] = [0, 1 << 63, u64::MAX, 0x0123_4567_89ab_cdef, 0xffff_ffff_0000_0000];
            const OTHER: u64 = 0xfedc_ba98_7654_3210;
            for (value, flags) in VALUES.into_iter().flat_map(|value| [(value, IN), (value, IN | ET)]) {
                let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
                let ctl = |operation, data| {
                    k.epoll_ctl(epoll, operation, r, Some(epoll_event { events: flags.0, u64: data }))
                };
                let what = |when| format!("{} with {flags}, {when}", hexadecimal(value));
                ctl(libc::EPOLL_CTL_ADD, value)?;
                k.write(w, b"!")?;
                is(what("as it was added"), data(k, epoll)?, vec![hexadecimal(value)])?;
                k.write(w, b"!")?;
                ctl(libc::EPOLL_CTL_MOD, OTHER)?;
                is(
                    what("with MOD to another after the event came"),
                    data(k, epoll)?,
                    vec![hexadecimal(OTHER)],
                )?;
                ctl(libc::EPOLL_CTL_MOD, value)?;
                k.write(w, b"!")?;
                is(what("with MOD before the event came"), data(k, epoll)?, vec![hexadecimal(value)])?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// What is in an array before anything is written to it: the events, the data.
const PATTERN: (u32, u64) = (0x5a5a_5a5a, 0x5a5a_5a5a_5a5a_5a5a);

/// How many events epoll_wait gives with room for `max` of four, and what is in the array then.
fn patterned(k: K, epoll: i32, max: i32, timeout_ms: i32) -> Reply<(usize, Vec<String>)> {
    let mut events = [epoll_event { events: PATTERN.0, u64: PATTERN.1 }; 4];
    let n = wait_into(k, epoll, At::from(&mut events), max, timeout_ms)?;
    Ok((n, events.iter().map(|event| in_the_array(event.events, event.u64)).collect()))
}

/// An entry of the array, for a report.
fn in_the_array(events: u32, data: u64) -> String {
    match (events, data) {
        PATTERN => "untouched".to_owned(),
        _ => format!("{} with {}", Events(events), hexadecimal(data)),
    }
}

/// The data of the events that there are now, in hexadecimal.
fn data(k: K, epoll: i32) -> Reply<Vec<String>> {
    let mut events = [event(0, NONE); 8];
    let n = wait_into(k, epoll, At::from(&mut events), 8, 0)?;
    Ok(events[..n].iter().map(|event| hexadecimal(event.u64)).collect())
}

fn hexadecimal(value: u64) -> String {
    format!("{value:#018x}")
}
