//! A server with an answer of your own: a listener from `initserver`, any model, and a function.
//!
//! `cargo run --example own_answer --no-default-features`
//!
//! A stream has no messages: the function gets what one recv(2) found, which may be a part of what the client sent, or several
//! of its messages. Here that does not matter, because every byte is answered by itself.

use io_models::echo::Reply;
use io_models::initserver::initserver;
use io_models::model::epoll_level;
use io_models::serve::Job;
use io_models::stop;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

/// What the server answers: the letters that came, as capitals.
fn shout(heard: &[u8], answer: &mut Vec<u8>) {
    answer.extend(heard.iter().map(u8::to_ascii_uppercase));
}

fn main() -> Result<(), Box<dyn Error>> {
    // Port 0: the kernel chooses a free one.
    let listener = initserver("127.0.0.1:0".parse()?)?;
    let addr = listener.addr();
    // The server ends when this is told to stop. A program would call `stop_on_signals` for Ctrl-C.
    let (stopper, stop) = stop::pair()?;
    let server = thread::spawn(move || epoll_level::serve(Job::new(listener, &stop, Reply::Own(shout))));

    let mut client = TcpStream::connect(addr)?;
    client.write_all(b"hello")?;
    let mut answer = [0; 5];
    client.read_exact(&mut answer)?;
    assert_eq!(&answer, b"HELLO");
    drop(client);

    stopper.stop()?;
    let totals = server.join().expect("the server did not panic")?;
    println!("{} client, {} bytes in, {} bytes out", totals.connections, totals.bytes_in, totals.bytes_out);
    Ok(())
}
