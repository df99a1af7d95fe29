//! The time of day jumps, by a day or two and back: nothing waits for it, ends by it or is counted
//! in it. libfaketime stands between a process and its clock; the clocks that only go forward stay
//! true, as on a machine that was set right.
//!
//! gate-init passes nothing of the library on, so what jumps there is gate-init and what it starts
//! for itself. With the hooks alone everything below git daemon sees the jump.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::gitleaks::{own_program, processes_of};
use crate::limits::{connect, push_request};
use crate::rig::{Gate, Kind, Rig, Upstream, has_ended, token, wait_until};

/// Each is from the true time.
const JUMPS: [&str; 3] = ["+0d", "+1d", "-2d"];

/// The time of day that a gate sees.
struct Clock {
    library: String,
    file: PathBuf,
}

impl Clock {
    fn new(folder: &Path) -> Self {
        let folders = fs::read_dir("/usr/lib").unwrap().flatten();
        let library = folders
            .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists())
            .expect("libfaketime is installed (apt-get install libfaketime)");
        let clock = Self {
            library: library.to_str().unwrap().to_owned(),
            file: folder.join("clock"),
        };
        clock.jump(JUMPS[0]);
        clock
    }

    /// What a gate needs in its environment, as [`Rig::gate_with`] takes it.
    fn variables(&self) -> [(&str, &str); 5] {
        [
            ("LD_PRELOAD=", &self.library),
            ("FAKETIME_TIMESTAMP_FILE=", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE=", "1"),
            ("DONT_FAKE_MONOTONIC=", "1"),
            ("NO_FAKE_STAT=", "1"),
        ]
    }

    /// Sets the clock; it is never half set.
    fn jump(&self, to: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, to).unwrap();
        fs::rename(&next, &self.file).unwrap();
    }
}

impl Drop for Clock {
    /// The library's shared memory, named after the first process, outlives one that was killed.
    fn drop(&mut self) {
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| {
                let (kind, pid) = name.rsplit_once('_')?;
                let is_ours = ["faketime_shm", "sem.faketime_sem"].contains(&kind);
                pid.parse().ok().filter(|_| is_ours)
            });
            if owner.is_some_and(has_ended) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A client that says `words` and then nothing; how long it was kept.
fn idle(gate: &Gate, words: &[u8], meanwhile: impl FnOnce()) -> Duration {
    let since = Instant::now();
    let mut stream = connect(gate, words);
    std::thread::sleep(Duration::from_secs(1));
    meanwhile();
    stream.read_to_end(&mut Vec::new()).unwrap();
    since.elapsed()
}

fn events(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Waits until the last event has the time of a clock that jumped so.
fn wait_for_jump(log: &Path, to: &str) {
    let days: f64 = to.trim_end_matches('d').parse().unwrap();
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    wait_until(&format!("an event is off by {to}"), || {
        let time = &events(log).pop().unwrap()["time"];
        let time = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
        let off = seconds(time) - seconds(SystemTime::now());
        (off / 86_400.0 - days).abs() < 0.01
    });
}

/// No phase of any event took less than nothing, or longer than the test.
fn assert_sane(log: &Path) {
    for event in events(log) {
        let seconds = event["seconds"].as_object().into_iter().flatten();
        for (phase, value) in seconds {
            let value = value.as_f64().unwrap();
            assert!((0.0..60.0).contains(&value), "{phase}: {event}");
        }
    }
}

/// One fetch, one push that arrives and one that does not.
fn fetch_and_push(rig: &Rig, gate: &Gate, app: &Upstream, index: usize) {
    let other = app.commit("main", "other", &format!("{index}\n"), "somebody else's");
    let work = rig
        .client("agent")
        .clone_of(&gate.url("app"), &format!("work{index}"));
    assert_eq!(work.id("origin/main"), other);
    let branch = format!("refs/heads/b{index}");
    let tip = work.commit("file", format!("{index}\n"), "change");
    work.git(&["push", "origin", &format!("HEAD:{branch}")])
        .success();
    assert_eq!(app.tip(&branch), Some(tip.clone()));
    work.commit("secret", format!("token = {}\n", token(1)), "secret");
    work.git(&["push", "origin", &format!("HEAD:{branch}")])
        .failure();
    assert_eq!(app.tip(&branch), Some(tip));
}

#[test]
fn a_jump_ends_no_client_and_keeps_none() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let clock = Clock::new(rig.path());
    let (_folder, program) = own_program();
    let (config, log) = (rig.path().join("gate.json"), rig.path().join("audit"));
    fs::write(&config, r#"{"limits":{"idleClient":3,"idlePush":3}}"#).unwrap();
    let more = [
        ("--config", config.to_str().unwrap()),
        ("--audit-log", log.to_str().unwrap()),
        ("GIT_GATE_GITLEAKS=", program.to_str().unwrap()),
    ];
    let mut gate = rig.gate_with(&[&clock.variables()[..], &more].concat());
    let warm = || processes_of(&program).collect::<Vec<_>>();
    wait_until("scanners wait", || warm().len() == 1);
    fetch_and_push(&rig, &gate, &app, 0);
    let logins = rig.sshd.logins();

    let request = push_request();
    for (index, to) in JUMPS.into_iter().enumerate().skip(1) {
        wait_until("scanners wait", || warm().len() == 1);
        let waiting = warm();
        for words in [b"", &request[..]] {
            clock.jump(JUMPS[index - 1]);
            let kept = idle(&gate, words, || clock.jump(to)).as_secs_f64();
            // Its end is the reader's: by the other clock it would come at once or in days.
            assert!(kept >= 2.9, "{to}: {kept} s");
        }
        wait_for_jump(&log, to);
        fetch_and_push(&rig, &gate, &app, index);
        assert!(
            !waiting.iter().all(|pid| warm().contains(pid)),
            "no scanner was lent"
        );
    }
    assert_eq!(rig.sshd.logins(), logins, "the connection was not kept");
    assert_eq!(gate.stop(), Some(0));
    assert_sane(&log);
}

#[test]
fn a_jump_changes_nothing_for_the_hooks() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let clock = Clock::new(rig.path());
    let log = rig.path().join("audit");
    let more = [("GIT_GATE_AUDIT_LOG=", log.to_str().unwrap())];
    let gate = rig.gate_of(Kind::DropIn, &[&clock.variables()[..], &more].concat());
    gate.git("app", &["config", "git-gate.lockTimeout", "2"])
        .success();
    for (index, to) in JUMPS.into_iter().enumerate() {
        clock.jump(to);
        fetch_and_push(&rig, &gate, &app, index);
        wait_for_jump(&log, to);
    }
    assert_eq!(rig.sshd.logins(), 1, "the connection was not kept");

    // It jumps while a push has the lock.
    clock.jump(JUMPS[0]);
    app.hold();
    let work = rig.client("pusher").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let mut push = work.command();
    let mut push = push
        .args(["push", "-q", "origin", "HEAD:held"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    app.wait_for_push();
    clock.jump("+1d");
    let since = Instant::now();
    let said = work.git(&["fetch"]).failure();
    assert!(since.elapsed().as_secs() >= 2, "{said}");
    let held = said.split_once("has the lock for ").unwrap().1;
    let held: u64 = held.split_once(" s").unwrap().0.parse().unwrap();
    assert!(held < 60, "{said}");
    app.let_go();
    assert!(push.wait().unwrap().success());
    assert_sane(&log);
}
