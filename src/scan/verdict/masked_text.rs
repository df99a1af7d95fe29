//! Texts without the values that are let through: what gitleaks finds in these stood behind them.
//!
//! A value is blanked only inside of its match: elsewhere it may be part of another one. The text
//! keeps its length and lines, so that nothing comes closer to what it did not stand beside.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use memchr::memmem;

use super::needles::Needles;
use crate::scan::Hit;
use crate::scan::source::Source;

/// What stands in place of a value: no rule of gitleaks takes it for part of one.
const BLANK: u8 = b'*';

/// What to blank, for each text: the values of one scan after those of the scan before.
#[derive(Default)]
pub(crate) struct Blanks(BTreeMap<Source, Vec<Values>>);

/// The values of one scan.
struct Values {
    /// The matches that they are in.
    matches: Needles,
    /// The values in each of these.
    inside: Vec<BTreeSet<String>>,
}

impl Blanks {
    /// Adds the values of `hits`, which came out of one scan; the texts that they are in.
    pub(crate) fn add<'h>(&mut self, hits: impl Iterator<Item = &'h Hit>) -> BTreeSet<Source> {
        let mut found: BTreeMap<Source, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for hit in hits.filter(|hit| !hit.forbids_path && !hit.raw.secret.is_empty()) {
            let matches = found.entry(hit.at.source).or_default();
            let inside = matches.entry(legible(hit.raw.matched.as_bytes()));
            let secret = legible(hit.raw.secret.as_bytes());
            inside.or_default().insert(secret);
        }
        let sources = found.keys().copied().collect();
        for (source, matches) in found {
            self.0.entry(source).or_default().push(Values::new(matches));
        }
        sources
    }

    /// A text of `source` without its values.
    pub(crate) fn apply(&self, source: Source, text: &[u8]) -> Vec<u8> {
        let mut text = legible(text).into_bytes();
        for values in self.0.get(&source).into_iter().flatten() {
            // All are looked for before one is blanked: their matches may overlap.
            for range in values.find(&text) {
                text[range]
                    .iter_mut()
                    .for_each(|byte| *byte = blanked(*byte));
            }
        }
        text
    }
}

impl Values {
    /// `matches` with what is in each.
    fn new(mut matches: BTreeMap<String, BTreeSet<String>>) -> Self {
        // The order of the needles is that of their bytes, as of strings; an empty one is none.
        matches.remove("");
        Self {
            matches: Needles::new(matches.keys().map(String::as_bytes)),
            inside: matches.into_values().collect(),
        }
    }

    /// Where they stand in `text`.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.matches.find(text, |at, range| {
            for secret in &self.inside[at] {
                let starts = memmem::find_iter(&text[range.clone()], secret);
                let start = |at| range.start + at..range.start + at + secret.len();
                found.extend(starts.map(start));
            }
        });
        found
    }
}

/// Whether nothing is left of a value.
pub(crate) fn is_blank(secret: &str) -> bool {
    secret
        .chars()
        .all(|c| c == char::from(BLANK) || c.is_whitespace())
}

fn blanked(byte: u8) -> u8 {
    match byte {
        b'\n' => b'\n',
        _ => BLANK,
    }
}

/// `text` with one letter for each byte that is no UTF-8, and for the one by which gitleaks reports
/// such a byte.
fn legible(text: &[u8]) -> String {
    let unknown = |chunk: &[u8]| "?".repeat(chunk.len());
    let chunks = text.utf8_chunks();
    chunks
        .map(|chunk| chunk.valid().replace('\u{fffd}', "?") + &unknown(chunk.invalid()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::decode::Member;
    use crate::scan::fragments::Location;
    use crate::scan::gitleaks::RawFinding;

    fn hit(matched: &str, secret: &str) -> Hit {
        let at = Location {
            source: Source::Object(0),
            member: Member::default(),
            line: 1,
        };
        let raw = RawFinding {
            rule: String::new(),
            description: String::new(),
            start_line: 1,
            end_line: 1,
            start_column: 1,
            matched: matched.to_owned(),
            secret: secret.to_owned(),
            decoded: false,
        };
        Hit::new(at, raw)
    }

    #[test]
    fn a_value_is_blanked_in_its_match_alone() {
        let mut blanks = Blanks::default();
        blanks.add([hit("a=\u{fffd} x\né", "x\né"), hit("=\u{fffd} x", "x")].iter());
        blanks.add([hit("a=? **", "a")].iter());
        let apply = |source| blanks.apply(source, b"x a=\xff x\n\xc3\xa9 x");
        assert_eq!(apply(Source::Object(0)), b"x a=? *\n** x");
        assert_eq!(apply(Source::Object(1)), "x a=? x\né x".as_bytes());
        blanks.add([hit("a=? *\n", "a=")].iter());
        let apply = |source| blanks.apply(source, b"x a=\xff x\n\xc3\xa9 x");
        assert_eq!(apply(Source::Object(0)), b"x **? *\n** x");
    }
}
