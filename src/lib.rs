//! git-gate: an untrusted coding agent uses git through a gate that alone holds the credential of
//! the upstream, and no secret leaves by a push.
//!
//! The rooms, in the order in which a push walks through them:
//!
//! | room         | what happens there                                                            |
//! |--------------|-------------------------------------------------------------------------------|
//! | [`push`]     | what the client sent: ref updates, the quarantine's objects, the ref policy    |
//! | [`rules`]    | protected paths, people, sizes: what a push may bring, whatever is in it      |
//! | [`scan`]     | objects become text, gitleaks reads it, a verdict comes out                    |
//! | [`refusals`] | what was refused, by an id, and what the operator answers                      |
//! | [`upstream`] | ssh and HTTPS, the refresh before a fetch, the forward after a clean scan      |
//! | [`serve`]    | gate-init: mirrors, connections, child processes, warm scanners                |
//! | [`watch`]    | what happens now, in the operator's terminal                                  |
//!
//! gate-host, on the operator's machine, is a crate of its own (`crates/gate-host`).
//!
//! What every room uses: [`command_line`], [`settings`] (git config keys and limits), [`config`]
//! (`gate.json`), [`agent`] (whom the gate serves, and what that one may do), [`url`] (where an upstream
//! may be), [`git`] (how a git command is built, which refs it lists), [`process`] (children with a time
//! limit), `processes` (/proc), [`bound`] (children that end
//! with their parent), [`serving_lock`] (whether a gate serves), [`deadline`], [`mirror`] (locks,
//! stale files), [`replace_file`], [`text`] (what may be printed), [`table`], [`audit`] (one line an
//! event), [`debug_log`] (more lines, where the operator asks for them), [`append`] (the lines of both).
//!
//! Who may call whom: [`push`] and [`scan`] know nothing of ssh; [`upstream`] knows nothing of
//! findings; only [`hooks`] joins them, and [`serve`] joins the hooks to clients.

// What gate-host uses as well, on the operator's machine, which may run macOS.
pub mod agent;
pub mod append;
pub mod bound;
pub mod config;
pub mod deadline;
pub mod debug_log;
pub mod path_glob;
pub mod process;
pub mod ref_pattern;
pub mod replace_file;
pub mod serving_lock;
pub mod settings;
pub mod table;
pub mod text;
pub mod url;

// The gate, on Linux alone: its cage, its locks and its children rest on what no other system has.
#[cfg(target_os = "linux")]
pub mod audit;
#[cfg(target_os = "linux")]
pub mod command_line;
#[cfg(target_os = "linux")]
pub mod git;
#[cfg(target_os = "linux")]
pub mod hooks;
#[cfg(target_os = "linux")]
pub mod local_scan;
#[cfg(target_os = "linux")]
pub mod mirror;
#[cfg(target_os = "linux")]
pub(crate) mod processes;
#[cfg(target_os = "linux")]
pub mod push;
#[cfg(target_os = "linux")]
pub mod refusals;
#[cfg(target_os = "linux")]
pub mod rules;
#[cfg(target_os = "linux")]
pub mod scan;
#[cfg(target_os = "linux")]
pub mod serve;
#[cfg(target_os = "linux")]
pub(crate) mod unix_socket;
#[cfg(target_os = "linux")]
pub mod upstream;
#[cfg(target_os = "linux")]
pub mod watch;
