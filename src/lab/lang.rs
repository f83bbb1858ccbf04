//! The language of what the program says to people: English or Chinese.
//!
//! Data (JSON, CSV, JUnit) and errors are always English.

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese, in simplified characters.
    Zh,
}

impl Lang {
    /// The language of the environment: that of the first of `LC_ALL`, `LC_MESSAGES` and `LANG` which is not empty, man 7 locale. English
    /// where it is one that we do not speak.
    #[must_use]
    pub fn of_environment() -> Lang {
        let values = ["LC_ALL", "LC_MESSAGES", "LANG"].map(|name| std::env::var(name).unwrap_or_default());
        Lang::of_locale(values.iter().find(|value| !value.is_empty()).map_or("", String::as_str))
    }

    /// The language of a locale such as `zh_CN.UTF-8`.
    fn of_locale(locale: &str) -> Lang {
        match locale.split(['_', '.', '@']).next() {
            Some("zh") => Lang::Zh,
            _ => Lang::En,
        }
    }

    /// What is said in this language.
    pub fn say<T>(self, en: T, zh: T) -> T {
        match self {
            Lang::En => en,
            Lang::Zh => zh,
        }
    }

    /// As HTML and BCP 47 name it.
    #[must_use]
    pub fn tag(self) -> &'static str {
        self.say("en", "zh-CN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_names_its_language_first() {
        for (locale, lang) in [
            ("zh_CN.UTF-8", Lang::Zh),
            ("zh", Lang::Zh),
            ("zh_TW@stroke", Lang::Zh),
            ("en_US.UTF-8", Lang::En),
            ("zhx_XX", Lang::En),
            ("C.UTF-8", Lang::En),
            ("", Lang::En),
        ] {
            assert_eq!(Lang::of_locale(locale), lang, "{locale}");
        }
    }
}
