//! The course's `demo8`: the server for one client again, over the class [`TcpServer`], which knows
//! where its client is.

use clap::Parser;
use io_models::course::{self, perror, say};
use io_models::tcp::TcpServer;
use std::process::ExitCode;

const USAGE: &str = "Using:./demo8-server 通讯端口\nExample:./demo8-server 5005\n\n\
                     注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。\n\
                     \x20     如果是云服务器，还要开通云平台的访问策略。\n\n";

/// A server that answers `ok` to one client, shows its address, and ends with it
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments(USAGE);
    let mut server = TcpServer::new();
    match server.initserver(args.port) {
        Ok(addr) => course::tell_chosen_port(args.port, addr),
        Err(error) => return perror("initserver()", &error),
    }
    if let Err(error) = server.accept() {
        return perror("accept()", &error);
    }
    if let Some(peer) = server.client_addr() {
        say(format!("客户端已连接({})。", peer.ip()));
    }
    let mut buffer = [0; course::PIECE];
    loop {
        match server.recv(&mut buffer) {
            Ok(0) => {
                course::ended("recv()");
                return ExitCode::SUCCESS;
            }
            Ok(n) => say(["接收：".as_bytes(), &buffer[..n]].concat()),
            Err(error) => return perror("recv()", &error),
        }
        if let Err(error) = server.send(b"ok") {
            return perror("send", &error);
        }
        say("发送：ok");
    }
}
