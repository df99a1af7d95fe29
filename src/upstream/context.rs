//! What git and ssh print when they fail, and what it means.

use std::path::PathBuf;

use super::UpstreamError;
use crate::text;

/// How many lines of the upstream's own words an error repeats.
const SAID_LINES: usize = 4;

/// What an error text needs to know of the connection.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The upstream as it is shown.
    pub upstream: String,
    /// The credential's file.
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
        let said: Vec<&str> = lines
            .iter()
            .filter(|line| !BROKEN.iter().any(|words| line.contains(words)))
            .map(|line| line.strip_prefix("remote:").unwrap_or(line).trim())
            // Some forges draw a frame around what they say.
            .filter(|line| line.contains(char::is_alphanumeric))
            .take(SAID_LINES)
            .collect();
        let joined = said.join(" / ");
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
