//! The array: which entries are looked at, and which of their fields are written.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-negative-fd-ignored",
        claim: "An entry with a negative descriptor gets revents 0, whatever was there before, and is not counted.",
        reference: "poll(2) DESCRIPTION; do_pollfd in fs/select.c",
        matters: "A loop can leave a hole in its array for a client that has gone, or switch an entry off for a while \
                  by making its number negative.",
        experiment: "poll with a timeout of 0 of entries for -1, -2 and the lowest number, whose revents have all bits set.",
        run: |k| {
            let mut entries = [-1, -2, i32::MIN].map(|fd| stale(fd, ALL));
            is("poll of negative descriptors, and revents", polled(k, &mut entries), (Ok(0), vec![NONE; 3]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-closed-fd-nval",
        claim: "A descriptor that is not open gives exactly NVAL, however large its number is. The entry is counted, \
                and the call returns at once, even with no limit on time.",
        reference: "poll(2) POLLNVAL; do_pollfd in fs/select.c",
        matters: "poll does not fail with EBADF as select does. A loop that skips entries with NVAL spins at 100 % \
                  CPU; one that tests for IN only never learns that it has closed the wrong number.",
        experiment: "poll without a limit on time of an empty pipe, a number that was closed, number 5000 and the \
                     highest number there is, which is beyond any table of descriptors.",
        run: |k| {
            let [idle, _its_writer] = k.pipe2(libc::O_CLOEXEC)?;
            let [closed, _its_writer] = k.pipe2(libc::O_CLOEXEC)?;
            k.close(closed)?;
            let waiter = Waiter::started(POLL, move || {
                let mut entries = [idle, closed, 5000, i32::MAX].map(|fd| stale(fd, ALL));
                (k.poll(At::from(&mut entries), -1), written(&entries))
            })?;
            let expected = (Ok(3), vec![NONE, NVAL, NVAL, NVAL]);
            is("poll of an empty pipe and three closed numbers, and revents", waiter.join()?, expected)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-nval-not-requestable",
        claim: "NVAL, ERR and HUP in events do nothing: a healthy descriptor that is asked for them reports nothing.",
        reference: "poll(2) POLLERR, POLLHUP, POLLNVAL; do_pollfd in fs/select.c",
        matters: "An entry that asks for HUP alone waits for the end of the connection and for nothing else. So does \
                  one that asks for nothing.",
        experiment: "poll of both ends of an idle pipe and of a connected socket, asked for NVAL, ERR and HUP.",
        run: |k| {
            let [read_end, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let (socket, _peer) = unix_pair(k)?;
            let mut entries = [read_end, write_end, socket].map(|fd| stale(fd, NVAL | ERR | HUP));
            is("poll for NVAL, ERR and HUP, and revents", polled(k, &mut entries), (Ok(0), vec![NONE; 3]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-err-hup-unmaskable",
        claim: "An entry whose events are 0 still reports HUP (a pipe without writers) and ERR (a pipe without readers).",
        reference: "poll(2) POLLERR, POLLHUP; do_pollfd in fs/select.c adds both to what is asked for",
        matters: "Events of 0 do not silence a descriptor. A server that stops reading from a client in this way \
                  spins at 100 % CPU when the client goes.",
        experiment: "poll with events 0 of the reading end of a pipe without writers, and of the writing end of a \
                     pipe without readers.",
        wrong: &[
            "h2o: https://github.com/h2o/h2o/issues/603",
            "CUPS: https://github.com/apple/cups/issues/4605",
            "Seastar: https://github.com/scylladb/seastar/issues/1945",
            "fibers: https://github.com/wingo/fibers/issues/38",
            "tunneldigger: https://github.com/wlanslovenija/tunneldigger/issues/148",
            "XRootD: https://github.com/xrootd/xrootd/issues/303",
        ],
        run: |k| {
            let [read_end, writer] = k.pipe2(libc::O_CLOEXEC)?;
            let [reader, write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let mut entries = [read_end, write_end].map(|fd| stale(fd, NONE));
            is("poll with events 0 of two healthy pipes", polled(k, &mut entries), (Ok(0), vec![NONE; 2]))?;
            k.close(writer)?;
            k.close(reader)?;
            let what = "poll with events 0 of one without writers and one without readers";
            is(what, polled(k, &mut entries), (Ok(2), vec![HUP, ERR]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-nfds-over-rlimit-einval",
        claim: "An array with more entries than the soft RLIMIT_NOFILE gives EINVAL, even if the descriptor of every \
                entry is -1. One with as many entries as the limit is taken.",
        reference: "poll(2) ERRORS; do_sys_poll in fs/select.c",
        matters: "An array that grows with its clients and is never compacted, or that has entries for descriptors of \
                  more than one process, fails as a whole once it is too long.",
        experiment: "The limit is lowered to 10, and poll called with 10 and with 11 entries for -1.",
        run: |k| {
            raw::limit_descriptors(10)?;
            let mut entries = [stale(-1, IN); 11];
            is("poll of 10 entries with a limit of 10", k.poll(At::from(&mut entries[..10]), 0), Ok(0))?;
            is("poll of 11 entries with a limit of 10", k.poll(At::from(&mut entries), 0), no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-duplicate-entries",
        claim: "A descriptor that is in the array twice gets revents in both entries, each by the events of its own \
                entry, and counts as 2.",
        reference: "poll(2) RETURN VALUE; do_poll in fs/select.c",
        matters: "The return value counts entries. Two parts of a program can watch one descriptor for different \
                  events without knowing of each other, which epoll refuses with EEXIST.",
        experiment: "A socket with a byte to read is in the array three times: asked for IN, for OUT and for PRI.",
        run: |k| {
            let (socket, peer) = unix_pair(k)?;
            k.write(peer, b"1")?;
            let mut entries = [IN, OUT, PRI, IN | OUT].map(|events| stale(socket, events));
            let expected = (Ok(3), vec![IN, OUT, NONE, IN | OUT]);
            is("poll of one socket for IN, for OUT, for PRI, for IN+OUT", polled(k, &mut entries), expected)?;
            let mut twice = [stale(socket, IN); 2];
            is("poll of one socket in two equal entries", polled(k, &mut twice), (Ok(2), vec![IN, IN]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-revents-overwritten",
        claim: "When poll succeeds it has written revents of every entry: 0 where nothing is to be said.",
        reference: "poll(2) DESCRIPTION; do_pollfd in fs/select.c",
        matters: "Nobody needs to clear revents between two calls, as the sets of select must be filled again.",
        experiment: "revents have all bits set before poll of an empty pipe, one with a byte, and an empty one; then \
                     before poll of an empty pipe alone, which gives 0.",
        run: |k| {
            let [empty, _its_writer] = k.pipe2(libc::O_CLOEXEC)?;
            let [full, its_writer] = k.pipe2(libc::O_CLOEXEC)?;
            k.write(its_writer, b"1")?;
            let mut entries = [empty, full, empty].map(|fd| stale(fd, ALL));
            let expected = (Ok(1), vec![NONE, IN, NONE]);
            is("poll of an empty pipe, one with a byte, the empty one", polled(k, &mut entries), expected)?;
            let mut alone = [stale(empty, ALL)];
            is("poll of an empty pipe alone", polled(k, &mut alone), (Ok(0), vec![NONE]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-revents-written-on-eintr",
        claim: "poll that fails with EINTR has written revents of every entry too: 0, as nothing was ready.",
        reference: "do_sys_poll in fs/select.c copies revents out whatever do_poll gave",
        matters: "A loop that looks at revents after EINTR by mistake sees nothing, not what the call before left \
                  there. No man page promises it.",
        experiment: "revents have all bits set; a thread sleeps in poll of an empty pipe, a socket and -1, and a \
                     signal with a handler is sent to it.",
        run: |k| {
            k.sigaction(libc::SIGUSR1, Action::Count, 0)?;
            let [empty, _its_writer] = k.pipe2(libc::O_CLOEXEC)?;
            let (socket, _peer) = unix_pair(k)?;
            let waiter = Waiter::asleep(POLL, move || {
                let mut entries = [empty, socket, -1].map(|fd| stale(fd, IN | PRI));
                (k.poll(At::from(&mut entries), bound_ms()), written(&entries))
            })?;
            raw::tgkill(waiter.thread, libc::SIGUSR1)?;
            is("poll when a handler has run, and revents", waiter.join()?, (no(Errno::EINTR), vec![NONE; 3]))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-events-never-written",
        claim: "poll never writes events, nor the descriptor: not for an entry that is ready, that has ERR, HUP or \
                NVAL, nor when it gives 0.",
        reference: "poll(2) DESCRIPTION; do_sys_poll in fs/select.c writes revents alone",
        matters: "One array serves for the whole life of a loop. It is why poll has two fields where select has one set.",
        experiment: "poll of descriptors with IN, HUP, ERR and NVAL, of -1 and of one that is not ready; then of the \
                     last alone. events and fd of all entries are compared with those before.",
        run: |k| {
            let [ready, its_writer] = k.pipe2(libc::O_CLOEXEC)?;
            let [hung_up, writer] = k.pipe2(libc::O_CLOEXEC)?;
            let [reader, broken] = k.pipe2(libc::O_CLOEXEC)?;
            let [idle, closed] = k.pipe2(libc::O_CLOEXEC)?;
            let [quiet, _its_writer] = k.pipe2(libc::O_CLOEXEC)?;
            k.write(its_writer, b"1")?;
            for fd in [writer, reader, closed] {
                k.close(fd)?;
            }
            // Bits that no kernel knows are the caller's too.
            let asked = ALL | ERR | HUP | NVAL | Events(0x4000);
            let mut entries = [ready, hung_up, broken, idle, closed, -1, quiet].map(|fd| entry(fd, asked));
            let fields = |entries: &[pollfd]| -> Vec<(i32, Events, Events)> {
                let events = |events: i16| Events(u32::from(events.cast_unsigned()));
                entries.iter().map(|one| (one.fd, events(one.events), events(one.revents))).collect()
            };
            let mut expected = fields(&entries);
            for (one, revents) in expected.iter_mut().zip([IN, HUP, ERR | OUT, HUP, NVAL, NONE, NONE]) {
                one.2 = revents;
            }
            let n = k.poll(At::from(&mut entries), 0);
            is("poll of what has IN, HUP, ERR, HUP and NVAL, of -1 and of an idle pipe", n, Ok(5))?;
            is("fd, events and revents after poll gave 5", fields(&entries), expected.clone())?;
            let last = entries.len() - 1;
            is("poll of the idle pipe alone", k.poll(At::from(&mut entries[last..]), 0), Ok(0))?;
            is("fd, events and revents after poll gave 0", fields(&entries), expected)
        },
        ..Fact::ALWAYS
    },
];

/// An entry whose revents have all bits set.
fn stale(fd: i32, events: Events) -> pollfd {
    pollfd { revents: i16::MAX, ..entry(fd, events) }
}

/// What is in revents, with aliases.
fn written(entries: &[pollfd]) -> Vec<Events> {
    entries.iter().map(|entry| Events(u32::from(entry.revents.cast_unsigned()))).collect()
}

/// What poll gives without waiting, and what is in revents then.
fn polled(k: K, entries: &mut [pollfd]) -> (Reply<usize>, Vec<Events>) {
    (k.poll(At::from(&mut *entries), 0), written(entries))
}
