//! Why the upstream was not reached or said no, in words that an agent can act on.

use std::path::PathBuf;

use thiserror::Error;

use super::url::UrlError;
use crate::git::RefsError;
use crate::mirror::lock::LockError;
use crate::process::ProcessError;
use crate::text;

/// The words of [`UpstreamError::ObjectFormat`] by which gate-init learns of it from a hook.
pub const OTHER_FORMAT: &str = "object format is not the mirror's";

/// How many lines of the upstream's own words an error repeats.
const SAID_LINES: usize = 4;

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

/// What an error text needs to know of the connection.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The upstream as it is shown.
    pub upstream: String,
    pub key: PathBuf,
    pub known_hosts: PathBuf,
    pub connect: u64,
    pub silence: u64,
    /// The object format of the mirror.
    pub format: &'static str,
}

impl Context {
    /// The meaning of ssh's own words, when there are any in `stderr` (ssh_config(5) has none of
    /// these texts; they are those of OpenSSH since 7.0).
    pub fn ssh_error(&self, stderr: &[u8]) -> Option<UpstreamError> {
        // The upstream writes what stands behind `remote: `.
        let lines: Vec<String> = text::lines(stderr)
            .filter(|line| !line.starts_with("remote:"))
            .collect();
        if let Some(problem) = lines.iter().find(|line| line.contains(NOT_STARTED)) {
            let problem = problem.clone();
            return Some(UpstreamError::Missing { problem });
        }
        let find = |words: &[&str]| {
            let matches = |line: &&String| words.iter().any(|word| line.contains(word));
            lines.iter().find(matches).cloned()
        };
        let (upstream, known_hosts) = (self.upstream.clone(), self.known_hosts.clone());
        if let Some(reason) = find(&KEY_FILE) {
            let reason = match reason.rsplit_once("\": ") {
                Some((_, reason)) => reason.to_owned(),
                None => "others can read it (ssh wants mode 0600)".to_owned(),
            };
            let path = self.key.clone();
            return Some(UpstreamError::UnusableKey { path, reason });
        }
        if find(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]).is_some() {
            return Some(UpstreamError::HostKeyChanged {
                upstream,
                known_hosts,
            });
        }
        if find(&["host key is known for", "Host key verification failed"]).is_some() {
            return Some(UpstreamError::HostKeyUnknown {
                upstream,
                known_hosts,
            });
        }
        if find(&["Permission denied (", "Too many authentication failures"]).is_some() {
            return Some(UpstreamError::KeyRefused { upstream });
        }
        if find(&["not responding"]).is_some() {
            return Some(self.silent());
        }
        if find(&["timed out"]).is_some() {
            return Some(self.slow_to_connect());
        }
        find(&UNREACHABLE).map(|reason| UpstreamError::Unreachable { upstream, reason })
    }

    /// The meaning of what a git command that talks to the upstream printed when it failed.
    pub fn git_error(&self, stderr: &[u8]) -> UpstreamError {
        if let Some(error) = self.ssh_error(stderr) {
            return error;
        }
        let lines: Vec<String> = text::lines(stderr).collect();
        let has = |words: &[&str]| words.iter().any(|w| lines.iter().any(|l| l.contains(w)));
        // The words of protocol version 2, those of the older ones, and those of a push.
        if has(&[
            "mismatched algorithms",
            "this repository's object format",
            "this repository's hash algorithm",
        ]) {
            return UpstreamError::ObjectFormat {
                mirror: self.format,
            };
        }
        // The upstream's own disk is told behind `remote:`.
        let is_ours = |line: &String| !line.starts_with("remote:") && line.contains(DISK_FULL);
        if lines.iter().any(is_ours) {
            return UpstreamError::DiskFull;
        }
        let said: Vec<&String> = lines
            .iter()
            .filter(|line| !BROKEN.iter().any(|words| line.contains(words)))
            .take(SAID_LINES)
            .collect();
        let joined = said
            .iter()
            .map(|s| s.as_str())
            .collect::<Vec<_>>()
            .join(" / ");
        let upstream = self.upstream.clone();
        if has(&["Could not read from remote repository"]) && !said.is_empty() {
            return UpstreamError::Refused {
                upstream,
                said: joined,
            };
        }
        if has(&BROKEN) {
            return UpstreamError::Lost { upstream };
        }
        let said = match joined.is_empty() {
            true => "it said nothing".to_owned(),
            false => joined,
        };
        UpstreamError::Git { said }
    }

    pub fn silent(&self) -> UpstreamError {
        UpstreamError::Limit {
            limit: "silenceTimeout",
            seconds: self.silence,
            what: format!("waiting for an answer of {}", self.upstream),
        }
    }

    pub fn slow_to_connect(&self) -> UpstreamError {
        UpstreamError::Limit {
            limit: "connectTimeout",
            seconds: self.connect,
            what: format!("connecting to {}", self.upstream),
        }
    }
}

/// The system's words for a disk without room (errno(3), ENOSPC), in the C locale.
pub const DISK_FULL: &str = "No space left on device";

/// Our own words for a program that is not there: see `ssh::become_program`.
pub(super) const NOT_STARTED: &str = "cannot be started";

/// ssh's words for a key file that it does not take.
const KEY_FILE: [&str; 4] = [
    "Load key \"",
    "UNPROTECTED PRIVATE KEY FILE",
    "bad permissions",
    "Bad owner or permissions",
];

/// ssh's words for a connection that does not come about.
const UNREACHABLE: [&str; 8] = [
    "Connection refused",
    "No route to host",
    "Network is unreachable",
    "Could not resolve hostname",
    "kex_exchange_identification",
    "Connection closed by",
    "Connection reset by",
    "no matching",
];

/// git's and ssh's words for a connection that ended in the middle, and the hints around them.
const BROKEN: [&str; 13] = [
    "the remote end hung up",
    "early EOF",
    "unexpected disconnect",
    "Broken pipe",
    "Could not read from remote repository",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
    "mux_client_",
    "Connection to ",
    "client_loop:",
    "fetch-pack: invalid index-pack output",
    "expected flush after ref listing",
    "Shared connection to",
];
