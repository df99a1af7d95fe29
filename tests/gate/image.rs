//! The image: the root file system that `make image` builds, run as a container.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::rig::image::{root, run};
use crate::rig::{Ran, Rig, descendants, free_port, signal, token, wait_until};

/// The user that the image runs as.
pub const USER: u32 = 10001;

/// Runs a program of the root file system in namespaces.
pub const CONTAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/image/contain");

/// What makes a container of the root file system.
enum Engine {
    Docker,
    Namespaces(Child),
}

struct Container {
    engine: Engine,
    name: String,
    port: u16,
}

/// The words in front of a program that is to run in the container whose first process is `pid`, one
/// that [`CONTAIN`] made.
pub fn enter(pid: u32) -> Vec<String> {
    // Only root can give it a network of its own.
    let more = match rustix::process::getuid().is_root() {
        true => format!("--net --setuid {USER} --setgid {USER}"),
        false => "--user --preserve-credentials".to_owned(),
    };
    let words = format!("nsenter --target {pid} --mount --pid --root --wd {more}");
    words.split(' ').map(str::to_owned).collect()
}

/// Makes the image's user the owner of the credentials of `app`, which only root can.
pub fn give_away(rig: &Rig) {
    for path in [
        rig.path().join("creds"),
        rig.key("app"),
        rig.known_hosts("app"),
    ] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
}

impl Container {
    /// Starts the gate of `root` in front of the upstream `app`.
    fn start(rig: &Rig, root: &Path, url: &str) -> Self {
        let (creds, mirrors) = (rig.path().join("creds"), rig.path().join("mirrors"));
        fs::create_dir(&mirrors).unwrap();
        if rustix::process::getuid().is_root() {
            give_away(rig);
            chown(&mirrors, Some(USER), Some(USER)).unwrap();
            // The rig's own folder is for its user alone; the container's is another.
            fs::set_permissions(rig.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let port = free_port();
        let name = format!("git-gate-test-{port}");
        let (creds, mirrors) = (creds.to_str().unwrap(), mirrors.to_str().unwrap());
        let (port_text, upstream) = (port.to_string(), format!("app={url}"));
        let serve = ["--listen", "127.0.0.1", "--port", &port_text, &upstream];
        let engine = if run("docker", &["info"]).ok {
            docker(root, &name, creds, mirrors, &serve);
            Engine::Docker
        } else {
            let log = fs::File::create(rig.path().join("container.log")).unwrap();
            let mut command = Command::new(CONTAIN);
            command
                .args([root.to_str().unwrap(), creds, mirrors])
                .args(serve);
            let child = command.stdin(Stdio::null()).stderr(log).spawn();
            Engine::Namespaces(child.unwrap())
        };
        let mut container = Self { engine, name, port };
        wait_until("the container listens", || {
            container.assert_running();
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        container
    }

    /// Fails the test, with the container's last words, when it has ended.
    fn assert_running(&mut self) {
        match &mut self.engine {
            Engine::Docker => {
                let state = ["inspect", "--format", "{{.State.Status}}", &self.name];
                let ended = run("docker", &state).text.contains("exited");
                assert!(!ended, "{}", run("docker", &["logs", &self.name]).text);
            }
            Engine::Namespaces(child) => assert_eq!(child.try_wait().unwrap(), None),
        }
    }

    /// Runs a program in the container.
    fn execute(&self, arguments: &[&str]) -> Ran {
        match &self.engine {
            Engine::Docker => run("docker", &[&["exec", &self.name], arguments].concat()),
            Engine::Namespaces(child) => {
                let inside = enter(descendants(child.id())[1]);
                Ran::of(Command::new(&inside[0]).args(&inside[1..]).args(arguments))
            }
        }
    }

    /// Asks the container to end; its exit code.
    fn stop(mut self) -> Option<i32> {
        match &mut self.engine {
            Engine::Docker => {
                run("docker", &["stop", &self.name]).success();
                let code = run("docker", &["wait", &self.name]).success();
                code.trim().parse().ok()
            }
            Engine::Namespaces(child) => {
                signal(descendants(child.id())[1], rustix::process::Signal::TERM);
                child.wait().unwrap().code()
            }
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        match &mut self.engine {
            Engine::Docker => {
                run("docker", &["rm", "--force", "--volumes", &self.name]);
                run("docker", &["image", "rm", &self.name]);
            }
            Engine::Namespaces(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Makes the image `name` of the root file system in `root`.
pub fn import(root: &Path, name: &str) {
    let tar = root.with_extension("tar");
    let (root, tar) = (root.to_str().unwrap(), tar.to_str().unwrap());
    run("tar", &["-cf", tar, "-C", root, "."]).success();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/image/import");
    run(script, &[tar, name]).success();
}

fn docker(root: &Path, name: &str, creds: &str, mirrors: &str, serve: &[&str]) {
    import(root, name);
    let user = rustix::process::getuid();
    let user = if user.is_root() { USER } else { user.as_raw() };
    let (user, creds, mirrors) = (
        format!("{user}:{user}"),
        format!("{creds}:/git-gate/creds:ro"),
        format!("{mirrors}:/git"),
    );
    let tmpfs = "mode=1777";
    let (run_dir, tmp) = (format!("/run:{tmpfs}"), format!("/tmp:{tmpfs}"));
    let options = [
        "run",
        "--detach",
        "--name",
        name,
        "--network",
        "host",
        "--read-only",
        "--security-opt",
        "no-new-privileges",
        "--cap-drop",
        "ALL",
        "--user",
        &user,
        "--tmpfs",
        &run_dir,
        "--tmpfs",
        &tmp,
        "--volume",
        &creds,
        "--volume",
        &mirrors,
        name,
    ];
    run("docker", &[&options[..], serve].concat()).success();
}

#[test]
fn the_image_serves_from_a_read_only_root_without_privileges_and_without_a_shell() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let root = root(rig.path());
    for absent in ["sh", "bash", "perl", "python3", "apt", "dpkg"] {
        assert!(
            !root.join("usr/bin").join(absent).exists(),
            "{absent} is in the image"
        );
    }
    let packages = fs::read_to_string(root.join("usr/share/git-gate/packages")).unwrap();
    assert!(
        packages.contains("openssh-client\t") && packages.contains("libc6:"),
        "{packages}"
    );

    let container = Container::start(&rig, &root, &app.url);
    let url = format!("git://127.0.0.1:{}/app.git", container.port);
    let work = rig.client("agent").clone_of(&url, "work");
    work.commit("file", "text\n", "change");
    let said = work.git(&["push", &url, "HEAD:refs/heads/new"]).success();
    assert!(said.contains("git-gate: "), "{said}");
    assert_eq!(app.tip("refs/heads/new"), Some(work.id("HEAD")));
    work.commit("secret", format!("token = {}\n", token(1)), "secret");
    work.git(&["push", &url, "HEAD:refs/heads/secret"])
        .failure();
    assert_eq!(app.tip("refs/heads/secret"), None);

    container
        .execute(&["/usr/bin/gate-init", "health"])
        .success();
    container.execute(&["/bin/sh", "-c", "true"]).failure();
    let said = container
        .execute(&["/usr/bin/git", "init", "/etc/there"])
        .failure();
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(container.stop(), Some(0));
}
