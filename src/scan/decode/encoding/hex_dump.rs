//! Hex dumps as `xxd`, `hexdump` and `od` write them, and lists of byte values.

use std::ops::Range;

use super::{Lines, Place, long_runs};
use crate::scan::decode::input::{Source, Spool};
use crate::scan::decode::{DecodeError, Depth, Member, Walk};

/// The fewest values on the first line of a dump.
const FEWEST: usize = 4;

/// The shortest list that holds text: two groups of hex digits for twelve bytes.
const SHORTEST: usize = 24;

/// The longest line of a dump that has an offset in front; a list in one line may be endless.
const DUMP: usize = 1 << 10;

/// How far before a line's end a list with few values may begin.
const TRAIL: usize = 64;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// Groups of two hex digits.
    Hex,
    /// The same, each group in reverse order: words of a little-endian machine.
    Swapped,
    /// Decimal numbers below 256.
    Decimal,
    /// Octal: three digits a byte, six a word of a little-endian machine.
    Octal,
}

const NOTATIONS: [Notation; 4] = [
    Notation::Hex,
    Notation::Swapped,
    Notation::Decimal,
    Notation::Octal,
];

impl Notation {
    fn label(self) -> &'static str {
        match self {
            Self::Hex | Self::Swapped => "hex dump",
            Self::Decimal => "decimal values",
            Self::Octal => "octal dump",
        }
    }

    /// Adds the bytes of `values` to `out`, from the first to the last in a row that are in this
    /// notation: a name such as `add` in front of a list looks like a value.
    fn read(self, values: &[Value<'_>], out: &mut Vec<u8>) {
        let mut is_read = |value: &Value<'_>| match self {
            Self::Hex => value.hex(out, false),
            Self::Swapped => value.hex(out, true),
            Self::Decimal => value.decimal(out),
            Self::Octal => value.octal(out),
        };
        if let Some(first) = values.iter().position(&mut is_read) {
            values[first + 1..].iter().all(is_read);
        }
    }
}

/// One value of a list: its digits, without `0x`.
struct Value<'t> {
    digits: &'t [u8],
    prefixed: bool,
}

impl Value<'_> {
    fn number(&self, radix: u32) -> Option<u64> {
        let digits = std::str::from_utf8(self.digits).ok()?;
        u64::from_str_radix(digits, radix).ok()
    }

    fn hex(&self, out: &mut Vec<u8>, swapped: bool) -> bool {
        let width = match self.digits.len() {
            1 if self.prefixed => 1,
            2 | 4 | 8 | 16 => self.digits.len() / 2,
            _ => return false,
        };
        let Some(number) = self.number(16) else {
            return false;
        };
        let bytes = number.to_le_bytes();
        if swapped {
            out.extend(&bytes[..width]);
        } else {
            out.extend(bytes[..width].iter().rev());
        }
        true
    }

    fn decimal(&self, out: &mut Vec<u8>) -> bool {
        let number = (!self.prefixed && self.digits.len() <= 3).then(|| self.number(10));
        match number.flatten().map(u8::try_from) {
            Some(Ok(byte)) => out.push(byte),
            _ => return false,
        }
        true
    }

    fn octal(&self, out: &mut Vec<u8>) -> bool {
        let number = (!self.prefixed).then(|| self.number(8)).flatten();
        match (self.digits.len(), number) {
            (3, Some(number @ 0..=0xff)) => out.extend(&number.to_le_bytes()[..1]),
            (6, Some(number @ 0..=0xffff)) => out.extend(&number.to_le_bytes()[..2]),
            _ => return false,
        }
        true
    }
}

/// Follows lines and tells where a dump starts.
#[derive(Debug, Default)]
struct Tracker {
    /// The first of the lines with few values each, and how many values they have.
    open: Option<(Place, usize)>,
}

impl Tracker {
    /// Takes the next line. Returns the start of a dump that goes over or into this line.
    fn line(&mut self, place: Place, text: &[u8]) -> Option<Place> {
        let own = |at: usize| Place {
            at: place.at + at as u64,
            line: place.line,
        };
        let lead = lead(text);
        let count = values(&text[lead..]).0.len();
        let (start, before) = self.open.unwrap_or((own(lead), 0));
        if count > 0 && before + count >= FEWEST {
            return Some(start);
        }
        if let Some(list) = lists(text).last() {
            return Some(own(list.start));
        }
        self.open = match trailing(text) {
            Some((at, count)) if at > lead => Some((own(at), count)),
            _ => (count > 0).then_some((start, before + count)),
        };
        None
    }
}

/// Where the values of a line may begin: after indentation, a comment sign, brackets, quotes.
fn lead(line: &[u8]) -> usize {
    line.iter()
        .position(|&b| b.is_ascii_alphanumeric() || b == b'\\')
        .unwrap_or(line.len())
}

/// The lists of at least [`FEWEST`] values that are somewhere in a line.
fn lists(line: &[u8]) -> impl Iterator<Item = Range<usize>> {
    long_runs(line, SHORTEST, is_listed).flat_map(move |run| {
        let mut at = word(line, run.start);
        std::iter::from_fn(move || {
            while at < run.end {
                let start = at;
                let (values, rest) = values(&line[start..]);
                at = line.len() - rest.len();
                if values.len() >= FEWEST {
                    return Some(start..at);
                }
                // Over what is no value.
                at += rest
                    .iter()
                    .position(|b| !is_between(b))
                    .unwrap_or(rest.len());
                at = word(line, at + 1);
            }
            None
        })
    })
}

/// The list that goes to the line's end: where it begins and how many values it has.
fn trailing(line: &[u8]) -> Option<(usize, usize)> {
    let end = line.iter().rposition(|b| !is_between(b))? + 1;
    let tail = end.saturating_sub(TRAIL);
    let before = line[tail..end].iter().rposition(|&b| !is_listed(b));
    let start = word(line, before.map_or(tail, |before| tail + before + 1));
    let (values, rest) = values(line.get(start..end)?);
    (!values.is_empty() && rest.is_empty()).then_some((start, values.len()))
}

/// The first position from `at` on that is not inside a word.
fn word(line: &[u8], at: usize) -> usize {
    let is_inside = |at: usize| at > 0 && line[at - 1].is_ascii_alphanumeric();
    (at..line.len())
        .find(|&at| !is_inside(at))
        .unwrap_or(line.len())
}

/// Whether lists consist of such bytes.
fn is_listed(byte: u8) -> bool {
    LISTED[usize::from(byte)]
}

static LISTED: [bool; 256] = {
    let mut listed = [false; 256];
    let mut byte = 0_u8;
    while byte < u8::MAX {
        listed[byte as usize] = byte.is_ascii_hexdigit()
            || is_between(&byte)
            || matches!(byte, b'x' | b'X' | b'\\' | b'U');
        byte += 1;
    }
    listed
};

/// The values that a line starts with, without an offset in front of them, and what follows.
fn values(line: &[u8]) -> (Vec<Value<'_>>, &[u8]) {
    let mut values = Vec::new();
    let mut rest = line;
    let (mut dump, mut has_colon) = (false, false);
    while let Some((value, tail)) = value(rest) {
        rest = tail;
        // A colon behind the first value makes it an offset, and so do digits that are no value.
        let is_offset = values.is_empty()
            && !value.prefixed
            && value.digits.len() >= 4
            && (tail.starts_with(b":") && tail[1..].starts_with(b" ")
                || matches!(value.digits.len(), 6..=8) && tail.starts_with(b" "));
        if is_offset && !dump {
            dump = true;
            has_colon = line[..line.len().min(DUMP)].contains(&b':');
        } else {
            values.push(value);
        }
        // The text column of a dump stands behind two spaces.
        let column = has_colon && tail.starts_with(b"  ") && !values.is_empty();
        if column {
            break;
        }
    }
    (values, rest)
}

/// Whether `byte` stands between values.
const fn is_between(byte: &u8) -> bool {
    matches!(
        *byte,
        b' ' | b'\t' | b',' | b';' | b':' | b'-' | b'"' | b'\'' | b'[' | b'{' | b'(' | b'\r' | b'+'
    )
}

/// The next value of a list and what follows it.
fn value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let start = text.iter().position(|b| !is_between(b))?;
    let text = &text[start..];
    let marks: [&[u8]; 4] = [b"0x", b"0X", b"\\x", b"U+"];
    let stripped = if matches!(text[0], b'0' | b'\\' | b'U') {
        marks.iter().find_map(|mark| text.strip_prefix(*mark))
    } else {
        None
    };
    let digits_on = stripped.unwrap_or(text);
    let length = digits_on
        .iter()
        .position(|b| !b.is_ascii_hexdigit())
        .unwrap_or(digits_on.len());
    let (digits, tail) = digits_on.split_at(length);
    let ends = tail
        .first()
        .is_none_or(|b| is_between(b) || matches!(b, b']' | b'}' | b')' | b'|' | b'\\'));
    let value = Value {
        digits,
        prefixed: stripped.is_some(),
    };
    (ends && (1..=16).contains(&length)).then_some((value, tail))
}

/// Whether `line` may stand within a dump: it begins with a value or an offset.
pub(crate) fn may_go_on(line: &[u8]) -> bool {
    value(&line[lead(line)..]).is_some()
}

impl Walk<'_> {
    /// Decodes the dumps in `source`, and the lists that stand behind something else in a line.
    pub(crate) fn dumps(
        &mut self,
        source: &Source<'_>,
        member: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        let mut lines = self.lines(source);
        while let Some((place, text)) = lines.next()? {
            let first = lead(text);
            for list in lists(text).filter(|list| list.start > first) {
                self.list(&values(&text[list]).0, member, place.line, depth)?;
            }
        }
        let mut lines = self.lines(source);
        let mut tracker = Tracker::default();
        while let Some((place, text)) = lines.next()? {
            if let Some(start) = tracker.line(place, text) {
                lines.seek(self.dump(source, start, member, depth)?);
                tracker = Tracker::default();
            }
        }
        Ok(())
    }

    /// Decodes the values of a list in one line, in every notation that they may be in.
    fn list(
        &mut self,
        values: &[Value<'_>],
        member: &Member,
        line: u64,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        self.budget.deadline.check()?;
        for notation in NOTATIONS {
            let mut bytes = Vec::new();
            notation.read(values, &mut bytes);
            self.decoded(
                &Source::Bytes(bytes.into()),
                notation.label(),
                member,
                line,
                depth,
            )?;
        }
        Ok(())
    }

    /// Decodes the dump that starts at `start`, in every notation that it may be
    /// in. Returns where it ends.
    fn dump(
        &mut self,
        source: &Source<'_>,
        start: Place,
        member: &Member,
        depth: Depth,
    ) -> Result<Place, DecodeError> {
        let mut end = start;
        for notation in NOTATIONS {
            let dir = self.budget.spool.clone();
            let mut out = Spool::new(&dir);
            let mut lines = Lines::new(source, start, self.budget.deadline);
            let mut bytes = Vec::new();
            while let Some((place, text)) = lines.next()? {
                let from = if place == start { 0 } else { lead(text) };
                let values = values(&text[from..]).0;
                if values.is_empty() {
                    break;
                }
                bytes.clear();
                notation.read(&values, &mut bytes);
                out.write(&bytes)?;
                end = lines.place();
            }
            if out.len() > 0 {
                self.decoded(&out.finish(), notation.label(), member, start.line, depth)?;
            }
        }
        Ok(end)
    }
}
