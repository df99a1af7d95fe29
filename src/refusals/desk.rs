//! The operator's side: `gate-init refusals`, `show`, `accept` and `deny`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::record::{Answer, Record};
use super::store::{RefusalsError, Store};
use crate::audit::{self, Event, Kind};
use crate::{table, text};

/// What the operator says, and who it is.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Whether it may pass.
    pub accepted: bool,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The last day on which it may pass.
    pub until: Option<String>,
    /// Whether it may pass once alone.
    pub once: bool,
}

/// The mirrors below `base_path`: each directory that has refusals.
fn stores(base_path: &Path) -> io::Result<Vec<Store>> {
    let directories = std::fs::read_dir(base_path)?
        .flatten()
        .map(|entry| entry.path());
    let is_mirror = |path: &PathBuf| {
        let is_set_aside = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_set_aside && path.join("HEAD").is_file()
    };
    let mut directories: Vec<_> = directories.filter(is_mirror).collect();
    directories.sort();
    Ok(directories.iter().map(|path| Store::of(path)).collect())
}

fn all_stores(base_path: &Path) -> Result<Vec<Store>, RefusalsError> {
    stores(base_path).map_err(|source| RefusalsError::Disk {
        path: base_path.to_owned(),
        source,
    })
}

/// The refusals of all repositories, or of the one called `name`.
pub fn list(base_path: &Path, name: Option<&str>) -> Result<Vec<Record>, RefusalsError> {
    let mut records = Vec::new();
    for store in all_stores(base_path)? {
        records.extend(store.list()?);
    }
    records.retain(|record| name.is_none_or(|name| record.repository == name));
    records.sort_by(|one, other| other.last.cmp(&one.last));
    Ok(records)
}

/// The refusal `id`.
pub fn find(base_path: &Path, id: &str) -> Result<Record, RefusalsError> {
    let found = all_stores(base_path)?
        .iter()
        .find_map(|store| store.get(id));
    found.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> RefusalsError {
    RefusalsError::Unknown {
        id: text::line(id.as_bytes()),
    }
}

/// Answers the refusal `id`, for the audit log of the gate that serves with `run_dir` or else the file
/// `audit_log`. Returns it, and whether the log has its line.
pub fn answer(
    base_path: &Path,
    run_dir: &Path,
    audit_log: Option<&Path>,
    id: &str,
    decision: Decision,
) -> Result<(Record, bool), RefusalsError> {
    let problem = |problem| Err(RefusalsError::Answer { problem });
    let is_line = |text: &str| !text.trim().is_empty() && text == text::line(text.as_bytes());
    if !is_line(&decision.reason) || !is_line(&decision.by) {
        return problem("reason and name are each one line of at most 400 printable characters");
    }
    let stores = all_stores(base_path)?;
    let store = stores.iter().find(|store| store.get(id).is_some());
    let answer = Answer {
        accepted: decision.accepted,
        by: decision.by,
        at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        reason: decision.reason,
        until: decision.until,
        once: decision.once,
    };
    let record = store
        .ok_or_else(|| unknown(id))?
        .answer(id, answer.clone())?;
    let word = record.answered();
    let event = Event {
        repository: Some(record.repository.clone()),
        agent: record.about.agent.clone(),
        refusal: Some(record.id.clone()),
        reason: Some(format!("{word} by {}: {}", answer.by, answer.reason)),
        ..Event::now(Kind::Answer)
    };
    let is_recorded = audit::record_for(run_dir, audit_log, &event);
    Ok((record, is_recorded))
}

/// How wide the columns of the table are.
const WIDTHS: [isize; 7] = [8, 20, 16, 21, -5, 8, 0];

/// Writes refusals as a table.
pub fn write_table(records: &[Record], out: &mut impl Write) -> io::Result<()> {
    let head = ["ID", "LAST", "REPOSITORY", "WHO", "TIMES", "ANSWER", "WHAT"];
    writeln!(out, "{}", table::line(WIDTHS, head))?;
    for record in records {
        let (who, answer) = (record.about.who(), record.answered());
        let (times, what) = (record.count.to_string(), record.what());
        let (id, last, repository) = (&*record.id, &*record.last, &*record.repository);
        let cells = [id, last, repository, who, &times, answer, &what];
        writeln!(out, "{}", table::line(WIDTHS, cells))?;
    }
    Ok(())
}

/// Writes all that is needed to decide on one refusal.
pub fn write_one(record: &Record, out: &mut impl Write) -> io::Result<()> {
    let Record {
        id,
        repository,
        summary,
        first,
        last,
        count,
        ..
    } = record;
    let times = text::plural(usize::try_from(*count).unwrap_or(usize::MAX), "time");
    writeln!(out, "{id}  {repository}: {summary} found")?;
    writeln!(out, "  refused {times}, first {first}, last {last}")?;
    if let Some(agent) = &record.about.agent {
        writeln!(out, "  agent {agent}")?;
    }
    if let Some(peer) = &record.about.peer {
        writeln!(out, "  from {peer}")?;
    }
    for change in &record.about.refs {
        writeln!(out, "  {}: {} -> {}", change.name, change.old, change.new)?;
    }
    for item in &record.items {
        let line = item
            .line
            .map_or_else(String::new, |line| format!(":{line}"));
        writeln!(out, "  {}{line}: {}", item.place, item.description)?;
        writeln!(out, "    rule {} {}", item.rule, item.redacted)?;
        if let Some(commit) = &item.commit {
            let subject = item.subject.as_deref().unwrap_or_default();
            writeln!(out, "    commit {commit} \"{subject}\"")?;
        }
        writeln!(out, "    accepted as: {}", item.exception)?;
    }
    if record.more > 0 {
        writeln!(
            out,
            "  … and {} more, which an accept leaves refused",
            record.more
        )?;
    }
    if let Some(answer) = &record.answer {
        let word = record.answered();
        writeln!(
            out,
            "  {word} by {} on {}: {}",
            answer.by, answer.at, answer.reason
        )?;
    }
    Ok(())
}
