//! What an entry is an entry of: an open file, and the number under which it was added.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-key-is-file-and-fd",
        claim: "A copy (dup) of a descriptor that is on the list can be added too, and both entries report. \
                DEL of one leaves the other.",
        reference: "epoll(7) Questions and answers 1; ep_cmp_ffd in fs/eventpoll.c",
        matters: "Two parts of a program can each add a copy of one socket with a mask of their own. Whoever \
                  does it by mistake handles each event twice.",
        experiment: "The reading end of a pipe and a copy are added; a byte is written; one is deleted.",
        run: |k| {
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            let copy = k.dup(r)?;
            is("ADD of the descriptor", add(k, epoll, r, IN), Ok(()))?;
            is("ADD of a copy", add(k, epoll, copy, IN), Ok(()))?;
            is("ADD of the copy once more", add(k, epoll, copy, IN), no(Errno::EEXIST))?;
            k.write(w, b"!")?;
            is("events of one byte", sorted(k, epoll)?, vec![(r, IN), (copy, IN)])?;
            is("DEL of the copy", delete(k, epoll, copy), Ok(()))?;
            is("events of the byte after that", sorted(k, epoll)?, vec![(r, IN)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-closed-dup-still-reports",
        claim: "After close of a descriptor on the list, events for it keep coming for as long as a copy \
                keeps its file open. DEL and MOD of the closed number give EBADF.",
        reference: "epoll(7) Questions and answers 6; eventpoll_release in fs/eventpoll.c is called for the last reference",
        matters: "The events name a descriptor that is gone, and nothing but the copy can stop them: 100 % \
                  CPU, or the handler of another connection. DEL before close, always.",
        experiment: "The reading end of a pipe is added, copied and closed; a byte is written; DEL and MOD \
                     of the closed number; a second wait.",
        wrong: &[
            "libuv: https://github.com/libuv/libuv/issues/1468",
            "illumos, on purpose: https://github.com/rust-lang/miri/issues/5182",
        ],
        run: |k| {
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            let copy = k.dup(r)?;
            add(k, epoll, r, IN)?;
            k.close(r)?;
            is("events while there is nothing to read", ready(k, epoll)?, vec![])?;
            k.write(w, b"!")?;
            is("events under the number that was closed", ready(k, epoll)?, vec![(r, IN)])?;
            is("DEL of the closed number", delete(k, epoll, r), no(Errno::EBADF))?;
            is("MOD of the closed number", modify(k, epoll, r, NONE), no(Errno::EBADF))?;
            is("DEL of the copy, which was never added", delete(k, epoll, copy), no(Errno::ENOENT))?;
            is("events under the closed number after that", ready(k, epoll)?, vec![(r, IN)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-reused-number-is-new-key",
        claim: "When the number of such a closed descriptor is reused for another file, DEL and MOD of it \
                give ENOENT, ADD succeeds, and the old and the new entry both report under the same number. \
                With dup2 of the old file back to the number, DEL finds the old entry.",
        reference: "epoll(7) Questions and answers 6; ep_find in fs/eventpoll.c",
        matters: "Events of the old file arrive as events of the new one. EPOLL_CTL_DEL cannot help any \
                  more; a number of the program's own in the data can.",
        experiment: "As in ep-closed-dup-still-reports; then an eventfd gets the number with dup2, is added, \
                     and both have something to report; then the copy is put back to the number and deleted.",
        wrong: &["io-event: https://github.com/socketry/io-event/issues/71"],
        run: |k| {
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            let (copy, eventfd) = (k.dup(r)?, k.eventfd(1, libc::EFD_CLOEXEC)?);
            add(k, epoll, r, IN)?;
            k.close(r)?;
            k.write(w, b"!")?;
            k.dup2(eventfd, r)?;
            is("DEL of the number, now of an eventfd", delete(k, epoll, r), no(Errno::ENOENT))?;
            is("MOD of the number, now of an eventfd", modify(k, epoll, r, IN), no(Errno::ENOENT))?;
            is("ADD of the number, now of an eventfd", add(k, epoll, r, IN | OUT), Ok(()))?;
            is(
                "events of the pipe (IN) and of the eventfd (IN+OUT)",
                sorted(k, epoll)?,
                vec![(r, IN), (r, IN | OUT)],
            )?;
            k.dup2(copy, r)?;
            is("DEL of the number, now of the pipe again", delete(k, epoll, r), Ok(()))?;
            is("events that are left, of the eventfd", sorted(k, epoll)?, vec![(r, IN | OUT)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-last-close-removes",
        claim: "The close of the last descriptor of a file removes its entry, with an event that was not \
                delivered yet. Nobody is told, and the number can be added again.",
        reference: "epoll(7) Questions and answers 6; eventpoll_release_file in fs/eventpoll.c",
        matters: "A plain close is enough where no copy can exist, and only there.",
        experiment: "A pipe on the list gets a byte, its reading end is closed, and a wait made; then \
                     another pipe gets its number and is added.",
        wrong: &[
            "Nanos: https://github.com/nanovms/nanos/issues/1178",
            "Shadow: https://github.com/shadow/shadow/issues/1101",
            "elfuse: https://github.com/sysprog21/elfuse/issues/78",
        ],
        run: |k| {
            let (epoll, (r, w), (other, write_other)) = (epoll(k)?, pipe(k)?, pipe(k)?);
            add(k, epoll, r, IN)?;
            k.write(w, b"!")?;
            k.close(r)?;
            is("events after the last close", ready(k, epoll)?, vec![])?;
            k.dup2(other, r)?;
            is("ADD of the number, now of another pipe", add(k, epoll, r, IN), Ok(()))?;
            k.write(write_other, b"!")?;
            is("events of the other pipe", ready(k, epoll)?, vec![(r, IN)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-in-flight-keeps-entry",
        claim: "A descriptor that was sent over a Unix socket and closed is still on the list while the \
                message waits to be received, and its events come under the closed number. The entry goes \
                when the message is thrown away with its socket.",
        reference: "unix(7) SCM_RIGHTS; epoll(7) Questions and answers 6; the message holds a reference to the file",
        matters: "A server that hands a connection to a worker and closes it gets the worker's events until \
                  the worker receives it, and after. DEL before close, always.",
        experiment: "The reading end of a pipe is added, sent to a Unix socket and closed; a byte is \
                     written; then the Unix sockets are closed.",
        run: |k| {
            let (epoll, (r, w), (ours, theirs)) = (epoll(k)?, pipe(k)?, unix_pair(k)?);
            add(k, epoll, r, IN)?;
            k.send_fds(ours, &[r])?;
            k.close(r)?;
            is("events while there is nothing to read", ready(k, epoll)?, vec![])?;
            k.write(w, b"!")?;
            is("events under the number that was closed", ready(k, epoll)?, vec![(r, IN)])?;
            is("DEL of the closed number", delete(k, epoll, r), no(Errno::EBADF))?;
            k.close(theirs)?;
            comes_true("the entry goes with the message", || Ok(ready(k, epoll)?.is_empty()))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-fork-keeps-registration",
        claim: "A forked child that holds a descriptor keeps its entry alive after the parent has closed it. \
                The entry goes when the child exits.",
        reference: "epoll(7) Questions and answers 6; fork(2)",
        matters: "A helper process that was started without closing what it does not need keeps the sockets \
                  of the server alive, and their events.",
        experiment: "A child is forked and stays. The parent closes the reading end of a pipe on the list, \
                     writes a byte, and waits for events; then the child exits.",
        wrong: &[
            "libuv: https://github.com/joyent/libuv/issues/1099",
            "h2o: https://github.com/h2o/h2o/issues/1100",
            "Manticore Search: https://github.com/manticoresoftware/manticoresearch/issues/4056",
        ],
        run: |k| {
            let (epoll, (r, w)) = watched_pipe(k, IN)?;
            let child = Staying::after(|| Ok(()))?;
            k.close(r)?;
            k.write(w, b"!")?;
            is(
                "events under the number that was closed, while a child has it open",
                ready(k, epoll)?,
                vec![(r, IN)],
            )?;
            is("DEL of the closed number", delete(k, epoll, r), no(Errno::EBADF))?;
            child.leaves()?;
            is("events after the child has exited", ready(k, epoll)?, vec![])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-fork-shares-interest-list",
        claim: "fork does not copy the list of an epoll: an ADD or DEL by the child changes what the parent waits for. The \
                numbers are looked up among the descriptors of the caller, so that one number can stand for two entries.",
        reference: "epoll_create(2); epoll(7); do_epoll_ctl in fs/eventpoll.c",
        matters: "A child that cleans up with DEL takes the descriptors out of its parent's loop. It must \
                  make an epoll of its own, and close the old one.",
        experiment: "A child adds a pipe, another one deletes it; a third adds an eventfd under the same \
                     number and stays while the parent waits, adds and deletes the pipe.",
        wrong: &["OpenSmalltalk: https://github.com/OpenSmalltalk/opensmalltalk-vm/issues/552"],
        run: |k| {
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            k.write(w, b"!")?;
            gone(&Forked::start(|| is("ADD by a child", add(k, epoll, r, IN), Ok(())))?)?;
            is("events after a child's ADD", ready(k, epoll)?, vec![(r, IN)])?;
            is("ADD of the same by the parent", add(k, epoll, r, IN), no(Errno::EEXIST))?;
            gone(&Forked::start(|| is("DEL by a child", delete(k, epoll, r), Ok(())))?)?;
            is("events after a child's DEL", ready(k, epoll)?, vec![])?;
            is("DEL of the same by the parent", delete(k, epoll, r), no(Errno::ENOENT))?;

            let eventfd = k.eventfd(1, libc::EFD_CLOEXEC)?;
            let child = Staying::after(|| {
                k.dup2(eventfd, r)?;
                is("ADD by a child that has an eventfd under the number", add(k, epoll, r, IN | OUT), Ok(()))
            })?;
            k.close(eventfd)?;
            is("events of the child's eventfd", sorted(k, epoll)?, vec![(r, IN | OUT)])?;
            is("the number in the parent", mask(k, r)?, IN)?;
            is("DEL by the parent, whose number is a pipe", delete(k, epoll, r), no(Errno::ENOENT))?;
            is("ADD by the parent, whose number is a pipe", add(k, epoll, r, IN), Ok(()))?;
            is("events of both", sorted(k, epoll)?, vec![(r, IN), (r, IN | OUT)])?;
            child.leaves()?;
            is("events after the child has exited", sorted(k, epoll)?, vec![(r, IN)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-exec-cloexec-target",
        claim: "execve closes a descriptor with FD_CLOEXEC, and if it was the last one of its file, the entry goes from an epoll \
                that is inherited. Entries whose files stay open, here or in another process, stay.",
        reference: "epoll(7) Questions and answers 6; execve(2); do_close_on_exec in fs/file.c",
        matters: "A program that re-executes itself and keeps its epoll gets events under numbers that it does not have.",
        experiment: "A child adds three pipes to an inherited epoll, each with a byte: one that stays open, \
                     one that is closed by exec but open in the parent, and one that is its own and closed \
                     by exec. It executes a program that waits.",
        run: |k| {
            let epoll = k.epoll_create1(0)?;
            let [stays, write_stays] = k.pipe2(0)?;
            let (elsewhere, write_elsewhere) = pipe(k)?;
            k.write(write_stays, b"!")?;
            k.write(write_elsewhere, b"!")?;
            let child = Forked::exec("epoll-after-exec", &[epoll, stays, elsewhere], || {
                let (last, write_last) = pipe(k)?;
                k.write(write_last, b"!")?;
                for fd in [stays, elsewhere, last] {
                    add(k, epoll, fd, IN)?;
                }
                let expected = vec![(stays, IN), (elsewhere, IN), (last, IN)];
                is(
                    "events before exec (open after it, open in the parent, last)",
                    sorted(k, epoll)?,
                    expected,
                )
            })?;
            child.join()?;
            is("events in the parent", sorted(k, epoll)?, vec![(stays, IN), (elsewhere, IN)])
        },
        ..Fact::ALWAYS
    },
];

/// What epoll_wait says now, in the order of the descriptors and their events.
fn sorted(k: K, epoll: i32) -> Reply<Vec<(i32, Events)>> {
    let mut events = ready(k, epoll)?;
    events.sort_by_key(|(fd, events)| (*fd, events.0));
    Ok(events)
}

/// A child that did something and stays until it is told to leave.
struct Staying {
    child: Forked,
    release: i32,
}

impl Staying {
    /// Returns when the child has done `work`.
    fn after(work: impl FnOnce() -> Held) -> Held<Staying> {
        let [told, tell] = raw::pipe2(libc::O_CLOEXEC)?;
        let [gate, release] = raw::pipe2(libc::O_CLOEXEC)?;
        let child = Forked::start(|| {
            work()?;
            raw::write(tell, b"!")?;
            raw::read(gate, &mut [0])?;
            Ok(())
        })?;
        raw::close(tell)?;
        let mut one = entry(told, IN);
        raw::poll(At::from(&mut one), bound_ms())?;
        if !revents(&one).has(IN) {
            child.join()?;
            return skip(Why::Setup, "a forked child ended before its time");
        }
        Ok(Staying { child, release })
    }

    /// Let it exit, and wait until all that it had open is closed.
    fn leaves(&self) -> Held {
        raw::write(self.release, b"!")?;
        gone(&self.child)
    }
}

/// Wait until a child has exited, and what it had open is closed.
fn gone(child: &Forked) -> Held {
    child.join()?;
    raw::waitpid(child.pid, 0)?;
    Ok(())
}

/// The program that the child of `ep-exec-cloexec-target` executes.
pub(in crate::facts) fn help_after_exec(numbers: &[i32]) -> Held {
    let &[epoll, stays, elsewhere] = numbers else {
        return skip(Why::Setup, format!("three numbers for the program after exec: {numbers:?}"));
    };
    is("a descriptor without FD_CLOEXEC after exec", mask_of(&Linux, stays, IN)?, IN)?;
    is("a descriptor with FD_CLOEXEC after exec", mask_of(&Linux, elsewhere, IN)?, NVAL)?;
    let expected = vec![(stays, IN), (elsewhere, IN)];
    is("events after exec (open still, open in the parent)", sorted(&Linux, epoll)?, expected)
}
