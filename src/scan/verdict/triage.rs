//! What a finding means. gitleaks finds; here it is decided what refuses the push.
//!
//! A hit is dropped when its rule is for other paths, when its rule only measures randomness and the
//! file is full of it ([`entropy_rules`]), when the operator accepts it ([`super::exceptions`]), or when the
//! upstream holds the secret already ([`super::baseline`]). What is left becomes [`Finding`]s: one for
//! each secret and place, whatever number of versions and views it was seen in.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use git2::{ObjectType, Oid};
use serde::Serialize;

use super::baseline;
use super::exceptions::{Exceptions, Ruling, UNSCANNABLE};
use super::grade::{self, Grade};
use super::masked_text::{self, Blanks};
use super::needles::Needles;
use super::unscannable::Unread;
use crate::deadline::Deadline;
use crate::scan::decode::{Member, ViewKind};
use crate::scan::fragments::Location;
use crate::scan::gitleaks::entropy_rules;
use crate::scan::gitleaks::{Engine, PathRules, RawFinding};
use crate::scan::objects::parse;
use crate::scan::objects::reader::{Source, Texts};
use crate::scan::{Hit, ScanError, Verdict, scan_alone};
use crate::text;

/// One secret at one place, with nothing of the secret itself; or something that cannot be scanned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// The way into an archive or an encoding: `inner.zip!dir/file`. Empty for the place itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub member: String,
    /// Its line, from 1, where the place has lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The oldest commit of the push that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitName>,
    /// gitleaks' rule id, `unscannable`, or the setting that it is against (`git-gate.protect`).
    pub rule: String,
    /// What the rule finds, or why it cannot be scanned, in words.
    pub description: String,
    /// A stand-in for the secret: its length. Empty for what cannot be scanned.
    pub redacted: String,
    /// What to do about it.
    pub remedy: Remedy,
    /// The line that an operator adds to the exceptions, without its reason.
    pub exception: String,
    /// Where the operator's exception for it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<Expired>,
}

/// An exception that is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Expired {
    /// Its last day, `YYYY-MM-DD`.
    pub until: String,
    /// Its line in the file, from 1.
    pub line: usize,
}

/// A commit as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CommitName {
    /// Its full id.
    pub id: String,
    /// The first line of its message, safe to show.
    pub subject: String,
}

/// The kind of place that a secret stands in. Names and paths are safe to show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum Place {
    /// A file.
    File {
        /// Its path.
        path: String,
    },
    /// The name of a file or folder.
    FileName {
        /// The path or name, with the secret masked.
        path: String,
    },
    /// A blob that no commit of the push holds under a path.
    Blob {
        /// Its id.
        id: String,
    },
    /// The message of a commit.
    CommitMessage,
    /// The headers of a commit: names, addresses, signature.
    CommitHeader,
    /// The message of a tag.
    TagMessage {
        /// The tag's ref, or its id.
        tag: String,
    },
    /// The headers of a tag.
    TagHeader {
        /// The tag's ref, or its id.
        tag: String,
    },
    /// The name of a ref.
    RefName {
        /// Which one, as it may be shown.
        name: String,
    },
    /// A push option.
    PushOption,
    /// The push as a whole.
    Push,
}

/// What helps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Remedy {
    /// Only the newest commit has it.
    Amend,
    /// An older commit has it.
    Rebase {
        /// `<commit>^`, or `--root`.
        onto: String,
    },
    /// The ref needs another name.
    RenameRef,
    /// The tag must be made again.
    Retag,
    /// The push must be made without the option.
    DropOption,
    /// No commit of the push has it: the object must not be sent.
    DropObject,
    /// The path has to be as the upstream has it.
    Restore,
    /// The commit needs another author or committer.
    Reauthor,
    /// The commit needs a signature that counts.
    Sign,
    /// The file is too large.
    DropFile,
    /// The push is too large.
    PushLess,
}

/// How often texts are scanned, at most, to see what stands behind values that are let through.
/// Each scan uncovers one more value of a match; past this, the push is refused.
const ROUNDS: usize = 16;

/// How many hits that refuse are told apart. The push is refused anyway: of further ones only the
/// number is told, and nothing is looked for behind them.
const TOLD: usize = 1000;

/// How many secrets of one place are held against each generic finding there.
const COMPARED: usize = 200;

/// Files that may not be pushed whatever they hold, as hits on their paths.
pub fn forbidden_paths(texts: &Texts<'_>) -> Result<Vec<Hit>, ScanError> {
    let mut hits = Vec::new();
    for (at, object) in texts.objects.iter().enumerate() {
        let origin = texts.history.origins.get(&object.id);
        for path in origin.iter().flat_map(|origin| &origin.paths) {
            let place = Location {
                source: Source::Path(at),
                member: Member::default(),
                line: 1,
            };
            hits.extend(path_hit(texts.rules, place, path));
        }
    }
    let is_loose = |at: &usize| {
        let object = &texts.objects[*at];
        object.kind == ObjectType::Tree && !texts.history.walked.contains_key(&object.id)
    };
    let loose: Vec<_> = (0..texts.objects.len()).filter(is_loose).collect();
    if !loose.is_empty() {
        let ids = texts.objects.iter().map(|object| object.id).collect();
        for tree in loose {
            forbidden_names(texts, tree, &ids, &mut hits)?;
        }
    }
    Ok(hits)
}

/// As [`forbidden_paths`], for the files among `new` in a tree that no commit of the push holds:
/// under a tag, say.
fn forbidden_names(
    texts: &Texts<'_>,
    at: usize,
    new: &HashSet<Oid>,
    hits: &mut Vec<Hit>,
) -> Result<(), ScanError> {
    let raw = texts.odb().read(texts.objects[at].id)?;
    let format = texts.request.repository.object_format();
    for (entry, line) in parse::entries(raw.data(), format).zip(1..) {
        let entry = entry?;
        if !entry.is_tree() && new.contains(&entry.id) {
            let place = Location {
                source: Source::Object(at),
                member: Member::default(),
                line,
            };
            hits.extend(path_hit(texts.rules, place, entry.name));
        }
    }
    Ok(())
}

/// As [`forbidden_paths`], in an archive: `text` is a part of `member`, and begins on `line`.
pub fn forbidden_members(
    rules: &PathRules,
    source: Source,
    member: &Member,
    line: u64,
    text: &[u8],
) -> Vec<Hit> {
    if member.kind != ViewKind::Names {
        return Vec::new();
    }
    let names = text.split(|&b| b == b'\n').zip(line..);
    let hit = |(name, line): (&[u8], u64)| {
        let member = member.clone();
        let place = Location {
            source,
            member,
            line,
        };
        path_hit(rules, place, name)
    };
    names.filter_map(hit).collect()
}

/// A hit on `path`, if some rule of `rules` forbids it.
fn path_hit(rules: &PathRules, at: Location, path: &[u8]) -> Option<Hit> {
    let path = String::from_utf8_lossy(path).into_owned();
    let (rule, description) = rules.path_only(&path)?;
    let raw = RawFinding {
        rule: rule.to_owned(),
        description: description.to_owned(),
        start_line: at.line,
        end_line: at.line,
        start_column: 1,
        matched: path.clone(),
        secret: path,
        decoded: false,
    };
    Some(Hit {
        at,
        raw,
        forbids_path: true,
    })
}

/// What of `hits` refuses the push, sorted by commit and place.
///
/// gitleaks gives one value for a match, and another may stand behind it. So where a value is let
/// through, its text is scanned again without it, until nothing new comes out.
pub fn judge(
    texts: &mut Texts<'_>,
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
    texts: &mut Texts<'_>,
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
    texts: &mut Texts<'_>,
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

/// The paths by which rules judge a hit: an archive's member has the one that the archive gives it.
pub(crate) fn paths_of(texts: &Texts<'_>, hit: &Hit) -> Vec<String> {
    match hit.at.member.name() {
        Some(name) => vec![name.to_owned()],
        None => paths(texts, hit.at.source),
    }
}

/// Whether the hit's rule counts where it is.
fn counts(texts: &Texts<'_>, hit: &Hit) -> bool {
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

/// The paths of a blob's content; none for anything else.
pub(crate) fn paths(texts: &Texts<'_>, source: Source) -> Vec<String> {
    let Source::Object(at) = source else {
        return Vec::new();
    };
    let origin = texts.history.origins.get(&texts.objects[at].id);
    let paths = origin.iter().flat_map(|origin| &origin.paths);
    paths
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

/// The id of the blob that a hit is in.
fn blob(texts: &Texts<'_>, hit: &Hit) -> Option<String> {
    let (Source::Object(at) | Source::Path(at)) = hit.at.source else {
        return None;
    };
    let object = texts.objects[at];
    (object.kind == ObjectType::Blob).then(|| object.id.to_string())
}

fn fingerprint(texts: &Texts<'_>, raw: &RawFinding) -> Result<String, ScanError> {
    let format = texts.request.repository.object_format();
    let id = Oid::hash_object_ext(ObjectType::Blob, raw.secret.as_bytes(), format)?;
    Ok(id.to_string())
}

/// Hits on the way to findings: one for each secret, rule and place.
#[derive(Default)]
struct Findings(BTreeMap<Key, Group>);

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
    fn add(
        &mut self,
        texts: &mut Texts<'_>,
        mask: &Mask,
        hit: &Hit,
        fingerprint: &str,
        ruling: Ruling,
    ) -> Result<(), ScanError> {
        let place = place(texts, mask, &hit.at)?;
        let commit = commit(texts, hit.at.source);
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
            expired: expired(ruling),
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
    fn add_unread(
        &mut self,
        texts: &mut Texts<'_>,
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
        let place = place(texts, mask, &at)?;
        let finding = Finding {
            line: None,
            member: mask.apply(&member.to_string()),
            commit: None,
            rule: UNSCANNABLE.to_owned(),
            description: text::line(why.as_bytes()),
            redacted: String::new(),
            remedy: Remedy::DropObject,
            exception: format!("blob:{} {UNSCANNABLE}", unread.id),
            expired: expired(unread.ruling.clone()),
            place: place.clone(),
        };
        let key = Key {
            place,
            rule: UNSCANNABLE.to_owned(),
            secret: unread.id.to_string(),
        };
        let commit = commit(texts, unread.source);
        let group = Group {
            finding,
            commits: commit.into_iter().collect(),
            rank: (0, false, 0),
        };
        self.0.insert(key, group);
        Ok(())
    }

    /// The findings, each with its commit and remedy, sorted.
    fn finish(mut self, texts: &mut Texts<'_>, mask: &Mask) -> Vec<Finding> {
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
                    finding.remedy = remedy(texts, &finding.place, &commits);
                    finding.commit = commits.first().map(|&at| commit_name(texts, mask, at));
                    (commits.first().copied(), finding)
                },
            )
            .collect();
        findings.sort();
        findings.into_iter().map(|(_, finding)| finding).collect()
    }

    /// Drops what `others` say already of the same place.
    fn drop_all_in(&mut self, others: &Self) {
        self.0.retain(|key, _| {
            let is_in = |other: &&Key| other.place == key.place;
            let mut told = others.0.keys().filter(is_in).take(COMPARED);
            !told.any(|other| other.secret.contains(&key.secret))
        });
    }

    /// Drops what says the same twice: a generic rule beside a rule that knows the token, and the
    /// name of a folder's entry beside the path that it is part of.
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

pub(crate) fn expired(ruling: Ruling) -> Option<Expired> {
    match ruling {
        Ruling::Expired { until, line } => Some(Expired { until, line }),
        _ => None,
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

fn place(texts: &mut Texts<'_>, mask: &Mask, at: &Location) -> Result<Place, ScanError> {
    let origin = |texts: &Texts<'_>, id| {
        let origin = texts.history.origins.get(&id);
        origin
            .and_then(|origin| origin.paths.first())
            .map(|path| mask.bytes(path))
    };
    let place = match at.source {
        Source::RefName(index) => Place::RefName {
            name: texts.request.updates[index].shown(),
        },
        Source::PushOption(_) => Place::PushOption,
        Source::Path(index) => Place::FileName {
            path: origin(texts, texts.objects[index].id).unwrap_or_default(),
        },
        Source::Object(index) => {
            let object = texts.objects[index];
            match object.kind {
                ObjectType::Blob => match origin(texts, object.id) {
                    Some(path) => Place::File { path },
                    None => Place::Blob {
                        id: object.id.to_string(),
                    },
                },
                ObjectType::Tree => Place::FileName {
                    path: mask.bytes(&name(texts, object.id, at.line)?),
                },
                kind => message_place(texts, mask, object.id, kind, at.line)?,
            }
        }
    };
    Ok(place)
}

/// The name of a tree's entry, counted from 1.
fn name(texts: &mut Texts<'_>, tree: Oid, number: u64) -> Result<Vec<u8>, ScanError> {
    let held = texts.held(tree)?;
    let raw = held.as_ref().map_or(&[][..], |held| &held.bytes);
    let format = texts.request.repository.object_format();
    let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
    let entry = parse::entries(raw, format).nth(at).transpose()?;
    Ok(entry.map(|entry| entry.name.to_vec()).unwrap_or_default())
}

fn message_place(
    texts: &mut Texts<'_>,
    mask: &Mask,
    id: Oid,
    kind: ObjectType,
    line: u64,
) -> Result<Place, ScanError> {
    let held = texts.held(id)?;
    let in_header = held.is_some_and(|held| line <= parse::header_lines(&held.bytes));
    if kind == ObjectType::Commit {
        return Ok(if in_header {
            Place::CommitHeader
        } else {
            Place::CommitMessage
        });
    }
    let update = texts.request.updates.iter().find(|update| update.new == id);
    let tag = update.map_or_else(|| id.to_string(), |update| mask.apply(&update.name));
    Ok(if in_header {
        Place::TagHeader { tag }
    } else {
        Place::TagMessage { tag }
    })
}

/// The commit that a source belongs to, as an index into the history.
fn commit(texts: &Texts<'_>, source: Source) -> Option<usize> {
    let (Source::Object(at) | Source::Path(at)) = source else {
        return None;
    };
    let object = texts.objects[at];
    match object.kind {
        ObjectType::Blob => texts
            .history
            .origins
            .get(&object.id)
            .map(|origin| origin.commit),
        ObjectType::Commit => texts.history.positions.get(&object.id).copied(),
        _ => None,
    }
}

fn commit_name(texts: &mut Texts<'_>, mask: &Mask, at: usize) -> CommitName {
    let id = texts.history.commits[at].0;
    let held = texts.held(id).ok().flatten();
    let subject = held.map(|held| mask.bytes(parse::subject(&held.bytes)));
    CommitName {
        id: id.to_string(),
        subject: subject.unwrap_or_default(),
    }
}

fn remedy(texts: &Texts<'_>, place: &Place, commits: &BTreeSet<usize>) -> Remedy {
    let Some(&first) = commits.first() else {
        return match place {
            Place::RefName { .. } => Remedy::RenameRef,
            Place::PushOption => Remedy::DropOption,
            Place::TagMessage { .. } | Place::TagHeader { .. } => Remedy::Retag,
            _ => Remedy::DropObject,
        };
    };
    let is_tip = |id: &Oid| texts.request.updates.iter().any(|update| update.new == *id);
    let (id, commit) = &texts.history.commits[first];
    if commits.len() == 1 && is_tip(id) {
        return Remedy::Amend;
    }
    let onto = match commit.parents.first() {
        Some(_) => format!("{}^", short(&id.to_string())),
        None => "--root".to_owned(),
    };
    Remedy::Rebase { onto }
}

/// The start of an object's id, enough to name it.
pub(crate) fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

/// Hides every secret of the push in what is shown.
struct Mask(Needles);

impl Mask {
    fn new(secrets: &BTreeSet<String>) -> Self {
        let secrets = secrets.iter().filter(|secret| !secret.trim().is_empty());
        Self(Needles::new(secrets.map(String::as_bytes)))
    }

    fn bytes(&self, shown: &[u8]) -> String {
        self.apply(&String::from_utf8_lossy(shown))
    }

    fn apply(&self, shown: &str) -> String {
        let (mut hidden, mut end) = (String::new(), 0);
        self.0.find(shown.as_bytes(), |_, secret| {
            if secret.start >= end {
                hidden += &shown[end..secret.start];
                hidden += "…";
            }
            end = end.max(secret.end);
        });
        text::ref_name(&(hidden + &shown[end..]))
    }
}
