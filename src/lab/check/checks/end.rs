//! The end of a connection.

use super::super::client::{Got, in_words};
use super::super::session::Session;
use super::super::{Check, Ended, Step};
use super::{ANSWERS, IN_TURN, LARGE, NOTHING_MORE, USUAL};

pub(super) static CHECKS: [Check; 4] = [
    Check {
        id: "end/closes",
        claim: "The server closes a connection whose client has ended its half.",
        does: "A client gets an answer, sends FIN, and waits for the FIN of the server.",
        matters: "A connection that the server never closes stays in CLOSE_WAIT, with its descriptor, until the server ends.",
        cause: "The server does not treat 0 from recv(2) as the end, leaves its loop and never calls close, or closes only one of two copies of the descriptor.",
        reference: "man 2 recv, RETURN VALUE; the course on CLOSE_WAIT",
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| {
            let client = at.connect()?;
            client.ask(b"last request")?;
            client.end()?;
            client.expect_end()
        },
        ..USUAL
    },
    Check {
        id: "end/half-close",
        claim: "A client that ends its half still gets all answers to what it has sent.",
        does: "A client sends 256 KiB and FIN, and reads only then.",
        matters: "shutdown(SHUT_WR) says that no more will come, not that nobody listens: `nc -N`, `ssh` and HTTP/1.0 clients use it so.",
        cause: "At the end of the stream the server closes at once, and drops the answers that it could not send yet.",
        reference: "man 2 shutdown; UNP 6.5 to 6.7",
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, LARGE, "end/closes", "end/fin-with-data"],
        run: half_close,
        ..USUAL
    },
    Check {
        id: "end/fin-with-data",
        claim: "A request that comes in one segment with the FIN is answered.",
        does: "A client sends a request with MSG_MORE and then shuts its half down, so that both are in one segment.",
        matters: "One event then says two things, readable and ended (EPOLLIN and EPOLLRDHUP together).",
        cause: "The server looks for the end (EPOLLRDHUP, EPOLLHUP) before it reads what came with it.",
        reference: "man 2 epoll_ctl, EPOLLRDHUP; tcpepoll2 of the course",
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "end/closes", "edge/partial-read"],
        run: |at| {
            // Several times: whether the server sees both at once depends on when it looks.
            (0..20).try_for_each(|_| {
                let client = at.connect()?;
                client.send_and_end(&client.on_the_wire(b"question"))?;
                client.answer(b"question")?;
                client.expect_end()
            })
        },
        ..USUAL
    },
    Check {
        id: "end/without-a-word",
        claim: "After clients that connect and leave without a byte, others are served.",
        does: "Three clients connect and close at once; another is then served.",
        matters: "Port scanners, health checks and load balancers do this often.",
        cause: "The server ends, or stops to accept, when the first recv(2) of a client says 0 or ECONNRESET.",
        reference: "man 2 recv",
        after: &[ANSWERS, NOTHING_MORE, IN_TURN, "edge/listener"],
        run: |at| {
            for _ in 0..3 {
                at.connect()?.close();
            }
            at.serves_another()
        },
        ..USUAL
    },
];

fn half_close(at: &Session<'_>) -> Step {
    const BYTES: usize = 256 << 10;
    // From small to large: the first that fails is the smallest that shows it.
    for size in [5, BYTES] {
        let client = at.connect()?;
        let sent = client.on_the_wire(&at.text(size));
        client.send(&sent)?;
        client.end()?;
        let (got, how) = client.read_to_end()?;
        let expected = || format!("all {} bytes, then the end (FIN)", sent.len());
        let is_answered = match at.expect.has_all_bytes() {
            true => got == sent,
            false => !got.is_empty(),
        };
        match how {
            _ if !is_answered => {
                let ended = Ended::failed(expected(), format!("{} bytes", got.len()));
                return Err(if how.is_none() { ended.that_is_late() } else { ended });
            }
            Some(Got::End) => {}
            Some(Got::Broken(why)) => {
                return Err(Ended::failed(expected(), in_words(why)));
            }
            _ => return Err(Ended::late(expected(), "the connection stays open")),
        }
    }
    Ok(())
}
