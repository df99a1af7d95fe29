//! What a path decides: which rules count in the file that stands there.

use std::hash::{BuildHasher, RandomState};

use crate::scan::gitleaks::PathRules;
use crate::scan::gitleaks::entropy_rules;

/// Tells paths apart by what they decide: a number for each class.
pub struct Classes<'a> {
    rules: &'a PathRules,
    hasher: RandomState,
}

impl<'a> Classes<'a> {
    /// For these rules.
    pub fn new(rules: &'a PathRules) -> Self {
        let hasher = RandomState::new();
        Self { rules, hasher }
    }

    /// That of the file at `path`.
    pub fn file(&self, path: &[u8]) -> u64 {
        let verdicts = self.rules.verdicts(&String::from_utf8_lossy(path));
        self.hasher
            .hash_one((entropy_rules::is_generated(path), verdicts))
    }

    /// That of `directory`, for the files in it. Where a rule looks at directories, each is a class.
    pub fn directory(&self, directory: &[u8]) -> u64 {
        match self.rules.look_at_directories() {
            true => self.hasher.hash_one(directory),
            false => u64::from(entropy_rules::is_foreign(directory)),
        }
    }
}
