//! The facts on a host whose administrator has set it up otherwise: nothing differs that does not, and what cannot be
//! looked at there says so.

use crate::support::is_root;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

/// Longer than all facts take one after another on a busy machine.
const ALL_FACTS: Duration = Duration::from_secs(240);

/// What one run has in common: sysctls below net, and limits as prlimit(1) takes them. None hides another.
type Setting = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const SETTINGS: &[Setting] = &[
    (
        &[
            ("ipv4/tcp_notsent_lowat", "1"),
            ("ipv4/tcp_migrate_req", "1"),
            ("ipv4/tcp_fin_timeout", "1"),
            ("unix/max_dgram_qlen", "1"),
        ],
        &[],
    ),
    (
        &[
            ("ipv4/tcp_syncookies", "2"),
            ("ipv4/tcp_tw_reuse", "1"),
            ("ipv4/tcp_syn_retries", "1"),
            ("ipv4/tcp_sack", "0"),
            ("unix/max_dgram_qlen", "512"),
        ],
        &[],
    ),
    (
        &[
            ("ipv4/tcp_abort_on_overflow", "1"),
            ("ipv4/tcp_tw_reuse", "0"),
            ("ipv4/tcp_timestamps", "0"),
            ("ipv4/tcp_syncookies", "0"),
        ],
        &[],
    ),
    (&[("ipv4/tcp_rmem", "4096 4096 4096"), ("ipv4/tcp_wmem", "4096 4096 4096")], &[]),
    (&[("ipv4/tcp_rmem", "4096 33554432 33554432"), ("ipv4/tcp_wmem", "4096 33554432 33554432")], &[]),
    (
        &[
            ("ipv4/tcp_congestion_control", "reno"),
            ("ipv4/tcp_window_scaling", "0"),
            ("ipv4/tcp_fastopen", "0"),
            ("ipv4/tcp_autocorking", "0"),
            ("ipv4/tcp_slow_start_after_idle", "0"),
        ],
        &[],
    ),
    (
        &[
            ("ipv4/tcp_congestion_control", "cubic"),
            ("ipv4/tcp_fastopen", "3"),
            ("ipv4/tcp_low_latency", "1"),
            ("ipv4/tcp_moderate_rcvbuf", "0"),
            ("core/somaxconn", "65535"),
        ],
        &[],
    ),
    (
        &[
            ("ipv4/ip_local_port_range", "40000 40060"),
            ("ipv4/ip_unprivileged_port_start", "0"),
            ("ipv4/tcp_synack_retries", "1"),
        ],
        &[],
    ),
    (&[("core/somaxconn", "1")], &["--core=0"]),
    (&[("ipv4/tcp_max_syn_backlog", "1")], &["--nofile=64"]),
    (&[], &["--nofile=256", "--nproc=64"]),
    (&[], &["--nofile=1024", "--sigpending=0", "--memlock=0"]),
    (&[], &["--fsize=0"]),
];

#[test]
#[ignore = "needs root, for a network namespace with settings of its own, ip(8) and prlimit(1)"]
fn under_unusual_settings() {
    assert!(is_root(), "only root can set what a network namespace of its own has");
    let usual: HashSet<String> = facts(&(&[], &[])).iter().filter(|fact| holds(fact)).map(id).collect();
    let mut faults = Vec::new();
    for setting in SETTINGS {
        for fact in facts(setting).iter().filter(|fact| !holds(fact) && usual.contains(&id(fact))) {
            let steps = fact["observed"].as_array().expect("what does not hold tells its steps");
            let known = |step: &&Value| step["why"] == "setting" || step["why"] == "limits";
            let others: Vec<_> = steps.iter().filter(|step| !known(step)).map(Value::to_string).collect();
            if !others.is_empty() {
                faults.push(format!("{setting:?}: {}: {}", id(fact), others.join("; ")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn id(fact: &Value) -> String {
    fact["id"].as_str().expect("a fact has an id").to_owned()
}

fn holds(fact: &Value) -> bool {
    fact["outcome"] == "holds"
}

/// What became of each fact under that setting.
fn facts((sysctls, limits): &Setting) -> Vec<Value> {
    // The namespace of a thread, and of what it starts.
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may have a network of its own");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|up| up.success()), "ip link set lo up");
        for (name, value) in *sysctls {
            // Not every kernel has each.
            if let Err(why) = std::fs::write(format!("/proc/sys/net/{name}"), value) {
                println!("net/{name} cannot be {value} here: {why}");
            }
        }
        let mut command = assert_cmd::Command::new("prlimit");
        command.args(*limits).arg(env!("CARGO_BIN_EXE_io-models")).args(["facts", "--quiet", "--json"]);
        let output = command.timeout(ALL_FACTS).output().expect("the facts are run within their time");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let document: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {said}"));
        document["facts"].as_array().expect("the document has facts").clone()
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("the facts are run"))
}
