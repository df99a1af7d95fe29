//! An upstream over HTTPS: the same work and the same refusals as over ssh, and a token that nobody sees.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::rig::{
    Client, Forge, Gate, Kind, Rig, Upstream, binary, token, wait_until, write_program, write_token,
};

/// A forge, the repository `app` on it, and a gate in front of it.
struct World {
    upstream: Upstream,
    gate: Gate,
    forge: Forge,
    rig: Rig,
    token: String,
}

impl World {
    fn new() -> Self {
        Self::with(Kind::Init, json!({}))
    }

    /// With `more` for the upstream in gate.json.
    fn with(kind: Kind, more: serde_json::Value) -> Self {
        let rig = Rig::new();
        let forge = rig.forge();
        let token = "t0ken".repeat(5);
        forge.lets_in(&token);
        let upstream = rig.https_upstream(&forge, "app", &token);
        let mut one = json!({"name": "app", "url": upstream.url});
        one.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let limits = json!({"connectTimeout": 2, "silenceTimeout": 3, "forwardTimeout": 20});
        let config = rig.path().join("gate.json");
        let text = json!({"upstreams": [one], "limits": limits}).to_string();
        fs::write(&config, text).unwrap();
        let log = rig.path().join("audit");
        let paths = [config.to_str().unwrap(), log.to_str().unwrap()];
        let extra = [("--config", paths[0]), ("--audit-log", paths[1])];
        let gate = rig.gate_of(kind, &extra);
        gate.wait_for_mirror("app");
        Self {
            upstream,
            gate,
            forge,
            rig,
            token,
        }
    }

    fn work(&self) -> Client {
        let agent = self.rig.client("agent");
        agent.clone_of(&self.gate.url("app"), "work")
    }

    fn creds(&self, name: &str) -> PathBuf {
        self.rig.path().join("creds").join(name)
    }

    /// What an agent is told, whose fetch and push are both refused.
    #[track_caller]
    fn refused(&self, work: &Client) -> String {
        let fetch = work.git(&["fetch", "origin"]).failure();
        let push = work
            .git(&["push", "origin", "HEAD:refs/heads/refused"])
            .failure();
        // libcurl tells how many milliseconds it has tried.
        let is_time = |word: &&str| word.parse::<u32>().is_ok();
        let reason = |said: &str| {
            let reason = said.split("git-gate: ").nth(1).unwrap_or(said);
            let words = reason.split(' ').filter(|word| !is_time(word));
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(reason(&fetch), reason(&push));
        if self.upstream.path.exists() {
            assert_eq!(self.upstream.tip("refs/heads/refused"), None);
        }
        fetch
    }
}

#[test]
fn fetches_and_pushes_go_through_and_nobody_sees_the_token() {
    let world = World::with(Kind::Traced, json!({}));
    let work = world.work();
    let id = work.commit("file", "text\n", "change");
    work.git(&["tag", "v1"]).success();
    let push = ["push", "--atomic", "origin", "HEAD:refs/heads/one", "v1"];
    work.git(&push).success();
    assert_eq!(world.upstream.tip("refs/heads/one"), Some(id));
    let theirs = world
        .upstream
        .commit("main", "README", "theirs\n", "theirs");
    work.git(&["fetch", "-q", "origin"]).success();
    assert_eq!(work.id("origin/main"), theirs);
    work.git(&["push", "-q", "origin", ":refs/heads/one"])
        .success();
    assert_eq!(world.upstream.tip("refs/heads/one"), None);
    work.commit("config", format!("token = {}\n", token(3)), "a secret");
    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/leak"])
        .failure();
    assert!(said.contains("push refused: 1 secret found"), "{said}");
    // What the upstream has and the clone has not.
    work.git(&["reset", "-q", "--hard", "HEAD~2"]).success();
    world.upstream.commit("main", "README", "more\n", "more");
    work.commit("README", "mine\n", "mine");
    let said = work.git(&["push", "origin", "HEAD:main"]).failure();
    assert!(said.contains("main"), "{said}");
    for place in [world.gate.path(), world.rig.path().join("audit").as_path()] {
        assert_eq!(holding(place, &world.token), Vec::<PathBuf>::new());
    }
    let executions = world.gate.executions();
    let naming = |name: &str| executions.iter().find(|line| line.contains(name));
    assert!(naming("remote-https").is_some(), "{executions:?}");
    assert_eq!(naming("/sh\""), None);
    // One connection for each question: none is made without the token.
    assert!(
        !world.forge.nginx.log().contains("\" 401 "),
        "{}",
        world.forge.nginx.log()
    );
}

/// The files at and below `place` that hold `text`.
fn holding(place: &std::path::Path, text: &str) -> Vec<PathBuf> {
    if place.is_dir() {
        let entries = fs::read_dir(place).unwrap().flatten();
        return entries
            .flat_map(|entry| holding(&entry.path(), text))
            .collect();
    }
    // Sockets cannot be read.
    let content = fs::read(place).unwrap_or_default();
    let holds = content
        .windows(text.len())
        .any(|part| part == text.as_bytes());
    holds.then(|| place.to_owned()).into_iter().collect()
}

#[test]
fn a_wrong_token_is_told_and_a_renewed_one_is_used_at_once() {
    let world = World::new();
    let work = world.work();
    work.commit("file", "text\n", "change");
    world.forge.lets_in("another-token-of-the-forge");
    let said = world.refused(&work);
    assert!(
        said.contains(
            "does not accept the gate's token (it may have expired); the operator must renew it"
        ),
        "{said}"
    );
    write_token(&world.creds("app-token"), "another-token-of-the-forge");
    work.git(&["push", "origin", "HEAD:refs/heads/x"]).success();
    fs::set_permissions(
        world.creds("app-token"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let said = world.refused(&work);
    assert!(said.contains("it must have mode 0600"), "{said}");
    fs::remove_file(world.creds("app-token")).unwrap();
    let said = world.refused(&work);
    assert!(
        said.contains("no token for the upstream: cannot read "),
        "{said}"
    );
}

#[test]
fn each_cause_has_its_own_words() {
    let mut world = World::new();
    let work = world.work();
    work.commit("file", "text\n", "change");
    let gone = world.upstream.path.with_extension("gone");
    fs::rename(&world.upstream.path, &gone).unwrap();
    let said = world.refused(&work);
    assert!(
        said.contains("app.git is not there, or is not shown to the gate's token"),
        "{said}"
    );
    fs::rename(&gone, &world.upstream.path).unwrap();

    let pinned = world.creds("app-ca.pem");
    fs::copy(world.forge.ca("other-ca"), &pinned).unwrap();
    let said = world.refused(&work);
    assert!(
        said.contains("is not trusted (") && said.contains("so no token was sent"),
        "{said}"
    );
    fs::remove_file(&pinned).unwrap();
    let said = world.refused(&work);
    assert!(
        said.contains("no pinned CA for the upstream: cannot read "),
        "{said}"
    );
    fs::copy(world.forge.ca("ca"), &pinned).unwrap();

    let began = Instant::now();
    world.forge.nginx.signal(Signal::STOP);
    let said = world.refused(&work);
    assert!(
        said.contains("took longer than git-gate.silenceTimeout (3 s)"),
        "{said}"
    );
    assert!(began.elapsed() < Duration::from_secs(60));
    world.forge.nginx.signal(Signal::CONT);
    work.git(&["fetch", "origin"]).success();

    world.forge.nginx.stop();
    let said = world.refused(&work);
    assert!(said.contains("cannot reach https://localhost:"), "{said}");
    world.forge.nginx.restart();
    work.git(&["push", "origin", "HEAD:refs/heads/x"]).success();
}

#[test]
fn a_redirect_is_not_followed_and_a_broken_forge_is_told() {
    let world = World::new();
    let work = world.work();
    for (name, words) in [
        (
            "moved",
            "says that it has moved, and the gate follows nobody with its token",
        ),
        ("broken", "it answered HTTP 502; try again"),
    ] {
        let url = world.forge.url(name);
        world
            .gate
            .git("app", &["config", "remote.origin.url", &url])
            .success();
        let said = world.refused(&work);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_push_whose_connection_breaks_is_looked_after() {
    let mut world = World::new();
    let work = world.work();
    let id = work.commit("file", "text\n", "change");
    world.upstream.hold();
    let mut push = work.command();
    let push = push.args(["push", "origin", "HEAD:refs/heads/x"]);
    let push = push.stderr(std::process::Stdio::piped()).spawn().unwrap();
    world.upstream.wait_for_push();
    world.forge.nginx.stop();
    world.upstream.let_go();
    wait_until("it is upstream", || {
        world.upstream.tip("refs/heads/x").is_some()
    });
    world.forge.nginx.restart();
    let ran = push.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    let is_told = said.contains("whether the push arrived is not known; run git fetch");
    assert!(ran.status.success() || is_told, "{said}");
    assert_eq!(world.upstream.tip("refs/heads/x"), Some(id));
}

#[test]
fn a_token_that_a_command_prints_is_kept_until_the_forge_takes_it_no_more() {
    let rig = tempfile::tempdir().unwrap();
    let [script, count, printed] = ["script", "count", "printed"].map(|name| rig.path().join(name));
    let text = format!(
        "#!/bin/sh\necho \"$1\" >> {}\ncat {}\n",
        count.display(),
        printed.display()
    );
    write_program(&script, &text);
    let prints = |token: &str| {
        let text = format!("username=x\npassword={token}\npassword_expiry_utc=99999999999\n");
        fs::write(&printed, text).unwrap();
    };
    prints(&"t0ken".repeat(5));
    let command = json!([script.to_str().unwrap(), "an argument; with $(words)"]);
    let world = World::with(Kind::Init, json!({ "credentialCommand": command }));
    let work = world.work();
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/x"]).success();
    let asked = || fs::read_to_string(&count).unwrap_or_default();
    assert_eq!(asked(), "an argument; with $(words)\n");
    prints("the-next-token-of-the-forge");
    world.forge.lets_in("the-next-token-of-the-forge");
    work.git(&["fetch", "origin"]).failure();
    work.git(&["fetch", "origin"]).success();
    assert_eq!(asked().lines().count(), 2);
    // Where nobody else may read it.
    let run = world.gate.path().join("run");
    assert_eq!(holding(&run, "the-next-token").len(), 1);
}

#[test]
fn check_looks_at_the_token_and_the_forge() {
    let world = World::new();
    let check = || {
        let mut command = std::process::Command::new(binary("gate-init"));
        command
            .arg("check")
            .arg("--config")
            .arg(world.rig.path().join("gate.json"));
        command
            .arg("--creds-dir")
            .arg(world.rig.path().join("creds"));
        command
            .arg("--base-path")
            .arg(world.rig.path().join("none"));
        command.env("GIT_GATE_GITLEAKS", crate::rig::gitleaks());
        crate::rig::Ran::of(&mut command).text
    };
    let said = check();
    assert!(said.contains("app-token; CA "), "{said}");
    assert!(said.contains("(sha1, 1 ref)"), "{said}");
    fs::write(world.creds("app-token"), "").unwrap();
    let said = check();
    assert!(said.contains("app-token is empty"), "{said}");
}
