//! The agent's side: git config rules that lead its usual remotes through the gate.
//!
//! `insteadOf` (git-config(1), `url.<base>.insteadOf`) replaces the beginning of a URL; of several
//! rules that fit, git takes the longest. So each spelling stands once with `.git` and once
//! without, and the rule without it also catches what merely begins like this upstream: such a
//! repository is not on the gate and the gate says so.

use std::collections::BTreeMap;
use std::fmt::Write;

use thiserror::Error;

use super::manifest::{Entry, Manifest};
use git_gate::text;
use git_gate::upstream::url::bracketed;

/// Why no rules were made.
#[derive(Debug, Error)]
pub enum GitconfigError {
    /// The gate's address would not do in a URL.
    #[error("{0:?} is not HOST or HOST:PORT")]
    GateHost(String),
    /// The scheme would not do in a URL.
    #[error("{0:?} is not a URL scheme such as git or http")]
    Scheme(String),
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
/// reading wins: the host itself before an alias, an alias before a port left out.
fn rules(entries: &[Entry]) -> BTreeMap<String, &str> {
    let mut rules = BTreeMap::new();
    for spellings in [of_host, of_alias, without_port] {
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
    all.extend(with_port(entry, &host, entry.url.port()));
    if entry.url.port() == 22 {
        all.extend(short(entry, &host));
    }
    all
}

/// The same behind the alias, whose port may also stand in the agent's ssh config.
fn of_alias(entry: &Entry) -> Vec<String> {
    let Some(alias) = &entry.remote_key else {
        return Vec::new();
    };
    let mut all = with_port(entry, alias, entry.url.port());
    all.extend(short(entry, alias));
    all
}

/// The spellings that leave out a port other than 22.
fn without_port(entry: &Entry) -> Vec<String> {
    short(entry, &bracketed(entry.url.host()))
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
