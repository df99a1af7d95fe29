//! `make honest REPOS="DIR…"`: honest work as an agent would push it, one push a commit along the first
//! parents: how many of these pushes the gate refuses or tells a suspect of, against plain
//! `gitleaks git`. `PUSHES=N` of each repository, the newest; 200 without it.
//!
//! All of them are scanned as one push first. A commit in which that finds nothing would find nothing
//! alone; each of the others is then pushed alone, onto its parent.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use git_gate::git::Refs;
use git_gate::push::{Received, ReceivedObject, RefUpdate};
use git_gate::scan::gitleaks::Engine;
use git_gate::scan::{self, Finding, Request, ScanError, Verdict};
use git_gate::settings::Settings;
use git2::{Oid, Repository};
use rig::{Ran, gitleaks};
use serde::Deserialize;

/// The branch that is pushed to.
const BRANCH: &str = "refs/heads/main";

/// A finding of plain gitleaks.
#[derive(Deserialize)]
struct Plain {
    #[serde(rename = "Commit")]
    commit: String,
}

/// What became of the pushes of one repository.
#[derive(Default)]
struct Counts {
    pushes: usize,
    refused: usize,
    beyond: usize,
    plain: usize,
    suspect: usize,
}

fn main() {
    let repositories = std::env::var("REPOS").expect("REPOS names repositories");
    let pushes = std::env::var("PUSHES").map_or(200, |number| number.parse().unwrap());
    println!(
        "{:<32}{:>8}{:>10}{:>10}{:>10}{:>10}",
        "history", "pushes", "refused", "beyond", "gitleaks", "suspect"
    );
    let (mut total, mut lines) = (Counts::default(), Vec::new());
    for repository in repositories.split_whitespace() {
        let counts = replay(Path::new(repository), pushes, &mut lines);
        print(&name(repository), &counts);
        total.pushes += counts.pushes;
        total.refused += counts.refused;
        total.beyond += counts.beyond;
        total.plain += counts.plain;
        total.suspect += counts.suspect;
    }
    print("all", &total);
    let per_thousand = |count| format!("{:.1}", count as f64 * 1000.0 / total.pushes as f64);
    println!(
        "{:<32}{:>8}{:>10}{:>10}{:>10}{:>10}",
        "per thousand",
        "",
        per_thousand(total.refused),
        per_thousand(total.beyond),
        per_thousand(total.plain),
        per_thousand(total.suspect)
    );
    lines.iter().for_each(|line| println!("{line}"));
}

fn print(name: &str, counts: &Counts) {
    println!(
        "{name:<32}{:>8}{:>10}{:>10}{:>10}{:>10}",
        counts.pushes, counts.refused, counts.beyond, counts.plain, counts.suspect
    );
}

fn name(repository: &str) -> String {
    let parts: Vec<&str> = repository.trim_end_matches("/repo").rsplit('/').collect();
    parts
        .first()
        .map_or_else(String::new, |name| (*name).to_owned())
}

fn replay(path: &Path, pushes: usize, lines: &mut Vec<String>) -> Counts {
    let log = git(
        path,
        &[
            "rev-list",
            "--first-parent",
            &format!("-n{}", pushes + 1),
            "HEAD",
        ],
    );
    let commits: Vec<&str> = log.lines().collect();
    let (Some(newest), Some(base)) = (commits.first(), commits.last()) else {
        return Counts::default();
    };
    let history = History::open(path);
    let whole = match history.push(base, newest) {
        Ok(whole) => whole,
        // A snapshot lacks its largest files.
        Err(error) => {
            println!("not replayed: {}: {error}", name(&path.to_string_lossy()));
            return Counts::default();
        }
    };
    let found = whole.findings.iter().chain(&whole.suspects);
    let found: BTreeSet<String> = found
        .filter_map(|finding| Some(finding.commit.as_ref()?.id.clone()))
        .collect();
    let plain = plain(path, base, newest);
    let mut counts = Counts {
        pushes: commits.len() - 1,
        ..Counts::default()
    };
    for pair in commits.windows(2) {
        let (commit, parent) = (pair[0], pair[1]);
        let brought = git(path, &["rev-list", commit, &format!("^{parent}")]);
        let is_plain = brought.lines().any(|id| plain.contains(id));
        counts.plain += usize::from(is_plain);
        if !brought.lines().any(|id| found.contains(id)) {
            continue;
        }
        let verdict = history.push(parent, commit).unwrap();
        let is_refused = !verdict.findings.is_empty();
        counts.refused += usize::from(is_refused);
        counts.beyond += usize::from(is_refused && !is_plain);
        counts.suspect += usize::from(!is_refused && !verdict.suspects.is_empty());
        let told = |grade: &str, findings: &[Finding]| {
            let mut rules = BTreeMap::new();
            for finding in findings {
                let place = format!("{}:{}", finding.shown_place(), finding.line.unwrap_or(0));
                rules.entry(finding.rule.clone()).or_insert(place);
            }
            let line = |(rule, place)| {
                format!(
                    "{grade} {} {} {rule} {place}",
                    name(&path.to_string_lossy()),
                    &commit[..10]
                )
            };
            rules.into_iter().map(line).collect::<Vec<_>>()
        };
        let grade = if is_plain {
            "refused (as by gitleaks):"
        } else {
            "refused:"
        };
        lines.extend(told(grade, &verdict.findings));
        if !is_refused {
            lines.extend(told("suspect:", &verdict.suspects));
        }
    }
    counts
}

/// A repository as it is, beside the settings of a gate.
struct History<'a> {
    path: &'a Path,
    repository: Repository,
    settings: Settings,
}

impl<'a> History<'a> {
    fn open(path: &'a Path) -> Self {
        let repository = Repository::open_bare(path).or_else(|_| Repository::open(path));
        Self {
            path,
            repository: repository.unwrap(),
            settings: Settings::without_upstream(),
        }
    }

    /// What the gate says of a push of `commit` to an upstream that has `parent`.
    fn push(&self, parent: &str, commit: &str) -> Result<Verdict, ScanError> {
        let id = |hex: &str| Oid::from_str_ext(hex, self.repository.object_format()).unwrap();
        let (old, new) = (id(parent), id(commit));
        let odb = self.repository.odb().unwrap();
        let listed = git(
            self.path,
            &[
                "rev-list",
                "--objects",
                "--no-object-names",
                commit,
                &format!("^{parent}"),
            ],
        );
        let objects = listed.lines().filter_map(|hex| {
            let id = id(hex);
            // A snapshot may lack large files.
            let (size, kind) = odb.read_header(id).ok()?;
            let size = size as u64;
            Some(ReceivedObject { id, kind, size })
        });
        let received = Received {
            objects: objects.collect(),
            disk_size: 0,
        };
        let engine = Engine::with_program(gitleaks(), &self.settings).unwrap();
        let request = Request {
            repository: &self.repository,
            refs: &Refs::from_iter([(BRANCH.as_bytes(), old)]),
            settings: &self.settings,
            updates: &[RefUpdate::new(1, old, new, BRANCH.to_owned())],
            received: &received,
            push_options: &[],
        };
        scan::scan_with(&engine, &request, &mut std::io::sink())
    }
}

/// The commits in which plain gitleaks finds something.
fn plain(path: &Path, base: &str, newest: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = Command::new(gitleaks());
    command
        .args(["git", "--no-banner", "--exit-code=0", "--log-level=error"])
        .arg(format!("--log-opts={base}..{newest}"))
        .args(["--report-format=json", "--report-path"])
        .arg(&report)
        .arg(path);
    Ran::of(&mut command).success();
    let found: Vec<Plain> = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    found.into_iter().map(|finding| finding.commit).collect()
}

fn git(path: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(path).args(arguments);
    Ran::of(&mut command).success()
}
