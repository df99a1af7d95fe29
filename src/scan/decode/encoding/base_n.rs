//! Runs of base64 (RFC 4648, both alphabets), base32 and hex digits, wrapped or not.

mod code;
mod joint;

use self::code::{CODES, Code, ESCAPED_SLASH, Kinds, NONE};
use self::joint::joint;
use super::{Place, long_runs};
use crate::scan::decode::input::{BLOCK, Source, Spool, Window};
use crate::scan::decode::{DecodeError, Depth, Member, Walk};

/// A run on one line has at least this many digits.
const LONG: usize = 32;

/// A run over several lines has at least this many.
const WRAPPED: usize = 20;

/// Digits at a line's start that continue the line before, although more follows on the line.
const WORD: usize = 8;

/// The most bytes between two parts of a run: line ends, quotes, a comment sign, indentation.
const JOINT: usize = 96;

/// The most bytes of punctuation after the digits of a line.
const TAIL: usize = 16;

/// The longest sign of a comment or a diff that could be digits: `+`, `-`, `//`, `///`.
const MARK: usize = 3;

/// A run that the line before ended with.
#[derive(Debug, Clone, Copy)]
struct Open {
    start: Place,
    digits: usize,
    kinds: Kinds,
}

/// Follows lines and tells where a run of one code starts.
#[derive(Debug)]
struct Tracker {
    code: Code,
    open: Option<Open>,
}

impl Tracker {
    /// Takes the next line. Returns the start of a run that goes over or into this line.
    fn line(&mut self, place: Place, text: &[u8]) -> Option<Place> {
        let shape = Shape::of(text, self.code);
        if shape.blank {
            return None;
        }
        let own = |at: usize| Place {
            at: place.at + at as u64,
            line: place.line,
        };
        let lead = &text[shape.start..shape.start + shape.lead];
        let continued = self
            .open
            .filter(|open| shape.pure || (shape.lead >= WORD && open.digits >= WORD))
            .map(|open| Open {
                digits: open.digits + shape.lead,
                kinds: open.kinds.and(Kinds::of(lead)),
                ..open
            });
        if let Some(open) = continued
            && open.digits >= WRAPPED
            && open.kinds.fits(self.code)
        {
            return Some(open.start);
        }
        if let Some(at) = long_chunk(text, self.code) {
            return Some(own(at));
        }
        let trail = &text[shape.trail_at..shape.trail_at + shape.trail];
        self.open = match continued {
            Some(open) if shape.pure => Some(open),
            _ if shape.trail > 0 => Some(Open {
                start: own(shape.trail_at),
                digits: shape.trail,
                kinds: Kinds::of(trail),
            }),
            _ => None,
        };
        None
    }
}

/// Where the digits of a line are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    /// There is no letter or figure.
    blank: bool,
    /// Where the digits may begin: after indentation, a comment sign, quotes.
    start: usize,
    /// How many digits there are from `start` on.
    lead: usize,
    /// Only punctuation follows these.
    pure: bool,
    /// Where the last digits begin that only punctuation follows.
    trail_at: usize,
    /// How many these are.
    trail: usize,
}

impl Shape {
    fn of(line: &[u8], code: Code) -> Self {
        let start = prefix(line, code);
        let Some(rest) = line.get(start..).filter(|rest| !rest.is_empty()) else {
            return Self {
                blank: true,
                ..Self::default()
            };
        };
        let lead = code.chunk(rest);
        let pure = lead > 0 && is_tail(&rest[lead..]);
        let (trail_at, trail) = if pure {
            (start, lead)
        } else {
            trailing(line, code)
        };
        Self {
            blank: false,
            start,
            lead,
            pure,
            trail_at,
            trail,
        }
    }
}

/// Where the digits of a line may begin. Of the punctuation before the first letter or figure the
/// part that digits can consist of belongs to them, unless other punctuation follows it.
fn prefix(line: &[u8], code: Code) -> usize {
    let first = line
        .iter()
        .take(JOINT)
        .position(u8::is_ascii_alphanumeric)
        .unwrap_or(line.len());
    line[..first]
        .iter()
        .rposition(|&b| !code.is_digit(b))
        .map_or(0, |last| last + 1)
}

/// Whether what follows the digits of a line ends the line: padding, quotes, a comma, a literal
/// `\n`, a plus or backslash that continues it.
fn is_tail(rest: &[u8]) -> bool {
    if rest.len() > 2 * TAIL {
        return false;
    }
    let rest = rest.trim_ascii_end();
    let mut before = 0;
    rest.len() <= TAIL
        && rest.iter().all(|&b| {
            let ends = !b.is_ascii_alphanumeric() || is_line_escape(before, b);
            before = b;
            ends
        })
}

fn is_line_escape(backslash: u8, letter: u8) -> bool {
    backslash == b'\\' && matches!(letter, b'n' | b'r')
}

/// Where the last digits of a line begin that only punctuation follows, and how many they are.
fn trailing(line: &[u8], code: Code) -> (usize, usize) {
    let tail = line.len().saturating_sub(TAIL);
    let Some(last) = line[tail..].iter().rposition(u8::is_ascii_alphanumeric) else {
        return (0, 0);
    };
    let mut end = tail + last + 1;
    if end >= 2 && is_line_escape(line[end - 2], line[end - 1]) {
        end -= 2;
    }
    let start = line[..end]
        .iter()
        .rposition(|&b| !code.is_digit(b))
        .map_or(0, |before| before + 1);
    (start, end - start)
}

/// Where the first [`LONG`] digits in a row begin whose kinds fit.
fn long_chunk(line: &[u8], code: Code) -> Option<usize> {
    long_runs(line, LONG, |b| code.is_digit(b))
        .find(|run| Kinds::of(&line[run.clone()]).fits(code))
        .map(|run| run.start)
}

/// Whether `line` may stand within a run: it holds nothing else, and the next line may go on.
pub(crate) fn may_go_on(line: &[u8]) -> bool {
    let code = Code::Base64;
    let mut rest = &line[prefix(line, code)..];
    loop {
        rest = &rest[code.chunk(rest)..];
        if let Some(tail) = rest.strip_prefix(ESCAPED_SLASH) {
            rest = tail;
            continue;
        }
        match joint(rest, code) {
            Some(joint) => rest = &rest[joint.length..],
            None => {
                let next = [rest, b"\nA"].concat();
                return rest.len() < JOINT && joint(&next, code).is_some();
            }
        }
    }
}

/// One way in which a run may be meant.
#[derive(Clone, Copy)]
struct Reading {
    /// Digits to leave out at the start.
    skip: usize,
    /// Digits to leave out at the start of each further line: the sign of a comment or a diff.
    mark: usize,
    /// Whether what follows padding was encoded on its own. Padding may be there to mislead.
    anew: bool,
}

/// Reads what the digits of one run hold.
struct Decoder<'s> {
    window: Window<'s>,
    code: Code,
    table: &'static [u8; 256],
    reading: Reading,
    /// The mark of the second line.
    second: Option<usize>,
    /// Whether a line but the last is padded.
    padded: bool,
    bits: u32,
    held: u32,
    /// Line ends passed.
    lines: u64,
}

impl<'s> Decoder<'s> {
    fn new(source: &'s Source<'s>, start: u64, code: Code, reading: Reading) -> Self {
        Self {
            window: Window::new(source, start),
            code,
            table: code.values(),
            reading,
            second: None,
            padded: false,
            bits: 0,
            held: 0,
            lines: 0,
        }
    }

    /// Adds the next bytes to `out`; false at the run's end.
    fn read(&mut self, out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let text = self.window.rest(JOINT)?;
        let mut used = 0;
        for &byte in text.iter().take(BLOCK) {
            let value = self.table[usize::from(byte)];
            if value == NONE {
                break;
            }
            used += 1;
            if self.reading.skip > 0 {
                self.reading.skip -= 1;
                continue;
            }
            self.held = self.held << self.code.bits() | u32::from(value);
            self.bits += self.code.bits();
            if self.bits >= 8 {
                self.bits -= 8;
                #[expect(clippy::cast_possible_truncation, reason = "the next eight bits")]
                out.push((self.held >> self.bits) as u8);
            }
        }
        let passed = if used > 0 {
            used
        } else if text.starts_with(ESCAPED_SLASH) {
            1
        } else {
            let Some(joint) = joint(text, self.code) else {
                return Ok(false);
            };
            self.padded |= joint.padded;
            if joint.padded && self.reading.anew {
                (self.bits, self.held) = (0, 0);
            }
            self.second.get_or_insert(joint.mark);
            joint.length + joint.mark.min(self.reading.mark)
        };
        self.lines += memchr::memchr_iter(b'\n', &text[..passed]).count() as u64;
        self.window.skip(passed);
        Ok(passed > 0)
    }
}

impl Walk<'_> {
    /// Decodes the runs of every code in `source`. Each code goes through the text on its own, so
    /// that what is taken for a run of one cannot hide a run of another.
    pub(crate) fn runs(
        &mut self,
        source: &Source<'_>,
        member: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        for code in CODES {
            let mut lines = self.lines(source);
            let mut tracker = Tracker { code, open: None };
            while let Some((place, text)) = lines.next()? {
                if let Some(start) = tracker.line(place, text) {
                    lines.seek(self.run(code, source, start, member, depth)?);
                    tracker.open = None;
                }
            }
        }
        Ok(())
    }

    /// Decodes the run that starts at `start` in every [`Reading`]: punctuation at the start of the
    /// lines may belong to it or not, where the second line has any. Returns where it ends.
    fn run(
        &mut self,
        code: Code,
        source: &Source<'_>,
        start: Place,
        member: &Member,
        depth: Depth,
    ) -> Result<Place, DecodeError> {
        let mut end = start;
        let dir = self.budget.spool.clone();
        let mut block = Vec::new();
        let (mut mark, mut second) = (0, 0);
        while mark <= second {
            for skip in 0..code.alignments() {
                for anew in [true, false] {
                    let reading = Reading { skip, mark, anew };
                    let mut decoder = Decoder::new(source, start.at, code, reading);
                    let mut out = Spool::new(&dir);
                    while decoder.read(&mut block)? {
                        self.budget.deadline.check()?;
                        out.write(&block)?;
                        block.clear();
                    }
                    end = Place {
                        at: decoder.window.position(),
                        line: start.line + decoder.lines,
                    };
                    second = decoder.second.unwrap_or(0);
                    self.decoded(&out.finish(), code.label(), member, start.line, depth)?;
                    if !decoder.padded {
                        break;
                    }
                }
            }
            mark += 1;
        }
        Ok(end)
    }
}
