//! Agents that a gate knows by their tokens.

use std::fs;

use serde_json::json;

use super::{After, Case, Scene, assert_cases, nothing};
use crate::rig::free_port;

const NOT_LET_IN: After = After::Says(&["an agent is not let in: "]);

/// Has the gate know the agent, which comes over HTTP.
fn known(scene: &mut Scene) {
    let (port, token) = (free_port(), "agent-7-".repeat(4));
    fs::write(scene.at("creds/agent-7.token"), &token).unwrap();
    scene.config["http"] = json!({ "port": port });
    scene.config["agents"] = json!([{
        "name": "agent-7",
        "tokenFile": "agent-7.token",
        "repositories": ["app"],
        "policy": { "allowRef": ["refs/heads/{agent}/*"] },
    }]);
    scene.login = Some((port, token));
    scene.push = vec!["HEAD:refs/heads/agent-7/new"];
}

#[test]
fn agents_and_their_tokens() {
    assert_cases(
        "Agents",
        &[
            Case {
                what: "The agent's token is not there",
                mend: "Write it to `tokenFile`, at least 20 characters, and send SIGHUP.",
                make: |scene| {
                    known(scene);
                    fs::remove_file(scene.at("creds/agent-7.token")).unwrap();
                },
                then: NOT_LET_IN,
            },
            Case {
                what: "The agent's token is too short",
                mend: "Make one: `openssl rand -hex 24`.",
                make: |scene| {
                    known(scene);
                    fs::write(scene.at("creds/agent-7.token"), "short").unwrap();
                },
                then: NOT_LET_IN,
            },
            Case {
                what: "The agent gives a token that has been replaced",
                mend: "Give the agent the new one; `gate-host gitconfig --token-file` writes it for its git.",
                make: |scene| {
                    known(scene);
                    let port = scene.login.take().unwrap().0;
                    scene.login = Some((port, "of-before".repeat(3)));
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "The agent comes over git://, which carries no token",
                mend: "Use the http:// URL, or give `anonymous` what everybody may do.",
                make: |scene| {
                    known(scene);
                    scene.login = None;
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "The agent asks for a repository that is not its own",
                mend: "Name it in the agent's `repositories`; until then it answers as one that is not there.",
                make: |scene| {
                    known(scene);
                    scene.name = "lib";
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "The agent pushes to a branch of another one",
                mend: "Push to a branch that the message names; `GET /NAME.git/-/policy` tells the rules ahead.",
                make: |scene| {
                    known(scene);
                    scene.push = vec!["HEAD:refs/heads/agent-8/new"];
                },
                then: After::Breaks(nothing),
            },
            Case {
                what: "The agent may only read",
                mend: "Take `readOnly` from the agent or the upstream, if it is to push.",
                make: |scene| {
                    known(scene);
                    scene.config["agents"][0]["readOnly"] = json!(true);
                },
                then: After::Breaks(nothing),
            },
        ],
    );
}
