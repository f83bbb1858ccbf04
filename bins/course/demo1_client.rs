//! The course's `demo1`, both versions: a blocking client, call by call. Three requests, one a second.
//!
//! `--pause-before-talk 100` is the `sleep(100)` of the second version, in which one looks at the
//! connection with `ss -tan` before and after the programs end.

use clap::Parser;
use io_models::course::{self, perror, say};
use io_models::sys::socket::{self, Mode};
use io_models::tcp::{recv_some, resolve, send_all};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "Using:./demo1-client 服务端的IP 服务端的端口\n\
                     Example:./demo1-client 192.168.101.139 5005\n\n";

/// Three requests to a server that answers each, one a second
#[derive(Debug, Parser)]
struct Args {
    /// Name or address of the server
    host: String,
    /// Its port
    #[arg(value_parser = course::port)]
    port: u16,
    /// How long to be connected before the first request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pause_before_talk: u64,
}

fn main() -> ExitCode {
    let args: Args = course::arguments(USAGE);

    // 1. A socket; and where the server is, of which the course takes the first address.
    let addr = match resolve(&args.host, args.port) {
        Ok(addrs) => addrs[0],
        Err(error) => {
            say("gethostbyname failed.\n");
            return perror("gethostbyname", &error);
        }
    };
    let sockfd = match socket::tcp(&addr, Mode::Blocking) {
        Ok(sockfd) => sockfd,
        Err(error) => return perror("socket", &error),
    };

    // 2. A connection.
    if let Err(error) = socket::connect(&sockfd, &addr) {
        return perror("connect", &error);
    }
    std::thread::sleep(Duration::from_secs(args.pause_before_talk));

    // 3. Requests, each followed by its answer.
    let mut buffer = [0; course::PIECE];
    for i in 1..=3 {
        let request = format!("这是第{i}个超级女生，编号{i:03}。");
        if let Err(error) = send_all(&sockfd, request.as_bytes()) {
            return perror("send", &error);
        }
        say(format!("发送：{request}"));
        match recv_some(&sockfd, &mut buffer) {
            Ok(0) => {
                say("iret=0");
                return course::FAILED.into();
            }
            Ok(n) => say(["接收：".as_bytes(), &buffer[..n]].concat()),
            Err(error) => {
                say("iret=-1");
                return perror("recv", &error);
            }
        }
        std::thread::sleep(Duration::from_secs(1));
    }

    // 4. The end: dropping the socket closes it.
    ExitCode::SUCCESS
}
