//! git packs, also behind the header of a bundle (gitformat-pack(5), gitformat-bundle(5)).

use std::io::{BufRead, Read, Write};

use flate2::bufread::ZlibDecoder;
use git2::{Indexer, ObjectType, Odb, Oid};

use super::super::source::{BLOCK, Cursor, Source};
use super::super::{DecodeError, Depth, Member, Step, Walk};
use super::unscannable;

/// The largest object that is taken out of a pack inside a file: libgit2 holds it in memory.
const OBJECT_LIMIT: u64 = 32 << 20;

/// Bytes of the checksum at the end of a pack.
const CHECKSUM: u64 = 20;

const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

impl Walk<'_> {
    /// Opens the pack at `start`, if there is one. Returns where it ends. At the start of a file
    /// and in a bundle it must open.
    pub(super) fn pack(
        &mut self,
        source: &Source<'_>,
        start: u64,
        place: &Member,
        depth: Depth,
    ) -> Result<u64, DecodeError> {
        let header = source.peek(start, 12)?;
        let (Some(version), Some(count)) = (number(&header, 4), number(&header, 8)) else {
            return Ok(start + 1);
        };
        if !matches!(version, 2 | 3) {
            return Ok(start + 1);
        }
        let head = source.peek(0, 16)?;
        let bundle = head.starts_with(b"# v2 git bundle") || head.starts_with(b"# v3 git bundle");
        let strict = start == 0 || bundle;
        let member = place.inside(Step::Inside("git pack"));
        let end = match self.measure(source, start + 12, count, &member)? {
            Some(end) => end + CHECKSUM,
            None if strict => return Err(damaged(&member)),
            None => return Ok(start + 1),
        };
        match self.objects(source, start..end, &member, depth)? {
            Some(()) => Ok(end),
            None if strict => Err(damaged(&member)),
            None => Ok(start + 1),
        }
    }

    /// Walks the pack's entries without resolving deltas: bounds their sizes before libgit2 sees
    /// them, and returns where the last one ends.
    fn measure(
        &mut self,
        source: &Source<'_>,
        start: u64,
        count: u32,
        member: &Member,
    ) -> Result<Option<u64>, DecodeError> {
        let mut packed = source.cursor(start..source.len(), self.budget.deadline);
        let position = packed.position();
        for _ in 0..count {
            let Some(mut sizes) = entry(&mut packed) else {
                return Ok(None);
            };
            // The size that a delta results in is the second number in it.
            let largest = sizes.iter().copied().max().unwrap_or(0);
            if largest > OBJECT_LIMIT {
                let problem = "an object in the pack is over 32 MiB".to_owned();
                return Err(unscannable(member, problem));
            }
            self.count(member)?;
            self.grow(sizes.pop().unwrap_or(0), member)?;
        }
        Ok(Some(position.get()))
    }

    /// Indexes the pack in `range` and walks its objects. None when libgit2 does not take it: it is
    /// damaged, or thin, so that nobody can open it without the objects that it builds on.
    fn objects(
        &mut self,
        source: &Source<'_>,
        range: std::ops::Range<u64>,
        member: &Member,
        depth: Depth,
    ) -> Result<Option<()>, DecodeError> {
        let inner = self.enter(member, depth)?;
        let folder = tempfile::tempdir_in(&self.budget.spool).map_err(DecodeError::Spool)?;
        let packs = folder.path().join("pack");
        std::fs::create_dir(&packs).map_err(DecodeError::Spool)?;
        let Ok(mut indexer) = Indexer::new(None, &packs, 0, false) else {
            return Ok(None);
        };
        let written = source
            .part(range)
            .blocks(BLOCK, self.budget.deadline, |block| {
                indexer.write_all(block).map_err(DecodeError::Spool)
            });
        if written.is_err() || indexer.commit().is_err() {
            return Ok(None);
        }
        let Ok((odb, ids)) = open(folder.path()) else {
            return Ok(None);
        };
        for id in ids {
            let Ok(object) = odb.read(id) else {
                return Ok(None);
            };
            let kind = match object.kind() {
                ObjectType::Commit => "commit",
                ObjectType::Tag => "tag",
                ObjectType::Tree => "tree",
                _ => "blob",
            };
            let place = member.inside(Step::Inside(kind));
            self.content(&Source::Bytes(object.data().into()), &place, inner)?;
        }
        Ok(Some(()))
    }
}

/// The object database with the one pack in `folder`, and the ids in it.
fn open(folder: &std::path::Path) -> Result<(Odb<'static>, Vec<Oid>), git2::Error> {
    let odb = Odb::new()?;
    odb.add_disk_alternate(&folder.to_string_lossy())?;
    let mut ids = Vec::new();
    odb.foreach(|id| {
        ids.push(*id);
        true
    })?;
    Ok((odb, ids))
}

/// Reads one entry of a pack. Returns the sizes that it states, the size of the object last.
fn entry(packed: &mut Cursor<'_>) -> Option<Vec<u64>> {
    let first = byte(packed)?;
    let mut size = u64::from(first & 0x0f);
    let (mut last, mut shift) = (first, 4);
    while last & 0x80 != 0 {
        last = byte(packed)?;
        size |= u64::from(last & 0x7f).checked_shl(shift)?;
        shift += 7;
    }
    let kind = first >> 4 & 7;
    match kind {
        1..=4 => {}
        OFS_DELTA => while byte(packed)? & 0x80 != 0 {},
        REF_DELTA => packed.read_exact(&mut [0; 20]).ok()?,
        _ => return None,
    }
    let mut head = Vec::new();
    let mut decoder = ZlibDecoder::new(packed);
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    // A stream that is longer than it says is no pack; it is not unpacked any further.
    while length <= size {
        match decoder.read(&mut block) {
            Ok(0) if length == size => return sizes(kind, size, &head),
            Ok(n @ 1..) => {
                let kept = n.min(32 - head.len());
                head.extend_from_slice(&block[..kept]);
                length += n as u64;
            }
            _ => return None,
        }
    }
    None
}

/// The sizes in an entry: its own and, of a delta, that of its base and of its result.
fn sizes(kind: u8, size: u64, head: &[u8]) -> Option<Vec<u64>> {
    if !matches!(kind, OFS_DELTA | REF_DELTA) {
        return Some(vec![size]);
    }
    let mut rest = head;
    let base = varint(&mut rest)?;
    let result = varint(&mut rest)?;
    Some(vec![size, base, result])
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (&first, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
    }
}

fn byte(packed: &mut Cursor<'_>) -> Option<u8> {
    let first = *packed.fill_buf().ok()?.first()?;
    packed.consume(1);
    Some(first)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*four))
}

fn damaged(member: &Member) -> DecodeError {
    let problem = "the git pack is damaged, truncated, or needs objects that it does not hold";
    unscannable(member, problem.to_owned())
}
