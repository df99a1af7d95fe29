//! How the upstream is reached: with the pinned key, the one key file, and a shared connection.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::rig::{
    Client, Gate, Kind, Ran, Rig, binary, end_ssh_masters, signal, ssh_masters, wait_until,
};

struct World {
    work: Client,
    gate: Gate,
    rig: Rig,
}

impl World {
    fn new() -> Self {
        let rig = Rig::new();
        rig.upstream("app");
        let gate = rig.gate(Kind::DropIn);
        let work = rig.client("agent").clone_of(&gate.url("app"), "work");
        Self { work, gate, rig }
    }

    /// A fetch and a push are refused, and both say `words`.
    #[track_caller]
    fn refuses(&self, words: &str) {
        let fetch = self.work.git(&["fetch"]).failure();
        let push = self
            .work
            .git(&["push", "origin", "HEAD:refs/heads/x"])
            .failure();
        for said in [fetch, push] {
            assert!(said.contains(words), "no {words:?} in:\n{said}");
            assert!(!said.contains("PRIVATE KEY"), "{said}");
        }
    }

    #[track_caller]
    fn works(&self) {
        self.work.git(&["fetch"]).success();
    }

    /// The ssh that keeps the shared connection.
    fn master(&self) -> Option<u32> {
        ssh_masters(self.gate.path()).first().copied()
    }
}

fn replace(path: &Path, with: &Path) {
    fs::copy(with, path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn without_its_files_the_gate_contacts_nobody() {
    let world = World::new();
    let sessions = world.rig.sshd.sessions();
    let (key, hosts) = (world.rig.key("app"), world.rig.known_hosts("app"));
    let aside = key.with_extension("aside");
    fs::rename(&key, &aside).unwrap();
    world.refuses("no ssh key for the upstream");
    fs::rename(&aside, &key).unwrap();
    fs::remove_file(&hosts).unwrap();
    world.refuses("no pinned host key for the upstream");
    assert_eq!(world.rig.sshd.sessions(), sessions);
}

#[test]
fn another_key_takes_effect_at_the_next_request() {
    let world = World::new();
    let key = world.rig.key("app");
    replace(&key, &world.rig.sshd.other_key());
    world.refuses("does not accept the gate's key");
    replace(&key, &world.rig.sshd.client_key());
    world.works();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    // The open connection is still that of this key.
    world.works();
    end_ssh_masters(world.gate.path());
    wait_until("the connection is gone", || world.master().is_none());
    world.refuses("ssh cannot use the key");
}

#[test]
fn other_pinned_host_keys_take_effect_at_the_next_request() {
    let world = World::new();
    let hosts = world.rig.known_hosts("app");
    fs::write(&hosts, world.rig.sshd.wrong_known_hosts_line()).unwrap();
    world.refuses("is not the pinned one, so nothing was sent");
    fs::write(&hosts, "# none\n").unwrap();
    world.refuses("is pinned, so nothing was sent");
    fs::write(&hosts, world.rig.sshd.known_hosts_line()).unwrap();
    world.works();
}

#[test]
fn a_dead_or_frozen_connection_is_replaced_within_one_request() {
    let world = World::new();
    let first = world.master().unwrap();
    signal(first, Signal::KILL);
    world.works();
    let second = world.master().unwrap();
    signal(second, Signal::STOP);
    world.works();
    let third = world.master().unwrap();
    assert!(first != second && second != third);
}

#[test]
fn an_upstream_that_is_down_is_named() {
    let mut world = World::new();
    world.rig.sshd.stop();
    world.refuses("Connection refused");
    world.rig.sshd.restart();
    world.works();
}

#[test]
fn a_url_that_is_none_is_refused() {
    let world = World::new();
    for (url, words) in [
        ("ext::touch /tmp/x", "is neither an ssh nor an https URL"),
        ("ssh://-oProxyCommand=x@host/y", "has a user"),
    ] {
        world
            .gate
            .git("app", &["config", "remote.origin.url", url])
            .success();
        world.refuses(words);
    }
}

#[test]
fn what_ssh_says_before_it_connects_is_told() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate(Kind::DropIn);
    // In a user namespace in which this user has a number without a name.
    let mut hook = Command::new("unshare");
    hook.args(["--user", "--map-user", "54321"])
        .arg(binary("gate-access-hook"))
        .arg("upload-pack")
        .arg(gate.repository("app"))
        .current_dir(gate.repository("app"));
    let said = Ran::of(&mut hook).failure();
    assert!(said.contains("No user exists for uid 54321"), "{said}");
}
