//! The audit log as a table that people read.

use std::io::{BufRead, Write};

use super::{Event, Kind};
use crate::{table, text};

/// How wide its columns are: a log is read as it comes, so no cell is known ahead.
const WIDTHS: [isize; 6] = [24, 8, 16, 21, -8, 0];

/// Writes the events that `log` holds as a table. gate-init's own messages on a shared standard error
/// are left out; other lines that are not events, such as what a full disk cut off, are counted in
/// the last row, with the `lost` ones that are known of.
pub fn report(log: impl BufRead, lost: u64, out: &mut impl Write) -> std::io::Result<()> {
    let mut unreadable = 0;
    let head = ["TIME", "EVENT", "REPOSITORY", "PEER", "SECONDS", "WHAT"];
    writeln!(out, "{}", table::line(WIDTHS, head))?;
    for line in log.split(b'\n') {
        let line = line?;
        match serde_json::from_slice::<Event>(&line) {
            Ok(event) => writeln!(out, "{}", row(&event))?,
            Err(_) if line.is_empty() || line.starts_with(b"git-gate: ") => {}
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        let lines = text::plural(unreadable, "line");
        writeln!(out, "{lines} of the log could not be read")?;
    }
    if lost > 0 {
        writeln!(out, "lines that are missing: {lost}")?;
    }
    Ok(())
}

fn row(event: &Event) -> String {
    let field = |value: &Option<String>| {
        value
            .as_deref()
            .map_or_else(|| "-".to_owned(), |value| text::line(value.as_bytes()))
    };
    let seconds = event
        .seconds
        .get("total")
        .map_or_else(|| "-".to_owned(), |total| format!("{total:.2}"));
    let time = text::line(event.time.as_bytes());
    let (repository, peer) = (field(&event.repository), field(&event.peer));
    let what = text::line(event.in_words().as_bytes());
    let cells = [
        &*time,
        event.event.word(),
        &repository,
        &peer,
        &seconds,
        &what,
    ];
    table::line(WIDTHS, cells)
}

impl Event {
    /// What no column of its own has, in words.
    pub fn in_words(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.agent.as_ref().map(|name| format!("agent {name}")));
        if self.event == Kind::Refusal {
            parts.extend(self.service.clone());
        }
        parts.extend(self.limit.clone());
        parts.extend(self.refs.iter().map(|change| change.name.clone()).take(3));
        if self.refs.len() > 3 {
            parts.push(format!(
                "and {} more",
                self.ref_count.unwrap_or(0).saturating_sub(3)
            ));
        }
        if let (Some(objects), Some(bytes)) = (self.objects, self.bytes) {
            let objects = text::plural(usize::try_from(objects).unwrap_or(usize::MAX), "object");
            parts.push(format!("{objects}, {}", text::size(bytes)));
        }
        parts.extend(
            self.findings
                .iter()
                .take(3)
                .map(|finding| format!("{} in {}:{}", finding.rule, finding.path, finding.line)),
        );
        parts.extend(self.refusal.as_ref().map(|id| format!("refusal {id}")));
        parts.extend(self.reason.clone());
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = include_str!("../../fixtures/audit/log");

    #[test]
    fn a_log_becomes_a_table_and_other_lines_are_left_out() {
        let mut out = Vec::new();
        report(LOG.as_bytes(), 2, &mut out).unwrap();
        let table = include_str!("../../fixtures/audit/table");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{table}lines that are missing: 2\n")
        );
    }

    #[test]
    fn an_event_is_written_as_it_was_read() {
        let lines = LOG.lines().filter(|line| line.ends_with('}'));
        for line in lines {
            let event: Event = serde_json::from_str(line).unwrap();
            assert_eq!(event.line(), line);
        }
    }
}
