//! Pushes from shallow clones (git-clone(1), `--depth`).
//!
//! receive-pack takes such a push when a ref here reaches every commit that the clone ends at and
//! the push builds on: then it is whole. Otherwise it has refused before its hook runs, and says so
//! only afterwards (git-config(1), `receive.shallowUpdate`, which would make the mirror shallow). So
//! the hook has to find out by itself.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use git2::{ObjectFormat, Oid, Repository};

use super::{PolicyError, Received, RefUpdate};
use crate::deadline::Deadline;
use crate::git;

/// In files of this name receive-pack keeps the commits that its client's clone ends at.
pub const FILES: &str = "shallow_";

/// Checks that receive-pack has not refused `updates`.
pub fn check(
    repository: &Repository,
    deadline: Deadline,
    updates: &[RefUpdate],
    received: &Received,
) -> Result<(), PolicyError> {
    let unknown = |source| PolicyError::UnknownEnds { source };
    let ends = ends(repository.path(), repository.object_format()).map_err(unknown)?;
    if ends.is_empty() {
        return Ok(());
    }
    let mut received = received.objects.iter().map(|object| object.id);
    let end = match received.find(|id| ends.contains(id)) {
        None => first_unreached(repository, deadline, updates, &ends).map_err(unknown)?,
        end => end,
    };
    end.map_or(Ok(()), |end| Err(PolicyError::Shallow { end }))
}

/// The commits in the files of every receive-pack at work here; which file is whose nobody knows.
fn ends(git_dir: &Path, format: ObjectFormat) -> io::Result<HashSet<Oid>> {
    let mut ends = HashSet::new();
    for entry in fs::read_dir(git_dir)? {
        let entry = entry?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(FILES.as_bytes())
        {
            continue;
        }
        match fs::read_to_string(entry.path()) {
            Ok(text) => ends.extend(text.lines().flat_map(|id| Oid::from_str_ext(id, format))),
            // Another one's, which has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ends)
}

/// The first of `ends` that the new values reach and no ref of the mirror does.
fn first_unreached(
    repository: &Repository,
    deadline: Deadline,
    updates: &[RefUpdate],
    ends: &HashSet<Oid>,
) -> io::Result<Option<Oid>> {
    let news = updates.iter().filter(|update| !update.deletes());
    let news = news.map(|update| update.new);
    for line in BufReader::new(git::unreached(repository, news, &[], deadline)?).lines() {
        let id = Oid::from_str_ext(&line?, repository.object_format()).ok();
        if let Some(end) = id.filter(|id| ends.contains(id)) {
            return Ok(Some(end));
        }
    }
    Ok(None)
}
