//! Scanners started ahead: gate-init's pool, and a hook that borrows from it or cannot.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git_gate::deadline::Deadline;
use git_gate::scan::gitleaks::{Engine, EngineError};
use git_gate::serve::scanner_pool::Pool;
use rustix::process::Signal;

use crate::gitleaks::{own_program, processes_of, rules, scan, settings};
use crate::rig::{self, token};

fn deadline() -> Deadline {
    Deadline::of("scanTimeout", 300)
}

/// A run folder with a pool, and a gitleaks that no other test runs.
struct Gate {
    pool: Pool,
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl Gate {
    fn new() -> Self {
        let (dir, program) = own_program();
        let pool = Pool::empty(dir.path(), 1).unwrap();
        Self { pool, program, dir }
    }

    fn engine(&self, rules: Option<&Path>) -> Engine {
        Engine::new(
            self.program.clone(),
            self.dir.path().to_owned(),
            &settings(rules),
            deadline(),
        )
        .unwrap()
    }

    fn running(&self) -> BTreeSet<u32> {
        processes_of(&self.program).collect()
    }

    /// Lets the pool learn what `engine` needs; returns the scanner that waits then.
    fn warm_up(&self, engine: &Engine) -> u32 {
        drop(engine.start().unwrap());
        self.the_one_but(None)
    }

    /// The only scanner that runs, and is not `other`, once nothing changes any more: one that was
    /// lent late, or that its hook gave up, is still there for a moment.
    fn the_one_but(&self, other: Option<u32>) -> u32 {
        let mut last = None;
        rig::wait_until("one scanner waits", || {
            std::thread::sleep(Duration::from_millis(400));
            let running = self.running();
            let only = running.first().copied().filter(|_| running.len() == 1);
            let is_settled = only.is_some() && only != other && only == last;
            last = only;
            is_settled
        });
        last.unwrap()
    }
}

#[test]
fn a_borrowed_scanner_finds_the_same_and_the_next_one_waits() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let text = format!("one\ntwo {}\n", token(1));
    let cold = scan(&engine, &[text.as_bytes()]).unwrap();
    let mut waiting = gate.warm_up(&engine);
    for _ in 0..3 {
        assert_eq!(scan(&engine, &[text.as_bytes()]).unwrap(), cold);
        waiting = gate.the_one_but(Some(waiting));
    }
    assert_eq!(rules(&cold), ["github-pat"]);
}

#[test]
fn the_end_of_a_borrowed_scanner_is_told() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let waiting = gate.warm_up(&engine);
    let scanner = engine.start().unwrap();
    rig::signal(waiting, Signal::KILL);
    let error = scanner.finish().unwrap_err().to_string();
    assert!(error.contains("it was killed (SIGKILL)"), "{error}");
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
fn the_scanner_that_waited_longest_is_lent() {
    let gate = Gate::new();
    let engine = gate.engine(None);
    let first = gate.warm_up(&engine);
    gate.pool.keep(2, &[None]);
    rig::wait_until("two wait", || gate.running().len() == 2);
    let scanner = engine.start().unwrap();
    rig::signal(first, Signal::KILL);
    scanner.finish().unwrap_err();
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
    assert_eq!(
        rules(&scan(&engine, &[b"house-111 house-222"]).unwrap()),
        ["house"]
    );
    rig::wait_until("the old one is gone and a new one waits", || {
        let running = gate.running();
        running.len() == 1 && !running.contains(&waiting)
    });
    let found = scan(&engine, &[b"house-111 house-222"]).unwrap();
    assert_eq!(found[0].secret, "house-222");
}

#[test]
fn what_is_no_longer_configured_waits_no_longer() {
    let gate = Gate::new();
    gate.warm_up(&gate.engine(None));
    gate.pool.keep(1, &[]);
    rig::wait_until("none waits", || gate.running().is_empty());
    gate.pool.keep(3, &[]);
    drop(gate.engine(None).start().unwrap());
    rig::wait_until("three wait", || gate.running().len() == 3);
    gate.pool.keep(1, &[None]);
    gate.warm_up(&gate.engine(None));
    drop(gate.pool);
    rig::wait_until("none waits", || {
        processes_of(&gate.program).next().is_none()
    });
}

#[test]
fn a_gate_init_that_does_not_answer_keeps_nobody_waiting() {
    let (dir, program) = own_program();
    let _silent = UnixListener::bind(dir.path().join("scanner")).unwrap();
    let engine = Engine::new(program, dir.path().to_owned(), &settings(None), deadline()).unwrap();
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
