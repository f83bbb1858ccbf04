//! Records which commit is being built, and by which compiler, for the environment record of the measurements, and the
//! day of the commit, for the manual pages.
//!
//! `+changes` after the commit says that the sources differed from it. Cargo runs this script again when a
//! source or the commit has changed, and not when only a test or a page of the documentation has.

use std::process::Command;

/// What the library and the programs are built from.
const SOURCES: [&str; 5] = ["src", "bins", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    for (name, value) in [("COMMIT", commit()), ("DATE", date()), ("COMPILER", compiler())] {
        // What is not known is not set.
        value.iter().for_each(|value| println!("cargo:rustc-env=IO_MODELS_{name}={value}"));
    }
    // A checkout or a commit changes one of these files. A build from a package has neither.
    let moved = ["HEAD", "logs/HEAD"].map(|name| git(&["rev-parse", "--git-path", name]));
    for path in moved.into_iter().flatten().chain(SOURCES.map(str::to_owned)) {
        println!("cargo:rerun-if-changed={path}");
    }
}

/// The commit that is checked out, if the repository is this package's own.
fn commit() -> Option<String> {
    is_ours()?;
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--"], &SOURCES[..]].concat())?;
    Some(if changes.is_empty() { commit } else { commit + "+changes" })
}

/// The day of the commit that is checked out, as in "2026-11-30".
fn date() -> Option<String> {
    is_ours()?;
    git(&["log", "-1", "--format=%cs"])
}

/// As a dependency this package may lie inside another repository.
fn is_ours() -> Option<()> {
    git(&["rev-parse", "--show-prefix"])?.is_empty().then_some(())
}

/// The compiler that cargo uses, as in "rustc 1.88.0 (6b00bc388 2025-06-23)". Cargo runs this script again when it changes.
fn compiler() -> Option<String> {
    printed(Command::new(std::env::var_os("RUSTC")?).arg("--version"))
}

fn git(args: &[&str]) -> Option<String> {
    printed(Command::new("git").args(args))
}

/// What a program prints, without the line's end, or `None` if it fails or is not there.
fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
