//! Filling the stage, and taking it back.
//!
//! The order keeps every deploy key accounted for, wherever this program is stopped: the plan is
//! written before the first key is registered, a private key before its public half is, a key's id
//! as soon as the forge told it, and `gate.json` last, so that a stage with it is complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::forge::{Collection, Deleted, ForgeError, Patience, Token};
use super::interrupt::Interrupt;
use super::key_pair::{self, KeyPair};
use super::manifest::{Credential, Entry, Manifest, ProvisionedKey, Url};
use super::plan::{self, Plan, PlannedDeployKey};
use super::stage::{self, GATE_JSON, PASSWD, PLAN_JSON, Stage, StageError};
use git_gate::config::ConfigError;
use git_gate::text;

/// The largest file of the operator that is copied, in bytes. Keys are below 16 KiB; gitleaks' own
/// rules are 100 KB.
const FILE_LIMIT: u64 = 1 << 20;

/// Why nothing was prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The slug would not do as a part of a title.
    #[error("the slug {0:?} must be 1 to 100 letters, digits, dots, dashes and underscores")]
    Slug(String),
    /// A path cannot be made absolute.
    #[error("cannot use the path {}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The gate would refuse the configuration.
    #[error("the gate would refuse this manifest")]
    Config(#[from] ConfigError),
    /// A file that the manifest names cannot be used.
    #[error("git-gate.repos[{name:?}]: {key} {} {problem}", path.display())]
    File {
        /// The upstream.
        name: String,
        /// The manifest's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A forge did not do its part.
    #[error("git-gate.repos[{name:?}]")]
    Forge {
        /// The upstream.
        name: String,
        /// The reason.
        source: ForgeError,
    },
    /// No key pair could be made.
    #[error("cannot make a key pair: {0}")]
    KeyPair(ssh_key::Error),
    /// The stage cannot be used.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The stage holds a deploy key that this manifest does not account for.
    #[error(
        "the stage holds deploy key {id} of {name:?}, registered at {url}, which is not what the \
         manifest says now; revoke it with the manifest it was made by, then prepare again"
    )]
    Foreign {
        /// The upstream.
        name: String,
        /// The key's id.
        id: String,
        /// Where it is registered.
        url: String,
    },
    /// Somebody asked this program to end.
    #[error("interrupted")]
    Interrupted,
    /// A failure, and then deploy keys that could not be taken back.
    #[error("deploy keys are still registered: {}", keys.join("; "))]
    Stranded {
        /// The keys, each with its URL and the reason.
        keys: Vec<String>,
        /// The failure before.
        source: Box<PrepareError>,
    },
}

impl PrepareError {
    /// Whether a deploy key may still be registered somewhere.
    pub fn leaves_keys(&self) -> bool {
        match self {
            Self::Stranded { .. } | Self::Foreign { .. } => true,
            Self::Forge { source, .. } => matches!(source, ForgeError::Unknown { .. }),
            _ => false,
        }
    }
}

/// What became of one deploy key of a stage.
#[derive(Debug)]
pub struct Revocation {
    /// The upstream.
    pub name: String,
    /// The key's id.
    pub id: String,
    /// The key's URL on the forge, as far as it is known.
    pub url: String,
    /// Deleted, gone before, or why it may still be there.
    pub outcome: Result<Deleted, PrepareError>,
}

/// Checks all that can be checked before anything is touched: identity files, tokens, and that the
/// gate will take the configuration. The plan is what [`prepare`] then does.
pub fn plan(manifest: &Manifest, slug: &str, stage: &Path) -> Result<Plan, PrepareError> {
    let plan = Plan::new(manifest, slug, stage)?;
    plan::gate_json(manifest).check()?;
    for entry in &manifest.entries {
        Needs::gather(entry)?;
    }
    Ok(plan)
}

/// Fills the stage: keys, known hosts, `gate.json`; registers the deploy keys. `say` hears of each
/// step. Over a stage that was prepared before, its deploy keys are replaced.
///
/// The stage comes back locked: as long as it is kept, no other gate-host changes it.
///
/// On an error nothing new is left: files that were not there before are removed, and every key
/// registered by this call is deleted again, or named in [`PrepareError::Stranded`].
pub fn prepare(
    manifest: &Manifest,
    slug: &str,
    stage: &Path,
    patience: &Patience,
    interrupt: &Interrupt,
    say: &mut dyn FnMut(&str),
) -> Result<(Plan, Stage), PrepareError> {
    let plan = plan(manifest, slug, stage)?;
    let needs = manifest.entries.iter().map(Needs::gather);
    let needs = needs.collect::<Result<Vec<_>, _>>()?;
    let stage = Stage::make(&plan.stage)?;
    check_foreign(&stage, &plan)?;
    let mut work = Work {
        stage: &stage,
        patience,
        fresh: Vec::new(),
        registered: Vec::new(),
        say,
    };
    match work.fill(manifest, &plan, needs, interrupt) {
        Ok(()) => Ok((plan, stage)),
        Err(error) => {
            let error = work.undo(error);
            stage.leave();
            Err(error)
        }
    }
}

/// Deletes the deploy keys whose ids stand in `stage`, and then their files. Each is tried,
/// whatever happens to the others.
pub fn revoke(
    manifest: &Manifest,
    stage: &Stage,
    patience: &Patience,
) -> Result<Vec<Revocation>, StageError> {
    let planned = read_plan(stage)?;
    let mut revocations = Vec::new();
    for name in stage.deploy_keys()? {
        let id = read_id(stage, &name)?;
        let before = planned.as_ref().and_then(|plan| deploy_key(plan, &name));
        let key = Registered::of(manifest, &name, &id, before);
        revocations.push(Revocation {
            url: key.as_ref().map_or_else(
                |_| before.map(|key| key.url.clone()).unwrap_or_default(),
                |key| key.collection.key_url(&id),
            ),
            outcome: key.and_then(|key| key.delete(stage, patience)),
            name,
            id,
        });
    }
    Ok(revocations)
}

/// What one upstream needs, found before anything is touched.
struct Needs {
    /// Files of the stage and their content, copied from the operator's.
    copies: Vec<(String, Vec<u8>)>,
    /// Where a deploy key will be registered, and the token for it.
    deploy: Option<(Collection, Token)>,
}

impl Needs {
    fn gather(entry: &Entry) -> Result<Self, PrepareError> {
        let name = &entry.name;
        let mut copies = Vec::new();
        let mut deploy = None;
        match &entry.credential {
            Credential::IdentityFile(path) => {
                copies.push((stage::key_file(name), read_identity(name, path)?));
            }
            Credential::Token { file, ca } => {
                copies.push((stage::token_file(name), read_token(name, file)?));
                if let Some(ca) = ca {
                    copies.push((stage::ca_file(name), read_file(name, "ca_file", ca)?));
                }
            }
            Credential::Provisioned(key) => {
                deploy = Some((plan::collection(entry, key)?, token(name, key)?));
            }
        }
        for (key, path, staged) in [
            (
                "gitleaks_config",
                &entry.gitleaks_config,
                stage::gitleaks_file(name),
            ),
            (
                "exceptions",
                &entry.exceptions,
                stage::exceptions_file(name),
            ),
        ] {
            if let Some(path) = path {
                copies.push((staged, read_file(name, key, path)?));
            }
        }
        Ok(Self { copies, deploy })
    }
}

/// A deploy key that a forge knows by an id.
struct Registered {
    name: String,
    id: String,
    collection: Collection,
    token_env: String,
}

impl Registered {
    /// The key `id` of upstream `name`, if the manifest and the plan of then agree on its place.
    fn of(
        manifest: &Manifest,
        name: &str,
        id: &str,
        before: Option<&PlannedDeployKey>,
    ) -> Result<Self, PrepareError> {
        let foreign = || PrepareError::Foreign {
            name: text::line(name.as_bytes()),
            id: text::line(id.as_bytes()),
            url: before.map_or_else(|| "an unknown place".to_owned(), |key| key.url.clone()),
        };
        let entry = manifest.entries.iter().find(|entry| entry.name == name);
        let Some((entry, Credential::Provisioned(key))) = entry.map(|one| (one, &one.credential))
        else {
            return Err(foreign());
        };
        let collection = plan::collection(entry, key)?;
        if before.is_some_and(|before| before.url != collection.url()) {
            return Err(foreign());
        }
        Ok(Self {
            name: name.to_owned(),
            id: id.to_owned(),
            collection,
            token_env: key.token_env.clone(),
        })
    }

    /// Deletes it from the forge and its files from the stage. Never interrupted half-way.
    fn delete(&self, stage: &Stage, patience: &Patience) -> Result<Deleted, PrepareError> {
        let deleted = Token::from_env(&self.token_env)
            .and_then(|token| {
                let keys = self.collection.open(token, patience);
                keys.delete(&self.id, &Interrupt::default())
            })
            .map_err(|source| PrepareError::Forge {
                name: self.name.clone(),
                source,
            })?;
        stage.remove(&stage::key_file(&self.name))?;
        stage.remove(&stage::id_file(&self.name))?;
        Ok(deleted)
    }
}

/// One run of [`prepare`], and what it has to take back when it fails.
struct Work<'a> {
    stage: &'a Stage,
    patience: &'a Patience,
    /// Files that were not there before.
    fresh: Vec<String>,
    registered: Vec<Registered>,
    say: &'a mut dyn FnMut(&str),
}

impl Work<'_> {
    fn fill(
        &mut self,
        manifest: &Manifest,
        plan: &Plan,
        needs: Vec<Needs>,
        interrupt: &Interrupt,
    ) -> Result<(), PrepareError> {
        self.replace_keys(manifest, plan)?;
        self.put(PLAN_JSON, &json(plan))?;
        self.put(PASSWD, plan::passwd().as_bytes())?;
        for (entry, needs) in manifest.entries.iter().zip(needs) {
            check(interrupt)?;
            for (file, content) in needs.copies {
                self.put(&file, &content)?;
            }
            if let Some((collection, token)) = needs.deploy {
                self.register(entry, plan, collection, token, interrupt)?;
            }
            if let Url::Ssh(url) = &entry.url {
                let keys = entry.host_keys.iter();
                let lines: String = keys.map(|key| key.known_hosts_line(url)).collect();
                self.put(&stage::known_hosts_file(&entry.name), lines.as_bytes())?;
            }
        }
        self.put(GATE_JSON, &json(&plan::gate_json(manifest)))?;
        // It may have come while the last key was registered.
        check(interrupt)
    }

    /// Deletes the deploy keys of an earlier run: a key serves one session, and a forge refuses a
    /// second key of the same title.
    fn replace_keys(&mut self, manifest: &Manifest, plan: &Plan) -> Result<(), PrepareError> {
        for name in self.stage.deploy_keys()? {
            let id = read_id(self.stage, &name)?;
            let key = Registered::of(manifest, &name, &id, deploy_key(plan, &name))?;
            key.delete(self.stage, self.patience)
                .map_err(|reason| PrepareError::Stranded {
                    keys: vec![format!(
                        "{}, from an earlier run",
                        key.collection.key_url(&id)
                    )],
                    source: Box::new(reason),
                })?;
            (self.say)(&format!(
                "deleted the deploy key {id} of {name}, from an earlier run"
            ));
        }
        Ok(())
    }

    /// Makes a pair for `entry` and registers its public half.
    fn register(
        &mut self,
        entry: &Entry,
        plan: &Plan,
        collection: Collection,
        token: Token,
        interrupt: &Interrupt,
    ) -> Result<(), PrepareError> {
        let Some(planned) = deploy_key(plan, &entry.name) else {
            return Ok(());
        };
        let pair = KeyPair::generate(&planned.title).map_err(PrepareError::KeyPair)?;
        let private = pair.private().map_err(PrepareError::KeyPair)?;
        let public = pair.public().map_err(PrepareError::KeyPair)?;
        self.put(&stage::key_file(&entry.name), private.as_bytes())?;
        (self.say)(&format!(
            "registering a deploy key for {} at {}",
            entry.name, planned.url
        ));
        let id = collection
            .open(token, self.patience)
            .create(&planned.title, &public, interrupt)
            .map_err(|source| PrepareError::Forge {
                name: entry.name.clone(),
                source,
            })?;
        self.registered.push(Registered {
            name: entry.name.clone(),
            id: id.clone(),
            collection,
            token_env: planned.token_env.clone(),
        });
        self.put(&stage::id_file(&entry.name), id.as_bytes())?;
        (self.say)(&format!(
            "registered the deploy key {id} for {}",
            entry.name
        ));
        Ok(())
    }

    fn put(&mut self, name: &str, content: &[u8]) -> Result<(), PrepareError> {
        if self.stage.get(name)?.is_none() {
            self.fresh.push(name.to_owned());
        }
        Ok(self.stage.put(name, content)?)
    }

    /// Takes back what was done, after `error`.
    fn undo(&mut self, error: PrepareError) -> PrepareError {
        let mut stranded = Vec::new();
        for key in &self.registered {
            match key.delete(self.stage, self.patience) {
                Ok(_) => (self.say)(&format!("deleted the deploy key {} again", key.id)),
                Err(reason) => {
                    // Its files stay, so that `revoke` can try again.
                    let kept = [stage::key_file(&key.name), stage::id_file(&key.name)];
                    self.fresh
                        .retain(|name| !kept.contains(name) && name != PLAN_JSON);
                    let url = key.collection.key_url(&key.id);
                    stranded.push(format!("{url}: {}", text::causes(&reason)));
                }
            }
        }
        for name in &self.fresh {
            if let Err(reason) = self.stage.remove(name) {
                (self.say)(&text::causes(&reason));
            }
        }
        if stranded.is_empty() {
            return error;
        }
        PrepareError::Stranded {
            keys: stranded,
            source: Box::new(error),
        }
    }
}

fn check(interrupt: &Interrupt) -> Result<(), PrepareError> {
    match interrupt.is_raised() {
        true => Err(PrepareError::Interrupted),
        false => Ok(()),
    }
}

/// Refuses a stage with a deploy key that is registered elsewhere than the new plan says.
fn check_foreign(stage: &Stage, plan: &Plan) -> Result<(), PrepareError> {
    let before = read_plan(stage)?;
    for name in stage.deploy_keys()? {
        let then = before.as_ref().and_then(|plan| deploy_key(plan, &name));
        let now = deploy_key(plan, &name);
        let same = now.is_some_and(|now| then.is_none_or(|then| then.url == now.url));
        if !same {
            return Err(PrepareError::Foreign {
                id: read_id(stage, &name)?,
                url: then.map_or_else(|| "an unknown place".to_owned(), |key| key.url.clone()),
                name,
            });
        }
    }
    Ok(())
}

fn deploy_key<'a>(plan: &'a Plan, name: &str) -> Option<&'a PlannedDeployKey> {
    let upstream = plan.upstreams.iter().find(|one| one.name == name)?;
    upstream.deploy_key.as_ref()
}

/// The plan that filled the stage, where there is one that can be read.
fn read_plan(stage: &Stage) -> Result<Option<Plan>, StageError> {
    let content = stage.get(PLAN_JSON)?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

fn read_id(stage: &Stage, name: &str) -> Result<String, StageError> {
    let content = stage.get(&stage::id_file(name))?.unwrap_or_default();
    Ok(text::line(content.trim_ascii()))
}

fn token(name: &str, key: &ProvisionedKey) -> Result<Token, PrepareError> {
    Token::from_env(&key.token_env).map_err(|source| PrepareError::Forge {
        name: name.to_owned(),
        source,
    })
}

/// The content of an identity file that the gate will be able to use.
fn read_identity(name: &str, path: &Path) -> Result<Vec<u8>, PrepareError> {
    let content = read_file(name, "identity_file", path)?;
    match key_pair::problem(&content) {
        Some(problem) => Err(file_error(name, "identity_file", path, problem.to_owned())),
        None => Ok(content),
    }
}

/// The content of a token file that the gate will be able to use.
fn read_token(name: &str, path: &Path) -> Result<Vec<u8>, PrepareError> {
    let content = read_file(name, "token_file", path)?;
    let token = content.trim_ascii();
    match !token.is_empty() && token.iter().all(u8::is_ascii_graphic) {
        true => Ok(content),
        false => {
            let problem = "must hold one token and nothing else".to_owned();
            Err(file_error(name, "token_file", path, problem))
        }
    }
}

/// The content of a file that the manifest names under `key`.
fn read_file(name: &str, key: &'static str, path: &Path) -> Result<Vec<u8>, PrepareError> {
    let refuse = |problem| file_error(name, key, path, problem);
    let unreadable = |error| refuse(format!("cannot be read: {error}"));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse("is not a file".to_owned()));
    }
    if metadata.len() > FILE_LIMIT {
        return Err(refuse(format!("is larger than {}", text::size(FILE_LIMIT))));
    }
    fs::read(path).map_err(unreadable)
}

fn file_error(name: &str, key: &'static str, path: &Path, problem: String) -> PrepareError {
    PrepareError::File {
        name: name.to_owned(),
        key,
        path: path.to_owned(),
        problem,
    }
}

/// `value` as indented JSON with a line break at its end.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
