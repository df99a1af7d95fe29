//! Holds the rules against a push.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};

use git2::{ObjectType, Odb, Oid};

use super::changes::{Bases, Change, Changes, Compared};
use super::paths::PathRules;
use super::{RuleError, people, told};
use crate::deadline::Deadline;
use crate::git::{self, Refs};
use crate::push::{ReceivedObject, RefUpdate};
use crate::scan::exceptions::{Exceptions, Ruling};
use crate::scan::objects::parse;
use crate::scan::{Request, Verdict};
use crate::settings::Policy;

/// What of a push is against a rule.
pub(super) enum Broken {
    Path(Change),
    /// A commit that a stranger made, and as what.
    Author(Oid, &'static str),
    /// A commit without a signature that counts, and git's letter for why.
    Unsigned(Oid, char),
    /// A blob, its size, and the path at which it stands.
    FileSize(Oid, u64, Vec<u8>),
    /// How many there are, under this setting; and a ref's new value.
    Count(&'static str, usize, Oid),
}

/// Holds the rules on content against a push. What is against one is found as a secret would be.
pub fn check(request: &Request<'_>, deadline: Deadline) -> Result<Verdict, RuleError> {
    let policy = &request.settings.policy;
    if !policy.rules_content() || request.updates.iter().all(RefUpdate::deletes) {
        return Ok(Verdict::default());
    }
    let file = request.settings.exceptions.as_deref();
    let exceptions = Exceptions::of(request.repository.path(), file)?;
    let rules = PathRules::new(policy);
    let mut broken = Vec::new();
    large_files(request, deadline, &mut broken)?;
    let odb = request.repository.odb()?;
    let commits = new_commits(request, &odb, deadline)?;
    if let (Some(most), Some(tip)) = (policy.max_commits, tip(request.updates))
        && commits.len() as u64 > most
    {
        broken.push(Broken::Count("maxCommits", commits.len(), tip));
    }
    if !policy.allow_author.is_empty() {
        for &id in &commits {
            let stranger = people::stranger(odb.read(id)?.data(), &policy.allow_author);
            broken.extend(stranger.map(|role| Broken::Author(id, role)));
        }
    }
    changes(
        request,
        &odb,
        &rules,
        &exceptions,
        &commits,
        deadline,
        &mut broken,
    )?;
    if let Some(signers) = &policy.require_signature
        && !commits.is_empty()
    {
        let unsigned = people::unsigned(request.repository, &commits, signers, deadline)?;
        let in_order = commits
            .iter()
            .filter_map(|id| Some((*id, *unsigned.get(id)?)));
        broken.extend(in_order.map(|(id, letter)| Broken::Unsigned(id, letter)));
    }
    told::verdict(request, &odb, &rules, &exceptions, broken)
}

impl Policy {
    /// Whether it has any rule on content.
    pub fn rules_content(&self) -> bool {
        !self.deny_path.is_empty()
            || !self.protect.is_empty()
            || !self.allow_author.is_empty()
            || self.require_signature.is_some()
            || self
                .max_file_size
                .or(self.max_commits)
                .or(self.max_files)
                .is_some()
    }
}

fn large_files(
    request: &Request<'_>,
    deadline: Deadline,
    broken: &mut Vec<Broken>,
) -> Result<(), RuleError> {
    let most = request.settings.policy.max_file_size.unwrap_or(u64::MAX);
    let objects = request.received.objects.iter();
    let is_large = |object: &&ReceivedObject| object.kind == ObjectType::Blob && object.size > most;
    let large: Vec<_> = objects.filter(is_large).collect();
    if large.is_empty() {
        return Ok(());
    }
    let mut paths = paths_of(
        request,
        large.iter().map(|object| object.id).collect(),
        deadline,
    )?;
    broken.extend(large.into_iter().map(|object| {
        let path = paths.remove(&object.id).unwrap_or_default();
        Broken::FileSize(object.id, object.size, path)
    }));
    Ok(())
}

/// The first path of each of these blobs, where the pushed commits hold it.
fn paths_of(
    request: &Request<'_>,
    blobs: HashSet<Oid>,
    deadline: Deadline,
) -> Result<HashMap<Oid, Vec<u8>>, RuleError> {
    let format = request.repository.object_format();
    let tips = request.updates.iter().map(|update| update.new);
    let tips = tips.filter(|id| !id.is_zero());
    let listed = git::unreached(request.repository, tips, &["--objects"], deadline)?;
    let mut paths = HashMap::new();
    for line in BufReader::new(listed).split(b'\n') {
        let line = line?;
        let mut parts = line.splitn(2, |&byte| byte == b' ');
        let id = String::from_utf8_lossy(parts.next().unwrap_or_default());
        let id = Oid::from_str_ext(&id, format)?;
        if blobs.contains(&id) {
            let path = parts.next().unwrap_or_default();
            paths.entry(id).or_insert_with(|| path.to_vec());
        }
    }
    Ok(paths)
}

/// What the new commits change, where a rule looks at that.
fn changes(
    request: &Request<'_>,
    odb: &Odb<'_>,
    rules: &PathRules,
    exceptions: &Exceptions,
    commits: &[Oid],
    deadline: Deadline,
    broken: &mut Vec<Broken>,
) -> Result<(), RuleError> {
    let most = request.settings.policy.max_files;
    if rules.is_empty() && most.is_none() {
        return Ok(());
    }
    let format = request.repository.object_format();
    let trees = RefCell::new(HashMap::new());
    let read = |id: Oid| -> Result<(Oid, Vec<Oid>), RuleError> {
        if let Some(known) = trees.borrow().get(&id).cloned() {
            return Ok(known);
        }
        let commit = parse::commit(odb.read(id)?.data(), format)?;
        let read = (commit.tree, commit.parents);
        trees.borrow_mut().insert(id, read.clone());
        Ok(read)
    };
    let mut compared = Vec::new();
    for &id in commits {
        deadline.check()?;
        let (tree, parents) = read(id)?;
        let parents = parents.into_iter().map(|id| Ok((id, read(id)?.0)));
        let parents = parents.collect::<Result<_, RuleError>>()?;
        compared.push(Compared { id, tree, parents });
    }
    let bases_of = |one, other| {
        let bases = git::merge_bases(request.repository, one, other, deadline)?;
        bases.into_iter().map(|id| Ok(read(id)?.0)).collect()
    };
    // What an empty upstream is given takes nothing back, however many merges it has.
    let has_refs = request.refs.ids().next().is_some();
    let bases = has_refs.then_some(&bases_of as &Bases<'_>);
    let is_accepted = |glob: usize, id: Oid| {
        let (setting, _) = rules.rule(glob);
        exceptions.ruling_on_subject(setting, &format!("change:{id}")) == Ruling::Accepted
    };
    let changes = Changes::new(odb, format, rules, &is_accepted, most, deadline);
    let (found, files) = changes.read(&compared, bases)?;
    broken.extend(found.into_iter().map(Broken::Path));
    if let (Some(most), Some(count), Some(tip)) = (most, files, tip(request.updates))
        && count as u64 > most
    {
        broken.push(Broken::Count("maxFiles", count, tip));
    }
    Ok(())
}

/// A new value of the push, which names it.
fn tip(updates: &[RefUpdate]) -> Option<Oid> {
    updates
        .iter()
        .map(|update| update.new)
        .find(|id| !id.is_zero())
}

/// The commits that the upstream's refs do not reach: those that the push brought, and those that it
/// refers to and the store holds under no ref.
fn new_commits(
    request: &Request<'_>,
    odb: &Odb<'_>,
    deadline: Deadline,
) -> Result<Vec<Oid>, RuleError> {
    let format = request.repository.object_format();
    let objects = &request.received.objects;
    let is_commit = |object: &&ReceivedObject| object.kind == ObjectType::Commit;
    // A pack has the newest first.
    let mut commits: Vec<_> = objects
        .iter()
        .filter(is_commit)
        .map(|object| object.id)
        .collect();
    commits.reverse();
    let mut named: HashSet<_> = objects.iter().map(|object| object.id).collect();
    let is_received = named.clone();
    for &id in &commits {
        named.extend(parse::commit(odb.read(id)?.data(), format)?.parents);
    }
    for object in objects
        .iter()
        .filter(|object| object.kind == ObjectType::Tag)
    {
        named.insert(parse::tag_target(odb.read(object.id)?.data(), format)?);
    }
    named.extend(
        request
            .updates
            .iter()
            .map(|update| update.new)
            .filter(|id| !id.is_zero()),
    );
    let outside: Vec<_> = named.difference(&is_received).copied().collect();
    if !are_held(&outside, request.refs) {
        let mut known: HashSet<_> = commits.iter().copied().collect();
        let output = git::unreached(request.repository, outside.into_iter(), &[], deadline)?;
        for line in BufReader::new(output).lines() {
            let id = Oid::from_str_ext(&line?, format)?;
            if known.insert(id) {
                commits.push(id);
            }
        }
    }
    Ok(commits)
}

/// Whether each of `ids` is what a ref of the upstream names, so that all below it is there too.
fn are_held(ids: &[Oid], refs: &Refs) -> bool {
    let held: HashSet<_> = refs.ids().collect();
    ids.iter().all(|id| held.contains(id))
}
