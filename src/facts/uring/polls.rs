//! POLL_ADD and POLL_REMOVE.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ur-poll-add-oneshot",
        claim: "POLL_ADD completes once, with the events as its result (1 for IN), and is gone then.",
        reference: "io_uring_enter(2) IORING_OP_POLL_ADD; io_poll_check_events in io_uring/poll.c",
        since: Since(5, 1),
        matters: "A loop that expects it to stay armed, as an epoll entry does, hears of the first byte and never again.",
        experiment: "POLL_ADD of an empty pipe, a byte is written and the completion taken; then the byte is \
                     read, and another one written.",
        run: |k| {
            let ring = ring(k)?;
            let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            submit(k, ring, &[poll_once(read_end, IN).named("POLL_ADD")])?;
            silent(k, ring, "while the pipe is empty")?;
            k.write(write_end, b"1")?;
            come(k, ring, "after a byte was written", &[done("POLL_ADD", Ok(1))])?;
            silent(k, ring, "after the first one")?;
            k.read(read_end, &mut [0])?;
            k.write(write_end, b"2")?;
            silent(k, ring, "after the pipe became readable once more")
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-poll-multishot-is-edge",
        claim: "A multishot POLL_ADD completes once for each new event, and says that it goes on; for old data that nobody has \
                read it does not complete again. When the writer of a pipe goes it gives 17, which is IN and HUP.",
        reference: "io_uring_enter(2) IORING_POLL_ADD_MULTI; io_poll_check_events in io_uring/poll.c",
        since: Since(5, 13),
        backports: &[Release(5, 10, 162)],
        matters: "It is like EPOLLET: whoever does not read until EAGAIN is not told of the rest.",
        experiment: "A multishot POLL_ADD of a pipe with a byte in it; nothing is read. A second byte is \
                     written, and then the writing end closed.",
        run: |k| {
            let ring = ring(k)?;
            let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            k.write(write_end, b"1")?;
            submit(k, ring, &[Op::PollAdd { fd: read_end, events: IN.0, multi: true }.named("POLL_ADD")])?;
            come(k, ring, "with a byte in the pipe", &[goes_on("POLL_ADD", 1)])?;
            silent(k, ring, "while the byte stays in the pipe")?;
            k.write(write_end, b"2")?;
            come(k, ring, "after a second byte was written", &[goes_on("POLL_ADD", 1)])?;
            silent(k, ring, "while both bytes stay in the pipe")?;
            k.close(write_end)?;
            come(k, ring, "after the writer was closed", &[goes_on("POLL_ADD", 17)])?;
            silent(k, ring, "while the pipe stays hung up")
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-poll-remove",
        claim: "POLL_REMOVE gives 0, and the request that it names completes with ECANCELED. For a name that \
                no request has it gives ENOENT.",
        reference: "io_uring_enter(2) IORING_OP_POLL_REMOVE; io_poll_remove in io_uring/poll.c",
        since: Since(5, 1),
        matters: "There are two completions for one removal. What the request needs may go only after its own.",
        experiment: "POLL_ADD of an empty pipe, POLL_REMOVE of it, POLL_REMOVE of it once more.",
        run: |k| {
            let ring = ring(k)?;
            let [read_end, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            submit(k, ring, &[poll_once(read_end, IN).named("POLL_ADD")])?;
            submit(k, ring, &[Op::PollRemove { name: "POLL_ADD" }.named("POLL_REMOVE")])?;
            let both = [done("POLL_ADD", no(Errno::ECANCELED)), done("POLL_REMOVE", Ok(0))];
            come(k, ring, "after the removal", &both)?;
            submit(k, ring, &[Op::PollRemove { name: "POLL_ADD" }.named("POLL_REMOVE")])?;
            let unknown = [done("POLL_REMOVE", no(Errno::ENOENT))];
            noted(come(k, ring, "after the removal of what is gone", &unknown));
            submit(k, ring, &[Op::PollRemove { name: "nobody" }.named("POLL_REMOVE")])?;
            come(k, ring, "after the removal of what never was", &unknown)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ur-poll-regular-file-ok",
        claim: "POLL_ADD on a regular file completes at once with IN and OUT, where epoll_ctl gives EPERM. \
                On a number that is not open it completes with EBADF.",
        reference: "vfs_poll in include/linux/poll.h, DEFAULT_POLLMASK; epoll_ctl(2) EPERM",
        since: Since(5, 1),
        matters: "A loop over io_uring can treat files and sockets alike; one over epoll cannot.",
        experiment: "POLL_ADD and EPOLL_CTL_ADD of a memory file; POLL_ADD of a descriptor that was closed.",
        run: |k| {
            let ring = ring(k)?;
            let file = k.memfd_create(libc::MFD_CLOEXEC)?;
            noted(is("epoll_ctl with a regular file", add(k, epoll(k)?, file, IN), no(Errno::EPERM)));
            submit(k, ring, &[poll_once(file, IN | OUT).named("POLL_ADD")])?;
            let at_once = vec![done("POLL_ADD", Ok(result(IN | OUT)))];
            noted(is("a regular file, without waiting", now(k, ring), Ok(at_once)));
            k.close(file)?;
            submit(k, ring, &[poll_once(file, IN).named("POLL_ADD")])?;
            come(k, ring, "a number that is not open", &[done("POLL_ADD", no(Errno::EBADF))])
        },
        ..Fact::ALWAYS
    },
];
