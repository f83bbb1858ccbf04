//! An echo server that sends each byte alone, without SIGPIPE.

use io_models::initserver::initserver;
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    let mut buffer = [0; 1024];
    loop {
        let Accepted::Client(client, _) = accept(&listener, Mode::Blocking)? else { continue };
        while let Ok(Received::Bytes(n)) = recv(&client, &mut buffer) {
            for byte in buffer[..n].chunks(1) {
                if send(&client, byte).is_err() {
                    break; // With MSG_NOSIGNAL it is EPIPE: this client has left.
                }
            }
        }
    }
}
