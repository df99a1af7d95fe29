//! This repository through its own gate.

use std::process::Command;

use crate::rig::{Client, Rig, repository};

/// Nothing in the whole history may look like a secret but what `fixtures/exceptions/own-history` accepts,
/// which is what cannot be changed any more.
#[test]
fn this_repository_passes_its_own_gate() {
    let rig = Rig::new();
    let app = rig.empty_upstream("app");
    let config = rig.path().join("gate.json");
    let accepted = repository().join("fixtures/exceptions/own-history");
    let accepted = std::fs::read_to_string(accepted).unwrap();
    let lines = accepted.lines().filter(|line| !line.starts_with('#'));
    let lines: String = lines.map(|line| format!("secret:{line}\n")).collect();
    let exceptions = rig.path().join("exceptions");
    std::fs::write(&exceptions, lines).unwrap();
    let json = serde_json::json!({
        "upstreams": [{
            "name": "app",
            "url": app.url,
            "exceptions": exceptions,
            // It has a workflow of its own.
            "policy": { "protect": [] },
        }],
    });
    std::fs::write(&config, json.to_string()).unwrap();
    let gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let work = history(&rig);
    let said = work
        .git(&["push", &gate.url("app"), "HEAD:refs/heads/main"])
        .success();
    assert_eq!(app.tip("refs/heads/main"), Some(work.id("HEAD")), "{said}");
}

/// A clone with all of it; where that is not to be had (an archive of the source, a shallow clone), the
/// files as they are, in one commit.
fn history(rig: &Rig) -> Client {
    let source = repository();
    let client = rig.client("maintainer");
    let is_shallow = Command::new("git")
        .args(["rev-parse", "--is-shallow-repository"])
        .current_dir(&source)
        .output()
        .unwrap();
    let source = source.to_str().unwrap();
    if is_shallow.stdout == b"false\n" {
        return client.clone_of(source, "work");
    }
    client.git(&["init", "-q", "work"]).success();
    let work = client.at("work");
    work.git(&["--work-tree", source, "add", "--all"]).success();
    work.git(&["commit", "-q", "-m", "the files as they are"])
        .success();
    work
}
