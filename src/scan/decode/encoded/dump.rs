//! Hex dumps as `xxd`, `hexdump` and `od` write them, and lists of byte values.

use super::super::source::{Source, Spool};
use super::super::{DecodeError, Depth, Member, Walk};
use super::{Lines, Place};

/// The fewest values on the first line of a dump.
const FEWEST: usize = 4;

/// How far into a line a list may begin, behind a name and a bracket or quote.
const BEFORE: usize = 64;

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

    /// Adds the bytes of `values` to `out`; false when one is not in this notation.
    fn read(self, values: &[Value<'_>], out: &mut Vec<u8>) -> bool {
        values.iter().all(|value| match self {
            Self::Hex => value.hex(out, false),
            Self::Swapped => value.hex(out, true),
            Self::Decimal => value.decimal(out),
            Self::Octal => value.octal(out),
        })
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
        if starts(text).any(|start| values(&text[start..]).len() >= FEWEST) {
            return Some(self.open.map_or(place, |(start, _)| start));
        }
        let count = values(text).len();
        let (start, before) = self.open.unwrap_or((place, 0));
        self.open = (count > 0).then_some((start, before + count));
        (before + count >= FEWEST)
            .then_some(start)
            .filter(|_| count > 0)
    }
}

/// Where in a line a list may begin: at its start, or behind the first bracket, quote or sign.
fn starts(line: &[u8]) -> impl Iterator<Item = usize> {
    let opener = |b: &u8| matches!(b, b'[' | b'{' | b'(' | b'"' | b'\'' | b'=' | b'>');
    let behind = line.iter().take(BEFORE).position(opener).map(|at| at + 1);
    std::iter::once(0).chain(behind)
}

/// The values that a line starts with, without an offset in front of them.
fn values(line: &[u8]) -> Vec<Value<'_>> {
    let mut values = Vec::new();
    let mut rest = line;
    let mut dump = false;
    let colon = line.contains(&b':');
    while let Some((value, tail)) = value(rest) {
        // A colon behind the first value makes it an offset, and so do digits that are no value.
        let is_offset = values.is_empty()
            && !value.prefixed
            && value.digits.len() >= 4
            && (tail.starts_with(b":") && tail[1..].starts_with(b" ")
                || matches!(value.digits.len(), 6..=8) && tail.starts_with(b" "));
        if is_offset && !dump {
            dump = true;
        } else {
            values.push(value);
        }
        // The text column of a dump stands behind two spaces.
        let column = dump && colon && tail.starts_with(b"  ") && !values.is_empty();
        if column {
            break;
        }
        rest = tail;
    }
    values
}

/// The next value of a list and what follows it.
fn value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let is_between = |b: &u8| {
        matches!(
            b,
            b' ' | b'\t'
                | b','
                | b';'
                | b':'
                | b'-'
                | b'"'
                | b'\''
                | b'['
                | b'{'
                | b'('
                | b'\r'
                | b'+'
        )
    };
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
pub(super) fn may_go_on(line: &[u8]) -> bool {
    value(line).is_some()
}

impl Walk<'_> {
    /// Decodes the dumps in `source`.
    pub(super) fn dumps(
        &mut self,
        source: &Source<'_>,
        member: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        let mut lines = Lines::new(source, Place { at: 0, line: 1 });
        let mut tracker = Tracker::default();
        while let Some((place, text)) = lines.next()? {
            if let Some(start) = tracker.line(place, text) {
                lines.seek(self.dump(source, start, member, depth)?);
                tracker = Tracker::default();
            }
        }
        Ok(())
    }

    /// Decodes the dump that starts with the line at `start`, in every notation that it may be
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
            let mut lines = Lines::new(source, start);
            let mut bytes = Vec::new();
            while let Some((place, text)) = lines.next()? {
                // Behind a bracket only on the first line; elsewhere that would be another list.
                let from = if place == start {
                    starts(text).max_by_key(|&from| values(&text[from..]).len())
                } else {
                    None
                };
                let values = values(&text[from.unwrap_or(0)..]);
                if values.is_empty() {
                    break;
                }
                bytes.clear();
                if !notation.read(&values, &mut bytes) {
                    bytes.clear();
                }
                out.write(&bytes)?;
                end = Place {
                    at: lines.window.position(),
                    line: lines.line,
                };
            }
            if out.len() > 0 {
                self.decoded(&out.finish(), notation.label(), member, start.line, depth)?;
            }
        }
        Ok(end)
    }
}
