//! `gate.json`: the operator's list of upstreams, with their policy and the limits.
//!
//! Its JSON Schema is `docs/gate.schema.json`, generated from the types here.

mod changes;
mod check;
mod error;
mod gate_json;
mod unknown_keys;

pub use error::ConfigError;
pub use gate_json::{Config, Fsck, Http, Upstream};
pub use unknown_keys::{UnknownKey, unknown_keys};

#[cfg(test)]
pub(crate) use gate_json::tests;
