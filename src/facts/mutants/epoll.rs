//! Kernels that break a fact of `facts/epoll/`.

use super::kinds::*;
use crate::sys::raw::Nowhere;
use libc::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP, EPOLLRDHUP, O_CLOEXEC,
};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "epoll-create1-takes-any-flag",
        breaks: "ep-create-args",
        behaviour: "epoll_create1 ignores flags that it does not know, as open does.",
        kernel: &instead::epoll_create1(|flags| raw::epoll_create1(flags & EPOLL_CLOEXEC)),
    },
    Mutant {
        name: "epoll-add-twice-modifies",
        breaks: "ep-ctl-errnos",
        behaviour: "ADD of what is there already changes it, as EV_ADD of kqueue does.",
        kernel: &Ctl(|call| match call.real() {
            Err(refusal) if refusal.errno == Errno::EEXIST => CtlCall { op: EPOLL_CTL_MOD, ..call }.real(),
            done => done,
        }),
    },
    Mutant {
        name: "epoll-watches-itself",
        breaks: "ep-ctl-errnos",
        behaviour: "An epoll can be added to itself, as on Occlum once.",
        kernel: &Ctl(
            |call| if call.op == EPOLL_CTL_ADD && call.epoll == call.fd { Ok(()) } else { call.real() },
        ),
    },
    Mutant {
        name: "epoll-del-wants-an-event",
        breaks: "ep-ctl-event-pointer",
        behaviour: "DEL with a null pointer gives EFAULT, as on Linux before 2.6.9.",
        kernel: &Ctl(|call| if call.event.is_none() { no(Errno::EFAULT) } else { call.real() }),
    },
    Mutant {
        name: "epoll-takes-files",
        breaks: "ep-eperm-unpollable",
        behaviour: "ADD of a regular file or of /dev/null succeeds, as in kqueue, and as people expect who come from poll.",
        kernel: &Ctl(|call| if call.real() == no(Errno::EPERM) { Ok(()) } else { call.real() }),
    },
    Mutant {
        name: "epoll-directories-are-einval",
        breaks: "ep-eperm-unpollable",
        behaviour: "ADD of a directory gives EINVAL, as on Occlum once.",
        kernel: &Ctl(|call| match call.real() {
            Err(_) if raw::read(call.fd, &mut [0]) == no(Errno::EISDIR) => no(Errno::EINVAL),
            done => done,
        }),
    },
    Mutant {
        name: "epoll-looks-up-files-first",
        breaks: "ep-eperm-before-enoent",
        behaviour: "MOD and DEL of a regular file or of /dev/null give ENOENT, as on elfuse once.",
        kernel: &Ctl(|call| match call.real() {
            Err(refusal) if call.op != EPOLL_CTL_ADD && refusal.errno == Errno::EPERM => no(Errno::ENOENT),
            done => done,
        }),
    },
    Mutant {
        name: "epoll-wait-for-no-events",
        breaks: "ep-wait-args",
        behaviour: "epoll_wait with room for 0 events waits, and gives 0.",
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| match max {
            0 => raw::poll(At::Memory(&mut []), timeout),
            _ => raw::epoll_wait(epoll, events, max, timeout),
        }),
    },
    Mutant {
        name: "epoll-wait-ebadf-for-all",
        breaks: "ep-wait-bad-epfd",
        behaviour: "epoll_wait on a descriptor that is no epoll gives EBADF, as for one that is closed.",
        kernel: &OtherErrno(Call::epoll_wait, Errno::EINVAL, Errno::EBADF),
    },
    Mutant {
        name: "epoll-checks-the-array-first",
        breaks: "ep-wait-efault-lazy",
        behaviour: "epoll_wait tries whether it could write to the array before it looks for events, as QEMU's user mode does.",
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| match events {
            At::Nowhere(..) => no(Errno::EFAULT),
            events => raw::epoll_wait(epoll, events, max, timeout),
        }),
    },
    Mutant {
        name: "epoll-efault-eats-events",
        breaks: "ep-efault-loses-nothing",
        behaviour: "An event that could not be copied is taken from the list all the same.",
        kernel: &instead::epoll_wait(|epoll, events, max, timeout| {
            let nowhere = matches!(events, At::Nowhere(Nowhere::Low | Nowhere::Null, _));
            let waited = raw::epoll_wait(epoll, events, max, timeout);
            if nowhere && waited == no(Errno::EFAULT) {
                ready_now(epoll)?;
            }
            waited
        }),
    },
    Mutant {
        name: "epoll-clears-the-array",
        breaks: "ep-untouched-tail",
        behaviour: "epoll_wait writes zeros to all of the array before it copies events to it.",
        kernel: &instead::epoll_wait(|epoll, mut events, max, timeout| {
            if let At::Memory(memory) = &mut events {
                // Not of gigabytes, which a fact has to ask for the most that there is.
                memory.iter_mut().take(64).for_each(|event| *event = epoll_event { events: 0, u64: 0 });
            }
            raw::epoll_wait(epoll, events, max, timeout)
        }),
    },
    Mutant {
        name: "epoll-data-of-32-bits",
        breaks: "ep-data-opaque",
        behaviour: "The data is a descriptor, of which 32 bits come back, as in programs that use data.fd.",
        kernel: &Waited(|_, events| events.iter_mut().for_each(|event| event.u64 &= u64::from(u32::MAX))),
    },
    Mutant {
        name: "epoll-mod-keeps-data",
        breaks: "ep-data-opaque",
        behaviour: "MOD changes the events and leaves the data as it was added.",
        kernel: &Ctl(|mut call| {
            if let (EPOLL_CTL_MOD, Some(added), Some(event)) = (call.op, call.entry(), &mut call.event) {
                event.u64 = added.data();
            }
            call.remembered()
        }),
    },
    Mutant {
        name: "epoll-hup-and-err-on-request",
        breaks: "ep-err-hup-implicit",
        behaviour: "EPOLLERR and EPOLLHUP come only to those who ask for them, as many programs expect.",
        kernel: &CtlAndWaited(CtlCall::remembered, |epoll, events| {
            let entries = entries();
            let asked = |data| entries.iter().find(|entry| (entry.epoll, entry.data()) == (epoll, data));
            let refused = |event: &epoll_event| !asked(event.u64).map_or(0, |entry| entry.events());
            for event in events.iter_mut() {
                event.events &= !((EPOLLHUP | EPOLLERR) as u32 & refused(event));
            }
            events.retain(|event| event.events != 0);
        }),
    },
    Mutant {
        name: "epoll-nothing-asked-nothing-added",
        breaks: "ep-events-zero-registers",
        behaviour: "ADD with events = 0 succeeds and adds nothing, as in a layer over kqueue, which has no filter for it.",
        kernel: &Ctl(
            |call| if call.op == EPOLL_CTL_ADD && call.events() == 0 { Ok(()) } else { call.real() },
        ),
    },
    Mutant {
        name: "epoll-rdhup-unasked",
        breaks: "ep-rdhup-opt-in",
        behaviour: "EPOLLRDHUP is reported to everybody, as EPOLLHUP is.",
        kernel: &Ctl(|call| call.with(|events| events | EPOLLRDHUP as u32).real()),
    },
    Mutant {
        name: "epoll-rdhup-never",
        breaks: "ep-rdhup-opt-in",
        behaviour: "EPOLLRDHUP is not reported, as on OSv and on Unikraft with lwIP once.",
        kernel: &Ctl(|call| call.with(|events| events & !(EPOLLRDHUP as u32)).real()),
    },
    Mutant {
        name: "epoll-refuses-unknown-bits",
        breaks: "ep-unknown-bits-accepted",
        behaviour: "ADD and MOD with a bit that means nothing give EINVAL, as newer calls of Linux do.",
        // Between EPOLLRDHUP, the last event, and EPOLLEXCLUSIVE, the first flag.
        kernel: &Ctl(|call| if call.has(0x0fff_c000) { no(Errno::EINVAL) } else { call.real() }),
    },
    Mutant {
        name: "epoll-one-entry-for-a-file",
        breaks: "ep-key-is-file-and-fd",
        behaviour: "ADD of a copy of what is there gives EEXIST: a file has one entry.",
        kernel: &Table {
            epoll_ctl: |epoll, op, fd, event| {
                let call = CtlCall { epoll, op, fd, event };
                let original = locked(&COPIES).iter().find(|(_, copy)| *copy == fd).map(|(from, _)| *from);
                let there = original.and_then(|fd| CtlCall { fd, ..call }.entry()).is_some();
                let twice = op == EPOLL_CTL_ADD && there;
                if twice { no(Errno::EEXIST) } else { call.remembered() }
            },
            dup: noted_dup,
            ..Table::LINUX
        },
    },
    Mutant {
        name: "epoll-close-deletes",
        breaks: "ep-closed-dup-still-reports",
        behaviour: "close takes the entries of its number from all lists, as on illumos, and as kqueue does.",
        kernel: &CLOSE_DELETES,
    },
    Mutant {
        name: "epoll-key-is-the-number",
        breaks: "ep-reused-number-is-new-key",
        behaviour: "An entry is known by its number alone: DEL finds it whatever the number means by now.",
        kernel: &Ctl(|call| {
            let known = call.entry().is_some();
            let done = call.remembered();
            if call.op == EPOLL_CTL_DEL && known && done == no(Errno::ENOENT) { Ok(()) } else { done }
        }),
    },
    Mutant {
        name: "epoll-holds-its-files",
        breaks: "ep-last-close-removes",
        behaviour: "An entry keeps its file open, so that close alone never removes it, as in Shadow once.",
        kernel: &Ctl(|call| {
            call.real()?;
            // One more reference, out of the way of the numbers that an experiment uses.
            raw::fcntl(call.fd, libc::F_DUPFD, 100).map(drop)
        }),
    },
    Mutant {
        name: "epoll-number-stays-taken",
        breaks: "ep-last-close-removes",
        behaviour: "The number of an entry is taken until DEL: when it is reused for another file, ADD gives \
                    EEXIST, as on Nanos once.",
        kernel: &Ctl(|call| {
            if call.op == EPOLL_CTL_ADD && call.entry().is_some() {
                no(Errno::EEXIST)
            } else {
                call.remembered()
            }
        }),
    },
    Mutant {
        name: "epoll-message-holds-no-file",
        breaks: "ep-in-flight-keeps-entry",
        behaviour: "The entry of a number goes when it is closed, whether a message on its way has the file or not.",
        kernel: &CLOSE_DELETES,
    },
    Mutant {
        name: "epoll-entries-of-a-process",
        breaks: "ep-fork-keeps-registration",
        behaviour: "An entry goes when no descriptor of the process that added it is left, whatever its children hold.",
        kernel: &Table {
            dup: noted_dup,
            close: |fd| {
                let has_copy =
                    locked(&COPIES).iter().any(|(original, copy)| [*original, *copy].contains(&fd));
                if has_copy { raw::close(fd) } else { CLOSE_DELETES.close(fd) }
            },
            ..CLOSE_DELETES
        },
    },
    Mutant {
        name: "epoll-not-inherited",
        breaks: "ep-fork-shares-interest-list",
        behaviour: "A child gets a list of its own: what it adds and deletes does not reach the parent.",
        kernel: &Table {
            epoll_create1: |flags| {
                let epoll = raw::epoll_create1(flags)?;
                locked(&MAKERS).push((epoll, me()));
                Ok(epoll)
            },
            epoll_ctl: |epoll, op, fd, event| {
                let inherited = locked(&MAKERS).iter().any(|(made, by)| *made == epoll && *by != me());
                if inherited { Ok(()) } else { raw::epoll_ctl(epoll, op, fd, event) }
            },
            ..Table::LINUX
        },
    },
    Mutant {
        name: "cloexec-ignored-by-pipe2",
        breaks: "ep-exec-cloexec-target",
        behaviour: "The ends of a pipe stay open at execve, O_CLOEXEC or not.",
        kernel: &instead::pipe2(|flags| raw::pipe2(flags & !O_CLOEXEC)),
    },
];

/// Each descriptor that was copied, with its copy.
static COPIES: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());

fn noted_dup(fd: i32) -> Reply<i32> {
    let copy = raw::dup(fd)?;
    locked(&COPIES).push((fd, copy));
    Ok(copy)
}

/// close removes the entries of its number.
const CLOSE_DELETES: Table = Table {
    epoll_ctl: |epoll, op, fd, event| CtlCall { epoll, op, fd, event }.remembered(),
    close: |fd| {
        for entry in entries().iter().filter(|entry| entry.fd == fd) {
            raw::epoll_ctl(entry.epoll, EPOLL_CTL_DEL, fd, None).ok();
        }
        raw::close(fd)
    },
    ..Table::LINUX
};

/// Each epoll, and the process that made it.
static MAKERS: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());
