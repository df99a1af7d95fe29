//! The per-repository git config keys and the limits, typed, each with its default beside it.
//!
//! Only the repository's own config file counts: no system or global config, nothing from the
//! environment. [`crate::serve`] writes these keys from `gate.json`; an operator may also write
//! them by hand into any bare repository, which is what makes the hooks drop-in.

use std::path::PathBuf;

use git2::{Config, ConfigLevel, ErrorCode, Repository};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::deadline::LONGEST;
pub use crate::path_glob::PathGlob;
pub use crate::ref_pattern::RefPattern;
pub use crate::rules::Protect;
use crate::text;
use crate::upstream::https_url::is_https;
use crate::upstream::url::is_word;

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The repository's config could not be read.
    #[error("cannot read the repository's git config")]
    Unreadable(#[source] git2::Error),
    /// A key that must be there is not.
    #[error("git config {key} is not set for this repository")]
    Missing {
        /// The key's full name.
        key: String,
    },
    /// A key of the section `git-gate` that nobody reads: a misspelt one would leave its rule out.
    #[error("git config {key} is not a setting of the gate{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The key's full name, as git normalizes it.
        key: String,
        /// The known key that is spelt most like it, when one is near.
        nearest: Option<String>,
    },
    /// A value that its key does not take.
    #[error("git config {key}: {problem}")]
    Invalid {
        /// The key's full name.
        key: String,
        /// What is wrong, in words.
        problem: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}

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
        }
    }
}

/// How the gate logs in at an https upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `git-gate.user`: the user name beside the token.
    pub user: String,
    /// `git-gate.tokenFile`: the file that holds the token.
    pub token_file: Option<PathBuf>,
    /// `git-gate.credentialCommand`: the command that prints it instead, one argument a value.
    pub command: Vec<String>,
    /// `git-gate.caFile`: the pinned CA; else those of the system.
    pub ca_file: Option<PathBuf>,
}

/// The user name of a token that has none: forges look at the token alone.
pub const USER: &str = "x-access-token";

impl Default for Login {
    fn default() -> Self {
        Self {
            user: USER.to_owned(),
            token_file: None,
            command: Vec::new(),
            ca_file: None,
        }
    }
}

impl Login {
    fn read(config: &Config) -> Result<Self, SettingsError> {
        let key = "git-gate.user";
        let user = string(config, key)?.unwrap_or_else(|| USER.to_owned());
        if !is_word(&user, "._-") {
            return Err(SettingsError::Invalid {
                key: key.to_owned(),
                problem: USER_PROBLEM.to_owned(),
            });
        }
        Ok(Self {
            user,
            token_file: string(config, "git-gate.tokenFile")?.map(PathBuf::from),
            command: strings(config, "git-gate.credentialCommand")?,
            ca_file: string(config, "git-gate.caFile")?.map(PathBuf::from),
        })
    }
}

/// What is wrong with another user name.
pub const USER_PROBLEM: &str = "must be letters, digits and . _ - (not first)";

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

/// Declares [`Limits`]: field, name in `gate.json` and behind `git-gate.` in git config, default, and
/// the range of what it takes.
macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident, $name:literal = $default:literal, $least:literal to $most:expr;)*) => {
        /// Every limit of the gate. Times are whole seconds, sizes are bytes (git's suffixes `k`,
        /// `m`, `g` are understood in git config). The same names stand in `gate.json` and, behind
        /// `git-gate.`, in git config.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $($(#[$doc])* #[serde(rename = $name)] #[schemars(range(min = $least, max = $most))] pub $field: u64,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Limits {
            /// Each limit's name and value.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }

            /// The first limit whose value is out of its range, and the range in words.
            pub fn out_of_range(&self) -> Option<(&'static str, String)> {
                let limits: [(_, u64, u64, u64); _] = [$(($name, self.$field, $least, $most),)*];
                limits
                    .into_iter()
                    .find(|(_, value, least, most)| value < least || value > most)
                    .map(|(name, _, least, most)| (name, format!("must be from {least} to {most}")))
            }

            /// The names of all limits.
            const NAMES: &[&str] = &[$($name,)*];

            fn read(config: &Config) -> Result<Self, SettingsError> {
                let mut limits = Self::default();
                $(if let Some(value) = unsigned(config, $name)? { limits.$field = value; })*
                match limits.out_of_range() {
                    None => Ok(limits),
                    Some((name, problem)) => Err(SettingsError::Invalid {
                        key: format!("git-gate.{name}"),
                        problem,
                    }),
                }
            }
        }
    };
}

limits! {
    /// Seconds until the ssh connection stands (ssh's `ConnectTimeout`).
    connect, "connectTimeout" = 10, 1 to LONGEST;
    /// Seconds for which the upstream may say nothing before it counts as gone.
    silence, "silenceTimeout" = 20, 1 to LONGEST;
    /// Seconds for a whole refresh, the first clone of a mirror included.
    refresh, "refreshTimeout" = 300, 1 to LONGEST;
    /// Seconds for a whole scan.
    scan, "scanTimeout" = 300, 1 to LONGEST;
    /// Seconds for a whole forward.
    forward, "forwardTimeout" = 300, 1 to LONGEST;
    /// Seconds to wait for another fetch or push of the same repository.
    lock, "lockTimeout" = 120, 1 to LONGEST;
    /// Seconds that an unused ssh connection to the upstream stays open.
    ssh_persist, "sshPersist" = 600, 0 to LONGEST;
    /// Seconds that a session with the upstream, opened ahead, waits for the next fetch or push; 0: none
    /// is opened. gate-init only.
    session_idle, "sessionIdle" = 0, 0 to LONGEST;
    /// Bytes of objects that one push may bring, as they arrive.
    max_push_size, "maxPushSize" = 4_294_967_296, 1 to 1_152_921_504_606_846_976_u64;
    /// Bytes that one object of a push may have, unpacked.
    max_object_size, "maxObjectSize" = 2_147_483_648, 1 to 1_152_921_504_606_846_976_u64;
    /// Bytes that the objects of one push may have together, unpacked.
    max_unpacked_size, "maxUnpackedSize" = 137_438_953_472, 1 to 1_152_921_504_606_846_976_u64;
    /// Refs that one push may update.
    max_refs, "maxRefs" = 1000, 1 to 1_000_000;
    /// How deep archives inside archives are opened.
    archive_depth, "archiveDepth" = 4, 0 to 32;
    /// Entries that the archives of one push may hold together.
    archive_entries, "archiveEntries" = 100_000, 0 to 1_000_000_000;
    /// Bytes that the archives of one push may unpack to together.
    archive_size, "archiveSize" = 1_073_741_824, 0 to 1_152_921_504_606_846_976_u64;
    /// How many times its packed size a member of an archive may unpack to, past its first MiB.
    archive_ratio, "archiveRatio" = 1000, 1 to 1_000_000_000;
    /// Seconds for which a client may stay silent while it is its turn. gate-init only.
    idle_client, "idleClient" = 15, 1 to LONGEST;
    /// Seconds for which a push may wait for its client: for its pre-push hook, for its packing.
    /// gate-init only.
    idle_push, "idlePush" = 900, 1 to LONGEST;
    /// Clients served at once. gate-init only.
    connections, "maxConnections" = 128, 1 to 1_000_000;
    /// Clients served at once from one address. gate-init only.
    connections_per_peer, "maxConnectionsPerPeer" = 64, 1 to 1_000_000;
    /// Seconds that pushes in flight get to end after SIGTERM. gate-init only.
    drain, "drainTimeout" = 60, 0 to LONGEST;
    /// Scanners kept started ahead, some 65 MB of memory each. gate-init only.
    warm_scanners, "warmScanners" = 1, 0 to 64;
    /// Seconds after a push until no scanner is kept any more. gate-init only.
    scanner_idle, "scannerIdle" = 600, 1 to LONGEST;
}

impl Settings {
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
        })
    }
}

impl Policy {
    fn read(config: &Config) -> Result<Self, SettingsError> {
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

/// The value of a single-valued key.
fn string(config: &Config, key: &str) -> Result<Option<String>, SettingsError> {
    match config.get_string(key) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(SettingsError::Unreadable(error)),
    }
}

/// All values of a key, in the order of the file.
pub(crate) fn strings(config: &Config, key: &str) -> Result<Vec<String>, SettingsError> {
    let mut values = Vec::new();
    let entries = match config.multivar(key, None) {
        Ok(entries) => entries,
        Err(error) if error.code() == ErrorCode::NotFound => return Ok(values),
        Err(error) => return Err(SettingsError::Unreadable(error)),
    };
    entries
        .for_each(|entry| values.push(String::from_utf8_lossy(entry.value_bytes()).into_owned()))
        .map_err(SettingsError::Unreadable)?;
    Ok(values)
}

/// All values of a key, each a glob of its kind.
fn globs<T>(config: &Config, key: &str) -> Result<Vec<T>, SettingsError>
where
    T: TryFrom<String, Error = &'static str>,
{
    let read = |value: String| {
        T::try_from(value).map_err(|problem| SettingsError::Invalid {
            key: key.to_owned(),
            problem: problem.to_owned(),
        })
    };
    strings(config, key)?.into_iter().map(read).collect()
}

/// A limit; its key is `git-gate.` and `name`.
fn unsigned(config: &Config, name: &str) -> Result<Option<u64>, SettingsError> {
    let key = format!("git-gate.{name}");
    match config.get_i64(&key) {
        Ok(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(SettingsError::Invalid {
                key,
                problem: "must not be negative".to_owned(),
            }),
        },
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(_) => Err(SettingsError::Invalid {
            key,
            problem: "is not a whole number".to_owned(),
        }),
    }
}

/// A key that is true or false, as git reads it.
fn boolean(config: &Config, key: &str) -> Result<bool, SettingsError> {
    match config.get_bool(key) {
        Ok(value) => Ok(value),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
        Err(_) => Err(SettingsError::Invalid {
            key: key.to_owned(),
            problem: "is neither true nor false".to_owned(),
        }),
    }
}

/// A key that takes one of a few words: the same words as in `gate.json`.
fn word<T: Default + for<'de> Deserialize<'de>>(
    config: &Config,
    key: &str,
) -> Result<T, SettingsError> {
    match string(config, key)? {
        None => Ok(T::default()),
        Some(value) => parse_word(key, &value),
    }
}

/// A key that may be repeated, each time with one of a few words.
fn words<T: for<'de> Deserialize<'de>>(
    config: &Config,
    key: &str,
) -> Result<Vec<T>, SettingsError> {
    let values = strings(config, key)?;
    values.iter().map(|value| parse_word(key, value)).collect()
}

fn parse_word<T: for<'de> Deserialize<'de>>(key: &str, value: &str) -> Result<T, SettingsError> {
    let word = serde_json::Value::String(value.to_lowercase());
    serde_json::from_value(word).map_err(|error| SettingsError::Invalid {
        key: key.to_owned(),
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_stands_in_the_documented_table_with_its_default() {
        let table = include_str!("../docs/settings.md");
        for (name, default) in Limits::default().entries() {
            let row = table
                .lines()
                .find(|line| line.starts_with(&format!("| `git-gate.{name}` |")));
            let row = row.unwrap_or_else(|| panic!("{name} is missing"));
            assert!(row.contains(&format!("| {default} |")), "{row}");
        }
    }

    #[test]
    fn a_bad_value_names_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
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
