//! What killed and failed processes leave in a mirror, removed when nobody alive can need it.
//!
//! Called under the mirror's lock. Then no fetch of ours runs and no receive-pack updates refs, so
//! a ref's lock file belongs to nobody, unless somebody maintains the repository (git-gc(1)).

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use crate::processes;
use crate::push::shallow;

/// git commands that write refs or packs and do not take our lock: receive-pack starts the first
/// two after a push, the others are an operator's.
const MAINTENANCE: [&str; 7] = [
    "gc",
    "maintenance",
    "repack",
    "pack-refs",
    "prune",
    "update-ref",
    "fetch",
];

/// git's lock files outside `refs/` (gitrepository-layout(5)).
const LOCK_FILES: [&str; 4] = [
    "HEAD.lock",
    "packed-refs.lock",
    "config.lock",
    "shallow.lock",
];

/// Removes lock files and half-written objects after a process was killed or failed under our lock:
/// when a fetch breaks off, git leaves half a pack for git-gc(1). Whether it is done: with
/// maintenance under way nothing is touched.
pub(crate) fn remove_stale_locks(git_dir: &Path) -> bool {
    // Listed before the processes are looked at: one that starts in between has others.
    let left = left_by_a_failure(git_dir);
    if processes::in_repository(git_dir, &MAINTENANCE) {
        return false;
    }
    for file in left {
        let _ = fs::remove_file(file);
    }
    true
}

/// Removes the half of a pack that an earlier fetch has left, where something kept that from being
/// removed. Cheap when there is nothing.
pub(crate) fn remove_half_packs(git_dir: &Path) {
    let is_half = |name: &str| name.starts_with("tmp_");
    if !files(&git_dir.join("objects/pack"), &is_half).is_empty() {
        remove_stale_locks(git_dir);
    }
}

fn left_by_a_failure(git_dir: &Path) -> Vec<PathBuf> {
    let mut left = LOCK_FILES.map(|name| git_dir.join(name)).to_vec();
    lock_files(&git_dir.join("refs"), &mut left);
    // index-pack and unpack-objects write under these names first; those of a push that is still
    // coming in lie in its quarantine.
    let objects = git_dir.join("objects");
    let mut directories = directories(&objects);
    directories.retain(|name| !is_quarantine(name));
    for directory in directories {
        left.extend(files(&objects.join(directory), &|name| {
            name.starts_with("tmp_")
        }));
    }
    left
}

/// Removes all of that at the start of a gate, when nobody else is at work in its mirrors.
pub(crate) fn at_the_start(git_dir: &Path) {
    for file in left_by_a_failure(git_dir) {
        let _ = fs::remove_file(file);
    }
    let (quarantines, ends) = left_by_receive_packs(git_dir);
    remove_receive_packs(quarantines, ends);
}

/// Removes what receive-packs that were killed have left: quarantines, and where a client's shallow
/// clone ended. Cheap when there is nothing.
pub(crate) fn remove_stale_quarantines(git_dir: &Path) {
    let (quarantines, ends) = left_by_receive_packs(git_dir);
    // As in `remove_stale_locks`.
    let is_clean = quarantines.is_empty() && ends.is_empty();
    if !is_clean && !processes::in_repository(git_dir, &["receive-pack"]) {
        remove_receive_packs(quarantines, ends);
    }
}

/// Quarantines, and files that say where a client's shallow clone ends.
fn left_by_receive_packs(git_dir: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let objects = git_dir.join("objects");
    let mut quarantines = directories(&objects);
    quarantines.retain(|name| is_quarantine(name));
    let quarantines = quarantines.into_iter().map(|name| objects.join(name));
    let ends = files(git_dir, &|name| name.starts_with(shallow::FILES));
    (quarantines.collect(), ends)
}

fn remove_receive_packs(quarantines: Vec<PathBuf>, ends: Vec<PathBuf>) {
    for quarantine in quarantines {
        let _ = fs::remove_dir_all(quarantine);
    }
    for file in ends {
        let _ = fs::remove_file(file);
    }
}

/// receive-pack's name for its quarantine, `objects/tmp_objdir-incoming-XXXXXX`.
fn is_quarantine(name: &str) -> bool {
    name.starts_with("tmp_objdir-")
}

fn directories(directory: &Path) -> Vec<String> {
    names(directory, FileType::is_dir)
}

fn names(directory: &Path, is_wanted: fn(&FileType) -> bool) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| is_wanted(&kind)))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Adds the lock files of the refs below `directory`.
fn lock_files(directory: &Path, found: &mut Vec<PathBuf>) {
    found.extend(files(directory, &|name| name.ends_with(".lock")));
    for name in directories(directory) {
        lock_files(&directory.join(name), found);
    }
}

/// The files in `directory` whose name `is_wanted`.
fn files(directory: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut names = names(directory, FileType::is_file);
    names.retain(|name| is_wanted(name));
    names.into_iter().map(|name| directory.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_process_leaves_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let stale = [
            "HEAD.lock",
            "refs/heads/a/b.lock",
            "objects/pack/tmp_pack_1",
            "objects/aa/tmp_obj_1",
            "objects/tmp_objdir-incoming-x/pack/tmp_pack_2",
            "shallow_x",
        ];
        let kept = [
            "HEAD",
            "refs/heads/a/c",
            "objects/pack/pack-1.pack",
            "git-gate/lock",
        ];
        for file in stale.iter().chain(&kept) {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert!(remove_stale_locks(dir.path()));
        remove_stale_quarantines(dir.path());
        assert!(stale.iter().all(|file| !dir.path().join(file).exists()));
        assert!(kept.iter().all(|file| dir.path().join(file).exists()));
        assert!(!dir.path().join("objects/tmp_objdir-incoming-x").exists());
    }
}
