//! The mirrors: one bare repository per upstream, made once, its settings written on every start.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use git2::{ConfigLevel, ErrorClass, ObjectFormat, Repository};
use thiserror::Error;

use super::conditions;
use crate::config::Upstream;
use crate::git::{self, Refs, RefsError};
use crate::settings::{
    Atomic, Deletes, ForcePush, Limits, Mode, PathGlob, Policy, Settings, SettingsError, Suspects,
    USER,
};
use crate::upstream::https_url::is_https;
use crate::upstream::{self, UpstreamError};
use crate::{process, text};

/// How long `git init` may take.
const INIT_LIMIT: Duration = Duration::from_secs(60);

/// What a push may be larger than `maxPushSize` before receive-pack itself stops reading it. Below
/// that the hook refuses it, which can explain itself.
const PUSH_SIZE_MARGIN: u64 = 64 << 20;

/// What git-fsck(1) dislikes and old public histories have; a plain ssh server and the forges take it.
/// None of it changes what a checkout writes or what the gate reads.
const HARMLESS: [&str; 14] = [
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "largePathname",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "nulInCommit",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
];

/// Why a mirror cannot be served.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// The disk said no.
    #[error("{action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// libgit2 said no.
    #[error("cannot use {}", path.display())]
    Git {
        /// The mirror.
        path: PathBuf,
        /// Its reason.
        source: git2::Error,
    },
    /// It is not ready yet.
    #[error(
        "it is being made ready, which takes as long as the upstream does; try again in a while"
    )]
    Preparing,
    /// The system does not let it be read now.
    #[error("cannot open {} now: {reason}; it is left as it is and tried again", path.display())]
    Unreadable {
        /// The mirror.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// There is no room for it.
    #[error("the disk of {} is full, so the mirror cannot be made or used; make room there", path.display())]
    DiskFull {
        /// The mirror.
        path: PathBuf,
    },
    /// A git command failed.
    #[error("git {what} failed in {}: {said}", path.display())]
    Command {
        /// The command.
        what: &'static str,
        /// The mirror.
        path: PathBuf,
        /// What git said.
        said: String,
    },
    /// git could not be run.
    #[error(transparent)]
    Process(#[from] process::ProcessError),
    /// The settings just written cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The upstream was not reached, so that its object format is not known.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The hook would not run: git skips a hook that it may not execute, without a word.
    #[error("{} may not be executed: is {} mounted noexec?", hook.display(), base.display())]
    HookNotRunnable {
        /// The hook.
        hook: PathBuf,
        /// The folder of the mirrors.
        base: PathBuf,
    },
}

/// Says what failed on the disk.
fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MirrorError {
    let path = path.to_owned();
    move |source| MirrorError::Disk {
        action,
        path,
        source,
    }
}

/// One mirror.
#[derive(Debug)]
pub struct Mirror {
    /// The operator's entry.
    pub upstream: Upstream,
    /// The bare repository.
    pub path: PathBuf,
    /// The ssh private key.
    pub identity_file: PathBuf,
    /// The pinned host keys.
    pub known_hosts: PathBuf,
    creds_dir: PathBuf,
    limits: Limits,
    pre_receive: PathBuf,
    state: Mutex<State>,
}

/// How far a mirror is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A gate that was killed may have left something.
    Unknown,
    /// It has to be made, or its settings written.
    Unprepared,
    /// It can be served.
    Ready,
}

impl Mirror {
    /// The mirror of `upstream` below `base_path`; nothing is touched yet.
    pub fn new(
        upstream: &Upstream,
        limits: &Limits,
        base_path: &Path,
        creds_dir: &Path,
        pre_receive: &Path,
    ) -> Self {
        let name = &upstream.name;
        Self {
            path: base_path.join(format!("{name}.git")),
            identity_file: creds_dir.join(format!("{name}-key")),
            known_hosts: creds_dir.join(format!("{name}-known_hosts")),
            creds_dir: creds_dir.to_owned(),
            upstream: upstream.clone(),
            limits: limits.clone(),
            pre_receive: pre_receive.to_owned(),
            state: Mutex::new(State::Unprepared),
        }
    }

    /// The same, for the start of a gate: it is cleared up first, while nobody else is at work there.
    pub fn recovering(self) -> Self {
        Self {
            state: Mutex::new(State::Unknown),
            ..self
        }
    }

    /// Makes the mirror ready unless it is; what `report` gets is for the operator. Somebody else may
    /// be at it: that is waited for, for `limit` at most.
    pub fn ensure_ready(&self, limit: Duration, report: &dyn Fn(&str)) -> Result<(), MirrorError> {
        let mut state = self.lock(limit).ok_or(MirrorError::Preparing)?;
        if *state == State::Unknown {
            self.recover(report)?;
            *state = State::Unprepared;
        }
        if *state == State::Unprepared {
            self.prepare(report)?;
            *state = State::Ready;
        }
        Ok(())
    }

    fn lock(&self, limit: Duration) -> Option<MutexGuard<'_, State>> {
        const STEP: Duration = Duration::from_millis(10);
        let end = Instant::now() + limit;
        loop {
            match self.state.try_lock() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(STEP),
                Err(TryLockError::WouldBlock) => return None,
            }
        }
    }

    /// Brings the mirror up to date.
    pub fn refresh(&self) -> Result<(), MirrorError> {
        let repository = git::open(&self.path).map_err(|source| self.git_error(source))?;
        let settings = Settings::read(&repository)?;
        Ok(upstream::refresh(&self.path, &settings)?)
    }

    /// Sets the mirror aside for `fault` and makes it anew.
    pub fn remake(&self, fault: &str, report: &dyn Fn(&str)) -> Result<(), MirrorError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Unprepared;
        self.set_aside(fault, report)?;
        self.prepare(report)?;
        *state = State::Ready;
        Ok(())
    }

    /// Clears up after a gate-init that was killed: lock files, quarantines, and a mirror that was
    /// damaged with it. Only for the start: nobody else may be at work here.
    fn recover(&self, report: &dyn Fn(&str)) -> Result<(), MirrorError> {
        self.remove_leftovers();
        if self.path.symlink_metadata().is_err() {
            return Ok(());
        }
        let damage = match git::open(&self.path) {
            Ok(repository) => damage(&repository),
            Err(error) => Some(Fault::of("damaged", &error)),
        };
        damage.map_or(Ok(()), |damage| self.answer(damage, report))
    }

    /// What a start would do with what is there, in words.
    pub fn describe(&self) -> String {
        let path = self.path.display();
        match self.path.symlink_metadata() {
            Err(_) => format!("{path} is made at the start"),
            Ok(_) => match self.fault() {
                None => path.to_string(),
                Some(Fault::Unusable(fault)) => {
                    format!("{path} is set aside at the start: {fault}")
                }
                Some(Fault::Unreadable(error)) => format!("{path} cannot be opened now: {error}"),
            },
        }
    }

    fn prepare(&self, report: &dyn Fn(&str)) -> Result<(), MirrorError> {
        let login = conditions::login(&self.upstream, &self.creds_dir);
        let files = [Some(&self.identity_file), Some(&self.known_hosts)];
        // ssh refuses a key that others can read; a read-only mount has its modes already.
        for file in files
            .into_iter()
            .chain([login.token_file.as_ref()])
            .flatten()
        {
            let _ = fs::set_permissions(file, Permissions::from_mode(0o600));
        }
        if self.path.symlink_metadata().is_ok()
            && let Some(fault) = self.fault()
        {
            self.answer(fault, report)?;
        }
        if self.path.symlink_metadata().is_err() {
            self.create()?;
        }
        self.write_config(&self.path)?;
        self.install_hook(&self.path)
    }

    /// Why what is on the disk cannot be the mirror of this upstream.
    fn fault(&self) -> Option<Fault> {
        let repository = match git::open(&self.path) {
            Ok(repository) => repository,
            Err(error) => return Some(Fault::of("not a repository", &error)),
        };
        let url = repository.config().and_then(|config| {
            config
                .open_level(ConfigLevel::Local)?
                .get_string("remote.origin.url")
        });
        match url {
            Ok(url) if url == self.upstream.url => None,
            // Objects of another upstream would count as known, and be served by their ids.
            Ok(url) => {
                let other = format!("it mirrors {}", text::line(url.as_bytes()));
                Some(Fault::Unusable(other))
            }
            Err(error) => Some(Fault::of("it has no upstream", &error)),
        }
    }

    /// Sets the mirror aside for a fault of its own; one of the system's is an error.
    fn answer(&self, fault: Fault, report: &dyn Fn(&str)) -> Result<(), MirrorError> {
        match fault {
            Fault::Unusable(fault) => self.set_aside(&fault, report),
            Fault::Unreadable(reason) => Err(MirrorError::Unreadable {
                path: self.path.clone(),
                reason,
            }),
        }
    }

    /// Moves the folder away, in place of what was set aside before.
    fn set_aside(&self, fault: &str, report: &dyn Fn(&str)) -> Result<(), MirrorError> {
        let aside = self
            .path
            .with_file_name(format!(".{}.aside", self.upstream.name));
        remove(&aside).map_err(disk("cannot remove", &aside))?;
        fs::rename(&self.path, &aside).map_err(disk("cannot set aside", &self.path))?;
        report(&format!(
            "{fault}; set aside as {} and made anew",
            aside.display()
        ));
        Ok(())
    }

    /// Makes the repository beside its place and moves it there whole.
    fn create(&self) -> Result<(), MirrorError> {
        let new = self
            .path
            .with_file_name(format!(".{}.new", self.upstream.name));
        let init = |format| -> Result<(), MirrorError> {
            remove(&new).map_err(disk("cannot remove", &new))?;
            init(&new, format)?;
            self.write_config(&new)
        };
        init(ObjectFormat::Sha1)?;
        // What was used for asking is thrown away.
        init(self.upstream_format(&new)?)?;
        fs::rename(&new, &self.path).map_err(disk("cannot create", &self.path))
    }

    /// The object format of the upstream, asked with the settings of the repository `git_dir`.
    fn upstream_format(&self, git_dir: &Path) -> Result<ObjectFormat, MirrorError> {
        let repository = git::open(git_dir).map_err(|source| self.git_error(source))?;
        let settings = Settings::read(&repository)?;
        Ok(upstream::object_format(git_dir, &settings)?)
    }

    /// Removes lock files and quarantines.
    fn remove_leftovers(&self) {
        for lock in [
            "config.lock",
            "HEAD.lock",
            "packed-refs.lock",
            "shallow.lock",
        ] {
            let _ = fs::remove_file(self.path.join(lock));
        }
        remove_locks(&self.path.join("refs"));
        let objects = fs::read_dir(self.path.join("objects"))
            .into_iter()
            .flatten();
        for entry in objects.flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with("tmp_objdir-")
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn git_error(&self, source: git2::Error) -> MirrorError {
        MirrorError::Git {
            path: self.path.clone(),
            source,
        }
    }

    /// Writes the git config keys into the repository at `path`. The file is replaced as a whole,
    /// so that no hook ever sees half of a policy.
    fn write_config(&self, path: &Path) -> Result<(), MirrorError> {
        let file = path.join("config");
        let next = path.join("config.next");
        fs::copy(&file, &next).map_err(disk("cannot write", &next))?;
        self.edit_config(&next)
            .map_err(|source| self.git_error(source))?;
        File::open(&next)
            .and_then(|next| next.sync_all())
            .and_then(|()| fs::rename(&next, &file))
            .map_err(disk("cannot write", &file))
    }

    fn edit_config(&self, file: &Path) -> Result<(), git2::Error> {
        let mut config = git2::Config::open(file)?;
        clear(&mut config, "^git-gate[.]")?;
        clear(&mut config, "^receive[.]fsck[.]")?;
        for key in [
            "^core.hookspath$",
            "^remote.origin.fetch$",
            "^remote.origin.mirror$",
        ] {
            clear(&mut config, key)?;
        }
        // libgit2 reads no header out of a pack of SHA-256 objects.
        let is_sha256 = config
            .get_string("extensions.objectformat")
            .is_ok_and(|format| format == "sha256");
        let unpack_limit = if is_sha256 { "2147483647" } else { "1" };
        let sign_of_life = (self.limits.idle_client / 3).clamp(1, 5).to_string();
        let most = self
            .limits
            .max_push_size
            .saturating_add(PUSH_SIZE_MARGIN)
            .to_string();
        let fixed = [
            ("remote.origin.url", self.upstream.url.as_str()),
            ("remote.origin.fetch", "+refs/*:refs/*"),
            ("receive.denyCurrentBranch", "ignore"),
            ("receive.advertisePushOptions", "true"),
            // What an agent sends is checked; what the upstream holds is not the gate's to judge.
            ("receive.fsckObjects", "true"),
            // A sign of life during a long scan, without which the client would count as stalled.
            ("receive.keepAlive", &sign_of_life),
            ("receive.maxInputSize", &most),
            ("receive.autogc", "false"),
            // A push stays in the pack that it came in: git would unpack a small one and deflate
            // each object anew, once here and once more for the upstream.
            ("receive.unpackLimit", unpack_limit),
            // What is larger is streamed and not held in memory, nor searched for deltas.
            ("core.bigFileThreshold", "8m"),
            ("uploadpack.allowFilter", "true"),
            // A partial clone fetches what it lacks by its id. Protocol version 2 serves any object by
            // its id anyway; older clients (git 2.25) ask with version 0.
            ("uploadpack.allowAnySHA1InWant", "true"),
            ("uploadpack.keepAlive", &sign_of_life),
            ("http.receivepack", "true"),
            ("core.logAllRefUpdates", "false"),
            // gate-init repacks by itself (`upkeep`), when no client waits for it.
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ];
        for (key, value) in fixed {
            config.set_str(key, value)?;
        }
        let of_operator = self
            .upstream
            .fsck
            .iter()
            .map(|(id, level)| (id.as_str(), level.word()));
        for (id, level) in HARMLESS
            .map(|id| (id, "ignore"))
            .into_iter()
            .chain(of_operator)
        {
            config.set_str(&format!("receive.fsck.{id}"), level)?;
        }
        self.write_own_keys(&mut config)
    }

    /// The keys of the section `git-gate`, each where it differs from its default.
    fn write_own_keys(&self, config: &mut git2::Config) -> Result<(), git2::Error> {
        let login = conditions::login(&self.upstream, &self.creds_dir);
        let is_ssh = !is_https(&self.upstream.url);
        let paths = [
            (
                "git-gate.identityFile",
                is_ssh.then_some(&self.identity_file),
            ),
            ("git-gate.knownHosts", is_ssh.then_some(&self.known_hosts)),
            ("git-gate.tokenFile", login.token_file.as_ref()),
            ("git-gate.caFile", login.ca_file.as_ref()),
            (
                "git-gate.gitleaksConfig",
                self.upstream.gitleaks_config.as_ref(),
            ),
            ("git-gate.exceptions", self.upstream.exceptions.as_ref()),
        ];
        for (key, path) in paths {
            if let Some(path) = path {
                config.set_str(key, &path.to_string_lossy())?;
            }
        }
        if login.user != USER {
            config.set_str("git-gate.user", &login.user)?;
        }
        for argument in &login.command {
            config.set_multivar("git-gate.credentialCommand", "^$.", argument)?;
        }
        for pattern in &self.upstream.fetch_ref {
            // Adds: the expression matches no value that stands there.
            config.set_multivar("git-gate.fetchRef", "^$.", pattern.as_str())?;
        }
        if self.upstream.read_only {
            config.set_bool("git-gate.readOnly", true)?;
        }
        let policy = &self.upstream.policy;
        for glob in &policy.allow_ref {
            config.set_multivar("git-gate.allowRef", "^$.", glob)?;
        }
        if policy.force_push == ForcePush::Lease {
            config.set_str("git-gate.forcePush", "lease")?;
        }
        if policy.deletes == Deletes::Refuse {
            config.set_str("git-gate.deletes", "refuse")?;
        }
        for glob in &policy.allow_push_option {
            config.set_multivar("git-gate.allowPushOption", "^$.", glob)?;
        }
        if policy.max_deletes != Policy::default().max_deletes {
            config.set_str("git-gate.maxDeletes", &policy.max_deletes.to_string())?;
        }
        if policy.atomic == Atomic::Prefer {
            config.set_str("git-gate.atomic", "prefer")?;
        }
        write_content_rules(policy, config)?;
        if policy.suspects == Suspects::Refuse {
            config.set_str("git-gate.suspects", "refuse")?;
        }
        let default = Limits::default().entries();
        for ((name, value), (_, usual)) in self.limits.entries().into_iter().zip(default) {
            if value != usual {
                config.set_str(&format!("git-gate.{name}"), &value.to_string())?;
            }
        }
        Ok(())
    }

    /// Puts the hook in place, whole and executable at every moment, unless it is there already.
    fn install_hook(&self, path: &Path) -> Result<(), MirrorError> {
        let hooks = path.join("hooks");
        let (hook, next) = (hooks.join("pre-receive"), hooks.join("pre-receive.next"));
        fs::create_dir_all(&hooks).map_err(disk("cannot create", &hooks))?;
        let is_runnable = || rustix::fs::access(&hook, rustix::fs::Access::EXEC_OK).is_ok();
        if is_same_program(&self.pre_receive, &hook) && is_runnable() {
            return Ok(());
        }
        fs::copy(&self.pre_receive, &next)
            .and_then(|_| fs::set_permissions(&next, Permissions::from_mode(0o755)))
            .and_then(|()| fs::rename(&next, &hook))
            .map_err(disk("cannot install", &hook))?;
        if is_runnable() {
            return Ok(());
        }
        Err(MirrorError::HookNotRunnable {
            base: path.parent().unwrap_or(path).to_owned(),
            hook,
        })
    }
}

/// The keys of the rules on content, and of what becomes of a push that is against them.
fn write_content_rules(policy: &Policy, config: &mut git2::Config) -> Result<(), git2::Error> {
    let globs = |globs: &[PathGlob]| globs.iter().map(|one| one.as_str().to_owned()).collect();
    let lists: [(_, Vec<String>); 5] = [
        ("denyPath", globs(&policy.deny_path)),
        ("allowPath", globs(&policy.allow_path)),
        (
            "protect",
            policy
                .protect
                .iter()
                .map(|set| set.word().to_owned())
                .collect(),
        ),
        ("allowAuthor", policy.allow_author.clone()),
        ("notify", policy.notify.clone()),
    ];
    for (name, values) in lists {
        for value in values {
            config.set_multivar(&format!("git-gate.{name}"), "^$.", &value)?;
        }
    }
    let number = |limit: Option<u64>| limit.map(|limit| limit.to_string());
    let signers = policy.require_signature.as_ref();
    let singles = [
        (
            "requireSignature",
            signers.map(|file| file.to_string_lossy().into_owned()),
        ),
        ("maxFileSize", number(policy.max_file_size)),
        ("maxCommits", number(policy.max_commits)),
        ("maxFiles", number(policy.max_files)),
        ("hold", number(Some(policy.hold).filter(|&hold| hold > 0))),
        (
            "mode",
            (policy.mode == Mode::Observe).then(|| "observe".to_owned()),
        ),
    ];
    for (name, value) in singles {
        if let Some(value) = value {
            config.set_str(&format!("git-gate.{name}"), &value)?;
        }
    }
    Ok(())
}

/// Whether `there` can be run and is the same program as `ours`.
fn is_same_program(ours: &Path, there: &Path) -> bool {
    let is_runnable = rustix::fs::access(there, rustix::fs::Access::EXEC_OK).is_ok();
    let contents = (fs::read(ours), fs::read(there));
    is_runnable && matches!(contents, (Ok(ours), Ok(there)) if ours == there)
}

/// `git init --bare`, with no sample hooks.
fn init(path: &Path, format: ObjectFormat) -> Result<(), MirrorError> {
    finish("init", path, &mut git::init(path, format), INIT_LIMIT)
}

/// Runs the git command `what` on the mirror at `path` to its end.
pub fn finish(
    what: &'static str,
    path: &Path,
    command: &mut Command,
    limit: Duration,
) -> Result<(), MirrorError> {
    let output = process::run(command, limit)?;
    if output.status.success() {
        return Ok(());
    }
    let (path, said) = (path.to_owned(), text::joined(&output.stderr));
    // Of a file that it cannot write, git does not always say why.
    let is_full = said.contains(upstream::DISK_FULL)
        || path
            .parent()
            .is_some_and(|base| !upstream::has_room(base, 1));
    Err(match is_full {
        true => MirrorError::DiskFull { path },
        false => MirrorError::Command { what, path, said },
    })
}

/// Why what is on the disk cannot be served.
#[derive(Debug)]
enum Fault {
    /// It is no mirror of this upstream: another one is made.
    Unusable(String),
    /// The system does not let it be read now, for want of file descriptors, memory or a right: that
    /// says nothing about the mirror.
    Unreadable(String),
}

impl Fault {
    fn of(what: &str, error: &git2::Error) -> Self {
        let reason = error.message();
        match error.class() {
            ErrorClass::Os | ErrorClass::NoMemory => Self::Unreadable(reason.to_owned()),
            _ => Self::Unusable(format!("{what} ({reason})")),
        }
    }
}

/// Looks for the damage that a crash or a full disk leaves: no HEAD, refs to nothing, cut packs.
fn damage(repository: &Repository) -> Option<Fault> {
    let look = || {
        repository.find_reference("HEAD")?;
        cut_pack(&repository.path().join("objects/pack"))?;
        repository.odb()
    };
    let odb = match look() {
        Ok(odb) => odb,
        Err(error) => return Some(Fault::of("damaged", &error)),
    };
    let refs = match Refs::list(repository) {
        Ok(refs) => refs,
        Err(error @ RefsError::Git(_)) => return Some(Fault::Unreadable(text::chain(&error))),
        Err(error) => return Some(Fault::Unusable(text::chain(&error))),
    };
    let error = refs.ids().find_map(|id| odb.read_header(id).err())?;
    Some(Fault::of("damaged", &error))
}

/// A pack ends with the checksum that its index holds in front of its own
/// (gitformat-pack(5)); a pack that was cut does not.
fn cut_pack(folder: &Path) -> Result<(), git2::Error> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let pack = entry.path();
        if pack
            .extension()
            .is_some_and(|extension| extension == "pack")
            && !is_whole(&pack)
        {
            return Err(git2::Error::from_str(&format!(
                "{} is cut short or has no index",
                entry.file_name().display()
            )));
        }
    }
    Ok(())
}

fn is_whole(pack: &Path) -> bool {
    let tail = |path: &Path, bytes: u64| -> io::Result<Vec<u8>> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(tail)
    };
    // SHA-1 and SHA-256 checksums have 20 and 32 bytes.
    [20, 32].into_iter().any(|length| {
        let (pack, index) = (
            tail(pack, length),
            tail(&pack.with_extension("idx"), 2 * length),
        );
        matches!((pack, index), (Ok(pack), Ok(index))
            if pack.len() as u64 == length && index.starts_with(&pack))
    })
}

/// Removes every value of the keys that match `expression`.
fn clear(config: &mut git2::Config, expression: &str) -> Result<(), git2::Error> {
    let mut names = Vec::new();
    config.entries(Some(expression))?.for_each(|entry| {
        names.extend(entry.name().ok().map(str::to_owned));
    })?;
    names.sort_unstable();
    names.dedup();
    names
        .iter()
        .try_for_each(|name| config.remove_multivar(name, ".*"))
}

/// Removes a folder, or nothing.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes the lock files below `folder`.
fn remove_locks(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_locks(&path);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            let _ = fs::remove_file(path);
        }
    }
}
