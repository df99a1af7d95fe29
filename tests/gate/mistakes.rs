//! What operators and agents get wrong, what breaks, and what each program then says, word for word:
//! `docs/troubleshooting.md` is the table of it, so that the document cannot lie.
//!
//! `GIT_GATE_REGENERATE=1` writes the document instead of comparing it.

mod agents;
mod https;

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::exceptions::encrypted_zip;
use crate::faults::{Disk, HOOK_FITS, noise};
use crate::fsck::name_used_twice;
use crate::rig::troubleshooting::{assert_chapter, entry};
use crate::rig::{
    Client, Forge, Ran, Rig, Upstream, binary, descendants, end_ssh_masters, free_port, gitleaks,
    signal, token, user, wait_until, write_program,
};

/// One mistake or fault.
struct Case {
    what: &'static str,
    mend: &'static str,
    make: fn(&mut Scene),
    then: After,
}

/// What a start comes to.
enum After {
    /// It ends.
    Ends,
    /// It serves, and says these, of which the first is shown.
    Says(&'static [&'static str]),
    /// It serves well, and then this happens.
    Breaks(fn(&mut Scene)),
    /// It serves well, and reads its configuration again after this.
    Reloads(fn(&mut Scene)),
}

/// Everything of one case: a gate that is to serve `app`, and an agent with a clone of it.
struct Scene {
    rig: Rig,
    app: Upstream,
    work: Client,
    port: u16,
    /// The content of gate.json, unless `config_file` is another file.
    config: Value,
    config_file: PathBuf,
    run_dir: PathBuf,
    arguments: Vec<String>,
    scanner: PathBuf,
    /// The repository that the agent asks for, and what it pushes there.
    name: &'static str,
    push: Vec<&'static str>,
    /// Where the upstream is reached over HTTPS.
    forge: Option<Forge>,
    /// The port of HTTP and the agent's token, where that is how it comes.
    login: Option<(u16, String)>,
    servers: Vec<Child>,
    /// Mounted over the directory of the mirrors, or of one.
    disks: Vec<Disk>,
    /// What to wait for between the fetch and the push.
    settled: fn(&Scene) -> bool,
}

impl Scene {
    fn new() -> Self {
        let rig = Rig::new();
        let app = rig.upstream("app");
        let path = app.path.to_str().unwrap().to_owned();
        let work = rig.client("agent").clone_of(&path, "work");
        work.commit("file", "text\n", "a change");
        let config = json!({ "upstreams": [{ "name": "app", "url": app.url }], "limits": {} });
        Self {
            config_file: rig.path().join("gate.json"),
            run_dir: rig.path().join("run"),
            rig,
            app,
            work,
            port: free_port(),
            config,
            arguments: Vec::new(),
            scanner: gitleaks(),
            name: "app",
            push: vec!["HEAD:refs/heads/new"],
            forge: None,
            login: None,
            servers: Vec::new(),
            disks: Vec::new(),
            settled: |_| true,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.rig.path().join(name)
    }

    /// The one upstream in gate.json.
    fn upstream(&mut self) -> &mut Value {
        &mut self.config["upstreams"][0]
    }

    /// Writes a file, and names it in the upstream's `key`.
    fn names(&mut self, key: &str, content: &str) {
        let path = self.at(key);
        fs::write(&path, content).unwrap();
        self.upstream()[key] = json!(path);
    }

    /// Gives the mirrors a disk of their own.
    fn mirrors_on(&mut self, options: &str) {
        let mirrors = self.at("git");
        fs::create_dir(&mirrors).unwrap();
        let disk = Disk::mount(&mirrors, &format!("size={HOOK_FITS},{options}"));
        self.disks.push(disk);
    }

    /// Writes the private key anew.
    fn key(&self, content: impl AsRef<[u8]>) {
        fs::write(self.rig.key("app"), content).unwrap();
    }

    fn gate_init(&self, command: &[&str]) -> Command {
        fs::write(self.at("gate.json"), self.config.to_string()).unwrap();
        let mut gate = Command::new(binary("gate-init"));
        gate.env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.rig.path())
            .env("GIT_GATE_GITLEAKS", &self.scanner)
            .args(command)
            .arg("--config")
            .arg(&self.config_file)
            .arg("--base-path")
            .arg(self.at("git"))
            .arg("--creds-dir")
            .arg(self.at("creds"))
            .arg("--run-dir")
            .arg(&self.run_dir)
            .args(["--listen", "127.0.0.1", "--port", &self.port.to_string()])
            .args(&self.arguments);
        gate
    }

    fn start(&mut self) {
        let log = File::create(self.at("log")).unwrap();
        let mut command = self.gate_init(&[]);
        let server = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.servers.push(server.spawn().unwrap());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// The exit code of the server, once it has ended.
    fn ended(&mut self) -> Option<i32> {
        let status = self.servers.last_mut().unwrap().try_wait().unwrap();
        status.and_then(|status| status.code())
    }

    /// Waits until the gate serves and its mirror can be pushed to.
    fn serves(&mut self) {
        let mirror = self.at("git/app.git/hooks/pre-receive");
        wait_until("the gate serves", || {
            assert_eq!(self.ended(), None, "{}", self.log());
            mirror.exists()
                && self
                    .gate_init(&["health"])
                    .output()
                    .unwrap()
                    .status
                    .success()
        });
    }

    fn gate_url(&self) -> String {
        let name = self.name;
        match &self.login {
            Some((port, token)) => format!("http://any:{token}@127.0.0.1:{port}/{name}.git"),
            None => format!("git://127.0.0.1:{}/{name}.git", self.port),
        }
    }

    fn agent(&self, command: &[&str]) -> Command {
        let mut git = self.work.command();
        let refspecs = command.iter().position(|word| word.contains(':'));
        let (verb, rest) = command.split_at(refspecs.unwrap_or(command.len()));
        git.args(verb).arg(self.gate_url()).args(rest);
        git
    }

    /// `text` without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let root = self.rig.path().display();
        let sshd = self.rig.sshd.address();
        let mut text = text.to_owned();
        let port = self.port.to_string();
        if let Some(forge) = &self.forge {
            let url = forge.url("app").replace("/app.git", "");
            text = text.replace(&url, "https://forge.example");
        }
        if let Some((http, token)) = &self.login {
            text = text.replace(&format!("127.0.0.1:{http}"), "127.0.0.1:9420");
            text = text.replace(token, "TOKEN");
        }
        for (found, shown) in [
            (format!("127.0.0.1:{port}"), "127.0.0.1:9418"),
            (self.app.url.clone(), "ssh://git@forge.example:22/app.git"),
            (format!("{root}/upstream/app.git"), "/app.git"),
            (format!("{}@{sshd}", user()), "git@forge.example:22"),
            (sshd.to_string(), "forge.example:22"),
            (
                format!("[{}]:{}", sshd.ip(), sshd.port()),
                "[forge.example]:22",
            ),
            (
                format!("{} port {}", sshd.ip(), sshd.port()),
                "forge.example port 22",
            ),
            (format!("{root}/creds"), "/git-gate/creds"),
            (format!("{root}/run"), "/run/git-gate"),
            (format!("{root}/git/"), "/git/"),
            (format!("{root}/git;"), "/git;"),
            ("long".repeat(25), "…"),
            (format!("{root}/gate.json"), "/etc/git-gate/gate.json"),
            (format!("{root}"), "/srv"),
            (
                binary("gate-init").parent().unwrap().display().to_string(),
                "/usr/bin",
            ),
        ] {
            text = text.replace(&found, shown);
        }
        // What depends on the time that stands in a commit, or on who runs.
        for (changing, shown) in [
            (r"[0-9]+ bytes( sent|\))", "N bytes$1"),
            (r"\b([0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{10})\b", "ID"),
            (r"\bprocess [0-9]+\b", "process PID"),
            // The words of libcurl's TLS.
            (r"is not trusted \([^)]*\)", "is not trusted (…)"),
            (r"\b(refusal|accept|deny) [0-9a-z]{8}\b", "$1 REFUSAL"),
        ] {
            let changing = regex_lite::Regex::new(changing).unwrap();
            text = changing.replace_all(&text, shown).into_owned();
        }
        text
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for server in &mut self.servers {
            for pid in descendants(server.id()) {
                signal(pid, Signal::KILL);
            }
            let _ = server.wait();
        }
        // Before the rig, which removes what they are mounted over.
        self.disks.clear();
    }
}

/// What one program did, as a line of the document.
fn said(scene: &Scene, who: &str, ran: &mut Command) -> String {
    let output = ran.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_its_word = |line: &&str| match who {
        "check" => line.starts_with("FAIL") || line.starts_with("git-gate: "),
        _ => {
            line.contains("git-gate: ")
                || line.contains("git-gate.")
                || line.contains("remote error")
                || line.contains("hash algorithm")
        }
    };
    let words: Vec<_> = text
        .lines()
        .filter(is_its_word)
        .map(|line| line.trim_start_matches("remote: ").trim_end())
        .collect();
    rows(scene, who, output.status.code(), &words)
}

fn rows(scene: &Scene, who: &str, code: Option<i32>, words: &[&str]) -> String {
    let code = code.map(|code| code.to_string()).unwrap_or_default();
    let mut text = format!("{who:<6}  {code:<3}");
    for (number, line) in words.iter().enumerate() {
        let start = if number == 0 { "" } else { "\n           " };
        let _ = write!(text, "{start} {}", scene.plain(line));
    }
    text.trim_end().to_owned() + "\n"
}

/// Tries a case on every program that can say something of it.
fn try_out(case: &Case) -> String {
    let mut scene = Scene::new();
    (case.make)(&mut scene);
    let mut text = String::new();
    match case.then {
        After::Ends => {
            text += &said(&scene, "check", &mut scene.gate_init(&["check"]));
            scene.start();
            wait_until("the gate ends", || scene.ended().is_some());
            let log = scene.log();
            let words: Vec<_> = log.lines().collect();
            let code = scene.ended();
            text += &rows(&scene, "start", code, &words);
            return text + &said(&scene, "health", &mut scene.gate_init(&["health"]));
        }
        After::Says(words) => {
            text += &said(&scene, "check", &mut scene.gate_init(&["check"]));
            scene.start();
            wait_until("it is said", || {
                assert_eq!(scene.ended(), None, "{}", scene.log());
                words.iter().all(|words| scene.log().contains(words))
            });
            text += &logged(&scene, "start", words[0]);
            wait_until("the mirror is ready, or known to be none", || {
                let output = scene.agent(&["ls-remote"]).output().unwrap();
                !String::from_utf8_lossy(&output.stderr).contains("is being made ready")
            });
        }
        After::Breaks(fault) => {
            scene.start();
            scene.serves();
            fault(&mut scene);
            text += &said(&scene, "check", &mut scene.gate_init(&["check"]));
        }
        After::Reloads(change) => {
            scene.start();
            scene.serves();
            change(&mut scene);
            text += &said(&scene, "check", &mut scene.gate_init(&["check"]));
            signal(scene.servers[0].id(), Signal::HUP);
            wait_until("it reloads", || scene.log().contains("reloaded"));
            text += &logged(&scene, "reload", "reloaded");
        }
    }
    text += &said(&scene, "health", &mut scene.gate_init(&["health"]));
    text += &said(&scene, "fetch", &mut scene.agent(&["ls-remote"]));
    wait_until("it is settled", || (scene.settled)(&scene));
    let push = [&["push"][..], &scene.push].concat();
    text + &said(&scene, "push", &mut scene.agent(&push))
}

/// The first line of the gate's log with `words` in it.
fn logged(scene: &Scene, who: &str, words: &str) -> String {
    let log = scene.log();
    let line = log.lines().find(|line| line.contains(words));
    rows(scene, who, None, line.as_slice())
}

#[track_caller]
fn assert_cases(title: &str, cases: &[Case]) {
    // Each has its own sshd, gate and folder; a few at once keep the test short.
    let next = Mutex::new(0..cases.len());
    let texts: Vec<_> = cases.iter().map(|_| Mutex::new(String::new())).collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.lock().unwrap().next();
                    let Some(number) = number else { break };
                    let case = &cases[number];
                    *texts[number].lock().unwrap() = entry(case.what, case.mend, &try_out(case));
                }
            });
        }
    });
    let texts: Vec<_> = texts
        .into_iter()
        .map(|text| text.into_inner().unwrap())
        .collect();
    assert_chapter(title, &texts.concat());
}

fn nothing(_: &mut Scene) {}

/// Ends the ssh connections that the gate keeps open.
fn end_masters(scene: &Scene) {
    end_ssh_masters(scene.rig.path());
}

const REFUSED: After = After::Says(&["pushes are refused: "]);
const TROUBLE: After = After::Says(&["git-gate: app: "]);
/// By the look at the file, and by the mirror that could not be made.
const BOTH: After = After::Says(&["pushes are refused: ", "git-gate: app: "]);

#[test]
fn the_scanner_and_its_files() {
    assert_cases(
        "The scanner and its files",
        &[
            Case {
                what: "gitleaks is not there",
                mend: "Install it, or let `GIT_GATE_GITLEAKS` name it. The image has it.",
                make: |scene| scene.scanner = "/nowhere/gitleaks".into(),
                then: REFUSED,
            },
            Case {
                what: "Another program stands for gitleaks",
                mend: "Let `GIT_GATE_GITLEAKS` name gitleaks itself. A scan counts only when the \
                       scanner found what the gate hid for it.",
                make: |scene| scene.scanner = "/bin/true".into(),
                then: REFUSED,
            },
            Case {
                what: "gitleaks is a script",
                mend: "The sandbox of the scanner runs no other program, so a wrapper cannot work: \
                       name gitleaks itself.",
                make: |scene| {
                    let script = scene.at("wrapper");
                    let real = gitleaks();
                    write_program(
                        &script,
                        &format!("#!/bin/sh\nexec {} \"$@\"\n", real.display()),
                    );
                    scene.scanner = script;
                },
                then: REFUSED,
            },
            Case {
                what: "The rules of gitleaks are missing",
                mend: "`gitleaksConfig` in gate.json is read from the directory of gate.json; mount the file.",
                make: |scene| scene.upstream()["gitleaksConfig"] = json!("/srv/rules.toml"),
                then: REFUSED,
            },
            Case {
                what: "The rules of gitleaks are not TOML",
                mend: "Correct the line that gitleaks names.",
                make: |scene| scene.names("gitleaksConfig", "rules = [\n"),
                then: REFUSED,
            },
            Case {
                what: "A rule of gitleaks has a bad expression",
                mend: "Expressions are those of Go (RE2): no look-around, no back references.",
                make: |scene| {
                    scene.names(
                        "gitleaksConfig",
                        "[[rules]]\nid = \"mine\"\nregex = '(?=x)'\n",
                    );
                },
                then: REFUSED,
            },
            Case {
                what: "The file of accepted findings is missing",
                mend: "`exceptions` in gate.json is read from the directory of gate.json; mount the file.",
                make: |scene| scene.upstream()["exceptions"] = json!("/srv/accepted"),
                then: REFUSED,
            },
            Case {
                what: "A line of the accepted findings cannot be read",
                mend: "Correct the line: [settings](settings.md#exceptions). A refusal names the line \
                       that would accept its finding.",
                make: |scene| scene.names("exceptions", "# mine\nblob:xyz generic-api-key\n"),
                then: REFUSED,
            },
            Case {
                what: "An exception's last day stands behind its reason",
                mend: "`until=` stands right behind the rule; elsewhere it would be read as reason, and \
                       the exception would never expire.",
                make: |scene| {
                    let id = "a".repeat(40);
                    let line = format!("secret:{id} github-pat a test until=2027-01-01\n");
                    scene.names("exceptions", &line);
                },
                then: REFUSED,
            },
        ],
    );
}

#[test]
fn the_configuration_and_its_places() {
    assert_cases(
        "The configuration and its places",
        &[
            Case {
                what: "No upstream is named",
                mend: "Name one in gate.json or as NAME=URL; see that gate.json is mounted.",
                make: |scene| scene.config["upstreams"] = json!([]),
                then: After::Ends,
            },
            Case {
                what: "gate.json is not there",
                mend: "Mount its directory, and let `--config` name the file in it.",
                make: |scene| scene.config_file = "/srv/none.json".into(),
                then: After::Ends,
            },
            Case {
                what: "gate.json is not JSON",
                mend: "Correct the line; an editor with docs/gate.schema.json shows it.",
                make: |scene| {
                    let file = scene.at("bad.json");
                    fs::write(&file, "{ \"upstreams\": [ }\n").unwrap();
                    scene.config_file = file;
                },
                then: After::Ends,
            },
            Case {
                what: "A key in gate.json is misspelt",
                mend: "Write the name that is proposed.",
                make: |scene| scene.config["limits"]["scanTimout"] = json!(60),
                then: After::Ends,
            },
            Case {
                what: "A limit is out of its range",
                mend: "The schema of gate.json has the ranges.",
                make: |scene| scene.config["limits"]["scanTimeout"] = json!(0),
                then: After::Ends,
            },
            Case {
                what: "The upstream is neither an ssh nor an https URL",
                mend: "The gate talks ssh and https only: write one of the URLs that the forge shows.",
                make: |scene| scene.upstream()["url"] = json!("http://forge.example/o/app.git"),
                then: After::Ends,
            },
            Case {
                what: "The name of an upstream holds a slash",
                mend: "Take a name of one part; it is what agents write behind the host.",
                make: |scene| scene.upstream()["name"] = json!("team/app"),
                then: After::Ends,
            },
            Case {
                what: "`allowRef` is not the full name of a ref",
                mend: "Write `refs/heads/agent/*`, not `agent/*`.",
                make: |scene| scene.upstream()["policy"] = json!({ "allowRef": ["agent/*"] }),
                then: REFUSED,
            },
            Case {
                what: "The directory of the audit log is missing",
                mend: "Make it, and mount it where the gate runs in a container.",
                make: |scene| {
                    let log = scene.at("none/audit.log");
                    scene.arguments = vec![format!("--audit-log={}", log.display())];
                },
                then: After::Ends,
            },
            Case {
                what: "The port is in use",
                mend: "Stop what listens there (`ss -ltnp`), or take another `--port`.",
                make: |scene| {
                    scene.port = scene.rig.sshd.address().port();
                },
                then: After::Ends,
            },
            Case {
                what: "The path of the run directory is too long for a socket",
                mend: "Take a shorter `--run-dir`.",
                make: |scene| {
                    scene.run_dir = scene.at(&"long".repeat(25));
                },
                then: After::Ends,
            },
            Case {
                what: "A gate serves the same mirrors already",
                mend: "One gate has one base path: stop the other, or take another `--base-path`.",
                make: |scene| {
                    scene.start();
                    scene.serves();
                    scene.run_dir = scene.at("other");
                    scene.port = free_port();
                },
                then: After::Ends,
            },
            Case {
                what: "The base path is mounted noexec",
                mend: "Mount it without `noexec`: the hook of each mirror is a program in it.",
                make: |scene| scene.mirrors_on("noexec"),
                then: BOTH,
            },
            Case {
                what: "The hooks are not where `--hooks-dir` says",
                mend: "Leave the option out, or name the directory of `pre-receive` and `access-hook`.",
                make: |scene| scene.arguments = vec!["--hooks-dir=/srv/none".into()],
                then: After::Ends,
            },
        ],
    );
}

#[test]
fn keys_and_hosts() {
    assert_cases(
        "Keys and hosts",
        &[
            Case {
                what: "The private key is missing",
                mend: "Put it at the path that is named, mode 0600.",
                make: |scene| fs::remove_file(scene.rig.key("app")).unwrap(),
                then: BOTH,
            },
            Case {
                what: "The private key is empty",
                mend: "Write the key anew; a mount of a file that is not there makes an empty one.",
                make: |scene| scene.key(""),
                then: BOTH,
            },
            Case {
                what: "Others can read the private key",
                mend: "`chmod 600 FILE`. The gate does it at the start, where it may.",
                make: |scene| {
                    let mode = fs::Permissions::from_mode(0o644);
                    fs::set_permissions(scene.rig.key("app"), mode).unwrap();
                },
                then: After::Says(&["git-gate: serving"]),
            },
            Case {
                what: "The private key has a passphrase",
                mend: "Make a key for the gate alone, without one: `ssh-keygen -t ed25519 -N ''`.",
                make: |scene| {
                    let key = scene.rig.key("app");
                    let ran = Command::new("ssh-keygen")
                        .args(["-q", "-p", "-P", "", "-N", "a passphrase", "-f"])
                        .arg(key)
                        .output();
                    assert!(ran.unwrap().status.success());
                },
                then: BOTH,
            },
            Case {
                what: "The public key stands for the private one",
                mend: "Take the file without `.pub`.",
                make: |scene| {
                    let public = scene.rig.sshd.client_key().with_extension("pub");
                    scene.key(fs::read(public).unwrap());
                },
                then: BOTH,
            },
            Case {
                what: "The private key has line ends of Windows",
                mend: "`sed -i 's/\\r$//' FILE`.",
                make: |scene| {
                    let key = fs::read_to_string(scene.rig.key("app")).unwrap();
                    scene.key(key.replace('\n', "\r\n"));
                },
                then: BOTH,
            },
            Case {
                what: "The private key has lost its last line end",
                mend: "`echo >> FILE`; environments and secret stores cut it off.",
                make: |scene| {
                    let key = fs::read_to_string(scene.rig.key("app")).unwrap();
                    scene.key(key.trim_end());
                },
                then: BOTH,
            },
            Case {
                what: "The upstream does not know the key",
                mend: "Register its public half there, with write access.",
                make: |scene| {
                    let other = scene.rig.sshd.other_key();
                    scene.key(fs::read(other).unwrap());
                },
                then: TROUBLE,
            },
            Case {
                what: "The pinned host keys are missing",
                mend: "`gate-host scan-host-key HOST` shows the host's keys; compare, then write the file.",
                make: |scene| fs::remove_file(scene.rig.known_hosts("app")).unwrap(),
                then: BOTH,
            },
            Case {
                what: "Another host key is pinned",
                mend: "Find out why: the host has a new key, or somebody stands between. Then pin again.",
                make: |scene| {
                    let line = scene.rig.sshd.wrong_known_hosts_line();
                    fs::write(scene.rig.known_hosts("app"), line).unwrap();
                },
                then: TROUBLE,
            },
            Case {
                what: "The pinned line is of another host or port",
                mend: "With a port other than 22 the line begins with `[HOST]:PORT`.",
                make: |scene| {
                    let line = scene.rig.sshd.known_hosts_line();
                    let key = line.split_once(' ').unwrap().1;
                    fs::write(scene.rig.known_hosts("app"), format!("other.example {key}"))
                        .unwrap();
                },
                then: TROUBLE,
            },
            Case {
                what: "Nobody listens at the upstream",
                mend: "See that the host is up, and that host and port in the URL are right.",
                make: |scene| scene.rig.sshd.stop(),
                then: TROUBLE,
            },
            Case {
                what: "The upstream has no such repository",
                mend: "Correct the path in the URL, or let the key see the repository.",
                make: |scene| fs::remove_dir_all(&scene.app.path).unwrap(),
                then: TROUBLE,
            },
        ],
    );
}

#[test]
fn while_the_gate_serves() {
    assert_cases(
        "While the gate serves",
        &[
            Case {
                what: "The upstream goes away",
                mend: "Nothing was pushed; try again when it is back.",
                make: nothing,
                then: After::Breaks(|scene| {
                    scene.rig.sshd.stop();
                    end_masters(scene);
                }),
            },
            Case {
                what: "The upstream accepts and stays silent",
                mend: "It is overloaded or frozen; the limits are `connectTimeout` and `silenceTimeout`.",
                make: |scene| scene.config["limits"]["connectTimeout"] = json!(2),
                then: After::Breaks(|scene| {
                    end_masters(scene);
                    scene.rig.sshd.signal_all(Signal::STOP);
                }),
            },
            Case {
                what: "The repository is deleted at the upstream",
                mend: "Make it anew there, or take the upstream out of gate.json.",
                make: nothing,
                then: After::Breaks(|scene| fs::remove_dir_all(&scene.app.path).unwrap()),
            },
            Case {
                what: "The upstream is made anew, empty of the old history and in SHA-256",
                mend: "The gate makes its mirror anew by itself; agents clone again, since git does not mix \
                       the two.",
                make: nothing,
                then: After::Breaks(|scene| {
                    scene.app.replace("sha256");
                    scene.settled = |scene| {
                        let format = ["ls-remote", &scene.gate_url()];
                        scene.rig.client("other").git(&format).ok
                    };
                }),
            },
            Case {
                what: "The gate's disk fills up during a push",
                mend: "Make room below the base path; nothing of the push is kept, and it can be sent again.",
                make: |scene| {
                    scene.mirrors_on("mode=0700");
                    scene.work.commit("large", noise(5, 8 << 20), "large");
                },
                then: After::Breaks(|scene| scene.disks[0].fill(&scene.at("git/filler"))),
            },
            Case {
                what: "The base path is remounted noexec",
                mend: "Mount it without `noexec`. git leaves out a hook that it may not execute, so the \
                       gate takes no push meanwhile.",
                make: |scene| scene.mirrors_on("mode=0700"),
                then: After::Breaks(|scene| scene.disks[0].remount("noexec")),
            },
            Case {
                what: "The upstream refuses the push",
                mend: "Its own words follow; the rule is there, not in the gate.",
                make: nothing,
                then: After::Breaks(|scene| {
                    scene.app.hook(
                        "pre-receive",
                        "#!/bin/sh\necho 'protected branch'\nexit 1\n",
                    );
                }),
            },
            Case {
                what: "A push changes a ref that `allowRef` does not name",
                mend: "Push to one of the names that are shown.",
                make: |scene| {
                    scene.upstream()["policy"] = json!({ "allowRef": ["refs/heads/agent/*"] })
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push holds a secret",
                mend: "Take it out of the commit that is named, as the refusal shows; a secret that was \
                       used is to be replaced.",
                make: |scene| {
                    let content = format!("TOKEN={}\n", token(7));
                    scene.work.commit("app.env", content, "settings");
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push holds what nobody can read",
                mend: "Push it unencrypted, or let the operator accept it with the line that is shown.",
                make: |scene| {
                    scene
                        .work
                        .commit("locked.zip", encrypted_zip("inner.txt"), "locked");
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push holds objects that git's own check refuses",
                mend: "Mend the history, or let the operator set the check that is named in `fsck`.",
                make: |scene| {
                    let commit = name_used_twice(&scene.work);
                    scene.work.git(&["branch", "twice", &commit]).success();
                    scene.push = vec!["twice:refs/heads/new"];
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push has an option that is not allowed",
                mend: "Push without it, or let the operator name it in `allowPushOption`.",
                make: |scene| scene.push = vec!["-o", "ci.skip", "HEAD:refs/heads/new"],
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push changes more refs than `maxRefs`",
                mend: "Push fewer at once, or let the operator raise the limit.",
                make: |scene| {
                    scene.config["limits"]["maxRefs"] = json!(1);
                    scene.push = vec!["HEAD:refs/heads/a", "HEAD:refs/heads/b"];
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push deletes more refs than `maxDeletes`",
                mend: "A `push --mirror` or `--prune` does that by accident. Delete one by one, or let the \
                       operator raise the limit.",
                make: |scene| {
                    scene.app.git(&["branch", "a", "main"]);
                    scene.app.git(&["branch", "b", "main"]);
                    scene.push = vec![":refs/heads/a", ":refs/heads/b"];
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "The gate has no repository of that name",
                mend: "Use the name in gate.json: `git://HOST/NAME.git`.",
                make: |scene| scene.name = "other",
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push rewrites a branch",
                mend: "Rebase on what is there; or let `forcePush` be `lease`.",
                make: |scene| {
                    scene.app.commit("main", "other", "x\n", "somebody else's");
                    scene.push = vec!["+HEAD:refs/heads/main"];
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push deletes a ref where deletes are refused",
                mend: "Let a person delete it, or let `deletes` be `allow`.",
                make: |scene| {
                    scene.upstream()["policy"] = json!({ "deletes": "refuse" });
                    scene.push = vec![":refs/heads/main"];
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "A push is larger than `maxPushSize`",
                mend: "Push in parts, or let the operator raise the limit.",
                make: |scene| scene.config["limits"]["maxPushSize"] = json!(10),
                then: After::Breaks(nothing),
            },
            Case {
                what: "A key in the git config of a mirror is misspelt",
                mend: "Correct it: an unknown key could be a rule that was meant to hold.",
                make: nothing,
                then: After::Breaks(|scene| {
                    let mirror = scene.at("git/app.git");
                    let mut git = scene.work.command();
                    let set = ["config", "git-gate.alowRef", "refs/heads/agent/*"];
                    Ran::of(git.arg("-C").arg(mirror).args(set)).success();
                }),
            },
            Case {
                what: "A reload finds a gate.json that is not JSON",
                mend: "Correct it and send SIGHUP again; until then everything stays as it was.",
                make: nothing,
                then: After::Reloads(|scene| scene.config = json!("not an object")),
            },
            Case {
                what: "A reload finds a limit out of its range",
                mend: "Correct it and send SIGHUP again; until then everything stays as it was.",
                make: nothing,
                then: After::Reloads(|scene| scene.config["limits"]["maxRefs"] = json!(0)),
            },
            Case {
                what: "A reload finds no change",
                mend: "A mounted single file keeps its old content when an editor replaces it: mount the \
                       directory.",
                make: nothing,
                then: After::Reloads(nothing),
            },
            Case {
                what: "A reload finds the base path mounted noexec",
                mend: "Mount it without `noexec`, and send SIGHUP again.",
                make: |scene| scene.mirrors_on("mode=0700"),
                then: After::Reloads(|scene| scene.disks[0].remount("noexec")),
            },
            Case {
                what: "A reload finds rules of gitleaks that are missing",
                mend: "Mount the file, and send SIGHUP again.",
                make: nothing,
                then: After::Reloads(|scene| {
                    scene.upstream()["gitleaksConfig"] = json!("/srv/rules.toml");
                }),
            },
        ],
    );
}
