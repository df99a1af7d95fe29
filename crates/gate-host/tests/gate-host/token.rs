//! Upstreams over https: their tokens in a stage, and tokens that a forge issues, over real HTTP; openssl
//! makes a GitHub App's key and judges who asks. The forge is ours: what it is asked is compared with what
//! the forges document.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Operator;
use super::server::{Fault, Forge, GITEA, GITHUB, GITLAB, TOKEN};
use crate::rig::{self as gate, binary, signal, wait_until};

/// An app and its forge.
struct Rig {
    operator: Operator,
    forge: Forge,
}

impl Rig {
    fn new() -> Self {
        let rig = Self {
            operator: Operator::new(),
            forge: Forge::start(GITHUB, &[]),
        };
        rig.openssl(&["genrsa", "-traditional", "-out", "app.pem", "2048"]);
        rig
    }

    #[track_caller]
    fn openssl(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        let command = command.current_dir(self.operator.path("")).args(arguments);
        let ran = command.stderr(Stdio::piped()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }

    fn command(&self, key: &str, more: &[&str]) -> Command {
        let usual = [
            "token",
            "app-token",
            "--app",
            "12345",
            "--installation",
            "678",
        ];
        let place = ["--key", key, "--api-url", &self.forge.url];
        self.operator.command(&[&usual[..], &place, more].concat())
    }

    fn token(&self) -> Option<String> {
        fs::read_to_string(self.operator.path("app-token")).ok()
    }
}

/// What GitHub answers: a token for `seconds`.
fn minted(token: &str, seconds: u64) -> Fault {
    let until = SystemTime::now() + Duration::from_secs(seconds);
    let until = humantime::format_rfc3339_seconds(until).to_string();
    let body = json!({"token": token, "expires_at": until});
    Fault::Answer(201, "", body.to_string())
}

#[test]
fn a_token_is_asked_for_as_the_app_and_written_for_the_gate_alone() {
    let rig = Rig::new();
    rig.forge.fail("POST", [minted("ghs_one", 3600)]);
    let ran = rig
        .command("app.pem", &["--repository", "app"])
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success(), "{said}");
    assert!(
        said.contains("app-token: a token until 2") && !said.contains("ghs_"),
        "{said}"
    );
    assert_eq!(rig.token().as_deref(), Some("ghs_one"));
    let mode = fs::metadata(rig.operator.path("app-token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let seen = &rig.forge.seen()[0];
    assert_eq!(seen.path, "/app/installations/678/access_tokens");
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(body, json!({"repositories": ["app"]}));
    let login = seen
        .header("authorization")
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap();
    let (signed, signature) = login.rsplit_once('.').unwrap();
    let decode = |part: &str| Base64UrlUnpadded::decode_vec(part).unwrap();
    let claims: Value = serde_json::from_slice(&decode(signed.split_once('.').unwrap().1)).unwrap();
    assert_eq!(claims["iss"], "12345");
    let lasts = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(lasts <= 600, "GitHub takes no more: {claims}");
    fs::write(rig.operator.path("signed"), signed).unwrap();
    fs::write(rig.operator.path("signature"), decode(signature)).unwrap();
    rig.openssl(&["rsa", "-in", "app.pem", "-pubout", "-out", "app.pub"]);
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        "app.pub",
        "-signature",
        "signature",
        "signed",
    ];
    rig.openssl(&verify);
}

#[test]
fn a_token_that_is_watched_is_replaced_before_its_end() {
    let rig = Rig::new();
    rig.forge
        .fail("POST", [minted("ghs_one", 3), minted("ghs_two", 3600)]);
    let mut watching = rig.command("app.pem", &["--watch"]).spawn().unwrap();
    wait_until("it is replaced", || {
        rig.token().as_deref() == Some("ghs_two")
    });
    signal(watching.id(), Signal::TERM);
    assert!(watching.wait().unwrap().success());
}

#[test]
fn without_a_token_the_reason_is_told_and_nothing_written() {
    let rig = Rig::new();
    rig.operator.identity("ssh-key", "");
    for (key, status, words) in [
        ("app.pem", 401, "the key is not this app's"),
        ("app.pem", 404, "the app has no such installation"),
        ("app.pem", 422, "does not reach each --repository"),
        (
            "ssh-key",
            201,
            "the app's private key ssh-key cannot be used",
        ),
        (
            "none.pem",
            201,
            "the app's private key none.pem cannot be used",
        ),
    ] {
        rig.forge.fail("POST", [Fault::status(status, "no")]);
        let ran = rig.command(key, &["--watch"]).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(rig.token(), None);
    }
}

/// What GitLab and Gitea answer: a token with an id.
fn access_token(id: u32, member: &str, token: &str) -> Fault {
    Fault::Answer(201, "", json!({"id": id, member: token}).to_string())
}

fn deleted() -> Fault {
    Fault::Answer(204, "", String::new())
}

/// `gate-host token` for the upstream `team/app` of `forge`.
fn access(operator: &Operator, forge: &Forge, provider: &str, more: &[&str]) -> Command {
    let usual = [
        "token",
        "app-token",
        "--upstream",
        "https://forge.example/team/app.git",
    ];
    let login = ["--provider", provider, "--token-env", "FORGE_TOKEN"];
    let place = ["--api-url", &forge.url];
    operator.command(&[&usual[..], &login, &place, more].concat())
}

#[test]
fn a_project_of_gitlab_has_a_token_for_fetch_and_push_for_two_days() {
    let (operator, forge) = (Operator::new(), Forge::start(GITLAB, &[]));
    forge.fail("POST", [access_token(7, "token", "glpat-one")]);
    let ran = super::Ran::of(&mut access(&operator, &forge, "gitlab", &[]));
    let ran = ran.expect(0, &["app-token: a token until "]);
    assert!(!ran.err.contains("glpat-"), "{}", ran.err);
    let token = fs::read_to_string(operator.path("app-token")).unwrap();
    assert_eq!(token, "glpat-one");

    let seen = &forge.seen()[0];
    assert_eq!(seen.path, "/api/v4/projects/team%2Fapp/access_tokens");
    assert_eq!(seen.header("private-token"), Some(TOKEN));
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        body["scopes"],
        json!(["read_repository", "write_repository"])
    );
    assert_eq!(body["access_level"], 30);
    let day = format!("{}T00:00:00Z", body["expires_at"].as_str().unwrap());
    let left = humantime::parse_rfc3339(&day).unwrap();
    let left = left.duration_since(SystemTime::now()).unwrap().as_secs();
    assert!((24 * 3600 - 60..=48 * 3600).contains(&left), "{left}");
}

#[test]
fn a_token_of_gitea_is_deleted_when_the_watch_ends() {
    let (operator, forge) = (Operator::new(), Forge::start(GITEA, &[]));
    let ran = super::Ran::of(&mut access(&operator, &forge, "gitea", &["--watch"]));
    ran.expect(1, &["FORGE_TOKEN", "must be USER:PASSWORD"]);

    let watch = |more: &[&str]| {
        let mut command = access(&operator, &forge, "gitea", more);
        command.env("FORGE_TOKEN", "ann:pass:word");
        command
    };
    let ran = super::Ran::of(&mut watch(&[]));
    ran.expect(1, &["never ends by itself; use --watch"]);
    assert!(forge.seen().is_empty());

    forge.fail("POST", [access_token(7, "sha1", "0123abcd")]);
    forge.fail("DELETE", [deleted()]);
    let mut watching = watch(&["--watch"]).spawn().unwrap();
    let file = operator.path("app-token");
    wait_until("it is written", || {
        fs::read_to_string(&file).is_ok_and(|token| token == "0123abcd")
    });
    signal(watching.id(), Signal::TERM);
    assert!(watching.wait().unwrap().success());
    assert_eq!(
        forge.calls(),
        [
            "POST /api/v1/users/ann/tokens",
            "DELETE /api/v1/users/ann/tokens/7"
        ]
    );
    // ann:pass:word
    let basic = Some("Basic YW5uOnBhc3M6d29yZA==");
    assert!(
        forge
            .seen()
            .iter()
            .all(|seen| seen.header("authorization") == basic)
    );
}

#[test]
fn a_token_that_is_not_issued_or_not_deleted_is_told() {
    let (operator, forge) = (Operator::new(), Forge::start(GITLAB, &[]));
    for (status, words) in [
        (401, "what FORGE_TOKEN holds is wrong or has expired"),
        (403, "one of the project's Maintainers"),
        (404, "the repository does not exist"),
    ] {
        forge.fail("POST", [Fault::status(status, &format!("no {TOKEN}"))]);
        let ran = super::Ran::of(&mut access(&operator, &forge, "gitlab", &["--watch"]));
        ran.expect(1, &[words]);
    }
    let ran = super::Ran::of(&mut access(&operator, &forge, "github", &[]));
    ran.expect(1, &["issues tokens to its apps alone"]);

    // Where it cannot be written, it is not left behind either.
    fs::create_dir(operator.path("app-token")).unwrap();
    forge.fail("POST", [access_token(7, "token", "glpat-one")]);
    forge.fail("DELETE", [Fault::status(403, "no")]);
    let ran = super::Ran::of(&mut access(&operator, &forge, "gitlab", &[]));
    ran.expect(
        1,
        &["the token 7 is good still; delete it on the forge's page"],
    );
}

#[test]
fn an_upstream_over_https_is_prepared_so_that_a_gate_reaches_it() {
    let rig = gate::Rig::new();
    let forge = rig.forge();
    let token = "t0ken".repeat(5);
    forge.lets_in(&token);
    let app = rig.https_upstream(&forge, "app", &token);
    let operator = Operator::new();
    operator.write("app.token", &format!("{token}\n"));
    let manifest = format!(
        "[git-gate.repos.app]\nupstream = \"{}\"\ntoken_file = \"app.token\"\nca_file = {:?}\n",
        app.url,
        forge.ca("ca")
    );
    operator.write("bottle.toml", &manifest);
    let ran = operator.prepare().expect(0, &[]);
    assert!(!ran.out.contains(&token) && !ran.err.contains(&token));
    let expected = [
        "app-ca.pem",
        "app-token",
        "gate.json",
        "passwd",
        "plan.json",
    ];
    assert_eq!(operator.staged(), expected);

    let stage = operator.path("stage");
    let mut check = Command::new(binary("gate-init"));
    check
        .arg("check")
        .arg("--config")
        .arg(stage.join("gate.json"));
    check.arg("--creds-dir").arg(&stage);
    check.arg("--base-path").arg(operator.path("git"));
    check.env("GIT_GATE_GITLEAKS", gate::gitleaks());
    let said = String::from_utf8(check.output().unwrap().stdout).unwrap();
    assert!(said.contains("(sha1, 1 ref)"), "{said}");

    // The agent's remotes, whatever their form.
    let rules = [
        "gitconfig",
        "bottle.toml",
        "--gate-host",
        "gate:9420",
        "--scheme",
        "http",
    ];
    let rules = operator.run(&rules).expect(0, &[]).out;
    for spelling in [
        app.url.as_str(),
        "git@localhost:app.git",
        "ssh://git@localhost/app",
    ] {
        let rule = format!("insteadOf = {spelling}\n");
        assert!(rules.contains(&rule), "{rules}");
    }

    operator.write("app.token", "two words");
    operator
        .prepare()
        .expect(1, &["must hold one token and nothing else"]);
}
