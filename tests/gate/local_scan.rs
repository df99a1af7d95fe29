//! `gate-init scan`: a local repository, before it is pushed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::rig::{Client, Gate, Kind, Rig, binary, gitleaks, token};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("gate-init"));
    command
        .env("GIT_GATE_GITLEAKS", gitleaks())
        .arg("scan")
        .args(arguments);
    command
}

/// What `gate-init scan` prints on standard output, and its exit code.
fn scan(arguments: &[&str]) -> (String, Option<i32>) {
    let ran = command(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    println!("{said}");
    (String::from_utf8(ran.stdout).unwrap(), ran.status.code())
}

/// Every file below `folder`, with its content.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => drop(all.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    all
}

/// Every file of a gate's run directory, its sockets left out.
fn noted(gate: &Gate) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let entries = fs::read_dir(gate.path().join("run")).unwrap().flatten();
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let paths = files.map(|entry| entry.path());
    paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn clone(rig: &Rig) -> Client {
    let app = rig.upstream("app");
    rig.client("agent")
        .clone_of(app.path.to_str().unwrap(), "work")
}

#[test]
fn a_clone_is_scanned_as_a_push_of_it_would_be_and_stays_as_it_is() {
    let rig = Rig::new();
    let work = clone(&rig);
    let path = work.path().to_str().unwrap();
    assert_eq!(scan(&[path]), (String::new(), Some(0)));
    work.commit("src/a file.rs", "fn main() {}\n", "honest");
    let honest = work.id("HEAD");
    assert_eq!(scan(&[path]).1, Some(0));
    let secret = token(7);
    work.commit("test é.env", format!("# x\nTOKEN={secret}\n"), "fixture");
    work.git(&["rm", "-q", "test é.env"]).success();
    work.commit(".github/workflows/x.yml", "on: push\n", "ci");
    let before = files(work.path());
    let (said, code) = scan(&[path]);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("github-pat") && said.contains("git-gate.protect"),
        "{said}"
    );
    assert!(!said.contains(&secret[8..]), "{said}");
    assert!(files(work.path()) == before, "the clone was changed");
    // A range that leaves it out; one that git does not know.
    assert_eq!(scan(&[path, &format!("{honest}~..{honest}")]).1, Some(0));
    for range in ["nowhere..HEAD", "--all"] {
        assert_eq!(scan(&[path, "--", range]).1, Some(1), "{range}");
    }
}

#[test]
fn sarif_names_place_line_and_commit() {
    let rig = Rig::new();
    let work = clone(&rig);
    let commit = work.commit(
        "conf/test é.env",
        format!("# x\nTOKEN={}\n", token(7)),
        "fixture",
    );
    let path = work.path().to_str().unwrap();
    let (said, code) = scan(&[path, "--sarif"]);
    assert_eq!(code, Some(5));
    let sarif: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "github-pat");
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "github-pat");
    assert_eq!(result["properties"]["commit"], commit);
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "conf/test%20%C3%A9.env");
    assert_eq!(place["region"]["startLine"], 2);
    // The exception in it lets it pass.
    let exception = result["partialFingerprints"]["gitGateException/v1"]
        .as_str()
        .unwrap();
    let file = rig.path().join("exceptions");
    fs::write(&file, format!("{exception} a fixture\n")).unwrap();
    let (said, code) = scan(&[path, "--sarif", "--exceptions", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let sarif: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(sarif["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn a_gate_that_serves_on_the_machine_lends_nothing_and_stays_as_it_is() {
    let rig = Rig::new();
    let work = clone(&rig);
    let gate = rig.gate(Kind::Init);
    work.commit("config", format!("token = {}\n", token(9)), "a secret");
    let push = ["push", &gate.url("app"), "HEAD:refs/heads/leak"];
    work.git(&push).failure();
    let rules = rig.path().join("rules.toml");
    fs::write(&rules, "[[rules]]\nid = 'x'\nregex = 'x-[0-9]+'\n").unwrap();
    let before = noted(&gate);
    let run_dir = gate.path().join("run");
    let mut command = command(&[work.path().to_str().unwrap()]);
    command.env("GIT_GATE_RUN_DIR", &run_dir);
    command.arg("--gitleaks-config").arg(rules);
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    assert_eq!(noted(&gate), before);
}
