//! Which secrets the upstream holds already: only what is new refuses.
//!
//! The upstream is what the mirror's refs reach. A secret is looked for, in this order, until it is
//! found: in the same path at the commits that the push builds on; in every file, directory and commit
//! there (a renamed file, a moved line); in the newest [`COMMITS`] commits and their versions of the
//! same path (a commit that is reverted, or picked from another branch), and in the upstream's tags.
//! A secret that stands in an archive or an encoding is besides compared with what the scanner finds
//! in the same path there, and looked for in all files there as they decode.
//!
//! All of this happens only when there is a hit, and within the time of the scan.

mod history;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;

use git2::Oid;

use super::earlier_hits::{AtPath, Said};
use super::encoded_forms::forms;
use super::wanted::Wanted;
use crate::deadline::Deadline;
use crate::scan::decode::{Budget, DecodeError, Member};
use crate::scan::fragments::{Location, Packer, Whereabouts};
use crate::scan::gitleaks::Engine;
use crate::scan::objects::parse;
use crate::scan::objects::reader::ObjectReader;
use crate::scan::objects::views::Each;
use crate::scan::source::Source;
use crate::scan::{Hit, ScanError};

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
    texts: &mut ObjectReader<'_>,
    hits: &[&Hit],
    engine: &Engine,
    deadline: Deadline,
) -> Result<Known, ScanError> {
    let mut search = Search::new(texts, hits, deadline);
    search.names()?;
    search.same_path()?;
    search.boundary()?;
    search.scanned(engine)?;
    search.decoded()?;
    let ended_early = search.history()? || search.cut_short;
    search.tags()?;
    search.reached_objects()?;
    let is_known = |index| !search.left.contains(&index);
    Ok(Known {
        found: (0..hits.len()).map(is_known).collect(),
        ended_early: ended_early && !search.left.is_empty(),
    })
}

/// Looks for each of `hits` at its own path alone, in what the push builds on.
pub fn search_same_path(
    texts: &mut ObjectReader<'_>,
    hits: &[&Hit],
    deadline: Deadline,
) -> Result<Vec<bool>, ScanError> {
    let mut search = Search::new(texts, hits, deadline);
    search.same_path()?;
    let is_known = |index| !search.left.contains(&index);
    Ok((0..hits.len()).map(is_known).collect())
}

struct Search<'s, 'a> {
    texts: &'s mut ObjectReader<'a>,
    hits: &'s [&'s Hit],
    deadline: Deadline,
    /// Hits that have not been found, by index.
    left: BTreeSet<usize>,
    /// What may be looked for in any place.
    anywhere: Wanted,
    /// The paths at which hits may have stood before, sorted.
    paths: Vec<AtPath>,
    /// The blobs in the boundary's trees.
    held: Vec<Oid>,
    /// What the upstream's archives may cost: none of it is the push's.
    budget: Budget,
    /// Whether the upstream holds more in archives than that.
    cut_short: bool,
}

impl<'s, 'a> Search<'s, 'a> {
    fn new(texts: &'s mut ObjectReader<'a>, hits: &'s [&'s Hit], deadline: Deadline) -> Self {
        let budget = Budget::new(
            &texts.request.settings.limits,
            deadline,
            texts.request.repository.path(),
        );
        let mut paths: BTreeMap<Box<[u8]>, Vec<usize>> = BTreeMap::new();
        for (index, hit) in hits.iter().enumerate() {
            for path in paths_of(texts, hit) {
                paths.entry(path.into()).or_default().push(index);
            }
        }
        let paths = paths.into_iter().map(|(path, hits)| AtPath {
            path,
            hits,
            versions: HashSet::new(),
        });
        let tells = |hit: &Hit| hit.raw.secret.len() >= TELLING && !hit.forbids_path;
        let anywhere = (0..hits.len()).filter(|&index| tells(hits[index]));
        Self {
            hits,
            deadline,
            left: (0..hits.len()).collect(),
            anywhere: Wanted::new(anywhere.map(|index| (secret(hits[index]), index))),
            paths: paths.collect(),
            held: Vec::new(),
            budget,
            cut_short: false,
            texts,
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
        for tree in self.boundary_trees()? {
            self.paths_in(tree)?;
        }
        Ok(())
    }

    /// Looks into what stands below `tree` at the paths of hits.
    fn paths_in(&mut self, tree: Oid) -> Result<(), ScanError> {
        for (at, id) in self.at_paths(tree)? {
            self.deadline.check()?;
            self.version(at, id)?;
        }
        Ok(())
    }

    /// Looks into one version of a path, for the hits that stand there now.
    fn version(&mut self, at: usize, id: Oid) -> Result<(), ScanError> {
        let left = |index: &usize| self.left.contains(index);
        let hits: Vec<_> = self.paths[at].hits.iter().copied().filter(left).collect();
        if hits.is_empty() || !self.paths[at].versions.insert(id) {
            return Ok(());
        }
        let (paths, others): (Vec<_>, Vec<_>) = hits
            .into_iter()
            .partition(|&index| is_path(self.hits[index]));
        // What a path forbids is held where the same file stands there.
        for index in paths {
            if object_of(self.texts, self.hits[index]) == Some(id) {
                self.left.remove(&index);
            }
        }
        let forms = others
            .into_iter()
            .map(|index| (secret(self.hits[index]), index));
        self.blob(id, &Wanted::new(forms))
    }

    /// Everything that the boundary's trees hold, and its commits themselves.
    fn boundary(&mut self) -> Result<(), ScanError> {
        let mut left = self.boundary_trees()?;
        let mut seen: HashSet<_> = left.iter().copied().collect();
        for commit in self.texts.history.boundary.clone() {
            self.object(commit)?;
        }
        while let Some(tree) = left.pop() {
            if !self.anywhere.is_open(&self.left) {
                break;
            }
            self.deadline.check()?;
            let raw = self.texts.odb().read(tree)?;
            self.anywhere.find(raw.data(), &mut self.left);
            let format = self.texts.request.repository.object_format();
            for entry in parse::entries(raw.data(), format) {
                let entry = entry?;
                if entry.is_gitlink() || !seen.insert(entry.id) {
                    continue;
                }
                if entry.is_tree() {
                    left.push(entry.id);
                } else {
                    self.deadline.check()?;
                    self.held.push(entry.id);
                    self.blob_anywhere(entry.id)?;
                }
            }
        }
        Ok(())
    }

    /// What the scanner finds in the boundary's versions of a path, for secrets that do not stand
    /// in their blob as they are, or that are more than a secret.
    fn scanned(&mut self, engine: &Engine) -> Result<(), ScanError> {
        let is_wanted = |index: &usize| {
            let hit = self.hits[*index];
            is_inside(hit) || hit.raw.secret.contains('\n')
        };
        let inside: HashSet<_> = self.left.iter().copied().filter(is_wanted).collect();
        let is_at = |at: &&AtPath| at.hits.iter().any(|index| inside.contains(index));
        let versions = self.paths.iter().filter(is_at).flat_map(|at| &at.versions);
        let blobs: BTreeSet<_> = versions.copied().collect();
        if blobs.is_empty() {
            return Ok(());
        }
        let blobs: Vec<_> = blobs.into_iter().collect();
        let mut packer = Packer::alone(engine.start()?);
        for (at, &id) in blobs.iter().enumerate() {
            self.deadline.check()?;
            self.read(id, &mut |member, line, text| {
                Ok(packer.add(Source::Object(at), member, line, text)?)
            })?;
        }
        let said = Said::new(self.hits, &self.paths, &self.left);
        for (raw, place) in packer.finish()? {
            if let Whereabouts::In(Location {
                source: Source::Object(at),
                ..
            }) = place
            {
                let paths = said.paths.get(&blobs[at]).into_iter().flatten();
                for &path in paths {
                    self.deadline.check()?;
                    said.find(path, &raw, self.hits, &mut self.left);
                }
            }
        }
        Ok(())
    }

    /// All files of the boundary as they decode, for secrets that stand in an archive or an encoding.
    fn decoded(&mut self) -> Result<(), ScanError> {
        let hits = self.hits;
        let tells = self.anywhere.hits.iter().flatten().copied();
        let wanted = tells.filter(|index| self.left.contains(index) && is_inside(hits[*index]));
        let forms = wanted.flat_map(|index| {
            let forms = forms(&hits[index].raw);
            forms.into_iter().map(move |form| (form, index))
        });
        let wanted = Wanted::new(forms);
        for id in std::mem::take(&mut self.held) {
            if !wanted.is_open(&self.left) {
                break;
            }
            self.deadline.check()?;
            let mut left = std::mem::take(&mut self.left);
            let read = self.read(id, &mut |_, _, text| {
                wanted.find(text, &mut left);
                Ok(())
            });
            self.left = left;
            read?;
        }
        Ok(())
    }

    /// Reads a blob of the upstream as far as it can be read.
    fn read(&mut self, id: Oid, each: &mut Each<'_>) -> Result<(), ScanError> {
        match self.texts.read_held(id, &mut self.budget, each) {
            Err(ScanError::Decode(DecodeError::Bound { .. })) => self.cut_short = true,
            Err(ScanError::Decode(DecodeError::Unscannable { .. })) => {}
            read => read?,
        }
        Ok(())
    }

    /// Searches a commit or tag.
    fn object(&mut self, id: Oid) -> Result<(), ScanError> {
        let raw = self.texts.odb().read(id)?;
        self.anywhere.find(raw.data(), &mut self.left);
        Ok(())
    }

    /// Searches a blob for what may stand anywhere.
    fn blob_anywhere(&mut self, id: Oid) -> Result<(), ScanError> {
        let wanted = std::mem::replace(&mut self.anywhere, Wanted::new([]));
        let searched = self.blob(id, &wanted);
        self.anywhere = wanted;
        searched
    }

    fn blob(&mut self, id: Oid, wanted: &Wanted) -> Result<(), ScanError> {
        match self.texts.held(id)? {
            Some(held) => wanted.find(&held.bytes, &mut self.left),
            None => self.large_blob(id, wanted)?,
        }
        Ok(())
    }

    /// Searches block by block; each block begins with the end of the one before.
    fn large_blob(&mut self, id: Oid, wanted: &Wanted) -> Result<(), ScanError> {
        let lengths = wanted.needles.values().iter().map(|value| value.len());
        let overlap = lengths.max().unwrap_or(0);
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
            self.deadline.check()?;
            wanted.find(&window, &mut self.left);
        }
    }
}

/// The place of a path and what of it is left below a directory's entry.
type Below<'p> = (usize, Option<&'p [u8]>);

/// The first part of `path`, and what follows it.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'/', path) {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

/// The paths at which `hit` may have stood before.
fn paths_of<'t>(texts: &'t ObjectReader<'_>, hit: &Hit) -> Vec<&'t [u8]> {
    let object = object_of(texts, hit);
    let origin = object.and_then(|id| texts.history.origins.get(&id));
    let paths = origin.into_iter().flat_map(|origin| &origin.paths);
    let is_meant = |path: &&[u8]| !is_path(hit) || String::from_utf8_lossy(path) == hit.raw.secret;
    paths.map(|path| &**path).filter(is_meant).collect()
}

/// The object that `hit` is in, or whose path it is on.
fn object_of(texts: &ObjectReader<'_>, hit: &Hit) -> Option<Oid> {
    match hit.at.source {
        Source::Object(at) | Source::Path(at) => Some(texts.objects[at].id),
        Source::RefName(_) | Source::PushOption(_) => None,
    }
}

fn secret(hit: &Hit) -> Vec<u8> {
    hit.raw.secret.clone().into_bytes()
}

/// Whether a hit is one on the path of a file.
fn is_path(hit: &Hit) -> bool {
    hit.forbids_path && hit.at.member == Member::default()
}

/// Whether a hit's secret does not stand in its object as it is.
fn is_inside(hit: &Hit) -> bool {
    hit.raw.decoded || hit.at.member != Member::default()
}
