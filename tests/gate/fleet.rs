//! Several gates behind one address: the state that counts is the upstream's.

use std::fs;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{
    Gate, Nginx, Ran, Rig, amount, binary, descendants, free_port, signal, wait_until,
};

/// How many agents there are.
const AGENTS: usize = 10;

/// Two gates and a proxy in front of both, which gives each its turn with every request.
struct Fleet {
    proxy: Nginx,
    gates: [Gate; 2],
    tokens: Vec<String>,
    rig: Rig,
}

impl Fleet {
    /// `more` for the connections of the proxy to the gates.
    fn new(more: &str) -> Self {
        let rig = Rig::new();
        rig.upstream("app");
        let chance = std::hash::RandomState::new();
        let token = |agent: usize| {
            let token = format!(
                "{:016x}{:016x}",
                chance.hash_one(agent),
                chance.hash_one("more")
            );
            fs::write(
                rig.path().join(format!("creds/agent-{agent}.token")),
                &token,
            )
            .unwrap();
            token
        };
        let tokens = (0..AGENTS).map(token).collect();
        let agent = |agent| {
            json!({
                "name": format!("agent-{agent}"),
                "tokenFile": format!("agent-{agent}.token"),
                "repositories": ["app"],
                "policy": {"allowRef": ["refs/heads/{agent}/*"]},
            })
        };
        let agents: Vec<Value> = (0..AGENTS).map(agent).collect();
        let limits = json!({"maxConnections": 500, "maxConnectionsPerPeer": 500});
        let config = rig.path().join("gate.json");
        fs::write(
            &config,
            json!({"agents": agents, "limits": limits}).to_string(),
        )
        .unwrap();
        let ports = [free_port(), free_port()];
        let gates = ports.map(|port| {
            let port = port.to_string();
            rig.gate_with(&[
                ("--config", config.to_str().unwrap()),
                ("--http-port", &port),
            ])
        });
        for gate in &gates {
            gate.wait_for_mirror("app");
        }
        let [one, two] = ports;
        let proxy = Nginx::start(&rig.path().join("proxy"), |port| {
            format!(
                "upstream gates {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; {more} }}\n\
                 server {{ listen 127.0.0.1:{port};\nlocation / {{ proxy_pass http://gates;\n\
                 proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
                 proxy_set_header X-Forwarded-For $remote_addr;\n\
                 proxy_request_buffering off; proxy_buffering off; }} }}"
            )
        });
        Self {
            proxy,
            gates,
            tokens,
            rig,
        }
    }

    /// The URL for an agent.
    fn url(&self, agent: usize) -> String {
        format!(
            "http://any:{}@127.0.0.1:{}/app.git",
            self.tokens[agent], self.proxy.port
        )
    }

    /// Has each agent clone and push `rounds` times, and returns what went wrong.
    fn work(&self, rounds: usize, name: &str, done: &Arc<AtomicUsize>) -> Vec<String> {
        let agent = |agent: usize| {
            let client = self.rig.client(&format!("agent-{agent}"));
            let url = self.url(agent);
            let done = Arc::clone(done);
            let name = name.to_owned();
            thread::spawn(move || {
                let mut failed = Vec::new();
                let mut note = |ran: Ran| {
                    done.fetch_add(1, Ordering::Relaxed);
                    if !ran.ok {
                        failed.push(ran.text);
                    }
                };
                for round in 0..rounds {
                    let folder = format!("{name}-{round}");
                    let cloned = client.git(&["clone", "-q", &url, &folder]);
                    let is_there = cloned.ok;
                    note(cloned);
                    if is_there {
                        let work = client.at(&folder);
                        work.commit("file", format!("{folder} of {agent}\n"), "change");
                        let branch = format!("HEAD:refs/heads/agent-{agent}/{folder}");
                        note(work.git(&["push", "-q", &url, &branch]));
                    }
                }
                failed
            })
        };
        let agents: Vec<_> = (0..AGENTS).map(agent).collect();
        agents
            .into_iter()
            .flat_map(|agent| agent.join().unwrap())
            .collect()
    }

    fn branches(&self) -> usize {
        self.rig.upstream_named("app").refs().lines().count()
    }
}

#[test]
fn clones_and_pushes_of_ten_agents_go_through_whichever_gate_answers() {
    let rounds = usize::try_from(amount("GIT_GATE_FLEET_ROUNDS", 2)).unwrap();
    let mut fleet = Fleet::new("keepalive 16;");
    let failed = fleet.work(rounds, "all", &Arc::default());
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(fleet.branches(), 1 + AGENTS * rounds);

    // One gate is killed in the middle: its open requests are lost and no more.
    let (done, pid) = (Arc::<AtomicUsize>::default(), fleet.gates[0].pid());
    let failed = thread::scope(|scope| {
        let so_far = Arc::clone(&done);
        scope.spawn(move || {
            wait_until("some of the work is done", || {
                so_far.load(Ordering::Relaxed) >= AGENTS
            });
            for pid in descendants(pid).into_iter().chain([pid]) {
                signal(pid, Signal::KILL);
            }
        });
        fleet.work(rounds, "killed", &done)
    });
    assert!(failed.len() <= AGENTS, "{failed:#?}");
    let failed = fleet.work(1, "after", &Arc::default());
    assert_eq!(failed, Vec::<String>::new());
    fleet.gates[0].crash();
}

/// A proxy keeps its connections to the gates and sends whose request it likes over each: what one client
/// was told over it says nothing of another's.
#[test]
fn what_one_client_was_told_over_a_shared_connection_is_not_good_for_another() {
    let fleet = Fleet::new("keepalive 16;");
    let upstream = fleet.rig.upstream_named("app");
    let clients = [0, 1, 2].map(|agent| (fleet.rig.client(&format!("agent-{agent}")), agent));
    for round in 0..6 {
        let tip = upstream.commit("main", "README", &format!("{round}\n"), "theirs");
        for (client, agent) in &clients {
            let listed = client
                .git(&["ls-remote", &fleet.url(*agent), "refs/heads/main"])
                .success();
            assert!(listed.starts_with(&tip), "{listed}");
        }
    }
}

/// examples/kubernetes/deployment.yaml: the configuration in it is one that a gate takes.
#[test]
fn the_example_of_a_deployment_has_a_usable_configuration() {
    let example = include_str!("../../examples/kubernetes/deployment.yaml");
    let (_, behind) = example.split_once("  gate.json: |\n").unwrap();
    let (json, _) = behind.split_once("---\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gate.json");
    fs::write(&config, json).unwrap();
    let mut command = std::process::Command::new(binary("gate-init"));
    command
        .args(["policy", "app", "--agent", "agent-7", "--config"])
        .arg(config);
    let told = Ran::of(&mut command).success();
    assert!(told.contains("refs/heads/agent-7/*"), "{told}");
}
