//! tar: ustar, GNU and pax (POSIX.1-2017, pax).

use std::ops::Range;

use tar::{Archive, Entry, EntryType, GnuHeader, Header, PaxExtensions};

use super::super::{DecodeError, Depth, Member, Walk};
use super::{add_name, named, unscannable};
use crate::scan::decode::input::{Cursor, Source, Spool};

/// Bytes that a long name or pax record may have; they are read into memory.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// Bytes that may list the holes of one sparse file, 21 in each block; they are read into memory.
const SPARSE_LIMIT: u64 = 2 << 20;

/// Where a block of them says whether one more follows (GNU tar's manual, "Basic Tar Format").
const IS_EXTENDED: usize = 504;

/// Bytes of a block: what a header takes.
const BLOCK: usize = 512;

impl Walk<'_> {
    /// Opens `source` if it is a tar and returns where its last member ends.
    pub(crate) fn tar(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<Option<u64>, DecodeError> {
        if !is_header(&source.peek(0, 512)?) {
            return Ok(None);
        }
        self.extensions(source, place)?;
        let dir = self.budget.spool.clone();
        let mut names = Spool::new(&dir);
        let packed = source.cursor(0..source.len(), self.budget.deadline);
        let mut archive = Archive::new(packed);
        archive.set_ignore_zeros(true);
        let entries = archive
            .entries_with_seek()
            .map_err(|error| damaged(place, &error))?;
        let mut end = 0;
        for entry in entries {
            let entry = entry.map_err(|error| damaged(place, &error))?;
            let opened = self.tar_entry(source, entry, place, depth, &mut names);
            end = self.go_on(opened)?.unwrap_or(end);
        }
        self.names(names, place, depth)?;
        Ok(Some(end))
    }

    /// Counts what describes the members, and refuses what is too long to be held in memory: the
    /// library reads all of it before it gives a member. The steps are the library's.
    fn extensions(&mut self, source: &Source<'_>, place: &Member) -> Result<(), DecodeError> {
        let (mut at, mut stated) = (0, None);
        loop {
            self.budget.deadline.check()?;
            let block = source.peek(at, BLOCK)?;
            at += BLOCK as u64;
            if block.len() == BLOCK && block.iter().all(|&b| b == 0) {
                continue;
            }
            // The library says what is wrong with it.
            if !is_header(&block) {
                return Ok(());
            }
            let header = Header::from_byte_slice(&block);
            let is_global = header.entry_type() == EntryType::XGlobalHeader;
            let mut size = header
                .entry_size()
                .map_err(|error| damaged(place, &error))?;
            if is_extension(header) {
                self.extension(size, place)?;
                if header.entry_type() == EntryType::XHeader {
                    stated = stated_size(&source.peek(at, usize::try_from(size).unwrap_or(0))?);
                }
            } else {
                let stated = stated.take().filter(|_| !is_global);
                size = stated.unwrap_or(size);
                at += sparse_lists(source, header, at, place)?;
            }
            let end = at.checked_add(size).unwrap_or(source.len());
            at = end.min(source.len()).next_multiple_of(BLOCK as u64);
        }
    }

    fn extension(&mut self, size: u64, place: &Member) -> Result<(), DecodeError> {
        self.count(place)?;
        self.grow(size, place)?;
        if size <= EXTENSION_LIMIT {
            return Ok(());
        }
        let problem = "a name or extended header in the tar is over 1 MiB".to_owned();
        Err(unscannable(place, problem))
    }

    fn tar_entry(
        &mut self,
        source: &Source<'_>,
        mut entry: Entry<'_, Cursor<'_>>,
        place: &Member,
        depth: Depth,
        names: &mut Spool<'_>,
    ) -> Result<u64, DecodeError> {
        let name = entry.path_bytes().into_owned();
        let member = place.inside(named(&name));
        let inner = self.enter(&member, depth)?;
        add_name(names, &name)?;
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        add_name(names, &link)?;
        let data = data_range(&entry);
        if entry.header().entry_type() == EntryType::GNUSparse {
            let dir = self.budget.spool.clone();
            let mut out = Spool::new(&dir);
            // A hole costs nothing in the archive, so only the push's size bounds it.
            let problem = self.unpack(&member, &mut entry, &|| u64::MAX, &mut out)?;
            self.content(&out.finish(), &member, inner)?;
            return problem.map_or(Ok(data.end), |error| Err(damaged(&member, &error)));
        }
        self.content(&source.part(data.clone()), &member, inner)?;
        if data.end > source.len() {
            return Err(unscannable(&member, "the tar is truncated".to_owned()));
        }
        Ok(data.end)
    }
}

fn data_range(entry: &Entry<'_, Cursor<'_>>) -> Range<u64> {
    let start = entry.raw_file_position();
    start..start.saturating_add(entry.size())
}

/// Whether `block` is the header of a member: its checksum is right. That of v7 has no magic number.
pub(crate) fn is_header(block: &[u8]) -> bool {
    if block.len() < 512 || block.iter().all(|&b| b == 0) {
        return false;
    }
    let sum: u32 = block[..148]
        .iter()
        .chain(&[b' '; 8])
        .chain(&block[156..512])
        .map(|&b| u32::from(b))
        .sum();
    Header::from_byte_slice(&block[..512])
        .cksum()
        .is_ok_and(|stated| stated == sum)
}

/// Whether `header` is not a member's, but holds what describes the next one.
fn is_extension(header: &Header) -> bool {
    let is_known = header.as_gnu().is_some() || header.as_ustar().is_some();
    let kind = header.entry_type();
    is_known && (kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions())
}

/// How many bytes at `at` list the holes of the sparse file that `header` is for.
fn sparse_lists(
    source: &Source<'_>,
    header: &Header,
    at: u64,
    place: &Member,
) -> Result<u64, DecodeError> {
    let is_sparse = header.entry_type() == EntryType::GNUSparse;
    let mut goes_on = is_sparse && header.as_gnu().is_some_and(GnuHeader::is_extended);
    let mut length = 0;
    while goes_on {
        if length == SPARSE_LIMIT {
            let problem = "a sparse file in the tar has too many holes".to_owned();
            return Err(unscannable(place, problem));
        }
        let block = source.peek(at + length, BLOCK)?;
        goes_on = block.get(IS_EXTENDED).is_some_and(|&flag| flag == 1);
        length += BLOCK as u64;
    }
    Ok(length)
}

/// The size that the pax records in `data` give to the member behind them.
fn stated_size(data: &[u8]) -> Option<u64> {
    let mut records = PaxExtensions::new(data).map_while(Result::ok);
    let size = records.find(|record| record.key() == Ok("size"))?;
    size.value().ok()?.parse().ok()
}

fn damaged(member: &Member, error: &std::io::Error) -> DecodeError {
    // The crate's message may quote a name.
    let kind = error.kind();
    unscannable(member, format!("the tar is damaged or truncated ({kind})"))
}
