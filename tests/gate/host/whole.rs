//! The whole path: a forge that hands out access, a real sshd behind it, a gate before it.

use std::path::PathBuf;
use std::process::Command;

use super::Operator;
use super::server::{Forge, GITEA};
use crate::rig::{Client, Ran, Rig, user};

/// A forge whose deploy keys, and nothing else, open a repository behind a real sshd.
struct Scene {
    rig: Rig,
    forge: Forge,
    operator: Operator,
    /// A forge's repositories have paths of two parts; so this one lies right below /tmp.
    repository: tempfile::TempDir,
    url: String,
}

impl Scene {
    fn new() -> Self {
        let rig = Rig::new();
        let repository = tempfile::Builder::new()
            .suffix(".git")
            .tempdir_in("/tmp")
            .unwrap();
        let path = repository.path().to_str().unwrap();
        let client = rig.client("somebody");
        client
            .git(&["init", "-q", "--bare", "--initial-branch=main", path])
            .success();
        let work = client.clone_of(path, "work");
        work.commit("README", "hello\n", "first");
        work.git(&["push", "-q", "origin", "HEAD:main"]).success();

        let name = path.trim_start_matches('/').trim_end_matches(".git");
        let forge = Forge::start(GITEA, &[name]);
        forge.authorize(&rig.path().join("sshd/authorized_keys"));
        let url = format!("ssh://{}@127.0.0.1:{}{path}", user(), rig.sshd.port());
        let line = rig.sshd.known_hosts_line();
        let host_key = line.split_once(' ').unwrap().1.trim_end();
        let operator = Operator::new();
        operator.write(
            "bottle.toml",
            &format!(
                "[git-gate.repos.app]\nupstream = \"{url}\"\nknown_host_key = \"{host_key}\"\n\
                 remote_key = \"work\"\n\
                 [git-gate.repos.app.provisioned_key]\nprovider = \"gitea\"\n\
                 token_env = \"FORGE_TOKEN\"\napi_url = \"{}\"\n",
                forge.url
            ),
        );
        Self {
            rig,
            forge,
            operator,
            repository,
            url,
        }
    }

    fn staged(&self, name: &str) -> PathBuf {
        self.operator.path("stage").join(name)
    }

    /// `git ls-remote` of the upstream with the staged credentials and no others.
    fn log_in(&self) -> Ran {
        let ssh = format!(
            "ssh -F /dev/null -i {} -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes \
             -o IdentitiesOnly=yes -o BatchMode=yes",
            self.staged("app-key").display(),
            self.staged("app-known_hosts").display()
        );
        let client = self.rig.client("judge");
        Ran::of(
            client
                .command()
                .env("GIT_SSH_COMMAND", ssh)
                .args(["ls-remote", &self.url]),
        )
    }
}

#[test]
fn sshd_lets_a_generated_key_in_until_it_is_revoked() {
    let scene = Scene::new();
    scene.operator.prepare().expect(0, &[]);
    let refs = scene.log_in().success();
    assert!(refs.contains("refs/heads/main"), "{refs}");
    let key = std::fs::read(scene.staged("app-key")).unwrap();
    scene.operator.revoke().expect(0, &[]);
    // Even somebody who kept a copy is out.
    scene
        .operator
        .write("stage/app-key", &String::from_utf8(key).unwrap());
    Command::new("chmod")
        .arg("600")
        .arg(scene.staged("app-key"))
        .status()
        .unwrap();
    let said = scene.log_in().failure();
    assert!(said.contains("Permission denied"), "{said}");
}
