//! The operator's accepted findings: the file that `git-gate.exceptions` names.
//!
//! One exception a line, `#` begins a comment:
//!
//! ```text
//! blob:<object id> <rule> [until=YYYY-MM-DD] <reason>
//! secret:<fingerprint> <rule> [until=YYYY-MM-DD] <reason>
//! change:<id of path, mode and object> <setting> [until=YYYY-MM-DD] <reason>
//! commit:<commit id> <setting> [until=YYYY-MM-DD] <reason>
//! ```
//!
//! The rule `unscannable` lets a blob pass in which there is something that cannot be opened, an
//! encrypted archive say, or that passes a bound: what opens, and its raw bytes, are scanned.
//!
//! A fingerprint is the id that git gives to the secret's text as a blob:
//! `printf %s "$SECRET" | git hash-object --stdin`. A refusal names the line to add. The last day of
//! an exception is the one that it names, in UTC. A line in which a last day stands anywhere else, or
//! under another name, is refused.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::git::STATE_DIR;
use crate::text;

/// The rule of an exception for a blob that cannot be scanned.
pub const UNSCANNABLE: &str = "unscannable";

/// The largest file that is read, in bytes.
const SIZE_LIMIT: u64 = 4 << 20;

/// Of how many exceptions it is kept when they let something through.
const MOST_USES: usize = 10_000;

/// Why the exceptions cannot be used: the push is refused.
#[derive(Debug, Error)]
pub enum ExceptionsError {
    /// The file cannot be read.
    #[error("cannot read the exceptions in {} (git-gate.exceptions)", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line is not an exception.
    #[error("{}, line {line} is not an exception: {problem}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, in words.
        problem: &'static str,
    },
}

/// What an exception may be about.
const KINDS: [&str; 4] = ["blob", "secret", "change", "commit"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    line: usize,
    /// `kind:id`.
    subject: String,
    rule: String,
    /// The last day, `YYYY-MM-DD`.
    until: Option<String>,
    /// The refusal for one push of which it was accepted.
    once: Option<String>,
}

impl Exception {
    /// What it is about, whatever day and reason stand behind.
    fn name(&self) -> String {
        format!("{} {}", self.subject, self.rule)
    }
}

/// The days on which exceptions let something through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// The first day of which it is known.
    pub since: String,
    /// Each exception's subject and rule, and the last day.
    pub last: BTreeMap<String, String>,
}

impl Default for Uses {
    fn default() -> Self {
        Self {
            since: today(),
            last: BTreeMap::new(),
        }
    }
}

impl Uses {
    /// Notes that those of `names` let something through today; whether that is news.
    pub fn note(&mut self, names: &BTreeSet<String>) -> bool {
        let day = today();
        if names.iter().all(|name| self.last.get(name) == Some(&day)) {
            return false;
        }
        let today = names.iter().map(|name| (name.clone(), day.clone()));
        self.last.extend(today);
        // Those of lines that are long gone make room.
        while self.last.len() > MOST_USES {
            let oldest = self.last.iter().min_by_key(|(_, day)| *day);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            self.last.remove(&oldest);
        }
        true
    }
}

/// In front of the id of the refusal that an exception answers, when it holds for one push alone.
pub const ONCE: &str = "once=";

/// All exceptions of a repository.
#[derive(Debug, Default)]
pub struct Exceptions {
    all: Vec<Exception>,
    /// The refusals for one push of which exceptions held.
    used: RefCell<BTreeSet<String>>,
    /// What has matched: subject and rule of each.
    matched: RefCell<BTreeSet<String>>,
}

/// What the exceptions say about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing: it counts.
    None,
    /// It is accepted.
    Accepted,
    /// It was accepted until this day, by this line of the file.
    Expired {
        /// `YYYY-MM-DD`.
        until: String,
        /// Counted from 1.
        line: usize,
    },
}

impl Exceptions {
    /// Those of the repository `git_dir`: the operator's `file`, and what was accepted by id.
    pub fn of(git_dir: &Path, file: Option<&Path>) -> Result<Self, ExceptionsError> {
        let mut exceptions = Self::read(file)?;
        let accepted = git_dir.join(STATE_DIR).join("accepted");
        if accepted.exists() {
            exceptions.all.extend(Self::read(Some(&accepted))?.all);
        }
        Ok(exceptions)
    }

    /// The refusals of which exceptions for one push have held.
    pub fn used(&self) -> BTreeSet<String> {
        self.used.borrow().clone()
    }

    /// Subject and rule of each exception that has let something through.
    pub fn matched(&self) -> BTreeSet<String> {
        self.matched.borrow().clone()
    }

    /// The lines that let nothing through any more, each with why: it has ended, or has matched nothing
    /// since the day from which it is known.
    pub fn idle(&self, uses: Option<&Uses>) -> Vec<String> {
        let day = today();
        let idle = self.all.iter().filter_map(|exception| {
            let line = exception.line;
            if let Some(until) = exception.until.as_ref().filter(|until| **until < day) {
                return Some(format!("line {line} ended on {until}"));
            }
            let uses = uses.filter(|uses| !uses.last.contains_key(&exception.name()))?;
            Some(format!(
                "line {line} has matched nothing since {}",
                uses.since
            ))
        });
        idle.collect()
    }

    /// Reads `file`; without one there are no exceptions.
    pub fn read(file: Option<&Path>) -> Result<Self, ExceptionsError> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let unreadable = |source| ExceptionsError::Unreadable {
            file: file.to_owned(),
            source,
        };
        let mut text = String::new();
        let opened = File::open(file).map_err(unreadable)?;
        opened
            .take(SIZE_LIMIT + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if text.len() as u64 > SIZE_LIMIT {
            return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
        }
        Self::parse(&text).map_err(|(line, problem)| ExceptionsError::Line {
            file: file.to_owned(),
            line,
            problem,
        })
    }

    /// Parses the text of a file; the error is a line's number and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        let parse = |(line, text)| exception(line, text).map_err(|problem| (line, problem));
        let all = lines.map(parse).collect::<Result<_, _>>()?;
        Ok(Self {
            all,
            ..Self::default()
        })
    }

    /// What they say about a finding of `rule` whose secret has `fingerprint`, in `blob`.
    pub fn ruling(&self, rule: &str, fingerprint: &str, blob: Option<&str>) -> Ruling {
        let blob = blob.map(|blob| format!("blob:{blob}"));
        let subjects = [Some(format!("secret:{fingerprint}")), blob];
        self.ruling_on(&today(), rule, &subjects)
    }

    /// What they say about what is against `setting`, without `git-gate.` in front.
    pub fn ruling_on_subject(&self, setting: &str, subject: &str) -> Ruling {
        let rule = format!("git-gate.{setting}");
        self.ruling_on(&today(), &rule, &[Some(subject.to_owned())])
    }

    fn ruling_on(&self, day: &str, rule: &str, subjects: &[Option<String>]) -> Ruling {
        let (mut ruling, mut once) = (Ruling::None, None);
        let about = self.all.iter().filter(|exception| {
            let mut subjects = subjects.iter().flatten();
            exception.rule == rule && subjects.any(|subject| *subject == exception.subject)
        });
        for exception in about {
            match &exception.until {
                // ISO dates compare as text (ISO 8601, calendar dates).
                Some(until) if until.as_str() < day => {
                    ruling = Ruling::Expired {
                        until: until.clone(),
                        line: exception.line,
                    };
                }
                _ if exception.once.is_some() => once = exception.once.clone(),
                _ => {
                    self.matched.borrow_mut().insert(exception.name());
                    return Ruling::Accepted;
                }
            }
        }
        match once {
            Some(id) => {
                self.used.borrow_mut().insert(id);
                Ruling::Accepted
            }
            None => ruling,
        }
    }
}

/// What is wrong with a line that begins with something else.
const BEGINS: &str = "it begins with blob:, secret:, change: or commit: and an id";

fn exception(line: usize, text: &str) -> Result<Exception, &'static str> {
    let mut words = text.split_whitespace().peekable();
    let (kind, id) = words
        .next()
        .and_then(|word| word.split_once(':'))
        .ok_or(BEGINS)?;
    let id = id.to_ascii_lowercase();
    if !matches!(id.len(), 40 | 64) || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("the id has 40 or 64 hexadecimal digits");
    }
    if !KINDS.contains(&kind) {
        return Err(BEGINS);
    }
    let rule = words.next().ok_or("the rule is missing")?.to_owned();
    let until = words.next_if(|word| word.starts_with("until="));
    let until = until.map(|word| word.trim_start_matches("until=").to_owned());
    if until.as_deref().is_some_and(|day| !is_day(day)) {
        return Err("the date is not until=YYYY-MM-DD");
    }
    let once = words.next_if(|word| word.starts_with(ONCE));
    let once = once.map(|word| word.trim_start_matches(ONCE).to_owned());
    words.peek().ok_or("the reason is missing")?;
    if holds_option([&*rule].into_iter().chain(words)) {
        return Err("only until=YYYY-MM-DD, right behind the rule, is read as an option");
    }
    Ok(Exception {
        line,
        subject: format!("{kind}:{id}"),
        rule,
        until,
        once,
    })
}

/// Whether one of `words` was meant as the last day, and would be read as something else: an exception
/// without an end is what nobody wanted.
fn holds_option<'w>(words: impl Iterator<Item = &'w str>) -> bool {
    let mut named = false;
    for word in words {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '=' | ':'));
        let (key, value) = word.split_once(['=', ':']).unwrap_or((word, ""));
        let is_key = text::nearest(key, ["until"].into_iter()).is_some();
        let is_option = word.len() > key.len() && (is_key || is_day(value));
        if is_option || (named && is_day(word)) {
            return true;
        }
        named = is_key;
    }
    false
}

fn is_day(text: &str) -> bool {
    let digits = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    shape
        && text.len() == 10
        && digits(text.get(5..7)).is_some_and(|month| (1..=12).contains(&month))
        && digits(text.get(8..10)).is_some_and(|day| (1..=31).contains(&day))
}

/// Today in UTC, `YYYY-MM-DD`.
fn today() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar.
fn date(mut days: u64) -> String {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests;
