//! What a result shows, in sentences.

use super::charts::ranked;
use super::{factor, ratio};
use crate::lab::results::compare::{Comparison, Figures, Group, Judged, Row, Verdict};
use crate::lab::units::{count, of};
use maud::{Markup, html};

/// A list in a sentence names so many servers, and counts the others.
const MOST_NAMES: usize = 4;

/// From this ratio on, a sentence of its own says what silent connections add to the cost of a server.
const GROWS: f64 = 1.1;

/// A name in a sentence.
fn code(name: &str) -> Markup {
    html! { code { (name) } }
}

/// Names in a sentence: `a`, `b` and `c`.
fn list(names: &[String]) -> Markup {
    let named = if names.len() <= MOST_NAMES + 1 { names.len() } else { MOST_NAMES };
    html! {
        @for (i, name) in names[..named].iter().enumerate() {
            @if i > 0 { @if i + 1 == names.len() { " and " } @else { ", " } }
            (code(name))
        }
        @if named < names.len() { " and " (names.len() - named) " others" }
    }
}

/// A ratio in a sentence, which stands on one line.
fn times(judged: &Judged) -> Markup {
    html! { b.r { (ratio(judged)) } }
}

/// A figure that servers are judged by, and the words for it.
struct Kind {
    of: fn(&Figures) -> Option<&Judged>,
    /// What the best server has.
    best: &'static str,
    /// What it is a figure of.
    what: &'static str,
    /// Whether a larger ratio is better.
    more: bool,
}

const RATE: Kind = Kind { of: |f| f.rate.as_ref(), best: "Most requests/s", what: "requests/s", more: true };
const CPU: Kind = Kind {
    of: |f| f.cpu.as_ref(),
    best: "Least CPU time per request",
    what: "CPU time per request",
    more: false,
};
const P50: Kind =
    Kind { of: |f| f.p50.as_ref(), best: "Shortest median latency", what: "median latency", more: false };
const P99: Kind =
    Kind { of: |f| f.p99.as_ref(), best: "Shortest p99 latency", what: "p99 latency", more: false };

fn kinds(group: &Group) -> &'static [Kind] {
    if group.load.rate.is_some() { &[P50, P99, CPU] } else { &[RATE, CPU] }
}

/// The findings of a group: who is best, and whose difference was not shown.
pub(super) fn of_group(group: &Group) -> Vec<Markup> {
    let best = kinds(group).iter().filter_map(|kind| best(group, kind));
    best.chain(no_better(group)).chain(undecided(group)).collect()
}

/// The figures in which no server is shown to be better than the baseline.
fn no_better(group: &Group) -> Option<Markup> {
    let is_judged = |kind: &&Kind| judged(group, kind).iter().any(|(row, _)| !row.baseline);
    let kinds = kinds(group).iter().filter(is_judged).filter(|kind| better(group, kind).is_empty());
    let names: Vec<_> = kinds.map(|kind| kind.what).collect();
    (!names.is_empty()).then(
        || html! { "No server is shown to be better than the baseline in " (names.join(" or in ")) "." },
    )
}

/// The rows that have a ratio of that kind, without A/A.
fn judged<'a>(group: &'a Group, kind: &Kind) -> Vec<(&'a Row, &'a Judged)> {
    let with = |row: &'a Row| Some((row, (kind.of)(row.figures.as_ref()?)?));
    group.rows.iter().filter(|row| !row.control).filter_map(with).collect()
}

/// The rows that are shown to be better than the baseline.
fn better<'a>(group: &'a Group, kind: &Kind) -> Vec<(&'a Row, &'a Judged)> {
    let is_better = |(_, judged): &(&Row, &Judged)| judged.verdict == Some(Verdict::Better);
    judged(group, kind).into_iter().filter(is_better).collect()
}

/// Who is best by one figure, how much better than the baseline, and whose interval overlaps.
fn best(group: &Group, kind: &Kind) -> Option<Markup> {
    let order = |a: f64, b: f64| if kind.more { a.total_cmp(&b) } else { b.total_cmp(&a) };
    let better = better(group, kind).into_iter();
    let (row, first) = better.max_by(|a, b| order(a.1.ratio.ratio, b.1.ratio.ratio))?;
    let is_close =
        |(other, judged): &&(&Row, &Judged)| other.entrant != row.entrant && overlap(first, judged);
    let judged = judged(group, kind);
    let close: Vec<_> = judged.iter().filter(is_close).map(|(other, _)| other.name()).collect();
    Some(html! {
        (kind.best) ": " (code(&row.entrant)) ", " (times(first)) " times the baseline's"
        @if !close.is_empty() { "; the interval overlaps " (if close.len() == 1 { "that" } else { "those" }) " of " (list(&close)) }
        "."
    })
}

fn overlap(a: &Judged, b: &Judged) -> bool {
    let ends = |judged: &Judged| judged.ratio.low.zip(judged.ratio.high);
    matches!((ends(a), ends(b)), (Some((low, high)), Some((l, h))) if low <= h && l <= high)
}

/// Whose difference to the baseline was not shown by any of the figures.
fn undecided(group: &Group) -> Option<Markup> {
    let is_undecided = |row: &&&Row| {
        let verdict = |kind: &Kind| (kind.of)(row.figures.as_ref()?)?.verdict;
        let verdicts: Vec<_> = kinds(group).iter().filter_map(verdict).collect();
        !row.control && !verdicts.is_empty() && verdicts.iter().all(|v| *v == Verdict::NoDifferenceShown)
    };
    let rows = ranked(group);
    let names: Vec<_> = rows.iter().filter(is_undecided).map(|row| row.name()).collect();
    (!names.is_empty()).then(|| html! { "No difference to the baseline was shown for " (list(&names)) "." })
}

/// What the baseline against itself reads in these groups.
pub(super) fn noise(groups: &[&Group]) -> Option<Markup> {
    let read = |group: &&Group| {
        let figures = group.control().and_then(|row| row.figures.as_ref());
        let of = |kind: &Kind| Some((group.id(), *(kind.of)(figures?)?));
        kinds(group).iter().filter_map(of).collect::<Vec<_>>()
    };
    let all: Vec<(String, Judged)> = groups.iter().flat_map(read).collect();
    let low = all
        .iter()
        .map(|(_, judged)| judged.ratio.low.unwrap_or(judged.ratio.ratio))
        .fold(f64::INFINITY, f64::min);
    let high =
        all.iter().map(|(_, judged)| judged.ratio.high.unwrap_or(judged.ratio.ratio)).fold(0.0, f64::max);
    let differs = |judged: &Judged| !matches!(judged.verdict, None | Some(Verdict::NoDifferenceShown));
    let mut wrong: Vec<_> =
        all.iter().filter(|(_, judged)| differs(judged)).map(|(id, _)| id.clone()).collect();
    wrong.dedup();
    (!all.is_empty()).then(|| {
        html! {
            "All intervals of the baseline against itself (A/A) lie between " b { (factor(low)) } " and " b { (factor(high)) } "."
            @if !wrong.is_empty() {
                " Under " (list(&wrong)) " that is shown as a difference where there is none: differences of that size mean nothing there."
            }
        }
    })
}

/// Where servers fall behind the baseline as silent connections are added.
pub(super) fn idle(result: &Comparison, workload: &str) -> Vec<Markup> {
    let groups = result.groups.iter().filter(|group| group.workload == workload && group.load.rate.is_none());
    let mut groups: Vec<&Group> = groups.collect();
    groups.sort_by_key(|group| group.load.idle);
    if groups.first().map(|group| group.load.idle) == groups.last().map(|group| group.load.idle) {
        return Vec::new();
    }
    let mut behind: Vec<Behind> =
        result.entrants.iter().filter_map(|entrant| Behind::of(&entrant.name, &groups)).collect();
    behind.sort_by(|a, b| b.last.ratio.ratio.total_cmp(&a.last.ratio.ratio));
    let (more, less): (Vec<_>, Vec<_>) = behind.into_iter().partition(|behind| behind.growth >= GROWS);
    let names: Vec<_> = less.iter().map(|behind| behind.name.clone()).collect();
    let none = more.is_empty() && less.is_empty();
    let last = none.then(
        || html! { "No server is shown to cost more than the baseline because of silent connections." },
    );
    let few = (!less.is_empty()).then(|| {
        html! { "Less than a tenth is added to the cost of " (list(&names)) "." }
    });
    more.iter().map(Behind::sentence).chain(few).chain(last).collect()
}

/// A server whose CPU time per request grows with silent connections, beyond what that of the baseline does.
struct Behind {
    name: String,
    /// The most silent connections with which it is not worse than the baseline.
    before: Option<usize>,
    /// From this many on it is.
    from: usize,
    /// The most that it was judged with.
    most: usize,
    /// Whether there were more, which it could not have.
    is_limited: bool,
    last: Judged,
    /// What the ratio has grown by.
    growth: f64,
}

impl Behind {
    fn of(name: &str, groups: &[&Group]) -> Option<Behind> {
        let judged = |group: &&Group| {
            let row = group.rows.iter().find(|row| row.entrant == name && !row.control && !row.baseline)?;
            Some((group.load.idle, *row.figures.as_ref()?.cpu.as_ref()?))
        };
        let points: Vec<_> = groups.iter().filter_map(judged).collect();
        let (&(_, first), &(most, last)) = (points.first()?, points.last()?);
        // By more than the intervals are wide.
        if last.verdict != Some(Verdict::Worse) || last.ratio.low? <= first.ratio.high? {
            return None;
        }
        let is_worse = |(_, judged): &&(usize, Judged)| judged.verdict == Some(Verdict::Worse);
        let &(from, _) = points.iter().rev().take_while(is_worse).last()?;
        let before = points.iter().map(|&(idle, _)| idle).take_while(|&idle| idle < from).last();
        let is_limited = groups.last().is_some_and(|group| group.load.idle > most);
        let growth = last.ratio.ratio / first.ratio.ratio;
        Some(Behind { name: name.to_owned(), before, from, most, is_limited, last, growth })
    }

    fn sentence(&self) -> Markup {
        html! {
            (code(&self.name))
            @if let Some(before) = self.before {
                " is behind from " b.r { (of(self.from as u64, "idle connection")) } " on (with " (count(before as u64)) " that is not shown)"
            } @else {
                " is behind with any number of idle connections"
            }
            ": with " (count(self.most as u64)) " it needs " (times(&self.last)) " times the CPU time per request of the baseline."
            @if self.is_limited { " It was not compared with more." }
        }
    }
}

/// Rows without a place in the ranking, with the reason.
pub(super) fn reasons(group: &Group) -> Vec<(String, &'static str, String)> {
    let reason = |row: &&Row| {
        let why = match &row.figures {
            Some(figures) => figures.not_judged.clone()?,
            None => row.reason.clone().unwrap_or_else(|| "no reason was given".to_owned()),
        };
        Some((row.name(), super::word(row), why))
    };
    ranked(group).iter().filter_map(reason).collect()
}
