//! A big push is scanned by several gitleaks side by side: one reads on one core only, and fragments
//! have nothing to do with each other.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::launch::{Process, Recipe};
use super::session::Gitleaks;
use super::{EngineError, RawFinding, Scanner, pool_client};
use crate::deadline::Deadline;

/// After how many bytes that had to wait for gitleaks another one helps. Its start costs as much as a
/// scan of 5 to 30 MB.
const HELP_AFTER: u64 = 8 << 20;

/// The most that work side by side, whatever the number of cores; each takes some 100 MB of memory.
const MOST: usize = 4;

/// One scanner made of several.
pub(crate) struct Fan {
    recipe: Arc<Recipe>,
    lanes: Vec<Lane>,
    most: usize,
    next: usize,
    /// Bytes that had to wait since the last one came to help.
    waited: u64,
    lines: u64,
    deadline: Deadline,
}

/// One of them, and which lines it got.
struct Lane {
    scan: Gitleaks,
    /// Of each fragment, the lines before it: those that this one got, and those that all got.
    starts: Vec<(u64, u64)>,
}

impl Fan {
    pub(crate) fn start(recipe: Arc<Recipe>, deadline: Deadline) -> Result<Self, EngineError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut fan = Self {
            recipe,
            lanes: Vec::new(),
            most: cores.min(MOST),
            next: 0,
            waited: 0,
            lines: 0,
            deadline,
        };
        fan.widen()?;
        Ok(fan)
    }

    fn widen(&mut self) -> Result<(), EngineError> {
        // A borrowed one may have died on its way here.
        let borrowed = pool_client::borrow(&self.recipe).map(|process| self.begin(process));
        let scan = match borrowed {
            Some(Ok(scan)) => scan,
            Some(Err(_)) | None => self.begin(self.recipe.start()?)?,
        };
        self.lanes.push(Lane {
            scan,
            starts: Vec::new(),
        });
        Ok(())
    }

    fn begin(&self, process: Process) -> Result<Gitleaks, EngineError> {
        Gitleaks::begin(process, self.deadline, self.recipe.rules.file.clone())
    }

    /// The next one that takes a fragment of `length` bytes at once; another one where all have been
    /// busy for long, else the next one.
    fn choose(&mut self, length: usize) -> Result<usize, EngineError> {
        let count = self.lanes.len();
        let free = (0..count)
            .map(|step| (self.next + step) % count)
            .find(|&index| self.lanes[index].scan.has_room());
        if let Some(index) = free {
            return Ok(index);
        }
        self.waited += length as u64;
        if count < self.most && self.waited > HELP_AFTER {
            self.waited = 0;
            self.widen()?;
            return Ok(count);
        }
        Ok(self.next % count)
    }
}

impl Scanner for Fan {
    fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError> {
        let index = self.choose(fragment.len())?;
        self.next = index + 1;
        let lane = &mut self.lanes[index];
        let before = lane.scan.lines();
        lane.starts.push((before, self.lines));
        self.lines += lane.scan.feed(fragment)? - before;
        Ok(self.lines)
    }

    fn finish(self: Box<Self>) -> Result<Vec<RawFinding>, EngineError> {
        let mut findings = Vec::new();
        for lane in self.lanes {
            let found = lane.scan.finish()?;
            findings.extend(
                found
                    .into_iter()
                    .map(|finding| place(finding, &lane.starts)),
            );
        }
        Ok(findings)
    }
}

/// `finding` with the lines of all that was fed.
fn place(mut finding: RawFinding, starts: &[(u64, u64)]) -> RawFinding {
    let after = starts.partition_point(|(lane, _)| *lane < finding.start_line);
    if let Some((lane, all)) = after.checked_sub(1).and_then(|index| starts.get(index)) {
        finding.start_line = finding.start_line - lane + all;
        finding.end_line = finding.end_line - lane + all;
    }
    finding
}
