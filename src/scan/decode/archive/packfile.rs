//! git packs, also behind the header of a bundle (gitformat-pack(5), gitformat-bundle(5)).
//!
//! They are read here and not by libgit2 or git: those are C, and this process can read the key.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use flate2::bufread::ZlibDecoder;
use git2::{ObjectFormat, ObjectType, Oid};

use super::unscannable;
use crate::scan::decode::input::{Cursor, Source, temporary};
use crate::scan::decode::{DecodeError, Depth, Member, Step, Walk};

/// The largest object that is taken out of a pack inside a file; it is held in memory.
const OBJECT_LIMIT: u64 = 32 << 20;

/// Bytes of the header of a pack.
const HEADER: u64 = 12;

/// Bytes of the checksum at the end of a pack.
const CHECKSUM: u64 = 20;

const OFS_DELTA: u8 = 6;
const REF_DELTA: u8 = 7;

/// What an object in a pack is an edit of.
enum Base {
    /// The entry that starts there.
    At(u64),
    /// The object of that name.
    Named(Oid),
}

/// The header of an entry.
struct Head {
    /// What the object is; of an edit, its base tells.
    kind: Option<ObjectType>,
    base: Option<Base>,
    /// Bytes of what is packed behind it.
    size: u64,
}

impl Walk<'_> {
    /// Opens the pack at `start`, if there is one. Returns where it ends. At the start of a file
    /// and in a bundle it must open.
    pub(crate) fn pack(
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
        match self.entries(source, start + HEADER, count, &member, depth)? {
            Some(end) if end + CHECKSUM <= source.len() => Ok(end + CHECKSUM),
            _ if strict => Err(damaged(&member)),
            _ => Ok(start + 1),
        }
    }

    /// Walks the `count` objects of a pack, whose first entry is at `at`. Returns where the last one
    /// ends; `None` where one cannot be read: the pack is damaged, or thin, so that nobody can open it
    /// without the objects that it builds on.
    fn entries(
        &mut self,
        source: &Source<'_>,
        mut at: u64,
        count: u32,
        member: &Member,
        depth: Depth,
    ) -> Result<Option<u64>, DecodeError> {
        let mut objects = Objects::default();
        for _ in 0..count {
            self.count(member)?;
            let mut packed = source.cursor(at..source.len(), self.budget.deadline);
            let position = packed.position();
            let Some(entry) = entry(&mut packed, at) else {
                return Ok(None);
            };
            let packed = inflate(&mut packed, entry.size);
            // Of many false starts each may read all that follows.
            self.grow(position.get().saturating_sub(at), member)?;
            let Some(packed) = packed else {
                return Ok(None);
            };
            self.grow(entry.size, member)?;
            let Some((kind, object)) = objects.make(&entry, packed)? else {
                return Ok(None);
            };
            self.grow(object.len() as u64, member)?;
            objects.keep(at, kind, &object, &self.budget.spool)?;
            let inner = self.enter(member, depth)?;
            let place = member.inside(Step::Inside(kind.str()));
            self.content(&Source::Bytes(object.into()), &place, inner)?;
            at = position.get();
        }
        Ok(Some(at))
    }
}

/// The objects of a pack so far: others are edits of them.
#[derive(Default)]
struct Objects {
    /// By the start of their entries: what they are, and where in `file`.
    entries: HashMap<u64, (ObjectType, Range<u64>)>,
    names: HashMap<Oid, u64>,
    file: Option<File>,
    length: u64,
}

impl Objects {
    /// The object of `entry`, in which `packed` was.
    fn make(
        &self,
        entry: &Head,
        packed: Vec<u8>,
    ) -> Result<Option<(ObjectType, Vec<u8>)>, DecodeError> {
        if let Some(kind) = entry.kind {
            return Ok(Some((kind, packed)));
        }
        let at = match &entry.base {
            Some(Base::At(at)) => Some(at),
            Some(Base::Named(id)) => self.names.get(id),
            None => None,
        };
        let (Some((kind, range)), Some(file)) =
            (at.and_then(|at| self.entries.get(at)), &self.file)
        else {
            return Ok(None);
        };
        let length = usize::try_from(range.end - range.start).unwrap_or(0);
        let mut base = vec![0; length];
        file.read_exact_at(&mut base, range.start)
            .map_err(DecodeError::Spool)?;
        Ok(edited(&base, &packed).map(|object| (*kind, object)))
    }

    fn keep(
        &mut self,
        at: u64,
        kind: ObjectType,
        object: &[u8],
        dir: &std::path::Path,
    ) -> Result<(), DecodeError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(temporary(dir).map_err(DecodeError::Spool)?),
        };
        file.write_all(object).map_err(DecodeError::Spool)?;
        let end = self.length + object.len() as u64;
        self.entries.insert(at, (kind, self.length..end));
        self.length = end;
        if let Ok(id) = Oid::hash_object_ext(kind, object, ObjectFormat::Sha1) {
            self.names.insert(id, at);
        }
        Ok(())
    }
}

/// Reads the header of the entry at `at`.
fn entry(packed: &mut Cursor<'_>, at: u64) -> Option<Head> {
    let first = byte(packed)?;
    let mut size = u64::from(first & 0x0f);
    let (mut last, mut shift) = (first, 4);
    while last & 0x80 != 0 {
        last = byte(packed)?;
        size |= u64::from(last & 0x7f).checked_shl(shift)?;
        shift += 7;
    }
    let (kind, base) = match first >> 4 & 7 {
        1 => (Some(ObjectType::Commit), None),
        2 => (Some(ObjectType::Tree), None),
        3 => (Some(ObjectType::Blob), None),
        4 => (Some(ObjectType::Tag), None),
        OFS_DELTA => (None, Some(Base::At(at.checked_sub(distance(packed)?)?))),
        REF_DELTA => {
            let mut name = [0; 20];
            packed.read_exact(&mut name).ok()?;
            (None, Some(Base::Named(Oid::from_bytes(&name).ok()?)))
        }
        _ => return None,
    };
    Some(Head { kind, base, size })
}

/// How far before an entry its base starts.
fn distance(packed: &mut Cursor<'_>) -> Option<u64> {
    let mut last = byte(packed)?;
    let mut value = u64::from(last & 0x7f);
    while last & 0x80 != 0 {
        last = byte(packed)?;
        value = value.checked_add(1)?.checked_mul(1 << 7)? | u64::from(last & 0x7f);
    }
    Some(value)
}

/// The `size` bytes that are packed next; a stream of another length is not in a pack.
fn inflate(packed: &mut Cursor<'_>, size: u64) -> Option<Vec<u8>> {
    if size > OBJECT_LIMIT {
        return None;
    }
    let mut bytes = Vec::new();
    let stream = ZlibDecoder::new(packed);
    stream.take(size + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == size).then_some(bytes)
}

/// What `edit` makes of `base`: a list of parts to copy and of bytes to insert.
fn edited(base: &[u8], edit: &[u8]) -> Option<Vec<u8>> {
    let mut rest = edit;
    let (from, size) = (varint(&mut rest)?, varint(&mut rest)?);
    if from != base.len() as u64 || size > OBJECT_LIMIT {
        return None;
    }
    let mut made = Vec::new();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let part = match first {
            0 => return None,
            0x80.. => base.get(copied(first, &mut rest)?)?,
            1..0x80 => {
                let (inserted, tail) = rest.split_at_checked(first.into())?;
                rest = tail;
                inserted
            }
        };
        if (made.len() + part.len()) as u64 > size {
            return None;
        }
        made.extend_from_slice(part);
    }
    (made.len() as u64 == size).then_some(made)
}

/// Where the part to copy is: `first` tells which bytes of the two numbers follow.
fn copied(first: u8, rest: &mut &[u8]) -> Option<Range<usize>> {
    let mut number = |bits: Range<u8>| {
        let mut value = 0;
        for (place, bit) in bits.enumerate() {
            if first >> bit & 1 == 1 {
                let (&byte, tail) = rest.split_first()?;
                *rest = tail;
                value |= usize::from(byte) << (8 * place);
            }
        }
        Some(value)
    };
    let start = number(0..4)?;
    let length = match number(4..7)? {
        0 => 1 << 16,
        length => length,
    };
    Some(start..start.checked_add(length)?)
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
    let problem = "the git pack is damaged, truncated, needs objects that it does not hold, or holds one over 32 MiB";
    unscannable(member, problem.to_owned())
}
