//! `io-models load`: what it says of right servers, of wrong ones, and of bad input.
//!
//! The servers in [`servers`] are threads of the test and share nothing with this crate's own, so
//! that a mistake in both ends of one implementation cannot hide itself.

pub(crate) mod program;
pub(crate) mod servers;

mod honesty;
mod input;
mod merge;
mod right;
mod stopped;
mod wrong;

use program::{Ended, Program};
use serde_json::Value;
use std::net::SocketAddr;

/// Run `io-models load ADDR` with these arguments, and wait for its end.
pub(crate) fn load(addr: SocketAddr, args: &str) -> Ended {
    start_load(addr, args).end()
}

/// Start `io-models load ADDR` with these arguments.
pub(crate) fn start_load(addr: SocketAddr, args: &str) -> Program {
    Program::start(&format!("load {addr} {args}"))
}

/// The one JSON document that `load --json` prints, of the schema that it names.
pub(crate) fn report(ended: &Ended) -> Value {
    let report = ended.json();
    assert_eq!(report["schema"], "io-models/load");
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["mode"], "closed", "a load that waits for answers says so");
    report
}
