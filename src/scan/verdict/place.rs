//! Where a hit is: in which file, by which commit, and what helps there.

use std::collections::BTreeSet;

use git2::{ObjectType, Oid};

use super::finding::{CommitName, Place, Remedy, short};
use super::mask::Mask;
use crate::scan::fragments::Location;
use crate::scan::objects::parse;
use crate::scan::objects::reader::ObjectReader;
use crate::scan::source::Source;
use crate::scan::{Hit, ScanError};

/// The paths by which rules judge a hit: an archive's member has the one that the archive gives it.
pub fn paths_of(texts: &ObjectReader<'_>, hit: &Hit) -> Vec<String> {
    match hit.at.member.name() {
        Some(name) => vec![name.to_owned()],
        None => paths(texts, hit.at.source),
    }
}

/// The paths of a blob's content; none for anything else.
pub fn paths(texts: &ObjectReader<'_>, source: Source) -> Vec<String> {
    let Source::Object(at) = source else {
        return Vec::new();
    };
    let origin = texts.history.origins.get(&texts.objects[at].id);
    let paths = origin.iter().flat_map(|origin| &origin.paths);
    paths
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

/// The id of the blob that a hit is in.
pub fn blob(texts: &ObjectReader<'_>, hit: &Hit) -> Option<String> {
    let (Source::Object(at) | Source::Path(at)) = hit.at.source else {
        return None;
    };
    let object = texts.objects[at];
    (object.kind == ObjectType::Blob).then(|| object.id.to_string())
}

pub fn place(texts: &mut ObjectReader<'_>, mask: &Mask, at: &Location) -> Result<Place, ScanError> {
    let origin = |texts: &ObjectReader<'_>, id| {
        let origin = texts.history.origins.get(&id);
        origin
            .and_then(|origin| origin.paths.first())
            .map(|path| mask.bytes(path))
    };
    let place = match at.source {
        Source::RefName(index) => Place::RefName {
            name: texts.request.updates[index].shown(),
        },
        Source::PushOption(_) => Place::PushOption,
        Source::Path(index) => {
            let paths = texts.history.paths(texts.objects[index].id);
            // Each is on a line, with a blank one behind it.
            let number = usize::try_from(at.line / 2).unwrap_or(usize::MAX);
            let path = paths.get(number).or(paths.first());
            Place::FileName {
                path: path.map(|path| mask.bytes(path)).unwrap_or_default(),
            }
        }
        Source::Object(index) => {
            let object = texts.objects[index];
            match object.kind {
                ObjectType::Blob => match origin(texts, object.id) {
                    Some(path) => Place::File { path },
                    None => Place::Blob {
                        id: object.id.to_string(),
                    },
                },
                ObjectType::Tree => Place::FileName {
                    path: mask.bytes(&name(texts, object.id, at.line)?),
                },
                kind => message_place(texts, mask, object.id, kind, at.line)?,
            }
        }
    };
    Ok(place)
}

/// The name of a tree's entry, counted from 1.
fn name(texts: &mut ObjectReader<'_>, tree: Oid, number: u64) -> Result<Vec<u8>, ScanError> {
    let held = texts.held(tree)?;
    let raw = held.as_ref().map_or(&[][..], |held| &held.bytes);
    let format = texts.request.repository.object_format();
    let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
    let entry = parse::entries(raw, format).nth(at).transpose()?;
    Ok(entry.map(|entry| entry.name.to_vec()).unwrap_or_default())
}

fn message_place(
    texts: &mut ObjectReader<'_>,
    mask: &Mask,
    id: Oid,
    kind: ObjectType,
    line: u64,
) -> Result<Place, ScanError> {
    let held = texts.held(id)?;
    let in_header = held.is_some_and(|held| line <= parse::header_lines(&held.bytes));
    if kind == ObjectType::Commit {
        return Ok(if in_header {
            Place::CommitHeader
        } else {
            Place::CommitMessage
        });
    }
    let update = texts.request.updates.iter().find(|update| update.new == id);
    let tag = update.map_or_else(|| id.to_string(), |update| mask.apply(&update.name));
    Ok(if in_header {
        Place::TagHeader { tag }
    } else {
        Place::TagMessage { tag }
    })
}

/// The commit that a source belongs to, as an index into the history.
pub fn commit(texts: &ObjectReader<'_>, source: Source) -> Option<usize> {
    let (Source::Object(at) | Source::Path(at)) = source else {
        return None;
    };
    let object = texts.objects[at];
    match object.kind {
        ObjectType::Blob => texts
            .history
            .origins
            .get(&object.id)
            .map(|origin| origin.commit),
        ObjectType::Commit => texts.history.positions.get(&object.id).copied(),
        ObjectType::Tree if matches!(source, Source::Path(_)) => {
            let other = texts.history.other_paths.get(&object.id);
            other.map(|other| other.commit)
        }
        _ => None,
    }
}

pub fn commit_name(texts: &mut ObjectReader<'_>, mask: &Mask, at: usize) -> CommitName {
    let id = texts.history.commits[at].0;
    let held = texts.held(id).ok().flatten();
    let subject = held.map(|held| mask.bytes(parse::subject(&held.bytes)));
    CommitName {
        id: id.to_string(),
        subject: subject.unwrap_or_default(),
    }
}

pub fn remedy(texts: &ObjectReader<'_>, place: &Place, commits: &BTreeSet<usize>) -> Remedy {
    let Some(&first) = commits.first() else {
        return match place {
            Place::RefName { .. } => Remedy::RenameRef,
            Place::PushOption => Remedy::DropOption,
            Place::TagMessage { .. } | Place::TagHeader { .. } => Remedy::Retag,
            _ => Remedy::DropObject,
        };
    };
    let is_tip = |id: &Oid| texts.request.updates.iter().any(|update| update.new == *id);
    let (id, commit) = &texts.history.commits[first];
    if commits.len() == 1 && is_tip(id) {
        return Remedy::Amend;
    }
    let onto = match commit.parents.first() {
        Some(_) => format!("{}^", short(&id.to_string())),
        None => "--root".to_owned(),
    };
    Remedy::Rebase { onto }
}
