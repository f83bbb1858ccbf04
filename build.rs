//! Records which commit is being built, for the environment record of the measurements.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    // Only this package's own repository: as a dependency it may lie in somebody else's.
    let ours = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    let commit = git(&["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"]);
    let commit = commit.filter(|_| ours).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=IO_MODELS_COMMIT={commit}");
    // A commit moves one of these; a build from a package has neither, and is not rebuilt for them.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
}
