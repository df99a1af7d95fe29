//! tar: ustar, GNU and pax (POSIX.1-2017, pax).

use std::ops::Range;

use tar::{Archive, Entry, EntryType, Header};

use super::super::source::{Cursor, Source, Spool};
use super::super::{DecodeError, Depth, Member, Walk};
use super::{add_name, named, unscannable};
use crate::deadline::Deadline;

/// Bytes that a long name or pax record may have; they are read into memory.
const EXTENSION_LIMIT: u64 = 1 << 20;

impl Walk<'_> {
    /// Opens `source` if it is a tar and returns where its last member ends.
    pub(super) fn tar(
        &mut self,
        source: &Source<'_>,
        place: &Member,
        depth: Depth,
    ) -> Result<Option<u64>, DecodeError> {
        if !is_header(&source.peek(0, 512)?) {
            return Ok(None);
        }
        check_extensions(source, place, self.budget.deadline)?;
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
            end = self.tar_entry(source, entry, place, depth, &mut names)?;
        }
        self.names(names, place, depth)?;
        Ok(Some(end))
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
pub(super) fn is_header(block: &[u8]) -> bool {
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

/// Refuses names that are too long to be held in memory.
fn check_extensions(
    source: &Source<'_>,
    place: &Member,
    deadline: Deadline,
) -> Result<(), DecodeError> {
    let mut archive = Archive::new(source.cursor(0..source.len(), deadline));
    archive.set_ignore_zeros(true);
    let entries = archive
        .entries_with_seek()
        .map_err(|error| damaged(place, &error))?;
    for entry in entries.raw(true) {
        let entry = entry.map_err(|error| damaged(place, &error))?;
        let is_extension = matches!(
            entry.header().entry_type(),
            EntryType::GNULongName
                | EntryType::GNULongLink
                | EntryType::XHeader
                | EntryType::XGlobalHeader
        );
        if is_extension && entry.size() > EXTENSION_LIMIT {
            let problem = "a name or extended header in the tar is over 1 MiB".to_owned();
            return Err(unscannable(place, problem));
        }
    }
    Ok(())
}

fn damaged(member: &Member, error: &std::io::Error) -> DecodeError {
    // The crate's message may quote a name.
    let kind = error.kind();
    unscannable(member, format!("the tar is damaged or truncated ({kind})"))
}
