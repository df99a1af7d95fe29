//! git's smart HTTP: the same work, refusals and limits as over git's own protocol.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::rig::{Gate, PATIENCE, Rig, Upstream, free_port, mentioning, token, wait_until};

/// A gate that serves HTTP too, at `port`, with an audit log.
pub struct Served {
    pub gate: Gate,
    pub port: u16,
    pub log: std::path::PathBuf,
}

impl Served {
    /// In front of all upstreams of `rig`, with `json` in gate.json.
    pub fn new(rig: &Rig, json: &str) -> Self {
        let (config, log) = (rig.path().join("gate.json"), rig.path().join("audit"));
        fs::write(&config, json).unwrap();
        let port = free_port();
        let gate = rig.gate_with(&[
            ("--config", config.to_str().unwrap()),
            ("--audit-log", log.to_str().unwrap()),
            ("--http-port", &port.to_string()),
        ]);
        wait_until("HTTP is served", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        // However busy the machine is.
        for upstream in rig.upstreams() {
            gate.wait_for_mirror(&upstream.name);
        }
        Self { gate, port, log }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}.git", self.port)
    }

    /// The events of this kind in the audit log.
    pub fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let all = log.lines().map(|line| serde_json::from_str(line).unwrap());
        all.filter(|event: &serde_json::Value| event["event"] == kind)
            .collect()
    }

    /// A connection on which `bytes` were sent.
    pub fn connect(&self, bytes: &[u8]) -> TcpStream {
        connect(self.port, bytes)
    }
}

fn connect(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Everything that is sent until the connection is closed.
#[track_caller]
pub fn all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the gate keeps the connection: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn get(port: u16, path: &str, headers: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n{headers}\r\n");
    all(connect(port, head.as_bytes()))
}

/// The head of a request with a body of `length` bytes.
pub fn post(service: &str, length: &str) -> String {
    format!(
        "POST /app.git/git-{service} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\
         Git-Protocol: version=2\r\n\
         Content-Type: application/x-git-{service}-request\r\n{length}\r\n\r\n"
    )
}

fn app(rig: &Rig) -> Upstream {
    rig.upstream("app")
}

#[test]
fn fetches_and_pushes_of_every_version_go_through() {
    let rig = Rig::new();
    let upstream = app(&rig);
    let served = Served::new(&rig, r#"{"upstreams":[]}"#);
    let url = served.url("app");
    let agent = rig.client("agent");
    for version in ["0", "1", "2"] {
        let protocol = format!("protocol.version={version}");
        let git = |arguments: &[&str]| {
            let all = [&["-c", &protocol], arguments].concat();
            agent.git(&all).success()
        };
        let folder = format!("work-{version}");
        git(&["clone", "-q", &url, &folder]);
        let shallow = format!("shallow-{version}");
        git(&["clone", "-q", "--depth=1", &url, &shallow]);
        let partial = format!("partial-{version}");
        git(&[
            "clone",
            "-q",
            "--filter=blob:none",
            "--no-checkout",
            &url,
            &partial,
        ]);
        git(&["-C", &partial, "checkout", "-q", "main"]);
        let work = agent.at(&folder);
        work.commit("file", format!("text {version}\n"), "change");
        let one = format!("HEAD:refs/heads/one-{version}");
        let two = format!("HEAD:refs/heads/two-{version}");
        git(&[
            "-C",
            &folder,
            "push",
            "--atomic",
            "-o",
            "git-gate.format=json",
            &url,
            &one,
            &two,
        ]);
        let tip = upstream.tip(&format!("refs/heads/two-{version}"));
        assert_eq!(tip, Some(work.id("HEAD")));
        // Somebody else's commit is seen at once.
        let theirs = upstream.commit("main", "README", &format!("{version}\n"), "theirs");
        git(&["-C", &shallow, "fetch", "-q"]);
        assert_eq!(agent.at(&shallow).id("origin/main"), theirs);
    }
    wait_until("each push has its line", || {
        served.events("push").len() == 3
    });
    let push = &served.events("push")[0];
    assert_eq!(push["repository"], "app");
    assert!(push["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(push["ref_count"], 2);
    // One for each clone or fetch: a partial clone asks again for what it checks out.
    let fetches = served.events("fetch");
    assert!((12..=15).contains(&fetches.len()), "{fetches:#?}");
    assert_eq!(served.events("refusal"), Vec::<serde_json::Value>::new());
    assert!(served.gate.log().contains(" and http://127.0.0.1:"));
}

#[test]
fn a_push_that_only_asks_for_refs_has_its_line_too() {
    let rig = Rig::new();
    app(&rig);
    let served = Served::new(&rig, "{}");
    let work = rig.client("agent").clone_of(&served.url("app"), "work");
    let push = || work.git(&["push", "origin", "main"]).success();
    push();
    wait_until("it has its line", || served.events("push").len() == 1);
    // Behind a proxy the rest may come over another connection.
    let refs = "/app.git/info/refs?service=git-receive-pack";
    get(served.port, refs, "X-Forwarded-For: 192.0.2.1\r\n");
    work.commit("file", "text\n", "change");
    push();
    push();
    wait_until("both have their lines", || served.events("push").len() >= 3);
    let counts = served.events("push");
    let counts: Vec<_> = counts
        .iter()
        .map(|push| push["ref_count"].as_u64())
        .collect();
    assert_eq!(counts, [None, Some(1), None]);
}

#[test]
fn a_push_with_a_secret_is_refused_in_the_same_words() {
    let rig = Rig::new();
    let upstream = app(&rig);
    let served = Served::new(&rig, "{}");
    let work = rig.client("agent").clone_of(&served.url("app"), "work");
    work.commit("config", format!("token = {}\n", token(7)), "add config");
    let push = ["push", "origin", "HEAD:refs/heads/leak"];
    let said = work.git(&push).failure();
    assert!(
        said.contains("remote: git-gate: push refused: 1 secret found"),
        "{said}"
    );
    assert_eq!(upstream.tip("refs/heads/leak"), None);
    wait_until("it has its line", || served.events("refusal").len() == 1);
    let refusal = &served.events("refusal")[0];
    assert_eq!(refusal["finding_count"], 1);
    assert!(!fs::read_to_string(&served.log).unwrap().contains(&token(7)));
}

#[test]
fn what_cannot_be_refreshed_is_refused_with_the_reason() {
    let rig = Rig::new();
    let upstream = app(&rig);
    let served = Served::new(&rig, "{}");
    let agent = rig.client("agent");
    let work = agent.clone_of(&served.url("app"), "work");
    work.commit("file", "text\n", "change");
    fs::rename(&upstream.path, upstream.path.with_extension("gone")).unwrap();
    for arguments in [&["fetch"][..], &["push", "origin", "HEAD:refs/heads/x"]] {
        let said = work.git(arguments).failure();
        assert!(said.contains("fatal: remote error: git-gate: "), "{said}");
    }
    wait_until("both have their lines", || {
        served.events("refusal").len() == 2
    });
    let said = agent.git(&["clone", &served.url("nope")]).failure();
    let words = "remote: git-gate: no repository of that name here; this gate serves app";
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_large_push_in_chunks_and_a_packed_request_go_through() {
    let rig = Rig::new();
    let upstream = app(&rig);
    for number in 0..60 {
        upstream.commit(
            &format!("branch-{number}"),
            "file",
            &format!("{number}\n"),
            "one",
        );
    }
    let served = Served::new(&rig, "{}");
    let agent = rig.client("agent");
    let mut clone = agent.command();
    clone.args([
        "-c",
        "protocol.version=0",
        "clone",
        &served.url("app"),
        "work",
    ]);
    let cloned = clone.env("GIT_TRACE_CURL", "1").output().unwrap();
    let trace = String::from_utf8_lossy(&cloned.stderr).to_lowercase();
    assert!(
        cloned.status.success() && trace.contains("content-encoding: gzip"),
        "{trace}"
    );

    let work = agent.at("work");
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    });
    work.commit("noise", noise.take(8 << 20).collect::<Vec<_>>(), "noise");
    let mut push = work.command();
    push.args([
        "-c",
        "http.postBuffer=65536",
        "push",
        "origin",
        "HEAD:refs/heads/noise",
    ]);
    let pushed = push.env("GIT_TRACE_CURL", "1").output().unwrap();
    let trace = String::from_utf8_lossy(&pushed.stderr).to_lowercase();
    assert!(pushed.status.success(), "{trace}");
    assert!(trace.contains("transfer-encoding: chunked"));
    assert_eq!(upstream.tip("refs/heads/noise"), Some(work.id("HEAD")));
    wait_until("the push has its line", || served.events("push").len() == 1);
    assert_eq!(served.events("refusal"), Vec::<serde_json::Value>::new());
}

#[test]
fn a_request_on_another_connection_is_answered_from_the_upstream_as_it_is() {
    let rig = Rig::new();
    let upstream = app(&rig);
    let served = Served::new(&rig, "{}");
    rig.client("agent").clone_of(&served.url("app"), "work");
    let call = |body: &str| {
        let head = post("upload-pack", &format!("Content-Length: {}", body.len()));
        all(served.connect(format!("{head}{body}").as_bytes()))
    };
    let tip = upstream.commit("main", "README", "moved\n", "moved");
    let listed = call("0014command=ls-refs\n00010000");
    assert!(
        listed.contains(&format!("{tip} refs/heads/main")),
        "{listed}"
    );
    // Told by another gate in front of the same upstream.
    let fetch = |tip: &str| {
        let want = format!("{:04x}want {tip}\n", 50);
        let fetched = call(&format!("0012command=fetch\n0001{want}0009done\n0000"));
        assert!(fetched.contains("PACK"), "{fetched}");
    };
    fetch(&upstream.commit("main", "README", "again\n", "again"));
    // As when a fetch is at work here, which has unpacked the commit and not yet its tree.
    let tip = upstream.commit("main", "README", "more\n", "more");
    let file = format!("objects/{}/{}", &tip[..2], &tip[2..]);
    let here = served.gate.repository("app").join(&file);
    fs::create_dir_all(here.parent().unwrap()).unwrap();
    fs::copy(upstream.path.join(&file), here).unwrap();
    fetch(&tip);
}

#[test]
fn a_client_that_goes_away_or_stalls_leaves_nothing_behind() {
    let rig = Rig::new();
    app(&rig);
    let served = Served::new(&rig, r#"{"limits":{"idleClient":1,"idlePush":1}}"#);
    rig.client("agent").clone_of(&served.url("app"), "work");
    let (zero, one) = ("0".repeat(40), "1".repeat(40));
    let line = format!("{zero} {one} refs/heads/x\0report-status side-band-64k");
    let command = format!("{:04x}{line}0000PACK\0\0\0\x02", line.len() + 4);
    let chunk = format!("{:x}\r\n{command}\r\n", command.len());
    let head = post("receive-pack", "Transfer-Encoding: chunked");
    drop(served.connect(format!("{head}{chunk}").as_bytes()));
    let said = all(served.connect(format!("{head}{chunk}").as_bytes()));
    assert!(
        said.contains("nothing came from you for 1 s (limits.idlePush)"),
        "{said}"
    );
    // A head that never ends.
    all(served.connect(b"GET /app.git/info/refs HTTP/1.1\r\nHo"));
    wait_until("git has ended for each of them", || {
        let running = mentioning(&served.gate.path().join("git"));
        !running.iter().any(|command| command.contains("-pack"))
    });
    wait_until("both have their lines", || {
        served.events("refusal").len() == 1 && served.events("limit").len() == 1
    });
    assert_eq!(served.events("limit")[0]["limit"], "idlePush");
    for entry in fs::read_dir(served.gate.repository("app").join("objects")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            !name.to_string_lossy().starts_with("tmp_"),
            "{name:?} is left"
        );
    }
}

#[test]
fn what_is_no_request_of_git_is_answered_in_words() {
    let rig = Rig::new();
    app(&rig);
    let served = Served::new(&rig, r#"{"limits":{"maxConnectionsPerPeer":1}}"#);
    let refs = "/app.git/info/refs";
    for (path, status, words) in [
        (refs, "403", "only the smart one is served here"),
        ("/", "404", "at http://GATE/NAME.git"),
        (
            "/app.git/objects/info/packs",
            "404",
            "at http://GATE/NAME.git",
        ),
        (
            "/../app.git/info/refs?service=git-upload-pack",
            "404",
            "this gate serves app",
        ),
        (
            "/.app.aside/info/refs?service=git-upload-pack",
            "404",
            "this gate serves app",
        ),
    ] {
        let said = get(served.port, path, "");
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {said}"
        );
        assert!(said.contains(words), "{path}: {said}");
    }
    // One that has a place, and one that finds none.
    let head = post("receive-pack", "Content-Length: 1000");
    let holding = served.connect(format!("{head}00").as_bytes());
    wait_until("there is no place", || {
        let said = get(served.port, &format!("{refs}?service=git-upload-pack"), "");
        said.contains("ERR git-gate: busy: 1 clients are served already (maxConnectionsPerPeer)")
    });
    drop(holding);
    wait_until("there is a place again", || {
        let said = get(served.port, &format!("{refs}?service=git-upload-pack"), "");
        said.contains("# service=git-upload-pack") && !said.contains("ERR ")
    });
}

#[test]
fn health_and_counters_have_an_address_of_their_own() {
    let rig = Rig::new();
    app(&rig);
    let admin = free_port();
    let served = Served::new(
        &rig,
        &format!(r#"{{"http":{{"admin":"127.0.0.1:{admin}"}}}}"#),
    );
    rig.client("agent")
        .git(&["ls-remote", &served.url("app")])
        .success();
    let health = get(admin, "/-/healthz", "");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    wait_until("the fetch is counted", || {
        let metrics = get(admin, "/-/metrics", "");
        metrics.contains(r#"event="fetch",service="fetch",limit=""} 1"#)
    });
    for path in ["/-/healthz", "/-/metrics"] {
        let said = get(served.port, path, "");
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    }
    let said = get(admin, "/app.git/info/refs?service=git-upload-pack", "");
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
}

#[test]
fn a_push_that_is_being_forwarded_ends_without_its_client_and_before_the_gate() {
    let rig = Rig::new();
    let upstream = app(&rig);
    let mut served = Served::new(&rig, "{}");
    let work = rig.client("agent").clone_of(&served.url("app"), "work");
    for (name, is_killed) in [("gone", true), ("drained", false)] {
        work.commit("file", name, "change");
        upstream.hold();
        let branch = format!("HEAD:refs/heads/{name}");
        let push = work.command().args(["push", "origin", &branch]).spawn();
        let mut push = push.unwrap();
        upstream.wait_for_push();
        if is_killed {
            push.kill().unwrap();
            push.wait().unwrap();
            upstream.let_go();
            wait_until("it is upstream", || {
                upstream.tip(&format!("refs/heads/{name}")).is_some()
            });
            upstream.release();
        } else {
            crate::rig::signal(served.gate.pid(), rustix::process::Signal::TERM);
            wait_until("it ends", || {
                served.gate.log().contains("ending: 1 client left")
            });
            upstream.let_go();
            assert!(push.wait().unwrap().success());
            assert_eq!(served.gate.stop(), Some(0));
        }
    }
    assert_eq!(upstream.tip("refs/heads/drained"), Some(work.id("HEAD")));
    assert_eq!(served.events("push").len(), 2);
}

#[test]
fn two_hundred_clients_that_say_nothing_more_keep_nobody_out() {
    let rig = Rig::new();
    app(&rig);
    let served = Served::new(&rig, "{}");
    let head = b"GET /app.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHo";
    let slow: Vec<_> = (0..200).map(|_| served.connect(head)).collect();
    let began = std::time::Instant::now();
    let work = rig.client("agent").clone_of(&served.url("app"), "work");
    work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/x"]).success();
    assert!(began.elapsed() < PATIENCE / 2);
    // Each is ended in its time.
    for stream in slow {
        all(stream);
    }
}

#[test]
fn a_conversation_that_has_begun_comes_to_its_end_when_the_gate_does() {
    let rig = Rig::new();
    app(&rig);
    let mut served = Served::new(&rig, "{}");
    let head = "GET /app.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: gate\r\n\
                Git-Protocol: version=2\r\n\r\n";
    let mut stream = served.connect(head.as_bytes());
    let mut told = Vec::new();
    while !told.ends_with(b"0\r\n\r\n") {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).unwrap();
        assert_ne!(length, 0, "the gate ends the connection");
        told.extend_from_slice(&part[..length]);
    }
    crate::rig::signal(served.gate.pid(), rustix::process::Signal::TERM);
    wait_until("nobody else is let in", || {
        TcpStream::connect(("127.0.0.1", served.port)).is_err()
    });
    let body = "0014command=ls-refs\n00010000";
    let head = post("upload-pack", &format!("Content-Length: {}", body.len()));
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .unwrap();
    let said = all(stream);
    assert!(said.contains("refs/heads/main"), "{said}");
    assert_eq!(served.gate.stop(), Some(0));
}
