//! What is new in a version of a file: the parts to scan when the version before has been scanned.
//!
//! A part is whole lines: what changed, and [`CONTEXT`] bytes on each side of it, so that a secret
//! of several lines is seen whole on the day when its last line arrives; of what is encoded and of a
//! private key, all. Lines that a deletion brings together count as changed too.

use std::collections::HashMap;
use std::ops::Range;

use memchr::{memchr, memchr_iter};

use crate::scan::decode;
use crate::scan::decode::pem::{self, line_start};

/// How many bytes on each side of a change are scanned with it, rounded up to whole lines. The
/// longest secrets of several lines, private keys, are below 4 KiB up to RSA of 4096 bits.
pub const CONTEXT: usize = 4 << 10;

/// A changed stretch up to this size is scanned whole: comparing its lines costs more.
const SMALL: usize = 32 << 10;

/// Two stretches with more lines than this are not compared: that would cost memory.
const COMPARED: usize = 1 << 19;

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
    let changes = changes
        .into_iter()
        .map(|change| prefix + change.start..prefix + change.end);
    number(new, widened(new, changes))
}

/// The byte ranges of `new` between stretches of lines that stand in `old` too, wherever; empty ones
/// where what stood between two stretches is another now. Each stretch grows around a line that both
/// hold once: where there is none, more is taken for changed than is. So the time is linear; that of
/// a line diff is not, where few lines differ.
fn changed_lines(old: &[u8], new: &[u8]) -> Vec<Range<usize>> {
    let count = |text| memchr_iter(b'\n', text).count();
    if count(old) + count(new) > COMPARED {
        return std::iter::once(0..new.len()).collect();
    }
    let (old, new) = (lines(old), lines(new));
    let same = |a: usize, b: usize| a < old.len() && b < new.len() && old[a] == new[b];
    let mut changes = Vec::new();
    // Where the last stretch ends.
    let (mut old_end, mut new_end) = (0, 0);
    let ends = std::iter::once((old.len(), new.len()));
    for (mut in_old, mut in_new) in common_lines(&old, &new).chain(ends) {
        if in_new < new_end {
            continue;
        }
        let mut length = 0;
        while same(in_old + length, in_new + length) {
            length += 1;
        }
        let end = (in_old + length, in_new + length);
        while in_new > new_end && in_old > 0 && same(in_old - 1, in_new - 1) {
            (in_old, in_new) = (in_old - 1, in_new - 1);
        }
        if (in_old, in_new) != (old_end, new_end) {
            changes.push(new_end..in_new);
        }
        (old_end, new_end) = end;
    }
    bytes_of(&new, changes)
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&b| b == b'\n').collect()
}

/// The places in `old` and in `new` of each line that both hold once, in the order of `new`.
fn common_lines<'t>(old: &[&'t [u8]], new: &[&'t [u8]]) -> impl Iterator<Item = (usize, usize)> {
    let in_old = held_once(old);
    let places = held_once(new).into_iter();
    let places = places.filter_map(|(line, place)| Some((*in_old.get(line)?, place)));
    let mut places: Vec<_> = places.collect();
    places.sort_unstable_by_key(|&(_, in_new)| in_new);
    places.into_iter()
}

/// The places of the lines that `lines` holds once.
fn held_once<'t>(lines: &[&'t [u8]]) -> HashMap<&'t [u8], usize> {
    let mut places = HashMap::new();
    for (at, &line) in lines.iter().enumerate() {
        let place = places.entry(line);
        place.and_modify(|place| *place = None).or_insert(Some(at));
    }
    places
        .into_iter()
        .filter_map(|(line, place)| Some((line, place?)))
        .collect()
}

/// The bytes of `ranges` of `lines`, which are in order.
fn bytes_of(lines: &[&[u8]], ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let (mut line, mut bytes) = (0, 0);
    let mut offset = |to: usize| {
        bytes += lines[line..to].iter().map(|line| line.len()).sum::<usize>();
        line = to;
        bytes
    };
    ranges
        .into_iter()
        .map(|range| offset(range.start)..offset(range.end))
        .collect()
}

/// `changes`, which are in order, with their surroundings; apart from each other, and whole lines.
fn widened(text: &[u8], changes: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut regions: Vec<Range<usize>> = Vec::new();
    for change in changes {
        let done = regions.last().map_or(0, |region| region.end);
        let region = widen(text, done, change);
        match regions.last_mut() {
            Some(last) if region.start == last.end => last.end = region.end,
            _ => regions.push(region),
        }
    }
    regions
}

/// `change` and its surroundings, without what comes before `done`. What counts only whole is not
/// cut: neither what is encoded, of which a part may decode to nothing, nor a private key.
fn widen(text: &[u8], done: usize, change: Range<usize>) -> Range<usize> {
    let start = line_start(text, change.start.saturating_sub(CONTEXT)).max(done);
    let end = line_end(text, (change.end + CONTEXT).min(text.len())).max(done);
    let mut start = encoded_start(text, done, start);
    let mut end = encoded_end(text, end);
    if pem::ends_another(&text[start..end])
        && let Some(begin) = pem::open(&text[done..start])
    {
        start = done + begin;
    }
    if pem::open(&text[start..end]).is_some()
        && let Some(length) = pem::end(&text[end..])
    {
        end = line_end(text, end + length + 1);
    }
    start..end
}

/// Where what is encoded around `edge` begins, one line before all that looks so, but not before
/// `done`; `edge` where nothing is.
fn encoded_start(text: &[u8], done: usize, edge: usize) -> usize {
    let mut start = edge;
    while start > done {
        let line = line_start(text, start - 1)..start;
        if !decode::may_go_on(&text[line.clone()]) {
            return if start == edge { edge } else { line.start };
        }
        start = line.start;
    }
    start
}

/// Where what is encoded around `edge` ends, as [`encoded_start`].
fn encoded_end(text: &[u8], edge: usize) -> usize {
    let mut end = edge;
    while end < text.len() {
        let line = end..line_end(text, end + 1);
        if !decode::may_go_on(&text[line.clone()]) {
            return if end == edge { edge } else { line.end };
        }
        end = line.end;
    }
    end
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
mod tests;
