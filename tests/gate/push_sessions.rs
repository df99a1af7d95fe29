//! Sessions with the upstream's receive-pack that gate-init opens as a push comes: used where they can be,
//! and in nobody's way where they cannot.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::rig::{
    Client, Rig, Upstream, free_port, processes_with, signal, token, wait_until, write_program,
};

/// A push whose client has seen the refs and sends nothing before it is told to.
struct Waiting {
    push: Child,
    go: PathBuf,
}

impl Waiting {
    /// Pushes HEAD to the branch `name`.
    fn start(work: &Client, app: &Upstream, name: &str) -> Self {
        let (came, go) = (work.path().join("came"), work.path().join("go"));
        let hook = work.path().join(".git/hooks/pre-push");
        let (came_text, go_text) = (came.display(), go.display());
        write_program(
            &hook,
            &format!(
                "#!/bin/sh\ntouch {came_text}\nwhile [ ! -e {go_text} ]; do sleep 0.05; done\n"
            ),
        );
        let mut push = work.command();
        push.args(["push", "-q", "origin", &format!("HEAD:refs/heads/{name}")]);
        let push = push.stderr(Stdio::null()).spawn().unwrap();
        wait_until("the client knows the refs", || came.exists());
        wait_until("a session waits", || !receiving(app).is_empty());
        fs::remove_file(came).unwrap();
        Self { push, go }
    }

    fn end(mut self) {
        fs::write(&self.go, "").unwrap();
        assert!(self.push.wait().unwrap().success());
        fs::remove_file(&self.go).unwrap();
    }
}

/// The upstream's receive-packs.
fn receiving(app: &Upstream) -> Vec<u32> {
    let all = processes_with(&["receive-pack", &app.path.display().to_string()]);
    let is_git = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("git")
    };
    all.into_iter().filter(is_git).collect()
}

#[test]
fn a_push_is_forwarded_in_the_session_that_was_opened_as_it_came() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let port = free_port();
    let gate = rig.gate_with(&[("--http-port", &port.to_string())]);
    let over_http = format!("http://127.0.0.1:{port}/app.git");
    for (name, url) in [("git", gate.url("app")), ("http", over_http)] {
        let work = rig.client(name).clone_of(&url, "work");
        work.commit("mine", "text\n", "mine");
        let sessions = rig.sshd.sessions();
        let push = Waiting::start(&work, &app, name);
        let waiting = receiving(&app);
        push.end();
        assert_eq!(
            app.tip(&format!("refs/heads/{name}")),
            Some(work.id("HEAD"))
        );
        // One that listed the refs, and this one.
        assert_eq!(rig.sshd.sessions(), sessions + 2, "{name}");
        wait_until("it has ended", || receiving(&app) != waiting);
    }
}

#[test]
fn what_somebody_did_since_it_was_opened_refuses_no_push() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let first = rig.client("first").clone_of(&gate.url("app"), "work");
    first.commit("mine", "text\n", "mine");
    let waiting = Waiting::start(&first, &app, "first");

    // The second client knows more than the session that it is lent.
    app.commit("main", "theirs", "text\n", "theirs");
    let second = rig.client("second").clone_of(&gate.url("app"), "work");
    second.commit("mine", "text\n", "on top");
    second
        .git(&["push", "-q", "origin", "HEAD:refs/heads/main"])
        .success();
    assert_eq!(app.tip("refs/heads/main"), Some(second.id("HEAD")));
    waiting.end();
    assert_eq!(app.tip("refs/heads/first"), Some(first.id("HEAD")));

    let waiting = Waiting::start(&first, &app, "again");
    app.git(&["branch", "late", "main"]);
    second
        .git(&["push", "-q", "origin", ":refs/heads/late"])
        .success();
    assert_eq!(app.tip("refs/heads/late"), None);
    waiting.end();
}

#[test]
fn one_that_has_ended_or_was_opened_for_nothing_is_in_nobodys_way() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    for (number, what) in [Signal::KILL, Signal::TERM].into_iter().enumerate() {
        work.commit("mine", format!("{number}\n"), "mine");
        let name = format!("branch-{number}");
        let push = Waiting::start(&work, &app, &name);
        for pid in receiving(&app) {
            signal(pid, what);
        }
        wait_until("the session has ended", || receiving(&app).is_empty());
        push.end();
        assert_eq!(
            app.tip(&format!("refs/heads/{name}")),
            Some(work.id("HEAD"))
        );
    }

    fs::remove_file(work.path().join(".git/hooks/pre-push")).unwrap();
    let refs = app.refs();
    work.commit("config", format!("token = {}\n", token(7)), "leak");
    work.git(&["push", "origin", "HEAD:refs/heads/leak"])
        .failure();
    wait_until("no session waits", || receiving(&app).is_empty());
    assert_eq!(app.refs(), refs);
}
