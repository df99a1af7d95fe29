//! Secrets that are looked for together.

use std::collections::{BTreeMap, BTreeSet};

use super::needles::Needles;

/// Hits that are looked for together.
pub(crate) struct Wanted {
    pub(crate) needles: Needles,
    /// The hits of each needle.
    pub(crate) hits: Vec<Vec<usize>>,
}

impl Wanted {
    /// Each of `forms` with the hit that it is one of.
    pub(crate) fn new(forms: impl IntoIterator<Item = (Vec<u8>, usize)>) -> Self {
        let mut hits: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (form, hit) in forms.into_iter().filter(|(form, _)| !form.is_empty()) {
            hits.entry(form).or_default().push(hit);
        }
        Self {
            needles: Needles::new(hits.keys().map(Vec::as_slice)),
            hits: hits.into_values().collect(),
        }
    }

    /// Takes those that stand in `bytes` out of `left`.
    pub(crate) fn find(&self, bytes: &[u8], left: &mut BTreeSet<usize>) {
        let mut is_seen = vec![false; self.hits.len()];
        self.needles.find(bytes, |needle, _| {
            if !std::mem::replace(&mut is_seen[needle], true) {
                self.hits[needle].iter().for_each(|hit| {
                    left.remove(hit);
                });
            }
        });
    }

    /// Whether one of them is still looked for.
    pub(crate) fn is_open(&self, left: &BTreeSet<usize>) -> bool {
        self.hits.iter().flatten().any(|hit| left.contains(hit))
    }
}
