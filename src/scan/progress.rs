//! How far a long scan is, on the client's terminal, in the form of git's own progress lines.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::text;

/// A scan that is done by then shows nothing, as in git itself.
const DELAY: Duration = Duration::from_secs(1);

/// The time between two lines.
const PAUSE: Duration = Duration::from_millis(500);

/// At most this many lines: nobody may be reading them.
const MOST: usize = 200;

/// Shows the progress of one scan.
pub struct Progress<'a> {
    terminal: &'a mut dyn Write,
    total: usize,
    next: Instant,
    shown: usize,
}

impl<'a> Progress<'a> {
    /// Of a scan of `total` objects that begins now.
    pub fn new(terminal: &'a mut dyn Write, total: usize) -> Self {
        Self {
            terminal,
            total,
            next: Instant::now() + DELAY,
            shown: 0,
        }
    }

    /// `done` objects with `bytes` of text are scanned.
    pub fn show(&mut self, done: usize, bytes: u64) {
        let now = Instant::now();
        if now < self.next || self.shown >= MOST {
            return;
        }
        self.next = now + PAUSE;
        self.shown += 1;
        let _ = write!(self.terminal, "{}\r", line(done, self.total, bytes));
        let _ = self.terminal.flush();
    }

    /// All is scanned: leaves a last line standing, where there was one.
    pub fn end(self, bytes: u64) {
        if self.shown > 0 {
            let last = line(self.total, self.total, bytes);
            let _ = writeln!(self.terminal, "{last}, done.");
        }
    }
}

fn line(done: usize, total: usize, bytes: u64) -> String {
    let percent = done * 100 / total.max(1);
    let size = text::size(bytes);
    format!("git-gate: Scanning objects: {percent:3}% ({done}/{total}), {size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_like_gits_own() {
        let shown = line(123, 292, 12 << 20);
        assert_eq!(
            shown,
            "git-gate: Scanning objects:  42% (123/292), 12.00 MiB"
        );
    }

    #[test]
    fn a_short_scan_shows_nothing() {
        let mut terminal = Vec::new();
        let mut progress = Progress::new(&mut terminal, 2);
        progress.show(1, 10);
        progress.end(10);
        assert!(terminal.is_empty());
    }
}
