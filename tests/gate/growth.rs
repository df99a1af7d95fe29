//! What a push costs grows no faster than the push: small ones must not cost a lot.
//!
//! Each test runs in a process of its own, since processor time and memory are counted for processes.
//! Four times the work may cost 2.5 times 2.5 as much; what grows with the square costs 16 times.

use std::fmt::Write;
use std::process::Command;

use git_gate::scan::ScanError;
use git2::{ObjectType, Oid, Repository, Signature};

use crate::rig::{Mirror, memory, token};

/// Says which test runs in this process alone.
const ALONE: &str = "GIT_GATE_TEST_ALONE";

/// Whether this is the process of the test `name` alone; otherwise runs it in one.
#[track_caller]
fn is_alone(name: &str) -> bool {
    let is_alone = std::env::var_os(ALONE).is_some();
    if !is_alone {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", &format!("growth::{name}")])
            .env(ALONE, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{name}");
    }
    is_alone
}

/// Processor time of this process and of those that it waited for, in ticks: proc_pid_stat(5).
fn worked() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let times = fields.skip(11).take(4);
    times.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// What the push of `main` works, which finds something.
fn cost(mirror: &Mirror) -> u64 {
    let before = worked();
    mirror.push(&["main:refs/heads/main"]).unwrap();
    worked() - before
}

#[track_caller]
fn assert_linear(what: &str, size: u32, push: impl Fn(u32) -> Mirror) {
    let [one, four] = [size, 4 * size].map(|size| cost(&push(size)));
    println!("{what}: {size}: {one} ticks, {}: {four} ticks", 4 * size);
    assert!(four * 4 <= one * 25, "{what}: {one} ticks, then {four}");
}

fn tokens(count: u32) -> String {
    let line = |number| format!("TOKEN={}\n", token(number));
    (0..count).map(line).collect()
}

#[test]
fn very_many_secrets_cost_what_they_weigh() {
    if !is_alone("very_many_secrets_cost_what_they_weigh") {
        return;
    }
    assert_linear("new in one file", 3000, |count| {
        let mirror = Mirror::new();
        mirror.work.commit("file", tokens(count), "many");
        mirror
    });
    assert_linear("held in one file", 3000, |count| {
        let mirror = Mirror::new();
        mirror.work.commit("file", tokens(count), "many");
        mirror.hold("main");
        mirror.work.commit("file", tokens(count) + "more\n", "more");
        mirror
    });
    assert_linear("held in files of one folder", 1000, |count| {
        let mirror = Mirror::new();
        for more in ["", "more\n"] {
            for number in 0..count {
                let text = format!("TOKEN={}\n{more}", token(number));
                mirror.work.write(&format!("f{number}"), text);
            }
            mirror
                .work
                .commit("last", format!("last {more}"), "many files");
            if more.is_empty() {
                mirror.hold("main");
            }
        }
        mirror
    });
}

#[test]
fn what_is_read_in_many_ways_costs_what_it_weighs() {
    if !is_alone("what_is_read_in_many_ways_costs_what_it_weighs") {
        return;
    }
    let kinds: [(&str, u32, &[u8]); 3] = [
        (
            "base64 behind marks",
            20_000,
            b"/// aGVsbG8gd29ybGQsIHRoaXMgaXMgbm8gU2VjcmV0IGJ1dCBsb25nIGVub3VnaA\n",
        ),
        ("heads of gzip", 20_000, b"\xff\0\x1f\x8b\x08\0\xff\xff"),
        (
            "lists of values in one line",
            40_000,
            b"123456 61 62 63 64 65 66 67 68 69 6a 6b 6c 6d zz ",
        ),
    ];
    for (what, size, once) in kinds {
        assert_linear(what, size, |times| {
            let mirror = Mirror::new();
            let content = once.repeat(times as usize);
            mirror.work.commit("file", content, "many");
            mirror
        });
    }
}

#[test]
fn of_very_many_secrets_the_number_is_told() {
    let mirror = Mirror::new();
    mirror.work.commit("file", tokens(2500), "many");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    assert_eq!(verdict.findings.len(), 1000);
    assert_eq!(verdict.count(), 2500);
}

#[test]
fn a_merge_of_very_many_parents_is_compared_with_one_at_a_time() {
    if !is_alone("a_merge_of_very_many_parents_is_compared_with_one_at_a_time") {
        return;
    }
    const PARENTS: usize = 200;
    const ENTRIES: usize = 10_000;
    let mirror = Mirror::new();
    let mut input = String::new();
    let person = "A <a@example.com> 1700000000 +0000";
    let mut commit = |name: &str, mark: usize, from: &str, files: &str| {
        write!(
            input,
            "commit refs/heads/{name}\nmark :{mark}\ncommitter {person}\ndata 1\n.\n{from}{files}"
        )
        .unwrap();
    };
    let blob = mirror.work.id("HEAD:README");
    let file = |name: usize, mode: &str| format!("M {mode} {blob} {name}\n");
    let files: String = (0..ENTRIES).map(|name| file(name, "100644")).collect();
    commit("base", 1, "", &files);
    let mut merges = "from :1\n".to_owned();
    for parent in 0..PARENTS {
        let name = format!("p{parent}");
        commit(&name, parent + 2, "from :1\n", &file(parent, "100755"));
        writeln!(merges, "merge :{}", parent + 2).unwrap();
    }
    commit("merge", PARENTS + 2, &merges, &file(ENTRIES, "100644"));
    mirror
        .work
        .git_with_input(&["fast-import", "--quiet"], input.as_bytes());

    let me = std::process::id();
    let before = memory(me, "VmHWM").unwrap();
    mirror.push(&["merge:refs/heads/merge"]).unwrap();
    let grown = memory(me, "VmHWM").unwrap() - before;
    println!("{grown} KiB more");
    assert!(grown < 60 << 10, "{grown} KiB more");
}

#[test]
fn a_commit_that_is_too_large_to_be_held_is_named() {
    let mirror = Mirror::new();
    let message = mirror.path().join("message");
    std::fs::write(&message, "long\n".repeat(4 << 20)).unwrap();
    let message = message.to_str().unwrap();
    let commit = ["commit", "-q", "--allow-empty", "-F", message];
    mirror.work.git(&commit).success();
    let id = mirror.work.id("HEAD");
    let error = mirror.push(&["main:refs/heads/main"]).unwrap_err();
    let said = format!("{:#}", anyhow::Error::from(error));
    assert!(
        said.contains(&format!("object {id}: a commit of ")),
        "{said}"
    );
    assert!(said.contains("over the limit of 16 MiB"), "{said}");
}

#[test]
fn paths_that_repeat_their_folders_are_bounded() {
    const DEPTH: u32 = 2000;
    let mirror = Mirror::new();
    let repository = Repository::open(mirror.work.path()).unwrap();
    let mut inner: Option<Oid> = None;
    for depth in 0..DEPTH {
        let mut tree = repository.treebuilder(None).unwrap();
        let blob = repository.blob(&depth.to_be_bytes()).unwrap();
        tree.insert("f", blob, 0o100_644).unwrap();
        if let Some(inner) = inner {
            tree.insert("d".repeat(200), inner, 0o040_000).unwrap();
        }
        inner = Some(tree.write().unwrap());
    }
    let tree = repository.find_object(inner.unwrap(), Some(ObjectType::Tree));
    let tree = tree.unwrap().peel_to_tree().unwrap();
    let person = Signature::now("A", "a@example.com").unwrap();
    repository
        .commit(
            Some("refs/heads/deep"),
            &person,
            &person,
            "deep",
            &tree,
            &[],
        )
        .unwrap();
    let refused = mirror.push(&["deep:refs/heads/deep"]);
    assert!(matches!(refused, Err(ScanError::LongPaths { .. })));
}
