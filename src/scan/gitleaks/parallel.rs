//! A big push is scanned by several gitleaks side by side: one reads on one core only, and fragments
//! have nothing to do with each other.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use super::session::{self, Gitleaks, Outcome, Packet};
use super::supply::Supply;
use super::{EngineError, RawFinding, Scanner};

/// After how many bytes that had to wait for gitleaks another one helps. Its start costs as much as a
/// scan of 5 to 30 MB.
const HELP_AFTER: u64 = 8 << 20;

/// The most that work side by side, whatever the number of cores; each takes some 100 MB of memory.
const MOST: usize = 4;

/// One scanner made of several. It has them while it feeds them, and no longer than others can wait.
pub(crate) struct ParallelScanner {
    supply: Arc<Supply>,
    workers: Vec<Worker>,
    most: usize,
    next: usize,
    /// Bytes that had to wait since the last one came to help.
    waited: u64,
    lines: u64,
    /// What was found by those that have ended.
    found: Vec<RawFinding>,
    /// Whether none has been there yet.
    is_new: bool,
}

/// One of them, and which lines it got.
struct Worker {
    scan: Gitleaks,
    /// Of each fragment, the lines before it: those that this one got, and those that all got.
    starts: Vec<(u64, u64)>,
}

impl ParallelScanner {
    pub(crate) fn start(supply: Arc<Supply>) -> Result<Self, EngineError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut scanner = Self {
            supply,
            workers: Vec::new(),
            most: cores.min(MOST),
            next: 0,
            waited: 0,
            lines: 0,
            found: Vec::new(),
            is_new: true,
        };
        // One that nobody else needs may as well start while the push is read.
        if !scanner.supply.is_shared() {
            scanner.open()?;
        }
        Ok(scanner)
    }

    /// Waits for the first one.
    fn open(&mut self) -> Result<(), EngineError> {
        let scan = self.supply.first()?;
        self.add(scan);
        Ok(())
    }

    fn add(&mut self, scan: Gitleaks) {
        self.is_new = false;
        let starts = Vec::new();
        self.workers.push(Worker { scan, starts });
    }

    /// Ends one.
    fn end(&mut self, index: usize) -> Result<(), EngineError> {
        let worker = self.workers.swap_remove(index);
        let Outcome { findings, fit } = worker.scan.finish()?;
        if let Some((process, bytes)) = fit {
            self.supply.give_back(process, bytes);
        }
        let placed = findings
            .into_iter()
            .map(|finding| place(finding, &worker.starts));
        self.found.extend(placed);
        Ok(())
    }

    /// Has another one help where all of them have had `length` bytes more to do than they could, and that is
    /// long enough.
    fn call_help(&mut self, length: usize) -> Result<(), EngineError> {
        self.waited += length as u64;
        if self.workers.len() < self.most && self.waited > HELP_AFTER {
            self.waited = 0;
            if let Some(scan) = self.supply.another()? {
                self.add(scan);
            }
        }
        Ok(())
    }

    /// Gives `packet` to the next of those that are `fit` and take it without waiting; whether there was one.
    fn offer(&mut self, fit: fn(&Gitleaks) -> bool, packet: &Packet) -> Result<bool, EngineError> {
        let count = self.workers.len();
        for index in (0..count).map(|step| (self.next + step) % count) {
            let worker = &mut self.workers[index];
            let before = worker.scan.lines();
            if fit(&worker.scan) && worker.scan.offer(packet)? {
                worker.starts.push((before, self.lines));
                self.lines += worker.scan.lines() - before;
                self.next = index + 1;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Scanner for ParallelScanner {
    fn feed(&mut self, fragment: &[u8]) -> Result<u64, EngineError> {
        self.rest()?;
        if self.workers.is_empty() {
            self.open()?;
        }
        let packet = Packet::new(fragment)?;
        // First to one that has little left to read.
        if self.offer(Gitleaks::has_room, &packet)? {
            return Ok(self.lines);
        }
        self.call_help(fragment.len())?;
        // Whichever takes it first: one that has just started needs half a second to its first answer.
        while !self.offer(|_| true, &packet)? {
            let scans = self.workers.iter_mut().map(|worker| &mut worker.scan);
            session::wait_for_any(&mut scans.collect::<Vec<_>>(), true)?;
        }
        Ok(self.lines)
    }

    fn rest(&mut self) -> Result<(), EngineError> {
        let is_wanted = |worker: &Worker| worker.scan.is_wanted_back();
        while let Some(index) = self.workers.iter().position(is_wanted) {
            self.end(index)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<RawFinding>, EngineError> {
        // That nothing is found in nothing is proven too.
        if self.is_new {
            self.open()?;
        }
        while let Some(last) = self.workers.len().checked_sub(1) {
            self.end(last)?;
        }
        Ok(self.found)
    }
}

/// `finding` with the lines of all that was fed.
fn place(mut finding: RawFinding, starts: &[(u64, u64)]) -> RawFinding {
    let after = starts.partition_point(|(worker, _)| *worker < finding.start_line);
    if let Some((worker, all)) = after.checked_sub(1).and_then(|index| starts.get(index)) {
        finding.start_line = finding.start_line - worker + all;
        finding.end_line = finding.end_line - worker + all;
    }
    finding
}
