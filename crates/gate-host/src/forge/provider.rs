//! The kinds of forge.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api::Forge;
use super::{gitea, github, gitlab};

/// The kinds of forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Provider {
    /// Gitea.
    Gitea,
    /// Forgejo, which keeps Gitea's API.
    Forgejo,
    /// GitHub and GitHub Enterprise Server.
    GitHub,
    /// GitLab.
    GitLab,
}

impl Provider {
    /// What this kind of forge does otherwise than the others.
    pub(super) fn forge(self) -> &'static dyn Forge {
        match self {
            Self::Gitea | Self::Forgejo => &gitea::Gitea,
            Self::GitHub => &github::GitHub,
            Self::GitLab => &gitlab::GitLab,
        }
    }
}
