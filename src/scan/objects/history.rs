//! The push as a history: which commit first brought which object to which path, and which version
//! stood there before.

mod walker;

use std::collections::{HashMap, HashSet};

use git2::Oid;

pub use self::walker::Walker;
use super::parse::Commit;

/// How many paths of one blob are kept that decide the same.
const MAX_PATHS: usize = 16;

/// Where an object was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The commit, as an index into [`History::commits`].
    pub commit: usize,
    /// The paths, as the trees say: the first [`MAX_PATHS`], then one of each further class.
    pub paths: Vec<Box<[u8]>>,
    /// What stood at that path in a parent of the commit.
    pub before: Option<Oid>,
}

/// Full paths that are no received blob's: of what the upstream holds already, of a directory that stands at
/// several places, and of a blob with too many to keep.
#[derive(Debug)]
pub struct OtherPaths {
    /// The commit that has the first, as an index into [`History::commits`].
    pub commit: usize,
    /// The paths.
    pub paths: Vec<Box<[u8]>>,
}

/// The commits of a push and what they brought.
#[derive(Debug, Default)]
pub struct History {
    /// The received commits, parents before children.
    pub commits: Vec<(Oid, Commit)>,
    /// Where each commit stands in `commits`.
    pub positions: HashMap<Oid, usize>,
    /// Where each received blob was first seen.
    pub origins: HashMap<Oid, Origin>,
    /// The blobs of `origins` in the order in which they were seen, a file's versions oldest first.
    pub blobs: Vec<Oid>,
    /// Blobs of the newest versions: those that the updated refs, or commits without a child, hold.
    pub newest: HashSet<Oid>,
    /// By the received tree in which they are found.
    pub other_paths: HashMap<Oid, OtherPaths>,
    /// The received trees that stand in the received commits, each with the classes of its places.
    pub walked: HashMap<Oid, Vec<u64>>,
    /// Commits that the push builds on, and the old values of its refs.
    pub boundary: Vec<Oid>,
    /// Whether the push refers to objects that it did not bring and that its parents do not hold at
    /// the same place.
    pub reaches_outside: bool,
}

impl History {
    /// The full paths that are given to the scanner for the object `id`.
    pub fn paths(&self, id: Oid) -> &[Box<[u8]>] {
        let of_blob = self.origins.get(&id).map(|origin| &origin.paths);
        let of_tree = || self.other_paths.get(&id).map(|other| &other.paths);
        of_blob.or_else(of_tree).map_or(&[], Vec::as_slice)
    }
}
