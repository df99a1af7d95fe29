//! What git's own check of pushed objects takes, and who says so when it does not.

use std::fs;

use crate::rig::{Client, Rig};

/// A commit of these header lines behind `tree` and `parent`, without any check.
fn commit(work: &Client, tree: &str, people: &str) -> String {
    let parent = work.id("HEAD");
    let raw = format!("tree {tree}\nparent {parent}\n{people}\nold\n");
    object(work, "commit", raw.as_bytes())
}

fn object(work: &Client, kind: &str, raw: &[u8]) -> String {
    let arguments = ["hash-object", "-w", "-t", kind, "--literally", "--stdin"];
    work.git_with_input(&arguments, raw).trim().to_owned()
}

const AUTHOR: &str = "author a <a@x.example> 1200000000 +0000\n";
const COMMITTER: &str = "committer a <a@x.example> 1200000000 +0000\n";

#[test]
fn old_histories_pass_and_what_is_refused_is_told_with_the_way_out() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let config = rig.path().join("gate.json");
    let write = |fsck: &str| {
        let json = format!(
            r#"{{"upstreams":[{{"name":"app","url":"{}","fsck":{fsck}}}]}}"#,
            app.url
        );
        fs::write(&config, json).unwrap();
    };
    write("{}");
    let mut gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let tree = work.id("HEAD^{tree}");
    let people = [
        (
            "zero-padded date",
            "author a <a@x.example> 01200000000 +0000\n",
            COMMITTER,
        ),
        ("no address", "author a 1200000000 +0000\n", COMMITTER),
        (
            "two addresses in one",
            "author a <a <b@x.example>> 1200000000 +0000\n",
            COMMITTER,
        ),
        (
            "no name",
            "author <a@x.example> 1200000000 +0000\n",
            COMMITTER,
        ),
        (
            "before 1970",
            "author a <a@x.example> -1 +0000\n",
            COMMITTER,
        ),
        ("two authors", AUTHOR, &[AUTHOR, COMMITTER].concat()),
    ];
    for (index, (what, author, rest)) in people.iter().enumerate() {
        let old = commit(&work, &tree, &[*author, *rest].concat());
        let name = format!("{old}:refs/heads/people-{index}");
        let ran = work.git(&["push", "origin", &name]);
        assert!(ran.ok, "{what}: {}", ran.text);
    }
    let blob = hex(&work.id("HEAD:README"));
    let sub = hex(&tree);
    let padded = [&b"100644 f\0"[..], &blob, b"040000 sub\0", &sub].concat();
    let padded = commit(
        &work,
        &object(&work, "tree", &padded),
        &[AUTHOR, COMMITTER].concat(),
    );
    work.git(&["push", "origin", &format!("{padded}:refs/heads/padded")])
        .success();

    // Two entries of one name: what a checkout writes is anybody's guess.
    let twice = name_used_twice(&work);
    let push = ["push", "origin", &format!("{twice}:refs/heads/twice")];
    let said = work.git(&push).failure();
    assert!(said.contains("duplicateEntries"), "{said}");
    assert!(
        said.contains("remote: git-gate: git does not take the pushed objects"),
        "{said}"
    );
    assert_eq!(app.tip("refs/heads/twice"), None);
    write(r#"{"duplicateEntries":"ignore"}"#);
    gate.restart(&[]);
    crate::rig::wait_until("the operator's word holds", || work.git(&push).ok);
    assert_eq!(app.tip("refs/heads/twice"), Some(twice));
}

/// A commit whose tree has two entries of one name.
pub fn name_used_twice(work: &Client) -> String {
    let blob = hex(&work.id("HEAD:README"));
    let tree = [&b"100644 f\0"[..], &blob, b"100644 f\0", &blob].concat();
    let tree = object(work, "tree", &tree);
    commit(work, &tree, &[AUTHOR, COMMITTER].concat())
}

fn hex(id: &str) -> Vec<u8> {
    let digits: Vec<_> = id
        .bytes()
        .map(|digit| char::from(digit).to_digit(16).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

#[test]
fn a_partial_clone_works_with_every_version_of_the_protocol() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    for number in 0..3 {
        app.commit("main", "file", &format!("{number}\n").repeat(1000), "more");
    }
    let gate = rig.gate_with(&[]);
    let agent = rig.client("agent");
    for version in ["0", "1", "2"] {
        let protocol = format!("protocol.version={version}");
        let url = gate.url("app");
        let clone = [
            "-c",
            &protocol,
            "clone",
            "-q",
            "--filter=blob:none",
            &url,
            version,
        ];
        agent.git(&clone).success();
        let work = agent.at(version);
        work.git(&["-c", &protocol, "log", "-p"]).success();
    }
}
