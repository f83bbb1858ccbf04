//! The sets: how far they are looked at, what is written back, and what is refused.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "sel-negative-nfds-einval",
        claim: "A negative number of descriptors is EINVAL.",
        reference: "select(2) ERRORS; core_sys_select in fs/select.c",
        matters: "The highest descriptor plus one, kept in an int, is negative only after a mistake: this is where it is noticed.",
        experiment: "select with -1 and with the smallest int, without sets.",
        run: |k| {
            each_call(|call| {
                for nfds in [-1, i32::MIN] {
                    let reply = call.call(k, nfds, no_sets(), &mut { Duration::ZERO });
                    noted(is(format!("{nfds} descriptors"), reply, no(Errno::EINVAL)));
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-huge-nfds-accepted",
        claim: "A number of descriptors far above the limit of the process is accepted: the kernel cuts it to the \
                size of the table of descriptors. poll refuses such a number with EINVAL.",
        reference: "core_sys_select in fs/select.c: n = min(n, max_fds); select(2) ERRORS, which says EINVAL",
        matters: "EINVAL cannot be used to find out how many descriptors select takes. Programs that always pass \
                  FD_SETSIZE work under a low limit.",
        experiment: "The limit is lowered to 64; select with a read set of 2^30 bits, of which that of a readable \
                     pipe is set, and with the largest int and no sets; poll with 65 entries.",
        wrong: &["man-pages: select(2) ERRORS, which says that a number above RLIMIT_NOFILE is EINVAL"],
        run: |k| {
            const BITS: i32 = 1 << 30;
            let ready = pipe_with_byte(k)?[0];
            let Some(words) = raw::fresh_pages::<u64>(BITS as usize / 64) else {
                return skip(Why::Limits, "there is no room for a set of 2^30 bits");
            };
            raw::limit_descriptors(64)?;
            for &call in CALLS {
                step(format!("{call} with a limit of 64"), || {
                    words[0] = 1 << ready;
                    let read = At::from(&mut *words);
                    let sets = Sets { read, write: no_set(), except: no_set() };
                    let reply = call.call(k, BITS, sets, &mut { Duration::ZERO });
                    let expected = (Ok(1), 1 << ready);
                    noted(is("2^30 descriptors, one of which is ready", (reply, words[0]), expected));
                    let reply = call.call(k, i32::MAX, no_sets(), &mut { Duration::ZERO });
                    is("2^31-1 descriptors, without sets", reply, Ok(0))
                });
            }
            let mut entries = [entry(-1, IN); 65];
            is("poll of 65 entries with a limit of 64", k.poll(At::from(&mut entries), 0), no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-closed-fd-ebadf",
        claim: "A closed descriptor in any of the three sets makes the call fail with EBADF, even if another one is ready.",
        reference: "select(2) ERRORS; max_select_fd in fs/select.c",
        matters: "One descriptor that was closed and left in the set stops the whole loop, and the error does not say \
                  which it was. poll says so with NVAL.",
        experiment: "One pipe has a byte in it, the reading end of another one is closed; select of both, with the \
                     closed one in each of the sets.",
        run: |k| {
            let (ready, closed) = (pipe_with_byte(k)?[0], closed_fd(k)?);
            each_call(|call| {
                for (place, asked) in [
                    ("read", Three::<1>::of(&[ready, closed], &[], &[])),
                    ("write", Three::of(&[ready], &[closed], &[])),
                    ("except", Three::of(&[ready], &[], &[closed])),
                ] {
                    let (reply, _) = call.now(k, ready.max(closed) + 1, asked);
                    noted(is(format!("a closed descriptor in the {place} set"), reply, no(Errno::EBADF)));
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-bit-above-fdsize-ignored",
        claim: "A closed descriptor whose number is not below the size of the table of descriptors (the line FDSize \
                of /proc/self/status: 64, 256, 512, 1024 as the table grows) is ignored, and stays in the set, so \
                that it looks ready. Below that size it is EBADF.",
        reference: "core_sys_select, max_select_fd, set_fd_set in fs/select.c; select(2) BUGS, which says the highest \
                    open descriptor",
        matters: "A stale high bit is no error, the call returns 0, and a loop that goes by the bits and not by the count sees a \
                  descriptor that does not exist as ready. With the same bug a longer running process gets EBADF.",
        experiment: "select with one closed number alone: the last below FDSize, and FDSize itself. Once more with a \
                     descriptor 700.",
        wrong: &["man-pages: select(2) BUGS, which says that numbers above the highest open one are ignored"],
        run: |k| {
            for table in ["with a small table", "with a descriptor 700"] {
                if table == "with a descriptor 700" {
                    room_for_descriptor(700)?;
                    k.fcntl(k.eventfd(0, 0)?, libc::F_DUPFD, 700)?;
                }
                let size = line_of("/proc/self/status", "FDSize:")?.parse::<i32>().unwrap_or(0);
                needs(Why::Oracle, "FDSize is a multiple of 64", size > 0 && size % 64 == 0, size)?;
                for &call in CALLS {
                    let ask = |fd: i32| {
                        let mut set = vec![0u64; size as usize / 64 + 1];
                        set[fd as usize / 64] |= 1 << (fd % 64);
                        let sets = Sets { read: At::from(&mut *set), write: no_set(), except: no_set() };
                        (call.call(k, fd + 1, sets, &mut { Duration::ZERO }), in_set(&set, fd))
                    };
                    step(format!("{call} {table}"), || {
                        noted(is("FDSize - 1, and its bit", ask(size - 1), (no(Errno::EBADF), true)));
                        is("FDSize, and its bit", ask(size), (Ok(0), true))
                    });
                }
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
        experiment: "select of a readable pipe and a closed descriptor, with a different set each; the sets are compared.",
        run: |k| {
            let ([ready, other], closed) = (pipe_with_byte(k)?, closed_fd(k)?);
            each_call(|call| {
                let asked = Three::<2>::of(&[ready, other, closed, 100], &[other], &[ready, closed, 90]);
                let answer = call.now(k, ready.max(other).max(closed) + 1, asked);
                is("a closed descriptor, and the sets afterwards", answer, (no(Errno::EBADF), asked))
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-timeout-clears-sets",
        claim: "When the call returns 0, no requested descriptor is left in any set.",
        reference: "select(2); core_sys_select in fs/select.c",
        matters: "A loop that fills its sets once, before it, hears nothing more after the first timeout.",
        experiment: "select of the writing end of a full pipe and the reading end of an empty one, each also in the except set.",
        run: |k| {
            let [empty, _write_end] = k.pipe2(libc::O_CLOEXEC)?;
            let [_read_end, full] = k.pipe2(libc::O_CLOEXEC)?;
            fill(k, full, 4096)?;
            each_call(|call| {
                for mut limit in [Duration::ZERO, Duration::from_millis(2)] {
                    let what = format!("descriptors that are not ready, within {}", limit.show());
                    let mut sets = Three::<1>::of(&[empty], &[full], &[empty, full]);
                    let reply = call.call(k, empty.max(full) + 1, sets.sets(), &mut limit);
                    is(what, (reply, sets), (Ok(0), Three::of(&[], &[], &[])))?;
                }
                Ok(())
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-bits-ge-nfds-not-polled",
        claim: "Descriptors that are not below the number passed are neither looked at nor checked: a closed one \
                there is no error, a ready one is not counted.",
        reference: "select(2); do_select, max_select_fd in fs/select.c",
        matters: "The first argument is the highest descriptor plus one. Without the plus one the newest client is never heard.",
        experiment: "select with 1 and all bits above the first set; then of a readable pipe with its number, and \
                     with its number plus one.",
        run: |k| {
            let ready = pipe_with_byte(k)?[0];
            each_call(|call| {
                let all = [u64::MAX - 1, u64::MAX];
                let (reply, _) = call.now(k, 1, Three { read: all, write: all, except: all });
                is("1 descriptor, with all others in the sets", reply, Ok(0))?;
                let asked = Three::<1>::of(&[ready], &[], &[]);
                is("the number of the readable pipe", call.now(k, ready, asked).0, Ok(0))?;
                is("the number of the readable pipe plus one", call.now(k, ready + 1, asked).0, Ok(1))
            })
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
        experiment: "select of descriptor 10, which is readable, with 11 as the number, and with bits 40 and 100 set in all sets.",
        run: |k| {
            let ready = k.dup2(pipe_with_byte(k)?[0], 10)?;
            each_call(|call| {
                let asked = Three::<2>::of(&[ready, 40, 100], &[40, 100], &[40, 100]);
                let expected = (Ok(1), Three::of(&[ready, 100], &[100], &[100]));
                is("11 descriptors, with 40 and 100 in the sets", call.now(k, ready + 1, asked), expected)
            })
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
            each_call(|call| {
                let expected = (Ok(2), Three::of(&[a], &[a], &[]));
                is("a socket that is readable and writable", call.all_of(k, a), expected)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-raw-bitmap-above-1024",
        claim: "With sets that are long enough the kernel takes descriptors above 1023: FD_SETSIZE is a limit of the \
                C library's fd_set alone.",
        reference: "select(2) BUGS; core_sys_select in fs/select.c",
        matters: "With an fd_set, FD_SET of descriptor 1024 writes beyond its end, and no call fails. The kernel does \
                  not protect a program from that: it reads and writes there too.",
        experiment: "The reading end of a pipe with a byte in it becomes descriptor 1500; select with sets of 2048 bits.",
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
            each_call(|call| {
                let asked = Three::<32>::of(&[high], &[high], &[high]);
                let expected = (Ok(1), Three::of(&[high], &[], &[]));
                is("descriptor 1500, which is readable", call.now(k, high + 1, asked), expected)
            })
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "sel-bad-pointer-efault",
        claim: "A pointer that leads nowhere is EFAULT for each set of select, and for the array of poll. With no \
                descriptors at all it is never used, and the call returns 0.",
        reference: "select(2), poll(2) ERRORS; core_sys_select, do_sys_poll in fs/select.c",
        matters: "select with 0 and garbage is a common way to sleep. An emulator that checks pointers first breaks it.",
        experiment: "The address 8 in the place of each set and of poll's array, with one descriptor and with none.",
        run: |k| {
            for (descriptors, expected) in [(1, no(Errno::EFAULT)), (0, Ok(0))] {
                let nowhere = || At::Nowhere(Nowhere::Low, 1);
                for place in ["read", "write", "except"] {
                    for &call in CALLS {
                        let set = |name| if name == place { nowhere() } else { no_set() };
                        let sets = Sets { read: set("read"), write: set("write"), except: set("except") };
                        let reply = call.call(k, descriptors, sets, &mut { Duration::ZERO });
                        let what =
                            format!("{call} of {descriptors} descriptors, with the {place} set nowhere");
                        noted(is(what, reply, expected));
                    }
                }
                let array = At::Nowhere(Nowhere::Low, descriptors as usize);
                let what = format!("poll of {descriptors} descriptors, with the array nowhere");
                noted(is(what, k.poll(array, 0), expected));
            }
            Ok(())
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
