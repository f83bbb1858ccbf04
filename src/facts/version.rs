//! Versions of Linux.

use std::fmt;

/// A version of Linux: the first that has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since(pub u32, pub u32);

impl Since {
    /// Longer than this program could run: 2.6.
    pub const ALWAYS: Since = Since(2, 6);

    /// The version in a text such as `6.12`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Since> {
        let (major, minor) = text.split_once('.')?;
        Some(Since(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Since(major, minor) = self;
        write!(f, "Linux {major}.{minor}")
    }
}

/// A released kernel, by the three numbers of `uname -r`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32, pub u32);

impl Release {
    /// The numbers at the head of a text such as `5.10.0-32-cloud-amd64`; what is missing is 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Release> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
        Some(Release(numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)))
    }

    /// Whether it is that release, or a later one of the same series.
    #[must_use]
    pub fn continues(self, first: Release) -> bool {
        (self.0, self.1) == (first.0, first.1) && first <= self
    }

    /// Whether it says that it is older than that.
    #[must_use]
    pub fn is_before(self, Since(major, minor): Since) -> bool {
        (self.0, self.1) < (major, minor)
    }
}

/// Kernels between two versions that are known to differ from those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first that differs.
    pub from: Since,
    /// The first that does not again, if there is one.
    pub until: Option<Since>,
    /// In older series, the first release that was repaired too.
    pub repaired: &'static [Release],
    /// What made the difference and what ended it: commits.
    pub commits: &'static str,
}

impl Gap {
    /// Whether that kernel lies in it.
    #[must_use]
    pub fn has(&self, release: Release) -> bool {
        !release.is_before(self.from)
            && self.until.is_none_or(|until| release.is_before(until))
            && !self.repaired.iter().any(|first| release.continues(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_from_what_uname_says() {
        assert_eq!(Release::parse("5.10.0-32-cloud-amd64"), Some(Release(5, 10, 0)));
        assert_eq!(Release::parse("6.12.117+deb13-rt-amd64"), Some(Release(6, 12, 117)));
        assert_eq!(Release::parse("7.2-rc1"), Some(Release(7, 2, 0)));
        assert_eq!(Release::parse("unknown"), None);
    }

    #[test]
    fn a_repaired_series_has_left_the_gap() {
        let gap = Gap {
            from: Since(5, 5),
            until: Some(Since(5, 14)),
            repaired: &[Release(5, 10, 56)],
            commits: "",
        };
        for (release, inside) in [
            (Release(5, 4, 300), false),
            (Release(5, 5, 0), true),
            (Release(5, 10, 46), true),
            (Release(5, 10, 56), false),
            (Release(5, 10, 223), false),
            (Release(5, 13, 1), true),
            (Release(5, 14, 0), false),
        ] {
            assert_eq!(gap.has(release), inside, "{release:?}");
        }
    }
}
