//! A profile that is read again: what was found on a system, or why the system could not be had.

use super::document::NotHeld;
use super::{SCHEMA, SCHEMA_VERSION};
use crate::facts::{Found, Outcome, Release, Step};
use crate::lab::results::Head;
use crate::lab::visible::{visible, visible_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A profile has no more facts, and a fact no more steps that do not hold: what is drawn has a cell for each system and fact.
const MOST: usize = 10_000;

/// What [`Document`](super::Document) wrote of a run, or a file that says why there is no run.
#[derive(Debug)]
pub struct Profile {
    /// What was run on.
    pub(super) system: System,
    /// What was found, by the ids of the facts.
    pub(super) facts: BTreeMap<String, Cell>,
}

/// What facts were run on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// The name of the file, without its ending.
    pub(crate) name: String,
    /// What uname(2) says: the release, and the build of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<String>,
    /// What started the experiments, such as an emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) launcher: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    under: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judged_as: Option<String>,
    /// What it is, if it is not Linux itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) other: Option<String>,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<String>,
}

/// What was found of one fact on one system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) outcome: Outcome,
    /// The steps that do not hold.
    pub(crate) steps: Vec<Step>,
    /// The commits that explain the difference, by the program that made the profile.
    pub(crate) known: Option<String>,
}

impl Cell {
    pub(super) const HOLDS: Cell = Cell { outcome: Outcome::Holds, steps: Vec::new(), known: None };

    /// In a line.
    pub(crate) fn line(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
        let colon = if steps.is_empty() { "" } else { ": " };
        format!("{}{colon}{}", self.outcome.words(), steps.join("; "))
    }
}

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
pub enum NotAProfile {
    /// It is no JSON, or lacks what every profile has.
    #[error("it is no profile of facts: {0}")]
    NoDocument(#[from] serde_json::Error),
    /// It is another kind of document, or of another version.
    #[error("its schema is {0} {1}, and a profile's is {SCHEMA} {SCHEMA_VERSION}")]
    OtherSchema(String, u32),
    /// A fact has an outcome that there is not.
    #[error(
        "its fact {0} has the outcome {1:?}; there are holds, in-part, differs, claims-older and skipped"
    )]
    OtherOutcome(String, String),
    /// The steps of a fact are not those of its outcome.
    #[error("it is damaged, or was edited: the steps of {0} do not come to its outcome")]
    OtherSteps(String),
    /// It has more than a run can have.
    #[error("it has more than {MOST} facts, or more than {MOST} steps of a fact")]
    TooLarge,
    /// It was interrupted, so that what it lacks means nothing.
    #[error("it is partial: the run that it records was interrupted")]
    Partial,
}

#[derive(Deserialize)]
struct Missing {
    missing: String,
}

/// The fields of a profile that are read. Others may have been added since.
#[derive(Deserialize)]
struct Recorded {
    partial: bool,
    environment: Uname,
    #[serde(default)]
    kernel_build: Option<String>,
    #[serde(default)]
    launcher: Option<String>,
    #[serde(default)]
    under: Option<String>,
    #[serde(default)]
    judged_as: Option<String>,
    facts: Vec<Entry>,
}

#[derive(Deserialize)]
struct Uname {
    kernel: Option<String>,
    machine: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    outcome: String,
    #[serde(default)]
    observed: Vec<NotHeld<'static>>,
    #[serde(default)]
    known: Option<String>,
}

impl Profile {
    /// Read one. `name` is for reports.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn read(name: &str, json: &str) -> Result<Profile, NotAProfile> {
        let value = visible_json(serde_json::from_str(json)?);
        // The head first: another document of ours should be told what it is, not what it lacks.
        let head = Head::deserialize(&value)?;
        if head.schema != SCHEMA || head.schema_version != SCHEMA_VERSION {
            return Err(NotAProfile::OtherSchema(head.schema, head.schema_version));
        }
        let name = visible(name);
        if let Ok(Missing { missing }) = Missing::deserialize(&value) {
            let system = System { name, missing: Some(visible(&missing)), ..System::default() };
            return Ok(Profile { system, facts: BTreeMap::new() });
        }
        let Recorded { partial, environment, kernel_build, launcher, under, judged_as, facts } =
            Recorded::deserialize(value)?;
        if partial {
            return Err(NotAProfile::Partial);
        }
        if facts.len() > MOST || facts.iter().any(|fact| fact.observed.len() > MOST) {
            return Err(NotAProfile::TooLarge);
        }
        // Line breaks are left in a document, and have no place in a name.
        let line = |text: Option<String>| text.map(|text| visible(&text));
        let system = System {
            name,
            kernel: line(environment.kernel),
            build: line(kernel_build),
            machine: line(environment.machine),
            launcher: line(launcher),
            under: line(under),
            judged_as: line(judged_as),
            ..System::default()
        };
        Ok(Profile { system, facts: facts.into_iter().map(Entry::read).collect::<Result<_, _>>()? })
    }

    /// What it is of, in a line.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.system.name, self.system.about())
    }
}

impl Entry {
    fn read(self) -> Result<(String, Cell), NotAProfile> {
        let Entry { id, outcome, observed, known } = self;
        let Some(outcome) = Outcome::find(&outcome) else {
            return Err(NotAProfile::OtherOutcome(id, outcome));
        };
        match cell(outcome, observed, known.map(|known| visible(&known))) {
            Some(cell) => Ok((id, cell)),
            None => Err(NotAProfile::OtherSteps(id)),
        }
    }
}

/// `None` if the steps do not come to the outcome.
pub(super) fn cell(outcome: Outcome, observed: Vec<NotHeld<'_>>, known: Option<String>) -> Option<Cell> {
    let mut steps: Vec<Step> = observed.into_iter().map(NotHeld::step).collect::<Option<_>>()?;
    // Those that hold are only counted in a profile.
    let some_hold = matches!(outcome, Outcome::Holds | Outcome::InPart);
    steps.extend(some_hold.then(|| Step::new("", Found::Holds)));
    let is_so = Outcome::of(&steps) == outcome;
    steps.retain(|step| step.found != Found::Holds);
    is_so.then_some(Cell { outcome, steps, known })
}

impl System {
    /// Its kernel and what was between it and the experiments; or why there is none.
    pub(crate) fn about(&self) -> String {
        if let Some(missing) = &self.missing {
            return format!("missing: {missing}");
        }
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let parts = [
            Some(format!("Linux {}, {}", known(&self.kernel), known(&self.machine))),
            self.other.clone(),
            self.launcher.as_ref().map(|launcher| format!("through {launcher}")),
            self.under.as_ref().map(|mutant| format!("under the wrong kernel {mutant}")),
            self.judged_as.as_ref().map(|version| format!("judged as {version}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Whether it is Linux, and nothing between it and the experiments.
    pub(crate) fn is_linux(&self) -> bool {
        self.other.is_none() && self.launcher.is_none() && self.under.is_none() && self.missing.is_none()
    }

    /// The release, as precisely as it is known. Distributions leave out the third number of `uname -r`: there it is in the
    /// build ("#1 SMP Debian 5.10.223-1") or in the name that somebody gave to the file.
    pub(crate) fn release(&self) -> Option<Release> {
        let claimed = self.kernel.as_deref().and_then(Release::parse);
        let texts = [self.build.as_deref(), Some(&*self.name)].into_iter().flatten();
        let numbers = texts.flat_map(|text| text.split(|c: char| !c.is_ascii_digit() && c != '.'));
        let releases: Vec<Release> =
            numbers.filter(|number| number.contains('.')).filter_map(Release::parse).collect();
        match claimed {
            None if self.missing.is_some() => releases.first().copied(),
            None => None,
            Some(claimed) => {
                let is_finer = |release: &&Release| {
                    (release.0, release.1) == (claimed.0, claimed.1) && release.2 > claimed.2
                };
                Some(releases.iter().find(is_finer).copied().unwrap_or(claimed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_as_precise_as_what_is_known_of_it() {
        let of = |name: &str, kernel: &str, build: &str| {
            let [kernel, build] =
                [kernel, build].map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
            let missing = kernel.is_none().then(|| "no such package".to_owned());
            System { name: name.to_owned(), kernel, build, missing, ..System::default() }.release()
        };
        for (name, kernel, build, release) in [
            (
                "x86_64-5.10",
                "5.10.0-32-cloud-amd64",
                "#1 SMP Debian 5.10.223-1 (2024-08-10)",
                Release(5, 10, 223),
            ),
            ("x86_64-5.10.223", "5.10.0-32-cloud-amd64", "", Release(5, 10, 223)),
            ("here", "6.18.44-fc", "#1 SMP Sun Jan 10 15:06:54 PST 2016", Release(6, 18, 44)),
            ("like-6.12.9", "6.18.44", "", Release(6, 18, 44)),
            ("uml-5.10.46", "", "", Release(5, 10, 46)),
        ] {
            assert_eq!(of(name, kernel, build), Some(release), "{name}");
        }
        assert_eq!(of("gvisor-20240729", "", ""), None);
    }
}
