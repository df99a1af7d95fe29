//! What the upstream's history holds: its commits and tags, and the trees at the paths of the hits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader};

use git2::{ObjectType, Oid, Sort};

use super::{AtPath, Below, COMMITS, Search, split};
use crate::git::{self, GitOutput};
use crate::scan::ScanError;
use crate::scan::objects::parse;
use crate::scan::source::Source;

impl Search<'_, '_> {
    /// The commits of the upstream, newest first: what they say, and their versions of the hits'
    /// paths. This is where a reverted or a cherry-picked commit is found. Returns whether there are
    /// more commits than are searched.
    pub(super) fn history(&mut self) -> Result<bool, ScanError> {
        let request = self.texts.request;
        let mut walk = request.repository.revwalk()?;
        walk.set_sorting(Sort::TIME)?;
        for id in request.refs.ids() {
            // A tag may name something else.
            let object = request.repository.find_object(id, None)?;
            if let Ok(commit) = object.peel_to_commit() {
                walk.push(commit.id())?;
            }
        }
        let mut trees = HashSet::new();
        for _ in 0..COMMITS {
            let commit = match walk.next() {
                Some(commit) if !self.left.is_empty() => commit?,
                _ => return Ok(false),
            };
            self.deadline.check()?;
            self.object(commit)?;
            let tree = self.tree_of(commit)?;
            if trees.insert(tree) {
                self.paths_in(tree)?;
            }
        }
        Ok(walk.next().is_some())
    }

    /// The tags that the mirror has.
    pub(super) fn tags(&mut self) -> Result<(), ScanError> {
        if self.left.is_empty() {
            return Ok(());
        }
        for id in self.texts.request.refs.ids() {
            self.deadline.check()?;
            if self.texts.odb().read_header(id)?.1 == ObjectType::Tag {
                self.object(id)?;
            }
        }
        Ok(())
    }

    /// Objects that were not received, but held by the store: whether a ref reaches them after all,
    /// in history older than the boundary.
    pub(super) fn reached_objects(&mut self) -> Result<(), ScanError> {
        let id = |index: &usize| match self.hits[*index].at.source {
            Source::Object(at) if at >= self.texts.received => Some(self.texts.objects[at].id),
            _ => None,
        };
        let mut held: BTreeMap<Oid, Vec<usize>> = BTreeMap::new();
        for index in &self.left {
            if let Some(id) = id(index) {
                held.entry(id).or_default().push(*index);
            }
        }
        if held.is_empty() {
            return Ok(());
        }
        let repository = self.texts.request.repository;
        let mut command = git::command(repository.path());
        command.args(["rev-list", "--objects", "--no-object-names", "--all"]);
        let output = GitOutput::start(&mut command, self.deadline)?;
        for line in BufReader::new(output).lines() {
            let id = Oid::from_str_ext(&line?, repository.object_format())?;
            for index in held.remove(&id).unwrap_or_default() {
                self.left.remove(&index);
            }
            if held.is_empty() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn boundary_trees(&self) -> Result<Vec<Oid>, ScanError> {
        let mut trees = Vec::new();
        for &id in &self.texts.history.boundary {
            if self.texts.odb().read_header(id)?.1 == ObjectType::Commit {
                trees.push(self.tree_of(id)?);
            }
        }
        trees.sort_unstable();
        trees.dedup();
        Ok(trees)
    }

    pub(super) fn tree_of(&self, commit: Oid) -> Result<Oid, ScanError> {
        let raw = self.texts.odb().read(commit)?;
        let format = self.texts.request.repository.object_format();
        Ok(parse::commit(raw.data(), format)?.tree)
    }

    /// The blobs below `tree` at the paths of hits that are left, by the paths' places. Each directory is
    /// read once, whatever number of paths goes through it.
    pub(super) fn at_paths(&self, tree: Oid) -> Result<Vec<(usize, Oid)>, ScanError> {
        let format = self.texts.request.repository.object_format();
        let is_left = |at: &AtPath| at.hits.iter().any(|index| self.left.contains(index));
        let paths = self.paths.iter().enumerate();
        let all = paths
            .filter(|(_, at)| is_left(at))
            .map(|(at, one)| (at, &*one.path));
        let mut found = Vec::new();
        let mut directories = vec![(tree, all.collect::<Vec<_>>())];
        while let Some((tree, paths)) = directories.pop() {
            let mut wanted: HashMap<&[u8], Vec<Below<'_>>> = HashMap::new();
            for (at, path) in paths {
                let (name, rest) = split(path);
                wanted.entry(name).or_default().push((at, rest));
            }
            if wanted.is_empty() {
                continue;
            }
            self.deadline.check()?;
            let raw = self.texts.odb().read(tree)?;
            for entry in parse::entries(raw.data(), format) {
                let entry = entry?;
                let Some(here) = wanted.get(entry.name).filter(|_| !entry.is_gitlink()) else {
                    continue;
                };
                if entry.is_tree() {
                    let below = here.iter().filter_map(|&(at, rest)| Some((at, rest?)));
                    directories.push((entry.id, below.collect()));
                } else {
                    let at = here.iter().filter(|(_, rest)| rest.is_none());
                    found.extend(at.map(|&(at, _)| (at, entry.id)));
                }
            }
        }
        Ok(found)
    }
}
