//! `make recall TABLES=DIR`: what the gate says of secrets that others collected. Nothing of these tables is
//! in this repository: the caller names a directory of snapshots, each of which is one table.
//!
//! - A directory is a table of files: each file that it holds is a case, at its own path. A file
//!   `expected.txt` in it names the paths that count, one a line; without it all do.
//! - `NAME.jsonl` is a table of examples: each line has `provider` and `text`, and is a case of a file
//!   of its own. Rule files of other scanners become one with a few lines of any language.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use git_gate::scan::{Finding, Place};
use rig::{Client, Mirror};
use serde::Deserialize;

/// Cases that are pushed together: fewer than the secrets that one refusal tells apart.
const AT_ONCE: usize = 300;

/// How many missed cases of a provider are named.
const NAMED: usize = 3;

/// One secret of a table.
struct Case {
    provider: String,
    path: String,
    bytes: Vec<u8>,
}

/// A line of a table of examples.
#[derive(Deserialize)]
struct Example {
    provider: String,
    text: String,
}

/// What became of a table's cases.
#[derive(Default)]
struct Counts {
    refused: usize,
    suspect: usize,
    missed: BTreeMap<String, Vec<String>>,
}

fn main() {
    let folder = std::env::var("TABLES").expect("TABLES names a directory of tables");
    let mut tables: Vec<PathBuf> = entries(Path::new(&folder));
    tables.sort();
    println!(
        "{:<32}{:>8}{:>10}{:>10}{:>10}",
        "table", "cases", "refused", "suspect", "missed"
    );
    let mut misses = Vec::new();
    for table in tables {
        let name = table.file_name().unwrap().to_string_lossy().into_owned();
        let cases = match table.is_dir() {
            true => files(&table),
            false => examples(&table),
        };
        let counts = judge(&cases);
        let missed = counts.missed.values().map(Vec::len).sum::<usize>();
        println!(
            "{name:<32}{:>8}{:>10}{:>10}{missed:>10}",
            cases.len(),
            counts.refused,
            counts.suspect
        );
        misses.push((name, counts.missed));
    }
    for (name, missed) in misses {
        for (provider, cases) in missed {
            let shown = cases.iter().take(NAMED).cloned().collect::<Vec<_>>();
            println!(
                "missed: {name}: {provider} ({}): {}",
                cases.len(),
                shown.join(" ")
            );
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The files below `table`, each with the directory that it is in as its provider.
fn files(table: &Path) -> Vec<Case> {
    let expected = std::fs::read_to_string(table.join("expected.txt")).ok();
    let expected: Option<BTreeSet<&str>> = expected.as_ref().map(|text| text.lines().collect());
    let (mut cases, mut folders) = (Vec::new(), vec![table.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let name = path
                .strip_prefix(table)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if expected.as_ref().is_none_or(|paths| paths.contains(&*name)) {
                cases.push(Case {
                    provider: name.clone(),
                    bytes: std::fs::read(&path).unwrap(),
                    path: name,
                });
            }
        }
    }
    cases
}

fn examples(table: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(table).unwrap();
    let case = |(number, line): (usize, &str)| {
        let example: Example = serde_json::from_str(line).unwrap();
        Case {
            path: format!("example{number}.txt"),
            provider: example.provider,
            bytes: (example.text + "\n").into_bytes(),
        }
    };
    text.lines().enumerate().map(case).collect()
}

/// Pushes all `cases`, each below a directory of its own.
fn judge(cases: &[Case]) -> Counts {
    let mut counts = Counts::default();
    for part in cases.chunks(AT_ONCE) {
        let mirror = Mirror::new();
        for (number, case) in part.iter().enumerate() {
            mirror
                .work
                .write(&format!("{number}/{}", case.path), &case.bytes);
        }
        commit_all(&mirror.work);
        let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
        let (refused, suspect) = (numbers(&verdict.findings), numbers(&verdict.suspects));
        for (number, case) in part.iter().enumerate() {
            match (refused.contains(&number), suspect.contains(&number)) {
                (true, _) => counts.refused += 1,
                (false, true) => counts.suspect += 1,
                (false, false) => {
                    let missed = counts.missed.entry(case.provider.clone()).or_default();
                    missed.push(case.path.clone());
                }
            }
        }
    }
    counts
}

/// Commits all files, whatever a `.gitignore` among them says.
fn commit_all(work: &Client) {
    work.git(&["add", "--all", "--force"]).success();
    work.git(&["commit", "-q", "-m", "cases"]).success();
}

/// The cases that `findings` are in.
fn numbers(findings: &[Finding]) -> BTreeSet<usize> {
    let number = |finding: &Finding| match &finding.place {
        Place::File { path } | Place::FileName { path } => path.split('/').next()?.parse().ok(),
        _ => None,
    };
    findings.iter().filter_map(number).collect()
}
