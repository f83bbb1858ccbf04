//! The commit in a result is the one that was built, and is marked when the sources had changes. The compiler is cargo's.
//!
//! A small package of its own with our build script in a temporary folder: to build it takes a second.

use assert_cmd::Command;
use std::path::Path;
use std::time::Duration;

/// For one program: a build of the small package on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const MAIN: &str = "fn main() { println!(\"{}\", env!(\"IO_MODELS_COMMIT\")) }\n";

/// Run a program in `folder` until it ends, and return both its outputs. It must succeed within [`LIMIT`].
fn run(folder: &Path, program: &str, args: &[&str]) -> (String, String) {
    let done = Command::new(program)
        .args(args)
        .current_dir(folder)
        // A commit hook may have set these, and the inner git must look at its own repository.
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_WORK_TREE")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .timeout(LIMIT)
        .assert()
        .success();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(&done.get_output().stdout), text(&done.get_output().stderr))
}

fn git(folder: &Path, args: &[&str]) -> String {
    let who = ["-c", "user.name=a test", "-c", "user.email=test@example.org", "-c", "commit.gpgSign=false"];
    run(folder, "git", &[&who, args].concat()).0
}

/// Commit all that is in `folder`, and return the new commit.
fn commit(folder: &Path) -> String {
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--message", "a change"]);
    git(folder, &["rev-parse", "--short=12", "HEAD"])
}

/// Build the package, and return the commit that its program shows and what cargo printed.
fn build(folder: &Path) -> (String, String) {
    let (_, printed) = run(folder, env!("CARGO"), &["build", "--verbose", "--offline"]);
    let program = folder.join("target/debug/small");
    let (shown, _) = run(folder, program.to_str().unwrap(), &[]);
    (shown, printed)
}

/// A committed package with our build script, and the commit.
fn small_package() -> (tempfile::TempDir, String) {
    let temp = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(temp.path().join(name), content).unwrap();
    for name in ["src", "bins"] {
        std::fs::create_dir(temp.path().join(name)).unwrap();
    }
    write(
        "Cargo.toml",
        "[package]\nname = \"small\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    write("build.rs", include_str!("../../build.rs"));
    write("src/main.rs", MAIN);
    write("bins/keep", "");
    write(".gitignore", "/target\n");
    write("README.md", "A small package.\n");
    run(temp.path(), env!("CARGO"), &["generate-lockfile", "--offline"]);
    git(temp.path(), &["init", "--quiet"]);
    let commit = commit(temp.path());
    (temp, commit)
}

#[test]
fn the_commit_of_a_build_is_marked_when_a_source_has_changed_since() {
    let (package, first) = small_package();
    let folder = package.path();
    assert_eq!(build(folder).0, first, "a clean build");

    std::fs::write(folder.join("src/main.rs"), format!("// changed\n{MAIN}")).unwrap();
    assert_eq!(build(folder).0, format!("{first}+changes"), "a build after a change");

    let second = commit(folder);
    assert_eq!(build(folder).0, second, "a build of the change, committed");

    std::fs::write(folder.join("bins/new.rs"), "").unwrap();
    assert_eq!(build(folder).0, format!("{second}+changes"), "a build with a new file");
}

#[test]
fn the_compiler_of_a_build_is_the_one_that_cargo_uses() {
    let (package, _) = small_package();
    let folder = package.path();
    std::fs::write(folder.join("src/main.rs"), MAIN.replace("COMMIT", "COMPILER")).unwrap();
    let (version, _) = run(folder, "rustc", &["--version"]);
    assert_eq!(build(folder).0, version);
}

#[test]
fn what_no_program_is_built_from_makes_no_rebuild_and_no_mark() {
    let (package, first) = small_package();
    let folder = package.path();
    build(folder);
    let (shown, printed) = build(folder);
    assert!(shown == first && printed.contains("Fresh small"), "a second build: {shown}\n{printed}");

    std::fs::write(folder.join("README.md"), "Changed.\n").unwrap();
    let (shown, printed) = build(folder);
    assert!(
        shown == first && printed.contains("Fresh small"),
        "after a change of README: {shown}\n{printed}"
    );
}
