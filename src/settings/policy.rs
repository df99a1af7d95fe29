//! What an agent may push.

use std::path::PathBuf;

use git2::Config;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::git_config::{globs, string, strings, unsigned, word, words};
use super::{PathGlob, Protect, SettingsError};
use crate::deadline::LONGEST;

/// What an agent may do to refs: the `policy` of an upstream in `gate.json`, and git config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Globs over full ref names, such as `refs/heads/agent/*`; `*` also matches `/`. Empty: any ref.
    pub allow_ref: Vec<String>,
    /// What happens to a push that is not a fast-forward.
    pub force_push: ForcePush,
    /// Whether refs may be deleted.
    pub deletes: Deletes,
    /// How many refs one push may delete.
    pub max_deletes: u64,
    /// Globs over push options (`git push -o`) that go on to the upstream. Empty: none does.
    pub allow_push_option: Vec<String>,
    /// What happens to a push of several refs when the upstream cannot do it atomically.
    pub atomic: Atomic,
    /// Globs over paths, as in gitignore(5), that no new commit may add, change or delete.
    pub deny_path: Vec<PathGlob>,
    /// Globs over paths that may be changed all the same.
    pub allow_path: Vec<PathGlob>,
    /// Ready-made sets of paths that no new commit may add, change or delete. In gate.json all of them
    /// are in force unless it says otherwise; in git config, only those that it names.
    pub protect: Vec<Protect>,
    /// Globs over the e-mail addresses that author and committer of a new commit may have. Empty: any.
    pub allow_author: Vec<String>,
    /// The file of keys one of which must have signed each new commit (ssh-keygen(1), "ALLOWED
    /// SIGNERS"). None: no signature is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_signature: Option<PathBuf>,
    /// Bytes that a file of a push may have. None: only `maxObjectSize` holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_size: Option<u64>,
    /// How many commits a push may bring. None: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_commits: Option<u64>,
    /// How many files the commits of a push may change together. None: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u64>,
    /// Seconds for which a push that is refused for its content waits for the operator's answer.
    #[schemars(range(max = LONGEST))]
    pub hold: u64,
    /// A program and its arguments that gets each such refusal as JSON on its standard input.
    pub notify: Vec<String>,
    /// What becomes of a push that is refused for its content.
    pub mode: Mode,
    /// What happens to a push in which something may be a secret.
    pub suspects: Suspects,
}

/// `git-gate.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is told what would be refused, and forwarded all the same: a dry run.
    Observe,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_ref: Vec::new(),
            force_push: ForcePush::default(),
            deletes: Deletes::default(),
            max_deletes: 1,
            allow_push_option: Vec::new(),
            atomic: Atomic::default(),
            deny_path: Vec::new(),
            allow_path: Vec::new(),
            protect: Protect::ALL.to_vec(),
            allow_author: Vec::new(),
            require_signature: None,
            max_file_size: None,
            max_commits: None,
            max_files: None,
            hold: 0,
            notify: Vec::new(),
            mode: Mode::default(),
            suspects: Suspects::default(),
        }
    }
}

/// `git-gate.forcePush`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForcePush {
    /// Only fast-forwards.
    #[default]
    Refuse,
    /// Rewrites go through when the upstream still has the value that the client saw.
    Lease,
}

/// `git-gate.deletes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deletes {
    /// Refs may be deleted.
    #[default]
    Allow,
    /// No ref may be deleted.
    Refuse,
}

/// `git-gate.atomic`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Atomic {
    /// Several refs go up together or not at all.
    #[default]
    Require,
    /// Where the upstream has no atomic push, refs may go up one by one.
    Prefer,
}

/// `git-gate.suspects`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Suspects {
    /// The client and the operator are told, and the push goes on.
    #[default]
    Tell,
    /// The push is refused.
    Refuse,
}

impl Policy {
    pub(super) fn read(config: &Config) -> Result<Self, SettingsError> {
        Ok(Self {
            allow_ref: strings(config, "git-gate.allowRef")?,
            force_push: word(config, "git-gate.forcePush")?,
            deletes: word(config, "git-gate.deletes")?,
            max_deletes: unsigned(config, "maxDeletes")?.unwrap_or(Self::default().max_deletes),
            allow_push_option: strings(config, "git-gate.allowPushOption")?,
            atomic: word(config, "git-gate.atomic")?,
            deny_path: globs(config, "git-gate.denyPath")?,
            allow_path: globs(config, "git-gate.allowPath")?,
            protect: words(config, "git-gate.protect")?,
            allow_author: strings(config, "git-gate.allowAuthor")?,
            require_signature: string(config, "git-gate.requireSignature")?.map(PathBuf::from),
            max_file_size: unsigned(config, "maxFileSize")?,
            max_commits: unsigned(config, "maxCommits")?,
            max_files: unsigned(config, "maxFiles")?,
            hold: unsigned(config, "hold")?.unwrap_or(0).min(LONGEST),
            notify: strings(config, "git-gate.notify")?,
            mode: word(config, "git-gate.mode")?,
            suspects: word(config, "git-gate.suspects")?,
        })
    }
}
