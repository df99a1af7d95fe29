//! What hits say, compared with what the scanner found in earlier versions of their paths.

use std::collections::{BTreeSet, HashMap, HashSet};

use git2::Oid;

use crate::scan::Hit;
use crate::scan::gitleaks::RawFinding;

/// A path at which hits may have stood before.
pub(crate) struct AtPath {
    pub(crate) path: Box<[u8]>,
    pub(crate) hits: Vec<usize>,
    /// The blobs there that were looked at.
    pub(crate) versions: HashSet<Oid>,
}

/// What the hits say at each of their paths, to be compared with what was found there before.
pub(crate) struct Said<'s> {
    /// The paths at which each version stood, by their places.
    pub(crate) paths: HashMap<Oid, Vec<usize>>,
    /// The hits by path, rule and secret.
    exact: HashMap<(usize, &'s str, &'s str), Vec<usize>>,
    /// At each path those whose secret has several lines.
    blocks: HashMap<usize, Vec<usize>>,
}

impl<'s> Said<'s> {
    pub(crate) fn new(hits: &'s [&'s Hit], paths: &[AtPath], left: &BTreeSet<usize>) -> Self {
        let mut said = Self {
            paths: HashMap::new(),
            exact: HashMap::new(),
            blocks: HashMap::new(),
        };
        for (path, at) in paths.iter().enumerate() {
            for &id in &at.versions {
                said.paths.entry(id).or_default().push(path);
            }
            for &index in at.hits.iter().filter(|index| left.contains(index)) {
                let raw = &hits[index].raw;
                let exact = said.exact.entry((path, &raw.rule, &raw.secret));
                exact.or_default().push(index);
                if raw.secret.contains('\n') {
                    said.blocks.entry(path).or_default().push(index);
                }
            }
        }
        said
    }

    /// Takes what `raw`, found in a version of `path`, says too out of `left`: the same secret, or one
    /// that is an edit of it.
    pub(crate) fn find(
        &self,
        path: usize,
        raw: &RawFinding,
        hits: &[&Hit],
        left: &mut BTreeSet<usize>,
    ) {
        // A secret of one line can be an edit of one that holds this line only.
        for part in [&*raw.secret].into_iter().chain(raw.secret.lines()) {
            let same = self.exact.get(&(path, &raw.rule, part));
            same.into_iter().flatten().for_each(|index| {
                left.remove(index);
            });
        }
        for index in self.blocks.get(&path).into_iter().flatten() {
            let hit = &hits[*index].raw;
            if hit.rule == raw.rule && left.contains(index) && is_edit(&raw.secret, &hit.secret) {
                left.remove(index);
            }
        }
    }
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
    let parts = news.flat_map(|line| line.split(|c| !is_digit(c)));
    let words = joined(parts.filter(|part| !part.is_empty()));
    let random: BTreeSet<_> = words
        .iter()
        .filter(|word| word.contains(|c: char| c.is_ascii_digit()))
        .collect();
    ends.all(|line| held.contains(line))
        && random.iter().map(|word| word.len()).sum::<usize>() < KEY
}

/// `parts`, those of one letter that follow each other as one word: digits that are set apart.
fn joined<'p>(parts: impl Iterator<Item = &'p str>) -> Vec<String> {
    let (mut words, mut goes_on) = (Vec::<String>::new(), false);
    for part in parts {
        let is_single = part.len() == 1;
        match words.last_mut() {
            Some(word) if is_single && goes_on => word.push_str(part),
            _ => words.push(part.to_owned()),
        }
        goes_on = is_single;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

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
            &with("M C 4 C A Q A w B Q\nY D 2 V w 5 C I E I F L 0 h")
        ));
        assert!(!is_edit(
            old,
            "-----BEGIN EC KEY-----\nfn a() {}\n-----END EC KEY-----"
        ));
    }
}
