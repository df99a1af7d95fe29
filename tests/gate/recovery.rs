//! Starts on a volume that something happened to.

use std::fs;

use crate::rig::{Gate, Rig, Upstream, signal, wait_until};

/// Whether the gate serves `app` with the upstream's refs.
fn serves(rig: &Rig, gate: &Gate, folder: &str) {
    let work = rig.client("agent").clone_of(&gate.url("app"), folder);
    work.commit(&format!("file-{folder}"), "text\n", "change");
    work.git(&["push", "origin", &format!("HEAD:refs/heads/{folder}")])
        .success();
}

#[test]
fn a_gate_that_was_killed_in_the_middle_serves_after_its_next_start() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    serves(&rig, &gate, "before");
    let mirror = gate.repository("app");
    // What git leaves when it is killed at the wrong moment.
    for lock in [
        "config.lock",
        "HEAD.lock",
        "packed-refs.lock",
        "refs/heads/main.lock",
    ] {
        fs::write(mirror.join(lock), "").unwrap();
    }
    fs::create_dir_all(mirror.join("objects/tmp_objdir-incoming-abc/pack")).unwrap();
    fs::write(mirror.join("config.next"), "half").unwrap();
    fs::create_dir_all(mirror.with_file_name(".app.new/objects")).unwrap();
    gate.crash();
    serves(&rig, &gate, "after");
    assert!(!mirror.join("objects/tmp_objdir-incoming-abc").exists());
    assert!(
        !mirror.with_file_name(".app.aside").exists(),
        "a good mirror was set aside"
    );
}

#[test]
fn a_damaged_mirror_is_set_aside_with_a_message_and_made_anew() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    let mirror = gate.repository("app");
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 5] = [
        ("no HEAD", |mirror| {
            fs::remove_file(mirror.join("HEAD")).unwrap()
        }),
        ("no objects", |mirror| {
            fs::remove_dir_all(mirror.join("objects")).unwrap()
        }),
        ("a ref without a value", |mirror| {
            fs::create_dir_all(mirror.join("refs/heads")).unwrap();
            fs::write(mirror.join("refs/heads/empty"), "").unwrap();
        }),
        ("a half-made folder", |mirror| {
            fs::remove_dir_all(mirror).unwrap();
            fs::create_dir_all(mirror.join("refs")).unwrap();
        }),
        ("a file", |mirror| {
            fs::remove_dir_all(mirror).unwrap();
            fs::write(mirror, "").unwrap();
        }),
    ];
    for (index, (what, damage)) in damages.into_iter().enumerate() {
        serves(&rig, &gate, &format!("before-{index}"));
        gate.stop();
        damage(&mirror);
        gate.restart(&[]);
        wait_until(what, || gate.log().contains("set aside as"));
        assert!(gate.log().contains("app: "), "{what}: {}", gate.log());
        assert!(mirror.with_file_name(".app.aside").exists(), "{what}");
        serves(&rig, &gate, &format!("after-{index}"));
    }
}

#[test]
fn a_pack_that_was_cut_short_is_seen_at_the_start() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    serves(&rig, &gate, "before");
    gate.git("app", &["repack", "-a", "-d", "-q"]).success();
    gate.stop();
    let packs = fs::read_dir(gate.repository("app").join("objects/pack")).unwrap();
    let pack = packs
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pack")
        })
        .unwrap();
    let whole = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, &whole[..whole.len() - 30]).unwrap();
    gate.restart(&[]);
    wait_until("it is seen", || gate.log().contains("is cut short"));
    serves(&rig, &gate, "after");
}

#[test]
fn another_upstream_under_the_same_name_gets_a_mirror_of_its_own() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    app.commit("old-only", "file", "old\n", "old");
    let mut gate = rig.gate_with(&[]);
    serves(&rig, &gate, "before");
    let other = rig.empty_sha256_upstream("other");
    other.commit("main", "README", "other\n", "other");
    gate.restart(&[&format!("app={}", other.url)]);
    let refs = rig
        .client("agent")
        .git(&["ls-remote", &gate.url("app")])
        .success();
    assert!(!refs.contains("old-only"), "{refs}");
    assert!(
        refs.contains(&other.tip("refs/heads/main").unwrap()),
        "{refs}"
    );
    let format = gate
        .git("app", &["rev-parse", "--show-object-format"])
        .success();
    assert_eq!(format, "sha256\n");
}

#[test]
fn an_upstream_that_was_made_anew_with_another_object_format_gets_a_new_mirror() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    serves(&rig, &gate, "before");
    gate.stop();
    app.replace("sha256");
    gate.restart(&[]);
    serves_anew(&rig, &gate, &app);
}

/// Once the mirror is made anew, the gate serves `app`.
fn serves_anew(rig: &Rig, gate: &Gate, app: &Upstream) {
    let tip = app.tip("refs/heads/main").unwrap();
    let agent = rig.client("agent");
    wait_until("the new mirror is served", || {
        agent
            .git(&["ls-remote", &gate.url("app")])
            .text
            .contains(&tip)
    });
    serves(rig, gate, "anew");
}

#[test]
fn an_upstream_whose_history_is_replaced_while_the_gate_serves_is_what_the_next_fetch_sees() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    app.commit("old-only", "file", "old\n", "old");
    let mut gate = rig.gate_with(&[]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let tip = app.replace("sha1");

    // A push of one who has not fetched is told of the new history.
    let push = ["push", "origin", "HEAD:main"];
    let said = work.git(&push).failure();
    assert!(said.contains("fetch first"), "{said}");
    work.git(&["fetch", "-q", "--prune"]).success();
    let seen = work.git(&[
        "for-each-ref",
        "--format=%(objectname) %(refname)",
        "refs/remotes",
    ]);
    assert_eq!(
        seen.success(),
        format!("{tip} refs/remotes/origin/HEAD\n{tip} refs/remotes/origin/main\n")
    );
    // Its lease is right now, and its history is another one.
    let said = work.git(&["push", "origin", "+HEAD:main"]).failure();
    assert!(
        said.contains("git-gate.forcePush: only fast-forwards"),
        "{said}"
    );
    assert_eq!(app.refs(), format!("{tip} refs/heads/main"));
    serves(&rig, &gate, "before-the-restart");
    gate.restart(&[]);
    serves(&rig, &gate, "after-it");
    gate.git("app", &["fsck"]).success();
}

#[test]
fn an_upstream_that_changes_its_object_format_while_the_gate_serves_gets_another_mirror() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let tip = app.replace("sha256");
    let said = work.git(&["push", "origin", "HEAD:main"]).failure();
    let words = "object format is not the mirror's (sha1); gate-init makes the mirror anew";
    assert!(said.contains(words), "{said}");
    assert_eq!(app.refs(), format!("{tip} refs/heads/main"));
    serves_anew(&rig, &gate, &app);
}

#[test]
fn a_killed_supervisor_takes_its_server_along() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let all = crate::rig::descendants(gate.pid());
    signal(gate.pid(), rustix::process::Signal::KILL);
    wait_until("the server is gone", || {
        std::net::TcpStream::connect(("127.0.0.1", gate.port)).is_err()
    });
    assert!(all.len() >= 2);
}

#[test]
fn many_packs_are_rolled_up_and_no_object_is_lost() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    gate.wait_for_mirror("app");
    gate.stop();
    let mirror = gate.repository("app");
    let agent = rig.client("agent");
    agent.git(&["init", "-q", "--bare", "other"]).success();
    let other = agent.at("other");
    let pack = mirror.join("objects/pack/pack");
    // Objects that no ref reaches, in a pack each.
    let blobs: Vec<String> = (0..60)
        .map(|n| {
            let text = format!("blob {n}\n");
            let id = other.blob(text);
            let arguments = ["pack-objects", "-q", pack.to_str().unwrap()];
            other.git_with_input(&arguments, format!("{id}\n").as_bytes());
            id
        })
        .collect();
    gate.restart(&[]);
    wait_until("the packs are fewer", || {
        let packs = fs::read_dir(mirror.join("objects/pack")).unwrap();
        let is_pack = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".pack");
        packs
            .filter(|entry| is_pack(&entry.as_ref().unwrap().file_name()))
            .count()
            < 10
    });
    for id in blobs {
        gate.git("app", &["cat-file", "-e", &id]).success();
    }
    serves(&rig, &gate, "after");
}
