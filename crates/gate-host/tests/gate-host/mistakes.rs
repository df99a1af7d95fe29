//! What gate-host says of what went wrong: the last chapter of docs/troubleshooting.md.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::server::{Fault, Forge, GITEA};
use super::{Operator, PREPARE, Ran};
use crate::rig::troubleshooting::{assert_chapter, entry};

struct Case {
    what: &'static str,
    mend: &'static str,
    run: fn(&Forge, &Operator) -> Ran,
}

/// Changes the manifest.
fn replace(operator: &Operator, from: &str, to: &str) {
    let manifest = fs::read_to_string(operator.path("bottle.toml")).unwrap();
    assert!(manifest.contains(from), "{manifest}");
    operator.write("bottle.toml", &manifest.replace(from, to));
}

/// Names an identity file in the manifest, in place of the provisioned key.
fn identity(operator: &Operator, file: &str) -> Ran {
    let manifest = fs::read_to_string(operator.path("bottle.toml")).unwrap();
    let (start, _) = manifest.split_once("provisioned_key").unwrap();
    operator.write(
        "bottle.toml",
        &format!("{start}identity_file = \"{file}\"\n"),
    );
    operator.prepare()
}

fn prepare_without_token(operator: &Operator) -> Ran {
    Ran::of(operator.command(PREPARE).env_remove("FORGE_TOKEN"))
}

const CASES: &[Case] = &[
    Case {
        what: "The token is not in the environment",
        mend: "`export` the variable that `token_env` names.",
        run: |_, operator| prepare_without_token(operator),
    },
    Case {
        what: "A key in the manifest is misspelt",
        mend: "Write the name that is proposed.",
        run: |_, operator| {
            replace(operator, "known_host_key", "known_hosts_key");
            operator.prepare()
        },
    },
    Case {
        what: "No host key is pinned",
        mend: "`gate-host scan-host-key HOST` shows the host's keys; compare them first.",
        run: |_, operator| {
            replace(operator, super::HOST_KEY, "");
            operator.prepare()
        },
    },
    Case {
        what: "`api_url` would send the token in clear",
        mend: "Write https://; http:// is for loopback only.",
        run: |forge, operator| {
            replace(operator, &forge.url, "http://forge.example");
            operator.prepare()
        },
    },
    Case {
        what: "The identity file is missing",
        mend: "A relative path starts at the manifest's directory.",
        run: |_, operator| identity(operator, "none"),
    },
    Case {
        what: "The identity file has a passphrase",
        mend: "Make a key for the gate alone: `ssh-keygen -t ed25519 -N ''`.",
        run: |_, operator| {
            operator.identity("id", "a passphrase");
            identity(operator, "id")
        },
    },
    Case {
        what: "The identity file is a public key",
        mend: "Take the file without `.pub`.",
        run: |_, operator| {
            operator.identity("id", "");
            identity(operator, "id.pub")
        },
    },
    Case {
        what: "Others can read the stage",
        mend: "`chmod 700` it, or name another.",
        run: |_, operator| {
            fs::create_dir(operator.path("stage")).unwrap();
            operator.write("stage/theirs", "");
            let open = fs::Permissions::from_mode(0o755);
            fs::set_permissions(operator.path("stage"), open).unwrap();
            operator.prepare()
        },
    },
    Case {
        what: "The forge does not take the token",
        mend: "Make a new token.",
        run: |forge, operator| {
            forge.fail("POST", [Fault::status(401, "invalid token")]);
            operator.prepare()
        },
    },
    Case {
        what: "The token may not manage deploy keys",
        mend: "Make one with the right scope, of an administrator of the repository.",
        run: |forge, operator| {
            forge.fail("POST", [Fault::status(403, "missing scope")]);
            operator.prepare()
        },
    },
    Case {
        what: "The token does not see the repository",
        mend: "See that the upstream's path is right, and that the token's owner is a member.",
        run: |forge, operator| {
            forge.show(&[]);
            operator.prepare()
        },
    },
    Case {
        what: "A key of the same title is registered",
        mend: "Another bottle of the same `--slug` runs, or its keys were never revoked.",
        run: |forge, operator| {
            let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther";
            forge.add("team/app", "bot-bottle:dev:app", key);
            operator.prepare()
        },
    },
    Case {
        what: "The answer to a registration is lost, and the list of keys cannot be read",
        mend: "Look at the address that is named, and delete the key by hand.",
        run: |forge, operator| {
            forge.fail("POST", [Fault::Done(Box::new(Fault::Truncated))]);
            forge.fail("GET", [Fault::status(403, "no")]);
            operator.prepare()
        },
    },
    Case {
        what: "A key cannot be revoked, since the token does not see the repository any more",
        mend: "Run `revoke` again with a token that does; its files stay until then.",
        run: |forge, operator| {
            operator.prepare().expect(0, &[]);
            forge.show(&[]);
            operator.revoke()
        },
    },
    Case {
        what: "A key is prepared anew, and the old one cannot be revoked",
        mend: "As above; nothing new was registered.",
        run: |forge, operator| {
            operator.prepare().expect(0, &[]);
            forge.fail("DELETE", [Fault::status(403, "no")]);
            operator.prepare()
        },
    },
    Case {
        what: "A key that is to be revoked is gone already",
        mend: "Nothing is to be done.",
        run: |forge, operator| {
            operator.prepare().expect(0, &[]);
            forge.forget();
            operator.revoke()
        },
    },
    Case {
        what: "The manifest names another repository than the key is registered at",
        mend: "Revoke with the manifest of then.",
        run: |_, operator| {
            operator.prepare().expect(0, &[]);
            replace(operator, "team/app.git", "team/other.git");
            operator.revoke()
        },
    },
    Case {
        what: "There is nothing to revoke in the directory that is named",
        mend: "Name the directory that `prepare` filled.",
        run: |_, operator| operator.run(&["revoke", "bottle.toml", "--stage", "none"]),
    },
];

fn said(case: &Case) -> String {
    let forge = Forge::start(GITEA, &["team/app"]);
    let operator = Operator::new();
    operator.provisioned(&forge, &["app"]);
    let ran = (case.run)(&forge, &operator);
    let folder = operator.path("").display().to_string();
    let text = ran.err.replace(&forge.url, "https://forge.example");
    let text = text.replace(&folder, "/home/me/");
    let exit = ran.code;
    let lines = text.lines().enumerate().map(|(number, line)| match number {
        0 => format!("{exit}  {line}\n"),
        _ => format!("   {line}\n"),
    });
    lines.collect()
}

#[test]
fn what_gate_host_says() {
    let entries = CASES
        .iter()
        .map(|case| entry(case.what, case.mend, &said(case)));
    assert_chapter("gate-host", &entries.collect::<String>());
}
