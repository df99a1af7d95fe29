//! Many clients at once: each success is on the upstream, each failure has a true reason.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::rig::{Client, Gate, Kind, Rig, Upstream, amount, processes_with, wait_until};

#[test]
fn fetches_that_come_together_share_two_contacts() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate(Kind::Init);
    let agent = rig.client("agent");
    let work = agent.clone_of(&gate.url("app"), "work");
    let before = rig.sshd.sessions();
    // All of them are there before the upstream answers the first.
    rig.sshd.signal_all(Signal::STOP);
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut fetch = work.command();
            fetch.args(["ls-remote", "origin"]).stdout(Stdio::piped());
            fetch.spawn().unwrap()
        })
        .collect();
    let hook = gate.repository("app").display().to_string();
    wait_until("every fetch waits", || {
        processes_with(&["gate-access-hook upload-pack", &hook]).len() == clients.len()
    });
    rig.sshd.signal_all(Signal::CONT);
    for client in clients {
        let ran = client.wait_with_output().unwrap();
        assert!(ran.status.success() && !ran.stdout.is_empty());
    }
    let contacts = rig.sshd.sessions() - before;
    // One, and another for those that came after its answer.
    assert!(contacts <= 5, "{contacts} contacts");
}

/// What clients saw of their pushes: the new value of a ref, or its name behind a `-`.
#[derive(Default)]
struct Tally {
    succeeded: Vec<String>,
    /// With what the client was told.
    failed: Vec<(String, String)>,
    fetches: usize,
    reasons: BTreeMap<String, usize>,
}

/// The reasons for which a push may fail here, as the gate and git say them.
const REASONS: [&str; 9] = [
    "moved on the upstream",
    "is not what you last saw",
    "is on the upstream already",
    "is gone from it",
    "(fetch first)",
    "(non-fast-forward)",
    "(stale info)",
    "conflicts with a ref",
    "remote ref does not exist",
];

#[test]
fn many_clients_and_somebody_else_never_lose_a_push() {
    let time = Duration::from_secs(amount("GIT_GATE_SOAK_SECONDS", 8));
    let clients = amount("GIT_GATE_SOAK_CLIENTS", 8);
    let rig = Rig::new();
    let app = rig.upstream("app");
    // The upstream's own record of every update.
    let record = rig.path().join("record");
    app.hook(
        "post-receive",
        &format!("#!/bin/sh\nexec cat >> {}\n", record.display()),
    );
    let gate = rig.gate(Kind::Init);
    gate.git("app", &["config", "git-gate.forcePush", "lease"])
        .success();
    for branch in 0..4 {
        app.git(&["branch", &format!("b{branch}"), "main"]);
    }

    let tally = Mutex::new(Tally::default());
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        for index in 0..clients {
            let work = rig
                .client(&format!("c{index}"))
                .clone_of(&gate.url("app"), "work");
            let tally = &tally;
            scope.spawn(move || agent(&work, index, end, tally));
        }
        let work = rig
            .client("else")
            .clone_of(app.path.to_str().unwrap(), "work");
        scope.spawn(move || somebody_else(&work, end));
    });
    check(
        &gate,
        &app,
        &fs::read_to_string(record).unwrap(),
        &tally.into_inner().unwrap(),
    );
}

/// One client: pushes to shared branches, to its own, rewrites, deletes, fetches.
fn agent(work: &Client, index: u64, end: Instant, tally: &Mutex<Tally>) {
    let mut turn = index;
    while Instant::now() < end {
        turn += 1;
        let fetched = work.git(&["fetch", "-q", "--prune"]);
        assert!(fetched.ok, "a fetch failed: {}", fetched.text);
        tally.lock().unwrap().fetches += 1;
        let shared = format!("b{}", (turn * 7 + index) % 4);
        work.git(&["checkout", "-q", "--detach", &format!("origin/{shared}")])
            .success();
        let own = format!("c{index}/{}", turn % 3);
        let tip = work.commit(
            &format!("f{index}"),
            format!("{turn}\n"),
            &format!("{index} {turn}"),
        );
        let (refspecs, value) = match turn % 5 {
            0 | 1 => (vec![format!("HEAD:refs/heads/{shared}")], tip),
            2 => (vec![format!("+HEAD:refs/heads/{own}")], tip),
            3 => {
                let both = [
                    format!("HEAD:refs/heads/{shared}"),
                    format!("+HEAD:refs/heads/{own}"),
                ];
                (both.into(), tip)
            }
            _ if work
                .git(&["rev-parse", "-q", "--verify", &format!("origin/{own}")])
                .ok =>
            {
                (
                    vec![format!(":refs/heads/{own}")],
                    format!("-refs/heads/{own}"),
                )
            }
            _ => continue,
        };
        // Else the client itself leaves out a ref that it knows to be stale, and pushes the others.
        let mut arguments = vec!["push", "--atomic", "origin"];
        arguments.extend(refspecs.iter().map(String::as_str));
        let pushed = work.git(&arguments);
        let mut tally = tally.lock().unwrap();
        if pushed.ok {
            tally.succeeded.push(value);
        } else {
            let reason = REASONS.iter().find(|reason| pushed.text.contains(**reason));
            let reason = reason.unwrap_or_else(|| panic!("no true reason: {}", pushed.text));
            *tally.reasons.entry((*reason).to_owned()).or_default() += 1;
            tally.failed.push((value, pushed.text));
        }
    }
}

/// Somebody who pushes to the upstream without the gate.
fn somebody_else(work: &Client, end: Instant) {
    let mut turn = 0;
    while Instant::now() < end {
        turn += 1;
        let branch = format!("b{}", turn % 4);
        work.git(&["fetch", "-q"]).success();
        work.git(&["checkout", "-q", "--detach", &format!("origin/{branch}")])
            .success();
        work.commit("else", format!("{turn}\n"), "else");
        work.git(&["push", "-q", "origin", &format!("HEAD:{branch}")]);
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn check(gate: &Gate, app: &Upstream, record: &str, tally: &Tally) {
    let recorded: Vec<(&str, &str)> = record
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.split_once(' '))
        .collect();
    let is_recorded = |value: &str| match value.strip_prefix('-') {
        Some(name) => recorded
            .iter()
            .any(|(new, deleted)| *deleted == name && !new.contains(|c| c != '0')),
        None => recorded.iter().any(|(new, _)| *new == value),
    };
    let lost: Vec<_> = tally
        .succeeded
        .iter()
        .filter(|value| !is_recorded(value))
        .collect();
    assert!(lost.is_empty(), "not on the upstream: {lost:?}");
    let unsaid: Vec<_> = tally
        .failed
        .iter()
        .filter(|(value, _)| !value.starts_with('-') && is_recorded(value))
        .collect();
    assert!(
        unsaid.is_empty(),
        "refused and yet on the upstream: {unsaid:?}"
    );
    gate.git("app", &["fsck"]).success();
    app.git(&["fsck"]);
    println!(
        "{} pushes succeeded, {} failed {:?}, {} fetches, {} updates on the upstream",
        tally.succeeded.len(),
        tally.failed.len(),
        tally.reasons,
        tally.fetches,
        recorded.len()
    );
    assert!(!tally.succeeded.is_empty());
}
