//! The course's `demo12`: receive files, a process for each sender.

use clap::Parser;
use io_models::course::{self, Parent, perror, perror_of, tell};
use io_models::echo::Conn;
use io_models::initserver::initserver;
use io_models::model::forking;
use io_models::transfer::{self, Error, Incoming, Place};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "Using:./demo12-receive-file 通讯端口 文件存放的目录\n\
                     Example:./demo12-receive-file 5005 /tmp\n\n\
                     注意：运行服务端程序的Linux系统的防火墙必须要开通5005端口。\n\
                     \x20     如果是云服务器，还要开通云平台的访问策略。\n\n";

/// Receive files from demo11-send-file, each in a process of its own
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen, on all addresses
    #[arg(value_parser = course::listening_port)]
    port: u16,
    /// Where the files go
    #[arg(allow_hyphen_values = true)]
    dir: PathBuf,
    /// Write over an old file of the same name instead of beside it. This is faster where new memory pages are slow to
    /// get, but a transfer that fails removes the old file, and a kill leaves it half-written. A file that has other hard
    /// links is refused
    #[arg(long)]
    in_place: bool,
}

fn main() -> ExitCode {
    let args: Args = course::arguments(USAGE);
    let stop = match course::stop_on_signals() {
        Ok(stop) => stop,
        Err(error) => return perror("pipe", &error),
    };
    let listener = match initserver((Ipv4Addr::UNSPECIFIED, args.port).into()) {
        Ok(listener) => listener,
        Err(error) => return perror("initserver()", &error),
    };
    course::tell_chosen_port(args.port, listener.addr());
    let served = forking::for_each_client(listener, stop, Parent::new(), |conn, peer| {
        tell(format!("客户端已连接({})。", peer.ip()));
        receive(&args, &conn);
        conn.close();
    });
    match served {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => perror("accept()", &error),
    }
}

/// What a child does: receive one file, or tell both sides why not.
fn receive(args: &Args, conn: &Conn) {
    // 1. Name and size.
    let header = match transfer::receive_header(conn) {
        Ok(header) => header,
        Err(_) if course::child_ends() => return fail(conn, "recv()", &Error::Stopped, 0),
        Err(error) => return fail(conn, "recv()", &error, 0),
    };
    let size = format!("({})。", header.size());
    tell(["文件信息结构体".as_bytes(), &header.printable_name(), size.as_bytes()].concat());

    let place = if args.in_place { Place::InPlace } else { Place::Beside };
    let mut incoming = match Incoming::create(&args.dir, &header, place) {
        Ok(incoming) => incoming,
        Err(error) => {
            let dir = args.dir.as_os_str().as_bytes();
            tell(["打开文件".as_bytes(), dir, b"/", &header.printable_name(), "失败。".as_bytes()].concat());
            tell("接收文件内容失败。");
            return fail(conn, "open", &error, 0);
        }
    };

    // 2. We want it. 3. The content.
    let received = transfer::say_ok(conn).and_then(|()| incoming.receive(conn));
    if let Err(error) = received {
        let left = incoming.left();
        drop(incoming);
        // A stop shuts the socket for reading, which looks like the end of the stream.
        if course::child_ends() {
            return fail(conn, "recvfile()", &Error::Stopped, left);
        }
        tell("接收文件内容失败。");
        return fail(conn, "recvfile()", &error, left);
    }
    // A file in place is locked. The sender may send the same name again as soon as it has our ok.
    drop(incoming);
    tell("接收文件内容成功。");

    // 4. We have it.
    if let Err(error) = transfer::say_ok(conn) {
        perror_of("send", &error);
    }
}

fn fail(conn: &Conn, what: &str, error: &Error, left: u64) {
    perror_of(what, error);
    transfer::refuse(conn, error, left);
}
