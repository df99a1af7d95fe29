//! The ref policy, decided before any scan, through the whole gate.

use crate::rig::{Client, Gate, Ran, Rig, Upstream, token};

struct World {
    app: Upstream,
    work: Client,
    gate: Gate,
    _rig: Rig,
}

impl World {
    /// A gate whose repository has `settings` in its git config.
    fn with(settings: &[(&str, &str)]) -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let (gate, work) = rig.drop_in(settings);
        Self {
            app,
            work,
            gate,
            _rig: rig,
        }
    }

    fn push(&self, refspec: &str) -> Ran {
        self.work.git(&["push", "--force", "origin", refspec])
    }

    /// The push is refused, `words` say why, and the upstream is as it was.
    #[track_caller]
    fn refused(&self, refspec: &str, words: &str) {
        let before = self.app.refs();
        let said = self.push(refspec).failure();
        assert!(said.contains(words), "no {words:?} in:\n{said}");
        assert_eq!(self.app.refs(), before);
    }
}

#[test]
fn only_allowed_refs_may_be_pushed() {
    let allowed = [
        ("git-gate.allowRef", "refs/heads/agent/*"),
        ("git-gate.allowRef", "refs/tags/try-?"),
    ];
    let world = World::with(&allowed);
    world.push("HEAD:refs/heads/agent/a/b").success();
    world.push("HEAD:refs/tags/try-1").success();
    world.refused(
        "HEAD:refs/heads/main2",
        "git-gate.allowRef: push to refs/heads/agent/* or refs/tags/try-?",
    );
}

#[test]
fn reserved_and_hidden_refs_are_refused() {
    let world = World::with(&[("transfer.hideRefs", "refs/hidden")]);
    world.refused(
        "HEAD:refs/replace/1234567890123456789012345678901234567890",
        "replace refs change",
    );
    world.refused("HEAD:refs/original/refs/heads/main", "refs/original/");
    // receive-pack refuses a hidden ref itself, in its own words; the gate forwards nothing of it.
    world.work.commit("x", "x\n", "x");
    let said = world
        .work
        .git(&[
            "push",
            "origin",
            "HEAD:refs/hidden/x",
            "HEAD:refs/heads/seen",
        ])
        .failure();
    assert!(said.contains("transfer.hideRefs"), "{said}");
    assert!(world.app.tip("refs/heads/seen").is_none() && world.app.tip("refs/hidden/x").is_none());
}

#[test]
fn names_and_values_that_the_mirror_cannot_take_are_refused_before_the_forward() {
    let world = World::with(&[]);
    let deep = format!("HEAD:refs/heads/{}z", "a/".repeat(99));
    world.refused(&deep, "at most 50 parts");
    let long_part = format!("HEAD:refs/heads/{}", "a".repeat(251));
    world.refused(&long_part, "parts of at most 250 bytes");
    let long = format!(
        "HEAD:refs/heads/{}z",
        format!("{}/", "a".repeat(200)).repeat(5)
    );
    world.refused(&long, "a name of at most 1000 bytes");
    // receive-pack takes no name of one part, though git check-ref-format does.
    world.refused("HEAD:refs/x", "push to a well-formed name");
    // And nothing but a commit as a branch.
    world.work.git(&["tag", "-m", "tag", "v1"]).success();
    for value in ["v1", "HEAD:README", "HEAD^{tree}"] {
        let id = world.work.id(value);
        world.refused(&format!("{id}:refs/heads/x"), "push a commit");
    }
    let most = format!("HEAD:refs/heads/{}{}", "a/".repeat(47), "b".repeat(250));
    world.push(&most).success();
    world.work.git(&["fetch", "-q"]).success();
}

#[test]
fn force_pushes_and_moved_tags_need_a_lease() {
    let world = World::with(&[]);
    world.push("HEAD:refs/tags/v1").success();
    world
        .work
        .git(&["commit", "-q", "--amend", "-m", "rewritten"])
        .success();
    world.refused(
        "HEAD:refs/heads/main",
        "git-gate.forcePush: only fast-forwards",
    );
    world.refused("HEAD:refs/tags/v1", "git-gate.forcePush");

    world
        .gate
        .git("app", &["config", "git-gate.forcePush", "lease"])
        .success();
    world.push("HEAD:refs/heads/main").success();
    world.push("HEAD:refs/tags/v1").success();
    assert_eq!(
        world.app.tip("refs/heads/main"),
        Some(world.work.id("HEAD"))
    );

    world
        .work
        .git(&["commit", "-q", "--amend", "-m", "again"])
        .success();
    let gits_own = "receive.denyNonFastForwards";
    world
        .gate
        .git("app", &["config", gits_own, "true"])
        .success();
    world.refused("HEAD:refs/heads/main", gits_own);
    world
        .gate
        .git("app", &["config", "--unset", gits_own])
        .success();
}

#[test]
fn what_may_not_be_rewritten_is_not_deleted_and_made_anew() {
    let world = World::with(&[]);
    world.push("HEAD:refs/heads/merged").success();
    world.push("HEAD:refs/tags/v1").success();
    world.app.commit("theirs", "theirs", "x\n", "theirs");
    // A branch that only the upstream has can be deleted, and is not where that loses something.
    world.refused(
        ":refs/heads/theirs",
        "git-gate.forcePush: no other ref keeps its commits",
    );
    world.refused(":refs/tags/v1", "git-gate.forcePush: a tag that is deleted");
    world.push(":refs/heads/merged").success();
    let renamed = world.app.tip("refs/heads/theirs").unwrap();
    world.work.git(&["fetch", "-q"]).success();
    let both = [
        "push",
        "origin",
        ":refs/heads/theirs",
        &format!("{renamed}:refs/heads/new"),
    ];
    world.work.git(&both).success();
    world
        .gate
        .git("app", &["config", "git-gate.forcePush", "lease"])
        .success();
    world.push(":refs/heads/new").success();
    world.push(":refs/tags/v1").success();
    assert_eq!(world.app.refs().lines().count(), 1, "{}", world.app.refs());
}

#[test]
fn one_push_deletes_as_many_refs_as_the_operator_allows() {
    let world = World::with(&[]);
    for name in ["a", "b"] {
        world.app.git(&["branch", name, "main"]);
    }
    let both = ["push", "origin", ":a", ":b"];
    let said = world.work.git(&both).failure();
    assert!(
        said.contains("git-gate.maxDeletes: 2 refs to delete, at most 1 at once"),
        "{said}"
    );
    // What somebody else made is not the agent's to mirror away.
    let said = world.work.git(&["push", "--mirror", "origin"]).failure();
    assert!(said.contains("git-gate.maxDeletes"), "{said}");
    assert!(world.app.tip("refs/heads/a").is_some());
    world
        .gate
        .git("app", &["config", "git-gate.maxDeletes", "2"])
        .success();
    world.work.git(&both).success();
    assert_eq!(world.app.tip("refs/heads/a"), None);
}

#[test]
fn a_misspelt_rule_refuses_what_it_was_to_rule() {
    let world = World::with(&[]);
    world
        .gate
        .git("app", &["config", "git-gate.alowRef", "refs/heads/agent/*"])
        .success();
    let words =
        "git config git-gate.alowref is not a setting of the gate; did you mean git-gate.allowRef?";
    world.refused("HEAD:refs/heads/new", words);
    let said = world.work.git(&["fetch"]).failure();
    assert!(said.contains(words), "{said}");
}

#[test]
fn deletes_can_be_refused() {
    let world = World::with(&[("git-gate.deletes", "refuse")]);
    world.push("HEAD:refs/heads/kept").success();
    world.refused(
        ":refs/heads/kept",
        "git-gate.deletes: refs may not be deleted",
    );
}

#[test]
fn a_push_over_a_limit_names_it() {
    let world = World::with(&[("git-gate.maxPushSize", "10k"), ("git-gate.maxRefs", "2")]);
    let many = [
        "push",
        "origin",
        "HEAD:refs/heads/a",
        "HEAD:refs/heads/b",
        "HEAD:refs/heads/c",
    ];
    let said = world.work.git(&many).failure();
    assert!(
        said.contains("git-gate.maxRefs: 3 ref updates, at most 2"),
        "{said}"
    );
    let mut state = 1u64;
    let noise = (0..40_000).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.collect();
    world.work.commit("noise", noise, "noise");
    world.refused("HEAD:refs/heads/big", "git-gate.maxPushSize");
}

#[test]
fn a_refused_name_that_looks_like_a_token_is_not_repeated() {
    let world = World::with(&[("git-gate.allowRef", "refs/heads/agent/*")]);
    let secret = token(7);
    let said = world.push(&format!("HEAD:refs/heads/{secret}")).failure();
    let ours = said.lines().filter(|line| line.starts_with("remote: "));
    assert!(
        ours.clone().any(|line| line.contains("git-gate.allowRef")),
        "{said}"
    );
    assert!(ours.clone().all(|line| !line.contains(&secret)), "{said}");
}
