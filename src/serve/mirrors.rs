//! The mirrors: one bare repository per upstream, made once, its settings written on every start.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use git2::{ConfigLevel, ObjectFormat};

use super::mirror_damage::{Fault, damage};
use super::mirror_error::{MirrorError, disk};
use super::{mirror_config, mirror_settings};
use crate::config::Upstream;
use crate::mirror::stale_files;
use crate::settings::{Limits, Settings};
use crate::{git, process, text, upstream};

/// How long `git init` may take.
const INIT_LIMIT: Duration = Duration::from_secs(60);

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
        stale_files::at_the_start(&self.path);
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
        let login = mirror_settings::login(&self.upstream, &self.creds_dir);
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

    /// Moves the directory away, in place of what was set aside before.
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
        let settings = mirror_settings::settings(&self.upstream, &self.limits, &self.creds_dir);
        mirror_config::write(&next, &self.upstream, &settings)
            .map_err(|source| self.git_error(source))?;
        File::open(&next)
            .and_then(|next| next.sync_all())
            .and_then(|()| fs::rename(&next, &file))
            .map_err(disk("cannot write", &file))
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

/// Removes a directory, or nothing.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
