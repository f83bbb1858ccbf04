//! Two systems beside each other: every fact of which something else was found.

use super::map::Map;
use super::profile::{Cell, Profile, System};
use crate::facts::Fact;
use crate::lab::show::Page;
use crate::lab::units::of;

/// What was found on two systems.
#[derive(Debug)]
pub struct Pair<'a> {
    systems: [&'a System; 2],
    /// The facts that both have.
    both: usize,
    /// Those that only one of them has.
    alone: usize,
    /// Those of which something else was found.
    differ: Vec<(&'static Fact, [&'a Cell; 2])>,
}

impl Map {
    /// The profile of the system of that name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<Profile> {
        let at = self.systems.iter().position(|system| system.name == name)?;
        let cell = |fact: &'static Fact| Some((fact.id.to_owned(), self.row(fact.id)[at].clone()?));
        Some(Profile { system: self.systems[at].clone(), facts: self.all().filter_map(cell).collect() })
    }
}

impl<'a> Pair<'a> {
    /// Of these two.
    #[must_use]
    pub fn of(one: &'a Profile, other: &'a Profile) -> Pair<'a> {
        let cells = |fact: &Fact| [one, other].map(|profile| profile.facts.get(fact.id));
        let mut pair = Pair { systems: [&one.system, &other.system], both: 0, alone: 0, differ: Vec::new() };
        for fact in crate::facts::all() {
            match cells(fact) {
                [Some(one), Some(other)] => {
                    pair.both += 1;
                    if (one.outcome, &one.steps) != (other.outcome, &other.steps) {
                        pair.differ.push((fact, [one, other]));
                    }
                }
                [None, None] => {}
                _ => pair.alone += 1,
            }
        }
        pair
    }

    /// Whether something else was found of a fact.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        !self.differ.is_empty()
    }

    /// One line on a pair that has nothing in common; `None` if it has.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let missing = self.systems.iter().find(|system| system.missing.is_some());
        let why = missing.map_or_else(
            || "the profiles have no fact in common".to_owned(),
            |system| format!("{} is {}", system.name, system.about()),
        );
        (self.both == 0).then(|| format!("nothing was compared: {why}"))
    }

    /// In lines of at most `width` columns.
    #[must_use]
    pub fn page(&self, width: Option<usize>) -> String {
        let mut page = Page::new(width);
        for (letter, system) in ["A", "B"].into_iter().zip(self.systems) {
            page.line(letter, format!("{}: {}", system.name, system.about()));
        }
        page.blank();
        for (fact, cells) in &self.differ {
            page.paragraph(fact.id);
            for (letter, cell) in ["A", "B"].into_iter().zip(cells) {
                page.line(letter, cell.line());
            }
            page.blank();
        }
        let alone = if self.alone > 0 {
            format!("; {} more are only in one of the two", self.alone)
        } else {
            String::new()
        };
        let both = of(self.both as u64, "fact");
        let differ = self.differ.len();
        let verb = if differ == 1 { "differs" } else { "differ" };
        page.paragraph(&format!("Of {both}, {differ} {verb} between A and B{alone}"));
        page.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::tests::{missing, profile};
    use super::*;

    #[test]
    fn another_observation_is_a_difference_and_what_only_one_has_is_counted() {
        let of = |observed: &str| {
            format!(
                r#"{{"id": "ep-create-args", "outcome": "differs", "held": 0, "observed": [
                {{"step": "size 0", "expected": "EINVAL", "observed": "{observed}"}}]}}"#
            )
        };
        let holds = r#"{"id": "ep-eperm-unpollable", "outcome": "holds", "held": 1}"#;
        let a = profile("a", "6.1.1", &format!("{},{holds}", of("success")));
        let b = profile("b", "6.2.1", &of("EPERM"));
        let pair = Pair::of(&a, &b);
        let text = pair.page(Some(80));
        for said in [
            "  A              a: Linux 6.1.1, x86_64\n",
            "ep-create-args\n",
            "  B              differs: size 0: expected EINVAL; observed EPERM\n",
            "Of 1 fact, 1 differs between A and B; 1 more are only in one of the two",
        ] {
            assert!(text.contains(said), "no {said:?} in {text}");
        }
        assert!(pair.is_remarkable() && !Pair::of(&a, &a).is_remarkable());
        let gone = missing("gone");
        let nothing = Pair::of(&a, &gone).trouble();
        assert_eq!(
            nothing.as_deref(),
            None.or(Some("nothing was compared: gone is missing: no such package"))
        );
    }
}
