//! The audit log accounts for every request: whatever breaks, each has exactly one line, and the line
//! says what became of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::audit::lost;
use crate::limits::{connect, push_request};
use crate::rig::{Client, Gate, Rig, Upstream, amount, descendants, signal, token, wait_until};

/// More than the gate's receive-pack takes in this test.
const TOO_LARGE: usize = 3 << 20;

struct World {
    rig: Rig,
    app: Upstream,
    gate: Gate,
    work: Client,
    log: PathBuf,
    turn: u64,
}

/// What the line of an operation has to be: its `event`, and a word of its reason.
type Line = (&'static str, &'static str);

/// An operation and its line.
type Operation = (fn(&mut World), Line);

const OPERATIONS: [Operation; 14] = [
    (World::fetch, ("fetch", "")),
    (World::push, ("push", "")),
    (World::push_again, ("push", "")),
    (World::push_a_secret, ("refusal", "1 secret found")),
    (World::push_elsewhere, ("policy", "git-gate.allowRef")),
    (
        World::fetch_nothing_known,
        ("refusal", "no repository of that name"),
    ),
    (World::fetch_without_upstream, ("refusal", "app")),
    (World::push_without_upstream, ("refusal", "app")),
    (
        World::push_too_much,
        ("refusal", "git refused it before the gate's hook: "),
    ),
    (World::vanish_while_pushing, ("refusal", "")),
    (World::vanish_in_the_pack, ("refusal", "")),
    (World::vanish_while_forwarding, ("push", "")),
    (
        World::kill_the_hook,
        ("refusal", "the pre-receive hook ended without a word"),
    ),
    (World::kill_anything, ("", "")),
];

impl World {
    fn new() -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let (gate, log) = rig.gate_with_audit(&app.url);
        let large = (TOO_LARGE / 2).to_string();
        gate.git("app", &["config", "receive.maxInputSize", &large])
            .success();
        let work = rig.client("agent").clone_of(&gate.url("app"), "work");
        Self {
            rig,
            app,
            gate,
            work,
            log,
            turn: 0,
        }
    }

    /// The lines of requests; there is none in the log that is not whole.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line.get("service").is_some())
            .collect()
    }

    fn branch(&self) -> String {
        format!("refs/heads/agent/{}", self.turn)
    }

    fn change(&self) -> String {
        self.work
            .git(&["reset", "-q", "--hard", "origin/main"])
            .success();
        let content = format!("{}\n", self.turn);
        self.work.commit("file", content, "change")
    }

    fn push_to(&self, name: &str) -> crate::rig::Ran {
        self.work
            .git(&["push", "-q", "origin", &format!("HEAD:{name}")])
    }

    fn start_push(&self) -> Child {
        self.work
            .command()
            .args(["push", "-q", "origin", &format!("HEAD:{}", self.branch())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn fetch(&mut self) {
        self.work.git(&["fetch", "-q"]).success();
    }

    fn push(&mut self) {
        let tip = self.change();
        self.push_to(&self.branch()).success();
        assert_eq!(self.app.tip(&self.branch()), Some(tip));
    }

    /// Nothing is to be pushed, and git asks for nothing.
    fn push_again(&mut self) {
        self.work
            .git(&["push", "-q", "origin", "origin/main:refs/heads/main"])
            .success();
    }

    fn push_a_secret(&mut self) {
        self.change();
        let secret = token(u32::try_from(self.turn).unwrap());
        self.work
            .commit("file", format!("key = {secret}\n"), "secret");
        self.push_to(&self.branch()).failure();
    }

    fn push_elsewhere(&mut self) {
        self.change();
        self.push_to("refs/heads/elsewhere").failure();
    }

    fn fetch_nothing_known(&mut self) {
        self.work
            .git(&["ls-remote", &self.gate.url("unknown")])
            .failure();
    }

    fn fetch_without_upstream(&mut self) {
        self.rig.sshd.stop();
        self.work.git(&["fetch", "-q"]).failure();
        self.rig.sshd.restart();
    }

    fn push_without_upstream(&mut self) {
        self.change();
        self.rig.sshd.stop();
        self.push_to(&self.branch()).failure();
        self.rig.sshd.restart();
    }

    /// git's own receive-pack refuses it, before any hook.
    fn push_too_much(&mut self) {
        self.change();
        let mut state = self.turn | 1;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .take(TOO_LARGE)
        .collect();
        self.work.commit("large", noise, "large");
        self.push_to(&self.branch()).failure();
    }

    /// The client reads the refs and is gone.
    fn vanish_while_pushing(&mut self) {
        let stream = self.connect_to_push();
        let _ = stream.shutdown(Shutdown::Both);
    }

    /// The client is gone after its ref update and some of a pack.
    fn vanish_in_the_pack(&mut self) {
        let mut stream = self.connect_to_push();
        let zero = "0".repeat(40);
        let id = self.work.id("HEAD");
        let line = format!("{zero} {id} {}\0report-status", self.branch());
        let request = format!("{:04x}{line}0000PACK\0\0", line.len() + 4);
        stream.write_all(request.as_bytes()).unwrap();
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn connect_to_push(&self) -> TcpStream {
        let mut stream = connect(&self.gate, &push_request());
        stream.read_exact(&mut [0; 4]).unwrap();
        stream
    }

    /// The client is killed when its push is at the upstream already.
    fn vanish_while_forwarding(&mut self) {
        let tip = self.change();
        self.app.hold();
        let mut push = self.start_push();
        self.app.wait_for_push();
        push.kill().unwrap();
        push.wait().unwrap();
        self.app.let_go();
        wait_until("the push ends", || {
            self.app.tip(&self.branch()).as_ref() == Some(&tip)
        });
        self.app.release();
    }

    fn kill_the_hook(&mut self) {
        self.change();
        self.app.hold();
        let mut push = self.start_push();
        self.app.wait_for_push();
        signal(self.gate.hook().unwrap(), Signal::KILL);
        assert!(!push.wait().unwrap().success());
        self.app.let_go();
        self.app.release();
    }

    /// One of the programs that serve a push is killed at some moment; a success that the client is
    /// told of is one in the log.
    fn kill_anything(&mut self) {
        self.change();
        let mut push = self.start_push();
        std::thread::sleep(Duration::from_millis(self.turn * 37 % 300));
        let is_one = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            ["git", "pre-receive", "gate-access"]
                .iter()
                .any(|start| name.starts_with(start) && name != "gitleaks\n")
        };
        let all: Vec<_> = descendants(self.gate.pid())
            .into_iter()
            .filter(is_one)
            .collect();
        let at = usize::try_from(self.turn).unwrap() % all.len().max(1);
        if let Some(&pid) = all.get(at) {
            signal(pid, Signal::KILL);
        }
        let ok = push.wait().unwrap().success();
        self.wait_for_line();
        let event = self.lines().pop().unwrap()["event"].clone();
        assert!(!ok || event == "push", "{event} of a success");
    }

    fn wait_for_line(&self) {
        let expected = usize::try_from(self.turn + 1).unwrap();
        wait_until("the operation has a line", || {
            self.lines().len() >= expected
        });
    }
}

#[test]
fn every_request_has_one_line_that_says_what_became_of_it() {
    let operations = amount("GIT_GATE_ACCOUNT_OPERATIONS", 56);
    let mut world = World::new();
    // The clone.
    world.wait_for_line();
    let mut kinds = std::collections::BTreeMap::new();
    for turn in 1..=operations {
        world.turn = turn;
        let at = usize::try_from(turn - 1).unwrap() % OPERATIONS.len();
        let (operation, (kind, reason)) = OPERATIONS[at];
        operation(&mut world);
        world.wait_for_line();
        let lines = world.lines();
        assert_eq!(
            lines.len() as u64,
            turn + 1,
            "operation {at}: {:#?}",
            &lines[lines.len().saturating_sub(4)..]
        );
        let line = lines.last().unwrap();
        let said = line["reason"].as_str().unwrap_or_default();
        let is_right = kind.is_empty() || line["event"] == kind;
        assert!(is_right && said.contains(reason), "operation {at}: {line}");
        *kinds.entry(line["event"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(lost(&world.gate), 0);
    world.gate.stop();
    assert_eq!(world.lines().len() as u64, operations + 1);
    println!("{operations} operations, as many lines: {kinds:?}");
}
