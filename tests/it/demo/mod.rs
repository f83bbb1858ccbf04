//! `io-models demo`: the number of each demo holds, and the broken program is broken.

mod checked;
mod docs;
mod numbers;
mod program;

use crate::load::program::{Ended, Program, io_models};
use io_models::lab::demo::ALL;
use io_models::lab::results::demo::{Demonstration, Language};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Run `io-models demo` with these arguments.
fn demo(arguments: &str) -> Ended {
    Program::spawn(io_models(&format!("demo {arguments}"))).end_within(3)
}

/// What the programs of a demo in this language do, if they can be run here.
fn shown(id: &str, language: Language) -> Option<Demonstration> {
    let cpp = match language {
        Language::Cpp if !has_compiler() => return None,
        Language::Cpp => " --cpp",
        Language::Rust => "",
    };
    let ended = demo(&format!("{id} --json{cpp}"));
    ended.exits(0);
    Some(serde_json::from_str(&ended.stdout).unwrap_or_else(|why| panic!("{why}: {ended}")))
}

/// Whether there is a compiler for C++. In CI there must be one.
pub(crate) fn has_compiler() -> bool {
    static HAS: LazyLock<bool> = LazyLock::new(|| {
        let asked = Command::new("c++").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let has = asked.is_ok_and(|status| status.success());
        assert!(has || std::env::var_os("CI").is_none(), "CI needs c++");
        if !has {
            eprintln!("skipped: the demos in C++, because there is no c++");
        }
        has
    });
    *HAS
}

/// The languages in which a demo has programs.
fn languages(id: &str) -> impl Iterator<Item = Language> {
    let demo = ALL.iter().find(|demo| demo.id == id).expect(id);
    [Language::Rust, Language::Cpp].into_iter().filter(|language| demo.sources(*language).is_some())
}
