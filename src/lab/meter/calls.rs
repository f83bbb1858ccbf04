//! System calls, which our models count themselves.

use crate::sys::calls::{self, Counts};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Stdio;

/// A file in memory into which a server counts its system calls while we read it.
#[derive(Debug)]
pub struct CallCounter(File);

impl CallCounter {
    /// Create a counter that is all zero.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn new() -> anyhow::Result<CallCounter> {
        Ok(CallCounter(calls::new_file()?))
    }

    /// A copy of the file for the server, as its standard input.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn for_server(&self) -> anyhow::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// Where another process finds the file while this process lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// What has been counted until now.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        Ok(Counts::read_from(&self.0)?)
    }
}
