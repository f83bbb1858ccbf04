//! The course's C++ originals fail exactly the checks of the faults in docs/differences.md.

use super::planted::{command_of, difference};
use crate::support::{Which, judged, seed};
use io_models::lab::results::check::Expect;

/// A server of the course: its program, what it answers, how many clients it serves at the same time, and the checks that it fails. Each
/// of these is a row of docs/differences.md.
type Original = (&'static str, Expect, usize, &'static [&'static str]);

/// "echoes `strlen(buffer)` bytes: stops at a NUL, reads past a buffer that is full".
const STRLEN: [&str; 2] = ["echo/nul", "echo/buffer-1024"];

const ORIGINALS: [Original; 6] = [
    // One client, then it ends. Without SO_REUSEADDR.
    ("demo2", Expect::Ok, 1, &["clients/one-after-another", "restart/same-port"]),
    ("demo8", Expect::Ok, 1, &["clients/one-after-another", "restart/same-port"]),
    // The queue of 5.
    ("demo10", Expect::Ok, 1000, &["backlog/200", "restart/same-port"]),
    // SIGPIPE, the queue of 5, and accept in a loop that spins.
    (
        "tcpselect",
        Expect::Echo,
        1000,
        &[STRLEN[0], STRLEN[1], "reset/while-answering", "backlog/200", "limits/descriptors-idle"],
    ),
    (
        "tcppoll",
        Expect::Echo,
        1000,
        &[STRLEN[0], STRLEN[1], "reset/while-answering", "backlog/200", "limits/descriptors-idle"],
    ),
    // EINTR ends the loop. What is asked of a server while it is stopped is not asked then.
    ("tcpepoll", Expect::Echo, 1000, &[STRLEN[0], STRLEN[1], "signals/stop-continue"]),
];

#[test]
fn the_originals_fail_what_differences_md_says_and_nothing_else() {
    let (mut wrong, seed) = (Vec::new(), seed());
    for (name, expect, clients, expected) in ORIGINALS {
        let Some(command) = command_of(&format!("course/{name}.cpp")) else { continue };
        let judged = judged((name, command), expect, clients, Which::WithoutFaults, seed);
        wrong.extend(difference(name, &judged, expected, seed));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
