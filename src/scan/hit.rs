//! A secret and its place, before anybody has judged it.

use super::fragments::Location;
use super::gitleaks::RawFinding;

/// A secret and where it stands. It holds the secret in clear: it is never printed.
#[derive(Debug)]
pub struct Hit {
    /// Where.
    pub at: Location,
    /// What gitleaks said.
    pub raw: RawFinding,
    /// Whether it is the path itself that is forbidden, whatever stands there.
    pub forbids_path: bool,
}

impl Hit {
    pub(crate) fn new(at: Location, raw: RawFinding) -> Self {
        Self {
            at,
            raw,
            forbids_path: false,
        }
    }
}
