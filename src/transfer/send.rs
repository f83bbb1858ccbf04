//! The sender: the course's `demo11`.

use super::{CHUNK, Error, Header, Result, expect_ok};
use crate::sys::poll::{PollFlags, wait_for};
use crate::sys::sendfile::sendfile;
use crate::sys::sockopt::{set_congestion_control, set_send_buffer};
use crate::tcp::{self, resolve, send_all};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Half of what it becomes.
const LOOPBACK_SEND_BUFFER: usize = 256 * 1024;

/// A file to send.
#[derive(Debug)]
pub struct Outgoing {
    file: File,
    path: PathBuf,
    header: Header,
}

impl Outgoing {
    /// Open the file at `path`, of which `size` bytes, or all, will be sent under the last component of
    /// its name. Everything that stands in the way on this side is found here, before anybody is
    /// connected to.
    ///
    /// # Errors
    ///
    /// [`Error::File`], [`Error::NotAFile`], [`Error::NoSize`], [`Error::TooShort`], [`Error::Size`],
    /// [`Error::Name`].
    pub fn open(path: &Path, size: Option<u64>) -> Result<Outgoing> {
        let failed = |doing| move |source| Error::File { doing, path: path.to_owned(), source };
        // Looked at before it is opened: opening a FIFO would wait for somebody to write.
        if !path.metadata().map_err(failed("open"))?.is_file() {
            return Err(Error::NotAFile(path.to_owned()));
        }
        let file = File::open(path).map_err(failed("open"))?;
        let has = file.metadata().map_err(failed("look at"))?.len();
        if has == 0 && file.read_at(&mut [0], 0).map_err(failed("read"))? > 0 {
            return Err(Error::NoSize(path.to_owned()));
        }
        let asked = size.unwrap_or(has);
        if asked > has {
            return Err(Error::TooShort { path: path.to_owned(), has, asked });
        }
        let header = Header::new(path.file_name().unwrap_or_default(), asked)?;
        Ok(Outgoing { file, path: path.to_owned(), header })
    }

    /// What will be sent first.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Send the header.
    ///
    /// # Errors
    ///
    /// [`Error::Connection`].
    pub fn announce(&self, socket: impl AsFd) -> Result<()> {
        Ok(send_all(socket, &self.header.to_bytes())?)
    }

    /// Send the content: sendfile(2). After each MiB `progress` is told how many bytes have gone.
    ///
    /// # Errors
    ///
    /// [`Error::Shrank`] when the file has become shorter meanwhile; [`Error::Refused`] when the receiver
    /// cannot go on; [`Error::ReceiverGone`], [`Error::Connection`].
    pub fn send(&self, socket: impl AsFd, mut progress: impl FnMut(u64)) -> Result<()> {
        let size = self.header.size();
        let mut sent = 0;
        while sent < size {
            let count = CHUNK.min(usize::try_from(size - sent).unwrap_or(CHUNK));
            match sendfile(&socket, &self.file, count) {
                Ok(0) => return Err(Error::Shrank { path: self.path.clone(), sent, size }),
                Ok(n) => sent += n as u64,
                // Why, the receiver may have said before it closed the connection.
                Err(error) => return Err(answered_early(&socket).unwrap_or(Error::Connection(error))),
            }
            progress(sent);
            // Nothing is due before the end, so anything that can be read is a refusal.
            if sent < size
                && let Some(refused) = answered_early(&socket)
            {
                return Err(refused);
            }
        }
        Ok(())
    }
}

fn answered_early(socket: impl AsFd) -> Option<Error> {
    let answered = wait_for(&socket, PollFlags::POLLIN, Some(Duration::ZERO));
    let why = |answer: Result<()>| match answer {
        Ok(()) => Error::Refused("it answered ok before it had all".to_owned()),
        Err(error) => error,
    };
    answered.is_ok_and(|readable| readable).then(|| why(expect_ok(socket)))
}

/// Connect to a receiver at `host`, a name or an address.
///
/// Over loopback there is nothing that a congestion control could protect, and one that paces, such as
/// BBR, halves the rate towards a receiver that is quick (1.7 GB/s against 4.6 where this was measured).
/// So a connection to a loopback address uses cubic, where the kernel has it. What cubic then has under
/// way is more than the processor's caches hold, which costs 8 % again (3.9 GB/s against 4.2); hence the
/// small send buffer.
///
/// # Errors
///
/// [`Error::Connection`].
pub fn connect(host: &str, port: u16) -> Result<OwnedFd> {
    Ok(tcp::connect(&resolve(host, port)?, |socket, addr| {
        if addr.ip().is_loopback() {
            set_congestion_control(socket, "cubic").ok();
            set_send_buffer(socket, LOOPBACK_SEND_BUFFER)?;
        }
        Ok(())
    })?)
}
