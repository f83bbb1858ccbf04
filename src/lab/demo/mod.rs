//! Demonstrations: a broken program and a mended one, both run, measured and compared.
//!
//! A [`Demo`] is a row of a table: its programs in Rust and in C++ with what people read of it in `demos/`, and how one of its programs is
//! measured. A program is a server, which is started as a process of its own; the measurement is its client. So the same measurement
//! holds for Rust and C++.

mod bench;
mod build;
mod diff;
mod measures;
mod text;

pub use diff::diff;
pub use text::Text;

use super::check::Ended;
use super::child::Failed;
use super::env::Environment;
use super::lang::Lang;
use super::results::demo::{Demonstration, Language, Run, SCHEMA, SCHEMA_VERSION};
use crate::stop::Stop;
use anyhow::anyhow;
use bench::Bench;
use std::path::Path;
use std::time::Instant;

/// A demo.
#[derive(Debug)]
pub struct Demo {
    /// Its name, which is that of its folder in `demos/`.
    pub id: &'static str,
    /// Facts about the kernel on which it rests.
    pub facts: &'static [&'static str],
    /// Checks that the mended program passes, and the broken one does not: it fails them, or one that they depend on.
    pub checks: &'static [&'static str],
    /// Options of `io-models check` for these programs.
    pub check_options: &'static str,
    rust: Sources,
    cpp: Option<Sources>,
    text: &'static str,
    measure: bench::Measure,
}

/// The programs of a demo in one language, as text.
#[derive(Debug, Clone, Copy)]
pub struct Sources {
    /// With the fault.
    pub broken: &'static str,
    /// Without it.
    pub mended: &'static str,
}

/// One of the programs of a demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// With the fault.
    Broken,
    /// Without it.
    Mended,
}

impl Which {
    /// Both.
    pub const ALL: [Which; 2] = [Which::Broken, Which::Mended];

    /// Its name, which is that of its file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Which::Broken => "broken",
            Which::Mended => "mended",
        }
    }
}

impl Sources {
    /// One of the programs.
    #[must_use]
    pub fn of(&self, which: Which) -> &'static str {
        match which {
            Which::Broken => self.broken,
            Which::Mended => self.mended,
        }
    }
}

impl Demo {
    /// Its programs in this language; `None` where it has none.
    #[must_use]
    pub fn sources(&self, language: Language) -> Option<&Sources> {
        match language {
            Language::Rust => Some(&self.rust),
            Language::Cpp => self.cpp.as_ref(),
        }
    }

    /// What people read of it.
    ///
    /// # Panics
    ///
    /// Never: a test reads all of them.
    #[must_use]
    pub fn text(&self, lang: Lang) -> Text {
        Text::of(self.text, lang).expect("the texts of the demos are read in a test")
    }

    /// Run both programs, and measure them. `program` is io-models, which has the Rust programs.
    ///
    /// # Errors
    ///
    /// A program that does not start, or does not do what even the broken one does; a compiler that is missing; an interruption by `stop`.
    pub fn run(&self, language: Language, program: &Path, stop: &Stop) -> Result<Demonstration, Failed> {
        let began = Instant::now();
        let bench = Bench::new(self, language, program, stop)?;
        let run = |which: Which| (self.measure)(&bench.with(which)).map_err(|ended| failed(which, ended));
        let (broken, mended): (Run, Run) = (run(Which::Broken)?, run(Which::Mended)?);
        Ok(Demonstration {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            environment: Environment::here(),
            demo: self.id.to_owned(),
            language,
            seconds: began.elapsed().as_secs_f64(),
            number: self.text(Lang::En).number,
            broken,
            mended,
            facts: self.facts.iter().map(|&id| id.to_owned()).collect(),
            checks: self.checks.iter().map(|&id| id.to_owned()).collect(),
        })
    }
}

fn failed(which: Which, ended: Ended) -> Failed {
    let program = which.name();
    match ended {
        Ended::Interrupted => Failed::Interrupted,
        Ended::NotMade(why) | Ended::NotApplicable(why) => {
            Failed::Error(anyhow!("the {program} program: {why}"))
        }
        Ended::Failed(fault) => {
            let (expected, observed) = (fault.expected, fault.observed);
            Failed::Error(anyhow!("the {program} program: expected {expected}; observed {observed}"))
        }
        Ended::OneReadForEachEdge => {
            Failed::Error(anyhow!("the {program} program reads once for each event"))
        }
    }
}

/// A row of the table. What is in its folder is part of this program.
macro_rules! demo {
    ($id:literal, $cpp:tt, $measure:expr, facts: $facts:expr, checks: $checks:expr $(, $options:literal)?) => {
        Demo {
            id: $id,
            facts: &$facts,
            checks: &$checks,
            check_options: concat!($($options)?),
            rust: Sources {
                broken: include_str!(concat!("../../../demos/", $id, "/broken.rs")),
                mended: include_str!(concat!("../../../demos/", $id, "/mended.rs")),
            },
            cpp: demo!(@$cpp $id),
            text: include_str!(concat!("../../../demos/", $id, "/text.toml")),
            measure: $measure,
        }
    };
    (@cpp $id:literal) => {
        Some(Sources {
            broken: include_str!(concat!("../../../demos/", $id, "/broken.cpp")),
            mended: include_str!(concat!("../../../demos/", $id, "/mended.cpp")),
        })
    };
    (@rust $id:literal) => {
        None
    };
}

/// All demos, in the order in which they are best read.
pub static ALL: &[Demo] = &[
    demo!(
        "level-or-edge", cpp, measures::level_or_edge,
        facts: ["et-lt-repeats-until-drained", "et-once-per-edge", "et-new-data-without-drain"],
        checks: []
    ),
    demo!(
        "one-read-per-edge", cpp, measures::one_read,
        facts: ["et-once-per-edge", "et-partial-read-silent", "et-short-read-means-drained"],
        checks: ["edge/partial-read"]
    ),
    demo!(
        "one-accept-per-edge", cpp, measures::one_accept,
        facts: ["et-listener-per-connection", "et-writes-coalesce"],
        checks: ["edge/listener"]
    ),
    demo!(
        "epollout-left-on", cpp, measures::epollout,
        facts: ["et-lt-out-spins"],
        checks: ["idle/cpu"]
    ),
    demo!(
        "write-flood", cpp, measures::write_flood,
        facts: ["nb-send-partial-then-eagain", "poll-tcp-out-hysteresis"],
        checks: ["clients/slow-reader"]
    ),
    demo!(
        "emfile-spin", cpp, measures::emfile,
        facts: ["fd-accept-emfile-keeps-connection", "fd-emfile-everywhere"],
        checks: ["limits/descriptors-idle"]
    ),
    demo!(
        "two-threads-one-client", rust, measures::two_threads,
        facts: ["multi-oneshot-disables", "multi-oneshot-rearm-reports", "multi-et-two-edges-two-threads"],
        checks: ["echo/in-order"]
    ),
    demo!(
        "duplicated-descriptor", rust, measures::duplicated,
        facts: ["ep-closed-dup-still-reports", "ep-key-is-file-and-fd", "ep-last-close-removes"],
        checks: []
    ),
    demo!(
        "who-closes-first", cpp, measures::who_closes_first,
        facts: ["tcp-timewait-blocks-bind", "tcp-reuseaddr-needed-on-old-socket", "tcp-half-close-keeps-other-way"],
        checks: ["echo/nothing-more", "restart/same-port"],
        "--clients 1"
    ),
    demo!(
        "message-boundaries", cpp, measures::messages,
        facts: ["et-writes-coalesce"],
        checks: ["frame/split"],
        "--expect framed --clients 1"
    ),
    demo!(
        "sigpipe", cpp, measures::sigpipe,
        facts: ["sig-sigpipe-rules", "tcp-fin-rst-is-epipe", "nb-send-partial-then-eagain"],
        checks: ["reset/while-answering"],
        "--clients 1"
    ),
    demo!(
        "fd-set-1024", cpp, measures::fd_set,
        facts: ["sel-raw-bitmap-above-1024"],
        checks: ["echo/one-byte"]
    ),
    demo!(
        "nagle-delayed-ack", rust, measures::nagle,
        facts: ["tcp-cork-holds-back", "nb-accept-options-inherited"],
        checks: []
    ),
    demo!(
        "thundering-herd", rust, measures::herd,
        facts: ["multi-many-epolls-wake-all", "multi-exclusive-wakes-one", "mp-prefork-shared-listener"],
        checks: ["wake/one-per-client"]
    ),
    demo!(
        "accept-queue", cpp, measures::accept_queue,
        facts: ["tcp-backlog-plus-one", "tcp-overflow-drops-syn", "tcp-syn-linear"],
        checks: ["backlog/200"]
    ),
];

/// The demo of this name.
#[must_use]
pub fn find(id: &str) -> Option<&'static Demo> {
    ALL.iter().find(|demo| demo.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts;
    use crate::lab::check;

    #[test]
    fn each_program_has_less_than_40_lines_that_fit_a_screen() {
        for demo in ALL {
            for language in [Language::Rust, Language::Cpp] {
                for which in Which::ALL {
                    let Some(sources) = demo.sources(language) else { continue };
                    let (source, name) = (sources.of(which), which.name());
                    let lines = source.lines().count();
                    assert!(lines < 40, "{} {name} {language:?} has {lines} lines", demo.id);
                    let widest = source.lines().map(|line| line.chars().count()).max();
                    assert!(widest <= Some(110), "{} {name} {language:?} is too wide", demo.id);
                }
            }
        }
    }

    #[test]
    fn the_programs_of_a_demo_differ_in_a_few_lines() {
        for demo in ALL {
            for language in [Language::Rust, Language::Cpp] {
                let Some(sources) = demo.sources(language) else { continue };
                let changed = diff(sources).lines().filter(|line| line.starts_with(['+', '-'])).count();
                assert!((2..=30).contains(&changed), "{} {language:?} differs in {changed} lines", demo.id);
            }
        }
    }

    #[test]
    fn the_facts_and_checks_that_a_demo_names_are_there() {
        for demo in ALL {
            assert!(!demo.facts.is_empty(), "{} names no fact", demo.id);
            demo.facts.iter().for_each(|id| assert!(facts::find(id).is_some(), "{}: no fact {id}", demo.id));
            demo.checks
                .iter()
                .for_each(|id| assert!(check::find(id).is_some(), "{}: no check {id}", demo.id));
        }
    }

    #[test]
    fn each_text_has_three_sentences_of_why_in_both_languages() {
        for demo in ALL {
            for lang in [Lang::En, Lang::Zh] {
                let text = demo.text(lang);
                for sentence in &text.why {
                    let inside = sentence.trim_end_matches(['.', '。', '！', '!']);
                    assert_eq!(inside.len() + lang.say(1, 3), sentence.len(), "{}: {sentence}", demo.id);
                    let more = [". ", "。", "! ", "！"].iter().any(|end| inside.contains(end));
                    assert!(!more, "{}: more than one sentence: {sentence}", demo.id);
                }
            }
            let labels = |lang| demo.text(lang).labels.into_keys().collect::<Vec<_>>();
            assert_eq!(labels(Lang::En), labels(Lang::Zh), "{}", demo.id);
        }
    }

    #[test]
    fn no_two_demos_have_the_same_name() {
        let mut ids: Vec<_> = ALL.iter().map(|demo| demo.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ALL.len());
    }
}
