//! What the gate's hook said last on a git daemon's standard error: a refusal, where the client has no
//! side-band for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long the words may take on their way: the hook has ended before they are asked for.
const LIMIT: Duration = Duration::from_secs(1);

/// How the gate's own lines begin.
const OURS: &str = "git-gate: ";

/// The last line of the gate's.
#[derive(Debug, Default)]
pub struct LastWords {
    line: Mutex<String>,
    heard: Condvar,
}

impl LastWords {
    /// Keeps `line` where it is one of the gate's. git daemon puts `[PID] ` in front.
    pub fn hear(&self, line: &str) {
        let line = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("] "))
            .map_or(line, |(_, line)| line);
        if line.starts_with(OURS) {
            line.clone_into(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner));
            self.heard.notify_all();
        }
    }

    /// The last line, waited for where there is none yet.
    pub fn take(&self) -> String {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .heard
            .wait_timeout_while(line, LIMIT, |line| line.is_empty());
        let (line, _) = waited.unwrap_or_else(PoisonError::into_inner);
        line.clone()
    }
}
