//! zip, and what is a zip inside: jar, docx, whl (PKWARE APPNOTE 6.3.10).
//!
//! Tools differ in what they believe: the central directory, or the headers before the members. So
//! both are walked, and where they disagree about a member the file cannot be scanned.

use std::ops::Range;

use memchr::memmem::Finder;
use zip::read::{Config, ZipFileEntry};
use zip::unstable::read::ZipIterable;

use super::super::{DecodeError, Depth, Member, Walk};
use super::compression::Codec;
use super::{MAGIC, WINDOW, add_name, is_in, named, unscannable};
use crate::scan::decode::input::{Source, Spool};

/// The fixed part of the header before a member.
const LOCAL_HEADER: usize = 30;

/// The fixed part of the end record; the comment follows.
const END_RECORD: u64 = 22;

/// The header before a member.
struct LocalHeader {
    flags: u16,
    method: u16,
    packed: u32,
    name: Vec<u8>,
    data: u64,
}

impl LocalHeader {
    fn read(source: &Source<'_>, offset: u64) -> Result<Option<Self>, DecodeError> {
        let fixed = source.peek(offset, LOCAL_HEADER)?;
        if fixed.len() < LOCAL_HEADER || !fixed.starts_with(b"PK\x03\x04") {
            return Ok(None);
        }
        let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let name_at = offset + LOCAL_HEADER as u64;
        let name = source.peek(name_at, short(26).into())?;
        Ok(Some(Self {
            flags: short(6),
            method: short(8),
            packed: u32::from(short(18)) | u32::from(short(20)) << 16,
            data: name_at + u64::from(short(26)) + u64::from(short(28)),
            name,
        }))
    }

    fn is_encrypted(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether the sizes follow the data.
    fn has_descriptor(&self) -> bool {
        self.flags & 8 != 0
    }

    /// Where the data ends, if this header tells.
    fn end(&self) -> Option<u64> {
        (!self.has_descriptor() && self.packed != u32::MAX)
            .then(|| self.data + u64::from(self.packed))
    }
}

/// Where the zip ends whose end record is at `offset`.
fn end_of_record(source: &Source<'_>, offset: u64) -> Result<u64, DecodeError> {
    let record = source.peek(offset, 22)?;
    let comment = match record.get(20..22) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    };
    Ok(source.len().min(offset + END_RECORD + u64::from(comment)))
}

impl Walk<'_> {
    /// Opens every zip in `source` and adds the ranges of their members to `done`, sorted. Returns
    /// how many there are. What is inside of a member is left to the member.
    pub(crate) fn zips(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
        done: &mut Vec<Range<u64>>,
    ) -> Result<usize, DecodeError> {
        let mut count = 0;
        for record in self.end_records(source, place)? {
            if is_in(done, record) {
                continue;
            }
            let end = end_of_record(source, record)?;
            let members = self.zip(source, end, place, depth)?;
            count += usize::from(!members.is_empty());
            done.extend(members);
            done.sort_by_key(|range| range.start);
        }
        Ok(count)
    }

    /// Where end records may be, the last first. Each counts, also so that they fit into memory.
    fn end_records(
        &mut self,
        source: &Source<'_>,
        place: &Member,
    ) -> Result<Vec<u64>, DecodeError> {
        let finder = Finder::new(b"PK\x05\x06");
        let mut found = Vec::new();
        let mut start = 0;
        while start < source.len() {
            let part = source.part(start..start + (WINDOW + MAGIC) as u64);
            let records = part.with_bytes(WINDOW + MAGIC, |bytes| {
                let records = finder.find_iter(bytes).filter(|&at| at < WINDOW);
                records.map(|at| start + at as u64).collect::<Vec<_>>()
            })?;
            for record in records {
                self.count(place)?;
                found.push(record);
            }
            start += WINDOW as u64;
        }
        found.reverse();
        Ok(found)
    }

    /// Opens the zip that ends at `end`, if there is one. Returns the ranges of its members.
    fn zip(
        &mut self,
        source: &Source<'_>,
        end: u64,
        place: &Member,
        depth: Depth,
    ) -> Result<Vec<Range<u64>>, DecodeError> {
        let mut ranges = Vec::new();
        let Ok(mut zip) = ZipIterable::try_new(
            source.cursor(0..end, self.budget.deadline),
            Config::default(),
        ) else {
            return Ok(ranges);
        };
        let dir = self.budget.spool.clone();
        let mut names = Spool::new(&dir);
        let files = zip.files().map_err(|_| damaged(place))?;
        for entry in files {
            let entry = entry.map_err(|_| damaged(place))?;
            add_name(&mut names, entry.name_raw())?;
            add_name(&mut names, entry.comment_raw())?;
            let member = place.inside(named(entry.name_raw()));
            let opened = self.zip_entry(source, &entry, end, &member, depth);
            ranges.extend(self.go_on(opened)?);
        }
        self.names(names, place, depth)?;
        ranges.sort_by_key(|range| range.start);
        Ok(ranges)
    }

    /// Opens a member that the directory of the zip lists which ends at `end`. Returns its range.
    fn zip_entry(
        &mut self,
        source: &Source<'_>,
        entry: &ZipFileEntry<'_>,
        end: u64,
        member: &Member,
        depth: Depth,
    ) -> Result<Range<u64>, DecodeError> {
        let offset = entry.header_start();
        let Some(header) = LocalHeader::read(source, offset)? else {
            return Err(damaged(member));
        };
        let agrees = source.peek(entry.central_header_start() + 10, 2)?
            == header.method.to_le_bytes()
            && header.name == entry.name_raw()
            && header
                .end()
                .is_none_or(|end| end == header.data + entry.compressed_size());
        if !agrees {
            let problem = "the zip's directory and the member's own header disagree";
            return Err(unscannable(member, problem.to_owned()));
        }
        if entry.encrypted() || header.is_encrypted() {
            return Err(unscannable(member, "it is encrypted".to_owned()));
        }
        let range = header.data..header.data.saturating_add(entry.compressed_size());
        if range.end > end {
            return Err(damaged(member));
        }
        let used = self.zip_data(source, &header, range, member, depth)?;
        Ok(offset..used)
    }

    /// Opens the data of a member of a valid zip. Returns where it ends.
    fn zip_data(
        &mut self,
        source: &Source<'_>,
        header: &LocalHeader,
        data: Range<u64>,
        member: &Member,
        depth: Depth,
    ) -> Result<u64, DecodeError> {
        let inner = self.enter(member, depth)?;
        if header.method == 0 {
            self.content(&source.part(data.clone()), member, inner)?;
            return Ok(data.end);
        }
        let Some(codec) = codec(header.method) else {
            let problem = format!("its zip method {} is not supported", header.method);
            return Err(unscannable(member, problem));
        };
        let (used, problem) = self.zip_unpack(codec, source, data, member, inner)?;
        match problem {
            Some(error) => Err(unscannable(member, format!("its data is damaged: {error}"))),
            None => Ok(used),
        }
    }

    /// Unpacks `data` and walks what came out, whole or not.
    fn zip_unpack(
        &mut self,
        codec: Codec,
        source: &Source<'_>,
        data: Range<u64>,
        member: &Member,
        inner: Depth,
    ) -> Result<(u64, Option<std::io::Error>), DecodeError> {
        let packed = source.cursor(data.clone(), self.budget.deadline);
        let position = packed.position();
        let dir = self.budget.spool.clone();
        let mut out = Spool::new(&dir);
        let problem = match codec.decoder(packed) {
            Ok(mut decoder) => {
                // A member may claim to begin behind the end of what there is.
                let packed = || position.get().saturating_sub(data.start);
                self.unpack(member, &mut decoder, &packed, &mut out)?
            }
            Err(error) => Some(error),
        };
        self.fruitless(position.get().saturating_sub(data.start), &out, member)?;
        self.content(&out.finish(), member, inner)?;
        Ok((position.get(), problem))
    }

    /// Opens a member that no directory lists, by the header before it at `offset`. Returns where
    /// it ends. At the start of a file without any directory it must open.
    pub(crate) fn zip_member(
        &mut self,
        source: &Source<'_>,
        offset: u64,
        place: &Member,
        depth: Depth,
        in_zip: bool,
    ) -> Result<u64, DecodeError> {
        let next = offset + 1;
        let Some(header) = LocalHeader::read(source, offset)? else {
            return Ok(next);
        };
        let strict = offset == 0 && !in_zip && header.is_plausible();
        // As for any stream: damage of one that stands in a text as digits is no error.
        let whole = strict && depth.encodings == 0;
        let member = place.inside(named(&header.name));
        if strict && header.is_encrypted() {
            return Err(unscannable(&member, "it is encrypted".to_owned()));
        }
        // Stored data stands in the raw bytes, and what is packed in it is found there as well.
        let codec = match codec(header.method) {
            Some(codec) if !header.is_encrypted() => codec,
            _ if strict && header.method != 0 => {
                let problem = format!("its zip method {} is not supported", header.method);
                return Err(unscannable(&member, problem));
            }
            _ if whole => return Err(damaged(place)),
            _ => return Ok(next),
        };
        let inner = self.enter(&member, depth)?;
        let data = header.data..header.end().unwrap_or(source.len()).min(source.len());
        let (used, problem) = self.zip_unpack(codec, source, data, &member, inner)?;
        match problem {
            Some(_) if whole => Err(damaged(&member)),
            Some(_) => Ok(next),
            None if whole => Err(damaged(place)),
            None => Ok(used),
        }
    }
}

impl LocalHeader {
    /// Whether it is a zip's header beyond doubt: known flags and method, and a name.
    fn is_plausible(&self) -> bool {
        self.method <= 99 && !self.name.is_empty() && !self.name.contains(&0)
    }
}

/// The codec of a compression method.
fn codec(method: u16) -> Option<Codec> {
    match method {
        8 => Some(Codec::Deflate),
        12 => Some(Codec::Bzip2),
        14 => Some(Codec::ZipLzma),
        93 => Some(Codec::Zstd),
        95 => Some(Codec::Xz),
        _ => None,
    }
}

fn damaged(member: &Member) -> DecodeError {
    unscannable(member, "the zip is damaged or truncated".to_owned())
}
