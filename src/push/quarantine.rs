//! The objects that a push brought: what lies in git's quarantine (git-receive-pack(1)) and is not
//! in the repository already.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, OdbLookupFlags, Oid, Repository};
use thiserror::Error;

/// Why the received objects cannot be listed.
#[derive(Debug, Error)]
pub enum ReceivedError {
    /// git's object database said no.
    #[error("cannot list the objects that the push brought")]
    Database(#[from] git2::Error),
    /// libgit2 takes only paths that are UTF-8.
    #[error("the path of the quarantine is not UTF-8")]
    Path,
}

/// One received object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedObject {
    /// Its name.
    pub id: Oid,
    /// Commit, tree, blob or tag.
    pub kind: ObjectType,
    /// Its size in bytes, unpacked.
    pub size: u64,
}

/// The objects of one push.
#[derive(Debug, Default)]
pub struct Received {
    /// Those that the repository did not hold, each once.
    pub objects: Vec<ReceivedObject>,
    /// Bytes that the quarantine takes on disk: what the client sent, as packed.
    pub disk_size: u64,
}

impl Received {
    /// Lists the quarantine of the running hook and adds it to `repository`'s object database, so
    /// that its objects can be read there.
    ///
    /// A push that only deletes has no quarantine, and brings nothing. Objects that the repository
    /// holds too (bases that `index-pack --fix-thin` put into the pack) are not counted as new.
    pub fn list(repository: &Repository) -> Result<Self, ReceivedError> {
        match std::env::var_os("GIT_QUARANTINE_PATH").map(PathBuf::from) {
            None => Ok(Self::default()),
            Some(path) => Self::list_in(repository, &path),
        }
    }

    fn list_in(repository: &Repository, quarantine: &Path) -> Result<Self, ReceivedError> {
        let path = quarantine.to_str().ok_or(ReceivedError::Path)?;
        let arrived = Odb::new_ext(repository.object_format())?;
        arrived.add_disk_alternate(path)?;
        // In the order of the pack: reading in that order unpacks each delta's base once.
        let (mut ids, mut seen) = (Vec::new(), HashSet::new());
        let mut odd = None;
        arrived.foreach(|id| {
            // Made anew: for loose objects libgit2 leaves the bytes behind a SHA-1 as they were, and
            // `Oid` hashes those too.
            match Oid::from_bytes(id.as_bytes()) {
                Ok(id) if seen.insert(id) => ids.push(id),
                Ok(_) => {}
                Err(error) => odd = Some(error),
            }
            true
        })?;
        if let Some(error) = odd {
            return Err(error.into());
        }

        let store = repository.odb()?;
        let mut objects = Vec::with_capacity(ids.len());
        for id in ids {
            // NO_REFRESH: the store is as it was opened a moment ago, and a refresh for every
            // missing object costs a directory scan each.
            if !store.exists_ext(id, OdbLookupFlags::NO_REFRESH) {
                let (size, kind) = arrived.read_header(id)?;
                objects.push(ReceivedObject {
                    id,
                    kind,
                    size: size as u64,
                });
            }
        }
        store.add_disk_alternate(path)?;
        Ok(Self {
            objects,
            disk_size: disk_size(quarantine),
        })
    }
}

/// The bytes of all files below `directory`; what cannot be read counts nothing, since the objects
/// themselves are read right after and say why.
fn disk_size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
