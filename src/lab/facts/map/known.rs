//! What people found out about the cells of a map: a file that they write.

use crate::lab::visible::visible;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Explanations of what differs, and which systems are not Linux.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// What begins the name of a system that is not Linux, and what it is.
    #[serde(default)]
    other: BTreeMap<String, String>,
    #[serde(default)]
    note: Vec<Note>,
}

/// What is known of some facts on some systems.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// Their ids.
    facts: Vec<String>,
    /// What the names of the systems begin with.
    systems: String,
    /// A commit, a thread, or what else explains it.
    note: String,
}

impl Known {
    /// Read it from TOML.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn read(text: &str) -> Result<Known, String> {
        let mut known: Known = toml::from_str(text).map_err(|why| why.to_string())?;
        known.other.values_mut().for_each(|what| *what = visible(what));
        for Note { facts, note, .. } in &mut known.note {
            if let Some(id) = facts.iter().find(|id| crate::facts::find(id).is_none()) {
                return Err(format!("a note is about {id}, and there is no such fact"));
            }
            *note = visible(note);
        }
        Ok(known)
    }

    /// What a system is, if it is not Linux.
    pub(super) fn other(&self, name: &str) -> Option<&str> {
        self.other.iter().find(|(prefix, _)| name.starts_with(*prefix)).map(|(_, what)| what.as_str())
    }

    /// What is noted of a fact on a system.
    pub(super) fn note(&self, id: &str, system: &str) -> Option<&str> {
        let is_of =
            |note: &&Note| system.starts_with(&note.systems) && note.facts.iter().any(|fact| fact == id);
        self.note.iter().find(is_of).map(|note| note.note.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_found_by_its_fact_and_the_beginning_of_the_name_of_a_system() {
        let known = "[[note]]\nfacts = [\"ep-create-args\"]\nsystems = \"gv\"\nnote = \"a thread\\u0007\"";
        let known = Known::read(known).unwrap();
        assert_eq!(known.note("ep-create-args", "gvisor"), Some(r"a thread\u{7}"));
        assert_eq!(known.note("ep-create-args", "here"), None);
        assert_eq!(known.note("ep-eperm-unpollable", "gvisor"), None);
    }

    #[test]
    fn a_note_about_no_fact_is_refused() {
        let known = "[[note]]\nfacts = [\"ep-creates\"]\nsystems = \"\"\nnote = \"new\"";
        assert!(Known::read(known).unwrap_err().contains("no such fact"));
        assert!(Known::read("[notes]").unwrap_err().contains("notes"));
    }
}
