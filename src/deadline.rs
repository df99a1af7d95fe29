//! When something has to be done, and which setting says so.

use std::time::{Duration, Instant};

use thiserror::Error;

/// The longest wait in seconds, whatever a setting says: a year, so that no clock overflows.
pub const LONGEST: u64 = 365 * 24 * 3600;

/// A moment by which a whole phase of work has to be done, all of its parts together.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    end: Instant,
    limit: Duration,
    setting: &'static str,
}

/// The time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it was not done within {seconds} s (git-gate.{setting})")]
pub struct Missed {
    /// The setting, without `git-gate.` in front.
    pub setting: &'static str,
    /// Its value.
    pub seconds: u64,
}

impl Deadline {
    /// In `seconds` from now, which is what `git-gate.SETTING` says.
    pub fn of(setting: &'static str, seconds: u64) -> Self {
        let limit = Duration::from_secs(seconds.min(LONGEST));
        Self {
            end: Instant::now() + limit,
            limit,
            setting,
        }
    }

    /// The time that is left; zero when it is over.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// An error when the time is over.
    pub fn check(&self) -> Result<(), Missed> {
        match self.is_over() {
            true => Err(self.missed()),
            false => Ok(()),
        }
    }

    /// The error that says which setting ended the work.
    pub fn missed(&self) -> Missed {
        Missed {
            setting: self.setting,
            seconds: self.limit.as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_end_is_no_overflow_and_one_of_nothing_is_over() {
        let endless = Deadline::of("scanTimeout", u64::MAX);
        assert!(endless.check().is_ok());
        assert!(endless.left() > Duration::from_secs(3600));
        let over = Deadline::of("scanTimeout", 0);
        assert_eq!(
            over.check().unwrap_err().to_string(),
            "it was not done within 0 s (git-gate.scanTimeout)"
        );
    }
}
