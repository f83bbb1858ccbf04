//! The command line: exit codes, and one line on standard error.

mod models;
mod serve;
mod shell;

use assert_cmd::Command;

/// The program, without colours and with a limit on its life.
pub(crate) fn io_models() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_io-models"));
    command.timeout(crate::support::DEADLINE).env("NO_COLOR", "1").env("LC_ALL", "C");
    command
}

/// Run with `args`, which must fail with `code` and one line on standard error, which is returned.
#[track_caller]
pub(crate) fn fails(args: &[&str], code: i32) -> String {
    one_line(io_models().args(args), code)
}

#[track_caller]
pub(crate) fn one_line(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().clone();
    assert!(output.stdout.is_empty(), "standard output: {:?}", String::from_utf8_lossy(&output.stdout));
    let complaint = String::from_utf8(output.stderr).expect("standard error is text");
    assert_eq!(complaint.matches('\n').count(), 1, "not one line: {complaint:?}");
    assert!(complaint.starts_with("io-models: "), "{complaint:?} does not say who complains");
    complaint
}

#[test]
fn help_and_version_are_results() {
    for (args, expected) in
        [(&["--help"][..], "Usage"), (&["--version"], "io-models "), (&["serve", "--help"], "epoll-edge")]
    {
        let output = io_models().args(args).assert().code(0).get_output().clone();
        let said = String::from_utf8(output.stdout).expect("help is text");
        assert!(said.contains(expected), "{args:?}: no {expected:?} in {said}");
        assert!(output.stderr.is_empty(), "{args:?} complains");
    }
}

#[test]
fn no_command_and_an_unknown_one_are_bad_usage() {
    let complaint = fails(&[], 2);
    let help =
        String::from_utf8(io_models().arg("--help").output().expect("it starts").stdout).expect("text");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Lines that go on are indented by more.
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<_> = names.filter(|name| !name.is_empty() && *name != "help").collect();
    for command in &commands {
        assert!(complaint.contains(command), "{command} is not in {complaint}");
    }
    assert!(commands.contains(&"check"), "{help}");
    assert!(fails(&["nonsense"], 2).contains("nonsense"));
}

#[test]
fn colours_are_for_terminals_unless_somebody_wants_them_always() {
    // A port that is not to be had: so there is something to complain of.
    let complaint = |color: &str| {
        let port = "--listen=192.0.2.1:1";
        let ended = io_models().args(["serve", "poll", port, color]).output().expect("it starts");
        String::from_utf8(ended.stderr).expect("text")
    };
    assert!(!complaint("--color=auto").contains('\x1b'));
    assert!(!complaint("--color=never").contains('\x1b'));
    assert!(complaint("--color=always").starts_with('\x1b'));
}
