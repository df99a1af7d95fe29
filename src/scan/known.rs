//! Which secrets the upstream holds already: only what is new refuses.
//!
//! The upstream is what the mirror's refs reach. A secret is looked for, in this order, until it is
//! found: in the same path at the commits that the push builds on; in every file, folder and commit
//! there (a renamed file, a moved line); in the newest [`COMMITS`] commits and their versions of the
//! same path (a commit that is reverted, or picked from another branch), and in the upstream's tags. A secret that stands in an archive or an encoding
//! is compared with what the scanner finds in the same path there.
//!
//! All of this happens only when there is a hit, and within the time of the scan.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Read};

use git2::{ObjectType, Oid, Sort};
use memchr::memmem::Finder;

use super::engine::Engine;
use super::pack::{Location, Packer, Whereabouts};
use super::texts::{Source, Texts};
use super::{Clock, Hit, ScanError, objects};
use crate::git::{self, GitOutput};

/// Secrets shorter than this are looked for at their own path only: elsewhere they prove nothing.
const TELLING: usize = 8;

/// How many of the upstream's commits are searched back.
const COMMITS: usize = 50_000;

/// Bytes of a large blob that are searched at a time.
const BLOCK: usize = 1 << 20;

/// What a search says.
pub struct Known {
    /// Whether the upstream holds each of the hits already.
    pub found: Vec<bool>,
    /// Whether there is more history than [`COMMITS`], and something was left to look for.
    pub ended_early: bool,
}

/// Looks for each of `hits` in what the upstream holds.
pub fn search(
    texts: &mut Texts<'_>,
    hits: &[&Hit],
    engine: &Engine,
    clock: &Clock,
) -> Result<Known, ScanError> {
    let mut search = Search::new(texts, hits, clock);
    search.names()?;
    search.same_path()?;
    search.boundary()?;
    search.scanned(engine)?;
    let ended_early = search.history()?;
    search.tags()?;
    search.reached_objects()?;
    let is_known = |index| !search.left.contains(&index);
    Ok(Known {
        found: (0..hits.len()).map(is_known).collect(),
        ended_early: ended_early && !search.left.is_empty(),
    })
}

struct Search<'s, 'a> {
    texts: &'s mut Texts<'a>,
    hits: &'s [&'s Hit],
    clock: &'s Clock,
    finders: Vec<Finder<'s>>,
    /// Hits that have not been found, by index.
    left: BTreeSet<usize>,
    /// The blobs at a hit's own path that were looked at, for each hit.
    versions: BTreeMap<usize, Vec<Oid>>,
}

impl<'s, 'a> Search<'s, 'a> {
    fn new(texts: &'s mut Texts<'a>, hits: &'s [&'s Hit], clock: &'s Clock) -> Self {
        Self {
            texts,
            hits,
            clock,
            finders: hits
                .iter()
                .map(|hit| Finder::new(hit.raw.secret.as_bytes()))
                .collect(),
            left: (0..hits.len()).collect(),
            versions: BTreeMap::new(),
        }
    }

    /// Refs that the mirror has: their names are not new.
    fn names(&mut self) -> Result<(), ScanError> {
        let request = self.texts.request;
        let is_there = |index: &usize| match self.hits[*index].at.source {
            Source::RefName(at) => request.refs.get(&request.updates[at].name).is_some(),
            _ => false,
        };
        self.left.retain(|index| !is_there(index));
        Ok(())
    }

    /// The same path at each commit of the boundary.
    fn same_path(&mut self) -> Result<(), ScanError> {
        let trees = self.boundary_trees()?;
        for index in self.left.clone() {
            for path in self.paths(index) {
                for &tree in &trees {
                    self.clock.check()?;
                    if let Some(id) = self.at_path(tree, &path)? {
                        self.version(index, id)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks into one version of a hit's own path.
    fn version(&mut self, index: usize, id: Oid) -> Result<(), ScanError> {
        let versions = self.versions.entry(index).or_default();
        if versions.contains(&id) || !self.left.contains(&index) {
            return Ok(());
        }
        versions.push(id);
        if self.hits[index].forbids_path {
            self.left.remove(&index);
            return Ok(());
        }
        self.blob(id, &BTreeSet::from([index]))
    }

    /// Everything that the boundary's trees hold, and its commits themselves.
    fn boundary(&mut self) -> Result<(), ScanError> {
        let mut left = self.boundary_trees()?;
        let mut seen: HashSet<_> = left.iter().copied().collect();
        for commit in self.texts.history.boundary.clone() {
            self.object(commit)?;
        }
        while let Some(tree) = left.pop() {
            let wanted = self.wanted_anywhere();
            if wanted.is_empty() {
                break;
            }
            self.clock.check()?;
            let raw = self.texts.odb().read(tree)?;
            self.bytes(raw.data(), &wanted);
            let format = self.texts.request.repository.object_format();
            for entry in objects::entries(raw.data(), format) {
                let entry = entry?;
                if entry.is_gitlink() || !seen.insert(entry.id) {
                    continue;
                }
                if entry.is_tree() {
                    left.push(entry.id);
                } else {
                    self.clock.check()?;
                    self.blob(entry.id, &wanted)?;
                }
            }
        }
        Ok(())
    }

    /// What the scanner finds in the boundary's versions of a path, for secrets that do not stand
    /// in their blob as they are.
    fn scanned(&mut self, engine: &Engine) -> Result<(), ScanError> {
        let is_inside = |index: &usize| {
            let hit = self.hits[*index];
            hit.raw.decoded || hit.at.member != Default::default()
        };
        let inside: BTreeSet<_> = self.left.iter().copied().filter(is_inside).collect();
        let versions = self
            .versions
            .iter()
            .filter(|(index, _)| inside.contains(index));
        let blobs: BTreeSet<_> = versions.flat_map(|(_, ids)| ids).copied().collect();
        if blobs.is_empty() {
            return Ok(());
        }
        let blobs: Vec<_> = blobs.into_iter().collect();
        let mut packer = Packer::alone(engine.start()?);
        for (at, &id) in blobs.iter().enumerate() {
            self.clock.check()?;
            self.texts.read_held(id, &mut |member, line, text| {
                Ok(packer.add(Source::Object(at), member, line, text)?)
            })?;
        }
        for (raw, place) in packer.finish()? {
            let Whereabouts::In(Location {
                source: Source::Object(at),
                ..
            }) = place
            else {
                continue;
            };
            let is_same = |index: &usize| {
                let hit = self.hits[*index];
                let at_path = self
                    .versions
                    .get(index)
                    .is_some_and(|ids| ids.contains(&blobs[at]));
                at_path && hit.raw.rule == raw.rule && hit.raw.secret == raw.secret
            };
            self.left.retain(|index| !is_same(index));
        }
        Ok(())
    }

    /// The commits of the upstream, newest first: what they say, and their versions of the hits'
    /// paths. This is where a reverted or a cherry-picked commit is found. Returns whether there are
    /// more commits than are searched.
    fn history(&mut self) -> Result<bool, ScanError> {
        let mut paths: BTreeMap<Box<[u8]>, Vec<usize>> = BTreeMap::new();
        for &index in &self.left {
            for path in self.paths(index) {
                paths.entry(path).or_default().push(index);
            }
        }
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
            self.clock.check()?;
            self.object(commit)?;
            let tree = self.tree_of(commit)?;
            if trees.insert(tree) {
                self.paths_in(tree, &paths)?;
            }
        }
        Ok(walk.next().is_some())
    }

    /// Looks into what stands at `paths`, each with the hits that stand there now, below `tree`.
    fn paths_in(
        &mut self,
        tree: Oid,
        paths: &BTreeMap<Box<[u8]>, Vec<usize>>,
    ) -> Result<(), ScanError> {
        for (path, indices) in paths {
            if indices.iter().all(|index| !self.left.contains(index)) {
                continue;
            }
            if let Some(id) = self.at_path(tree, path)? {
                for &index in indices {
                    self.version(index, id)?;
                }
            }
        }
        Ok(())
    }

    /// The tags that the mirror has.
    fn tags(&mut self) -> Result<(), ScanError> {
        if self.left.is_empty() {
            return Ok(());
        }
        for id in self.texts.request.refs.ids() {
            self.clock.check()?;
            if self.texts.odb().read_header(id)?.1 == ObjectType::Tag {
                self.object(id)?;
            }
        }
        Ok(())
    }

    /// Objects that were not received, but held by the store: whether a ref reaches them after all,
    /// in history older than the boundary.
    fn reached_objects(&mut self) -> Result<(), ScanError> {
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
        let output = GitOutput::start(&mut command, self.clock.deadline)?;
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

    /// The paths at which a hit may have stood before.
    fn paths(&self, index: usize) -> Vec<Box<[u8]>> {
        let (Source::Object(at) | Source::Path(at)) = self.hits[index].at.source else {
            return Vec::new();
        };
        let origin = self.texts.history.origins.get(&self.texts.objects[at].id);
        origin
            .map(|origin| origin.paths.clone())
            .unwrap_or_default()
    }

    fn boundary_trees(&self) -> Result<Vec<Oid>, ScanError> {
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

    fn tree_of(&self, commit: Oid) -> Result<Oid, ScanError> {
        let raw = self.texts.odb().read(commit)?;
        let format = self.texts.request.repository.object_format();
        Ok(objects::commit(raw.data(), format)?.tree)
    }

    /// The blob at `path` below `tree`.
    fn at_path(&self, tree: Oid, path: &[u8]) -> Result<Option<Oid>, ScanError> {
        let format = self.texts.request.repository.object_format();
        let mut id = tree;
        let mut parts = path.split(|&b| b == b'/').peekable();
        while let Some(part) = parts.next() {
            let raw = self.texts.odb().read(id)?;
            let mut entries = objects::entries(raw.data(), format);
            let found =
                entries.find(|entry| entry.as_ref().map_or(true, |entry| entry.name == part));
            match found.transpose()? {
                Some(entry) if parts.peek().is_some() && entry.is_tree() => id = entry.id,
                Some(entry)
                    if parts.peek().is_none() && !entry.is_tree() && !entry.is_gitlink() =>
                {
                    return Ok(Some(entry.id));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The hits that may be looked for in any place.
    fn wanted_anywhere(&self) -> BTreeSet<usize> {
        let tells = |index: &usize| {
            let hit = self.hits[*index];
            hit.raw.secret.len() >= TELLING && !hit.forbids_path
        };
        self.left.iter().copied().filter(tells).collect()
    }

    /// Searches a commit or tag.
    fn object(&mut self, id: Oid) -> Result<(), ScanError> {
        let raw = self.texts.odb().read(id)?;
        self.bytes(raw.data(), &self.wanted_anywhere());
        Ok(())
    }

    fn blob(&mut self, id: Oid, wanted: &BTreeSet<usize>) -> Result<(), ScanError> {
        match self.texts.held(id)? {
            Some(held) => self.bytes(&held.bytes, wanted),
            None => self.large_blob(id, wanted)?,
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8], wanted: &BTreeSet<usize>) {
        for index in wanted {
            if self.left.contains(index) && self.finders[*index].find(bytes).is_some() {
                self.left.remove(index);
            }
        }
    }

    /// Searches block by block; each block begins with the end of the one before.
    fn large_blob(&mut self, id: Oid, wanted: &BTreeSet<usize>) -> Result<(), ScanError> {
        let longest = wanted
            .iter()
            .map(|&index| self.hits[index].raw.secret.len())
            .max();
        let overlap = longest.unwrap_or(0);
        let mut stream = self.texts.stream(id)?;
        let mut window = Vec::new();
        loop {
            let kept = window.len().min(overlap);
            window.drain(..window.len() - kept);
            let read = stream
                .by_ref()
                .take(BLOCK as u64)
                .read_to_end(&mut window)?;
            if read == 0 {
                return Ok(());
            }
            self.clock.check()?;
            self.bytes(&window, wanted);
        }
    }
}
