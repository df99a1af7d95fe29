//! `make bench`: what a user waits for, side by side in one run: git straight over ssh, through the
//! shell gate, through ours, over git's own protocol and over HTTP. Medians, and the ratio to direct; in
//! the last column that of HTTP to git's own protocol. One table on loopback, one with 50 ms and
//! 100 Mbit/s between this machine and the forge. `RUNS` sets the number of rounds, `ONLY` a part of the
//! row's name, `LINK` one of the tables (`near`, `far`). In the far one, `session` is our gate with
//! `sessionIdle`, over git's own protocol.
//!
//! The column `no scan` is a floor: the same with two plain git commands, to and from a bare
//! repository on this machine, with an open ssh connection and nothing scanned. No gate in which
//! git receives a push before any of it goes on can be faster.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

mod distance;
mod load;
#[path = "../tests/rig/mod.rs"]
mod rig;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use distance::Link;
use rig::{Client, Gate, Kind, Ran, Rig};

/// One way to reach an upstream.
struct Lane {
    name: &'static str,
    /// The name of its upstream.
    upstream: &'static str,
    url: String,
    /// A clone that is up to date.
    work: Client,
    /// The bare repository on the way, where `url` leads to one that forwards nothing by itself.
    relay: Option<Client>,
}

impl Lane {
    /// Runs git in the clone, to read what the upstream has now.
    fn read(&self, arguments: &[&str]) -> Ran {
        if let Some(relay) = &self.relay {
            relay.git(&["fetch", "-q", "origin"]).success();
        }
        self.work.git(arguments)
    }

    /// Pushes `refspec` from the repository `from` to the upstream.
    fn push(&self, from: &Client, refspec: &str) -> Ran {
        let pushed = from.git(&["push", "-q", &self.url, refspec]);
        match &self.relay {
            Some(relay) if pushed.ok => {
                relay.git(&["push", "-q", "origin", "refs/heads/*:refs/heads/*"])
            }
            _ => pushed,
        }
    }
}

struct Bench {
    lanes: Vec<Lane>,
    /// Where big histories are made; it can reach every lane.
    source: Client,
    ours: Gate,
    upstreams: Vec<rig::Upstream>,
    rounds: usize,
    only: String,
    _others: Vec<Gate>,
    _rig: Rig,
}

/// The forge 50 ms away, there and back, behind a line of 100 Mbit/s.
const FAR: Link = Link {
    delay: Duration::from_millis(25),
    rate: 100e6 / 8.0,
};

/// How many refs "many refs" are.
const MANY: usize = 100_000;

fn main() {
    let wanted = std::env::var("LINK").unwrap_or_default();
    for (name, link) in [("near", None), ("far", Some(FAR))] {
        if name.contains(&wanted) {
            println!("{name}");
            let bench = Bench::start(link);
            table(&bench);
            load::table(&bench);
        }
    }
}

fn table(bench: &Bench) {
    let columns: String = bench
        .lanes
        .iter()
        .map(|lane| format!("{:>18}", lane.name))
        .collect();
    println!("{:<34}{columns}  http:ours", "median (ratio to direct)");
    let light = bench.rounds;
    let heavy = bench.rounds.div_ceil(3);
    bench.row(
        "ls-remote",
        light,
        |_, _| {},
        |lane, _| lane.read(&["ls-remote", &lane.url]),
    );
    bench.row(
        "ls-remote, connection cold",
        light,
        |lane, _| bench.cool(lane),
        |lane, _| lane.read(&["ls-remote", &lane.url]),
    );
    bench.row(
        "fetch, nothing new",
        light,
        |_, _| {},
        |lane, _| lane.read(&["fetch", "-q", "origin"]),
    );
    bench.row("push 1 commit", light, commit, |lane, _| {
        lane.push(&lane.work, "HEAD:refs/heads/one")
    });
    bench.row("push 20 refs", light, twenty_branches, |lane, round| {
        let branches = format!("refs/heads/b{round}-*");
        lane.push(&lane.work, &format!("{branches}:{branches}"))
    });
    bench.row(
        "push 500 commits on 500 KB",
        heavy,
        |lane, round| bench.history(lane, round),
        |lane, round| lane.push(&bench.source, &format!("history-{round}")),
    );
    bench.row(
        "push 20,000 files of 5 KB",
        heavy,
        |lane, round| bench.tree(lane, round),
        |lane, round| lane.push(&bench.source, &format!("tree-{round}")),
    );
    if [
        "100,000 refs, fetch nothing",
        "100,000 refs, fetch one",
        "100,000 refs, push 1 commit",
    ]
    .iter()
    .any(|name| name.contains(&bench.only))
    {
        bench.make_many_refs();
    }
    bench.row(
        "100,000 refs, fetch nothing",
        heavy,
        |_, _| {},
        |lane, _| lane.read(&["fetch", "-q", "origin"]),
    );
    bench.row(
        "100,000 refs, fetch one",
        heavy,
        |lane, round| bench.move_one(lane, round),
        |lane, _| lane.read(&["fetch", "-q", "origin"]),
    );
    bench.row("100,000 refs, push 1 commit", heavy, commit, |lane, _| {
        lane.push(&lane.work, "HEAD:refs/heads/one")
    });
}

impl Bench {
    fn start(link: Option<Link>) -> Self {
        let mut rig = Rig::new();
        if let Some(link) = link {
            let address = distance::relay(rig.sshd.address(), link);
            rig.sshd.is_reached_at(address);
        }
        let shell_is_here = rig::baseline::folder().is_some();
        if !shell_is_here {
            println!(
                "the shell gate's scripts are not here (GIT_GATE_BASELINE): its column is left out"
            );
        }
        let upstreams = ["direct", "no-scan", "shell", "ours", "http", "session"]
            .map(|name| rig.upstream(name));
        let shell = shell_is_here.then(|| rig.gate(Kind::Baseline));
        let http_port = rig::free_port();
        let ours = rig.gate_with(&[("--http-port", &http_port.to_string())]);
        ours.wait_for_mirror("http");
        let lane = |name, url: String, client: Client| Lane {
            name,
            upstream: name,
            work: client.clone_of(&url, "work"),
            url,
            relay: None,
        };
        let mut lanes = vec![
            lane("direct", upstreams[0].url.clone(), rig.direct("direct")),
            relay(&rig, &upstreams[1]),
        ];
        lanes.extend(
            shell
                .iter()
                .map(|shell| lane("shell", shell.url("shell"), rig.client("shell"))),
        );
        lanes.push(lane("ours", ours.url("ours"), rig.client("ours")));
        let over_http = format!("http://127.0.0.1:{http_port}/http.git");
        lanes.push(lane("http", over_http, rig.client("http")));
        let session = link.map(|_| ahead(&rig));
        lanes.extend(
            session
                .iter()
                .map(|gate| lane("session", gate.url("session"), rig.client("session"))),
        );
        let source = rig.direct("source");
        source.git(&["init", "-q", "work"]).success();
        let rounds = std::env::var("RUNS")
            .ok()
            .and_then(|runs| runs.parse().ok())
            .unwrap_or(9);
        let only = std::env::var("ONLY").unwrap_or_default();
        Self {
            lanes,
            source: source.at("work"),
            ours,
            rounds,
            only,
            upstreams: upstreams.to_vec(),
            _others: shell.into_iter().chain(session).collect(),
            _rig: rig,
        }
    }

    /// Runs the lanes in turn, `rounds` times and once more to warm up, and prints one row.
    fn row(
        &self,
        name: &str,
        rounds: usize,
        prepare: impl Fn(&Lane, usize),
        run: impl Fn(&Lane, usize) -> Ran,
    ) {
        if !name.contains(&self.only) {
            return;
        }
        let mut times = vec![Vec::new(); self.lanes.len()];
        for round in 0..=rounds {
            for (lane, times) in self.lanes.iter().zip(&mut times) {
                prepare(lane, round);
                let started = Instant::now();
                run(lane, round).success();
                times.push(started.elapsed());
            }
        }
        let medians: Vec<Duration> = times
            .iter_mut()
            .map(|times| median(&mut times[1..]))
            .collect();
        let mut line = format!("{name:<34}");
        for time in &medians {
            let ratio = time.as_secs_f64() / medians[0].as_secs_f64();
            let _ = write!(
                line,
                "{:>10.1} ms{:>4}",
                time.as_secs_f64() * 1e3,
                format!("{ratio:.2}")
            );
        }
        let of = |name| self.lanes.iter().position(|lane| lane.name == name);
        let seconds = |name| of(name).map(|at| medians[at].as_secs_f64());
        if let (Some(http), Some(ours)) = (seconds("http"), seconds("ours")) {
            let _ = write!(line, "{:>11.2}", http / ours);
        }
        println!("{line}");
    }

    /// Gives every upstream many branches, packed.
    fn make_many_refs(&self) {
        for upstream in &self.upstreams {
            let tip = upstream.tip("refs/heads/main").unwrap();
            let refs: String = (0..MANY)
                .map(|number| format!("create refs/heads/many/{number:06} {tip}\n"))
                .collect();
            let repository = self.source.at(upstream.path.to_str().unwrap());
            repository.git_with_input(&["update-ref", "--stdin"], refs.as_bytes());
            upstream.git(&["pack-refs", "--all"]);
        }
        for lane in &self.lanes {
            lane.read(&["fetch", "-q", "origin"]).success();
        }
    }

    /// Somebody else moves one of the many.
    fn move_one(&self, lane: &Lane, round: usize) {
        let name = format!("refs/heads/many/{round:06}");
        for upstream in self
            .upstreams
            .iter()
            .filter(|one| one.name == lane.upstream)
        {
            let tree = upstream.git(&["rev-parse", "refs/heads/main^{tree}"]);
            let id = ["-c", "user.name=A", "-c", "user.email=a@example.com"];
            let id =
                upstream.git(&[&id[..], &["commit-tree", "-m", &prose(round), &tree]].concat());
            upstream.git(&["update-ref", &name, &id]);
        }
    }

    /// Ends the gate's open connection to the upstream.
    fn cool(&self, lane: &Lane) {
        if ["ours", "http"].contains(&lane.name) {
            rig::end_ssh_masters(self.ours.path());
        }
    }

    /// 500 commits, each changing one line of a file of 500 KB.
    fn history(&self, lane: &Lane, round: usize) {
        let branch = format!("history-{round}");
        if lane.name != self.lanes[0].name {
            return;
        }
        let mut lines: Vec<String> = (0..10_000)
            .map(|line| prose(round * 1_000_000 + line))
            .collect();
        let mut stream = Vec::new();
        for commit in 0..500 {
            lines[(commit * 7919) % 10_000] = prose(round * 1_000_000 + 500_000 + commit);
            commit_header(&mut stream, &branch, commit);
            file(&mut stream, "big.txt", lines.concat().as_bytes());
        }
        self.import(&stream);
    }

    /// One commit of 20,000 files.
    fn tree(&self, lane: &Lane, round: usize) {
        if lane.name != self.lanes[0].name {
            return;
        }
        let mut stream = Vec::new();
        commit_header(&mut stream, &format!("tree-{round}"), 0);
        for number in 0..20_000 {
            let text: String = (0..100)
                .map(|line| prose(round * 100_000_000 + number * 1000 + line))
                .collect();
            file(
                &mut stream,
                &format!("d{}/f{number}.txt", number % 200),
                text.as_bytes(),
            );
        }
        self.import(&stream);
    }

    fn import(&self, stream: &[u8]) {
        self.source
            .git_with_input(&["fast-import", "--quiet", "--force"], stream);
    }
}

/// A gate that opens sessions with its upstreams ahead (`sessionIdle`).
fn ahead(rig: &Rig) -> Gate {
    let config = rig.path().join("ahead.json");
    std::fs::write(&config, r#"{"upstreams":[],"limits":{"sessionIdle":300}}"#).unwrap();
    rig.gate_with(&[("--config", config.to_str().unwrap())])
}

/// The floor: a bare repository that git goes to and from.
fn relay(rig: &Rig, upstream: &rig::Upstream) -> Lane {
    let client = rig.direct("relay");
    client
        .git(&["clone", "-q", "--mirror", &upstream.url, "relay.git"])
        .success();
    let relay = client.at("relay.git");
    let ssh = relay.git(&["config", "core.sshCommand"]).success();
    let open = format!(
        "{} -o ControlMaster=auto -o ControlPersist=yes -o ControlPath={}",
        ssh.trim_end(),
        rig.path().join("relay.socket").display()
    );
    for (key, value) in [
        ("core.sshCommand", open.as_str()),
        // Else no refspec can be pushed.
        ("remote.origin.mirror", "false"),
    ] {
        relay.git(&["config", key, value]).success();
    }
    let url = relay.path().to_str().unwrap().to_owned();
    Lane {
        name: "no scan",
        upstream: "no-scan",
        work: rig.client("no-scan").clone_of(&url, "work"),
        url,
        relay: Some(relay),
    }
}

fn commit(lane: &Lane, round: usize) {
    lane.work.commit("notes.txt", prose(round), "one more note");
}

fn twenty_branches(lane: &Lane, round: usize) {
    for number in 0..20 {
        lane.work
            .commit("notes.txt", prose(round * 100 + number), "a branch");
        lane.work
            .git(&["branch", &format!("b{round}-{number}")])
            .success();
    }
}

fn commit_header(stream: &mut Vec<u8>, branch: &str, number: usize) {
    let text = format!(
        "commit refs/heads/{branch}\ncommitter A <a@example.com> {} +0000\ndata 6\nchange\n",
        1_700_000_000 + number
    );
    stream.extend_from_slice(text.as_bytes());
}

fn file(stream: &mut Vec<u8>, name: &str, content: &[u8]) {
    stream
        .extend_from_slice(format!("M 100644 inline {name}\ndata {}\n", content.len()).as_bytes());
    stream.extend_from_slice(content);
    stream.push(b'\n');
}

/// A line of about 50 bytes that no other number gives, and that no rule takes for a secret.
fn prose(seed: usize) -> String {
    const WORDS: [&str; 16] = [
        "river", "stone", "window", "garden", "summer", "letter", "market", "engine", "yellow",
        "bridge", "forest", "candle", "silver", "morning", "paper", "island",
    ];
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let words = (0..7).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        WORDS[(state >> 60) as usize]
    });
    let mut line = words.collect::<Vec<_>>().join(" ");
    let _ = writeln!(line, " {seed}");
    line
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
