//! gate-init as a process: signals, orphans, a server that dies.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::rig::{
    Client, Gate, PATIENCE, Rig, Upstream, binary, copy_program, descendants, is_zombie, signal,
    wait_until,
};

/// A push that hangs in the upstream's hook until the file `go` is there.
struct SlowPush {
    rig: Rig,
    app: Upstream,
    gate: Gate,
    work: Client,
    push: Child,
}

impl SlowPush {
    fn start(extra: &[(&str, &str)]) -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        app.hold();
        let gate = rig.gate_with(extra);
        let work = rig.client("agent").clone_of(&gate.url("app"), "work");
        work.commit("file", "text\n", "change");
        let push = work
            .command()
            .args(["push", "origin", "HEAD:refs/heads/slow"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        app.wait_for_push();
        Self {
            rig,
            app,
            gate,
            work,
            push,
        }
    }
}

#[test]
fn a_push_in_flight_is_completed_after_term_and_nobody_new_is_served() {
    let mut slow = SlowPush::start(&[]);
    signal(slow.gate.pid(), Signal::TERM);
    let agent = slow.rig.client("other");
    wait_until("nobody is let in", || {
        !agent.git(&["ls-remote", &slow.gate.url("app")]).ok
    });
    slow.app.let_go();
    let output = slow.push.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(slow.app.tip("refs/heads/slow"), Some(slow.work.id("HEAD")));
    assert_eq!(slow.gate.stop(), Some(0));
    assert!(slow.gate.log().contains("ended"), "{}", slow.gate.log());
}

#[test]
fn at_the_drain_limit_the_rest_is_cut_off() {
    let rig = Rig::new();
    let config = rig.path().join("gate.json");
    fs::write(&config, r#"{"limits":{"drainTimeout":1}}"#).unwrap();
    let mut slow = SlowPush::start(&[("--config", config.to_str().unwrap())]);
    assert_eq!(slow.gate.stop(), Some(4));
    assert!(!slow.push.wait().unwrap().success());
    slow.app.let_go();
    assert!(
        slow.gate.log().contains("1 client cut off"),
        "{}",
        slow.gate.log()
    );
}

#[test]
fn a_reload_adds_and_removes_upstreams_and_drops_no_connection() {
    let rig = Rig::new();
    let config = rig.path().join("gate.json");
    fs::write(&config, "{}").unwrap();
    let mut slow = SlowPush::start(&[("--config", config.to_str().unwrap())]);
    let more = slow.rig.upstream("more");
    let json = format!(
        r#"{{"upstreams":[{{"name":"more","url":"{}"}}]}}"#,
        more.url
    );
    fs::write(&config, json).unwrap();
    signal(slow.gate.pid(), Signal::HUP);
    let agent = slow.rig.client("other");
    wait_until("the new upstream is served", || {
        agent.git(&["ls-remote", &slow.gate.url("more")]).ok
    });
    slow.app.let_go();
    assert!(slow.push.wait().unwrap().success());

    fs::write(&config, r#"{"upstream":[]}"#).unwrap();
    signal(slow.gate.pid(), Signal::HUP);
    wait_until("the bad configuration is reported", || {
        slow.gate
            .log()
            .contains("not reloaded, everything stays as it was")
    });
    agent.git(&["ls-remote", &slow.gate.url("more")]).success();

    fs::write(&config, "{}").unwrap();
    signal(slow.gate.pid(), Signal::HUP);
    wait_until("the upstream is gone", || {
        let ran = agent.git(&["ls-remote", &slow.gate.url("more")]);
        !ran.ok
            && ran
                .text
                .contains("no repository of that name here; this gate serves app")
    });
}

/// The programs are replaced and a limit is changed while `work` does something; that goes on.
struct Reload {
    config: PathBuf,
    hooks: PathBuf,
    gate: Gate,
    app: Upstream,
    work: Client,
    _rig: Rig,
}

impl Reload {
    fn new() -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let (config, hooks) = (rig.path().join("gate.json"), rig.path().join("hooks"));
        fs::write(&config, "{}").unwrap();
        fs::create_dir(&hooks).unwrap();
        copy_program(&binary("gate-pre-receive"), &hooks.join("pre-receive"));
        copy_program(&binary("gate-access-hook"), &hooks.join("access-hook"));
        let [config_path, hooks_path] = [&config, &hooks].map(|path| path.to_str().unwrap());
        let gate = rig.gate_with(&[("--config", config_path), ("--hooks-dir", hooks_path)]);
        let work = rig.client("agent").clone_of(&gate.url("app"), "work");
        work.commit("file", "text\n", "change");
        Self {
            config,
            hooks,
            gate,
            app,
            work,
            _rig: rig,
        }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.work.command();
        command.args(arguments).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn reload(&self) {
        let hook = self.hooks.join("pre-receive");
        // Another file: a byte behind what an ELF file tells of itself.
        let mut program = fs::read(&hook).unwrap();
        program.push(0);
        let next = self.hooks.join("next");
        copy_program(&hook, &next);
        fs::write(&next, program).unwrap();
        fs::rename(&next, &hook).unwrap();
        fs::write(&self.config, r#"{"limits":{"maxRefs":7}}"#).unwrap();
        signal(self.gate.pid(), Signal::HUP);
        let key = ["config", "git-gate.maxRefs"];
        wait_until("the gate is reloaded", || {
            self.gate.git("app", &key).text.trim() == "7" && self.gate.log().contains("reloaded")
        });
    }

    fn ends_well(child: Child) {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    }

    /// The processes of the gate that run a program of this name.
    fn running(&self, name: &str) -> Vec<u32> {
        let is_it = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        };
        descendants(self.gate.pid())
            .into_iter()
            .filter(is_it)
            .collect()
    }
}

#[test]
fn a_reload_in_the_middle_of_a_scan_leaves_the_push_alone() {
    let world = Reload::new();
    wait_until("a scanner waits", || world.running("gitleaks").len() == 1);
    let scanners = world.running("gitleaks");
    scanners.iter().for_each(|&pid| signal(pid, Signal::STOP));
    let push = world.start(&["push", "origin", "HEAD:refs/heads/new"]);
    wait_until("the hook runs", || world.gate.hook().is_some());
    world.reload();
    scanners.iter().for_each(|&pid| signal(pid, Signal::CONT));
    Reload::ends_well(push);
    assert_eq!(world.app.tip("refs/heads/new"), Some(world.work.id("HEAD")));
}

#[test]
fn a_reload_in_the_middle_of_a_forward_leaves_the_push_alone() {
    let world = Reload::new();
    world.app.hold();
    let push = world.start(&["push", "origin", "HEAD:refs/heads/new"]);
    world.app.wait_for_push();
    world.reload();
    world.app.let_go();
    Reload::ends_well(push);
    // The next push runs the other program.
    world
        .work
        .git(&["push", "origin", "HEAD:refs/heads/next"])
        .success();
    let installed = world.gate.repository("app").join("hooks/pre-receive");
    assert_eq!(
        fs::read(installed).unwrap(),
        fs::read(world.hooks.join("pre-receive")).unwrap()
    );
}

#[test]
fn a_reload_in_the_middle_of_a_fetch_leaves_it_alone() {
    let world = Reload::new();
    let moved = world.app.commit("main", "theirs", "x\n", "theirs");
    let connections = world.running("ssh");
    assert!(!connections.is_empty());
    connections
        .iter()
        .for_each(|&pid| signal(pid, Signal::STOP));
    let fetch = world.start(&["fetch", "origin"]);
    wait_until("the access hook runs", || {
        !world.running("access-hook").is_empty()
    });
    world.reload();
    connections
        .iter()
        .for_each(|&pid| signal(pid, Signal::CONT));
    Reload::ends_well(fetch);
    assert_eq!(world.work.id("origin/main"), moved);
}

#[test]
fn orphans_are_reaped_and_ended_with_the_gate() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    // Each process of the gate's but the two of gate-init is an orphan now, such as the ssh
    // connection that stays open; none is a zombie.
    wait_until("no zombie is left", || {
        !descendants(gate.pid()).into_iter().any(is_zombie)
    });
    let all = descendants(gate.pid());
    assert!(
        all.len() > 2,
        "no ssh connection is kept: nothing was tested"
    );
    assert_eq!(gate.stop(), Some(0));
    for pid in all {
        assert!(
            !fs::exists(format!("/proc/{pid}")).unwrap(),
            "{pid} is left"
        );
    }
}

#[test]
fn a_server_that_is_killed_is_started_again_on_the_same_port() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    let agent = rig.client("agent");
    let server = |gate: &Gate| {
        let path = format!("/proc/{0}/task/{0}/children", gate.pid());
        let children = fs::read_to_string(path).unwrap();
        children
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
    };
    for _ in 0..2 {
        let pid: u32 = server(&gate).unwrap();
        signal(pid, Signal::KILL);
        wait_until("another server is there", || {
            server(&gate).is_some_and(|next| next != pid)
        });
        wait_until("it serves", || {
            agent.git(&["ls-remote", &gate.url("app")]).ok
        });
    }
    let end = std::time::Instant::now() + PATIENCE;
    while gate.is_running() && std::time::Instant::now() < end {
        if let Some(pid) = server(&gate) {
            signal(pid, Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(
        gate.log().contains("was killed 5 times within a minute"),
        "{}",
        gate.log()
    );
}
