//! What a sender or a receiver of files says: no name leaves the folder, and nothing that is shown commands a terminal.
#![no_main]

use io_models::transfer::{Error, HEADER_BYTES, Header, expect_ok, receive_header};
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    if let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let read = Header::parse(header);
        if let Ok(header) = &read {
            let path = Path::new("/folder").join(header.name());
            assert_eq!(path.parent(), Some(Path::new("/folder")));
            assert_eq!(path.file_name(), Some(header.name()));
            assert_eq!(&Header::parse(&header.to_bytes()).expect("our own header"), header);
            let shown = header.printable_name();
            assert!(!String::from_utf8_lossy(&shown).contains(char::is_control), "{shown:?}");
        }
        is_plain(read.map(drop));
    }
    is_plain(receive_header(said(bytes)).map(drop));
    is_plain(expect_ok(said(bytes)));
});

/// The socket of somebody whose peer has said that, and has gone.
fn said(bytes: &[u8]) -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().expect("two descriptors");
    // As much as a socket takes at once.
    theirs.write_all(&bytes[..bytes.len().min(4096)]).expect("the kernel takes a page");
    ours
}

fn is_plain(result: Result<(), Error>) {
    let said = result.map_or_else(|why| why.to_string(), |()| String::new());
    assert!(!said.contains(char::is_control), "{said:?}");
}
