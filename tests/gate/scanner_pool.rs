//! Scanners that serve many pushes: gate-init's pool, and a hook that borrows from it or cannot; what an
//! attacker can do with a scanner that stays.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use git_gate::deadline::Deadline;
use git_gate::scan::gitleaks::{Engine, EngineError, FRAGMENT_LIMIT, RawFinding};
use git_gate::serve::scanner_pool::{Kept, Pool};
use rustix::process::Signal;

use crate::gitleaks::{own_program, processes_of, rules, scan, settings};
use crate::limits::{connect, push_request};
use crate::rig::{self, Rig, descendants, token};

fn deadline() -> Deadline {
    Deadline::of("scanTimeout", 300)
}

/// What is kept in these tests, where the number of scanners is not the point.
const ONE: Kept = Kept {
    warm: 1,
    idle: Duration::from_secs(3600),
};

/// A run folder with a pool, and a gitleaks that no other test runs.
struct Gate {
    pool: Pool,
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl Gate {
    fn new() -> Self {
        let (dir, program) = own_program();
        let pool = Pool::start(dir.path(), ONE, &[]).unwrap();
        Self { pool, program, dir }
    }

    fn engine(&self, rules: Option<&Path>) -> Engine {
        let mut settings = settings(rules);
        settings.run_dir = self.dir.path().to_owned();
        Engine::new(self.program.clone(), &settings, deadline()).unwrap()
    }

    fn running(&self) -> BTreeSet<u32> {
        processes_of(&self.program).collect()
    }

    /// Lets the pool learn what `engine` needs; returns the scanner that waits then.
    fn warm_up(&self, engine: &Engine) -> u32 {
        assert_eq!(scan(engine, &[]).unwrap(), []);
        self.the_one_but(None)
    }

    /// The only scanner that runs, and is not `other`, once nothing changes any more: one that its
    /// hook gave up is still there for a moment.
    fn the_one_but(&self, other: Option<u32>) -> u32 {
        let mut last = None;
        rig::wait_until("one scanner waits", || {
            std::thread::sleep(Duration::from_millis(200));
            let running = self.running();
            let only = running.first().copied().filter(|_| running.len() == 1);
            let is_settled = only.is_some() && only != other && only == last;
            last = only;
            is_settled
        });
        last.unwrap()
    }

    /// How the canaries of the only scanner begin: what no push can know.
    fn canary(&self) -> String {
        let entries = fs::read_dir(self.dir.path()).unwrap().flatten();
        let texts =
            entries.filter_map(|entry| fs::read_to_string(entry.path().join("rules.toml")).ok());
        let text = texts.last().unwrap();
        let at = text.find("canary-").unwrap();
        text[at..at + "canary-".len() + 32].to_owned()
    }
}

/// As gitleaks prints what it finds.
fn print_of(rule: &str, secret: &str) -> String {
    format!(
        "Finding:     {secret}\nSecret:      {secret}\nRuleID:      {rule}\nEntropy:     3.812991\n\n"
    )
}

#[test]
fn one_process_serves_pushes_back_to_back_and_finds_what_a_new_one_does() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let text = format!("one\ntwo {}\n", token(1));
    let cold = Engine::with_program(gate.program.clone(), &settings(None)).unwrap();
    let cold = scan(&cold, &[b"first", text.as_bytes()]).unwrap();
    assert_eq!(rules(&cold), ["github-pat"]);
    let waiting = gate.warm_up(&engine);
    for round in 0..50 {
        let clean = format!("clean {round}\n").repeat(round * 100);
        assert_eq!(scan(&engine, &[clean.as_bytes(), b"more"]).unwrap(), []);
        assert_eq!(gate.running(), BTreeSet::from([waiting]));
    }
    assert_eq!(scan(&engine, &[b"first", text.as_bytes()]).unwrap(), cold);
    // What has found something ends with its report.
    gate.the_one_but(Some(waiting));
}

#[test]
fn a_scanner_is_renewed_after_a_thousand_scans() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let waiting = gate.warm_up(&engine);
    for _ in 0..998 {
        scan(&engine, &[b"text"]).unwrap();
    }
    assert_eq!(gate.running(), BTreeSet::from([waiting]));
    scan(&engine, &[b"text"]).unwrap();
    gate.the_one_but(Some(waiting));
}

#[test]
fn text_that_imitates_a_canary_or_a_print_or_an_error_changes_nothing() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let waiting = gate.warm_up(&engine);
    let [head, tail] =
        ["head", "tail"].map(|end| format!("{end}-canary-{}-{}", "0a".repeat(16), "1b".repeat(16)));
    let prints = print_of("git-gate-canary", &head) + &print_of("git-gate-canary", &tail);
    let errors = "9:46AM ERR could not read\npanic: no\n[]\n";
    for clean in [&*prints, errors, &format!("{head}\n\n{tail}\n\n")] {
        assert_eq!(scan(&engine, &[clean.as_bytes()]).unwrap(), []);
    }
    assert_eq!(gate.running(), BTreeSet::from([waiting]));

    // A finding that is printed over many lines, and looks like the end of a clean scan.
    let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} PRIVATE KEY-----\n"));
    let key = format!("{begin}{}{prints}{end}", "MIIabc0123456789\n".repeat(9));
    let text = format!("{key}\n\n{}", token(1));
    let found = scan(&engine, &[text.as_bytes()]).unwrap();
    assert!(rules(&found).contains(&"github-pat"), "{found:?}");
    gate.the_one_but(Some(waiting));
}

#[test]
fn who_knew_the_beginning_of_the_canaries_would_only_be_refused() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    for with_secret in [false, true] {
        let waiting = gate.warm_up(&engine);
        let canary = format!("-{}-{}", gate.canary(), "1b".repeat(16));
        let secret = if with_secret { token(1) } else { String::new() };
        let text = format!("head{canary}\n\n{secret}\n\ntail{canary}\n\n");
        let found = scan(&engine, &[text.as_bytes()]).unwrap();
        let mut expected = vec!["git-gate-canary"; 2];
        expected.extend(with_secret.then_some("github-pat"));
        let mut found = rules(&found);
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        gate.the_one_but(Some(waiting));
    }
}

#[test]
fn what_else_a_scanner_says_takes_it_out_of_service() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let say = |pid: u32, stream: u32| {
        let path = format!("/proc/{pid}/fd/{stream}");
        let mut stream = OpenOptions::new().write(true).open(path).unwrap();
        stream.write_all(b"\n").unwrap();
    };
    type Scan = fn(&Engine, &dyn Fn()) -> Result<Vec<RawFinding>, EngineError>;
    let moments: [Scan; 2] = [
        |engine, say| {
            say();
            scan(engine, &[b"text"])
        },
        |engine, say| {
            let mut scanner = engine.start()?;
            scanner.feed(b"text")?;
            say();
            scanner.finish()
        },
    ];
    for scan in moments {
        // One byte more on its output: the report decides.
        let waiting = gate.warm_up(&engine);
        assert_eq!(scan(&engine, &|| say(waiting, 1)).unwrap(), []);
        let waiting = gate.the_one_but(Some(waiting));
        // And where an error is: a whole report has none.
        let error = scan(&engine, &|| {
            let path = format!("/proc/{waiting}/fd/2");
            let mut stream = OpenOptions::new().write(true).open(path).unwrap();
            stream.write_all(b"9:46AM ERR x\n").unwrap();
        });
        assert!(
            matches!(error, Err(EngineError::Report { .. })),
            "{error:?}"
        );
        gate.the_one_but(Some(waiting));
    }
}

#[test]
fn the_end_of_a_lent_scanner_is_told_and_the_next_push_has_another() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    // Of the second one Go makes a crash of its own, with a trace.
    for (signal, told) in [
        (Signal::KILL, "it was killed (SIGKILL)"),
        (Signal::ABORT, "exit status: 2): SIGABRT"),
    ] {
        let waiting = gate.warm_up(&engine);
        let mut scanner = engine.start().unwrap();
        scanner.feed(token(1).as_bytes()).unwrap();
        // Else it may be done before it dies.
        rig::signal(waiting, Signal::STOP);
        scanner.feed(b"more").unwrap();
        rig::signal(waiting, signal);
        rig::signal(waiting, Signal::CONT);
        rig::wait_until("it is gone", || !gate.running().contains(&waiting));
        let error = scanner.finish().unwrap_err();
        assert!(matches!(error, EngineError::Failed { .. }), "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
        let found = scan(&engine, &[token(1).as_bytes()]).unwrap();
        assert_eq!(rules(&found), ["github-pat"]);
        gate.the_one_but(Some(waiting));
    }
}

#[test]
fn a_hook_that_hangs_up_ends_its_scanner() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let waiting = gate.warm_up(&engine);
    let mut scanner = engine.start().unwrap();
    rig::signal(waiting, Signal::STOP);
    scanner.feed(b"text").unwrap();
    drop(scanner);
    rig::wait_until("it is gone", || !gate.running().contains(&waiting));
}

#[test]
fn a_scanner_that_died_waiting_is_not_lent() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let waiting = gate.warm_up(&engine);
    rig::signal(waiting, Signal::KILL);
    rig::wait_until("it is gone", || rig::has_ended(waiting));
    assert!(scan(&engine, &[b"text"]).unwrap().is_empty());
    gate.the_one_but(Some(waiting));
}

#[test]
fn of_pushes_at_once_each_has_its_own_verdict() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    gate.warm_up(&engine);
    std::thread::scope(|scope| {
        for pusher in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..6 {
                    let secret = token(pusher * 100 + round);
                    let has_secret = (pusher + round) % 4 == 0;
                    let text = if has_secret { &*secret } else { "nothing" };
                    let found = scan(engine, &[b"text", text.as_bytes(), b"text"]).unwrap();
                    let found: Vec<_> = found.into_iter().map(|one| one.secret).collect();
                    assert_eq!(found, Vec::from_iter(has_secret.then_some(secret)));
                }
            });
        }
    });
}

#[test]
fn a_big_push_lets_a_small_one_through() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    gate.warm_up(&engine);
    let is_through = AtomicBool::new(false);
    let lorem = "lorem ipsum dolor\n".repeat(FRAGMENT_LIMIT / 18);
    let (first, last) = (token(1), token(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let cores = std::thread::available_parallelism().unwrap().get();
            rig::wait_until("it has all that there are", || {
                gate.running().len() >= cores.min(4)
            });
            assert_eq!(scan(&engine, &[b"small"]).unwrap(), []);
            is_through.store(true, Ordering::Relaxed);
        });
        let mut scanner = engine.start().unwrap();
        scanner.feed(first.as_bytes()).unwrap();
        while !is_through.load(Ordering::Relaxed) {
            scanner.feed(lorem.as_bytes()).unwrap();
        }
        let line = scanner.feed(last.as_bytes()).unwrap() - 1;
        let mut found = scanner.finish().unwrap();
        found.sort_by_key(|finding| finding.start_line);
        let found: Vec<_> = found
            .into_iter()
            .map(|one| (one.start_line, one.secret))
            .collect();
        assert_eq!(found, [(1, first), (line, last)]);
    });
}

#[test]
fn a_scanner_that_stands_still_holds_up_no_other_of_its_push() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let first = gate.warm_up(&engine);
    let lorem = "lorem ipsum dolor\n".repeat(FRAGMENT_LIMIT / 18);
    let mut scanner = engine.start().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    while gate.running().len() < cores.min(4) {
        scanner.feed(lorem.as_bytes()).unwrap();
    }
    let mut others = gate.running();
    others.remove(&first);
    others
        .iter()
        .for_each(|&one| rig::signal(one, Signal::STOP));
    // Far more than waits in front of those that stand still, or brings help.
    for _ in 0..500 {
        scanner.feed(lorem.as_bytes()).unwrap();
    }
    let secret = token(1);
    let line = scanner.feed(secret.as_bytes()).unwrap() - 1;
    others
        .iter()
        .for_each(|&one| rig::signal(one, Signal::CONT));
    let found: Vec<_> = scanner.finish().unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.start_line, &one.secret))
        .collect();
    assert_eq!(found, [(line, &secret)]);
}

#[test]
fn a_push_with_nothing_to_feed_lets_another_through() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    gate.warm_up(&engine);
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut all: Vec<_> = (0..cores).map(|_| engine.start().unwrap()).collect();
    for scanner in &mut all {
        scanner.feed(token(1).as_bytes()).unwrap();
    }
    std::thread::scope(|scope| {
        let small = scope.spawn(|| scan(&engine, &[b"small"]).unwrap());
        rig::wait_until("it is through", || {
            all.iter_mut().for_each(|scanner| scanner.rest().unwrap());
            small.is_finished()
        });
    });
    for scanner in all {
        assert_eq!(rules(&scanner.finish().unwrap()), ["github-pat"]);
    }
}

#[test]
fn other_rules_retire_what_waits() {
    let gate = Gate::new();
    let file = gate.dir.path().join("rules.toml");
    let house = |digits: &str| format!("[[rules]]\nid = 'house'\nregex = 'house-{digits}'\n");
    fs::write(&file, house("1+")).unwrap();
    let waiting = gate.warm_up(&gate.engine(Some(&file)));
    fs::write(&file, house("2+")).unwrap();
    let engine = gate.engine(Some(&file));
    let found = scan(&engine, &[b"house-111 house-222"]).unwrap();
    assert_eq!(found[0].secret, "house-222");
    assert_eq!(found.len(), 1);
    gate.the_one_but(Some(waiting));
}

#[test]
fn what_is_no_longer_configured_waits_no_longer() {
    let gate = Gate::new();
    gate.warm_up(&gate.engine(None));
    gate.pool.keep(ONE, &[]);
    rig::wait_until("none waits", || gate.running().is_empty());
    gate.pool.keep(Kept { warm: 3, ..ONE }, &[]);
    scan(&gate.engine(None), &[]).unwrap();
    rig::wait_until("three wait", || gate.running().len() == 3);
    drop(gate.pool);
    rig::wait_until("none waits", || {
        processes_of(&gate.program).next().is_none()
    });
}

#[test]
fn a_gate_init_that_does_not_answer_keeps_nobody_waiting() {
    let (dir, program) = own_program();
    let _silent = UnixListener::bind(dir.path().join("scanner")).unwrap();
    let mut settings = settings(None);
    settings.run_dir = dir.path().to_owned();
    let engine = Engine::new(program, &settings, deadline()).unwrap();
    assert_eq!(
        rules(&scan(&engine, &[token(1).as_bytes()]).unwrap()),
        ["github-pat"]
    );
}

#[test]
fn rules_that_gitleaks_cannot_read_are_refused_with_a_pool_too() {
    let gate = Gate::new();
    let file = gate.dir.path().join("rules.toml");
    fs::write(&file, "[[rules]]\nid = 'a'\nregex = '('\n").unwrap();
    for _ in 0..3 {
        let error = scan(&gate.engine(Some(&file)), &[b"text"]).unwrap_err();
        assert!(matches!(error, EngineError::Config { .. }), "{error:?}");
    }
}

#[test]
fn a_gate_without_pushes_keeps_no_scanner_until_a_client_is_about_to_push() {
    let rig = Rig::new();
    rig.upstream("app");
    let (_folder, program) = own_program();
    let config = rig.path().join("gate.json");
    fs::write(&config, r#"{"limits":{"scannerIdle":1}}"#).unwrap();
    let gate = rig.gate_with(&[
        ("--config", config.to_str().unwrap()),
        ("GIT_GATE_GITLEAKS=", program.to_str().unwrap()),
    ]);
    gate.wait_for_mirror("app");
    let scanners = || processes_of(&program).count();
    rig::wait_until("none waits", || scanners() == 0);
    let _client = connect(&gate, &push_request());
    rig::wait_until("one waits", || scanners() == 1);
}

#[test]
fn of_fifty_pushes_at_once_none_is_refused_and_no_core_has_two_scanners() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate(rig::Kind::Init);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let pushes: Vec<_> = (0..50)
        .map(|number| {
            let tip = work.commit("file", format!("{number}\n"), "change");
            let name = format!("refs/heads/b{number}");
            let mut push = work.command();
            push.args(["push", "-q", "origin", &format!("{tip}:{name}")]);
            push.stderr(Stdio::piped());
            (tip, name, push)
        })
        .collect();
    let pushes: Vec<_> = pushes
        .into_iter()
        .map(|(tip, name, mut push)| (tip, name, push.spawn().unwrap()))
        .collect();
    let is_over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let counted = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                let all = descendants(gate.pid()).into_iter();
                most = most.max(all.filter(|&pid| rig::runs(pid, &rig::gitleaks())).count());
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        for (tip, name, push) in pushes {
            let ran = push.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{name}: {said}");
            assert_eq!(app.tip(&name), Some(tip));
        }
        is_over.store(true, Ordering::Relaxed);
        counted.join().unwrap()
    });
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!((1..=cores).contains(&most), "{most} scanners");
}
