//! Files, most of which nobody can wait for.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-regular-file",
        claim: "A regular file, a directory, /dev/null, /dev/zero, a memory file and most files of /proc are exactly \
                IN+OUT at once, at the end of the file too, and whatever they were opened for. So is every kind of \
                file that has no poll operation.",
        reference: "poll(2) NOTES; vfs_poll and DEFAULT_POLLMASK in include/linux/poll.h",
        matters: "poll does not tell whether a read of a file will wait for the disk; for that there are threads and \
                  io_uring. epoll refuses these files with EPERM, so a loop over epoll needs a case of its own where \
                  standard input is a file.",
        experiment: "poll with a timeout of 0 of each of these, opened for reading only, and of an empty file opened \
                     for writing only.",
        wrong: &[
            "tokio-file-unix: https://github.com/Rufflewind/tokio-file-unix/issues/2",
            "monoio: https://github.com/monoio-rs/monoio/issues/276",
            "async: https://github.com/socketry/async/issues/138",
        ],
        run: |k| {
            let scratch = Scratch::new();
            let writing = k.open(scratch.path(), libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC)?;
            noted(is("an empty regular file, opened for writing", mask(k, writing)?, IN | OUT));
            for path in [scratch.path(), "/", "/dev/null", "/dev/zero", "/proc/self/stat", "/proc/version"] {
                let name = if path == scratch.path() { "an empty regular file" } else { path };
                step(format!("{name}, opened for reading"), || {
                    let fd = k.open(path, libc::O_RDONLY | libc::O_CLOEXEC)?;
                    is("poll", mask(k, fd)?, IN | OUT)
                });
            }
            k.write(writing, b"1")?;
            noted(is("a regular file at its end", mask(k, writing)?, IN | OUT));
            is("a memory file", mask(k, k.memfd_create(libc::MFD_CLOEXEC)?)?, IN | OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-opath-nval",
        claim: "A descriptor that was opened with O_PATH is exactly NVAL, as if it were closed.",
        reference: "open(2) O_PATH; do_pollfd in fs/select.c uses fdget, which does not give files with FMODE_PATH",
        matters: "NVAL does not prove that a number is free.",
        experiment: "The root directory is opened with O_PATH and polled; fcntl(F_GETFD) shows that it is open.",
        run: |k| {
            let fd = k.open("/", libc::O_PATH | libc::O_CLOEXEC)?;
            is("a descriptor opened with O_PATH", mask(k, fd)?, NVAL)?;
            is("a descriptor opened with O_PATH, with events 0", mask_of(k, fd, NONE)?, NVAL)?;
            is("fcntl(F_GETFD) of it", k.fcntl(fd, libc::F_GETFD, 0), Ok(libc::FD_CLOEXEC))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-sysfs-read-first",
        claim: "A file of sysfs is IN+PRI+OUT+ERR until it has been read once, and IN+OUT from then on, until the \
                kernel says that its value has changed.",
        reference: "kernfs_generic_poll in fs/kernfs/file.c, which compares the events with those at the last read",
        matters: "PRI is how a GPIO line, a RAID array or a network device tells a change. A program that waits for \
                  it without a first read is woken at once, for nothing; and its ERR is no error.",
        experiment: "The file ifindex of the loopback interface is opened and polled; read and polled again; opened \
                     once more and polled.",
        wrong: &[
            "c-periphery: https://github.com/vsergeev/c-periphery/pull/5",
            "python-periphery: https://github.com/vsergeev/python-periphery/issues/5",
            "libuv: https://github.com/libuv/libuv/pull/1040",
        ],
        run: |k| {
            let open = || k.open("/sys/class/net/lo/ifindex", libc::O_RDONLY | libc::O_CLOEXEC);
            let fd = open()?;
            is("a file of sysfs that was not read", mask(k, fd)?, IN | PRI | OUT | ERR)?;
            is("read", k.read(fd, &mut [0; 16]), Ok(2))?;
            is("the file after the read", mask(k, fd)?, IN | OUT)?;
            is("another descriptor of it, which was not read", mask(k, open()?)?, IN | PRI | OUT | ERR)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-inotify-short-read",
        claim: "A read from an inotify descriptor with less room than the next event needs gives EINVAL, takes \
                nothing, and leaves IN.",
        reference: "inotify(7) Reading events from an inotify file descriptor; get_one_event in fs/notify/inotify/inotify_user.c",
        matters: "A loop that takes this EINVAL for a passing error spins. An event has 16 bytes and the name of the \
                  file, so that a buffer may be large enough until a longer name comes.",
        experiment: "A file is watched and written to; read of 15 bytes, poll, read of 16, poll.",
        wrong: &["Linux before 2.6.21: such a read gave 0 (inotify(7))"],
        run: |k| {
            let scratch = Scratch::new();
            let file = k.open(scratch.path(), libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC)?;
            let fd = raw::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC)?;
            raw::inotify_add_watch(fd, scratch.path(), libc::IN_MODIFY)?;
            is("without an event", mask(k, fd)?, NONE)?;
            k.write(file, b"1")?;
            is("with an event", mask(k, fd)?, IN)?;
            is("read of 15 bytes", k.read(fd, &mut [0; 15]), no(Errno::EINVAL))?;
            is("after that read", mask(k, fd)?, IN)?;
            is("read of 16 bytes", k.read(fd, &mut [0; 16]), Ok(16))?;
            is("after the event was read", mask(k, fd)?, NONE)
        },
        ..Fact::ALWAYS
    },
];
