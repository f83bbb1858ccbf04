//! An echo server that sends each answer in two pieces, to a client that acknowledges late.

use io_models::initserver::initserver;
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};
use io_models::sys::sockopt::set_nodelay;

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    // As the kernel has it; initserver sets TCP_NODELAY, which clients inherit.
    set_nodelay(&listener, false)?;
    let mut buffer = [0; 1024];
    loop {
        let Accepted::Client(client, _) = accept(&listener, Mode::Blocking)? else { continue };
        while let Ok(Received::Bytes(n)) = recv(&client, &mut buffer) {
            let (head, body) = buffer[..n].split_at(n / 2);
            send(&client, head).ok();
            send(&client, body).ok();
        }
    }
}
