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

    #[test]
    fn a_log_becomes_a_table_and_other_lines_are_left_out() {
        let log = concat!(
            "git-gate: serving 1 repository on git://127.0.0.1:9418\n",
            r#"{"time":"2026-01-01T00:00:00.000Z","event":"policy","repository":"app","peer":"10.0.0.2:5","seconds":{"total":0.25},"refs":[{"name":"refs/heads/x","old":"0","new":"1"}],"reason":"no"}"#,
            "\n",
            r#"{"time":"2026-01-01T00:0"#,
            "\n",
        );
        let mut out = Vec::new();
        report(log.as_bytes(), 2, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2], "1 line of the log could not be read");
        assert_eq!(lines[3], "lines that are missing: 2");
        assert_eq!(
            lines[1],
            "2026-01-01T00:00:00.000Z  policy    app               10.0.0.2:5                 0.25  refs/heads/x; no"
        );
    }
}
