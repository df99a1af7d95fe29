//! Why the upstream was not reached or said no, in words that an agent can act on.

use std::path::PathBuf;

use thiserror::Error;

use crate::git::RefsError;
use crate::mirror::lock::LockError;
use crate::process::ProcessError;
use crate::text;
use crate::url::ssh_url::UrlError;

/// The words of [`UpstreamError::ObjectFormat`] by which gate-init learns of it from a hook.
pub const OTHER_FORMAT: &str = "object format is not the mirror's";

/// Why the upstream was not reached, or said no. Each text ends with what to do next.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// `remote.origin.url` cannot be used.
    #[error("git config remote.origin.url cannot be used; the operator must correct it")]
    Url(#[from] UrlError),
    /// The key file is not there.
    #[error(
        "no ssh key for the upstream: {} is missing; the operator must provide it (git-gate.identityFile)",
        path.display()
    )]
    MissingKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file with the pinned host keys is not there.
    #[error(
        "no pinned host key for the upstream: {} is missing; the operator must provide it (git-gate.knownHosts)",
        path.display()
    )]
    MissingKnownHosts {
        /// Where it should be.
        path: PathBuf,
    },
    /// ssh does not take the key file.
    #[error("ssh cannot use the key {}: {reason}; the operator must correct it", path.display())]
    UnusableKey {
        /// The key file.
        path: PathBuf,
        /// ssh's reason.
        reason: String,
    },
    /// The upstream showed another host key than the pinned one.
    #[error(
        "the host key of {upstream} is not the pinned one, so nothing was sent; the operator must find out why before pinning another in {}",
        known_hosts.display()
    )]
    HostKeyChanged {
        /// The upstream.
        upstream: String,
        /// The file with the pinned keys.
        known_hosts: PathBuf,
    },
    /// No host key is pinned for the upstream.
    #[error(
        "no host key of {upstream} is pinned, so nothing was sent; the operator must add it to {}",
        known_hosts.display()
    )]
    HostKeyUnknown {
        /// The upstream.
        upstream: String,
        /// The file with the pinned keys.
        known_hosts: PathBuf,
    },
    /// The upstream does not let the key in.
    #[error("{upstream} does not accept the gate's key; the operator must register it there")]
    KeyRefused {
        /// The upstream.
        upstream: String,
    },
    /// There is no token for an https upstream.
    #[error(
        "no token for the upstream: {problem}; the operator must provide it (git-gate.tokenFile, or git-gate.credentialCommand)"
    )]
    NoToken {
        /// What is wrong.
        problem: String,
    },
    /// The file with the pinned CA is not there.
    #[error(
        "no pinned CA for the upstream: {problem}; the operator must provide it (git-gate.caFile)"
    )]
    NoCa {
        /// What is wrong.
        problem: String,
    },
    /// The upstream does not know the token.
    #[error(
        "{upstream} does not accept the gate's token (it may have expired); the operator must renew it"
    )]
    TokenRefused {
        /// The upstream.
        upstream: String,
    },
    /// The upstream knows the token, which may not do this.
    #[error(
        "{upstream} does not let the gate's token do this (HTTP 403); the operator must give it the right to read and to write there"
    )]
    Forbidden {
        /// The upstream.
        upstream: String,
    },
    /// The upstream has no such repository, or hides it.
    #[error(
        "{upstream} is not there, or is not shown to the gate's token; the operator must correct the URL or the token's rights"
    )]
    NoRepository {
        /// The upstream.
        upstream: String,
    },
    /// The upstream's certificate is not to be trusted.
    #[error(
        "the certificate of {upstream} is not trusted ({reason}), so no token was sent; the operator must find out why before pinning another CA (NAME-ca.pem, git-gate.caFile)"
    )]
    Certificate {
        /// The upstream.
        upstream: String,
        /// libcurl's reason.
        reason: String,
    },
    /// The upstream names another URL.
    #[error(
        "{upstream} says that it has moved, and the gate follows nobody with its token; the operator must write the URL that it has now"
    )]
    Redirected {
        /// The upstream.
        upstream: String,
    },
    /// There is no connection.
    #[error("cannot reach {upstream}: {reason}; try again, or tell the operator")]
    Unreachable {
        /// The upstream.
        upstream: String,
        /// ssh's reason.
        reason: String,
    },
    /// A limit was hit.
    #[error(
        "{what} took longer than git-gate.{limit} ({seconds} s) and was ended; try again, or tell the operator"
    )]
    Limit {
        /// The limit's name.
        limit: &'static str,
        /// Its value.
        seconds: u64,
        /// What took so long.
        what: String,
    },
    /// The connection broke while it was in use.
    #[error("the connection to {upstream} broke; try again")]
    Lost {
        /// The upstream.
        upstream: String,
    },
    /// A push broke off, and what came of it could not be learnt.
    #[error("{cause}; whether the push arrived is not known; run git fetch, which shows it")]
    Unconfirmed {
        /// What broke, and why the upstream could not be asked.
        cause: String,
    },
    /// The upstream's git answered with an error.
    #[error("{upstream} refused: {said}")]
    Refused {
        /// The upstream.
        upstream: String,
        /// Its words.
        said: String,
    },
    /// The upstream, or the gate's own mirror, takes not every ref update of a push; none was made
    /// unless the text says so.
    #[error("nothing was pushed: {reasons}")]
    Rejected {
        /// One sentence a ref.
        reasons: String,
    },
    /// As [`UpstreamError::Rejected`], where the upstream has no atomic push and some refs went up.
    #[error(
        "pushed only in part, since the upstream has no atomic push: {reasons}; {pushed} went up; run git fetch"
    )]
    Partial {
        /// One sentence for each ref that was rejected.
        reasons: String,
        /// The refs that went up.
        pushed: String,
    },
    /// The upstream cannot do something that the push needs.
    #[error("{upstream} has no {feature}; {advice}")]
    Unsupported {
        /// The upstream.
        upstream: String,
        /// What it lacks.
        feature: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// SHA-1 against SHA-256.
    #[error(
        "the upstream's {OTHER_FORMAT} ({mirror}); gate-init makes the mirror anew, so try again in a minute; without gate-init the operator must remove the mirror"
    )]
    ObjectFormat {
        /// `sha1` or `sha256`.
        mirror: &'static str,
    },
    /// No lock on the mirror.
    #[error("the gate's mirror is busy; try again")]
    Lock(#[from] LockError),
    /// The mirror cannot be read or written.
    #[error("the gate's mirror cannot be used; tell the operator")]
    Mirror(#[from] git2::Error),
    /// Its refs cannot be listed.
    #[error(transparent)]
    Refs(#[from] RefsError),
    /// A git command of the gate was killed.
    #[error("the gate's git gave no answer: {how}; try again, or tell the operator")]
    Killed {
        /// How it ended.
        how: String,
    },
    /// The gate has no room for what it fetches.
    #[error("the gate's disk is full; tell the operator, who makes room for the mirror")]
    DiskFull,
    /// A program is not there.
    #[error("{problem}; the operator must install it")]
    Missing {
        /// Which, and the system's reason.
        problem: String,
    },
    /// A second try failed too.
    #[error("{first}, then {again}")]
    Twice {
        /// Why the first one failed.
        first: String,
        /// Why the second one failed, with what to do.
        again: Box<UpstreamError>,
    },
    /// A git command of the gate failed on its own side.
    #[error("the gate's git failed: {said}; tell the operator")]
    Git {
        /// Its words.
        said: String,
    },
    /// A program did not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Something of the system's failed.
    #[error("cannot {what}; tell the operator")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another fetch's refresh failed, which began after this fetch had come.
    #[error("{0}")]
    Shared(String),
}

impl UpstreamError {
    /// The error without its advice: what stands before the first semicolon.
    pub(super) fn brief(&self) -> String {
        let text = text::chain(self);
        text.split(';').next().unwrap_or(&text).to_owned()
    }

    /// Whether a connection that stood has broken.
    pub(super) fn is_broken_connection(&self) -> bool {
        let is_silent = matches!(self, Self::Limit { limit, .. } if *limit == "silenceTimeout");
        is_silent || matches!(self, Self::Lost { .. })
    }

    /// Whether a push that ended so may have reached the upstream all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        let is_late = matches!(self, Self::Limit { limit, .. } if *limit == "forwardTimeout");
        is_late || matches!(self, Self::Killed { .. }) || self.is_broken_connection()
    }
}
