//! Files over TCP: the protocol of the course's `demo11` and `demo12`.
//!
//! ```text
//! sender                                         receiver
//!  | 260 bytes: name, NUL-padded to 256; size,    |
//!  |            32 bits, little-endian       -->  | is that a plain name, can such a file be made?
//!  |                                         <--  | ok            (or no: REASON, and the end)
//!  | the content, so many bytes              -->  | beside its place, then flushed, then renamed
//!  |                                         <--  | ok            (or no: REASON, and the end)
//! ```
//!
//! The refusal is ours: the originals just close the connection. They take any two bytes that are not
//! `ok` for one, so a C++ sender sees that it was refused, and ours sees why.
//!
//! TCP keeps no borders: the header may come in pieces and the content with it in one, so everything is
//! read until it is complete, whatever the segments. (The originals take one recv(2) for each, and a
//! short one corrupts the file.) No byte that came from the network becomes part of a path before
//! [`Header::parse`] has seen that it is a name and nothing else.

mod receive;
mod send;

pub use receive::{Incoming, Place, receive_header, refuse};
pub use send::{Outgoing, connect};

use crate::sys::poll::{PollFlags, wait_for};
use crate::tcp::{recv_full, recv_some, send_all};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The bytes of a header: the C struct `{ char filename[256]; int filesize; }`.
pub const HEADER_BYTES: usize = NAME_BYTES + 4;

/// The bytes of its name, with at least one NUL at the end.
pub const NAME_BYTES: usize = 256;

/// The largest file: what the 32-bit `int` of the header can say.
pub const LARGEST: u64 = i32::MAX as u64;

/// How much is moved with one call: 1 MiB, what a pipe may have without privileges.
const CHUNK: usize = 1 << 20;

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file was not transferred.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection could not be made, or has failed.
    #[error(transparent)]
    Connection(#[from] crate::Error),
    /// A file or directory on this side.
    #[error("{}: cannot {doing}: {source}", shown(path))]
    File {
        /// What was tried, such as `write`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than a file.
    #[error("{}: not a regular file", shown(.0))]
    NotAFile(PathBuf),
    /// A file that has content and no size, such as those of /proc.
    #[error("{}: its size is not known; copy it first", shown(.0))]
    NoSize(PathBuf),
    /// The name cannot be one in the receiver's directory.
    #[error("\"{}\" is no plain file name: {why}", name.escape_ascii())]
    Name {
        /// The name.
        name: Vec<u8>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The size cannot be said in the header, or is none.
    #[error("a size of {0} bytes: the header has room for 0 to {LARGEST}")]
    Size(i64),
    /// The file is shorter than the size that was asked for.
    #[error("{}: has {has} bytes, and {asked} should be sent", shown(path))]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its size.
        has: u64,
        /// The size asked for.
        asked: u64,
    },
    /// The file became shorter while it was sent.
    #[error("{}: was cut to {sent} bytes while {size} were being sent", shown(path))]
    Shrank {
        /// The file.
        path: PathBuf,
        /// What was sent.
        sent: u64,
        /// What was announced.
        size: u64,
    },
    /// The sender left early.
    #[error("the sender has gone after {got} of {of} bytes of the {part}")]
    SenderGone {
        /// What came.
        got: u64,
        /// What should have come.
        of: u64,
        /// Of what: `header` or `content`.
        part: &'static str,
    },
    /// This receiver has to end.
    #[error("the receiver was told to stop")]
    Stopped,
    /// The receiver left without an answer.
    #[error("the receiver has gone without an answer")]
    ReceiverGone,
    /// The receiver does not want the file.
    #[error("the receiver refused: {0}")]
    Refused(String),
}

/// What is sent before the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    name: Vec<u8>,
    size: u32,
}

impl Header {
    /// A file of that name and size.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when the name is not a plain one: empty, `.`, `..`, with a `/` or a NUL, or longer than
    /// 255 bytes. [`Error::Size`] above [`LARGEST`].
    pub fn new(name: &OsStr, size: u64) -> Result<Header> {
        let name = name.as_bytes();
        let fault = match name {
            b"" => Some("it is empty"),
            b"." | b".." => Some("it is a directory"),
            _ if name.contains(&b'/') => Some("it has a /"),
            _ if name.contains(&0) => Some("it has a NUL"),
            _ if name.len() >= NAME_BYTES => Some("it has more than 255 bytes"),
            _ => None,
        };
        if let Some(why) = fault {
            return Err(Error::Name { name: name.to_vec(), why });
        }
        match i32::try_from(size) {
            Ok(size) => Ok(Header { name: name.to_vec(), size: size.unsigned_abs() }),
            Err(_) => Err(Error::Size(size.try_into().unwrap_or(i64::MAX))),
        }
    }

    /// What a sender has announced.
    ///
    /// # Errors
    ///
    /// As [`new`](Header::new); [`Error::Name`] also for a name without a NUL at its end, and
    /// [`Error::Size`] for a negative size.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Header> {
        let [name @ .., s0, s1, s2, s3] = bytes;
        let Some(end) = name.iter().position(|&byte| byte == 0) else {
            return Err(Error::Name { name: name.to_vec(), why: "it has no NUL at its end" });
        };
        let size = i32::from_le_bytes([*s0, *s1, *s2, *s3]);
        let Ok(positive) = u64::try_from(size) else { return Err(Error::Size(size.into())) };
        Header::new(OsStr::from_bytes(&name[..end]), positive)
    }

    /// As it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..self.name.len()].copy_from_slice(&self.name);
        bytes[NAME_BYTES..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    /// The name: one component of a path, not `.` or `..`.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }

    /// The name with `?` for what commands a terminal: it may come from the network. In a name that is not UTF-8 these are also the
    /// bytes 0x80 to 0x9f, which a terminal of an 8-bit encoding obeys.
    #[must_use]
    pub fn printable_name(&self) -> Vec<u8> {
        let mut printable = Vec::with_capacity(self.name.len());
        for chunk in self.name.utf8_chunks() {
            let text: String = chunk.valid().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            printable.extend_from_slice(text.as_bytes());
            // Names in other encodings, such as GB 2312, are shown as they are.
            printable.extend(chunk.invalid().iter().map(|byte| if *byte < 0xa0 { b'?' } else { *byte }));
        }
        printable
    }

    /// The size of the content in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.into()
    }
}

/// A path whose last component may come from the network.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

const OK: &[u8] = b"ok";
const NO: &[u8] = b"no";

/// The longest reason of a refusal that is read.
const REASON_BYTES: usize = 512;

/// Tell the sender to go on, or that all has come.
///
/// # Errors
///
/// [`Error::Connection`].
pub fn say_ok(socket: impl AsFd) -> Result<()> {
    Ok(send_all(socket, OK)?)
}

/// Wait for the receiver's `ok`.
///
/// # Errors
///
/// [`Error::Refused`] when it answers anything else, [`Error::ReceiverGone`], [`Error::Connection`].
pub fn expect_ok(socket: impl AsFd) -> Result<()> {
    let mut answer = [0; OK.len()];
    if recv_full(&socket, &mut answer)? < answer.len() {
        return Err(Error::ReceiverGone);
    }
    match &answer[..] {
        OK => Ok(()),
        NO => Err(Error::Refused(reason(socket))),
        other => Err(Error::Refused(format!("it answered \"{}\"", other.escape_ascii()))),
    }
}

/// The rest of a refusal: a line. What does not come within a second is not waited for.
fn reason(socket: impl AsFd) -> String {
    let mut line = vec![0; REASON_BYTES];
    let mut filled = 0;
    while filled < line.len() && !line[..filled].contains(&b'\n') {
        let comes = wait_for(&socket, PollFlags::POLLIN, Some(Duration::from_secs(1)));
        match comes.and_then(|comes| if comes { recv_some(&socket, &mut line[filled..]) } else { Ok(0) }) {
            Ok(0) | Err(_) => break,
            Ok(n) => filled += n,
        }
    }
    // It comes from the network and goes to a terminal.
    let text: String = String::from_utf8_lossy(&line[..filled])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text.trim_start_matches(':').trim() {
        "" => "it gave no reason".to_owned(),
        reason => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(name: &[u8], size: i32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..name.len()].copy_from_slice(name);
        bytes[NAME_BYTES..].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    #[test]
    fn the_header_is_the_c_struct() {
        let header = Header::new(OsStr::new("aaa.txt"), 2424).unwrap();
        let bytes = header.to_bytes();
        assert_eq!(&bytes[..8], b"aaa.txt\0");
        assert_eq!(&bytes[256..], [0x78, 0x09, 0, 0], "2424, little-endian");
        assert_eq!(Header::parse(&bytes).unwrap(), header);
        assert_eq!(Header::parse(&raw(&[b'x'; 255], i32::MAX)).unwrap().size(), LARGEST);
    }

    #[test]
    fn a_name_is_one_component_of_a_path_and_nothing_else() {
        for bad in ["", ".", "..", "/", "a/b", "../x", "/etc/passwd", "x/", "./x"] {
            let error = Header::parse(&raw(bad.as_bytes(), 1)).unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{bad:?}: {error}");
            assert!(error.to_string().contains(bad), "{error}");
        }
        let endless = Header::parse(&raw(&[b'x'; 256], 1)).unwrap_err();
        assert!(endless.to_string().contains("no NUL"), "{endless}");
        assert!(Header::new(OsStr::new(&"x".repeat(256)), 1).is_err());
        assert!(Header::new(OsStr::new("a\0b"), 1).is_err());
        for good in ["...", "..x", "a b", ".hidden", "-rf", "名字", "\u{1b}[31m"] {
            let header = Header::parse(&raw(good.as_bytes(), 0)).unwrap();
            assert_eq!(header.name(), good, "and what follows the NUL is nothing");
        }
    }

    #[test]
    fn a_size_is_what_an_int_can_say_and_not_negative() {
        for bad in [-1, i32::MIN] {
            let error = Header::parse(&raw(b"x", bad)).unwrap_err();
            assert!(error.to_string().contains(&bad.to_string()), "{error}");
        }
        let error = Header::new(OsStr::new("x"), LARGEST + 1).unwrap_err();
        assert!(error.to_string().contains("2147483648"), "{error}");
        assert!(error.to_string().contains("2147483647"), "{error}");
    }

    #[test]
    fn a_name_that_is_shown_has_no_control_character_in_any_encoding() {
        for (name, shown) in [
            (&b"red\x1b[31m\n\x7f"[..], &b"red?[31m??"[..]),
            ("\u{9b}31m\u{e9}".as_bytes(), "?31m\u{e9}".as_bytes()),
            // CSI in Latin-1; "name" in GB 2312.
            (b"\x9b31m\x85", b"?31m?"),
            (b"\xc3\xfb\xd7\xd6", b"\xc3\xfb\xd7\xd6"),
        ] {
            let header = Header::parse(&raw(name, 0)).unwrap();
            assert_eq!(header.printable_name().escape_ascii().to_string(), shown.escape_ascii().to_string());
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_a_path_that_leaves_its_directory(bytes in proptest::array::uniform32(any::<u8>()), size: i32) {
            if let Ok(header) = Header::parse(&raw(&bytes, size)) {
                let path = std::path::Path::new("/dir").join(header.name());
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("/dir")));
                prop_assert_eq!(path.file_name(), Some(header.name()));
                prop_assert_eq!(Header::parse(&header.to_bytes()).unwrap(), header);
            }
        }
    }
}
