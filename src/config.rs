//! `gate.json`: the operator's list of upstreams, with their policy and the limits.
//!
//! Its JSON Schema is `docs/gate.schema.json`, generated from the types here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::agent::{Agent, Rights};
use crate::settings::{Limits, Policy, RefPattern, USER_PROBLEM};
use crate::text;
use crate::upstream::https_url::{HttpsUrl, is_https};
use crate::upstream::url::{UpstreamUrl, is_word};

/// The longest upstream name in bytes: with `-known_hosts` behind it, it is still a file name.
const NAME_LIMIT: usize = 200;

/// The longest name of an agent in bytes: a part of a ref, with more beside it.
const AGENT_NAME_LIMIT: usize = 100;

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not JSON, or a value has the wrong type.
    #[error("{} is not a usable gate.json", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong and on which line.
        source: serde_json::Error,
    },
    /// A key that nobody reads, perhaps a misspelt one.
    #[error("{}: {key}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The first such key.
        key: UnknownKey,
    },
    /// A command line argument that is not `NAME=URL`.
    #[error("{shown:?} is not NAME=URL, such as app=ssh://git@example.com/o/app.git")]
    Argument {
        /// The argument, as it may be shown.
        shown: String,
    },
    /// An upstream's name cannot be used.
    #[error("upstream {shown:?}: the name {problem}")]
    Name {
        /// The name, as it may be shown.
        shown: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Nothing is to be served.
    #[error(
        "no upstreams: name them in gate.json or as NAME=URL, such as app=ssh://git@example.com/o/app.git"
    )]
    Empty,
    /// A name that git's check of objects cannot have.
    #[error(
        "upstream {name:?}: fsck.{shown:?} is no message id of git fsck, such as zeroPaddedFilemode"
    )]
    Fsck {
        /// The upstream's name.
        name: String,
        /// The id, as it may be shown.
        shown: String,
    },
    /// A limit is out of its range.
    #[error("limits.{name} {problem}")]
    Limit {
        /// The limit.
        name: &'static str,
        /// What it may be.
        problem: String,
    },
    /// An agent, or what is said of those without a token, cannot be used.
    #[error("{subject}: {problem}")]
    Agent {
        /// Which, as it may be shown.
        subject: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// The login of an upstream cannot be used.
    #[error("upstream {name:?}: {problem}")]
    Login {
        /// The upstream's name.
        name: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// An upstream's URL cannot be used.
    #[error("upstream {name:?}: the URL {problem}")]
    Url {
        /// The upstream's name.
        name: String,
        /// What is wrong and what is expected.
        problem: String,
    },
}

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
    /// What agents call it: `git://gate/NAME.git`. Also names its files in the credentials folder.
    pub name: String,
    /// Where it comes from: `ssh://user@host:port/path`, `user@host:path` or `https://host/path`.
    pub url: String,
    /// The user name for an https upstream; `x-access-token` where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The command that prints the token of an https upstream, and its arguments; no shell is between.
    /// Empty: the token is in NAME-token of the credentials folder.
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
        match unknown_keys(&value, &Self::json_schema())
            .into_iter()
            .next()
        {
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
        let folder = file.parent().unwrap_or(file);
        for upstream in &mut self.upstreams {
            for path in [&mut upstream.gitleaks_config, &mut upstream.exceptions] {
                *path = path.take().map(|path| folder.join(path));
            }
        }
        let agents = self.agents.iter_mut().map(|agent| &mut agent.rights);
        let rights = agents.chain(self.anonymous.as_mut());
        let narrowed = rights.map(|rights| &mut rights.policy.0);
        let policies = self.upstreams.iter_mut().map(|one| &mut one.policy);
        for policy in policies.chain(narrowed) {
            let signers = &mut policy.require_signature;
            *signers = signers.take().map(|path| folder.join(path));
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

    /// Checks every rule that goes beyond the shape of the file.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some((name, problem)) = self.limits.out_of_range() {
            return Err(ConfigError::Limit { name, problem });
        }
        let mut seen = HashSet::new();
        for Upstream {
            name,
            url,
            user,
            credential_command,
            fsck,
            ..
        } in &self.upstreams
        {
            check_name(name)?;
            let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
            if let Some(id) = fsck.keys().find(|id| !is_id(id)) {
                return Err(ConfigError::Fsck {
                    name: name.clone(),
                    shown: text::line(id.as_bytes()),
                });
            }
            if !seen.insert(name.to_lowercase()) {
                return Err(ConfigError::Name {
                    shown: text::line(name.as_bytes()),
                    problem: "stands there twice (upper and lower case count as the same)",
                });
            }
            check_url(url).map_err(|problem| ConfigError::Url {
                name: name.clone(),
                problem,
            })?;
            let wants_login = user.is_some() || !credential_command.is_empty();
            let problem = match user {
                _ if wants_login && !is_https(url) => {
                    "user and credentialCommand are for https alone".to_owned()
                }
                Some(user) if !is_word(user, "._-") => format!("user {USER_PROBLEM}"),
                _ => continue,
            };
            let name = name.clone();
            return Err(ConfigError::Login { name, problem });
        }
        self.check_agents()
    }

    /// Checks who may use the gate.
    fn check_agents(&self) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        for Agent { name, rights, .. } in &self.agents {
            let subject = format!("agent {:?}", text::line(name.as_bytes()));
            let problem = match check_agent_name(name) {
                Some(problem) => Some(problem.to_owned()),
                None if !seen.insert(name.to_lowercase()) => {
                    Some("stands there twice (upper and lower case count as the same)".to_owned())
                }
                None => self.problem_of(&rights.of(name)),
            };
            if let Some(problem) = problem {
                return Err(ConfigError::Agent { subject, problem });
            }
        }
        let anonymous = self.anonymous.as_ref();
        let problem = match anonymous {
            Some(_) if self.agents.is_empty() => {
                Some("says something only where there are agents".to_owned())
            }
            anonymous => anonymous.and_then(|rights| self.problem_of(rights)),
        };
        problem.map_or(Ok(()), |problem| {
            let subject = "anonymous".to_owned();
            Err(ConfigError::Agent { subject, problem })
        })
    }

    /// What is wrong with the repositories of `rights`: a misspelt one would be seen by nobody.
    fn problem_of(&self, rights: &Rights) -> Option<String> {
        let is_there = |glob: &&String| {
            let mut names = self.upstreams.iter().map(|one| &one.name);
            glob.contains(['*', '?']) || names.any(|name| name == *glob)
        };
        let missing = rights.repositories.iter().find(|glob| !is_there(glob))?;
        let names = self.upstreams.iter().map(|one| one.name.as_str());
        let hint = match text::nearest(missing, names) {
            Some(name) => format!("; did you mean {name:?}?"),
            None => String::new(),
        };
        let missing = text::line(missing.as_bytes());
        Some(format!(
            "repositories: there is no upstream {missing:?}{hint}"
        ))
    }

    /// What `next` changes, in words: one entry for each value, upstream that is added or removed.
    pub fn changes(&self, next: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let of = |config: &Self, name: &str| {
            let mut upstreams = config.upstreams.iter();
            upstreams.find(|one| one.name == name).cloned()
        };
        for Upstream { name, .. } in &self.upstreams {
            if of(next, name).is_none() {
                found.push(format!("{name}: removed"));
            }
        }
        for upstream in &next.upstreams {
            let name = &upstream.name;
            match of(self, name) {
                None => found.push(format!("{name}: added")),
                Some(before) => differences(
                    &json(&before),
                    &json(upstream),
                    &format!("{name}: "),
                    &mut found,
                ),
            }
        }
        differences(
            &json(&self.limits),
            &json(&next.limits),
            "limits.",
            &mut found,
        );
        for (before, after, place) in [
            (json(&self.agents), json(&next.agents), "agents"),
            (json(&self.anonymous), json(&next.anonymous), "anonymous"),
        ] {
            differences(&before, &after, place, &mut found);
        }
        if self.http != next.http {
            found.push("http: takes effect at the next start".to_owned());
        }
        found
    }

    /// The JSON Schema of `gate.json`.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Adds `place`, the old and the new value of each leaf in which two documents differ.
fn differences(before: &Value, after: &Value, place: &str, found: &mut Vec<String>) {
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let of = |members: &serde_json::Map<String, Value>| {
                members.get(key).cloned().unwrap_or_default()
            };
            let separator = if place.ends_with([' ', '.']) { "" } else { "." };
            differences(
                &of(old),
                &of(new),
                &format!("{place}{separator}{key}"),
                found,
            );
        }
    } else if before != after {
        let shown = format!("{place} {before} is now {after}");
        found.push(text::line(shown.as_bytes()));
    }
}

/// An agent's name stands in globs, labels and lines of the log.
fn check_agent_name(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > AGENT_NAME_LIMIT || !name.chars().all(is_plain) {
        return Some("the name must be 1 to 100 letters, digits, dots, dashes and underscores");
    }
    // It may be a part of a ref (git-check-ref-format(1)).
    let is_no_part = name.starts_with(['.', '-']) || name.contains("..");
    let is_no_part = is_no_part || name.ends_with('.') || name.to_lowercase().ends_with(".lock");
    is_no_part.then_some("the name could not stand in a ref")
}

/// A name becomes a folder, the start of two file names and a part of the agent's URL.
fn check_name(name: &str) -> Result<(), ConfigError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_LIMIT {
        "is longer than 200 bytes"
    } else if name.contains(['/', '\\']) {
        "holds a slash"
    } else if name.starts_with(['.', '-']) {
        "begins with a dot or a dash"
    } else if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "holds a space or a control character"
    } else if name.contains(['%', '?', '#']) {
        "holds a character that means something else in a URL"
    } else if name.to_lowercase().ends_with(".git") {
        "ends with .git, which agents may add themselves: leave it out"
    } else {
        return Ok(());
    };
    Err(ConfigError::Name {
        shown: text::line(name.as_bytes()),
        problem,
    })
}

/// Whether `url` is one that the gate can use; if not, why.
fn check_url(url: &str) -> Result<(), String> {
    if is_https(url) {
        let parsed: Result<HttpsUrl, _> = url.parse();
        return parsed.map(drop).map_err(|error| error.to_string());
    }
    let parsed: Result<UpstreamUrl, _> = url.parse();
    parsed.map(drop).map_err(|error| error.to_string())
}

/// A key in a JSON document that its schema does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key, as it may be shown.
    pub key: String,
    /// Where it stands, such as `upstreams[0].policy`; empty at the top.
    pub place: String,
    /// The known key that is spelt most like it, when one is near.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown key {:?}", self.key)?;
        if !self.place.is_empty() {
            write!(f, " in {}", self.place)?;
        }
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

/// Every key of `value` that `schema`, a JSON Schema as schemars writes it, does not name.
pub fn unknown_keys(value: &Value, schema: &Value) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    walk(value, schema, schema, "", &mut found);
    found
}

fn walk(value: &Value, schema: &Value, root: &Value, place: &str, found: &mut Vec<UnknownKey>) {
    let schemas = alternatives(schema, root);
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(schema) = schemas.iter().find_map(|schema| schema.get("items")) {
                    walk(item, schema, root, &format!("{place}[{index}]"), found);
                }
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                match member_schema(&schemas, key) {
                    Some(schema) => walk(member, schema, root, &join(place, key), found),
                    None => found.extend(unknown(&schemas, key, place)),
                }
            }
        }
        _ => {}
    }
}

/// `schema` itself, or what its `$ref`, `anyOf`, `oneOf` and `allOf` lead to.
fn alternatives<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let mut all = vec![schema];
    let target = schema.get("$ref").and_then(Value::as_str);
    if let Some(target) = target.and_then(|target| root.pointer(target.strip_prefix('#')?)) {
        all.extend(alternatives(target, root));
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        for choice in schema
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            all.extend(alternatives(choice, root));
        }
    }
    all
}

/// The schema of the member `key`: a named property, or what the values of a map must be.
fn member_schema<'a>(schemas: &[&'a Value], key: &str) -> Option<&'a Value> {
    let named = schemas
        .iter()
        .find_map(|schema| schema.get("properties")?.get(key));
    named.or_else(|| {
        schemas.iter().find_map(|schema| {
            schema
                .get("additionalProperties")
                .filter(|map| map.is_object())
        })
    })
}

/// `key` as an unknown one, unless the schemas name no keys at all.
fn unknown(schemas: &[&Value], key: &str, place: &str) -> Option<UnknownKey> {
    let known: Vec<&String> = schemas
        .iter()
        .filter_map(|schema| schema.get("properties")?.as_object())
        .flat_map(serde_json::Map::keys)
        .collect();
    let nearest = text::nearest(key, known.iter().map(|name| name.as_str()));
    (!known.is_empty()).then(|| UnknownKey {
        key: text::line(key.as_bytes()),
        place: place.to_owned(),
        nearest: nearest.map(str::to_owned),
    })
}

fn join(place: &str, key: &str) -> String {
    match place {
        "" => key.to_owned(),
        _ => format!("{place}.{key}"),
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
    fn names_that_would_leave_their_folder_or_clash_are_refused() {
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
        assert_published("docs/gate.schema.json", &Config::json_schema());
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
