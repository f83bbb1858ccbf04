//! select(2) on a descriptor above 1023, which an `fd_set` cannot hold.
//!
//! `cargo run --example select_above_1023 --no-default-features`
//!
//! The limit belongs to the C library: its `fd_set` has 1024 bits, and its macro `FD_SET` writes past them for
//! a larger number. The kernel reads as many bits as the first argument says. [`FdSet`] is the `fd_set` and
//! returns an error for such a number; [`BigFdSet`] grows.

use io_models::Error;
use io_models::sys::fcntl::duplicate_from;
use io_models::sys::limits::Nofile;
use io_models::sys::select::{BigFdSet, FdSet, select_big};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = Nofile::raise()?;
    if limit.soft <= 1500 {
        println!("skipped: this process may have only {} descriptors", limit.soft);
        return Ok(());
    }
    let (reader, mut writer) = std::io::pipe()?;
    let reader = duplicate_from(reader, 1500)?;
    let fd = reader.as_raw_fd();

    let error = FdSet::new().insert(fd).expect_err("an fd_set ends at 1023");
    assert_eq!(error, Error::BeyondFdSetSize { fd });
    println!("FdSet: {error}");

    let mut read = BigFdSet::new();
    read.insert(fd);
    assert_eq!(select_big(&mut read, None, Some(Duration::ZERO))?, 0);
    println!("BigFdSet: descriptor {fd} is not readable yet");

    // A call leaves only what is ready in the set, so put the descriptor in again.
    read.insert(fd);
    writer.write_all(b"x")?;
    assert_eq!(select_big(&mut read, None, Some(Duration::from_secs(10)))?, 1);
    assert!(read.contains(fd));
    println!("BigFdSet: descriptor {fd} is readable");
    Ok(())
}
