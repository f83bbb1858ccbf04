//! Kernels that break a fact of `facts/select/`.

mod calls;
mod sets;

use super::kinds::*;
use crate::sys::limits::Nofile;
use crate::sys::raw::{Action, Nowhere};
use calls::{OnMask, OnTime, deliver, in_three_steps, rest};
use libc::{POLLERR, POLLHUP, POLLIN};
use sets::{OnSets, asked, bits, copy, each, each_with, fewer, has, is_closed, put};
use std::time::Instant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "select-timeout-kept",
        breaks: "sel-timeout-rewritten-on-ready",
        behaviour: "select and pselect6 leave their timeout as it was, as on BSD and macOS.",
        kernel: &OnTime(|_, time, ask| rest(time, ask, |_, before, _| before)),
    },
    Mutant {
        name: "select-timeout-kept-on-expiry",
        breaks: "sel-timeout-zeroed-on-expiry",
        behaviour: "select and pselect6 leave their timeout as it was when they return 0, as loops that set it once expect.",
        kernel: &OnTime(|_, time, ask| {
            rest(time, ask, |reply, before, left| if *reply == Ok(0) { before } else { left })
        }),
    },
    Mutant {
        name: "select-timeout-kept-on-eintr",
        breaks: "sel-timeout-rewritten-on-eintr",
        behaviour: "select and pselect6 leave their timeout as it was when a signal interrupts them, as on BSD and macOS.",
        kernel: &OnTime(|_, time, ask| {
            rest(time, ask, |reply, before, left| if *reply == no(Errno::EINTR) { before } else { left })
        }),
    },
    Mutant {
        name: "epoll-pwait2-rewrites-timeout",
        breaks: "sel-pselect6-rewrites-glibc-hides",
        behaviour: "epoll_pwait2 overwrites its timeout with the rest, as ppoll does.",
        kernel: &OnTime(|_, time, ask| {
            rest(time, ask, |reply, _, left| if *reply == Ok(0) { (0, 0) } else { left })
        }),
    },
    Mutant {
        name: "select-no-sticky-timeouts",
        breaks: "sel-sticky-timeouts",
        behaviour: "select and pselect6 overwrite their timeout whatever the personality is, as emulators do that ignore it.",
        kernel: &OnTime(|_, time, ask| {
            rest(time, ask, |reply, _, left| if *reply == Ok(0) { (0, 0) } else { left })
        }),
    },
    Mutant {
        name: "select-usec-strict",
        breaks: "sel-usec-overflow-normalised",
        behaviour: "select refuses a tv_usec of 1000000 and more with EINVAL, as BSD and macOS do.",
        kernel: &OnTime(|call, time, ask| match call {
            Call::select if time.1 >= 1_000_000 => no(Errno::EINVAL),
            _ => ask(time),
        }),
    },
    Mutant {
        name: "pselect-nsec-normalised",
        breaks: "sel-nsec-out-of-range-einval",
        behaviour: "pselect6 takes a tv_nsec of 1000000000 and more as whole seconds, as select does with tv_usec.",
        kernel: &OnTime(|call, time, ask| {
            if call == Call::pselect6 && time.1 >= 1_000_000_000 {
                *time = (time.0 + time.1 / 1_000_000_000, time.1 % 1_000_000_000);
            }
            ask(time)
        }),
    },
    Mutant {
        name: "select-negative-is-none",
        breaks: "sel-negative-nfds-einval",
        behaviour: "A negative number of descriptors is none, in a kernel that clamps it at both ends.",
        kernel: &OnSets(|nfds, sets, ask| ask(nfds.max(0), sets)),
    },
    Mutant {
        name: "select-checks-limit",
        breaks: "sel-huge-nfds-accepted",
        behaviour: "A number of descriptors above RLIMIT_NOFILE is EINVAL, as select(2) says and as poll does.",
        kernel: &OnSets(|nfds, sets, ask| {
            let soft = Nofile::current().map_or(u64::MAX, |nofile| nofile.soft);
            if u64::try_from(nfds).is_ok_and(|nfds| nfds > soft) {
                no(Errno::EINVAL)
            } else {
                ask(nfds, sets)
            }
        }),
    },
    Mutant {
        name: "select-skips-closed",
        breaks: "sel-closed-fd-ebadf",
        behaviour: "A closed descriptor in a set is ignored, as poll ignores a negative one.",
        kernel: &OnSets(|nfds, mut sets, ask| {
            for fd in asked(&sets, nfds).into_iter().filter(|&fd| is_closed(fd)) {
                each(&mut sets, |words| put(words, fd, false));
            }
            ask(nfds, sets)
        }),
    },
    Mutant {
        name: "select-any-closed-ebadf",
        breaks: "sel-bit-above-fdsize-ignored",
        behaviour: "A closed descriptor is EBADF whatever its number, as POSIX wants it.",
        kernel: &OnSets(|nfds, sets, ask| {
            if asked(&sets, nfds).into_iter().any(is_closed) { no(Errno::EBADF) } else { ask(nfds, sets) }
        }),
    },
    Mutant {
        name: "select-ebadf-clears-sets",
        breaks: "sel-ebadf-leaves-sets",
        behaviour: "A call that fails empties the sets, as loops that look at the sets alone expect.",
        kernel: &OnSets(|nfds, mut sets, ask| {
            let reply = ask(nfds, sets.again());
            if reply.is_err() {
                each(&mut sets, |words| words.fill(0));
            }
            reply
        }),
    },
    Mutant {
        name: "select-timeout-keeps-sets",
        breaks: "sel-timeout-clears-sets",
        behaviour: "A call that returns 0 leaves the sets as they were, as loops that fill them once expect.",
        kernel: &OnSets(|nfds, mut sets, ask| {
            let before = copy(&sets);
            let reply = ask(nfds, sets.again());
            if reply == Ok(0) {
                each_with(&mut sets, &before, |words, before| words.copy_from_slice(before));
            }
            reply
        }),
    },
    Mutant {
        name: "select-nfds-is-highest",
        breaks: "sel-bits-ge-nfds-not-polled",
        behaviour: "The number of descriptors is taken for the highest descriptor, without plus one, as many people expect.",
        kernel: &OnSets(|nfds, sets, ask| match &sets.read {
            At::Memory(_) => ask(nfds.saturating_add(1), sets),
            At::Nowhere(..) => ask(nfds, sets),
        }),
    },
    Mutant {
        name: "select-copies-bits",
        breaks: "sel-tail-of-last-word-cleared",
        behaviour: "The sets are written back bit by bit, up to the number of descriptors, and not in whole longs.",
        kernel: &OnSets(|nfds, mut sets, ask| {
            let before = copy(&sets);
            let reply = ask(nfds, sets.again());
            each_with(&mut sets, &before, |words, before| {
                let beyond = nfds.max(0)..64 * words.len() as i32;
                beyond.for_each(|fd| put(words, fd, has(before, fd)));
            });
            reply
        }),
    },
    Mutant {
        name: "select-counts-descriptors",
        breaks: "sel-counts-bits-not-fds",
        behaviour: "The number that is returned is that of the descriptors that are ready, as people expect.",
        kernel: &OnSets(|nfds, mut sets, ask| {
            ask(nfds, sets.again()).map(|n| n.min(asked(&sets, nfds).len()))
        }),
    },
    Mutant {
        name: "select-stops-at-1024",
        breaks: "sel-raw-bitmap-above-1024",
        behaviour: "More than FD_SETSIZE descriptors are EINVAL, as on macOS unless a program asks for more.",
        kernel: &OnSets(|nfds, sets, ask| if nfds > 1024 { no(Errno::EINVAL) } else { ask(nfds, sets) }),
    },
    Mutant {
        name: "select-checks-pointers-first",
        breaks: "sel-bad-pointer-efault",
        behaviour: "A pointer that leads nowhere is EFAULT with no descriptors too, as in emulators that translate \
                    all pointers first.",
        kernel: &OnSets(|nfds, sets, ask| {
            let nowhere = |set: &At<'_, u64>| matches!(set, At::Nowhere(Nowhere::Low | Nowhere::Kernel, _));
            let any = [&sets.read, &sets.write, &sets.except].into_iter().any(nowhere);
            if any && nfds >= 0 { no(Errno::EFAULT) } else { ask(nfds, sets) }
        }),
    },
    Mutant {
        name: "select-files-not-ready",
        breaks: "sel-regular-file-read-write-ready",
        behaviour: "A regular file is never ready, as epoll has it: there is nothing to wait for.",
        kernel: &OnSets(|nfds, sets, ask| fewer(nfds, sets, ask, |fd, _| is_unpollable(fd))),
    },
    Mutant {
        name: "select-hup-not-readable",
        breaks: "sel-pipe-eof-only-readable",
        behaviour: "HUP puts a descriptor into no set, in a kernel that takes IN alone for readable.",
        kernel: &OnSets(|nfds, sets, ask| {
            let hung_up = |fd| polled(fd, POLLIN, 0) & (POLLIN | POLLHUP) == POLLHUP;
            fewer(nfds, sets, ask, |fd, set| set == "read" && hung_up(fd))
        }),
    },
    Mutant {
        name: "select-err-not-readable",
        breaks: "sel-pipe-broken-read-and-write",
        behaviour: "ERR makes a descriptor writable and not readable, as one would think of a pipe without readers.",
        kernel: &OnSets(|nfds, sets, ask| {
            let broken = |fd| polled(fd, POLLIN, 0) & (POLLIN | POLLERR) == POLLERR;
            fewer(nfds, sets, ask, |fd, set| set == "read" && broken(fd))
        }),
    },
    Mutant {
        name: "select-refused-in-except",
        breaks: "sel-refused-connect-both-sets",
        behaviour: "A socket whose connect failed is in the except set alone, as on Windows.",
        kernel: &OnSets(|nfds, mut sets, ask| {
            let wanted = copy(&sets);
            let reply = ask(nfds, sets.again())?;
            let failed = |fd: &i32| polled(*fd, POLLIN, 0) & POLLERR != 0 && raw::getsockname(*fd).is_ok();
            for fd in asked(&sets, nfds).into_iter().filter(failed) {
                each(&mut sets, |words| put(words, fd, false));
                if let At::Memory(words) = &mut sets.except {
                    put(words, fd, has(&wanted[2], fd));
                }
            }
            Ok(if reply == 0 { 0 } else { bits(&mut sets) })
        }),
    },
    Mutant {
        name: "select-no-except",
        breaks: "sel-oob-in-except-set",
        behaviour: "The except set always comes back empty, as in network stacks without urgent data.",
        kernel: &OnSets(|nfds, sets, ask| fewer(nfds, sets, ask, |_, set| set == "except")),
    },
    Mutant {
        name: "select-closed-meanwhile-ebadf",
        breaks: "sel-close-in-other-thread-no-wake",
        behaviour: "A descriptor that was closed while select waited is EBADF when it wakes up, as before it waits.",
        kernel: &OnSets(|nfds, mut sets, ask| {
            let reply = ask(nfds, sets.again());
            if asked(&sets, nfds).into_iter().any(is_closed) { no(Errno::EBADF) } else { reply }
        }),
    },
    Mutant {
        name: "epoll-pwait-restarts",
        breaks: "sel-eintr-despite-sa-restart",
        behaviour: "epoll_pwait goes on waiting after a handler with SA_RESTART, as read does and as people expect.",
        kernel: &OnMask(|call, mask, ask| match ask(mask, false) {
            // With a short limit, so that the experiment does not wait for ever.
            Err(refusal) if refusal.errno == Errno::EINTR && call == Call::epoll_pwait => ask(mask, true),
            reply => reply,
        }),
    },
    Mutant {
        name: "poll-eintr-after-stop",
        breaks: "sel-stop-cont-restarts-transparently",
        behaviour: "poll fails with EINTR when its process was stopped and continued, as epoll_wait does.",
        kernel: &instead::poll(|fds, timeout| {
            // With a handler, SIGCONT interrupts.
            raw::sigaction(libc::SIGCONT, Action::Count, 0)?;
            let reply = raw::poll(fds, timeout);
            raw::sigaction(libc::SIGCONT, Action::Default, 0)?;
            reply
        }),
    },
    Mutant {
        name: "ppoll-stopped-time-counts",
        breaks: "sel-stop-cont-restarts-transparently",
        behaviour: "ppoll keeps to its deadline when its process was stopped, as poll does and as people expect.",
        kernel: &OnTime(|call, time, ask| {
            let (started, before) = (Instant::now(), time.0 * 1_000_000_000 + time.1);
            let reply = ask(time);
            if call == Call::ppoll {
                let left = (before - started.elapsed().as_nanos() as i64).max(0);
                *time = (left / 1_000_000_000, left % 1_000_000_000);
            }
            reply
        }),
    },
    Mutant {
        name: "pselect6-read-only-timeout-efault",
        breaks: "sel-timeout-read-only",
        behaviour: "pselect6 fails with EFAULT when it cannot write the rest of the time back.",
        kernel: &instead::pselect6_read_only(|n, sets, timeout, mask| {
            raw::pselect6_read_only(n, sets, timeout, mask)?;
            no(Errno::EFAULT)
        }),
    },
    Mutant {
        name: "handler-despite-success",
        breaks: "sel-ready-fd-beats-pending-signal",
        behaviour: "pselect6, ppoll and epoll_pwait run the handler of a pending signal although they succeed, as in \
                    Linux 5.0 and 5.1.",
        kernel: &OnMask(|_, mask, ask| {
            let reply = ask(mask, false);
            if matches!(reply, Ok(1..)) {
                deliver(mask);
            }
            reply
        }),
    },
    Mutant {
        name: "pselect-not-atomic",
        breaks: "sel-pending-signal-is-atomic",
        behaviour: "pselect6, ppoll and epoll_pwait set the mask, wait, and set it back, in three steps, as the C \
                    library did before Linux 2.6.16: the handler runs first, and the wait goes on.",
        kernel: &OnMask(|_, mask, ask| in_three_steps(mask, ask)),
    },
    Mutant {
        name: "epoll-pwait-zero-eintr",
        breaks: "sel-zero-timeout-pending-asymmetry",
        behaviour: "epoll_pwait with a timeout of 0 fails with EINTR if a signal is pending, as ppoll does.",
        kernel: &OnMask(|call, mask, ask| match ask(mask, false) {
            Ok(0) if call == Call::epoll_pwait && deliver(mask) => no(Errno::EINTR),
            reply => reply,
        }),
    },
    Mutant {
        name: "sigsetsize-ignored",
        breaks: "sel-sigsetsize-checked",
        behaviour: "The size of a signal mask is not checked, as in emulators that know it anyway.",
        kernel: &OnMask(|_, mask, ask| ask(Mask { size: 8, ..mask }, false)),
    },
];
