//! Keeps the mirror's lock from a forward until receive-pack has updated the mirror's own refs.
//!
//! That happens after the hook has ended, so another process has to hold the lock then: our own
//! binary again, with the locked file as its standard input. A refresh in between would change the
//! refs under receive-pack's hands, and the agent would be told "cannot lock ref" about a push
//! that is upstream.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::mirror::lock::Lock;
use crate::mirror::stale_files;
use crate::push::RefUpdate;
use crate::{git, process};

/// Set: this process is to keep the lock.
const AS_HOLDER: &str = "GIT_GATE_HOLD";

/// How often the holder looks whether the refs are there.
const STEP: Duration = Duration::from_millis(5);

/// How long receive-pack may take over updating its refs, once the hook has ended.
const HANDOVER_LIMIT: Duration = Duration::from_secs(10);

/// What a holder has to know; it reads it from its standard error, a file in memory.
#[derive(Serialize, Deserialize)]
struct Task {
    git_dir: PathBuf,
    hook: i32,
    /// Each ref with the value that it will have; none when it is deleted.
    refs: Vec<(String, Option<String>)>,
}

/// A process that keeps a lock.
pub(crate) struct Holder {
    process: Child,
}

impl Holder {
    /// Starts a process that keeps `lock` until receive-pack, this process's parent, has made
    /// `updates` in `git_dir`, or is gone.
    pub fn start(lock: &Lock, git_dir: &Path, updates: &[RefUpdate]) -> io::Result<Self> {
        let file = lock.file().ok_or(io::ErrorKind::NotFound)?.try_clone()?;
        let task = Task {
            git_dir: git_dir.to_owned(),
            hook: i32::try_from(std::process::id()).unwrap_or(0),
            refs: updates
                .iter()
                .map(|update| {
                    let value = (!update.deletes()).then(|| update.new.to_string());
                    (update.name.clone(), value)
                })
                .collect(),
        };
        let memory = process::in_memory(&serde_json::to_vec(&task)?)?;
        // Where the parent is gone already, receive-pack is: a pidfd of ourselves would never end.
        let parent = getppid().ok_or(io::ErrorKind::NotFound)?;
        let receive_pack = pidfd_open(parent, PidfdFlags::empty())?;
        let process = process::own_command()
            .env(AS_HOLDER, "1")
            .stdin(file)
            .stdout(receive_pack)
            .stderr(memory)
            // Out of the way of what ends the hook's own group.
            .process_group(0)
            .spawn()?;
        Ok(Self { process })
    }

    /// Ends the process: there is nothing to wait for.
    pub fn cancel(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays the holder's part when asked to, and does not return then.
pub(crate) fn hold_if_asked() {
    if std::env::var_os(AS_HOLDER).is_some() {
        let _ = hold();
        std::process::exit(0);
    }
}

fn hold() -> io::Result<()> {
    let lock = Lock::taken_over(duplicate(&io::stdin())?.into());
    let receive_pack = duplicate(&io::stdout())?;
    let mut task = Vec::new();
    File::from(duplicate(&io::stderr())?).read_to_end(&mut task)?;
    let task: Task = serde_json::from_slice(&task)?;
    let _ = std::env::set_current_dir("/");

    let hook = Pid::from_raw(task.hook).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    wait_for(&receive_pack, hook.and_then(Result::ok).as_ref(), &task)?;
    if has_ended(&receive_pack, Duration::ZERO)? && !is_done(&task) {
        // It was killed over the refs.
        stale_files::remove_stale_locks(&task.git_dir);
    }
    drop(lock);
    Ok(())
}

fn wait_for(receive_pack: &OwnedFd, hook: Option<&OwnedFd>, task: &Task) -> io::Result<()> {
    while hook.is_some_and(|hook| !has_ended(hook, STEP).unwrap_or(true)) {}
    let end = Instant::now() + HANDOVER_LIMIT;
    while !has_ended(receive_pack, STEP)? && !is_done(task) && Instant::now() < end {}
    Ok(())
}

fn has_ended(pidfd: &OwnedFd, within: Duration) -> io::Result<bool> {
    process::wait_for_any(&[pidfd.as_fd()], within)
}

/// Whether every ref has its new value.
fn is_done(task: &Task) -> bool {
    git::open(&task.git_dir).is_ok_and(|repository| {
        let value_of = |name: &str| repository.find_reference(name).ok()?.target();
        task.refs
            .iter()
            .all(|(name, value)| value_of(name).map(|id| id.to_string()) == *value)
    })
}

fn duplicate(stream: &impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}
