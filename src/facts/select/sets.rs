//! The sets: how far they are looked at, what is written back, and what is refused.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sel-negative-nfds-einval",
        claim: "A negative number of descriptors is EINVAL.",
        reference: "select(2) ERRORS; core_sys_select in fs/select.c",
        matters: "The highest descriptor plus one, kept in an int, is negative only after a mistake: this is where it \
                  is noticed.",
        experiment: "select with -1 and with the smallest int, without sets.",
        run: |k| {
            for &call in CALLS {
                for nfds in [-1, i32::MIN] {
                    let reply = call.call(k, nfds, no_sets(), &mut { Duration::ZERO });
                    is(format!("{call} of {nfds} descriptors"), reply, no(Errno::EINVAL))?;
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-huge-nfds-accepted",
        claim: "A number of descriptors far above the limit of the process is accepted: the kernel cuts it to the size \
                of the table of descriptors. poll refuses such a number with EINVAL.",
        reference: "core_sys_select in fs/select.c: n = min(n, max_fds); select(2) ERRORS, which says EINVAL",
        matters: "EINVAL cannot be used to find out how many descriptors select takes. Programs that always pass \
                  FD_SETSIZE work under a low limit.",
        experiment: "The limit is lowered to 64; select with 2^30 and with the largest int, without sets; poll with \
                     65 entries.",
        wrong: &["man-pages: select(2) ERRORS, which says that a number above RLIMIT_NOFILE is EINVAL"],
        run: |k| {
            raw::limit_descriptors(64)?;
            for &call in CALLS {
                for nfds in [1 << 30, i32::MAX] {
                    let reply = call.call(k, nfds, no_sets(), &mut { Duration::ZERO });
                    is(format!("{call} of {nfds} descriptors, with a limit of 64"), reply, Ok(0))?;
                }
            }
            let mut entries = [entry(-1, IN); 65];
            let reply = k.poll(At::from(&mut entries), 0);
            is("poll of 65 descriptors, with a limit of 64", reply, no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-closed-fd-ebadf",
        claim: "A closed descriptor in any of the three sets makes the call fail with EBADF, even if another one is \
                ready.",
        reference: "select(2) ERRORS; max_select_fd in fs/select.c",
        matters: "One descriptor that was closed and left in the set stops the whole loop, and the error does not say \
                  which it was. poll says so with NVAL.",
        experiment: "One pipe has a byte in it, the reading end of another one is closed; select of both, with the \
                     closed one in each of the sets.",
        run: |k| {
            let ready = pipe_with_byte(k)?[0];
            let closed = closed_fd(k)?;
            for &call in CALLS {
                for (place, asked) in [
                    ("read", Three::<1>::of(&[ready, closed], &[], &[])),
                    ("write", Three::of(&[ready], &[closed], &[])),
                    ("except", Three::of(&[ready], &[], &[closed])),
                ] {
                    let (reply, _) = call.now(k, ready.max(closed) + 1, asked);
                    is(
                        format!("{call} with a closed descriptor in the {place} set"),
                        reply,
                        no(Errno::EBADF),
                    )?;
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-bit-above-fdsize-ignored",
        claim: "A closed descriptor whose number is not below the size of the table of descriptors (the line FDSize of \
                /proc/self/status: 64, 256, 512, 1024 as the table grows) is ignored, and stays in the set, so that it \
                looks ready. Below that size it is EBADF.",
        reference: "core_sys_select, max_select_fd, set_fd_set in fs/select.c; select(2) BUGS, which says the highest \
                    open descriptor",
        matters: "A stale high bit is no error, the call returns 0, and a loop that goes by the bits and not by the \
                  count sees a descriptor that does not exist as ready. With the same bug a longer running process \
                  gets EBADF.",
        experiment: "For each closed number in turn, select with it alone: the first that is not EBADF must be FDSize, \
                     and its bit still be there. Once more with a descriptor 700.",
        wrong: &["man-pages: select(2) BUGS, which says that numbers above the highest open one are ignored"],
        run: |k| {
            for &call in CALLS {
                ignored_from_fdsize_on(k, call)?;
            }
            room_for_descriptor(700)?;
            let high = k.fcntl(k.eventfd(0, 0)?, libc::F_DUPFD, 700)?;
            is("the new descriptor", high, 700)?;
            for &call in CALLS {
                ignored_from_fdsize_on(k, call)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-ebadf-leaves-sets",
        claim: "After EBADF the three sets are exactly as they were passed.",
        reference: "select(2) RETURN VALUE; core_sys_select in fs/select.c",
        matters: "A loop that looks at the sets without looking at the error takes every descriptor for ready, and \
                  blocks in the first read.",
        experiment: "select of a readable pipe and a closed descriptor, with a different set each; the sets are \
                     compared.",
        run: |k| {
            let [ready, other] = pipe_with_byte(k)?;
            let closed = closed_fd(k)?;
            for &call in CALLS {
                let asked = Three::<2>::of(&[ready, other, closed, 100], &[other], &[ready, closed, 90]);
                let answer = call.now(k, ready.max(other).max(closed) + 1, asked);
                is(
                    format!("{call} with a closed descriptor, and the sets after it"),
                    answer,
                    (no(Errno::EBADF), asked),
                )?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-timeout-clears-sets",
        claim: "When the call returns 0, no requested descriptor is left in any set.",
        reference: "select(2); core_sys_select in fs/select.c",
        matters: "A loop that fills its sets once, before it, hears nothing more after the first timeout.",
        experiment: "select of the writing end of a full pipe and the reading end of an empty one, each also in the \
                     except set.",
        run: |k| {
            let [empty, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let [_read_end, full] = k.pipe2(libc::O_CLOEXEC)?;
            fill(k, full, 4096)?;
            for &call in CALLS {
                let asked = Three::<1>::of(&[empty], &[full], &[empty, full]);
                for limit in [Duration::ZERO, Duration::from_millis(2)] {
                    let answer = call.within(k, empty.max(full) + 1, asked, limit);
                    let what = format!("{call} of descriptors that are not ready, within {}", limit.show());
                    is(what, answer, (Ok(0), Three::of(&[], &[], &[])))?;
                }
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-bits-ge-nfds-not-polled",
        claim: "Descriptors that are not below the number passed are neither looked at nor checked: a closed one there \
                is no error, a ready one is not counted.",
        reference: "select(2); do_select, max_select_fd in fs/select.c",
        matters: "The first argument is the highest descriptor plus one. Without the plus one the newest client \
                  is never heard.",
        experiment: "select with 1 and all bits above the first set; then of a readable pipe with its number, and \
                     with its number plus one.",
        run: |k| {
            let [ready, _write_end] = pipe_with_byte(k)?;
            for &call in CALLS {
                let all = [u64::MAX - 1, u64::MAX];
                let (reply, _) = call.now(k, 1, Three { read: all, write: all, except: all });
                is(format!("{call} of 1 descriptor, with all others in the sets"), reply, Ok(0))?;
                let asked = Three::<1>::of(&[ready], &[], &[]);
                let (reply, _) = call.now(k, ready, asked);
                is(format!("{call} with the number of the readable pipe"), reply, Ok(0))?;
                let (reply, _) = call.now(k, ready + 1, asked);
                is(format!("{call} with the number of the readable pipe plus one"), reply, Ok(1))?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-tail-of-last-word-cleared",
        claim: "The sets are written back in whole longs. Bits that are not below the number passed are cleared if \
                they are in the same 64 bits as the last one that is, and left alone in all words after that.",
        reference: "FDS_BYTES, set_fd_set in fs/select.c",
        matters: "Sets that a program shares between several calls lose bits, or keep stale ones, at a border that no \
                  manual names.",
        experiment: "select of descriptor 10, which is readable, with 11 as the number, and with bits 40 and 100 \
                     set in all sets.",
        run: |k| {
            let ready = k.dup2(pipe_with_byte(k)?[0], 10)?;
            for &call in CALLS {
                let asked = Three::<2>::of(&[ready, 40, 100], &[40, 100], &[40, 100]);
                let answer = call.now(k, ready + 1, asked);
                let what = format!("{call} of 11 descriptors, with 40 and 100 in the sets");
                is(what, answer, (Ok(1), Three::of(&[ready, 100], &[100], &[100])))?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-counts-bits-not-fds",
        claim: "The call returns the number of bits that are set, not of descriptors: a socket that is readable and \
                writable counts twice.",
        reference: "select(2) RETURN VALUE; do_select in fs/select.c",
        matters: "A loop that stops once it has served as many descriptors as the call returned must count as the \
                  call does, or it looks for one that is not there.",
        experiment: "select of one end of a socket pair with a byte to read, in all sets.",
        run: |k| {
            let (a, b) = unix_pair(k)?;
            k.write(b, b"!")?;
            for &call in CALLS {
                let what = format!("{call} of a socket that is readable and writable");
                is(what, call.all_of(k, a), (Ok(2), Three::of(&[a], &[a], &[])))?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-raw-bitmap-above-1024",
        claim: "With sets that are long enough the kernel takes descriptors above 1023: FD_SETSIZE is a limit of the C \
                library's fd_set alone.",
        reference: "select(2) BUGS; core_sys_select in fs/select.c",
        matters: "With an fd_set, FD_SET of descriptor 1024 writes beyond its end, and no call fails. The kernel does \
                  not protect a program from that: it reads and writes there too.",
        experiment: "The reading end of a pipe with a byte in it becomes descriptor 1500; select with sets of 2048 \
                     bits.",
        wrong: &[
            "Oat++: https://github.com/oatpp/oatpp/issues/926",
            "libstrophe: https://github.com/strophe/libstrophe/issues/166",
            "Mbed TLS: https://github.com/Mbed-TLS/mbedtls/issues/4173",
            "NATS: https://github.com/nats-io/nats.c/issues/243",
            "MiniUPnP: https://github.com/miniupnp/miniupnp/issues/858",
        ],
        run: |k| {
            room_for_descriptor(1500)?;
            let high = k.fcntl(pipe_with_byte(k)?[0], libc::F_DUPFD, 1500)?;
            is("the new descriptor", high, 1500)?;
            for &call in CALLS {
                let asked = Three::<32>::of(&[high], &[high], &[high]);
                let answer = call.now(k, high + 1, asked);
                is(
                    format!("{call} of descriptor 1500, which is readable"),
                    answer,
                    (Ok(1), Three::of(&[high], &[], &[])),
                )?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-bad-pointer-efault",
        claim: "A pointer that leads nowhere is EFAULT for each set of select, and for the array of poll. With no \
                descriptors at all it is never used, and the call returns 0.",
        reference: "select(2), poll(2) ERRORS; core_sys_select, do_sys_poll in fs/select.c",
        matters: "select with 0 and garbage is a common way to sleep. An emulator that checks pointers first breaks \
                  it.",
        experiment: "The address 8 in the place of each set and of poll's array, with one descriptor and with none.",
        run: |k| {
            let nowhere = || At::Nowhere(Nowhere::Low, 1);
            for &call in CALLS {
                for place in ["read", "write", "except"] {
                    let sets = || {
                        let mut sets = no_sets();
                        let set = match place {
                            "read" => &mut sets.read,
                            "write" => &mut sets.write,
                            _ => &mut sets.except,
                        };
                        *set = nowhere();
                        sets
                    };
                    let mut now = Duration::ZERO;
                    let reply = call.call(k, 1, sets(), &mut now);
                    is(
                        format!("{call} of 1 descriptor, with the {place} set nowhere"),
                        reply,
                        no(Errno::EFAULT),
                    )?;
                    let reply = call.call(k, 0, sets(), &mut now);
                    is(format!("{call} of 0 descriptors, with the {place} set nowhere"), reply, Ok(0))?;
                }
            }
            is(
                "poll of 1 descriptor, with the array nowhere",
                k.poll(At::Nowhere(Nowhere::Low, 1), 0),
                no(Errno::EFAULT),
            )?;
            is(
                "poll of 0 descriptors, with the array nowhere",
                k.poll(At::Nowhere(Nowhere::Low, 0), 0),
                Ok(0),
            )
        },
        ..Fact::ALWAYS
    },
];

/// A number that was a descriptor.
fn closed_fd(k: K) -> Reply<i32> {
    let fd = k.pipe2(libc::O_CLOEXEC)?[0];
    k.close(fd)?;
    Ok(fd)
}

/// The first closed number that `call` does not refuse is FDSize, and its bit survives the call.
fn ignored_from_fdsize_on(k: K, call: Call) -> Held {
    let size = line_of("/proc/self/status", "FDSize:")?;
    let Ok(size) = size.parse::<i32>() else {
        return skip(Why::Oracle, format!("FDSize is no number: {size}"));
    };
    let words = size as usize / 64 + 2;
    let is_closed = |fd: &i32| k.fcntl(*fd, libc::F_GETFD, 0).is_err();
    let mut ignored = None;
    for fd in (0..size + 64).filter(is_closed) {
        let mut set = vec![0u64; words];
        set[fd as usize / 64] |= 1 << (fd % 64);
        let sets = Sets { read: At::from(set.as_mut_slice()), write: no_set(), except: no_set() };
        match call.call(k, fd + 1, sets, &mut { Duration::ZERO }) {
            Err(refusal) if refusal.errno == Errno::EBADF => {}
            reply => {
                ignored = Some((fd, reply, in_set(&set, fd)));
                break;
            }
        }
    }
    let what = format!("the first closed number that {call} takes, what it gives, and whether its bit stays");
    is(what, ignored, Some((size, Ok(0), true)))
}
