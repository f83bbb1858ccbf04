//! Kernels that break a fact of `facts/epoll/`.

use super::super::kernel::Kernel;
use super::Mutant;
use crate::sys::Errno;
use crate::sys::raw::{self, At, Nowhere, Reply, no};
use libc::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP, EPOLLRDHUP, O_CLOEXEC,
    epoll_event,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "epoll-create1-takes-any-flag",
        breaks: "ep-create-args",
        behaviour: "epoll_create1 ignores flags that it does not know, as open does.",
        kernel: &CreateTakesAnyFlag,
    },
    Mutant {
        name: "epoll-add-twice-modifies",
        breaks: "ep-ctl-errnos",
        behaviour: "ADD of what is there already changes it, as EV_ADD of kqueue does.",
        kernel: &AddTwiceModifies,
    },
    Mutant {
        name: "epoll-watches-itself",
        breaks: "ep-ctl-errnos",
        behaviour: "An epoll can be added to itself, as on Occlum once.",
        kernel: &WatchesItself,
    },
    Mutant {
        name: "epoll-del-wants-an-event",
        breaks: "ep-ctl-event-pointer",
        behaviour: "DEL with a null pointer gives EFAULT, as on Linux before 2.6.9.",
        kernel: &DelWantsAnEvent,
    },
    Mutant {
        name: "epoll-takes-files",
        breaks: "ep-eperm-unpollable",
        behaviour: "ADD of a regular file or of /dev/null succeeds, as in kqueue, and as people expect who come from poll.",
        kernel: &TakesFiles,
    },
    Mutant {
        name: "epoll-directories-are-einval",
        breaks: "ep-eperm-unpollable",
        behaviour: "ADD of a directory gives EINVAL, as on Occlum once.",
        kernel: &DirectoriesAreEinval,
    },
    Mutant {
        name: "epoll-looks-up-files-first",
        breaks: "ep-eperm-before-enoent",
        behaviour: "MOD and DEL of a regular file or of /dev/null give ENOENT, as on elfuse once.",
        kernel: &LooksUpFilesFirst,
    },
    Mutant {
        name: "epoll-wait-for-no-events",
        breaks: "ep-wait-args",
        behaviour: "epoll_wait with room for 0 events waits, and gives 0.",
        kernel: &WaitForNoEvents,
    },
    Mutant {
        name: "epoll-wait-ebadf-for-all",
        breaks: "ep-wait-bad-epfd",
        behaviour: "epoll_wait on a descriptor that is no epoll gives EBADF, as for one that is closed.",
        kernel: &EbadfForAll,
    },
    Mutant {
        name: "epoll-checks-the-array-first",
        breaks: "ep-wait-efault-lazy",
        behaviour: "epoll_wait tries whether it could write to the array before it looks for events, as QEMU's user mode \
                    does.",
        kernel: &ChecksTheArrayFirst,
    },
    Mutant {
        name: "epoll-efault-eats-events",
        breaks: "ep-efault-loses-nothing",
        behaviour: "An event that could not be copied is taken from the list all the same.",
        kernel: &EfaultEatsEvents,
    },
    Mutant {
        name: "epoll-clears-the-array",
        breaks: "ep-untouched-tail",
        behaviour: "epoll_wait writes zeros to all of the array before it copies events to it.",
        kernel: &ClearsTheArray,
    },
    Mutant {
        name: "epoll-data-of-32-bits",
        breaks: "ep-data-opaque",
        behaviour: "The data is a descriptor, of which 32 bits come back, as in programs that use data.fd.",
        kernel: &DataOf32Bits,
    },
    Mutant {
        name: "epoll-mod-keeps-data",
        breaks: "ep-data-opaque",
        behaviour: "MOD changes the events and leaves the data as it was added.",
        kernel: &ModKeepsData,
    },
    Mutant {
        name: "epoll-hup-and-err-on-request",
        breaks: "ep-err-hup-implicit",
        behaviour: "EPOLLERR and EPOLLHUP come only to those who ask for them, as many programs expect.",
        kernel: &HupAndErrOnRequest,
    },
    Mutant {
        name: "epoll-nothing-asked-nothing-added",
        breaks: "ep-events-zero-registers",
        behaviour: "ADD with events = 0 succeeds and adds nothing, as in a layer over kqueue, which has no filter for it.",
        kernel: &NothingAskedNothingAdded,
    },
    Mutant {
        name: "epoll-rdhup-unasked",
        breaks: "ep-rdhup-opt-in",
        behaviour: "EPOLLRDHUP is reported to everybody, as EPOLLHUP is.",
        kernel: &RdhupUnasked,
    },
    Mutant {
        name: "epoll-rdhup-never",
        breaks: "ep-rdhup-opt-in",
        behaviour: "EPOLLRDHUP is not reported, as on OSv and on Unikraft with lwIP once.",
        kernel: &RdhupNever,
    },
    Mutant {
        name: "epoll-refuses-unknown-bits",
        breaks: "ep-unknown-bits-accepted",
        behaviour: "ADD and MOD with a bit that means nothing give EINVAL, as newer calls of Linux do.",
        kernel: &RefusesUnknownBits,
    },
    Mutant {
        name: "epoll-one-entry-for-a-file",
        breaks: "ep-key-is-file-and-fd",
        behaviour: "ADD of a copy of what is there gives EEXIST: a file has one entry.",
        kernel: &OneEntryForAFile,
    },
    Mutant {
        name: "epoll-close-deletes",
        breaks: "ep-closed-dup-still-reports",
        behaviour: "close takes the entries of its number from all lists, as on illumos, and as kqueue does.",
        kernel: &CloseDeletes,
    },
    Mutant {
        name: "epoll-key-is-the-number",
        breaks: "ep-reused-number-is-new-key",
        behaviour: "An entry is known by its number alone: DEL finds it whatever the number means by now.",
        kernel: &KeyIsTheNumber,
    },
    Mutant {
        name: "epoll-holds-its-files",
        breaks: "ep-last-close-removes",
        behaviour: "An entry keeps its file open, so that close alone never removes it, as in Shadow once.",
        kernel: &HoldsItsFiles,
    },
    Mutant {
        name: "epoll-number-stays-taken",
        breaks: "ep-last-close-removes",
        behaviour: "The number of an entry is taken until DEL: when it is reused for another file, ADD gives EEXIST, as on \
                    Nanos once.",
        kernel: &NumberStaysTaken,
    },
    Mutant {
        name: "epoll-entries-of-a-process",
        breaks: "ep-fork-keeps-registration",
        behaviour: "An entry goes when no descriptor of the process that added it is left, whatever its children hold.",
        kernel: &EntriesOfAProcess,
    },
    Mutant {
        name: "epoll-not-inherited",
        breaks: "ep-fork-shares-interest-list",
        behaviour: "A child gets a list of its own: what it adds and deletes does not reach the parent.",
        kernel: &NotInherited,
    },
    Mutant {
        name: "cloexec-ignored-by-pipe2",
        breaks: "ep-exec-cloexec-target",
        behaviour: "The ends of a pipe stay open at execve, O_CLOEXEC or not.",
        kernel: &CloexecIgnored,
    },
];

// What a kernel remembers. A process has only one, so that they can share.

/// The entries that were added: each an epoll and a number.
static ENTRIES: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());
/// The data of each entry, after its epoll and its number.
static DATA: Mutex<Vec<(i32, i32, u64)>> = Mutex::new(Vec::new());
/// Each descriptor that was copied, with its copy.
static COPIES: Mutex<Vec<(i32, i32)>> = Mutex::new(Vec::new());
/// The data of each entry, and the events that were asked for.
static ASKED: Mutex<Vec<(u64, u32)>> = Mutex::new(Vec::new());
/// Each epoll, and the process that made it.
static MAKERS: Mutex<Vec<(i32, u32)>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct CreateTakesAnyFlag;

impl Kernel for CreateTakesAnyFlag {
    fn epoll_create1(&self, flags: i32) -> Reply<i32> {
        raw::epoll_create1(flags & EPOLL_CLOEXEC)
    }
}

struct AddTwiceModifies;

impl Kernel for AddTwiceModifies {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let done = raw::epoll_ctl(epoll, op, fd, event);
        if op == EPOLL_CTL_ADD && done == no(Errno::EEXIST) {
            return raw::epoll_ctl(epoll, EPOLL_CTL_MOD, fd, event);
        }
        done
    }
}

struct WatchesItself;

impl Kernel for WatchesItself {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if op == EPOLL_CTL_ADD && epoll == fd { Ok(()) } else { raw::epoll_ctl(epoll, op, fd, event) }
    }
}

struct DelWantsAnEvent;

impl Kernel for DelWantsAnEvent {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if op == EPOLL_CTL_DEL && event.is_none() {
            return no(Errno::EFAULT);
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct TakesFiles;

impl Kernel for TakesFiles {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let done = raw::epoll_ctl(epoll, op, fd, event);
        if op == EPOLL_CTL_ADD && done == no(Errno::EPERM) { Ok(()) } else { done }
    }
}

struct DirectoriesAreEinval;

impl Kernel for DirectoriesAreEinval {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let done = raw::epoll_ctl(epoll, op, fd, event);
        let directory = || raw::read(fd, &mut [0]) == no(Errno::EISDIR);
        if done == no(Errno::EPERM) && directory() { no(Errno::EINVAL) } else { done }
    }
}

struct LooksUpFilesFirst;

impl Kernel for LooksUpFilesFirst {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let done = raw::epoll_ctl(epoll, op, fd, event);
        if op != EPOLL_CTL_ADD && done == no(Errno::EPERM) { no(Errno::ENOENT) } else { done }
    }
}

struct WaitForNoEvents;

impl Kernel for WaitForNoEvents {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        if max == 0 {
            raw::poll(At::Memory(&mut []), timeout)?;
            return Ok(0);
        }
        raw::epoll_wait(epoll, events, max, timeout)
    }
}

struct EbadfForAll;

impl Kernel for EbadfForAll {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        // A wait that has nowhere to write takes no event, and asks for the right number of them.
        if raw::epoll_wait(epoll, At::Nowhere(Nowhere::Low, 1), 1, 0) == no(Errno::EINVAL) {
            return no(Errno::EBADF);
        }
        raw::epoll_wait(epoll, events, max, timeout)
    }
}

struct ChecksTheArrayFirst;

impl Kernel for ChecksTheArrayFirst {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        if matches!(events, At::Nowhere(..)) {
            return no(Errno::EFAULT);
        }
        raw::epoll_wait(epoll, events, max, timeout)
    }
}

struct EfaultEatsEvents;

impl Kernel for EfaultEatsEvents {
    fn epoll_wait(&self, epoll: i32, events: At<'_, epoll_event>, max: i32, timeout: i32) -> Reply<usize> {
        let nowhere = matches!(events, At::Nowhere(Nowhere::Low | Nowhere::Null, _));
        let waited = raw::epoll_wait(epoll, events, max, timeout);
        if nowhere && waited == no(Errno::EFAULT) {
            let mut scratch = [epoll_event { events: 0, u64: 0 }; 64];
            raw::epoll_wait(epoll, At::from(&mut scratch), max.min(64), 0)?;
        }
        waited
    }
}

struct ClearsTheArray;

impl Kernel for ClearsTheArray {
    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max: i32,
        timeout: i32,
    ) -> Reply<usize> {
        if let (At::Memory(memory), Ok(max)) = (&mut events, usize::try_from(max)) {
            // Not of gigabytes, which a fact has to ask for the most that there is.
            memory
                .iter_mut()
                .take(max.min(1024))
                .for_each(|event| *event = epoll_event { events: 0, u64: 0 });
        }
        raw::epoll_wait(epoll, events, max, timeout)
    }
}

struct DataOf32Bits;

impl Kernel for DataOf32Bits {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let event = event.map(|event| epoll_event { u64: u64::from(event.u64 as u32), ..event });
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct ModKeepsData;

impl Kernel for ModKeepsData {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let mut event = event;
        let mut data = locked(&DATA);
        let added = data.iter().find(|entry| (entry.0, entry.1) == (epoll, fd)).map(|entry| entry.2);
        match (op, &mut event, added) {
            (EPOLL_CTL_ADD, Some(event), None) => data.push((epoll, fd, event.u64)),
            (EPOLL_CTL_MOD, Some(event), Some(data)) => event.u64 = data,
            _ => {}
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct HupAndErrOnRequest;

impl Kernel for HupAndErrOnRequest {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(epoll, op, fd, event)?;
        if let Some(event) = event.filter(|_| op != EPOLL_CTL_DEL) {
            let mut asked = locked(&ASKED);
            asked.retain(|(data, _)| *data != { event.u64 });
            asked.push((event.u64, event.events));
        }
        Ok(())
    }

    fn epoll_wait(
        &self,
        epoll: i32,
        mut events: At<'_, epoll_event>,
        max: i32,
        timeout: i32,
    ) -> Reply<usize> {
        let n = raw::epoll_wait(epoll, events.again(), max, timeout)?;
        let At::Memory(memory) = events else { return Ok(n) };
        let unasked = (EPOLLHUP | EPOLLERR) as u32;
        let mut kept = 0;
        for i in 0..n {
            let mut event = memory[i];
            let asked =
                locked(&ASKED).iter().find(|(data, _)| *data == { event.u64 }).map_or(!0, |entry| entry.1);
            event.events &= asked | !unasked;
            if event.events != 0 {
                memory[kept] = event;
                kept += 1;
            }
        }
        Ok(kept)
    }
}

struct NothingAskedNothingAdded;

impl Kernel for NothingAskedNothingAdded {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        if op == EPOLL_CTL_ADD && event.is_some_and(|event| event.events == 0) {
            return Ok(());
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct RdhupUnasked;

impl Kernel for RdhupUnasked {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let event = event.map(|event| epoll_event { events: event.events | EPOLLRDHUP as u32, ..event });
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct RdhupNever;

impl Kernel for RdhupNever {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let event = event.map(|event| epoll_event { events: event.events & !(EPOLLRDHUP as u32), ..event });
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct RefusesUnknownBits;

impl Kernel for RefusesUnknownBits {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        // Between EPOLLRDHUP, the last event, and EPOLLEXCLUSIVE, the first flag.
        const UNKNOWN: u32 = 0x0fff_c000;
        if event.is_some_and(|event| event.events & UNKNOWN != 0) {
            return no(Errno::EINVAL);
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct OneEntryForAFile;

impl Kernel for OneEntryForAFile {
    fn dup(&self, fd: i32) -> Reply<i32> {
        let copy = raw::dup(fd)?;
        locked(&COPIES).push((fd, copy));
        Ok(copy)
    }

    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let original = locked(&COPIES).iter().find(|(_, copy)| *copy == fd).map(|(original, _)| *original);
        if let (EPOLL_CTL_ADD, Some(original)) = (op, original) {
            // It is there if it cannot be added.
            if raw::epoll_ctl(epoll, EPOLL_CTL_ADD, original, event) == no(Errno::EEXIST) {
                return no(Errno::EEXIST);
            }
            raw::epoll_ctl(epoll, EPOLL_CTL_DEL, original, None).ok();
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct CloseDeletes;

impl Kernel for CloseDeletes {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(epoll, op, fd, event)?;
        if op == EPOLL_CTL_ADD {
            locked(&ENTRIES).push((epoll, fd));
        }
        Ok(())
    }

    fn close(&self, fd: i32) -> Reply<()> {
        for (epoll, _) in locked(&ENTRIES).iter().filter(|(_, number)| *number == fd) {
            raw::epoll_ctl(*epoll, EPOLL_CTL_DEL, fd, None).ok();
        }
        raw::close(fd)
    }
}

struct KeyIsTheNumber;

impl Kernel for KeyIsTheNumber {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let done = raw::epoll_ctl(epoll, op, fd, event);
        let mut added = locked(&ENTRIES);
        let there = added.iter().position(|entry| *entry == (epoll, fd));
        match (op, there) {
            (EPOLL_CTL_ADD, None) if done.is_ok() => added.push((epoll, fd)),
            (EPOLL_CTL_DEL, Some(entry)) => {
                added.remove(entry);
                if done == no(Errno::ENOENT) {
                    return Ok(());
                }
            }
            _ => {}
        }
        done
    }
}

struct HoldsItsFiles;

impl Kernel for HoldsItsFiles {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        raw::epoll_ctl(epoll, op, fd, event)?;
        if op == EPOLL_CTL_ADD {
            // One more reference, out of the way of the numbers that an experiment uses.
            raw::fcntl(fd, libc::F_DUPFD, 100)?;
        }
        Ok(())
    }
}

struct NumberStaysTaken;

impl Kernel for NumberStaysTaken {
    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let mut taken = locked(&ENTRIES);
        if op == EPOLL_CTL_ADD && taken.contains(&(epoll, fd)) {
            return no(Errno::EEXIST);
        }
        raw::epoll_ctl(epoll, op, fd, event)?;
        match op {
            EPOLL_CTL_ADD => taken.push((epoll, fd)),
            EPOLL_CTL_DEL => taken.retain(|entry| *entry != (epoll, fd)),
            _ => {}
        }
        Ok(())
    }
}

struct EntriesOfAProcess;

impl Kernel for EntriesOfAProcess {
    fn dup(&self, fd: i32) -> Reply<i32> {
        let copy = raw::dup(fd)?;
        locked(&COPIES).push((fd, copy));
        Ok(copy)
    }

    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        CloseDeletes.epoll_ctl(epoll, op, fd, event)
    }

    fn close(&self, fd: i32) -> Reply<()> {
        if locked(&COPIES).iter().any(|(original, copy)| [*original, *copy].contains(&fd)) {
            return raw::close(fd);
        }
        CloseDeletes.close(fd)
    }
}

struct NotInherited;

impl Kernel for NotInherited {
    fn epoll_create1(&self, flags: i32) -> Reply<i32> {
        let epoll = raw::epoll_create1(flags)?;
        locked(&MAKERS).push((epoll, std::process::id()));
        Ok(epoll)
    }

    fn epoll_ctl(&self, epoll: i32, op: i32, fd: i32, event: Option<epoll_event>) -> Reply<()> {
        let me = std::process::id();
        if locked(&MAKERS).iter().any(|(made, by)| *made == epoll && *by != me) {
            return Ok(());
        }
        raw::epoll_ctl(epoll, op, fd, event)
    }
}

struct CloexecIgnored;

impl Kernel for CloexecIgnored {
    fn pipe2(&self, flags: i32) -> Reply<[i32; 2]> {
        raw::pipe2(flags & !O_CLOEXEC)
    }
}
