//! Keeps the mirrors fast over months: each push and each fetch leaves a pack or loose objects, and
//! `gc.auto` is off so that no client waits for it.
//!
//! Nothing is ever dropped: an object that no ref reaches may be one that the next push builds on.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::mirror_error::MirrorError;
use super::mirrors::{Mirror, finish};
use super::state::Gate;
use crate::mirror::lock::Lock;
use crate::upstream::UpstreamError;
use crate::{git, text};

/// How often the mirrors are looked at.
const EVERY: Duration = Duration::from_secs(300);

/// How often the wait looks whether the gate ends.
const LOOK: Duration = Duration::from_secs(1);

/// Packs that are left alone, as `gc.autoPackLimit` (git-config(1)).
const MOST_PACKS: usize = 50;

/// Loose objects in one of the 256 directories that are left alone: with it there are about 6,700, as
/// `gc.auto` has it.
const MOST_LOOSE: usize = 26;

/// Refs with a file of their own that are left alone.
const MOST_LOOSE_REFS: usize = 1000;

/// How long one repack may take.
const REPACK_LIMIT: Duration = Duration::from_secs(3600);

/// How long the refs may take, and the wait for their lock.
const REFS_LIMIT: Duration = Duration::from_secs(60);

/// How long somebody else may be at it: the upstream is asked meanwhile.
const PREPARE_LIMIT: Duration = Duration::from_secs(3600);

/// Looks after the mirrors until the gate drains.
pub fn run(gate: &Arc<Gate>) {
    while !gate.is_draining() {
        if !gate.problems().is_empty() {
            gate.examine();
        }
        for (name, mirror) in &gate.served().mirrors {
            if needs_care(&mirror.path)
                && let Err(error) = tend(mirror)
            {
                gate.say(&format!("{name}: not repacked: {}", text::chain(&error)));
            }
        }
        let next = Instant::now() + EVERY;
        while Instant::now() < next && !gate.is_draining() {
            thread::sleep(LOOK);
            let mirrors = &gate.served().mirrors;
            for name in gate.in_need() {
                if let Some(mirror) = mirrors.get(&name) {
                    prepare(gate, &name, mirror);
                }
            }
        }
    }
}

/// Makes a mirror ready and brings it up to date, so that its first client finds it full and the
/// connection to the upstream open. A failure is no obstacle: the client's own refresh decides.
pub fn prepare(gate: &Gate, name: &str, mirror: &Mirror) {
    let report = |line: &str| gate.trouble(name, line);
    if let Err(error) = mirror.ensure_ready(PREPARE_LIMIT, &report) {
        return report(&format!("not served yet: {}", text::chain(&error)));
    }
    let warm = match mirror.refresh() {
        Err(MirrorError::Upstream(UpstreamError::ObjectFormat { .. })) => mirror
            .remake("the upstream has another object format now", &report)
            .and_then(|()| mirror.refresh()),
        result => result,
    };
    if let Err(error) = warm {
        report(&format!("not warmed up: {}", text::chain(&error)));
    }
}

fn needs_care(path: &Path) -> bool {
    let count = |directory: &str, wanted: fn(&str) -> bool| {
        let entries = fs::read_dir(path.join(directory))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(wanted))
            .count()
    };
    count("objects/pack", |name| name.ends_with(".pack")) > MOST_PACKS
        || count("objects/17", |_| true) > MOST_LOOSE
        || has_many_files(&path.join("refs"))
}

/// Whether more refs than are left alone have a file of their own below `directory`.
fn has_many_files(directory: &Path) -> bool {
    let (mut directories, mut files) = (vec![directory.to_owned()], 0);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                _ => files += 1,
            }
            if files > MOST_LOOSE_REFS {
                return true;
            }
        }
    }
    false
}

/// Rolls small packs and loose objects up into larger packs (git-repack(1), `--geometric`), then
/// does the same with refs. Clients are served meanwhile; only the second takes the mirror's lock.
fn tend(mirror: &Mirror) -> Result<(), MirrorError> {
    let path = &mirror.path;
    let mut repack = git::command(path);
    repack.args(["repack", "-d", "-q", "--geometric=2"]);
    finish("repack", path, &mut repack, REPACK_LIMIT)?;
    let Ok(mut lock) = Lock::acquire(&path.join("git-gate/lock"), "upkeep", REFS_LIMIT) else {
        // Too much is going on; there is a next time.
        return Ok(());
    };
    if lock.was_abandoned() {
        // Whoever takes it next tidies up first.
        lock.leave_untidy();
        return Ok(());
    }
    let mut refs = git::command(path);
    finish(
        "pack-refs",
        path,
        refs.args(["pack-refs", "--all"]),
        REFS_LIMIT,
    )
}
