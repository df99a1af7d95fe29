//! Hides secrets in what is shown.

use std::collections::BTreeSet;

use super::needles::Needles;
use crate::text;

/// Hides every secret of the push in what is shown.
pub struct Mask(Needles);

impl Mask {
    pub fn new(secrets: &BTreeSet<String>) -> Self {
        let secrets = secrets.iter().filter(|secret| !secret.trim().is_empty());
        Self(Needles::new(secrets.map(String::as_bytes)))
    }

    pub fn bytes(&self, shown: &[u8]) -> String {
        self.apply(&String::from_utf8_lossy(shown))
    }

    pub fn apply(&self, shown: &str) -> String {
        let (mut hidden, mut end) = (String::new(), 0);
        self.0.find(shown.as_bytes(), |_, secret| {
            if secret.start >= end {
                hidden += &shown[end..secret.start];
                hidden += "…";
            }
            end = end.max(secret.end);
        });
        text::ref_name(&(hidden + &shown[end..]))
    }
}
