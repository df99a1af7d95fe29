//! The gate that `up` runs: gate-init on this machine, or in a container.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use git_gate::process::{self, ProcessError};
use rustix::process::{Pid, Signal, kill_process};

use super::forge::Patience;
use super::interrupt::Interrupt;
use super::manifest::{Credential, Manifest};
use super::plan::Plan;
use super::stage;
use super::up_error::{START_LIMIT, UpError};

/// How often the gate and the interrupt are looked at.
const STEP: Duration = Duration::from_millis(100);

/// How long one health check, or the removal of a container, may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// How long the gate may take to end, past its own drain limit.
const END_GRACE: Duration = Duration::from_secs(15);

/// What to run and where.
#[derive(Debug)]
pub struct Options {
    /// The bottle's name.
    pub slug: String,
    /// The directory of the stage, the mirrors and the sockets.
    pub folder: PathBuf,
    /// The container image of the gate; without one, gate-init on this machine.
    pub image: Option<String>,
    /// The container's network: `host`, or one of the engine's; its own default without.
    pub network: Option<String>,
    /// Where agents reach the gate.
    pub address: SocketAddr,
    /// How long forges get.
    pub patience: Patience,
}

/// The program that serves.
pub(crate) enum Gate {
    /// gate-init on this machine.
    Local(PathBuf),
    /// A container engine, and the name that the container gets.
    Container {
        engine: PathBuf,
        image: String,
        name: String,
        /// The file in which the engine notes the container that it made. What is done to a container
        /// goes by that: the name can be that of somebody else's.
        id_file: PathBuf,
    },
}

impl Gate {
    pub(crate) fn find(options: &Options) -> Result<Self, UpError> {
        match &options.image {
            Some(image) => Ok(Self::Container {
                engine: which::which("docker")
                    .or_else(|_| which::which("podman"))
                    .map_err(|_| {
                        UpError::Missing(
                        "--image needs docker or podman on PATH; without --image the gate runs on \
                         this machine"
                            .to_owned(),
                    )
                    })?,
                image: image.clone(),
                name: format!("git-gate-{}", options.slug),
                id_file: options.folder.join("container"),
            }),
            None => Ok(Self::Local(gate_init()?)),
        }
    }

    /// Refuses the name of a container that is there, before anything is registered for this one.
    pub(crate) fn check_name(&self) -> Result<(), UpError> {
        let Self::Container { engine, name, .. } = self else {
            return Ok(());
        };
        let program = engine.display().to_string();
        let failed = |reason| UpError::Engine {
            engine: program.clone(),
            reason,
        };
        // The filter is an expression that may match within other names.
        let format = "{{.Names}}\t{{.Status}}";
        let filter = format!("name={name}");
        let mut list = Command::new(engine);
        list.args(["ps", "--all", "--filter", &filter, "--format", format]);
        let output =
            process::run(&mut list, COMMAND_LIMIT).map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = git_gate::text::lines(&output.stderr).last();
            return Err(failed(said.unwrap_or_default()));
        }
        let containers = String::from_utf8_lossy(&output.stdout);
        let mut containers = containers.lines().filter_map(|line| line.split_once('\t'));
        match containers.find(|(names, _)| names.split(',').any(|one| one == name)) {
            None => Ok(()),
            Some((_, status)) => Err(UpError::Taken {
                name: name.clone(),
                status: git_gate::text::line(status.as_bytes()),
                engine: program,
            }),
        }
    }

    /// Runs the gate to its end.
    pub(crate) fn run(
        &self,
        plan: &Plan,
        manifest: &Manifest,
        options: &Options,
        interrupt: &Interrupt,
        serving: &mut dyn FnMut(),
    ) -> Result<(), UpError> {
        if interrupt.is_raised() {
            return Ok(());
        }
        if let Self::Container { id_file, .. } = self {
            // Of a gate-host that was killed; the engine takes no file that is there.
            let _ = fs::remove_file(id_file);
        }
        let mut child = self.start(plan, manifest, options)?;
        let ended = self
            .wait_until_serving(&mut child, options, interrupt)
            .inspect(|asked_to_end| {
                if !asked_to_end {
                    serving();
                }
            })
            .and_then(|_| self.watch(&mut child, manifest, interrupt));
        process::end_group(&mut child);
        if let (
            Self::Container {
                engine, id_file, ..
            },
            Some(id),
        ) = (self, self.container())
        {
            // Gone already when all went well (`--rm`).
            let mut remove = Command::new(engine);
            let _ = process::run(remove.args(["rm", "--force", &id]), COMMAND_LIMIT);
            let _ = fs::remove_file(id_file);
        }
        ended
    }

    /// The id of the container that was made.
    fn container(&self) -> Option<String> {
        let Self::Container { id_file, .. } = self else {
            return None;
        };
        let id = fs::read_to_string(id_file).ok()?;
        (!id.is_empty()).then_some(id)
    }

    fn start(&self, plan: &Plan, manifest: &Manifest, options: &Options) -> Result<Child, UpError> {
        let mut command = self.command(plan, options);
        for entry in &manifest.entries {
            if let Credential::Provisioned(key) = &entry.credential {
                // The gate has no use for the forge's token, and so must not hold it.
                command.env_remove(&key.token_env);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(io::stderr())
            // Ctrl-C reaches the whole group of the terminal; the gate is told by this program.
            .process_group(0)
            .spawn()
            .map_err(|source| self.run_error(source))
    }

    fn command(&self, plan: &Plan, options: &Options) -> Command {
        match self {
            Self::Local(program) => {
                let folder = &options.folder;
                let mut command = Command::new(program);
                command
                    .arg("--config")
                    .arg(plan.stage.join(stage::GATE_JSON))
                    .arg("--creds-dir")
                    .arg(&plan.stage)
                    .arg("--base-path")
                    .arg(mirrors(folder))
                    .arg("--run-dir")
                    .arg(run_dir(folder))
                    .args(["--listen", &options.address.ip().to_string()])
                    .args(["--port", &options.address.port().to_string()]);
                command
            }
            Self::Container {
                engine,
                image,
                name,
                id_file,
            } => {
                let mut command = Command::new(engine);
                command
                    .args(["run", "--rm", "--name", name, "--read-only", "--cidfile"])
                    .arg(id_file)
                    .args(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"])
                    .args(["--tmpfs", "/run:mode=1777", "--tmpfs", "/tmp:mode=1777"])
                    .arg("--volume")
                    .arg(format!("{}:/git", mirrors(&options.folder).display()))
                    .args(&plan.docker_arguments);
                let address = options.address;
                match options.network.as_deref() {
                    // Nothing is published from there: the gate itself listens on the address.
                    Some("host") => command
                        .args(["--network", "host", image])
                        .args(["--listen", &address.ip().to_string()])
                        .args(["--port", &address.port().to_string()]),
                    network => command
                        .args(network.iter().flat_map(|network| ["--network", network]))
                        .args(["--publish", &format!("{address}:9418"), image]),
                };
                command
            }
        }
    }

    /// Waits for the first good health check; `true` when the interrupt came before it.
    fn wait_until_serving(
        &self,
        child: &mut Child,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<bool, UpError> {
        let end = Instant::now() + START_LIMIT;
        loop {
            if interrupt.is_raised() {
                return Ok(true);
            }
            if let Some(status) = self.wait(child, STEP)? {
                return Err(ended_by_itself(status));
            }
            let reason = match self.health(options) {
                None => "there is no container yet".to_owned(),
                Some(Ok(output)) if output.status.success() => return Ok(false),
                Some(Ok(output)) => git_gate::text::lines(&output.stderr)
                    .last()
                    .unwrap_or_default(),
                Some(Err(error)) => error.to_string(),
            };
            if Instant::now() > end {
                return Err(UpError::NotServing { reason });
            }
        }
    }

    /// What the gate's health check says; `None` while there is no container.
    fn health(&self, options: &Options) -> Option<Result<process::Output, ProcessError>> {
        let mut command = match self {
            Self::Local(program) => {
                let mut command = Command::new(program);
                command
                    .arg("health")
                    .arg("--run-dir")
                    .arg(run_dir(&options.folder));
                command
            }
            Self::Container { engine, .. } => {
                let mut command = Command::new(engine);
                command.args(["exec", &self.container()?, "/usr/bin/gate-init", "health"]);
                command
            }
        };
        Some(process::run(&mut command, COMMAND_LIMIT))
    }

    /// Waits for the interrupt, then for the gate to end. A second interrupt hurries it.
    fn watch(
        &self,
        child: &mut Child,
        manifest: &Manifest,
        interrupt: &Interrupt,
    ) -> Result<(), UpError> {
        while !interrupt.is_raised() {
            if let Some(status) = self.wait(child, STEP)? {
                return Err(ended_by_itself(status));
            }
        }
        let end = Instant::now() + Duration::from_secs(manifest.limits.drain) + END_GRACE;
        while Instant::now() < end {
            if interrupt.take() {
                // It fails only when the gate is gone.
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
            if self.wait(child, STEP)?.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn wait(&self, child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, UpError> {
        process::wait(child, limit).map_err(|source| self.run_error(source))
    }

    fn run_error(&self, source: io::Error) -> UpError {
        let (Self::Local(program)
        | Self::Container {
            engine: program, ..
        }) = self;
        UpError::Run {
            program: program.display().to_string(),
            source,
        }
    }
}

/// gate-init beside this program, or on PATH.
fn gate_init() -> Result<PathBuf, UpError> {
    let beside = std::env::current_exe().map(|program| program.with_file_name("gate-init"));
    match beside {
        Ok(path) if path.exists() => Ok(path),
        _ => which::which("gate-init").map_err(|_| {
            UpError::Missing(
                "gate-init is neither beside gate-host nor on PATH; install it there, or name the \
                 gate's container image with --image"
                    .to_owned(),
            )
        }),
    }
}

fn ended_by_itself(status: ExitStatus) -> UpError {
    UpError::Ended(process::exit_code(status))
}

fn run_dir(folder: &Path) -> PathBuf {
    folder.join("run")
}

pub(crate) fn mirrors(folder: &Path) -> PathBuf {
    folder.join("git")
}
