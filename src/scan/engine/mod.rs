//! gitleaks, behind one small interface: fragments go in, raw findings come out.

use thiserror::Error;

/// The most bytes of one fragment.
pub const FRAGMENT_LIMIT: usize = 96 << 10;

/// Why gitleaks gave no answer.
#[derive(Debug, Error)]
pub enum EngineError {
    /// It is not installed.
    #[error("gitleaks was not found; set GIT_GATE_GITLEAKS or put it on PATH")]
    Missing,
}

/// A finding as gitleaks reports it. It holds the secret in clear: it is never printed.
#[derive(Debug, Clone, PartialEq)]
pub struct RawFinding {
    /// The rule's id.
    pub rule: String,
    /// What the rule finds, in words.
    pub description: String,
    /// The first line of the match, counted from 1 over all that was fed.
    pub start_line: u64,
    /// The last line of the match.
    pub end_line: u64,
    /// The whole match.
    pub matched: String,
    /// The secret in it.
    pub secret: String,
}

/// A gitleaks that reads fragments.
pub trait Scanner {
    /// Gives it one fragment of at most [`FRAGMENT_LIMIT`] bytes. No match spans two fragments.
    /// Returns the number of lines fed so far, so that the caller can map lines back.
    fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError>;

    /// Ends the input and returns what was found.
    fn finish(self: Box<Self>) -> Result<Vec<RawFinding>, EngineError>;
}
