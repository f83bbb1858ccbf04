//! The map: what was found of each fact on each system, side by side.
//!
//! It is drawn from profiles, which `scripts/kernels.sh` or anybody else has recorded. The one that this program comes with
//! ([`Map::recorded`]) answers where a behaviour began.

mod began;
mod json;
mod known;
mod text;

pub use began::first_kernel;
pub(crate) use began::{Bound, Verdict, bounds, place};
pub use known::Known;

use super::Totals;
use super::profile::{Cell, Profile, System};
use crate::facts::{Area, Fact, Outcome, Release, find};
use std::collections::{BTreeMap, HashSet};

/// A map has no more systems: it has a cell for each system and fact.
const MOST: usize = 200;

/// Systems, and what was found on each.
#[derive(Debug)]
pub struct Map {
    /// Linux by release and machine, then what is not Linux.
    pub(crate) systems: Vec<System>,
    /// By the id of a fact, a cell for each system; `None` where the fact was not run.
    cells: BTreeMap<String, Vec<Option<Cell>>>,
    known: Known,
}

/// Systems on which the same was found of a fact, and what explains it.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) systems: Vec<usize>,
    pub(crate) cell: &'a Cell,
    /// What explains a difference, and what else is known of these cells.
    pub(crate) explained: Option<String>,
}

impl Map {
    /// Of these profiles, explained by what is `known`.
    ///
    /// # Errors
    ///
    /// When two have one name, or there are too many.
    pub fn new(mut profiles: Vec<Profile>, known: Known) -> Result<Map, String> {
        let mut names = HashSet::new();
        if let Some(twice) = profiles.iter().find(|profile| !names.insert(profile.system.name.clone())) {
            return Err(format!(
                "two of the files are called {}: give each system a name of its own",
                twice.system.name
            ));
        }
        if profiles.len() > MOST {
            return Err(format!("there are {} files, and a map has at most {MOST} systems", profiles.len()));
        }
        for Profile { system, .. } in &mut profiles {
            system.other = known.other(&system.name).map(str::to_owned).or(system.other.take());
        }
        profiles.sort_by_cached_key(|profile| order(&profile.system));
        let mut cells: BTreeMap<String, Vec<Option<Cell>>> = BTreeMap::new();
        let count = profiles.len();
        let mut systems = Vec::new();
        for (at, Profile { system, facts }) in profiles.into_iter().enumerate() {
            for (id, cell) in facts {
                cells.entry(id).or_insert_with(|| vec![None; count])[at] = Some(cell);
            }
            systems.push(system);
        }
        Ok(Map { systems, cells, known })
    }

    /// The facts of an area that this program knows and a profile has, in the order of the report.
    pub(crate) fn facts(&self, area: Area) -> impl Iterator<Item = &'static Fact> {
        area.facts().filter(|fact| self.cells.contains_key(fact.id))
    }

    /// The same of all areas.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Fact> {
        Area::ALL.iter().flat_map(|&area| self.facts(area))
    }

    /// Ids that this program does not know: of facts that were renamed or came later.
    pub(crate) fn unknown(&self) -> Vec<&str> {
        self.cells.keys().map(String::as_str).filter(|id| find(id).is_none()).collect()
    }

    /// What was found of that fact, a cell for each system.
    pub(crate) fn row(&self, id: &str) -> &[Option<Cell>] {
        self.cells.get(id).map_or(&[], Vec::as_slice)
    }

    /// Whether there is nothing to tell of a fact: it holds wherever it was run, and nothing is noted of it.
    pub(crate) fn holds_everywhere(&self, id: &str) -> bool {
        self.groups(id).iter().all(|group| group.cell.outcome == Outcome::Holds && group.explained.is_none())
    }

    /// Whether it differs on one system at least.
    pub(crate) fn differs(&self, id: &str) -> bool {
        self.row(id).iter().flatten().any(|cell| cell.outcome == Outcome::Differs)
    }

    /// The names of all systems.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        self.systems.iter().map(|system| system.name.as_str())
    }

    /// Whether anything differs anywhere.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        self.all().any(|fact| self.differs(fact.id))
    }

    /// What was found of a fact, the same on several systems in one. What differs comes first.
    pub(crate) fn groups(&self, id: &str) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (at, cell) in self.row(id).iter().enumerate() {
            let Some(cell) = cell else { continue };
            let explained = self.explained(id, at, cell);
            let same = |group: &&mut Group<'_>| {
                (group.cell.outcome, &group.cell.steps, &group.explained)
                    == (cell.outcome, &cell.steps, &explained)
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.systems.push(at),
                None => groups.push(Group { systems: vec![at], cell, explained }),
            }
        }
        groups.sort_by_key(|group| group.cell.outcome != Outcome::Differs);
        groups
    }

    /// What explains a difference: the commits of a gap in which the kernel lies, or what somebody noted. What is noted of a
    /// cell is told also where it holds.
    pub(crate) fn explained(&self, id: &str, at: usize, cell: &Cell) -> Option<String> {
        let system = &self.systems[at];
        let noted = self.known.note(id, &system.name).map(str::to_owned);
        if cell.outcome != Outcome::Differs {
            return noted;
        }
        let commits = match (find(id), system.release()) {
            (Some(fact), Some(release)) if system.is_linux() => fact.known(release).map(str::to_owned),
            _ => cell.known.clone(),
        };
        let all: Vec<String> = commits.into_iter().chain(noted).collect();
        Some(if all.is_empty() { "new".to_owned() } else { all.join("; ") })
    }

    /// How many facts of each outcome a system has.
    pub(crate) fn totals(&self, at: usize) -> Totals {
        Totals::of(self.all().filter_map(|fact| self.row(fact.id)[at].as_ref()).map(|cell| cell.outcome))
    }

    /// The names of these systems.
    pub(crate) fn names(&self, systems: &[usize]) -> Vec<&str> {
        systems.iter().map(|&at| self.systems[at].name.as_str()).collect()
    }

    /// The systems that are Linux, with their releases, the oldest first.
    fn linux(&self) -> Vec<(usize, Release)> {
        let linux = self.systems.iter().enumerate().filter(|(_, system)| system.is_linux());
        let mut linux: Vec<_> = linux.filter_map(|(at, system)| Some((at, system.release()?))).collect();
        linux.sort_by_key(|&(_, release)| release);
        linux
    }
}

/// Where a system stands: Linux by release and machine, also a missing one whose name tells its release; then the others by name.
fn order(system: &System) -> (bool, Option<Release>, Option<String>, String) {
    let is_linux = system.is_linux()
        || (system.missing.is_some() && system.other.is_none() && system.release().is_some());
    let by_release = is_linux.then(|| (system.release(), system.machine.clone()));
    let (release, machine) = by_release.unwrap_or_default();
    (!is_linux, release, machine, system.name.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::facts::{Gap, Since};

    /// A profile of a kernel, in which these facts have these cells in JSON.
    pub(crate) fn profile(name: &str, kernel: &str, facts: &str) -> Profile {
        let json = format!(
            r#"{{"schema": "io-models/facts", "schema_version": 2, "partial": false, "launcher": null,
            "environment": {{"kernel": "{kernel}", "machine": "x86_64"}}, "facts": [{facts}]}}"#
        );
        Profile::read(name, &json).expect(name)
    }

    pub(crate) fn missing(name: &str) -> Profile {
        let json = format!(
            r#"{{"schema": "io-models/facts", "schema_version": 2, "name": "{name}", "missing": "no such package"}}"#
        );
        Profile::read(name, &json).expect(name)
    }

    const HOLDS: &str = r#"{"id": "poll-pidfd-exit-then-hup", "outcome": "holds", "held": 3}"#;

    fn names(map: &Map) -> Vec<&str> {
        map.systems.iter().map(|system| system.name.as_str()).collect()
    }

    #[test]
    fn linux_comes_first_by_release_and_what_is_missing_where_its_name_says() {
        let profiles = vec![
            missing("gvisor"),
            profile("b-6.12", "6.12.9", HOLDS),
            missing("x86_64-6.1"),
            profile("a-6.12", "6.12.9", HOLDS),
            profile("wsl1", "4.4.0", HOLDS),
            profile("old", "5.10.0-32-cloud", HOLDS),
        ];
        let known = Known::read("[other]\nwsl = \"WSL1\"").unwrap();
        let map = Map::new(profiles, known).unwrap();
        assert_eq!(names(&map), ["old", "x86_64-6.1", "a-6.12", "b-6.12", "gvisor", "wsl1"]);
        assert_eq!(map.systems[5].about(), "Linux 4.4.0, x86_64, WSL1");
    }

    #[test]
    fn two_systems_of_one_name_are_refused() {
        let twice = vec![missing("a"), missing("a")];
        assert!(Map::new(twice, Known::default()).unwrap_err().contains("two of the files are called a"));
    }

    #[test]
    fn a_gap_explains_what_differs_in_it_and_nothing_else() {
        let mut gaps = crate::facts::all().flat_map(|fact| fact.gaps.iter().map(move |gap| (fact, gap)));
        let ends = |(fact, gap): (&'static Fact, &'static Gap)| Some((fact, gap, gap.until?));
        let (fact, gap, until) =
            gaps.find_map(ends).expect("some kernels were known to differ, and were repaired");
        let differs = format!(
            r#"{{"id": "{}", "outcome": "differs", "held": 0, "known": "as the profile says", "observed": [
            {{"step": "the answer", "expected": "1", "observed": "2"}}]}}"#,
            fact.id
        );
        let release = |Since(major, minor): Since| format!("{major}.{minor}.0");
        let profiles = vec![
            profile("inside", &release(gap.from), &differs),
            profile("after", &release(until), &differs),
        ];
        let map = Map::new(profiles, Known::default()).unwrap();
        let explained: Vec<_> =
            map.groups(fact.id).into_iter().map(|group| group.explained.unwrap()).collect();
        assert_eq!(explained, [gap.commits, "new"]);
    }

    #[test]
    fn what_differs_is_explained_by_a_note_or_is_new() {
        let differs = r#"{"id": "ep-create-args", "outcome": "differs", "held": 1, "observed": [
            {"step": "size 0", "expected": "EINVAL", "observed": "success"}]}"#;
        let profiles = vec![profile("gvisor-1", "4.4.0", differs), profile("new", "6.18.1", differs)];
        let notes = "[[note]]\nfacts = [\"ep-create-args\"]\nsystems = \"gvisor\"\nnote = \"a commit\"";
        let map = Map::new(profiles, Known::read(notes).unwrap()).unwrap();
        let explained: Vec<_> =
            map.groups("ep-create-args").into_iter().map(|group| group.explained.unwrap()).collect();
        assert_eq!(explained, ["a commit", "new"]);
        assert!(map.is_remarkable() && !map.holds_everywhere("ep-create-args"));
    }
}
