//! Content of any size: in memory while it is small, else in a file without a name.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::rc::Rc;

use super::{DecodeError, MEMORY_LIMIT};
use crate::deadline::Deadline;

/// Bytes read at a time.
pub(crate) const BLOCK: usize = 64 << 10;

/// Bytes that a [`Cursor`] holds.
const CURSOR_BUFFER: usize = 16 << 10;

/// Content that can be read from any position.
pub(crate) enum Source<'a> {
    /// In memory.
    Bytes(Cow<'a, [u8]>),
    /// A range of an unlinked file.
    File { file: Rc<File>, range: Range<u64> },
}

/// What a first look at content tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Survey {
    /// There are NUL bytes.
    pub(crate) nul: bool,
    /// There are only bytes of ASCII.
    pub(crate) ascii: bool,
}

impl Source<'_> {
    /// Reads `stream` to its end.
    pub(crate) fn load(
        stream: &mut dyn Read,
        spool: &Path,
    ) -> Result<Source<'static>, DecodeError> {
        let mut writer = Spool::new(spool);
        let mut block = vec![0; BLOCK];
        loop {
            match stream.read(&mut block) {
                Ok(0) => return Ok(writer.finish()),
                Ok(n) => writer.write(&block[..n])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DecodeError::Read(error)),
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.end - range.start,
        }
    }

    /// The part of it in `range`, as far as there is any, without a copy.
    pub(crate) fn part(&self, range: Range<u64>) -> Source<'_> {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        match self {
            Self::Bytes(bytes) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(bytes.len());
                Source::Bytes(Cow::Borrowed(&bytes[index(start)..index(end)]))
            }
            Self::File { file, range } => Source::File {
                file: Rc::clone(file),
                range: range.start + start..range.start + end,
            },
        }
    }

    /// Fills `buffer` from `offset` on as far as there are bytes.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
                (&bytes[start..]).read(buffer)
            }
            Self::File { file, range } => {
                let left = self.len().saturating_sub(offset);
                let wanted = usize::try_from(left).map_or(buffer.len(), |n| n.min(buffer.len()));
                let mut filled = 0;
                while filled < wanted {
                    let at = range.start + offset + filled as u64;
                    match file.read_at(&mut buffer[filled..wanted], at) {
                        Ok(0) => break,
                        Ok(n) => filled += n,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(filled)
            }
        }
    }

    /// The `count` bytes from `offset` on, or fewer at the end.
    pub(crate) fn peek(&self, offset: u64, count: usize) -> Result<Vec<u8>, DecodeError> {
        let mut head = vec![0; count];
        let filled = self.read_at(&mut head, offset).map_err(DecodeError::Read)?;
        head.truncate(filled);
        Ok(head)
    }

    /// Calls `with` with its first `count` bytes, or all when there are fewer; without a copy where
    /// they are in memory.
    pub(crate) fn with_bytes<T>(
        &self,
        count: usize,
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, DecodeError> {
        Ok(match self {
            Self::Bytes(bytes) => with(&bytes[..count.min(bytes.len())]),
            Self::File { .. } => with(&self.peek(0, count)?),
        })
    }

    /// Calls `each` with consecutive parts of at most `size` bytes, until `deadline`.
    pub(crate) fn blocks(
        &self,
        size: usize,
        deadline: Deadline,
        mut each: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut each = |block: &[u8]| {
            deadline.check()?;
            each(block)
        };
        if let Self::Bytes(bytes) = self {
            return bytes.chunks(size).try_for_each(each);
        }
        let mut block = vec![0; size];
        let mut offset = 0;
        loop {
            let n = self
                .read_at(&mut block, offset)
                .map_err(DecodeError::Read)?;
            if n == 0 {
                return Ok(());
            }
            each(&block[..n])?;
            offset += n as u64;
        }
    }

    pub(crate) fn survey(&self, deadline: Deadline) -> Result<Survey, DecodeError> {
        let mut survey = Survey {
            nul: false,
            ascii: true,
        };
        self.blocks(BLOCK, deadline, |block| {
            survey.nul = survey.nul || memchr::memchr(0, block).is_some();
            survey.ascii = survey.ascii && block.is_ascii();
            Ok(())
        })?;
        Ok(survey)
    }

    /// A reader over `range`, which fails once `deadline` is over.
    pub(crate) fn cursor(&self, range: Range<u64>, deadline: Deadline) -> Cursor<'_> {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        Cursor {
            source: self,
            range: start..end,
            next: start,
            buffer: Vec::new(),
            used: 0,
            position: Rc::new(Cell::new(start)),
            deadline,
        }
    }
}

/// Reads a range of a source, buffered. Its position can be asked for while a decoder owns it.
pub(crate) struct Cursor<'s> {
    source: &'s Source<'s>,
    range: Range<u64>,
    /// Where the buffer ends in the source.
    next: u64,
    buffer: Vec<u8>,
    used: usize,
    position: Rc<Cell<u64>>,
    deadline: Deadline,
}

impl Cursor<'_> {
    /// Where in the source the next byte comes from, now and later.
    pub(crate) fn position(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.position)
    }
}

impl BufRead for Cursor<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() {
            // A decoder may read on for long before anything comes out of it.
            let over = |missed| io::Error::new(io::ErrorKind::TimedOut, missed);
            self.deadline.check().map_err(over)?;
            let left = self.range.end - self.next;
            let wanted = usize::try_from(left).map_or(CURSOR_BUFFER, |n| n.min(CURSOR_BUFFER));
            self.buffer.resize(wanted, 0);
            let filled = self.source.read_at(&mut self.buffer, self.next)?;
            self.buffer.truncate(filled);
            self.used = 0;
            self.next += filled as u64;
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
        self.position.set(self.position.get() + count as u64);
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

/// Positions count from the start of the range.
impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let wanted = match to {
            SeekFrom::Start(at) => self.range.start.checked_add(at),
            SeekFrom::End(by) => self.range.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.get().checked_add_signed(by),
        };
        let wanted = wanted
            .filter(|&at| at >= self.range.start)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let at = wanted.min(self.range.end);
        self.position.set(at);
        self.next = at;
        self.buffer.clear();
        self.used = 0;
        Ok(wanted - self.range.start)
    }
}

/// Bytes that a [`Window`] over a file holds.
const WINDOW: usize = 256 << 10;

/// Goes forward through a source and looks ahead, without a copy where it is in memory.
pub(crate) struct Window<'s> {
    source: &'s Source<'s>,
    /// Where `bytes` start in the source.
    base: u64,
    bytes: Cow<'s, [u8]>,
    at: usize,
}

impl<'s> Window<'s> {
    pub(crate) fn new(source: &'s Source<'s>, at: u64) -> Self {
        let mut window = Self {
            source,
            base: 0,
            bytes: match source {
                Source::Bytes(bytes) => Cow::Borrowed(bytes),
                Source::File { .. } => Cow::Owned(Vec::new()),
            },
            at: 0,
        };
        window.seek(at);
        window
    }

    /// Where in the source it is.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(crate) fn seek(&mut self, to: u64) {
        let inside = to
            .checked_sub(self.base)
            .and_then(|at| usize::try_from(at).ok())
            .filter(|&at| at <= self.bytes.len());
        if let Some(at) = inside {
            self.at = at;
        } else {
            self.base = to;
            self.bytes = Cow::Owned(Vec::new());
            self.at = 0;
        }
    }

    /// What comes next: at least `wanted` bytes, unless the source ends before.
    pub(crate) fn rest(&mut self, wanted: usize) -> Result<&[u8], DecodeError> {
        let end = self.base + self.bytes.len() as u64;
        if self.bytes.len() - self.at < wanted && end < self.source.len() {
            self.base = self.position();
            self.bytes = Cow::Owned(self.source.peek(self.base, WINDOW.max(wanted))?);
            self.at = 0;
        }
        Ok(&self.bytes[self.at..])
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.at = self.bytes.len().min(self.at + count);
    }

    /// The rest of the line with its line end, or as many whole words of it as the window holds, what
    /// stands between two of them with the second. Empty at the end of the source.
    pub(crate) fn take_line(&mut self) -> Result<&[u8], DecodeError> {
        let line_end = |bytes: &[u8]| memchr::memchr(b'\n', bytes).map(|at| at + 1);
        let length = match line_end(self.rest(1)?) {
            Some(length) => length,
            None => {
                let rest = self.rest(WINDOW)?;
                line_end(rest).unwrap_or_else(|| words(rest))
            }
        };
        let start = self.at;
        self.skip(length);
        Ok(&self.bytes[start..start + length])
    }
}

/// How many bytes of a line are whole words, if it is so long that it is taken in parts.
fn words(line: &[u8]) -> usize {
    let between = |&at: &usize| at > 0 && line.len() >= WINDOW;
    line.iter()
        .rposition(|b| !b.is_ascii_alphanumeric())
        .filter(between)
        .unwrap_or(line.len())
}

/// A file without a name in `dir`, which is made when it is not there.
pub(crate) fn temporary(dir: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => tempfile::tempfile_in(dir),
    }
}

/// Collects content of unknown size.
pub(crate) struct Spool<'a> {
    dir: &'a Path,
    memory: Vec<u8>,
    file: Option<(File, u64)>,
}

impl<'a> Spool<'a> {
    pub(crate) fn new(dir: &'a Path) -> Self {
        Self {
            dir,
            memory: Vec::new(),
            file: None,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.file.is_none() && self.memory.len() + bytes.len() <= MEMORY_LIMIT {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        if self.file.is_none() {
            let mut file = temporary(self.dir).map_err(DecodeError::Spool)?;
            file.write_all(&self.memory).map_err(DecodeError::Spool)?;
            self.file = Some((file, self.memory.len() as u64));
            self.memory = Vec::new();
        }
        if let Some((file, len)) = &mut self.file {
            file.write_all(bytes).map_err(DecodeError::Spool)?;
            *len += bytes.len() as u64;
        }
        Ok(())
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        match &self.file {
            Some((_, len)) => *len,
            None => self.memory.len() as u64,
        }
    }

    pub(crate) fn finish(self) -> Source<'static> {
        match self.file {
            Some((file, len)) => Source::File {
                file: Rc::new(file),
                range: 0..len,
            },
            None => Source::Bytes(self.memory.into()),
        }
    }
}
