//! Looks for archives in content, opens them, and counts what comes out.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::compression::{self, Codec};
use super::{closed, tar};
use crate::scan::decode::input::{BLOCK, Source, Spool};
use crate::scan::decode::{DecodeError, Depth, Member, Step, ViewKind, Walk};

/// Bytes of content that are searched for magic numbers at a time.
pub(super) const WINDOW: usize = 1 << 20;

/// The longest magic number, with what stands before it in the header.
pub(super) const MAGIC: usize = 16;

/// Bytes of the shortest archive that holds a token.
const SHORTEST: usize = 32;

/// What a magic number announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Compressed(Codec),
    /// A stream whose header is no proof.
    Guessed(Codec),
    ZipMember,
    Pack,
    /// What standard tools open, behind a program, and this gate does not.
    Closed,
}

/// The magic numbers that are looked for anywhere in content, and how far into the format's header
/// they stand.
const MAGICS: [(Format, usize, &[u8]); 14] = [
    (Format::Compressed(Codec::Gzip), 0, b"\x1f\x8b\x08"),
    (Format::Compressed(Codec::Bzip2), 4, b"1AY&SY"),
    (Format::Compressed(Codec::Xz), 0, b"\xfd7zXZ\0"),
    (Format::Compressed(Codec::Zstd), 0, b"\x28\xb5\x2f\xfd"),
    (Format::Compressed(Codec::Lzip), 0, b"LZIP\x01"),
    (Format::ZipMember, 0, b"PK\x03\x04"),
    (Format::Pack, 0, b"PACK\0\0\0"),
    // The four levels of zlib with a window of 32 KiB.
    (Format::Guessed(Codec::Zlib), 0, b"\x78\x01"),
    (Format::Guessed(Codec::Zlib), 0, b"\x78\x5e"),
    (Format::Guessed(Codec::Zlib), 0, b"\x78\x9c"),
    (Format::Guessed(Codec::Zlib), 0, b"\x78\xda"),
    (Format::Guessed(Codec::Lzma), 0, b"\x5d\0\0"),
    (Format::Closed, 0, closed::SEVEN_ZIP),
    (Format::Closed, 0, closed::SQUASHFS),
];

/// Formats that standard tools open and this gate does not.
const UNREADABLE: [(&str, &[u8]); 9] = [
    ("a 7z archive", closed::SEVEN_ZIP),
    ("a RAR archive", b"Rar!\x1a\x07"),
    ("an LZ4 file", b"\x04\x22\x4d\x18"),
    ("an LZOP file", b"\x89LZO\0\r\n\x1a\n"),
    ("a Cabinet archive", b"MSCF\0\0\0\0"),
    ("a framed Snappy file", b"\xff\x06\0\0sNaPpY"),
    ("a squashfs image", closed::SQUASHFS),
    ("a xar archive", b"xar!"),
    ("an lrzip file", b"LRZI"),
];

static FINDERS: LazyLock<[Finder<'static>; MAGICS.len()]> =
    LazyLock::new(|| MAGICS.map(|(_, _, magic)| Finder::new(magic)));

/// A place in content that carries a magic number.
struct Candidate {
    format: Format,
    offset: u64,
}

impl Walk<'_> {
    /// Opens every archive in `source`.
    pub(crate) fn archives(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        let head = source.peek(0, 512)?;
        // Programs hold magic numbers as lists of values.
        if depth.encodings == 0 || head.len() >= SHORTEST {
            refuse_unreadable(&head, place)?;
        }
        // Behind frames that decoders pass over begins what the file is.
        let behind = compression::after_skippable(source, 0)?;
        if behind > 0 {
            self.archives(&source.part(behind..source.len()), place, depth)?;
        }
        let mut done = Vec::new();
        if let Some(end) = self.tar(source, place, depth)? {
            done.push(0..end);
        }
        let zips = self.zips(source, place, depth, &mut done)?;
        if Codec::Lzma.starts(&head) {
            // Its decoder reads on past the end: what follows is looked for in all of it.
            self.compressed(Codec::Lzma, source, 0, place, depth)?;
        } else if Codec::Zlib.starts(&head) {
            done.push(0..self.compressed(Codec::Zlib, source, 0, place, depth)?);
        } else if compression::is_deflated_text(&head) {
            self.guessed(Codec::Deflate, source, 0, place, depth)?;
        }
        done.sort_by_key(|range| range.start);
        self.embedded(source, place, depth, done, zips > 0)
    }

    /// Opens what starts with a magic number outside of the ranges `done`, which are sorted.
    fn embedded(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
        done: Vec<Range<u64>>,
        in_zip: bool,
    ) -> Result<(), DecodeError> {
        let (mut start, mut skip) = (0, 0);
        while start < source.len() {
            let part = source.part(start..start + (WINDOW + MAGIC) as u64);
            let found = part.with_bytes(WINDOW + MAGIC, |bytes| candidates(bytes, start))?;
            for candidate in found {
                if candidate.offset < skip || is_in(&done, candidate.offset) {
                    continue;
                }
                let end = self.candidate(&candidate, source, place, depth, in_zip);
                skip = skip.max(self.go_on(end)?.unwrap_or(candidate.offset + 1));
            }
            start += WINDOW as u64;
        }
        Ok(())
    }

    /// Opens what `candidate` announces. Returns where it ends.
    fn candidate(
        &mut self,
        candidate: &Candidate,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
        in_zip: bool,
    ) -> Result<u64, DecodeError> {
        self.budget.deadline.check()?;
        let offset = candidate.offset;
        match candidate.format {
            Format::Compressed(codec) if codec.starts(&source.peek(offset, 32)?) => {
                self.compressed(codec, source, offset, place, depth)
            }
            Format::Guessed(codec) if codec.starts(&source.peek(offset, 32)?) => {
                self.guessed(codec, source, offset, place, depth)
            }
            Format::Compressed(_) | Format::Guessed(_) => Ok(offset),
            Format::Closed => closed::refuse(source, offset, place).map(|()| offset),
            Format::ZipMember => self.zip_member(source, offset, place, depth, in_zip),
            Format::Pack => self.pack(source, offset, place, depth),
        }
    }

    /// Counts one member of an archive, which is at `depth`.
    pub(super) fn enter(&mut self, member: &Member, depth: Depth) -> Result<Depth, DecodeError> {
        let limit = self.budget.limits.archive_depth;
        if depth.archives >= limit {
            let what = "archives are nested too deep";
            return Err(bound(what, "archiveDepth", limit, member));
        }
        self.count(member)?;
        Ok(Depth {
            archives: depth.archives + 1,
            ..depth
        })
    }

    /// Counts an entry, or an attempt to open one, which costs something too.
    pub(super) fn count(&mut self, member: &Member) -> Result<(), DecodeError> {
        let limit = self.budget.limits.archive_entries;
        self.budget.entries += 1;
        if self.budget.entries > limit {
            let what = "the push's archives hold too many entries";
            return Err(bound(what, "archiveEntries", limit, member));
        }
        Ok(())
    }

    /// Counts unpacked bytes.
    pub(super) fn grow(&mut self, bytes: u64, member: &Member) -> Result<(), DecodeError> {
        let limit = self.budget.limits.archive_size;
        self.budget.size = self.budget.size.saturating_add(bytes);
        if self.budget.size > limit {
            let what = "the push's archives unpack to too much";
            return Err(bound(what, "archiveSize", limit, member));
        }
        Ok(())
    }

    /// Counts what a decoder `read` beyond what it wrote, as if that had come out: of many false starts
    /// each may read all that follows and give nothing.
    pub(super) fn fruitless(
        &mut self,
        read: u64,
        out: &Spool<'_>,
        member: &Member,
    ) -> Result<(), DecodeError> {
        self.grow(read.saturating_sub(out.len()), member)
    }

    /// Unpacks `reader` into `out` and returns the decoder's own error, if any: what came before
    /// it is in `out`. `packed` tells how many bytes were read so far.
    pub(super) fn unpack(
        &mut self,
        member: &Member,
        reader: &mut dyn Read,
        packed: &dyn Fn() -> u64,
        out: &mut Spool<'_>,
    ) -> Result<Option<io::Error>, DecodeError> {
        let mut block = vec![0; BLOCK];
        loop {
            self.budget.deadline.check()?;
            let n = match reader.read(&mut block) {
                Ok(0) => return Ok(None),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(error)),
            };
            self.grow(n as u64, member)?;
            out.write(&block[..n])?;
            let ratio = self.budget.limits.archive_ratio;
            if out.len() > packed().saturating_mul(ratio).max(1 << 20) {
                let what = "a member unpacks to too many times its size";
                return Err(bound(what, "archiveRatio", ratio, member));
            }
        }
    }

    /// Hands over the names and comments of the archive at `place`, one a line.
    pub(super) fn names(
        &mut self,
        names: Spool<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<(), DecodeError> {
        self.text(&names.finish(), &place.read_as(ViewKind::Names), depth)
    }
}

/// Adds `name` to an archive's names.
pub(super) fn add_name(names: &mut Spool<'_>, name: &[u8]) -> Result<(), DecodeError> {
    if name.is_empty() {
        return Ok(());
    }
    names.write(name)?;
    names.write(b"\n")
}

/// Whether there may be an archive in `bytes`, so that it is worth a closer look.
pub(crate) fn may_hold(bytes: &[u8]) -> bool {
    let heads = [Codec::Lzma, Codec::Zlib];
    heads.iter().any(|codec| codec.starts(bytes))
        || tar::is_header(bytes)
        || compression::is_deflated_text(bytes)
        || UNREADABLE.iter().any(|(_, magic)| bytes.starts_with(magic))
        || FINDERS.iter().any(|finder| finder.find(bytes).is_some())
}

/// The candidates in `bytes`, which start at `start`, in order.
fn candidates(bytes: &[u8], start: u64) -> Vec<Candidate> {
    let mut found = Vec::new();
    for ((format, before, _), finder) in MAGICS.iter().zip(FINDERS.iter()) {
        for at in finder.find_iter(bytes) {
            // What starts in the overlap is found again in the next window.
            if let Some(offset) = at.checked_sub(*before)
                && offset < WINDOW
            {
                found.push(Candidate {
                    format: *format,
                    offset: start + offset as u64,
                });
            }
        }
    }
    found.sort_by_key(|candidate| candidate.offset);
    found
}

/// Whether `offset` is in one of the sorted `ranges`.
pub(super) fn is_in(ranges: &[Range<u64>], offset: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= offset);
    after > 0 && ranges[after - 1].contains(&offset)
}

fn refuse_unreadable(head: &[u8], place: &Member) -> Result<(), DecodeError> {
    let known = UNREADABLE.iter().find(|(_, magic)| head.starts_with(magic));
    // compress(1): the third byte holds the width of its codes, 9 to 16 bits, and a flag.
    let compress = matches!(head, [0x1f, 0x9d, bits, ..] if matches!(bits & 0x7f, 9..=16));
    match known {
        Some((what, _)) => Err(unscannable(
            place,
            format!("it is {what}, which the gate cannot open"),
        )),
        None if compress => Err(unscannable(
            place,
            "it is a compress (.Z) file, which the gate cannot open".to_owned(),
        )),
        None => Ok(()),
    }
}

fn bound(bound: &'static str, setting: &'static str, limit: u64, member: &Member) -> DecodeError {
    DecodeError::Bound {
        bound,
        setting,
        limit,
        member: member.clone(),
    }
}

pub(crate) fn unscannable(member: &Member, problem: String) -> DecodeError {
    DecodeError::Unscannable {
        member: member.clone(),
        problem,
    }
}

/// A name from an archive as a step.
pub(super) fn named(name: &[u8]) -> Step {
    Step::Name(String::from_utf8_lossy(name).into_owned())
}
