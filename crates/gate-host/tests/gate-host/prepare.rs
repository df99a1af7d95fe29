//! The stage filled and deploy keys registered; both taken back, whatever goes wrong.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};

use git_gate::config::Config;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::server::{Fault, Forge, GITEA, Seen};
use super::{HOST_KEY, Operator, PREPARE, Ran};
use crate::rig::{signal, wait_until};

const STAGE_OF_APP: [&str; 6] = [
    "app-deploy-key-id",
    "app-key",
    "app-known_hosts",
    "gate.json",
    "passwd",
    "plan.json",
];

/// A forge with `team/app` and `team/lib`, and an operator whose manifest has keys for `names`.
fn world(names: &[&str]) -> (Forge, Operator) {
    let forge = Forge::start(GITEA, &["team/app", "team/lib"]);
    let operator = Operator::new();
    operator.provisioned(&forge, names);
    (forge, operator)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_stage_is_what_the_gate_mounts() {
    let operator = Operator::new();
    let identity = operator.identity("id", "");
    let entry = |upstream: &str, known_host_key: Value| json!({ "upstream": upstream, "identity_file": "~/id", "known_host_key": known_host_key });
    let mut app = entry(
        "ssh://git@forge.example:2222/team/app.git",
        json!([HOST_KEY, HOST_KEY]),
    );
    app["policy"] = json!({ "forcePush": "lease" });
    app["gitleaks_config"] = json!("rules.toml");
    app["exceptions"] = json!("accepted");
    operator.write("rules.toml", "title = \"mine\"\n");
    operator.write("accepted", "\n");
    let lib = entry("git@forge.example:team/lib.git", json!(HOST_KEY));
    let manifest = json!({ "git-gate": {
        "repos": { "app": app, "lib": lib },
        "limits": { "scanTimeout": 7 },
    } });
    operator.write("bottle.json", &manifest.to_string());
    let arguments = [
        "prepare",
        "bottle.json",
        "--slug",
        "dev",
        "--stage",
        "stage",
        "--json",
    ];
    let ran = operator.run(&arguments).expect(0, &[]);

    let stage = operator.path("stage");
    let files = [
        "app-exceptions",
        "app-gitleaks.toml",
        "app-key",
        "app-known_hosts",
        "gate.json",
        "lib-key",
        "lib-known_hosts",
        "passwd",
        "plan.json",
    ];
    assert_eq!(operator.staged(), files);
    assert_eq!(mode(&stage), 0o700);
    for file in files {
        assert_eq!(mode(&stage.join(file)), 0o600, "{file}");
    }
    let read = |name: &str| fs::read_to_string(stage.join(name)).unwrap();
    assert_eq!(read("app-key"), fs::read_to_string(identity).unwrap());
    assert_eq!(
        read("app-known_hosts"),
        format!("[forge.example]:2222 {HOST_KEY}\n").repeat(2)
    );
    assert_eq!(
        read("lib-known_hosts"),
        format!("forge.example {HOST_KEY}\n")
    );

    let config = Config::load(Some(&stage.join("gate.json")), &[]).unwrap();
    assert_eq!(config.limits.scan, 7);
    assert_eq!(
        config.upstreams[0].url,
        "ssh://git@forge.example:2222/team/app.git"
    );
    assert_eq!(
        config.upstreams[0].policy.force_push,
        git_gate::settings::ForcePush::Lease
    );

    let plan: Value = serde_json::from_str(&ran.out).unwrap();
    let mount = |source: &Path, target: &str| {
        let source = source.display();
        format!("type=bind,source={source},target={target},readonly")
    };
    let creds = mount(&stage, "/git-gate/creds");
    let passwd = mount(&stage.join("passwd"), "/etc/passwd");
    let user = fs::metadata(&stage).unwrap();
    let user = format!("{}:{}", user.uid(), user.gid());
    let config = "GIT_GATE_CONFIG=/git-gate/creds/gate.json";
    assert_eq!(
        plan["docker_arguments"],
        json!([
            "--mount", creds, "--mount", passwd, "--user", user, "--env", config
        ])
    );
    assert!(read("passwd").starts_with(&format!("git-gate:x:{user}:")));
    assert_eq!(
        plan["upstreams"][0]["host_keys"][0],
        "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    );
    assert_eq!(plan["upstreams"][1]["key"], json!(stage.join("lib-key")));
}

#[test]
fn a_provisioned_key_is_registered_and_revoked() {
    let (forge, operator) = world(&["app"]);
    operator
        .prepare()
        .expect(0, &["registered the deploy key 42 for app"]);
    assert_eq!(operator.staged(), STAGE_OF_APP);
    let key = &forge.keys()[0];
    assert_eq!(key.title, "bot-bottle:dev:app");
    let stage = operator.path("stage");
    assert_eq!(
        fs::read_to_string(stage.join("app-deploy-key-id")).unwrap(),
        "42"
    );
    // OpenSSH itself reads the private key and derives the public half that was registered.
    let derived = Command::new("ssh-keygen")
        .arg("-yf")
        .arg(stage.join("app-key"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(derived.stdout).unwrap().trim_end(),
        key.key
    );

    operator
        .revoke()
        .expect(0, &["deleted deploy key 42 of app", "/team/app/keys/42"]);
    assert!(forge.keys().is_empty());
    assert_eq!(
        operator.staged(),
        ["app-known_hosts", "gate.json", "passwd", "plan.json"]
    );
    operator.revoke().expect(0, &[]);
    let calls: Vec<_> = forge
        .seen()
        .iter()
        .map(|seen: &Seen| seen.method.clone())
        .collect();
    assert_eq!(calls, ["POST", "DELETE"]);
}

#[test]
fn a_key_that_is_gone_already_counts_as_revoked() {
    let (forge, operator) = world(&["app"]);
    operator.prepare().expect(0, &[]);
    forge.forget();
    operator
        .revoke()
        .expect(0, &["deploy key 42 of app", "was gone already"]);
    assert_eq!(
        operator.staged(),
        ["app-known_hosts", "gate.json", "passwd", "plan.json"]
    );
}

#[test]
fn a_key_of_a_repository_that_the_token_does_not_see_is_not_forgotten() {
    let (forge, operator) = world(&["app"]);
    operator.prepare().expect(0, &[]);
    forge.show(&["team/lib"]);
    operator.revoke().expect(
        4,
        &[
            "could not delete deploy key 42 of app",
            "may still be registered",
        ],
    );
    assert_eq!(operator.staged(), STAGE_OF_APP);
    operator.prepare().expect(
        4,
        &[
            "still registered: ",
            "/team/app/keys/42",
            "the token in FORGE_TOKEN may not see",
        ],
    );
    assert_eq!(operator.staged(), STAGE_OF_APP);
    forge.show(&["team/app"]);
    operator
        .revoke()
        .expect(0, &["deleted deploy key 42 of app"]);
    assert!(forge.keys().is_empty());
}

#[test]
fn a_second_prepare_replaces_the_key() {
    let (forge, operator) = world(&["app"]);
    operator.prepare().expect(0, &[]);
    let first = fs::read(operator.path("stage/app-key")).unwrap();
    operator.prepare().expect(
        0,
        &["deleted the deploy key 42 of app, from an earlier run"],
    );
    assert_ne!(fs::read(operator.path("stage/app-key")).unwrap(), first);
    assert_eq!(
        forge.keys().iter().map(|key| key.id).collect::<Vec<_>>(),
        [43]
    );
    operator.revoke().expect(0, &[]);
    assert!(forge.keys().is_empty());
}

#[test]
fn a_failure_in_the_middle_takes_everything_back() {
    let (forge, operator) = world(&["app", "lib"]);
    forge.fail(
        "POST",
        [
            Fault::Done(Box::new(Fault::Answer(
                201,
                "",
                json!({ "id": 42 }).to_string(),
            ))),
            Fault::status(403, "no"),
        ],
    );
    let ran = operator.prepare();
    ran.expect(
        1,
        &[
            "nothing was prepared",
            "git-gate.repos[\"lib\"]",
            "answered 403",
            "deleted the deploy key 42 again",
        ],
    );
    assert!(forge.keys().is_empty());
    assert!(!operator.path("stage").exists());
}

#[test]
fn what_cannot_be_taken_back_is_kept_and_named() {
    let (forge, operator) = world(&["app", "lib"]);
    forge.fail(
        "POST",
        [
            Fault::Done(Box::new(Fault::Answer(
                201,
                "",
                json!({ "id": 42 }).to_string(),
            ))),
            Fault::status(403, "no"),
        ],
    );
    forge.fail("DELETE", [Fault::status(403, "not now")]);
    let ran = operator.prepare();
    ran.expect(
        4,
        &[
            "still registered: ",
            "/team/app/keys/42",
            "answered 403: not now",
            "answered 403: no;",
        ],
    );
    assert_eq!(
        operator.staged(),
        ["app-deploy-key-id", "app-key", "plan.json"]
    );
    operator.revoke().expect(0, &["deleted deploy key 42"]);
    assert!(forge.keys().is_empty());
}

#[test]
fn one_key_that_cannot_be_revoked_does_not_keep_the_others() {
    let (forge, operator) = world(&["app", "lib"]);
    operator.prepare().expect(0, &[]);
    forge.fail("DELETE", [Fault::status(403, "not yours")]);
    let url = format!("{}/api/v1/repos/team/app/keys/42", forge.url);
    let ran = operator.revoke();
    ran.expect(
        4,
        &[
            "could not delete deploy key 42 of app",
            &url,
            "not yours",
            "deleted deploy key 43 of lib",
        ],
    );
    assert_eq!(forge.keys().len(), 1);
    operator.revoke().expect(0, &["deleted deploy key 42"]);
    assert!(forge.keys().is_empty());
}

#[test]
fn a_key_of_another_manifest_is_neither_deleted_nor_forgotten() {
    let (forge, operator) = world(&["app"]);
    operator.prepare().expect(0, &[]);
    let before = forge.calls().len();
    let manifest = fs::read_to_string(operator.path("bottle.toml")).unwrap();
    operator.write(
        "bottle.toml",
        &manifest.replace("team/app.git", "team/lib.git"),
    );
    operator.revoke().expect(
        4,
        &[
            "deploy key 42 of \"app\"",
            "team/app/keys",
            "the manifest it was made by",
        ],
    );
    operator
        .prepare()
        .expect(4, &["deploy key 42 of \"app\"", "team/app/keys"]);
    operator.write("bottle.toml", "[git-gate.repos]\n");
    operator.revoke().expect(4, &["deploy key 42 of \"app\""]);
    assert_eq!(forge.calls().len(), before);
    operator.write("bottle.toml", &manifest);
    operator.revoke().expect(0, &[]);
}

#[test]
fn a_dry_run_touches_nothing() {
    let (forge, operator) = world(&["app"]);
    let arguments = [
        "prepare",
        "bottle.toml",
        "--slug",
        "dev",
        "--stage",
        "stage",
        "--dry-run",
    ];
    let ran = operator.run(&arguments).expect(0, &[]);
    assert!(
        ran.out.contains("deploy key \"bot-bottle:dev:app\" at "),
        "{}",
        ran.out
    );
    assert!(forge.seen().is_empty() && !operator.path("stage").exists());
    let ran = Ran::of(operator.command(&arguments).env_remove("FORGE_TOKEN"));
    ran.expect(1, &["FORGE_TOKEN is not set"]);
}

#[test]
fn a_folder_that_others_can_read_is_no_stage() {
    let (forge, operator) = world(&["app"]);
    let stage = operator.path("stage");
    fs::create_dir(&stage).unwrap();
    fs::set_permissions(&stage, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(stage.join("theirs"), "").unwrap();
    operator
        .prepare()
        .expect(1, &["is open to other users and not empty; chmod 700"]);
    assert_eq!(mode(&stage), 0o755);
    fs::remove_file(stage.join("theirs")).unwrap();
    operator.prepare().expect(0, &[]);
    assert_eq!(mode(&stage), 0o700);
    operator.write("file", "");
    let ran = operator.run(&["prepare", "bottle.toml", "--slug", "dev", "--stage", "file"]);
    ran.expect(1, &["is not a directory"]);
    assert_eq!(forge.keys().len(), 1);
}

#[test]
fn an_identity_file_that_a_gate_cannot_use_is_refused() {
    let operator = Operator::new();
    operator.identity("id", "");
    operator.identity("locked", "a passphrase");
    operator.write("noise", "hello\n");
    for (file, words) in [
        ("locked", "has a passphrase"),
        ("id.pub", "is a public key"),
        ("noise", "is not a private key"),
        ("missing", "cannot be read: No such file"),
        (".", "is not a file"),
    ] {
        operator.write(
            "bottle.toml",
            &format!(
                "[git-gate.repos.app]\nupstream = \"git@forge.example:team/app.git\"\n\
             identity_file = \"{file}\"\nknown_host_key = \"{HOST_KEY}\"\n"
            ),
        );
        operator
            .prepare()
            .expect(1, &["git-gate.repos[\"app\"]: identity_file ", words]);
        assert!(!operator.path("stage").exists());
    }
}

#[test]
fn a_slug_and_an_api_url_are_checked_before_anything_happens() {
    let (forge, operator) = world(&["app"]);
    let ran = operator.run(&[
        "prepare",
        "bottle.toml",
        "--slug",
        "a b",
        "--stage",
        "stage",
    ]);
    ran.expect(1, &["the slug \"a b\" must be"]);
    let manifest = fs::read_to_string(operator.path("bottle.toml")).unwrap();
    operator.write(
        "bottle.toml",
        &manifest.replace(&forge.url, "http://forge.example"),
    );
    operator
        .prepare()
        .expect(1, &["would send the token in clear"]);
}

/// Sends SIGINT to a `prepare` of `operator` while the forge registers the first key, and returns how
/// `prepare` ended.
fn interrupted(forge: &Forge, operator: &Operator) -> Ran {
    let answer = Arc::new(Barrier::new(2));
    forge.fail("POST", [Fault::Held(Arc::clone(&answer))]);
    let arguments = [
        "prepare",
        "bottle.toml",
        "--slug",
        "dev",
        "--stage",
        "stage",
        "--timeout",
        "20",
    ];
    let child = operator
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the forge is asked", || forge.calls().len() == 1);
    signal(child.id(), Signal::INT);
    answer.wait();
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn ctrl_c_takes_back_what_was_registered() {
    let (forge, operator) = world(&["app", "lib"]);
    let ran = interrupted(&forge, &operator);
    ran.expect(1, &["interrupted", "deleted the deploy key 42 again"]);
    assert_eq!(forge.calls().len(), 2, "no second key was registered");
    assert!(forge.keys().is_empty() && !operator.path("stage").exists());
}

#[test]
fn ctrl_c_in_the_last_request_is_heard() {
    let (forge, operator) = world(&["app"]);
    let ran = interrupted(&forge, &operator);
    ran.expect(1, &["interrupted", "deleted the deploy key 42 again"]);
    assert!(forge.keys().is_empty() && !operator.path("stage").exists());
}

#[test]
fn who_cannot_hear_that_keys_are_registered_is_told_so() {
    let (forge, operator) = world(&["app"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let child = operator
        .command(PREPARE)
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn();
    Ran::from(child.unwrap().wait_with_output().unwrap()).expect(
        4,
        &[
            "cannot write the result",
            "gate-host revoke bottle.toml --stage stage",
        ],
    );
    assert_eq!(forge.keys().len(), 1);
    operator.revoke().expect(0, &[]);
}
