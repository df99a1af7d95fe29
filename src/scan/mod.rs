//! Objects become text, gitleaks reads it, a verdict comes out. Nothing here knows of ssh.
//!
//! `decode` turns bytes into text views (encodings, archives), `engine` runs gitleaks over
//! fragments, and this module decides what is read and what a finding means.

pub mod decode;
pub mod engine;

use git2::Repository;
use thiserror::Error;

use crate::push::{Received, RefUpdate};
use crate::settings::Settings;

/// What is to be scanned.
pub struct Request<'a> {
    /// The mirror, with the quarantine readable ([`Received::list`]).
    pub repository: &'a Repository,
    /// Its settings.
    pub settings: &'a Settings,
    /// The push's ref updates.
    pub updates: &'a [RefUpdate],
    /// The push's objects.
    pub received: &'a Received,
    /// The push's options, which are forwarded too.
    pub push_options: &'a [Vec<u8>],
}

/// Why there is no verdict: the push is refused.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The scanner itself.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// An object cannot be read.
    #[error("cannot read the pushed objects")]
    Objects(#[from] git2::Error),
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What refuses the push; none means that it may go on.
    pub findings: Vec<Finding>,
    /// What was read.
    pub tally: Tally,
}

/// One secret, with nothing of the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// gitleaks' rule id.
    pub rule: String,
}

/// What a scan read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects.
    pub objects: usize,
    /// Bytes of text given to the scanner.
    pub bytes: u64,
}

/// Scans everything that the forward of this push would carry.
pub fn scan(_request: &Request<'_>) -> Result<Verdict, ScanError> {
    Ok(Verdict::default())
}

/// The lines of a refusal, for the agent.
pub fn explain(_findings: &[Finding]) -> Vec<String> {
    Vec::new()
}
