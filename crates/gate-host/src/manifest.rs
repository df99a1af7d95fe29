//! The manifest: the git part of a bottle, JSON or TOML by its file's extension.
//!
//! ```toml
//! [git-gate.repos.app]
//! upstream = "ssh://git@forge.example:2222/team/app.git"
//! identity_file = "~/.ssh/app"
//! known_host_key = "ssh-ed25519 AAAA…"
//!
//! [git-gate.repos.lib]
//! upstream = "git@forge.example:team/lib.git"
//! provisioned_key = { provider = "gitea", token_env = "FORGE_TOKEN" }
//! known_host_key = ["ssh-ed25519 AAAA…", "ssh-rsa AAAA…"]
//!
//! [git-gate.repos.web]
//! upstream = "https://forge.example/team/web.git"
//! token_file = "web.token"
//! ```
//!
//! [`Document`] is the file as it is written, and the source of its JSON Schema; [`Manifest`] is
//! what is left when every rule holds.

mod document;
mod url;

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;
use thiserror::Error;

pub use self::document::{Document, ProvisionedKey};
use self::document::{OneOrMore, Repo};
pub use self::url::Url;
use super::host_key::HostKey;
use git_gate::config;
use git_gate::settings::{Limits, Policy};

/// Why a manifest is refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It could not be read.
    #[error("cannot read the manifest {}", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Its name does not tell its language.
    #[error("the manifest {} must end in .json or .toml", .0.display())]
    Extension(PathBuf),
    /// It is not JSON, not TOML, or a key or value is not what it should be.
    #[error("the manifest {}: {problem}", path.display())]
    Document {
        /// The manifest.
        path: PathBuf,
        /// What is wrong and where.
        problem: String,
    },
    /// An entry breaks a rule.
    #[error("git-gate.repos[{name:?}]: {problem}")]
    Entry {
        /// The entry's name.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A manifest that holds every rule.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The upstreams, by name.
    pub entries: Vec<Entry>,
    /// The gate's limits.
    pub limits: Limits,
}

/// One upstream of a [`Manifest`].
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: Url,
    /// Where its private key or token comes from.
    pub credential: Credential,
    /// An ssh host's pinned keys, at least one.
    pub host_keys: Vec<HostKey>,
    /// Another host name in the agent's remotes.
    pub remote_key: Option<String>,
    /// What the agent may do to refs.
    pub policy: Policy,
    /// gitleaks rules of the operator.
    pub gitleaks_config: Option<PathBuf>,
    /// The operator's accepted findings.
    pub exceptions: Option<PathBuf>,
}

/// Where a private key or token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A file of the operator.
    IdentityFile(PathBuf),
    /// A deploy key made for this gate.
    Provisioned(ProvisionedKey),
    /// A token of the operator, and the authority that is pinned.
    Token {
        /// The file with the token.
        file: PathBuf,
        /// The authority's certificate.
        ca: Option<PathBuf>,
    },
}

impl Manifest {
    /// Reads and checks the manifest at `path`.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = fs::read_to_string(path).map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
        let document = document(path, &text)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let home = std::env::home_dir();
        Self::check(document, folder, home.as_deref())
    }

    /// Checks every rule that goes beyond the shape of the file.
    fn check(
        document: Document,
        folder: &Path,
        home: Option<&Path>,
    ) -> Result<Self, ManifestError> {
        let mut entries: Vec<Entry> = Vec::new();
        for (name, repo) in document.git_gate.repos {
            let entry = entry(&name, repo, folder, home)
                .and_then(|entry| unlike(&entries, entry))
                .map_err(|problem| ManifestError::Entry { name, problem })?;
            entries.push(entry);
        }
        Ok(Self {
            entries,
            limits: document.git_gate.limits,
        })
    }
}

/// The document in `text`, in the language that the extension of `path` names.
fn document(path: &Path, text: &str) -> Result<Document, ManifestError> {
    let refuse = |problem: String| ManifestError::Document {
        path: path.to_owned(),
        problem: problem.trim_end().to_owned(),
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    let value: Value = match extension {
        Some("json") => serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?,
        Some("toml") => toml::from_str(text).map_err(|error| refuse(error.to_string()))?,
        _ => return Err(ManifestError::Extension(path.to_owned())),
    };
    let schema = schemars::schema_for!(Document).to_value();
    if let Some(key) = config::unknown_keys(&value, &schema).first() {
        return Err(refuse(key.to_string()));
    }
    serde_json::from_value(value).map_err(|error| refuse(error.to_string()))
}

/// The entry `name`, or what is wrong with it.
fn entry(name: &str, repo: Repo, folder: &Path, home: Option<&Path>) -> Result<Entry, String> {
    let url = Url::parse(&repo.upstream).map_err(|error| format!("upstream {error}"))?;
    let remote_key = repo.remote_key.filter(|alias| !alias.is_empty());
    if let Some(alias) = &remote_key
        && !is_host(alias)
    {
        return Err(format!("remote_key {alias:?} is not a host name"));
    }
    let locate = |key, path: Option<PathBuf>| {
        let path = path.filter(|path| !path.as_os_str().is_empty());
        path.map(|path| expand(key, &path, folder, home))
            .transpose()
    };
    let given = Given {
        identity_file: locate("identity_file", repo.identity_file)?,
        provisioned_key: repo.provisioned_key,
        token_file: locate("token_file", repo.token_file)?,
        ca_file: locate("ca_file", repo.ca_file)?,
    };
    let host_keys = match (&url, repo.known_host_key) {
        (Url::Ssh(_), keys) => host_keys(keys.unwrap_or(OneOrMore::More(Vec::new())))?,
        (Url::Https(_), None) => Vec::new(),
        (Url::Https(_), Some(_)) => {
            return Err("known_host_key is for ssh; an https upstream has ca_file".to_owned());
        }
    };
    Ok(Entry {
        name: name.to_owned(),
        credential: given.credential(&url)?,
        url,
        host_keys,
        remote_key,
        policy: repo.policy,
        gitleaks_config: locate("gitleaks_config", repo.gitleaks_config)?,
        exceptions: locate("exceptions", repo.exceptions)?,
    })
}

/// What an entry says of its credential.
struct Given {
    identity_file: Option<PathBuf>,
    provisioned_key: Option<ProvisionedKey>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl Given {
    /// The one credential, which must fit the upstream.
    fn credential(self, url: &Url) -> Result<Credential, String> {
        let is_https = matches!(url, Url::Https(_));
        if !is_https && self.ca_file.is_some() {
            return Err("ca_file is for https; an ssh upstream has known_host_key".to_owned());
        }
        match (self.identity_file, self.provisioned_key, self.token_file) {
            (None, None, Some(file)) if is_https => Ok(Credential::Token {
                file,
                ca: self.ca_file,
            }),
            _ if is_https => Err(
                "an https upstream takes token_file, and neither identity_file nor provisioned_key"
                    .to_owned(),
            ),
            (_, _, Some(_)) => Err(
                "token_file is for https; an ssh upstream takes identity_file or provisioned_key"
                    .to_owned(),
            ),
            (Some(_), Some(_), None) => {
                Err("identity_file and provisioned_key both stand here; keep one".to_owned())
            }
            (None, None, None) => Err(
                "neither identity_file nor provisioned_key stands here; the gate needs one of them"
                    .to_owned(),
            ),
            (Some(path), None, None) => Ok(Credential::IdentityFile(path)),
            (None, Some(key), None) => provisioned(key).map(Credential::Provisioned),
        }
    }
}

/// `path`, the value of `key`, with `~/` replaced, and from `folder` where it is relative.
fn expand(key: &str, path: &Path, folder: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    match path.strip_prefix("~") {
        Ok(rest) => home
            .map(|home| home.join(rest))
            .ok_or_else(|| format!("{key} {}: HOME is not set", path.display())),
        Err(_) => Ok(folder.join(path)),
    }
}

/// A usable `provisioned_key`.
fn provisioned(key: ProvisionedKey) -> Result<ProvisionedKey, String> {
    let is_variable = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.token_env.is_empty() || !key.token_env.chars().all(is_variable) {
        // Not shown: whoever puts the token itself here should not find it in a log.
        return Err(
            "provisioned_key.token_env is the name of an environment variable \
                    (letters, digits, underscores), never the token itself"
                .to_owned(),
        );
    }
    Ok(ProvisionedKey {
        api_url: key.api_url.filter(|url| !url.is_empty()),
        ..key
    })
}

/// The pinned keys of an entry.
fn host_keys(lines: OneOrMore) -> Result<Vec<HostKey>, String> {
    let lines = match lines {
        OneOrMore::One(line) => vec![line],
        OneOrMore::More(lines) => lines,
    };
    if lines.iter().all(|line| line.trim().is_empty()) {
        return Err(
            "known_host_key is empty: without a pinned host key the gate talks to nobody; \
                    `gate-host scan-host-key` shows the host's keys"
                .to_owned(),
        );
    }
    lines
        .iter()
        .map(|line| HostKey::parse(line).map_err(|error| format!("known_host_key: {error}")))
        .collect()
}

/// `entry`, unless an entry before it stands for the same upstream: the agent's git could not tell
/// the two apart.
fn unlike(entries: &[Entry], entry: Entry) -> Result<Entry, String> {
    match entries
        .iter()
        .find(|other| other.url.bare() == entry.url.bare())
    {
        Some(other) => Err(format!("is the same upstream as {:?}", other.name)),
        None => Ok(entry),
    }
}

fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.starts_with('-') && text.chars().all(plain)
}
