//! The agent's rules, judged by the git that reads them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{HOST_KEY, Operator};
use crate::rig::{Rig, free_port};

impl Operator {
    /// A manifest of these upstreams: name, URL, alias.
    fn bottle(&self, upstreams: &[(&str, &str, &str)]) {
        let entry = |(name, url, alias): &(&str, &str, &str)| {
            format!(
                "[git-gate.repos.{name}]\nupstream = \"{url}\"\nidentity_file = \"id\"\n\
                 known_host_key = \"{HOST_KEY}\"\nremote_key = \"{alias}\"\n"
            )
        };
        self.write(
            "bottle.toml",
            &upstreams.iter().map(entry).collect::<String>(),
        );
    }

    fn gitconfig(&self, more: &[&str]) -> String {
        let arguments = [
            &["gitconfig", "bottle.toml", "--gate-host", "git-gate"],
            more,
        ]
        .concat();
        self.run(&arguments).expect(0, &[]).out
    }

    /// Where git takes `url` with the rules in place.
    fn git_url(&self, url: &str) -> String {
        let git = Command::new("git")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.folder.path())
            .args(["ls-remote", "--get-url", url])
            .output()
            .unwrap();
        assert!(
            git.status.success(),
            "{}",
            String::from_utf8_lossy(&git.stderr)
        );
        String::from_utf8(git.stdout).unwrap().trim_end().to_owned()
    }
}

#[test]
fn every_spelling_of_an_upstream_leads_to_its_repository_on_the_gate() {
    let operator = Operator::new();
    operator.bottle(&[
        ("app", "ssh://git@forge.example:2222/team/app.git", "work"),
        ("lib", "git@forge.example:team/lib", ""),
        ("app-docs", "ssh://git@forge.example/team/app-docs.git", ""),
        ("six", "ssh://me@[::1]:2200/srv/six.git", ""),
    ]);
    operator.write(".gitconfig", &operator.gitconfig(&[]));
    for (name, spellings) in [
        (
            "app",
            &[
                "ssh://git@forge.example:2222/team/app.git",
                "ssh://git@forge.example:2222/team/app",
                "ssh://git@forge.example/team/app.git",
                "git@forge.example:team/app.git",
                "git@forge.example:/team/app",
                "ssh://git@work:2222/team/app.git",
                "ssh://git@work/team/app",
                "git@work:team/app.git",
                "https://forge.example/team/app.git",
                "https://git@forge.example/team/app",
            ][..],
        ),
        (
            "lib",
            &[
                "git@forge.example:team/lib",
                "git@forge.example:team/lib.git",
                "git@forge.example:/team/lib.git",
                "ssh://git@forge.example/team/lib.git",
                "ssh://git@forge.example:22/team/lib",
            ],
        ),
        (
            "app-docs",
            &[
                "git@forge.example:team/app-docs.git",
                "ssh://git@forge.example:22/team/app-docs",
            ],
        ),
        (
            "six",
            &[
                "ssh://me@[::1]:2200/srv/six.git",
                "ssh://me@[::1]/srv/six",
                "me@[::1]:/srv/six.git",
            ],
        ),
    ] {
        for spelling in spellings {
            assert_eq!(
                operator.git_url(spelling),
                format!("git://git-gate/{name}.git"),
                "{spelling}"
            );
        }
    }
    for other in [
        "git@forge.example:team/other.git",
        "ssh://git@forge.example:2200/team/app.git",
        "git@elsewhere:team/app.git",
        "https://forge.example/other/app.git",
        "https://elsewhere/team/app.git",
    ] {
        assert_eq!(operator.git_url(other), other);
    }
}

#[test]
fn the_same_path_on_two_ports_stays_apart() {
    let operator = Operator::new();
    operator.bottle(&[
        ("a", "ssh://git@forge.example:2222/team/app.git", ""),
        ("b", "ssh://git@forge.example/team/app.git", ""),
    ]);
    operator.write(".gitconfig", &operator.gitconfig(&[]));
    assert_eq!(
        operator.git_url("git@forge.example:team/app.git"),
        "git://git-gate/b.git"
    );
    assert_eq!(
        operator.git_url("ssh://git@forge.example:2222/team/app.git"),
        "git://git-gate/a.git"
    );
}

#[test]
fn names_and_paths_of_any_kind_survive_gits_config_syntax() {
    let operator = Operator::new();
    operator.write(
        "bottle.json",
        &serde_json::json!({ "git-gate": { "repos": { "o'app\"x": {
            "upstream": "git@forge.example:team/a;b#c \"d.git",
            "identity_file": "id",
            "known_host_key": HOST_KEY,
        } } } })
        .to_string(),
    );
    let rules = operator
        .run(&[
            "gitconfig",
            "bottle.json",
            "--gate-host",
            "10.0.0.2:9418",
            "--scheme",
            "http",
        ])
        .expect(0, &[]);
    operator.write(".gitconfig", &rules.out);
    assert_eq!(
        operator.git_url("git@forge.example:team/a;b#c \"d.git"),
        "http://10.0.0.2:9418/o'app\"x.git"
    );
}

#[test]
fn an_address_that_would_break_out_of_the_rules_is_refused() {
    let operator = Operator::new();
    operator.bottle(&[("app", "git@forge.example:team/app.git", "")]);
    for (host, scheme) in [
        ("", "git"),
        ("a\"]\n[core]", "git"),
        ("a/b", "git"),
        ("a", "git\n"),
        ("a", ""),
    ] {
        let arguments = [
            "gitconfig",
            "bottle.toml",
            "--gate-host",
            host,
            "--scheme",
            scheme,
        ];
        let ran = operator.run(&arguments).expect(1, &[" is not "]);
        assert_eq!(ran.out, "");
    }
}

#[test]
fn the_rules_read_like_this() {
    let operator = Operator::new();
    operator.bottle(&[("app", "ssh://git@forge.example/team/app.git", "")]);
    insta::assert_snapshot!(operator.gitconfig(&[]), @r#"
    # git-gate: every use of these upstreams goes through the gate.
    [url "git://git-gate/app.git"]
    	insteadOf = git@forge.example:/team/app
    	insteadOf = git@forge.example:/team/app.git
    	insteadOf = git@forge.example:team/app
    	insteadOf = git@forge.example:team/app.git
    	insteadOf = https://forge.example/team/app
    	insteadOf = https://forge.example/team/app.git
    	insteadOf = https://git@forge.example/team/app
    	insteadOf = https://git@forge.example/team/app.git
    	insteadOf = ssh://git@forge.example/team/app
    	insteadOf = ssh://git@forge.example/team/app.git
    	insteadOf = ssh://git@forge.example:22/team/app
    	insteadOf = ssh://git@forge.example:22/team/app.git
    "#);
    operator.write("bottle.toml", "[git-gate.repos]\n");
    assert_eq!(operator.gitconfig(&[]), "", "no upstream, no rule");
}

/// The agent of a gate that knows agents by their tokens, with submodules, as `gate-host` sets it up.
#[test]
fn an_agent_with_a_token_uses_its_usual_remotes_over_http() {
    let rig = Rig::new();
    let (app, lib) = (rig.upstream("app"), rig.upstream("lib"));
    let token = "a%token/with:odd@characters";
    fs::write(rig.path().join("creds/one.token"), token).unwrap();
    let config = rig.path().join("gate.json");
    let json = serde_json::json!({
        // A submodule is what is to be pushed.
        "upstreams": [{"name": "app", "url": app.url, "policy": {"protect": []}}],
        "agents": [{"name": "one", "tokenFile": "one.token", "repositories": ["*"]}],
    });
    fs::write(&config, json.to_string()).unwrap();
    let port = free_port();
    let served = rig.gate_with(&[
        ("--config", config.to_str().unwrap()),
        ("--http-port", &port.to_string()),
    ]);
    for name in ["app", "lib"] {
        served.wait_for_mirror(name);
    }
    let operator = Operator::new();
    operator.bottle(&[("app", &app.url, ""), ("lib", &lib.url, "")]);
    operator.write("token", token);
    let agent = rig.client("agent");
    let store = agent.path().join("store");
    let gate = format!("127.0.0.1:{port}");
    let arguments = [
        &[
            "gitconfig",
            "bottle.toml",
            "--gate-host",
            &gate,
            "--scheme",
            "http",
        ][..],
        &[
            "--token-file",
            "token",
            "--credentials",
            store.to_str().unwrap(),
        ],
    ];
    let rules = operator.run(&arguments.concat()).expect(0, &[]).out;
    assert!(!rules.contains(token) && !rules.contains("odd"), "{rules}");
    assert_eq!(
        fs::metadata(&store).unwrap().permissions().mode() & 0o777,
        0o600
    );
    agent.write(".gitconfig", &rules);
    let work = agent.clone_of(&app.url, "work");
    work.git(&["submodule", "add", "-q", &lib.url, "lib"])
        .success();
    let id = work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/x"]).success();
    assert_eq!(app.tip("refs/heads/x"), Some(id));
    agent
        .git(&[
            "clone",
            "-q",
            "--recurse-submodules",
            "-b",
            "x",
            &app.url,
            "again",
        ])
        .success();
    assert_eq!(
        agent.at("again/lib").id("HEAD"),
        lib.tip("refs/heads/main").unwrap()
    );
    let refused = [
        "gitconfig",
        "bottle.toml",
        "--gate-host",
        &gate,
        "--token-file",
        "token",
    ];
    operator.run(&refused).expect(2, &["--credentials"]);
    let spaces = [&arguments.concat()[..], &["--credentials-at", "/a b"]].concat();
    operator.run(&spaces).expect(1, &["letters, digits"]);
}
