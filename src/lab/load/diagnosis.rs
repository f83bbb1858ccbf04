//! What is wrong with a server: what was seen on all lost connections together, and the usual cause.

use super::trouble::{Kind, Lost, ZERO};
use crate::lab::units::of as number_of;
use procfs::net::TcpState;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What was seen, on how many connections, and what usually causes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What it is.
    pub kind: Cause,
    /// Lost connections on which it was seen.
    pub connections: usize,
    /// What was seen.
    pub seen: String,
    /// The usual cause, as a question to the author of the server, or what to do about it.
    pub hint: Option<String>,
}

/// Why connections were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nobody listens at the address any more.
    Gone,
    /// Answers stop before their first zero byte.
    StopsAtZero,
    /// Every connection ended after the same number of answers.
    ClosesAfter,
    /// One connection was answered, the others never.
    OneAtATime,
    /// Some connections were answered, the others never, and the queue of a listening socket was full meanwhile.
    ListenQueueFull,
    /// Some connections were answered, the others never.
    SomeNeverAnswered,
    /// What happened to each of them.
    #[serde(untagged)]
    Each(Kind),
}

/// What is known of a run when it is over, beside the connections that were lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Connections that were to be opened.
    pub(super) connections: usize,
    /// Whether connections are closed after some requests and opened again.
    pub(super) comes_and_goes: bool,
    /// Whether the server refuses connections now that the run is over.
    pub(super) gone: bool,
    /// How often the queue of a listening socket on this machine was full meanwhile. 0 when it is not known.
    pub(super) listen_overflows: u64,
    /// Connections that wait for accept(2), for a server in our network namespace.
    pub(super) not_accepted: Option<u64>,
}

/// How many connections to `target` are established and wait for accept(2). `None` when the server is not in our network
/// namespace, or /proc does not tell.
pub(super) fn not_accepted(target: SocketAddr) -> Option<u64> {
    let entries = procfs::net::tcp().into_iter().chain(procfs::net::tcp6()).flatten();
    let is_its = |local: SocketAddr| {
        local.port() == target.port() && (local.ip().is_unspecified() || local.ip() == target.ip())
    };
    // The receive queue of a listening socket, man 7 tcp_diag, is that of accept.
    let queues = entries.filter(|entry| entry.state == TcpState::Listen && is_its(entry.local_address));
    queues.map(|entry| u64::from(entry.rx_queue)).reduce(u64::saturating_add)
}

/// How often the queue of a listening socket was full in this network namespace, since it exists; `TcpExtListenOverflows` of
/// `nstat`. `None` where /proc does not tell.
pub(in crate::lab) fn listen_overflows() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next()?, lines.next()?);
    names.zip(values).find(|(name, _)| *name == "ListenOverflows")?.1.parse().ok()
}

/// What is wrong, the most important first. Where several connections together show the cause, their own hints are
/// replaced by it.
pub(super) fn of(lost: &mut [Lost], run: Run) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let answered = run.connections.saturating_sub(lost.iter().filter(|lost| lost.answers == 0).count());
    let mut left: Vec<&mut Lost> = lost.iter_mut().collect();
    let ends = |lost: &Lost| matches!(lost.kind, Kind::Closed | Kind::Reset | Kind::Refused);
    if run.gone {
        let hint = "did it crash or exit? See its own output";
        let seen = "nobody listens there any more: the server has gone";
        found.push(explain(&mut left, Cause::Gone, seen.to_owned(), hint, ends));
    }
    let stops = |lost: &Lost| lost.hint.as_deref() == Some(ZERO);
    if left.iter().any(|lost| stops(lost)) {
        let seen = format!(
            "answers stop before their first byte 0x00, on {} of {}",
            left.iter().filter(|lost| stops(lost)).count(),
            number_of(run.connections as u64, "connection")
        );
        found.push(explain(&mut left, Cause::StopsAtZero, seen, ZERO, stops));
    }
    found.extend(closes_after(&mut left, run));
    found.extend(never_answered(&mut left, answered, run));
    // Those that were not tried are explained by the others.
    if !found.is_empty() || left.iter().any(|lost| lost.kind != Kind::NotOpened) {
        left.retain(|lost| lost.kind != Kind::NotOpened);
    }
    while let Some(first) = left.first() {
        let (kind, hint) = (first.kind, first.hint.clone());
        let before = left.len();
        left.retain(|lost| (lost.kind, &lost.hint) != (kind, &hint));
        let connections = before - left.len();
        let seen =
            format!("{} of {} {}", connections, number_of(run.connections as u64, "connection"), kind.fate());
        found.push(Diagnosis { kind: Cause::Each(kind), connections, seen, hint });
    }
    found.sort_by_key(|diagnosis| (rank(diagnosis.kind), std::cmp::Reverse(diagnosis.connections)));
    found
}

/// Take those of `left` to which this applies.
fn explain(
    left: &mut Vec<&mut Lost>,
    kind: Cause,
    seen: String,
    hint: &str,
    applies: impl Fn(&Lost) -> bool,
) -> Diagnosis {
    let before = left.len();
    left.retain_mut(|lost| {
        let applies = applies(lost);
        if applies {
            lost.hint = Some(hint.to_owned());
        }
        !applies
    });
    Diagnosis { kind, connections: before - left.len(), seen, hint: Some(hint.to_owned()) }
}

/// The connections that the server ended between two answers: after the same number, or after different ones.
fn closes_after(left: &mut Vec<&mut Lost>, run: Run) -> Option<Diagnosis> {
    let ends = |lost: &Lost| matches!(lost.kind, Kind::Closed | Kind::Reset) && lost.answers > 0;
    let mut answers = left.iter().filter(|lost| ends(lost)).map(|lost| lost.answers);
    let first = answers.next()?;
    let (more, same) = answers.fold((0, true), |(more, same), n| (more + 1, same && n == first));
    if more == 0 || run.comes_and_goes {
        return None; // Its own hint says it.
    }
    if !same {
        let hint = "did the server run into an error, or was it ended? See its own output";
        left.iter_mut().filter(|lost| ends(lost)).for_each(|lost| lost.hint = Some(hint.to_owned()));
        return None;
    }
    let seen = format!("{} connections ended after {} each", more + 1, number_of(first, "answer"));
    let hint =
        format!("if the server means to close after that many requests, use --requests-per-conn {first}");
    Some(explain(left, Cause::ClosesAfter, seen, &hint, ends))
}

/// The connections that never got a byte, when others were answered.
fn never_answered(left: &mut Vec<&mut Lost>, answered: usize, run: Run) -> Option<Diagnosis> {
    let never = |lost: &Lost| matches!(lost.kind, Kind::Silent | Kind::NotAccepted) && lost.answers == 0;
    let count_of = |applies: &dyn Fn(&Lost) -> bool| left.iter().filter(|lost| applies(lost)).count();
    let (silent, not_tried) = (count_of(&never), count_of(&|lost| lost.kind == Kind::NotOpened));
    if silent == 0 || answered == 0 || run.comes_and_goes {
        return None;
    }
    let tried = if not_tried > 0 { format!(", {not_tried} were not tried") } else { String::new() };
    let waiting = match run.not_accepted.unwrap_or(0) {
        0 => String::new(),
        n => format!("; the server has not accepted {}", number_of(n, "connection")),
    };
    let seen = format!(
        "{} answered, {silent} never got a byte{tried}{waiting}",
        if answered == 1 { "1 connection was".to_owned() } else { format!("{answered} connections were") }
    );
    let (kind, hint) = match answered {
        1 => (
            Cause::OneAtATime,
            "does the server serve one client at a time? Give each client a thread or a process, or use select, poll or \
             epoll. Is the listener edge-triggered? Accept until EAGAIN",
        ),
        _ if run.listen_overflows > 0 && run.not_accepted.unwrap_or(0) == 0 => (
            Cause::ListenQueueFull,
            "the queue of listen(2) was full: is its backlog small? Pass a larger number to listen, or give a longer \
             --timeout",
        ),
        _ => (
            Cause::SomeNeverAnswered,
            "does the server call accept only once for each event of an edge-triggered listener? Accept until EAGAIN. Or \
             does it serve only so many clients at a time?",
        ),
    };
    Some(explain(left, kind, seen, hint, never))
}

/// Wrong bytes come first, as they are usually the cause of what else is seen.
fn rank(cause: Cause) -> (u8, Cause) {
    let rank = match cause {
        Cause::StopsAtZero => 0,
        Cause::Each(kind) if kind <= Kind::Partial => 0,
        Cause::Each(_) => 2,
        _ => 1,
    };
    (rank, cause)
}

impl Kind {
    /// What happened to connections, as the end of a sentence.
    fn fate(self) -> &'static str {
        match self {
            Kind::WrongAnswer => "got a wrong answer",
            Kind::Foreign => "got bytes of other connections",
            Kind::Repeated => "got bytes twice",
            Kind::Dropped => "got answers with bytes missing in the middle",
            Kind::Corrupted => "got changed bytes",
            Kind::Unasked => "got more bytes than they asked for",
            Kind::Partial => "got a part of an answer, then nothing",
            Kind::Closed => "were closed by the server",
            Kind::Reset => "were reset by the server",
            Kind::Failed => "failed",
            Kind::Silent => "got no answer",
            Kind::Slow => "got their answers too slowly",
            Kind::Refused => "were refused",
            Kind::NotConnected => "could not be opened",
            Kind::NotAccepted => "were not accepted",
            Kind::NotOpened => "were not tried",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run =
        Run { connections: 64, comes_and_goes: false, gone: false, listen_overflows: 0, not_accepted: None };

    fn lost(connection: usize, kind: Kind, answers: u64) -> Lost {
        Lost { connection, kind, reason: String::new(), hint: Some("its own".to_owned()), answers }
    }

    fn all(kind: Kind, connections: std::ops::Range<usize>, answers: impl Fn(usize) -> u64) -> Vec<Lost> {
        connections.map(|connection| lost(connection, kind, answers(connection))).collect()
    }

    #[test]
    fn one_answered_connection_is_a_server_of_one_client_at_a_time() {
        let mut lost = all(Kind::Silent, 1..64, |_| 0);
        let found = of(&mut lost, RUN);
        assert_eq!((found.len(), found[0].kind, found[0].connections), (1, Cause::OneAtATime, 63));
        assert_eq!(found[0].seen, "1 connection was answered, 63 never got a byte");
        assert!(lost.iter().all(|lost| lost.hint == found[0].hint), "each connection has the hint of all");
    }

    #[test]
    fn some_answered_connections_are_a_listener_that_misses_clients() {
        let mut lost = all(Kind::Silent, 3..40, |_| 0);
        lost.extend(all(Kind::NotAccepted, 40..60, |_| 0));
        lost.extend(all(Kind::NotOpened, 60..64, |_| 0));
        let found = of(&mut lost, RUN);
        assert_eq!((found.len(), found[0].kind, found[0].connections), (1, Cause::SomeNeverAnswered, 57));
        assert_eq!(found[0].seen, "3 connections were answered, 57 never got a byte, 4 were not tried");
        let found = of(&mut lost, Run { listen_overflows: 9, ..RUN });
        assert_eq!((found.len(), found[0].kind, found[0].connections), (1, Cause::ListenQueueFull, 57));
        let found = of(&mut lost, Run { listen_overflows: 9, not_accepted: Some(57), ..RUN });
        assert_eq!(found[0].kind, Cause::SomeNeverAnswered);
        assert!(found[0].seen.ends_with("; the server has not accepted 57 connections"), "{}", found[0].seen);
    }

    #[test]
    fn connections_that_all_get_nothing_are_not_blamed_on_accept() {
        let found = of(&mut all(Kind::Silent, 0..64, |_| 0), RUN);
        assert_eq!((found.len(), found[0].kind), (1, Cause::Each(Kind::Silent)));
        assert_eq!(found[0].seen, "64 of 64 connections got no answer");
    }

    #[test]
    fn connections_that_end_after_the_same_number_of_answers_are_meant_to() {
        let mut lost = all(Kind::Closed, 0..32, |_| 100);
        lost.extend(all(Kind::Reset, 32..64, |_| 100));
        let found = of(&mut lost, RUN);
        assert_eq!((found.len(), found[0].kind, found[0].connections), (1, Cause::ClosesAfter, 64));
        assert!(found[0].hint.as_deref().is_some_and(|hint| hint.ends_with("--requests-per-conn 100")));
        let mut lost = all(Kind::Closed, 0..64, |connection| 100 + connection as u64);
        let found = of(&mut lost, RUN);
        assert_eq!((found.len(), found[0].kind), (1, Cause::Each(Kind::Closed)));
        assert!(!lost[0].hint.as_deref().is_some_and(|hint| hint.contains("--requests-per-conn")));
    }

    #[test]
    fn a_server_that_has_gone_explains_what_ended_but_not_what_was_wrong_before() {
        let mut lost = all(Kind::WrongAnswer, 0..1, |_| 0);
        lost.extend(all(Kind::Reset, 1..4, |_| 0));
        lost.extend(all(Kind::NotOpened, 4..64, |_| 0));
        let found = of(&mut lost, Run { gone: true, ..RUN });
        let kinds: Vec<_> = found.iter().map(|diagnosis| diagnosis.kind).collect();
        assert_eq!(kinds, [Cause::Each(Kind::WrongAnswer), Cause::Gone]);
    }

    #[test]
    fn answers_that_stop_at_a_zero_byte_are_one_cause_and_not_a_missed_accept() {
        let zero = |lost: Lost| Lost { hint: Some(ZERO.to_owned()), ..lost };
        let mut lost: Vec<_> = all(Kind::Partial, 0..30, |_| 0).into_iter().map(zero).collect();
        lost.extend(all(Kind::Silent, 30..32, |_| 0).into_iter().map(zero));
        let found = of(&mut lost, RUN);
        assert_eq!((found.len(), found[0].kind, found[0].connections), (1, Cause::StopsAtZero, 32));
        assert_eq!(found[0].seen, "answers stop before their first byte 0x00, on 32 of 64 connections");
    }

    #[test]
    fn a_cause_reads_as_one_word_in_json() {
        for (cause, word) in [
            (Cause::Gone, "gone"),
            (Cause::SomeNeverAnswered, "some_never_answered"),
            (Cause::Each(Kind::WrongAnswer), "wrong_answer"),
        ] {
            assert_eq!(serde_json::to_value(cause).unwrap(), word);
        }
    }
}
