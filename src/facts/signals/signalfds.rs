//! Signals as descriptors.

use super::*;
use libc::{SFD_CLOEXEC, SFD_NONBLOCK};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sig-signalfd-consumes",
        claim: "read of a signalfd takes the pending signal away: no handler runs when it is unblocked later. A standard signal \
                that was sent twice gives one record of 128 bytes; with room for less, read fails with EINVAL.",
        reference: "signalfd(2); signalfd_dequeue and signalfd_read_iter in fs/signalfd.c",
        matters: "Like a handler, a signalfd of SIGCHLD does not say how many children have ended.",
        experiment: "SIGUSR1 blocked and sent twice; read with room for 127 bytes, for two records, and again; SIGUSR1 unblocked.",
        run: |k| {
            k.sigaction(SIGUSR1, Action::Count, 0)?;
            k.sigprocmask(SIG_BLOCK, bit(SIGUSR1))?;
            let fd = k.signalfd(-1, bit(SIGUSR1), SFD_NONBLOCK | SFD_CLOEXEC)?;
            k.kill(me(), SIGUSR1)?;
            k.kill(me(), SIGUSR1)?;
            let mut records = [0; 256];
            noted(is("read with room for 127 bytes", k.read(fd, &mut records[..127]), no(Errno::EINVAL)));
            noted(is("poll of the signalfd, with the signal sent twice", mask(k, fd), Ok(IN)));
            let n = k.read(fd, &mut records);
            let signal = i32::from_ne_bytes([records[0], records[1], records[2], records[3]]);
            noted(is("read with room for two records, and ssi_signo", (n, signal), (Ok(128), SIGUSR1)));
            noted(is("pending signals after read", k.sigpending(), Ok(0)));
            noted(is("read again", k.read(fd, &mut records), no(Errno::EAGAIN)));
            k.sigprocmask(SIG_UNBLOCK, bit(SIGUSR1))?;
            is("runs of the handler once the signal is unblocked", handled(SIGUSR1), 0)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-signalfd-epoll-registrar",
        claim: "An epoll instance learns of a signalfd from the process that added it. A forked child with a \
                signal of its own pending gets nothing from the inherited instance, but IN from poll, and \
                from an instance that it makes itself. Once the entry is ready because of the parent's \
                signal, the child's epoll_wait asks for the child, and finds its signal.",
        reference: "signalfd(2), epoll(7) semantics; signalfd_poll in fs/signalfd.c waits on current->sighand",
        matters: "A daemon that forks after it has set up its event loop never hears of its signals.",
        experiment: "A signalfd in an epoll instance; a child sends itself the signal and asks both \
                     instances and poll. The same with the signal pending in the parent too.",
        run: |k| {
            k.sigprocmask(SIG_BLOCK, bit(SIGUSR1))?;
            let fd = k.signalfd(-1, bit(SIGUSR1), SFD_NONBLOCK | SFD_CLOEXEC)?;
            let inherited = watching(k, fd, IN)?;
            let child = Forked::start(|| {
                k.kill(me(), SIGUSR1)?;
                noted(is(
                    "the inherited epoll, with a signal pending in the child",
                    ready(k, inherited),
                    Ok(vec![]),
                ));
                noted(is("poll in the child", mask(k, fd), Ok(IN)));
                let own = watching(k, fd, IN)?;
                is("an epoll of the child's own", ready(k, own), Ok(vec![(fd, IN)]))
            })?;
            noted(child.join());
            noted(is(
                "the epoll in the parent, which has no signal pending",
                ready(k, inherited),
                Ok(vec![]),
            ));
            k.kill(me(), SIGUSR1)?;
            Forked::start(|| {
                k.kill(me(), SIGUSR1)?;
                let expected = Ok(vec![(fd, IN)]);
                is("the inherited epoll, made ready by the parent's signal", ready(k, inherited), expected)
            })?
            .join()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sig-signalfd-needs-blocking",
        claim: "A signal that is not blocked goes to its handler, and the signalfd stays as it is.",
        reference: "signalfd(2)",
        matters: "A forgotten sigprocmask, or a thread started before it, takes the signals away from the \
                  signalfd; without a handler the process dies.",
        experiment: "A handler and a signalfd for SIGUSR1, which is not blocked; the signal; poll and read.",
        run: |k| {
            k.sigaction(SIGUSR1, Action::Count, 0)?;
            let fd = k.signalfd(-1, bit(SIGUSR1), SFD_NONBLOCK | SFD_CLOEXEC)?;
            k.kill(me(), SIGUSR1)?;
            noted(is("runs of the handler", handled(SIGUSR1), 1));
            noted(is("poll of the signalfd", mask(k, fd), Ok(NONE)));
            is("read of the signalfd", k.read(fd, &mut [0; 128]), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
];
