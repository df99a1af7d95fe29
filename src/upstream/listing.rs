//! What the upstream has: its refs and where its HEAD points.

use git2::{ObjectFormat, Oid, Reference};

use crate::git::Refs;
use crate::ref_pattern::{self, RefPattern};

/// Bytes of a listing that are read; some four million refs. One that is longer is not complete.
pub(super) const LISTING_LIMIT: usize = 256 << 20;

/// Where a HEAD points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// To a ref, which need not exist.
    Ref(String),
    /// To an object.
    Detached(Oid),
    /// Nothing is known of it.
    Unknown,
}

/// The refs of a repository.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Those that are wanted.
    pub refs: Refs,
    pub head: Head,
    /// Whether all that the upstream sent was read and understood.
    pub complete: bool,
}

/// What a mirror lacks to have the refs of a [`Listing`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Refs that are new or have another value.
    pub moved: Vec<String>,
    /// Refs that are there no longer, or not wanted.
    pub gone: Vec<Vec<u8>>,
}

impl Listing {
    /// What `mirror` lacks of these refs; `None` where that is not known.
    ///
    /// Only the names of refs that changed are looked at more closely.
    pub fn changes(&self, mirror: &Refs) -> Option<Changes> {
        if !self.complete {
            return None;
        }
        let mut changes = Changes::default();
        let mut there = mirror.iter().peekable();
        for (name, id) in self.refs.iter() {
            while let Some((gone, _)) = there.next_if(|(other, _)| *other < name) {
                changes.gone.push(gone.to_vec());
            }
            match there.next_if(|(other, _)| *other == name) {
                Some((_, value)) if value == id => {}
                _ => {
                    let name = std::str::from_utf8(name).ok()?;
                    // git itself has to decide whether it takes an odd one.
                    Reference::is_valid_name(name).then_some(())?;
                    changes.moved.push(name.to_owned());
                }
            }
        }
        changes.gone.extend(there.map(|(name, _)| name.to_vec()));
        Some(changes)
    }
}

/// Collects the lines of a listing.
pub(crate) struct Lines<'a> {
    format: ObjectFormat,
    patterns: &'a [RefPattern],
    refs: Vec<(Box<[u8]>, Oid)>,
    head: Head,
    pub complete: bool,
}

impl<'a> Lines<'a> {
    pub fn new(format: ObjectFormat, patterns: &'a [RefPattern]) -> Self {
        Self {
            format,
            patterns,
            refs: Vec::new(),
            head: Head::Unknown,
            complete: true,
        }
    }

    /// A symbolic ref, which `name` is; only that of HEAD says something that its value does not.
    pub fn symref(&mut self, name: &[u8], target: &[u8]) {
        let target = std::str::from_utf8(target).ok();
        if name == b"HEAD"
            && let Some(target) = target.filter(|target| Reference::is_valid_name(target))
        {
            self.head = Head::Ref(target.to_owned());
        }
    }

    /// A ref and its value.
    pub fn add(&mut self, value: &[u8], name: &[u8]) {
        // libgit2 would also take a short one.
        let length = match self.format {
            ObjectFormat::Sha256 => 64,
            _ => 40,
        };
        let id = std::str::from_utf8(value).ok();
        let id = id.filter(|id| id.len() == length);
        let id = id.and_then(|id| Oid::from_str_ext(id, self.format).ok());
        let Some(id) = id else {
            self.complete = false;
            return;
        };
        if name == b"HEAD" {
            if self.head == Head::Unknown {
                self.head = Head::Detached(id);
            }
        } else if name.starts_with(b"refs/")
            && !name.ends_with(b"^{}")
            && ref_pattern::take(self.patterns, name)
        {
            self.refs.push((name.into(), id));
        }
    }

    pub fn listing(self) -> Listing {
        Listing {
            refs: self.refs.into_iter().collect(),
            head: self.head,
            complete: self.complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_a_change() {
        let id = |digit: &str| Oid::from_str_ext(&digit.repeat(40), ObjectFormat::Sha1).unwrap();
        let refs = |of: &[(&str, &str)]| -> Refs {
            let refs = of.iter().map(|(name, digit)| (name.as_bytes(), id(digit)));
            refs.collect()
        };
        let mirror = refs(&[
            ("refs/a", "1"),
            ("refs/b", "1"),
            ("refs/c", "1"),
            ("refs/e", "1"),
        ]);
        let listing = Listing {
            refs: refs(&[("refs/b", "1"), ("refs/c", "2"), ("refs/d", "1")]),
            head: Head::Unknown,
            complete: true,
        };
        let changes = listing.changes(&mirror).unwrap();
        assert_eq!(changes.moved, ["refs/c", "refs/d"]);
        assert_eq!(changes.gone, [b"refs/a", b"refs/e"]);
        assert_eq!(listing.changes(&listing.refs), Some(Changes::default()));
    }
}
