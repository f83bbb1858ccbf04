//! `io-models check` finds the fault of the broken program, and none in the mended one.

use io_models::lab::demo::{ALL, Demo, Which};
use std::process::Command;
use std::thread;

/// The exit code of the checks that the demo names.
fn code_of(demo: &Demo, which: Which) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_io-models");
    let mut command = Command::new(program);
    command.args(["check", "--only", &demo.checks.join(",")]).args(demo.check_options.split_whitespace());
    command.args(["--", program, "demo", demo.id, "--run", which.name(), "{port}"]);
    let ended = command.output().expect("the program starts");
    (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
}

#[test]
fn the_checks_of_a_demo_tell_its_programs_apart() {
    let with_checks: Vec<_> = ALL.iter().filter(|demo| !demo.checks.is_empty()).collect();
    thread::scope(|scope| {
        // Two at a time: most of them wait for most of their time.
        for some in with_checks.chunks(2) {
            let checked = some
                .iter()
                .map(|demo| scope.spawn(move || (demo.id, Which::ALL.map(|which| code_of(demo, which)))));
            for one in checked.collect::<Vec<_>>() {
                let (id, [(broken, told), (mended, said)]) = one.join().expect("no check panics");
                assert_eq!(broken, Some(3), "{id}, broken: {told}");
                assert_eq!(mended, Some(0), "{id}, mended: {said}");
            }
        }
    });
}
