//! One scan from its start to its verdict.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};

use git2::{ObjectType, Oid, Repository};
use thiserror::Error;

use super::decode::Spent;
use super::fragments::{Location, Packer, Whereabouts};
use super::gitleaks::{Engine, RawFinding, Scanner};
use super::objects::reader::{Source, Texts};
use super::progress::Progress;
use super::ref_names;
use super::verdict::exceptions::Exceptions;
use super::verdict::formed;
use super::verdict::triage::{self, Finding};
use super::verdict::unscannable::Outcome;
use crate::deadline::{Deadline, Missed};
use crate::git::Refs;
use crate::push::{Received, RefUpdate};
use crate::settings::Settings;

/// What is to be scanned.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The mirror, with the quarantine readable ([`Received::list`]).
    pub repository: &'a Repository,
    /// Its refs.
    pub refs: &'a Refs,
    /// Its settings.
    pub settings: &'a Settings,
    /// The push's ref updates.
    pub updates: &'a [RefUpdate],
    /// The push's objects.
    pub received: &'a Received,
    /// The push's options, which are forwarded too.
    pub push_options: &'a [Vec<u8>],
}

/// Why there is no verdict: the push is refused.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The scanner itself.
    #[error(transparent)]
    Engine(#[from] super::gitleaks::EngineError),
    /// An object cannot be read.
    #[error("cannot read the pushed objects; check the clone with `git fsck`")]
    Objects(#[from] git2::Error),
    /// An object's text cannot be had in full.
    #[error(transparent)]
    Decode(#[from] super::decode::DecodeError),
    /// An object is not what its kind says.
    #[error(transparent)]
    Malformed(#[from] super::objects::parse::Malformed),
    /// Trees are nested deeper than git itself follows.
    #[error("folders are nested deeper than git takes (core.maxTreeDepth); flatten them")]
    TooDeep,
    /// There is something in an object that cannot be opened, so nobody knows what is in it.
    #[error(
        "object {id}: {problem}; leave it out, or ask the operator to accept it with the line `blob:{id} {} REASON` in the file of git-gate.exceptions",
        super::verdict::exceptions::UNSCANNABLE
    )]
    Unscannable {
        /// The object.
        id: Oid,
        /// What is in it.
        problem: super::decode::DecodeError,
    },
    /// An error about one object.
    #[error("object {id}")]
    In {
        /// The object.
        id: Oid,
        /// What about it.
        source: Box<ScanError>,
    },
    /// git's own output cannot be had.
    #[error("cannot read objects through git")]
    Git(#[from] io::Error),
    /// The operator's exceptions.
    #[error(transparent)]
    Exceptions(#[from] super::verdict::exceptions::ExceptionsError),
    /// The time is over.
    #[error("the scan was ended, since {0}; push fewer commits at once")]
    TimedOut(#[from] Missed),
    /// A folder stands at too many paths, and the rules may differ from one to the next.
    #[error(
        "a folder stands at more than {limit} paths, and the operator's rules look at paths; push fewer copies of it at once"
    )]
    TooManyPlaces {
        /// How many are told apart.
        limit: usize,
    },
    /// Paths take too much memory.
    #[error(
        "the paths of the pushed files are over {} MiB together; shorten the names of the folders around them, or push fewer of them at once",
        limit >> 20
    )]
    LongPaths {
        /// How many bytes are kept.
        limit: usize,
    },
    /// One object is too large.
    #[error(
        "object {id} is {} unpacked, over the limit of {} (git-gate.maxObjectSize); leave it out, or ask the operator to raise the limit; `git rev-list --objects --all | grep {id}` tells its path",
        crate::text::size(*size),
        crate::text::size(*limit)
    )]
    Unpacks {
        /// The object.
        id: Oid,
        /// Its size in bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// All objects together are too large.
    #[error(
        "the push is {} unpacked, over the limit of {} (git-gate.maxUnpackedSize); push fewer commits at once, or ask the operator to raise the limit",
        crate::text::size(*size),
        crate::text::size(*limit)
    )]
    UnpackTogether {
        /// Their size in bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// An object that is held in memory is too large for that.
    #[error("a {kind} of {} is over the limit of {} MiB; make it smaller", crate::text::size(*size), limit >> 20)]
    TooLarge {
        /// Commit, tree or tag.
        kind: ObjectType,
        /// Its size in bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// There is always one more value behind those that are let through.
    #[error(
        "behind values that the upstream holds or the operator accepts, more and more come out: after {rounds} scans there still was a new one; put fewer of them into one place"
    )]
    Hidden {
        /// How often was looked.
        rounds: usize,
    },
    /// Not all of the push was given to the scanner: a bug of the gate, or a changing quarantine.
    #[error(
        "not every pushed object was scanned, so nothing is forwarded; push again, and tell the operator if it stays so"
    )]
    Unproven,
}

impl ScanError {
    pub(crate) fn in_object(self, id: Oid) -> Self {
        match self {
            Self::Engine(_) | Self::TimedOut(_) | Self::In { .. } => self,
            Self::Decode(problem) if problem.unread().is_some() => {
                Self::Unscannable { id, problem }
            }
            source => Self::In {
                id,
                source: Box::new(source),
            },
        }
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What refuses the push; none means that it may go on.
    pub findings: Vec<Finding>,
    /// What may be a secret, and is told without refusing the push.
    pub suspects: Vec<Finding>,
    /// How many secrets there are besides, where there are very many.
    pub more: usize,
    /// Whether the upstream has more history than was searched for them.
    pub search_ended: bool,
    /// What was read.
    pub tally: Tally,
    /// The ref names that something was found in, whatever became of it.
    pub names: BTreeSet<Source>,
    /// The refusals whose answer, for one push alone, let something through.
    pub once: BTreeSet<String>,
    /// Whether it is told and refuses nothing.
    pub is_observed: bool,
    /// The id of this refusal, once it is kept.
    pub id: Option<String>,
}

impl Verdict {
    /// Adds what another one refuses.
    pub fn add(&mut self, other: Self) {
        let known: BTreeSet<_> = self
            .findings
            .iter()
            .map(|one| one.exception.clone())
            .collect();
        let is_new = |one: &Finding| !known.contains(&one.exception);
        self.findings
            .extend(other.findings.into_iter().filter(is_new));
        self.more += other.more;
        self.once.extend(other.once);
    }

    /// How many secrets there are.
    pub fn count(&self) -> usize {
        self.findings.len() + self.more
    }
}

/// What a scan read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects.
    pub objects: usize,
    /// Bytes of text given to the scanner.
    pub bytes: u64,
}

/// A secret and where it stands. It holds the secret in clear: it is never printed.
#[derive(Debug)]
pub struct Hit {
    /// Where.
    pub at: Location,
    /// What gitleaks said.
    pub raw: RawFinding,
    /// Whether it is the path itself that is forbidden, whatever stands there.
    pub forbids_path: bool,
}

impl Hit {
    pub(crate) fn new(at: Location, raw: RawFinding) -> Self {
        Self {
            at,
            raw,
            forbids_path: false,
        }
    }
}

/// Scans everything that the forward of this push would carry, by `deadline`. A scan that takes
/// longer than a moment shows its progress on `terminal`. Of a push that only deletes there is
/// nothing to scan, so it waits for no scanner.
pub fn scan(
    request: &Request<'_>,
    deadline: Deadline,
    terminal: &mut dyn Write,
) -> Result<Verdict, ScanError> {
    if request.only_deletes() {
        return Ok(Verdict::default());
    }
    let engine = Engine::open(request.settings, deadline)?;
    scan_with(&engine, request, terminal)
}

impl Request<'_> {
    /// Whether the forward would say nothing but the names of refs that the upstream has.
    fn only_deletes(&self) -> bool {
        let is_held = |update: &RefUpdate| self.refs.get(&update.name).is_some();
        let brings_nothing = self.received.objects.is_empty() && self.push_options.is_empty();
        brings_nothing
            && self
                .updates
                .iter()
                .all(|update| update.deletes() && is_held(update))
    }
}

/// As [`scan`], with this `engine`.
pub fn scan_with(
    engine: &Engine,
    request: &Request<'_>,
    terminal: &mut dyn Write,
) -> Result<Verdict, ScanError> {
    // index-pack has hashed every object on its way into the quarantine.
    git2::opts::strict_hash_verification(false);
    let deadline = engine.deadline();
    let file = request.settings.exceptions.as_deref();
    let exceptions = Exceptions::of(request.repository.path(), file)?;
    // gitleaks starts while the history is read.
    let scanner = engine.start()?;
    let odb = request.repository.odb()?;
    let mut texts = Texts::list(request, &odb, engine.path_rules(), deadline)?;
    let pass = first_pass(&mut texts, scanner, &exceptions, deadline, terminal)?;
    let mut hits = pass.hits;
    let as_it_is = |_, text: &[u8]| text.to_vec();
    let suspects = scan_alone(&mut texts, engine, &pass.suspects, &as_it_is, deadline)?;
    hits.extend(suspects);
    hits.extend(triage::forbidden_paths(&texts)?);
    let names = ref_names::in_names(&hits);
    let mut verdict = match hits.is_empty() && texts.unread.is_empty() {
        true => Verdict::default(),
        false => triage::judge(&mut texts, hits, engine, &exceptions, deadline)?,
    };
    verdict.tally = pass.tally;
    verdict.names = names;
    verdict.once = exceptions.used();
    Ok(verdict)
}

struct Pass {
    hits: Vec<Hit>,
    /// Texts in which a match seems to lie that touches more than one of them.
    suspects: BTreeSet<Source>,
    tally: Tally,
}

/// Gives all texts to the scanner, and proves that it got them all.
fn first_pass(
    texts: &mut Texts<'_>,
    scanner: Box<dyn Scanner>,
    exceptions: &Exceptions,
    deadline: Deadline,
    terminal: &mut dyn Write,
) -> Result<Pass, ScanError> {
    let mut packer = Packer::new(scanner);
    let mut names = Names::default();
    let mut proof = Proof::new(&texts.objects);
    let mut progress = Progress::new(terminal, texts.objects.len());
    let rules = texts.rules;
    let mut forbidden = Vec::new();
    let order = texts.order();
    texts.read_ahead(&order)?;
    for source in order {
        deadline.check()?;
        let spent = texts.budget.spent();
        let is_names = texts.is_names(source);
        let forms = rules.forms(&triage::paths(texts, source));
        let read = texts.read(source, &mut |member, line, text| {
            forbidden.extend(triage::forbidden_members(rules, source, member, line, text));
            forbidden.extend(formed::hits(rules, &forms, source, member, line, text));
            if !is_names || names.is_new(text) {
                packer.add(source, member, line, text)?;
            }
            Ok(())
        });
        if texts.unread.note(source, read, exceptions)? == Outcome::Accepted {
            texts.budget.take_back(spent);
        }
        if let Source::Object(at) = source {
            proof.scanned(at);
            progress.show(proof.count, packer.bytes());
        }
    }
    progress.end(packer.bytes());
    proof.complete()?;
    let tally = Tally {
        objects: texts.received,
        bytes: packer.bytes(),
    };
    let (mut hits, mut suspects) = (forbidden, BTreeSet::new());
    for (raw, place) in packer.finish()? {
        match place {
            Whereabouts::In(at) => hits.push(Hit::new(at, raw)),
            Whereabouts::Across(sources) => suspects.extend(sources),
        }
    }
    Ok(Pass {
        hits,
        suspects,
        tally,
    })
}

/// Scans `sources` again, in this `shape`, no text together with another.
pub(crate) fn scan_alone(
    texts: &mut Texts<'_>,
    engine: &Engine,
    sources: &BTreeSet<Source>,
    shape: &dyn Fn(Source, &[u8]) -> Vec<u8>,
    deadline: Deadline,
) -> Result<Vec<Hit>, ScanError> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let mut packer = Packer::alone(engine.start()?);
    for &source in sources {
        deadline.check()?;
        // It was paid for in the first pass.
        let spent = texts.budget.spent();
        texts.budget.take_back(Spent::default());
        let read = texts.read(source, &mut |member, line, text| {
            Ok(packer.add(source, member, line, &shape(source, text))?)
        });
        texts.unread.again(read)?;
        texts.budget.take_back(spent);
    }
    let mut hits = Vec::new();
    for (raw, place) in packer.finish()? {
        if let Whereabouts::In(at) = place {
            hits.push(Hit::new(at, raw));
        }
    }
    Ok(hits)
}

/// The names that were given to the scanner already: most trees of a push hold the same ones.
#[derive(Default)]
struct Names {
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Names {
    /// How many are remembered; past that, some are scanned again.
    const LIMIT: usize = 1 << 20;

    fn is_new(&mut self, name: &[u8]) -> bool {
        if self.seen.len() >= Self::LIMIT {
            self.seen.clear();
        }
        self.seen.insert(self.hasher.hash_one(name))
    }
}

/// Keeps count of the objects that the scanner got.
struct Proof {
    scanned: Vec<bool>,
    count: usize,
    twice: bool,
}

impl Proof {
    fn new(objects: &[crate::push::ReceivedObject]) -> Self {
        Self {
            scanned: vec![false; objects.len()],
            count: 0,
            twice: false,
        }
    }

    fn scanned(&mut self, at: usize) {
        self.twice |= std::mem::replace(&mut self.scanned[at], true);
        self.count += 1;
    }

    /// Every object once, or an error.
    fn complete(&self) -> Result<(), ScanError> {
        let all = self.count == self.scanned.len() && self.scanned.iter().all(|&done| done);
        if all && !self.twice {
            Ok(())
        } else {
            Err(ScanError::Unproven)
        }
    }
}

impl Texts<'_> {
    /// Whether `source` is the names of a tree.
    fn is_names(&self, source: Source) -> bool {
        matches!(source, Source::Object(at) if self.objects[at].kind == ObjectType::Tree)
    }
}
