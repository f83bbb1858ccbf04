//! What the calls refuse.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-create-args",
        claim: "epoll_create takes any size above 0, and gives EINVAL for 0 and -1. epoll_create1 takes only 0 and \
                EPOLL_CLOEXEC: 1 and O_NONBLOCK give EINVAL.",
        reference: "epoll_create(2); do_epoll_create in fs/eventpoll.c",
        since: Since(2, 6),
        matters: "Who passes a size to epoll_create1, or asks for a non-blocking epoll, gets no epoll at all.",
        experiment: "epoll_create with 1, i32::MAX, 0 and -1; epoll_create1 with 0, EPOLL_CLOEXEC, 1 and O_NONBLOCK, \
                     and FD_CLOEXEC of what they made.",
        run: |k| {
            for size in [1, i32::MAX] {
                is(
                    format!("FD_CLOEXEC after epoll_create({size})"),
                    cloexec(k, k.epoll_create(size)),
                    Ok(false),
                )?;
            }
            for size in [0, -1] {
                is(format!("epoll_create({size})"), k.epoll_create(size), no(Errno::EINVAL))?;
            }
            is("FD_CLOEXEC after epoll_create1(0)", cloexec(k, k.epoll_create1(0)), Ok(false))?;
            let made = k.epoll_create1(libc::EPOLL_CLOEXEC);
            is("FD_CLOEXEC after epoll_create1(EPOLL_CLOEXEC)", cloexec(k, made), Ok(true))?;
            is("epoll_create1(1)", k.epoll_create1(1), no(Errno::EINVAL))?;
            is("epoll_create1(O_NONBLOCK)", k.epoll_create1(libc::O_NONBLOCK), no(Errno::EINVAL))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ctl-errnos",
        claim: "epoll_ctl gives EEXIST for an ADD of what is there, ENOENT for a MOD or DEL of what is not, EBADF \
                when either descriptor is closed, and EINVAL when the first is no epoll, when both are the same, \
                and for an unknown operation.",
        reference: "epoll_ctl(2) ERRORS; do_epoll_ctl in fs/eventpoll.c",
        matters: "A loop that keeps no record of what it added tells ADD from MOD by these errors.",
        experiment: "Each operation with each wrong argument, on a pipe.",
        wrong: &["Occlum: https://github.com/occlum/occlum/issues/1490"],
        run: |k| {
            const OPERATIONS: [(&str, i32); 3] =
                [("ADD", libc::EPOLL_CTL_ADD), ("MOD", libc::EPOLL_CTL_MOD), ("DEL", libc::EPOLL_CTL_DEL)];
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            is("the first ADD", add(k, epoll, r, IN), Ok(()))?;
            is("the second ADD", add(k, epoll, r, IN), no(Errno::EEXIST))?;
            is("MOD of what was not added", modify(k, epoll, w, OUT), no(Errno::ENOENT))?;
            is("DEL of what was not added", delete(k, epoll, w), no(Errno::ENOENT))?;
            let closed = closed_number(k)?;
            for (name, operation) in OPERATIONS {
                let ctl = |epoll, fd| k.epoll_ctl(epoll, operation, fd, Some(event(fd, IN)));
                is(format!("{name} on a closed epoll"), ctl(closed, r), no(Errno::EBADF))?;
                is(format!("{name} on -1 as the epoll"), ctl(-1, r), no(Errno::EBADF))?;
                is(format!("{name} of a closed descriptor"), ctl(epoll, closed), no(Errno::EBADF))?;
                is(format!("{name} of -1"), ctl(epoll, -1), no(Errno::EBADF))?;
                is(format!("{name} on a pipe as the epoll"), ctl(w, r), no(Errno::EINVAL))?;
                is(format!("{name} of the epoll on itself"), ctl(epoll, epoll), no(Errno::EINVAL))?;
            }
            for operation in [0, 4, -1] {
                let unknown = k.epoll_ctl(epoll, operation, r, Some(event(r, IN)));
                is(format!("operation {operation}, which does not exist"), unknown, no(Errno::EINVAL))?;
            }
            is("DEL of what was added", delete(k, epoll, r), Ok(()))?;
            is("DEL once more", delete(k, epoll, r), no(Errno::ENOENT))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-ctl-event-pointer",
        claim: "ADD and MOD without an event (a null pointer) give EFAULT; DEL needs none. An unknown operation \
                without an event gives EFAULT too, not EINVAL: the event is fetched first.",
        reference: "epoll_ctl(2) BUGS; ep_op_has_event in fs/eventpoll.c",
        since: Since(2, 6),
        matters: "Before 2.6.9 DEL wanted an event that it did not look at. Code that must run there passes one.",
        experiment: "ADD, MOD, an unknown operation and DEL with a null pointer, on a pipe.",
        run: |k| {
            let (epoll, (r, _w)) = (epoll(k)?, pipe(k)?);
            is("ADD with a null event", k.epoll_ctl(epoll, libc::EPOLL_CTL_ADD, r, None), no(Errno::EFAULT))?;
            add(k, epoll, r, IN)?;
            is("MOD with a null event", k.epoll_ctl(epoll, libc::EPOLL_CTL_MOD, r, None), no(Errno::EFAULT))?;
            is(
                "operation 4, which does not exist, with a null event",
                k.epoll_ctl(epoll, 4, r, None),
                no(Errno::EFAULT),
            )?;
            is("DEL with a null event", k.epoll_ctl(epoll, libc::EPOLL_CTL_DEL, r, None), Ok(()))?;
            is("ADD after that DEL", add(k, epoll, r, IN), Ok(()))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-eperm-unpollable",
        claim: "ADD of a file that cannot be waited for gives EPERM: a regular file, a directory, /dev/null, \
                /dev/zero, a memfd. poll calls the same files ready. An O_PATH descriptor gives EBADF.",
        reference: "epoll_ctl(2) EPERM; file_can_poll in include/linux/poll.h; O_PATH in open(2)",
        matters: "A program over epoll fails as soon as its standard input is a file or /dev/null. Loops over poll \
                  and select never notice the difference.",
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
            let epoll = epoll(k)?;
            let file = Scratch::new();
            let kinds = [
                ("a regular file", k.open(file.path(), libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC)?),
                ("a directory", k.open("/", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)?),
                ("/dev/null", k.open("/dev/null", libc::O_RDWR | libc::O_CLOEXEC)?),
                ("/dev/zero", k.open("/dev/zero", libc::O_RDWR | libc::O_CLOEXEC)?),
                ("a memfd", k.memfd_create(libc::MFD_CLOEXEC)?),
            ];
            for (name, fd) in kinds {
                is(format!("poll of {name}"), mask_of(k, fd, IN | OUT), Ok(IN | OUT))?;
                is(format!("ADD of {name}"), add(k, epoll, fd, IN | OUT), no(Errno::EPERM))?;
            }
            let path = k.open("/", libc::O_PATH | libc::O_CLOEXEC)?;
            is("ADD of an O_PATH descriptor", add(k, epoll, path, IN), no(Errno::EBADF))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-eperm-before-enoent",
        claim: "MOD and DEL of a file that cannot be waited for give EPERM, not ENOENT, although it cannot be on \
                the list.",
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
                them: i32::MAX divided by the size of an event is taken, one more is not. On x86-64 an event has \
                12 bytes, which makes 178956970.",
        reference: "epoll_wait(2) EINVAL; EP_MAX_EVENTS in fs/eventpoll.c; EPOLL_PACKED in linux/eventpoll.h",
        matters: "A loop that computes the room for its next wait must not come to 0. A wait for no events is no \
                  way to sleep.",
        experiment: "Waits that do not block, with room for 0, -1, i32::MIN, the most and one more, in memory that \
                     is large enough.",
        run: |k| {
            let most = i32::MAX as usize / size_of::<epoll_event>();
            if cfg!(target_arch = "x86_64") {
                is("the most events that i32::MAX bytes have room for", most, 178_956_970)?;
            }
            let epoll = epoll(k)?;
            // All of it must be ours: the kernel checks that before it waits. None of it is ever touched.
            let Some(memory) = raw::fresh_pages::<epoll_event>(most + 1) else {
                return skip(Why::Limits, "2 GiB of addresses cannot be reserved here");
            };
            let mut wait = |max: i32| k.epoll_wait(epoll, At::from(&mut *memory), max, 0);
            for max in [0, -1, i32::MIN] {
                is(format!("epoll_wait with room for {max} events"), wait(max), no(Errno::EINVAL))?;
            }
            let most = most as i32;
            is(format!("epoll_wait with room for {most} events, the most"), wait(most), Ok(0))?;
            let more = most + 1;
            is(
                format!("epoll_wait with room for {more} events, one more than the most"),
                wait(more),
                no(Errno::EINVAL),
            )
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-wait-bad-epfd",
        claim: "epoll_wait and epoll_pwait give EBADF for a descriptor that is closed and EINVAL for one that is \
                no epoll.",
        reference: "epoll_wait(2) ERRORS; do_epoll_wait in fs/eventpoll.c",
        matters: "EBADF in the main loop means that somebody closed the epoll; EINVAL that somebody else has its \
                  number now. Neither goes away when the call is repeated.",
        experiment: "A wait on a number that was closed, and one on a pipe.",
        run: |k| {
            let ((pipe, _w), closed) = (pipe(k)?, closed_number(k)?);
            let mut events = [event(0, NONE); 4];
            for (name, fd, errno) in [
                ("a closed descriptor", closed, Errno::EBADF),
                ("-1", -1, Errno::EBADF),
                ("a pipe", pipe, Errno::EINVAL),
            ] {
                is(
                    format!("epoll_wait on {name}"),
                    k.epoll_wait(fd, At::from(&mut events), 4, 0),
                    no(errno),
                )?;
                let pwait = k.epoll_pwait(fd, At::from(&mut events), 4, 0, raw::Mask::NONE);
                is(format!("epoll_pwait on {name}"), pwait, no(errno))?;
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
