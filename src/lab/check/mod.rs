//! What a TCP server must do, asked of any server in any language.
//!
//! A [`Check`] is a short conversation with a server, and a sentence on what must come of it. [`judge`](fn@judge) makes the checks of a
//! [`Plan`] and says of each whether it passed, failed, does not apply, or was not made, and why.
//!
//! Three rules keep the verdicts right:
//!
//! - A program is started afresh for each check, so that what one check leaves behind (memory, descriptors, a client that
//!   never reads) spoils no other.
//! - A check is not made when one that it depends on has failed: a server that does not answer at all fails one check, not fifty.
//! - A check that failed only because an answer did not come in time is made again, up to three times in all: other programs may have
//!   had the processor. The report tells of a check that passed only then. A wrong byte is a failure the first time.

mod checks;
mod client;
mod faults;
mod judge;
mod log;
pub(in crate::lab) mod server;
mod session;
mod words;
pub(in crate::lab) mod sockets;

pub use checks::{all, find};
pub(in crate::lab) use judge::basics;
pub use judge::{Plan, Reach, Subject, Watch, judge, not_started};
pub use words::said;

use crate::lab::results::check::Expect;
use serde::Serialize;
use session::Session;

/// A check.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Check {
    /// Group and name: `echo/one-byte`.
    pub id: &'static str,
    /// What must be so, in one sentence.
    pub claim: &'static str,
    /// What is done.
    pub does: &'static str,
    /// Why it matters.
    pub matters: &'static str,
    /// The usual cause of a failure.
    pub cause: &'static str,
    /// A man page, or a program of the course.
    pub reference: &'static str,
    /// What it needs of the server.
    pub needs: Needs,
    /// How many clients the server has to serve at the same time.
    pub clients: usize,
    /// Which answers tell enough for it.
    pub answers: Answers,
    /// Checks that must have passed before.
    pub after: &'static [&'static str],
    #[serde(skip)]
    run: fn(&Session<'_>) -> Step,
}

/// What a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// An address to connect to.
    Address,
    /// The process of the server, which is started for the check: it gets signals, or its memory is read.
    Process,
    /// The same, and each system call of the server is stopped at, see ptrace(2).
    Faults,
}

/// Which answers of a server tell enough for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answers {
    /// All.
    Any,
    /// Those that have all bytes of the request: not `ok`.
    Bytes,
    /// Frames.
    Frames,
}

impl Answers {
    fn include(self, expect: Expect) -> bool {
        match self {
            Answers::Any => true,
            Answers::Bytes => expect != Expect::Ok,
            Answers::Frames => expect == Expect::Framed,
        }
    }
}

impl Check {
    /// The group of checks that it belongs to.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.id.split('/').next().unwrap_or(self.id)
    }
}

/// A step of a check: what it found, or why the check ends here.
pub(in crate::lab) type Step<T = ()> = Result<T, Ended>;

/// Why a check ended before all of it was as it should be.
#[derive(Debug, Clone)]
pub(in crate::lab) enum Ended {
    /// The server did something else.
    Failed(Fault),
    /// It is not for this server.
    NotApplicable(String),
    /// It could not be made here.
    NotMade(String),
    /// Not all of an answer came, and another byte brought more of it: [`EDGE`] is the check for that.
    OneReadForEachEdge,
    /// A signal told us to stop.
    Interrupted,
}

/// What a server did instead of what it should.
#[derive(Debug, Clone)]
pub(in crate::lab) struct Fault {
    pub(in crate::lab) expected: String,
    pub(in crate::lab) observed: String,
    /// The likely cause, where the observation tells more than that of the check.
    cause: Option<&'static str>,
    /// Something did not come in time, which may be the machine's doing.
    is_late: bool,
}

/// The check that tells of [`Ended::OneReadForEachEdge`].
const EDGE: &str = "edge/partial-read";

impl Ended {
    /// The server did something wrong.
    fn failed(expected: impl Into<String>, observed: impl Into<String>) -> Ended {
        Ended::Failed(Fault {
            expected: expected.into(),
            observed: observed.into(),
            cause: None,
            is_late: false,
        })
    }

    /// The server did not do something in time.
    fn late(expected: impl Into<String>, observed: impl Into<String>) -> Ended {
        Ended::Failed(Fault {
            expected: expected.into(),
            observed: observed.into(),
            cause: None,
            is_late: true,
        })
    }

    /// The same, because something did not come in time.
    fn that_is_late(mut self) -> Ended {
        if let Ended::Failed(fault) = &mut self {
            fault.is_late = true;
        }
        self
    }

    /// The likely cause is this, and not that of the check.
    fn because(mut self, cause: &'static str) -> Ended {
        if let Ended::Failed(fault) = &mut self {
            fault.cause = Some(cause);
        }
        self
    }

    /// Nothing, where the server did something else than it should, but in time.
    fn unless_late(self) -> Step {
        match self {
            Ended::Failed(fault) if !fault.is_late => Ok(()),
            ended => Err(ended),
        }
    }

    /// Say before what was observed where that was.
    fn at(mut self, what: &str) -> Ended {
        if let Ended::Failed(fault) = &mut self {
            fault.observed = format!("{what}: {}", fault.observed);
        }
        self
    }
}

/// What fails on our side, for example because we have no descriptor left.
impl From<crate::Error> for Ended {
    fn from(error: crate::Error) -> Ended {
        Ended::NotMade(crate::lab::explain::explain(&error.into()))
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Ended {
        anyhow::Error::from(error).into()
    }
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Ended {
        Ended::NotMade(crate::lab::explain::explain(&error))
    }
}
