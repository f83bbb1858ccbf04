//! Files that nobody can wait for.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-regular-file",
        claim: "A regular file, a directory, /dev/null, /dev/zero, a memory file and most files of /proc are \
                exactly IN+OUT at once, at the end of the file too, and whatever they were opened for. So is \
                every kind of file that has no poll operation.",
        reference: "poll(2) NOTES; vfs_poll and DEFAULT_POLLMASK in include/linux/poll.h",
        matters: "poll does not tell whether a read of a file will wait for the disk; for that there are \
                  threads and io_uring. epoll refuses these files with EPERM, so a loop over epoll needs a \
                  case of its own where standard input is a file.",
        experiment: "poll with a timeout of 0 of each of these, opened for reading only, and of an empty \
                     file opened for writing only.",
        wrong: &[
            "tokio-file-unix: https://github.com/Rufflewind/tokio-file-unix/issues/2",
            "monoio: https://github.com/monoio-rs/monoio/issues/276",
            "async: https://github.com/socketry/async/issues/138",
        ],
        run: |k| {
            let scratch = Scratch::new();
            let writing = k.open(scratch.path(), libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC)?;
            is("an empty regular file, opened for writing", mask(k, writing)?, IN | OUT)?;
            for path in [scratch.path(), "/", "/dev/null", "/dev/zero", "/proc/self/stat", "/proc/version"] {
                let fd = k.open(path, libc::O_RDONLY | libc::O_CLOEXEC)?;
                let name = if path == scratch.path() { "an empty regular file" } else { path };
                is(format!("{name}, opened for reading"), mask(k, fd)?, IN | OUT)?;
            }
            k.write(writing, b"1")?;
            is("a regular file at its end", mask(k, writing)?, IN | OUT)?;
            let memory = k.memfd_create(libc::MFD_CLOEXEC)?;
            is("a memory file", mask(k, memory)?, IN | OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-opath-nval",
        claim: "A descriptor that was opened with O_PATH is exactly NVAL, as if it were closed.",
        reference: "open(2) O_PATH; do_pollfd in fs/select.c uses fdget, which does not give files with \
                    FMODE_PATH",
        matters: "NVAL does not prove that a number is free.",
        experiment: "The root directory is opened with O_PATH and polled; fcntl(F_GETFD) shows that it is \
                     open.",
        run: |k| {
            let fd = k.open("/", libc::O_PATH | libc::O_CLOEXEC)?;
            is("a descriptor opened with O_PATH", mask(k, fd)?, NVAL)?;
            let events_zero = mask_of(k, fd, NONE)?;
            is("a descriptor opened with O_PATH, with events 0", events_zero, NVAL)?;
            is("fcntl(F_GETFD) of it", k.fcntl(fd, libc::F_GETFD, 0), Ok(libc::FD_CLOEXEC))
        },
        ..Fact::ALWAYS
    },
];
