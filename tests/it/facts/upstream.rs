//! The reports in docs/facts/upstream: each program prints on this kernel what its report expects of Linux.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The text of the `nth` block of that language.
fn block<'a>(report: &'a str, language: &str, nth: usize) -> &'a str {
    let begin = format!("```{language}\n");
    let (text, _) =
        report.split(&begin).nth(nth + 1).and_then(|rest| rest.split_once("```")).expect("a block");
    text
}

#[test]
fn each_program_prints_what_its_report_expects() {
    let folder = tempfile::tempdir().expect("a folder for programs");
    let mut reports = 0;
    for file in fs::read_dir("docs/facts/upstream").expect("the reports are there") {
        let file = file.expect("a name").path();
        let report = fs::read_to_string(&file).expect("a report");
        let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
        fs::write(&source, block(&report, "c", 0)).expect("the folder is ours");
        let compiled = Command::new("cc").args(["-w", "-o"]).args([&program, &source]).status();
        assert!(compiled.expect("a C compiler").success(), "{}", file.display());
        let output = Command::new(Path::new(&program)).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), block(&report, "text", 0), "{}", file.display());
        assert_ne!(block(&report, "text", 0), block(&report, "text", 1), "{}: no difference", file.display());
        reports += 1;
    }
    assert_eq!(reports, 6);
}
