//! The course's `demo7`: the client again, over the class [`TcpClient`]. Ten requests, one a second.

use clap::Parser;
use io_models::course::{self, perror, say};
use io_models::tcp::TcpClient;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "Using:./demo7-client 服务端的IP 服务端的端口\n\
                     Example:./demo7-client 192.168.101.138 5005\n\n";

/// Ten requests to a server that answers each, one a second
#[derive(Debug, Parser)]
struct Args {
    /// Name or address of the server
    host: String,
    /// Its port
    #[arg(value_parser = course::port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments(USAGE);
    let mut client = TcpClient::new();
    if let Err(error) = client.connect(&args.host, args.port) {
        return perror("connect()", &error);
    }
    let mut buffer = [0; course::PIECE];
    for i in 1..=10 {
        let request = format!("这是第{i}个超级女生，编号{i}。");
        if let Err(error) = client.send(request.as_bytes()) {
            return perror("send", &error);
        }
        say(format!("发送：{request}"));
        match client.recv(&mut buffer) {
            Ok(0) => return course::ended("recv()"),
            Ok(n) => say(["接收：".as_bytes(), &buffer[..n]].concat()),
            Err(error) => return perror("recv()", &error),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    ExitCode::SUCCESS
}
