//! What a hook notes on its way, to become one event at its end.

use std::time::Instant;

use super::{Event, Finding, Kind, LIST_LIMIT, RefChange, SUSPECT_LIMIT, record};
use crate::agent::Asking;
use crate::debug_log::{self, Request};
use crate::push::RefUpdate;
use crate::text;

/// Collects one event of a hook.
#[derive(Debug)]
pub struct Recorder {
    event: Event,
    started: Instant,
    phase: Instant,
}

impl Recorder {
    /// Starts the clock for a `push` or a `fetch`. `git_dir` tells the repository's name; git
    /// daemon's environment tells the client's address (git-daemon(1)).
    pub fn start(service: &str, git_dir: &std::path::Path) -> Self {
        let name = git_dir
            .file_name()
            .map(|name| text::line(name.as_encoded_bytes()));
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let peer = variable("REMOTE_ADDR").map(|address| {
            let port = variable("REMOTE_PORT").unwrap_or_default();
            text::line(format!("{address}:{port}").as_bytes())
        });
        let event = Event {
            repository: name.map(|name| name.strip_suffix(".git").unwrap_or(&name).to_owned()),
            service: Some(service.to_owned()),
            peer,
            agent: Asking::here().ok().flatten().and_then(|agent| agent.name),
            ..Event::default()
        };
        let recorder = Self {
            event,
            started: Instant::now(),
            phase: Instant::now(),
        };
        debug_log::begin(service, recorder.request());
        recorder
    }

    fn request(&self) -> Request<'_> {
        Request {
            repository: self.event.repository.as_deref(),
            peer: self.event.peer.as_deref(),
        }
    }

    /// Notes the ref updates of a push.
    pub fn refs(&mut self, updates: &[RefUpdate]) {
        self.event.ref_count = Some(updates.len() as u64);
        self.event.refs = RefChange::first(updates);
    }

    /// Notes that the phase `name` ends here; it began where the last one ended.
    pub fn phase(&mut self, name: &str) {
        let seconds = self.phase.elapsed().as_secs_f64();
        self.phase = Instant::now();
        self.event.seconds.insert(name.to_owned(), seconds);
        debug_log::phase(name, seconds, self.request());
    }

    /// Notes what was scanned.
    pub fn scanned(&mut self, objects: usize, bytes: u64) {
        self.event.objects = Some(objects as u64);
        self.event.bytes = Some(bytes);
    }

    /// Notes where secrets were found.
    pub fn findings(&mut self, findings: impl ExactSizeIterator<Item = Finding>) {
        self.event.finding_count = Some(findings.len() as u64);
        self.event.findings = findings.take(LIST_LIMIT).collect();
    }

    /// Notes the id by which the operator answers a refusal.
    pub fn refusal(&mut self, id: &str) {
        self.event.refusal = Some(id.to_owned());
    }

    /// Whose push it is.
    pub fn who(&self) -> (Option<String>, Option<String>) {
        (self.event.agent.clone(), self.event.peer.clone())
    }

    /// Notes where there may be secrets.
    pub fn suspects(&mut self, suspects: impl ExactSizeIterator<Item = Finding>) {
        self.event.suspect_count = Some(suspects.len() as u64).filter(|&count| count > 0);
        self.event.suspects = suspects.take(SUSPECT_LIMIT).collect();
    }

    /// Notes what the upstream said; the lines are safe to show.
    pub fn upstream(&mut self, lines: &[String]) {
        self.event.upstream = lines.iter().take(LIST_LIMIT).cloned().collect();
    }

    /// Records the event: what was asked for was done, or refused for `reason`.
    pub fn finish(mut self, kind: Kind, reason: Option<String>) {
        let total = self.started.elapsed().as_secs_f64();
        self.event.seconds.insert("total".to_owned(), total);
        self.event.reason = reason;
        debug_log::decision(kind.word(), None, Some(total), self.request());
        let now = Event::now(kind);
        (self.event.time, self.event.event) = (now.time, now.event);
        record(&self.event);
    }
}
