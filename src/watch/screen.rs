//! How the view looks: the refusals above, what happens below, and what the keys do in the last line.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table, TableState, Wrap};

use super::view::{Draft, Mode, View};
use crate::audit::{Event, Kind};
use crate::refusals::{Record, desk};
use crate::text;

/// Draws all of it.
pub fn draw(view: &View, frame: &mut Frame<'_>) {
    let rows = [
        Constraint::Length(1),
        Constraint::Percentage(45),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, above, below, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(title(view), head);
    refusals(view, frame, above);
    match (&view.mode, view.chosen()) {
        (Mode::Read | Mode::Answer(_), Some(record)) => whole(record, frame, below),
        _ => events(view, frame, below),
    }
    frame.render_widget(keys(view), foot);
}

fn title(view: &View) -> Line<'static> {
    match &view.now {
        None => Line::styled("git-gate: no gate-init answers; trying again", red()),
        Some(now) if now.problems.is_empty() => {
            let clients = text::plural(now.clients, "client");
            Line::from(format!("git-gate: {clients} being served"))
        }
        Some(now) => {
            let problems = text::line(now.problems.join("; ").as_bytes());
            Line::styled(format!("git-gate: pushes are refused: {problems}"), red())
        }
    }
}

fn refusals(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let widths = [
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(16),
        Constraint::Length(21),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    let rows = view.refusals.iter().map(|record| {
        let cells = [
            record.id.clone(),
            clock(&record.last),
            text::line(record.repository.as_bytes()),
            text::line(record.about.who().as_bytes()),
            record.answered().to_owned(),
            record.what(),
        ];
        Row::new(cells)
    });
    let head = ["REFUSAL", "LAST", "REPOSITORY", "WHO", "ANSWER", "WHAT"];
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Modifier::BOLD))
        .row_highlight_style(Modifier::REVERSED)
        .block(block("Refusals"));
    let is_empty = view.refusals.is_empty();
    let mut state = TableState::new().with_selected((!is_empty).then(|| view.place()));
    frame.render_stateful_widget(table, area, &mut state);
}

fn events(view: &View, frame: &mut Frame<'_>, area: Rect) {
    let widths = [
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(16),
        Constraint::Length(21),
        Constraint::Fill(1),
    ];
    let rows = view.events.iter().take(usize::from(area.height)).map(row);
    let head = ["TIME", "EVENT", "REPOSITORY", "WHO", "WHAT"];
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Modifier::BOLD))
        .block(block("What happens"));
    frame.render_widget(table, area);
}

fn row(event: &Event) -> Row<'static> {
    let style = match event.event {
        Kind::Refusal | Kind::Policy | Kind::Limit => red(),
        _ => Style::new(),
    };
    let or_none = |text: Option<&String>| text.map_or("-", String::as_str).to_owned();
    let who = event.agent.as_ref().or(event.peer.as_ref());
    let cells = [
        clock(&event.time),
        event.event.word().to_owned(),
        or_none(event.repository.as_ref()),
        or_none(who),
        event.in_words(),
    ];
    Row::new(cells.map(|cell| text::line(cell.as_bytes()))).style(style)
}

fn whole(record: &Record, frame: &mut Frame<'_>, area: Rect) {
    let mut written = Vec::new();
    // Writing to memory does not fail.
    let _ = desk::write_one(record, &mut written);
    let lines: Vec<_> = text::lines(&written).map(Line::from).collect();
    let all = Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .block(block(&format!("Refusal {}", record.id)));
    frame.render_widget(all, area);
}

/// What the keys do, or what the last one did.
fn keys(view: &View) -> Line<'static> {
    if !view.told.is_empty() {
        return Line::styled(text::line(view.told.as_bytes()), Modifier::BOLD);
    }
    match &view.mode {
        Mode::Look => Line::from("↑ ↓ choose   Enter read   a accept   d deny   q end"),
        Mode::Read => Line::from("↑ ↓ next   Enter back   a accept   d deny   q end"),
        Mode::Answer(draft) => Line::from(prompt(draft)),
    }
}

fn prompt(draft: &Draft) -> String {
    let Draft { id, reason, .. } = draft;
    let (word, tab) = match (draft.accepted, draft.once) {
        (true, true) => ("accept once", ", Tab: for good"),
        (true, false) => ("accept", ", Tab: once"),
        (false, _) => ("deny", ""),
    };
    format!("{word} {id} (Enter: do it{tab}, Esc: leave it), because: {reason}_")
}

/// The time of day of an RFC 3339 time.
fn clock(time: &str) -> String {
    text::line(time.get(11..19).unwrap_or_default().as_bytes())
}

fn block(title: &str) -> Block<'static> {
    Block::new()
        .borders(Borders::TOP)
        .title(format!(" {title} "))
}

fn red() -> Style {
    Style::new().fg(Color::Red)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use serde_json::json;

    use super::*;
    use crate::serve::watchers::Word;
    use crate::watch::view::Act;

    fn view() -> View {
        let mut view = View::default();
        let record = |id: &str, last: &str, answer: Option<&str>| {
            let answer = answer.map(|reason| {
                json!({"accepted": true, "by": "ann", "at": "2026-01-01T00:00:00Z", "reason": reason, "once": false})
            });
            let mut record = json!({
                "id": id, "repository": "app", "key": id, "first": last, "last": last, "count": 2,
                "peer": "10.0.0.2:51000", "summary": "1 secret", "more": 0, "answer": answer,
                "refs": [{"name": "refs/heads/try", "old": "0", "new": "1"}],
                "items": [{
                    "rule": "github-pat", "place": "src/ci.py", "line": 3, "description": "a token",
                    "redacted": "(40 characters)", "exception": format!("secret:{id} github-pat"),
                }],
            });
            if answer.is_none() {
                record.as_object_mut().unwrap().remove("answer");
            }
            serde_json::from_value(record).unwrap()
        };
        view.refusals(Ok(vec![
            record("00000001", "2026-01-01T10:00:01.000Z", Some("a test key")),
            record("00000002", "2026-01-01T09:00:02.000Z", None),
            record("00000003", "2026-01-01T08:00:03.000Z", None),
        ]));
        for word in [
            json!({"event": {"time": "2026-01-01T09:00:00.000Z", "event": "push", "repository": "app",
                "agent": "agent-7", "objects": 3, "bytes": 120, "refs": [{"name": "refs/heads/ok", "old": "0", "new": "1"}]}}),
            json!({"event": {"time": "2026-01-01T09:00:02.000Z", "event": "refusal", "service": "push",
                "repository": "app", "peer": "10.0.0.2:51000", "refusal": "00000002", "reason": "1 secret\u{1b}[2J found"}}),
            json!({"now": {"clients": 2, "problems": []}}),
        ] {
            view.hear(Some(serde_json::from_value::<Word>(word).unwrap()));
        }
        view
    }

    fn seen(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 16)).unwrap();
        terminal.draw(|frame| draw(view, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(100);
        rows.fold(String::new(), |mut text, row| {
            let is_chosen = row[0].modifier.contains(Modifier::REVERSED);
            let line: String = row.iter().map(|cell| cell.symbol()).collect();
            let mark = if is_chosen { ">" } else { " " };
            writeln!(text, "{mark}{}", line.trim_end()).unwrap();
            text
        })
    }

    fn press(view: &mut View, keys: &[KeyCode]) -> Vec<Act> {
        let press = |&code| view.key(KeyEvent::new(code, KeyModifiers::NONE));
        keys.iter().map(press).collect()
    }

    #[test]
    fn what_is_seen_and_what_the_keys_do() {
        let mut view = view();
        let mut seen_all = format!("at first\n{}", seen(&view));
        let mut then = |what: &str, view: &View| {
            write!(seen_all, "\n{what}\n{}", seen(view)).unwrap();
        };
        press(&mut view, &[KeyCode::Down, KeyCode::Enter]);
        then("the second one is read", &view);
        press(
            &mut view,
            &[
                KeyCode::Char('a'),
                KeyCode::Enter,
                KeyCode::Char('q'),
                KeyCode::Tab,
            ],
        );
        then("and about to be accepted", &view);
        view.hear(None);
        press(&mut view, &[KeyCode::Esc]);
        then("and is not; the gate is gone", &view);
        insta::assert_snapshot!(seen_all);
    }

    #[test]
    fn an_answer_is_of_the_refusal_that_was_chosen() {
        let mut view = view();
        press(&mut view, &[KeyCode::Char('d')]);
        // Another one comes, and stands in its place.
        let mut list = view.refusals.clone();
        list.rotate_right(1);
        view.refusals(Ok(list));
        let acts = press(
            &mut view,
            &[
                KeyCode::Enter,
                KeyCode::Char('n'),
                KeyCode::Char('o'),
                KeyCode::Enter,
            ],
        );
        let draft = Draft {
            id: "00000002".to_owned(),
            reason: "no".to_owned(),
            ..Draft::default()
        };
        assert_eq!(acts.last(), Some(&Act::Answer(draft)));
        assert_eq!(press(&mut view, &[KeyCode::Char('q')]), [Act::End]);
    }
}
