//! The interface of a scanner: fragments go in, raw findings come out.

use super::EngineError;

/// The most bytes of one fragment.
pub const FRAGMENT_LIMIT: usize = 96 << 10;

/// A finding as gitleaks reports it. It holds the secret in clear: it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RawFinding {
    /// The rule's id.
    pub rule: String,
    /// What the rule finds, in words.
    pub description: String,
    /// The first line of the match, counted from 1 over all that was fed.
    pub start_line: u64,
    /// The last line of the match.
    pub end_line: u64,
    /// Where on its first line the match begins, in bytes from 1. gitleaks counts one too many on
    /// all but a fragment's first line.
    pub start_column: u64,
    /// The whole match, decoded where `decoded` says so. What is not UTF-8 is U+FFFD here.
    pub matched: String,
    /// The secret in it.
    pub secret: String,
    /// Whether gitleaks found it in a value that it decoded (base64, hex, percent).
    pub decoded: bool,
}

/// Shows all but the secret, so that no log line can hold it.
impl std::fmt::Debug for RawFinding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RawFinding")
            .field("rule", &self.rule)
            .field("start_line", &self.start_line)
            .field("end_line", &self.end_line)
            .field("decoded", &self.decoded)
            .finish_non_exhaustive()
    }
}

/// A scanner that reads fragments. Dropped before its end, it ends its process.
pub trait Scanner {
    /// Gives it one fragment of at most [`FRAGMENT_LIMIT`] bytes. No match spans two fragments.
    /// Returns the number of lines fed so far, those that end the fragment included: the next
    /// fragment's first line is one more. It never waits beyond `git-gate.scanTimeout`.
    fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError>;

    /// Gives others what they wait for, as [`Scanner::feed`] does too: for whoever has nothing to feed
    /// for a while.
    fn rest(&mut self) -> Result<(), EngineError>;

    /// Ends the input and returns what was found.
    fn finish(self: Box<Self>) -> Result<Vec<RawFinding>, EngineError>;
}
