//! git's own object formats, as far as a scan needs them (gitformat-pack(5), git-mktree(1),
//! git-commit-tree(1), git-mktag(1)). Written by the agent: nothing here trusts a byte.

use git2::{ObjectFormat, Oid};
use memchr::{memchr, memmem};
use thiserror::Error;

/// An object that is not what its kind says. git itself may take it; the gate does not.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{kind} is malformed; see `git fsck`")]
pub struct Malformed {
    kind: &'static str,
}

const TREE: Malformed = Malformed { kind: "a tree" };
const COMMIT: Malformed = Malformed { kind: "a commit" };
const TAG: Malformed = Malformed { kind: "a tag" };

/// The file type bits of a tree entry's mode that mean a tree, a symbolic link, and a commit of another
/// repository.
const MODE_TREE: u32 = 0o040_000;
const MODE_LINK: u32 = 0o120_000;
const MODE_GITLINK: u32 = 0o160_000;
const MODE_TYPE: u32 = 0o170_000;

/// An entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is, and who may execute it.
    pub mode: u32,
    /// The name: one part of a path, but not for sure; a hostile tree holds what it likes.
    pub name: &'a [u8],
    /// What it names.
    pub id: Oid,
}

impl Entry<'_> {
    /// Whether it names a tree.
    pub fn is_tree(&self) -> bool {
        self.mode & MODE_TYPE == MODE_TREE
    }

    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        self.mode & MODE_TYPE == MODE_LINK
    }

    /// Whether it names a commit of another repository, which is never in this one.
    pub fn is_gitlink(&self) -> bool {
        self.mode & MODE_TYPE == MODE_GITLINK
    }
}

/// The entries of a tree: `<mode in octal> SP <name> NUL <id>`, again and again.
pub fn entries(
    mut raw: &[u8],
    format: ObjectFormat,
) -> impl Iterator<Item = Result<Entry<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if raw.is_empty() {
            return None;
        }
        let entry = entry(&mut raw, format);
        if entry.is_none() {
            raw = &[];
        }
        Some(entry.ok_or(TREE))
    })
}

fn entry<'a>(raw: &mut &'a [u8], format: ObjectFormat) -> Option<Entry<'a>> {
    let space = memchr(b' ', &raw[..raw.len().min(8)])?;
    let mode = u32::from_str_radix(std::str::from_utf8(&raw[..space]).ok()?, 8).ok()?;
    let end = space + 1 + memchr(0, &raw[space + 1..])?;
    let id_end = end + 1 + id_length(format);
    let id = Oid::from_bytes(raw.get(end + 1..id_end)?).ok()?;
    let name = &raw[space + 1..end];
    *raw = &raw[id_end..];
    Some(Entry { mode, name, id })
}

fn id_length(format: ObjectFormat) -> usize {
    match format {
        ObjectFormat::Sha256 => 32,
        _ => 20,
    }
}

/// What a scan needs to know of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its tree.
    pub tree: Oid,
    /// Its parents, in order.
    pub parents: Vec<Oid>,
}

/// Reads the head of a commit: `tree <id>`, then `parent <id>` lines.
pub fn commit(raw: &[u8], format: ObjectFormat) -> Result<Commit, Malformed> {
    let mut lines = raw.split(|&b| b == b'\n');
    let tree = lines.next().and_then(|line| id(line, b"tree ", format));
    Ok(Commit {
        tree: tree.ok_or(COMMIT)?,
        parents: lines
            .map_while(|line| id(line, b"parent ", format))
            .collect(),
    })
}

/// The object that a tag names: `object <id>` is its first line.
pub fn tag_target(raw: &[u8], format: ObjectFormat) -> Result<Oid, Malformed> {
    let line = raw.split(|&b| b == b'\n').next();
    line.and_then(|line| id(line, b"object ", format))
        .ok_or(TAG)
}

fn id(line: &[u8], key: &[u8], format: ObjectFormat) -> Option<Oid> {
    let hex = std::str::from_utf8(line.strip_prefix(key)?).ok()?;
    (hex.len() == 2 * id_length(format)).then_some(())?;
    Oid::from_str_ext(hex, format).ok()
}

/// Where the message of a commit or tag begins: behind the first blank line.
pub fn message_start(raw: &[u8]) -> usize {
    memmem::find(raw, b"\n\n").map_or(raw.len(), |end| end + 2)
}

/// The number of lines before the message, the blank one included.
pub fn header_lines(raw: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', &raw[..message_start(raw)]).count() as u64
}

/// The first line of a commit's or tag's message that is not blank.
pub fn subject(raw: &[u8]) -> &[u8] {
    let message = &raw[message_start(raw)..];
    let mut lines = message.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty()).unwrap_or_default()
}

/// A commit or tag without the space in front of a header's further lines (a signature, a merged
/// tag), in which a secret stands as its owner would use it; none when it has no such lines. The
/// number of lines stays.
pub fn unfolded(raw: &[u8]) -> Option<Vec<u8>> {
    let (header, message) = raw.split_at(message_start(raw));
    memmem::find(header, b"\n ")?;
    let mut plain = Vec::with_capacity(raw.len());
    for line in header.split_inclusive(|&b| b == b'\n') {
        plain.extend_from_slice(line.strip_prefix(b" ").unwrap_or(line));
    }
    plain.extend_from_slice(message);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hostile bytes give an error or an answer, never a panic, and entries end.
        #[test]
        fn any_bytes_are_read_to_an_end(
            raw in proptest::collection::vec(any::<u8>(), 0..300),
            head in prop_oneof![Just(""), Just("tree "), Just("100644 x\0"), Just("object 1\n\n "), Just("a\n b\n")],
        ) {
            let raw = [head.as_bytes(), &raw].concat();
            for format in [SHA1, ObjectFormat::Sha256] {
                let read: Vec<_> = entries(&raw, format).collect();
                prop_assert!(read.len() <= raw.len() / 20 + 1);
                prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
                let _ = (commit(&raw, format), tag_target(&raw, format));
            }
            prop_assert!(message_start(&raw) <= raw.len());
            let lines = |raw: &[u8]| raw.iter().filter(|&&b| b == b'\n').count();
            let _ = subject(&raw);
            if let Some(plain) = unfolded(&raw) {
                prop_assert_eq!(lines(&plain), lines(&raw));
            }
        }
    }

    const SHA1: ObjectFormat = ObjectFormat::Sha1;

    fn raw_entry(mode: &str, name: &[u8], fill: u8) -> Vec<u8> {
        [mode.as_bytes(), b" ", name, b"\0", &[fill; 20]].concat()
    }

    #[test]
    fn a_tree_is_read_entry_by_entry() {
        let raw = [
            raw_entry("100644", b"a b", 1),
            raw_entry("40000", b"dir", 2),
            raw_entry("160000", b"module", 3),
        ]
        .concat();
        let read: Vec<_> = entries(&raw, SHA1).map(Result::unwrap).collect();
        let names: Vec<_> = read.iter().map(|entry| entry.name).collect();
        assert_eq!(names, [&b"a b"[..], b"dir", b"module"]);
        assert!(read[1].is_tree() && !read[0].is_tree() && !read[2].is_tree());
        assert!(read[2].is_gitlink());
    }

    #[test]
    fn a_tree_that_ends_early_is_malformed() {
        let raw = raw_entry("100644", b"file", 7);
        for end in 1..raw.len() {
            assert_eq!(entries(&raw[..end], SHA1).last(), Some(Err(TREE)), "{end}");
        }
        assert_eq!(entries(b"99 x\0", SHA1).count(), 1);
    }

    #[test]
    fn a_commit_gives_its_tree_parents_and_subject() {
        let (tree, parent) = ("1".repeat(40), "2".repeat(40));
        let raw = format!(
            "tree {tree}\nparent {parent}\nparent {tree}\nauthor A <a> 1 +0\n\n\n hi \nbody"
        );
        let read = commit(raw.as_bytes(), SHA1).unwrap();
        assert_eq!(read.tree.to_string(), tree);
        assert_eq!(read.parents.len(), 2);
        assert_eq!(subject(raw.as_bytes()), b"hi");
        assert_eq!(header_lines(raw.as_bytes()), 5);
        assert_eq!(commit(b"tree 12\n", SHA1), Err(COMMIT));
        assert_eq!(commit(raw.as_bytes(), ObjectFormat::Sha256), Err(COMMIT));
    }

    #[test]
    fn folded_headers_are_unfolded_and_the_message_is_not() {
        let raw = b"tree 1\ngpgsig -----BEGIN\n abc\n def\n\n message\n";
        let plain = unfolded(raw).unwrap();
        assert_eq!(plain, b"tree 1\ngpgsig -----BEGIN\nabc\ndef\n\n message\n");
        assert_eq!(unfolded(b"tree 1\n\n message"), None);
    }
}
