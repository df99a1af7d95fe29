//! The plan: what `prepare` is going to do, told before anything is touched.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::forge::{Collection, Provider};
use super::manifest::{Credential, Entry, Manifest, ProvisionedKey, Url};
use super::prepare_error::PrepareError;
use super::stage;
use git_gate::config;
use git_gate::{table, text};

/// Where the gate looks for keys and known hosts, inside the container. `gate.json` lies there too:
/// a mounted directory shows a file that was replaced, a mounted file does not.
const CREDS_TARGET: &str = "/git-gate/creds";

/// The variable that leads gate-init to its configuration.
const CONFIG_VARIABLE: &str = "GIT_GATE_CONFIG";

/// What `prepare` writes and registers. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The bottle's name.
    pub slug: String,
    /// The stage's absolute path.
    pub stage: PathBuf,
    /// The upstreams, by name.
    pub upstreams: Vec<PlannedUpstream>,
    /// What to mount into the gate's container.
    pub mounts: Vec<Mount>,
    /// The user to run as, `UID:GID`: the stage's owner, the only one who may read it.
    pub user: String,
    /// What to set in its environment.
    pub environment: BTreeMap<String, String>,
    /// The same as arguments of `docker run`.
    pub docker_arguments: Vec<String>,
}

/// One upstream of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUpstream {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// The private key or token in the stage.
    pub key: PathBuf,
    /// The operator's file that it is copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<PathBuf>,
    /// The deploy key that is made instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_key: Option<PlannedDeployKey>,
    /// The pinned host keys in the stage, of an ssh upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
    /// Their fingerprints, as ssh shows them.
    pub host_keys: Vec<String>,
}

/// A deploy key of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDeployKey {
    /// The kind of forge.
    pub provider: Provider,
    /// The API address of the repository's deploy keys.
    pub url: String,
    /// The key's title there.
    pub title: String,
    /// The environment variable that holds the token.
    pub token_env: String,
    /// The file in the stage that holds the key's id.
    pub id_file: PathBuf,
}

/// A path of this machine and where the gate expects it. Always read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The absolute path here.
    pub source: PathBuf,
    /// The absolute path in the container.
    pub target: PathBuf,
}

impl Plan {
    /// The plan for `manifest` under the bottle's name `slug`, in the directory `stage`.
    pub fn new(manifest: &Manifest, slug: &str, stage: &Path) -> Result<Self, PrepareError> {
        check_slug(slug)?;
        let stage = std::path::absolute(stage).map_err(|source| PrepareError::Path {
            path: stage.to_owned(),
            source,
        })?;
        let upstreams = manifest
            .entries
            .iter()
            .map(|entry| upstream(entry, slug, &stage))
            .collect::<Result<Vec<_>, _>>()?;
        let mounts = vec![
            Mount {
                source: stage.clone(),
                target: CREDS_TARGET.into(),
            },
            Mount {
                source: stage.join(stage::PASSWD),
                target: "/etc/passwd".into(),
            },
        ];
        let config = format!("{CREDS_TARGET}/{}", stage::GATE_JSON);
        let (uid, gid) = ids();
        let (user, variable) = (
            format!("{uid}:{gid}"),
            format!("{CONFIG_VARIABLE}={config}"),
        );
        let options = ["--user", &user, "--env", &variable].map(str::to_owned);
        let mount_options = mounts.iter().flat_map(Mount::docker_arguments);
        Ok(Self {
            slug: slug.to_owned(),
            docker_arguments: mount_options.chain(options).collect(),
            user,
            stage,
            upstreams,
            mounts,
            environment: BTreeMap::from([(CONFIG_VARIABLE.to_owned(), config)]),
        })
    }

    /// The deploy key of the upstream `name`, where it gets one.
    pub fn deploy_key(&self, name: &str) -> Option<&PlannedDeployKey> {
        let upstream = self.upstreams.iter().find(|one| one.name == name)?;
        upstream.deploy_key.as_ref()
    }

    /// The plan as text for a person, line breaks included.
    pub fn table(&self) -> String {
        let mut rows = vec![["NAME", "UPSTREAM", "KEY", "HOST KEYS"].map(str::to_owned)];
        for one in &self.upstreams {
            let key = match (&one.identity_file, &one.deploy_key) {
                (Some(file), _) => format!("copy of {}", file.display()),
                (_, Some(key)) => format!("deploy key {:?} at {}", key.title, key.url),
                (None, None) => String::new(),
            };
            let keys = text::plural(one.host_keys.len(), "key");
            rows.push([one.name.clone(), one.url.clone(), key, keys]);
        }
        let mut out = table::fitted(&rows);
        let _ = writeln!(out, "\nstage   {}", self.stage.display());
        for mount in &self.mounts {
            let (from, to) = (mount.source.display(), mount.target.display());
            let _ = writeln!(out, "mount   {from} -> {to} (read-only)");
        }
        let _ = writeln!(out, "user    {}", self.user);
        for (variable, value) in &self.environment {
            let _ = writeln!(out, "set     {variable}={value}");
        }
        let arguments: Vec<String> = self
            .docker_arguments
            .iter()
            .map(|word| quote(word))
            .collect();
        let _ = writeln!(out, "docker  {}", arguments.join(" "));
        out
    }
}

impl Mount {
    /// docker's `--mount`, a record of comma-separated values (RFC 4180).
    fn docker_arguments(&self) -> [String; 2] {
        let field = |name: &str, path: &Path| {
            let field = format!("{name}={}", path.display());
            if field.contains([',', '"', '\n']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field
            }
        };
        let (source, target) = (field("source", &self.source), field("target", &self.target));
        [
            "--mount".to_owned(),
            format!("type=bind,{source},{target},readonly"),
        ]
    }
}

/// What the gate reads: the upstreams with their policies, and the limits. Files are named without
/// a directory: the gate takes them from beside its configuration.
pub fn gate_json(manifest: &Manifest) -> config::Config {
    let staged = |file: &Option<PathBuf>, name: String| file.as_ref().map(|_| name.into());
    let upstreams = manifest.entries.iter().map(|entry| config::Upstream {
        fetch_ref: Vec::new(),
        fsck: BTreeMap::new(),
        name: entry.name.clone(),
        url: entry.url.to_string(),
        user: None,
        credential_command: Vec::new(),
        policy: entry.policy.clone(),
        read_only: false,
        gitleaks_config: staged(&entry.gitleaks_config, stage::gitleaks_file(&entry.name)),
        exceptions: staged(&entry.exceptions, stage::exceptions_file(&entry.name)),
    });
    config::Config {
        schema: None,
        upstreams: upstreams.collect(),
        limits: manifest.limits.clone(),
        http: config::Http::default(),
        agents: Vec::new(),
        anonymous: None,
    }
}

/// The passwd(5) that names the user of [`Plan::user`].
pub fn passwd() -> String {
    let (uid, gid) = ids();
    format!("git-gate:x:{uid}:{gid}::/tmp:/nonexistent\n")
}

fn ids() -> (u32, u32) {
    use rustix::process::{getegid, geteuid};
    (geteuid().as_raw(), getegid().as_raw())
}

/// Where the deploy key of `entry` is registered.
pub(super) fn collection(entry: &Entry, key: &ProvisionedKey) -> Result<Collection, PrepareError> {
    let api_url = key.api_url.as_deref();
    Collection::new(key.provider, api_url, entry.url.host(), entry.url.path()).map_err(|source| {
        PrepareError::Forge {
            name: entry.name.clone(),
            source,
        }
    })
}

fn upstream(entry: &Entry, slug: &str, stage: &Path) -> Result<PlannedUpstream, PrepareError> {
    let name = &entry.name;
    let (identity_file, deploy_key) = match &entry.credential {
        Credential::IdentityFile(path) | Credential::Token { file: path, .. } => {
            (Some(path.clone()), None)
        }
        Credential::Provisioned(key) => {
            let planned = PlannedDeployKey {
                provider: key.provider,
                url: collection(entry, key)?.url().to_owned(),
                title: format!("bot-bottle:{slug}:{name}"),
                token_env: key.token_env.clone(),
                id_file: stage.join(stage::id_file(name)),
            };
            (None, Some(planned))
        }
    };
    let is_ssh = matches!(entry.url, Url::Ssh(_));
    let key = match is_ssh {
        true => stage::key_file(name),
        false => stage::token_file(name),
    };
    Ok(PlannedUpstream {
        name: name.clone(),
        url: entry.url.to_string(),
        key: stage.join(key),
        identity_file,
        deploy_key,
        known_hosts: is_ssh.then(|| stage.join(stage::known_hosts_file(name))),
        host_keys: entry
            .host_keys
            .iter()
            .map(|key| key.fingerprint())
            .collect(),
    })
}

/// A slug becomes a part of the title that a forge shows.
fn check_slug(slug: &str) -> Result<(), PrepareError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if slug.is_empty() || slug.len() > 100 || !slug.chars().all(plain) {
        return Err(PrepareError::Slug(text::line(slug.as_bytes())));
    }
    Ok(())
}

/// `word` as a shell reads it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/=,.:_-+@%".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
