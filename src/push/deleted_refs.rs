//! What a rule against rewriting must not lose in two steps: a ref that is deleted can be made anew
//! with another value.

use std::collections::HashMap;
use std::io;

use git2::Oid;

use super::{PolicyError, Push, RefUpdate};
use crate::git;

/// Checks that what each deleted ref names is kept by another one, where `rule` forbids rewriting.
///
/// A branch whose commits others keep may go: nothing is lost. A tag is a name for one thing for good,
/// as in git-push(1), which moves none without force.
pub(crate) fn check(push: &Push<'_>, rule: &str) -> Result<(), PolicyError> {
    let deletes = push
        .updates
        .iter()
        .filter(|update| update.deletes() && !update.creates());
    for update in deletes {
        let refuse = |allowed: &str| {
            Err(PolicyError::Refused {
                name: update.shown(),
                rule: rule.to_owned(),
                allowed: allowed.to_owned(),
            })
        };
        if update.name.starts_with("refs/tags/") {
            return refuse(
                "a tag that is deleted could be made anew elsewhere; make a new tag with another name",
            );
        }
        if !is_kept(push, update).map_err(|source| PolicyError::UnknownKept { source })? {
            return refuse(
                "no other ref keeps its commits, so they would be lost; merge them first, or push them to another ref",
            );
        }
    }
    Ok(())
}

/// Whether the refs that are left after the push reach all that `deleted` does.
fn is_kept(push: &Push<'_>, deleted: &RefUpdate) -> io::Result<bool> {
    let changed: HashMap<&[u8], &RefUpdate> = push
        .updates
        .iter()
        .map(|update| (update.name.as_bytes(), update))
        .collect();
    let unchanged = push
        .refs
        .iter()
        .filter(|(name, _)| !changed.contains_key(name));
    let made = push
        .updates
        .iter()
        .filter(|update| !update.deletes())
        .map(|update| update.new);
    let left: Vec<Oid> = unchanged.map(|(_, id)| id).chain(made).collect();
    if left.contains(&deleted.old) {
        return Ok(true);
    }
    git::reach(push.repository, &left, deleted.old, push.deadline)
}
