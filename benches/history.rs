//! `make history REPOS="DIR…"`: the full history of each repository as one push, scanned by the gate
//! and by plain `gitleaks git`: the time, the findings, and those of gitleaks that the gate misses.
//! Without `REPOS`, this repository's own history.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]
#![allow(dead_code, reason = "only a part of the rig is of use here")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use git2::{ObjectType, Oid};
use rig::{Mirror, gitleaks};
use serde::Deserialize;

/// A finding of plain gitleaks.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plain {
    #[serde(rename = "RuleID")]
    rule: String,
    secret: String,
    file: String,
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
    assert!(missed.is_empty(), "the gate misses what gitleaks finds");
}

fn compare(repository: &Path, missed: &mut BTreeMap<String, Vec<String>>) {
    let repository = repository.canonicalize().unwrap();
    let mirror = Mirror::new();
    let from = repository.to_str().unwrap();
    let refspec = "HEAD:refs/heads/history";
    mirror.work.git(&["fetch", "-q", from, refspec]).success();
    let commits = mirror.work.git(&["rev-list", "--count", "history"]);

    let started = Instant::now();
    let plain = plain(mirror.work.path());
    let plain_time = started.elapsed();

    let started = Instant::now();
    let verdict = match mirror.push(&["history:refs/heads/history"]) {
        Ok(verdict) => verdict,
        Err(error) => {
            println!("{:<28}refused whole: {error:?}", name(&repository));
            return;
        }
    };
    let time = started.elapsed();

    let found: Vec<&str> = verdict
        .findings
        .iter()
        .map(|finding| finding.exception.as_str())
        .collect();
    let mut count = 0;
    for finding in &plain {
        let id = Oid::hash_object(ObjectType::Blob, finding.secret.as_bytes()).unwrap();
        if !found.contains(&format!("secret:{id} {}", finding.rule).as_str()) {
            let places = missed.entry(finding.rule.clone()).or_default();
            if !places.contains(&finding.file) {
                places.push(finding.file.clone());
            }
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

/// What plain gitleaks finds in the history.
fn plain(work: &Path) -> Vec<Plain> {
    let ran = Command::new(gitleaks())
        .args(["git", "--log-opts=history", "--no-banner", "--exit-code=0"])
        .args(["--log-level=error", "--report-format=json"])
        .args(["--report-path=-", "."])
        .current_dir(work)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn name(repository: &Path) -> String {
    let shown = repository.to_string_lossy();
    let parts: Vec<&str> = shown.rsplit('/').take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
