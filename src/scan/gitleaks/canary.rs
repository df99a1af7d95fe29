//! Canaries: tokens that nobody guesses, before and after what is scanned. Both in the report prove that
//! all between them was read.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use super::EngineError;
use crate::text;

/// The id of the rule that finds the canaries.
pub(crate) const CANARY_RULE: &str = "git-gate-canary";

/// Lines of the packet in front of the content.
pub(crate) const HEAD_LINES: u64 = 2;

/// How all canaries of a process begin, new for every process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Canary(String);

impl Canary {
    pub(crate) fn new() -> Result<Self, EngineError> {
        random().map(Self)
    }

    pub(crate) fn keyword(&self) -> String {
        format!("canary-{}", self.0)
    }

    /// A canary that was never there before, for the beginning of a scan.
    pub(crate) fn head(&self) -> Result<String, EngineError> {
        Ok(format!("head-{}-{}", self.keyword(), random()?))
    }

    /// As [`Canary::head`], for its end.
    pub(crate) fn tail(&self) -> Result<String, EngineError> {
        Ok(format!("tail-{}-{}", self.keyword(), random()?))
    }

    /// Matches these and nothing else.
    pub(crate) fn pattern(&self) -> String {
        format!("(?:head|tail)-{}-[0-9a-f]{{32}}", self.keyword())
    }
}

/// What nobody guesses, in 32 digits.
fn random() -> Result<String, EngineError> {
    let mut token = [0; 16];
    getrandom(&mut token, GetRandomFlags::empty())
        .map_err(io::Error::from)
        .map_err(EngineError::system("read random bytes"))?;
    Ok(text::hex(&token))
}
