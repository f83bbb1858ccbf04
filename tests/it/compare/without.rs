//! Where a sandbox or a kernel denies what a comparison would like to have, it does without and says so.

use super::{comparison, figures, group, row};
use crate::load::program::{Ended, Program, io_models};
use crate::support::{is_root, without};
use libc::{SYS_memfd_create, SYS_sched_setaffinity};
use serde_json::Value;
use std::process::Command;

const ARGS: &str = "compare --json --workloads single --models poll,fork --starts 2 --slices 2 --slice 120ms";

/// Every row is measured, and one sentence says what is not known.
#[track_caller]
fn goes_on_without(ended: &Ended, sentence: &str) -> Value {
    let comparison = comparison(ended.exits(0));
    for model in ["poll", "fork"] {
        assert_eq!(row(&comparison, "single", model, false)["status"], "measured", "{comparison:#}");
    }
    let not_known = comparison["not_known"].as_array().expect("sentences");
    let says_it = not_known.iter().filter_map(Value::as_str).filter(|what| what.contains(sentence)).count();
    assert_eq!(says_it, 1, "once: {comparison:#}");
    assert!(ended.stderr.contains(sentence), "{ended}");
    comparison
}

#[test]
fn a_comparison_that_may_not_pin_its_processes_goes_on_and_says_so() {
    let ended = without(&[SYS_sched_setaffinity], libc::EPERM, || Program::start(ARGS)).end();
    let comparison = goes_on_without(&ended, "are not pinned");
    assert_eq!(comparison["plan"]["pinning"], Value::Null, "{comparison:#}");
}

#[test]
fn a_comparison_that_may_have_no_file_in_memory_counts_no_system_calls_and_says_so() {
    let ended = without(&[SYS_memfd_create], libc::EPERM, || Program::start(ARGS)).end();
    let comparison = goes_on_without(&ended, "system calls are not counted");
    let figures = figures(row(&comparison, "single", "poll", false));
    assert_eq!(figures["syscalls_per_request"], Value::Null, "{figures:#}");
    assert!(figures["cpu_us_per_request"]["median"].is_number(), "{figures:#}");
}

/// The program with an empty folder in place of /proc; `None` where only root may have that, and we are not root.
fn without_proc(line: &str) -> Option<Program> {
    if !is_root() {
        eprintln!("skipped: only root can hide /proc");
        return None;
    }
    let program = io_models(line);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", r#"mount -t tmpfs none /proc && exec "$0" "$@""#]);
    command.arg(program.get_program()).args(program.get_args());
    Some(Program::spawn(command))
}

#[test]
fn without_proc_rates_and_latencies_are_measured_and_cpu_and_memory_are_not_known() {
    let Some(program) = without_proc(ARGS) else { return };
    let comparison = goes_on_without(&program.end(), "the CPU time of servers is not measured");
    let figures = figures(row(&comparison, "single", "poll", false));
    let unknown = [
        "user_share",
        "voluntary_switches_per_request",
        "memory_per_connection",
        "cpu_us_per_request",
        "cpu",
    ];
    for unknown in unknown {
        assert_eq!(figures[unknown], Value::Null, "{unknown}: {figures:#}");
    }
    for unknown in ["listening", "connected", "after", "kernel"] {
        assert_eq!(figures["memory"][unknown], Value::Null, "{unknown}: {figures:#}");
    }
    assert!(
        figures["requests_per_s"]["median"].is_number() && figures["syscalls_per_request"].is_object(),
        "{figures:#}"
    );
    assert_eq!(group(&comparison, "single")["machine"]["foreign_cpus"], Value::Null, "{comparison:#}");
    for unknown in ["memory_bytes", "cpu_model", "cpu_quota"] {
        assert_eq!(comparison["environment"][unknown], Value::Null, "{unknown}: {comparison:#}");
    }
}

#[test]
fn without_proc_the_load_is_measured_and_standard_output_still_has_its_name() {
    let server = crate::load::servers::Server::echo();
    let line = format!("load {} -c 2 -d 100ms --warmup 10ms --quiet --json -o /dev/stdout", server.addr);
    let Some(program) = without_proc(&line) else { return };
    assert!(program.end().exits(0).json()["answered"].as_u64() > Some(0));
}

#[test]
fn without_proc_a_fact_is_still_checked() {
    let Some(program) = without_proc("facts fd-accept-emfile-keeps-connection") else { return };
    program.end().exits(0);
}
