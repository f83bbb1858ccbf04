//! Arguments that are of no use: exit code 255, and the usage or one line about what is wrong.

use super::program::{Ended, PATHS};
use super::{CLIENTS, arguments, assert_one_line, program};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The usage of each program, as the originals print it.
const USAGES: &[(&str, &str)] = &[
    (
        "demo1-client",
        "\
Using:./demo1-client 服务端的IP 服务端的端口
Example:./demo1-client 192.168.101.139 5005

",
    ),
    (
        "demo2-server",
        "\
Using:./demo2-server 通讯端口
Example:./demo2-server 5005

注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。
      如果是云服务器，还要开通云平台的访问策略。

",
    ),
    (
        "demo7-client",
        "\
Using:./demo7-client 服务端的IP 服务端的端口
Example:./demo7-client 192.168.101.138 5005

",
    ),
    (
        "demo8-server",
        "\
Using:./demo8-server 通讯端口
Example:./demo8-server 5005

注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。
      如果是云服务器，还要开通云平台的访问策略。

",
    ),
    (
        "demo10-fork-server",
        "\
Using:./demo10-fork-server 通讯端口
Example:./demo10-fork-server 5005

注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。
      如果是云服务器，还要开通云平台的访问策略。

",
    ),
    (
        "demo11-send-file",
        "\
Using:./demo11-send-file 服务端的IP 服务端的端口 文件名 [文件大小]
Example:./demo11-send-file 192.168.101.138 5005 aaa.txt 2424

",
    ),
    (
        "demo12-receive-file",
        "\
Using:./demo12-receive-file 通讯端口 文件存放的目录
Example:./demo12-receive-file 5005 /tmp

注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。
      如果是云服务器，还要开通云平台的访问策略。

",
    ),
    ("course-client", "usage:./course-client ip port\n"),
    ("client1-connect", "usage:./client1-connect ip port\n"),
    ("tcpselect", "usage: ./tcpselect port\n"),
    ("tcppoll", "usage: ./tcppoll port\n"),
    ("tcpepoll", "usage: ./tcpepoll port\n"),
    ("tcpepoll1-accept", "usage: ./tcpepoll1-accept port\n"),
    ("tcpepoll2-edge", "usage: ./tcpepoll2-edge port\n"),
];

/// Enough arguments, with this port.
fn with_port(name: &str, port: &str) -> Vec<String> {
    arguments(name, "127.0.0.1", port)
}

#[track_caller]
fn run(name: &str, args: &[impl AsRef<str>]) -> Ended {
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    program(name).args(&args).start().finish()
}

#[test]
fn there_is_a_usage_of_every_program() {
    let mut names: Vec<_> = USAGES.iter().map(|(name, _)| *name).collect();
    let mut all: Vec<_> = PATHS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    all.sort_unstable();
    assert_eq!(names, all);
}

#[test]
fn without_arguments_there_is_the_usage_and_no_more() {
    for (name, usage) in USAGES {
        program(name).start().ends(255, usage, "");
    }
}

#[test]
fn a_client_without_a_port_gets_the_usage() {
    for (name, usage) in USAGES.iter().filter(|(name, _)| CLIENTS.contains(name)) {
        program(name).args(&["127.0.0.1"]).start().ends(255, usage, "");
    }
}

#[test]
fn an_argument_too_many_is_named_below_the_usage() {
    for (name, usage) in USAGES {
        // demo11 takes a number behind its file.
        let more = if *name == "demo11-send-file" { vec!["1", "superfluous"] } else { vec!["superfluous"] };
        let args = [with_port(name, "5005"), more.into_iter().map(str::to_owned).collect()].concat();
        let ended = run(name, &args);
        assert_eq!(ended.said, *usage);
        assert_one_line(name, &ended, &["superfluous"]);
    }
}

#[test]
fn an_unknown_option_is_named_below_the_usage() {
    for (name, usage) in USAGES {
        let args = [with_port(name, "5005"), vec!["--colour-of-bytes".to_owned()]].concat();
        let ended = run(name, &args);
        assert_eq!(ended.said, *usage);
        assert_one_line(name, &ended, &["--colour-of-bytes"]);
    }
}

/// `atoi` makes 0 of what is no number, and 464 of 66000.
#[test]
fn a_port_that_is_none_is_named_with_the_rule() {
    for (name, _) in USAGES {
        for bad in ["http", "65536", "5005x", ""] {
            let ended = run(name, &with_port(name, bad));
            assert_eq!(ended.said, "", "{name} {bad:?}");
            assert_one_line(name, &ended, &[&format!("'{bad}'"), "a port is a whole number, at most 65535"]);
        }
    }
}

#[test]
fn a_port_that_is_no_text_is_one_line() {
    for (name, _) in USAGES {
        let host = CLIENTS.contains(name).then_some("127.0.0.1");
        let starter = program(name).args(host.as_slice());
        let starter = starter.arg(OsString::from_vec(b"50\xff05".to_vec()));
        // What may have to stand behind a port is not looked at any more.
        let ended = starter.args(if name.ends_with("-file") { &["."] } else { &[] }).start().finish();
        assert_eq!(ended.said, "", "{name}");
        assert_one_line(name, &ended, &["UTF-8"]);
    }
}

#[test]
fn clients_cannot_go_to_port_0() {
    for name in CLIENTS {
        let ended = run(name, &with_port(name, "0"));
        assert_eq!(ended.said, "", "{name}");
        assert_one_line(name, &ended, &["'0'", "nobody listens on port 0; ports are 1 to 65535"]);
    }
}

#[test]
fn a_wrong_value_of_an_option_is_named_with_what_would_be_right() {
    for (name, option, bad, right) in [
        ("demo1-client", "--pause-before-talk", "soon", "invalid digit"),
        ("tcpselect", "--timeout", "0", "1..=86400"),
        ("tcpselect", "--timeout", "86401", "1..=86400"),
        ("tcpepoll2-edge", "--mode", "drip", ""),
        ("tcpepoll2-edge", "--trigger", "both", ""),
        ("tcpepoll2-edge", "--sends", "-1", ""),
    ] {
        let option = format!("{option}={bad}");
        let ended = run(name, &[with_port(name, "5005"), vec![option]].concat());
        assert_eq!(ended.said, "", "{name} {bad:?}");
        assert_one_line(name, &ended, &[bad, right]);
    }
}

#[test]
fn help_is_a_result() {
    for (name, _) in USAGES {
        let ended = run(name, &["--help"]);
        assert_eq!((ended.code, ended.complaints.as_str()), (Some(0), ""), "{name}");
        assert!(ended.said.contains(&format!("Usage: {name}")), "{name}: {}", ended.said);
    }
}
