//! The server's state, shared by its threads.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::Options;
use super::agents::Agents;
use super::clients::ClientRegistry;
use super::condition::Condition;
use super::conditions;
use super::hook_reports::Reports;
use super::metrics::{Metrics, PROBLEM};
use super::mirrors::Mirror;
use super::options::Hooks;
use super::push_sessions::{Expected, PushSessions};
use super::scanner_pool::Pool;
use super::sessions::Sessions;
use super::watchers::{Now, Watchers};
use crate::audit::{Event, Kind, Log};
use crate::config::Config;
use crate::debug_log::{self, Request};
use crate::settings::Limits;
use crate::upstream::OTHER_FORMAT;

/// What is served now; a reload replaces it whole.
#[derive(Debug, Default)]
pub struct Served {
    /// By name.
    pub mirrors: BTreeMap<String, Arc<Mirror>>,
    /// The limits.
    pub limits: Limits,
    /// The whole configuration.
    pub config: Config,
    /// Who may use it.
    pub agents: Agents,
}

/// The server's state, shared by its threads.
pub struct Gate {
    /// Where things are.
    pub options: Options,
    /// The two hooks.
    pub hooks: Hooks,
    /// git's own git-daemon program, not the `git` in front of it: that is the process to watch.
    pub daemon: PathBuf,
    /// All that git daemon and the hooks get from the environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Who is being served.
    pub clients: Arc<ClientRegistry>,
    /// Where events and messages go.
    pub log: Log,
    /// What was counted.
    pub metrics: Metrics,
    /// Who watches.
    pub watchers: Arc<Watchers>,
    /// What the hooks say.
    pub reports: Reports,
    pub scanners: Pool,
    pub sessions: Sessions,
    pub push_sessions: PushSessions,
    /// What changes while it serves.
    pub changing: Changing,
}

/// What of the state changes while the server serves.
#[derive(Default)]
pub struct Changing {
    served: RwLock<Arc<Served>>,
    /// What is wrong with what a push needs, as last looked at.
    problems: Mutex<Vec<String>>,
    /// Mirrors that a hook could not use, by name.
    in_need: Mutex<BTreeSet<String>>,
    draining: AtomicBool,
    hurry: AtomicBool,
}

impl Gate {
    /// What is served now.
    pub fn served(&self) -> Arc<Served> {
        Arc::clone(
            &self
                .changing
                .served
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Counts and logs `event`.
    pub fn record(&self, event: &Event) {
        let is_known = |name: &str| self.served().agents.has(name);
        let agent = event.agent.as_deref().filter(|name| is_known(name));
        self.metrics.count(event, agent);
        self.watchers.tell(event);
        let peer = event.peer.as_deref();
        let request = Request {
            peer,
            ..Request::default()
        };
        debug_log::decision(event.event.word(), event.limit.as_deref(), None, request);
        self.log.event(event);
    }

    /// Tells the operator.
    pub fn say(&self, line: &str) {
        self.log.say(line);
    }

    /// Whether no further clients are served.
    pub fn is_draining(&self) -> bool {
        self.changing.draining.load(Ordering::Relaxed)
    }

    /// Serves `served` from now on.
    pub fn serve(&self, served: Served) {
        let mut now = self
            .changing
            .served
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(served);
    }

    /// Serves no further clients.
    pub fn start_to_drain(&self) {
        self.changing.draining.store(true, Ordering::Relaxed);
    }

    /// Waits for no client any more.
    pub fn end_now(&self) {
        self.changing.hurry.store(true, Ordering::Relaxed);
    }

    /// Whether no client is waited for.
    pub fn is_in_a_hurry(&self) -> bool {
        self.changing.hurry.load(Ordering::Relaxed)
    }

    /// Takes what a hook reports; none is a line that cannot be read.
    pub fn hear(&self, report: Option<Event>) {
        let Some(event) = report else {
            return self.log.lose();
        };
        self.record(&event);
        let is_other_format = |reason: &str| reason.contains(OTHER_FORMAT);
        if event.reason.as_deref().is_some_and(is_other_format)
            && let Some(name) = &event.repository
        {
            self.wants_care(name);
        }
    }

    /// A hook will report on the client at `peer`, which is about to be served.
    pub fn expect_report(&self, peer: &str) {
        self.reports.expect(&|report| self.hear(report), peer);
    }

    /// Whether a hook has reported on the client at `peer`: waits for that until `is_over`.
    pub fn has_reported(&self, peer: &str, is_over: impl Fn() -> bool) -> bool {
        self.reports
            .has_reported(&|report| self.hear(report), peer, is_over)
    }

    /// For how long a client may be silent.
    pub fn idle_limit(&self) -> Duration {
        Duration::from_secs(self.served().limits.idle_client)
    }

    /// A client is about to push to `mirror`: scanners, and a session with the upstream, are got ready while
    /// it packs.
    pub fn expects_push(&self, mirror: &Mirror) -> Option<Expected> {
        self.scanners
            .expect(mirror.upstream.gitleaks_config.as_deref());
        self.push_sessions.expect(&mirror.path)
    }

    /// Has the mirror `name` looked after soon: a hook could not use it.
    pub fn wants_care(&self, name: &str) {
        let mut in_need = self
            .changing
            .in_need
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        in_need.insert(name.to_owned());
    }

    /// The mirrors that are to be looked after now.
    pub fn in_need(&self) -> BTreeSet<String> {
        std::mem::take(
            &mut *self
                .changing
                .in_need
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// How the gate is, for who watches.
    pub fn now(&self) -> Now {
        Now {
            clients: self.clients.count(),
            problems: self.problems(),
        }
    }

    /// What refuses pushes, each in words.
    pub fn problems(&self) -> Vec<String> {
        self.changing
            .problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The counters in the text format of Prometheus, behind a comment for each problem.
    pub fn metrics(&self) -> String {
        let problems = self.problems().into_iter();
        let problems: String = problems
            .map(|problem| format!("{PROBLEM}{problem}\n"))
            .collect();
        problems + &self.metrics.render(self.clients.count(), self.log.lost())
    }

    /// Looks at what a push needs, tells the operator what is wrong and what is no longer, and keeps
    /// it for the health check.
    pub fn examine(&self) {
        let config = self.served().config.clone();
        let found = conditions::of_pushes(&self.options, &config);
        let found: Vec<_> = found.iter().filter_map(Condition::problem).collect();
        let before = std::mem::replace(
            &mut *self
                .changing
                .problems
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
            found.clone(),
        );
        for problem in found.iter().filter(|problem| !before.contains(problem)) {
            self.say(&format!("pushes are refused: {problem}"));
        }
        for problem in before.iter().filter(|problem| !found.contains(problem)) {
            self.say(&format!("mended: {problem}"));
        }
    }

    /// Tells the operator of a mirror's trouble, and records it.
    pub fn trouble(&self, name: &str, reason: &str) {
        self.say(&format!("{name}: {reason}"));
        self.record(&Event {
            repository: Some(name.to_owned()),
            reason: Some(reason.to_owned()),
            ..Event::now(Kind::Mirror)
        });
    }
}
