//! The first packets of a request's body: whether the mirror, as it is, can answer them. A client may
//! have been told its refs elsewhere, by another gate in front of the same upstream.

use git2::{Oid, Repository};

use crate::git::pkt_line;

/// How much of a body is looked at.
const LONGEST: usize = 64 << 10;

/// What a request is about, as far as its first packets tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Whether it asks for the refs (gitprotocol-v2(5), `ls-refs`).
    pub lists_refs: bool,
    /// The objects that a fetch wants.
    wants: Vec<Oid>,
    /// The refs that a push updates, with the values that the client has seen there.
    updates: Vec<(String, Oid)>,
}

impl Opening {
    /// Reads the whole packets at the start of `bytes`, up to the first flush packet.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut opening = Self::default();
        while let Some((1.., line, rest)) = pkt_line::split(bytes) {
            opening.note(line);
            bytes = rest;
        }
        opening
    }

    /// Whether the first packets of `bytes` are all there, or as many as are looked at; `at` is where
    /// the next one begins.
    pub fn is_whole(bytes: &[u8], at: &mut usize) -> bool {
        while let Some((length, _, rest)) = bytes.get(*at..).and_then(pkt_line::split) {
            if length == 0 {
                return true;
            }
            *at = bytes.len() - rest.len();
        }
        bytes.len() >= LONGEST
    }

    fn note(&mut self, line: &[u8]) {
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\n');
        let mut words = line.split(' ');
        let id = |word: Option<&str>| word.and_then(|word| Oid::from_str(word).ok());
        match (words.next(), words.next()) {
            (Some("command=ls-refs"), None) => self.lists_refs = true,
            (Some("want"), wanted) => self.wants.extend(id(wanted)),
            (old, Some(new)) if id(Some(new)).is_some() => {
                let update = id(old).zip(words.next());
                self.updates
                    .extend(update.map(|(old, name)| (name.to_owned(), old)));
            }
            _ => {}
        }
    }

    /// Whether `repository` may lack a wanted object or what that refers to, or has another value of a ref
    /// than the client has seen.
    pub fn is_ahead_of(&self, repository: &Repository) -> bool {
        let is_there = |id: &Oid| repository.odb().is_ok_and(|odb| odb.exists(*id));
        let lacks = |id: &Oid| !is_there(id) || is_loose(repository, *id);
        let differs = |(name, old): &(String, Oid)| {
            let here = repository.refname_to_id(name).ok();
            here != Some(*old).filter(|old| !old.is_zero())
        };
        self.wants.iter().any(lacks) || self.updates.iter().any(differs)
    }
}

/// Whether `id` is a file of its own (gitrepository-layout(5)). A fetch that goes on, or that was killed,
/// may have unpacked it and not yet what it refers to; a pack is there whole or not at all.
fn is_loose(repository: &Repository, id: Oid) -> bool {
    let id = id.to_string();
    let file = repository
        .path()
        .join("objects")
        .join(&id[..2])
        .join(&id[2..]);
    file.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packets_tell_what_is_wanted_and_what_is_updated() {
        let list = Opening::read(b"0014command=ls-refs\n00010009peel\n0000");
        assert!(list.lists_refs && list.wants.is_empty());
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let packet = |line: &str| format!("{:04x}{line}", line.len() + 4);
        let fetch = [
            packet("command=fetch"),
            "0001".to_owned(),
            packet(&format!("want {one}\n")),
            packet(&format!("want {two} ofs-delta\n")),
            "0000".to_owned(),
        ]
        .concat();
        let read = Opening::read(fetch.as_bytes());
        assert_eq!(read.wants.len(), 2);
        let push = packet(&format!("{one} {two} refs/heads/x\0report-status")) + "0000PACK";
        let read = Opening::read(push.as_bytes());
        assert_eq!(
            read.updates,
            [("refs/heads/x".to_owned(), Oid::from_str(&one).unwrap())]
        );
        assert!(Opening::is_whole(push.as_bytes(), &mut 0));
        assert!(!Opening::is_whole(&push.as_bytes()[..60], &mut 0));
        for cut in 0..push.len() {
            Opening::read(&push.as_bytes()[..cut]);
        }
    }
}
