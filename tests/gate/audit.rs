//! The audit log: one line an event, never a secret, and nobody waits for its reader.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::faults::Disk;
use crate::rig::{Gate, Kind, Ran, Rig, binary, descendants, runs, signal, token, wait_until};

fn events(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Waits for an event of this kind and returns it.
#[track_caller]
fn event(file: &std::path::Path, kind: &str) -> Value {
    let mut found = None;
    wait_until(&format!("there is a {kind} event"), || {
        let all = events(&fs::read_to_string(file).unwrap_or_default());
        found = all.into_iter().find(|event| event["event"] == kind);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn each_event_is_one_line_with_its_facts_and_no_secret() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let (config, log) = (rig.path().join("gate.json"), rig.path().join("audit"));
    let json = format!(
        r#"{{"upstreams":[{{"name":"app","url":"{}","policy":{{"allowRef":["refs/heads/*"]}}}}],
            "limits":{{"idleClient":6}}}}"#,
        app.url
    );
    fs::write(&config, json).unwrap();
    let paths = [config.to_str().unwrap(), log.to_str().unwrap()];
    let mut gate = rig.gate_with(&[("--config", paths[0]), ("--audit-log", paths[1])]);
    assert_eq!(event(&log, "start")["version"], env!("CARGO_PKG_VERSION"));

    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let fetch = event(&log, "fetch");
    assert_eq!(fetch["repository"], "app");
    assert!(fetch["peer"].as_str().unwrap().starts_with("127.0.0.1:"));

    let old = "0".repeat(40);
    let id = work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    let push = event(&log, "push");
    let change = serde_json::json!({"name": "refs/heads/new", "old": old, "new": id});
    assert_eq!(push["refs"][0], change);
    assert_eq!(push["objects"], 3);
    for phase in ["policy", "scan", "forward", "total"] {
        assert!(push["seconds"][phase].as_f64().unwrap() >= 0.0, "{push}");
    }

    work.git(&["push", "origin", "HEAD:refs/tags/no"]).failure();
    let policy = event(&log, "policy");
    assert!(
        policy["reason"]
            .as_str()
            .unwrap()
            .contains("git-gate.allowRef"),
        "{policy}"
    );

    let secret = token(7);
    work.commit(
        "secret",
        format!("key = {secret}\n"),
        &format!("also {secret}"),
    );
    work.git(&["push", "origin", &format!("HEAD:refs/heads/{secret}")])
        .failure();
    let refusal = event(&log, "refusal");
    assert_eq!(refusal["service"], "push");
    let rules = refusal["findings"].as_array().unwrap();
    assert!(
        rules.iter().any(|finding| finding["rule"] == "github-pat"),
        "{refusal}"
    );

    let stalled = std::net::TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
    assert_eq!(event(&log, "limit")["limit"], "idleClient");
    drop(stalled);
    signal(gate.pid(), rustix::process::Signal::HUP);
    event(&log, "reload");
    gate.stop();
    assert_eq!(event(&log, "exit")["code"], 0);

    let everything = fs::read_to_string(&log).unwrap() + &gate.log();
    assert!(!everything.contains(&secret), "the log holds the secret");
    let table = report(&log);
    assert_eq!(table.lines().count(), events(&everything).len() + 1);
    assert!(table.contains("github-pat in secret:1"), "{table}");
}

#[test]
fn what_names_a_client_chose_is_shown_only_after_a_scan() {
    // With dashes and without digits: no heuristic takes it for a token, and gitleaks does.
    let secret = ["gl", "pat-", "abc-defghi-jklmno-pqr"].concat();
    let rig = Rig::new();
    let app = rig.upstream("app");
    let (gate, log) = rig.gate_with_audit(&app.url);
    let client = rig.client("agent");
    let work = client.clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let push = |name: &str| {
        let refspec = format!("HEAD:refs/heads/{name}");
        work.git(&["push", "origin", &refspec]).failure()
    };
    let said = push("honest");
    assert!(
        said.contains("git-gate: refs/heads/honest is refused by git-gate.allowRef"),
        "{said}"
    );
    let said = push(&secret);
    assert!(
        said.contains("git-gate: refs/heads/… (ref update 1) is refused by git-gate.allowRef"),
        "{said}"
    );
    let said = push(&format!("agent/{secret}"));
    assert!(
        said.contains("the ref name refs/heads/… (ref update 1)"),
        "{said}"
    );
    client.git(&["ls-remote", &gate.url(&secret)]).failure();
    let protocol_error = format!("{:04x}x\n{secret}", secret.len() + 6);
    say(
        &gate,
        b"0025git-receive-pack /app.git\0host=h\0",
        protocol_error.as_bytes(),
    );
    wait_until("receive-pack's words are there", || {
        gate.log().contains("expected old/new/ref, got …")
    });
    let all = fs::read_to_string(&log).unwrap();
    let refs: Vec<_> = events(&all)
        .iter()
        .filter_map(|event| Some(event["refs"][0]["name"].as_str()?.to_owned()))
        .collect();
    assert_eq!(
        refs,
        [
            "refs/heads/honest",
            "refs/heads/… (ref update 1)",
            "refs/heads/… (ref update 1)"
        ]
    );
    let all = all + &gate.log();
    assert!(!all.contains(&secret), "{all}");
}

/// Sends a request and what follows it, and reads to the end.
fn say(gate: &Gate, request: &[u8], more: &[u8]) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
    stream.write_all(request).unwrap();
    stream.write_all(more).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_reader_that_is_full_or_gone_stops_no_push() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    // A pipe with a reader that never reads: once it is full, a write to it blocks.
    let fifo = rig.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let reader = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(&fifo)
        .unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let gate = rig.gate_with(&[("--audit-log", fifo.to_str().unwrap())]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    for _ in 0..20 {
        work.git(&["ls-remote", "origin"]).success();
        for _ in 0..20 {
            all_refused(&gate);
        }
    }
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/full"])
        .success();
    drop(reader);
    work.git(&["push", "origin", "HEAD:refs/heads/gone"])
        .success();
    assert_eq!(app.tip("refs/heads/gone"), Some(work.id("HEAD")));
}

/// A request that leaves a line of 150 bytes in the log.
fn all_refused(gate: &Gate) {
    say(gate, b"0025git-upload-pack /nope.git\0host=h\0", b"");
}

#[test]
fn a_full_disk_loses_no_line_uncounted_and_tears_none_that_follows() {
    const REQUESTS: u64 = 60;
    let rig = Rig::new();
    rig.upstream("app");
    let folder = rig.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let disk = Disk::over(&folder, 64 << 10);
    let [log, filler] = ["audit", "filler"].map(|name| folder.join(name));
    let gate = rig.gate_with(&[("--audit-log", log.to_str().unwrap())]);
    event(&log, "start");
    assert!(fs::write(&filler, vec![0; 128 << 10]).is_err());
    (0..REQUESTS).for_each(|_| all_refused(&gate));
    wait_until("the operator is told", || {
        gate.log().contains("audit cannot be written: ")
    });
    wait_until("all are counted", || {
        refusals(&log).0 + lost(&gate) == REQUESTS
    });
    assert_eq!(refusals(&log).1, 1, "no line is torn");
    fs::remove_file(&filler).unwrap();
    all_refused(&gate);
    wait_until("the operator is told of the end", || {
        let end = format!("written again; lost before: {}", lost(&gate));
        gate.log().contains(&end)
    });
    assert_eq!(refusals(&log), (REQUESTS - lost(&gate) + 1, 1));
    let table = report(&log);
    assert!(
        table.ends_with("\n1 line of the log could not be read\n"),
        "{table}"
    );

    let old = folder.join("audit.1");
    fs::rename(&log, &old).unwrap();
    fs::create_dir(&log).unwrap();
    signal(gate.pid(), rustix::process::Signal::HUP);
    wait_until("the operator is told that it cannot be reopened", || {
        gate.log().contains("cannot open the audit log ")
    });
    wait_until("the event is in the old file", || {
        fs::read_to_string(&old)
            .unwrap()
            .contains("cannot open the audit log ")
    });
    drop(gate);
    drop(disk);
}

#[test]
fn hooks_wait_for_a_gate_that_is_busy() {
    const HOOKS: u64 = 30;
    let rig = Rig::new();
    rig.upstream("app");
    let log = rig.path().join("audit");
    let gate = rig.gate_with(&[("--audit-log", log.to_str().unwrap())]);
    event(&log, "start");
    let server: Vec<_> = descendants(gate.pid())
        .into_iter()
        .filter(|&pid| runs(pid, &binary("gate-init")))
        .collect();
    let signal_all = |what| server.iter().for_each(|&pid| signal(pid, what));
    // More lines than the socket holds while nobody takes them (unix(7), max_dgram_qlen).
    signal_all(rustix::process::Signal::STOP);
    let hooks: Vec<_> = (0..HOOKS)
        .map(|_| {
            Command::new(binary("gate-access-hook"))
                .args(["upload-pack", "/nowhere"])
                .env("GIT_GATE_RUN_DIR", gate.path().join("run"))
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(200));
    signal_all(rustix::process::Signal::CONT);
    for mut hook in hooks {
        hook.wait().unwrap();
    }
    wait_until("all lines are there", || refusals(&log) == (HOOKS, 0));
}

/// How many refusals the log holds, and how many lines that are no events.
fn refusals(log: &Path) -> (u64, u64) {
    let text = fs::read_to_string(log).unwrap();
    let count = |what: &dyn Fn(&Option<Value>) -> bool| {
        let lines = text.lines().map(|line| serde_json::from_str(line).ok());
        lines.filter(what).count() as u64
    };
    (
        count(&|line| line.as_ref().is_some_and(|line| line["event"] == "refusal")),
        count(&Option::is_none),
    )
}

fn report(log: &Path) -> String {
    let output = Command::new(binary("gate-init"))
        .arg("report")
        .arg(log)
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// `git_gate_lost_lines_total`.
pub fn lost(gate: &Gate) -> u64 {
    let ran = Command::new(binary("gate-init"))
        .args(["health", "--metrics", "--run-dir"])
        .arg(gate.path().join("run"))
        .output()
        .unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let value = |line: &str| {
        let (family, value) = line.split_once(' ')?;
        family
            .starts_with("git_gate_lost_lines_total{")
            .then_some(value)?
            .parse()
            .ok()
    };
    text.lines().find_map(value).unwrap()
}

#[test]
fn hooks_without_gate_init_write_to_the_file_that_is_named() {
    let rig = Rig::new();
    rig.upstream("app");
    let log = rig.path().join("audit");
    let variable = [("GIT_GATE_AUDIT_LOG=", log.to_str().unwrap())];
    let gate = rig.gate_of(Kind::DropIn, &variable);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let pushed: Ran = work.git(&["push", "origin", "HEAD:refs/heads/new"]);
    pushed.success();
    let kinds: Vec<_> = events(&fs::read_to_string(&log).unwrap())
        .iter()
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["fetch", "push"]);

    // A disk that is full stops nothing, and what is missing is counted beside the log.
    let whole = rig.path().join("whole");
    fs::rename(&log, &whole).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    for _ in 0..2 {
        work.git(&["ls-remote", "-q", "origin"]).success();
    }
    fs::remove_file(&log).unwrap();
    fs::rename(&whole, &log).unwrap();
    let table = report(&log);
    assert!(table.ends_with("\nlines that are missing: 2\n"), "{table}");
}
