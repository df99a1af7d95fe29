//! gate-init: what it prepares, what it refuses, its check and its health.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::rig::{Gate, PATIENCE, Ran, Rig};

/// gate-init, run to its end.
fn gate_init(arguments: &[&str]) -> (Ran, Option<i32>) {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_gate-init"))
        .env("GIT_GATE_GITLEAKS", crate::rig::gitleaks())
        .args(arguments)
        .timeout(PATIENCE)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let ran = Ran {
        ok: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    };
    (ran, output.status.code())
}

/// The `git-gate` keys of a mirror, sorted.
fn own_keys(gate: &Gate) -> Vec<String> {
    let text = gate
        .git("app", &["config", "--get-regexp", "^git-gate[.]"])
        .success();
    let mut keys: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("identityfile") && !line.contains("knownhosts"))
        .map(str::to_owned)
        .collect();
    keys.sort();
    keys
}

#[test]
fn a_mirror_gets_its_settings_and_its_hook_on_every_start() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    fs::set_permissions(rig.key("app"), fs::Permissions::from_mode(0o644)).unwrap();
    let config = rig.path().join("gate.json");
    let json = format!(
        r#"{{"upstreams":[{{"name":"app","url":"{}","gitleaksConfig":"rules.toml",
            "policy":{{"allowRef":["refs/heads/a/*","refs/heads/b"],"forcePush":"lease","deletes":"refuse"}}}}],
            "limits":{{"scanTimeout":99}}}}"#,
        upstream.url
    );
    fs::write(&config, json).unwrap();
    let mut gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);

    assert_eq!(
        own_keys(&gate),
        [
            "git-gate.allowref refs/heads/a/*".to_owned(),
            "git-gate.allowref refs/heads/b".to_owned(),
            "git-gate.deletes refuse".to_owned(),
            "git-gate.forcepush lease".to_owned(),
            format!(
                "git-gate.gitleaksconfig {}",
                rig.path().join("rules.toml").display()
            ),
            "git-gate.scantimeout 99".to_owned(),
        ]
    );
    let get = |gate: &Gate, key: &str| gate.git("app", &["config", key]).success();
    assert_eq!(get(&gate, "receive.denyCurrentBranch"), "ignore\n");
    assert_eq!(get(&gate, "http.receivepack"), "true\n");
    assert_eq!(get(&gate, "remote.origin.fetch"), "+refs/*:refs/*\n");
    assert_eq!(
        get(&gate, "remote.origin.url"),
        format!("{}\n", upstream.url)
    );
    assert_eq!(
        get(&gate, "git-gate.identityFile"),
        format!("{}\n", rig.key("app").display())
    );
    assert_eq!(
        fs::metadata(rig.key("app")).unwrap().permissions().mode() & 0o777,
        0o600
    );

    // What gate.json no longer says is gone after the next start, and so is what somebody changed.
    let hook = gate.repository("app").join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/true\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o600)).unwrap();
    gate.git("app", &["config", "core.hooksPath", "/nowhere"])
        .success();
    fs::write(&config, "{}").unwrap();
    gate.restart(&[]);
    assert!(own_keys(&gate).is_empty(), "{:?}", own_keys(&gate));
    gate.git("app", &["config", "core.hooksPath"]).failure();
    assert_eq!(
        fs::metadata(&hook).unwrap().permissions().mode() & 0o777,
        0o755
    );
    let program = fs::read(env!("CARGO_BIN_EXE_gate-pre-receive")).unwrap();
    assert!(
        fs::read(&hook).unwrap() == program,
        "the hook is not the program"
    );
}

#[test]
fn what_cannot_be_served_is_refused_with_the_entry_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gate.json");
    fs::write(&config, r#"{"upstreams":[],"limitz":{}}"#).unwrap();
    let config = config.to_str().unwrap();
    for (arguments, words) in [
        (
            vec!["--config", config],
            r#"unknown key "limitz"; did you mean "limits"?"#,
        ),
        (
            vec!["a/b=ssh://git@h/x.git"],
            r#"upstream "a/b": the name holds a slash"#,
        ),
        (
            vec!["app=https://h/x.git"],
            r#"upstream "app": the URL is not an ssh URL"#,
        ),
        (vec!["app"], r#""app" is not NAME=URL"#),
        (
            vec!["--config", "/nowhere.json"],
            "cannot read /nowhere.json",
        ),
    ] {
        let base = folder.path().join("git");
        let common = [
            "--base-path",
            base.to_str().unwrap(),
            "--port",
            "0",
            "--listen",
            "127.0.0.1",
        ];
        let (ran, code) = gate_init(&[&common[..], &arguments].concat());
        assert_eq!(code, Some(2), "{}", ran.text);
        assert!(ran.text.contains(words), "{}", ran.text);
        assert!(!base.exists(), "something was prepared");
    }
}

#[test]
fn a_second_gate_init_keeps_off_the_same_mirrors() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let base = gate.path().join("git");
    let run = gate.path().join("run2");
    let (ran, code) = gate_init(&[
        "--base-path",
        base.to_str().unwrap(),
        "--run-dir",
        run.to_str().unwrap(),
        "--listen",
        "127.0.0.1",
        "--port",
        "0",
    ]);
    assert_eq!(code, Some(1));
    assert!(
        ran.text.contains("another gate-init serves"),
        "{}",
        ran.text
    );
}

#[test]
fn health_answers_while_the_gate_serves_and_only_then() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    let run = gate.path().join("run");
    assert_eq!(
        fs::metadata(&run).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let health = |more: &[&str]| {
        gate_init(&[&["health", "--run-dir", run.to_str().unwrap()], more].concat())
    };
    crate::rig::wait_until("the gate is well", || health(&[]).1 == Some(0));
    rig.client("agent").clone_of(&gate.url("app"), "work");
    let fetch =
        r#"git_gate_events_total{repository="app",event="fetch",service="fetch",limit=""} 1"#;
    crate::rig::wait_until("the fetch is counted", || {
        health(&["--metrics"]).0.text.contains(fetch)
    });
    assert_eq!(gate.stop(), Some(0));
    let (ran, code) = health(&[]);
    assert_eq!(code, Some(1));
    assert!(ran.text.contains("no gate-init serves"), "{}", ran.text);
}

#[test]
fn check_shows_what_works_and_what_does_not() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let broken = rig.empty_upstream("broken");
    fs::remove_file(rig.known_hosts("broken")).unwrap();
    let base = rig.path().join("git");
    let (run, creds) = (rig.path().join("run"), rig.path().join("creds"));
    let common = [
        "check",
        "--base-path",
        base.to_str().unwrap(),
        "--run-dir",
        run.to_str().unwrap(),
        "--creds-dir",
        creds.to_str().unwrap(),
    ];
    let url = |name: &str, url: &str| format!("{name}={url}");
    let (app, broken) = (url("app", &app.url), url("broken", &broken.url));

    let (ran, code) = gate_init(&[&common[..], &[app.as_str()]].concat());
    assert_eq!(code, Some(0), "{}", ran.text);
    let row = |text: &str, item: &str| {
        let found = text.lines().find(|line| line.contains(item));
        found
            .unwrap_or_else(|| panic!("no {item} in\n{text}"))
            .to_owned()
    };
    assert!(
        row(&ran.text, "app               HEAD").ends_with("refs/heads/main"),
        "{}",
        ran.text
    );
    assert!(
        row(&ran.text, "gate              gitleaks").contains("8.30.1"),
        "{}",
        ran.text
    );
    assert!(
        row(&ran.text, "app               upstream").contains("(sha1)"),
        "{}",
        ran.text
    );

    let (ran, code) = gate_init(&[&common[..], &[app.as_str(), broken.as_str()]].concat());
    assert_eq!(code, Some(1), "{}", ran.text);
    let line = row(&ran.text, "broken            known_hosts");
    assert!(line.starts_with("FAIL"), "{line}");
    assert!(row(&ran.text, "app               upstream").starts_with("ok"));
}

#[test]
fn mirrors_take_the_object_format_of_their_upstream() {
    let rig = Rig::new();
    let full = rig.empty_sha256_upstream("full");
    full.commit("main", "README", "hello\n", "first");
    rig.empty_sha256_upstream("empty");
    let gate = rig.gate_with(&[]);
    for name in ["full", "empty"] {
        let format = gate
            .git(name, &["rev-parse", "--show-object-format"])
            .success();
        assert_eq!(format, "sha256\n", "{name}");
    }
    let work = rig.client("agent").clone_of(&gate.url("full"), "work");
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    assert_eq!(full.tip("refs/heads/new"), Some(work.id("HEAD")));
}

#[test]
fn an_upstream_that_was_down_at_the_start_is_served_once_it_is_up() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let away = app.path.with_extension("away");
    fs::rename(&app.path, &away).unwrap();
    let gate = rig.gate_with(&[]);
    let agent = rig.client("agent");
    let said = agent.git(&["clone", &gate.url("app"), "work"]).failure();
    assert!(said.contains("git-gate: app: "), "{said}");
    fs::rename(&away, &app.path).unwrap();
    agent.clone_of(&gate.url("app"), "work");
}
