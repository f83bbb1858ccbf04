//! The course's `client` and `client2`, which are the same: words from standard input to a server, and
//! its answers.
//!
//! The partner of the multiplexed servers. A word is at most 1023 bytes, which is what fits the
//! original's buffer; of a longer one the rest is the next word.

use clap::Parser;
use io_models::course::{self, perror, say};
use io_models::sys::stdio::Stream;
use io_models::tcp::TcpClient;
use std::io::{self, BufRead, BufReader};
use std::process::ExitCode;

/// The most of one word, and the original's number of rounds.
const WORD: usize = course::PIECE - 1;
const ROUNDS: u32 = 200_000;

/// Send words from standard input to a server and print its answers
#[derive(Debug, Parser)]
struct Args {
    /// Name or address of the server
    host: String,
    /// Its port
    #[arg(value_parser = course::port)]
    port: u16,
}

fn main() -> ExitCode {
    let args: Args = course::arguments("usage:./course-client ip port\n");
    let mut client = TcpClient::new();
    if let Err(error) = client.connect(&args.host, args.port) {
        say(format!("connect({}:{}) failed.", args.host, args.port));
        return perror("connect", &error);
    }
    say("connect ok.");

    let mut input = BufReader::new(Stream(io::stdin()));
    let mut buffer = [0; course::PIECE];
    for _ in 0..ROUNDS {
        course::write(b"please input:");
        let word = match word(&mut input) {
            Ok(word) => word,
            Err(why) => {
                say("write() failed.");
                course::complain(&format!("standard input: {why}"));
                return course::FAILED.into();
            }
        };
        // At the end of the input there is no word. The original sends these 0 bytes, and takes the 0 that
        // send(2) returns for a failure: that is how it ends.
        if word.is_empty() {
            say("write() failed.");
            return course::FAILED.into();
        }
        if let Err(error) = client.send(&word) {
            say("write() failed.");
            return perror("write", &error);
        }
        match client.recv(&mut buffer) {
            Ok(0) => {
                say("read() failed.");
                course::complain("read: the server has closed the connection");
                return course::FAILED.into();
            }
            Ok(n) => say([b"recv:", &buffer[..n]].concat()),
            Err(error) => {
                say("read() failed.");
                return perror("read", &error);
            }
        }
    }
    ExitCode::SUCCESS
}

/// The next word: `scanf("%1023s")`. Empty at the end of the input.
fn word(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut word = Vec::new();
    loop {
        let ready = match input.fill_buf() {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            ready => ready?,
        };
        let Some(&byte) = ready.first() else { return Ok(word) };
        let is_space = byte.is_ascii_whitespace() || byte == b'\x0b';
        if is_space && !word.is_empty() || word.len() == WORD {
            return Ok(word);
        }
        if !is_space {
            word.push(byte);
        }
        input.consume(1);
    }
}
