//! The networks of examples/compose without Docker, for [`crate::compose`]: network namespaces, which
//! only root can lay out. `inside` joins the agent and the gate, `outside` the gate and this machine.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::compose::{Container, example, settings, words};
use crate::image::{CONTAIN, USER, enter, give_away};
use crate::rig::image::run;
use crate::rig::{Rig, Upstream, descendants, free_port, wait_until};

/// The gate's address in `inside`, which nobody else sees.
const INSIDE: &str = "198.18.0.1";

pub struct Networks {
    /// The agent's namespace, by the name that ip-netns(8) has for it.
    agent: String,
    gate: String,
    /// This machine's address in `outside`.
    pub host: IpAddr,
    children: Vec<Child>,
}

impl Networks {
    pub fn new() -> Self {
        // A part of 198.19.0.0/16 (RFC 2544) that depends on a number which is this test's now.
        let number = free_port();
        let outside = |last: u16| format!("198.19.{}.{}", number >> 8, (number & 0xfc) + last);
        let (host, gate_outside) = (outside(1), outside(2));
        let networks = Self {
            agent: format!("agent-{number}"),
            gate: format!("gate-{number}"),
            host: host.parse().unwrap(),
            children: Vec::new(),
        };
        let (agent, gate) = (&networks.agent, &networks.gate);
        let link = format!("gate{number}");
        for command in [
            format!("netns add {agent}"),
            format!("netns add {gate}"),
            format!("-n {gate} link add inside type veth peer name inside netns {agent}"),
            // No IPv6, as in the example.
            format!("-n {agent} link set inside addrgenmode none up"),
            format!("-n {gate} link set inside addrgenmode none up"),
            format!("-n {agent} address add 198.18.0.2/30 dev inside"),
            format!("-n {gate} address add {INSIDE}/30 dev inside"),
            format!("link add {link} type veth peer name outside netns {gate}"),
            format!("link set {link} up"),
            format!("-n {gate} link set outside up"),
            format!("address add {host}/30 dev {link}"),
            format!("-n {gate} address add {gate_outside}/30 dev outside"),
            format!("-n {gate} route add default via {host}"),
        ] {
            run("ip", &command.split(' ').collect::<Vec<_>>()).success();
        }
        networks
    }

    /// Starts an agent in `inside`, with the image's root file system in `root` and the environment
    /// of the example's. It waits for an input that never comes.
    pub fn agent(&mut self, rig: &Rig, root: &Path) -> Container {
        let own = rig.path().join("agent");
        run("cp", &["-a", root.to_str().unwrap(), own.to_str().unwrap()]).success();
        fs::write(own.join("etc/hosts"), format!("{INSIDE} gate\n")).unwrap();
        let empty = folder(rig, "empty");
        let mut command = contain(&self.agent, [&own, &empty, &empty]);
        command
            .args(["hash-object", "--stdin"])
            .env("PROGRAM", "/usr/bin/git");
        let mut agent = self.start(&mut command, &own);

        let example = example("compose.yaml");
        let variables = example.lines().filter_map(|line| {
            let (name, value) = line.trim().strip_prefix("GIT_CONFIG_")?.split_once(": ")?;
            Some(format!("GIT_CONFIG_{name}={}", value.trim_matches('"')))
        });
        let env = std::iter::once("env".to_owned()).chain(variables);
        agent.enter.splice(0..0, env);
        agent
    }

    /// Starts the gate of `app` in both networks, and waits until it is healthy.
    pub fn gate(&mut self, rig: &Rig, root: &Path, app: &Upstream) -> Container {
        fs::write(root.join("etc/git-gate/gate.json"), settings(app)).unwrap();
        give_away(rig);
        let (creds, mirrors) = (rig.path().join("creds"), folder(rig, "mirrors"));
        let mut command = contain(&self.gate, [root, &creds, &mirrors]);
        let gate = self.start(&mut command, root);
        wait_until("the gate is healthy", || {
            gate.execute(&["/usr/bin/gate-init", "health"]).ok
        });
        gate
    }

    /// Starts a container and waits until it runs in `root`.
    fn start(&mut self, command: &mut Command, root: &Path) -> Container {
        let child = command.spawn().unwrap();
        let outer = child.id();
        self.children.push(child);
        let is_inside = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|of_process| of_process == root)
        };
        let mut inside = None;
        wait_until("the container runs", || {
            inside = descendants(outer).into_iter().find(is_inside);
            inside.is_some()
        });
        let pid = inside.unwrap();
        let files = format!("--directory=/proc/{pid}/root");
        let not = ["--exclude=./proc", "--exclude=./dev"];
        Container {
            pid,
            enter: enter(pid),
            archive: words(&["tar", "--create", &files, not[0], not[1], "."]),
        }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in [&self.agent, &self.gate] {
            run("ip", &["netns", "delete", name]);
        }
    }
}

/// The command that runs a container in a network namespace; `folders` are its root, credentials and
/// mirrors.
fn contain(namespace: &str, folders: [&Path; 3]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-net_raw"])
        .args(["ip", "netns", "exec", namespace, CONTAIN])
        .args(folders)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A new folder of the image's user.
fn folder(rig: &Rig, name: &str) -> std::path::PathBuf {
    let path = rig.path().join(name);
    fs::create_dir(&path).unwrap();
    chown(&path, Some(USER), Some(USER)).unwrap();
    // The rig's own folder is for its user alone; the containers' is another.
    fs::set_permissions(rig.path(), fs::Permissions::from_mode(0o755)).unwrap();
    path
}
