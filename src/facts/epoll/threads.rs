//! Waits while other threads change what is waited for.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-del-drops-ready-event",
        claim: "Removing a descriptor drops its event that was not delivered yet. Removed by another thread \
                during a wait, it leaves that wait asleep until its timeout.",
        reference: "ep_remove in fs/eventpoll.c",
        matters: "After EPOLL_CTL_DEL nothing more comes from the kernel; what it has delivered already must \
                  still be skipped. And a thread that should notice the change must be woken by other means.",
        experiment: "A readable pipe is removed before the first wait. A thread sleeps in a wait for an \
                     empty pipe, which is removed and then written to.",
        run: |k| {
            let (ep, (r, w)) = watched_pipe(k, IN)?;
            k.write(w, b"x")?;
            is("the epoll instance as poll sees it, with a readable pipe", mask(k, ep)?, IN)?;
            delete(k, ep, r)?;
            is("a wait after the pipe was removed", ready(k, ep)?, vec![])?;

            let (r, w) = pipe(k)?;
            add(k, ep, r, IN)?;
            sleeps_on("a wait during which its pipe was removed", k, ep, || {
                delete(k, ep, r)?;
                Ok(k.write(w, b"x").map(drop)?)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ctl-wakes-waiter",
        claim: "Adding a descriptor that is ready, or changing an entry so that it asks for what is ready, \
                wakes a thread that is in the wait already.",
        reference: "ep_insert and ep_modify in fs/eventpoll.c; epoll_wait(2) NOTES",
        matters: "Other threads may register at any time, with no pipe to wake the loop. With poll and \
                  select the set is copied, and a change is not seen before the next call.",
        experiment: "A thread sleeps in a wait; a readable pipe is added. Another sleeps with a readable \
                     pipe of which nothing is asked; EPOLL_CTL_MOD asks for IN.",
        run: |k| {
            let (ep, (r, w)) = (epoll(k)?, pipe(k)?);
            k.write(w, b"x")?;
            let waiter = Waiter::asleep(EPOLL, move || wait(k, ep, bound_ms()))?;
            add(k, ep, r, IN)?;
            is("a wait during which a readable pipe was added", waiter.join()?, Ok(vec![(r, IN)]))?;

            modify(k, ep, r, NONE)?;
            let waiter = Waiter::asleep(EPOLL, move || wait(k, ep, bound_ms()))?;
            modify(k, ep, r, IN)?;
            is("a wait during which IN was asked of a readable pipe", waiter.join()?, Ok(vec![(r, IN)]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-undone-event-not-spurious",
        claim: "A wake-up whose reason is gone before the thread runs never lets epoll_wait return 0 before \
                its timeout: it waits on.",
        reference: "ep_poll in fs/eventpoll.c goes round again when nothing was sent",
        matters: "0 means that the time is over, and timers may be run on it without a look at the clock.",
        experiment: "A thread waits again and again for 30 ms, while a pipe is written to and read from at \
                     once, some 3000 times.",
        run: |k| {
            let (ep, (r, w)) = (epoll(k)?, pipe(k)?);
            set_nonblocking(k, r)?;
            // Edge-triggered, each write is reported once at most, and can be counted.
            add(k, ep, r, IN | ET)?;
            let limit = Duration::from_millis(30);
            let shared = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
            let theirs = Arc::clone(&shared);
            let waiter = Waiter::started(EPOLL, move || -> Reply<Option<Duration>> {
                let (over, seen) = &*theirs;
                while !over.load(SeqCst) {
                    let start = Instant::now();
                    let found = wait(k, ep, 30)?;
                    let waited = start.elapsed();
                    if found.is_empty() && waited < limit {
                        return Ok(Some(waited));
                    }
                    seen.fetch_add(found.len(), SeqCst);
                }
                Ok(None)
            })?;
            let (over, seen) = &*shared;
            k.write(w, b"x")?;
            until("the thread sees a first byte", || Ok((seen.load(SeqCst) == 1).then_some(())))?;
            k.read(r, &mut [0])?;
            let (start, mut written, mut missed) = (Instant::now(), 1, false);
            while written < 3000 && start.elapsed() < 10 * limit || !missed && start.elapsed() < bound() / 2 {
                k.write(w, b"x")?;
                k.read(r, &mut [0])?;
                written += 1;
                // One that was seen may not have been counted yet.
                missed = missed || seen.load(SeqCst) + 1 < written;
                // Where there is one processor the thread would never run between.
                std::thread::yield_now();
            }
            over.store(true, SeqCst);
            is("how soon a wait of 30 ms returned 0, if too soon", waiter.join()?, Ok(None))?;
            needs(Why::Moment, "a byte is taken away before the thread sees it", missed, written)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-close-epfd-other-thread",
        claim: "Closing the epoll descriptor while another thread waits in it neither wakes that thread nor \
                fails its call: events still arrive.",
        reference: "epoll_wait holds a reference to the file: fdget in include/linux/file.h",
        matters: "close stops no event loop. It takes an eventfd or a pipe in the set to end it.",
        experiment: "A thread sleeps in a wait; the epoll descriptor is closed; the thread is looked at; the pipe is written to.",
        run: |k| {
            let (ep, (r, w)) = watched_pipe(k, IN)?;
            let waiter = Waiter::asleep_or_over(EPOLL, move || wait(k, ep, bound_ms()))?;
            k.close(ep)?;
            noted(is("a wait on the closed number", ready(k, ep), no(Errno::EBADF)));
            let early = waiter.join_within(AWHILE);
            is("what the wait gave when its descriptor was closed", early, None)?;
            k.write(w, b"x")?;
            is("the wait, after the pipe was written to", waiter.join()?, Ok(vec![(r, IN)]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-close-target-other-thread",
        claim: "Closing the only reference to a descriptor during a wait for it only removes it: the wait \
                runs to its timeout, with neither EBADF nor NVAL.",
        reference: "eventpoll_release_file in fs/eventpoll.c",
        matters: "A thread that waits for a socket which another closes waits for ever. poll would keep the \
                  file open until it returns.",
        experiment: "A thread sleeps in a wait with a timeout for a pipe, whose reading end is closed meanwhile.",
        run: |k| {
            let (ep, (r, _w)) = watched_pipe(k, IN)?;
            sleeps_on("a wait during which its pipe was closed", k, ep, || Ok(k.close(r)?))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-concurrent-zero-timeout-no-false-empty",
        claim: "Many threads that call epoll_wait with a timeout of 0 on one level-triggered descriptor that stays ready get it. \
                At most a few calls in a thousand find nothing: a race of a few instructions.",
        reference: "tools/testing/selftests/filesystems/epoll/epoll_wakeup_test.c, epoll65; the patch \"eventpoll: Fix \
                    epoll_wait() report false negative\" closes the race, in which the list of what is ready is moved",
        matters: "A thread that polls before it goes to sleep relies on it. On kernels without the patch a 0 \
                  is no proof that there is nothing: a wait with a timeout is the safe one.",
        experiment: "16 threads make 1000 calls each on a pipe with a byte in it; fewer than one in 20 may find nothing.",
        run: |k| {
            const CALLS: usize = 1000;
            let (ep, (r, w)) = (epoll(k)?, pipe(k)?);
            k.write(w, b"x")?;
            add(k, ep, r, IN)?;
            let empty = move || (0..CALLS).filter(|_| ready(k, ep) != Ok(vec![(r, IN)])).count();
            let waiters: Held<Vec<_>> = (0..16).map(|_| Waiter::started(EPOLL, empty)).collect();
            let counts: Held<Vec<usize>> = waiters?.into_iter().map(Waiter::join).collect();
            let nothing: usize = counts?.iter().sum();
            holds("fewer than 800 of 16000 calls find nothing", nothing < 16 * CALLS / 20, nothing)
        },
        ..Fact::ALWAYS
    },
];

/// A thread that waits for at least 100 ms finds nothing until then, though `change` is made while it is asleep.
fn sleeps_on(what: &str, k: K, ep: i32, change: impl Fn() -> Held) -> Held {
    // More if the machine is so busy that this was over before anybody saw it asleep.
    for limit in [100, 400, 1600].map(Duration::from_millis) {
        let waiter = Waiter::asleep_or_over(EPOLL, move || {
            let start = Instant::now();
            (wait(k, ep, limit.as_millis() as i32), start.elapsed())
        })?;
        let asleep = waiter.is_asleep();
        if asleep {
            change()?;
        }
        let (found, slept) = waiter.join()?;
        let found_nothing = found == Ok(vec![]) && slept >= limit;
        if asleep || !found_nothing {
            return holds(format!("{what} finds nothing"), found_nothing, (found, slept));
        }
    }
    skip(Why::Moment, "no thread was caught asleep in its wait")
}
