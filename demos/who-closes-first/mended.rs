//! An echo server that lets the client close first, and listens with SO_REUSEADDR.

use io_models::sys::socket::{self, Accepted, Mode, Received, accept, recv, send};
use io_models::sys::sockopt::set_reuse_addr;

pub fn serve(port: u16) -> io_models::Result<()> {
    let addr = ([127, 0, 0, 1], port).into();
    let listener = socket::tcp(&addr, Mode::Blocking)?;
    set_reuse_addr(&listener, true)?;
    socket::bind(&listener, &addr)?;
    socket::listen(&listener, 128)?;
    let mut buffer = [0; 1024];
    loop {
        let Accepted::Client(client, _) = accept(&listener, Mode::Blocking)? else { continue };
        while let Ok(Received::Bytes(n)) = recv(&client, &mut buffer) {
            send(&client, &buffer[..n]).ok();
        }
        // Here the socket is closed: the client has closed its own.
    }
}
