//! Paths that may not be pushed whatever stands there, by rules without an expression for the content.

use std::collections::HashSet;

use git2::{ObjectType, Oid};

use crate::scan::decode::{Member, ViewKind};
use crate::scan::fragments::Location;
use crate::scan::gitleaks::{PathRules, RawFinding};
use crate::scan::objects::parse;
use crate::scan::objects::reader::ObjectReader;
use crate::scan::source::Source;
use crate::scan::{Hit, ScanError};

/// Files that may not be pushed whatever they hold, as hits on their paths.
pub fn in_push(texts: &ObjectReader<'_>) -> Result<Vec<Hit>, ScanError> {
    let mut hits = Vec::new();
    for (at, object) in texts.objects.iter().enumerate() {
        let origin = texts.history.origins.get(&object.id);
        for path in origin.iter().flat_map(|origin| &origin.paths) {
            let place = Location {
                source: Source::Path(at),
                member: Member::default(),
                line: 1,
            };
            hits.extend(path_hit(texts.rules, place, path));
        }
    }
    let is_loose = |at: &usize| {
        let object = &texts.objects[*at];
        object.kind == ObjectType::Tree && !texts.history.walked.contains_key(&object.id)
    };
    let loose: Vec<_> = (0..texts.objects.len()).filter(is_loose).collect();
    if !loose.is_empty() {
        let ids = texts.objects.iter().map(|object| object.id).collect();
        for tree in loose {
            forbidden_names(texts, tree, &ids, &mut hits)?;
        }
    }
    Ok(hits)
}

/// As [`in_push`], for the files among `new` in a tree that no commit of the push holds:
/// under a tag, say.
fn forbidden_names(
    texts: &ObjectReader<'_>,
    at: usize,
    new: &HashSet<Oid>,
    hits: &mut Vec<Hit>,
) -> Result<(), ScanError> {
    let raw = texts.odb().read(texts.objects[at].id)?;
    let format = texts.request.repository.object_format();
    for (entry, line) in parse::entries(raw.data(), format).zip(1..) {
        let entry = entry?;
        if !entry.is_tree() && new.contains(&entry.id) {
            let place = Location {
                source: Source::Object(at),
                member: Member::default(),
                line,
            };
            hits.extend(path_hit(texts.rules, place, entry.name));
        }
    }
    Ok(())
}

/// As [`in_push`], in an archive: `text` is a part of `member`, and begins on `line`.
pub fn in_archive(
    rules: &PathRules,
    source: Source,
    member: &Member,
    line: u64,
    text: &[u8],
) -> Vec<Hit> {
    if member.kind != ViewKind::Names {
        return Vec::new();
    }
    let names = text.split(|&b| b == b'\n').zip(line..);
    let hit = |(name, line): (&[u8], u64)| {
        let member = member.clone();
        let place = Location {
            source,
            member,
            line,
        };
        path_hit(rules, place, name)
    };
    names.filter_map(hit).collect()
}

/// A hit on `path`, if some rule of `rules` forbids it.
fn path_hit(rules: &PathRules, at: Location, path: &[u8]) -> Option<Hit> {
    let path = String::from_utf8_lossy(path).into_owned();
    let (rule, description) = rules.path_only(&path)?;
    let raw = RawFinding {
        rule: rule.to_owned(),
        description: description.to_owned(),
        start_line: at.line,
        end_line: at.line,
        start_column: 1,
        matched: path.clone(),
        secret: path,
        decoded: false,
    };
    Some(Hit {
        at,
        raw,
        forbids_path: true,
    })
}
