//! The gate's own directory in a mirror.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::git;

/// The gate's own directory in a mirror, made when it is not there. Only this user may enter it.
pub(crate) fn state_dir(git_dir: &Path) -> io::Result<PathBuf> {
    let dir = git_dir.join(git::STATE_DIR);
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(dir),
    }
}
