//! What a manifest may not say, and how that is told.

use serde_json::{Value, json};

use super::{HOST_KEY, Operator};

/// A manifest whose one entry, `app`, has `change` over a good one; a null removes a member.
fn entry(change: &Value) -> Value {
    let mut entry = json!({
        "upstream": "ssh://git@forge.example/team/app.git",
        "identity_file": "id",
        "known_host_key": HOST_KEY,
    });
    for (key, value) in change.as_object().unwrap() {
        entry[key] = value.clone();
    }
    entry
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    json!({ "git-gate": { "repos": { "app": entry } } })
}

#[test]
fn each_broken_rule_is_named_with_its_entry() {
    let operator = Operator::new();
    operator.identity("id", "");
    let key = json!({ "provider": "gitea", "token_env": "FORGE_TOKEN" });
    let with = |name: &str, value: &str| {
        let mut key = key.clone();
        key[name] = value.into();
        json!({ "identity_file": null, "provisioned_key": key })
    };
    let cases = [
        (
            json!({ "provisioned_key": key }),
            "identity_file and provisioned_key both stand here",
        ),
        (
            json!({ "identity_file": null }),
            "neither identity_file nor provisioned_key",
        ),
        (
            json!({ "identity_file": "" }),
            "neither identity_file nor provisioned_key",
        ),
        (json!({ "known_host_key": "" }), "gate-host scan-host-key"),
        (json!({ "known_host_key": [] }), "gate-host scan-host-key"),
        (
            json!({ "known_host_key": [HOST_KEY, "ssh-rsa AAAA"] }),
            "known_host_key: not a host key",
        ),
        (
            json!({ "known_host_key": format!("h {HOST_KEY}") }),
            "known_host_key: leave out the host name",
        ),
        (
            json!({ "upstream": "ftp://forge.example/a.git" }),
            "upstream is neither an ssh nor an https URL",
        ),
        (
            json!({ "upstream": "https://forge.example/a.git" }),
            "known_host_key is for ssh",
        ),
        (
            json!({ "upstream": "https://forge.example/a.git", "known_host_key": null }),
            "an https upstream takes token_file",
        ),
        (json!({ "token_file": "t" }), "token_file is for https"),
        (json!({ "ca_file": "c" }), "ca_file is for https"),
        (
            json!({ "remote_key": "a b" }),
            "remote_key \"a b\" is not a host name",
        ),
        (
            with("token_env", "ghp_not-a-name"),
            "token_env is the name of an environment variable",
        ),
    ];
    for (change, words) in cases {
        operator.write("bottle.json", &entry(&change).to_string());
        let ran = operator.run(&["gitconfig", "bottle.json", "--gate-host", "g"]);
        let ran = ran.expect(3, &["git-gate.repos[\"app\"]: ", words]);
        assert!(
            !ran.err.contains("ghp_not-a-name"),
            "what may be a token was shown"
        );
    }
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_known_one() {
    let operator = Operator::new();
    let cases = [
        (
            entry(&json!({ "identity_flie": "id" })),
            "\"identity_flie\" in git-gate.repos.app; did you mean \"identity_file\"?",
        ),
        (
            entry(&json!({ "policy": { "forcepush": "lease" } })),
            "did you mean \"forcePush\"?",
        ),
        (
            entry(&json!({ "provisioned_key": { "provider": "gitea", "tokenenv": "T" } })),
            "did you mean \"token_env\"?",
        ),
        (
            json!({ "git-gate": { "repos": {}, "limit": {} } }),
            "did you mean \"limits\"?",
        ),
        (
            json!({ "gitgate": { "repos": {} } }),
            "did you mean \"git-gate\"?",
        ),
        (
            json!({ "git-gate": { "repos": {}, "limits": { "scantimeout": 1 } } }),
            "did you mean \"scanTimeout\"?",
        ),
    ];
    for (manifest, words) in cases {
        operator.write("bottle.json", &manifest.to_string());
        let ran = operator.run(&["gitconfig", "bottle.json", "--gate-host", "g"]);
        ran.expect(3, &["bottle.json: unknown key ", words]);
    }
}

#[test]
fn two_entries_for_one_upstream_are_refused() {
    let operator = Operator::new();
    let mut manifest = entry(&json!({}));
    let mut other = manifest["git-gate"]["repos"]["app"].clone();
    other["upstream"] = "git@FORGE.example:team/app".into();
    manifest["git-gate"]["repos"]["again"] = other;
    operator.write("bottle.json", &manifest.to_string());
    let ran = operator.run(&["gitconfig", "bottle.json", "--gate-host", "g"]);
    ran.expect(
        3,
        &["git-gate.repos[\"app\"]: is the same upstream as \"again\""],
    );
}

#[test]
fn what_is_no_manifest_at_all_is_told_apart() {
    let operator = Operator::new();
    operator.write("a.json", "{");
    operator.write("a.toml", "[git-gate\n");
    operator.write("a.yaml", "");
    operator.write("b.json", r#"{"git-gate":{"repos":{"app":{"upstream":7}}}}"#);
    let run = |name: &str| operator.run(&["gitconfig", name, "--gate-host", "g"]);
    run("a.json").expect(3, &["a.json: EOF", "line 1"]);
    run("a.toml").expect(3, &["a.toml: TOML parse error at line 1"]);
    run("b.json").expect(3, &["b.json: ", "integer `7`, expected a string"]);
    run("a.yaml").expect(1, &["must end in .json or .toml"]);
    run("missing.toml").expect(1, &["cannot read the manifest missing.toml: No such file"]);
}

#[test]
fn json_and_toml_say_the_same() {
    let operator = Operator::new();
    operator.identity("id", "");
    operator.write(
        "a.json",
        &entry(&json!({ "policy": { "allowRef": ["refs/heads/a/*"] } })).to_string(),
    );
    operator.write(
        "a.toml",
        &format!(
            "[git-gate.repos.app]\nupstream = \"ssh://git@forge.example/team/app.git\"\n\
             identity_file = \"id\"\nknown_host_key = [\"{HOST_KEY}\"]\n\
             policy.allowRef = [\"refs/heads/a/*\"]\n"
        ),
    );
    let plan = |name: &str| {
        let arguments = ["prepare", name, "--slug", "s", "--stage", "stage", "--json"];
        let ran = operator.run(&arguments).expect(0, &[]);
        (
            ran.out,
            std::fs::read(operator.path("stage/gate.json")).unwrap(),
        )
    };
    assert_eq!(plan("a.json"), plan("a.toml"));
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schema = schemars::schema_for!(gate_host::manifest::Document).to_value();
    super::assert_generated("docs/manifest.schema.json", &schema);
}

#[test]
fn the_documented_exit_codes_are_those_of_the_help() {
    let help = Operator::new().run(&["--help"]).expect(0, &[]).out;
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let documented = include_str!("../../../../docs/gate-host.md");
    for line in codes.lines() {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        let row = format!("| {code} | {meaning} |");
        assert!(documented.contains(&row), "{row}");
    }
}
