//! The map of the kernel's facts as a page: facts and systems as tables, and what does not hold in full.

use super::{Section, count, document, nothing};
use crate::facts::{Area, Fact, Found, Outcome, Step};
use crate::lab::facts::{Bound, Cell, Group, MOST_STEPS, Map, Totals, Verdict, bounds, more_steps, place};
use crate::lab::lang::Lang;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// The text that shows when a pointer rests on a cell is no longer than that. All of it is beneath the table.
const LONGEST_TITLE: usize = 200;

/// The page.
#[must_use]
pub fn page(map: &Map) -> String {
    let facts = count(map.all().count(), "fact");
    let title = "Kernel facts by system";
    let intro = html! {
        p.soft {
            (facts) " on " (count(map.systems.len(), "system")) ". Each fact is an experiment: "
            code { "io-models facts --explain ID" } " tells what it does, and why it matters."
        }
        @let unknown = map.unknown().len();
        @if unknown > 0 {
            ul.warning { li { "This program does not know " (count(unknown, "fact")) " of the profiles, which are left out." } }
        }
    };
    let sections = [
        Section { id: "systems", heading: "Systems", content: systems(map) },
        Section { id: "map", heading: "Facts by system", content: areas(map) },
        Section { id: "differences", heading: "What differs, in full", content: differences(map) },
        Section {
            id: "others",
            heading: "What was not checked, and what claims to be older",
            content: others(map),
        },
        Section { id: "since", heading: "Since which kernel", content: since(map) },
        Section { id: "reading", heading: "How to read it", content: how_to_read() },
    ];
    // HTML does not need the ends of cells and rows, which are most of a large table.
    ["</td>", "</th>", "</tr>"]
        .iter()
        .fold(document(Lang::En, title, "", &intro, &sections), |page, end| page.replace(end, ""))
}

fn systems(map: &Map) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead {
                    tr { th { "system" } @for outcome in Outcome::ALL { th { (outcome.words()) } } th.note { "what it is" } }
                }
                tbody {
                    @for (at, system) in map.systems.iter().enumerate() {
                        tr class=[system.missing.is_some().then_some("gone")] {
                            th scope="row" { (system.name) }
                            @if system.missing.is_some() {
                                td colspan="5" {}
                            } @else {
                                @let Totals { holds, in_part, differs, claims_older, skipped } = map.totals(at);
                                td { (holds) } td { (in_part) }
                                td { @if differs > 0 { b.wrong { (differs) } } @else { (differs) } }
                                td { (claims_older) } td { (skipped) }
                            }
                            td.note { (system.about()) }
                        }
                    }
                }
            }
        }
    }
}

/// A table for each area, with the facts of which there is something to tell; the others are folded.
fn areas(map: &Map) -> Markup {
    html! {
        @for &area in Area::ALL {
            @let (same, told): (Vec<&Fact>, Vec<&Fact>) = map.facts(area).partition(|fact| map.holds_everywhere(fact.id));
            @if !same.is_empty() || !told.is_empty() {
                h3 { (area.title()) }
                @if !told.is_empty() { (table(map, &told)) }
                @if !same.is_empty() {
                    details {
                        summary { (count(same.len(), "fact")) @if same.len() == 1 { " holds on every system" } @else { " hold on every system" } }
                        dl { @for fact in same { dt { code { (fact.id) } } dd { (fact.claim) } } }
                    }
                }
            }
        }
    }
}

fn table(map: &Map, facts: &[&Fact]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table.map {
                thead {
                    tr { th { "fact" } @for system in &map.systems { th title=(system.about()) { span { (system.name) } } } }
                }
                tbody {
                    @for fact in facts {
                        tr {
                            th scope="row" title=(fact.claim) { a href={ "#" (fact.id) } { (fact.id) } }
                            @for (at, cell) in map.row(fact.id).iter().enumerate() { (self::cell(map, fact, at, cell.as_ref())) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(map: &Map, fact: &Fact, at: usize, cell: Option<&Cell>) -> Markup {
    let Some(cell) = cell else {
        return match map.systems[at].missing {
            Some(_) => html! { td.gone {} },
            None => html! { td { "–" } },
        };
    };
    let noted = map.explained(fact.id, at, cell);
    let title = || {
        let all = noted.as_ref().map_or_else(|| cell.line(), |noted| format!("{} ({noted})", cell.line()));
        all.chars().take(LONGEST_TITLE).collect::<String>()
    };
    let mark = noted.as_ref().map(|_| html! { sup { "*" } });
    let anchor = format!("#{}", fact.id);
    match cell.outcome {
        Outcome::Holds if noted.is_none() => html! { td { "·" } },
        Outcome::Holds => html! { td title=(title()) { "·" (mark.unwrap_or_default()) } },
        Outcome::Differs => html! { td.differs title=(title()) { a href=(anchor) { "differs" } } },
        Outcome::InPart => {
            html! { td.doubt title=(title()) { "part: " (reasons(cell)) (mark.unwrap_or_default()) } }
        }
        Outcome::ClaimsOlder => html! { td.doubt title=(title()) { "older" (mark.unwrap_or_default()) } },
        Outcome::Skipped => html! { td.doubt title=(title()) { (reasons(cell)) (mark.unwrap_or_default()) } },
    }
}

/// The reasons for which steps were skipped, a word each.
fn reasons(cell: &Cell) -> String {
    let why = |step: &Step| match step.found {
        Found::Skipped { why, .. } => Some(why.name()),
        _ => None,
    };
    let words: BTreeSet<&str> = cell.steps.iter().filter_map(why).collect();
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn differences(map: &Map) -> Markup {
    html! {
        @for fact in map.all().filter(|fact| map.differs(fact.id)) {
            div.finding id=(fact.id) {
                p { code { (fact.id) } br; span.soft { (fact.claim) } }
                div {
                    @for group in told(map, fact) { (self::group(map, &group)) }
                    p.soft { b { "What it breaks: " } (fact.matters) " " b { "Reference: " } (fact.reference) }
                }
            }
        }
        @if !map.is_remarkable() { p { "Nothing." } }
    }
}

fn others(map: &Map) -> Markup {
    let others = || map.all().filter(|fact| !map.differs(fact.id) && !map.holds_everywhere(fact.id));
    html! {
        @for fact in others() {
            details id=(fact.id) {
                summary { code { (fact.id) } }
                p.soft { (fact.claim) }
                @for group in told(map, fact) { (self::group(map, &group)) }
            }
        }
        @if others().next().is_none() { p { "Nothing." } }
    }
}

/// What there is to tell of a fact.
fn told<'a>(map: &'a Map, fact: &Fact) -> impl Iterator<Item = Group<'a>> {
    map.groups(fact.id)
        .into_iter()
        .filter(|group| group.cell.outcome != Outcome::Holds || group.explained.is_some())
}

fn group(map: &Map, group: &Group<'_>) -> Markup {
    let Group { systems, cell, explained } = group;
    html! {
        p {
            @if cell.outcome == Outcome::Differs { b.wrong { "differs" } } @else { b { (cell.outcome.words()) } }
            " on " (map.names(systems).join(", "))
            @if let Some(explained) = explained { " (" (explained) ")" }
        }
        ul.reasons { @for step in cell.steps.iter().take(MOST_STEPS) { li { (self::step(step)) } } }
        @if let Some(more) = more_steps(&cell.steps) { p.soft { (more) } }
    }
}

fn step(Step { what, found, .. }: &Step) -> Markup {
    html! {
        @if !what.is_empty() { (what) ": " }
        @match found {
            Found::Holds => { "holds" }
            Found::Differs { expected, observed, .. } => { "expected " code { (expected) } ", observed " code { (observed) } }
            Found::ClaimsOlder { expected, observed, since } => {
                "expected " code { (expected) } " since " (since) ", observed " code { (observed) }
            }
            Found::Skipped { why, detail } => { b { (why.name()) } ", " (detail) }
        }
    }
}

fn since(map: &Map) -> Markup {
    let (outside, told): (Vec<Bound>, Vec<Bound>) =
        bounds(map).into_iter().partition(|bound| bound.verdict == Verdict::Outside);
    html! {
        @if told.is_empty() { (nothing("Of nothing that is bound to a version, the map has an older and a newer kernel.")) }
        @else {
            div.scroll tabindex="0" {
                table {
                    thead {
                        tr {
                            th { "fact" } th { "since" } th { "newest on which it does not hold" } th { "oldest on which it holds" }
                            th.note { "by the map" }
                        }
                    }
                    tbody {
                        @for bound in &told {
                            tr {
                                th scope="row" { (bound.fact.id) @if bound.step.is_some() { " (some steps)" } }
                                td { (bound.since) } td { (place(map, bound.not)) } td { (place(map, bound.holds)) }
                                td.note {
                                    @if matches!(bound.verdict, Verdict::Contradicted { note: None, .. }) { b.wrong { (bound.verdict(map)) } }
                                    @else { (bound.verdict(map)) }
                                    @if let Some(step) = &bound.step { "; one of the steps: " (step) }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if !outside.is_empty() {
            details {
                summary { (count(outside.len(), "bound")) " outside the map: no system is older, or none is newer" }
                ul.reasons { @for bound in &outside { li { code { (bound.fact.id) } ": " (bound.since) } } }
            }
        }
    }
}

fn how_to_read() -> Markup {
    html! {
        dl {
            dt { "·" } dd { "The kernel does what the fact says, in every step. With " sup { "*" } ", something is noted: the fact is listed beneath." }
            dt { "part" } dd { "It does so in the steps that could be made; the word says why others could not." }
            dt { "differs" } dd { "It does something else in at least one step. The reason is beside it where it is known: a commit or a discussion. What is new has not been explained." }
            dt { "older" } dd { "It does something else, but only in steps that are newer than the kernel says it is." }
            dt { "A reason alone" } dd { "No step could be made: " @for (n, why) in crate::facts::Why::ALL.iter().enumerate() { @if n > 0 { " " } b { (why.name()) } " – " (why.meaning()) } }
            dt { "– and a grey column" } dd { "The fact was not run there; the system could not be had, for the reason in the first table." }
        }
        p.soft { "docs/facts.md of io-models tells more." }
    }
}
