//! What a finding means. gitleaks finds; here it is decided what refuses the push.
//!
//! A hit is dropped when its rule is for other paths, when its rule only measures randomness and the
//! file is full of it ([`entropy_rules`]), when the operator accepts it ([`crate::scan::exceptions`]), or when the
//! upstream holds the secret already ([`super::baseline`]). What is left becomes findings
//! ([`super::grouping`]).

use std::collections::{BTreeSet, HashSet};

use git2::{ObjectType, Oid};

use super::baseline;
use super::grade::{self, Grade};
use super::grouping::Findings;
use super::mask::Mask;
use super::masked_text::{self, Blanks};
use super::place::{blob, paths_of};
use super::push_verdict::Verdict;
use crate::deadline::Deadline;
use crate::scan::exceptions::{Exceptions, Ruling};
use crate::scan::gitleaks::{Engine, RawFinding, entropy_rules};
use crate::scan::objects::reader::ObjectReader;
use crate::scan::rescan::scan_alone;
use crate::scan::source::Source;
use crate::scan::{Hit, ScanError};

/// How often texts are scanned, at most, to see what stands behind values that are let through.
/// Each scan uncovers one more value of a match; past this, the push is refused.
const ROUNDS: usize = 16;

/// How many hits that refuse are told apart. The push is refused anyway: of further ones only the
/// number is told, and nothing is looked for behind them.
const TOLD: usize = 1000;

/// What of `hits` refuses the push, sorted by commit and place.
///
/// gitleaks gives one value for a match, and another may stand behind it. So where a value is let
/// through, its text is scanned again without it, until nothing new comes out.
pub fn judge(
    texts: &mut ObjectReader<'_>,
    mut hits: Vec<Hit>,
    engine: &Engine,
    exceptions: &Exceptions,
    deadline: Deadline,
) -> Result<Verdict, ScanError> {
    let (mut refused, mut suspects, mut ended_early) = (Vec::new(), Vec::new(), false);
    let (mut secrets, mut blanks, mut seen) = (BTreeSet::new(), Blanks::default(), HashSet::new());
    if hits.is_empty() {
        return tell(texts, &Mask::new(&secrets), refused, suspects, ended_early);
    }
    for _ in 0..ROUNDS {
        secrets.extend(hits.iter().filter(|hit| !hit.forbids_path).map(secret));
        seen.extend(hits.iter().map(identity));
        let sorted = sort_out(texts, hits, engine, exceptions, deadline)?;
        refused.extend(sorted.refused);
        ended_early |= sorted.ended_early;
        if refused.len() > TOLD {
            return tell(texts, &Mask::new(&secrets), refused, suspects, ended_early);
        }
        let passing = sorted.suspects.iter().map(|(hit, ..)| hit);
        let sources = blanks.add(sorted.let_through.iter().chain(passing));
        suspects.extend(sorted.suspects);
        let shape = |source, text: &[u8]| blanks.apply(source, text);
        hits = scan_alone(texts, engine, &sources, &shape, deadline)?;
        hits.retain(|hit| {
            !masked_text::is_blank(&hit.raw.secret) && !seen.contains(&identity(hit))
        });
        if hits.is_empty() {
            return tell(texts, &Mask::new(&secrets), refused, suspects, ended_early);
        }
    }
    Err(ScanError::Hidden { rounds: ROUNDS })
}

fn secret(hit: &Hit) -> String {
    hit.raw.secret.clone()
}

/// The verdict on what is `refused`, and on `suspects`.
fn tell(
    texts: &mut ObjectReader<'_>,
    mask: &Mask,
    mut refused: Vec<Refused>,
    mut suspects: Vec<Refused>,
    search_ended: bool,
) -> Result<Verdict, ScanError> {
    let rest = refused.split_off(refused.len().min(TOLD));
    suspects.truncate(TOLD);
    let (mut findings, mut others) = (Findings::default(), Findings::default());
    let mut told = HashSet::new();
    for (hit, fingerprint, ruling) in refused {
        findings.add(texts, mask, &hit, &fingerprint, ruling)?;
        told.insert(hit.raw.secret);
    }
    for (hit, fingerprint, ruling) in suspects {
        others.add(texts, mask, &hit, &fingerprint, ruling)?;
    }
    others.drop_all_in(&findings);
    let (unread, more) = texts.unread.take();
    for unread in &unread {
        findings.add_unread(texts, mask, unread)?;
    }
    let rest: HashSet<_> = rest.into_iter().map(|(hit, ..)| hit.raw.secret).collect();
    Ok(Verdict {
        findings: findings.finish(texts, mask),
        suspects: others.finish(texts, mask),
        more: rest.difference(&told).count() + more,
        search_ended,
        ..Verdict::default()
    })
}

/// What makes a hit the same in a text that is scanned again.
fn identity(hit: &Hit) -> (Source, String, String) {
    let raw = &hit.raw;
    (hit.at.source, raw.rule.clone(), raw.secret.clone())
}

/// A hit that refuses the push, its fingerprint, and what the exceptions say.
type Refused = (Hit, String, Ruling);

/// Hits by what is to become of them.
struct Sorted {
    refused: Vec<Refused>,
    suspects: Vec<Refused>,
    let_through: Vec<Hit>,
    ended_early: bool,
}

/// Sorts the hits that count where they are.
fn sort_out(
    texts: &mut ObjectReader<'_>,
    hits: Vec<Hit>,
    engine: &Engine,
    exceptions: &Exceptions,
    deadline: Deadline,
) -> Result<Sorted, ScanError> {
    let (mut counted, mut let_through) = (Vec::new(), Vec::new());
    for hit in hits {
        deadline.check()?;
        if counts(texts, &hit) {
            let fingerprint = fingerprint(texts, &hit.raw)?;
            let ruling =
                exceptions.ruling(&hit.raw.rule, &fingerprint, blob(texts, &hit).as_deref());
            match ruling {
                Ruling::Accepted => let_through.push(hit),
                ruling => counted.push((hit, fingerprint, ruling)),
            }
        }
    }
    let is_suspect = |(hit, ..): &Refused| grade::of(texts, hit) == Grade::Suspect;
    let (suspects, secrets) = counted.into_iter().partition::<Vec<_>, _>(is_suspect);
    let known = baseline::search(texts, &hits_of(&secrets), engine, deadline)?;
    let told = baseline::search_same_path(texts, &hits_of(&suspects), deadline)?;
    Ok(Sorted {
        refused: keep_new(secrets, &known.found, &mut let_through),
        suspects: keep_new(suspects, &told, &mut let_through),
        let_through,
        ended_early: known.ended_early,
    })
}

fn hits_of(refused: &[Refused]) -> Vec<&Hit> {
    refused.iter().map(|(hit, ..)| hit).collect()
}

/// Those of `all` that the upstream does not hold; the others are let through.
fn keep_new(all: Vec<Refused>, is_known: &[bool], let_through: &mut Vec<Hit>) -> Vec<Refused> {
    let mut new = Vec::new();
    for (one, is_known) in all.into_iter().zip(is_known) {
        match is_known {
            true => let_through.push(one.0),
            false => new.push(one),
        }
    }
    new
}

/// Whether the hit's rule counts where it is.
fn counts(texts: &ObjectReader<'_>, hit: &Hit) -> bool {
    let rule = &hit.raw.rule;
    let paths = paths_of(texts, hit);
    let applies = |path: Option<&str>| texts.rules.applies(rule, path);
    let applies = match &paths[..] {
        [] => applies(None),
        paths => paths.iter().any(|path| applies(Some(path))),
    };
    let quiet = |path: &String| entropy_rules::is_quiet(rule, path.as_bytes());
    applies && (paths.is_empty() || !paths.iter().all(quiet))
}

fn fingerprint(texts: &ObjectReader<'_>, raw: &RawFinding) -> Result<String, ScanError> {
    let format = texts.request.repository.object_format();
    let id = Oid::hash_object_ext(ObjectType::Blob, raw.secret.as_bytes(), format)?;
    Ok(id.to_string())
}
