//! What the calls refuse.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-create-args",
        claim: "epoll_create takes any size above 0, and gives EINVAL for 0 and -1. epoll_create1 takes only \
                0 and EPOLL_CLOEXEC: 1 and O_NONBLOCK give EINVAL.",
        reference: "epoll_create(2); do_epoll_create in fs/eventpoll.c",
        since: Since(2, 6),
        matters: "Who passes a size to epoll_create1, or asks for a non-blocking epoll, gets no epoll at all.",
        experiment: "epoll_create with 1, i32::MAX, 0 and -1; epoll_create1 with 0, EPOLL_CLOEXEC, 1 and \
                     O_NONBLOCK, and FD_CLOEXEC of what they made.",
        run: |k| {
            for (size, made) in
                [(1, Ok(false)), (i32::MAX, Ok(false)), (0, no(Errno::EINVAL)), (-1, no(Errno::EINVAL))]
            {
                noted(is(
                    format!("FD_CLOEXEC after epoll_create({size})"),
                    cloexec(k, k.epoll_create(size)),
                    made,
                ));
            }
            for (name, flags, made) in [
                ("0", 0, Ok(false)),
                ("EPOLL_CLOEXEC", libc::EPOLL_CLOEXEC, Ok(true)),
                ("1", 1, no(Errno::EINVAL)),
                ("O_NONBLOCK", libc::O_NONBLOCK, no(Errno::EINVAL)),
            ] {
                let what = format!("FD_CLOEXEC after epoll_create1({name})");
                noted(is(what, cloexec(k, k.epoll_create1(flags)), made));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ctl-errnos",
        claim: "epoll_ctl gives EEXIST for an ADD of what is there, ENOENT for a MOD or DEL of what is not, \
                EBADF when either descriptor is closed, and EINVAL when the first is no epoll, when both are \
                the same, and for an unknown operation.",
        reference: "epoll_ctl(2) ERRORS; do_epoll_ctl in fs/eventpoll.c",
        matters: "A loop that keeps no record of what it added tells ADD from MOD by these errors.",
        experiment: "Each operation with each wrong argument, on a pipe.",
        wrong: &["Occlum: https://github.com/occlum/occlum/issues/1490"],
        run: |k| {
            const OPERATIONS: [(&str, i32); 3] =
                [("ADD", libc::EPOLL_CTL_ADD), ("MOD", libc::EPOLL_CTL_MOD), ("DEL", libc::EPOLL_CTL_DEL)];
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            is("the first ADD", add(k, epoll, r, IN), Ok(()))?;
            noted(is("the second ADD", add(k, epoll, r, IN), no(Errno::EEXIST)));
            noted(is("MOD of what was not added", modify(k, epoll, w, OUT), no(Errno::ENOENT)));
            for (name, operation) in OPERATIONS {
                let closed = closed_number(k)?;
                for (what, epoll, fd, errno) in [
                    ("on a closed epoll", closed, r, Errno::EBADF),
                    ("on -1 as the epoll", -1, r, Errno::EBADF),
                    ("of a closed descriptor", epoll, closed, Errno::EBADF),
                    ("of -1", epoll, -1, Errno::EBADF),
                    ("on a pipe as the epoll", w, r, Errno::EINVAL),
                    ("of the epoll on itself", epoll, epoll, Errno::EINVAL),
                ] {
                    let done = k.epoll_ctl(epoll, operation, fd, Some(event(fd, IN)));
                    noted(is(format!("{name} {what}"), done, no(errno)));
                    needs(Why::Setup, "the number is still closed", mask(k, closed)? == NVAL, "open")?;
                }
            }
            noted(is("DEL of what was not added", delete(k, epoll, w), no(Errno::ENOENT)));
            for operation in [0, 4, -1] {
                let unknown = k.epoll_ctl(epoll, operation, r, Some(event(r, IN)));
                noted(is(format!("operation {operation}, which does not exist"), unknown, no(Errno::EINVAL)));
                closed_number(k)?;
            }
            is("DEL of what was added", delete(k, epoll, r), Ok(()))?;
            is("DEL once more", delete(k, epoll, r), no(Errno::ENOENT))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ctl-event-pointer",
        claim: "ADD and MOD without an event (a null pointer) give EFAULT; DEL needs none. An unknown \
                operation without an event gives EFAULT too, not EINVAL: the event is fetched first.",
        reference: "epoll_ctl(2) BUGS; ep_op_has_event in fs/eventpoll.c",
        since: Since(2, 6),
        matters: "Before 2.6.9 DEL wanted an event that it did not look at. Code that must run there passes one.",
        experiment: "ADD, MOD, an unknown operation and DEL with a null pointer, on a pipe.",
        run: |k| {
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            let null = |operation| k.epoll_ctl(epoll, operation, r, None);
            noted(is("ADD with a null event", null(libc::EPOLL_CTL_ADD), no(Errno::EFAULT)));
            add(k, epoll, r, IN)?;
            noted(is("MOD with a null event", null(libc::EPOLL_CTL_MOD), no(Errno::EFAULT)));
            k.write(w, b"!")?;
            is("the entry after that", ready(k, epoll)?, vec![(r, IN)])?;
            noted(is("operation 4, which does not exist, with a null event", null(4), no(Errno::EFAULT)));
            is("DEL with a null event", null(libc::EPOLL_CTL_DEL), Ok(()))?;
            is("events after that DEL", ready(k, epoll)?, vec![])?;
            is("ADD after that DEL", add(k, epoll, r, IN), Ok(()))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-eperm-unpollable",
        claim: "ADD of a file that cannot be waited for gives EPERM: a regular file, a directory, /dev/null, \
                /dev/zero, a memfd. poll calls the same files ready. An O_PATH descriptor gives EBADF.",
        reference: "epoll_ctl(2) EPERM; file_can_poll in include/linux/poll.h; O_PATH in open(2)",
        matters: "A program over epoll fails as soon as its standard input is a file or /dev/null. Loops \
                  over poll and select never notice the difference.",
        experiment: "Each is opened, polled for IN and OUT, and added.",
        wrong: &[
            "tokio-file-unix: https://github.com/Rufflewind/tokio-file-unix/issues/2",
            "monoio: https://github.com/monoio-rs/monoio/issues/276",
            "async: https://github.com/socketry/async/issues/138",
            "Asio: https://github.com/chriskohlhoff/asio/issues/1529",
            "Occlum: https://github.com/occlum/occlum/issues/1490",
            "Mystikos: https://github.com/microsoft/mystikos/issues/626",
        ],
        run: |k| {
            let (epoll, file) = (epoll(k)?, Scratch::new());
            for (name, path, flags) in [
                ("a regular file", file.path(), libc::O_RDWR | libc::O_CREAT),
                ("a directory", "/", libc::O_RDONLY | libc::O_DIRECTORY),
                ("/dev/null", "/dev/null", libc::O_RDWR),
                ("/dev/zero", "/dev/zero", libc::O_RDWR),
                ("a memfd", "", 0),
            ] {
                step(name, || {
                    let fd = match path {
                        "" => k.memfd_create(libc::MFD_CLOEXEC)?,
                        path => k.open(path, flags | libc::O_CLOEXEC)?,
                    };
                    is("poll", mask_of(k, fd, IN | OUT), Ok(IN | OUT))?;
                    is("ADD", add(k, epoll, fd, IN | OUT), no(Errno::EPERM))
                });
            }
            let path = k.open("/", libc::O_PATH | libc::O_CLOEXEC)?;
            is("ADD of an O_PATH descriptor", add(k, epoll, path, IN), no(Errno::EBADF))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-eperm-before-enoent",
        claim: "MOD and DEL of a file that cannot be waited for give EPERM, not ENOENT, although it cannot be on the list.",
        reference: "do_epoll_ctl in fs/eventpoll.c asks file_can_poll before it looks at the list",
        matters: "Clean-up code that ignores ENOENT alone fails on the descriptor that could never be added.",
        experiment: "MOD and DEL of /dev/null.",
        wrong: &["elfuse: https://github.com/sysprog21/elfuse/issues/332"],
        run: |k| {
            let epoll = epoll(k)?;
            let null = k.open("/dev/null", libc::O_RDWR | libc::O_CLOEXEC)?;
            is("DEL of /dev/null", delete(k, epoll, null), no(Errno::EPERM))?;
            is("MOD of /dev/null", modify(k, epoll, null, IN), no(Errno::EPERM))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-wait-args",
        claim: "epoll_wait gives EINVAL for room for 0 or fewer events, and for more than i32::MAX bytes of \
                them: i32::MAX divided by the size of an event is taken, one more is not. On x86-64 an event \
                has 12 bytes, which makes 178956970.",
        reference: "epoll_wait(2) EINVAL; EP_MAX_EVENTS in fs/eventpoll.c; EPOLL_PACKED in linux/eventpoll.h",
        matters: "A loop that computes the room for its next wait must never be 0. A wait for no events is no way to sleep.",
        experiment: "Waits that do not block, with room for 0, -1, i32::MIN, the most and one more, in \
                     memory that is large enough.",
        run: |k| {
            let most = i32::MAX as usize / size_of::<epoll_event>();
            let epoll = epoll(k)?;
            // All of it must be ours: the kernel checks that before it waits. None of it is ever touched.
            let Some(memory) = raw::fresh_pages::<epoll_event>(most + 1) else {
                return skip(Why::Limits, "2 GiB of addresses cannot be reserved here");
            };
            let most = most as i32;
            for (room, answer) in [
                (0, no(Errno::EINVAL)),
                (-1, no(Errno::EINVAL)),
                (i32::MIN, no(Errno::EINVAL)),
                (most, Ok(0)),
                (most + 1, no(Errno::EINVAL)),
            ] {
                let waited = wait_into(k, epoll, At::from(&mut *memory), room, 0);
                noted(is(format!("a wait with room for {room} events"), waited, answer));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-wait-bad-epfd",
        claim: "epoll_wait and its siblings give EBADF for a descriptor that is closed and EINVAL for one that is no epoll.",
        reference: "epoll_wait(2) ERRORS; do_epoll_wait in fs/eventpoll.c",
        matters: "EBADF in the main loop means that somebody closed the epoll; EINVAL that somebody else has \
                  its number now. Neither goes away when the call is repeated.",
        experiment: "A wait on a number that was closed, and one on a pipe.",
        run: |k| {
            let ((pipe, _w), closed) = (pipe(k)?, closed_number(k)?);
            for (name, fd, errno) in [
                ("a closed descriptor", closed, Errno::EBADF),
                ("-1", -1, Errno::EBADF),
                ("a pipe", pipe, Errno::EINVAL),
            ] {
                noted(is(format!("a wait on {name}"), ready(k, fd), no(errno)));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
];

/// Whether a new descriptor is closed on exec; or why there is none.
fn cloexec(k: K, made: Reply<i32>) -> Reply<bool> {
    made.and_then(|fd| k.fcntl(fd, libc::F_GETFD, 0)).map(|flags| flags & libc::FD_CLOEXEC != 0)
}
