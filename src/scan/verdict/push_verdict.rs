//! What a scan says of the whole push.

use std::collections::BTreeSet;

use super::finding::Finding;
use crate::scan::source::Source;

/// What a scan found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What refuses the push; none means that it may go on.
    pub findings: Vec<Finding>,
    /// What may be a secret, and is told without refusing the push.
    pub suspects: Vec<Finding>,
    /// How many secrets there are besides, where there are very many.
    pub more: usize,
    /// Whether the upstream has more history than was searched for them.
    pub search_ended: bool,
    /// What was read.
    pub tally: Tally,
    /// The ref names that something was found in, whatever became of it.
    pub names: BTreeSet<Source>,
    /// The refusals whose answer, for one push alone, let something through.
    pub once: BTreeSet<String>,
    /// Subject and rule of each exception that let something through.
    pub excepted: BTreeSet<String>,
    /// Whether it is told and refuses nothing.
    pub is_observed: bool,
    /// The id of this refusal, once it is kept.
    pub id: Option<String>,
}

impl Verdict {
    /// Adds what another one refuses.
    pub fn add(&mut self, other: Self) {
        let known: BTreeSet<_> = self
            .findings
            .iter()
            .map(|one| one.exception.clone())
            .collect();
        let is_new = |one: &Finding| !known.contains(&one.exception);
        self.findings
            .extend(other.findings.into_iter().filter(is_new));
        self.more += other.more;
        self.once.extend(other.once);
        self.excepted.extend(other.excepted);
    }

    /// How many secrets there are.
    pub fn count(&self) -> usize {
        self.findings.len() + self.more
    }
}

/// What a scan read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects.
    pub objects: usize,
    /// Bytes of text given to the scanner.
    pub bytes: u64,
}
