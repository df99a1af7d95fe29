//! `make history REPOS="DIR…"`: the full history of each repository as one push, scanned by the gate
//! and by plain `gitleaks git`: the time, the findings, and those of gitleaks that the gate misses.
//! Without `REPOS`, this repository's own history.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use git_gate::scan::ScanError;
use git2::{ObjectType, Oid};
use rig::{Mirror, Ran, gitleaks};
use serde::Deserialize;

/// A finding of plain gitleaks.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plain {
    #[serde(rename = "RuleID")]
    rule: String,
    secret: String,
    file: String,
    start_line: u64,
}

fn main() {
    let repositories = std::env::var("REPOS").unwrap_or_else(|_| ".".to_owned());
    println!(
        "{:<28}{:>9}{:>9}{:>10}{:>12}{:>12}{:>10}{:>8}",
        "history", "commits", "objects", "MB read", "gitleaks", "gate", "findings", "missed"
    );
    let mut missed = BTreeMap::new();
    for repository in repositories.split_whitespace() {
        compare(Path::new(repository), &mut missed);
    }
    for (rule, places) in &missed {
        println!("missed: {rule}: {}", places.join(", "));
    }
}

fn compare(repository: &Path, missed: &mut BTreeMap<String, Vec<String>>) {
    let repository = repository.canonicalize().unwrap();
    let mut accepted = Vec::new();
    let (mirror, verdict, time) = loop {
        let mirror = with_history(&repository, &accepted);
        let started = Instant::now();
        match mirror.push(&["history:refs/heads/history"]) {
            Ok(verdict) => break (mirror, verdict, started.elapsed()),
            Err(ScanError::Unscannable { id, problem }) => {
                println!("refused, and accepted by an exception: {id}: {problem}");
                accepted.push(id);
            }
            Err(error) => panic!("{error:?}"),
        }
    };
    let commits = mirror.work.git(&["rev-list", "--count", "history"]);

    let started = Instant::now();
    let plain = plain(&mirror);
    let plain_time = started.elapsed();

    let found: Vec<&str> = verdict
        .findings
        .iter()
        .map(|finding| finding.exception.as_str())
        .collect();
    let mut count = 0;
    for finding in &plain {
        let id = Oid::hash_object(ObjectType::Blob, finding.secret.as_bytes()).unwrap();
        // Another rule may have it: of two for one secret gitleaks names one, by what else it sees.
        let line = format!("secret:{id} ");
        if !found.iter().any(|found| found.starts_with(&line)) {
            let places = missed.entry(finding.rule.clone()).or_default();
            places.push(format!("{}:{} ({id})", finding.file, finding.start_line));
            count += 1;
        }
    }
    println!(
        "{:<28}{:>9}{:>9}{:>10}{:>10.1} s{:>10.1} s{:>10}{:>8}",
        name(&repository),
        commits.success().trim(),
        verdict.tally.objects,
        verdict.tally.bytes >> 20,
        plain_time.as_secs_f64(),
        time.as_secs_f64(),
        format!("{}/{}", plain.len(), verdict.findings.len()),
        count,
    );
}

/// A client that has the history, and a mirror whose operator accepts these blobs.
fn with_history(repository: &Path, accepted: &[Oid]) -> Mirror {
    let mirror = Mirror::new();
    let from = repository.to_str().unwrap();
    let refspec = "HEAD:refs/heads/history";
    mirror.work.git(&["fetch", "-q", from, refspec]).success();
    let lines = accepted
        .iter()
        .map(|id| format!("blob:{id} unscannable test data\n"));
    let file = mirror.path().join("exceptions");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    mirror.set("git-gate.exceptions", file.to_str().unwrap());
    mirror
}

/// What plain gitleaks finds in the history.
fn plain(mirror: &Mirror) -> Vec<Plain> {
    let report = mirror.path().join("report.json");
    let mut command = Command::new(gitleaks());
    command
        .args(["git", "--log-opts=history", "--no-banner", "--exit-code=0"])
        .args(["--log-level=error", "--report-format=json", "--report-path"])
        .args([&report, mirror.work.path()]);
    Ran::of(&mut command).success();
    serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap()
}

fn name(repository: &Path) -> String {
    let shown = repository.to_string_lossy();
    let parts: Vec<&str> = shown.rsplit('/').take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
