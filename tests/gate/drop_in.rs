//! What a user of the shell gate relies on, scenario by scenario: the same for the shell gate, for
//! our hooks dropped into its place, and for gate-init; but for the shell gate's named faults,
//! where ours must be right.

use std::fs;

use crate::rig::{Client, Gate, Kind, Ran, Rig, Upstream, baseline, token};

/// What the shell gate does with a scenario.
#[derive(PartialEq, Eq)]
enum Shell {
    /// The same as ours.
    Same,
    /// It gets this wrong.
    Faulty,
}
use Shell::{Faulty, Same};

/// Name, what the shell gate does, and the scenario itself.
type Scenario = (&'static str, Shell, fn(&mut World));

const SCENARIOS: &[Scenario] = &[
    ("clone", Same, clone),
    (
        "fetch after the upstream moved",
        Same,
        fetch_after_upstream_moved,
    ),
    ("pull", Same, pull),
    ("a branch deleted upstream is pruned", Same, pruned),
    ("push to a new branch", Same, push_new_branch),
    ("push to an existing branch", Same, push_existing_branch),
    ("push tags and notes", Same, push_tags_and_notes),
    ("push several refs", Same, push_several),
    ("delete a branch", Faulty, delete_branch),
    (
        "a stale push is refused with the upstream's reason",
        Same,
        stale_push,
    ),
    (
        "of several refs with one stale, none goes up",
        Faulty,
        one_of_several_stale,
    ),
    ("a force push is refused", Same, force_push),
    ("a secret is refused", Same, secret),
    (
        "a secret in a tag message is refused",
        Faulty,
        secret_in_tag,
    ),
    (
        "a secret in a merge alone is refused",
        Faulty,
        secret_in_merge,
    ),
    (
        "a secret behind gitleaks:allow is refused",
        Faulty,
        secret_allowed_by_comment,
    ),
    ("missing key", Same, missing_key),
    ("missing known_hosts", Same, missing_known_hosts),
    ("wrong host key", Same, wrong_host_key),
    ("upstream down", Same, upstream_down),
    (
        "why a fetch is refused reaches the client",
        Faulty,
        reason_of_refused_fetch,
    ),
    ("empty upstream", Same, empty_upstream),
    ("two upstreams", Same, two_upstreams),
    ("HEAD follows the upstream", Faulty, head_follows),
    ("a push prints no noise of git's own", Faulty, no_noise),
];

#[test]
fn hooks_dropped_in() {
    run_all(Kind::DropIn);
}

#[test]
fn gate_init() {
    run_all(Kind::Init);
}

#[test]
fn the_shell_gate_agrees_but_for_its_faults() {
    if baseline::folder().is_some() {
        run_all(Kind::Baseline);
    } else {
        println!(
            "the shell gate's scripts are not here (GIT_GATE_BASELINE): nothing to compare with"
        );
    }
}

fn run_all(kind: Kind) {
    let mut wrong = Vec::new();
    for (name, shell, scenario) in SCENARIOS {
        let mut world = World::new(kind);
        scenario(&mut world);
        let should_fail = kind == Kind::Baseline && *shell == Faulty;
        match (should_fail, world.failures.is_empty()) {
            (false, false) => wrong.push(format!("{name}: {}", world.failures.join("; "))),
            (true, true) => wrong.push(format!("{name}: is no fault of the shell gate")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{kind:?}:\n{}", wrong.join("\n"));
}

/// An upstream `app`, a gate in front of it, an agent.
struct World {
    app: Upstream,
    other: Upstream,
    empty: Upstream,
    agent: Client,
    gate: Gate,
    rig: Rig,
    failures: Vec<String>,
}

impl World {
    fn new(kind: Kind) -> Self {
        let rig = Rig::new();
        let (app, other, empty) = (
            rig.upstream("app"),
            rig.upstream("other"),
            rig.empty_upstream("empty"),
        );
        let gate = rig.gate(kind);
        Self {
            app,
            other,
            empty,
            agent: rig.client("agent"),
            gate,
            rig,
            failures: Vec::new(),
        }
    }

    fn work(&self) -> Client {
        self.agent.clone_of(&self.gate.url("app"), "work")
    }

    fn expect(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.failures.push(what.into());
        }
    }

    fn succeeds(&mut self, ran: &Ran) {
        self.expect(ran.ok, format!("failed: {}", ran.text));
    }

    fn fails(&mut self, ran: &Ran) {
        self.expect(!ran.ok, "succeeded");
    }

    /// The push is refused and leaves no trace of `commit` upstream.
    fn refused(&mut self, ran: &Ran, commit: &str) {
        self.fails(ran);
        self.expect(!self.app.holds(commit), "the commit is upstream");
    }
}

fn clone(world: &mut World) {
    let work = world.work();
    world.expect(
        fs::read_to_string(work.path().join("README")).unwrap() == "hello\n",
        "content",
    );
    world.expect(
        work.id("HEAD") == world.app.tip("refs/heads/main").unwrap(),
        "commit",
    );
}

fn fetch_after_upstream_moved(world: &mut World) {
    let work = world.work();
    let moved = world.app.commit("main", "new", "x\n", "moved");
    let fetched = work.git(&["fetch", "origin"]);
    world.succeeds(&fetched);
    world.expect(work.id("origin/main") == moved, "stale");
}

fn pull(world: &mut World) {
    let work = world.work();
    let moved = world.app.commit("main", "new", "x\n", "moved");
    let pulled = work.git(&["pull", "--ff-only"]);
    world.succeeds(&pulled);
    world.expect(work.id("HEAD") == moved, "stale");
}

fn pruned(world: &mut World) {
    world.app.commit("gone", "x", "x\n", "x");
    let work = world.work();
    world.app.git(&["branch", "-D", "gone"]);
    world.succeeds(&work.git(&["fetch", "--prune"]));
    world.expect(
        !work.git(&["rev-parse", "-q", "--verify", "origin/gone"]).ok,
        "still there",
    );
}

fn push_new_branch(world: &mut World) {
    let work = world.work();
    let commit = work.commit("file", "text\n", "change");
    world.succeeds(&work.git(&["push", "origin", "HEAD:refs/heads/new"]));
    world.expect(
        world.app.tip("refs/heads/new") == Some(commit),
        "not upstream",
    );
}

fn push_existing_branch(world: &mut World) {
    let work = world.work();
    let commit = work.commit("file", "text\n", "change");
    world.succeeds(&work.git(&["push", "origin", "main"]));
    world.expect(
        world.app.tip("refs/heads/main") == Some(commit.clone()),
        "not upstream",
    );
    world.succeeds(&work.git(&["fetch", "origin"]));
    world.expect(work.id("origin/main") == commit, "not at the gate");
}

fn push_tags_and_notes(world: &mut World) {
    let work = world.work();
    work.git(&["tag", "light"]).success();
    work.git(&["tag", "-a", "-m", "release one", "v1"])
        .success();
    work.git(&["notes", "add", "-m", "a note"]).success();
    world.succeeds(&work.git(&["push", "origin", "light", "v1", "refs/notes/commits"]));
    for name in ["refs/tags/light", "refs/tags/v1", "refs/notes/commits"] {
        world.expect(world.app.tip(name) == Some(work.id(name)), name);
    }
}

fn push_several(world: &mut World) {
    let work = world.work();
    work.commit("file", "text\n", "change");
    world.succeeds(&work.git(&[
        "push",
        "origin",
        "HEAD:refs/heads/a",
        "HEAD:refs/heads/b",
        "HEAD:refs/tags/c",
    ]));
    for name in ["refs/heads/a", "refs/heads/b", "refs/tags/c"] {
        world.expect(world.app.tip(name) == Some(work.id("HEAD")), name);
    }
}

fn delete_branch(world: &mut World) {
    world.app.git(&["branch", "old", "main"]);
    let work = world.work();
    let deleted = work.git(&["push", "origin", ":refs/heads/old"]);
    world.succeeds(&deleted);
    world.expect(world.app.tip("refs/heads/old").is_none(), "still upstream");
}

fn stale_push(world: &mut World) {
    let work = world.work();
    world.app.commit("main", "theirs", "x\n", "theirs");
    let commit = work.commit("mine", "y\n", "mine");
    let pushed = work.git(&["push", "origin", "main"]);
    world.refused(&pushed, &commit);
    world.expect(pushed.text.contains("fetch"), pushed.text);
}

fn one_of_several_stale(world: &mut World) {
    let before = world.app.commit("aaa", "x", "x\n", "x");
    let work = world.work();
    world.app.commit("main", "theirs", "x\n", "theirs");
    let stale = work.commit("mine", "y\n", "mine");
    work.git(&["checkout", "-q", "aaa"]).success();
    let good = work.commit("more", "z\n", "more");
    let pushed = work.git(&["push", "--atomic", "origin", "aaa", "main"]);
    world.refused(&pushed, &stale);
    world.expect(!world.app.holds(&good), "the other ref's commit went up");
    world.expect(
        world.app.tip("refs/heads/aaa") == Some(before),
        "the other ref went up",
    );
}

fn force_push(world: &mut World) {
    let work = world.work();
    let before = world.app.tip("refs/heads/main");
    work.git(&["commit", "-q", "--amend", "-m", "rewritten"])
        .success();
    let pushed = work.git(&["push", "--force", "origin", "main"]);
    world.refused(&pushed, &work.id("HEAD"));
    world.expect(
        world.app.tip("refs/heads/main") == before,
        "rewritten upstream",
    );
}

fn secret(world: &mut World) {
    let work = world.work();
    let commit = work.commit("config", format!("token = {}\n", token(1)), "add config");
    let pushed = work.git(&["push", "origin", "HEAD:refs/heads/leak"]);
    world.refused(&pushed, &commit);
    world.expect(
        world.app.tip("refs/heads/leak").is_none(),
        "the ref is upstream",
    );
    world.expect(!pushed.text.contains(&token(1)), "the secret was printed");
}

fn secret_in_tag(world: &mut World) {
    let work = world.work();
    work.git(&["tag", "-a", "-m", &format!("token {}", token(2)), "v2"])
        .success();
    let pushed = work.git(&["push", "origin", "v2"]);
    world.refused(&pushed, &work.id("v2"));
}

fn secret_in_merge(world: &mut World) {
    let work = world.work();
    work.git(&["checkout", "-q", "-b", "side"]).success();
    work.commit("side", "x\n", "side");
    work.git(&["checkout", "-q", "main"]).success();
    work.commit("mine", "y\n", "mine");
    work.git(&["merge", "-q", "--no-commit", "--no-ff", "side"])
        .success();
    let commit = work.commit("evil", format!("token = {}\n", token(3)), "merge");
    let pushed = work.git(&["push", "origin", "HEAD:refs/heads/merged"]);
    world.refused(&pushed, &commit);
}

fn secret_allowed_by_comment(world: &mut World) {
    let work = world.work();
    let line = format!("token = {} # {}:allow\n", token(4), "gitleaks");
    let commit = work.commit("config", line, "add config");
    let pushed = work.git(&["push", "origin", "HEAD:refs/heads/leak"]);
    world.refused(&pushed, &commit);
}

/// After `break_it`, neither a fetch nor a push gets through.
fn closed_after(world: &mut World, break_it: fn(&mut World)) {
    let work = world.work();
    let commit = work.commit("file", "text\n", "change");
    break_it(world);
    let fetched = work.git(&["fetch", "origin"]);
    world.fails(&fetched);
    let pushed = work.git(&["push", "origin", "HEAD:refs/heads/new"]);
    world.refused(&pushed, &commit);
}

fn missing_key(world: &mut World) {
    closed_after(world, |world| {
        fs::remove_file(world.rig.key("app")).unwrap()
    });
}

fn missing_known_hosts(world: &mut World) {
    closed_after(world, |world| {
        fs::remove_file(world.rig.known_hosts("app")).unwrap()
    });
}

fn wrong_host_key(world: &mut World) {
    closed_after(world, |world| {
        fs::write(
            world.rig.known_hosts("app"),
            world.rig.sshd.wrong_known_hosts_line(),
        )
        .unwrap();
    });
}

fn upstream_down(world: &mut World) {
    closed_after(world, |world| world.rig.sshd.stop());
}

fn reason_of_refused_fetch(world: &mut World) {
    let work = world.work();
    world.rig.sshd.stop();
    let fetched = work.git(&["fetch", "origin"]);
    world.fails(&fetched);
    world.expect(fetched.text.contains("git-gate: "), fetched.text);
}

fn empty_upstream(world: &mut World) {
    let work = world.agent.clone_of(&world.gate.url("empty"), "work");
    let commit = work.commit("file", "text\n", "first");
    world.succeeds(&work.git(&["push", "origin", "HEAD:refs/heads/main"]));
    world.expect(
        world.empty.tip("refs/heads/main") == Some(commit),
        "not upstream",
    );
    let again = world
        .agent
        .git(&["clone", "-q", &world.gate.url("empty"), "again"]);
    world.succeeds(&again);
    world.expect(
        world.agent.path().join("again/file").exists(),
        "nothing checked out",
    );
}

fn two_upstreams(world: &mut World) {
    let app = world.work();
    let other = world.agent.clone_of(&world.gate.url("other"), "other");
    let commit = other.commit("file", "text\n", "change");
    world.succeeds(&other.git(&["push", "origin", "main"]));
    world.expect(
        world.other.tip("refs/heads/main") == Some(commit),
        "not upstream",
    );
    world.expect(
        world.app.tip("refs/heads/main") == Some(app.id("HEAD")),
        "the other one moved",
    );
}

fn head_follows(world: &mut World) {
    world.work();
    world.app.commit("trunk", "x", "x\n", "x");
    world.app.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    world.succeeds(
        &world
            .agent
            .git(&["clone", "-q", &world.gate.url("app"), "again"]),
    );
    let head = world.agent.at("again").git(&["symbolic-ref", "HEAD"]).text;
    world.expect(head.trim() == "refs/heads/trunk", head);
}

fn no_noise(world: &mut World) {
    let work = world.work();
    work.commit("file", "text\n", "change");
    let pushed = work.git(&["push", "origin", "HEAD:refs/heads/new"]);
    world.succeeds(&pushed);
    for line in pushed
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("remote: "))
    {
        world.expect(
            line.starts_with("git-gate: ") && !line.contains('\x1b'),
            line,
        );
    }
}
