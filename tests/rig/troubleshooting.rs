//! docs/troubleshooting.md, whose chapters are what tests have seen.

use std::fs;
use std::sync::Mutex;

use super::repository;

/// Two tests do not write the document at once.
static DOCUMENT: Mutex<()> = Mutex::new(());

/// Fails the test unless the document has `text` as its chapter `title`.
#[track_caller]
pub fn assert_chapter(title: &str, text: &str) {
    let path = repository().join("docs/troubleshooting.md");
    let guard = DOCUMENT.lock().unwrap();
    let document = fs::read_to_string(&path).unwrap();
    let heading = format!("## {title}\n");
    let begin = document.find(&heading).map(|at| at + heading.len());
    let begin = begin.unwrap_or_else(|| panic!("no chapter {title:?}"));
    let end = document[begin..]
        .find("\n## ")
        .map_or(document.len(), |at| begin + at);
    if std::env::var_os("GIT_GATE_REGENERATE").is_some() {
        let new = format!("{}{text}{}", &document[..begin], &document[end..]);
        fs::write(&path, new).unwrap();
        return;
    }
    let found = document[begin..end].to_owned();
    drop((document, guard));
    similar(&found, text);
}

#[track_caller]
fn similar(found: &str, text: &str) {
    let changed: Vec<_> = text
        .lines()
        .filter(|line| !found.lines().any(|old| old == *line))
        .collect();
    assert!(
        found == text,
        "docs/troubleshooting.md is stale (GIT_GATE_REGENERATE=1 writes it); now said:\n{}",
        changed.join("\n")
    );
}

/// One case in the document.
pub fn entry(what: &str, mend: &str, said: &str) -> String {
    format!("\n### {what}\n\n{mend}\n\n```text\n{said}```\n")
}
