//! What the kernel does, as facts that can be run: one claim, one experiment, one outcome.
//!
//! `io-models facts` runs them all, each in a process of its own, and tells in one page where a system
//! (a container, a sandbox, an emulator, an old kernel) differs from Linux. docs/facts.md tells how to
//! read that page, and how to add a fact.
//!
//! A fact is one row (a [`Fact`], in the table at the head of its area's file) and one function, which
//! reaches the kernel through the `Kernel` it is given. That is what makes it provable
//! that a fact can fail: a [`Mutant`] is a kernel with one call that does the wrong thing, and
//! tests/mutants.rs shows which fact notices.
//!
//! # In reading order
//!
//! - [`Fact`]: a claim, and its experiment. It belongs to an [`Area`]. [`all`] and [`find`] give them.
//! - [`Runner`]: runs experiments. A program that does so calls [`run_one_if_asked`] at its beginning.
//! - [`Run`]: what became of one: its [`Step`]s, what each of them [`Found`] and [`Why`], and the [`Outcome`]. [`Wait`] is a sibling of
//!   epoll_wait(2) over which a step was made.
//! - [`Since`], [`Release`] and [`Gap`]: which kernels have it.
//! - [`Mutant`]: a wrong kernel. [`Alteration`]: the real kernel with one call changed, [`How`], and what was [`Altered`].
//!
//! The feature `facts` compiles this module, and `lab` turns it on.
//!
//! Man pages contain errors, and so does every book; the kernel is the oracle. A claim that a run
//! contradicts is corrected, with the evidence.

mod check;
mod found;
mod hook;
mod kernel;
mod mutants;
mod perturb;
mod runner;
mod support;
mod version;

mod select;
mod poll;
mod epoll;
mod edge;
mod waiters;
mod nonblock;
mod tcp;
mod flags;
mod signals;
mod limits;
mod sharing;
mod uring;

pub use found::{Found, Step, Why};
pub use mutants::Mutant;
pub use perturb::{Alteration, Altered, How};
pub use runner::{Run, Runner, run_one_if_asked};
pub use support::Wait;
pub use version::{Gap, Release, Since};

use check::Held;
use kernel::Kernel;

/// One behaviour of the kernel.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Fact {
    /// Its name, with the prefix of its area: `ep-create-args`.
    pub id: &'static str,
    /// What Linux does, in a sentence.
    pub claim: &'static str,
    /// Where that is said, or done: a man page with its section, a function of the kernel, a commit.
    pub reference: &'static str,
    /// Since which kernel. A step that is newer says so in the experiment.
    pub since: Since,
    /// In older series, the first releases that have it too; as the changelogs of Debian's kernels list them.
    pub backports: &'static [Release],
    /// Kernels after that which are known to differ.
    pub gaps: &'static [Gap],
    /// What breaks in practice where it is otherwise, or for those who believe otherwise.
    pub matters: &'static str,
    /// The experiment, in words.
    pub experiment: &'static str,
    /// Who got it wrong, each with a link or the name of a commit.
    pub wrong: &'static [&'static str],
    run: fn(&'static dyn Kernel) -> Held,
}

impl Fact {
    /// What a row of a table leaves out: it has always been so, and nobody is known to have got it wrong.
    const ALWAYS: Fact = Fact {
        id: "",
        claim: "",
        reference: "",
        since: Since::ALWAYS,
        backports: &[],
        gaps: &[],
        matters: "",
        experiment: "",
        wrong: &[],
        run: |_| Ok(()),
    };

    /// Whether that kernel has it, by its release.
    #[must_use]
    pub fn should_hold_on(&self, release: Release) -> bool {
        !release.is_before(self.since) || self.backports.iter().any(|first| release.continues(*first))
    }

    /// What is known of that kernel, if it lies in a gap.
    #[must_use]
    pub fn known(&self, release: Release) -> Option<&'static str> {
        self.gaps.iter().find(|gap| gap.has(release)).map(|gap| gap.commits)
    }

    /// What it belongs to, by the prefix of its id.
    ///
    /// # Panics
    ///
    /// Never: a test shows that each fact has the prefix of an area.
    #[must_use]
    pub fn area(&self) -> Area {
        let prefix = self.id.split_once('-').map(|(prefix, _)| prefix);
        let area = Area::ALL.iter().copied().find(|area| Some(area.prefix()) == prefix);
        area.expect("each fact has the prefix of an area")
    }
}

macro_rules! areas {
    ($($area:ident = $prefix:literal, $name:literal, $title:literal, $module:ident;)*) => {
        /// What a fact belongs to: a family of calls, or a theme.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Area { $(#[doc = $title] $area,)* }

        impl Area {
            /// All areas, in the order of the report.
            pub const ALL: &[Area] = &[$(Area::$area,)*];

            /// What the ids of its facts begin with.
            #[must_use]
            pub const fn prefix(self) -> &'static str {
                match self { $(Area::$area => $prefix,)* }
            }

            /// What it is called on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Area::$area => $name,)* }
            }

            /// The heading of its facts.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Area::$area => $title,)* }
            }

            /// Its facts, in the order of the report.
            pub fn facts(self) -> impl Iterator<Item = &'static Fact> {
                let parts = match self { $(Area::$area => $module::FACTS,)* };
                parts.iter().copied().flatten()
            }
        }
    };
}

areas! {
    Select = "sel", "select", "select and pselect6", select;
    Poll = "poll", "poll", "poll and ppoll", poll;
    Epoll = "ep", "epoll", "epoll: the interest list and the waits", epoll;
    Edge = "et", "edge", "epoll: level-triggered and edge-triggered delivery", edge;
    Waiters = "multi", "waiters", "epoll: oneshot, exclusive, nested, many waiters", waiters;
    Nonblock = "nb", "nonblock", "non-blocking connect, accept, recv and send", nonblock;
    Tcp = "tcp", "tcp", "TCP: backlog, FIN, RST, TIME_WAIT", tcp;
    Flags = "fl", "flags", "file status flags", flags;
    Signals = "sig", "signals", "fork, signals, EINTR, children", signals;
    Limits = "fd", "limits", "descriptor limits", limits;
    Sharing = "mp", "sharing", "several processes or listeners on one port", sharing;
    Uring = "ur", "uring", "io_uring: readiness and sockets", uring;
}

/// All facts, area by area.
pub fn all() -> impl Iterator<Item = &'static Fact> {
    Area::ALL.iter().flat_map(|area| area.facts())
}

/// The fact of that id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Fact> {
    all().find(|fact| fact.id == id)
}

/// What the steps of an experiment come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel does what the claim says, in every step.
    Holds,
    /// It does so in the steps that could be made; some could not.
    InPart,
    /// It does something else in at least one step.
    Differs,
    /// It does something else, but only in steps that are newer than the kernel says it is.
    ClaimsOlder,
    /// No step could be made here.
    Skipped,
}

impl Outcome {
    /// All that there are.
    pub const ALL: &[Outcome] =
        &[Outcome::Holds, Outcome::InPart, Outcome::Differs, Outcome::ClaimsOlder, Outcome::Skipped];

    /// Its name for programs: `holds`, `in-part`, `differs`, `claims-older`, `skipped`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Holds => "holds",
            Outcome::InPart => "in-part",
            Outcome::Differs => "differs",
            Outcome::ClaimsOlder => "claims-older",
            Outcome::Skipped => "skipped",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Outcome> {
        Outcome::ALL.iter().copied().find(|outcome| outcome.name() == name)
    }

    /// Of an experiment with these steps.
    #[must_use]
    pub fn of(steps: &[Step]) -> Outcome {
        let any = |is: fn(&Found) -> bool| steps.iter().any(|step| is(&step.found));
        let skipped = any(|found| matches!(found, Found::Skipped { .. }));
        if any(|found| matches!(found, Found::Differs { .. })) {
            Outcome::Differs
        } else if any(|found| matches!(found, Found::ClaimsOlder { .. })) {
            Outcome::ClaimsOlder
        } else if !any(|found| matches!(found, Found::Holds)) {
            Outcome::Skipped
        } else if skipped {
            Outcome::InPart
        } else {
            Outcome::Holds
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_fact_has_an_id_of_its_own_that_tells_its_area() {
        let mut seen = HashSet::new();
        for fact in all() {
            assert!(seen.insert(fact.id), "{} is there twice", fact.id);
        }
        for area in Area::ALL {
            for Fact { id, .. } in area.facts() {
                assert_eq!(id.split_once('-').map(|(prefix, _)| prefix), Some(area.prefix()), "{id}");
            }
        }
    }

    #[test]
    fn each_fact_says_all_that_a_reader_wants_to_know() {
        for Fact { id, claim, reference, matters, experiment, wrong, .. } in all() {
            for (what, text) in [("claim", claim), ("matters", matters), ("experiment", experiment)] {
                assert!(text.len() > 20 && text.ends_with('.'), "{id}: its {what} is no sentence: {text:?}");
            }
            assert!(!reference.is_empty(), "{id} has no reference");
            assert!(wrong.iter().all(|who| who.len() > 5), "{id}: {wrong:?}");
        }
    }

    #[test]
    fn each_mutant_breaks_a_fact_that_exists() {
        let mut seen = HashSet::new();
        for mutant in Mutant::all() {
            assert!(seen.insert(mutant.name), "{} is there twice", mutant.name);
            assert!(
                find(mutant.breaks).is_some(),
                "{} breaks {}, which is no fact",
                mutant.name,
                mutant.breaks
            );
        }
    }
}
