//! gate-init: what it prepares, what it refuses, its check and its health.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::rig::{
    self, Gate, PATIENCE, Ran, Rig, processes_with, signal, wait_until, write_program,
};

/// gate-init, run to its end.
fn gate_init(arguments: &[&str]) -> (Ran, Option<i32>) {
    let output = assert_cmd::Command::new(rig::binary("gate-init"))
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

    gate.wait_for_mirror("app");
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
            "git-gate.protect ci".to_owned(),
            "git-gate.protect gitmodules".to_owned(),
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
    let usual = ["git-gate.protect ci", "git-gate.protect gitmodules"];
    wait_until("its keys are gone", || own_keys(&gate) == usual);
    wait_until("its hook is back", || {
        fs::metadata(&hook).is_ok_and(|metadata| metadata.len() > 20)
    });
    gate.git("app", &["config", "core.hooksPath"]).failure();
    assert_eq!(
        fs::metadata(&hook).unwrap().permissions().mode() & 0o777,
        0o755
    );
    let program = fs::read(rig::binary("gate-pre-receive")).unwrap();
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
            vec!["app=http://h/x.git"],
            r#"upstream "app": the URL is neither an ssh nor an https URL"#,
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
fn a_second_gate_init_keeps_off_the_mirrors_and_the_sockets_of_the_first() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let before = names(&gate.path().join("run"));
    for (base, run) in [("git", "run2"), ("git2", "run")] {
        let (ran, code) = gate_init(&[
            "--base-path",
            gate.path().join(base).to_str().unwrap(),
            "--run-dir",
            gate.path().join(run).to_str().unwrap(),
            "--listen",
            "127.0.0.1",
            "--port",
            "0",
            "app=ssh://git@host/app.git",
        ]);
        assert_eq!(code, Some(1));
        assert!(
            ran.text.contains("another gate-init serves"),
            "{}",
            ran.text
        );
    }
    // More may have come: a gate that has just begun still makes its scanners.
    let after = names(&gate.path().join("run"));
    assert!(before.iter().all(|name| after.contains(name)), "{after:?}");
    let run = gate.path().join("run");
    let (ran, code) = gate_init(&["health", "--run-dir", run.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{}", ran.text);
}

#[test]
fn health_answers_while_the_gate_serves_and_only_then() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[("--gate-name", "one")]);
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
    let fetch = r#"git_gate_events_total{gate="one",repository="app",event="fetch",service="fetch",limit=""} 1"#;
    crate::rig::wait_until("the fetch is counted", || {
        health(&["--metrics"]).0.text.contains(fetch)
    });
    let line = r#""event":"fetch","gate":"one","repository":"app""#;
    assert!(gate.log().contains(line), "{}", gate.log());
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
        row(&ran.text, "app               upstream").contains("(sha1, 1 ref)"),
        "{}",
        ran.text
    );

    let (ran, code) = gate_init(&[&common[..], &[app.as_str(), broken.as_str()]].concat());
    assert_eq!(code, Some(1), "{}", ran.text);
    let line = row(&ran.text, "broken            known_hosts");
    assert!(line.starts_with("FAIL"), "{line}");
    assert!(row(&ran.text, "app               upstream").starts_with("ok"));
}

/// Every file below `folder` with its content, and every directory.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let is_directory = fs::symlink_metadata(&path).unwrap().is_dir();
        if is_directory {
            left.extend(names(&path).iter().map(|name| path.join(name)));
        }
        let content = (!is_directory).then(|| fs::read(&path).unwrap_or_default());
        found.insert(path, content);
    }
    found
}

fn names(folder: &Path) -> BTreeSet<std::ffi::OsString> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_check_changes_nothing_of_a_gate_that_serves() {
    let rig = Rig::new();
    let (app, other) = (rig.upstream("app"), rig.upstream("other"));
    let config = rig.path().join("gate.json");
    let json = |url: &str, policy: &str| {
        format!(r#"{{"upstreams":[{{"name":"app","url":"{url}"{policy}}}]}}"#)
    };
    let policy = r#","policy":{"allowRef":["refs/heads/agent/*"]}"#;
    fs::write(&config, json(&app.url, policy)).unwrap();
    let gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/agent/a"])
        .success();
    let candidate = rig.path().join("candidate.json");
    fs::write(&candidate, json(&other.url, "")).unwrap();
    let mirror = gate.repository("app");
    // A fetch waits until the push has given the mirror back.
    work.git(&["fetch", "-q"]).success();

    let base = gate.path().join("git");
    let creds = rig.path().join("creds");
    wait_until("the gate itself changes nothing any more", || {
        let before = tree(&mirror);
        std::thread::sleep(std::time::Duration::from_millis(300));
        tree(&mirror) == before
    });
    let before = (tree(&mirror), names(&base), tree(&creds));
    let (run, port) = (gate.path().join("run"), gate.port.to_string());
    let (ran, code) = gate_init(&[
        "check",
        "--config",
        candidate.to_str().unwrap(),
        "--base-path",
        base.to_str().unwrap(),
        "--run-dir",
        run.to_str().unwrap(),
        "--creds-dir",
        creds.to_str().unwrap(),
        "--listen",
        "127.0.0.1",
        "--port",
        &port,
    ]);
    let after = (tree(&mirror), names(&base), tree(&creds));
    let changed: Vec<_> = [&before.0, &before.2]
        .into_iter()
        .zip([&after.0, &after.2])
        .flat_map(|(before, after)| {
            after
                .iter()
                .filter(|(path, content)| before.get(*path) != Some(content))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(after == before, "changed: {changed:?}");
    assert_eq!(code, Some(0), "{}", ran.text);
    for words in [
        "serves already (run directory",
        "is set aside at the start: it mirrors",
    ] {
        assert!(ran.text.contains(words), "no {words:?} in\n{}", ran.text);
    }
    // What the gate was told still holds.
    let said = work.git(&["push", "origin", "HEAD:main"]).failure();
    assert!(said.contains("git-gate.allowRef"), "{said}");
    assert_eq!(other.refs().lines().count(), 1);
}

#[test]
fn a_check_leaves_no_connection_and_no_file() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let paths = || tree(rig.path()).into_keys().collect::<BTreeSet<_>>();
    let before = paths();
    let [base, run, creds] =
        ["git", "run", "creds"].map(|name| rig.path().join(name).display().to_string());
    let url = format!("app={}", app.url);
    let (ran, code) = gate_init(&[
        "check",
        "--base-path",
        &base,
        "--run-dir",
        &run,
        "--creds-dir",
        &creds,
        "--port",
        "0",
        &url,
    ]);
    assert_eq!(code, Some(0), "{}", ran.text);
    assert_eq!(paths(), before);
    let key = rig.key("app").display().to_string();
    assert!(processes_with(&["ssh", &key]).is_empty());
}

/// Each condition that a push needs: what `check` says, what the start logs, and that the gate is
/// not well then.
#[test]
fn what_refuses_every_push_is_told_by_check_start_and_health() {
    let script = "#!/bin/sh\nexec gitleaks \"$@\"\n";
    let cases = [
        (r"", "/nowhere", "", "gate gitleaks: gitleaks was not found"),
        (
            r"",
            "/bin/true",
            "",
            "gate gitleaks: /bin/true is no gitleaks whose own rules can be read",
        ),
        (r"", "bad", script, "gate gitleaks: "),
        (r#""gitleaksConfig":"none.toml""#, "", "", "app rules: "),
        (r#""gitleaksConfig":"bad""#, "", "[toml", "app rules: "),
        (
            r#""gitleaksConfig":"bad""#,
            "",
            "[[rules]]\nid = 'x'\nregex = '(x'\n",
            "app rules: ",
        ),
        (
            r#""exceptions":"bad""#,
            "",
            "who knows\n",
            "line 1 is not an exception",
        ),
        (
            r#""policy":{"allowRef":["agent/*"]}"#,
            "",
            "",
            r#"app policy: allowRef "agent/*" fits no ref"#,
        ),
    ];
    for (entry, program, content, words) in cases {
        let rig = Rig::new();
        let app = rig.upstream("app");
        write_program(&rig.path().join("bad"), content);
        let config = rig.path().join("gate.json");
        let comma = if entry.is_empty() { "" } else { "," };
        let json = format!(
            r#"{{"upstreams":[{{"name":"app","url":"{}"{comma}{entry}}}]}}"#,
            app.url
        );
        fs::write(&config, json).unwrap();
        let program = match program {
            "" => rig::gitleaks(),
            "bad" => rig.path().join("bad"),
            path => path.into(),
        };
        let (config, program) = (config.to_str().unwrap(), program.to_str().unwrap());
        let mut gate = rig.gate_with(&[("--config", config), ("GIT_GATE_GITLEAKS=", program)]);
        wait_until("the start tells it", || {
            gate.log().contains("pushes are refused: ")
        });
        assert!(gate.log().contains(words), "no {words:?} in {}", gate.log());
        let run_to_end = |arguments: &[&str]| {
            let mut command = assert_cmd::Command::new(rig::binary("gate-init"));
            command.env("GIT_GATE_GITLEAKS", program).args(arguments);
            let output = command.timeout(PATIENCE).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (
                output.status.code(),
                String::from_utf8_lossy(&said).into_owned(),
            )
        };
        let run = gate.path().join("run");
        let run = run.to_str().unwrap();
        let (code, said) = run_to_end(&["health", "--run-dir", run]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "no {words:?} in {said}");
        gate.stop();
        let [base, creds] =
            ["git2", "creds"].map(|name| rig.path().join(name).display().to_string());
        let (code, said) = run_to_end(&[
            "check",
            "--config",
            config,
            "--base-path",
            &base,
            "--run-dir",
            run,
            "--creds-dir",
            &creds,
            "--port",
            "0",
        ]);
        assert_eq!(code, Some(1), "{said}");
        let reason = words.split(": ").last().unwrap_or(words);
        let told = said
            .lines()
            .any(|line| line.starts_with("FAIL") && line.contains(reason));
        assert!(told, "no {reason:?} in\n{said}");
    }
}

#[test]
fn what_keeps_a_gate_from_starting_is_told_by_check() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let url = format!("app={}", app.url);
    let text = |path: PathBuf| path.display().to_string();
    let [creds, run, base] = ["creds", "run2", "git2"].map(|name| text(rig.path().join(name)));
    let long = text(rig.path().join("x".repeat(100)));
    let [served, used] = ["git", "run"].map(|name| text(gate.path().join(name)));
    let taken = gate.port.to_string();
    let cases = [
        ("--run-dir", long.as_str(), "take a shorter --run-dir"),
        (
            "--audit-log",
            "/nowhere/log",
            "there is no directory /nowhere",
        ),
        ("--port", &taken, "cannot listen on 127.0.0.1"),
        ("--base-path", &served, "already; stop it first"),
        ("--run-dir", &used, "already; stop it first"),
    ];
    for (wrong, value, words) in cases {
        let mut arguments = vec!["check", "--creds-dir", &creds, "--listen", "127.0.0.1"];
        let usual = [
            ("--run-dir", run.as_str()),
            ("--base-path", &base),
            ("--port", "0"),
        ];
        for (option, value) in usual.into_iter().filter(|(option, _)| *option != wrong) {
            arguments.extend([option, value]);
        }
        arguments.extend([wrong, value, &url]);
        let (ran, code) = gate_init(&arguments);
        assert_eq!(code, Some(1), "{}", ran.text);
        assert!(ran.text.contains(words), "no {words:?} in\n{}", ran.text);
    }
}

#[test]
fn a_reload_says_what_it_changed() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let config = rig.path().join("gate.json");
    let write = |policy: &str, limits: &str| {
        let json = format!(
            r#"{{"upstreams":[{{"name":"app","url":"{}","policy":{policy}}}],"limits":{limits}}}"#,
            app.url
        );
        fs::write(&config, json).unwrap();
    };
    write("{}", "{}");
    let gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let reload = |words: &str| {
        signal(gate.pid(), Signal::HUP);
        wait_until(words, || gate.log().contains(words));
    };
    reload("reloaded: nothing changed");
    write(r#"{"deletes":"refuse"}"#, r#"{"maxRefs":7}"#);
    reload(
        r#"reloaded: app: policy.deletes "allow" is now "refuse"; limits.maxRefs 1000 is now 7"#,
    );
}

#[test]
fn nothing_is_left_in_the_run_directory_of_a_gate_that_ended() {
    let rig = Rig::new();
    rig.upstream("app");
    let mut gate = rig.gate_with(&[]);
    let run = gate.path().join("run");
    let scanners = || {
        let names = names(&run).into_iter();
        let scanners = names.filter(|name| name.to_string_lossy().starts_with("scan-"));
        scanners.collect::<Vec<_>>()
    };
    wait_until("a scanner waits", || scanners().len() == 1);
    let first = scanners();
    gate.crash();
    wait_until("only a new scanner waits", || {
        let now = scanners();
        now.len() == 1 && now != first
    });
    assert_eq!(gate.stop(), Some(0));
    assert_eq!(scanners(), Vec::<std::ffi::OsString>::new());
}

/// A port that takes connections and says nothing.
fn silent_upstream() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("ssh://git@{address}/app.git"))
}

#[test]
fn an_upstream_that_says_nothing_holds_up_no_other() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let silent: Vec<_> = ["one", "two"].map(|name| (name, silent_upstream())).into();
    let mut entries = vec![format!(r#"{{"name":"app","url":"{}"}}"#, app.url)];
    for (name, (_, url)) in &silent {
        rig.credentials(name);
        entries.push(format!(r#"{{"name":"{name}","url":"{url}"}}"#));
    }
    let config = rig.path().join("gate.json");
    // They would be waited for as long as this test may take.
    let json = format!(
        r#"{{"upstreams":[{}],"limits":{{"connectTimeout":600}}}}"#,
        entries.join(",")
    );
    fs::write(&config, json).unwrap();
    let mut gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let agent = rig.client("agent");
    agent.clone_of(&gate.url("app"), "work");
    let said = agent.git(&["ls-remote", &gate.url("one")]).failure();
    assert!(said.contains("one: it is being made ready"), "{said}");
    signal(gate.pid(), Signal::HUP);
    wait_until("it is heard", || gate.log().contains("nothing changed"));
    assert_eq!(gate.stop(), Some(0));
}

#[test]
fn every_program_says_what_it_is() {
    for program in ["gate-init", "gate-pre-receive", "gate-access-hook"] {
        for option in ["--help", "--version"] {
            let mut command = assert_cmd::Command::new(rig::binary(program));
            let output = command.arg(option).output().unwrap();
            let has_answer = output.status.success() && !output.stdout.is_empty();
            assert!(has_answer, "{program} {option}");
        }
    }
}

#[test]
fn mirrors_take_the_object_format_of_their_upstream() {
    let rig = Rig::new();
    let full = rig.empty_sha256_upstream("full");
    full.commit("main", "README", "hello\n", "first");
    rig.empty_sha256_upstream("empty");
    let gate = rig.gate_with(&[]);
    for name in ["full", "empty"] {
        gate.wait_for_mirror(name);
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
