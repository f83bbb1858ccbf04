//! An echo server that closes first, and listens without SO_REUSEADDR.

use io_models::sys::socket::{self, Accepted, Mode, Received, accept, recv, send};

pub fn serve(port: u16) -> io_models::Result<()> {
    let addr = ([127, 0, 0, 1], port).into();
    let listener = socket::tcp(&addr, Mode::Blocking)?;
    socket::bind(&listener, &addr)?;
    socket::listen(&listener, 128)?;
    let mut buffer = [0; 1024];
    loop {
        let Accepted::Client(client, _) = accept(&listener, Mode::Blocking)? else { continue };
        if let Ok(Received::Bytes(n)) = recv(&client, &mut buffer) {
            send(&client, &buffer[..n]).ok();
        }
        // Here the socket is closed: the client has not closed its own.
    }
}
