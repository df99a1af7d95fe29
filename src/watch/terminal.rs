//! The terminal: what is shown, which key was pressed, and the answer that follows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::flag;

use super::feed::Feed;
use super::screen;
use super::view::{Act, View};
use crate::refusals::desk::{self, Decision};
use crate::serve::Options;
use crate::text;

/// How long a key is waited for, until what happened meanwhile is shown.
const LOOK: Duration = Duration::from_millis(200);

/// How often the refusals are read: they are files, and hooks write them.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows what happens and takes answers, said by `by`, until the user or a signal ends it.
pub fn run(options: &Options, by: &str) -> io::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&ended))?;
    }
    let mut terminal = ratatui::try_init()?;
    let result = show(&mut terminal, options, by, &ended);
    ratatui::try_restore()?;
    result
}

fn show(
    terminal: &mut DefaultTerminal,
    options: &Options,
    by: &str,
    ended: &AtomicBool,
) -> io::Result<()> {
    let feed = Feed::start(&options.run_dir)?;
    let mut view = View::default();
    let mut read: Option<Instant> = None;
    while !ended.load(Ordering::Relaxed) {
        feed.words().for_each(|word| view.hear(word));
        if read.is_none_or(|read| read.elapsed() > PAUSE) {
            view.refusals(desk::list(&options.base_path, None));
            read = Some(Instant::now());
        }
        terminal.draw(|frame| screen::draw(&view, frame))?;
        if !event::poll(LOOK)? {
            continue;
        }
        let Event::Key(key) = event::read()? else {
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match view.key(key) {
            Act::Nothing => {}
            Act::End => break,
            Act::Answer(draft) => {
                view.told = answer(options, &draft.id.clone(), draft.by(by));
                read = None;
            }
        }
    }
    Ok(())
}

/// Answers a refusal, and says in words what came of it.
fn answer(options: &Options, id: &str, decision: Decision) -> String {
    let (base_path, run_dir) = (&options.base_path, &options.run_dir);
    let log = options.audit_log.as_deref();
    let (record, is_recorded) = match desk::answer(base_path, run_dir, log, id, decision) {
        Ok(answered) => answered,
        Err(error) => return text::chain(&error),
    };
    let unrecorded = if is_recorded {
        ""
    } else {
        ", and the audit log has no line of it"
    };
    format!("{} is {}{unrecorded}", record.id, record.answered())
}
