//! Takes deploy keys back.

use git_gate::text;

use super::forge::{Collection, Deleted, Patience, Token};
use super::interrupt::Interrupt;
use super::manifest::{Credential, Manifest};
use super::plan::{self, Plan, PlannedDeployKey};
use super::prepare_error::PrepareError;
use super::stage::{self, PLAN_JSON, Stage, StageError};

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
        let before = planned.as_ref().and_then(|plan| plan.deploy_key(&name));
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

/// A deploy key that a forge knows by an id.
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) collection: Collection,
    pub(crate) token_env: String,
}

impl Registered {
    /// The key `id` of upstream `name`, if the manifest and the plan of then agree on its place.
    pub(crate) fn of(
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
    pub(crate) fn delete(
        &self,
        stage: &Stage,
        patience: &Patience,
    ) -> Result<Deleted, PrepareError> {
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

/// The plan that filled the stage, where there is one that can be read.
pub(crate) fn read_plan(stage: &Stage) -> Result<Option<Plan>, StageError> {
    let content = stage.get(PLAN_JSON)?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

pub(crate) fn read_id(stage: &Stage, name: &str) -> Result<String, StageError> {
    let content = stage.get(&stage::id_file(name))?.unwrap_or_default();
    Ok(text::line(content.trim_ascii()))
}
