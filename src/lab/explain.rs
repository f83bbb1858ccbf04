//! Errors in words, with what to do about them.

use crate::error::Error;
use crate::remedy;
use crate::sys::Errno;
use std::cmp::Reverse;
use std::io;

/// An error and its causes in one line.
#[must_use]
pub fn in_words(error: &anyhow::Error) -> String {
    // The message of a failed call says its errno; its cause is that errno once more.
    let call = error.chain().position(|cause| cause.is::<Error>()).unwrap_or(usize::MAX);
    let causes: Vec<_> = error.chain().take(call.saturating_add(1)).map(ToString::to_string).collect();
    causes.join(": ")
}

/// An error and its causes in one line, with the remedy if there is one.
#[must_use]
pub fn explain(error: &anyhow::Error) -> String {
    let line = in_words(error);
    match error.chain().find_map(of_cause) {
        // Somebody has told it already.
        Some(remedy) if !line.contains(&remedy) => format!("{line}; {remedy}"),
        _ => line,
    }
}

/// "Did you mean": the `most` names that are most like `name`, for a message; those that begin with it first.
#[must_use]
pub fn nearest<'a>(name: &str, most: usize, known: impl Iterator<Item = &'a str>) -> String {
    // In millionths, which can be sorted.
    let likeness = |one: &str| (strsim::jaro_winkler(name, one) * 1e6) as u32;
    let mut known: Vec<_> = known.map(|one| (Reverse((one.starts_with(name), likeness(one))), one)).collect();
    known.sort();
    known.iter().take(most).map(|(_, one)| *one).collect::<Vec<_>>().join(", ")
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<Error>() {
        return remedy::of(error.call(), error.errno()?);
    }
    remedy::of(None, Errno::from_raw(cause.downcast_ref::<io::Error>()?.raw_os_error()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Call;
    use anyhow::Context;

    fn refused(call: Call, source: Errno) -> anyhow::Error {
        Error::Call { call, fd: None, source }.into()
    }

    #[test]
    fn one_errno_of_two_calls_has_two_remedies() {
        assert!(explain(&refused(Call::Bind, Errno::EADDRNOTAVAIL)).contains("ip address"));
        assert!(explain(&refused(Call::Connect, Errno::EADDRNOTAVAIL)).contains("--sources"));
        assert!(explain(&refused(Call::EpollCtl, Errno::ENOSPC)).contains("max_user_watches"));
    }

    #[test]
    fn the_remedy_stands_behind_the_error_once_however_deep_its_cause_is() {
        let error = Err::<(), _>(io::Error::from(Errno::EFBIG)).context("cannot write a log").unwrap_err();
        let line = explain(&error);
        assert!(line.starts_with("cannot write a log: File too large (os error 27); the limit on"), "{line}");
        let told = anyhow::anyhow!(line.clone());
        assert_eq!(explain(&told), line);
    }

    #[test]
    fn an_error_without_a_known_cause_stays_as_it_is() {
        let refused = refused(Call::Read, Errno::EINVAL).context("no luck");
        assert_eq!(explain(&refused), "no luck: read: Invalid argument (os error 22)");
    }
}
