//! What gate-init is told on its command line and in its environment.

use std::path::{Path, PathBuf};

use clap::Args;

use super::ServeError;
use crate::config::{Config, ConfigError};
use crate::text;

/// Where `gate.json` is looked for when nothing names it.
const CONFIG: &str = "/etc/git-gate/gate.json";

/// Where the hooks are looked for when nothing names their directory.
const HOOKS: &str = "/etc/git-gate";

/// What this machine or container is called (proc_sys_kernel(5)).
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Where things are.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The operator's gate.json [default: /etc/git-gate/gate.json where it exists]
    #[arg(long, env = "GIT_GATE_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The directory of the mirrors, NAME.git each
    #[arg(
        long,
        env = "GIT_GATE_BASE_PATH",
        value_name = "DIR",
        default_value = "/git",
        global = true
    )]
    pub base_path: PathBuf,
    /// The directory of NAME-key and NAME-known_hosts
    #[arg(
        long,
        env = "GIT_GATE_CREDS_DIR",
        value_name = "DIR",
        default_value = "/git-gate/creds",
        global = true
    )]
    pub creds_dir: PathBuf,
    /// The directory of pre-receive and access-hook [default: /etc/git-gate, else the binaries beside gate-init]
    #[arg(long, env = "GIT_GATE_HOOKS_DIR", value_name = "DIR", global = true)]
    pub hooks_dir: Option<PathBuf>,
    /// The directory of the sockets; only this user may enter it
    #[arg(
        long,
        env = "GIT_GATE_RUN_DIR",
        value_name = "DIR",
        default_value = "/run/git-gate",
        global = true
    )]
    pub run_dir: PathBuf,
    /// The address to serve on [default: all]
    #[arg(long, env = "GIT_GATE_LISTEN", value_name = "ADDR", global = true)]
    pub listen: Option<std::net::IpAddr>,
    /// The port to serve on; 0 takes a free one
    #[arg(
        long,
        env = "GIT_GATE_PORT",
        value_name = "N",
        default_value_t = 9418,
        global = true
    )]
    pub port: u16,
    /// The port of git's smart HTTP, at the same address; 0 takes a free one [default: not served]
    #[arg(long, env = "GIT_GATE_HTTP_PORT", value_name = "N", global = true)]
    pub http_port: Option<u16>,
    /// The file that audit lines are added to [default: standard error]
    #[arg(long, env = "GIT_GATE_AUDIT_LOG", value_name = "FILE", global = true)]
    pub audit_log: Option<PathBuf>,
    /// This gate's name in audit lines and counters, where there are several [default: the host's name]
    #[arg(long, env = "GIT_GATE_NAME", value_name = "NAME", global = true)]
    pub gate_name: Option<String>,
    /// Further upstreams, or other URLs for those of gate.json
    #[arg(skip)]
    pub upstreams: Vec<String>,
}

/// The two programs that stand between git and the upstream.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// Installed into every mirror.
    pub pre_receive: PathBuf,
    /// Given to git daemon.
    pub access: PathBuf,
}

impl Options {
    /// The same with absolute paths: git works in the mirror's directory, where a relative path would
    /// lead elsewhere.
    pub fn with_absolute_paths(mut self) -> std::io::Result<Self> {
        let optional = [&mut self.config, &mut self.hooks_dir, &mut self.audit_log];
        let all = [&mut self.base_path, &mut self.creds_dir, &mut self.run_dir];
        for path in optional.into_iter().flatten().chain(all) {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// Reads `gate.json` and the `NAME=URL` arguments.
    pub fn load_config(&self) -> Result<Config, ConfigError> {
        let usual = Path::new(CONFIG);
        let usual = usual.exists().then_some(usual);
        let mut config = Config::load(self.config.as_deref().or(usual), &self.upstreams)?;
        config.http.port = self.http_port.or(config.http.port);
        match config.upstreams.is_empty() {
            true => Err(ConfigError::Empty),
            false => Ok(config),
        }
    }

    /// What tells this gate from others.
    pub fn name(&self) -> String {
        let name = self.gate_name.clone().filter(|name| !name.is_empty());
        let host = || std::fs::read_to_string(HOST_NAME).unwrap_or_default();
        text::line(name.unwrap_or_else(host).trim().as_bytes())
    }

    /// The hooks: those of `--hooks-dir`, else those of /etc/git-gate, else those beside this
    /// program.
    pub fn hooks(&self) -> Result<Hooks, ServeError> {
        let usual = Path::new(HOOKS);
        let hooks = match &self.hooks_dir {
            Some(directory) => Hooks::named(directory),
            None if usual.join("pre-receive").exists() => Hooks::named(usual),
            None => Hooks::beside_this_program()?,
        };
        let missing = [&hooks.pre_receive, &hooks.access]
            .into_iter()
            .find(|hook| rustix::fs::access(hook.as_path(), rustix::fs::Access::EXEC_OK).is_err());
        match missing {
            Some(hook) => Err(ServeError::Hook { path: hook.clone() }),
            None => Ok(hooks),
        }
    }
}

impl Hooks {
    fn named(directory: &Path) -> Self {
        Self {
            pre_receive: directory.join("pre-receive"),
            access: directory.join("access-hook"),
        }
    }

    fn beside_this_program() -> Result<Self, ServeError> {
        let program = std::env::current_exe().map_err(ServeError::Itself)?;
        Ok(Self {
            pre_receive: program.with_file_name("gate-pre-receive"),
            access: program.with_file_name("gate-access-hook"),
        })
    }
}
