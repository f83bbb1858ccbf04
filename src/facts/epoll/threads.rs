//! Waits while other threads change what is waited for.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-del-drops-ready-event",
        claim: "Removing a descriptor drops its event that was not delivered yet. Removed by another thread during a wait, \
                it leaves that wait asleep until its timeout.",
        reference: "ep_remove in fs/eventpoll.c",
        matters: "After EPOLL_CTL_DEL nothing more comes from the kernel; what it has delivered already must still be \
                  skipped. And a thread that should notice the change must be woken by other means.",
        experiment: "A readable pipe is removed before the first wait. A thread sleeps in a wait for an empty pipe, which is \
                     removed and then written to.",
        run: |k| {
            let (r, w) = pipe(k)?;
            let ep = epoll(k)?;
            add(k, ep, r, IN)?;
            k.write(w, b"x")?;
            is("the epoll instance as poll sees it, with a readable pipe", mask(k, ep)?, IN)?;
            delete(k, ep, r)?;
            is("a wait after the pipe was removed", ready(k, ep)?, vec![])?;

            let (r, w) = pipe(k)?;
            add(k, ep, r, IN)?;
            let sleeper = Sleeper::new(k, ep)?;
            delete(k, ep, r)?;
            k.write(w, b"x")?;
            sleeper.slept_on("a wait during which its pipe was removed")
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ctl-wakes-waiter",
        claim: "Adding a descriptor that is ready, or changing an entry so that it asks for what is ready, wakes a thread \
                that is in the wait already.",
        reference: "ep_insert and ep_modify in fs/eventpoll.c; epoll_wait(2) NOTES",
        matters: "Other threads may register at any time, with no pipe to wake the loop. With poll and select the set is \
                  copied, and a change is not seen before the next call.",
        experiment: "A thread sleeps in a wait; a readable pipe is added. Another sleeps with a readable pipe of which \
                     nothing is asked; EPOLL_CTL_MOD asks for IN.",
        run: |k| {
            let (r, w) = pipe(k)?;
            k.write(w, b"x")?;
            let ep = epoll(k)?;
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
        claim: "A wake-up whose reason is gone before the thread runs never lets epoll_wait return 0 before its timeout: it \
                waits on.",
        reference: "ep_poll in fs/eventpoll.c goes round again when nothing was sent",
        matters: "0 means that the time is over, and timers may be run on it without a look at the clock.",
        experiment: "A thread waits again and again for 30 ms, while a pipe is written to and read from at once, until 200 \
                     wake-ups have come to nothing.",
        run: |k| {
            let (r, w) = pipe(k)?;
            set_nonblocking(k, r)?;
            let ep = epoll(k)?;
            // Edge-triggered, each write is reported once at most, and can be counted.
            add(k, ep, r, IN | ET)?;
            let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let limit = Duration::from_millis(30);
            let (its_over, its_seen) = (Arc::clone(&over), Arc::clone(&seen));
            let waiter = Waiter::started(EPOLL, move || {
                while !its_over.load(SeqCst) {
                    let start = Instant::now();
                    let found = wait(k, ep, 30)?;
                    let waited = start.elapsed();
                    if found.is_empty() && waited < limit {
                        its_over.store(true, SeqCst);
                        return Ok(Some(waited));
                    }
                    its_seen.fetch_add(found.len(), SeqCst);
                }
                Ok(None)
            })?;
            let (start, mut written, mut undone) = (Instant::now(), 0usize, 0);
            // A busy machine may let the thread run between each write and its read: then fewer must do.
            while !over.load(SeqCst) && (undone < 200 || start.elapsed() < 3 * limit) {
                if start.elapsed() > 10 * limit && undone > 0 || start.elapsed() > bound() {
                    break;
                }
                k.write(w, b"x")?;
                k.read(r, &mut [0])?;
                written += 1;
                undone = written.saturating_sub(seen.load(SeqCst));
                std::thread::yield_now();
            }
            over.store(true, SeqCst);
            let early: Reply<Option<Duration>> = waiter.join()?;
            is("how soon a wait of 30 ms returned 0, if too soon", early, Ok(None))?;
            if undone == 0 {
                skip(Why::Moment, "the thread saw each byte before it could be taken away")
            } else {
                Ok(())
            }
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-close-epfd-other-thread",
        claim: "Closing the epoll descriptor while another thread waits in it neither wakes that thread nor fails its call: \
                events still arrive.",
        reference: "epoll_wait holds a reference to the file: fdget in include/linux/file.h",
        matters: "close stops no event loop. It takes an eventfd or a pipe in the set to end it.",
        experiment: "A thread sleeps in a wait; the epoll descriptor is closed; the thread is looked at; the pipe is written \
                     to.",
        run: |k| {
            let (r, w) = pipe(k)?;
            let ep = epoll(k)?;
            add(k, ep, r, IN)?;
            let waiter = Waiter::asleep(EPOLL, move || wait(k, ep, bound_ms()))?;
            k.close(ep)?;
            is("a wait on the closed number", ready(k, ep), no(Errno::EBADF))?;
            let early = waiter.join_within(Duration::from_millis(60));
            is("what the wait gave when its descriptor was closed", early, None)?;
            k.write(w, b"x")?;
            is("the wait, after the pipe was written to", waiter.join()?, Ok(vec![(r, IN)]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-close-target-other-thread",
        claim: "Closing the only reference to a descriptor during a wait for it removes it, and no more: the wait runs to its \
                timeout, with neither EBADF nor NVAL.",
        reference: "eventpoll_release_file in fs/eventpoll.c",
        matters: "A thread that waits for a socket which another closes waits for ever. poll would keep the file open until \
                  it returns.",
        experiment: "A thread sleeps in a wait with a timeout for a pipe, whose reading end is closed meanwhile.",
        run: |k| {
            let (r, _w) = pipe(k)?;
            let ep = epoll(k)?;
            add(k, ep, r, IN)?;
            let sleeper = Sleeper::new(k, ep)?;
            k.close(r)?;
            sleeper.slept_on("a wait during which its pipe was closed")
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-concurrent-zero-timeout-no-false-empty",
        claim: "Many threads that call epoll_wait with a timeout of 0 on one level-triggered descriptor that stays ready all \
                get it: never 0.",
        reference: "tools/testing/selftests/filesystems/epoll/epoll_wakeup_test.c, epoll65; the patch \"eventpoll: Fix \
                    epoll_wait() report false negative\" closes a race of a few instructions, in which the list of what is \
                    ready is moved",
        matters: "A thread that polls before it goes to sleep relies on it. Kernels without the patch may, very rarely, say \
                  that there is nothing: then a wait with a timeout is the safe one.",
        experiment: "16 threads make 1000 calls each on a pipe with a byte in it.",
        run: |k| {
            const THREADS: usize = 16;
            const CALLS: usize = 1000;
            let (r, w) = pipe(k)?;
            k.write(w, b"x")?;
            let ep = epoll(k)?;
            add(k, ep, r, IN)?;
            let mut waiters = Vec::new();
            for _ in 0..THREADS {
                waiters.push(Waiter::started(EPOLL, move || {
                    let mut nothing = 0;
                    for _ in 0..CALLS {
                        nothing += usize::from(ready(k, ep)?.is_empty());
                    }
                    Ok(nothing)
                })?);
            }
            let mut nothing = 0;
            for waiter in waiters {
                let its: Reply<usize> = waiter.join()?;
                nothing += its?;
            }
            // The race is a few instructions long: what it does is seen once in millions of calls, if ever.
            if (1..=5).contains(&nothing) {
                return skip(
                    Why::Missing,
                    format!(
                        "{nothing} of {} calls found nothing: the race that \"eventpoll: Fix epoll_wait() report false negative\" closes",
                        THREADS * CALLS
                    ),
                );
            }
            is("calls that found nothing, of 16000", nothing, 0)
        },
        ..Fact::ALWAYS
    },
];

/// A thread that is asleep in a wait with a time limit.
struct Sleeper {
    waiter: Waiter<(Found, Duration)>,
    limit: Duration,
}

impl Sleeper {
    /// Its limit is 100 ms, or more if the machine is so busy that this was over before anybody saw it asleep.
    fn new(k: K, ep: i32) -> Held<Sleeper> {
        let mut limit_ms = 100;
        loop {
            let waiter = Waiter::started(EPOLL, move || {
                let start = Instant::now();
                (wait(k, ep, limit_ms), start.elapsed())
            })?;
            let limit = Duration::from_millis(limit_ms as u64);
            loop {
                if waiter.is_asleep() {
                    return Ok(Sleeper { waiter, limit });
                }
                match waiter.join_within(Duration::ZERO) {
                    Some((found, _)) if found != Ok(vec![]) => {
                        return differs("a wait for nothing", "[]", found.show());
                    }
                    Some(_) => break,
                    None => between_looks(),
                }
            }
            if limit > bound() {
                return skip(Why::Moment, "no thread was caught asleep in its wait");
            }
            limit_ms *= 2;
        }
    }

    /// It slept until its limit, and found nothing.
    fn slept_on(self, what: &str) -> Held {
        let (found, slept) = self.waiter.join()?;
        is(what, found, Ok(vec![]))?;
        let limit = self.limit;
        holds(format!("{what}: it lasts {} at least", limit.show()), slept >= limit, slept)
    }
}
