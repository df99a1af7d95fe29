//! What the pool has, who has it, and who is next.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::scan::gitleaks::EngineError;
use crate::scan::gitleaks::launch::{Launcher, locate};
use crate::scan::gitleaks::pool_client::Request;
use crate::scan::gitleaks::scanner_process::{Ends, LocalProcess};
use crate::settings::Limits;

/// For how many sets of rules scanners are kept. Who asks for another one starts its own.
const MOST_KINDS: usize = 16;

/// How long who is next waits for a scanner to come back before a further one is started,
/// which costs as much as 100 scans of small pushes.
const PATIENCE: Duration = Duration::from_millis(100);

/// When a scanner is replaced: after so many scans, whose canaries it keeps in its report, ...
const MOST_SCANS: u64 = 1000;
/// ... so many bytes, ...
const MOST_BYTES: u64 = 4 << 30;
/// ... so long, ...
const MOST_AGE: Duration = Duration::from_secs(3600);
/// ... and with so much memory, in bytes. A new one has some 62 MB.
const MOST_MEMORY: u64 = 160 << 20;

/// What is kept where nobody needs it.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// How many scanners there are at least for each set of rules.
    pub warm: usize,
    /// For how long after its last push.
    pub idle: Duration,
}

impl From<&Limits> for Kept {
    fn from(limits: &Limits) -> Self {
        Self {
            warm: usize::try_from(limits.warm_scanners).unwrap_or(usize::MAX),
            idle: Duration::from_secs(limits.scanner_idle),
        }
    }
}

/// A program, and the operator's rules.
type Key = (PathBuf, Option<PathBuf>);

/// What is known of the scanners of one key.
struct Kind {
    launcher: Launcher,
    /// When a push last needed one.
    needed: Instant,
}

/// A gitleaks that this process started.
pub struct Scanner {
    pub own: LocalProcess,
    pub ends: Ends,
    /// That of its kind.
    fingerprint: String,
    born: Instant,
    scans: u64,
    bytes: u64,
}

/// A hook's place in the queue, and then among those that have a scanner. The first came first.
pub type Ticket = u64;

struct Hook {
    client: String,
    since: Instant,
    /// The kind of the scanner that it has.
    lent: Option<String>,
}

pub struct Stock {
    run_dir: PathBuf,
    kept: Kept,
    kinds: HashMap<Key, Kind>,
    /// Those that nobody has, the last to come back last.
    free: Vec<Scanner>,
    hooks: BTreeMap<Ticket, Hook>,
    next: Ticket,
    has_ended: bool,
}

/// A hook is better off with a scanner of its own, or without a further one.
#[derive(Debug)]
pub struct Refused;

impl Kind {
    fn is_needed(&self, idle: Duration) -> bool {
        self.needed.elapsed() < idle
    }
}

impl Scanner {
    fn start(kind: &Kind) -> Result<Self, EngineError> {
        let (own, ends) = kind.launcher.start()?;
        Ok(Self {
            own,
            ends,
            fingerprint: kind.launcher.fingerprint.clone(),
            born: Instant::now(),
            scans: 0,
            bytes: 0,
        })
    }

    /// Itself after one more scan.
    pub fn used(mut self, bytes: u64) -> Self {
        self.scans += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self
    }

    /// Whether it may do another scan.
    fn is_fit(&mut self) -> bool {
        let has_memory = |memory| memory < MOST_MEMORY;
        self.scans < MOST_SCANS
            && self.bytes < MOST_BYTES
            && self.born.elapsed() < MOST_AGE
            && self.own.memory().is_some_and(has_memory)
            && self.own.is_running()
    }
}

impl Stock {
    pub fn new(run_dir: &Path, kept: Kept) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            kept,
            kinds: HashMap::new(),
            free: Vec::new(),
            hooks: BTreeMap::new(),
            next: 0,
            has_ended: false,
        }
    }

    pub fn keep(&mut self, kept: Kept, rules: &[Option<PathBuf>]) {
        self.kept = kept;
        self.kinds.retain(|(_, kept), _| rules.contains(kept));
        self.tend();
        for rules in rules {
            self.wake(rules.as_deref());
        }
    }

    /// Ends what is here, and gives nothing any more.
    pub fn end(&mut self) {
        self.has_ended = true;
        self.kinds.clear();
        self.free.clear();
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Starts what is missing for a push with these `rules`, as far as it can be started.
    pub fn wake(&mut self, rules: Option<&Path>) {
        let Ok(program) = locate() else {
            return;
        };
        let key = (program, rules.map(Path::to_owned));
        if !self.kinds.contains_key(&key) {
            self.learn(key);
        } else if let Some(kind) = self.kinds.get_mut(&key) {
            kind.needed = Instant::now();
        }
        self.fill();
    }

    fn learn(&mut self, key: Key) {
        if self.has_ended || self.kinds.len() >= MOST_KINDS {
            return;
        }
        let (program, rules) = key.clone();
        let launcher = Launcher::read(program, rules.as_deref(), self.run_dir.clone());
        if let Ok(launcher) = launcher {
            let needed = Instant::now();
            self.kinds.insert(key, Kind { launcher, needed });
        }
    }

    /// Ends what is not fit, not needed or not known any more.
    pub fn tend(&mut self) {
        let (kinds, idle) = (&self.kinds, self.kept.idle);
        let is_needed = |scanner: &Scanner| {
            let mut kinds = kinds.values();
            kinds.any(|kind| {
                kind.launcher.fingerprint == scanner.fingerprint && kind.is_needed(idle)
            })
        };
        self.free
            .retain_mut(|scanner| is_needed(scanner) && scanner.is_fit());
    }

    /// Starts what is missing. Not by itself: with rules that gitleaks cannot read it ends at once.
    fn fill(&mut self) {
        for kind in self.kinds.values() {
            let missing = self
                .kept
                .warm
                .saturating_sub(self.there(&kind.launcher.fingerprint));
            if kind.is_needed(self.kept.idle) {
                self.free
                    .extend((0..missing).flat_map(|_| Scanner::start(kind)));
            }
        }
    }

    /// How many scanners of a kind there are, lent or not.
    fn there(&self, fingerprint: &str) -> usize {
        let free = self.free.iter().map(|scanner| &scanner.fingerprint);
        let all = free.chain(self.lent());
        all.filter(|one| *one == fingerprint).count()
    }

    fn lent(&self) -> impl Iterator<Item = &String> {
        self.hooks.values().filter_map(|hook| hook.lent.as_ref())
    }

    /// Enters the queue.
    pub fn enter(&mut self, request: &Request) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        let hook = Hook {
            client: request.client.clone(),
            since: Instant::now(),
            lent: None,
        };
        self.hooks.insert(ticket, hook);
        ticket
    }

    /// Leaves, with a scanner that came back.
    pub fn leave(&mut self, ticket: Ticket, scanner: Option<Scanner>) {
        self.hooks.remove(&ticket);
        self.free.extend(scanner);
        self.tend();
        self.fill();
    }

    /// A scanner for the hook, `None` while it has to wait. With an error it gets none here.
    pub fn take(&mut self, ticket: Ticket, request: &Request) -> Result<Option<Scanner>, Refused> {
        self.know(request)?;
        if !self.is_turn(ticket) {
            return if request.waits {
                Ok(None)
            } else {
                Err(Refused)
            };
        }
        self.tend();
        let fingerprint = &request.fingerprint;
        let mut free = self.free.iter();
        let scanner = match free.rposition(|scanner| scanner.fingerprint == *fingerprint) {
            Some(at) => self.free.remove(at),
            None if request.waits && self.is_one_expected(ticket, fingerprint) => return Ok(None),
            None => self.start(request)?,
        };
        let hook = self.hooks.get_mut(&ticket).ok_or(Refused)?;
        hook.lent = Some(fingerprint.clone());
        Ok(Some(scanner))
    }

    /// Whether hooks wait and no scanner can be had but from others.
    pub fn is_short(&self) -> bool {
        self.queue().next().is_some() && self.lent().count() >= self.at_work()
    }

    /// Has the kind of scanner that a hook asks for, as the hook sees it.
    fn know(&mut self, request: &Request) -> Result<(), Refused> {
        let key = (request.program.clone(), request.rules.clone());
        let is_it = |kind: &Kind| kind.launcher.fingerprint == request.fingerprint;
        if !self.kinds.get(&key).is_some_and(is_it) {
            self.kinds.remove(&key);
            self.learn(key.clone());
        }
        let kind = self.kinds.get_mut(&key).filter(|kind| is_it(kind));
        kind.ok_or(Refused)?.needed = Instant::now();
        Ok(())
    }

    fn queue(&self) -> impl Iterator<Item = (&Ticket, &Hook)> {
        self.hooks.iter().filter(|(_, hook)| hook.lent.is_none())
    }

    /// Whether the hook is next, and one more may work.
    fn is_turn(&self, ticket: Ticket) -> bool {
        let mut of_client: HashMap<&str, usize> = HashMap::new();
        for hook in self.hooks.values().filter(|hook| hook.lent.is_some()) {
            *of_client.entry(&hook.client).or_default() += 1;
        }
        let has = |hook: &Hook| of_client.get(&*hook.client).copied().unwrap_or(0);
        let next = self
            .queue()
            .min_by_key(|(ticket, hook)| (has(hook), **ticket));
        next.is_some_and(|(next, _)| *next == ticket) && self.lent().count() < self.at_work()
    }

    /// Whether one is likely to come back before a further one would be ready.
    fn is_one_expected(&self, ticket: Ticket, fingerprint: &str) -> bool {
        let waited = self.hooks.get(&ticket).map(|hook| hook.since.elapsed());
        self.lent().any(|one| one == fingerprint) && waited.is_some_and(|one| one < PATIENCE)
    }

    /// Starts one, in the place of one that nobody needs where there are enough.
    fn start(&mut self, request: &Request) -> Result<Scanner, Refused> {
        let most = self.at_work().max(self.kept.warm * self.kinds.len());
        if self.free.len() + self.lent().count() >= most && !self.free.is_empty() {
            self.free.remove(0);
        }
        let mut kinds = self.kinds.values();
        let kind = kinds.find(|kind| kind.launcher.fingerprint == request.fingerprint);
        Scanner::start(kind.ok_or(Refused)?).map_err(|_| Refused)
    }

    /// How many scanners work at once, at most.
    fn at_work(&self) -> usize {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        cores.max(self.kept.warm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_fewest_is_next_and_then_whoever_came_first() {
        let kept = Kept {
            warm: 0,
            idle: Duration::from_secs(1),
        };
        let mut stock = Stock::new(Path::new("/none"), kept);
        let [first, second, third, other] = ["a", "a", "a", "b"].map(|client| {
            stock.enter(&Request {
                program: PathBuf::new(),
                rules: None,
                fingerprint: String::new(),
                client: client.to_owned(),
                waits: true,
            })
        });
        assert!(stock.is_turn(first) && !stock.is_turn(other));
        let lend = |stock: &mut Stock, ticket| {
            let hook = stock.hooks.get_mut(&ticket).unwrap();
            hook.lent = Some(String::new());
        };
        lend(&mut stock, first);
        let has_room = stock.at_work() > 1;
        assert!(!stock.is_turn(second) && stock.is_turn(other) == has_room);
        assert!(stock.is_short() != has_room);
        lend(&mut stock, other);
        stock.leave(first, None);
        assert!(stock.is_turn(second) == has_room && !stock.is_turn(third));
        stock.leave(other, None);
        stock.leave(second, None);
        assert!(stock.is_turn(third));
    }
}
