//! What is new in a version of a file: the parts to scan when the version before has been scanned.
//!
//! A part is whole lines: what changed, and [`CONTEXT`] bytes on each side of it, so that a secret
//! of several lines is seen whole on the day when its last line arrives. Lines that a deletion
//! brings together count as changed too.

use std::ops::Range;

use imara_diff::sources::byte_lines;
use imara_diff::{Algorithm, Diff, InternedInput};
use memchr::{memchr, memchr_iter, memrchr};

/// How many bytes on each side of a change are scanned with it, rounded up to whole lines. The
/// longest secrets of several lines, private keys, are below 4 KiB up to RSA of 4096 bits.
pub const CONTEXT: usize = 8 << 10;

/// A changed stretch up to this size is scanned whole: comparing its lines costs more.
const SMALL: usize = 32 << 10;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Where it lies in the text.
    pub bytes: Range<usize>,
    /// The number of its first line, counted from 1.
    pub first_line: u64,
}

/// The parts of `new` that `old` does not hold in the same surroundings, in order.
pub fn changed(old: &[u8], new: &[u8]) -> Vec<Region> {
    let prefix = line_start(new, common_prefix(old, new));
    let suffix = common_suffix(&old[prefix..], &new[prefix..]);
    let suffix = whole_lines_of(&new[new.len() - suffix..]);
    let (old_middle, new_middle) = (
        &old[prefix..old.len() - suffix],
        &new[prefix..new.len() - suffix],
    );
    let changes: Vec<Range<usize>> = if new_middle.len() <= SMALL || old_middle.is_empty() {
        std::iter::once(0..new_middle.len()).collect()
    } else {
        changed_lines(old_middle, new_middle)
    };
    let widened = changes
        .into_iter()
        .map(|change| widen(new, prefix + change.start..prefix + change.end));
    number(new, merge(widened))
}

/// The byte ranges of `new` that a line diff reports; empty ones where lines were removed.
fn changed_lines(old: &[u8], new: &[u8]) -> Vec<Range<usize>> {
    let input = InternedInput::new(byte_lines(old), byte_lines(new));
    let mut starts = vec![0];
    starts.extend(memchr_iter(b'\n', new).map(|end| end + 1));
    let offset = |line: u32| starts.get(line as usize).copied().unwrap_or(new.len());
    Diff::compute(Algorithm::Histogram, &input)
        .hunks()
        .map(|hunk| offset(hunk.after.start)..offset(hunk.after.end))
        .collect()
}

/// `change` and its surroundings, as whole lines of `text`. Where the edge falls into wrapped base64
/// or hexadecimal, all of that is taken: part of it decodes to nothing.
fn widen(text: &[u8], change: Range<usize>) -> Range<usize> {
    let mut start = line_start(text, change.start.saturating_sub(CONTEXT));
    let mut end = line_end(text, (change.end + CONTEXT).min(text.len()));
    while start > 0 && is_encoded(&text[line_start(text, start - 1)..start]) {
        start = line_start(text, start - 1);
    }
    while end < text.len() && is_encoded(&text[end..line_end(text, end + 1)]) {
        end = line_end(text, end + 1);
    }
    start..end
}

/// Whether a line may be one of many that are encoded together.
fn is_encoded(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let is_digit = |b: &u8| b.is_ascii_alphanumeric() || b"+/=_-".contains(b);
    line.len() >= 16 && line.iter().all(is_digit)
}

/// Joins ranges, in order of their start, that touch.
fn merge(ranges: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn number(text: &[u8], ranges: Vec<Range<usize>>) -> Vec<Region> {
    let (mut line, mut counted) = (1, 0);
    let numbered = ranges.into_iter().map(|bytes| {
        line += memchr_iter(b'\n', &text[counted..bytes.start]).count() as u64;
        counted = bytes.start;
        Region {
            bytes,
            first_line: line,
        }
    });
    numbered.filter(|region| !region.bytes.is_empty()).collect()
}

/// The start of the line that `offset` lies in.
fn line_start(text: &[u8], offset: usize) -> usize {
    memrchr(b'\n', &text[..offset]).map_or(0, |end| end + 1)
}

/// The end of the line that `offset` lies in, or `offset` where a line begins.
fn line_end(text: &[u8], offset: usize) -> usize {
    if offset == 0 || text[offset - 1] == b'\n' {
        return offset;
    }
    memchr(b'\n', &text[offset..]).map_or(text.len(), |end| offset + end + 1)
}

/// The length of `tail` without the line that it may begin in the middle of.
fn whole_lines_of(tail: &[u8]) -> usize {
    memchr(b'\n', tail).map_or(0, |end| tail.len() - end - 1)
}

/// Compared in blocks first: the compiler turns those into memcmp.
const BLOCK: usize = 4 << 10;

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let done = BLOCK * blocks.take_while(|(a, b)| a == b).count();
    let bytes = a[done..].iter().zip(&b[done..]);
    done + bytes.take_while(|(a, b)| a == b).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.rchunks_exact(BLOCK).zip(b.rchunks_exact(BLOCK));
    let done = BLOCK * blocks.take_while(|(a, b)| a == b).count();
    let bytes = a[..a.len() - done].iter().rev();
    let bytes = bytes.zip(b[..b.len() - done].iter().rev());
    done + bytes.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines of a few kinds, so that a diff finds much to align, some long enough that the context
    /// does not cover the whole text.
    fn text(lines: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        let line = (
            0u8..12,
            prop_oneof![Just(0usize), Just(70), Just(900), Just(4000)],
        );
        proptest::collection::vec(line, lines).prop_map(|lines| {
            let lines = lines.into_iter().map(|(kind, length)| {
                let mut line = vec![b'a' + kind; length + 1];
                line.push(b'\n');
                line
            });
            lines.collect::<Vec<_>>().concat()
        })
    }

    /// Two versions: some stretches of the first, moved or kept, with new ones between them.
    fn versions() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let cut = (
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            text(0..4),
        );
        (
            text(1..150),
            proptest::collection::vec(cut, 0..6),
            any::<bool>(),
        )
            .prop_map(|(old, cuts, sorted)| {
                let lines: Vec<_> = old.split_inclusive(|&b| b == b'\n').collect();
                let mut cuts: Vec<_> = cuts
                    .into_iter()
                    .map(|(a, b, new)| (a.index(lines.len()), b.index(lines.len()), new))
                    .collect();
                if sorted {
                    cuts.sort_by_key(|&(a, ..)| a);
                }
                let new = cuts.into_iter().map(|(a, b, new)| {
                    let kept = lines[a.min(b)..=a.max(b)].concat();
                    [kept, new].concat()
                });
                let new = new.collect::<Vec<_>>().concat();
                (old, new)
            })
    }

    fn holds(text: &[u8], part: &[u8]) -> bool {
        part.is_empty() || memchr::memmem::find(text, part).is_some()
    }

    proptest! {
        /// What is left out stood in the old version, as one piece and not only line by line.
        #[test]
        fn nothing_is_left_out_that_was_not_there_before((old, new) in versions()) {
            let mut from = 0;
            for region in changed(&old, &new) {
                prop_assert!(holds(&old, &new[from..region.bytes.start]));
                from = region.bytes.end;
            }
            prop_assert!(holds(&old, &new[from..]));
        }

        /// Whatever of up to CONTEXT bytes is new as a whole, although each of its lines may be
        /// old, lies in one region whole: a key that is put together line by line is seen.
        #[test]
        fn a_secret_put_together_from_old_lines_is_in_one_region(
            (old, new) in versions(),
            at in any::<prop::sample::Index>(),
            length in 1..CONTEXT,
        ) {
            prop_assume!(!new.is_empty());
            let start = at.index(new.len());
            let end = (start + length).min(new.len());
            let secret = &new[start..end];
            let inside = |region: &Region| region.bytes.start <= start && end <= region.bytes.end;
            prop_assert!(holds(&old, secret) || changed(&old, &new).iter().any(inside));
        }

        #[test]
        fn regions_are_whole_lines_with_their_numbers((old, new) in versions()) {
            for region in changed(&old, &new) {
                let Range { start, end } = region.bytes;
                prop_assert!(start == 0 || new[start - 1] == b'\n');
                prop_assert!(end == new.len() || new[end - 1] == b'\n');
                let before = new[..start].iter().filter(|&&b| b == b'\n').count();
                prop_assert_eq!(region.first_line, before as u64 + 1);
            }
        }
    }

    #[test]
    fn one_changed_line_of_a_large_file_is_a_small_region() {
        let old: Vec<u8> = (0..20_000)
            .flat_map(|n| format!("line {n}\n").into_bytes())
            .collect();
        let new = String::from_utf8(old.clone())
            .unwrap()
            .replace("line 9000\n", "line x\n");
        let regions = changed(&old, new.as_bytes());
        assert_eq!(regions.len(), 1);
        assert!(regions[0].bytes.len() < 3 * CONTEXT);
    }

    #[test]
    fn wrapped_base64_is_not_cut() {
        let mut old: Vec<u8> = b"plain text here\n".repeat(4000);
        let start = old.len();
        for n in 0..1000 {
            old.extend_from_slice(format!("{n:064}\n").as_bytes());
        }
        let mut new = old.clone();
        new.extend_from_slice(b"and the end\n");
        let regions = changed(&old, &new);
        assert_eq!(regions[0].bytes, start..new.len());
    }

    #[test]
    fn two_distant_changes_are_two_small_regions() {
        let old: Vec<u8> = (0..20_000)
            .flat_map(|n| format!("line {n}\n").into_bytes())
            .collect();
        let new = String::from_utf8(old.clone()).unwrap();
        let new = new
            .replace("line 100\n", "line y\n")
            .replace("line 19000\n", "");
        let regions = changed(&old, new.as_bytes());
        assert_eq!(regions.len(), 2);
        assert!(
            regions
                .iter()
                .all(|region| region.bytes.len() < 3 * CONTEXT)
        );
    }
}
