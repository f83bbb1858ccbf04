//! EPOLLONESHOT, EPOLLEXCLUSIVE, epoll in epoll, and who is woken when many wait.
//!
//! The order in which waiters are woken is what Linux 6.18 does; no manual page promises it.

mod exclusive;
mod nested;
mod oneshot;
mod threads;

use crate::facts::edge::PIPES_ONLY_FROM_EMPTY;
use crate::facts::support::*;

pub(super) const FACTS: &[&[Fact]] = &[oneshot::FACTS, threads::FACTS, exclusive::FACTS, nested::FACTS];

/// What a thread saw: how many events or connections, or why none.
type Seen = Reply<usize>;

/// A thread that waits for as long as it takes.
struct Thread {
    waiter: Waiter<Seen>,
    back: bool,
}

impl Thread {
    /// One that waits in `epoll`; it is asleep by then, unless it has come back.
    fn in_epoll(k: K, epoll: i32) -> Held<Thread> {
        Thread::in_call(EPOLL, move || wait(k, epoll, -1).map(|events| events.len()))
    }

    fn in_call(call: In, work: impl FnOnce() -> Seen + Send + 'static) -> Held<Thread> {
        Ok(Thread { waiter: Waiter::asleep_or_over(call, work)?, back: false })
    }

    /// So many that wait in the same epoll, and fell asleep in turn.
    fn several(k: K, epoll: i32, n: usize) -> Held<Vec<Thread>> {
        (0..n).map(|_| Thread::in_epoll(k, epoll)).collect()
    }
}

/// Which of the threads have come back since the last time, and what each saw; the others are asleep. `expected` of them are waited for.
///
/// On Linux whoever is woken by a write to a pipe is awake when it returns. Elsewhere a wake-up may take a moment.
fn woken(threads: &mut [Thread], expected: usize) -> Held<Vec<(usize, Seen)>> {
    const A_MOMENT: Duration = Duration::from_millis(60);
    let (start, mut woken) = (Instant::now(), Vec::new());
    loop {
        let before = woken.len();
        for (n, thread) in threads.iter_mut().enumerate().filter(|(_, thread)| !thread.back) {
            if let Some(seen) = thread.waiter.join_within(Duration::ZERO) {
                thread.back = true;
                woken.push((n, seen));
            }
        }
        let at_rest = threads.iter().all(|thread| thread.back || thread.waiter.is_asleep());
        // One that comes back may have woken another that was seen asleep before.
        let time = if woken.len() < expected { bound() } else { A_MOMENT };
        if woken.len() == before && at_rest && start.elapsed() > time {
            woken.sort_unstable_by_key(|(n, _)| *n);
            return Ok(woken);
        }
        needs(Why::Moment, "each thread is asleep or back", start.elapsed() < 2 * bound(), "not so")?;
        between_looks();
    }
}
