//! One rig for every test and benchmark: a real sshd, real upstream repositories behind git-shell,
//! a real gate, and a plain `git` as the client. Everything lives in one temporary folder and on
//! free loopback ports, works as root or not, and is stopped when the [`Rig`] is dropped.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses its own part of the rig"
)]

pub mod baseline;
mod client;
mod forge;
mod gate;
pub mod image;
mod mirror;
mod nginx;
mod processes;
mod programs;
mod sshd;
pub mod troubleshooting;

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use client::{Client, Ran};
pub use forge::{Forge, write_token};
pub use gate::{Gate, Kind};
pub use mirror::Mirror;
pub use nginx::Nginx;
pub use processes::{
    count, descendants, end_ssh_masters, has_ended, is_zombie, memory, mentioning, processes_with,
    runs, signal, ssh_masters,
};
pub use programs::{copy_program, write_program};
pub use sshd::Sshd;

/// How long anything may take before a test counts as hung. Generous: it guards, it measures not, and
/// other work may have every core.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The temporary folder, the sshd in it, and what was made for it.
pub struct Rig {
    // Dropped in this order: the server before its folder.
    pub sshd: Sshd,
    dir: tempfile::TempDir,
    upstreams: RefCell<Vec<Upstream>>,
}

impl Rig {
    /// A running sshd and no upstream yet.
    pub fn new() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into())
    }

    /// As [`Rig::new`], with the sshd on this address of the machine's.
    pub fn at(ip: IpAddr) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("git-gate-")
            .tempdir()
            .unwrap();
        for folder in ["creds", "upstream"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let sshd = Sshd::start(&dir.path().join("sshd"), ip);
        Self {
            sshd,
            dir,
            upstreams: RefCell::default(),
        }
    }

    /// The temporary folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// An empty upstream repository called `name`, with the gate's credentials for it.
    pub fn empty_upstream(&self, name: &str) -> Upstream {
        self.upstream_of(name, "sha1")
    }

    /// An empty SHA-256 upstream.
    pub fn empty_sha256_upstream(&self, name: &str) -> Upstream {
        self.upstream_of(name, "sha256")
    }

    /// An upstream whose `main` has one commit with a `README`.
    pub fn upstream(&self, name: &str) -> Upstream {
        let upstream = self.empty_upstream(name);
        upstream.commit("main", "README", "hello\n", "first");
        upstream
    }

    /// A forge over HTTPS for the repositories that [`Rig::https_upstream`] makes.
    pub fn forge(&self) -> Forge {
        Forge::start(&self.path().join("forge"), &self.path().join("upstream"))
    }

    /// As [`Rig::upstream`], reached over HTTPS with `token`.
    pub fn https_upstream(&self, forge: &Forge, name: &str, token: &str) -> Upstream {
        let upstream = Upstream {
            name: name.to_owned(),
            url: forge.url(name),
            path: self.path().join("upstream").join(format!("{name}.git")),
            home: self.path().to_owned(),
        };
        upstream.init("sha1");
        upstream.commit("main", "README", "hello\n", "first");
        let creds = self.path().join("creds");
        write_token(&creds.join(format!("{name}-token")), token);
        fs::copy(forge.ca("ca"), creds.join(format!("{name}-ca.pem"))).unwrap();
        self.upstreams.borrow_mut().push(upstream.clone());
        upstream
    }

    /// The upstreams made so far.
    pub fn upstreams(&self) -> Vec<Upstream> {
        self.upstreams.borrow().clone()
    }

    /// The upstream called `name`, made before.
    pub fn upstream_named(&self, name: &str) -> Upstream {
        let upstreams = self.upstreams.borrow();
        let mut named = upstreams.iter().filter(|one| one.name == name);
        named.next().unwrap().clone()
    }

    /// Puts the gate's credentials for an upstream called `name` in place.
    pub fn credentials(&self, name: &str) {
        fs::copy(self.sshd.client_key(), self.key(name)).unwrap();
        fs::set_permissions(self.key(name), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(self.known_hosts(name), self.sshd.known_hosts_line()).unwrap();
    }

    fn upstream_of(&self, name: &str, format: &str) -> Upstream {
        let path = self.path().join("upstream").join(format!("{name}.git"));
        self.credentials(name);
        let upstream = Upstream {
            name: name.to_owned(),
            url: format!("ssh://{}@{}{}", user(), self.sshd.address(), path.display()),
            path,
            home: self.path().to_owned(),
        };
        upstream.init(format);
        self.upstreams.borrow_mut().push(upstream.clone());
        upstream
    }

    /// Where the gate finds the private key of upstream `name`.
    pub fn key(&self, name: &str) -> PathBuf {
        self.path().join("creds").join(format!("{name}-key"))
    }

    /// Where the gate finds the pinned host keys of upstream `name`.
    pub fn known_hosts(&self, name: &str) -> PathBuf {
        self.path()
            .join("creds")
            .join(format!("{name}-known_hosts"))
    }

    /// A gate in front of every upstream made so far.
    pub fn gate(&self, kind: Kind) -> Gate {
        Gate::start(self, kind, &self.upstreams.borrow(), &[])
    }

    /// A gate-init with more arguments or environment, as `("--option", "value")` or `("NAME=", "value")`.
    pub fn gate_with(&self, extra: &[(&str, &str)]) -> Gate {
        Gate::start(self, Kind::Init, &self.upstreams.borrow(), extra)
    }

    /// A gate-init in front of the upstream at `url`, where agents have `refs/heads/agent/*` alone, and
    /// its audit log.
    pub fn gate_with_audit(&self, url: &str) -> (Gate, PathBuf) {
        let (config, log) = (self.path().join("gate.json"), self.path().join("audit"));
        let json = format!(
            r#"{{"upstreams":[{{"name":"app","url":"{url}","policy":{{"allowRef":["refs/heads/agent/*"]}}}}]}}"#
        );
        fs::write(&config, json).unwrap();
        let paths = [config.to_str().unwrap(), log.to_str().unwrap()];
        let gate = self.gate_with(&[("--config", paths[0]), ("--audit-log", paths[1])]);
        (gate, log)
    }

    /// A gate of this kind with more arguments or environment, as for [`Rig::gate_with`].
    pub fn gate_of(&self, kind: Kind, extra: &[(&str, &str)]) -> Gate {
        Gate::start(self, kind, &self.upstreams.borrow(), extra)
    }

    /// A drop-in gate whose repository `app` has `settings` in its git config, and an agent's clone.
    pub fn drop_in(&self, settings: &[(&str, &str)]) -> (Gate, Client) {
        let gate = self.gate(Kind::DropIn);
        for (key, value) in settings {
            gate.git("app", &["config", "--add", key, value]).success();
        }
        let work = self.client("agent").clone_of(&gate.url("app"), "work");
        (gate, work)
    }

    /// A client of its own, called `name`, with an empty home.
    pub fn client(&self, name: &str) -> Client {
        Client::new(&self.path().join("clients").join(name))
    }

    /// `git` that reaches the upstream without any gate, with the gate's credential: the yardstick.
    pub fn direct(&self, name: &str) -> Client {
        let client = self.client(name);
        client.use_ssh(&self.sshd);
        client
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // ssh masters and lock holders outlive the hook that started them.
        processes::end_all_mentioning(self.path());
    }
}

/// A bare repository behind the sshd, looked at and changed from the inside.
#[derive(Clone)]
pub struct Upstream {
    pub name: String,
    pub path: PathBuf,
    pub url: String,
    home: PathBuf,
}

impl Upstream {
    fn init(&self, format: &str) {
        let mut git = client::git(&self.home);
        git.args(["init", "-q", "--bare", "--initial-branch=main"])
            .arg(format!("--object-format={format}"))
            .arg(&self.path);
        Ran::of(&mut git).success();
    }

    /// Puts another repository in its place, whose `main` has one commit; the id of that.
    pub fn replace(&self, format: &str) -> String {
        fs::remove_dir_all(&self.path).unwrap();
        self.init(format);
        self.commit("main", "README", "anew\n", "anew")
    }

    /// Runs git in the upstream repository and returns its output without the last newline.
    pub fn git(&self, arguments: &[&str]) -> String {
        let ran = self.try_git(arguments);
        assert!(ran.ok, "upstream: git {arguments:?}: {}", ran.text);
        ran.text.trim_end().to_owned()
    }

    /// As [`Upstream::git`], for a command that may fail.
    pub fn try_git(&self, arguments: &[&str]) -> Ran {
        Ran::of(
            client::git(&self.home)
                .current_dir(&self.path)
                .args(arguments),
        )
    }

    /// Somebody else's commit, straight on the upstream's `branch`.
    pub fn commit(&self, branch: &str, file: &str, content: &str, message: &str) -> String {
        let client = Client::new(
            &self
                .home
                .join("clients")
                .join(format!("else-{}", self.name)),
        );
        let work = client.path().join("work");
        let _ = fs::remove_dir_all(&work);
        let path = self.path.to_str().unwrap();
        client.git(&["clone", "-q", path, "work"]).success();
        let work = client.at("work");
        if !work.git(&["checkout", "-q", branch]).ok {
            work.git(&["checkout", "-q", "-b", branch]).success();
        }
        work.commit(file, content, message);
        work.git(&["push", "-q", "origin", branch]).success();
        self.tip(&format!("refs/heads/{branch}")).unwrap()
    }

    /// The value of a ref.
    pub fn tip(&self, name: &str) -> Option<String> {
        let ran = self.try_git(&["rev-parse", "--verify", "-q", name]);
        ran.ok.then(|| ran.text.trim().to_owned())
    }

    /// All refs, one a line: `oid name`.
    pub fn refs(&self) -> String {
        self.git(&["for-each-ref", "--format=%(objectname) %(refname)"])
    }

    /// Whether the object is in the upstream's store, reachable or not.
    pub fn holds(&self, id: &str) -> bool {
        self.try_git(&["cat-file", "-e", id]).ok
    }

    /// The ids of all objects in the store, reachable or not.
    pub fn objects(&self) -> Vec<String> {
        let all = [
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname)",
        ];
        self.git(&all).lines().map(str::to_owned).collect()
    }

    /// Installs a hook written as a shell script.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.path.join("hooks").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_program(&path, script);
    }

    /// Makes each push wait in the upstream's hook until [`Upstream::let_go`].
    pub fn hold(&self) {
        let [began, go] = self.flags();
        let script = format!(
            "#!/bin/sh\ntouch {}\nwhile ! test -e {}; do sleep 0.05; done\n",
            began.display(),
            go.display()
        );
        self.hook("pre-receive", &script);
    }

    /// Whether a push waits in the hook.
    pub fn has_push(&self) -> bool {
        let [began, _] = self.flags();
        began.exists()
    }

    /// Returns once a push waits in the hook.
    pub fn wait_for_push(&self) {
        wait_until("the push is at the upstream", || self.has_push());
    }

    pub fn let_go(&self) {
        let [_, go] = self.flags();
        fs::write(go, "").unwrap();
    }

    /// No push waits any more.
    pub fn release(&self) {
        fs::remove_file(self.path.join("hooks/pre-receive")).unwrap();
        for flag in self.flags() {
            let _ = fs::remove_file(flag);
        }
    }

    fn flags(&self) -> [PathBuf; 2] {
        ["began", "go"].map(|name| self.path.join(name))
    }
}

/// A port of loopback that nobody listens on now.
pub fn free_port() -> u16 {
    free_address(Ipv4Addr::LOCALHOST.into()).port()
}

/// This address of the machine's, with a port that nobody listens on now, and that nobody gets before
/// the test takes it: each call has another, and the system gives out none of these by itself (ip(7),
/// `ip_local_port_range`), neither to a listener on port 0 nor to a client.
fn free_address(ip: IpAddr) -> SocketAddr {
    const PORTS: std::ops::Range<u32> = 10_000..20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Tests of another process begin elsewhere.
        let number = std::process::id().wrapping_mul(211) % 1_000_000
            + TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + number % (PORTS.end - PORTS.start);
        let address = SocketAddr::new(ip, u16::try_from(port).unwrap());
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Waits until `condition` holds; fails with `what` when it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How much of something a test does: the environment's word (`make soak`), else `default`.
pub fn amount(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// The pinned gitleaks: `GIT_GATE_GITLEAKS`, what `make tools` fetched, or the one on PATH.
pub fn gitleaks() -> PathBuf {
    if let Some(path) = std::env::var_os("GIT_GATE_GITLEAKS") {
        return path.into();
    }
    let fetched = repository().join(".tools/gitleaks");
    if fetched.exists() {
        fetched
    } else {
        which::which("gitleaks").expect("run `make tools` first")
    }
}

/// The root of this repository; the tests of another package than the first run below it.
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut above = package.ancestors();
    let root = above.find(|directory| directory.join("Cargo.lock").exists());
    root.unwrap().to_owned()
}

/// A binary of this project: cargo puts it beside the folder of the running test, benchmark or example.
/// `GIT_GATE_BINARIES` names a directory of other ones, so that today's tests can be held against an
/// older build: a test of a fault that was mended has to fail there.
pub fn binary(name: &str) -> PathBuf {
    if let Some(directory) = std::env::var_os("GIT_GATE_BINARIES") {
        return Path::new(&directory).join(name);
    }
    let running = std::env::current_exe().unwrap();
    let path = running.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is missing: cargo build", path.display());
    path
}

/// The account that the tests run as, which is also the one that sshd lets in.
pub fn user() -> String {
    let ran = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// A token that gitleaks knows as a GitHub personal access token, made from parts so that no file
/// of this repository holds one. `seed` makes it differ.
pub fn token(seed: u32) -> String {
    let alphabet = b"aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF";
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let tail = (0..36).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(alphabet[(state >> 24) as usize % alphabet.len()])
    });
    ["gh", "p_"].concat() + &tail.collect::<String>()
}
