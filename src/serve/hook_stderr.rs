//! What the gate's hook said last on a git daemon's standard error: a refusal, where the client has no
//! side-band for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After what silence no further line is waited for: the hook has ended before its words are asked
/// for, and they are on their way.
const SILENCE: Duration = Duration::from_secs(1);

/// How long they are waited for in all.
const LIMIT: Duration = Duration::from_secs(10);

/// How the gate's own lines begin.
const OURS: &str = "git-gate: ";

/// How the line begins that ends a refusal of several lines.
const VERDICT: &str = "git-gate: push refused";

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

    /// The last line. A verdict is the last; behind another one, a verdict may follow.
    pub fn take(&self) -> String {
        let end = Instant::now() + LIMIT;
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        while !line.starts_with(VERDICT) && Instant::now() < end {
            let (next, waited) = self
                .heard
                .wait_timeout(line, SILENCE)
                .unwrap_or_else(PoisonError::into_inner);
            line = next;
            if waited.timed_out() {
                break;
            }
        }
        line.clone()
    }
}
