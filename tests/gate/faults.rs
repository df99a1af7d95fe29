//! Faults, made for real: what the agent is told and when, and that nothing is left behind. With
//! `--nocapture` (`make soak`) each prints its row: the fault, the seconds, the words, the state after.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::gitleaks::{own_program, processes_of};
use crate::rig::{
    Client, Gate, Kind, Rig, Upstream, amount, copy_program, descendants, end_ssh_masters,
    gitleaks, mentioning, processes_with, signal, ssh_masters, token, wait_until,
};

/// More than a socket and its pipes hold, and random, so that it takes its time.
const LARGE: usize = 24 << 20;

struct World {
    app: Upstream,
    work: Client,
    gate: Gate,
    rig: Rig,
}

impl World {
    /// A gate whose limits are short, but not for a machine whose cores are all busy.
    fn new() -> Self {
        Self::of(Kind::DropIn, &[])
    }

    fn of(kind: Kind, extra: &[(&str, &str)]) -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let gate = rig.gate_of(kind, extra);
        gate.wait_for_mirror("app");
        for (limit, seconds) in [("connectTimeout", "5"), ("silenceTimeout", "5")] {
            let key = format!("git-gate.{limit}");
            gate.git("app", &["config", &key, seconds]).success();
        }
        let work = rig.client("agent").clone_of(&gate.url("app"), "work");
        Self {
            app,
            work,
            gate,
            rig,
        }
    }

    /// Checks out a large commit that the gate has from the upstream and the upstream has no more:
    /// nothing in it is scanned again, and all of it has to be sent.
    fn take_large(&self, size: usize) {
        let path = self.app.path.to_str().unwrap();
        let other = self.rig.client("large").clone_of(path, "work");
        let tip = commit_large(&other, size);
        other.git(&["push", "-q", "origin", "HEAD:large"]).success();
        self.work.git(&["fetch", "-q"]).success();
        self.work
            .git(&["checkout", "-q", "--detach", "origin/large"])
            .success();
        self.app.git(&["branch", "-D", "large"]);
        self.app.git(&["gc", "-q", "--prune=now"]);
        assert!(!self.app.holds(&tip));
    }

    fn start_push(&self) -> Attempt {
        start(
            self.work
                .command()
                .args(["push", "origin", "HEAD:refs/heads/new"]),
        )
    }

    /// After one fetch the gate is what the upstream is, and clean.
    #[track_caller]
    fn recovers(&self) {
        self.work.git(&["fetch", "-q", "--prune"]).success();
        assert_agreement(&self.gate, &self.app);
        assert_clean(&self.gate);
        row("after one fetch: the same refs, no lock, no temporary file");
    }
}

/// A client under way.
struct Attempt {
    child: Child,
    since: Instant,
}

fn start(command: &mut Command) -> Attempt {
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Attempt {
        child,
        since: Instant::now(),
    }
}

/// Whether the client succeeded, and what it wrote to its standard error.
fn end(attempt: Attempt) -> (bool, String) {
    let ran = attempt.child.wait_with_output().unwrap();
    (
        ran.status.success(),
        String::from_utf8_lossy(&ran.stderr).into_owned(),
    )
}

#[track_caller]
fn failed_with(attempt: Attempt, words: &str) {
    let since = attempt.since;
    let (ok, said) = end(attempt);
    assert!(!ok && said.contains(words), "no {words:?} in:\n{said}");
    let ours = said.lines().find(|line| line.contains(words));
    row(&format!(
        "{:.1} s: {}",
        since.elapsed().as_secs_f64(),
        ours.unwrap_or_default().trim()
    ));
}

/// Prints a part of the table; the fault's name is the test's.
fn row(text: &str) {
    let thread = std::thread::current();
    let fault = thread.name().unwrap_or_default();
    println!(
        "{} | {text}",
        fault.replace("faults::", "").replace('_', " ")
    );
}

#[track_caller]
pub fn assert_agreement(gate: &Gate, app: &Upstream) {
    let format = "--format=%(objectname) %(refname)";
    let mirror = gate.git(&app.name, &["for-each-ref", format]).success();
    assert_eq!(mirror.trim(), app.refs());
}

/// No lock file and no half-written object in the mirror.
#[track_caller]
pub fn assert_clean(gate: &Gate) {
    let mut left = Vec::new();
    collect(&gate.repository("app"), &mut left);
    let is_stale = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        // ours: a file that stays, its lock does not
        let is_ours = path
            .parent()
            .is_some_and(|folder| folder.ends_with("git-gate"));
        (name.ends_with(".lock") && !is_ours) || name.starts_with("tmp_")
    };
    left.retain(is_stale);
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.path().is_dir() {
            collect(&entry.path(), found);
        }
    }
}

/// Bytes that do not compress and differ from call to call.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(|_| next()).collect()
}

/// A commit of `size` bytes in so many files that git keeps them in a pack, which it writes as they
/// come.
fn commit_large(client: &Client, size: usize) -> String {
    for file in 1..200 {
        client.write(&format!("{file}"), noise(file, size / 200));
    }
    client.commit("large", "", "large")
}

/// Waits until objects come in at the upstream.
fn wait_for_transfer(app: &Upstream) {
    wait_until("objects come in at the upstream", || {
        let objects = fs::read_dir(app.path.join("objects")).unwrap().flatten();
        objects
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("tmp_objdir")
            })
            .any(|entry| fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_some()))
    });
}

#[test]
fn an_upstream_that_is_frozen_before_the_connection_hits_a_limit() {
    let world = World::new();
    end_ssh_masters(world.gate.path());
    world.rig.sshd.signal_all(Signal::STOP);
    failed_with(
        start(world.work.command().arg("fetch")),
        "git-gate.connectTimeout (5 s)",
    );
    failed_with(world.start_push(), "git-gate.connectTimeout (5 s)");
    world.rig.sshd.signal_all(Signal::CONT);
    world.recovers();
}

#[test]
fn an_upstream_that_freezes_during_a_push_hits_a_limit_and_leaves_nothing_half_done() {
    let world = World::new();
    world.take_large(LARGE);
    let push = world.start_push();
    wait_for_transfer(&world.app);
    world.rig.sshd.signal_all(Signal::STOP);
    failed_with(push, "git-gate.silenceTimeout (5 s)");
    world.rig.sshd.signal_all(Signal::CONT);
    world.recovers();
    world
        .work
        .git(&["push", "-q", "origin", "HEAD:refs/heads/new"])
        .success();
    world.recovers();
}

#[test]
fn an_upstream_that_dies_during_a_push_leaves_nothing_half_done() {
    let mut world = World::new();
    world.take_large(LARGE);
    let push = world.start_push();
    wait_for_transfer(&world.app);
    world.rig.sshd.stop();
    failed_with(push, "whether the push arrived is not known; run git fetch");
    assert_eq!(world.app.tip("refs/heads/new"), None);
    world.rig.sshd.restart();
    world.recovers();
    world
        .work
        .git(&["push", "-q", "origin", "HEAD:refs/heads/new"])
        .success();
    world.recovers();
}

#[test]
fn a_connection_that_breaks_once_the_push_is_done_is_a_success() {
    let world = World::new();
    // The session dies after the refs were updated and before the answer.
    world.app.hook("post-receive", "#!/bin/sh\nkill -9 $PPID\n");
    let tip = world.work.commit("file", "text\n", "change");
    world
        .work
        .git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    assert_eq!(world.app.tip("refs/heads/new"), Some(tip));
    world.recovers();
}

#[test]
fn an_upstream_that_dies_during_a_fetch_serves_nothing_half_done() {
    let mut world = World::new();
    let other = world
        .rig
        .client("other")
        .clone_of(world.app.path.to_str().unwrap(), "work");
    let tip = commit_large(&other, LARGE);
    other.git(&["push", "-q", "origin", "HEAD:main"]).success();
    let fetch = start(world.work.command().arg("fetch"));
    let mirror = world.gate.repository("app");
    wait_until("objects come in at the gate", || {
        let mut files = Vec::new();
        collect(&mirror.join("objects"), &mut files);
        files.iter().any(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("tmp_")
        })
    });
    world.rig.sshd.stop();
    failed_with(fetch, "git-gate: ");
    world.rig.sshd.restart();
    world.recovers();
    assert_eq!(world.work.id("origin/main"), tip);
}

#[test]
fn a_push_that_takes_too_long_hits_a_limit_and_its_outcome_is_not_guessed() {
    let world = World::new();
    world
        .gate
        .git("app", &["config", "git-gate.forwardTimeout", "1"])
        .success();
    world.app.hold();
    let tip = world.work.commit("file", "text\n", "change");
    failed_with(
        world.start_push(),
        "git-gate.forwardTimeout (1 s) and was ended",
    );
    // Nobody could tell the upstream's hook, so it goes on.
    world.app.let_go();
    wait_until("the upstream ends", || {
        world.app.tip("refs/heads/new").as_ref() == Some(&tip)
            || mentioning(&world.app.path).is_empty()
    });
    world.recovers();
}

#[test]
fn a_lock_that_is_taken_hits_a_limit_and_its_holder_is_named() {
    let world = World::new();
    world
        .gate
        .git("app", &["config", "git-gate.lockTimeout", "1"])
        .success();
    world.app.hold();
    world.work.commit("file", "text\n", "change");
    let push = world.start_push();
    world.app.wait_for_push();
    let fetch = start(world.work.command().arg("fetch"));
    failed_with(fetch, "waited 1 s for a push (process ");
    world.app.let_go();
    assert!(end(push).0);
    world.recovers();
}

#[test]
fn a_client_that_is_gone_does_not_undo_its_push() {
    let world = World::new();
    world.app.hold();
    let tip = world.work.commit("file", "text\n", "change");
    let mut push = world.start_push();
    world.app.wait_for_push();
    push.child.kill().unwrap();
    push.child.wait().unwrap();
    world.app.let_go();
    wait_until("the push ends", || {
        world.app.tip("refs/heads/new").as_ref() == Some(&tip)
    });
    world.recovers();
}

#[test]
fn a_scanner_that_fails_refuses_the_push() {
    let (_folder, program) = own_program();
    let variable = ("GIT_GATE_GITLEAKS=", program.to_str().unwrap());
    let world = World::of(Kind::Init, &[variable]);
    world.app.git(&["branch", "old", "main"]);
    let limit = |seconds| {
        let set = ["config", "git-gate.scanTimeout", seconds];
        world.gate.git("app", &set).success();
    };
    limit("2");
    let tip = world.work.commit("file", "text\n", "change");
    let refused = |words: &str| {
        failed_with(world.start_push(), words);
        assert!(!world.app.holds(&tip));
    };

    let scanners = || processes_of(&program).collect::<Vec<_>>();
    let stop_all = || {
        wait_until("scanners wait", || scanners().len() == 1);
        scanners().iter().for_each(|&pid| signal(pid, Signal::STOP));
        scanners()
    };
    let stopped = stop_all();
    refused("git-gate.scanTimeout");
    wait_until("it is gone", || {
        !stopped.iter().any(|pid| scanners().contains(pid))
    });
    limit("60");

    stop_all();
    let mut push = world.start_push();
    wait_until("the hook runs", || world.gate.hook().is_some());
    // Whichever it has or gets, long before it could end by itself.
    wait_until("the push ends", || {
        scanners().iter().for_each(|&pid| signal(pid, Signal::KILL));
        push.child.try_wait().unwrap().is_some()
    });
    failed_with(push, "gitleaks failed (it was killed (SIGKILL)");

    fs::remove_file(&program).unwrap();
    refused("gitleaks was not found");
    // A delete brings nothing that it would have to scan.
    let delete = ["push", "origin", ":refs/heads/old"];
    let said = world.work.git(&delete).success();
    assert!(said.contains("git-gate: nothing to scan"), "{said}");
    assert_eq!(world.app.tip("refs/heads/old"), None);
    copy_program(Path::new("/bin/echo"), &program);
    refused("is no gitleaks whose own rules can be read");

    copy_program(&gitleaks(), &program);
    let (ok, said) = end(world.start_push());
    assert!(ok, "{said}");
    world.recovers();
}

#[test]
fn a_full_upstream_refuses_and_keeps_nothing() {
    let world = World::new();
    world.take_large(8 << 20);
    let disk = Disk::over(&world.app.path, SMALL);
    failed_with(world.start_push(), "git-gate: ");
    assert_eq!(world.app.tip("refs/heads/new"), None);
    drop(disk);
    world.recovers();
    world
        .work
        .git(&["push", "-q", "origin", "HEAD:refs/heads/new"])
        .success();
}

#[test]
fn a_full_gate_forwards_nothing() {
    let world = World::new();
    let disk = Disk::over(&world.gate.repository("app"), SMALL);
    let before = world.app.refs();
    let large = world.work.commit("large", noise(5, 8 << 20), "large");
    let (ok, _) = end(world.start_push());
    assert!(!ok && world.app.refs() == before && !world.app.holds(&large));
    // The push fits, and then there is no room for the mirror's own refs.
    world
        .work
        .git(&["reset", "-q", "--hard", "origin/main"])
        .success();
    world.work.commit("small", "text\n", "small");
    disk.fill(&world.gate.repository("app").join("filler"));
    let (ok, said) = end(world.start_push());
    assert!(!ok && world.app.refs() == before, "{said}");
    drop(disk);
    world.recovers();
}

#[test]
fn a_disk_that_is_full_at_the_start_is_told_and_used_once_it_has_room() {
    let mut world = World::of(Kind::Init, &[]);
    world.gate.stop();
    let mirrors = world.gate.path().join("git");
    fs::remove_dir_all(&mirrors).unwrap();
    fs::create_dir(&mirrors).unwrap();
    let disk = Disk::over(&mirrors, HOOK_FITS);
    let filler = mirrors.join("filler");
    assert!(fs::write(&filler, vec![0; 2 * HOOK_FITS]).is_err());
    world.gate.restart(&[]);
    failed_with(start(world.work.command().arg("fetch")), "git-gate: app: ");
    let log = world.gate.log();
    assert!(log.contains("app: not served yet: "), "{log}");
    assert!(
        log.contains("is full") || log.contains("No space left"),
        "{log}"
    );
    fs::remove_file(&filler).unwrap();
    world.recovers();
    world.gate.stop();
    drop(disk);
}

/// Bytes of a disk that a push of a few MB fills.
const SMALL: usize = 4 << 20;

/// Bytes of a disk that has room for the hook as `cargo test` builds it.
pub const HOOK_FITS: usize = 128 << 20;

/// A small file system, mounted over a folder with the folder's content on it. The folder gets
/// what changed when it is unmounted.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    pub fn over(folder: &Path, size: usize) -> Self {
        Self::mount(folder, &format!("size={size},mode=0700"))
    }

    /// As [`Disk::over`], mounted with these options.
    pub fn mount(folder: &Path, options: &str) -> Self {
        let copy = folder.with_extension("copy");
        run("cp", &["-a", text(folder), text(&copy)]);
        run(
            "mount",
            &["-t", "tmpfs", "-o", options, "tmpfs", text(folder)],
        );
        run(
            "cp",
            &["-a", &format!("{}/.", copy.display()), text(folder)],
        );
        fs::remove_dir_all(copy).unwrap();
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Mounts it again with these options.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        run("mount", &["-o", &options, text(&self.folder)]);
    }

    /// Leaves a few blocks.
    pub fn fill(&self, file: &Path) {
        let free = rustix::fs::statvfs(&self.folder).unwrap();
        let bytes = (free.f_bavail - 40) * free.f_bsize;
        fs::write(file, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", text(&self.folder)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let ran = Command::new(program).args(arguments).output().unwrap();
    assert!(
        ran.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// How many rounds of killing: a few by default, `GIT_GATE_KILL_ROUNDS` for more.
fn rounds() -> u64 {
    amount("GIT_GATE_KILL_ROUNDS", 6)
}

#[test]
fn a_gate_process_that_is_killed_at_any_moment_loses_nothing() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate(Kind::Init);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let (mut killed, mut refused) = (0, 0);
    for round in 0..rounds() {
        let has_secret = round % 3 == 2;
        let content = match has_secret {
            true => format!("key = \"{}\"\n", token(u32::try_from(round).unwrap())),
            false => format!("{round}\n"),
        };
        work.git(&["reset", "-q", "--hard", "origin/main"])
            .success();
        let tip = work.commit("file", content, "change");
        let blob = work.id("HEAD:file");
        let branch = format!("refs/heads/b{}", round % 4);
        let refspec = format!("+HEAD:{branch}");
        let push = start(work.command().args([
            "push",
            "origin",
            &refspec,
            &format!("HEAD:refs/heads/r{round}"),
        ]));
        let fetch = start(
            rig.client("other")
                .command()
                .args(["ls-remote", &gate.url("app")]),
        );
        killed += usize::from(kill_one(&gate, round));
        let (pushed, said) = end(push);
        end(fetch);
        refused += usize::from(!pushed);

        work.git(&["fetch", "-q", "--prune"]).success();
        assert_agreement(&gate, &app);
        let arrived = app.tip(&format!("refs/heads/r{round}")).as_ref() == Some(&tip);
        assert!(
            arrived || !pushed,
            "round {round}: told of a success that is none:\n{said}"
        );
        assert!(
            !(has_secret && app.holds(&blob)),
            "round {round}: an unscanned object is upstream"
        );
        if round % 4 == 3 {
            work.git(&["push", "-q", "--delete", "origin", &branch]);
        }
    }
    work.git(&["fetch", "-q", "--prune"]).success();
    assert_clean(&gate);
    gate.git("app", &["fsck", "--strict"]).success();
    app.git(&["fsck", "--strict"]);
    let gone = || {
        let repository = gate.repository("app");
        processes_with(&[repository.to_str().unwrap()])
            .into_iter()
            .all(|pid| ssh_masters(&repository).contains(&pid))
    };
    wait_until("no process is left", gone);
    println!(
        "{} rounds, {killed} processes killed, {refused} pushes refused",
        rounds()
    );
}

/// Kills one process of the gate, at a moment and of a kind that depend on `seed`. gate-init itself
/// is another test's (`signals`).
fn kill_one(gate: &Gate, seed: u64) -> bool {
    let random = u64::from_le_bytes(noise(seed * 7919 + 13, 8).try_into().unwrap());
    let moment = Instant::now() + Duration::from_millis(random % 700);
    while Instant::now() < moment {
        std::thread::sleep(Duration::from_millis(1));
    }
    let gate_init = processes_with(&["gate-init"]);
    let processes: Vec<u32> = descendants(gate.pid())
        .into_iter()
        .filter(|pid| !gate_init.contains(pid))
        .collect();
    let index = usize::try_from(random / 701).unwrap_or(0);
    let victim = (!processes.is_empty()).then(|| processes[index % processes.len()]);
    victim.inspect(|&pid| signal(pid, Signal::KILL)).is_some()
}
