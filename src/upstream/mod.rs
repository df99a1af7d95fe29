//! The upstream: its URL, ssh, the refresh before a fetch, the forward after a clean scan. Nothing
//! here knows of findings.

pub mod ssh;

use std::path::Path;

use thiserror::Error;

use crate::push::RefUpdate;
use crate::settings::Settings;

/// Why the upstream was not reached, or said no.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// To be refined.
    #[error("{0}")]
    Failed(String),
}

/// What a forward did.
#[derive(Debug, Default)]
pub struct Forwarded {
    /// What the upstream said to the client, each line safe to show.
    pub messages: Vec<String>,
}

/// Brings the mirror up to date: refs, objects, HEAD.
pub fn refresh(_git_dir: &Path, _settings: &Settings) -> Result<(), UpstreamError> {
    Err(UpstreamError::Failed("not built".to_owned()))
}

/// Sends all ref updates to the upstream, whole or not at all, and keeps refreshes away until
/// receive-pack has updated the mirror's own refs.
pub fn forward(
    _git_dir: &Path,
    _settings: &Settings,
    _updates: &[RefUpdate],
    _push_options: &[Vec<u8>],
) -> Result<Forwarded, UpstreamError> {
    Err(UpstreamError::Failed("not built".to_owned()))
}
