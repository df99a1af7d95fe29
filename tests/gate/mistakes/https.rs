//! An upstream over HTTPS.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{After, BOTH, Case, Scene, assert_cases};
use crate::rig::write_token;

/// Has the upstream reached over HTTPS.
fn over_https(scene: &mut Scene) {
    let forge = scene.rig.forge();
    let token = "t0ken".repeat(5);
    forge.lets_in(&token);
    write_token(&scene.at("creds/app-token"), &token);
    fs::copy(forge.ca("ca"), scene.at("creds/app-ca.pem")).unwrap();
    scene.upstream()["url"] = json!(forge.url("app"));
    scene.forge = Some(forge);
}

#[test]
fn upstreams_over_https() {
    assert_cases(
        "Upstreams over HTTPS",
        &[
            Case {
                what: "The token is missing",
                mend: "Put it at the path that is named, mode 0600, or name a `credentialCommand`.",
                make: |scene| {
                    over_https(scene);
                    fs::remove_file(scene.at("creds/app-token")).unwrap();
                },
                then: BOTH,
            },
            Case {
                what: "Others can read the token",
                mend: "`chmod 600 FILE`. The gate does it at the start, where it may.",
                make: over_https,
                then: After::Breaks(|scene| {
                    let mode = fs::Permissions::from_mode(0o644);
                    fs::set_permissions(scene.at("creds/app-token"), mode).unwrap();
                }),
            },
            Case {
                what: "The token is wrong or has expired",
                mend: "Write a new one to the file; it is read at each use. `gate-host token --watch` keeps the \
                       token of a GitHub App fresh.",
                make: over_https,
                then: After::Breaks(|scene| {
                    scene
                        .forge
                        .as_ref()
                        .unwrap()
                        .lets_in("the-next-token-of-the-forge");
                }),
            },
            Case {
                what: "The forge's certificate is of an authority that is not pinned",
                mend: "Compare the authority's certificate with the forge's operator, then pin it as NAME-ca.pem.",
                make: over_https,
                then: After::Breaks(|scene| {
                    let other = scene.forge.as_ref().unwrap().ca("other-ca");
                    fs::copy(other, scene.at("creds/app-ca.pem")).unwrap();
                }),
            },
            Case {
                what: "The token does not show the repository",
                mend: "Give the token the repository, or correct the URL: a forge tells no difference.",
                make: over_https,
                then: After::Breaks(|scene| {
                    fs::rename(&scene.app.path, scene.at("gone")).unwrap();
                }),
            },
        ],
    );
}
