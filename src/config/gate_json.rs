//! The file `gate.json`, typed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ConfigError, unknown_keys};
use crate::agent::{Agent, Rights};
use crate::settings::{Limits, Policy, RefPattern};
use crate::text;

/// The JSON Schema of `gate.json` as it is published, which a test holds against the types here. What
/// generates it would be a fiftieth of gate-init.
const SCHEMA: &str = include_str!("../../docs/gate.schema.json");

/// The whole of `gate.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "gate.json")]
pub struct Config {
    /// The URL of this schema, for editors.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The repositories that the gate serves.
    pub upstreams: Vec<Upstream>,
    /// Every wait and size that has an end.
    pub limits: Limits,
    /// Where HTTP is spoken.
    #[serde(skip_serializing_if = "Http::is_off")]
    pub http: Http,
    /// Who may use the gate, each known by a token of its own. Empty: whoever reaches it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<Agent>,
    /// Where there are agents: what may be done without a token, and over git's own protocol, which has
    /// none. None: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Rights>,
}

/// What `gate-init` listens on besides git's own protocol. A change takes a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// The port of git's smart HTTP, at the address of `--listen`. None: it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The address and port of `/-/healthz` and `/-/metrics`. None: they are not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
}

/// One repository that the gate serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// What agents call it: `git://gate/NAME.git`. Also names its files in the credentials directory.
    pub name: String,
    /// Where it comes from: `ssh://user@host:port/path`, `user@host:path` or `https://host/path`.
    pub url: String,
    /// The user name for an https upstream; `x-access-token` where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The command that prints the token of an https upstream, and its arguments; no shell is between.
    /// Empty: the token is in NAME-token of the credentials directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credential_command: Vec<String>,
    /// What an agent may do to its refs.
    #[serde(default)]
    pub policy: Policy,
    /// Whether agents may only fetch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// gitleaks rules that extend or replace the scanner's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitleaks_config: Option<PathBuf>,
    /// The operator's file of accepted findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<PathBuf>,
    /// The upstream's refs that agents get, as one side of a refspec (git-fetch(1)): `refs/heads/*`,
    /// or `^refs/pull/*` for what is left out. Empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetch_ref: Vec<RefPattern>,
    /// What git's check of pushed objects does about each of its findings (git-fsck(1), "FSCK
    /// MESSAGES"): git config `receive.fsck.<msg-id>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fsck: BTreeMap<String, Fsck>,
}

/// What is done about an object that git-fsck(1) dislikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fsck {
    /// It refuses the push.
    Error,
    /// The client is told, and the push goes on.
    Warn,
    /// Nothing.
    Ignore,
}

impl Fsck {
    /// The word in git config.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Ignore => "ignore",
        }
    }
}

impl Http {
    /// Whether nothing is served.
    fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

impl Config {
    /// Reads `file`, where there is one, and adds `arguments` of the form `NAME=URL`; an argument
    /// replaces the URL of the file's upstream of that name.
    pub fn load(file: Option<&Path>, arguments: &[String]) -> Result<Self, ConfigError> {
        let mut config = file.map_or_else(|| Ok(Self::default()), Self::read)?;
        for argument in arguments {
            config.add(argument)?;
        }
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let syntax = |source| ConfigError::Syntax {
            path: path.to_owned(),
            source,
        };
        let json = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let value: Value = serde_json::from_str(&json).map_err(syntax)?;
        let schema = serde_json::from_str(SCHEMA).map_err(syntax)?;
        match unknown_keys(&value, &schema).into_iter().next() {
            Some(key) => Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key,
            }),
            // From the text once more: only so does serde tell the line.
            None => serde_json::from_str(&json)
                .map_err(syntax)
                .map(|config: Self| config.below(path)),
        }
    }

    /// Files that the configuration names by a relative path are meant to lie beside it.
    fn below(mut self, file: &Path) -> Self {
        let directory = file.parent().unwrap_or(file);
        for upstream in &mut self.upstreams {
            for path in [&mut upstream.gitleaks_config, &mut upstream.exceptions] {
                *path = path.take().map(|path| directory.join(path));
            }
        }
        let agents = self.agents.iter_mut().map(|agent| &mut agent.rights);
        let rights = agents.chain(self.anonymous.as_mut());
        let narrowed = rights.map(|rights| &mut rights.policy.0);
        let policies = self.upstreams.iter_mut().map(|one| &mut one.policy);
        for policy in policies.chain(narrowed) {
            let signers = &mut policy.require_signature;
            *signers = signers.take().map(|path| directory.join(path));
        }
        self
    }

    fn add(&mut self, argument: &str) -> Result<(), ConfigError> {
        let Some((name, url)) = argument.split_once('=') else {
            return Err(ConfigError::Argument {
                shown: text::line(argument.as_bytes()),
            });
        };
        match self.upstreams.iter_mut().find(|one| one.name == name) {
            Some(upstream) => url.clone_into(&mut upstream.url),
            None => self.upstreams.push(Upstream {
                name: name.to_owned(),
                url: url.to_owned(),
                user: None,
                credential_command: Vec::new(),
                policy: Policy::default(),
                read_only: false,
                gitleaks_config: None,
                exceptions: None,
                fetch_ref: Vec::new(),
                fsck: BTreeMap::new(),
            }),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn load(json: &str, arguments: &[&str]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, json).unwrap();
        let arguments: Vec<_> = arguments.iter().map(|&one| one.to_owned()).collect();
        Config::load(Some(file.path()), &arguments)
    }

    /// The files of `fixtures/gate.json` in this directory, in order.
    fn fixtures(directory: &str) -> Vec<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gate.json");
        let entries = std::fs::read_dir(root.join(directory)).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
        files.sort();
        assert!(!files.is_empty());
        files
    }

    #[test]
    fn good_files_are_read() {
        for file in fixtures("good") {
            let read = Config::load(Some(&file), &[]);
            assert!(read.is_ok(), "{}: {:?}", file.display(), read.err());
        }
    }

    /// Beside each file stands what is told of it; `GIT_GATE_REGENERATE` writes that.
    #[test]
    fn bad_files_are_told_as_they_are_documented() {
        for file in fixtures("bad") {
            let error = Config::load(Some(&file), &[]).unwrap_err();
            let name = file.display().to_string();
            let told = text::chain(&error).replace(&name, "gate.json") + "\n";
            let documented = file.with_extension("txt");
            if std::env::var_os("GIT_GATE_REGENERATE").is_some() {
                std::fs::write(&documented, &told).unwrap();
            }
            assert_eq!(
                told,
                std::fs::read_to_string(documented).unwrap_or_default(),
                "{name}"
            );
        }
    }

    #[test]
    fn arguments_add_to_the_file_and_replace_its_urls() {
        let json =
            r#"{"upstreams":[{"name":"app","url":"git@h:old.git","policy":{"deletes":"refuse"}}]}"#;
        let config = load(json, &["app=git@h:new.git", "lib=ssh://git@h/lib.git"]).unwrap();
        let urls: Vec<_> = config
            .upstreams
            .iter()
            .map(|one| one.url.as_str())
            .collect();
        assert_eq!(urls, ["git@h:new.git", "ssh://git@h/lib.git"]);
        assert_eq!(
            config.upstreams[0].policy.deletes,
            crate::settings::Deletes::Refuse
        );
    }

    #[test]
    fn names_that_would_leave_their_directory_or_clash_are_refused() {
        for bad in [
            "", ".x", "-x", "a/b", "a\nb", "a b", "x.git", "a%2fb", "App",
        ] {
            let arguments = ["app=git@h:a.git".to_owned(), format!("{bad}=git@h:b.git")];
            let error = Config::load(None, &arguments).unwrap_err();
            assert!(
                matches!(error, ConfigError::Name { .. }),
                "{bad:?}: {error}"
            );
        }
    }

    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_published("docs/gate.schema.json", &schema);
    }

    /// Fails unless the repository's `file` is `schema`; with `GIT_GATE_REGENERATE` set, writes it.
    pub(crate) fn assert_published(file: &str, schema: &Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = format!("{schema:#}\n");
        if std::env::var_os("GIT_GATE_REGENERATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == text,
            "{file} is stale: run the tests with GIT_GATE_REGENERATE=1"
        );
    }
}
