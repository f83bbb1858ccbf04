//! Gates: limits on the figures of a result, such as `p99<=1ms`, which decide how a run ends.
//!
//! A gate is `[ROW ]FIGURE<=VALUE`, with `<=`, `<`, `>=` or `>`. The value is a number with its unit. With an `x` after it,
//! it is so many times the figure of an earlier run: `p99<=1.10x`. Which figures there are is a table of the command, and
//! so is what a row is called. A figure that was not measured meets no gate.

use super::explain::nearest;
use super::units::{self, micros, parse};
use super::visible::visible;
use anyhow::{Context, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

/// How a gate is written, for messages.
const EXAMPLE: &str = "write FIGURE<=VALUE in quotes, such as 'p99<=1ms'";

/// A figure that a gate may name.
#[derive(Debug, PartialEq, Eq)]
pub struct Figure {
    /// As a gate names it.
    pub name: &'static str,
    /// What its values are.
    pub unit: Unit,
    /// What it is, for help texts.
    pub meaning: &'static str,
}

/// What the values of a figure are, and how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A time in microseconds: `1ms`, `1.5us`.
    Microseconds,
    /// So many a second: `50k`.
    PerSecond,
    /// A number of things: `0`, `10k`.
    Count,
    /// Bytes: `64`, `4KiB`, `1.5MiB`.
    Bytes,
    /// A part of a whole: `80%`, `0.8`.
    Share,
    /// A number without a unit, such as one figure divided by another: `1.03`.
    Ratio,
}

/// A limit on a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    text: String,
    row: Option<String>,
    figure: &'static Figure,
    relation: Relation,
    bound: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    AtMost,
    Below,
    AtLeast,
    Above,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// In the unit of the figure.
    Value(f64),
    /// Times the figure of the baseline.
    Times(f64),
}

/// A figure of a run, to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The row that it is of, in words; `None` when it is of the whole run.
    pub row: Option<String>,
    /// What it is, in words.
    pub what: String,
    /// `None` when it was not measured.
    pub value: Option<f64>,
    /// Where the true value lies, if that was measured. What must keep the limit is the end of the interval that is nearer
    /// to it.
    pub interval: Option<Interval>,
    /// Why it was not measured, where that is known.
    pub why: Option<String>,
    /// Whether it may be more than that: then it keeps no upper limit.
    pub is_least: bool,
    /// The same figure of the baseline.
    pub baseline: Option<f64>,
}

/// What a true value lies between.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// A gate after the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// As it was written.
    pub gate: String,
    /// The row that was judged; `null` for the whole run.
    pub row: Option<String>,
    /// The figure, in words.
    pub what: String,
    /// The unit of `measured` and `limit`.
    pub unit: Unit,
    /// `null` when it was not measured.
    pub measured: Option<f64>,
    /// Where the true value lies, of a figure that has an interval. The upper end must keep an upper limit, and the lower end a
    /// lower limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Whether the figure may be more than what was measured: then it keeps no upper limit.
    pub is_least: bool,
    /// The limit. Of a gate that is relative to a baseline it is the product; `null` when the baseline has no such figure.
    pub limit: Option<f64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was not judged, or why the figure was not measured.
    pub why: Option<String>,
}

/// How a gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The figure was measured and keeps the limit.
    Met,
    /// It does not keep the limit, or was not measured.
    NotMet,
    /// The run did not come to its end.
    NotJudged,
}

/// Read gates as a command line has them: each is a gate, or `@FILE` with a gate in each line. Empty lines and what follows
/// a `#` do not count.
///
/// # Errors
///
/// In one line, with the place and what to write instead: when one is no gate, names another figure than `figures` has, or a
/// file cannot be read or has no gate in it.
pub fn read(args: &[String], figures: &'static [Figure]) -> anyhow::Result<Vec<Gate>> {
    let mut gates = Vec::new();
    for arg in args {
        match arg.strip_prefix('@') {
            Some(file) => gates.extend(read_file(file, figures)?),
            None => gates.push(Gate::parse(arg, figures)?),
        }
    }
    Ok(gates)
}

fn read_file(file: &str, figures: &'static [Figure]) -> anyhow::Result<Vec<Gate>> {
    let text =
        std::fs::read_to_string(file).map_err(|why| anyhow!("cannot read the gates of {file}: {why}"))?;
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(gate, _)| gate).trim());
    let gates = (1..)
        .zip(lines)
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| Gate::parse(line, figures).with_context(|| format!("{file}, line {number}")));
    let gates = gates.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!gates.is_empty(), "{file} has no gate in it: write one in each line, such as p99<=1ms");
    Ok(gates)
}

impl Gate {
    /// Read a gate.
    ///
    /// # Errors
    ///
    /// In one line, with what to write instead: when it is none, or names another figure than `figures` has.
    pub fn parse(text: &str, figures: &'static [Figure]) -> anyhow::Result<Gate> {
        // A file of gates may come from somebody else, and the report quotes them.
        let text = visible(text.trim());
        let Some(at) = text.find(['<', '>']) else {
            bail!("the gate `{text}` has no limit: {EXAMPLE}");
        };
        let (relation, length) = Relation::at_the_start_of(&text[at..]);
        let (left, value) = (text[..at].trim(), text[at + length..].trim());
        let (row, name) = match left.rsplit_once(char::is_whitespace) {
            Some((row, name)) => (Some(row.trim().to_owned()), name),
            None => (None, left),
        };
        ensure!(!name.is_empty(), "the gate `{text}` names no figure: {EXAMPLE}");
        let figure =
            figures.iter().find(|figure| figure.name == name).ok_or_else(|| unknown(name, figures))?;
        let bound = Bound::parse(value, figure.unit).map_err(|why| anyhow!("the gate `{text}`: {why}"))?;
        Ok(Gate { text, row, figure, relation, bound })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The row that it is for, as it was written; `None` when it names none.
    #[must_use]
    pub fn row(&self) -> Option<&str> {
        self.row.as_deref()
    }

    /// The figure that it is on.
    #[must_use]
    pub fn figure(&self) -> &'static Figure {
        self.figure
    }

    /// Whether it needs a baseline.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        matches!(self.bound, Bound::Times(_))
    }

    /// Judge what was measured.
    #[must_use]
    pub fn judge(&self, measured: Measured) -> Judged {
        let Measured { row, what, value, interval, why, is_least, baseline } = measured;
        let limit = match self.bound {
            Bound::Value(value) => Some(value),
            Bound::Times(times) => baseline.map(|baseline| baseline * times),
        };
        let end = interval.map(|Interval { low, high }| if self.relation.is_upper() { high } else { low });
        let holds = end.or(value).zip(limit).is_some_and(|(value, limit)| self.relation.holds(value, limit));
        let is_met = holds && !(is_least && self.relation.is_upper());
        let outcome = if is_met { Outcome::Met } else { Outcome::NotMet };
        Judged {
            gate: self.text.clone(),
            row,
            what,
            unit: self.figure.unit,
            measured: value,
            interval,
            is_least,
            limit,
            outcome,
            why,
        }
    }

    /// The run did not come to its end, because of `why`.
    #[must_use]
    pub fn not_judged(&self, why: &str) -> Judged {
        let what = self.figure.meaning.to_owned();
        let measured = Measured::new(self.row.clone(), what, None);
        Judged { outcome: Outcome::NotJudged, why: Some(why.to_owned()), ..self.judge(measured) }
    }
}

impl Measured {
    /// A value alone: without an interval, and without an earlier run.
    #[must_use]
    pub fn new(row: Option<String>, what: String, value: Option<f64>) -> Measured {
        Measured { row, what, value, interval: None, why: None, is_least: false, baseline: None }
    }
}

fn unknown(name: &str, figures: &[Figure]) -> anyhow::Error {
    let names = || figures.iter().map(|figure| figure.name);
    let all = names().collect::<Vec<_>>().join(", ");
    anyhow!("there is no figure `{name}` for a gate; the nearest: {}; all: {all}", nearest(name, 2, names()))
}

impl Relation {
    /// The relation, and how many bytes it is written with.
    fn at_the_start_of(text: &str) -> (Relation, usize) {
        match text.as_bytes() {
            [b'<', b'=', ..] => (Relation::AtMost, 2),
            [b'<', ..] => (Relation::Below, 1),
            [b'>', b'=', ..] => (Relation::AtLeast, 2),
            _ => (Relation::Above, 1),
        }
    }

    fn is_upper(self) -> bool {
        matches!(self, Relation::AtMost | Relation::Below)
    }

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Relation::AtMost => value <= limit,
            Relation::Below => value < limit,
            Relation::AtLeast => value >= limit,
            Relation::Above => value > limit,
        }
    }
}

impl Bound {
    fn parse(text: &str, unit: Unit) -> Result<Bound, String> {
        if text.is_empty() {
            return Err("the value is missing".to_owned());
        }
        match text.strip_suffix('x') {
            Some(times) => {
                let times = above_nothing(times).ok_or("write a multiple of the baseline, such as 1.10x")?;
                Ok(Bound::Times(times))
            }
            None => unit.parse(text).map(Bound::Value),
        }
    }
}

fn above_nothing(number: &str) -> Option<f64> {
    number.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0)
}

impl Unit {
    fn parse(self, text: &str) -> Result<f64, String> {
        match self {
            // A gate with a limit of so many seconds by mistake would be met always.
            Unit::Microseconds if text.ends_with(|c: char| c.is_ascii_digit()) => {
                Err(format!("the unit is missing: write {text}us, {text}ms or {text}s"))
            }
            Unit::Microseconds => parse::duration_or_none(text).map(|time| time.as_secs_f64() * 1e6),
            Unit::PerSecond => parse::rate(text),
            Unit::Count => parse::count_or_none(text).map(|count| count as f64),
            Unit::Bytes => parse::bytes(text),
            Unit::Share => parse::share(text),
            Unit::Ratio => above_nothing(text).ok_or_else(|| "write a number, such as 1.03".to_owned()),
        }
    }

    /// A value for people.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Microseconds => micros(value),
            Unit::PerSecond => format!("{} per second", units::rate(value)),
            Unit::Count => units::rate(value),
            Unit::Bytes => units::bytes(value.round() as u64),
            Unit::Share => format!("{:.1} %", value * 100.0),
            Unit::Ratio => format!("{value:.2}"),
        }
    }

    /// The same with all its digits.
    fn show_exactly(self, value: f64) -> String {
        match self {
            Unit::Microseconds => format!("{value} µs"),
            Unit::PerSecond => format!("{value} per second"),
            Unit::Bytes => format!("{value} B"),
            Unit::Count | Unit::Ratio => value.to_string(),
            Unit::Share => format!("{} %", value * 100.0),
        }
    }
}

impl Judged {
    /// For people, without the gate itself: `met: response time p99 is 850 µs`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.outcome {
            Outcome::Met => format!("met: {}", self.found()),
            Outcome::NotMet => format!("not met: {}", self.found()),
            Outcome::NotJudged => format!("not judged: {}", self.why.as_deref().unwrap_or_default()),
        }
    }

    fn found(&self) -> String {
        let what = &self.what;
        let row = self.row.as_ref().map_or_else(String::new, |row| format!("{row}: "));
        match (self.measured, self.outcome) {
            (None, _) => {
                let why = self.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                format!("{row}{what} was not measured{why}")
            }
            (Some(value), Outcome::Met) => format!("{row}{what} is {}", self.shown(value)),
            (Some(value), _) => {
                let (shown, limit, end) = (self.shown(value), self.of_the_baseline(), self.of_the_interval());
                format!("{row}{what} is {shown}{limit}{end}")
            }
        }
    }

    /// What was measured, with its interval.
    fn shown(&self, value: f64) -> String {
        let at_least = if self.is_least { "at least " } else { "" };
        let interval = self.interval.map_or_else(String::new, |Interval { low, high }| {
            format!(" [{}–{}]", self.digits(low), self.digits(high))
        });
        format!("{at_least}{}{interval}", self.digits(value))
    }

    /// What an interval shows that is on both sides of the limit: nothing.
    fn of_the_interval(&self) -> &'static str {
        let is_within =
            |Interval { low, high }: Interval| self.limit.is_some_and(|limit| (low..=high).contains(&limit));
        let open = "; the interval contains the limit, so more starts may show that it is met, or is not";
        if self.interval.is_some_and(is_within) { open } else { "" }
    }

    /// A value that looks like the limit and is not has all its digits.
    fn digits(&self, value: f64) -> String {
        let text = self.unit.show(value);
        let looks_equal = self.limit.is_some_and(|limit| limit != value && self.unit.show(limit) == text);
        if looks_equal { self.unit.show_exactly(value) } else { text }
    }

    /// What a multiple of the baseline comes to.
    fn of_the_baseline(&self) -> String {
        match self.limit {
            _ if !self.gate.ends_with('x') => String::new(),
            Some(limit) => format!(", and the limit is {}", self.unit.show(limit)),
            None => ", and the baseline does not have it".to_owned(),
        }
    }
}

/// One line on the gates that were not met; `None` when all were met or were not judged.
#[must_use]
pub fn not_met(judged: &[Judged]) -> Option<String> {
    let not_met: Vec<_> = judged.iter().filter(|judged| judged.outcome == Outcome::NotMet).collect();
    let words: Vec<_> = not_met.iter().map(|judged| format!("{}: {}", judged.gate, judged.found())).collect();
    let all = units::of(judged.len() as u64, "gate");
    (!words.is_empty()).then(|| format!("{} of {all} not met: {}", not_met.len(), words.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    static FIGURES: [Figure; 6] = [
        Figure { name: "p99", unit: Unit::Microseconds, meaning: "p99" },
        Figure { name: "achieved", unit: Unit::PerSecond, meaning: "the rate" },
        Figure { name: "lost", unit: Unit::Count, meaning: "lost connections" },
        Figure { name: "busy", unit: Unit::Share, meaning: "how busy it was" },
        Figure { name: "cpu", unit: Unit::Ratio, meaning: "CPU ratio" },
        Figure { name: "memory", unit: Unit::Bytes, meaning: "memory" },
    ];

    fn gate(text: &str) -> Gate {
        Gate::parse(text, &FIGURES).unwrap_or_else(|why| panic!("{text}: {why:#}"))
    }

    fn judged(text: &str, value: impl Into<Option<f64>>, baseline: impl Into<Option<f64>>) -> Judged {
        let (value, baseline) = (value.into(), baseline.into());
        gate(text).judge(Measured { baseline, ..Measured::new(None, "it".to_owned(), value) })
    }

    #[track_caller]
    fn is_met(text: &str, value: f64, expected: bool) {
        let judged = judged(text, value, None);
        assert_eq!(judged.outcome == Outcome::Met, expected, "{judged:?}");
    }

    #[test]
    fn values_have_the_units_of_their_figures() {
        for (text, limit) in [
            ("p99<=1ms", 1000.0),
            ("p99<=1.5us", 1.5),
            ("p99 <= 2s", 2e6),
            ("achieved>=50k", 50_000.0),
            ("achieved>0.5", 0.5),
            ("lost<=0", 0.0),
            ("busy<80%", 0.8),
            ("cpu<=1.03", 1.03),
            ("memory<=1.5MiB", 1_572_864.0),
        ] {
            assert_eq!(judged(text, 1.0, None).limit, Some(limit), "{text}");
        }
    }

    #[test]
    fn each_relation_holds_on_its_side_of_the_limit() {
        for (text, below, at, above) in [
            ("cpu<=2", true, true, false),
            ("cpu<2", true, false, false),
            ("cpu>=2", false, true, true),
            ("cpu>2", false, false, true),
        ] {
            is_met(text, 1.9, below);
            is_met(text, 2.0, at);
            is_met(text, 2.1, above);
        }
    }

    #[test]
    fn a_row_stands_before_the_figure() {
        let with = gate("idle/epoll-edge  cpu<=1.03");
        assert_eq!((with.row(), with.figure().name), (Some("idle/epoll-edge"), "cpu"));
        assert_eq!(with.text(), "idle/epoll-edge  cpu<=1.03");
        assert_eq!(gate("cpu <= 1.03").row(), None);
    }

    #[test]
    fn what_is_no_gate_is_told_what_to_write() {
        for (text, why) in [
            ("", "has no limit: write FIGURE<=VALUE in quotes"),
            ("p99", "has no limit"),
            ("p99=1ms", "has no limit"),
            ("<=1ms", "names no figure"),
            ("p99<=", "the value is missing"),
            ("p99<=x", "a multiple of the baseline, such as 1.10x"),
            ("p99<=0x", "a multiple of the baseline"),
            ("p99<=-1x", "a multiple of the baseline"),
            ("p99<=infx", "a multiple of the baseline"),
            ("p99<=1", "the unit is missing: write 1us, 1ms or 1s"),
            ("p99<=1min", "no such unit: min"),
            ("p99<=-1ms", "no such unit"),
            ("p99<=1ms<=2ms", "no such unit"),
            ("achieved>=0", "above 0"),
            ("achieved>=50k/s", "requests per second, such as 500"),
            ("lost<=0.5", "a whole number"),
            ("busy<=120%", "a share is from 0"),
            ("cpu<=nan", "write a number, such as 1.03"),
            ("cpu<=1.03 1.04", "write a number"),
        ] {
            let error = format!("{:#}", Gate::parse(text, &FIGURES).unwrap_err());
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_figure_is_told_the_nearest_names_and_all() {
        let error = Gate::parse("p98<=1ms", &FIGURES).unwrap_err().to_string();
        assert!(error.contains("no figure `p98`"), "{error}");
        assert!(error.contains("the nearest: p99"), "{error}");
        assert!(error.contains("all: p99, achieved, lost, busy, cpu, memory"), "{error}");
    }

    #[test]
    fn what_was_not_measured_meets_no_gate() {
        let judged = judged("p99<=1ms", None, None);
        assert_eq!(judged.outcome, Outcome::NotMet);
        assert_eq!(judged.in_words(), "not met: it was not measured");
        is_met("p99<=1ms", f64::NAN, false);
    }

    #[test]
    fn what_may_be_more_keeps_no_upper_limit() {
        let judged = |text| {
            let measured = Measured::new(None, "it".to_owned(), Some(500.0));
            gate(text).judge(Measured { is_least: true, ..measured })
        };
        assert_eq!(judged("p99<=1ms").in_words(), "not met: it is at least 500 µs");
        assert_eq!(judged("p99>=400us").outcome, Outcome::Met);
    }

    #[test]
    fn the_end_of_an_interval_that_is_nearer_to_the_limit_must_keep_it() {
        let judged = |text, low, high| {
            let measured = Measured::new(None, "it".to_owned(), Some(1.0));
            gate(text).judge(Measured { interval: Some(Interval { low, high }), ..measured })
        };
        assert_eq!(judged("cpu<=1.03", 0.9, 1.03).outcome, Outcome::Met);
        assert_eq!(judged("cpu<1.03", 0.9, 1.03).outcome, Outcome::NotMet);
        assert_eq!(judged("cpu>=0.97", 0.97, 1.5).outcome, Outcome::Met);
        assert_eq!(judged("cpu>=0.97", 0.96, 1.5).outcome, Outcome::NotMet);
        let shown = |text, low, high| judged(text, low, high).in_words();
        assert_eq!(shown("cpu<=0.97", 0.98, 1.07), "not met: it is 1.00 [0.98–1.07]");
        assert!(
            shown("cpu<=1.03", 0.98, 1.0305)
                .contains("it is 1.00 [0.98–1.0305]; the interval contains the limit")
        );
    }

    #[test]
    fn why_something_was_not_measured_is_said() {
        let measured = Measured::new(None, "it".to_owned(), None);
        let judged = gate("cpu<=1").judge(Measured { why: Some("it failed".to_owned()), ..measured });
        assert_eq!(judged.in_words(), "not met: it was not measured: it failed");
    }

    #[test]
    fn an_x_is_a_multiple_of_the_baseline() {
        assert!(gate("p99<=1.10x").is_relative() && !gate("p99<=1ms").is_relative());
        assert_eq!(judged("p99<=1.10x", 1099.0, 1000.0).outcome, Outcome::Met);
        let slower = judged("p99<=1.10x", 1200.0, 1000.0);
        assert_eq!(slower.in_words(), "not met: it is 1.20 ms, and the limit is 1.10 ms");
        let without = judged("p99<=1.10x", 1200.0, None);
        assert_eq!(without.in_words(), "not met: it is 1.20 ms, and the baseline does not have it");
    }

    #[test]
    fn a_value_that_looks_like_the_limit_has_all_its_digits() {
        assert_eq!(judged("p99<=1ms", 1000.447, None).in_words(), "not met: it is 1000.447 µs");
        assert_eq!(judged("p99<=1ms", 1310.0, None).in_words(), "not met: it is 1.31 ms");
        assert_eq!(judged("p99<=1ms", 1000.0, None).in_words(), "met: it is 1.00 ms");
    }

    #[test]
    fn the_line_has_those_that_were_not_met_with_their_rows() {
        let all = [judged("p99<=1ms", 1.0, None), judged("lost<=0", 3.0, None)];
        assert_eq!(not_met(&all).as_deref(), Some("1 of 2 gates not met: lost<=0: it is 3"));
        assert_eq!(not_met(&all[..1]), None);
        let row = Judged { row: Some("idle".to_owned()), ..judged("lost<=0", 1.0, None) };
        assert_eq!(not_met(&[row]).as_deref(), Some("1 of 1 gate not met: lost<=0: idle: it is 1"));
        let interrupted = gate("lost<=0").not_judged("interrupted");
        assert_eq!(
            (interrupted.in_words().as_str(), not_met(&[interrupted])),
            ("not judged: interrupted", None)
        );
    }

    #[test]
    fn a_file_has_a_gate_in_each_line_and_comments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gates.txt");
        let arg = [format!("@{}", file.display())];
        let written = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read(&arg, &FIGURES).map_err(|why| format!("{why:#}"))
        };
        let gates = written("# limits\n\np99<=1ms   # of all\n  idle lost<=0\n").unwrap();
        assert_eq!(gates, [gate("p99<=1ms"), gate("idle lost<=0")]);
        let error = written("p99<=1ms\np98<=1ms\n").unwrap_err();
        assert!(error.contains("gates.txt, line 2: there is no figure `p98`"), "{error}");
        assert!(written("# nothing\n").unwrap_err().contains("has no gate in it"));
        std::fs::remove_file(&file).unwrap();
        let error = read(&arg, &FIGURES).unwrap_err().to_string();
        assert!(error.contains("cannot read the gates of") && error.contains("No such file"), "{error}");
    }
}
