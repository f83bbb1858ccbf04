//! What a server costs while nothing is asked of it, for each event, and for each client that has left.

use super::super::session::{Session, TO_ANSWER};
use super::super::{Check, Ended, Needs, Step};
use super::{ANSWERS, IN_TURN, NOTHING_MORE, USUAL};
use crate::lab::units;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Connections after which nothing may be left.
const CONNECTIONS: usize = 10_000;

/// So much memory after them is worth a longer look: a runtime that collects garbage may have put that off.
const MUCH: u64 = 2 << 20;

/// How often so many connections are looked at.
const LOOKS: usize = 4;

/// So many connections are made in any case. With fewer than [`CONNECTIONS`], memory is not judged.
const FEWEST: usize = 1000;

/// How long so many connections may take.
const LONGEST: Duration = Duration::from_secs(180);

pub(super) static CHECKS: [Check; 7] = [
    Check {
        id: "idle/cpu",
        claim: "With a silent client the server sleeps.",
        does: "A client connects, gets an answer and is silent; the server must sleep for most of a second.",
        matters: "A server that asks again and again keeps a processor from other programs, and uses power for nothing.",
        cause: "It asks for EPOLLOUT or POLLOUT although it has nothing to send, which is always true; or its wait has a timeout of 0; or it loops over non-blocking calls.",
        reference: "man 2 epoll_ctl, EPOLLOUT; tcpepoll1 of the course asks accept again and again",
        needs: Needs::Process,
        run: |at| {
            let silent = at.connect()?;
            silent.ask(b"first")?;
            idles(at, "with a silent client")
        },
        ..USUAL
    },
    Check {
        id: "idle/1000-clients",
        claim: "With 1000 silent clients the server sleeps.",
        does: "As idle/cpu, with 1000 clients.",
        matters: "Most connections of a busy server are silent most of the time. What each of them costs adds up.",
        cause: "Something is done for each client at a timer, or EPOLLOUT stays requested for some clients.",
        reference: "man 2 epoll_ctl, EPOLLOUT",
        needs: Needs::Process,
        clients: 1000,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "clients/silent-beside", "clients/1000", "idle/cpu"],
        run: |at| {
            let _room = at.room_for(1000)?;
            let _silent = at.crowd(1000)?;
            idles(at, "with 1000 silent clients")
        },
        ..USUAL
    },
    Check {
        id: "wake/one-per-request",
        claim: "A request wakes few threads.",
        does: "A client asks 200 times in turn, each time when the server waits; the threads of the server may begin to wait less than 8 times for each request.",
        matters: "Each wake-up that finds nothing to do costs microseconds, and takes the place of other data in the processor's cache.",
        cause: "Several threads or processes wait for the same connection, and all of them wake up (thundering herd); EPOLLONESHOT or one epoll instance for each helps.",
        reference: "man 2 epoll_ctl, EPOLLEXCLUSIVE; voluntary_ctxt_switches in man 5 proc_pid_status",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| {
            let client = at.connect()?;
            client.ask(b"first")?;
            wakes(at, "a request", 200, 8.0, |_| client.ask(b"question"))
        },
        ..USUAL
    },
    Check {
        id: "wake/one-per-client",
        claim: "A new client wakes few of the threads that wait for one.",
        does: "100 clients come in turn, get an answer and leave; the threads of the server may begin to wait less than 12 times for each.",
        matters: "With many workers on one listener a new client can wake all of them, and all but one find nothing.",
        cause: "Several threads or processes wait for one listener with a plain level-triggered epoll, poll or select. Use EPOLLEXCLUSIVE, SO_REUSEPORT, a lock, or a blocking accept(2).",
        reference: "man 2 epoll_ctl, EPOLLEXCLUSIVE; UNP 30.6 (thundering herd)",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "end/closes", "wake/one-per-request"],
        run: |at| {
            at.connect()?.ask(b"first")?;
            wakes(at, "a client", 100, 12.0, |_| {
                let client = at.connect_unlogged()?;
                client.ask(b"question")?;
                client.end()?;
                client.expect_end()
            })
        },
        ..USUAL
    },
    Check {
        id: "leak/descriptors",
        claim: "10 000 connections leave no descriptors open.",
        does: "10 000 clients connect, get an answer and leave, or as many as do so in three minutes; the open descriptors of the server are counted before and after, in /proc. Up to 16 more may be of a pool, and are allowed.",
        matters: "A descriptor that is left open for each client ends the server when its limit is reached.",
        cause: "A connection is not closed on every path, or a copy of its descriptor (dup, fork, a file object) is not.",
        reference: "man 2 close; man 2 dup; CLOSE_WAIT in the course",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "end/closes"],
        run: |at| {
            let Churned { connections, descriptors: (before, after), .. } = churned(at)?;
            nothing_left("open descriptors", connections, before, after, 16)
        },
        ..USUAL
    },
    Check {
        id: "leak/processes",
        claim: "10 000 connections leave no processes, zombies or threads.",
        does: "As leak/descriptors; the processes and threads of the server are counted. Up to 64 more may be of a pool, and are allowed.",
        matters: "A zombie holds a process number and its parent's memory of it; when they run out, nothing can be started.",
        cause: "The server does not wait for its children: handle SIGCHLD with waitpid(-1, …, WNOHANG) in a loop, or ignore it.",
        reference: "man 2 wait, NOTES on zombies; man 7 signal, SIGCHLD; demo10 of the course",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "end/closes"],
        run: |at| {
            let Churned { connections, tasks: (before, after), .. } = churned(at)?;
            nothing_left("processes and threads", connections, before, after, 64)
        },
        ..USUAL
    },
    Check {
        id: "leak/memory",
        claim: "The memory of the server does not go on growing with each connection.",
        does: "As leak/descriptors; the memory that the server has written is read from /proc (Pss_Anon) when 2000 clients have left, and at the end. When it has grown by 2 MiB or more, up to 30 000 clients more come: the check fails if each 10 000 of them bring 2 MiB or more, and the last no less than a third of what any did.",
        matters: "A server runs for months: a little for each connection becomes all memory.",
        cause: "Something is allocated for each client and not freed, or kept in a table for ever.",
        reference: "man 5 proc_pid_smaps",
        needs: Needs::Process,
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "end/closes", "leak/descriptors", "leak/processes"],
        run: |at| {
            let Churned { memory, .. } = churned(at)?;
            let growth = memory?;
            if !is_leak(&growth) {
                return Ok(());
            }
            let grown: Vec<_> = growth.iter().map(|grown| units::bytes(*grown)).collect();
            Err(Ended::failed(
                format!(
                    "less than {} more after {CONNECTIONS} connections, or after 10 000 of the next",
                    units::bytes(MUCH)
                ),
                format!("each time more: {}", grown.join(", ")),
            ))
        },
        ..USUAL
    },
];

/// The server sleeps for most of the time, which is looked at after each second.
pub(super) fn idles(at: &Session<'_>, when: &str) -> Step {
    const LONGEST: Duration = Duration::from_secs(60);
    let mut watched = at.server().watch()?;
    loop {
        let until = Instant::now() + Duration::from_secs(1);
        let mut pause = Duration::from_millis(10);
        while Instant::now() < until {
            at.pause(pause)?;
            let began = Instant::now();
            watched.look(at.server());
            // A look at a thousand processes takes long: it must not be what keeps the machine busy.
            pause = pause.max(4 * began.elapsed()).min(Duration::from_millis(100));
        }
        if watched.is_rest() {
            at.say("the server sleeps");
            return Ok(());
        }
        if watched.is_busy() {
            return Err(Ended::failed(format!("a server that sleeps {when}"), watched.in_words()));
        }
        if watched.elapsed() >= LONGEST {
            let why = "the machine is so busy that it cannot be told whether the server sleeps";
            return Err(Ended::NotMade(format!("{why}: {}", watched.in_words())));
        }
    }
}

/// Do something so often: for each time the threads of the server may have begun to wait less than `most` times. What they do by
/// themselves in as much time, at a timer, does not count.
fn wakes(
    at: &Session<'_>,
    what: &str,
    times: usize,
    most: f64,
    mut event: impl FnMut(usize) -> Step,
) -> Step {
    let mut has_waited = at.until_it_waits()?;
    let (began, before) = (Instant::now(), at.server().waits()?);
    for i in 0..times {
        event(i)?;
        // On a busy machine, a thread that has not run yet would be woken once for two events.
        has_waited = has_waited && at.until_it_waits()?;
    }
    let after = at.server().waits()?;
    at.pause(began.elapsed())?;
    let by_themselves = at.server().waits()?.saturating_sub(after);
    let each = after.saturating_sub(before).saturating_sub(by_themselves) as f64 / times as f64;
    at.say(format!("{times} times {what}: the threads of the server begin to wait {each:.1} times for each"));
    if each < most {
        return Ok(());
    }
    Err(Ended::late(
        format!("less than {most:.0} waits of all threads for {what}"),
        format!("{each:.1} waits for {what}"),
    ))
}

/// What 10 000 connections left behind: before and after.
#[derive(Debug, Clone)]
pub(in crate::lab::check) struct Churned {
    connections: usize,
    descriptors: (usize, usize),
    tasks: (usize, usize),
    /// How much was added by the last 8000 of the first 10 000, and by each 10 000 after them.
    memory: Step<Vec<u64>>,
}

/// What is open and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    tasks: usize,
}

impl Held {
    fn now(at: &Session<'_>) -> Step<Held> {
        let tasks = |pid: &u32| std::fs::read_dir(format!("/proc/{pid}/task")).map_or(1, Iterator::count);
        let tasks = at.server().pids().iter().map(tasks).sum();
        Ok(Held { descriptors: at.server().descriptors()?, tasks })
    }

    /// When the server has cleaned up: what is held then. It has five seconds to hold as little as `before`.
    fn settled(at: &Session<'_>, before: Option<Held>) -> Step<Held> {
        let mut last = Held::now(at)?;
        at.within(TO_ANSWER, || {
            at.pause(Duration::from_millis(20))?;
            let now = Held::now(at)?;
            let is_as_before = before
                .is_none_or(|before| now.descriptors <= before.descriptors && now.tasks <= before.tasks);
            // A thread that has not run yet may open more.
            let is_asleep = before.is_some() || at.server().sleeps() != Some(false);
            let is_settled = now == last && is_as_before && is_asleep;
            last = now;
            Ok(is_settled)
        })?;
        Ok(last)
    }

    /// A server that keeps something of each client would reach its limit.
    fn is_much_more_than(self, before: Held) -> bool {
        const TOO_MANY: usize = 200;
        self.descriptors > before.descriptors + TOO_MANY || self.tasks > before.tasks + TOO_MANY
    }
}

/// The first of the checks that want it has the connections made; the others get what it found.
fn churned(at: &Session<'_>) -> Step<Churned> {
    // Whoever comes second waits here.
    let mut known = at.shared.churn.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(churned) = &*known {
        return Ok(churned.clone());
    }
    at.starts_now();
    let churned = churn(at)?;
    // What the server did wrong is found again, or not, at the next try.
    if let Err(failed @ Ended::Failed(_)) = churned.memory {
        return Err(failed);
    }
    Ok(known.insert(churned).clone())
}

fn churn(at: &Session<'_>) -> Step<Churned> {
    /// Until then pools and caches of the server may grow.
    const WARM: usize = 2000;
    let one = |i: usize| -> Step {
        let served = at.connect_unlogged().and_then(|client| {
            client.ask(b"question")?;
            client.end()?;
            client.expect_end()
        });
        served.map_err(|ended| ended.at(&format!("client {i}")))
    };
    (0..10).try_for_each(one)?;
    let before = Held::settled(at, None)?;
    let mut memory = at.server().memory();
    at.say(format!("{CONNECTIONS} clients connect, get an answer and leave, one after another"));
    let mut connections = 0;
    let until = Instant::now() + LONGEST;
    while connections < CONNECTIONS && (connections < FEWEST || Instant::now() < until) {
        one(connections)?;
        connections += 1;
        if connections == WARM {
            memory = at.server().memory();
        }
        if connections.is_multiple_of(500) {
            // A server that answers slowly, or a busy machine: each part has the time of a check.
            at.starts_now();
            if Held::now(at)?.is_much_more_than(before)
                && Held::settled(at, Some(before))?.is_much_more_than(before)
            {
                break;
            }
        }
    }
    let after = Held::settled(at, Some(before))?;
    let growth = |before: u64| {
        if connections < CONNECTIONS {
            let seconds = LONGEST.as_secs();
            return Err(Ended::NotMade(format!("only {connections} clients were served in {seconds} s")));
        }
        let mut last = at.server().memory()?;
        let mut growth = vec![last.saturating_sub(before)];
        while growth.last().is_some_and(|grown| *grown >= MUCH) && growth.len() < LOOKS {
            at.say(format!("the memory of the server has grown: {CONNECTIONS} clients more"));
            for i in 0..CONNECTIONS {
                if i.is_multiple_of(500) {
                    at.starts_now();
                }
                one(i)?;
            }
            let now = at.server().memory()?;
            growth.push(now.saturating_sub(last));
            last = now;
        }
        Ok(growth)
    };
    Ok(Churned {
        connections,
        descriptors: (before.descriptors, after.descriptors),
        tasks: (before.tasks, after.tasks),
        memory: memory.and_then(growth),
    })
}

/// Whether memory is lost with each connection: as much at the end as before. A runtime that is warm or collects garbage takes less and
/// less.
fn is_leak(growth: &[u64]) -> bool {
    let (last, most) = (growth.last().copied().unwrap_or(0), growth.iter().copied().max().unwrap_or(0));
    growth.iter().all(|grown| *grown >= MUCH) && 3 * last >= most
}

/// At the end there are as many as at the beginning, or a few more: of a pool, say.
fn nothing_left(what: &str, connections: usize, before: usize, after: usize, few: usize) -> Step {
    if after <= before + few {
        return Ok(());
    }
    Err(Ended::failed(
        format!("as many {what} as before: {before}, or up to {few} more"),
        format!("{after} {what} after {connections} connections"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_less_and_less_is_no_leak() {
        let mib = |growth: [f64; 4]| growth.map(|mib| (mib * f64::from(1 << 20)) as u64);
        assert!(is_leak(&mib([10.0, 10.0, 10.0, 10.0])));
        assert!(is_leak(&mib([12.0, 22.0, 9.0, 10.0])));
        // Node.js beside other programs.
        assert!(!is_leak(&mib([12.9, 15.0, 2.5, 2.9])));
        assert!(!is_leak(&mib([11.7, 15.4, 1.9, 8.0])));
        assert!(!is_leak(&mib([1.9, 0.0, 0.0, 0.0])[..1]));
    }
}
