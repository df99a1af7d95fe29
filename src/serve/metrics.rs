//! Counters since the start, in the text format that Prometheus reads
//! (prometheus.io/docs/instrumenting/exposition_formats).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::audit::Event;

/// In front of each line of a health answer that says what is wrong: a comment to Prometheus.
pub const PROBLEM: &str = "# problem: ";

/// What is counted: name, kind, help.
const FAMILIES: [(&str, &str, &str); 11] = [
    (
        "git_gate_events_total",
        "counter",
        "Audit events, by what happened.",
    ),
    (
        "git_gate_seconds_total",
        "counter",
        "Seconds spent, by service and phase.",
    ),
    ("git_gate_objects_total", "counter", "Objects scanned."),
    (
        "git_gate_scanned_bytes_total",
        "counter",
        "Bytes of text scanned.",
    ),
    (
        "git_gate_findings_total",
        "counter",
        "Secrets found, by rule.",
    ),
    (
        "git_gate_suspects_total",
        "counter",
        "What may be secrets and passed, by rule.",
    ),
    (
        "git_gate_received_bytes_total",
        "counter",
        "Bytes from clients.",
    ),
    ("git_gate_sent_bytes_total", "counter", "Bytes to clients."),
    (
        "git_gate_lost_lines_total",
        "counter",
        "Log lines lost: a slow reader, a full disk, a hook that could not send.",
    ),
    (
        "git_gate_uncounted_total",
        "counter",
        "Times that nothing could be counted, because there are 10,000 series already.",
    ),
    ("git_gate_clients", "gauge", "Clients being served."),
];

/// The most different series that are kept, whatever hooks report.
const SERIES_LIMIT: usize = 10_000;

/// All counters.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The label with the gate's name.
    gate: String,
    /// By family, then by labels.
    series: Mutex<BTreeMap<(&'static str, String), f64>>,
    /// How often a new series found no room.
    uncounted: AtomicU64,
}

impl Metrics {
    /// Those of the gate `name`.
    pub fn of(name: &str) -> Self {
        Self {
            gate: label("gate", name),
            ..Self::default()
        }
    }

    /// Counts `event`, one of `agent`'s where that is known.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a counter of Prometheus is a float"
    )]
    pub fn count(&self, event: &Event, agent: Option<&str>) {
        let repository = label("repository", event.repository.as_deref().unwrap_or(""));
        let service = event.service.as_deref().unwrap_or("");
        let limit = label("limit", event.limit.as_deref().unwrap_or(""));
        let mut of_event = vec![
            label("event", event.event.word()),
            label("service", service),
            limit,
        ];
        // A label without a value is one that is not there.
        of_event.extend(agent.map(|agent| label("agent", agent)));
        let of_event = of_event.join(",");
        self.add(
            "git_gate_events_total",
            &format!("{repository},{of_event}"),
            1.0,
        );
        for (phase, seconds) in &event.seconds {
            let labels = [label("service", service), label("phase", phase)].join(",");
            self.add(
                "git_gate_seconds_total",
                &format!("{repository},{labels}"),
                *seconds,
            );
        }
        for (family, findings) in [
            ("git_gate_findings_total", &event.findings),
            ("git_gate_suspects_total", &event.suspects),
        ] {
            for finding in findings {
                let labels = format!("{repository},{}", label("rule", &finding.rule));
                self.add(family, &labels, 1.0);
            }
        }
        for (family, amount) in [
            ("git_gate_objects_total", event.objects),
            ("git_gate_scanned_bytes_total", event.bytes),
        ] {
            if let Some(amount) = amount {
                self.add(family, &repository, amount as f64);
            }
        }
    }

    /// Counts the bytes of one client.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a counter of Prometheus is a float"
    )]
    pub fn traffic(&self, repository: &str, received: u64, sent: u64) {
        let repository = label("repository", repository);
        self.add(
            "git_gate_received_bytes_total",
            &repository,
            received as f64,
        );
        self.add("git_gate_sent_bytes_total", &repository, sent as f64);
    }

    fn add(&self, family: &'static str, labels: &str, amount: f64) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let room = series.len() < SERIES_LIMIT;
        let key = (family, labels.to_owned());
        if room || series.contains_key(&key) {
            *series.entry(key).or_insert(0.0) += amount;
        } else {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of it, with the two numbers that are kept elsewhere.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge of Prometheus is a float"
    )]
    pub fn render(&self, clients: usize, lost: u64) -> String {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for (family, kind, help) in FAMILIES {
            let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
            let alone = match family {
                "git_gate_clients" => Some(clients as f64),
                "git_gate_lost_lines_total" => Some(lost as f64),
                "git_gate_uncounted_total" => Some(self.uncounted.load(Ordering::Relaxed) as f64),
                _ => None,
            };
            let gate = &self.gate;
            if let Some(value) = alone {
                let _ = writeln!(out, "{family}{{{gate}}} {value}");
            }
            for ((_, labels), value) in series.iter().filter(|((of, _), _)| *of == family) {
                let _ = writeln!(out, "{family}{{{gate},{labels}}} {value}");
            }
        }
        out
    }
}

/// A label; its value is quoted as the format wants it.
fn label(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;

    #[test]
    fn events_become_counters_with_quoted_labels() {
        let metrics = Metrics::of("g");
        let event = Event {
            repository: Some("a\"b".to_owned()),
            service: Some("push".to_owned()),
            objects: Some(3),
            ..Event::now(Kind::Push)
        };
        metrics.count(&event, None);
        metrics.count(&event, None);
        metrics.count(&event, Some("a"));
        let text = metrics.render(1, 0);
        let line = r#"git_gate_events_total{gate="g",repository="a\"b",event="push",service="push",limit=""} 2"#;
        assert!(text.lines().any(|one| one == line), "{text}");
        assert!(text.contains("service=\"push\",limit=\"\",agent=\"a\"} 1\n"));
        assert!(text.contains("git_gate_objects_total{gate=\"g\",repository=\"a\\\"b\"} 9\n"));
        assert!(text.contains("\ngit_gate_clients{gate=\"g\"} 1\n"));
    }

    #[test]
    fn what_finds_no_room_is_counted_as_such() {
        let metrics = Metrics::of("g");
        for number in 0..SERIES_LIMIT + 3 {
            metrics.add(
                "git_gate_findings_total",
                &format!("rule=\"{number}\""),
                1.0,
            );
        }
        metrics.add("git_gate_findings_total", "rule=\"0\"", 1.0);
        let text = metrics.render(0, 0);
        assert!(text.contains("\ngit_gate_uncounted_total{gate=\"g\"} 3\n"));
        assert!(text.contains("\ngit_gate_findings_total{gate=\"g\",rule=\"0\"} 2\n"));
    }
}
