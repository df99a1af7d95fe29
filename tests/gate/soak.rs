//! An hour's work in a few minutes: what a gate holds after it, it held before.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::{assert_agreement, assert_clean};
use crate::gitleaks::processes_of;
use crate::limits::{connect, push_request};
use crate::rig::{
    Client, Gate, Rig, Upstream, amount, binary, copy_program, count, descendants, gitleaks,
    is_zombie, memory, runs, signal, token, wait_until,
};

/// Who works at the same time.
const AGENTS: u64 = 3;

/// What each of them does between two restarts of the upstream.
const TURNS: u64 = 12;

/// What may differ by chance: a thread that is about to end, say. One of anything an operation would
/// be more than this after a round.
const NOISE: usize = 4;

/// KiB that the allocator may keep, whatever was done.
const MEMORY_NOISE: usize = 6 << 10;

/// What must not grow, each with its name.
type Figures = [(&'static str, usize); 6];

struct World {
    app: Upstream,
    /// Served for the length of a round.
    more: Upstream,
    gate: Gate,
    scanner: PathBuf,
    temporary: PathBuf,
    config: PathBuf,
    rig: Rig,
}

impl World {
    fn new() -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let [scanner, temporary, config] =
            ["gitleaks", "tmp", "gate.json"].map(|name| rig.path().join(name));
        copy_program(&gitleaks(), &scanner);
        fs::create_dir(&temporary).unwrap();
        fs::write(&config, settings("")).unwrap();
        let gate = rig.gate_with(&[
            ("--config", config.to_str().unwrap()),
            ("GIT_GATE_GITLEAKS=", scanner.to_str().unwrap()),
            ("TMPDIR=", temporary.to_str().unwrap()),
        ]);
        let more = rig.upstream("more");
        Self {
            app,
            more,
            gate,
            scanner,
            temporary,
            config,
            rig,
        }
    }

    /// The upstream's machine starts anew, then everybody has some turns.
    fn round(&mut self, number: u64, agents: &mut [Agent]) {
        self.rig.sshd.stop();
        self.rig.sshd.restart();
        self.reload(&format!(r#"{{"name":"more","url":"{}"}}"#, self.more.url));
        std::thread::scope(|scope| {
            for agent in agents {
                let gate = &self.gate;
                scope.spawn(move || {
                    (0..TURNS).for_each(|turn| agent.act(gate, number * TURNS + turn))
                });
            }
        });
        self.reload("");
    }

    fn reload(&self, upstream: &str) {
        let reloads = || self.gate.log().matches("git-gate: reloaded").count();
        let before = reloads();
        fs::write(&self.config, settings(upstream)).unwrap();
        signal(self.gate.pid(), Signal::HUP);
        wait_until("the settings are read", || reloads() > before);
    }

    /// The figures once nobody is served and nothing changes any more, and the memory in KiB.
    fn settled(&self) -> (Figures, usize) {
        let mut last = None;
        let mut figures = None;
        wait_until("nothing changes", || {
            last = figures.take();
            std::thread::sleep(Duration::from_millis(300));
            figures = Some(self.figures());
            processes_of(&self.scanner).count() == 0 && figures == last
        });
        let memory = self
            .gate_inits()
            .filter_map(|pid| memory(pid, "RssAnon"))
            .sum();
        (figures.unwrap(), memory)
    }

    fn figures(&self) -> Figures {
        let all = descendants(self.gate.pid());
        let of_gate_init = |what| self.gate_inits().map(|pid| count(pid, what)).sum();
        [
            ("threads", of_gate_init("task")),
            ("descriptors", of_gate_init("fd")),
            // ssh connections and what serves a client are among them.
            ("processes", all.len()),
            ("zombies", all.iter().filter(|&&pid| is_zombie(pid)).count()),
            ("run files", files(&self.gate.path().join("run"))),
            ("temporary files", files(&self.temporary)),
        ]
    }

    fn gate_inits(&self) -> impl Iterator<Item = u32> {
        let program = binary("gate-init");
        descendants(self.gate.pid())
            .into_iter()
            .filter(move |&pid| runs(pid, &program))
    }
}

fn settings(upstream: &str) -> String {
    format!(
        r#"{{"upstreams":[{upstream}],"limits":{{"idleClient":3,"idlePush":3,"scannerIdle":1}}}}"#
    )
}

/// The entries below `folder`.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| 1 + files(&entry.path())).sum()
}

/// One who works through the gate, with a branch of its own.
struct Agent {
    work: Client,
    branch: String,
    /// Connections that say nothing more.
    stalled: Vec<TcpStream>,
}

impl Agent {
    fn new(world: &World, index: u64) -> Self {
        let client = world.rig.client(&format!("agent{index}"));
        Self {
            work: client.clone_of(&world.gate.url("app"), "work"),
            branch: format!("HEAD:refs/heads/agent/{index}"),
            stalled: Vec::new(),
        }
    }

    fn act(&mut self, gate: &Gate, turn: u64) {
        match turn % TURNS {
            0 => self.stall(gate, turn),
            1 | 7 => self.push(turn),
            4 => self.push_a_secret(turn),
            _ => drop(self.work.git(&["fetch", "-q", "origin", "main"]).success()),
        }
    }

    fn push(&self, turn: u64) {
        self.work.commit("file", format!("{turn}\n"), "change");
        self.work
            .git(&["push", "-q", "origin", &self.branch])
            .success();
    }

    fn push_a_secret(&self, turn: u64) {
        let secret = token(u32::try_from(turn).unwrap());
        self.work
            .commit("file", format!("key = {secret}\n"), "secret");
        let said = self
            .work
            .git(&["push", "-q", "origin", &self.branch])
            .failure();
        assert!(said.contains("github-pat"), "{said}");
        self.work
            .git(&["reset", "-q", "--hard", "HEAD~1"])
            .success();
    }

    fn stall(&mut self, gate: &Gate, turn: u64) {
        let words = match turn / TURNS % 3 {
            0 => Vec::new(),
            1 => b"00".to_vec(),
            _ => push_request(),
        };
        self.stalled.push(connect(gate, &words));
    }

    /// Waits until the gate has ended those that stalled.
    fn let_stalled_end(&mut self) {
        for mut stream in self.stalled.drain(..) {
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn after_an_hours_work_the_gate_holds_what_it_held_before() {
    let rounds = amount("GIT_GATE_SOAK_OPERATIONS", 72).div_ceil(AGENTS * TURNS);
    let mut world = World::new();
    let mut agents: Vec<_> = (0..AGENTS).map(|index| Agent::new(&world, index)).collect();
    let mut work = |from: u64, to: u64| {
        let since = Instant::now();
        (from..to).for_each(|number| world.round(number, &mut agents));
        agents.iter_mut().for_each(Agent::let_stalled_end);
        let (figures, memory) = world.settled();
        println!(
            "{} operations in {:.0} s: {memory} KiB, {figures:?}",
            (to - from) * AGENTS * TURNS,
            since.elapsed().as_secs_f64()
        );
        (figures, memory)
    };
    // What is made once is there after the first rounds.
    let first = rounds.div_ceil(10);
    let (before, memory_before) = work(0, first);
    let (after, memory_after) = work(first, rounds);

    let is_flat = |((_, before), (_, after)): (&(_, usize), &(_, usize))| *after <= before + NOISE;
    assert!(
        before.iter().zip(&after).all(is_flat),
        "{before:?} became {after:?}"
    );
    assert!(
        memory_after <= memory_before + MEMORY_NOISE,
        "{memory_before} KiB became {memory_after}"
    );
    world.gate.git("app", &["fsck"]).success();
    assert_agreement(&world.gate, &world.app);
    assert_clean(&world.gate);
}
