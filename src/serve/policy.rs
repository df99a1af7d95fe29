//! What a push is held against, for an agent that asks ahead and for an operator.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use super::agents::Caller;
use super::{Options, ServeError};
use crate::agent;
use crate::config::{Config, ConfigError, Upstream};
use crate::settings::{Limits, RefPattern};
use crate::text;

/// The limits that an agent can do something about.
const LIMITS: [&str; 5] = [
    "maxPushSize",
    "maxObjectSize",
    "maxUnpackedSize",
    "maxRefs",
    "idlePush",
];

/// The rules for one repository and whoever asks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rules<'a> {
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    read_only: bool,
    /// The refs that are there to be fetched; all where it is empty.
    fetch_ref: &'a [RefPattern],
    /// A push must keep each of them.
    policies: Vec<Value>,
    limits: BTreeMap<&'static str, u64>,
}

/// The rules of `upstream` for `caller`, as JSON.
pub fn describe(upstream: &Upstream, limits: &Limits, caller: &Caller) -> String {
    let agent = caller.name.as_deref();
    let of_upstream = match agent {
        Some(name) => agent::for_agent(&upstream.policy, name),
        None => upstream.policy.clone(),
    };
    let named = caller.policy().map(agent::Narrowing::named);
    let named = named.filter(|named| !named.is_empty()).map(Value::Object);
    let of_upstream = serde_json::to_value(of_upstream).unwrap_or_default();
    let policies = [of_upstream].into_iter().chain(named);
    let limits = limits.entries().into_iter();
    let rules = Rules {
        repository: &upstream.name,
        agent,
        read_only: upstream.read_only || !caller.may_push(),
        fetch_ref: &upstream.fetch_ref,
        policies: policies.map(without_operators_own).collect(),
        limits: limits.filter(|(name, _)| LIMITS.contains(name)).collect(),
    };
    let rules = serde_json::to_value(rules).unwrap_or_default();
    format!("{rules:#}\n")
}

/// `policy` without the program that tells the operator: its arguments may hold an address that is a
/// secret.
fn without_operators_own(mut policy: Value) -> Value {
    if let Some(policy) = policy.as_object_mut() {
        policy.remove("notify");
    }
    policy
}

/// Writes the rules of the upstream `name`, for the agent called so where one is named.
pub fn policy(
    options: &Options,
    name: &str,
    agent: Option<&str>,
    out: &mut impl Write,
) -> Result<(), ServeError> {
    let config = options.load_config()?;
    let named = config.upstreams.iter().find(|one| one.name == name);
    let upstream = named.ok_or_else(|| unknown("upstream", name))?;
    let caller = match agent {
        None => Caller::default(),
        Some(agent) => of_agent(&config, agent)?,
    };
    if !caller.sees(name) {
        let problem = format!(
            "its repositories leave out {:?}",
            text::line(name.as_bytes())
        );
        let subject = format!("agent {:?}", agent.unwrap_or_default());
        return Err(ConfigError::Agent { subject, problem }.into());
    }
    let rules = describe(upstream, &config.limits, &caller);
    out.write_all(rules.as_bytes()).map_err(ServeError::System)
}

fn of_agent(config: &Config, name: &str) -> Result<Caller, ServeError> {
    let named = config.agents.iter().find(|agent| agent.name == name);
    let agent = named.ok_or_else(|| unknown("agent", name))?;
    Ok(Caller::of(agent))
}

fn unknown(what: &str, name: &str) -> ServeError {
    let subject = format!("{what} {:?}", text::line(name.as_bytes()));
    let problem = "gate.json names none of that name".to_owned();
    ConfigError::Agent { subject, problem }.into()
}
