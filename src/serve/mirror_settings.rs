//! What the hooks of a mirror read of its upstream, before there is a mirror.

use std::path::Path;

use crate::config::Upstream;
use crate::settings::{Limits, Login, Settings, USER};
use crate::url::https_url::is_https;

/// What the hooks of an upstream's mirror read, before there is one.
pub fn settings(upstream: &Upstream, limits: &Limits, creds_dir: &Path) -> Settings {
    let named = |what: &str| creds_dir.join(format!("{}-{what}", upstream.name));
    Settings {
        url: upstream.url.clone(),
        identity_file: named("key"),
        known_hosts: named("known_hosts"),
        login: login(upstream, creds_dir),
        fetch_ref: upstream.fetch_ref.clone(),
        policy: upstream.policy.clone(),
        read_only: upstream.read_only,
        gitleaks_config: upstream.gitleaks_config.clone(),
        exceptions: upstream.exceptions.clone(),
        limits: limits.clone(),
        ..Settings::without_upstream()
    }
}

/// How the gate logs in at `upstream`, where that is an https one.
pub fn login(upstream: &Upstream, creds_dir: &Path) -> Login {
    let named = |what: &str| creds_dir.join(format!("{}-{what}", upstream.name));
    if !is_https(&upstream.url) {
        return Login::default();
    }
    Login {
        user: upstream.user.clone().unwrap_or_else(|| USER.to_owned()),
        token_file: Some(named("token")).filter(|_| upstream.credential_command.is_empty()),
        command: upstream.credential_command.clone(),
        ca_file: Some(named("ca.pem")).filter(|file| file.exists()),
    }
}
