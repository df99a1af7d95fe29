//! The example in examples/compose, run as it stands: what an agent in it can do, and all that it
//! cannot. Where no Docker engine answers, the same is shown in network namespaces that are laid out
//! like the example's networks.

use std::fs::{self, File};
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::image::{give_away, import};
use crate::networks::Networks;
use crate::rig::image::{root, run};
use crate::rig::{Ran, Rig, Upstream, free_port, token};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/compose");

/// The URLs under which the agent knows its repository: the gate's own, and the one that the
/// example's rewrite rule leads there.
const URLS: [&str; 2] = ["git://gate/app.git", "git@git.example.com:o/app.git"];

/// What the example leaves to its user: the images. The agent's is the gate's own, since that has
/// git and ssh and nothing else is there; it waits for an input that never comes.
const OURS: &str = "\
services:
  gate:
    image: NAME
    OWNER
  agent:
    image: NAME
    entrypoint: [/usr/bin/git, hash-object, --stdin]
    stdin_open: true
    healthcheck: { disable: true }
";

/// CAP_NET_RAW (capabilities(7)).
const NET_RAW: u64 = 1 << 13;

/// A file of the example.
pub fn example(name: &str) -> String {
    fs::read_to_string(Path::new(EXAMPLE).join(name)).unwrap()
}

/// The example's gate.json with the test's upstream.
pub fn settings(app: &Upstream) -> String {
    let theirs = example("config/gate.json");
    let ours = theirs.replace("ssh://git@git.example.com:22/o/app.git", &app.url);
    assert_ne!(ours, theirs, "the example has another upstream");
    ours
}

/// The compose command that answers here, if one does.
fn compose() -> Option<Vec<&'static str>> {
    let known = [vec!["docker", "compose"], vec!["docker-compose"]];
    let answers = |words: &Vec<&str>| {
        let mut command = Command::new(words[0]);
        let ran = command.args(&words[1..]).arg("version").output();
        ran.is_ok_and(|output| output.status.success())
    };
    known
        .into_iter()
        .find(answers)
        .filter(|_| run("docker", &["info"]).ok)
}

/// The running example. Nothing of it is left when it is dropped.
struct Project<'a> {
    compose: Vec<&'static str>,
    name: String,
    folder: &'a Path,
}

impl<'a> Project<'a> {
    fn start(compose: Vec<&'static str>, rig: &'a Rig, app: &Upstream) -> Self {
        let folder = rig.path();
        let name = format!("git-gate-compose-{}", free_port());
        fs::create_dir(folder.join("config")).unwrap();
        fs::write(folder.join("config/gate.json"), settings(app)).unwrap();
        fs::write(folder.join("compose.yaml"), example("compose.yaml")).unwrap();
        // Who is not root cannot give the credentials away: the gate runs as their owner then.
        let user = rustix::process::getuid();
        let owner = if user.is_root() {
            give_away(rig);
            String::new()
        } else {
            fs::create_dir(folder.join("mirrors")).unwrap();
            let user = user.as_raw();
            format!("user: \"{user}:{user}\"\n    volumes: [./mirrors:/git]")
        };
        let ours = OURS.replace("NAME", &name).replace("OWNER", &owner);
        fs::write(folder.join("ours.yaml"), ours).unwrap();

        let project = Self {
            compose,
            name,
            folder,
        };
        import(&root(folder), &project.name);
        // The agent starts once the gate is healthy.
        project.run(&["up", "--detach"]).success();
        project
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(self.compose[0]);
        command.args(&self.compose[1..]).current_dir(self.folder);
        command.args(["-p", &self.name, "-f", "compose.yaml", "-f", "ours.yaml"]);
        Ran::of(command.args(arguments))
    }

    fn container(&self, service: &str) -> Container {
        let id = self.run(&["ps", "-q", service]).success();
        let id = id.trim();
        let pid = run("docker", &["inspect", "--format", "{{.State.Pid}}", id]).success();
        Container {
            pid: pid.trim().parse().unwrap(),
            enter: words(&["docker", "exec", id]),
            archive: words(&["docker", "cp", &format!("{id}:/"), "-"]),
        }
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        self.run(&["down", "--volumes", "--timeout", "0"]);
        run("docker", &["image", "rm", &self.name]);
    }
}

/// `words`, to be kept.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A running container, however it was made.
pub struct Container {
    /// Its first process.
    pub pid: u32,
    /// The words in front of a program that is to run in it.
    pub enter: Vec<String>,
    /// The words that write an archive of its files to the standard output.
    pub archive: Vec<String>,
}

impl Container {
    /// Runs a program in it.
    pub fn execute(&self, arguments: &[&str]) -> Ran {
        let enter = self.enter.iter().map(String::as_str);
        let all: Vec<_> = enter.chain(arguments.iter().copied()).collect();
        run(all[0], &all[1..])
    }

    fn git(&self, arguments: &[&str]) -> Ran {
        let who = ["user.name=Agent", "user.email=agent@example.com"];
        let git = ["/usr/bin/git", "-c", who[0], "-c", who[1]];
        self.execute(&[&git, arguments].concat())
    }

    /// A file that the system keeps about the container's first process; empty where it has none, as
    /// those of IPv6.
    fn process(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default()
    }

    /// Whether a TCP connection to there comes to stand. ssh says at which step it failed.
    fn reaches(&self, ip: &str, port: u16) -> bool {
        let ssh = ["/usr/bin/ssh", "-F", "none", "-o", "ConnectTimeout=1"];
        let to = ["-p", &port.to_string(), ip];
        let said = self.execute(&[&ssh[..], &to].concat()).failure();
        !said.contains("ssh: connect to host")
    }

    /// The ports that it can be reached at, UDP included: what listens on more than loopback.
    fn open_ports(&self) -> Vec<u16> {
        let files = ["net/tcp", "net/tcp6", "net/udp", "net/udp6"].map(|file| self.process(file));
        let sockets = files.iter().flat_map(|file| file.lines().skip(1));
        let is_open = |fields: &Vec<&str>| {
            // TCP that listens, UDP that is open.
            let waits = ["0A", "07"].contains(&fields[3]);
            waits && !fields[1].split_once(':').unwrap().0.ends_with("7F")
        };
        sockets
            .map(|line| line.split_whitespace().collect())
            .filter(is_open)
            .map(|fields| u16::from_str_radix(fields[1].rsplit_once(':').unwrap().1, 16).unwrap())
            .collect()
    }

    /// Which of `texts` stand anywhere in its files, volumes included, or in the files' names.
    fn has<'t>(&self, folder: &Path, texts: &[&'t str]) -> Vec<&'t str> {
        let files = folder.join("files.tar");
        let archived = Command::new(&self.archive[0])
            .args(&self.archive[1..])
            .stdout(File::create(&files).unwrap())
            .stderr(Stdio::null())
            .status();
        assert!(archived.unwrap().success());
        let files = files.to_str().unwrap();
        let found = |text: &&&str| {
            let grep = ["--text", "--fixed-strings", "--quiet", "--", text, files];
            run("grep", &grep).ok
        };
        texts.iter().filter(found).copied().collect()
    }
}

/// The IPv4 addresses of this machine but loopback's: the lines in front of `/32 host LOCAL`.
fn own_addresses() -> Vec<IpAddr> {
    let table = fs::read_to_string("/proc/net/fib_trie").unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let local = lines
        .windows(2)
        .filter(|pair| pair[1].contains("/32 host LOCAL"));
    let mut addresses: Vec<IpAddr> = local
        .filter_map(|pair| pair[0].rsplit_once(' ')?.1.parse().ok())
        .filter(|address: &IpAddr| !address.is_loopback())
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

#[test]
fn an_agent_in_the_example_reaches_git_and_nothing_else() {
    if let Some(compose) = compose() {
        // A container with a way out reaches each of them.
        let rig = Rig::at(own_addresses()[0]);
        let app = rig.upstream("app");
        let project = Project::start(compose, &rig, &app);
        has_its_place(
            &project.container("agent"),
            &project.container("gate"),
            &rig,
            &app,
        );
    } else if rustix::process::getuid().is_root() {
        let mut networks = Networks::new();
        let rig = Rig::at(networks.host);
        let app = rig.upstream("app");
        let root = root(rig.path());
        let agent = networks.agent(&rig, &root);
        let gate = networks.gate(&rig, &root, &app);
        has_its_place(&agent, &gate, &rig, &app);
    } else {
        println!("no Docker engine with compose answers, and only root can lay out networks");
    }
}

fn has_its_place(agent: &Container, gate: &Container, rig: &Rig, app: &Upstream) {
    gate.execute(&["/usr/bin/gate-init", "health"]).success();
    clones_and_pushes(agent, app);
    reaches_the_gate_alone(agent, gate, rig);
    holds_nothing_of_the_gates(agent, gate, rig);
}

fn clones_and_pushes(agent: &Container, app: &Upstream) {
    for (index, url) in URLS.iter().enumerate() {
        let work = format!("/tmp/work{index}");
        let at = |arguments: &[&str]| agent.git(&[&["-C", &work], arguments].concat());
        let commit = |text: &str| {
            at(&["commit", "-q", "--allow-empty", "-m", text]).success();
            at(&["rev-parse", "HEAD"]).success().trim().to_owned()
        };
        agent.git(&["clone", "-q", url, &work]).success();
        let tip = commit("say hello");
        let branch = format!("refs/heads/agent/{index}");
        let refspec = format!("HEAD:{branch}");
        at(&["push", "origin", &refspec]).success();
        assert_eq!(app.tip(&branch), Some(tip.clone()), "{url}");

        let secret = commit(&format!("token = {}", token(1)));
        let said = at(&["push", "origin", &refspec]).failure();
        assert!(said.contains("github-pat"), "{said}");
        assert!(
            app.tip(&branch) == Some(tip) && !app.holds(&secret),
            "{url}"
        );
    }
}

fn reaches_the_gate_alone(agent: &Container, gate: &Container, rig: &Rig) {
    let upstream = rig.sshd.address();
    let (ip, port) = (upstream.ip().to_string(), upstream.port());
    assert!(gate.reaches(&ip, port) && !agent.reaches(&ip, port));

    // What the machine itself listens on, at each of its addresses.
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses: Vec<_> = own_addresses().iter().map(IpAddr::to_string).collect();
    for ip in &addresses {
        assert!(!agent.reaches(ip, port), "the agent reaches {ip}");
    }
    assert!(addresses.iter().any(|ip| gate.reaches(ip, port)));
    let ipv6 = agent.process("net/if_inet6");
    let others: Vec<_> = ipv6.lines().filter(|line| !line.ends_with(" lo")).collect();
    assert!(others.is_empty(), "{others:?}");
    let status = agent.process("status");
    let rights = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let rights = u64::from_str_radix(rights.unwrap().trim(), 16).unwrap();
    assert_eq!(rights & NET_RAW, 0, "the agent may write packets by hand");

    assert_eq!(gate.open_ports(), [9418]);
    assert!(agent.reaches("gate", 9418) && !agent.reaches("gate", 22));
}

fn holds_nothing_of_the_gates(agent: &Container, gate: &Container, rig: &Rig) {
    let key = fs::read_to_string(rig.key("app")).unwrap();
    let pin = fs::read_to_string(rig.known_hosts("app")).unwrap();
    // The line that each such key begins with, the pinned host key, the mirror.
    let texts = [
        key.lines().nth(1).unwrap(),
        pin.split_whitespace().nth(2).unwrap(),
        "app.git/objects",
    ];
    assert_eq!(gate.has(rig.path(), &texts), texts);
    assert_eq!(agent.has(rig.path(), &texts), [""; 0]);
}
