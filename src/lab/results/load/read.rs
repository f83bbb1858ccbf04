//! A report that is read again, and what must be true of it.

use super::{Alone, Mode, Report, SCHEMA, VERSION};
use crate::lab::results::Head;
use crate::lab::visible::visible_json;
use anyhow::{anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// What to do about a damaged file.
pub(in crate::lab) const REMEDY: &str = "give the file as `io-models load` wrote it, or run that load again";

impl Report {
    /// Read one. Its text is made [visible](crate::lab::visible).
    ///
    /// # Errors
    ///
    /// In one line, with the cause and what to do: when it is another document, of another version, or damaged.
    pub fn read(bytes: &[u8]) -> anyhow::Result<Report> {
        let value: Value = serde_json::from_slice(bytes).map_err(|why| {
            if why.is_eof() {
                anyhow!("the JSON is cut off ({why}); {REMEDY}")
            } else {
                anyhow!("not one JSON document ({why}); give what `io-models load --json -o FILE` wrote")
            }
        })?;
        let value = visible_json(value);
        check_head(&value)?;
        let damaged = |why| anyhow!("a damaged report: {why}; {REMEDY}");
        let report = Report::deserialize(&value).map_err(damaged)?;
        if report.merged_from.is_empty() {
            // Where it is optional, serde takes what cannot be read for what is not there.
            Alone::deserialize(&value).map_err(damaged)?;
        }
        report.check_keys(&value)?;
        report.check()?;
        Ok(report)
    }

    /// Each figure must be there: serde takes what is missing for `null`.
    fn check_keys(&self, read: &Value) -> anyhow::Result<()> {
        let written = serde_json::to_value(self)?;
        let missing =
            written.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| read.get(key).is_none());
        missing.map_or(Ok(()), |key| bail!("a damaged report: `{key}` is missing; {REMEDY}"))
    }

    /// What the types do not say.
    fn check(&self) -> anyhow::Result<()> {
        let times = self.merged_from.iter().map(|part| part.seconds).chain([self.seconds]);
        ensure!(times.into_iter().all(|s| s >= 0.0), "a damaged report: a time below zero; {REMEDY}");
        ensure!(
            self.plan.as_ref().map(|plan| plan.mode) == self.mode,
            "a damaged report: its mode is not that of its plan; {REMEDY}"
        );
        ensure!(
            (self.mode == Some(Mode::Open)) == self.histograms.response.is_some(),
            "a damaged report: a histogram `response` is there in an open loop, and only there; {REMEDY}"
        );
        Ok(())
    }
}

fn check_head(value: &Value) -> anyhow::Result<()> {
    let Ok(Head { schema, schema_version }) = Head::deserialize(value) else {
        bail!(
            "it has no schema, and only {SCHEMA} can be read here; give a report of `io-models load --json`"
        );
    };
    ensure!(
        schema == SCHEMA,
        "its schema is {schema}, and only {SCHEMA} can be read here; give a report of `io-models load`"
    );
    ensure!(
        schema_version == VERSION,
        "its schema_version is {schema_version}, and only {VERSION} is known here; run that load again, or use the \
         io-models that wrote it"
    );
    Ok(())
}
