//! What a hook knows of its repository.

use std::path::PathBuf;

use git2::{Config, ConfigLevel, Repository};

use super::git_config::{boolean, globs, string};
use super::{Limits, Login, Policy, RefPattern, SettingsError};
use crate::url::https_url::is_https;
use crate::{text, unix_socket};

/// What a hook knows of its repository.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `remote.origin.url`: the upstream.
    pub url: String,
    /// `git-gate.identityFile`: the ssh private key; empty for an https upstream.
    pub identity_file: PathBuf,
    /// `git-gate.knownHosts`: the pinned host keys, the only ones that count; empty for an https
    /// upstream.
    pub known_hosts: PathBuf,
    /// How the gate logs in at an https upstream.
    pub login: Login,
    /// `git-gate.fetchRef`: the upstream's refs that the mirror has.
    pub fetch_ref: Vec<RefPattern>,
    /// What an agent may do to refs.
    pub policy: Policy,
    /// `git-gate.readOnly`: no push is taken.
    pub read_only: bool,
    /// `git-gate.gitleaksConfig`: rules that extend or replace the scanner's own.
    pub gitleaks_config: Option<PathBuf>,
    /// `git-gate.exceptions`: the operator's accepted findings.
    pub exceptions: Option<PathBuf>,
    /// Every wait and size that has an end.
    pub limits: Limits,
    /// gate-init's run directory: where it lends scanners, and what is known of their rules is noted.
    pub run_dir: PathBuf,
}

impl Settings {
    /// Those of a scan behind which nothing is forwarded: no upstream, and nothing set.
    pub fn without_upstream() -> Self {
        Self {
            url: String::new(),
            identity_file: PathBuf::new(),
            known_hosts: PathBuf::new(),
            login: Login::default(),
            fetch_ref: Vec::new(),
            policy: Policy::default(),
            read_only: false,
            gitleaks_config: None,
            exceptions: None,
            limits: Limits::default(),
            run_dir: unix_socket::run_dir(),
        }
    }

    /// Reads the settings of `repository` from its own config file.
    pub fn read(repository: &Repository) -> Result<Self, SettingsError> {
        let config = repository
            .config()
            .and_then(|config| config.open_level(ConfigLevel::Local))
            .map_err(SettingsError::Unreadable)?;
        refuse_unknown_keys(&config)?;
        let required = |key: &str| {
            string(&config, key)?.ok_or_else(|| SettingsError::Missing {
                key: key.to_owned(),
            })
        };
        let url = required("remote.origin.url")?;
        let of_ssh = |key: &str| match is_https(&url) {
            true => Ok(PathBuf::new()),
            false => required(key).map(PathBuf::from),
        };
        Ok(Self {
            identity_file: of_ssh("git-gate.identityFile")?,
            known_hosts: of_ssh("git-gate.knownHosts")?,
            login: Login::read(&config)?,
            url,
            fetch_ref: globs(&config, "git-gate.fetchRef")?,
            policy: Policy::read(&config)?,
            read_only: boolean(&config, "git-gate.readOnly")?,
            gitleaks_config: string(&config, "git-gate.gitleaksConfig")?.map(PathBuf::from),
            exceptions: string(&config, "git-gate.exceptions")?.map(PathBuf::from),
            limits: Limits::read(&config)?,
            run_dir: unix_socket::run_dir(),
        })
    }
}

/// The keys of the section `git-gate` that are no limits.
const KEYS: &[&str] = &[
    "identityFile",
    "knownHosts",
    "user",
    "tokenFile",
    "credentialCommand",
    "caFile",
    "gitleaksConfig",
    "exceptions",
    "fetchRef",
    "readOnly",
    "allowRef",
    "forcePush",
    "deletes",
    "maxDeletes",
    "allowPushOption",
    "atomic",
    "denyPath",
    "allowPath",
    "protect",
    "allowAuthor",
    "requireSignature",
    "maxFileSize",
    "maxCommits",
    "maxFiles",
    "hold",
    "notify",
    "mode",
    "suspects",
];

/// A misspelt rule must not look like one that holds. git writes section and key in any case.
fn refuse_unknown_keys(config: &Config) -> Result<(), SettingsError> {
    let known = || KEYS.iter().chain(Limits::NAMES).copied();
    let mut unknown = None;
    let entries = config.entries(Some("^git-gate[.]"));
    let look = entries
        .map_err(SettingsError::Unreadable)?
        .for_each(|entry| {
            let full = String::from_utf8_lossy(entry.name_bytes());
            let name = full.split_once('.').map_or("", |(_, name)| name);
            if !known().any(|known| known.eq_ignore_ascii_case(name)) {
                unknown.get_or_insert_with(|| name.to_owned());
            }
        });
    look.map_err(SettingsError::Unreadable)?;
    unknown.map_or(Ok(()), |name| {
        Err(SettingsError::Unknown {
            key: text::line(format!("git-gate.{name}").as_bytes()),
            nearest: text::nearest(&name, known()).map(|key| format!("git-gate.{key}")),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_names_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path()).unwrap();
        let mut config = repository.config().unwrap();
        for key in [
            "remote.origin.url",
            "git-gate.identityFile",
            "git-gate.knownHosts",
        ] {
            let missing = Settings::read(&repository).unwrap_err().to_string();
            assert!(missing.contains(key), "{missing}");
            config.set_str(key, "x").unwrap();
        }
        assert_eq!(
            Settings::read(&repository).unwrap().limits,
            Limits::default()
        );
        for (key, value) in [
            ("git-gate.forcePush", "maybe"),
            ("git-gate.readOnly", "maybe"),
            ("git-gate.scanTimeout", "-1"),
            ("git-gate.maxPushSize", "much"),
        ] {
            config.set_str(key, value).unwrap();
            let error = Settings::read(&repository).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
            config.remove(key).unwrap();
        }
        config.set_str("git-gate.maxPushSize", "2g").unwrap();
        assert_eq!(
            Settings::read(&repository).unwrap().limits.max_push_size,
            2 << 30
        );
    }
}
