//! The manifest as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use git_gate::settings::{Limits, Policy};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::forge::Provider;

/// The git part of a bottle.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "manifest of git-gate")]
pub struct Document {
    /// The URL of this schema, for editors.
    #[serde(rename = "$schema", default)]
    pub schema: Option<String>,
    /// The one section.
    #[serde(rename = "git-gate")]
    pub git_gate: Section,
}

/// The upstreams of one gate, and the gate's limits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Each upstream under the name by which the agent reaches it: `git://<gate>/NAME.git`.
    pub repos: BTreeMap<String, Repo>,
    /// Limits of the gate, passed on to `gate.json`.
    #[serde(default)]
    pub limits: Limits,
}

/// One upstream. Exactly one of `identity_file`, `provisioned_key` and `token_file` stands in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["identity_file", "known_host_key"]},
    {"required": ["provisioned_key", "known_host_key"]},
    {"required": ["token_file"]}
]))]
pub struct Repo {
    /// The upstream's URL: `ssh://USER@HOST[:PORT]/PATH`, `USER@HOST:PATH` or `https://HOST[:PORT]/PATH`.
    pub upstream: String,
    /// An ssh private key without passphrase. In this and the other paths, `~/` is the operator's
    /// home, and a relative path starts at the manifest's directory.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
    /// A deploy key, made for this gate alone and deleted after it.
    #[serde(default)]
    pub provisioned_key: Option<ProvisionedKey>,
    /// For an https upstream, the file with the token that the forge takes for a password.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// For an https upstream, the authority that has signed the forge's certificate (PEM), and no
    /// other. Default: those that the system trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// For an ssh upstream, the host's public key or keys, each as `ssh-ed25519 AAAA… [comment]`: no other host is
    /// ever trusted. `gate-host scan-host-key HOST` helps to get it.
    #[serde(default)]
    pub known_host_key: Option<OneOrMore>,
    /// Another host name that the agent's remotes use for this upstream, such as a `Host` alias of
    /// an ssh config.
    #[serde(default)]
    pub remote_key: Option<String>,
    /// What the agent may do to refs, passed on to `gate.json`.
    #[serde(default)]
    pub policy: Policy,
    /// A file of gitleaks rules that extend or replace the scanner's own.
    #[serde(default)]
    pub gitleaks_config: Option<PathBuf>,
    /// A file of accepted findings.
    #[serde(default)]
    pub exceptions: Option<PathBuf>,
}

/// Where a deploy key is registered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProvisionedKey {
    /// The kind of forge.
    pub provider: Provider,
    /// The environment variable that holds the forge's API token when gate-host runs.
    pub token_env: String,
    /// The forge's base URL. Default: `https://<host of the upstream>`; for `github` its API's own
    /// URL, `https://api.github.com` or `https://<host of the upstream>/api/v3`.
    #[serde(default)]
    pub api_url: Option<String>,
}

/// One string or a list of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}
