//! A gate's repository and a client without a network: for tests of the scan alone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use git_gate::git::Refs;
use git_gate::push::{Received, ReceivedObject, RefUpdate};
use git_gate::scan::gitleaks::Engine;
use git_gate::scan::{self, Request, ScanError, Verdict};
use git_gate::settings::Settings;
use git2::{Oid, Repository};

use super::{Client, gitleaks};

/// A mirror, the work tree of an agent, and how they are joined.
pub struct Mirror {
    dir: tempfile::TempDir,
    /// The agent's work tree.
    pub work: Client,
    /// git in the mirror.
    pub bare: Client,
}

impl Mirror {
    /// A mirror and a work tree that both hold a first commit on `main`.
    pub fn new() -> Self {
        Self::with_format("sha1")
    }

    /// As [`Mirror::new`], with an object format (`sha1`, `sha256`).
    pub fn with_format(format: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Client::new(&dir.path().join("home"));
        let format = format!("--object-format={format}");
        for repository in [
            &["init", "-q", "work", &format][..],
            &["init", "-q", "--bare", "mirror.git", &format],
        ] {
            home.git(repository).success();
        }
        let mirror = Self {
            work: home.at("work"),
            bare: home.at("mirror.git"),
            dir,
        };
        for key in [
            "remote.origin.url",
            "git-gate.identityFile",
            "git-gate.knownHosts",
        ] {
            mirror.set(key, "/none");
        }
        mirror.work.commit("README", "hello\n", "first");
        mirror.hold("main");
        mirror
    }

    /// A temporary folder for this test.
    pub fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Sets a key of the mirror's git config.
    pub fn set(&self, key: &str, value: &str) {
        self.bare.git(&["config", key, value]).success();
    }

    /// Makes the mirror hold what the agent's `revision` is, under the same name: as if it came
    /// from the upstream.
    pub fn hold(&self, revision: &str) {
        let mirror = self.bare.path().to_str().unwrap();
        self.work
            .git(&["push", "-q", "--force", mirror, revision])
            .success();
    }

    /// Scans a push of `refs`, each `revision:full ref name` of the agent's, with all objects that
    /// the agent has and the mirror has not.
    pub fn push(&self, refs: &[&str]) -> Result<Verdict, ScanError> {
        self.push_with(refs, &[])
    }

    /// As [`Mirror::push`], with push options.
    pub fn push_with(&self, refs: &[&str], options: &[&[u8]]) -> Result<Verdict, ScanError> {
        self.with_request(refs, options, |request| {
            let engine = Engine::with_program(gitleaks(), request.settings).unwrap();
            scan::scan_with(&engine, request, &mut std::io::sink())
        })
    }

    /// Makes a push as [`Mirror::push_with`] does, and hands it to `judge`.
    pub fn with_request<T>(
        &self,
        refs: &[&str],
        options: &[&[u8]],
        judge: impl FnOnce(&Request<'_>) -> T,
    ) -> T {
        let new = self.copy_objects();
        let repository = Repository::open_bare(self.bare.path()).unwrap();
        let settings = Settings::read(&repository).unwrap();
        let odb = repository.odb().unwrap();
        let objects = new.iter().map(|id| {
            let id = Oid::from_str_ext(id, repository.object_format()).unwrap();
            let (size, kind) = odb.read_header(id).unwrap();
            let size = size as u64;
            ReceivedObject { id, kind, size }
        });
        let received = Received {
            objects: objects.collect(),
            disk_size: 0,
        };
        let updates: Vec<_> = refs
            .iter()
            .zip(1..)
            .map(|(spec, number)| self.update(&repository, number, spec))
            .collect();
        let options: Vec<_> = options.iter().map(|option| option.to_vec()).collect();
        let request = Request {
            repository: &repository,
            refs: &Refs::list(&repository).unwrap(),
            settings: &settings,
            updates: &updates,
            received: &received,
            push_options: &options,
        };
        judge(&request)
    }

    fn update(&self, repository: &Repository, number: usize, spec: &str) -> RefUpdate {
        let (revision, name) = spec.split_once(':').unwrap();
        let format = repository.object_format();
        let new = Oid::from_str_ext(&self.work.id(revision), format).unwrap();
        let old = repository.refname_to_id(name);
        let zero = "0".repeat(new.as_bytes().len() * 2);
        let old = old.unwrap_or_else(|_| Oid::from_str_ext(&zero, format).unwrap());
        RefUpdate::new(number, old, new, name.to_owned())
    }

    /// Copies the agent's objects into the mirror's store, under no ref; the new ones are returned.
    fn copy_objects(&self) -> Vec<String> {
        let held = all_objects(&self.bare);
        let new: Vec<_> = all_objects(&self.work).difference(&held).cloned().collect();
        let pack = self.path().join("push");
        let pack = pack.to_str().unwrap();
        let sum = self
            .work
            .git_with_input(&["pack-objects", "-q", pack], new.join("\n").as_bytes());
        if !new.is_empty() {
            let file = format!("{pack}-{sum}.pack");
            let content = std::fs::read(file).unwrap();
            self.bare
                .git_with_input(&["index-pack", "--stdin"], &content);
        }
        new
    }
}

fn all_objects(repository: &Client) -> BTreeSet<String> {
    let all = [
        "cat-file",
        "--batch-all-objects",
        "--batch-check=%(objectname)",
    ];
    let listed = repository.git(&all).success();
    listed.lines().map(str::to_owned).collect()
}
