//! The agent's side: git config rules that lead its usual remotes through the gate.
//!
//! `insteadOf` (git-config(1), `url.<base>.insteadOf`) replaces the beginning of a URL; of several
//! rules that fit, git takes the longest. So each spelling stands once with `.git` and once
//! without, and the rule without it also catches what merely begins like this upstream: such a
//! repository is not on the gate and the gate says so.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use super::manifest::{Entry, Manifest};
use git_gate::replace_file::replace_file;
use git_gate::text;
use git_gate::url::ssh_url::bracketed;

/// Why no rules were made.
#[derive(Debug, Error)]
pub enum GitconfigError {
    /// The gate's address would not do in a URL.
    #[error("{0:?} is not HOST or HOST:PORT")]
    GateHost(String),
    /// The agent's token cannot be read.
    #[error("cannot use the token in {}: {problem}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The agent's credentials cannot be written, or found there.
    #[error("cannot use {} for the agent's credentials: {problem}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The scheme would not do in a URL.
    #[error("{0:?} is not a URL scheme such as git or http")]
    Scheme(String),
}

/// The agent's login at a gate that knows agents by their tokens.
#[derive(Debug)]
pub struct Login<'a> {
    /// The file with its token.
    pub token_file: &'a Path,
    /// The file that is written, in the format of git-credential-store(1).
    pub credentials: &'a Path,
    /// Where the agent finds that file.
    pub at: &'a Path,
}

impl Login<'_> {
    /// Writes the file, which nobody but its owner may read, and returns the git config that names it.
    /// The token itself stands in no config.
    pub fn write(&self, gate_host: &str, scheme: &str) -> Result<String, GitconfigError> {
        let unreadable = |problem: String| GitconfigError::Token {
            path: self.token_file.to_owned(),
            problem,
        };
        let token = fs::read_to_string(self.token_file);
        let token = token.map_err(|error| unreadable(error.to_string()))?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unreadable("it holds no token, or more than one".to_owned()));
        }
        let at = self.at.to_str().filter(|at| is_plain(at));
        let at = at.ok_or_else(|| GitconfigError::Credentials {
            path: self.at.to_owned(),
            problem: "git would not find it: letters, digits and / . - _ alone".to_owned(),
        })?;
        let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
        let line = format!("{scheme}://agent:{token}@{gate_host}\n");
        replace_file(self.credentials, line.as_bytes()).map_err(|error| {
            GitconfigError::Credentials {
                path: self.credentials.to_owned(),
                problem: error.to_string(),
            }
        })?;
        let gate = quoted(&format!("{scheme}://{gate_host}"));
        // The empty helper drops those of the system. From git 2.46 on the token is sent unasked.
        Ok(format!(
            "[credential {gate}]\n\thelper =\n\thelper = store --file={at}\n[http {gate}]\n\tproactiveAuth = basic\n"
        ))
    }
}

/// Whether neither git config nor the shell that git gives a helper to reads anything else into `path`.
fn is_plain(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    path.starts_with('/') && path.chars().all(plain)
}

/// The rules for every upstream of `manifest`, as the text of a git config file. `gate_host` is
/// the gate as the agent reaches it, `HOST` or `HOST:PORT`.
pub fn gitconfig(
    manifest: &Manifest,
    gate_host: &str,
    scheme: &str,
) -> Result<String, GitconfigError> {
    let in_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if gate_host.is_empty() || !gate_host.chars().all(in_host) {
        return Err(GitconfigError::GateHost(text::line(gate_host.as_bytes())));
    }
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(in_scheme) {
        return Err(GitconfigError::Scheme(text::line(scheme.as_bytes())));
    }
    let rules = rules(&manifest.entries);
    let mut out = String::new();
    if !manifest.entries.is_empty() {
        out.push_str("# git-gate: every use of these upstreams goes through the gate.\n");
    }
    for entry in &manifest.entries {
        let base = format!("{scheme}://{gate_host}/{}.git", entry.name);
        let _ = writeln!(out, "[url {}]", quoted(&base));
        for (spelling, _) in rules.iter().filter(|(_, name)| **name == entry.name) {
            let _ = writeln!(out, "\tinsteadOf = {}", value(spelling));
        }
    }
    Ok(out)
}

/// Each spelling and the upstream that it means. Where two upstreams could be meant, the plainer
/// reading wins: the host itself before an alias, an alias before a port left out, ssh before https.
fn rules(entries: &[Entry]) -> BTreeMap<String, &str> {
    let mut rules = BTreeMap::new();
    for spellings in [of_host, of_alias, without_port, over_https] {
        for entry in entries {
            for spelling in spellings(entry) {
                rules.entry(spelling).or_insert(entry.name.as_str());
            }
        }
    }
    rules
}

/// The URL as the manifest has it, and the other ways to write the same.
fn of_host(entry: &Entry) -> Vec<String> {
    let host = bracketed(entry.url.host());
    let mut all = vec![entry.url.to_string()];
    all.extend(with_port(entry, &host, entry.url.ssh_port()));
    if entry.url.ssh_port() == 22 {
        all.extend(short(entry, &host));
    }
    all
}

/// The same behind the alias, whose port may also stand in the agent's ssh config.
fn of_alias(entry: &Entry) -> Vec<String> {
    let Some(alias) = &entry.remote_key else {
        return Vec::new();
    };
    let mut all = with_port(entry, alias, entry.url.ssh_port());
    all.extend(short(entry, alias));
    all
}

/// The spellings that leave out a port other than 22.
fn without_port(entry: &Entry) -> Vec<String> {
    short(entry, &bracketed(entry.url.host()))
}

/// `https://HOST/PATH`, with and without the user that some tools write.
fn over_https(entry: &Entry) -> Vec<String> {
    let (user, host) = (entry.url.user(), entry.url.https_host());
    let spell = |path: String| {
        [
            format!("https://{host}/{path}"),
            format!("https://{user}@{host}/{path}"),
        ]
    };
    paths(entry).into_iter().flat_map(spell).collect()
}

/// `ssh://USER@HOST:PORT/PATH`.
fn with_port(entry: &Entry, host: &str, port: u16) -> Vec<String> {
    let user = entry.url.user();
    let paths = paths(entry).into_iter();
    paths
        .map(|path| format!("ssh://{user}@{host}:{port}/{path}"))
        .collect()
}

/// `ssh://USER@HOST/PATH` and the scp-like `USER@HOST:PATH`, its path from the root or not.
fn short(entry: &Entry, host: &str) -> Vec<String> {
    let user = entry.url.user();
    let spell = |path: String| {
        [
            format!("ssh://{user}@{host}/{path}"),
            format!("{user}@{host}:{path}"),
            format!("{user}@{host}:/{path}"),
        ]
    };
    paths(entry).into_iter().flat_map(spell).collect()
}

/// The path without its first slash, with and without `.git`.
fn paths(entry: &Entry) -> [String; 2] {
    let path = entry.url.path().trim_matches('/');
    let bare = path.strip_suffix(".git").unwrap_or(path);
    [format!("{bare}.git"), bare.to_owned()]
}

/// `text` as the name of a git config subsection.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// `text` as a git config value, quoted where a plain one would be read as something else.
fn value(text: &str) -> String {
    if text.contains(['"', '\\', '#', ';']) || text.trim() != text {
        quoted(text)
    } else {
        text.to_owned()
    }
}
