//! How the gate logs in at an https upstream.

use std::path::PathBuf;

use git2::Config;

use super::SettingsError;
use super::git_config::{string, strings};
use crate::url::ssh_url::is_word;

/// How the gate logs in at an https upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `git-gate.user`: the user name beside the token.
    pub user: String,
    /// `git-gate.tokenFile`: the file that holds the token.
    pub token_file: Option<PathBuf>,
    /// `git-gate.credentialCommand`: the command that prints it instead, one argument a value.
    pub command: Vec<String>,
    /// `git-gate.caFile`: the pinned CA; else those of the system.
    pub ca_file: Option<PathBuf>,
}

/// The user name of a token that has none: forges look at the token alone.
pub const USER: &str = "x-access-token";

impl Default for Login {
    fn default() -> Self {
        Self {
            user: USER.to_owned(),
            token_file: None,
            command: Vec::new(),
            ca_file: None,
        }
    }
}

impl Login {
    pub(super) fn read(config: &Config) -> Result<Self, SettingsError> {
        let key = "git-gate.user";
        let user = string(config, key)?.unwrap_or_else(|| USER.to_owned());
        if !is_word(&user, "._-") {
            return Err(SettingsError::Invalid {
                key: key.to_owned(),
                problem: USER_PROBLEM.to_owned(),
            });
        }
        Ok(Self {
            user,
            token_file: string(config, "git-gate.tokenFile")?.map(PathBuf::from),
            command: strings(config, "git-gate.credentialCommand")?,
            ca_file: string(config, "git-gate.caFile")?.map(PathBuf::from),
        })
    }
}

/// What is wrong with another user name.
pub const USER_PROBLEM: &str = "must be letters, digits and . _ - (not first)";
