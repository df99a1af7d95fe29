//! The names of ready-made sets of paths; `rules::protected` has the sets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `git-gate.protect`: a set of paths that no push may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protect {
    /// What forges and CI servers run with a repository's own secrets, and `CODEOWNERS`.
    Ci,
    /// `.gitmodules`: where submodules come from.
    Gitmodules,
}

impl Protect {
    /// All sets.
    pub const ALL: [Self; 2] = [Self::Ci, Self::Gitmodules];

    /// Its name in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Gitmodules => "gitmodules",
        }
    }
}
