//! The C++ programs of a demo, compiled into a folder that goes away with them.

use super::{Sources, Which};
use anyhow::{Context, bail};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The compiler.
const COMPILER: &str = "c++";

/// Counts the system calls of a program with which it is linked.
const COUNT: &str = include_str!("../../../demos/count.cpp");

/// What it writes: three numbers of eight bytes each.
const COUNTS: u64 = 24;

/// The programs, compiled.
#[derive(Debug)]
pub(super) struct Built {
    folder: PathBuf,
}

impl Built {
    /// Compile both at the same time.
    pub(super) fn new(sources: &Sources) -> anyhow::Result<Built> {
        /// How many folders this process has made.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("io-models-demo-{}-{number}", std::process::id()));
        // It fails where somebody else has made it before.
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let built = Built { folder };
        let count = built.folder.join("count.cpp");
        fs::write(&count, COUNT)?;
        let compile = |which: Which| {
            let source = built.folder.join(format!("{}.cpp", which.name()));
            fs::write(&source, sources.of(which))?;
            let mut command = Command::new(COMPILER);
            command.args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-pthread", "-o"]);
            command.arg(built.program(which)).arg(source).arg(&count);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn()
        };
        let started = Which::ALL.map(|which| (which, compile(which)));
        for (which, child) in started {
            let child = match child {
                Err(why) if why.kind() == ErrorKind::NotFound => {
                    bail!(
                        "there is no {COMPILER} to compile the C++ programs with: install g++ or clang, or leave --cpp out"
                    )
                }
                child => child.with_context(|| format!("cannot run {COMPILER}"))?,
            };
            let output = child.wait_with_output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                bail!(
                    "{COMPILER} does not compile {}.cpp: {}",
                    which.name(),
                    said.lines().next().unwrap_or_default()
                );
            }
        }
        Ok(built)
    }

    /// A file with zeros, into which a program counts its system calls.
    pub(super) fn counts(&self, which: Which) -> io::Result<(File, PathBuf)> {
        let path = self.folder.join(format!("{}.counts", which.name()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(COUNTS)?;
        Ok((file, path))
    }

    /// The file of one.
    pub(super) fn program(&self, which: Which) -> PathBuf {
        self.folder.join(which.name())
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}
