//! The lock by which one sees that a gate-init serves from a directory, without trying it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The processes that may be the gate-init whose base path or run directory this is.
pub fn servers_of(directory: &Path) -> Vec<i32> {
    lock_holders(&path_in(directory))
}

/// The file whose lock a gate-init holds in its base path and in its run directory while it serves.
pub fn path_in(directory: &Path) -> PathBuf {
    directory.join(".lock")
}

/// The processes that hold a lock on the file at `path`, from /proc/locks (proc_locks(5)); to try the
/// lock would take it. Files of other file systems may have the same number, and the device there is
/// not always the one that stat(2) tells (overlayfs), so there may be others among them.
fn lock_holders(path: &Path) -> Vec<i32> {
    let (Ok(file), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    let inode = format!(":{}", file.ino());
    let holder = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_ours = fields.get(5).is_some_and(|file| file.ends_with(&inode));
        is_ours.then(|| fields.get(4)?.parse().ok()).flatten()
    };
    locks.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_without_trying_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let this = i32::try_from(std::process::id()).unwrap();
        assert!(!lock_holders(file.path()).contains(&this));
        file.as_file().lock().unwrap();
        assert!(lock_holders(file.path()).contains(&this));
    }
}
