//! `io-models serve`.

use super::{fails, io_models, one_line};
use crate::support::{
    DEADLINE, Server, all_models_at_once, ask, connect, copy_for_everybody, each_model, end_writing, is_idle,
    is_root, leaves_it_to_a_ring, models_at_once, read_to_end, wait_until, without,
};
use io_models::model::{ALL, Clients, Waits, find};
use io_models::sys::signal::Signal;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;

#[test]
fn an_unknown_model_gets_the_nearest_names() {
    let complaint = fails(&["serve", "epol-edge"], 2);
    assert!(complaint.contains("nearest: epoll-edge, epoll-"), "{complaint}");
    for model in ALL {
        assert!(complaint.contains(model.name), "{} is not among all: {complaint}", model.name);
    }
}

#[test]
fn an_unknown_option_is_bad_usage() {
    assert!(fails(&["serve", "poll", "--colour-of-bytes"], 2).contains("--colour-of-bytes"));
    assert!(fails(&["serve", "poll", "--reply", "maybe"], 2).contains("maybe"));
    assert!(fails(&["serve"], 2).contains("MODEL"));
}

#[test]
fn a_number_of_workers_that_makes_no_sense_is_bad_usage() {
    assert!(fails(&["serve", "prefork", "--workers", "0"], 2).contains("--workers"));
    assert!(fails(&["serve", "prefork", "--workers", "20000"], 2).contains("at most 10,000"));
    let complaint = fails(&["serve", "poll", "--workers", "3"], 2);
    assert!(complaint.contains("poll has no workers") && complaint.contains("prefork"), "{complaint}");
}

#[test]
fn a_limit_on_clients_that_lets_nobody_in_is_bad_usage() {
    assert!(fails(&["serve", "poll", "--max-clients", "0"], 2).contains("--max-clients"));
}

#[test]
fn to_spin_is_for_models_that_wait_in_epoll_or_a_ring() {
    let complaint = fails(&["serve", "poll", "--spin", "100"], 2);
    assert!(complaint.contains("poll has no wait that could spin"), "{complaint}");
    assert!(complaint.contains("epoll-level") && !complaint.contains("select"), "{complaint}");
    assert!(fails(&["serve", "epoll-level", "--spin", "5000000000"], 2).contains("at most"));
}

#[test]
fn a_model_that_spins_answers_and_still_sleeps_when_there_is_nothing_to_do() {
    models_at_once(
        |model| model.can_spin,
        |model| {
            let server = Server::of(model).arg("--spin").arg("200").start();
            let client = connect(server.addr());
            (0..3).for_each(|i| ask(&client, format!("request {i}").as_bytes()));
            let process = server.process();
            wait_until("the server sleeps", || is_idle(&process));
            ask(&client, b"after that");
            assert_eq!(server.stop().number("connections"), 1);
        },
    );
}

#[test]
fn without_io_uring_its_models_say_why_and_the_others_work() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EINVAL] {
        without(&[libc::SYS_io_uring_setup], errno, || {
            for model in ALL {
                if model.name.starts_with("uring") {
                    let complaint = fails(&["serve", model.name], 1);
                    let why = format!("{} cannot run here: ", model.name);
                    assert!(complaint.contains(&why) && complaint.contains("io_uring"), "{complaint}");
                }
            }
            let server = Server::start(find("epoll-level").expect("the model is in the table"));
            ask(&connect(server.addr()), b"hello");
        });
    }
}

#[test]
fn a_bad_address_is_bad_usage_and_says_how_to_write_one() {
    for bad in ["localhost", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:65536", "[::1:0", ""] {
        let complaint = fails(&["serve", "poll", "--listen", bad], 2);
        assert!(complaint.contains("127.0.0.1:5005"), "{bad:?}: {complaint}");
    }
}

#[test]
fn a_port_in_use_is_named_with_a_remedy() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = holder.local_addr().expect("its address");
    let complaint = fails(&["serve", "poll", "--listen", &addr.to_string()], 1);
    assert!(complaint.contains(&format!("port {} is in use", addr.port())), "{complaint}");
    assert!(complaint.contains("choose another, or 0 for a free one"), "{complaint}");
}

#[test]
fn an_address_of_another_machine_is_named_with_a_remedy() {
    // TEST-NET-1 of RFC 5737: nobody's address.
    let complaint = fails(&["serve", "poll", "--listen", "192.0.2.1:0"], 1);
    assert!(complaint.contains("192.0.2.1 is not an address of this machine"), "{complaint}");
}

#[test]
fn a_privileged_port_is_named_with_a_remedy() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first: u16 = first.ok().and_then(|port| port.trim().parse().ok()).unwrap_or(1024);
    if first <= 1 {
        // As in Docker: then everybody may listen there.
        let model = io_models::model::find("poll").expect("a model that the tests rely on");
        let server = crate::support::Server::of(model).arg("--listen").arg("127.0.0.1:1").start();
        assert_eq!(server.addr().port(), 1);
        return;
    }
    let (_folder, program) = copy_for_everybody();
    let mut command = std::process::Command::new(program);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    command.args(["serve", "poll", "--listen", "127.0.0.1:1"]);
    let complaint = one_line(&mut assert_cmd::Command::from_std(command), 1);
    assert!(complaint.contains("port 1 is privileged"), "{complaint}");
    assert!(complaint.contains("CAP_NET_BIND_SERVICE"), "{complaint}");
}

#[test]
fn a_full_disk_is_a_failure_not_a_panic() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_io-models"));
    let output = command.args(["serve", "poll"]).stdout(full).output().expect("the program starts");
    let complaint = String::from_utf8(output.stderr).expect("standard error is text");
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains("cannot write to standard output"), "{complaint}");
}

#[test]
fn listening_on_is_the_first_line_and_comes_at_once_into_a_pipe() {
    // `Server::start` reads that line from a pipe before the first client is there.
    each_model(|model| {
        let server = Server::start(model);
        assert!(server.addr().ip().is_loopback(), "nobody outside, unless told to");
        assert_ne!(server.addr().port(), 0);
        server.stop();
    });
}

#[test]
fn json_is_one_document_with_a_schema() {
    all_models_at_once(|model| {
        let server = Server::start(model);
        let client = connect(server.addr());
        ask(&client, b"hello");
        end_writing(&client);
        read_to_end(&client);
        let report = server.stop();
        assert_eq!(report.text("schema"), "io-models/serve");
        assert_eq!(report.number("schema_version"), 1);
        assert!(report.number("peak_rss_bytes") > 0);
        let calls = report.calls();
        // Who is not told what there is to read asks more often.
        let more = model.waits == Waits::Spins || model.name == "sigio";
        if leaves_it_to_a_ring(model.name) {
            assert!(calls["io_uring_enter"] > 0, "{calls:?}");
            assert!(!calls.contains_key("recvfrom") && !calls.contains_key("sendto"), "{calls:?}");
            return;
        }
        assert!(calls["recvfrom"] == 2 || more, "the request and the end: {calls:?}");
        assert_eq!(calls["sendto"], 1, "{calls:?}");
    });
}

#[test]
fn help_lists_the_models_and_how_many_clients_they_take() {
    let output = io_models().args(["serve", "--help"]).assert().code(0).get_output().clone();
    let help = String::from_utf8(output.stdout).expect("help is text");
    for model in ALL {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{} ", model.name)));
        let line = line.unwrap_or_else(|| panic!("{} is not in the help", model.name));
        match model.clients {
            Clients::One => assert!(line.contains("1 client"), "{line}"),
            Clients::UpTo { most, .. } => assert!(help.contains(&most.to_string()), "{most}: {line}"),
            _ => {}
        }
    }
}

#[test]
fn the_report_for_people_says_the_same() {
    let model = io_models::model::find("epoll-level").expect("a model that the tests rely on");
    let server = Server::of(model).for_people().start();
    ask(&connect(server.addr()), b"hello");
    server.signal(Signal::SIGTERM);
    let report = server.finish_text(DEADLINE);
    let line = |name: &str| {
        let found = report.lines().find(|line| line.trim_start().starts_with(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {report}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(report.starts_with("epoll-level: stopped after "), "{report}");
    assert_eq!(line("connections"), "connections 1");
    assert_eq!(line("bytes"), "bytes 5 in, 5 out");
    assert_eq!(line("accept4"), "accept4 2", "a client, and that there is no other");
    assert!(!report.contains("full"), "the door was never shut: {report}");
}
