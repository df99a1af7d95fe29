//! A setting that cannot be used.

use thiserror::Error;

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The repository's config could not be read.
    #[error("cannot read the repository's git config")]
    Unreadable(#[source] git2::Error),
    /// A key that must be there is not.
    #[error("git config {key} is not set for this repository")]
    Missing {
        /// The key's full name.
        key: String,
    },
    /// A key of the section `git-gate` that nobody reads: a misspelt one would leave its rule out.
    #[error("git config {key} is not a setting of the gate{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The key's full name, as git normalizes it.
        key: String,
        /// The known key that is spelt most like it, when one is near.
        nearest: Option<String>,
    },
    /// A value that its key does not take.
    #[error("git config {key}: {problem}")]
    Invalid {
        /// The key's full name.
        key: String,
        /// What is wrong, in words.
        problem: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}
