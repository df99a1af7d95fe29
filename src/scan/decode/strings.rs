//! The printable strings of bytes that hold NUL bytes.
//!
//! A run of NUL bytes between two runs of text means different things: the end of a C string, the
//! upper half of a UTF-16 character, three quarters of a UTF-32 character, or a byte that somebody
//! sprinkled into a text. So the strings are read once for each meaning ([`READINGS`]); this covers
//! both byte orders at any alignment, as only the number of NUL bytes counts. A reading that joins
//! hands over only strings in which it joined something; the others stand in the first reading.

use super::input::{BLOCK, Source, Spool};
use super::{DecodeError, Depth, Member, ViewKind, Walk};

/// Bytes of text in a row that tell decoded bytes from noise; no secret is shorter.
pub(crate) const MEANINGFUL: usize = 12;

/// The shortest string that is handed over, in bytes: what every rule of gitleaks needs is longer.
pub(crate) const SHORTEST: usize = 8;

/// The most bytes of a string that are kept while nothing has been joined in it.
const UNJOINED: usize = 8 << 10;

/// One meaning of NUL runs.
struct Reading {
    /// The shortest and the longest run of NUL bytes that joins; all others separate.
    joins: (u64, u64),
    /// Whether a run of several text bytes separates too: in wide characters a neighbour outside of
    /// ASCII can look like one more letter.
    single: bool,
}

impl Reading {
    const fn new(joins: (u64, u64), single: bool) -> Self {
        Self { joins, single }
    }

    fn joins(&self, nuls: u64) -> bool {
        (self.joins.0..=self.joins.1).contains(&nuls)
    }

    /// Whether all its strings are handed over, joined or not.
    fn is_first(&self) -> bool {
        self.joins.1 == 0
    }
}

const READINGS: [Reading; 6] = [
    // Each NUL ends a string.
    Reading::new((0, 0), false),
    // UTF-16, and single NUL bytes sprinkled in.
    Reading::new((1, 1), false),
    Reading::new((1, 1), true),
    // UTF-32, and a few NUL bytes sprinkled in.
    Reading::new((1, 3), false),
    Reading::new((3, 3), true),
    // Any number of NUL bytes is nothing, as for `tr -d '\0'`.
    Reading::new((1, u64::MAX), false),
];

impl Walk<'_> {
    /// Hands over the strings of `source`, as text in which something may be encoded.
    pub(crate) fn strings(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        nul: bool,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        let place = place.read_as(ViewKind::Strings);
        // Without NUL bytes there is nothing to join.
        let readings = if nul { &READINGS[..] } else { &READINGS[..1] };
        for reading in readings {
            let dir = self.budget.spool.clone();
            let mut reader = Reader::new(reading, Spool::new(&dir));
            source.blocks(BLOCK, self.budget.deadline, |block| reader.block(block))?;
            let strings = reader.finish()?;
            if strings.len() > 0 {
                self.text(&strings, &place, depth)?;
            }
        }
        Ok(())
    }
}

/// Which bytes are text in `block`: printable ASCII, tab and line ends; and everything above ASCII
/// where hardly a control character says that the block is binary, so that an accent in UTF-8 or
/// Latin-1 does not break a line.
fn text_table(block: &[u8]) -> [bool; 256] {
    let is_ascii_text = |b: u8| matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x20..=0x7e);
    let controls = block
        .iter()
        .filter(|&&b| b != 0 && b < 0x80 && !is_ascii_text(b))
        .count();
    let high = controls * 32 <= block.len() - memchr::memchr_iter(0, block).count();
    let mut table = [false; 256];
    for byte in 0..=u8::MAX {
        table[usize::from(byte)] = is_ascii_text(byte) || (high && byte >= 0x80);
    }
    table
}

/// Whether `content` has `least` bytes of ASCII text in a row, NUL bytes left out.
pub(crate) fn has_run(content: &[u8], least: usize) -> bool {
    let mut run = 0;
    content.iter().any(|&b| {
        run = match b {
            0 => run,
            b'\t' | b'\n' | b'\r' | 0x20..=0x7e => run + 1,
            _ => 0,
        };
        run >= least
    })
}

/// Whether `content` reads as text: the same test as for a block.
pub(crate) fn is_text(content: &[u8]) -> bool {
    text_table(content)[usize::from(u8::MAX)]
}

/// Follows one reading.
struct Reader<'a> {
    reading: &'static Reading,
    out: Spool<'a>,
    /// NUL bytes since the last text.
    nuls: u64,
    /// The current string, while it is not known whether it is handed over.
    pending: Vec<u8>,
    /// Whether the current string is what this reading is for.
    joined: bool,
    /// Whether the current string is being handed over.
    open: bool,
}

impl<'a> Reader<'a> {
    fn new(reading: &'static Reading, out: Spool<'a>) -> Self {
        Self {
            reading,
            out,
            nuls: 0,
            pending: Vec::new(),
            joined: reading.is_first(),
            open: false,
        }
    }

    /// Splits `block` into runs of text, of NUL bytes and of others.
    fn block(&mut self, block: &[u8]) -> Result<(), DecodeError> {
        let is_text = text_table(block);
        let mut rest = block;
        while let Some(&first) = rest.first() {
            let length = if first == 0 {
                let length = rest.iter().position(|&b| b != 0).unwrap_or(rest.len());
                self.nuls += length as u64;
                length
            } else if is_text[usize::from(first)] {
                let length = rest
                    .iter()
                    .position(|&b| !is_text[usize::from(b)])
                    .unwrap_or(rest.len());
                self.text(&rest[..length])?;
                length
            } else {
                self.separate()?;
                rest.iter()
                    .position(|&b| b == 0 || is_text[usize::from(b)])
                    .unwrap_or(rest.len())
            };
            rest = &rest[length..];
        }
        Ok(())
    }

    /// A run of text after `self.nuls` NUL bytes.
    fn text(&mut self, run: &[u8]) -> Result<(), DecodeError> {
        let nuls = std::mem::take(&mut self.nuls);
        if nuls > 0 && self.reading.joins(nuls) {
            self.joined |= !self.pending.is_empty();
        } else if nuls > 0 {
            self.separate()?;
        }
        match run {
            [first, .., last] if self.reading.single => {
                self.append(&[*first])?;
                self.separate()?;
                self.append(&[*last])
            }
            _ => self.append(run),
        }
    }

    fn append(&mut self, run: &[u8]) -> Result<(), DecodeError> {
        if self.open {
            return self.out.write(run);
        }
        self.pending.extend_from_slice(run);
        if self.joined && self.pending.len() >= SHORTEST {
            self.open = true;
            self.out.write(&self.pending)?;
            self.pending.clear();
        } else if self.pending.len() > 2 * UNJOINED {
            self.pending.drain(..self.pending.len() - UNJOINED);
        }
        Ok(())
    }

    /// Ends the current string.
    fn separate(&mut self) -> Result<(), DecodeError> {
        if self.open {
            self.out.write(b"\n")?;
        }
        self.nuls = 0;
        self.open = false;
        self.joined = self.reading.is_first();
        self.pending.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Source<'static>, DecodeError> {
        self.separate()?;
        Ok(self.out.finish())
    }
}
