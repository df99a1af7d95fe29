//! The ref updates of a push, as receive-pack gives them to its pre-receive hook (githooks(5)):
//! `<old-oid> SP <new-oid> SP <ref-name> LF` on standard input, push options in the environment.

use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use git2::{ObjectFormat, Oid};
use thiserror::Error;

use crate::git::Refs;
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
    /// Its place in the push, from 1.
    number: usize,
    /// Whether the name may be shown.
    showable: bool,
}

impl RefUpdate {
    /// The update at place `number` of a push, from 1.
    pub fn new(number: usize, old: Oid, new: Oid, name: String) -> Self {
        Self {
            old,
            new,
            name,
            number,
            showable: false,
        }
    }

    /// Whether the ref is created.
    pub fn creates(&self) -> bool {
        self.old.is_zero()
    }

    /// Whether the ref is deleted.
    pub fn deletes(&self) -> bool {
        self.new.is_zero()
    }

    /// Says that a scan has found nothing in the name, or that the upstream has a ref of that name.
    pub fn allow_showing(&mut self) {
        self.showable = true;
    }

    /// The ref's name as it may be shown. A client chose it: until [`Self::allow_showing`], only
    /// where in the push it stands and what kind of ref it is.
    pub fn shown(&self) -> String {
        const KINDS: [&str; 3] = ["refs/heads/", "refs/tags/", "refs/notes/"];
        if self.showable {
            return text::name(&self.name);
        }
        let kind = KINDS.iter().find(|kind| self.name.starts_with(**kind));
        format!(
            "{}… (ref update {})",
            kind.copied().unwrap_or_default(),
            self.number
        )
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
        updates.push(parse(number, &line).ok_or(UpdatesError::Malformed { line: number })?);
    }
    Ok(updates)
}

fn parse(number: usize, line: &str) -> Option<RefUpdate> {
    let mut fields = line.splitn(3, ' ');
    let (old, new, name) = (oid(fields.next()?)?, oid(fields.next()?)?, fields.next()?);
    let usable = old.object_format() == new.object_format() && !name.is_empty();
    usable.then(|| RefUpdate::new(number, old, new, name.to_owned()))
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

/// Allows to show the names of refs that the mirror has: upstream they are there for all to see.
pub fn show_known(refs: &Refs, updates: &mut [RefUpdate]) {
    for update in updates {
        if refs.get(&update.name).is_some() {
            update.allow_showing();
        }
    }
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
    fn a_name_is_shown_once_that_is_allowed() {
        let mut update = parse(2, &format!("{ZERO} {A} refs/heads/pass-word")).unwrap();
        assert_eq!(update.shown(), "refs/heads/… (ref update 2)");
        update.allow_showing();
        assert_eq!(update.shown(), "refs/heads/pass-word");
        let odd = parse(1, &format!("{ZERO} {A} pass-word")).unwrap();
        assert_eq!(odd.shown(), "… (ref update 1)");
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
