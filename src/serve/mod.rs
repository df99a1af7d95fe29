//! gate-init: mirrors, connections, child processes.
//!
//! | module         | what it does                                                             |
//! |----------------|--------------------------------------------------------------------------|
//! | `options`      | command line and environment                                             |
//! | `supervisor`   | the first process: reaps orphans, passes signals on, restarts the server |
//! | `server`       | the second one: prepares the mirrors, serves, reloads, drains            |
//! | `state`        | what its threads share                                                   |
//! | `run_dir`      | the run directory, and what keeps a second gate-init away from it        |
//! | `mirrors`      | one mirror: made once, its settings written on every start               |
//! | `listener`     | accepts clients and reads their requests; answers the health check       |
//! | `agents`       | who may use the gate, by their tokens                                    |
//! | `git_request`  | the first packet of a connection                                         |
//! | `hook_stderr`  | why the hook refused, for a client that cannot be shown what it says     |
//! | `clients`      | who is being served, and the limits on that                              |
//! | `asked`        | a request that has a place                                               |
//! | `connection`   | one client: its mirror is looked up, and bytes are passed                |
//! | `git_child`    | the git that serves it                                                   |
//! | `relay`        | bytes between the two, and the end of a client that stalls               |
//! | `answer`       | what git answers to a push, with the gate's own words in it              |
//! | `http`         | the same over HTTP                                                       |
//! | `hook_reports` | the hooks' events, and who has none                                      |
//! | `unreported`   | the event of a client that no hook reported on                           |
//! | `metrics`      | counters, as Prometheus reads them                                       |
//! | `watchers`     | who watches what happens, through `gate-init watch`                      |
//! | `scanner_pool` | scanners that are started ahead and lent to the hooks                    |
//! | `push_sessions` | sessions that are opened as a push comes, and lent to its forward        |
//! | `session_ends` | sessions that a hook is done with, kept until they end                    |
//! | `sessions`     | sessions with the upstreams that are opened ahead and lent to the hooks    |
//! | `maintenance`  | repacks the mirrors, when no client waits for it                         |
//! | `conditions`   | what must hold: for the check, the start, a reload and the health check  |
//! | `policy`       | what a push is held against, for who asks ahead                          |
//! | `check`        | `gate-init check` and `gate-init health`                                 |
//!
//! There are two processes so that neither can confuse the other's children: orphans (ssh masters,
//! what a killed hook left) fall to the first, which waits for anything; the second only waits for
//! what it has started itself.

mod address;
mod agents;
mod answer;
mod asked;
mod check;
mod clients;
mod condition;
mod conditions;
mod connection;
mod error;
pub mod exit;
mod flow;
mod git_child;
mod git_daemon;
mod git_request;
mod hook_reports;
mod hook_stderr;
mod http;
mod listener;
mod maintenance;
mod metrics;
mod mirror_config;
mod mirror_damage;
mod mirror_error;
mod mirror_settings;
mod mirrors;
mod options;
mod policy;
mod push_sessions;
mod relay;
pub(crate) mod run_dir;
pub mod scanner_pool;
mod server;
mod session_ends;
mod sessions;
mod state;
mod supervisor;
mod unreported;
pub mod watchers;

pub use check::{check, health};
pub use error::ServeError;
pub use mirror_error::MirrorError;
pub use options::Options;
pub use policy::policy;
pub use supervisor::run;
