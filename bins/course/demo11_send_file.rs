//! The course's `demo11`: send a file to `demo12-receive-file`.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use io_models::course::{self, perror_of, say};
use io_models::transfer::{self, Error, Outgoing};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "Using:./demo11-send-file 服务端的IP 服务端的端口 文件名 [文件大小]\n\
                     Example:./demo11-send-file 192.168.101.138 5005 aaa.txt 2424\n\n";

/// Send a file to demo12-receive-file
#[derive(Debug, Parser)]
struct Args {
    /// Name or address of the receiver
    host: String,
    /// Its port
    #[arg(value_parser = course::port)]
    port: u16,
    /// The file, which is sent under the last component of its name
    #[arg(allow_hyphen_values = true)]
    file: PathBuf,
    /// How many of its bytes to send: all, if not given
    size: Option<u64>,
}

fn main() -> ExitCode {
    let args: Args = course::arguments(USAGE);
    match send(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err((what, error)) => perror_of(what, &error),
    }
}

/// The four steps of a transfer; or which of them failed, and why.
fn send(args: &Args) -> Result<(), (&'static str, Error)> {
    let step = |what| move |error| (what, error);
    let file = Outgoing::open(&args.file, args.size).map_err(|error| {
        if let Error::File { .. } | Error::NotAFile(_) | Error::NoSize(_) = error {
            say(format!("打开文件{}失败。", args.file.display()));
        }
        ("open", error)
    })?;
    let header = file.header();
    let socket = transfer::connect(&args.host, args.port).map_err(step("connect()"))?;

    // 1. Name and size.
    file.announce(&socket).map_err(step("send"))?;
    let size = format!("({})。", header.size());
    say(["发送文件信息的结构体".as_bytes(), header.name().as_bytes(), size.as_bytes()].concat());

    // 2. The receiver wants it.
    transfer::expect_ok(&socket).map_err(refusal("服务端没有回复ok。", "recv()"))?;

    // 3. The content. The bar is drawn on a terminal only.
    let style = "{bytes}/{total_bytes} {bar:40} {bytes_per_sec} {eta}";
    let bar = ProgressBar::new(header.size());
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    let sent = file.send(&socket, |sent| bar.set_position(sent));
    bar.finish_and_clear();
    sent.map_err(refusal("发送文件内容失败。", "sendfile()"))?;

    // 4. The receiver has it.
    transfer::expect_ok(&socket).map_err(refusal("发送文件内容失败。", "recv()"))?;
    say("发送文件内容成功。");
    Ok(())
}

/// What failed; and if it was the receiver who refused, the `words` that the original has for that.
fn refusal(words: &str, what: &'static str) -> impl FnOnce(Error) -> (&'static str, Error) {
    move |error| {
        if let Error::Refused(_) = error {
            say(words);
        }
        (what, error)
    }
}
