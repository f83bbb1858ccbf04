//! The receiver: the course's `demo12`.

use super::{CHUNK, Error, HEADER_BYTES, Header, NO, REASON_BYTES, Result};
use crate::sys::sendfile::{pipe, splice};
use crate::sys::socket::{Shutdown, shutdown};
use crate::sys::{Errno, fork::this_process};
use crate::tcp::{recv_full, recv_some, send_all};
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, fcntl};
use nix::unistd::linkat;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Wait for a header.
///
/// # Errors
///
/// [`Error::SenderGone`] when the stream ends before its last byte; [`Error::Name`] and [`Error::Size`] when the name or
/// the size is not valid; [`Error::Connection`].
pub fn receive_header(socket: impl AsFd) -> Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    let got = recv_full(socket, &mut bytes)?;
    if got < HEADER_BYTES {
        return Err(Error::SenderGone { got: got as u64, of: HEADER_BYTES as u64, part: "header" });
    }
    Header::parse(&bytes)
}

/// Tell the sender why not, and end the connection in order.
///
/// What it still sends is read and dropped until the stream ends or `left` bytes have come. A close(2) with unread bytes
/// would reset the connection, and the sender would lose the reason.
pub fn refuse(socket: impl AsFd, why: &Error, left: u64) {
    let mut line = [NO, b": ", why.to_string().as_bytes()].concat();
    line.truncate(REASON_BYTES);
    line.push(b'\n');
    let mut rest = vec![0; 64 * 1024];
    let mut left = left;
    // If a call fails here, the sender has gone.
    if send_all(&socket, &line).is_ok() && shutdown(&socket, Shutdown::Write).is_ok() {
        while left > 0 {
            match recv_some(&socket, &mut rest) {
                Ok(0) | Err(_) => return,
                Ok(n) => left = left.saturating_sub(n as u64),
            }
        }
    }
}

/// Where the content goes while it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside the old file, which keeps the name until the new one is complete and on disk.
    ///
    /// The content has no name meanwhile (`O_TMPFILE`, [open(2)](https://man7.org/linux/man-pages/man2/open.2.html)), so
    /// nothing is left when this process is killed. Where the file system has no such files (NFS, for one), or does not let
    /// them get a name, the content is in `.PID-NUMBER.part` in the same directory. A kill leaves that file, and nothing
    /// removes it later: a receiver cannot tell such a file from one of another program, or from one that a receiver on
    /// another host is about to lock.
    Beside,
    /// Into the old file, if there is one. The kernel then needs no new pages, which cost four times as much as the
    /// rest together where this was measured. A transfer that fails removes the old file, or leaves it half-written
    /// if this process is killed.
    ///
    /// The file is locked until the [`Incoming`] is dropped, and another transfer of that name is refused meanwhile. So
    /// drop it before the last [`say_ok`](super::say_ok): the sender may send the same name again after that.
    ///
    /// A file that has other hard links is refused, as a symbolic link is: the content of a name elsewhere, which the
    /// sender cannot know of, would change. [`Beside`](Place::Beside) replaces the name and leaves that content alone.
    InPlace,
}

/// A file that is being received. Dropped before it is complete, it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    pipe: (OwnedFd, OwnedFd),
    path: PathBuf,
    place: Place,
    size: u64,
    got: u64,
    /// The name that is removed if the transfer fails.
    partial: Option<PathBuf>,
}

impl Incoming {
    /// Open a file in `dir` for the content that was announced.
    ///
    /// # Errors
    ///
    /// [`Error::File`]: there is no such directory (`ENOENT`), it is not writable (`EACCES`), or something that is not a
    /// regular file has the name. In place: a symbolic link has the name (`ELOOP`), the file has other hard links, or
    /// another transfer of that name is under way. [`Error::Connection`]: no descriptors are left (`EMFILE`).
    pub fn create(dir: &Path, header: &Header, place: Place) -> Result<Incoming> {
        let path = dir.join(header.name());
        let failed = |source| Error::File { doing: "create", path: path.clone(), source };
        match path.symlink_metadata().map(|there| there.file_type()) {
            Ok(there) if there.is_dir() => return Err(failed(io::Error::from(Errno::EISDIR))),
            Ok(there) if !there.is_file() && !there.is_symlink() => return Err(failed(not_a_file())),
            _ => {}
        }
        let pipe = pipe(CHUNK as i32)?;
        let (file, partial) = match place {
            Place::Beside => beside(dir).map_err(failed)?,
            Place::InPlace => in_place(&path).map_err(failed)?,
        };
        Ok(Incoming { file, pipe, path, place, size: header.size(), got: 0, partial })
    }

    /// The bytes that have not come yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.size - self.got
    }

    /// Receive the content, flush it to disk, and give it its name.
    ///
    /// # Errors
    ///
    /// [`Error::SenderGone`]; [`Error::Connection`]; [`Error::File`], such as no space left (`ENOSPC`), or in place: the
    /// name was removed or given to another file meanwhile, so nobody would find the content.
    pub fn receive(&mut self, socket: impl AsFd) -> Result<()> {
        self.pour(socket)?;
        self.file.sync_all().map_err(|source| self.failed("flush", source))?;
        match self.place {
            Place::Beside => self.take_the_name().map_err(|source| self.failed("rename", source))?,
            Place::InPlace => self.check_the_name().map_err(|source| self.failed("find", source))?,
        }
        self.partial = None;
        // The name is part of the directory. We may be allowed to write the directory and not to read it.
        match File::open(self.path.parent().unwrap_or(Path::new("."))) {
            Ok(dir) => match dir.sync_all() {
                Err(why) if !cannot_be_flushed(&why) => Err(self.failed("flush", why)),
                _ => Ok(()),
            },
            Err(_) => Ok(()),
        }
    }

    /// From the socket through a pipe into the file, without a copy in this process.
    fn pour(&mut self, socket: impl AsFd) -> Result<()> {
        let mut copy = None;
        while self.left() > 0 {
            let count = CHUNK.min(usize::try_from(self.left()).unwrap_or(CHUNK));
            let mut piped = splice(&socket, &self.pipe.1, count)?;
            if piped == 0 {
                return Err(Error::SenderGone { got: self.got, of: self.size, part: "content" });
            }
            if self.place == Place::InPlace {
                self.partial.get_or_insert_with(|| self.path.clone());
            }
            while piped > 0 {
                let moved = match &mut copy {
                    None => match splice(&self.pipe.0, &self.file, piped) {
                        // The file system does not support splice(2): read and write from now on.
                        Err(error) if error.errno() == Some(Errno::EINVAL) => {
                            copy = Some(vec![0; CHUNK]);
                            continue;
                        }
                        moved => moved.map_err(io::Error::from),
                    },
                    Some(buffer) => by_hand(&self.pipe.0, &self.file, &mut buffer[..piped]),
                };
                let moved = moved.map_err(|source| self.failed("write", source))?;
                piped -= moved;
                self.got += moved as u64;
            }
        }
        if self.place == Place::InPlace {
            // The old file may have been longer.
            self.file.set_len(self.size).map_err(|source| self.failed("cut", source))?;
        }
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        Error::File { doing, path: self.path.clone(), source }
    }

    /// In place the file had its name from the start; but somebody may have taken it away.
    fn check_the_name(&self) -> io::Result<()> {
        if is_named(&self.file, &self.path)? {
            Ok(())
        } else {
            Err(io::Error::other("the name was removed or given to another file during the transfer"))
        }
    }

    fn take_the_name(&mut self) -> io::Result<()> {
        if let Some(name) = &self.partial {
            fs::rename(name, &self.path)?;
        } else {
            // linkat(2) does not replace an old file. So link the new one under another name, and rename that.
            let linked = match link(&self.file, &self.path) {
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
                    with_partial_name(&self.path, |name| link(&self.file, name)).map(|((), name)| Some(name))
                }
                linked => linked.map(|()| None),
            };
            match linked {
                Ok(None) => {}
                Ok(Some(name)) => fs::rename(self.partial.insert(name), &self.path)?,
                Err(why) if cannot_be_linked(&why) => {
                    self.copy_beside()?;
                    self.partial.as_ref().map_or(Ok(()), |name| fs::rename(name, &self.path))?;
                }
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Copy the file, which cannot get a name here, into one beside the path that has one.
    fn copy_beside(&mut self) -> io::Result<()> {
        let create = |name: &Path| OpenOptions::new().write(true).create_new(true).mode(0o666).open(name);
        let (mut named, name) = with_partial_name(&self.path, create)?;
        self.partial = Some(name);
        self.file.rewind()?;
        io::copy(&mut self.file, &mut named)?;
        named.sync_all()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(partial) = &self.partial else { return };
        // In place, somebody may have given the name to another file, which is not ours to remove.
        if self.place == Place::Beside || is_named(&self.file, partial).is_ok_and(|named| named) {
            fs::remove_file(partial).ok();
        }
    }
}

/// A file without a name in `dir`, which the kernel removes when this process ends (`O_TMPFILE`, open(2)). Where the file
/// system has no such files, it is one with a name, and the name is returned as well.
fn beside(dir: &Path) -> io::Result<(File, Option<PathBuf>)> {
    // It is readable because it is copied where it cannot get a name.
    let nameless =
        OpenOptions::new().read(true).write(true).mode(0o666).custom_flags(libc::O_TMPFILE).open(dir);
    match nameless {
        Ok(file) => Ok((file, None)),
        // A kernel that does not know the flag says EISDIR, because a directory would be opened for writing.
        Err(why) if matches!(why.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            let (file, name) = with_partial_name(&dir.join("any"), |name| {
                OpenOptions::new().write(true).create_new(true).mode(0o666).open(name)
            })?;
            Ok((file, Some(name)))
        }
        Err(why) => Err(why),
    }
}

/// The old file as it is, or a new one with its name. It is locked for as long as it is open, so that two transfers do
/// not mix. A file that has another name, by a symbolic or a hard link, is refused.
fn in_place(path: &Path) -> io::Result<(File, Option<PathBuf>)> {
    loop {
        let is_new = !path.exists();
        // Without O_NONBLOCK the open of a FIFO would wait for a reader.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o666).custom_flags(flags);
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(not_a_file());
        }
        let whole = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)) {
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(io::Error::other("another transfer of that name is under way"));
            }
            locked => locked?,
        };
        // A transfer that failed between our open and our lock has removed the name.
        if !is_named(&file, path)? {
            continue;
        }
        if file.metadata()?.nlink() > 1 {
            return Err(io::Error::other("it has other hard links, which would get the new content too"));
        }
        return Ok((file, is_new.then(|| path.to_owned())));
    }
}

/// Whether `path` is a name of `file`, and not of another one or of none.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why),
    }
}

fn not_a_file() -> io::Error {
    io::Error::other("there is something that is not a regular file")
}

/// Do `make` with a name beside `path` that nobody has, and return that, too.
fn with_partial_name<T>(path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, PathBuf)> {
    let mut tried = 0;
    loop {
        let name = path.with_file_name(format!(".{}-{tried}.part", this_process()));
        match make(&name) {
            // Another thread has the name, or a process with our PID left it when it was killed.
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => tried += 1,
            made => return Ok((made?, name)),
        }
    }
}

/// Whether the file system does not flush directories (FUSE, CIFS, DrvFs). Another error means that the disk failed.
fn cannot_be_flushed(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

/// Whether a file without a name cannot get one here, because there is no /proc (`ENOENT`), or the file system or a sandbox
/// does not allow it.
fn cannot_be_linked(why: &io::Error) -> bool {
    let known = [libc::ENOENT, libc::EOPNOTSUPP, libc::EXDEV, libc::EPERM, libc::ENOSYS];
    why.raw_os_error().is_some_and(|errno| known.contains(&errno))
}

/// Give `file`, which has no name, the name `path`: linkat(2). (`AT_EMPTY_PATH` would need a privilege.)
fn link(file: &File, path: &Path) -> io::Result<()> {
    let file = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(linkat(AT_FDCWD, file.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?)
}

/// Move what fits `buffer` from the pipe into the file.
fn by_hand(pipe: impl AsFd, mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let n = nix::unistd::read(pipe, buffer)?;
    file.write_all(&buffer[..n])?;
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_file_that_splice_cannot_write_is_written_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("appended");
        // splice(2) refuses files that are open for appending.
        let file = OpenOptions::new().append(true).create_new(true).open(&named).unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let size = bytes.len() as u64;
        let path = named.clone();
        let pipe = pipe(CHUNK as i32).unwrap();
        // Beside, and with its name already.
        let partial = Some(path.clone());
        let mut incoming = Incoming { file, pipe, path, place: Place::Beside, size, got: 0, partial };
        std::thread::scope(|scope| {
            scope.spawn(|| other.write_all(&bytes).unwrap());
            incoming.receive(&one).unwrap();
        });
        drop(incoming);
        let written = fs::read(&named).unwrap();
        assert!(written == bytes);
    }

    #[test]
    fn without_nameless_files_a_name_that_nobody_has_is_used_and_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let any = folder.path().join("any");
        let make = |name: &Path| OpenOptions::new().write(true).create_new(true).open(name);
        let (_left_over, first) = with_partial_name(&any, make).unwrap();
        let (file, second) = with_partial_name(&any, make).unwrap();
        assert_ne!(first, second);
        let path = folder.path().join("name");
        let named = |partial| Incoming {
            file: file.try_clone().unwrap(),
            pipe: pipe(CHUNK as i32).unwrap(),
            path: path.clone(),
            place: Place::Beside,
            size: 0,
            got: 0,
            partial: Some(partial),
        };
        drop(named(first.clone()));
        assert!(!first.exists(), "a broken one goes away");
        named(second.clone()).take_the_name().unwrap();
        assert!(!second.exists() && path.exists(), "a complete one gets its name");
    }
}
