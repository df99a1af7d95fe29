//! Hits become findings: one for each secret, rule and place, whatever number of versions and views of it
//! was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{self, Finding, Place, Remedy};
use super::mask::Mask;
use super::place;
use crate::scan::decode::{Member, ViewKind};
use crate::scan::exceptions::{Ruling, UNSCANNABLE};
use crate::scan::fragments::Location;
use crate::scan::objects::reader::ObjectReader;
use crate::scan::objects::unread::Unread;
use crate::scan::{Hit, ScanError};
use crate::text;

/// How many secrets of one place are held against each generic finding there.
const COMPARED: usize = 200;

/// Hits on the way to findings: one for each secret, rule and place.
#[derive(Default)]
pub struct Findings(BTreeMap<Key, Group>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    place: Place,
    rule: String,
    secret: String,
}

struct Group {
    finding: Finding,
    /// Indices into the history of all commits that have it.
    commits: BTreeSet<usize>,
    /// Lower is better to show: an older commit, a view with lines.
    rank: (usize, bool, u64),
}

impl Findings {
    pub fn add(
        &mut self,
        texts: &mut ObjectReader<'_>,
        mask: &Mask,
        hit: &Hit,
        fingerprint: &str,
        ruling: Ruling,
    ) -> Result<(), ScanError> {
        let place = place::place(texts, mask, &hit.at)?;
        let commit = place::commit(texts, hit.at.source);
        let has_lines = has_lines(&place, &hit.at.member);
        let rank = (commit.unwrap_or(usize::MAX), !has_lines, hit.at.line);
        let key = Key {
            place: place.clone(),
            rule: hit.raw.rule.clone(),
            secret: hit.raw.secret.clone(),
        };
        let finding = Finding {
            line: has_lines.then_some(hit.at.line),
            member: mask.apply(&member(&hit.at.member)),
            commit: None,
            rule: hit.raw.rule.clone(),
            description: text::line(hit.raw.description.as_bytes()),
            redacted: format!(
                "[{}]",
                text::plural(hit.raw.secret.chars().count(), "character")
            ),
            remedy: Remedy::DropObject,
            exception: format!("secret:{fingerprint} {}", hit.raw.rule),
            expired: finding::expired(ruling),
            place,
        };
        let group = self.0.entry(key).or_insert_with(|| Group {
            finding: finding.clone(),
            commits: BTreeSet::new(),
            rank,
        });
        group.commits.extend(commit);
        if rank < group.rank {
            group.rank = rank;
            group.finding = finding;
        }
        Ok(())
    }

    /// What cannot be read. Its names are shown since its bytes were scanned, as far as they go.
    pub fn add_unread(
        &mut self,
        texts: &mut ObjectReader<'_>,
        mask: &Mask,
        unread: &Unread,
    ) -> Result<(), ScanError> {
        let Some((member, why)) = unread.problem.unread() else {
            return Ok(());
        };
        let at = Location {
            source: unread.source,
            member: Member::default(),
            line: 1,
        };
        let place = place::place(texts, mask, &at)?;
        let finding = Finding {
            line: None,
            member: mask.apply(&member.to_string()),
            commit: None,
            rule: UNSCANNABLE.to_owned(),
            description: text::line(why.as_bytes()),
            redacted: String::new(),
            remedy: Remedy::DropObject,
            exception: format!("blob:{} {UNSCANNABLE}", unread.id),
            expired: finding::expired(unread.ruling.clone()),
            place: place.clone(),
        };
        let key = Key {
            place,
            rule: UNSCANNABLE.to_owned(),
            secret: unread.id.to_string(),
        };
        let commit = place::commit(texts, unread.source);
        let group = Group {
            finding,
            commits: commit.into_iter().collect(),
            rank: (0, false, 0),
        };
        self.0.insert(key, group);
        Ok(())
    }

    /// The findings, each with its commit and remedy, sorted.
    pub fn finish(mut self, texts: &mut ObjectReader<'_>, mask: &Mask) -> Vec<Finding> {
        self.drop_repeats();
        let mut findings: Vec<_> = self
            .0
            .into_values()
            .map(
                |Group {
                     mut finding,
                     commits,
                     ..
                 }| {
                    finding.remedy = place::remedy(texts, &finding.place, &commits);
                    finding.commit = commits
                        .first()
                        .map(|&at| place::commit_name(texts, mask, at));
                    (commits.first().copied(), finding)
                },
            )
            .collect();
        findings.sort();
        findings.into_iter().map(|(_, finding)| finding).collect()
    }

    /// Drops what `others` say already of the same place.
    pub fn drop_all_in(&mut self, others: &Self) {
        self.0.retain(|key, _| {
            let is_in = |other: &&Key| other.place == key.place;
            let mut told = others.0.keys().filter(is_in).take(COMPARED);
            !told.any(|other| other.secret.contains(&key.secret))
        });
    }

    /// Drops what says the same twice: a generic rule beside a rule that knows the token, and the
    /// name of a directory's entry beside the path that it is part of.
    fn drop_repeats(&mut self) {
        let mut better: BTreeMap<Place, BTreeSet<String>> = BTreeMap::new();
        for key in self.0.keys().filter(|key| !is_generic(&key.rule)) {
            let secrets = better.entry(key.place.clone()).or_default();
            secrets.insert(key.secret.clone());
        }
        let with_commit: BTreeSet<_> = self
            .0
            .iter()
            .filter(|(key, group)| is_name(&key.place) && !group.commits.is_empty())
            .map(|(key, _)| (key.rule.clone(), key.secret.clone()))
            .collect();
        self.0.retain(|key, group| {
            let repeats_rule = is_generic(&key.rule)
                && better.get(&key.place).is_some_and(|secrets| {
                    secrets.contains(&key.secret)
                        || secrets.iter().take(COMPARED).any(|secret| {
                            secret.contains(&key.secret) || key.secret.contains(secret)
                        })
                });
            let repeats_name = is_name(&key.place)
                && group.commits.is_empty()
                && with_commit.contains(&(key.rule.clone(), key.secret.clone()));
            !repeats_rule && !repeats_name
        });
    }
}

fn is_generic(rule: &str) -> bool {
    rule.contains("generic")
}

fn is_name(place: &Place) -> bool {
    matches!(place, Place::FileName { .. })
}

/// Whether a line number of the view means something to whoever looks at the place.
fn has_lines(place: &Place, member: &Member) -> bool {
    let of_lines = !matches!(
        place,
        Place::FileName { .. } | Place::RefName { .. } | Place::PushOption | Place::Push
    );
    of_lines && member.kind.has_lines()
}

/// The member as it is shown, with the way its bytes were read where that is not plain.
fn member(member: &Member) -> String {
    let kind = match member.kind {
        ViewKind::Text => String::new(),
        kind => format!("({kind})"),
    };
    let path = member.to_string();
    match (path.is_empty(), kind.is_empty()) {
        (false, false) => format!("{path} {kind}"),
        _ => path + &kind,
    }
}
