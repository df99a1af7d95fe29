//! Filling the stage.
//!
//! The order keeps every deploy key accounted for, wherever this program is stopped: the plan is
//! written before the first key is registered, a private key before its public half is, a key's id
//! as soon as the forge told it, and `gate.json` last, so that a stage with it is complete.

use std::path::Path;

use git_gate::text;

use super::forge::{Collection, Patience, Token};
use super::interrupt::Interrupt;
use super::key_pair::KeyPair;
use super::manifest::{Entry, Manifest, Url};
use super::needs::Needs;
use super::plan::{self, Plan};
use super::prepare_error::PrepareError;
use super::revoke::{Registered, read_id, read_plan};
use super::stage::{self, GATE_JSON, PASSWD, PLAN_JSON, Stage};

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
            let key = Registered::of(manifest, &name, &id, plan.deploy_key(&name))?;
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
        let Some(planned) = plan.deploy_key(&entry.name) else {
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
        let then = before.as_ref().and_then(|plan| plan.deploy_key(&name));
        let now = plan.deploy_key(&name);
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

/// `value` as indented JSON with a line break at its end.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
