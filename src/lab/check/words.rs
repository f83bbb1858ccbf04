//! What people read of the checks, in their language: `zh.toml` has the Chinese.

use super::all;
use crate::lab::lang::Lang;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

const CHINESE: &str = include_str!("zh.toml");

#[derive(Debug, Deserialize)]
struct Translation {
    /// For each observation that has a likely cause of its own, the English and the Chinese one.
    causes: HashMap<String, String>,
    /// For each id, what its check says.
    #[serde(flatten)]
    checks: HashMap<String, Words>,
}

/// The fields of a check that are read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    claim: String,
    does: String,
    matters: String,
    cause: String,
    /// Where the English one has more than names.
    reference: Option<String>,
}

/// The Chinese of each English text.
static IN_CHINESE: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let Translation { causes, mut checks } = toml::from_str(CHINESE).expect("a test reads it");
    let mut chinese = causes;
    for check in all() {
        let Words { claim, does, matters, cause, reference } =
            checks.remove(check.id).expect("a test compares the ids");
        let texts =
            [(check.claim, claim), (check.does, does), (check.matters, matters), (check.cause, cause)];
        let reference = reference.map(|text| (check.reference, text));
        chinese.extend(texts.into_iter().chain(reference).map(|(english, text)| (english.to_owned(), text)));
    }
    chinese
});

/// A text of a check in this language. A text that has no translation, such as one of another version of this program, stays as it is.
#[must_use]
pub fn said(english: &str, lang: Lang) -> &str {
    match lang {
        Lang::En => english,
        Lang::Zh => IN_CHINESE.get(english).map_or(english, String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Words between names: "the", "of the course". What has none is the same in both languages.
    fn has_words(reference: &str) -> bool {
        let words = ["the", "of", "on", "in", "has", "'s", "herd"];
        words.iter().any(|word| {
            reference.split([' ', ';', ',', '(', ')']).any(|one| one == *word || one.ends_with("'s"))
        })
    }

    #[test]
    fn every_check_is_described_in_chinese_and_no_other() {
        let Translation { checks, .. } = toml::from_str(CHINESE).unwrap();
        let known: BTreeSet<_> = all().map(|check| check.id).collect();
        let translated: BTreeSet<_> = checks.keys().map(String::as_str).collect();
        assert_eq!(known, translated);
        for check in all() {
            let Words { claim, does, matters, cause, reference } = &checks[check.id];
            for text in [claim, does, matters, cause] {
                assert!(text.ends_with('。'), "{}: {text:?} is no Chinese sentence", check.id);
            }
            let needs_words = has_words(check.reference);
            assert!(
                !needs_words || reference.is_some(),
                "{}: {:?} is not translated",
                check.id,
                check.reference
            );
        }
    }

    #[test]
    fn a_field_that_is_unknown_or_missing_is_refused() {
        let of = |fields: &str| {
            toml::from_str::<Translation>(&format!("causes = {{}}\n[\"a/b\"]\n{fields}")).map(|_| ())
        };
        let all = "claim = \"\"\ndoes = \"\"\nmatters = \"\"\ncause = \"\"\n";
        assert_eq!(of(all), Ok(()));
        let unknown = of(&format!("{all}clame = \"\"")).unwrap_err();
        assert!(unknown.to_string().contains("unknown field `clame`"), "{unknown}");
        let missing = of(&all.replace("matters", "reference")).unwrap_err();
        assert!(missing.to_string().contains("missing field `matters`"), "{missing}");
    }

    /// A text is translated by what it says, so two checks that say the same in English must do so in Chinese.
    #[test]
    fn the_same_text_has_one_translation_with_the_same_numbers() {
        let Translation { causes, checks } = toml::from_str(CHINESE).unwrap();
        let code = include_str!("checks/edge.rs");
        for (english, chinese) in &causes {
            assert!(code.contains(english.as_str()), "nothing says {english:?}");
            assert_eq!(said(english, Lang::Zh), chinese);
        }
        let digits = |text: &str| {
            let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
            let mut numbers: Vec<_> = numbers.map(str::to_owned).collect();
            numbers.sort();
            numbers
        };
        for check in all() {
            let Words { claim, does, matters, cause, .. } = &checks[check.id];
            let english = [check.claim, check.does, check.matters, check.cause];
            for (english, chinese) in english.into_iter().zip([claim, does, matters, cause]) {
                assert_eq!(said(english, Lang::Zh), chinese, "{}: {english:?}", check.id);
                assert_eq!(said(english, Lang::En), english);
                assert_eq!(digits(english), digits(chinese), "{}: the numbers of {english:?}", check.id);
            }
        }
        assert_eq!(said("What nobody says.", Lang::Zh), "What nobody says.");
    }
}
