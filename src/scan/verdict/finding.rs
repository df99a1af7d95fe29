//! What refuses a push, as it is told: nothing of the secret itself.

use serde::Serialize;

use crate::scan::exceptions::Ruling;

/// One secret at one place, with nothing of the secret itself; or something that cannot be scanned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// The way into an archive or an encoding: `inner.zip!dir/file`. Empty for the place itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub member: String,
    /// Its line, from 1, where the place has lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The oldest commit of the push that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitName>,
    /// gitleaks' rule id, `unscannable`, or the setting that it is against (`git-gate.protect`).
    pub rule: String,
    /// What the rule finds, or why it cannot be scanned, in words.
    pub description: String,
    /// A stand-in for the secret: its length. Empty for what cannot be scanned.
    pub redacted: String,
    /// What to do about it.
    pub remedy: Remedy,
    /// The line that an operator adds to the exceptions, without its reason.
    pub exception: String,
    /// Where the operator's exception for it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<Expired>,
}

/// An exception that is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Expired {
    /// Its last day, `YYYY-MM-DD`.
    pub until: String,
    /// Its line in the file, from 1.
    pub line: usize,
}

/// A commit as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CommitName {
    /// Its full id.
    pub id: String,
    /// The first line of its message, safe to show.
    pub subject: String,
}

/// The kind of place that a secret stands in. Names and paths are safe to show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum Place {
    /// A file.
    File {
        /// Its path.
        path: String,
    },
    /// The name of a file or directory.
    FileName {
        /// The path or name, with the secret masked.
        path: String,
    },
    /// A blob that no commit of the push holds under a path.
    Blob {
        /// Its id.
        id: String,
    },
    /// The message of a commit.
    CommitMessage,
    /// The headers of a commit: names, addresses, signature.
    CommitHeader,
    /// The message of a tag.
    TagMessage {
        /// The tag's ref, or its id.
        tag: String,
    },
    /// The headers of a tag.
    TagHeader {
        /// The tag's ref, or its id.
        tag: String,
    },
    /// The name of a ref.
    RefName {
        /// Which one, as it may be shown.
        name: String,
    },
    /// A push option.
    PushOption,
    /// The push as a whole.
    Push,
}

/// What helps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Remedy {
    /// Only the newest commit has it.
    Amend,
    /// An older commit has it.
    Rebase {
        /// `<commit>^`, or `--root`.
        onto: String,
    },
    /// The ref needs another name.
    RenameRef,
    /// The tag must be made again.
    Retag,
    /// The push must be made without the option.
    DropOption,
    /// No commit of the push has it: the object must not be sent.
    DropObject,
    /// The path has to be as the upstream has it.
    Restore,
    /// The commit needs another author or committer.
    Reauthor,
    /// The commit needs a signature that counts.
    Sign,
    /// The file is too large.
    DropFile,
    /// The push is too large.
    PushLess,
}

pub(crate) fn expired(ruling: Ruling) -> Option<Expired> {
    match ruling {
        Ruling::Expired { until, line } => Some(Expired { until, line }),
        _ => None,
    }
}

/// The start of an object's id, enough to name it.
pub(crate) fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}
