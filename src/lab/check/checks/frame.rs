//! Servers of frames.

use super::super::session::Session;
use super::super::{Answers, Check, Step};
use super::USUAL;
use std::time::Duration;

pub(super) static CHECKS: [Check; 2] = [
    Check {
        id: "frame/split",
        claim: "A frame gets its answer when it is complete, and nothing before.",
        does: "A client sends a frame in two parts, cut inside of its length, behind it, and inside of its body; between them nothing may come.",
        matters: "recv(2) cuts a stream anywhere.",
        cause: "The server treats the bytes of one recv as one frame.",
        reference: "man 2 recv, MSG_WAITALL; UNP 3.9, readn",
        answers: Answers::Frames,
        run: split,
        ..USUAL
    },
    Check {
        id: "frame/huge",
        claim: "A frame that claims to have 2 GiB does not end the server.",
        does: "A client sends a length of 2 GiB and nothing more; another client is then served.",
        matters: "A length comes from the network. A server that allocates what it says can be ended by four bytes.",
        cause: "The server allocates, or casts to a signed number, what the length says, before it checks it.",
        reference: "man 3 malloc; docs/security.md",
        answers: Answers::Frames,
        clients: 2,
        run: |at| {
            let client = at.connect()?;
            client.send(&0x8000_0000_u32.to_be_bytes())?;
            client.until_it_is_read()?;
            at.serves_another()
        },
        ..USUAL
    },
];

fn split(at: &Session<'_>) -> Step {
    let client = at.connect()?;
    for cut in [1, 3, 4, 5, 10] {
        let frame = client.on_the_wire(&at.text(12));
        let (first, rest) = frame.split_at(cut);
        client.send(first)?;
        client.until_it_is_read()?;
        client.expect_nothing(Duration::from_millis(50))?;
        client.send(rest)?;
        client.expect(&frame)?;
    }
    Ok(())
}
