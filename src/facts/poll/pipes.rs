//! Pipes and FIFOs.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-wrong-pipe-end-silent",
        claim: "The writing end of a pipe never has IN, and the reading end never has OUT, while both are open.",
        reference: "pipe_poll in fs/pipe.c",
        matters: "Ends that are mixed up are not reported, neither by an error nor by NVAL: the loop waits for ever.",
        experiment: "poll of the writing end for IN and of the reading end for OUT, with the pipe empty and with a byte in it.",
        run: |k| {
            let [reader, writer] = k.pipe2(libc::O_CLOEXEC)?;
            for what in ["the pipe empty", "a byte in the pipe"] {
                is(format!("the writing end asked for IN, {what}"), mask_of(k, writer, IN)?, NONE)?;
                is(format!("the reading end asked for OUT, {what}"), mask_of(k, reader, OUT)?, NONE)?;
                k.write(writer, b"1")?;
            }
            is("the reading end asked for all, with bytes in the pipe", mask(k, reader)?, IN)?;
            is("the writing end asked for all, with bytes in the pipe", mask(k, writer)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-pipe-eof-is-hup-only",
        claim: "An empty pipe without writers is exactly HUP, without IN, although read gives 0 at once.",
        reference: "poll(2) POLLHUP; pipe_poll in fs/pipe.c",
        matters: "A loop that reads only when it sees IN never reads the end of the file, and spins on HUP at 100 % \
                  CPU. select, whose read set has HUP in it, does not show the difference.",
        experiment: "The writing end of a pipe is closed; the reading end is polled, read, and polled again.",
        run: |k| {
            let [reader, writer] = k.pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
            is("an empty pipe with a writer", mask(k, reader)?, NONE)?;
            k.close(writer)?;
            is("an empty pipe without writers", mask(k, reader)?, HUP)?;
            is("read of it", k.read(reader, &mut [0]), Ok(0))?;
            is("the pipe after read has given 0", mask(k, reader)?, HUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-pipe-data-then-eof",
        claim: "A pipe without writers in which there is something to read is exactly IN+HUP, and HUP once it has been read.",
        reference: "poll(2) POLLHUP; pipe_poll in fs/pipe.c",
        matters: "A loop that closes on HUP before it has read loses the end of what was sent.",
        experiment: "Two bytes are written and the writing end closed; poll, after each of two reads of one byte.",
        run: |k| {
            let [reader, writer] = k.pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
            k.write(writer, b"12")?;
            is("a pipe with two bytes and a writer", mask(k, reader)?, IN)?;
            k.close(writer)?;
            is("a pipe with two bytes and no writer", mask(k, reader)?, IN | HUP)?;
            k.read(reader, &mut [0])?;
            is("a pipe with one byte left and no writer", mask(k, reader)?, IN | HUP)?;
            k.read(reader, &mut [0])?;
            is("a pipe with nothing left and no writer", mask(k, reader)?, HUP)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-pipe-broken-writer",
        claim: "The writing end of a pipe without readers is OUT+ERR if there is room in the pipe, and exactly ERR if it is full.",
        reference: "poll(2) POLLERR; pipe_poll in fs/pipe.c",
        matters: "A writer that waits for OUT hears of a reader that has gone by ERR alone. HUP does not come at this end.",
        experiment: "The reading ends of an empty and of a full pipe are closed; both writing ends are polled.",
        run: |k| {
            let [reader, writer] = k.pipe2(libc::O_CLOEXEC)?;
            let [reader_of_full, full] = k.pipe2(libc::O_CLOEXEC)?;
            fill(k, full, 4096)?;
            is("the writing end of an empty pipe", mask(k, writer)?, OUT)?;
            is("the writing end of a full pipe", mask(k, full)?, NONE)?;
            k.close(reader)?;
            k.close(reader_of_full)?;
            is("the writing end of an empty pipe without readers", mask(k, writer)?, OUT | ERR)?;
            is("the writing end of a full pipe without readers", mask(k, full)?, ERR)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-fifo-never-opened-for-write",
        claim: "A FIFO that was opened for reading with O_NONBLOCK, and that has had no writer since, has nothing to \
                report, although read gives 0, as at the end of a file.",
        reference: "pipe_poll in fs/pipe.c: HUP only if the number of writers has changed since the FIFO was opened",
        matters: "A server can wait for its first client on a FIFO. If it reads first, it takes the 0 for a client that has gone.",
        experiment: "A FIFO is made, opened for reading with O_NONBLOCK, polled, read and polled again.",
        run: |k| {
            let (_scratch, reader) = fifo(k)?;
            is("a FIFO that never had a writer", mask(k, reader)?, NONE)?;
            is("read of it", k.read(reader, &mut [0]), Ok(0))?;
            is("the FIFO after read has given 0", mask(k, reader)?, NONE)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-fifo-hup-cleared-by-new-writer",
        claim: "When the last writer closes a FIFO its reader has HUP; when a new writer opens it HUP is gone.",
        reference: "poll(2) POLLHUP; pipe_poll and fifo_open in fs/pipe.c",
        matters: "HUP of a FIFO is a state, not the end. A server on a FIFO keeps a writing end open itself, or it \
                  spins on HUP between two clients.",
        experiment: "A FIFO is opened for reading, then a writer opens it, closes it, and opens it again; poll of the \
                     reader after each step.",
        run: |k| {
            let (scratch, reader) = fifo(k)?;
            let open = || k.open(scratch.path(), libc::O_WRONLY | libc::O_NONBLOCK | libc::O_CLOEXEC);
            let (first, second) = (open()?, open()?);
            is("the reader with two writers", mask(k, reader)?, NONE)?;
            k.close(first)?;
            is("the reader with one of the two writers left", mask(k, reader)?, NONE)?;
            k.close(second)?;
            is("the reader after the last writer closed", mask(k, reader)?, HUP)?;
            let new = open()?;
            is("the reader after a new writer opened", mask(k, reader)?, NONE)?;
            k.write(new, b"1")?;
            is("the reader after the new writer wrote", mask(k, reader)?, IN)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-fifo-rdwr-no-hup",
        claim: "A FIFO that is opened with O_RDWR is its own reader and writer: opening does not wait, poll never \
                says HUP or ERR whatever other openers do, and OUT is there from the first moment.",
        reference: "fifo(7), which says that POSIX leaves it undefined; pipe_poll and fifo_open in fs/pipe.c",
        matters: "It is the shortest way to a control FIFO that does not spin on HUP between two clients. But the end \
                  of a client is never told, and read without O_NONBLOCK waits instead of giving 0.",
        experiment: "A FIFO is opened with O_RDWR and polled; another writer opens it, writes and closes; poll, read \
                     of the byte, poll, read.",
        wrong: &[
            "OpenRC: https://github.com/OpenRC/openrc/pull/1055",
            "dwl-bar: https://github.com/MadcowOG/dwl-bar/issues/11",
        ],
        run: |k| {
            let scratch = Scratch::new();
            raw::mkfifo(scratch.path())?;
            let open = |how| k.open(scratch.path(), how | libc::O_NONBLOCK | libc::O_CLOEXEC);
            let both = open(libc::O_RDWR)?;
            is("before anybody else has opened it", mask(k, both)?, OUT)?;
            let writer = open(libc::O_WRONLY)?;
            is("write of another writer", k.write(writer, b"1"), Ok(1))?;
            k.close(writer)?;
            is("after that writer closed", mask(k, both)?, IN | OUT)?;
            is("read", k.read(both, &mut [0; 2]), Ok(1))?;
            is("after the read", mask(k, both)?, OUT)?;
            is("read again", k.read(both, &mut [0; 2]), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-pipe-out-needs-free-slot",
        claim: "OUT of a pipe means that a whole page of it is free. With 15 pages and 1 byte in a pipe of 16 pages \
                there is no OUT, although single bytes can be written until the last page is full.",
        reference: "pipe(7); pipe_poll, pipe_full and pipe_write in fs/pipe.c",
        since: Since(5, 5),
        matters: "No OUT does not mean that a write would wait, and a program that counts the bytes in a pipe cannot \
                  foretell OUT.",
        experiment: "A pipe of 16 pages gets 15 pages and then 1 byte. While poll says that there is no OUT, bytes \
                     are written one by one until EAGAIN, and counted.",
        run: |k| {
            let (_reader, writer, page) = pipe_of_16_pages(k)?;
            for _ in 0..15 {
                is("write of a page", k.write(writer, &vec![b'x'; page]), Ok(page))?;
            }
            is("with 15 of 16 pages full", mask(k, writer)?, OUT)?;
            let (mut written, mut silent) = (0, 0);
            let full = loop {
                match k.write(writer, b"x") {
                    Ok(1) => written += 1,
                    other => break other,
                }
                silent += usize::from(mask(k, writer)? == NONE);
            };
            is("write of a byte when the pipe is full", full, no(Errno::EAGAIN))?;
            is("bytes written after 15 pages, and how many left no OUT", (written, silent), (page, page))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-pipe-full-read-under-page-no-out",
        claim: "When a pipe is full of full pages, reading less than a page brings no OUT back, and no room for a \
                byte; the last byte of the page does.",
        reference: "pipe(7); pipe_read in fs/pipe.c frees a page only when it has been read to its end",
        matters: "A writer does not wake for each byte that its reader takes. A reader that takes less than a page \
                  and waits for an answer waits for ever.",
        experiment: "A pipe is filled with pages; 1 byte is read, then all but one of the page's rest, then the last \
                     one. poll and a write of one byte after each.",
        run: |k| {
            let (reader, writer, page) = pipe_of_16_pages(k)?;
            let filled = fill(k, writer, page)?;
            is("bytes that fill a pipe of 16 pages", filled, 16 * page)?;
            let mut read = 0;
            for n in [1, page - 2] {
                read += k.read(reader, &mut vec![0; n])?;
                is(format!("after {read} of {page} bytes were read"), mask(k, writer)?, NONE)?;
                let refused = k.write(writer, b"x");
                is(format!("write after {read} of {page} bytes were read"), refused, no(Errno::EAGAIN))?;
            }
            is("read of the page's last byte", k.read(reader, &mut [0]), Ok(1))?;
            is("after the whole page was read", mask(k, writer)?, OUT)?;
            is("write after the whole page was read", k.write(writer, b"x"), Ok(1))
        },
        ..Fact::ALWAYS
    },
];

/// A pipe of 16 pages, non-blocking: its reading end, its writing end, the size of a page.
fn pipe_of_16_pages(k: K) -> Held<(i32, i32, usize)> {
    let [reader, writer] = k.pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
    // The least that a pipe can have is a page.
    let page = raw::fcntl(writer, libc::F_SETPIPE_SZ, 1)?;
    raw::fcntl(writer, libc::F_SETPIPE_SZ, 16 * page)?;
    let size = raw::fcntl(writer, libc::F_GETPIPE_SZ, 0)?;
    needs(Why::Setup, "the pipe has 16 pages", size == 16 * page, size)?;
    Ok((reader, writer, page as usize))
}

/// A FIFO that is opened for reading with O_NONBLOCK.
fn fifo(k: K) -> Held<(Scratch, i32)> {
    let scratch = Scratch::new();
    raw::mkfifo(scratch.path())?;
    let reader = k.open(scratch.path(), libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC)?;
    Ok((scratch, reader))
}
