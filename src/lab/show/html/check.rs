//! Verdicts as a page: a matrix of checks and servers, and each failure in full.

use super::{Section, count, document};
use crate::lab::lang::Lang;
use crate::lab::results::check::{Checked, Failure, Judged, Outcome, Verdict};
use crate::lab::units;
use crate::lab::visible::visible;
use maud::{Markup, html};

/// The page.
#[must_use]
pub fn page(result: &Checked) -> String {
    let title = match result.servers.as_slice() {
        [one] => format!("Checks of {}", one.name),
        many => format!("Checks of {}", count(many.len(), "server")),
    };
    let intro = html! {
        p.soft {
            (count(result.plan.checks.len(), "check")) " in " span.r { (units::seconds(result.seconds)) } ", seed "
            (result.plan.seed) ". " (result.environment.line()) "."
        }
        @if result.partial { ul.warning { li { "It was interrupted before all checks were made." } } }
    };
    let failures = result.servers.iter().filter(|server| server.failed().next().is_some()).map(failures);
    let sections: Vec<_> = [
        Section { id: "servers", heading: "Servers", content: summary(result) },
        Section {
            id: "failures",
            heading: "Failures",
            content: html! {
                @for server in failures { (server) }
                @if result.servers.iter().all(|server| server.failed().next().is_none()) { p { "None." } }
            },
        },
        Section { id: "matrix", heading: "All checks", content: matrix(result) },
        Section { id: "reasons", heading: "Not applicable, not made", content: reasons(result) },
    ]
    .into();
    document(Lang::En, &title, "", &intro, &sections)
}

fn summary(result: &Checked) -> Markup {
    let outcomes = [Outcome::Passed, Outcome::Failed, Outcome::NotApplicable, Outcome::NotMade];
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { th { "server" } @for outcome in outcomes { th { (outcome.name()) } } th.note { "what it is" } } }
                tbody {
                    @for server in &result.servers {
                        tr {
                            th scope="row" { (server.name) }
                            @for outcome in outcomes {
                                td { @let n = server.count(outcome); @if outcome == Outcome::Failed && n > 0 { b { (n) } } @else { (n) } }
                            }
                            td.note { code { (server.server) } }
                        }
                    }
                }
            }
        }
    }
}

fn failures(server: &Judged) -> Markup {
    html! {
        h3 { (server.name) }
        @for Verdict { check, claim, failure, .. } in server.failed() {
            @if let Some(Failure { expected, observed, cause, conversation }) = failure {
                div.finding {
                    p { code { (check) } }
                    div {
                        p { b { (claim) } }
                        dl {
                            dt { "Expected" } dd { (expected) }
                            dt { "Observed" } dd { (observed) }
                            dt { "Likely cause" } dd { (cause) }
                        }
                        @if !conversation.is_empty() {
                            p.soft { "The conversation:" }
                            pre { @for line in conversation { (visible(line)) "\n" } }
                        }
                    }
                }
            }
        }
    }
}

fn matrix(result: &Checked) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { th { "check" } @for server in &result.servers { th { (server.name) } } } }
                tbody {
                    @for id in &result.plan.checks {
                        tr {
                            th scope="row" { (id) }
                            @for server in &result.servers { td { (cell(server.outcome_of(id))) } }
                        }
                    }
                }
            }
        }
        p.soft { "n/a: not applicable to this server. – : not made." }
    }
}

fn cell(outcome: Option<Outcome>) -> Markup {
    match outcome {
        Some(Outcome::Passed) => html! { "passed" },
        Some(Outcome::Failed) => html! { b style="color:var(--c2)" { "FAILED" } },
        Some(Outcome::NotApplicable) => html! { span.soft { "n/a" } },
        Some(Outcome::NotMade) | None => html! { span.soft { "–" } },
    }
}

fn reasons(result: &Checked) -> Markup {
    html! {
        @for server in &result.servers {
            h3 { (server.name) }
            @let reasons = server.reasons();
            @if reasons.is_empty() { p { "Every check was made." } }
            ul.reasons {
                @for (why, ids) in reasons { li { (ids.join(", ")) ": " (why) } }
                @for verdict in &server.verdicts {
                    @if let Some(tries) = verdict.later_try() {
                        li { (verdict.check) ": passed at try " (tries) "; before, something came too late" }
                    }
                }
            }
        }
    }
}
