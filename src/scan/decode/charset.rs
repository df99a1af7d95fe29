//! Text in pieces, and UTF-16 and UTF-32 made UTF-8.

use super::input::{BLOCK, Source, Spool};
use super::pem;
use super::{DecodeError, Depth, Member, OVERLAP, PIECE, ViewKind, Walk};

/// Cuts `text`, whose first line is `first_line`, into pieces as [`super::Sink::text`] takes them.
pub fn pieces<E>(
    text: &[u8],
    first_line: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut rest, mut line) = (text, first_line);
    while rest.len() > PIECE {
        let (end, next) = cut(&rest[..PIECE]);
        each(line, &rest[..end])?;
        line += newlines(&rest[..next]);
        rest = &rest[next..];
    }
    if rest.is_empty() {
        return Ok(());
    }
    each(line, rest)
}

/// Where a piece that starts a full window ends, and where the next one starts: at line starts
/// unless a line is longer than the overlap, and with the whole of a block that is cut, unless it is
/// longer than a piece.
fn cut(window: &[u8]) -> (usize, usize) {
    let lowest = OVERLAP + 1;
    let end = memchr::memrchr(b'\n', &window[lowest..]).map_or(window.len(), |at| lowest + at + 1);
    let shared = end - OVERLAP;
    let next = if window[shared - 1] == b'\n' {
        shared
    } else {
        memchr::memchr(b'\n', &window[shared..end - 1]).map_or(shared, |at| shared + at + 1)
    };
    let whole = pem::open(&window[..end]).filter(|&start| start > 0);
    (end, whole.map_or(next, |start| start.min(next)))
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// One view that is written bit by bit and handed over in pieces.
pub(crate) struct Pieces {
    buffer: Vec<u8>,
    /// How much of the buffer was in the piece before.
    shared: usize,
    line: u64,
}

/// Takes a piece and the number of its first line.
type Each<'e> = &'e mut dyn FnMut(u64, &[u8]) -> Result<(), DecodeError>;

impl Pieces {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            shared: 0,
            line: 1,
        }
    }

    pub(crate) fn write(&mut self, mut text: &[u8], each: Each<'_>) -> Result<(), DecodeError> {
        while !text.is_empty() {
            // A full buffer is cut only when more follows.
            if self.buffer.len() == PIECE {
                let (end, next) = cut(&self.buffer);
                each(self.line, &self.buffer[..end])?;
                self.line += newlines(&self.buffer[..next]);
                self.buffer.drain(..next);
                self.shared = end - next;
            }
            let taken = text.len().min(PIECE - self.buffer.len());
            self.buffer.extend_from_slice(&text[..taken]);
            text = &text[taken..];
        }
        Ok(())
    }

    pub(crate) fn finish(self, each: Each<'_>) -> Result<(), DecodeError> {
        if self.buffer.len() > self.shared {
            each(self.line, &self.buffer)?;
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// Hands over the text `source` as it is, and what is encoded in it.
    pub(crate) fn text(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        if let Source::Bytes(bytes) = source {
            pieces(bytes, 1, |line, text| self.piece(place, line, text, depth))?;
        } else {
            let mut view = Pieces::new();
            source.blocks(BLOCK, self.budget.deadline, |block| {
                view.write(block, &mut |line, text| {
                    self.piece(place, line, text, depth)
                })
            })?;
            view.finish(&mut |line, text| self.piece(place, line, text, depth))?;
        }
        self.encoded(source, place, depth)
    }

    fn piece(
        &mut self,
        place: &Member,
        line: u64,
        text: &[u8],
        depth: Depth,
    ) -> Result<(), DecodeError> {
        self.budget.deadline.check()?;
        self.sink.text(place, line, text)?;
        if text.len() > OVERLAP
            && let Some(head) = pem::head(text)
        {
            self.sink.text(place, line, &head)?;
        }
        self.escapes(text, place, line, depth)
    }

    /// Hands over `source` as UTF-16 or UTF-32, where its start says that it is.
    pub(crate) fn unicode(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        let Some(layout) = layout(&source.peek(0, 4096)?) else {
            return Ok(());
        };
        let kind = if layout.width == 2 {
            ViewKind::Utf16
        } else {
            ViewKind::Utf32
        };
        let mut skip = layout.skip;
        let mut decoder = Decoder::new(layout);
        let mut text = String::with_capacity(BLOCK);
        let dir = self.budget.spool.clone();
        let mut out = Spool::new(&dir);
        source.blocks(BLOCK, self.budget.deadline, |block| {
            text.clear();
            let start = std::mem::take(&mut skip).min(block.len());
            decoder.push(&block[start..], &mut text);
            out.write(text.as_bytes())
        })?;
        self.text(&out.finish(), &place.read_as(kind), depth)
    }
}

/// How a text's characters are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    width: usize,
    big_endian: bool,
    /// Bytes before the first unit.
    skip: usize,
}

/// A byte order mark, or statistics: text in wide characters has its NUL bytes in the same places
/// of every character.
fn layout(head: &[u8]) -> Option<Layout> {
    let found = |width, big_endian, skip| {
        Some(Layout {
            width,
            big_endian,
            skip,
        })
    };
    match head {
        [0xff, 0xfe, 0, 0, ..] => return found(4, false, 4),
        [0, 0, 0xfe, 0xff, ..] => return found(4, true, 4),
        [0xff, 0xfe, ..] => return found(2, false, 2),
        [0xfe, 0xff, ..] => return found(2, true, 2),
        _ => {}
    }
    let nuls = |width: usize, place: usize| {
        let units = (head.len() / width).max(1);
        let count = head
            .iter()
            .skip(place)
            .step_by(width)
            .filter(|&&b| b == 0)
            .count();
        count * 100 / units
    };
    let candidates = [
        (4, false, [0, 1, 2, 3]),
        (4, true, [3, 2, 1, 0]),
        (2, false, [0, 1, 0, 1]),
        (2, true, [1, 0, 1, 0]),
    ];
    for (width, big_endian, [low, _, _, high]) in candidates {
        let (filled, empty) = (nuls(width, low), nuls(width, high));
        let fits = if width == 4 {
            let middle = if big_endian { 1 } else { 2 };
            filled < 5 && empty > 90 && nuls(4, middle) > 80
        } else {
            filled < 5 && empty > 20
        };
        if fits {
            return found(width, big_endian, 0);
        }
    }
    None
}

/// Decodes wide characters part by part. What is no character becomes U+FFFD.
struct Decoder {
    layout: Layout,
    /// The bytes of a unit that the part before began.
    partial: Vec<u8>,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

impl Decoder {
    fn new(layout: Layout) -> Self {
        Self {
            layout,
            partial: Vec::new(),
            high: None,
        }
    }

    fn push(&mut self, mut bytes: &[u8], out: &mut String) {
        let width = self.layout.width;
        if !self.partial.is_empty() {
            let taken = bytes.len().min(width - self.partial.len());
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.partial.len() < width {
                return;
            }
            let unit = std::mem::take(&mut self.partial);
            self.unit(&unit, out);
        }
        let units = bytes.chunks_exact(width);
        self.partial.extend_from_slice(units.remainder());
        units.for_each(|unit| self.unit(unit, out));
    }

    fn unit(&mut self, unit: &[u8], out: &mut String) {
        let fold = |value: u32, byte: &u8| value << 8 | u32::from(*byte);
        let value = if self.layout.big_endian {
            unit.iter().fold(0, fold)
        } else {
            unit.iter().rev().fold(0, fold)
        };
        if self.layout.width == 4 {
            out.push(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER));
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "two bytes")]
        let value = value as u16;
        match (self.high.take(), value) {
            (None, 0xd800..=0xdbff) => self.high = Some(value),
            (Some(high), _) => {
                for c in char::decode_utf16([high, value]) {
                    out.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
            (None, _) => {
                out.push(char::from_u32(value.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
    }
}
