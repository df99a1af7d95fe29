//! Whether the mirror will be able to take what is forwarded.

use std::path::Path;

use git2::{Config, ErrorCode, Repository};

use super::{MOVED, joined};
use crate::git::Refs;
use crate::push::RefUpdate;
use crate::upstream::UpstreamError;

/// Bytes that must be free for the mirror to take the refs of a push, apart from a block for each.
const ROOM: u64 = 1 << 20;

/// Finds out whether receive-pack will be able to update the mirror's refs: it does that when the
/// upstream has the push already.
pub(super) fn check_mirror(
    repository: &Repository,
    refs: &Refs,
    updates: &[RefUpdate],
) -> Result<(), UpstreamError> {
    let created = updates.iter().filter(|update| update.creates());
    let created: Refs = created
        .map(|update| (update.name.as_bytes(), update.new))
        .collect();
    let config = repository.config()?;
    let head = repository.find_reference("HEAD").ok();
    let head = head
        .as_ref()
        .and_then(|head| head.symbolic_target().ok().flatten());
    let reasons = updates.iter().filter_map(|update| {
        let problem = ref_problem(repository, [refs, &created], update)
            .or_else(|| delete_problem(&config, head, update))?;
        Some(format!("{} {problem}", update.shown()))
    });
    let reasons = joined(reasons);
    if !reasons.is_empty() {
        return Err(UpstreamError::Rejected { reasons });
    }
    if !has_room(repository.path(), updates.len() as u64) {
        return Err(UpstreamError::DiskFull);
    }
    Ok(())
}

/// `refs` are those of the mirror and those that the push makes. A refresh may have come in between;
/// what it brought is upstream and keeps the push away there, so only values are looked at again.
fn ref_problem(
    repository: &Repository,
    refs: [&Refs; 2],
    update: &RefUpdate,
) -> Option<&'static str> {
    if update.creates() && update.deletes() {
        return Some("cannot be deleted, since it does not exist; name a ref that exists");
    }
    if update.creates() && refs.iter().any(|refs| refs.exclude(&update.name)) {
        return Some(
            "conflicts with a ref whose name is a directory of this one's, or the other way round; run git fetch --prune, and push again or take another name",
        );
    }
    (!is_as_seen(repository, update)).then_some(MOVED)
}

/// Whether the mirror's ref has the value that the client saw.
fn is_as_seen(repository: &Repository, update: &RefUpdate) -> bool {
    match repository.find_reference(&update.name) {
        Ok(reference) => reference.target() == Some(update.old),
        Err(error) => error.code() == ErrorCode::NotFound && update.creates(),
    }
}

/// git-config(1): receive.denyDeletes, and receive.denyDeleteCurrent, which is on by default.
fn delete_problem(config: &Config, head: Option<&str>, update: &RefUpdate) -> Option<&'static str> {
    if !update.deletes() {
        return None;
    }
    if config.get_bool("receive.denyDeletes").unwrap_or(false) {
        return Some("may not be deleted (receive.denyDeletes)");
    }
    let allowed = config
        .get_string("receive.denyDeleteCurrent")
        .is_ok_and(|value| {
            matches!(
                value.as_str(),
                "ignore" | "warn" | "false" | "no" | "off" | "0"
            )
        });
    (head == Some(&update.name) && !allowed)
        .then_some("is the upstream's default branch, which is not deleted; make another one the default first")
}

/// Whether the disk of `directory` has room for `refs` more refs of a mirror. A disk that does not say
/// is taken to have it: what is written next finds out.
pub fn has_room(directory: &Path, refs: u64) -> bool {
    let Ok(disk) = rustix::fs::statvfs(directory) else {
        return true;
    };
    let needed = ROOM + refs * disk.f_frsize;
    // Some file systems count no files.
    let files = disk.f_files == 0 || disk.f_favail > refs;
    disk.f_bavail * disk.f_frsize >= needed && files
}
