//! The refresh before a fetch: never stale, HEAD included, and cheap when nothing changed.

use std::fs;

use crate::rig::{Kind, Rig, token};

/// What an agent sees, HEAD with its target included.
fn seen(client: &crate::rig::Client, url: &str) -> String {
    client
        .git(&["ls-remote", "--symref", url])
        .success()
        .lines()
        .filter(|line| !line.ends_with("^{}"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn a_push_is_told_of_the_upstream_as_it_is() {
    let mut rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let tip = work.commit("mine", "x\n", "mine");
    let push = ["push", "origin", "HEAD:refs/heads/work"];
    work.git(&push).success();
    // Merged and cleaned up upstream, pushed again without a fetch: not "Everything up-to-date".
    app.git(&["update-ref", "-d", "refs/heads/work"]);
    work.git(&push).success();
    assert_eq!(app.tip("refs/heads/work"), Some(tip.clone()));
    app.git(&["update-ref", "refs/heads/work", "refs/heads/main"]);
    work.git(&push).success();
    assert_eq!(app.tip("refs/heads/work"), Some(tip.clone()));
    // What the pushed commit contains may have become the upstream's meanwhile.
    app.git(&["update-ref", "refs/heads/main", &tip]);
    work.commit("more", "y\n", "more");
    work.git(&["push", "origin", "HEAD:main"]).success();
    // A directory takes the place of a ref.
    app.git(&["update-ref", "-d", "refs/heads/work"]);
    app.git(&["update-ref", "refs/heads/work/a", &tip]);
    work.git(&["push", "origin", "HEAD:refs/heads/work/b"])
        .success();
    app.git(&["branch", "only-there", "main"]);
    work.git(&["push", "origin", ":only-there"]).success();
    // The client learns that the upstream is down before it sends anything.
    rig.sshd.stop();
    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/late"])
        .failure();
    assert!(said.contains("cannot reach"), "{said}");
    assert!(!said.contains("remote rejected"), "{said}");
}

#[test]
fn what_the_upstream_has_dropped_is_not_held_for_a_push_without_a_fetch() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    app.commit(
        "leak",
        "config",
        &format!("token = {}\n", token(1)),
        "add config",
    );
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    app.git(&["branch", "-D", "leak"]);
    app.git(&["gc", "-q", "--prune=now"]);
    let said = work
        .git(&["push", "origin", "origin/leak:refs/heads/again"])
        .failure();
    assert!(said.contains("push refused: 1 secret found"), "{said}");
    assert_eq!(app.tip("refs/heads/again"), None);
}

#[test]
fn a_fetch_sees_what_the_upstream_has_now() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");

    let tip = upstream.commit("main", "file", "text\n", "second");
    upstream.git(&["branch", "a"]);
    upstream.git(&["update-ref", "refs/notes/commits", &tip]);
    upstream.git(&["tag", "-m", "one", "v1"]);
    work.git(&["fetch", "-q"]).success();
    assert_eq!(work.id("origin/main"), tip);
    assert_eq!(
        gate.git("app", &["for-each-ref"]).text.trim(),
        upstream.git(&["for-each-ref"])
    );

    // A branch makes room for a folder of its name, and everything that is gone goes.
    upstream.git(&["branch", "-D", "a"]);
    upstream.git(&["branch", "a/b"]);
    upstream.git(&["update-ref", "-d", "refs/notes/commits"]);
    upstream.git(&["reset", "--soft", "main~1"]);
    work.git(&["fetch", "-q", "--prune"]).success();
    assert_eq!(
        gate.git("app", &["for-each-ref"]).text.trim(),
        upstream.git(&["for-each-ref"])
    );
}

#[test]
fn head_follows_the_upstream() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let agent = rig.client("agent");
    let head = || {
        seen(&agent, &gate.url("app"))
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(head(), "ref: refs/heads/main\tHEAD");
    upstream.git(&["branch", "-m", "main", "trunk"]);
    assert_eq!(head(), "ref: refs/heads/trunk\tHEAD");
    let tip = upstream.tip("HEAD").unwrap();
    upstream.git(&["update-ref", "--no-deref", "HEAD", &tip]);
    assert_eq!(head(), format!("{tip}\tHEAD"));
    upstream.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    assert_eq!(head(), "ref: refs/heads/trunk\tHEAD");
}

#[test]
fn an_empty_upstream_names_its_first_branch() {
    let rig = Rig::new();
    let upstream = rig.empty_upstream("app");
    upstream.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let branch = work.git(&["symbolic-ref", "HEAD"]).success();
    assert_eq!(branch.trim(), "refs/heads/trunk");
    let tip = work.commit("file", "text\n", "first");
    work.git(&["push", "-q", "origin", "trunk"]).success();
    assert_eq!(upstream.tip("refs/heads/trunk"), Some(tip));
}

#[test]
fn a_sha256_upstream_is_mirrored() {
    let rig = Rig::new();
    let upstream = rig.empty_sha256_upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let tip = work.commit("file", "text\n", "first");
    work.git(&["push", "-q", "origin", "main"]).success();
    assert_eq!(upstream.tip("refs/heads/main"), Some(tip));
    upstream.commit("main", "more", "text\n", "second");
    work.git(&["pull", "-q"]).success();
}

#[test]
fn an_upstream_that_changed_its_object_format_is_explained() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    rig.client("agent").clone_of(&gate.url("app"), "work");
    upstream.replace("sha256");
    let agent = rig.client("agent");
    let said = agent.git(&["ls-remote", &gate.url("app")]).failure();
    assert!(
        said.contains("object format is not the mirror's (sha1)"),
        "{said}"
    );
}

#[test]
fn a_fetch_without_news_is_one_session_on_an_open_connection() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let (sessions, logins) = (rig.sshd.sessions(), rig.sshd.logins());
    for _ in 0..3 {
        work.git(&["fetch", "-q"]).success();
    }
    assert_eq!(rig.sshd.sessions(), sessions + 3);
    assert_eq!(rig.sshd.logins(), logins);
}

#[test]
fn a_failed_refresh_serves_nothing_and_says_why() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    fs::rename(&upstream.path, upstream.path.with_extension("moved")).unwrap();
    let said = work.git(&["fetch"]).failure();
    assert!(said.contains("git-gate: ssh://"), "{said}");
    assert!(
        said.contains("does not appear to be a git repository"),
        "{said}"
    );
}

#[test]
fn what_a_killed_push_leaves_is_removed() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let mirror = gate.repository("app");
    let left = [
        "objects/tmp_objdir-incoming-x/pack/tmp_pack_y",
        "refs/heads/main.lock",
    ];
    for file in left {
        fs::create_dir_all(mirror.join(file).parent().unwrap()).unwrap();
        fs::write(mirror.join(file), "").unwrap();
    }
    // The note of a holder that is no more.
    let note = r#"{"holder":{"what":"a push","pid":1,"since":0},"state":null}"#;
    fs::write(mirror.join("git-gate/lock"), note).unwrap();
    work.git(&["fetch", "-q"]).success();
    assert!(left.iter().all(|file| !mirror.join(file).exists()));
}

#[test]
fn refs_that_are_left_out_reach_no_mirror_and_go_from_one() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let tip = app.commit("main", "file", "text\n", "second");
    for name in [
        "refs/pull/1/head",
        "refs/heads/wip/x",
        "refs/tags/v1",
        "refs/notes/a",
    ] {
        app.git(&["update-ref", name, &tip]);
    }
    let gate = rig.gate(Kind::DropIn);
    let agent = rig.client("agent");
    let names = || -> Vec<String> {
        let seen = agent
            .git(&["ls-remote", &gate.url("app"), "refs/*"])
            .success();
        let names = seen.lines().filter_map(|line| line.split_once('\t'));
        names.map(|(_, name)| name.to_owned()).collect()
    };
    assert_eq!(names().len(), 5);
    for pattern in ["^refs/pull/*", "^refs/heads/wip/*"] {
        gate.git("app", &["config", "--add", "git-gate.fetchRef", pattern]);
    }
    assert_eq!(names(), ["refs/heads/main", "refs/notes/a", "refs/tags/v1"]);
    gate.git(
        "app",
        &["config", "--add", "git-gate.fetchRef", "refs/heads/*"],
    );
    assert_eq!(names(), ["refs/heads/main"]);
    // Each way to fetch: few refs, and all where the listing cannot be compared.
    app.git(&["update-ref", "refs/pull/2/head", &tip]);
    app.git(&["update-ref", "refs/heads/new", &tip]);
    assert_eq!(names(), ["refs/heads/main", "refs/heads/new"]);

    // A push outside of them goes upstream, from a client that cannot have seen what is there.
    let work = agent.clone_of(&gate.url("app"), "work");
    let tip = work.commit("mine", "x\n", "mine");
    work.git(&["push", "origin", "HEAD:refs/pull/3/head"])
        .success();
    assert_eq!(app.tip("refs/pull/3/head"), Some(tip.clone()));
    assert_eq!(names(), ["refs/heads/main", "refs/heads/new"]);
    let said = work
        .git(&["push", "origin", "HEAD:refs/pull/2/head"])
        .failure();
    assert!(said.contains("is on the upstream already"), "{said}");

    gate.git("app", &["config", "--add", "git-gate.fetchRef", "heads"]);
    let said = agent.git(&["ls-remote", &gate.url("app")]).failure();
    assert!(
        said.contains("git config git-gate.fetchRef: must be a full ref name"),
        "{said}"
    );
}

#[test]
fn a_fetch_after_many_changes_sees_them_all() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let tip = app.commit("main", "file", "text\n", "second");
    let gate = rig.gate(Kind::DropIn);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    // More than are fetched by their names, in a listing that fetches must not stop reading.
    let names = (0..2000).map(|number| format!("create refs/heads/many/{number:060} {tip}\n"));
    let upstream = rig.direct("else").at(app.path.to_str().unwrap());
    upstream.git_with_input(
        &["update-ref", "--stdin"],
        names.collect::<String>().as_bytes(),
    );
    let same = || {
        work.git(&["fetch", "-q", "--prune"]).success();
        assert_eq!(
            gate.git("app", &["for-each-ref"]).text.trim(),
            app.git(&["for-each-ref"])
        );
    };
    same();
    // In one file: each push has some gits that read them all.
    let packed = std::fs::read_to_string(gate.repository("app").join("packed-refs")).unwrap();
    assert!(packed.lines().count() > 2000);
    // One with work that is nowhere else, and one behind it.
    app.commit("main", "file", "more\n", "third");
    app.git(&["update-ref", &format!("refs/heads/many/{:060}", 7), "main"]);
    same();
    app.git(&["pack-refs", "--all"]);
    let last = format!("refs/heads/many/{:060}", 1999);
    app.git(&["update-ref", "-d", &last]);
    app.git(&["update-ref", &format!("{last}/below"), "main~1"]);
    same();
}
