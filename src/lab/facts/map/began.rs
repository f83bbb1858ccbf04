//! Where behaviours began, by the map: does it show what the rows of the facts say?

use super::super::profile::Cell;
use super::Map;
use crate::facts::{Fact, Found, Outcome, Release, Since, Why};
use crate::lab::show::Page;
use std::fmt;

/// Something that Linux does since a certain version: a fact, or some steps of one.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) fact: &'static Fact,
    pub(crate) since: Since,
    /// One of the steps, if only some are that new.
    pub(crate) step: Option<String>,
    /// The newest system that says it is older than that, on which it does not hold.
    pub(crate) not: Option<(usize, Release)>,
    /// The oldest system that is not older than that, on which it holds.
    pub(crate) holds: Option<(usize, Release)>,
    pub(crate) verdict: Verdict,
}

/// Whether the map shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds on the systems that are new enough, and does not on those that are older.
    Shown,
    /// There is no system on one of the sides.
    Outside,
    /// It holds on systems that are older, or not on one that is new enough.
    Contradicted {
        /// Where.
        systems: Vec<usize>,
        /// What somebody noted of one of them, such as that it was backported.
        note: Option<String>,
    },
}

/// The flip is looked for in cells; a reason that has nothing to do with the version tells nothing.
enum Shown {
    Holds,
    Not,
    Differs,
}

impl Verdict {
    /// In a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Verdict::Shown => "shown",
            Verdict::Outside => "outside the map",
            Verdict::Contradicted { note: None, .. } => "contradicted",
            Verdict::Contradicted { note: Some(_), .. } => "explained",
        }
    }
}

impl Bound {
    /// The word of its verdict, and where it is contradicted.
    pub(crate) fn verdict(&self, map: &Map) -> String {
        match &self.verdict {
            Verdict::Contradicted { systems, note } => {
                let note = note.as_ref().map_or(String::new(), |note| format!(": {note}"));
                format!("{} by {}{note}", self.verdict.word(), map.names(systems).join(", "))
            }
            verdict => verdict.word().to_owned(),
        }
    }
}

/// A system with its release.
pub(crate) fn place(map: &Map, place: Option<(usize, Release)>) -> String {
    place.map_or_else(
        || "–".to_owned(),
        |(at, release)| format!("{} ({})", map.systems[at].name, Number(release)),
    )
}

struct Number(Release);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Release(major, minor, patch) = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// All that is bound to a version.
pub(crate) fn bounds(map: &Map) -> Vec<Bound> {
    map.all().flat_map(|fact| of_fact(map, fact)).collect()
}

/// Of a fact: itself, and its steps that are newer.
fn of_fact(map: &Map, fact: &'static Fact) -> Vec<Bound> {
    let mut all: Vec<(Since, Option<String>)> = Vec::new();
    if fact.since > Since::ALWAYS {
        all.push((fact.since, None));
    }
    for step in map.row(fact.id).iter().flatten().flat_map(|cell| &cell.steps) {
        if let Found::ClaimsOlder { since, .. } = step.found
            && all.iter().all(|(known, _)| *known != since)
        {
            all.push((since, Some(step.what.clone())));
        }
    }
    all.sort_by_key(|(since, _)| *since);
    all.into_iter().map(|(since, step)| bound(map, fact, since, step)).collect()
}

fn bound(map: &Map, fact: &'static Fact, since: Since, step: Option<String>) -> Bound {
    let (mut not, mut holds, mut against) = (None, None, Vec::new());
    for (at, release) in map.linux() {
        let Some(cell) = &map.row(fact.id)[at] else { continue };
        let has = if since == fact.since { fact.should_hold_on(release) } else { !release.is_before(since) };
        let is_older = !has;
        match shown(cell, fact, since) {
            Some(Shown::Not | Shown::Differs) if is_older => not = Some((at, release)),
            Some(Shown::Holds) if !is_older => holds = holds.or(Some((at, release))),
            Some(Shown::Holds) => against.push(at),
            // What differs in another way is told elsewhere, and so is what the kernel was built without.
            Some(Shown::Differs)
                if step.is_none() && map.explained(fact.id, at, cell).as_deref() == Some("new") =>
            {
                against.push(at);
            }
            _ => {}
        }
    }
    let verdict = if !against.is_empty() {
        let note = |&at: &usize| map.known.note(fact.id, &map.systems[at].name).map(str::to_owned);
        let notes: Vec<Option<String>> = against.iter().map(note).collect();
        let note = notes.iter().all(Option::is_some).then(|| notes.into_iter().flatten().next()).flatten();
        Verdict::Contradicted { systems: against, note }
    } else if not.is_some() && holds.is_some() {
        Verdict::Shown
    } else {
        Verdict::Outside
    };
    Bound { fact, since, step, not, holds, verdict }
}

/// What a cell shows of what is so since that version.
fn shown(cell: &Cell, fact: &Fact, since: Since) -> Option<Shown> {
    let claims_older = |found: &Found| matches!(found, Found::ClaimsOlder { since: of, .. } if *of == since);
    let is_missing = |found: &Found| matches!(found, Found::Skipped { why: Why::Missing, .. });
    let any = |is: &dyn Fn(&Found) -> bool| cell.steps.iter().any(|step| is(&step.found));
    match cell.outcome {
        _ if any(&claims_older) => Some(Shown::Not),
        Outcome::Differs => Some(Shown::Differs),
        // Steps that need what is new are skipped where it is missing.
        Outcome::Skipped | Outcome::InPart if any(&is_missing) => Some(Shown::Not),
        Outcome::Skipped => None,
        // Other steps are newer still.
        Outcome::ClaimsOlder if fact.since == since => Some(Shown::Holds),
        Outcome::ClaimsOlder => {
            cell.steps.iter().all(|step| newer(&step.found, since)).then_some(Shown::Holds)
        }
        Outcome::Holds => Some(Shown::Holds),
        Outcome::InPart => None,
    }
}

fn newer(found: &Found, since: Since) -> bool {
    matches!(found, Found::ClaimsOlder { since: of, .. } if *of > since)
}

/// Where a fact began, by the map, in lines of at most `width` columns.
#[must_use]
pub fn first_kernel(map: &Map, fact: &'static Fact, width: Option<usize>) -> String {
    let mut page = Page::new(width);
    page.paragraph(fact.id);
    page.line("claim", fact.claim);
    let since = |since: Since| match since {
        Since::ALWAYS => "every supported kernel".to_owned(),
        since => since.to_string(),
    };
    page.line("since", format!("{}, by the row of the fact", since(fact.since)));
    for gap in fact.gaps {
        page.line("but not", super::super::text::gap(gap));
    }
    page.line("reference", fact.reference);
    for bound in of_fact(map, fact) {
        page.blank();
        let what = bound.step.clone().unwrap_or_else(|| "the fact".to_owned());
        page.paragraph(&format!("{} since {}: {}", what, bound.since, bound.verdict(map)));
        page.line("does not hold", place(map, bound.not));
        page.line("holds", place(map, bound.holds));
    }
    page.blank();
    let row = map.row(fact.id);
    let linux = map.linux();
    if row.is_empty() || linux.is_empty() {
        page.paragraph("The map of this program does not have it.");
        return page.into_text();
    }
    page.paragraph("On Linux, by the map of this program:");
    for &outcome in Outcome::ALL {
        let is_so = |at: &usize| row[*at].as_ref().is_some_and(|cell| cell.outcome == outcome);
        let systems: Vec<usize> = linux.iter().map(|(at, _)| *at).filter(is_so).collect();
        if !systems.is_empty() {
            page.line(outcome.words(), map.names(&systems).join(", "));
        }
    }
    page.into_text()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{missing, profile};
    use super::super::{Known, Map};
    use super::*;

    const ID: &str = "poll-pidfd-exit-then-hup";

    fn map(cells: &[(&str, &str)], notes: &str) -> Map {
        let profiles = cells.iter().map(|(kernel, cell)| {
            let cell = match *cell {
                "holds" => format!(r#"{{"id": "{ID}", "outcome": "holds", "held": 3}}"#),
                "older" => format!(
                    r#"{{"id": "{ID}", "outcome": "claims-older", "held": 1, "observed": [
                    {{"step": "collected", "expected": "IN+HUP", "observed": "IN", "since": "Linux 6.9"}}]}}"#
                ),
                "missing" => format!(
                    r#"{{"id": "{ID}", "outcome": "skipped", "held": 0, "observed": [
                    {{"step": "", "why": "missing", "detail": "pidfd_open gives ENOSYS"}}]}}"#
                ),
                other => panic!("{other}"),
            };
            profile(kernel, kernel, &cell)
        });
        Map::new(profiles.chain([missing("gone")]).collect(), Known::read(notes).unwrap()).unwrap()
    }

    fn found(cells: &[(&str, &str)]) -> (String, String, String) {
        let map = map(cells, "");
        let bounds = bounds(&map);
        let bound = bounds.iter().find(|bound| bound.since == Since(6, 9)).expect("it is bound to 6.9");
        (place(&map, bound.not), place(&map, bound.holds), bound.verdict(&map))
    }

    #[test]
    fn a_flip_between_neighbours_shows_it() {
        let (not, holds, verdict) =
            found(&[("5.10.46", "older"), ("6.1.9", "older"), ("6.12.3", "holds"), ("7.2.1", "holds")]);
        assert_eq!((&*not, &*holds, &*verdict), ("6.1.9 (6.1.9)", "6.12.3 (6.12.3)", "shown"));
        let (not, holds, verdict) =
            found(&[("5.10.46", "missing"), ("6.12.3", "holds"), ("6.12.4", "older")]);
        assert_eq!((&*not, &*holds, &*verdict), ("5.10.46 (5.10.46)", "6.12.3 (6.12.3)", "shown"));
    }

    #[test]
    fn without_a_kernel_on_each_side_the_map_says_nothing() {
        // By the row of the fact: nothing claims to be older.
        let map = map(&[("6.12.3", "holds")], "");
        let all = bounds(&map);
        assert!(all.iter().all(|bound| bound.verdict == Verdict::Outside), "{all:?}");
    }

    #[test]
    fn what_holds_on_an_older_kernel_contradicts_it_unless_that_is_explained() {
        let cells = [("5.10.46", "older"), ("6.1.9", "holds"), ("6.12.3", "holds")];
        assert_eq!(found(&cells).2, "contradicted by 6.1.9");
        let note =
            format!("[[note]]\nfacts = [\"{ID}\"]\nsystems = \"6.1\"\nnote = \"a stable release has it\"");
        let map = map(&cells, &note);
        let verdicts: Vec<_> = bounds(&map).iter().map(|bound| bound.verdict(&map)).collect();
        assert_eq!(verdicts.last().unwrap(), "explained by 6.1.9: a stable release has it");
    }

    #[test]
    fn the_first_kernel_is_told_with_both_sides() {
        let map = map(&[("5.10.46", "older"), ("6.12.3", "holds")], "");
        let text = first_kernel(&map, crate::facts::find(ID).unwrap(), Some(80));
        for said in ["since Linux 6.9: shown", "does not hold  5.10.46 (5.10.46)", "claims older   5.10.46"] {
            assert!(text.contains(said), "no {said:?} in {text}");
        }
    }
}
