//! What people read of a demo, in both languages: `demos/NAME/text.toml`.

use crate::lab::lang::Lang;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The texts of a demo in one language.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// What it is about, in a few words.
    pub title: String,
    /// What its number is, with the unit.
    pub number: String,
    /// What the broken program does, in a few words.
    pub broken: String,
    /// What the mended program does, in a few words.
    pub mended: String,
    /// What the picture shows.
    pub picture: String,
    /// Why: what the kernel does, what follows for the broken program, and what to do.
    pub why: [String; 3],
    /// The names of the axes (`axis`, or `x` and `y`), of the parts of a bar, and of other figures.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    en: Text,
    zh: Text,
}

impl Text {
    pub(super) fn of(texts: &str, lang: Lang) -> Result<Text, toml::de::Error> {
        let Texts { en, zh } = toml::from_str(texts)?;
        Ok(lang.say(en, zh))
    }

    /// The label of this name, or the name where there is none.
    #[must_use]
    pub fn label<'a>(&'a self, name: &'a str) -> &'a str {
        self.labels.get(name).map_or(name, String::as_str)
    }
}
