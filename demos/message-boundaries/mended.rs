//! A server that takes a message for complete when all of its length is there, and sends it back.

use io_models::echo::{Frames, framed};
use io_models::initserver::initserver;
use io_models::sys::socket::{Accepted, Mode, Received, accept, recv, send};

pub fn serve(port: u16) -> io_models::Result<()> {
    let listener = initserver(([127, 0, 0, 1], port).into())?;
    let mut buffer = [0; 1024];
    loop {
        let Accepted::Client(client, _) = accept(&listener, Mode::Blocking)? else { continue };
        let mut frames = Frames::new(4096);
        while let Ok(Received::Bytes(n)) = recv(&client, &mut buffer) {
            frames.heard(&buffer[..n]);
            while let Some(message) = frames.next()? {
                send(&client, &framed(&message)).ok();
            }
        }
    }
}
