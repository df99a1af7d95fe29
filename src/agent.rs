//! The agents that a gate tells apart: what `gate.json` says of them, and what a hook is told of the
//! one that it works for.
//!
//! gate-init tells the hooks in their environment, which it sets itself: a client has no say in it.
//! What they are told can only forbid, so that a repository without gate-init needs none of it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use wildmatch::WildMatch;

use crate::settings::{Atomic, ForcePush, Mode, Policy, Settings, Suspects};

/// What a hook is told of the agent: an [`Asking`] as JSON.
pub const VARIABLE: &str = "GIT_GATE_AGENT";

/// What stands for the agent's name in a glob.
const PLACE: &str = "{agent}";

/// An agent, known by its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// What it is called in audit lines, counters and refusals, and what `{agent}` stands for in
    /// globs: letters, digits, dots, dashes and underscores.
    pub name: String,
    /// The file with its token, at least 20 characters; a relative path lies in the credentials
    /// directory. It is read at the start and on SIGHUP.
    pub token_file: std::path::PathBuf,
    /// What it may do.
    #[serde(flatten)]
    pub rights: Rights,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rights {
    /// The repositories that it may see: names of upstreams, or globs over them (`*`: all).
    pub repositories: Vec<String>,
    /// Whether it may fetch alone.
    #[serde(default)]
    pub read_only: bool,
    /// Rules for its pushes, besides those of the upstream: a push must keep both. What is not
    /// named here forbids nothing.
    #[serde(default)]
    pub policy: Narrowing,
}

impl Rights {
    /// Whether the repository `name` may be seen.
    pub fn include(&self, name: &str) -> bool {
        let mut globs = self.repositories.iter();
        globs.any(|glob| WildMatch::new(glob).matches(name))
    }

    /// The same with `name` in its globs.
    pub fn of(&self, name: &str) -> Self {
        let put = |glob: &String| glob.replace(PLACE, name);
        Self {
            repositories: self.repositories.iter().map(put).collect(),
            read_only: self.read_only,
            policy: Narrowing(for_agent(&self.policy.0, name)),
        }
    }
}

/// A policy of which each key that is not named forbids nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Policy")]
pub struct Narrowing(pub Policy);

impl Default for Narrowing {
    fn default() -> Self {
        Self(Policy {
            force_push: ForcePush::Lease,
            max_deletes: u64::MAX,
            allow_push_option: vec!["*".to_owned()],
            atomic: Atomic::Prefer,
            protect: Vec::new(),
            ..Policy::default()
        })
    }
}

impl Narrowing {
    /// The keys that forbid something.
    pub fn named(&self) -> Map<String, Value> {
        let of = |one: &Self| serde_json::to_value(one).unwrap_or_default();
        let (Value::Object(mut all), without) = (of(self), of(&Self::default())) else {
            return Map::new();
        };
        all.retain(|key, value| without.get(key) != Some(value));
        all
    }
}

impl TryFrom<Map<String, Value>> for Narrowing {
    type Error = serde_json::Error;

    fn try_from(named: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let mut all = serde_json::to_value(Self::default().0)?;
        if let Value::Object(all) = &mut all {
            all.extend(named);
        }
        serde_json::from_value(all).map(Self)
    }
}

impl From<Narrowing> for Policy {
    fn from(narrowing: Narrowing) -> Self {
        narrowing.0
    }
}

impl JsonSchema for Narrowing {
    fn schema_name() -> Cow<'static, str> {
        "Narrowing".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Policy::json_schema(generator);
        let keys = schema.get_mut("properties").and_then(Value::as_object_mut);
        for key in keys.into_iter().flat_map(Map::values_mut) {
            // Those of an upstream's policy are others.
            key.as_object_mut().map(|key| key.remove("default"));
        }
        let words = "A policy of which each key that is not named forbids nothing.";
        schema.insert("description".to_owned(), words.into());
        schema
    }
}

/// `policy` with the agent's `name` in its globs.
pub fn for_agent(policy: &Policy, name: &str) -> Policy {
    fn put(value: &mut Value, name: &str) {
        match value {
            Value::String(text) if text.contains(PLACE) => *text = text.replace(PLACE, name),
            Value::Array(values) => values.iter_mut().for_each(|value| put(value, name)),
            Value::Object(members) => members.values_mut().for_each(|value| put(value, name)),
            _ => {}
        }
    }
    let named = serde_json::to_value(policy).and_then(|mut value| {
        put(&mut value, name);
        serde_json::from_value(value)
    });
    // A name has no character that could make a value another one's.
    named.unwrap_or_else(|_| policy.clone())
}

/// Whom a hook works for, where the gate tells agents apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// The agent; none for whoever gave no token.
    pub name: Option<String>,
    /// Whether it may fetch alone.
    pub read_only: bool,
    /// Rules for its pushes.
    pub policy: Narrowing,
}

/// The environment names nobody that can be understood.
#[derive(Debug, Error)]
#[error("{VARIABLE} is not what gate-init sets; tell the operator")]
pub struct AskingError(#[source] serde_json::Error);

impl Asking {
    /// As gate-init has told this hook.
    pub fn here() -> Result<Option<Self>, AskingError> {
        let told = std::env::var_os(VARIABLE).filter(|told| !told.is_empty());
        let read = |told: std::ffi::OsString| {
            serde_json::from_slice(told.as_encoded_bytes()).map_err(AskingError)
        };
        told.map(read).transpose()
    }

    /// In words: `agent agent-7`.
    pub fn shown(&self) -> String {
        match &self.name {
            Some(name) => format!("agent {name}"),
            None => "clients without a token".to_owned(),
        }
    }

    /// Puts the agent's name into the globs of `settings`, and returns the settings by which its own
    /// rules are checked.
    pub fn narrow(&self, settings: &mut Settings) -> Settings {
        if let Some(name) = &self.name {
            settings.policy = for_agent(&settings.policy, name);
        }
        let (own, all) = (&self.policy.0, &mut settings.policy);
        if own.atomic == Atomic::Require {
            all.atomic = Atomic::Require;
        }
        if own.suspects == Suspects::Refuse {
            all.suspects = Suspects::Refuse;
        }
        // How a refusal ends is no rule that could be narrowed: what is named for the agent stands for
        // what the repository has.
        if own.mode == Mode::Observe {
            all.mode = Mode::Observe;
        }
        if own.hold > 0 {
            all.hold = own.hold;
        }
        if !own.notify.is_empty() {
            all.notify.clone_from(&own.notify);
        }
        Settings {
            policy: self.policy.0.clone(),
            read_only: self.read_only,
            ..settings.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(json: &str) -> Rights {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_an_agents_policy_does_not_name_forbids_nothing_and_its_name_is_put_in() {
        let json = r#"{"repositories":["app","{agent}-*"],"policy":{"allowRef":["refs/heads/{agent}/*"],"deletes":"refuse"}}"#;
        let own = rights(json).of("a.7");
        assert!(own.include("app") && own.include("a.7-x") && !own.include("a.8-x"));
        let Narrowing(policy) = &own.policy;
        assert_eq!(policy.allow_ref, ["refs/heads/a.7/*"]);
        assert_eq!(policy.deletes, crate::settings::Deletes::Refuse);
        assert_eq!(policy.force_push, ForcePush::Lease);
        assert_eq!(policy.max_deletes, u64::MAX);
        assert_eq!(policy.allow_push_option, ["*"]);
        // As it goes through a hook's environment.
        let told = serde_json::to_string(&own.policy).unwrap();
        assert_eq!(
            serde_json::from_str::<Narrowing>(&told).unwrap(),
            own.policy
        );
        let unknown = serde_json::from_str::<Narrowing>(r#"{"alowRef":[]}"#);
        assert!(unknown.is_err());
    }
}
