//! Why nothing was prepared, or not all was taken back.

use std::io;
use std::path::PathBuf;

use git_gate::config::ConfigError;
use thiserror::Error;

use super::forge::ForgeError;
use super::stage::StageError;

/// Why nothing was prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The slug would not do as a part of a title.
    #[error("the slug {0:?} must be 1 to 100 letters, digits, dots, dashes and underscores")]
    Slug(String),
    /// A path cannot be made absolute.
    #[error("cannot use the path {}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The gate would refuse the configuration.
    #[error("the gate would refuse this manifest")]
    Config(#[from] ConfigError),
    /// A file that the manifest names cannot be used.
    #[error("git-gate.repos[{name:?}]: {key} {} {problem}", path.display())]
    File {
        /// The upstream.
        name: String,
        /// The manifest's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A forge did not do its part.
    #[error("git-gate.repos[{name:?}]")]
    Forge {
        /// The upstream.
        name: String,
        /// The reason.
        source: ForgeError,
    },
    /// No key pair could be made.
    #[error("cannot make a key pair: {0}")]
    KeyPair(ssh_key::Error),
    /// The stage cannot be used.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The stage holds a deploy key that this manifest does not account for.
    #[error(
        "the stage holds deploy key {id} of {name:?}, registered at {url}, which is not what the \
         manifest says now; revoke it with the manifest it was made by, then prepare again"
    )]
    Foreign {
        /// The upstream.
        name: String,
        /// The key's id.
        id: String,
        /// Where it is registered.
        url: String,
    },
    /// Somebody asked this program to end.
    #[error("interrupted")]
    Interrupted,
    /// A failure, and then deploy keys that could not be taken back.
    #[error("deploy keys are still registered: {}", keys.join("; "))]
    Stranded {
        /// The keys, each with its URL and the reason.
        keys: Vec<String>,
        /// The failure before.
        source: Box<PrepareError>,
    },
}

impl PrepareError {
    /// Whether a deploy key may still be registered somewhere.
    pub fn leaves_keys(&self) -> bool {
        match self {
            Self::Stranded { .. } | Self::Foreign { .. } => true,
            Self::Forge { source, .. } => matches!(source, ForgeError::Unknown { .. }),
            _ => false,
        }
    }
}
