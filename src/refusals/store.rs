//! The files of refusals and answers. All changes are made under one lock, and each file is replaced whole.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use git2::{ObjectFormat, ObjectType, Oid};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::record::{About, Answer, Item, Record};
use crate::git::STATE_DIR;
use crate::mirror::lock::{Lock, LockError};
use crate::mirror::state_dir;
use crate::replace_file::replace_file;
use crate::scan::Verdict;
use crate::scan::exceptions::{Exceptions, ONCE, Uses};
use crate::text;

/// How many refusals of a repository are kept; the one that was seen longest ago makes room.
const MOST: usize = 100;

/// The largest file that is read.
const SIZE_LIMIT: u64 = 4 << 20;

/// How long another change may take.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// The characters of an id: no two of them look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why refusals cannot be kept, read or answered.
#[derive(Debug, Error)]
pub enum RefusalsError {
    /// The disk said no.
    #[error("cannot use {}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else changes them.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// libgit2 said no.
    #[error("cannot name a refusal")]
    Name(#[from] git2::Error),
    /// There is none of this id.
    #[error("no refusal {id:?} is kept; `gate-init refusals` lists those that are")]
    Unknown {
        /// The id, as it may be shown.
        id: String,
    },
    /// What the operator said cannot be written as an exception.
    #[error("the answer cannot be written as an exception: {problem}")]
    Answer {
        /// Why.
        problem: &'static str,
    },
    /// Another push has used what was accepted once.
    #[error(
        "push refused: what the operator accepted once ({id}) was used by another push meanwhile"
    )]
    Spent {
        /// The refusal.
        id: String,
    },
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> RefusalsError {
    let path = path.to_owned();
    move |source| RefusalsError::Disk { path, source }
}

/// The refusals of one repository.
#[derive(Debug)]
pub struct Store {
    git_dir: PathBuf,
}

/// Lines that were taken out of the accepted ones.
#[derive(Debug)]
pub struct Taken(Vec<String>);

impl Store {
    /// Those of the repository `git_dir`.
    pub fn of(git_dir: &Path) -> Self {
        Self {
            git_dir: git_dir.to_owned(),
        }
    }

    fn directory(&self) -> PathBuf {
        self.git_dir.join(STATE_DIR).join("refusals")
    }

    /// The file of what is accepted.
    pub fn accepted(git_dir: &Path) -> PathBuf {
        git_dir.join(STATE_DIR).join("accepted")
    }

    fn lock(&self) -> Result<Lock, RefusalsError> {
        let dir = state_dir(&self.git_dir).map_err(disk(&self.git_dir))?;
        Ok(Lock::acquire(
            &dir.join("refusals.lock"),
            "an answer",
            LOCK_LIMIT,
        )?)
    }

    /// All that are kept, the one that was seen last first.
    pub fn list(&self) -> Result<Vec<Record>, RefusalsError> {
        let directory = self.directory();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(disk(&directory))?,
        };
        let mut records: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "json"))
            .filter_map(|entry| read::<Record>(&entry.path()))
            .collect();
        records.sort_by(|one, other| other.last.cmp(&one.last));
        Ok(records)
    }

    /// The one of this id.
    pub fn get(&self, id: &str) -> Option<Record> {
        let is_id = id.len() == 8 && id.bytes().all(|b| ALPHABET.contains(&b));
        is_id
            .then(|| read(&self.directory().join(format!("{id}.json"))))
            .flatten()
    }

    /// Keeps that a push was refused for what `verdict` says. The same push again is the same refusal.
    pub fn note(&self, verdict: &Verdict, about: About) -> Result<Record, RefusalsError> {
        let (items, more) = Item::all_of(verdict);
        let key = key(&items, more)?;
        let _lock = self.lock()?;
        let now = now();
        let kept = self.list()?;
        let mut record = match kept.iter().find(|record| record.key == key) {
            // The same, in another commit perhaps.
            Some(record) => Record {
                items,
                ..record.clone()
            },
            None => Record {
                id: self.new_id()?,
                repository: self.name(),
                key,
                first: now.clone(),
                last: String::new(),
                count: 0,
                about: About::default(),
                summary: verdict.summary(),
                items,
                more,
                answer: None,
            },
        };
        // What was accepted is refused again: the exception is used or over, so there is a new question.
        record.answer = record.answer.filter(|answer| !answer.accepted);
        (record.about, record.last) = (about, now);
        record.count += 1;
        self.write(&record)?;
        for old in kept.iter().filter(|old| old.id != record.id).skip(MOST - 1) {
            let _ = fs::remove_file(self.directory().join(format!("{}.json", old.id)));
        }
        Ok(record)
    }

    /// Writes the operator's answer; what is accepted becomes exceptions.
    pub fn answer(&self, id: &str, answer: Answer) -> Result<Record, RefusalsError> {
        let _lock = self.lock()?;
        let mut record = self.get(id).ok_or_else(|| RefusalsError::Unknown {
            id: text::line(id.as_bytes()),
        })?;
        if answer.accepted {
            let lines = self
                .lines()?
                .into_iter()
                .chain(exceptions(&record, &answer));
            let lines: Vec<_> = lines.collect();
            Exceptions::parse(&lines.join("\n"))
                .map_err(|(_, problem)| RefusalsError::Answer { problem })?;
            self.write_lines(&lines)?;
        }
        record.answer = Some(answer);
        self.write(&record)?;
        Ok(record)
    }

    /// Takes out what was accepted for one push: this one, which is about to be forwarded.
    pub fn spend(&self, ids: &BTreeSet<String>) -> Result<Taken, RefusalsError> {
        if ids.is_empty() {
            return Ok(Taken(Vec::new()));
        }
        let _lock = self.lock()?;
        let (mut left, mut taken) = (Vec::new(), Vec::new());
        for line in self.lines()? {
            let mut words = line.split_whitespace();
            let is_of_push =
                words.any(|word| word.strip_prefix(ONCE).is_some_and(|id| ids.contains(id)));
            if is_of_push && !line.starts_with('#') {
                &mut taken
            } else {
                &mut left
            }
            .push(line);
        }
        let is_missing = |id: &&String| {
            !taken
                .iter()
                .any(|line| line.contains(&format!(" {ONCE}{id} ")))
        };
        if let Some(id) = ids.iter().find(is_missing) {
            return Err(RefusalsError::Spent { id: id.clone() });
        }
        self.write_lines(&left)?;
        Ok(Taken(taken))
    }

    /// Puts back what was taken out for a push that was not forwarded.
    pub fn put_back(&self, taken: Taken) -> Result<(), RefusalsError> {
        if taken.0.is_empty() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let lines: Vec<_> = self.lines()?.into_iter().chain(taken.0).collect();
        self.write_lines(&lines)
    }

    /// Notes that exceptions of these names let something through today.
    pub fn note_uses(&self, names: &BTreeSet<String>) -> Result<(), RefusalsError> {
        let is_known = match names.is_empty() {
            // The first push alone begins the notes.
            true => self.file_of_uses().exists(),
            false => self.uses().is_some_and(|mut uses| !uses.note(names)),
        };
        if is_known {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut uses = self.uses().unwrap_or_default();
        uses.note(names);
        let json = serde_json::to_vec(&uses).unwrap_or_default();
        let file = self.file_of_uses();
        replace_file(&file, &json).map_err(disk(&file))
    }

    /// When exceptions let something through, as far back as there was a push.
    pub fn uses(&self) -> Option<Uses> {
        read(&self.file_of_uses())
    }

    fn file_of_uses(&self) -> PathBuf {
        self.git_dir.join(STATE_DIR).join("exception-uses.json")
    }

    fn lines(&self) -> Result<Vec<String>, RefusalsError> {
        let file = Self::accepted(&self.git_dir);
        match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            text => Ok(text
                .map_err(disk(&file))?
                .lines()
                .map(str::to_owned)
                .collect()),
        }
    }

    fn write_lines(&self, lines: &[String]) -> Result<(), RefusalsError> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = Self::accepted(&self.git_dir);
        replace_file(&file, text.as_bytes()).map_err(disk(&file))
    }

    fn write(&self, record: &Record) -> Result<(), RefusalsError> {
        let directory = self.directory();
        fs::create_dir_all(&directory).map_err(disk(&directory))?;
        let json = serde_json::to_vec(record).unwrap_or_default();
        let file = directory.join(format!("{}.json", record.id));
        replace_file(&file, &json).map_err(disk(&file))
    }

    fn new_id(&self) -> Result<String, RefusalsError> {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| disk(&self.directory())(error.into()))?;
        let characters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
        Ok(characters.into_iter().collect())
    }

    fn name(&self) -> String {
        let name = self.git_dir.file_name().unwrap_or_default();
        let name = text::line(name.as_encoded_bytes());
        name.strip_suffix(".git").unwrap_or(&name).to_owned()
    }
}

/// What makes two refusals the same: what was found, wherever and whenever.
fn key(items: &[Item], more: usize) -> Result<String, git2::Error> {
    let found: BTreeSet<_> = items.iter().map(|item| &*item.exception).collect();
    let text = found
        .into_iter()
        .fold(more.to_string(), |text, one| text + "\n" + one);
    let id = Oid::hash_object_ext(ObjectType::Blob, text.as_bytes(), ObjectFormat::Sha1)?;
    Ok(id.to_string())
}

/// The lines by which `answer` lets what `record` is about pass.
fn exceptions(record: &Record, answer: &Answer) -> Vec<String> {
    let (by, at, id) = (&answer.by, &answer.at, &record.id);
    let mut options = String::new();
    if let Some(until) = &answer.until {
        options += &format!(" until={until}");
    }
    if answer.once {
        options += &format!(" {ONCE}{id}");
    }
    let head = format!("# {id}: accepted by {by} on {at}");
    let each = record.items.iter();
    let lines = each.map(|item| format!("{}{options} {}", item.exception, answer.reason));
    std::iter::once(head).chain(lines).collect()
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    use std::io::Read;
    let mut json = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(SIZE_LIMIT).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}
