//! Texts without the values that are let through: what gitleaks finds in these stood behind them.
//!
//! A value is blanked only inside of its match: elsewhere it may be part of another one. The text
//! keeps its length and lines, so that nothing comes closer to what it did not stand beside.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Hit;
use super::texts::Source;

/// What stands in place of a value: no rule of gitleaks takes it for part of one.
const BLANK: char = '*';

/// What to blank, for each text: the values of one scan after those of the scan before.
#[derive(Default)]
pub(super) struct Blanks(BTreeMap<Source, Vec<Vec<Value>>>);

/// A value and the match that it is in.
#[derive(PartialEq)]
struct Value {
    matched: String,
    secret: String,
}

impl Blanks {
    /// Adds the values of `hits`, which came out of one scan; the texts that they are in.
    pub(super) fn add(&mut self, hits: &[Hit]) -> BTreeSet<Source> {
        let mut sources = BTreeSet::new();
        for hit in hits
            .iter()
            .filter(|hit| !hit.forbids_path && !hit.raw.secret.is_empty())
        {
            let value = Value {
                matched: legible(hit.raw.matched.as_bytes()),
                secret: legible(hit.raw.secret.as_bytes()),
            };
            let scans = self.0.entry(hit.at.source).or_default();
            if sources.insert(hit.at.source) {
                scans.push(Vec::new());
            }
            if let Some(values) = scans.last_mut().filter(|values| !values.contains(&value)) {
                values.push(value);
            }
        }
        sources
    }

    /// A text of `source` without its values.
    pub(super) fn apply(&self, source: Source, text: &[u8]) -> Vec<u8> {
        let mut text = legible(text);
        for values in self.0.get(&source).into_iter().flatten() {
            // All are looked for before one is blanked: their matches may overlap.
            let found: Vec<_> = values.iter().flat_map(|value| value.find(&text)).collect();
            for range in found {
                let blank: String = text[range.clone()].bytes().map(blanked).collect();
                text.replace_range(range, &blank);
            }
        }
        text.into_bytes()
    }
}

impl Value {
    /// Where it stands in `text`.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let matches = text.match_indices(&self.matched);
        let inside = |(start, matched): (usize, &str)| {
            let secrets = matched.match_indices(&self.secret);
            let range = |(at, secret): (usize, &str)| start + at..start + at + secret.len();
            secrets.map(range).collect::<Vec<_>>()
        };
        matches.flat_map(inside).collect()
    }
}

/// Whether nothing is left of a value.
pub(super) fn is_blank(secret: &str) -> bool {
    secret.chars().all(|c| c == BLANK || c.is_whitespace())
}

fn blanked(byte: u8) -> char {
    match byte {
        b'\n' => '\n',
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
    use crate::scan::engine::RawFinding;
    use crate::scan::pack::Location;

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
        blanks.add(&[hit("a=\u{fffd} x\né", "x\né"), hit("=\u{fffd} x", "x")]);
        blanks.add(&[hit("a=? **", "a")]);
        let apply = |source| blanks.apply(source, b"x a=\xff x\n\xc3\xa9 x");
        assert_eq!(apply(Source::Object(0)), b"x a=? *\n** x");
        assert_eq!(apply(Source::Object(1)), "x a=? x\né x".as_bytes());
        blanks.add(&[hit("a=? *\n", "a=")]);
        let apply = |source| blanks.apply(source, b"x a=\xff x\n\xc3\xa9 x");
        assert_eq!(apply(Source::Object(0)), b"x **? *\n** x");
    }
}
