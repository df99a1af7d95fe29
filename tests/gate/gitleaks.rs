//! The scanner's interface, with the real gitleaks: what it finds, and that it never says "clean"
//! when it did not read everything.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

use git_gate::deadline::Deadline;
use git_gate::scan::gitleaks::sandbox::{self, Support};
use git_gate::scan::gitleaks::{Engine, EngineError, FRAGMENT_LIMIT, RawFinding, Scanner};
use git_gate::settings::Settings;

use crate::rig::{self, token};

pub fn settings(rules: Option<&Path>) -> Settings {
    Settings {
        gitleaks_config: rules.map(Path::to_owned),
        ..Settings::without_upstream()
    }
}

fn engine() -> Engine {
    Engine::with_program(rig::gitleaks(), &settings(None)).unwrap()
}

fn engine_with(rules: &str) -> Result<Engine, EngineError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.toml");
    fs::write(&file, rules).unwrap();
    Engine::with_program(rig::gitleaks(), &settings(Some(&file)))
}

pub fn scan(engine: &Engine, fragments: &[&[u8]]) -> Result<Vec<RawFinding>, EngineError> {
    let mut scanner = engine.start()?;
    for fragment in fragments {
        scanner.feed(fragment)?;
    }
    let mut findings = scanner.finish()?;
    findings.sort_by(|a, b| (a.start_line, &a.rule).cmp(&(b.start_line, &b.rule)));
    Ok(findings)
}

pub fn rules(findings: &[RawFinding]) -> Vec<&str> {
    findings
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect()
}

#[test]
fn findings_have_the_lines_of_what_was_fed() {
    let engine = engine();
    let mut scanner = engine.start().unwrap();
    assert_eq!(scanner.feed(b"one line").unwrap(), 2);
    assert_eq!(scanner.feed(b"one line\n").unwrap(), 4);
    let third = format!("first\nsecond {}\nthird\n\n", token(1));
    assert_eq!(scanner.feed(third.as_bytes()).unwrap(), 8);
    let findings = scanner.finish().unwrap();
    assert_eq!(rules(&findings), ["github-pat"]);
    let finding = &findings[0];
    assert_eq!((finding.start_line, finding.end_line), (6, 6));
    assert_eq!(finding.secret, token(1));
    assert!(!finding.decoded);
    assert!(!format!("{finding:?}").contains(&token(1)));
}

#[test]
fn nothing_is_found_in_nothing() {
    assert!(scan(&engine(), &[]).unwrap().is_empty());
    assert!(scan(&engine(), &[b""]).unwrap().is_empty());
}

#[test]
fn a_fragment_is_scanned_alone_and_whole() {
    let (start, end) = {
        let (start, end) = (token(1), token(1));
        (start[..20].to_owned(), end[20..].to_owned())
    };
    assert!(
        scan(&engine(), &[start.as_bytes(), end.as_bytes()])
            .unwrap()
            .is_empty()
    );

    // At every edge of a full fragment, with blank lines and NUL bytes that gitleaks could cut at.
    let mut full = b"MZ\0\0\n\n x \n\n".repeat(FRAGMENT_LIMIT / 10);
    full.truncate(FRAGMENT_LIMIT);
    full[..token(1).len()].copy_from_slice(token(1).as_bytes());
    full[token(1).len()] = b'\n';
    let tail = FRAGMENT_LIMIT - token(1).len();
    full[tail - 1] = b'\n';
    full[tail..].copy_from_slice(token(1).as_bytes());
    let findings = scan(&engine(), &[&full, &full, &full]).unwrap();
    assert_eq!(rules(&findings), ["github-pat"; 6]);
    let mut scanner = engine().start().unwrap();
    assert!(matches!(
        scanner.feed(&[b'x'; FRAGMENT_LIMIT + 1]),
        Err(EngineError::Fragment(_))
    ));
}

#[test]
fn decoded_values_and_allow_comments_hide_nothing() {
    let encoded = Command::new("sh")
        .args(["-c", "printf %s \"$0\" | base64 -w0 | base64 -w0"])
        .arg(format!("the token is {}, twice over", token(1)))
        .output()
        .unwrap()
        .stdout;
    let findings = scan(&engine(), &[&encoded]).unwrap();
    assert_eq!(rules(&findings), ["github-pat"]);
    assert!(findings[0].decoded);
    assert_eq!(findings[0].secret, token(1));

    let allowed = format!("{} # gitleaks:allow", token(2));
    assert_eq!(
        rules(&scan(&engine(), &[allowed.as_bytes()]).unwrap()),
        ["github-pat"]
    );
}

/// What gitleaks' own path-bound rules find, and the files that they find it in.
fn path_bound_samples() -> Vec<(&'static str, &'static str, String)> {
    let value = ["c2VjcmV0", "cGFzc3dvcmQ"].concat();
    let word = ["hunter2", "hunter2"].concat();
    vec![
        (
            "kubernetes-secret-yaml",
            "deploy/a.yaml",
            format!("kind: Secret\nmetadata:\n  name: x\ndata:\n  password: {value}=\n"),
        ),
        (
            "kubernetes-secret-yaml",
            "b.yml",
            format!("apiVersion: v1\ndata:\n  a: \"{value}\"\n  b: x\nkind: 'Secret'\n"),
        ),
        (
            "kubernetes-secret-yaml",
            "c.YAML",
            format!("kind: Secret\ndata:\n  key: |\n    {value}\n"),
        ),
        (
            "hashicorp-tf-password",
            "main.tf",
            format!("  administrator_login_password = \"{word}\"\n"),
        ),
        (
            "hashicorp-tf-password",
            "x/main.hcl",
            format!("db_password: \"{word}\"\n"),
        ),
        (
            "hashicorp-tf-password",
            "y.tf",
            format!("Password_for.all := '\"{word}\"'\n"),
        ),
        (
            "freemius-secret-key",
            "wp.php",
            format!("'secret_key' => 'sk_{word}{word}",) + "1',\n",
        ),
        (
            "nuget-config-password",
            "NuGet.Config",
            format!("<add key=\"Password\" value=\"{word}\" />\n"),
        ),
        (
            "nuget-config-password",
            "a/nuget.config",
            format!("<add key=\"ClearTextPassword\" value=\"{word}\"/>\n"),
        ),
    ]
}

#[test]
fn path_bound_rules_find_what_gitleaks_finds_in_such_files() {
    let samples = path_bound_samples();
    let dir = tempfile::tempdir().unwrap();
    let engine = engine();
    let mut scanner = engine.start().unwrap();
    let mut ends = Vec::new();
    for (_, path, content) in &samples {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        ends.push(scanner.feed(content.as_bytes()).unwrap());
    }
    let ours = scanner.finish().unwrap();
    let plain = Command::new(rig::gitleaks())
        .args(["dir", "--no-banner", "-f", "json", "-r", "-"])
        .arg(dir.path())
        .output()
        .unwrap()
        .stdout;
    let plain: Vec<serde_json::Value> = serde_json::from_slice(&plain).unwrap();

    let mut start = 0;
    for ((rule, path, _), end) in samples.iter().zip(ends) {
        let is_theirs = |finding: &&serde_json::Value| {
            finding["RuleID"] == *rule && finding["File"].as_str().unwrap().ends_with(path)
        };
        assert!(
            plain.iter().any(|finding| is_theirs(&finding)),
            "{path}: not a sample"
        );
        let lines = start + 1..=end;
        let is_ours =
            |finding: &RawFinding| finding.rule == *rule && lines.contains(&finding.start_line);
        assert!(ours.iter().any(is_ours), "{path}: {ours:?}");
        assert!(engine.path_rules().applies(rule, Some(path)));
        assert!(engine.path_rules().applies(rule, None));
        assert!(!engine.path_rules().applies(rule, Some("src/main.rs")));
        start = end;
    }
}

#[test]
fn a_path_bound_rule_takes_no_other_finding_with_it() {
    let line = format!("password = \"{}\"\n", &token(3).to_lowercase()[4..22]);
    let findings = scan(&engine(), &[line.as_bytes()]).unwrap();
    assert_eq!(
        rules(&findings),
        [
            "generic-api-key",
            "generic-password",
            "hashicorp-tf-password"
        ]
    );
}

#[test]
fn some_names_are_enough() {
    let engine = engine();
    let (rule, description) = engine.path_rules().path_only("certs/Server.P12").unwrap();
    assert_eq!(rule, "pkcs12-file");
    assert!(!description.is_empty());
    assert_eq!(
        engine.path_rules().path_only("Server.p12.GZ"),
        Some((rule, description))
    );
    assert!(engine.path_rules().path_only("p12").is_none());
    assert!(!engine.path_rules().look_at_directories());
}

#[test]
fn the_operators_rules_extend_or_replace() {
    let house =
        "[[rules]]\nid = \"house\"\ndescription = \"House token\"\nregex = 'house-[0-9]{6}'\n";
    let text = format!("house-123456 {}\n", token(1));
    let extended = engine_with(&format!("[extend]\nuseDefault = true\n{house}")).unwrap();
    let found = scan(&extended, &[text.as_bytes()]).unwrap();
    assert_eq!(rules(&found), ["github-pat", "house"]);
    let replaced = engine_with(house).unwrap();
    assert_eq!(
        rules(&scan(&replaced, &[text.as_bytes()]).unwrap()),
        ["house"]
    );
    assert!(replaced.path_rules().path_only("a.p12").is_none());
    let disabled =
        engine_with("[extend]\nuseDefault = true\ndisabledRules = ['github-pat', 'pkcs12-file']")
            .unwrap();
    assert!(scan(&disabled, &[text.as_bytes()]).unwrap().is_empty());
    assert!(disabled.path_rules().path_only("a.p12").is_none());
}

#[test]
fn the_operators_path_bound_rules_are_held_to_the_path_too() {
    let rules_file = "
        [extend]
        useDefault = true
        [[rules]]
        ID = 'env'
        Path = '\\.env$'
        [[rules]]
        id = 'house'
        regex = 'house-[0-9]{6}'
        path = '^deploy/'
        [[rules]]
        id = 'kubernetes-secret-yaml'
        [[rules.allowlists]]
        regexes = ['AAAAAAAAAA']
        [[allowlists]]
        targetRules = ['house']
        regexes = ['999999']
    ";
    let engine = engine_with(rules_file).unwrap();
    let (bound, text) = (engine.path_rules(), "house-123456\nhouse-999999\n");
    assert_eq!(
        rules(&scan(&engine, &[text.as_bytes()]).unwrap()),
        ["house"]
    );
    assert!(bound.applies("house", Some("deploy/x")) && !bound.applies("house", Some("x")));
    assert_eq!(bound.path_only("a/.env"), Some(("env", "env")));
    assert!(bound.look_at_directories());
    let secret = |value: &str| format!("kind: Secret\ndata:\n  x: {value}\n");
    let allowed = scan(&engine, &[secret("AAAAAAAAAAAA").as_bytes()]).unwrap();
    assert!(allowed.is_empty(), "{allowed:?}");
    let found = scan(&engine, &[secret("QUJDREVGR0hJ").as_bytes()]).unwrap();
    assert_eq!(rules(&found), ["kubernetes-secret-yaml"]);
}

#[test]
fn the_operators_path_allow_list_does_not_open_a_way_out() {
    let engine =
        engine_with("[extend]\nuseDefault = true\n[[allowlists]]\npaths = ['.*']\n").unwrap();
    assert_eq!(
        rules(&scan(&engine, &[token(1).as_bytes()]).unwrap()),
        ["github-pat"]
    );
}

#[test]
fn bad_rules_are_refused_with_their_file_and_the_reason() {
    let refusal = |rules: &str| {
        let error = match engine_with(rules) {
            Ok(engine) => scan(&engine, &[b"text"]).unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, EngineError::Config { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("rules.toml"), "{text}");
        text
    };
    assert!(refusal("a = 1\nb = ").contains("line 2"));
    assert!(refusal("[[rules]]\nregex = 'x'").contains("rule 1 has no id"));
    assert!(refusal("[extend]\npath = 'x.toml'").contains("extend.path"));
    assert!(refusal("[[rules]]\nid = 'a'\nregex = 'x'\npath = '('").contains("the path of rule a"));
    assert!(refusal("[[rules]]\nid = 'a'\nID = 'b'").contains("duplicate"));
    // What only gitleaks can tell.
    assert!(refusal("[[rules]]\nid = 'a'\nregex = '('").contains("missing closing )"));
    assert!(refusal("[[rules]]\nid = 'a'").contains("regex"));
}

#[test]
fn rules_that_are_known_hold_as_long_as_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    fs::DirBuilder::new().mode(0o700).create(&run_dir).unwrap();
    let file = dir.path().join("rules.toml");
    let found = |word: &str| {
        let rule = format!("id = '{word}'\nregex = '{word}-\\d+'\npath = '[.]{word}$'");
        fs::write(&file, format!("[[rules]]\n{rule}\n")).unwrap();
        let deadline = Deadline::of("scanTimeout", 300);
        let engine = || {
            let mut settings = settings(Some(&file));
            settings.run_dir.clone_from(&run_dir);
            Engine::new(rig::gitleaks(), &settings, deadline).unwrap()
        };
        // Read, known, and read again where what is noted makes no sense.
        for _ in 0..2 {
            let engine = engine();
            let findings = scan(&engine, &[b"one-1 two-2"]).unwrap();
            assert_eq!(rules(&findings), [word]);
            assert!(
                engine
                    .path_rules()
                    .applies(word, Some(&format!("a.{word}")))
            );
            assert!(!engine.path_rules().applies(word, Some("a.txt")));
        }
        let noted = fs::read_dir(&run_dir).unwrap().flatten();
        let noted: Vec<_> = noted.map(|entry| entry.path()).collect();
        assert_eq!(noted.len(), 1, "{noted:?}");
        fs::write(&noted[0], "{\"made_from\":").unwrap();
        engine();
        assert!(fs::read_to_string(&noted[0]).unwrap().contains(word));
    };
    found("one");
    found("two");

    // What others may write is not looked at.
    fs::set_permissions(&run_dir, fs::Permissions::from_mode(0o777)).unwrap();
    let noted = fs::read_dir(&run_dir).unwrap().next().unwrap().unwrap();
    fs::remove_file(noted.path()).unwrap();
    let deadline = Deadline::of("scanTimeout", 300);
    let mut settings = settings(Some(&file));
    settings.run_dir.clone_from(&run_dir);
    Engine::new(rig::gitleaks(), &settings, deadline).unwrap();
    assert_eq!(fs::read_dir(&run_dir).unwrap().count(), 0);
}

/// A gitleaks of its own path, so that a test can tell its process from those of other tests.
pub fn own_program() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("gitleaks");
    rig::copy_program(&rig::gitleaks(), &program);
    (dir, program)
}

fn limited(program: PathBuf, seconds: u64) -> Engine {
    let mut settings = settings(None);
    settings.limits.scan = seconds;
    Engine::with_program(program, &settings).unwrap()
}

/// The processes below this one that run `program`.
pub fn processes_of(program: &Path) -> impl Iterator<Item = u32> {
    let children = rig::descendants(std::process::id()).into_iter();
    children.filter(move |&pid| rig::runs(pid, program))
}

/// The gitleaks of this test's own program.
fn running(program: &Path) -> u32 {
    rig::wait_until("gitleaks runs", || processes_of(program).next().is_some());
    processes_of(program).next().unwrap()
}

/// Feeds until the scan fails: more than any buffer holds.
fn feed_to_failure(scanner: &mut dyn Scanner) -> EngineError {
    let fragment = vec![b'x'; FRAGMENT_LIMIT];
    (0..10_000)
        .find_map(|_| scanner.feed(&fragment).err())
        .unwrap()
}

#[test]
fn a_killed_gitleaks_is_a_failure() {
    let (_dir, program) = own_program();
    let mut scanner = limited(program.clone(), 60).start().unwrap();
    scanner.feed(b"text").unwrap();
    rig::signal(running(&program), Signal::KILL);
    let error = feed_to_failure(&mut *scanner).to_string();
    assert!(error.contains("it was killed (SIGKILL)"), "{error}");

    let scanner = limited(program.clone(), 60).start().unwrap();
    rig::signal(running(&program), Signal::KILL);
    assert!(matches!(scanner.finish(), Err(EngineError::Failed { .. })));
}

#[test]
fn a_stopped_gitleaks_is_ended_at_the_limit() {
    let (_dir, program) = own_program();
    for feeding in [true, false] {
        let mut scanner = limited(program.clone(), 2).start().unwrap();
        let pid = running(&program);
        rig::signal(pid, Signal::STOP);
        let error = if feeding {
            feed_to_failure(&mut *scanner)
        } else {
            scanner.feed(b"text").unwrap();
            let error = scanner.finish().unwrap_err();
            assert!(
                !Path::new(&format!("/proc/{pid}")).exists(),
                "it outlived its scan"
            );
            error
        };
        assert!(matches!(error, EngineError::TimedOut { .. }), "{error:?}");
        assert!(error.to_string().contains("git-gate.scanTimeout"));
    }
}

#[test]
fn an_unfinished_scan_leaves_nothing_behind() {
    let (_dir, program) = own_program();
    let scanner = limited(program.clone(), 60).start().unwrap();
    let pid = running(&program);
    drop(scanner);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn gitleaks_itself_runs_in_the_cage() {
    let (_dir, program) = own_program();
    let mut scanner = limited(program.clone(), 60).start().unwrap();
    let pid = running(&program);
    scanner.feed(b"text").unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    if sandbox::support().system_calls {
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
    }
    if sandbox::support() != Support::default() {
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    }
    assert!(scanner.finish().unwrap().is_empty());
}

#[test]
fn what_is_no_gitleaks_is_a_failure() {
    // It prints its arguments and ends well, without reading.
    let house = "[[rules]]\nid = 'house'\nregex = 'house-[0-9]{6}'\n";
    let (dir, settings) = (tempfile::tempdir().unwrap(), settings(None));
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, house).unwrap();
    let replaced = self::settings(Some(&rules));
    let echo = Engine::with_program("/bin/echo".into(), &replaced).unwrap();
    assert!(matches!(
        scan(&echo, &[b"text"]),
        Err(EngineError::Failed { .. })
    ));
    // Its own rules are not in it.
    let echo = Engine::with_program("/bin/echo".into(), &settings).unwrap_err();
    assert!(matches!(echo, EngineError::Foreign(_)));
    let absent = Engine::with_program("/nowhere/gitleaks".into(), &settings).unwrap_err();
    assert!(matches!(absent, EngineError::System { .. }));
}

#[test]
fn a_report_without_end_is_a_failure() {
    // 2,000 findings a fragment, of some 600 bytes each in the report.
    let line = format!("{}\n", token(7));
    let fragment = line.repeat(FRAGMENT_LIMIT / line.len());
    let fragments = vec![fragment.as_bytes(); 50];
    assert!(matches!(
        scan(&engine(), &fragments),
        Err(EngineError::TooMany { .. })
    ));
}

#[test]
fn a_big_push_keeps_its_lines_when_several_scan_it() {
    let filler = "lorem ipsum dolor\n".repeat(FRAGMENT_LIMIT / 18 - 10);
    let mut scanner = engine().start().unwrap();
    let (mut expected, mut lines) = (Vec::new(), 0);
    for index in 0..200 {
        let fragment = format!("{filler}{}\n", token(index));
        if index % 50 == 49 {
            lines = scanner.feed(fragment.as_bytes()).unwrap();
            expected.push((lines - 1, token(index)));
        } else {
            lines = scanner.feed(filler.as_bytes()).unwrap();
        }
    }
    let findings = scanner.finish().unwrap().into_iter();
    let mut found: Vec<_> = findings
        .map(|finding| (finding.start_line, finding.secret))
        .collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(lines > 200 * 5000);
}
