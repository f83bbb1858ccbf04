//! Kernels that break a fact of `facts/uring/`.

use super::kinds::*;
use crate::sys::raw::{Completion, Op, Submission, Take};
use libc::{MSG_DONTWAIT, POLLIN};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "uring-poll-stays-armed",
        breaks: "ur-poll-add-oneshot",
        behaviour: "POLL_ADD stays armed after its first completion, as an entry of epoll does and as people expect.",
        kernel: &Submitted(|old| match *old {
            Op::PollAdd { fd, events, .. } => Op::PollAdd { fd, events, multi: true },
            _ => old.clone(),
        }),
    },
    Mutant {
        name: "uring-multishot-is-level",
        breaks: "ur-poll-multishot-is-edge",
        behaviour: "A multishot POLL_ADD completes again and again for as long as something can be read, as \
                    people expect who come from poll, and as IORING_POLL_ADD_LEVEL asks for.",
        kernel: &Table {
            uring_submit: |ring, operations| {
                for operation in operations {
                    if let Op::PollAdd { fd, multi: true, .. } = operation.op {
                        *locked(&POLLED) = Some((fd, operation.name));
                    }
                }
                raw::uring_submit(ring, operations)
            },
            uring_next: |ring| {
                if let Some((fd, name)) = *locked(&POLLED)
                    && ITS_TURN.swap(false, SeqCst)
                {
                    let ready = polled(fd, POLLIN, 0);
                    if ready != 0 {
                        let result = Ok(ready.into());
                        return Ok(Some(Completion { name, result, more: true, notice: false }));
                    }
                }
                raw::uring_next(ring).inspect(|next| ITS_TURN.store(next.is_some(), SeqCst))
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "uring-remove-finds-all",
        breaks: "ur-poll-remove",
        behaviour: "POLL_REMOVE of a request that does not exist gives 0, as people expect of what is gone anyway.",
        kernel: &Completed(|next| if next.result == no(Errno::ENOENT) { next.with(Ok(0)) } else { next }),
    },
    Mutant {
        name: "uring-poll-refuses-files",
        breaks: "ur-poll-regular-file-ok",
        behaviour: "POLL_ADD on a regular file gives EPERM, as epoll_ctl does.",
        kernel: &Table {
            uring_submit: |ring, operations| {
                for operation in operations {
                    if let Op::PollAdd { fd, .. } = operation.op {
                        FAILS.store(is_unpollable(fd), SeqCst);
                    }
                }
                raw::uring_submit(ring, operations)
            },
            uring_next: |ring| next_may_fail(ring, Errno::EPERM),
            ..Table::LINUX
        },
    },
    Mutant {
        name: "uring-close-cancels",
        breaks: "ur-close-does-not-cancel",
        behaviour: "close cancels what io_uring does with the descriptor, as people expect.",
        kernel: &Table {
            close: |fd| {
                for ring in marked().iter() {
                    raw::uring_submit(*ring, &[Op::CancelFd { fd }.named("close").quiet()])?;
                }
                raw::close(fd)
            },
            ..MARKS_RINGS
        },
    },
    Mutant {
        name: "uring-honours-nonblock",
        breaks: "ur-nonblock-flag-ignored",
        behaviour: "RECV and READ on a non-blocking socket give EAGAIN at once, as READ did around Linux 5.9.",
        kernel: &Submitted(|old| match *old {
            Op::Recv { fd, flags } if is_nonblocking(fd) => Op::Recv { fd, flags: flags | MSG_DONTWAIT },
            Op::Read { fd } if is_nonblocking(fd) && raw::getsockname(fd).is_ok() => {
                Op::Recv { fd, flags: MSG_DONTWAIT }
            }
            _ => old.clone(),
        }),
    },
    Mutant {
        name: "uring-accept-once",
        breaks: "ur-accept-multishot",
        behaviour: "A multishot ACCEPT ends with its first connection, as a single one does.",
        kernel: &Submitted(|old| match *old {
            Op::Accept { fd, dont_wait, .. } => Op::Accept { fd, multi: false, dont_wait },
            _ => old.clone(),
        }),
    },
    Mutant {
        name: "uring-connect-in-progress",
        breaks: "ur-connect-errno-direct",
        behaviour: "CONNECT of a non-blocking socket gives EINPROGRESS, as connect does.",
        kernel: &Table {
            uring_submit: |ring, operations| {
                let connect = |old: &Op| match *old {
                    Op::Connect { fd, to } if is_nonblocking(fd) => {
                        FAILS.store(raw::connect(fd, &to) == no(Errno::EINPROGRESS), SeqCst);
                        Op::Nop
                    }
                    _ => old.clone(),
                };
                Submitted(connect).uring_submit(ring, operations)
            },
            uring_next: |ring| next_may_fail(ring, Errno::EINPROGRESS),
            ..Table::LINUX
        },
    },
    Mutant {
        name: "uring-ring-not-readable",
        breaks: "ur-ring-fd-is-pollable",
        behaviour: "A ring has OUT only, also with a completion in it: a loop over epoll never hears of it.",
        kernel: &Table {
            poll: |fds, timeout| Loses(POLLIN, |one| is_marked(one.fd)).poll(fds, timeout),
            ..MARKS_RINGS
        },
    },
    Mutant {
        name: "uring-epoll-wait-at-once",
        breaks: "ur-epoll-ops",
        behaviour: "EPOLL_WAIT completes at once, as epoll_wait with a timeout of 0.",
        kernel: &Submitted(|old| match *old {
            Op::EpollWait { .. } => Op::Nop,
            _ => old.clone(),
        }),
    },
    Mutant {
        name: "uring-timeout-succeeds",
        breaks: "ur-link-timeout",
        behaviour: "A timeout that has expired gives 0, as people expect of one that has done what it was for.",
        kernel: &Completed(|next| if next.result == no(Errno::ETIME) { next.with(Ok(0)) } else { next }),
    },
    Mutant {
        name: "uring-overflow-drops",
        breaks: "ur-cq-overflow-keeps-events",
        behaviour: "A completion for which there is no room is lost, as before Linux 5.5.",
        kernel: &Table {
            uring_setup: |entries, completions, flags| {
                ROOM.store(completions as usize, SeqCst);
                raw::uring_setup(entries, completions, flags)
            },
            uring_submit: |ring, operations| {
                let taken = TAKEN.fetch_add(operations.len(), SeqCst);
                let room = ROOM.load(SeqCst).saturating_sub(taken);
                raw::uring_submit(ring, &operations[..operations.len().min(room)])?;
                Ok(operations.len())
            },
            uring_next: |ring| {
                TAKEN.store(0, SeqCst);
                raw::uring_next(ring)
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "uring-enter-restarts",
        breaks: "ur-enter-eintr",
        behaviour: "io_uring_enter waits on after a handler has run, as people expect of SA_RESTART.",
        kernel: &instead::uring_wait(|ring, want, limit| {
            loop {
                match raw::uring_wait(ring, want, limit) {
                    Err(refusal) if refusal.errno == Errno::EINTR => {}
                    waited => return waited,
                }
            }
        }),
    },
    Mutant {
        name: "uring-eventfd-loops",
        breaks: "ur-eventfd-loop-ends",
        behaviour: "A multishot POLL_ADD of the ring's own eventfd goes on, and completes because of its own \
                    completion, as before Linux 6.2.",
        kernel: &Completed(|next| Completion { more: next.name == "POLL_ADD", ..next }),
    },
    Mutant {
        name: "uring-defer-ignored",
        breaks: "ur-defer-taskrun",
        behaviour: "IORING_SETUP_DEFER_TASKRUN is ignored: completions come with any call, as without it.",
        kernel: &instead::uring_setup(|entries, completions, _| raw::uring_setup(entries, completions, 0)),
    },
    Mutant {
        name: "uring-cancel-all-finds-one",
        breaks: "ur-cancel-all-counts",
        behaviour: "ASYNC_CANCEL of all gives 0 for success, as that of one operation does.",
        kernel: &Completed(|next| if next.name == "CANCEL" { next.with(Ok(0)) } else { next }),
    },
    Mutant {
        name: "uring-enobufs-goes-on",
        breaks: "ur-recv-multi-enobufs",
        behaviour: "A multishot RECV waits for a buffer instead of ending.",
        kernel: &Completed(|next| Completion {
            more: next.more || next.result == no(Errno::ENOBUFS),
            ..next
        }),
    },
    Mutant {
        name: "uring-bundle-of-one",
        breaks: "ur-recv-bundle",
        behaviour: "A RECV gets one buffer, with IORING_RECVSEND_BUNDLE too.",
        kernel: &Submitted(|old| match *old {
            Op::RecvInto { fd, how: Take::ManyBundles } => Op::RecvInto { fd, how: Take::Many },
            _ => old.clone(),
        }),
    },
    Mutant {
        name: "uring-send-zc-once",
        breaks: "ur-send-zc-two",
        behaviour: "SEND_ZC completes once, when its memory is free, as people expect of any operation.",
        kernel: &instead::uring_next(|ring| {
            let next = raw::uring_next(ring)?;
            Ok(next.filter(|next| !next.notice).map(|next| Completion { more: false, ..next }))
        }),
    },
];

/// Another operation is submitted instead of each.
struct Submitted(fn(&Op) -> Op);

impl Kernel for Submitted {
    fn uring_submit(&self, ring: i32, operations: &[Submission]) -> Reply<usize> {
        let changed = operations.iter().map(|old| Submission { op: (self.0)(&old.op), ..old.clone() });
        raw::uring_submit(ring, &changed.collect::<Vec<_>>())
    }
}

/// Another completion comes instead of each.
struct Completed(fn(Completion) -> Completion);

impl Kernel for Completed {
    fn uring_next(&self, ring: i32) -> Reply<Option<Completion>> {
        Ok(raw::uring_next(ring)?.map(self.0))
    }
}

impl Completion {
    fn with(self, result: Reply<i32>) -> Completion {
        Completion { result, ..self }
    }
}

/// The descriptor of a multishot poll and the name of the operation.
static POLLED: Mutex<Option<(i32, &str)>> = Mutex::new(None);
/// Whether its turn is next.
static ITS_TURN: AtomicBool = AtomicBool::new(false);

/// Whether the next completion is that of an operation which fails.
static FAILS: AtomicBool = AtomicBool::new(false);

fn next_may_fail(ring: i32, errno: Errno) -> Reply<Option<Completion>> {
    let next = raw::uring_next(ring)?;
    Ok(next.map(|next| if FAILS.swap(false, SeqCst) { next.with(no(errno)) } else { next }))
}

const MARKS_RINGS: Table = Table {
    uring_setup: |entries, completions, flags| {
        raw::uring_setup(entries, completions, flags).inspect(|ring| mark(*ring))
    },
    ..Table::LINUX
};

/// How many completions the ring has room for.
static ROOM: AtomicUsize = AtomicUsize::new(0);
/// How much of it is taken by operations that were submitted since somebody looked.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
