//! What an experiment found: its steps, each with a result of its own, and how they are told from process to process.

use super::Since;
use super::perturb::Altered;
use crate::sys::raw;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

/// One thing that an experiment looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// What was looked at, as in "revents after the peer closed".
    pub what: String,
    /// What was found.
    pub found: Found,
}

impl Step {
    /// That was found of that.
    #[must_use]
    pub fn new(what: impl Into<String>, found: Found) -> Step {
        Step { what: what.into(), found }
    }
}

/// In a line.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.what.is_empty() {
            write!(f, "{}: ", self.what)?;
        }
        match &self.found {
            Found::Holds => f.write_str("holds"),
            Found::Differs { expected, observed, .. } => {
                write!(f, "expected {expected}; observed {observed}")
            }
            Found::ClaimsOlder { expected, observed, since } => {
                write!(f, "expected {expected} since {since}; observed {observed}")
            }
            Found::Skipped { why, detail } => write!(f, "{}: {detail}", why.name()),
        }
    }
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The kernel does what the claim says.
    Holds,
    /// It does something else.
    Differs {
        /// What the claim expects.
        expected: String,
        /// What the kernel did.
        observed: String,
        /// Since which Linux it does what is expected.
        since: Since,
    },
    /// It does something else, and says that it is older than the behaviour.
    ClaimsOlder {
        /// What the claim expects.
        expected: String,
        /// What the kernel did.
        observed: String,
        /// Since which Linux it does what is expected.
        since: Since,
    },
    /// The step could not be made here.
    Skipped {
        /// Why, of a closed list.
        why: Why,
        /// What exactly is missing, or forbidden.
        detail: String,
    },
}

macro_rules! reasons {
    ($($reason:ident = $word:literal, $meaning:literal;)*) => {
        /// Why a step could not be made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Why { $(#[doc = $meaning] $reason,)* }

        impl Why {
            /// All reasons that there are.
            pub const ALL: &[Why] = &[$(Why::$reason,)*];

            /// One word, for programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Why::$reason => $word,)* }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Why::$reason => $meaning,)* }
            }

            /// The reason of that name.
            #[must_use]
            pub fn find(name: &str) -> Option<Why> {
                Why::ALL.iter().copied().find(|why| why.name() == name)
            }
        }
    };
}

reasons! {
    Missing = "missing", "This kernel or this architecture does not have a call, an option or a kind of file that the step needs.";
    Denied = "denied", "A call needs privilege, or a filter denies it.";
    Network = "network", "There is no loopback network.";
    Limits = "limits", "There are too few descriptors, or too little memory.";
    Oracle = "oracle", "What the step measures with is missing, such as a file of /proc or a field of TCP_INFO.";
    Setting = "setting", "A setting of this host is not what the step needs.";
    Moment = "moment", "The moment that the step is about did not come.";
    Setup = "set-up", "A call that only prepares the step failed.";
    Start = "start", "The process of the experiment could not be started.";
}

/// The first byte of a record; what is said between two records is none.
const START: char = '\u{2}';
/// The last byte of a record; one that lacks it is cut off.
const END: char = '\u{3}';
/// Between the fields of a record.
const FIELD: char = '\u{1f}';

/// What the process of an experiment tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// The first thing: the release of the kernel that it runs on.
    Kernel(String),
    /// A step that is over.
    Step(Step),
    /// What became of an alteration, just before the end.
    Altered(Altered),
    /// The last thing; and whether the experiment waited by a call that has siblings.
    End { waited: bool },
}

impl Record {
    pub(super) fn encode(&self) -> String {
        let fields = match self {
            Record::Kernel(release) => vec!["kernel", release],
            Record::Altered(Altered::Call(call)) => vec!["altered", call],
            Record::Altered(Altered::Not) => vec!["not altered"],
            Record::Altered(Altered::NoSuchCall) => vec!["no such call"],
            Record::End { waited } => vec!["end", if *waited { "waited" } else { "" }],
            Record::Step(Step { what, found }) => match found {
                Found::Holds => vec!["holds", what],
                Found::Differs { expected, observed, since }
                | Found::ClaimsOlder { expected, observed, since } => {
                    return join(&[
                        "differs",
                        what,
                        expected,
                        observed,
                        &since.0.to_string(),
                        &since.1.to_string(),
                    ]);
                }
                Found::Skipped { why, detail } => vec!["skipped", what, why.name(), detail],
            },
        };
        join(&fields)
    }

    fn decode(record: &str) -> Option<Record> {
        let fields: Vec<&str> = record.split(FIELD).collect();
        let step = |what: &str, found| Some(Record::Step(Step { what: what.to_owned(), found }));
        match fields.as_slice() {
            ["kernel", release] => Some(Record::Kernel((*release).to_owned())),
            ["altered", call] => Some(Record::Altered(Altered::Call((*call).to_owned()))),
            ["not altered"] => Some(Record::Altered(Altered::Not)),
            ["no such call"] => Some(Record::Altered(Altered::NoSuchCall)),
            ["end", waited] => Some(Record::End { waited: !waited.is_empty() }),
            ["holds", what] => step(what, Found::Holds),
            ["differs", what, expected, observed, major, minor] => {
                let since = Since(major.parse().ok()?, minor.parse().ok()?);
                let (expected, observed) = ((*expected).to_owned(), (*observed).to_owned());
                step(what, Found::Differs { expected, observed, since })
            }
            ["skipped", what, why, detail] => {
                step(what, Found::Skipped { why: Why::find(why)?, detail: (*detail).to_owned() })
            }
            _ => None,
        }
    }

    /// Take the records that are whole out of `said`, and leave what follows the last of them.
    pub(super) fn take(said: &mut Vec<u8>) -> Vec<Record> {
        let Some(whole) = said.iter().rposition(|&byte| char::from(byte) == END) else { return Vec::new() };
        let text: Vec<u8> = said.drain(..=whole).collect();
        let text = String::from_utf8_lossy(&text);
        let records = text.split(END).filter_map(|part| part.rsplit_once(START));
        records.filter_map(|(_, record)| Record::decode(record)).collect()
    }
}

fn join(fields: &[&str]) -> String {
    let clean: Vec<String> =
        fields.iter().map(|field| field.replace(|c: char| c.is_control(), " ")).collect();
    format!("{START}{}{END}", clean.join(&FIELD.to_string()))
}

/// Where this process tells what it finds: standard output, but for a child of an experiment.
static TOLD_TO: AtomicI32 = AtomicI32::new(libc::STDOUT_FILENO);

/// Tell what is found from now on to this descriptor.
pub(super) fn tell_to(fd: i32) {
    TOLD_TO.store(fd, Ordering::SeqCst);
}

/// Tell it now: what follows may be the end of this process. What cannot be told is missing in the report, which says so.
pub(super) fn tell(record: &Record) {
    // Two threads must not mix their records.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let text = record.encode();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match raw::write(TOLD_TO.load(Ordering::SeqCst), rest) {
            Ok(n) => rest = &rest[n..],
            Err(refusal) if refusal.errno == crate::sys::Errno::EINTR => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let step = |found| Record::Step(Step { what: "revents after the peer closed".to_owned(), found });
        vec![
            Record::Kernel("6.18.44".to_owned()),
            step(Found::Holds),
            step(Found::Differs {
                expected: "HUP".to_owned(),
                observed: "IN+HUP".to_owned(),
                since: Since(6, 9),
            }),
            step(Found::Skipped { why: Why::Network, detail: "no loopback".to_owned() }),
            Record::End { waited: true },
        ]
    }

    #[test]
    fn records_survive_the_pipe_and_what_is_said_between_them() {
        let mut said = b"warning: \x03something\n".to_vec();
        for record in records() {
            said.extend_from_slice(record.encode().as_bytes());
            said.extend_from_slice(b"said by somebody else\n");
        }
        assert_eq!(Record::take(&mut said), records());
        assert_eq!(said, b"said by somebody else\n");
    }

    #[test]
    fn a_record_that_is_cut_off_stays_until_its_end_comes() {
        for record in records() {
            let whole = record.encode();
            for n in 0..whole.len() {
                let mut said = whole.as_bytes()[..n].to_vec();
                assert_eq!(Record::take(&mut said), []);
                said.extend_from_slice(&whole.as_bytes()[n..]);
                assert_eq!(Record::take(&mut said), std::slice::from_ref(&record));
            }
        }
    }

    #[test]
    fn each_reason_is_found_by_its_name() {
        for &why in Why::ALL {
            assert_eq!(Why::find(why.name()), Some(why));
        }
    }
}
