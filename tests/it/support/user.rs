//! Running the program as somebody else.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Whether we may become another user.
pub(crate) fn is_root() -> bool {
    procfs::process::Process::myself().and_then(|ours| ours.uid()).expect("our own user") == 0
}

/// A copy of the program that every user can reach, which the place where it was built may not be.
/// It goes away with the folder.
pub(crate) fn copy_for_everybody() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for a copy of the program");
    set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("the folder is ours");
    let program = folder.path().join("io-models");
    // By another process: a test that forks while this one has the copy open for writing would hand
    // the descriptor to its child, and the copy could not be run (ETXTBSY) until that child's exec.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_io-models")).arg(&program).status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy of the program");
    (folder, program)
}
