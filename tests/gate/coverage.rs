//! Every object is scanned, whatever refers to it, and cost follows the change.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::process::Stdio;

use git_gate::scan::{ScanError, Verdict};

use crate::rig::{Gate, Kind, Mirror, Rig, memory, token};

#[track_caller]
fn rules(mirror: &Mirror, refs: &[&str]) -> Vec<String> {
    let findings = mirror.push(refs).unwrap().findings;
    findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn objects_that_nothing_reaches_are_scanned_too() {
    for kind in ["blob", "tree", "commit", "tag"] {
        let mirror = Mirror::new();
        let (tree, secret) = (mirror.work.id("HEAD^{tree}"), token(7));
        let person = "A <a@example.com> 1700000000 +0000";
        let content = match kind {
            "blob" => secret.into_bytes(),
            "tree" => [format!("100644 {secret}\0").as_bytes(), &[1; 20]].concat(),
            "commit" => format!("tree {tree}\nauthor {person}\ncommitter {person}\n\n{secret}\n")
                .into_bytes(),
            _ => format!("object {tree}\ntype tree\ntag x\ntagger {person}\n\n{secret}\n")
                .into_bytes(),
        };
        mirror.work.git_with_input(
            &["hash-object", "-w", "--literally", "-t", kind, "--stdin"],
            &content,
        );
        mirror.work.commit("b", "b", "clean");
        assert_eq!(
            rules(&mirror, &["main:refs/heads/main"]),
            ["github-pat"],
            "{kind}"
        );
    }
}

#[test]
fn of_very_many_files_none_is_missed() {
    // So many that git reads them for the scan, beside one that is streamed on its own.
    const FILES: u32 = 1200;
    let mirror = Mirror::new();
    for number in 0..FILES {
        let text = match number {
            0 | 600 | 1199 => format!("TOKEN={}\n", token(number)),
            _ => format!("file {number}\n"),
        };
        mirror
            .work
            .write(&format!("d{}/f{number}", number % 7), text);
    }
    mirror.work.write("large", vec![b'\n'; 17 << 20]);
    mirror.work.commit("last", "last\n", "many files");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    let paths: Vec<_> = verdict
        .findings
        .iter()
        .map(|finding| finding.shown_place())
        .collect();
    assert_eq!(paths, ["d0/f0", "d2/f1199", "d5/f600"]);
    assert!(verdict.tally.objects > FILES as usize);
}

#[test]
fn an_object_that_the_store_holds_and_no_ref_reaches_is_scanned() {
    let mirror = Mirror::new();
    let blob = mirror.work.blob(token(7));
    mirror.bare.blob(token(7));
    mirror
        .work
        .git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("100644,{blob},x"),
        ])
        .success();
    mirror.work.git(&["commit", "-q", "-m", "x"]).success();
    assert_eq!(rules(&mirror, &["main:refs/heads/main"]), ["github-pat"]);
}

/// Commits a gitlink called `f` that names the object `id`.
fn commit_gitlink(mirror: &Mirror, id: &str) {
    let entry = format!("160000,{id},f");
    let add = ["update-index", "--add", "--cacheinfo", &entry];
    mirror.work.git(&add).success();
    mirror
        .work
        .git(&["commit", "-q", "-m", "gitlink"])
        .success();
    mirror.work.git(&["rm", "-q", "--cached", "f"]).success();
}

#[test]
fn a_gitlink_does_not_stand_for_the_object_that_it_names() {
    let mirror = Mirror::new();
    let blob = mirror.bare.blob(token(7));
    commit_gitlink(&mirror, &blob);
    mirror.work.commit("other", token(7), "the object itself");
    assert_eq!(rules(&mirror, &["main:refs/heads/main"]), ["github-pat"]);
}

#[test]
fn a_gitlink_is_no_version_to_compare_with() {
    let filler = "a line of a file that is large\n".repeat(2000);
    let text = format!("TOKEN={}\n{filler}", token(7));
    // The store may hold what the gitlink names; a submodule's commit it does not.
    for is_held in [true, false] {
        let mirror = Mirror::new();
        let id = match is_held {
            true => mirror.bare.blob(&text),
            false => "1".repeat(40),
        };
        commit_gitlink(&mirror, &id);
        mirror.work.commit("f", format!("{text}more\n"), "a file");
        mirror.work.git(&["rm", "-q", "f"]).success();
        mirror.work.git(&["commit", "-q", "-m", "gone"]).success();
        assert_eq!(rules(&mirror, &["main:refs/heads/main"]), ["github-pat"]);
    }
}

#[test]
fn a_folder_is_scanned_under_each_path_that_a_rule_of_the_operator_tells_apart() {
    let mirror = Mirror::new();
    let file = mirror.path().join("rules.toml");
    let rule = "[[rules]]\nid = 'house'\nregex = 'house-[0-9]{6}'\npath = '^prod/'\n";
    fs::write(&file, rule).unwrap();
    mirror.set("git-gate.gitleaksConfig", file.to_str().unwrap());
    mirror.work.commit("dev/x/a", "house-123456\n", "dev");
    fs::create_dir(mirror.work.path().join("prod")).unwrap();
    mirror.work.git(&["mv", "dev/x", "prod/x"]).success();
    mirror.work.git(&["commit", "-q", "-m", "prod"]).success();
    assert_eq!(rules(&mirror, &["main:refs/heads/main"]), ["house"]);
}

/// A match of one rule with `count` values that the upstream holds, and a new one behind them.
fn behind_held_values(count: usize) -> Result<Verdict, ScanError> {
    let mirror = Mirror::new();
    let values: Vec<_> = (0..count).map(|n| format!("applicationname{n}")).collect();
    mirror.work.commit("names", values.join("\n"), "no secrets");
    mirror.hold("main");
    let header = |value: &String| format!("-H \"X-Token: {value}\" ");
    let headers: String = values
        .iter()
        .chain([&token(7)[4..].to_owned()])
        .map(header)
        .collect();
    mirror
        .work
        .commit("a.sh", format!("curl {headers} x\n"), "x");
    mirror.push(&["main:refs/heads/main"])
}

#[test]
fn what_stands_behind_values_that_the_upstream_holds_is_found_up_to_a_bound() {
    let findings = behind_held_values(9).unwrap().findings;
    let rules: Vec<_> = findings.iter().map(|finding| &*finding.rule).collect();
    assert_eq!(rules, ["curl-auth-header"]);
    let error = behind_held_values(30).unwrap_err().to_string();
    assert!(error.contains("after 16 scans"), "{error}");
}

#[test]
fn a_tag_on_what_the_store_holds_alone_is_scanned() {
    for annotated in [false, true] {
        let mirror = Mirror::new();
        let blob = mirror.work.blob(token(7));
        mirror.bare.blob(token(7));
        let arguments: &[&str] = if annotated { &["-a", "-m", "x"] } else { &[] };
        let tag = [&["tag"], arguments, &["x", &blob]].concat();
        mirror.work.git(&tag).success();
        assert_eq!(rules(&mirror, &["x:refs/tags/x"]), ["github-pat"]);
    }
}

#[test]
fn a_tagged_tree_of_what_the_store_holds_alone_is_scanned() {
    let mirror = Mirror::new();
    let blob = mirror.work.blob(token(7));
    mirror.bare.blob(token(7));
    let entry = format!("100644 blob {blob}\tx\n");
    let tree = mirror.work.git_with_input(&["mktree"], entry.as_bytes());
    mirror.work.git(&["tag", "x", &tree]).success();
    assert_eq!(rules(&mirror, &["x:refs/tags/x"]), ["github-pat"]);
}

/// Makes the mirror's store hold `main` and no ref reach it, as after a branch that the upstream has
/// removed again.
fn hold_removed(mirror: &Mirror) {
    mirror.hold("main:refs/heads/removed");
    mirror
        .bare
        .git(&["update-ref", "-d", "refs/heads/removed"])
        .success();
}

#[test]
fn a_commit_that_no_ref_reaches_any_more_is_nothing_to_build_on() {
    let mirror = Mirror::new();
    mirror.work.commit("x", token(7), "secret");
    hold_removed(&mirror);
    mirror.work.commit("y", "y", "on top of it");
    assert_eq!(rules(&mirror, &["main:refs/heads/main"]), ["github-pat"]);
}

#[test]
fn a_removed_branch_may_repeat_what_the_commit_below_it_holds() {
    let mirror = Mirror::new();
    let env = |name: &str| format!("TOKEN={}\nNAME={name}\n", token(7));
    mirror.work.commit("env", env("x"), "held");
    mirror.hold("main");
    mirror.work.commit("env", env("y"), "another line");
    hold_removed(&mirror);
    assert_eq!(rules(&mirror, &["main:refs/heads/again"]), [""; 0]);
    mirror.work.commit("y", "y", "on top of it");
    assert_eq!(rules(&mirror, &["main:refs/heads/again"]), [""; 0]);
}

#[test]
fn a_version_that_no_ref_reaches_is_none_to_compare_with() {
    let mirror = Mirror::new();
    let filler = "a line of a file that is large\n".repeat(2000);
    let text = format!("TOKEN={}\n{filler}", token(7));
    mirror.bare.blob(&text);
    let commit = |file: &str, content: &str| mirror.work.commit(file, content, "change");
    let remove = || {
        mirror.work.git(&["rm", "-q", "f"]).success();
        mirror.work.git(&["commit", "-q", "-m", "gone"]).success();
    };
    // What is sent and not pushed, before what is: it has the version that the store holds.
    mirror.work.git(&["checkout", "-q", "-b", "side"]).success();
    commit("f", &text);
    commit("f", &format!("{text}more\n"));
    remove();
    mirror.work.git(&["checkout", "-q", "main"]).success();
    for number in 0..4 {
        commit("other", &number.to_string());
    }
    commit("f", &format!("{text}more\n"));
    remove();
    // Found in one version or in both, as the commits' times have it.
    assert_ne!(rules(&mirror, &["main:refs/heads/main"]), [""; 0]);
}

#[test]
fn a_forbidden_path_is_held_only_where_it_stands_itself() {
    let mirror = Mirror::new();
    mirror.work.commit("README", "text\n", "held");
    mirror.hold("main");
    for file in ["README", "x.p12"] {
        mirror.work.commit(file, "the same\n", "change");
    }
    assert_eq!(rules(&mirror, &["main:refs/heads/main"]), ["pkcs12-file"]);
    mirror.hold("main");
    mirror.work.commit("x.p12", "another\n", "change");
    assert_eq!(rules(&mirror, &["main:refs/heads/main"]), ["pkcs12-file"]);
    mirror.hold("main");
    // What was there once may come back.
    mirror.work.commit("x.p12", "the same\n", "revert");
    assert_eq!(rules(&mirror, &["main:refs/heads/main"]), [""; 0]);
}

#[test]
fn a_sha256_repository_is_scanned() {
    let mirror = Mirror::with_format("sha256");
    mirror.work.commit("a/b.txt", token(7), "x");
    let findings = mirror.push(&["main:refs/heads/main"]).unwrap().findings;
    assert_eq!(findings[0].shown_place(), "a/b.txt");
}

#[test]
fn every_received_object_is_counted() {
    let mirror = Mirror::new();
    mirror
        .work
        .commit("a/b/c.txt", "x", "three trees, a blob, a commit");
    mirror
        .work
        .git(&["tag", "-a", "-m", "and a tag", "v1"])
        .success();
    let verdict = mirror
        .push(&["main:refs/heads/main", "v1:refs/tags/v1"])
        .unwrap();
    assert_eq!(verdict.tally.objects, 6);
}

#[test]
fn later_versions_of_a_large_file_cost_what_they_change() {
    let mirror = Mirror::new();
    let line = |n: u32| format!("line {n} of a file that is large\n");
    let text: String = (0..10_000).map(line).collect();
    for version in 0..20 {
        let changed = text.replace("line 5000 ", &format!("line {version} "));
        mirror.work.commit("large.txt", changed, "change");
    }
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    // The first and the last version whole, 18 regions of 16 KiB and some.
    let bound = 2 * text.len() as u64 + 18 * (24 << 10);
    assert!(verdict.tally.bytes < bound, "{} bytes", verdict.tally.bytes);
    assert!(verdict.tally.bytes > 2 * text.len() as u64);
}

/// A gzip of more than the context of a change, with a secret at its end.
fn gzip() -> Vec<u8> {
    let next = |state: &u64| Some(state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
    let words = std::iter::successors(Some(1), next).take(3000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for word in words {
        writeln!(encoder, "{word:x}").unwrap();
    }
    encoder.write_all(token(7).as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lines(bytes: &[u8], width: usize, line: fn(&[u8]) -> String) -> String {
    bytes.chunks(width).map(line).collect()
}

/// A private key of `lines` lines, with as many of a comment as OpenPGP lets it have.
fn pgp(comments: usize, lines: usize) -> String {
    let body = format!("{}\n", "lQdGBGX4+9".repeat(6)).repeat(lines);
    let comment = "Comment: of some length, as a program writes it\n".repeat(comments);
    let frame = |word| format!("-----{word} PGP {} KEY BLOCK-----\n", "PRIVATE");
    format!("{}{comment}\n{body}=AbCd\n{}", frame("BEGIN"), frame("END"))
}

#[test]
fn what_a_version_in_between_completes_is_scanned_whole() {
    let hex = |b: &[u8]| -> String { b.iter().map(|b| format!("{b:02x}")).collect() };
    let gzip = gzip();
    let dump = |line: &[u8]| -> String {
        let values: String = line.iter().map(|b| format!(" {b:02x}")).collect();
        format!("00000000: {values}  ................\n")
    };
    let quoted = lines(hex(&gzip).as_bytes(), 64, |line| {
        format!("    \"{}\" +\n", String::from_utf8_lossy(line))
    });
    let entities = |text: String| -> String {
        let entity = |c: char| match c {
            '\n' => "\n".to_owned(),
            c => format!("&#{};", u32::from(c)),
        };
        text.chars().map(entity).collect()
    };
    let plain = "plain text here\n".repeat(2000);
    let mut missed = Vec::new();
    for (name, text, completed_by_the_last) in [
        ("a dump", lines(&gzip, 16, dump), false),
        ("quoted digits", quoted, false),
        ("escapes", entities(pgp(0, 50)), false),
        ("a key's BEGIN", pgp(0, 200), false),
        ("a key's END", pgp(0, 200), true),
        ("a commented key's BEGIN", pgp(300, 200), false),
        ("a commented key's END", pgp(300, 200), true),
    ] {
        let line = if completed_by_the_last {
            text[..text.len() - 1].rfind('\n').unwrap() + 1..text.len()
        } else {
            0..text.find('\n').unwrap() + 1
        };
        let without = [&plain, &text[..line.start], &text[line.end..], &plain].concat();
        let whole = [&plain[..], &text, &plain].concat();
        let mirror = Mirror::new();
        for version in [&without, &whole, &without] {
            mirror.work.commit("f", version, "version");
        }
        if rules(&mirror, &["main:refs/heads/main"]).len() != 1 {
            missed.push(name);
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_private_key_is_found_wherever_a_piece_ends() {
    for before in [0, 45_000, 60_000, 75_000, 130_000] {
        let plain = "plain text here\n".repeat(before / 16);
        let mirror = Mirror::new();
        let text = format!("{plain}{}{plain}", pgp(10, 500));
        mirror.work.commit("f", text, "key");
        let found = rules(&mirror, &["main:refs/heads/main"]);
        assert_eq!(found, ["private-key"], "{before}");
    }
}

#[test]
fn a_malformed_tree_refuses() {
    let mirror = Mirror::new();
    mirror.work.git_with_input(
        &["hash-object", "-w", "--literally", "-t", "tree", "--stdin"],
        b"100644 x\0short",
    );
    let error = mirror.push(&["main:refs/heads/x"]).unwrap_err();
    let error = format!("{:#}", anyhow::Error::new(error));
    assert!(
        error.ends_with("a tree is malformed; see `git fsck`"),
        "{error}"
    );
}

#[test]
fn a_scan_past_its_limit_refuses() {
    let mirror = Mirror::new();
    mirror.set("git-gate.scanTimeout", "1");
    // It is read in many ways, each of which takes its time.
    let line = "/// aGVsbG8gd29ybGQsIHRoaXMgaXMgbm8gU2VjcmV0IGJ1dCBsb25nIGVub3VnaA\n";
    mirror.work.commit("slow", line.repeat(1 << 18), "slow");
    let error = mirror.push(&["main:refs/heads/x"]).unwrap_err().to_string();
    assert!(error.contains("git-gate.scanTimeout"), "{error}");
}

/// The most memory that the hook has had so far, in KiB; none when it does not run.
fn hook_memory(gate: &Gate) -> Option<usize> {
    memory(gate.hook()?, "VmHWM")
}

#[test]
fn a_file_larger_than_the_gates_memory_streams() {
    const SIZE: u64 = 256 << 20;
    let rig = Rig::new();
    let app = rig.upstream("app");
    let gate = rig.gate(Kind::Init);
    let work = rig.client("agent").clone_of(&gate.url("app"), "work");
    let path = work.path().join("large.bin");
    let mut file = fs::File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    file.seek(SeekFrom::End(-100)).unwrap();
    writeln!(file, "\n{}", token(7)).unwrap();
    drop(file);
    work.commit("small", "x", "large");
    let before = app.objects();

    let mut push = work.command();
    push.args(["push", "-q", "origin", "main"])
        .stderr(Stdio::null());
    let mut push = push.spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(hook_memory(&gate).unwrap_or(0));
        if let Some(status) = push.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(!status.success());
    assert_eq!(app.objects(), before);
    assert!(peak > 0, "the hook was not seen");
    assert!(
        peak < 128 << 10,
        "{peak} KiB for a file of {} KiB",
        SIZE >> 10
    );
}
