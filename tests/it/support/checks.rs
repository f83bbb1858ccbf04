//! Verdicts on a server, by the library that `io-models check` is made of.

use super::number;
use io_models::lab::check::{self, Check, Needs, Plan, Reach, Subject, Watch};
use io_models::lab::results::check::{Expect, Judged, Verdict};
use io_models::stop;
use io_models::sys::limits::Nofile;

/// What sizes, pauses and faults are drawn from: `IO_MODELS_SEED`, or any.
pub(crate) fn seed() -> u64 {
    number("IO_MODELS_SEED").unwrap_or_else(|| fastrand::u64(..))
}

struct Nobody;

impl Watch for Nobody {
    fn verdict(&self, _server: &str, _verdict: &Verdict, _done: usize, _all: usize) {}
}

/// Which checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that take no longer than a second or two: neither ten thousand connections nor faults.
    Quick,
    WithoutFaults,
    All,
}

impl Which {
    fn includes(self, check: &Check) -> bool {
        match self {
            Which::Quick => check.needs != Needs::Faults && check.group() != "leak",
            Which::WithoutFaults => check.needs != Needs::Faults,
            Which::All => true,
        }
    }
}

/// The verdicts on the server that `command` starts, which serves so many clients at the same time.
#[track_caller]
pub(crate) fn judged(
    (name, command): (&str, &str),
    expect: Expect,
    clients: usize,
    which: Which,
    seed: u64,
) -> Judged {
    let nofile = Nofile::raise().expect("a limit can be raised up to the hard one").soft;
    let plan = Plan {
        nofile,
        program: env!("CARGO_BIN_EXE_io-models").into(),
        checks: check::all().filter(|check| which.includes(check)).collect(),
        expect,
        clients,
        seed,
        side_by_side: 6,
    };
    let subject = Subject { name: name.to_owned(), reach: Reach::Command(command.to_owned()) };
    let (_stopper, stop) = stop::pair().expect("a pipe");
    let (judged, interrupted) = check::judge(&plan, &subject, &stop, &Nobody)
        .unwrap_or_else(|why| panic!("{name} does not start: {why:#}"));
    assert!(!interrupted);
    judged
}
