//! What became of the gates, and an earlier result beside this one. A result without them has no such sections.

use super::{Section, factor};
use crate::lab::gate::{Judged, Outcome};
use crate::lab::results::compare::{Compared, Comparison, Earlier};
use crate::lab::stats::Estimate;
use crate::lab::units::UNKNOWN;
use maud::{Markup, html};

pub(super) fn sections(result: &Comparison) -> impl Iterator<Item = Section> {
    let gates = (!result.gates.is_empty()).then(|| gates(&result.gates));
    let gates = gates.map(|content| Section { id: "gates", heading: "Gates", content });
    let earlier = result.earlier.as_ref().map(earlier);
    let earlier =
        earlier.map(|content| Section { id: "earlier", heading: "Beside an earlier result", content });
    gates.into_iter().chain(earlier)
}

fn gates(gates: &[Judged]) -> Markup {
    html! {
        p.soft { "The end of an interval that is nearer to the limit must keep it." }
        table.pairs {
            thead { tr { th { "gate" } th { "what became of it" } } }
            tbody { @for judged in gates { (line(judged)) } }
        }
    }
}

fn line(judged: &Judged) -> Markup {
    html! {
        tr {
            th { (judged.gate) }
            td { @if judged.outcome == Outcome::Met { (judged.in_words()) } @else { b { (judged.in_words()) } } }
        }
    }
}

fn earlier(earlier: &Earlier) -> Markup {
    let Earlier { file, environment, plan, figures, .. } = earlier;
    html! {
        p.soft {
            "Ratios to the baseline model, in " code { (file) } " and in this result. The speed of the machine cancels in them. A "
            "ratio has changed when its two intervals do not overlap."
        }
        div.scroll tabindex="0" role="region" aria-label="Ratios of both results" {
            table {
                thead { tr { @for name in ["row", "ratio", "old", "new", "new/old", "verdict"] { th { (name) } } } }
                tbody { @for figure in figures { (compared(figure)) } }
            }
        }
        @if !(environment.is_empty() && plan.is_empty()) {
            p { "What differs between the two:" }
            ul { @for difference in environment.iter().chain(plan) { li { (difference) } } }
        }
    }
}

fn compared(compared: &Compared) -> Markup {
    let Compared { point, entrant, figure, old, new, times, changed } = compared;
    html! {
        tr {
            th { (point) "/" (entrant) }
            td { (figure) }
            @for ratio in [old, new, times] { td { (estimate(ratio.as_ref())) } }
            td {
                @match changed {
                    Some(true) => b { "changed" },
                    Some(false) => "no change shown",
                    None => "no verdict",
                }
            }
        }
    }
}

fn estimate(ratio: Option<&Estimate>) -> String {
    let Some(Estimate { ratio, low, high }) = ratio else { return UNKNOWN.to_owned() };
    match low.zip(*high) {
        Some((low, high)) => format!("{} [{}–{}]", factor(*ratio), factor(low), factor(high)),
        None => factor(*ratio),
    }
}
