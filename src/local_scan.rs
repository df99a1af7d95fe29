//! `gate-init scan`: a local repository, scanned as a push of it would be.
//!
//! An operator, or an agent before it pushes, looks and changes nothing: all is done in a temporary
//! repository that borrows the objects of the other (gitrepository-layout(5), `objects/info/alternates`).

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use git2::{ObjectFormat, Oid, Repository};
use serde_json::{Value, json};

use crate::deadline::Deadline;
use crate::git::{self, GitOutput, Refs};
use crate::push::{Received, ReceivedObject, RefUpdate};
use crate::rules;
use crate::scan::{self, Finding, Request, Verdict};
use crate::settings::{Limits, Policy, Settings};
use crate::{process, text};

/// How long one git command of the preparation may take.
const GIT_LIMIT: Duration = Duration::from_secs(60);

/// What is to be scanned, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The repository.
    pub repository: PathBuf,
    /// A revision range (gitrevisions(7)); without one, what `HEAD` has and no remote-tracking branch.
    pub range: Option<String>,
    /// gitleaks rules that extend or replace the scanner's own.
    pub gitleaks_config: Option<PathBuf>,
    /// Accepted findings.
    pub exceptions: Option<PathBuf>,
    /// The rules on content.
    pub policy: Policy,
    /// Every wait and size that has an end.
    pub limits: Limits,
}

/// Scans, with its progress on `terminal`.
pub fn scan(options: &Options, terminal: &mut dyn Write) -> Result<Verdict> {
    let of = Repository::open(&options.repository)
        .with_context(|| format!("cannot open {}", options.repository.display()))?;
    let format = of.object_format();
    let directory = tempfile::tempdir()?;
    let borrowed = borrow(&of, directory.path())?;
    let deadline = Deadline::of("scanTimeout", options.limits.scan);
    let objects = list(&of, options.range.as_deref(), &borrowed, deadline)?;
    let Some(tip) = objects
        .iter()
        .find(|object| object.kind == git2::ObjectType::Commit)
    else {
        return Ok(Verdict::default());
    };
    let zero = Oid::from_str_ext(&"0".repeat(tip.id.as_bytes().len() * 2), format)?;
    let updates = [RefUpdate::new(
        1,
        zero,
        tip.id,
        "refs/heads/scan".to_owned(),
    )];
    let refs = held(&borrowed, &objects, format)?;
    let received = Received {
        objects,
        disk_size: 0,
    };
    let request = Request {
        repository: &borrowed,
        refs: &refs,
        settings: &settings(options, directory.path()),
        updates: &updates,
        received: &received,
        push_options: &[],
    };
    let mut verdict = rules::check(&request, deadline)?;
    let scanned = scan::scan(&request, deadline, terminal)?;
    verdict.tally = scanned.tally;
    verdict.search_ended = scanned.search_ended;
    verdict.add(scanned);
    Ok(verdict)
}

/// Those of `options`. Nothing is borrowed from a gate that serves here, nor noted beside it: all is in
/// `directory`.
fn settings(options: &Options, directory: &Path) -> Settings {
    Settings {
        run_dir: directory.to_owned(),
        policy: options.policy.clone(),
        gitleaks_config: options.gitleaks_config.clone(),
        exceptions: options.exceptions.clone(),
        limits: options.limits.clone(),
        ..Settings::without_upstream()
    }
}

/// An empty repository in `directory` that has the objects of `of`.
fn borrow(of: &Repository, directory: &Path) -> Result<Repository> {
    let mut init = git::init(directory, of.object_format());
    let ended = process::run(&mut init, GIT_LIMIT)?;
    if !ended.status.success() {
        bail!("git init failed: {}", text::joined(&ended.stderr));
    }
    let objects = of.commondir().join("objects").canonicalize()?;
    let info = directory.join("objects/info");
    fs::create_dir_all(&info)?;
    fs::write(
        info.join("alternates"),
        [objects.as_os_str().as_bytes(), b"\n"].concat(),
    )?;
    Ok(git::open(directory)?)
}

/// The objects of `range`, as git lists them (git-rev-list(1)), the newest commit first.
fn list(
    of: &Repository,
    range: Option<&str>,
    borrowed: &Repository,
    deadline: Deadline,
) -> Result<Vec<ReceivedObject>> {
    let mut command = git::command(of.path());
    command.args(["rev-list", "--objects", "--no-object-names"]);
    match range {
        // What begins with a dash is an option to git.
        Some(range) if range.starts_with('-') => bail!("a range does not begin with a dash"),
        Some(range) => command.arg(OsString::from(range)),
        None => command.args(["HEAD", "--not", "--remotes"]),
    };
    command.arg("--");
    let odb = borrowed.odb()?;
    let mut objects = Vec::new();
    let output = BufReader::new(GitOutput::start(&mut command, deadline)?);
    for line in output.lines() {
        let line = line.context("git does not know the range; see gitrevisions(7)")?;
        let id = Oid::from_str_ext(&line, borrowed.object_format())?;
        let (size, kind) = odb.read_header(id)?;
        let size = size as u64;
        objects.push(ReceivedObject { id, kind, size });
    }
    Ok(objects)
}

/// Refs to the commits that the range builds on, which count as held by the upstream.
fn held(borrowed: &Repository, objects: &[ReceivedObject], format: ObjectFormat) -> Result<Refs> {
    let listed: HashSet<_> = objects.iter().map(|object| object.id).collect();
    let commits = objects
        .iter()
        .filter(|object| object.kind == git2::ObjectType::Commit);
    let mut parents = Vec::new();
    for commit in commits {
        let raw = borrowed.odb()?.read(commit.id)?.data().to_vec();
        parents.extend(scan::objects::parse::commit(&raw, format)?.parents);
    }
    parents.retain(|id| !listed.contains(id));
    let refs: Vec<_> = (0..)
        .map(|at| format!("refs/held/{at}"))
        .zip(parents)
        .collect();
    for (name, id) in &refs {
        let path = borrowed.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(path, format!("{id}\n"))?;
    }
    Ok(refs
        .into_iter()
        .map(|(name, id)| (name.into_bytes(), id))
        .collect())
}

/// `verdict` in SARIF 2.1.0, as code scanning reads it.
pub fn sarif(verdict: &Verdict) -> Value {
    let mut rules: Vec<_> = verdict.findings.iter().map(|one| &one.rule).collect();
    rules.sort();
    rules.dedup();
    let rules: Vec<_> = rules
        .into_iter()
        .map(|rule| json!({ "id": rule }))
        .collect();
    let results: Vec<_> = verdict.findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "git-gate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let place = finding.shown_place();
    let commit = finding.commit.as_ref().map(|commit| commit.id.clone());
    let mut physical = json!({ "artifactLocation": { "uri": uri(&place) } });
    if let Some(line) = finding.line {
        physical["region"] = json!({ "startLine": line });
    }
    json!({
        "ruleId": finding.rule,
        "level": "error",
        "message": { "text": format!("{place}: {} {}", finding.description, finding.redacted).trim_end() },
        "locations": [{ "physicalLocation": physical }],
        "partialFingerprints": { "gitGateException/v1": finding.exception },
        "properties": { "commit": commit },
    })
}

/// `path` as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(path, KEPT).to_string()
}
