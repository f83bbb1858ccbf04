//! `man` and `completions`: what other programs show of the command line.

use super::{fails, io_models};
use crate::support::DEADLINE;
use assert_cmd::Command;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn printed(args: &[&str]) -> String {
    let output = io_models().args(args).assert().code(0).get_output().clone();
    String::from_utf8(output.stdout).expect("text")
}

/// Run a program that reads what we have written, if it is installed. It must succeed; returns what it printed.
#[track_caller]
fn read_by(program: &str, args: &[&str], file: &Path) -> Option<String> {
    let Ok(output) = Command::new(program).args(args).arg(file).timeout(DEADLINE).output() else {
        eprintln!("{program} is not installed: {} is not read by it", file.display());
        return None;
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {args:?} {}: {said}", file.display());
    Some(said)
}

#[test]
fn each_command_has_a_manual_page_without_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("new/man1");
    assert_eq!(printed(&["man", pages.to_str().expect("text")]), "");
    let main = fs::read_to_string(pages.join("io-models.1")).expect("the main page");
    assert_eq!(printed(&["man"]), main);

    let listed: BTreeSet<_> = main.lines().filter_map(|line| line.strip_suffix("(1)")).collect();
    let written: Vec<_> =
        fs::read_dir(&pages).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(listed.contains("io\\-models\\-facts") && !main.contains("supervise"), "{main}");
    // The main page itself, and `facts map`, which the page of `facts` names.
    assert_eq!(written.len(), listed.len() + 2, "{written:?} {listed:?}");
    for page in written {
        let text = fs::read_to_string(&page).expect("a page");
        assert!(text.contains("\n.SH NAME\n") && text.contains("\\-\\-lang"), "{text}");
        assert!(!text.contains("follow\\-orders"), "{page:?} has what is hidden");
        for (program, args) in
            [("mandoc", &["-T", "lint", "-W", "warning"][..]), ("groff", &["-k", "-man", "-ww", "-z"])]
        {
            let complaints = read_by(program, args, &page);
            assert!(complaints.as_ref().is_none_or(String::is_empty), "{program}: {complaints:?}");
        }
    }
}

#[test]
fn a_folder_for_manual_pages_that_cannot_be_made_is_named() {
    let complaint = fails(&["man", "/dev/null/man1"], 1);
    assert!(complaint.contains("/dev/null/man1"), "{complaint}");
}

#[test]
fn shells_complete_commands_and_names_but_nothing_hidden() {
    /// How bash calls a completion: the words so far, and the index of the last of them.
    const BASH: &str = r#"
        source "$0"
        complete() { :; }
        COMP_WORDS=(io-models "$@") COMP_CWORD=$#
        _io__models io-models "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = printed(&["completions", shell]);
        for hidden in ["supervise", "follow-orders", "count-into-stdin"] {
            assert!(!text.contains(hidden), "{shell} completes {hidden}");
        }
        fs::write(folder.path().join(shell), text).expect("a file");
    }
    let [bash, zsh, fish] = ["bash", "zsh", "fish"].map(|shell| folder.path().join(shell));
    read_by("zsh", &["-n"], &zsh);
    read_by("fish", &["--no-execute"], &fish);
    for (words, expected) in [
        (&["fa"][..], "facts"),
        (&["serve", "epoll-l"], "epoll-level"),
        (&["facts", "ep-fork-k"], "ep-fork-keeps-registration"),
        (&["facts", "--explain", "ep-fork-k"], "ep-fork-keeps-registration"),
        (&["facts", "map", "--kn"], "--known"),
        (&["check", "--explain", "echo/one"], "echo/one-byte"),
        (&["demo", "emfile"], "emfile-spin"),
        (&["load", "--wait", "sp"], "spin"),
    ] {
        let output = Command::new("bash")
            .args(["-c", BASH])
            .arg(&bash)
            .args(words)
            .timeout(DEADLINE)
            .output()
            .expect("bash");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "bash: {words:?} {output:?}");
    }
}
