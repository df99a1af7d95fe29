//! What many pushes cost: at once, one right after the other, and what the gate takes for them of memory
//! and processor time. Figures of the gate are those of all its processes together.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::rig::{self, Ran, Rig};
use crate::{Bench, Lane, prose};

/// How many clients push at once.
const CLIENTS: usize = 50;

/// How many pushes come right after each other.
const IN_A_ROW: usize = 20;

/// How often memory is looked at.
const STEP: Duration = Duration::from_millis(50);

/// All rows and figures.
pub fn table(bench: &Bench) {
    let light = bench.rounds.div_ceil(3);
    bench.row(
        "20 pushes back to back",
        light,
        |lane, round| make_branches(lane, "row", round, IN_A_ROW),
        one_by_one,
    );
    let peak = Peak::default();
    bench.row(
        "50 pushes at once",
        light,
        |lane, round| make_branches(lane, "many", round, CLIENTS),
        |lane, round| match lane.name {
            "ours" => peak.of(bench.ours.pid(), || at_once(lane, round)),
            _ => at_once(lane, round),
        },
    );
    if "50 pushes at once".contains(&bench.only) {
        let mebibytes = peak.kibibytes() >> 10;
        println!("  the gate's memory at its peak: {mebibytes} MB (PSS)");
    }
    if "the gate itself".contains(&bench.only) {
        processor_time(bench);
        idle();
    }
}

fn make_branches(lane: &Lane, kind: &str, round: usize, count: usize) {
    for number in 0..count {
        lane.work
            .commit("notes.txt", prose(round * 1000 + number), "one more note");
        let name = format!("{kind}{round}-{number}");
        lane.work.git(&["branch", &name]).success();
    }
}

fn one_by_one(lane: &Lane, round: usize) -> Ran {
    let pushes = (0..IN_A_ROW).map(|number| {
        let name = format!("row{round}-{number}");
        lane.push(&lane.work, &format!("{name}:refs/heads/{name}"))
    });
    all(pushes.collect())
}

/// What stands between, and scans nothing, gets all of it before it passes it on at once.
fn at_once(lane: &Lane, round: usize) -> Ran {
    let url = &*lane.url;
    let mut pushed: Vec<_> = thread::scope(|scope| {
        let pushes: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let name = format!("many{round}-{number}");
                let refspec = format!("{name}:refs/heads/{name}");
                scope.spawn(move || lane.work.git(&["push", "-q", url, &refspec]))
            })
            .collect();
        let pushes = pushes.into_iter();
        pushes.map(|push| push.join().unwrap()).collect()
    });
    if let Some(relay) = &lane.relay {
        pushed.push(relay.git(&["push", "-q", "origin", "refs/heads/*:refs/heads/*"]));
    }
    all(pushed)
}

/// The first that failed, else the last.
fn all(ran: Vec<Ran>) -> Ran {
    let last = ran.len() - 1;
    let failed = ran.iter().position(|ran| !ran.ok);
    ran.into_iter().nth(failed.unwrap_or(last)).unwrap()
}

/// The most memory that was seen.
#[derive(Default)]
struct Peak(std::cell::Cell<u64>);

impl Peak {
    /// Looks at the processes below `pid` while `work` is done.
    fn of(&self, pid: u32, work: impl FnOnce() -> Ran) -> Ran {
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let watched = scope.spawn(|| {
                let mut most = 0;
                while !is_done.load(Ordering::Relaxed) {
                    most = most.max(memory(pid));
                    thread::sleep(STEP);
                }
                most
            });
            let ran = work();
            is_done.store(true, Ordering::Relaxed);
            self.0.set(self.0.get().max(watched.join().unwrap()));
            ran
        })
    }

    fn kibibytes(&self) -> u64 {
        self.0.get()
    }
}

/// What the processes below `pid` have in memory, each page shared out (proc_pid_smaps(5), `Pss`), in KiB.
fn memory(pid: u32) -> u64 {
    rig::descendants(pid).into_iter().map(memory_of).sum()
}

fn memory_of(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    pss.map_or(0, |pss| pss.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Processor time of the processes below `pid`, and of those that they waited for (proc_pid_stat(5)).
fn worked(pid: u32) -> Duration {
    let of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let times = fields.split(' ').skip(11).take(4);
        times
            .map(|ticks| ticks.parse::<u64>().unwrap_or(0))
            .sum::<u64>()
    };
    // A tick is a hundredth of a second on every Linux.
    Duration::from_millis(10 * rig::descendants(pid).into_iter().map(of).sum::<u64>())
}

/// Of one push, in a row of them: the gate's own, without the client's and the upstream's.
fn processor_time(bench: &Bench) {
    let Some(lane) = bench.lanes.iter().find(|lane| lane.name == "ours") else {
        return;
    };
    // Rounds that no row has.
    let round = 1_000;
    make_branches(lane, "row", round, IN_A_ROW);
    let before = worked(bench.ours.pid());
    one_by_one(lane, round).success();
    let worked = worked(bench.ours.pid()) - before;
    let each = worked / u32::try_from(IN_A_ROW).unwrap();
    println!(
        "the gate itself: {} ms of processor time a push",
        each.as_millis()
    );
}

/// Of a gate in front of one upstream: with a scanner that waits after a push, and when none does any more.
fn idle() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let config = rig.path().join("idle.json");
    fs::write(&config, r#"{"upstreams":[],"limits":{"scannerIdle":8}}"#).unwrap();
    let gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let work = rig.client("idle").clone_of(&gate.url(&app.name), "work");
    work.commit("notes.txt", "a note", "one more note");
    work.git(&["push", "-q", "origin", "HEAD:refs/heads/one"])
        .success();
    let scanners = || {
        let all = rig::descendants(gate.pid());
        let is_scanner = |pid: &&u32| rig::runs(**pid, &rig::gitleaks());
        all.iter().filter(is_scanner).count()
    };
    thread::sleep(Duration::from_secs(3));
    let (waiting, with_it) = (scanners(), memory(gate.pid()));
    rig::wait_until("no scanner waits", || scanners() == 0);
    thread::sleep(Duration::from_secs(1));
    println!(
        "the gate itself: {} MB (PSS) with {waiting} scanner that waits, {} MB without",
        with_it >> 10,
        memory(gate.pid()) >> 10
    );
}
