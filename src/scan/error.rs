//! Why there is no verdict: the push is refused.

use std::io;

use git2::{ObjectType, Oid};
use thiserror::Error;

use crate::deadline::Missed;

/// Why there is no verdict: the push is refused.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The scanner itself.
    #[error(transparent)]
    Engine(#[from] super::gitleaks::EngineError),
    /// An object cannot be read.
    #[error("cannot read the pushed objects; check the clone with `git fsck`")]
    Objects(#[from] git2::Error),
    /// An object's text cannot be had in full.
    #[error(transparent)]
    Decode(#[from] super::decode::DecodeError),
    /// An object is not what its kind says.
    #[error(transparent)]
    Malformed(#[from] super::objects::parse::Malformed),
    /// Trees are nested deeper than git itself follows.
    #[error("directories are nested deeper than git takes (core.maxTreeDepth); flatten them")]
    TooDeep,
    /// There is something in an object that cannot be opened, so nobody knows what is in it.
    #[error(
        "object {id}: {problem}; leave it out, or ask the operator to accept it with the line `blob:{id} {} REASON` in the file of git-gate.exceptions",
        super::exceptions::UNSCANNABLE
    )]
    Unscannable {
        /// The object.
        id: Oid,
        /// What is in it.
        problem: super::decode::DecodeError,
    },
    /// An error about one object.
    #[error("object {id}")]
    In {
        /// The object.
        id: Oid,
        /// What about it.
        source: Box<ScanError>,
    },
    /// git's own output cannot be had.
    #[error("cannot read objects through git")]
    Git(#[from] io::Error),
    /// The operator's exceptions.
    #[error(transparent)]
    Exceptions(#[from] super::exceptions::ExceptionsError),
    /// The time is over.
    #[error("the scan was ended, since {0}; push fewer commits at once")]
    TimedOut(Missed),
    /// A directory stands at too many paths, and the rules may differ from one to the next.
    #[error(
        "a directory stands at more than {limit} paths, and the operator's rules look at paths; push fewer copies of it at once"
    )]
    TooManyPlaces {
        /// How many are told apart.
        limit: usize,
    },
    /// Paths take too much memory.
    #[error(
        "the paths of the pushed files are over {} MiB together; shorten the names of the directories around them, or push fewer of them at once",
        limit >> 20
    )]
    LongPaths {
        /// How many bytes are kept.
        limit: usize,
    },
    /// One object is too large.
    #[error(
        "object {id} is {} unpacked, over the limit of {} (git-gate.maxObjectSize); leave it out, or ask the operator to raise the limit; `git rev-list --objects --all | grep {id}` tells its path",
        crate::text::size(*size),
        crate::text::size(*limit)
    )]
    Unpacks {
        /// The object.
        id: Oid,
        /// Its size in bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// All objects together are too large.
    #[error(
        "the push is {} unpacked, over the limit of {} (git-gate.maxUnpackedSize); push fewer commits at once, or ask the operator to raise the limit",
        crate::text::size(*size),
        crate::text::size(*limit)
    )]
    UnpackTogether {
        /// Their size in bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// An object that is held in memory is too large for that.
    #[error("a {kind} of {} is over the limit of {} MiB; make it smaller", crate::text::size(*size), limit >> 20)]
    TooLarge {
        /// Commit, tree or tag.
        kind: ObjectType,
        /// Its size in bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// There is always one more value behind those that are let through.
    #[error(
        "gave up after {rounds} scans of the same texts: each value that the upstream holds or the operator accepts hid another one; put fewer of them into one place"
    )]
    Hidden {
        /// How often was looked.
        rounds: usize,
    },
    /// Not all of the push was given to the scanner: a bug of the gate, or a changing quarantine.
    #[error(
        "not every pushed object was scanned, so nothing is forwarded; push again; if it keeps failing, tell the operator"
    )]
    Unproven,
}

// By hand: the words hold the cause already, and `#[from]` would have it told twice.
impl From<Missed> for ScanError {
    fn from(missed: Missed) -> Self {
        Self::TimedOut(missed)
    }
}

impl ScanError {
    pub(crate) fn in_object(self, id: Oid) -> Self {
        match self {
            Self::Engine(_) | Self::TimedOut(_) | Self::In { .. } => self,
            Self::Decode(problem) if problem.unread().is_some() => {
                Self::Unscannable { id, problem }
            }
            source => Self::In {
                id,
                source: Box::new(source),
            },
        }
    }
}
