//! Reads the push's commits and trees, parents before children.

use std::collections::{HashMap, HashSet};

use git2::{ObjectFormat, ObjectType, Odb, Oid};

use super::{History, MAX_PATHS, Origin, OtherPaths};
use crate::deadline::Deadline;
use crate::git::Refs;
use crate::push::{ReceivedObject, RefUpdate};
use crate::scan::ScanError;
use crate::scan::gitleaks::PathRules;
use crate::scan::objects::fresh::{Directory, Fresh};
use crate::scan::objects::parse::{self, Commit, Entry};
use crate::scan::objects::path_classes::Classes;

/// How deep directories may be nested: git's own limit (`core.maxTreeDepth`, git-config(1)).
const MAX_DEPTH: usize = 2048;

/// At how many places one directory may stand, as far as these decide something else.
const MAX_PLACES: usize = 1024;

/// With how many parents a merge is compared. What stands in a further one alone counts as brought by
/// the merge, which costs a search of the store and changes no verdict.
const MAX_PARENTS: usize = 100;

/// Bytes of all paths that are kept. A path repeats the names of all directories around it, so they grow
/// faster than what was pushed.
const MAX_PATH_BYTES: usize = 128 << 20;

/// Reads the history of the objects in `received`.
pub struct Walker<'a> {
    odb: &'a Odb<'a>,
    format: ObjectFormat,
    received: &'a HashMap<Oid, usize>,
    classes: Classes<'a>,
    /// The classes of the paths of blobs that have many.
    crowded: HashMap<Oid, Vec<u64>>,
    /// Bytes of the paths that are kept.
    path_bytes: usize,
    deadline: Deadline,
    history: History,
}

impl<'a> Walker<'a> {
    /// `received` are the objects that the push brought; it is all read by `deadline`.
    pub fn new(
        odb: &'a Odb<'a>,
        format: ObjectFormat,
        received: &'a HashMap<Oid, usize>,
        rules: &'a PathRules,
        deadline: Deadline,
    ) -> Self {
        Self {
            odb,
            format,
            received,
            classes: Classes::new(rules),
            crowded: HashMap::new(),
            path_bytes: 0,
            deadline,
            history: History::default(),
        }
    }

    /// The history of the received commits, which are among `objects`.
    pub fn read(
        mut self,
        refs: &Refs,
        objects: &[ReceivedObject],
        updates: &[RefUpdate],
    ) -> Result<History, ScanError> {
        let ids = |kind| move |object: &ReceivedObject| (object.kind == kind).then_some(object.id);
        let mut commits = Vec::new();
        for id in objects.iter().filter_map(ids(ObjectType::Commit)) {
            self.deadline.check()?;
            commits.push((id, parse::commit(self.odb.read(id)?.data(), self.format)?));
        }
        let news = updates.iter().filter(|update| !update.deletes());
        let mut named: Vec<_> = news.map(|update| update.new).collect();
        for id in objects.iter().filter_map(ids(ObjectType::Tag)) {
            named.push(parse::tag_target(self.odb.read(id)?.data(), self.format)?);
        }
        self.history.commits = sort(commits);
        let ids_in_order = self.history.commits.iter().map(|&(id, _)| id);
        self.history.positions = ids_in_order.zip(0..).collect();
        self.find_boundary(refs, updates, &named);
        for index in 0..self.history.commits.len() {
            self.commit(index)?;
        }
        for id in objects.iter().filter_map(ids(ObjectType::Tree)) {
            self.loose_tree(id)?;
        }
        self.find_newest(updates)?;
        Ok(self.history)
    }

    /// A tree that no commit holds: whether it refers to what was not received.
    fn loose_tree(&mut self, tree: Oid) -> Result<(), ScanError> {
        if self.history.reaches_outside || self.history.walked.contains_key(&tree) {
            return Ok(());
        }
        self.deadline.check()?;
        for entry in parse::entries(self.odb.read(tree)?.data(), self.format) {
            let entry = entry?;
            self.history.reaches_outside |=
                !entry.is_gitlink() && !self.received.contains_key(&entry.id);
        }
        Ok(())
    }

    /// The parents that the push did not bring; and the value that each ref had, where the push
    /// rewrites it. `named` is what the push names besides: new values, targets of tags.
    fn find_boundary(&mut self, refs: &Refs, updates: &[RefUpdate], named: &[Oid]) {
        let tips: HashSet<_> = refs.ids().collect();
        let mut boundary = HashSet::new();
        for (_, commit) in &self.history.commits {
            let outside = commit
                .parents
                .iter()
                .filter(|id| !self.received.contains_key(id));
            boundary.extend(outside.copied());
        }
        let named = named.iter().filter(|id| !self.received.contains_key(id));
        self.history.reaches_outside = boundary.iter().chain(named).any(|id| !tips.contains(id));
        let olds = updates
            .iter()
            .filter(|update| refs.get(&update.name) == Some(update.old));
        boundary.extend(olds.map(|update| update.old));
        self.history.boundary = boundary.into_iter().collect();
        self.history.boundary.sort_unstable();
    }

    /// Walks what `commit` changed against all of its parents.
    fn commit(&mut self, index: usize) -> Result<(), ScanError> {
        let Commit { tree, parents } = self.history.commits[index].1.clone();
        let mut parent_trees = Vec::new();
        for parent in parents.into_iter().take(MAX_PARENTS) {
            let parent = self.tree_of(parent)?;
            if !parent_trees.contains(&parent) {
                parent_trees.push(parent);
            }
        }
        if parent_trees.contains(&tree) {
            return Ok(());
        }
        let mut left = vec![(tree, parent_trees, Vec::new(), 0)];
        while let Some((tree, parents, path, depth)) = left.pop() {
            if depth > MAX_DEPTH {
                return Err(ScanError::TooDeep);
            }
            self.tree(index, tree, &parents, &path, |tree, parents, path| {
                left.push((tree, parents, path, depth + 1));
            })?;
        }
        Ok(())
    }

    fn tree_of(&self, commit: Oid) -> Result<Oid, ScanError> {
        let raw = self.odb.read(commit)?;
        Ok(parse::commit(raw.data(), self.format)?.tree)
    }

    /// One directory of a commit: its new entries are noted, its changed directories go to `descend`.
    fn tree(
        &mut self,
        commit: usize,
        tree: Oid,
        parents: &[Oid],
        path: &[u8],
        mut descend: impl FnMut(Oid, Vec<Oid>, Vec<u8>),
    ) -> Result<(), ScanError> {
        if !self.received.contains_key(&tree) {
            self.history.reaches_outside = true;
            return Ok(());
        }
        let class = self.classes.directory(path);
        let places = self.history.walked.entry(tree).or_default();
        if places.contains(&class) {
            return self.keep_path(tree, commit, path.into());
        }
        if places.len() == MAX_PLACES {
            return Err(ScanError::TooManyPlaces { limit: MAX_PLACES }.in_object(tree));
        }
        places.push(class);
        let raw = self.odb.read(tree)?;
        for fresh in self.fresh(raw.data(), parents)? {
            let entry = fresh.entry;
            let path = join(path, entry.name);
            let is_received = self.received.contains_key(&entry.id);
            if !is_received {
                self.keep_path(tree, commit, path.clone().into())?;
            }
            if entry.is_tree() {
                descend(entry.id, fresh.trees, path);
            } else if is_received {
                self.note(entry, (commit, tree), path, fresh.before)?;
            } else if !fresh.is_held {
                self.history.reaches_outside = true;
            }
        }
        Ok(())
    }

    /// The entries of the tree `raw` that stand in none of the trees `parents` as they are. One parent
    /// is held at a time: a merge may have many.
    fn fresh<'t>(&self, raw: &'t [u8], parents: &[Oid]) -> Result<Vec<Fresh<'t>>, ScanError> {
        let entries = parse::entries(raw, self.format);
        let mut fresh = entries
            .filter(|entry| !entry.as_ref().is_ok_and(Entry::is_gitlink))
            .map(|entry| entry.map(Fresh::new))
            .collect::<Result<Vec<_>, _>>()?;
        for &parent in parents {
            self.deadline.check()?;
            let raw = self.odb.read(parent)?;
            let directory = Directory::read(raw.data(), self.format)?;
            fresh.retain_mut(|one| !one.stands_in(&directory, self.received));
        }
        Ok(fresh)
    }

    fn note(
        &mut self,
        entry: Entry<'_>,
        (commit, tree): (usize, Oid),
        path: Vec<u8>,
        before: Option<Oid>,
    ) -> Result<(), ScanError> {
        let blobs = &mut self.history.blobs;
        let origin = self.history.origins.entry(entry.id).or_insert_with(|| {
            blobs.push(entry.id);
            Origin {
                commit,
                paths: Vec::new(),
                before,
            }
        });
        let path = path.into_boxed_slice();
        if origin.paths.contains(&path) {
            return Ok(());
        }
        let mut decides_anew = || {
            let class = |path| self.classes.file(path);
            let kept = || origin.paths.iter().map(|path| class(path)).collect();
            let classes = self.crowded.entry(entry.id).or_insert_with(kept);
            let class = class(&path);
            let is_new = !classes.contains(&class);
            classes.extend(is_new.then_some(class));
            is_new
        };
        if origin.paths.len() >= MAX_PATHS && !decides_anew() {
            return self.keep_path(tree, commit, path);
        }
        self.path_bytes += path.len();
        origin.paths.push(path);
        self.check_paths()
    }

    /// Keeps a path that is no received blob's for the scanner, found in `tree`.
    fn keep_path(&mut self, tree: Oid, commit: usize, path: Box<[u8]>) -> Result<(), ScanError> {
        self.path_bytes += path.len();
        let others = &mut self.history.other_paths;
        let other = others.entry(tree).or_insert_with(|| OtherPaths {
            commit,
            paths: Vec::new(),
        });
        other.paths.push(path);
        self.check_paths()
    }

    fn check_paths(&self) -> Result<(), ScanError> {
        match self.path_bytes {
            0..=MAX_PATH_BYTES => Ok(()),
            _ => Err(ScanError::LongPaths {
                limit: MAX_PATH_BYTES,
            }),
        }
    }

    /// Collects the received blobs of the newest commits. A tree that was not received holds none.
    fn find_newest(&mut self, updates: &[RefUpdate]) -> Result<(), ScanError> {
        let parents = self
            .history
            .commits
            .iter()
            .flat_map(|(_, commit)| &commit.parents);
        let parents: HashSet<_> = parents.copied().collect();
        let updated: HashSet<_> = updates.iter().map(|update| update.new).collect();
        let commits = self.history.commits.iter();
        let newest = commits.filter(|(id, _)| !parents.contains(id) || updated.contains(id));
        let mut left: Vec<_> = newest.map(|(_, commit)| commit.tree).collect();
        let mut seen: HashSet<_> = left.iter().copied().collect();
        while let Some(tree) = left.pop() {
            if !self.received.contains_key(&tree) {
                continue;
            }
            self.deadline.check()?;
            let raw = self.odb.read(tree)?;
            for entry in parse::entries(raw.data(), self.format) {
                let entry = entry?;
                if !entry.is_tree() && self.received.contains_key(&entry.id) {
                    self.history.newest.insert(entry.id);
                } else if entry.is_tree() && seen.insert(entry.id) {
                    left.push(entry.id);
                }
            }
        }
        Ok(())
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, slash, name].concat()
}

/// Sorts commits so that parents come before their children; what has no order goes by id, so that
/// the same push always gives the same answer.
fn sort(mut commits: Vec<(Oid, Commit)>) -> Vec<(Oid, Commit)> {
    commits.sort_unstable_by_key(|&(id, _)| id);
    let index: HashMap<_, _> = (0..).zip(&commits).map(|(at, &(id, _))| (id, at)).collect();
    let mut waits_for = vec![0; commits.len()];
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); commits.len()];
    for (at, (_, commit)) in commits.iter().enumerate() {
        let parents = commit.parents.iter().filter_map(|id| index.get(id));
        for &parent in parents {
            waits_for[at] += 1;
            children[parent].push(at);
        }
    }
    let mut order: Vec<usize> = (0..commits.len())
        .filter(|&at| waits_for[at] == 0)
        .collect();
    let mut next = 0;
    while next < order.len() {
        for &child in &children[order[next]] {
            waits_for[child] -= 1;
            if waits_for[child] == 0 {
                order.push(child);
            }
        }
        next += 1;
    }
    let mut slots: Vec<_> = commits.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|at| slots[at].take())
        .collect()
}
