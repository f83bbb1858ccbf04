//! A server that takes what one recv(2) gives for a message, and sends it back.

use io_models::echo::framed;
use io_models::initserver::initserver;
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    let mut buffer = [0; 1024];
    loop {
        let Accepted::Client(client, _) = accept(&listener, Mode::Blocking)? else { continue };
        while let Ok(Received::Bytes(n)) = recv(&client, &mut buffer) {
            send(&client, &framed(&buffer[..n])).ok();
        }
    }
}
