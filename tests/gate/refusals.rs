//! What is refused has an id, and ends with one command of the operator's.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use git_gate::audit::{Event, Kind as Kinds};
use git_gate::refusals::Record;

use crate::rig::{Client, Gate, Ran, Rig, Upstream, token, wait_until, write_program};

const WORKFLOW: &str = ".github/workflows/build.yml";

/// A drop-in gate with these settings, and an agent.
struct World {
    app: Upstream,
    work: Client,
    gate: Gate,
    rig: Rig,
}

impl World {
    fn with(settings: &[(&str, &str)]) -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let (gate, work) = rig.drop_in(settings);
        Self {
            app,
            work,
            gate,
            rig,
        }
    }

    fn push(&self) -> Ran {
        self.work.git(&["push", "origin", "HEAD:refs/heads/try"])
    }

    /// A push that goes on while something else is done.
    fn push_apart(&self) -> std::process::Child {
        let mut push = self.work.command();
        push.args(["push", "origin", "HEAD:refs/heads/try"]);
        push.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        push.spawn().unwrap()
    }

    /// `gate-init` on this gate's mirrors, as an operator runs it.
    fn gate_init(&self, arguments: &[&str]) -> Ran {
        gate_init(&self.gate, &self.rig, arguments)
    }

    fn refusals(&self) -> Vec<Record> {
        let json = self.gate_init(&["refusals", "--json"]).success();
        serde_json::from_str(&json).unwrap()
    }

    /// The id that a refused push names.
    #[track_caller]
    fn refused(&self) -> (String, String) {
        let before = self.app.refs();
        let said = self.push().failure();
        assert_eq!(self.app.refs(), before);
        (id(&said), said)
    }

    /// Waits until a refusal is kept, and returns its id.
    fn waiting(&self) -> String {
        wait_until("the push waits", || !self.refusals().is_empty());
        self.refusals()[0].id.clone()
    }
}

fn gate_init(gate: &Gate, rig: &Rig, arguments: &[&str]) -> Ran {
    let mut command = gate.command(arguments);
    Ran::of(command.arg("--audit-log").arg(rig.path().join("answers")))
}

#[track_caller]
fn id(said: &str) -> String {
    let (_, rest) = said.split_once("gate-init accept ").expect(said);
    rest[..8].to_owned()
}

#[test]
fn a_workflow_is_accepted_once_passes_and_is_refused_again() {
    let world = World::with(&[("git-gate.protect", "ci")]);
    world.work.commit(WORKFLOW, "on: push\n", "run");
    let (first, _) = world.refused();
    // The same push again, and after an amend, is the same question.
    world
        .work
        .git(&["commit", "-q", "--amend", "-m", "run it"])
        .success();
    assert_eq!(world.refused().0, first);
    let said = world.gate_init(&["show", &first]).success();
    for word in [
        WORKFLOW,
        "git-gate.protect",
        "refused 2 times",
        "refs/heads/try",
        "run it",
    ] {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
    world
        .gate_init(&["accept", &first, "--reason", "agreed in review", "--once"])
        .success();
    world.push().success();
    let workflow = world.app.git(&["show", &format!("try:{WORKFLOW}")]);
    assert_eq!(workflow, "on: push");
    // Taken out again, and once more as it was.
    world.app.git(&["branch", "-D", "try"]);
    world.work.git(&["fetch", "-q", "--prune"]).success();
    let (again, _) = world.refused();
    assert_eq!(again, first);
    let log = fs::read_to_string(world.rig.path().join("answers")).unwrap();
    let event: Event = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!((event.event, event.refusal), (Kinds::Answer, Some(first)));
    assert_eq!(event.reason.unwrap(), "accepted by olga: agreed in review");
}

#[test]
fn a_secret_is_listed_without_itself_accepted_and_told_beside_its_exception() {
    let world = World::with(&[]);
    let secret = token(7);
    world
        .work
        .commit("test.env", format!("TOKEN={secret}\n"), "fixture");
    let (id, said) = world.refused();
    assert!(said.contains("github-pat"), "{said}");
    let mirror = world.gate.repository("app");
    let kept = fs::read_to_string(mirror.join(format!("git-gate/refusals/{id}.json"))).unwrap();
    let listed = world.gate_init(&["refusals", "app"]).success();
    for text in [
        &kept,
        &listed,
        &world.gate_init(&["show", &id, "--json"]).success(),
    ] {
        assert!(text.contains(&id) && !text.contains(&secret[8..]), "{text}");
    }
    assert_eq!(
        world
            .gate_init(&["refusals", "other"])
            .success()
            .lines()
            .count(),
        1
    );
    // What would not hold as an exception is not written.
    for reason in ["", "two\nlines", "until 2030-01-01"] {
        world
            .gate_init(&["accept", &id, "--reason", reason])
            .failure();
    }
    world
        .gate_init(&["accept", &id, "--reason", "x", "--until", "soon"])
        .failure();
    let said = world
        .gate_init(&["accept", "00000000", "--reason", "x"])
        .failure();
    assert!(said.contains("no refusal \"00000000\" is kept"), "{said}");
    world.refused();
    world
        .gate_init(&[
            "accept",
            &id,
            "--reason",
            "made up",
            "--until",
            "2999-12-31",
        ])
        .success();
    world.push().success();
    let accepted = fs::read_to_string(mirror.join("git-gate/accepted")).unwrap();
    assert!(
        accepted.starts_with(&format!("# {id}: accepted by olga on 2")),
        "{accepted}"
    );
    assert!(
        accepted
            .trim()
            .ends_with("github-pat until=2999-12-31 made up"),
        "{accepted}"
    );
}

#[test]
fn a_denied_push_is_told_so_and_a_program_is_told_of_each_new_one() {
    let world = World::with(&[]);
    let heard = world.rig.path().join("heard");
    let program = world.rig.path().join("notify");
    let script = format!(
        "#!/bin/sh\n[ -z \"$GIT_DIR\" ] && cat >> {}\n",
        heard.display()
    );
    write_program(&program, &script);
    for value in [program.to_str().unwrap(), "an argument; not a shell"] {
        world
            .gate
            .git("app", &["config", "--add", "git-gate.notify", value])
            .success();
    }
    let secret = token(7);
    world
        .work
        .commit("test.env", format!("TOKEN={secret}\n"), "fixture");
    let (id, _) = world.refused();
    let told = fs::read_to_string(&heard).unwrap();
    let record: Record = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (record.id.as_str(), record.repository.as_str()),
        (id.as_str(), "app")
    );
    assert!(!told.contains(&secret[8..]), "{told}");
    world
        .gate_init(&["deny", &id, "--reason", "use a made-up value"])
        .success();
    let said = world.push().failure();
    assert!(
        said.contains(&format!("(refusal {id}): use a made-up value")),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&heard).unwrap(), told);
    // A program that fails stops nothing.
    world
        .gate
        .git(
            "app",
            &["config", "--replace-all", "git-gate.notify", "/none"],
        )
        .success();
    world
        .work
        .commit("other.env", format!("TOKEN={}\n", token(8)), "another");
    let (_, said) = world.refused();
    assert!(
        said.contains("the operator could not be told of it"),
        "{said}"
    );
}

#[test]
fn a_push_that_waits_is_let_through_denied_or_given_up() {
    let world = World::with(&[("git-gate.protect", "ci"), ("git-gate.hold", "60")]);
    let before = world.app.refs();
    let write = |text: &str| world.work.commit(WORKFLOW, text, "run");
    write("on: push\n");
    let push = world.push_apart();
    let accepted = world.waiting();
    assert_eq!(world.app.refs(), before);
    world
        .gate_init(&["accept", &accepted, "--reason", "yes"])
        .success();
    let ended = push.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(
        said.contains(&format!("waiting for the operator, {accepted}, up to 60 s")),
        "{said}"
    );
    let after = world.app.refs();
    assert_ne!(after, before);

    write("on: [push]\n");
    let push = world.push_apart();
    wait_until("the push waits", || world.refusals().len() == 2);
    let is_open = |record: &Record| record.answer.is_none();
    let denied = world.refusals().into_iter().find(is_open).unwrap().id;
    world
        .gate_init(&["deny", &denied, "--reason", "no"])
        .success();
    let ended = push.wait_with_output().unwrap();
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("olga denied it on"));

    world
        .gate
        .git("app", &["config", "git-gate.hold", "1"])
        .success();
    write("on: [pull_request]\n");
    let said = world.push().failure();
    assert!(
        said.contains("the operator gave no answer within 1 s"),
        "{said}"
    );

    // Who is gone gets nothing forwarded but after an accept.
    world
        .gate
        .git("app", &["config", "git-gate.hold", "3"])
        .success();
    write("on: [workflow_call]\n");
    let mut push = world.push_apart();
    wait_until("the push waits", || world.refusals().len() == 4);
    push.kill().unwrap();
    push.wait().unwrap();
    wait_until("the hook is over", || world.gate.hook().is_none());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(world.app.refs(), after);
}

#[test]
fn a_gate_that_restarts_forwards_nothing_that_waited() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let config = rig.path().join("gate.json");
    let json = format!(
        r#"{{"upstreams":[{{"name":"app","url":"{}","policy":{{"hold":600}}}}],"limits":{{"drainTimeout":1}}}}"#,
        app.url
    );
    fs::write(&config, json).unwrap();
    let mut gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let before = app.refs();
    work.commit(WORKFLOW, "on: push\n", "run");
    let mut push = work.command();
    let push = push
        .args(["push", "-q", "origin", "HEAD:refs/heads/try"])
        .stderr(Stdio::piped());
    let push = push.spawn().unwrap();
    let refusals = || -> Vec<Record> {
        let json = gate_init(&gate, &rig, &["refusals", "--json"]).success();
        serde_json::from_str(&json).unwrap()
    };
    wait_until("the push waits", || !refusals().is_empty());
    let id = refusals()[0].id.clone();
    gate.restart(&[]);
    assert!(!push.wait_with_output().unwrap().status.success());
    assert_eq!(app.refs(), before);
    // The question is still there.
    gate_init(&gate, &rig, &["accept", &id, "--reason", "yes"]).success();
    assert_eq!(app.refs(), before);
    work.git(&["push", "-q", "origin", "HEAD:refs/heads/try"])
        .success();
}

#[test]
fn what_is_accepted_once_is_used_by_one_push_and_not_by_one_that_fails() {
    let world = World::with(&[("git-gate.protect", "ci")]);
    world.work.commit(WORKFLOW, "on: push\n", "run");
    let (id, _) = world.refused();
    world
        .gate_init(&["accept", &id, "--reason", "yes", "--once"])
        .success();
    // The upstream takes nothing: the answer is still good.
    let hook = world.app.path.join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    write_program(&hook, "#!/bin/sh\nexit 1\n");
    world.push().failure();
    fs::remove_file(&hook).unwrap();
    world.push().success();
    let said = world
        .work
        .git(&["push", "origin", "HEAD:refs/heads/second"])
        .success();
    // The upstream has the commit, so that there is nothing new in it.
    assert!(said.contains("forwarded 1 ref"), "{said}");
    let accepted = world.gate.repository("app").join("git-gate/accepted");
    let accepted = fs::read_to_string(accepted).unwrap();
    assert!(
        accepted.lines().all(|line| line.starts_with('#')),
        "{accepted}"
    );
}

#[test]
fn refusals_are_bounded() {
    let world = World::with(&[("git-gate.denyPath", "/x/")]);
    let folder = world.gate.repository("app").join("git-gate/refusals");
    world.work.commit("x/first", "x\n", "first");
    let (id, _) = world.refused();
    let one: Record =
        serde_json::from_str(&world.gate_init(&["show", &id, "--json"]).success()).unwrap();
    for number in 0..120 {
        let name = format!("{number:08}");
        let other = Record {
            id: name.clone(),
            key: name.clone(),
            last: format!("2020-01-01T00:00:{number:03}Z"),
            ..one.clone()
        };
        fs::write(
            folder.join(format!("{name}.json")),
            serde_json::to_vec(&other).unwrap(),
        )
        .unwrap();
    }
    world.work.commit("x/second", "x\n", "second");
    world.refused();
    let kept = world.refusals();
    assert_eq!(kept.len(), 100);
    assert!(kept.iter().any(|record| record.id == id));
}

#[test]
fn a_dry_run_tells_and_forwards() {
    let world = World::with(&[("git-gate.protect", "ci"), ("git-gate.mode", "observe")]);
    let secret = token(7);
    world
        .work
        .commit(WORKFLOW, format!("on: push # {secret}\n"), "run");
    let said = world.push().success();
    for word in [
        "git-gate.protect",
        "github-pat",
        "forwarded all the same: git-gate.mode is observe",
    ] {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
    assert!(!said.contains(&secret), "{said}");
    assert!(world.app.tip("refs/heads/try").is_some());
    assert!(world.refusals().is_empty());
}

#[test]
fn a_check_tells_which_exceptions_let_nothing_through() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let (config, file) = (rig.path().join("gate.json"), rig.path().join("accepted"));
    let secret = token(7);
    let json = format!(
        r#"{{"upstreams":[{{"name":"app","url":"{}","exceptions":"{}"}}]}}"#,
        app.url,
        file.display()
    );
    fs::write(&config, json).unwrap();
    let none = "0".repeat(40);
    let ended = format!("secret:{none} a-rule until=2020-01-01 ended");
    fs::write(&file, format!("{ended}\n")).unwrap();
    let gate = rig.gate_with(&[("--config", config.to_str().unwrap())]);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let idle = || {
        let mut check = gate.command(&["check"]);
        check.arg("--config").arg(&config);
        check.arg("--creds-dir").arg(rig.path().join("creds"));
        let said = Ran::of(&mut check).success();
        let row = said.lines().find(|line| line.contains("  idle  "));
        row.unwrap_or_default().to_owned()
    };
    // Before the first push nothing is known but what has ended.
    assert!(
        idle().ends_with("accepted: line 1 ended on 2020-01-01"),
        "{}",
        idle()
    );
    work.commit("test.env", format!("TOKEN={secret}\n"), "fixture");
    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/try"])
        .failure();
    let id = id(&said);
    let shown = gate_init(&gate, &rig, &["show", &id]).success();
    let used = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("accepted as: "));
    let used = used.unwrap();
    let unused = format!("blob:{none} a-rule never needed");
    fs::write(&file, format!("{ended}\n{unused}\n{used} a test\n")).unwrap();
    work.git(&["push", "-q", "origin", "HEAD:refs/heads/try"])
        .success();
    let row = idle();
    assert!(row.contains("line 2 has matched nothing since 20"), "{row}");
    assert!(!row.contains("line 3"), "{row}");
}
