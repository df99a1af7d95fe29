//! One scan from its start to its verdict.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;

use git2::ObjectType;

use super::exceptions::Exceptions;
use super::fragments::{Packer, Whereabouts};
use super::gitleaks::{Engine, Scanner};
use super::objects::reader::ObjectReader;
use super::objects::unread::Outcome;
use super::progress::Progress;
use super::rescan::scan_alone;
use super::source::Source;
use super::verdict::{Tally, Verdict, forbidden_paths, formed, place, triage};
use super::{Hit, Request, ScanError, ref_names};
use crate::deadline::Deadline;

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
    let mut texts = ObjectReader::list(request, &odb, engine.path_rules(), deadline)?;
    let pass = first_pass(&mut texts, scanner, &exceptions, deadline, terminal)?;
    let mut hits = pass.hits;
    let as_it_is = |_, text: &[u8]| text.to_vec();
    let suspects = scan_alone(&mut texts, engine, &pass.suspects, &as_it_is, deadline)?;
    hits.extend(suspects);
    hits.extend(forbidden_paths::in_push(&texts)?);
    let names = ref_names::in_names(&hits);
    let mut verdict = match hits.is_empty() && texts.unread.is_empty() {
        true => Verdict::default(),
        false => triage::judge(&mut texts, hits, engine, &exceptions, deadline)?,
    };
    verdict.tally = pass.tally;
    verdict.names = names;
    verdict.once = exceptions.used();
    verdict.excepted = exceptions.matched();
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
    texts: &mut ObjectReader<'_>,
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
        // Many objects can pass without a fragment: binary ones, or what was unpacked before.
        packer.rest()?;
        let spent = texts.budget.spent();
        let is_names = texts.is_names(source);
        let forms = rules.forms(&place::paths(texts, source));
        let read = texts.read(source, &mut |member, line, text| {
            forbidden.extend(forbidden_paths::in_archive(
                rules, source, member, line, text,
            ));
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

impl ObjectReader<'_> {
    /// Whether `source` is the names of a tree.
    fn is_names(&self, source: Source) -> bool {
        matches!(source, Source::Object(at) if self.objects[at].kind == ObjectType::Tree)
    }
}
