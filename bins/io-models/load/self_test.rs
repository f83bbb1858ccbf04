//! `io-models load --self-test`: the generator on servers that try to fool it.

use super::Args;
use crate::failure::Failure;
use crate::output::{Outputs, conclude, ended};
use crate::progress::Progress;
use anstyle::Style;
use io_models::lab::load::processors::Processors;
use io_models::lab::load::self_test::{Finding, Setup, all};
use io_models::lab::show::{DOUBTFUL, Page, WRONG, paint};
use io_models::{lab, stop};
use serde_json::json;
use std::net::Ipv4Addr;
use std::process::ExitCode;

/// What belongs to a verdict is indented by that.
const INDENT: usize = 4;

pub(super) fn run(args: &Args, quiet: bool) -> Result<ExitCode, Failure> {
    let output = Outputs::default().report(args.output.clone())?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let line = Progress::new(quiet);
    line.show("a server that is stopped for a second");
    // All of its servers are here.
    let here = (Ipv4Addr::LOCALHOST, 0).into();
    let wait = args.wait().unwrap_or_else(|| Processors::look(&here).choose_wait(1));
    let setup = Setup { engine: args.engine(), wait, seed: args.seed };
    let findings = all(setup, &stop, |finding| line.show(finding.name));
    drop(line);
    let findings = findings.map_err(Failure::of)?;
    let partial = stop.is_set().map_err(Failure::of)?;
    let text = if args.json {
        let document = json!({
            "schema": "io-models/load-self-test",
            "schema_version": 1,
            "partial": partial,
            "seen": findings.iter().all(|finding| finding.seen),
            "findings": findings,
        });
        format!("{}\n", lab::json(&document))
    } else {
        let mut page = Page::new(output.columns());
        if partial {
            page.paragraph(&paint(DOUBTFUL, "PARTIAL: interrupted"));
        }
        for Finding { name, claim, seen, figures } in &findings {
            let (verdict, style) = if *seen { ("seen", Style::new()) } else { ("NOT SEEN", WRONG) };
            page.indented(0, INDENT, &paint(style, &format!("{verdict}: {name}: {claim}")));
            page.indented(INDENT, INDENT, figures);
        }
        page.into_text()
    };
    let written = output.report(&text);
    let failed: Vec<_> =
        findings.iter().filter(|finding| !finding.seen).map(|finding| finding.name).collect();
    let trouble = (!failed.is_empty())
        .then(|| format!("{} of {} were not seen: {}", failed.len(), findings.len(), failed.join(", ")));
    conclude([written], ended(trouble, partial))
}
