//! The ref updates of a push, as receive-pack gives them to its pre-receive hook (githooks(5)):
//! `<old-oid> SP <new-oid> SP <ref-name> LF` on standard input, push options in the environment.

use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use git2::{ObjectFormat, Oid};
use thiserror::Error;

use crate::text;

/// How much standard input is read: [`crate::settings::Limits::max_refs`] is checked afterwards,
/// this only keeps memory bounded. A line is at most 4 KiB and some.
const INPUT_LIMIT: u64 = 64 << 20;

/// One ref update, with the value that the client saw and the one that it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// The value that the client saw; zero when it creates the ref.
    pub old: Oid,
    /// The value that it wants; zero when it deletes the ref.
    pub new: Oid,
    /// The full ref name, such as `refs/heads/main`.
    pub name: String,
}

impl RefUpdate {
    /// Whether the ref is created.
    pub fn creates(&self) -> bool {
        self.old.is_zero()
    }

    /// Whether the ref is deleted.
    pub fn deletes(&self) -> bool {
        self.new.is_zero()
    }

    /// The ref's name as it may be shown: see [`text::ref_name`].
    pub fn shown(&self) -> String {
        text::ref_name(&self.name)
    }
}

/// Why the hook's input is not a list of ref updates.
#[derive(Debug, Error)]
pub enum UpdatesError {
    /// It could not be read.
    #[error("cannot read the ref updates from receive-pack")]
    Unreadable(#[from] std::io::Error),
    /// A line is not `old new ref`. Its text is not repeated: it may hold a secret.
    #[error("line {line} of the ref updates is malformed")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// A ref name is not UTF-8, which no forge takes.
    #[error("the ref name on line {line} of the ref updates is not UTF-8; rename the ref")]
    NotUtf8 {
        /// Counted from 1.
        line: usize,
    },
}

/// Parses the hook's standard input.
pub fn read_updates(input: impl BufRead) -> Result<Vec<RefUpdate>, UpdatesError> {
    let mut updates = Vec::new();
    for (index, line) in input.take(INPUT_LIMIT).split(b'\n').enumerate() {
        let number = index + 1;
        let line = String::from_utf8(line?).map_err(|_| UpdatesError::NotUtf8 { line: number })?;
        updates.push(parse(&line).ok_or(UpdatesError::Malformed { line: number })?);
    }
    Ok(updates)
}

fn parse(line: &str) -> Option<RefUpdate> {
    let mut fields = line.splitn(3, ' ');
    let (old, new, name) = (oid(fields.next()?)?, oid(fields.next()?)?, fields.next()?);
    let usable = old.object_format() == new.object_format() && !name.is_empty();
    usable.then(|| RefUpdate {
        old,
        new,
        name: name.to_owned(),
    })
}

/// A full object id: libgit2 would also take a short one.
fn oid(hex: &str) -> Option<Oid> {
    let format = match hex.len() {
        40 => ObjectFormat::Sha1,
        64 => ObjectFormat::Sha256,
        _ => return None,
    };
    Oid::from_str_ext(hex, format).ok()
}

/// The push options that the client sent with `-o`, byte for byte.
pub fn push_options() -> Vec<Vec<u8>> {
    let count = std::env::var("GIT_PUSH_OPTION_COUNT")
        .ok()
        .and_then(|count| count.parse().ok());
    (0..count.unwrap_or(0usize))
        .map_while(|index| std::env::var_os(format!("GIT_PUSH_OPTION_{index}")))
        .map(OsStringExt::into_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const ZERO: &str = "0000000000000000000000000000000000000000";

    #[test]
    fn updates_are_read_as_receive_pack_writes_them() {
        let input = format!("{ZERO} {A} refs/heads/new\n{A} {ZERO} refs/heads/with space\n");
        let updates = read_updates(input.as_bytes()).unwrap();
        assert!(updates[0].creates() && !updates[0].deletes());
        assert!(updates[1].deletes() && !updates[1].creates());
        assert_eq!(updates[1].name, "refs/heads/with space");
    }

    #[test]
    fn anything_else_is_refused_without_its_text() {
        for bad in [
            "",
            "x",
            &format!("{A} {A}"),
            &format!("{A} {A} "),
            "1111 2222 refs/heads/short",
        ] {
            let error = read_updates(format!("{bad}\n").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "line 1 of the ref updates is malformed");
        }
        let sha256 = "2".repeat(64);
        assert!(read_updates(format!("{A} {sha256} refs/heads/mixed\n").as_bytes()).is_err());
        assert!(matches!(
            read_updates(&b"\xff\n"[..]),
            Err(UpdatesError::NotUtf8 { line: 1 })
        ));
    }
}
