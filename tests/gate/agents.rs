//! Agents, told apart by their tokens: what each sees, may push, and is told.

use std::fs;
use std::hash::BuildHasher;
use std::path::Path;
use std::process::Stdio;

use git_gate::refusals::Record;
use serde_json::{Value, json};

use super::http::{Served, all, get, post};
use crate::rig::{Client, Ran, Rig, binary, signal, wait_until};

/// A token for the agent `name`, different each time.
fn token(rig: &Rig, name: &str) -> String {
    let chance = std::hash::RandomState::new();
    let token = format!("{:016x}{:016x}", chance.hash_one(1), chance.hash_one(2));
    let file = rig.path().join("creds").join(format!("{name}.token"));
    fs::write(file, format!("{token}\n")).unwrap();
    token
}

fn agent(name: &str, repositories: &[&str]) -> Value {
    json!({
        "name": name,
        "tokenFile": format!("{name}.token"),
        "repositories": repositories,
        "policy": {"allowRef": ["refs/heads/{agent}/*"]},
    })
}

/// `app` and `lib`, and two agents: `one` for both, `two` for `app` alone.
fn gate_of_two(rig: &Rig, more: Value) -> Served {
    rig.upstream("app");
    rig.upstream("lib");
    let mut config = json!({"agents": [agent("one", &["*"]), agent("two", &["app"])]});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Served::new(rig, &config.to_string())
}

/// The URL of `name` with a token in it.
fn url(served: &Served, token: &str, name: &str) -> String {
    format!("http://any:{token}@127.0.0.1:{}/{name}.git", served.port)
}

/// The checksum at the end of a pack without objects (gitformat-pack(5)).
const EMPTY_PACK_SUM: [u8; 20] = [
    0x02, 0x9d, 0x08, 0x82, 0x3b, 0xd8, 0xa8, 0xea, 0xb5, 0x10, 0xad, 0x6a, 0xc7, 0x5c, 0x82, 0x3c,
    0xfd, 0x3e, 0xd3, 0x1e,
];

/// The last paragraph of an answer.
fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn an_agent_has_its_own_branches_of_the_repositories_that_it_sees() {
    let rig = Rig::new();
    let (one, two) = (token(&rig, "one"), token(&rig, "two"));
    let served = gate_of_two(&rig, json!({}));
    let work = rig
        .client("two")
        .clone_of(&url(&served, &two, "app"), "work");
    let id = work.commit("file", "text\n", "change");
    work.git(&["push", "origin", "HEAD:refs/heads/two/x"])
        .success();
    let said = work
        .git(&["push", "origin", "HEAD:refs/heads/one/x"])
        .failure();
    let words = "git-gate: agent two: refs/heads/… (ref update 1) is refused by git-gate.allowRef: push to refs/heads/two/*";
    let shown = words.replace("refs/heads/… (ref update 1)", "refs/heads/one/x");
    assert!(said.contains(words) || said.contains(&shown), "{said}");
    assert_eq!(rig.upstream_named("app").tip("refs/heads/two/x"), Some(id));
    assert_eq!(rig.upstream_named("app").tip("refs/heads/one/x"), None);

    // What it may not see is as what is not there, word for word.
    let refs = |name: &str, token: &str| {
        let path = format!("/{name}.git/info/refs?service=git-upload-pack");
        get(served.port, &path, &bearer(token))
    };
    let (hidden, none) = (refs("lib", &two), refs("nope", &two));
    assert!(hidden.starts_with("HTTP/1.1 404 "), "{hidden}");
    assert_eq!(body(&hidden), body(&none));
    assert_eq!(
        body(&hidden),
        "git-gate: no repository of that name here; this gate serves app\n"
    );
    assert!(refs("lib", &one).starts_with("HTTP/1.1 200 "));

    wait_until("all have their lines", || {
        served.events("policy").len() == 1
    });
    assert_eq!(served.events("policy")[0]["agent"], "two");
    assert_eq!(served.events("push")[0]["agent"], "two");
    let refused = served.events("refusal");
    assert_eq!(refused.len(), 2);
    assert!(
        refused.iter().all(|event| event["agent"] == "two"),
        "{refused:#?}"
    );
    let mut health = std::process::Command::new(binary("gate-init"));
    health.args(["health", "--metrics", "--run-dir"]);
    let metrics = Ran::of(health.arg(served.gate.path().join("run"))).success();
    assert!(
        metrics.contains(r#"event="push",service="push",limit="",agent="two"} 1"#),
        "{metrics}"
    );
}

#[test]
fn without_its_token_nobody_is_let_in_and_git_says_why() {
    let rig = Rig::new();
    let one = token(&rig, "one");
    token(&rig, "two");
    let served = gate_of_two(&rig, json!({}));
    let agent = rig.client("agent");
    for name in ["app", "nope"] {
        let path = format!("/{name}.git/info/refs?service=git-upload-pack");
        let answer = get(served.port, &path, "").to_lowercase();
        assert!(answer.starts_with("http/1.1 401 "), "{answer}");
        assert!(
            answer.contains("www-authenticate: basic realm="),
            "{answer}"
        );
        assert!(answer.contains("knows agents by their tokens"), "{answer}");
    }
    let wrong = url(&served, &one[1..], "app");
    let said = agent.git(&["ls-remote", &wrong]).failure();
    assert!(
        said.contains("remote: git-gate: this token is no agent's of this gate"),
        "{said}"
    );
    let said = agent.git(&["ls-remote", &served.gate.url("app")]).failure();
    assert!(
        said.contains("which git:// cannot carry: use its http:// URL"),
        "{said}"
    );
    wait_until("both have their lines", || {
        served.events("refusal").len() == 2
    });
    let log = fs::read_to_string(&served.log).unwrap();
    assert!(!log.contains(&one[1..]) && !served.gate.log().contains(&one[1..]));
}

#[test]
fn what_is_allowed_without_a_token_is_and_the_rest_asks_for_one() {
    let rig = Rig::new();
    let one = token(&rig, "one");
    token(&rig, "two");
    let anonymous = json!({"repositories": ["app"], "readOnly": true});
    let served = gate_of_two(&rig, json!({ "anonymous": anonymous }));
    let anybody = rig.client("anybody");
    let work = anybody.clone_of(&served.url("app"), "work");
    anybody
        .git(&["ls-remote", &served.gate.url("app")])
        .success();
    let said = anybody
        .git(&["ls-remote", &served.gate.url("lib")])
        .failure();
    assert!(said.contains("this gate serves app"), "{said}");
    work.commit("file", "text\n", "change");
    let push = |url: &str| work.git(&["push", url, "HEAD:refs/heads/one/x"]);
    let said = push(&served.gate.url("app")).failure();
    let words = "git-gate: clients without a token: the repository is read-only here";
    assert!(said.contains(words), "{said}");
    let asked = push(&served.url("app")).failure();
    assert!(asked.contains("could not read Username"), "{asked}");
    // git gives the token once it is asked for it.
    let store = anybody.path().join("store");
    let host = format!("http://any:{one}@127.0.0.1:{}\n", served.port);
    fs::write(&store, host).unwrap();
    let helper = format!("credential.helper=store --file={}", store.display());
    let url = served.url("app");
    work.git(&["-c", &helper, "push", &url, "HEAD:refs/heads/one/x"])
        .success();
    assert!(
        served
            .events("push")
            .iter()
            .all(|event| event["agent"] == "one")
    );
}

#[test]
fn a_repository_and_an_agent_can_be_read_only() {
    let rig = Rig::new();
    let app = rig.upstream("app");
    let lib = rig.upstream("lib");
    let reader = token(&rig, "reader");
    let config = json!({
        "upstreams": [{"name": "lib", "url": lib.url, "readOnly": true}],
        "agents": [{"name": "reader", "tokenFile": "reader.token", "repositories": ["app"], "readOnly": true}],
        "anonymous": {"repositories": ["lib"]},
    });
    let served = Served::new(&rig, &config.to_string());
    let agent = rig.client("agent");
    for (to, who) in [
        (url(&served, &reader, "app"), "agent reader: "),
        (served.gate.url("lib"), ""),
    ] {
        let work = agent.clone_of(&to, if who.is_empty() { "lib" } else { "app" });
        work.commit("file", "text\n", "change");
        let said = work.git(&["push", "origin", "HEAD:refs/heads/x"]).failure();
        let words = format!("git-gate: {who}the repository is read-only here");
        assert!(said.contains(&words), "{said}");
    }
    assert_eq!(app.tip("refs/heads/x").or(lib.tip("refs/heads/x")), None);
    // A client that skips the question is told by the hook.
    let work = agent.at("app");
    let (zero, id) = ("0".repeat(40), work.id("HEAD~1"));
    let line = format!("{zero} {id} refs/heads/x\0report-status");
    let mut push = format!("{:04x}{line}0000PACK\0\0\0\x02\0\0\0\0", line.len() + 4).into_bytes();
    push.extend(EMPTY_PACK_SUM);
    let headers = format!("{}Content-Length: {}", bearer(&reader), push.len());
    let head = post("receive-pack", &headers);
    let said = all(served.connect(&[head.as_bytes(), &push].concat()));
    let words = "ng refs/heads/x git-gate: agent reader: the repository is read-only here";
    assert!(said.contains(words), "{said}");
    assert_eq!(app.tip("refs/heads/x"), None);
    wait_until("all have their lines", || {
        served.events("policy").len() == 3
    });
}

#[test]
fn a_token_is_read_again_on_sighup_and_one_that_cannot_be_used_is_told() {
    let rig = Rig::new();
    let old = token(&rig, "one");
    let served = gate_of_two(&rig, json!({}));
    let agent = rig.client("agent");
    let may = |token: &str| agent.git(&["ls-remote", &url(&served, token, "app")]).ok;
    assert!(may(&old));
    let missing = "an agent is not let in: two agent token: ";
    assert!(served.gate.log().contains(missing), "{}", served.gate.log());
    let new = token(&rig, "one");
    assert!(may(&old) && !may(&new));
    signal(served.gate.pid(), rustix::process::Signal::HUP);
    wait_until("it is reloaded", || {
        served.gate.log().contains("reloaded: ")
    });
    assert!(may(&new) && !may(&old));
}

#[test]
fn the_rules_can_be_asked_for_ahead() {
    let rig = Rig::new();
    let (one, two) = (token(&rig, "one"), token(&rig, "two"));
    let served = gate_of_two(&rig, json!({"limits": {"maxRefs": 7}}));
    let ask = |name: &str, token: &str| {
        get(
            served.port,
            &format!("/{name}.git/-/policy"),
            &bearer(token),
        )
    };
    let told = ask("app", &one);
    let rules: Value = serde_json::from_str(body(&told)).unwrap();
    assert_eq!(rules["agent"], "one");
    assert_eq!(rules["policies"][0]["forcePush"], "refuse");
    assert_eq!(
        rules["policies"][1],
        json!({"allowRef": ["refs/heads/one/*"]})
    );
    assert_eq!(rules["limits"]["maxRefs"], 7);
    assert!(ask("lib", &two).starts_with("HTTP/1.1 404 "));
    assert!(ask("app", &two[1..]).starts_with("HTTP/1.1 401 "));
    let config = rig.path().join("gate.json");
    let policy = |arguments: &[&str]| {
        let mut command = std::process::Command::new(binary("gate-init"));
        command
            .arg("policy")
            .args(arguments)
            .arg("--config")
            .arg(&config);
        Ran::of(&mut command)
    };
    // gate.json alone names no upstream here.
    policy(&["app", "--agent", "one"]).failure();
    name_upstreams(&rig, &config);
    assert_eq!(policy(&["app", "--agent", "one"]).success(), body(&told));
    let said = policy(&["lib", "--agent", "two"]).failure();
    assert!(
        said.contains(r#"agent "two": its repositories leave out "lib""#),
        "{said}"
    );
}

/// Names the upstreams of the rig in the file, as they are on the gate's command line.
fn name_upstreams(rig: &Rig, config: &Path) {
    let mut json: Value = serde_json::from_str(&fs::read_to_string(config).unwrap()).unwrap();
    let upstream = |name: &str| json!({"name": name, "url": rig.upstream_named(name).url});
    json["upstreams"] = json!([upstream("app"), upstream("lib")]);
    fs::write(config, json.to_string()).unwrap();
}

#[test]
fn what_is_no_agent_is_refused_with_its_name() {
    let rig = Rig::new();
    rig.upstream("app");
    let check = |config: Value| {
        let file = rig.path().join("bad.json");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = std::process::Command::new(binary("gate-init"));
        command
            .args(["check", "app=ssh://git@h/app.git", "--config"])
            .arg(file);
        Ran::of(&mut command).failure()
    };
    let one = |change: Value| {
        let mut agent = agent("one", &["app"]);
        agent
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        json!({ "agents": [agent] })
    };
    for (config, words) in [
        (
            one(json!({"name": "a*"})),
            r#"agent "a*": the name must be"#,
        ),
        (one(json!({"name": "a.lock"})), "could not stand in a ref"),
        (
            one(json!({"repositories": ["ap"]})),
            r#"there is no upstream "ap"; did you mean "app"?"#,
        ),
        (
            one(json!({"policy": {"alowRef": []}})),
            r#"unknown key "alowRef" in agents[0].policy; did you mean "allowRef"?"#,
        ),
        (
            one(json!({"repositorys": []})),
            r#"did you mean "repositories"?"#,
        ),
        (
            json!({"anonymous": {"repositories": ["*"]}}),
            "anonymous: says something only where there are agents",
        ),
    ] {
        let said = check(config);
        assert!(said.contains(words), "{said}");
    }
}

/// Fifty agents share one gate: its mirrors, its scanners, its memory.
#[test]
fn nobody_sees_what_another_was_refused() {
    let rig = Rig::new();
    let names: Vec<String> = (0..50).map(|number| format!("agent-{number}")).collect();
    let tokens: Vec<_> = names.iter().map(|name| token(&rig, name)).collect();
    let upstream = rig.upstream("app");
    let agents: Vec<_> = names.iter().map(|name| agent(name, &["app"])).collect();
    let limits = json!({"maxConnections": 100, "maxConnectionsPerPeer": 100});
    let config = json!({ "agents": agents, "limits": limits });
    let served = Served::new(&rig, &config.to_string());
    let clients = names.iter().zip(&tokens).enumerate();
    let clients: Vec<_> = clients
        .map(|(number, (name, token))| (number, rig.client(name), url(&served, token, "app")))
        .collect();
    // Each has one name refused by its policy and one for a secret in it, and what it was told.
    let refused = |(number, client, url): (usize, Client, String)| {
        let work = client.clone_of(&url, "work");
        let secret = crate::rig::token(u32::try_from(number).unwrap());
        let id = work.commit("file", format!("{number}\n"), &format!("only {number}"));
        let mine = [format!("only-of-{number}-mine"), secret, id];
        let told = [
            format!("HEAD:refs/heads/agent-{}/{}", (number + 1) % 50, mine[0]),
            format!("HEAD:refs/heads/agent-{number}/{}", mine[1]),
        ];
        let told = told.map(|refspec| work.git(&["push", "origin", &refspec]).failure());
        (work, told.concat(), mine)
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(move || refused(client)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (number, (work, told, _)) in all.iter().enumerate().step_by(7) {
        let listed = work.git(&["ls-remote", "origin"]).success();
        let asked = get(served.port, "/app.git/-/policy", &bearer(&tokens[number]));
        let seen = told.clone() + &listed + &asked;
        let others = all.iter().enumerate().filter(|(other, _)| *other != number);
        for (_, (_, _, kept)) in others {
            let shown = kept.iter().find(|mine| seen.contains(*mine));
            assert_eq!(shown, None, "{seen}");
        }
        // Nor what it would have brought, by its id.
        let (_, _, kept) = &all[(number + 1) % 50];
        work.git(&["fetch", "origin", &kept[2]]).failure();
    }
    assert_eq!(upstream.refs().lines().count(), 1);
}

#[test]
fn how_a_refusal_ends_may_be_another_thing_for_an_agent() {
    let rig = Rig::new();
    let (one, two) = (token(&rig, "one"), token(&rig, "two"));
    let app = rig.upstream("app");
    let of = |name: &str, policy: Value| json!({"name": name, "tokenFile": format!("{name}.token"), "repositories": ["*"], "policy": policy});
    let agents = [
        of("one", json!({"hold": 60})),
        of("two", json!({"mode": "observe"})),
    ];
    let served = Served::new(&rig, &json!({"agents": agents}).to_string());
    let secret = crate::rig::token(7);
    let work = |name: &str, token: &str| {
        let work = rig
            .client(name)
            .clone_of(&url(&served, token, "app"), "work");
        work.commit("test.env", format!("TOKEN={secret}\n"), name);
        work
    };
    // Over HTTP too, a push waits for the answer.
    let waits = work("one", &one);
    let mut push = waits.command();
    push.args(["push", "origin", "HEAD:refs/heads/one"]);
    let push = push
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let gate_init = |arguments: &[&str]| Ran::of(&mut served.gate.command(arguments)).success();
    let refusals =
        || -> Vec<Record> { serde_json::from_str(&gate_init(&["refusals", "--json"])).unwrap() };
    wait_until("the push waits", || !refusals().is_empty());
    let id = &refusals()[0].id;
    assert_eq!(app.tip("refs/heads/one"), None);
    gate_init(&["accept", id, "--reason", "made up", "--once"]);
    let ended = push.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("waiting for the operator"), "{said}");
    assert_eq!(app.tip("refs/heads/one"), Some(waits.id("HEAD")));
    app.git(&["branch", "-q", "-D", "one"]);
    app.git(&["gc", "-q", "--prune=now"]);
    let observed = work("two", &two);
    let said = observed
        .git(&["push", "origin", "HEAD:refs/heads/two"])
        .success();
    assert!(said.contains("git-gate.mode is observe"), "{said}");
}
