//! Clients that stall, that only connect, and that are too many.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::rig::{self, Gate, Mirror, PATIENCE, Rig};

/// A connection that sends `bytes` and then nothing.
pub fn connect(gate: &Gate, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Everything that the gate sends until it closes; fails when it never does.
#[track_caller]
fn all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the gate keeps the connection: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn packet(line: &str) -> Vec<u8> {
    format!("{:04x}{line}", line.len() + 4).into_bytes()
}

/// The request of a push to `app`.
pub fn push_request() -> Vec<u8> {
    packet("git-receive-pack /app.git\0host=gate\0")
}

/// The request of a fetch from `app`, after which it is the client's turn.
fn fetch_request() -> Vec<u8> {
    packet("git-upload-pack /app.git\0host=gate\0")
}

/// A gate.json with these `limits`.
fn limits(rig: &Rig, limits: &str) -> String {
    let path = rig.path().join("gate.json");
    std::fs::write(&path, format!(r#"{{"limits":{{{limits}}}}}"#)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_client_that_stalls_is_ended_wherever_it_stops() {
    let rig = Rig::new();
    rig.upstream("app");
    let config = limits(&rig, r#""idleClient":1,"idlePush":1"#);
    let gate = rig.gate_with(&[("--config", &config)]);

    let said = all(&mut connect(&gate, b""));
    assert!(
        said.contains("ERR git-gate: no request within 1 s"),
        "{said}"
    );
    let said = all(&mut connect(&gate, b"00"));
    assert!(
        said.contains("ERR git-gate: no request within 1 s"),
        "{said}"
    );
    // The advertisement comes, and then the client says nothing.
    let said = all(&mut connect(&gate, &push_request()));
    assert!(said.contains("report-status"), "{said}");
    // It stops in the middle of its commands, and in the middle of its pack.
    let zero = "0".repeat(40);
    let one = "1".repeat(40);
    let command = packet(&format!("{zero} {one} refs/heads/x\0report-status"));
    for rest in [
        &command[..20],
        &[&command[..], b"0000PACK\0\0\0\x02"].concat(),
    ] {
        all(&mut connect(&gate, &[&push_request(), rest].concat()));
    }
    rig::wait_until("git daemon has ended for each of them", || {
        let running = rig::mentioning(&gate.path().join("git"));
        !running.iter().any(|command| command.contains("-pack"))
    });
    let leftovers = std::fs::read_dir(gate.repository("app").join("objects")).unwrap();
    for entry in leftovers {
        let name = entry.unwrap().file_name();
        assert!(
            !name.to_string_lossy().starts_with("tmp_"),
            "{name:?} is left"
        );
    }
}

#[test]
fn a_push_waits_for_its_own_hook_and_is_told_why_it_was_cut() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let config = limits(&rig, r#""idleClient":5"#);
    let gate = rig.gate_with(&[("--config", &config)]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let hook = work.path().join(".git/hooks/pre-push");
    rig::write_program(&hook, "#!/bin/sh\nsleep 8\n");

    work.git(&["push", "origin", "HEAD:refs/heads/slow"])
        .success();
    limits(&rig, r#""idlePush":1"#);
    rig::signal(gate.pid(), rustix::process::Signal::HUP);
    rig::wait_until("it is reloaded", || gate.log().contains("limits.idlePush"));
    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/late"])
        .failure();
    assert!(
        said.contains("git-gate: nothing came from you for 1 s (limits.idlePush)"),
        "{said}"
    );
    assert_eq!(upstream.tip("refs/heads/late"), None);
}

#[test]
fn pushes_that_wait_for_their_clients_keep_nobody_out() {
    let rig = Rig::new();
    rig.upstream("app");
    let config = limits(&rig, r#""maxConnectionsPerPeer":2"#);
    let gate = rig.gate_with(&[("--config", &config)]);
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let mut head = [0; 8];
            let mut stream = connect(&gate, &push_request());
            rig::wait_until("there is a place for one more", || {
                let read = stream.read_exact(&mut head);
                let is_served = read.is_ok() && &head[4..] != b"ERR ";
                if !is_served {
                    stream = connect(&gate, &push_request());
                }
                is_served
            });
            stream
        })
        .collect();
    let agent = rig.client("agent");
    rig::wait_until("there is a place for somebody else", || {
        agent.git(&["ls-remote", &gate.url("app")]).ok
    });
    let work = agent.clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/new"])
        .success();
    for mut stream in waiting {
        stream.set_nonblocking(true).unwrap();
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::WouldBlock), "none was cut off for it");
    }
}

/// A push to `app` whose client has been told the refs, and sends nothing.
fn waiting_push(gate: &Gate) -> TcpStream {
    let mut stream = connect(gate, &push_request());
    let mut refs = Vec::new();
    while !refs.ends_with(b"0000") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        refs.extend(byte);
    }
    stream
}

#[test]
fn a_push_that_finds_no_place_again_is_told_so() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let config = limits(&rig, r#""maxConnections":1,"idlePush":8"#);
    let gate = rig.gate_with(&[("--config", &config)]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    app.hold();
    let mut waiting = waiting_push(&gate);
    let push = || {
        let mut push = work.command();
        push.args(["push", "origin", "HEAD:refs/heads/other"]);
        push.stderr(Stdio::null()).spawn().unwrap()
    };
    let mut other = push();
    rig::wait_until("the other push has the place", || {
        if other.try_wait().unwrap().is_some() {
            other = push();
        }
        app.has_push()
    });
    waiting.write_all(b"0000").unwrap();
    let said = all(&mut waiting);
    app.let_go();
    assert!(
        said.contains("git-gate: busy: no place came free of the 1 there are (maxConnections)"),
        "{said}"
    );
    assert!(other.wait().unwrap().success());
}

#[test]
fn a_push_that_has_sent_nothing_holds_up_no_stop() {
    let rig = Rig::new();
    rig.upstream("app");
    let config = limits(&rig, r#""drainTimeout":3600"#);
    let mut gate = rig.gate_with(&[("--config", &config)]);
    let mut waiting = waiting_push(&gate);
    rig::signal(gate.pid(), rustix::process::Signal::TERM);
    let said = all(&mut waiting);
    assert!(
        said.contains("git-gate: the gate is being stopped"),
        "{said}"
    );
    drop(waiting);
    assert_eq!(gate.stop(), Some(0));
    let log = gate.log();
    assert!(log.contains(r#""limit":"drainTimeout""#), "{log}");
}

#[test]
fn what_a_client_asks_for_is_no_label() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[]);
    for number in 0..300 {
        let request = packet(&format!(
            "git-upload-pack /made-up-{number}.git\0host=gate\0"
        ));
        all(&mut connect(&gate, &request));
    }
    let run = gate.path().join("run").display().to_string();
    let metrics = || {
        let mut command = assert_cmd::Command::new(rig::binary("gate-init"));
        let command = command.args(["health", "--metrics", "--run-dir", &run]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let refused = r#"event="refusal",service="fetch",limit=""} 300"#;
    rig::wait_until("all are counted", || metrics().contains(refused));
    let text = metrics();
    assert!(!text.contains("made-up"), "{text}");
    assert!(text.contains("\ngit_gate_clients{"), "{text}");
    assert!(text.ends_with('\n') && text.lines().count() < 100, "{text}");
}

#[test]
fn a_client_without_a_side_band_reads_why_its_push_is_refused() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let tip = work.commit(
        "config",
        format!("token = {}\n", rig::token(7)),
        "add config",
    );
    let mut pack = work.command();
    pack.args(["pack-objects", "-q", "--revs", "--stdout"]);
    pack.stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = pack.spawn().unwrap();
    write!(child.stdin.take().unwrap(), "{tip}\n^{tip}~1\n").unwrap();
    let pack = child.wait_with_output().unwrap().stdout;
    let zero = "0".repeat(40);
    let command = packet(&format!("{zero} {tip} refs/heads/leak\0report-status"));
    let mut stream = connect(&gate, &push_request());
    stream
        .write_all(&[&command[..], b"0000", &pack].concat())
        .unwrap();
    let said = all(&mut stream);
    assert!(
        said.contains("ng refs/heads/leak git-gate: push refused: 1 secret found\n"),
        "{said}\n{}",
        gate.log()
    );
}

#[test]
fn what_is_not_git_is_answered_at_once() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let said = all(&mut connect(&gate, b"GET / HTTP/1.1\r\n\r\n"));
    assert_eq!(
        said,
        "003bERR git-gate: this is not the git protocol".replace("003b", &said[..4])
    );
    for path in [
        "/nope.git",
        "/../app.git",
        "//app.git/../app",
        "/.app.aside",
        "/app.git/objects",
    ] {
        let request = packet(&format!("git-upload-pack {path}\0host=gate\0"));
        let said = all(&mut connect(&gate, &request));
        let expected = "no repository of that name here; this gate serves app";
        assert!(said.contains(expected), "{path}: {said}");
    }
    let archive = packet("git-upload-archive /app.git\0host=gate\0");
    let said = all(&mut connect(&gate, &archive));
    assert!(
        said.contains("ERR git-gate: only git fetch and git push"),
        "{said}"
    );
}

#[test]
fn clients_past_a_limit_are_told_and_those_that_only_connect_keep_nobody_out() {
    let rig = Rig::new();
    rig.upstream("app");
    let config = limits(&rig, r#""maxConnectionsPerPeer":2,"idleClient":5"#);
    let gate = rig.gate_with(&[("--config", &config)]);

    let idle: Vec<_> = (0..1000).map(|_| connect(&gate, b"")).collect();
    // Two that are served; a byte of the advertisement shows that they are.
    let mut served = [
        connect(&gate, &fetch_request()),
        connect(&gate, &fetch_request()),
    ];
    for stream in &mut served {
        stream.read_exact(&mut [0; 4]).unwrap();
    }
    let said = all(&mut connect(&gate, &fetch_request()));
    assert!(
        said.contains("busy: 2 clients are served already (maxConnectionsPerPeer)"),
        "{said}"
    );
    drop(idle);
    // A place is free again once one of the two is gone.
    served[0].shutdown(Shutdown::Both).unwrap();
    rig::wait_until("there is a place again", || {
        let mut stream = connect(&gate, &fetch_request());
        let mut head = [0; 8];
        stream.read_exact(&mut head).is_ok() && &head[4..] != b"ERR "
    });
}

#[test]
fn a_slow_upload_and_a_long_scan_are_not_taken_for_a_stall() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    // The upstream takes its time, as a long scan does: the server's keep-alive bytes count.
    upstream.hook("pre-receive", "#!/bin/sh\nsleep 8\n");
    let config = limits(&rig, r#""idleClient":6"#);
    let gate = rig.gate_with(&[("--config", &config)]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");

    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/slow"])
        .success();
    assert!(said.contains("new branch"), "{said}");
    assert_eq!(upstream.tip("refs/heads/slow"), Some(work.id("HEAD")));
}

#[test]
fn bytes_that_trickle_keep_a_client_alive() {
    let rig = Rig::new();
    rig.upstream("app");
    let config = limits(&rig, r#""idlePush":6"#);
    let gate = rig.gate_with(&[("--config", &config)]);
    let zero = "0".repeat(40);
    let one = "1".repeat(40);
    let command = packet(&format!("{zero} {one} refs/heads/x\0report-status"));
    let mut stream = connect(&gate, &push_request());
    for part in command.chunks(10) {
        std::thread::sleep(Duration::from_millis(700));
        stream.write_all(part).unwrap();
    }
    // An end in the middle is answered, which a client that was cut off would not see.
    stream.write_all(b"0000").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let said = all(&mut stream);
    assert!(said.contains("unpack"), "{said}");
}

/// A pack of a few kilobytes whose second object is a delta that stands for 800 MB.
fn bomb() -> Vec<u8> {
    let deflated = |bytes: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // Seven bits a byte, the lowest first; in an object's head the first byte has four and the kind.
    let number = |mut rest: u64| {
        let mut bytes = Vec::new();
        while rest > 0x7f {
            bytes.push((rest & 0x7f | 0x80) as u8);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let head = |kind: u8, size: u64| {
        let first = kind << 4 | (size & 0xf) as u8 | 0x80;
        [vec![first], number(size >> 4)].concat()
    };
    const COPIED: u64 = 0x00ff_ffff;
    const TIMES: u64 = 50;
    let base = vec![0; 1 << 24];
    let copy = [0x80 | 0x70, 0xff, 0xff, 0xff].repeat(TIMES as usize);
    let delta = [number(base.len() as u64), number(COPIED * TIMES), copy].concat();
    let id = git2::Oid::hash_object(git2::ObjectType::Blob, &base).unwrap();
    let pack = [
        b"PACK\0\0\0\x02\0\0\0\x02",
        &head(3, base.len() as u64)[..],
        &deflated(&base),
        &head(7, delta.len() as u64),
        id.as_bytes(),
        &deflated(&delta),
    ]
    .concat();
    let mut sum = Command::new("sha1sum");
    let mut sum = sum
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sum.stdin.take().unwrap().write_all(&pack).unwrap();
    let sum = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    let sum = git2::Oid::from_str(&sum[..40]).unwrap();
    [&pack, sum.as_bytes()].concat()
}

#[test]
fn what_a_pack_stands_for_takes_git_no_more_memory_than_a_file_may() {
    let rig = Rig::new();
    rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let (zero, one) = ("0".repeat(40), "1".repeat(40));
    let command = packet(&format!("{zero} {one} refs/heads/x\0report-status"));
    let push = [&push_request(), &command, &b"0000"[..], &bomb()].concat();
    let said = all(&mut connect(&gate, &push));
    assert!(said.contains("abnormal exit"), "{said}");
}

#[test]
fn git_has_a_limit_of_work_for_a_push_and_the_hook_has_its_own() {
    let rig = Rig::new();
    let upstream = rig.upstream("app");
    let gate = rig.gate_with(&[]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    work.commit("file", "text\n", "change");
    let cpu = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max cpu time"));
        let soft = line.unwrap().split_whitespace().nth(3);
        soft.unwrap().to_owned()
    };
    upstream.hold();
    let push = work
        .command()
        .args(["push", "origin", "HEAD:refs/heads/x"])
        .spawn();
    upstream.wait_for_push();
    let daemon = rig::descendants(gate.pid())
        .into_iter()
        .map(cpu)
        .collect::<Vec<_>>();
    assert!(daemon.contains(&"900".to_owned()), "{daemon:?}");
    assert_eq!(cpu(gate.hook().unwrap()), "unlimited");
    upstream.let_go();
    assert!(push.unwrap().wait().unwrap().success());
}

#[test]
fn what_a_push_unpacks_to_is_bounded_before_it_is_read() {
    let mirror = Mirror::new();
    mirror.work.commit("zeros", vec![0; 3 << 20], "zeros");
    mirror.work.commit("ones", vec![1; 3 << 20], "ones");
    let push = || mirror.push(&["main:refs/heads/main"]);
    assert_eq!(push().unwrap().findings, []);
    for (key, limit, named) in [
        ("git-gate.maxObjectSize", "2m", "git rev-list --objects"),
        (
            "git-gate.maxUnpackedSize",
            "5m",
            "push fewer commits at once",
        ),
    ] {
        mirror.set(key, limit);
        let error = push().unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(named), "{error}");
        mirror.set(key, "6g");
    }
    push().unwrap();
}
