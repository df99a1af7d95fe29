//! The forward: whole or not at all, nobody's work overwritten, every reason told.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::rig::{Client, Gate, Kind, Ran, Rig, Upstream, processes_with, signal, write_program};

struct World {
    app: Upstream,
    work: Client,
    gate: Gate,
    _rig: Rig,
}

impl World {
    fn new() -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let gate = rig.gate(Kind::DropIn);
        let work = rig.client("agent").clone_of(&gate.url("app"), "work");
        Self {
            app,
            work,
            gate,
            _rig: rig,
        }
    }

    fn push(&self, arguments: &[&str]) -> Ran {
        self.work.git(&[&["push", "origin"], arguments].concat())
    }

    /// The push is refused, `words` say why, and the upstream is as it was.
    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &str) {
        let before = self.app.refs();
        self.refused_after(arguments, words);
        assert_eq!(self.app.refs(), before);
    }

    /// The push is refused and `words` say why.
    #[track_caller]
    fn refused_after(&self, arguments: &[&str], words: &str) {
        let said = self.push(arguments).failure();
        assert!(said.contains(words), "no {words:?} in:\n{said}");
        assert!(!said.contains("cannot lock ref"), "{said}");
    }

    /// The upstream's refs change as git-update-ref(1) says after the client has learnt what they are,
    /// and before it sends anything.
    fn while_pushing(&self, arguments: &str) {
        let script = format!(
            "#!/bin/sh\ngit --git-dir={} update-ref {arguments}\nrm $0\n",
            self.app.path.display()
        );
        write_program(&self.work.path().join(".git/hooks/pre-push"), &script);
    }

    /// The gate's mirror and the upstream have the same refs.
    #[track_caller]
    fn agree(&self) {
        let mirror = self.gate.git(
            "app",
            &["for-each-ref", "--format=%(objectname) %(refname)"],
        );
        assert_eq!(mirror.success().trim(), self.app.refs());
    }
}

#[test]
fn all_kinds_of_refs_go_up_together() {
    let world = World::new();
    let tip = world.work.commit("file", "text\n", "change");
    world.work.git(&["tag", "-m", "one", "v1"]).success();
    world.work.git(&["notes", "add", "-m", "note"]).success();
    let said = world
        .push(&[
            "HEAD:main",
            "HEAD:refs/heads/a/new",
            "v1",
            "refs/notes/commits",
        ])
        .success();
    assert!(said.contains("git-gate: forwarded 4 refs"), "{said}");
    assert_eq!(world.app.tip("refs/heads/main"), Some(tip));
    world.agree();
    world.push(&[":a/new"]).success();
    assert_eq!(world.app.tip("refs/heads/a/new"), None);
    world.agree();
}

#[test]
fn a_ref_that_moved_upstream_keeps_all_of_the_push_away() {
    let world = World::new();
    world.work.commit("mine", "text\n", "mine");
    let theirs = world.app.commit("theirs", "theirs", "text\n", "theirs");
    world.while_pushing(&format!("refs/heads/main {theirs}"));
    world.refused_after(
        &["HEAD:main", "HEAD:refs/heads/new"],
        "refs/heads/main moved on the upstream and is not what you last saw; run git fetch, rebase or merge, and push again",
    );
    assert_eq!(world.app.tip("refs/heads/main"), Some(theirs));
    assert_eq!(world.app.tip("refs/heads/new"), None);
    world.work.git(&["pull", "-q", "--rebase"]).success();
    world.push(&["HEAD:main", "HEAD:refs/heads/new"]).success();
}

#[test]
fn creating_and_deleting_are_leased_too() {
    let world = World::new();
    world.work.commit("mine", "text\n", "mine");
    let first = world.app.tip("refs/heads/main").unwrap();
    let theirs = world.app.commit("theirs", "theirs", "text\n", "theirs");
    world.while_pushing(&format!("refs/heads/taken {first}"));
    world.refused_after(
        &["HEAD:refs/heads/taken"],
        "refs/heads/taken is on the upstream already",
    );
    world.while_pushing(&format!("refs/heads/taken {theirs}"));
    world.refused_after(&[":taken"], "refs/heads/taken moved on the upstream");
    world.while_pushing("-d refs/heads/taken");
    world.refused_after(&[":taken"], "is gone from it; run git fetch --prune");
}

#[test]
fn a_push_that_the_upstream_has_already_succeeds() {
    let world = World::new();
    // As after a gate that was killed between the upstream's yes and its own.
    let tip = world.work.commit("mine", "text\n", "mine");
    let path = world.app.path.display().to_string();
    world
        .work
        .git(&["push", "-q", &path, "HEAD:main", "HEAD:refs/heads/new"])
        .success();
    world.push(&["HEAD:main", "HEAD:refs/heads/new"]).success();
    assert_eq!(world.app.tip("refs/heads/main"), Some(tip));
    world.agree();
}

#[test]
fn what_the_mirror_could_not_take_is_not_forwarded() {
    let world = World::new();
    world.push(&["HEAD:refs/heads/a"]).success();
    world.refused(&["HEAD:refs/heads/a/b"], "conflicts with a ref");
    world
        .app
        .git(&["config", "receive.denyDeleteCurrent", "ignore"]);
    world.refused(&[":main"], "is the upstream's default branch");
    world.agree();
}

#[test]
fn the_refs_of_one_push_do_not_exclude_each_other() {
    let world = World::new();
    world.refused(
        &["HEAD:refs/heads/a/b", "HEAD:refs/heads/a"],
        "conflicts with a ref",
    );
}

#[test]
fn refs_behind_one_in_very_deep_folders_are_seen() {
    let world = World::new();
    let deep = format!("refs/heads/{}z", "a/".repeat(150));
    world.app.git(&["update-ref", &deep, "main"]);
    world.work.git(&["fetch", "-q"]).success();
    world.agree();
    world.work.commit("mine", "text\n", "mine");
    world.push(&["HEAD:main", "HEAD:refs/heads/new"]).success();
    world.refused(&["HEAD:refs/heads/a"], "conflicts with a ref");
    world.push(&[&format!(":{deep}")]).success();
    world.agree();
}

#[test]
fn a_shallow_clone_pushes_on_top_of_what_a_ref_reaches() {
    let world = World::new();
    world.app.commit("main", "second", "x\n", "second");
    let url = world.gate.url("app");
    let clone = ["clone", "-q", "--depth=1", &url, "../shallow"];
    world.work.git(&clone).success();
    let shallow = world.work.at("../shallow");
    world.app.commit("main", "third", "x\n", "third");
    world.work.git(&["fetch", "-q"]).success();
    shallow.commit("mine", "x\n", "mine");
    shallow
        .git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    world.agree();
    assert!(!world.gate.repository("app").join("shallow").exists());
    world.app.git(&["fsck", "--strict"]);
}

#[test]
fn what_receive_pack_refuses_as_shallow_is_not_forwarded() {
    let world = World::new();
    world.app.commit("topic", "topic", "x\n", "topic");
    let url = world.gate.url("app");
    let clone = [
        "clone",
        "-q",
        "--depth=1",
        "--branch=topic",
        &url,
        "../shallow",
    ];
    world.work.git(&clone).success();
    let shallow = World {
        work: world.work.at("../shallow"),
        ..world
    };
    // The upstream drops the commit that the clone ends at.
    shallow.app.git(&["branch", "-f", "topic", "main"]);
    shallow.app.commit("topic", "topic", "y\n", "rewritten");
    world.work.git(&["fetch", "-q", "--prune"]).success();
    shallow.work.commit("mine", "x\n", "mine");
    shallow.refused(&["HEAD:refs/heads/new"], "the clone is shallow");
    // What is said helps.
    shallow.work.git(&["fetch", "-q"]).success();
    shallow
        .work
        .git(&["rebase", "-q", "--onto=origin/topic", "HEAD~1"])
        .success();
    shallow.push(&["HEAD:refs/heads/new"]).success();
    shallow.agree();
}

#[test]
fn a_clone_that_ends_at_a_new_commit_is_told_so() {
    let world = World::new();
    let tip = world.work.commit("mine", "x\n", "mine");
    world.work.write(".git/shallow", format!("{tip}\n"));
    world.refused(&["HEAD:refs/heads/new"], "the clone is shallow");
    world.work.git(&["fetch", "-q"]).success();
    std::fs::remove_file(world.work.path().join(".git/shallow")).unwrap();
    world.push(&["HEAD:refs/heads/new"]).success();
    world.agree();
}

#[test]
fn the_upstream_is_heard_without_its_control_characters() {
    let world = World::new();
    world.app.hook(
        "post-receive",
        "#!/bin/sh\nprintf 'Create a pull request:\\n  https://host/\\033[31mred\\033[0m\\a\\n' >&2\n",
    );
    world.work.commit("file", "text\n", "change");
    let said = world.push(&["HEAD:refs/heads/new"]).success();
    assert!(
        said.contains("git-gate: upstream: Create a pull request:"),
        "{said}"
    );
    assert!(
        said.contains("git-gate: upstream: https://host/red?"),
        "{said}"
    );
    world.app.hook(
        "pre-receive",
        "#!/bin/sh\necho 'branch is frozen' >&2\nexit 1\n",
    );
    world.refused(&["HEAD:refs/heads/other"], "pre-receive hook declined");
    world.refused(&["HEAD:refs/heads/other"], "upstream: branch is frozen");
}

#[test]
fn the_upstream_is_heard_while_it_works() {
    let world = World::new();
    let go = world.app.path.join("go");
    let script = format!(
        "#!/bin/sh\necho 'step one' >&2\nwhile ! test -e {}; do sleep 0.05; done\n",
        go.display()
    );
    world.app.hook("post-receive", &script);
    world.work.commit("file", "text\n", "change");
    let mut push = world.work.command();
    push.args(["push", "origin", "HEAD:refs/heads/new"]);
    let mut push = push.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(push.stderr.take().unwrap()).lines();
    for line in lines {
        if line.unwrap().contains("git-gate: upstream: step one") {
            // It waits for this.
            std::fs::write(&go, "").unwrap();
        }
    }
    assert!(push.wait().unwrap().success());
    assert!(go.exists(), "nothing was heard");
}

#[test]
fn a_rule_of_the_upstream_is_not_told_as_a_stale_view() {
    let world = World::new();
    world
        .gate
        .git("app", &["config", "git-gate.forcePush", "lease"])
        .success();
    world
        .app
        .git(&["config", "receive.denyNonFastForwards", "true"]);
    world
        .work
        .git(&["commit", "-q", "--amend", "-m", "again"])
        .success();
    world.work.git(&["fetch", "-q"]).success();
    let said = world.push(&["--force", "HEAD:main"]).failure();
    assert!(said.contains("which forbids rewriting"), "{said}");
    assert!(!said.contains("what you last saw"), "{said}");
    // Where the upstream refuses one ref, the other is not told as refused.
    world
        .app
        .hook("update", "#!/bin/sh\ntest $1 != refs/heads/bad\n");
    let said = world
        .push(&["HEAD:refs/heads/good", "HEAD:refs/heads/bad"])
        .failure();
    let ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("git-gate: nothing was pushed"))
        .collect();
    assert!(ours[0].contains("refs/heads/bad was refused"), "{said}");
    assert!(!ours[0].contains("refs/heads/good"), "{said}");
}

#[test]
fn a_push_of_the_gate_that_is_killed_is_not_told_as_refused() {
    let world = World::new();
    world.app.hold();
    world.work.commit("file", "text\n", "change");
    let mut push = world.work.command();
    push.args(["push", "origin", "HEAD:refs/heads/new"]);
    let push = push.stderr(Stdio::piped()).spawn().unwrap();
    world.app.wait_for_push();
    let url = world.app.url.clone();
    for pid in processes_with(&["git", "push", "--porcelain", &url]) {
        signal(pid, rustix::process::Signal::KILL);
    }
    world.app.let_go();
    let output = push.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        // The upstream had it by the time that it was asked.
        assert!(world.app.tip("refs/heads/new").is_some());
    } else {
        assert!(said.contains("memory ran out"), "{said}");
        assert!(
            said.contains("whether the push arrived is not known"),
            "{said}"
        );
    }
}

#[test]
fn names_that_are_too_long_together_are_refused_before_the_scan() {
    let world = World::new();
    let names = (0..800).map(|number| {
        format!(
            "HEAD:refs/heads/{number}/{}",
            format!("{}/", "a".repeat(240)).repeat(3) + "b"
        )
    });
    let names: Vec<String> = names.collect();
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    world.refused(&arguments, "bytes of ref names, at most 524288 at once");
    world.push(&arguments[..300]).success();
}

#[test]
fn push_options_pass_where_the_operator_allows_them() {
    let world = World::new();
    world
        .gate
        .git("app", &["config", "receive.advertisePushOptions", "true"])
        .success();
    world.refused(
        &["-o", "git-gate.x", "-o", "repo.private=false", "HEAD:refs/heads/new"],
        "push option 2 (repo.private) is refused by git-gate.allowPushOption, which lets none go on",
    );
    world
        .gate
        .git("app", &["config", "git-gate.allowPushOption", "ci.*"])
        .success();
    world.refused(
        &["-o", "ci.skip", "HEAD:refs/heads/new"],
        "has no push options; nothing was pushed; push without -o",
    );
    world
        .app
        .git(&["config", "receive.advertisePushOptions", "true"]);
    world.app.hook(
        "pre-receive",
        "#!/bin/sh\nenv | grep ^GIT_PUSH_OPTION_ >&2\n",
    );
    let said = world
        .push(&["-o", "git-gate.x", "-o", "ci.skip", "HEAD:refs/heads/new"])
        .success();
    assert!(
        said.contains("upstream: GIT_PUSH_OPTION_0=ci.skip"),
        "{said}"
    );
    assert!(said.contains("upstream: GIT_PUSH_OPTION_COUNT=1"), "{said}");
}

#[test]
fn without_atomic_pushes_several_refs_need_the_operator() {
    let world = World::new();
    world
        .app
        .git(&["config", "receive.advertiseAtomic", "false"]);
    world.push(&["HEAD:refs/heads/one"]).success();
    let several = ["HEAD:refs/heads/two", "HEAD:refs/heads/three"];
    world.refused(
        &several,
        "has no atomic push; nothing was pushed; push one ref at a time",
    );
    world
        .gate
        .git("app", &["config", "git-gate.atomic", "prefer"])
        .success();
    world.push(&several).success();
    world
        .app
        .hook("update", "#!/bin/sh\ntest $1 != refs/heads/five\n");
    let said = world
        .push(&["HEAD:refs/heads/four", "HEAD:refs/heads/five"])
        .failure();
    assert!(said.contains("pushed only in part"), "{said}");
    assert!(said.contains("refs/heads/four went up"), "{said}");
}

#[test]
fn a_rewrite_goes_through_only_over_what_was_seen() {
    let world = World::new();
    world
        .gate
        .git("app", &["config", "git-gate.forcePush", "lease"])
        .success();
    world
        .work
        .git(&["commit", "-q", "--amend", "-m", "again"])
        .success();
    world.push(&["--force", "HEAD:main"]).success();
    let theirs = world.app.commit("theirs", "theirs", "text\n", "theirs");
    world
        .work
        .git(&["commit", "-q", "--amend", "-m", "once more"])
        .success();
    world.while_pushing(&format!("refs/heads/main {theirs}"));
    world.refused_after(&["--force", "HEAD:main"], "moved on the upstream");
    assert_eq!(world.app.tip("refs/heads/main"), Some(theirs));
    world.work.git(&["fetch", "-q"]).success();
    world.agree();
}
