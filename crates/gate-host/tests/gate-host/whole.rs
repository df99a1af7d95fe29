//! The whole path: a forge that hands out access, a real sshd behind it, a gate before it.

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::Operator;
use super::server::{Forge, GITEA, TOKEN};
use crate::rig::{
    Ran, Rig, binary, descendants, free_port, gitleaks, mentioning, signal, token, user, wait_until,
};

/// A forge whose deploy keys, and nothing else, open a repository behind a real sshd.
struct Scene {
    rig: Rig,
    forge: Forge,
    operator: Operator,
    /// A forge's repositories have paths of two parts; so this one lies right below /tmp.
    repository: tempfile::TempDir,
    url: String,
}

impl Scene {
    fn new() -> Self {
        let rig = Rig::new();
        let repository = tempfile::Builder::new()
            .suffix(".git")
            .tempdir_in("/tmp")
            .unwrap();
        let path = repository.path().to_str().unwrap();
        let client = rig.client("somebody");
        client
            .git(&["init", "-q", "--bare", "--initial-branch=main", path])
            .success();
        let work = client.clone_of(path, "work");
        work.commit("README", "hello\n", "first");
        work.git(&["push", "-q", "origin", "HEAD:main"]).success();

        let name = path.trim_start_matches('/').trim_end_matches(".git");
        let forge = Forge::start(GITEA, &[name]);
        forge.authorize(&rig.path().join("sshd/authorized_keys"));
        let url = format!("ssh://{}@{}{path}", user(), rig.sshd.address());
        let line = rig.sshd.known_hosts_line();
        let host_key = line.split_once(' ').unwrap().1.trim_end();
        let operator = Operator::new();
        operator.write(
            "bottle.toml",
            &format!(
                "[git-gate.repos.app]\nupstream = \"{url}\"\nknown_host_key = \"{host_key}\"\n\
                 remote_key = \"work\"\n\
                 [git-gate.repos.app.provisioned_key]\nprovider = \"gitea\"\n\
                 token_env = \"FORGE_TOKEN\"\napi_url = \"{}\"\n",
                forge.url
            ),
        );
        Self {
            rig,
            forge,
            operator,
            repository,
            url,
        }
    }

    fn staged(&self, name: &str) -> PathBuf {
        self.operator.path("stage").join(name)
    }

    /// `git ls-remote` of the upstream with the staged credentials and no others.
    fn log_in(&self) -> Ran {
        let ssh = format!(
            "ssh -F /dev/null -i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes \
             -o IdentitiesOnly=yes -o BatchMode=yes",
            self.staged("app-key").display(),
            self.staged("app-known_hosts").display()
        );
        let client = self.rig.client("judge");
        Ran::of(
            client
                .command()
                .env("GIT_SSH_COMMAND", ssh)
                .args(["ls-remote", &self.url]),
        )
    }
}

#[test]
fn sshd_lets_a_generated_key_in_until_it_is_revoked() {
    let scene = Scene::new();
    scene.operator.prepare().expect(0, &[]);
    let refs = scene.log_in().success();
    assert!(refs.contains("refs/heads/main"), "{refs}");
    let key = std::fs::read(scene.staged("app-key")).unwrap();
    scene.operator.revoke().expect(0, &[]);
    // Even somebody who kept a copy is out.
    scene
        .operator
        .write("stage/app-key", &String::from_utf8(key).unwrap());
    Command::new("chmod")
        .arg("600")
        .arg(scene.staged("app-key"))
        .status()
        .unwrap();
    let said = scene.log_in().failure();
    assert!(said.contains("Permission denied"), "{said}");
}

/// A running `gate-host up`, ended with the test.
struct Up {
    child: Child,
    rules: String,
}

impl Scene {
    /// Starts `gate-host up` and waits for the agent's rules on its standard output.
    fn up(&self, port: u16, more: &[&str]) -> Up {
        let port = port.to_string();
        let arguments = ["up", "bottle.toml", "--folder", "gate", "--port", &port];
        let log = File::create(self.operator.path("log")).unwrap();
        let mut child = self
            .operator
            .command(&[&arguments[..], more].concat())
            .env("GIT_GATE_GITLEAKS", gitleaks())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let host = format!("127.0.0.1:{port}");
        let expected = ["gitconfig", "bottle.toml", "--gate-host", &host];
        let expected = self.operator.run(&expected).expect(0, &[]).out;
        let mut rules = vec![0; expected.len()];
        let read = child.stdout.take().unwrap().read_exact(&mut rules);
        assert!(read.is_ok(), "it ended: {}", self.log());
        let rules = String::from_utf8(rules).unwrap();
        assert_eq!(rules, expected);
        Up { child, rules }
    }

    /// What `up` and its gate said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.operator.path("log")).unwrap()
    }

    /// The value of `main` behind the forge.
    fn tip(&self) -> String {
        let judge = self.rig.client("judge");
        let path = self.repository.path().to_str().unwrap();
        judge
            .git(&["-C", path, "rev-parse", "main"])
            .success()
            .trim()
            .to_owned()
    }
}

impl Up {
    /// Sends `what` and returns the exit code.
    fn end(&mut self, what: Signal) -> Option<i32> {
        signal(self.child.id(), what);
        self.code()
    }

    fn code(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("gate-host ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        for pid in descendants(self.child.id()) {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

#[test]
fn up_prepares_serves_and_takes_everything_back() {
    let scene = Scene::new();
    let mut up = scene.up(free_port(), &[]);
    assert_eq!(scene.forge.keys().len(), 1);
    // The agent knows the upstream by the alias, has no key, and uses git as ever.
    let agent = scene.rig.client("agent");
    agent.write(".gitconfig", &up.rules);
    let path = scene.repository.path().to_str().unwrap();
    let work = agent.clone_of(&format!("{}@work:{path}", user()), "work");
    let pushed = work.commit("new", "clean\n", "second");
    work.git(&["push", "origin", "HEAD:main"]).success();
    assert_eq!(scene.tip(), pushed);
    work.commit("leak", format!("token = {}\n", token(7)), "third");
    work.git(&["push", "origin", "HEAD:main"]).failure();
    assert_eq!(scene.tip(), pushed);

    assert_eq!(up.end(Signal::INT), Some(0), "{}", scene.log());
    assert!(scene.forge.keys().is_empty());
    assert!(
        scene.log().contains("deleted deploy key 42 of app"),
        "{}",
        scene.log()
    );
    wait_until("nothing runs any more", || {
        mentioning(&scene.operator.path("gate")).is_empty()
    });
}

/// The image of this build, imported into the container engine for one test.
struct Image(String);

impl Image {
    /// `None` where no container engine answers.
    fn import(folder: &Path) -> Option<Self> {
        let docker = |arguments: &[&str]| Command::new("docker").args(arguments).output();
        docker(&["info"]).ok().filter(|ran| ran.status.success())?;
        let tar = folder.join("image.tar");
        let root = crate::rig::image::root(folder);
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(root)
            .arg(".")
            .status();
        assert!(packed.unwrap().success());
        let name = format!("git-gate-host-test-{}", std::process::id());
        let entry = "ENTRYPOINT [\"/usr/bin/gate-init\"]";
        let (env, user) = ("ENV PATH=/usr/bin HOME=/tmp", "USER 10001:10001");
        let import = [
            "import", "--change", entry, "--change", env, "--change", user,
        ];
        let import = [&import[..], &[tar.to_str().unwrap(), &name]].concat();
        assert!(docker(&import).unwrap().status.success());
        Some(Self(name))
    }

    /// The ids of its containers, one a line.
    fn containers(&self) -> String {
        let ancestor = format!("ancestor={}", self.0);
        let list = ["ps", "--all", "--quiet", "--filter", &ancestor];
        let ids = Command::new("docker").args(list).output().unwrap();
        String::from_utf8(ids.stdout).unwrap()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for id in self.containers().lines() {
            let remove = ["rm", "--force", id];
            let _ = Command::new("docker").args(remove).output();
        }
        let remove = ["image", "rm", &self.0];
        let _ = Command::new("docker").args(remove).output();
    }
}

#[test]
fn up_runs_the_image_where_there_is_an_engine_and_says_so_where_there_is_none() {
    let scene = Scene::new();
    let Some(image) = Image::import(scene.rig.path()) else {
        let run = ["up", "bottle.toml", "--image", "git-gate"];
        let ran = Ran::of(scene.operator.command(&run).env("PATH", scene.rig.path()));
        assert!(ran.failure().contains("--image needs docker or podman"));
        assert!(scene.forge.seen().is_empty(), "nothing was registered");
        return;
    };
    // The host's network, since the upstream is on its loopback.
    let port = free_port();
    let slug = format!("test-{}", std::process::id());
    let of_engine = ["--image", &image.0, "--network", "host", "--slug", &slug];
    let mut up = scene.up(port, &of_engine);
    // Another project's of the same name, in a directory of its own.
    let other = free_port().to_string();
    let second = ["up", "bottle.toml", "--folder", "other", "--port", &other];
    let (calls, running) = (scene.forge.calls(), image.containers());
    let ran = scene.operator.run(&[&second[..], &of_engine].concat());
    let name = format!("there is a container git-gate-{slug} already (Up ");
    ran.expect(1, &[&name, "Nothing was changed"]);
    assert_eq!(scene.forge.calls(), calls);
    assert_eq!(image.containers(), running);
    let agent = scene.rig.client("agent");
    agent.write(".gitconfig", &up.rules);
    let work = agent.clone_of(&scene.url, "work");
    let pushed = work.commit("new", "clean\n", "second");
    work.git(&["push", "origin", "HEAD:main"]).success();
    assert_eq!(scene.tip(), pushed);
    assert_eq!(up.end(Signal::TERM), Some(0), "{}", scene.log());
    assert!(scene.forge.keys().is_empty());
    assert_eq!(image.containers(), "", "the container is still there");
}

#[test]
fn a_gate_that_dies_takes_its_keys_along() {
    let scene = Scene::new();
    let mut up = scene.up(free_port(), &[]);
    let below = descendants(up.child.id());
    for pid in &below[1..] {
        signal(*pid, Signal::KILL);
    }
    assert_eq!(up.code(), Some(6), "{}", scene.log());
    assert!(
        scene.log().contains("the gate ended by itself"),
        "{}",
        scene.log()
    );
    assert!(scene.forge.keys().is_empty());
}

#[test]
fn the_folder_of_a_serving_gate_is_left_alone() {
    let scene = Scene::new();
    let mut up = scene.up(free_port(), &[]);
    let calls = scene.forge.calls();
    let port = free_port().to_string();
    let again = ["up", "bottle.toml", "--folder", "gate", "--port", &port];
    let refused = |word: &str| {
        let ran = scene.operator.run(&again);
        ran.expect(1, &[word, "Nothing was changed"]);
        assert_eq!(scene.forge.calls(), calls);
    };
    refused("serves the mirrors");
    let stage = ["--slug", "dev", "--stage", "gate/stage"];
    for command in [&["prepare", "bottle.toml"][..], &["revoke", "bottle.toml"]] {
        let own = &stage[if command[0] == "prepare" { 0 } else { 2 }..];
        let ran = scene.operator.run(&[command, own].concat());
        ran.expect(1, &["serves a gate from it", "Nothing was changed"]);
    }
    assert_eq!(scene.forge.calls(), calls);
    // A gate outlives a gate-host that is killed.
    signal(up.child.id(), Signal::KILL);
    let below = descendants(up.child.id());
    assert_eq!(up.code(), None);
    refused("serves the mirrors");
    for pid in &below[1..] {
        signal(*pid, Signal::KILL);
    }
    assert_eq!(scene.forge.keys().len(), 1);
}

#[test]
fn a_gate_that_cannot_start_leaves_no_key() {
    let scene = Scene::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = scene.operator.run(&["up", "bottle.toml", "--port", &port]);
    ran.expect(6, &["the gate ended by itself", "deleted deploy key 42"]);
    assert!(scene.forge.keys().is_empty());
}

#[test]
fn the_gate_never_holds_the_token_of_the_forge() {
    let scene = Scene::new();
    let mut up = scene.up(free_port(), &[]);
    let below = descendants(up.child.id());
    for pid in &below[1..] {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&environment);
        assert!(!text.contains(TOKEN), "process {pid} holds the token");
    }
    assert_eq!(up.end(Signal::TERM), Some(0), "{}", scene.log());
    assert!(!scene.log().contains(TOKEN));
}

/// The same by hand, step by step. Printed by
/// `cargo test --all-features --test gate step_by_step -- --nocapture`.
#[test]
fn prepare_serve_clone_push_revoke_step_by_step() {
    let scene = Scene::new();
    println!("prepare\n{}", scene.operator.prepare().expect(0, &[]).out);
    let port = free_port();
    let at = |name: &str| scene.operator.path(name);
    let mut gate = Command::new(binary("gate-init"))
        .env("GIT_GATE_GITLEAKS", gitleaks())
        .arg("--config")
        .arg(at("stage/gate.json"))
        .arg("--creds-dir")
        .arg(at("stage"))
        .arg("--base-path")
        .arg(at("git"))
        .arg("--run-dir")
        .arg(at("run"))
        .args(["--listen", "127.0.0.1", "--port", &port.to_string()])
        .stderr(File::create(at("log")).unwrap())
        .spawn()
        .unwrap();
    wait_until("the gate listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    println!("serve: gate-init with the stage on port {port}\n");

    let host = format!("127.0.0.1:{port}");
    let gitconfig = ["gitconfig", "bottle.toml", "--gate-host", &host];
    let rules = scene.operator.run(&gitconfig).expect(0, &[]).out;
    println!("gitconfig\n{rules}");
    let agent = scene.rig.client("agent");
    agent.write(".gitconfig", rules);
    println!("clone {}", scene.url);
    let work = agent.clone_of(&scene.url, "work");
    let pushed = work.commit("new", "clean\n", "second");
    let said = work.git(&["push", "origin", "HEAD:main"]).success();
    assert_eq!(scene.tip(), pushed);
    println!("push\n{said}");

    println!("revoke\n{}", scene.operator.revoke().expect(0, &[]).err);
    assert!(scene.forge.keys().is_empty());
    signal(gate.id(), Signal::TERM);
    assert!(gate.wait().unwrap().success(), "{}", scene.log());
}
