//! What a path decides: which rules count in the file that stands there.

use std::hash::{BuildHasher, RandomState};

use super::engine::PathRules;
use super::quiet;

/// All that a file's path decides.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Class {
    quiet: bool,
    rules: Vec<bool>,
}

impl Class {
    /// That of the file at `path`.
    pub fn of(rules: &PathRules, path: &[u8]) -> Self {
        Self {
            quiet: quiet::is_generated(path),
            rules: rules.verdicts(&String::from_utf8_lossy(path)),
        }
    }
}

/// Tells folders apart whose files may be of other classes.
#[derive(Default)]
pub struct Folders(RandomState);

impl Folders {
    /// The same number for the same class. Where a rule looks at folders, each is one of its own.
    pub fn class(&self, rules: &PathRules, folder: &[u8]) -> u64 {
        match rules.look_at_folders() {
            true => self.0.hash_one(folder),
            false => u64::from(quiet::is_foreign(folder)),
        }
    }
}
