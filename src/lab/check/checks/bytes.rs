//! Every byte comes back, whatever it is and however it was cut.

use super::super::session::Session;
use super::super::{Answers, Check, Ended, Step};
use super::{ANSWERS, LARGE, NOTHING_MORE, PIPELINED, USUAL};
use crate::lab::results::check::Expect;
use std::time::Duration;

pub(super) static CHECKS: [Check; 12] = [
    Check {
        id: "echo/one-byte",
        claim: "A request of one byte is answered.",
        does: "A client sends one byte and waits for the answer.",
        matters: "It is the least that a server can do. When it fails, no other check says anything.",
        cause: "The server does not accept, does not read, waits for more bytes or for a line, or keeps its answer in a buffer of stdio.",
        reference: "man 2 recv; demo8 of the course",
        after: &[],
        run: |at| at.connect()?.ask(b"a"),
        ..USUAL
    },
    Check {
        id: "echo/nul",
        claim: "Bytes of value 0 come back like any others.",
        does: "A client sends a NUL alone, and text with NULs at its beginning, inside of it and at its end.",
        matters: "A TCP stream carries bytes, not strings. Pictures, numbers and most protocols have NULs.",
        cause: "The server treats what it received as a C string: strlen, printf with %s, strcpy.",
        reference: "man 3 strlen; the server of demo1 in the course answers strlen(buffer) bytes",
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| {
            let client = at.connect()?;
            client.ask(b"ab\0cd")?;
            client.ask(b"ef\0")?;
            client.ask(b"\0gh")?;
            client.ask(b"\0")
        },
        ..USUAL
    },
    Check {
        id: "echo/all-bytes",
        claim: "Each value of a byte from 1 to 255 comes back unchanged.",
        does: "A client sends each value alone, then all of them in one message.",
        matters: "Some values have a meaning to libraries for text: line ends, end of file, bytes that are no UTF-8.",
        cause: "The server reads or writes through a library for text: lines, a character set, a terminal.",
        reference: "man 7 tcp: the stream has no structure",
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE],
        run: all_values,
        ..USUAL
    },
    Check {
        id: "echo/utf-8-split",
        claim: "A character whose bytes come in two segments comes back whole.",
        does: "A client sends the first byte of a character of two, three and four bytes, waits until the server has it, and sends the rest.",
        matters: "recv(2) cuts a stream anywhere, also inside of a character.",
        cause: "The server decodes each piece as UTF-8 by itself, and drops or replaces what is no whole character.",
        reference: "man 7 utf-8",
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, "echo/all-bytes"],
        run: split_characters,
        ..USUAL
    },
    Check {
        id: "echo/large",
        claim: "8 MiB come back, whatever the pieces in which they were sent.",
        does: "A client sends 8 MiB of text in pieces of 1 to 65536 bytes by chance, and reads meanwhile.",
        matters: "A large message does not fit the buffers of the kernel: recv and send then handle a part of it each time.",
        cause: "The server handles one recv for each message, or ignores how many bytes send(2) says it took.",
        reference: "man 2 send, RETURN VALUE; 'short or failed send' in the course's epoll servers",
        answers: Answers::Bytes,
        // On a busy machine, a client that reads meanwhile may be slow.
        after: &[ANSWERS, NOTHING_MORE, LARGE, "clients/slow-reader"],
        run: large,
        ..USUAL
    },
    Check {
        id: "echo/buffer-1024",
        claim: "Messages of 1023, 1024 and 1025 bytes come back.",
        does: "A client sends a message one byte smaller than a usual buffer, one as large, and one larger.",
        matters: "Most servers read into a buffer of 1024 bytes. At its edge there is no room for a NUL that a string needs.",
        cause: "The server writes a NUL behind the last byte of a full buffer, forgets what did not fit, or answers strlen of a buffer in which no NUL is left.",
        reference: "man 2 recv; the buffers of the course have 1024 bytes",
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| around(at, 1024),
        ..USUAL
    },
    Check {
        id: "echo/buffer-4096",
        claim: "Messages of 4095, 4096 and 4097 bytes come back.",
        does: "As echo/buffer-1024, with 4096 bytes.",
        matters: "4096 bytes are a page, and the second usual size of a buffer.",
        cause: "The server writes a NUL behind the last byte of a full buffer, forgets what did not fit, or answers strlen of a buffer in which no NUL is left.",
        reference: "man 2 recv",
        after: &[ANSWERS, NOTHING_MORE, "echo/buffer-1024"],
        run: |at| around(at, 4096),
        ..USUAL
    },
    Check {
        id: "echo/buffer-16384",
        claim: "Messages of 16383, 16384 and 16385 bytes come back.",
        does: "As echo/buffer-1024, with 16384 bytes.",
        matters: "16384 bytes are the buffer of many libraries, and the largest record of TLS.",
        cause: "The server writes a NUL behind the last byte of a full buffer, forgets what did not fit, or answers strlen of a buffer in which no NUL is left.",
        reference: "man 2 recv",
        after: &[ANSWERS, NOTHING_MORE, "echo/buffer-4096"],
        run: |at| around(at, 16384),
        ..USUAL
    },
    Check {
        id: "echo/byte-by-byte",
        claim: "300 bytes that are sent one at a time are answered one at a time.",
        does: "A client sends a byte, waits for its answer, and sends the next.",
        matters: "Nagle's algorithm, buffers of stdio and servers that wait for a full buffer show here.",
        cause: "The server waits for more bytes, or its answer stays in a buffer that is not flushed.",
        reference: "man 7 tcp, TCP_NODELAY; man 3 setvbuf",
        after: &[ANSWERS, NOTHING_MORE],
        run: |at| {
            let client = at.connect()?;
            at.text(300).iter().try_for_each(|byte| client.ask(&[*byte]))
        },
        ..USUAL
    },
    Check {
        id: "echo/pipelined",
        claim: "100 requests that are sent without waiting for answers are all answered.",
        does: "A client sends 100 requests of 20 bytes in one piece, then reads.",
        matters: "A stream has no messages: one recv(2) may find many requests.",
        cause: "The server treats the bytes of one recv as one request.",
        reference: "man 2 recv; the course on packets that stick together",
        after: &[ANSWERS, NOTHING_MORE, "echo/buffer-4096"],
        run: pipelined,
        ..USUAL
    },
    Check {
        id: "echo/in-order",
        claim: "2000 small segments come back in their order.",
        does: "A client sends 2000 numbers of 8 bytes, each in its own send, with at most eight unanswered, and reads meanwhile.",
        matters: "The order is what TCP promises; a server can still break it.",
        cause: "Two threads serve one connection at the same time: EPOLLONESHOT is missing, or a pool takes pieces of one client side by side.",
        reference: "man 2 epoll_ctl, EPOLLONESHOT",
        answers: Answers::Bytes,
        after: &[ANSWERS, NOTHING_MORE, LARGE, PIPELINED],
        run: in_order,
        ..USUAL
    },
    Check {
        id: "echo/nothing-more",
        claim: "No bytes come that nobody asked for.",
        does: "A client says nothing for 100 ms, sends a request, reads its answer, and waits 100 ms more.",
        matters: "A greeting, a prompt or a line end that was added is a fault in every protocol that does not know it.",
        cause: "The server greets its clients, or adds a line end or a NUL to each answer.",
        reference: "man 3 puts",
        after: &[ANSWERS],
        run: |at| {
            let long = Duration::from_millis(100);
            let client = at.connect()?;
            client.expect_nothing(long).map_err(|ended| ended.at("before the first request"))?;
            client.ask(b"question")?;
            client.expect_nothing(long).map_err(|ended| ended.at("after the answer"))
        },
        ..USUAL
    },
];

fn all_values(at: &Session<'_>) -> Step {
    let client = at.connect()?;
    for value in 1..=255 {
        client.ask(&[value])?;
    }
    let all: Vec<u8> = (1..=255).collect();
    client.ask(&all)
}

fn split_characters(at: &Session<'_>) -> Step {
    let client = at.connect()?;
    for character in ["é", "€", "😀"] {
        let request = client.on_the_wire(character.as_bytes());
        let (first, rest) = request.split_at(request.len() - character.len() + 1);
        client.send(first)?;
        // The server has it before the rest comes: an echo server answers it.
        if at.expect == Expect::Echo {
            client.expect(first)?;
            client.send(rest)?;
            client.expect(rest)?;
        } else {
            client.until_it_is_read()?;
            client.send(rest)?;
            client.expect(&request)?;
        }
    }
    Ok(())
}

fn large(at: &Session<'_>) -> Step {
    // From small to large: the first that fails is the smallest that shows it.
    let client = at.connect()?;
    for size in [64 << 10, 1 << 20, 8 << 20] {
        let bytes = client.on_the_wire(&at.text(size));
        client
            .exchange(&bytes, || at.chance(1..65_537))
            .map_err(|ended| ended.at(&format!("{} KiB in random pieces", size >> 10)))?;
    }
    Ok(())
}

fn around(at: &Session<'_>, size: usize) -> Step {
    let client = at.connect()?;
    // The size itself first: it is the one that matters.
    for size in [size, size - 1, size + 1] {
        let message = at.text(size);
        match at.expect {
            // A message may come in several pieces, each of which is answered.
            Expect::Ok => {
                client.request(&message)?;
                client.expect_some_ok()?;
            }
            _ => {
                let failed = |ended: Ended| ended.at(&format!("a message of {size} bytes"));
                client.ask(&message).map_err(failed)?;
                let nothing = client.expect_nothing(Duration::from_millis(20));
                nothing.map_err(|ended| ended.at(&format!("after the answer to {size} bytes")))?;
            }
        }
    }
    Ok(())
}

fn pipelined(at: &Session<'_>) -> Step {
    const REQUESTS: usize = 100;
    let client = at.connect()?;
    let requests: Vec<_> = (0..REQUESTS).map(|_| at.text(20)).collect();
    let all: Vec<u8> = requests.iter().flat_map(|request| client.on_the_wire(request)).collect();
    client.send(&all)?;
    match at.expect {
        // How many pieces it found is not known.
        Expect::Ok => client.expect_some_ok(),
        _ => client.expect(&all),
    }
}

fn in_order(at: &Session<'_>) -> Step {
    const SEGMENTS: usize = 2000;
    let client = at.connect()?;
    let numbers: Vec<u8> =
        (0..SEGMENTS).flat_map(|i| client.on_the_wire(format!("{i:07}.").as_bytes())).collect();
    let one = numbers.len() / SEGMENTS;
    // A server without a processor would find all that has arrived meanwhile at once, as one segment.
    client.exchange_within(&numbers, 8 * one, || one).map_err(|ended| match ended {
        Ended::Failed(mut fault) if !fault.is_late => {
            fault.expected = format!("the numbers 0 to {} in their order: {}", SEGMENTS - 1, fault.expected);
            Ended::Failed(fault)
        }
        ended => ended,
    })
}
