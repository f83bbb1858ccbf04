//! An echo server that sends each byte alone, and that SIGPIPE may kill.

use io_models::initserver::initserver;
use io_models::sys::signal::{self, Signal};
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv};
use io_models::sys::stdio::write_all;

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    signal::default(Signal::SIGPIPE)?; // As in C. The standard library of Rust ignores it.
    let mut buffer = [0; 1024];
    loop {
        let Accepted::Client(client, _) = accept(&listener, Mode::Blocking)? else { continue };
        while let Ok(Received::Bytes(n)) = recv(&client, &mut buffer) {
            for byte in buffer[..n].chunks(1) {
                write_all(&client, byte)?; // write(2)
            }
        }
    }
}
