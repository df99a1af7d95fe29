//! Which secrets the upstream holds already: only what is new refuses.
//!
//! The upstream is what the mirror's refs reach. A secret is looked for, in this order, until it is
//! found: in the same path at the commits that the push builds on; in every file, folder and commit
//! there (a renamed file, a moved line); in the newest [`COMMITS`] commits and their versions of the
//! same path (a commit that is reverted, or picked from another branch), and in the upstream's tags.
//! A secret that stands in an archive or an encoding is besides compared with what the scanner finds
//! in the same path there, and looked for in all files there as they decode.
//!
//! All of this happens only when there is a hit, and within the time of the scan.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader, Read};

use git2::{ObjectType, Oid, Sort};
use memchr::memmem::Finder;

use super::decode::{Budget, DecodeError, Member};
use super::engine::{Engine, RawFinding};
use super::pack::{Location, Packer, Whereabouts};
use super::texts::{Each, Source, Texts};
use super::{Hit, ScanError, objects};
use crate::deadline::Deadline;
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

struct Search<'s, 'a> {
    texts: &'s mut Texts<'a>,
    hits: &'s [&'s Hit],
    deadline: Deadline,
    finders: Vec<Finder<'s>>,
    /// Hits that have not been found, by index.
    left: BTreeSet<usize>,
    /// The blobs at a hit's own path that were looked at, for each hit.
    versions: BTreeMap<usize, Vec<Oid>>,
    /// The blobs in the boundary's trees.
    held: Vec<Oid>,
    /// What the upstream's archives may cost: none of it is the push's.
    budget: Budget,
    /// Whether the upstream holds more in archives than that.
    cut_short: bool,
}

impl<'s, 'a> Search<'s, 'a> {
    fn new(texts: &'s mut Texts<'a>, hits: &'s [&'s Hit], deadline: Deadline) -> Self {
        let budget = Budget::new(&texts.request.settings.limits, deadline);
        Self {
            texts,
            hits,
            deadline,
            finders: hits
                .iter()
                .map(|hit| Finder::new(hit.raw.secret.as_bytes()))
                .collect(),
            left: (0..hits.len()).collect(),
            versions: BTreeMap::new(),
            held: Vec::new(),
            budget,
            cut_short: false,
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
                    self.deadline.check()?;
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
        if is_path(self.hits[index]) {
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
            self.deadline.check()?;
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
                    self.deadline.check()?;
                    self.held.push(entry.id);
                    self.blob(entry.id, &wanted)?;
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
        let inside: BTreeSet<_> = self.left.iter().copied().filter(is_wanted).collect();
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
            self.deadline.check()?;
            self.read(id, &mut |member, line, text| {
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
                let (old, new) = (&raw.secret, &hit.raw.secret);
                at_path && hit.raw.rule == raw.rule && (old == new || is_edit(old, new))
            };
            self.left.retain(|index| !is_same(index));
        }
        Ok(())
    }

    /// All files of the boundary as they decode, for secrets that stand in an archive or an encoding.
    fn decoded(&mut self) -> Result<(), ScanError> {
        let hits = self.hits;
        let is_wanted = |index: &usize| is_inside(hits[*index]);
        let wanted: Vec<_> = self
            .wanted_anywhere()
            .into_iter()
            .filter(is_wanted)
            .collect();
        let forms: Vec<_> = wanted
            .iter()
            .map(|&index| forms(&hits[index].raw))
            .collect();
        let finders = forms.iter().map(|forms| forms.iter().map(Finder::new));
        let finders: Vec<Vec<_>> = finders.map(Iterator::collect).collect();
        for id in std::mem::take(&mut self.held) {
            let mut found = BTreeSet::new();
            let mut left = wanted.iter().zip(&finders).collect::<Vec<_>>();
            left.retain(|(index, _)| self.left.contains(index));
            if left.is_empty() {
                break;
            }
            self.deadline.check()?;
            self.read(id, &mut |_, _, text| {
                let holds =
                    |finders: &[Finder<'_>]| finders.iter().any(|one| one.find(text).is_some());
                let here = left.iter().filter(|(_, finders)| holds(finders));
                found.extend(here.map(|(index, _)| **index));
                Ok(())
            })?;
            self.left.retain(|index| !found.contains(index));
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
            self.deadline.check()?;
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
            self.deadline.check()?;
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

    /// The paths at which a hit may have stood before.
    fn paths(&self, index: usize) -> Vec<Box<[u8]>> {
        let (Source::Object(at) | Source::Path(at)) = self.hits[index].at.source else {
            return Vec::new();
        };
        let origin = self.texts.history.origins.get(&self.texts.objects[at].id);
        let mut paths = origin
            .map(|origin| origin.paths.clone())
            .unwrap_or_default();
        let hit = self.hits[index];
        if is_path(hit) {
            paths.retain(|path| String::from_utf8_lossy(path) == hit.raw.secret);
        }
        paths
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
            self.deadline.check()?;
            self.bytes(&window, wanted);
        }
    }
}

/// Whether a hit is one on the path of a file.
fn is_path(hit: &Hit) -> bool {
    hit.forbids_path && hit.at.member == Member::default()
}

/// Whether a hit's secret does not stand in its object as it is.
fn is_inside(hit: &Hit) -> bool {
    hit.raw.decoded || hit.at.member != Member::default()
}

/// How many letters and figures of new words with a figure may be part of a key: a line of one has
/// more.
const KEY: usize = 24;

/// Whether `new` is `old` with other lines between its first and its last, and no key in these: a
/// program that holds the first and the last line of keys as literals.
fn is_edit(old: &str, new: &str) -> bool {
    let held: HashSet<_> = old.lines().collect();
    let (first, last) = (new.lines().next(), new.lines().next_back());
    let mut ends = first.into_iter().chain(last);
    let news = new.lines().filter(|line| !held.contains(line));
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let words = news.flat_map(|line| line.split(|c| !is_digit(c)));
    let random: BTreeSet<_> = words
        .filter(|word| word.contains(|c: char| c.is_ascii_digit()))
        .collect();
    ends.all(|line| held.contains(line))
        && random.iter().map(|word| word.len()).sum::<usize>() < KEY
}

/// The forms in which the text around `raw`'s secret may hold it: as it is; where gitleaks decoded
/// it, besides as base64, hexadecimal, percent or unicode escapes.
fn forms(raw: &RawFinding) -> Vec<Vec<u8>> {
    let secret = raw.secret.as_bytes();
    let mut forms = vec![secret.to_vec()];
    if raw.decoded {
        let each = |write: fn(&u8) -> String| secret.iter().map(write).collect::<String>();
        let escapes = [
            each(|b| format!("{b:02x}")),
            each(|b| format!("{b:02X}")),
            each(|b| format!("%{b:02x}")),
            each(|b| format!("%{b:02X}")),
            each(|b| format!("\\u{b:04x}")),
            each(|b| format!("\\u{b:04X}")),
        ];
        forms.extend(escapes.map(String::into_bytes));
        for last in [b"+/", b"-_"] {
            forms.extend((0..3).map(|shift| base64(secret, shift, last)));
        }
    }
    forms
}

/// The digits of base64 that `secret` alone decides, where `shift` bytes stand in front of it in its
/// group of three. `last` are the last two digits of the alphabet.
fn base64(secret: &[u8], shift: usize, last: &[u8; 2]) -> Vec<u8> {
    let digits: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(*last)
        .collect();
    let bit = |at: usize| usize::from(secret[at / 8 - shift] >> (7 - at % 8) & 1);
    let value = |digit: usize| (6 * digit..6 * digit + 6).fold(0, |value, at| value << 1 | bit(at));
    let whole = (8 * shift).div_ceil(6)..8 * (shift + secret.len()) / 6;
    whole.map(|digit| digits[value(digit)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_three_forms_in_base64() {
        // printf xxsecret | base64, with no, one and two letters in front.
        let forms = [0, 1, 2].map(|shift| base64(b"secret?>", shift, b"+/"));
        assert_eq!(
            forms,
            [b"c2VjcmV0Pz" as &[u8], b"NlY3JldD8+", b"zZWNyZXQ/P"]
        );
        assert_eq!(base64(b"secret?>", 1, b"-_"), b"NlY3JldD8-");
    }

    #[test]
    fn an_edit_between_two_literals_is_no_key() {
        let old = "-----BEGIN KEY-----\";\nfn a() {}\n\"-----END KEY-----";
        let with = |between: &str| old.replace("fn a() {}", between);
        assert!(is_edit(old, &with("fn parse_utf8(text: &str) -> Key {}")));
        assert!(!is_edit(old, &with("MC4CAQAwBQYDK2VwBCIEIFL0hyg7YVLSzXyq")));
        assert!(!is_edit(
            old,
            &with("\"MC4CAQAw\",\n\"BQYDK2Vw\",\n\"BCIEIFL0\",\n\"hyg7YVLS\"")
        ));
        assert!(!is_edit(
            old,
            "-----BEGIN EC KEY-----\nfn a() {}\n-----END EC KEY-----"
        ));
    }
}
