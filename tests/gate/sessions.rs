//! Sessions with an upstream that gate-init opens ahead: one question each, never stale, and a fetch
//! that finds none, or one that lies, goes on as without.

use std::fs;

use rustix::process::Signal;

use crate::rig::{Client, Gate, Rig, Upstream, processes_with, signal, wait_until};

/// The waiting session's ssh.
fn session(gate: &Gate) -> Option<u32> {
    let run = gate.path().join("run").display().to_string();
    let all = processes_with(&["git-upload-pack '", &run]);
    all.into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"ssh\0")
    })
}

fn wait_for_session(gate: &Gate) {
    wait_until("a session waits", || session(gate).is_some());
}

/// Fetches, and fails unless the mirror has what the upstream has.
fn fetch(work: &Client, gate: &Gate, app: &Upstream) {
    work.git(&["fetch", "-q", "--prune"]).success();
    assert_eq!(
        gate.git("app", &["for-each-ref"]).text.trim(),
        app.git(&["for-each-ref"])
    );
}

/// A gate that opens sessions ahead.
fn serving(rig: &Rig) -> Gate {
    let config = rig.path().join("gate.json");
    fs::write(&config, r#"{"upstreams":[],"limits":{"sessionIdle":300}}"#).unwrap();
    rig.gate_with(&[("--config", config.to_str().unwrap())])
}

#[test]
fn a_session_that_waits_tells_what_happened_meanwhile() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = serving(&rig);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let tip = app.commit("main", "file", "text\n", "second");
    let steps: [&[&str]; 8] = [
        &["update-ref", "refs/heads/new", &tip],
        &["update-ref", "refs/heads/new", "main~1"],
        &["pack-refs", "--all"],
        &["update-ref", "refs/heads/new", &tip],
        &["update-ref", "-d", "refs/heads/new"],
        &["update-ref", "refs/heads/new/below", &tip],
        &["symbolic-ref", "HEAD", "refs/heads/new/below"],
        &["symbolic-ref", "HEAD", "refs/heads/unborn"],
    ];
    for step in steps {
        wait_for_session(&gate);
        let before = session(&gate);
        app.git(step);
        fetch(&work, &gate, &app);
        let head = app.git(&["symbolic-ref", "HEAD"]);
        let ours = gate.git("app", &["symbolic-ref", "HEAD"]).text;
        assert_eq!(ours.trim(), head, "{step:?}");
        // One question, then another one.
        wait_until("the session is used up", || session(&gate) != before);
    }
    // A push is told the same, and what it pushed is no news.
    wait_for_session(&gate);
    app.git(&["branch", "-D", "new/below"]);
    work.commit("mine", "x\n", "mine");
    work.git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    fetch(&work, &gate, &app);
}

#[test]
fn a_fetch_with_a_session_opens_one_and_no_more() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = serving(&rig);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    wait_for_session(&gate);
    for _ in 0..3 {
        let (before, sessions) = (session(&gate), rig.sshd.sessions());
        fetch(&work, &gate, &app);
        wait_until("the next session waits", || {
            let another = session(&gate).is_some() && session(&gate) != before;
            another && rig.sshd.sessions() > sessions
        });
        assert_eq!(rig.sshd.sessions(), sessions + 1);
    }
}

#[test]
fn a_session_that_is_killed_or_silent_holds_up_no_fetch() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = serving(&rig);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let server = || {
        let serving = processes_with(&["upload-pack", &app.path.display().to_string()]);
        let is_git = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("git")
        };
        serving.into_iter().filter(is_git).collect::<Vec<_>>()
    };
    for (number, what) in [Signal::KILL, Signal::STOP].into_iter().enumerate() {
        wait_until("a session waits", || {
            session(&gate).is_some() && !server().is_empty()
        });
        let stopped = server();
        for &pid in &stopped {
            signal(pid, what);
        }
        app.git(&["branch", &format!("new-{number}"), "main"]);
        fetch(&work, &gate, &app);
        for &pid in &stopped {
            signal(pid, Signal::KILL);
        }
    }
    if let Some(ssh) = session(&gate) {
        signal(ssh, Signal::KILL);
    }
    app.git(&["branch", "last", "main"]);
    fetch(&work, &gate, &app);
}

#[test]
fn an_upstream_without_version_2_is_asked_as_before() {
    let mut rig = Rig::new();
    let app = rig.upstream("app");
    rig.sshd.refuse_protocol();
    let gate = serving(&rig);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    for number in 0..4 {
        app.git(&["branch", &format!("new-{number}"), "main"]);
        fetch(&work, &gate, &app);
    }
    wait_until("no session is kept", || session(&gate).is_none());
    fetch(&work, &gate, &app);
    assert_eq!(session(&gate), None);
}

#[test]
fn a_session_ends_when_nobody_needs_it_and_with_zero_there_is_none() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let config = rig.path().join("gate.json");
    fs::write(&config, r#"{"upstreams":[],"limits":{"sessionIdle":1}}"#).unwrap();
    let mut gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    wait_until("it has ended", || session(&gate).is_none());
    fetch(&work, &gate, &app);
    fs::write(&config, r#"{"upstreams":[],"limits":{"sessionIdle":0}}"#).unwrap();
    gate.restart(&[]);
    fetch(&work, &gate, &app);
    let sessions = rig.sshd.sessions();
    fetch(&work, &gate, &app);
    assert_eq!((session(&gate), rig.sshd.sessions()), (None, sessions + 1));
}
