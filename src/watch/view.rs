//! What is shown and chosen, and what a key does. Nothing here knows of a terminal but its keys.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::Heard;
use crate::audit::Event;
use crate::refusals::desk::Decision;
use crate::refusals::{Record, RefusalsError};
use crate::serve::watchers::{Now, Word};
use crate::text;

/// The events that are kept.
const MOST: usize = 500;

/// The longest reason, in characters: as much as an exception's line holds.
const LONGEST: usize = 400;

/// What the user sees.
#[derive(Debug, Default)]
pub struct View {
    /// What happened, the last in front.
    pub events: VecDeque<Event>,
    /// How the gate is; `None` where none answers.
    pub now: Option<Now>,
    /// The refusals, those without an answer in front.
    pub refusals: Vec<Record>,
    /// The id of the chosen refusal: the list moves while somebody reads.
    chosen: Option<String>,
    /// What the keys are for.
    pub mode: Mode,
    /// What the last answer came to.
    pub told: String,
}

/// What the keys are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Choosing a refusal.
    #[default]
    Look,
    /// Reading one.
    Read,
    /// Answering one.
    Answer(Draft),
}

/// An answer that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The refusal.
    pub id: String,
    /// Whether it may pass.
    pub accepted: bool,
    /// Whether once alone.
    pub once: bool,
    /// Why.
    pub reason: String,
}

impl Draft {
    /// The decision, once somebody has said so.
    pub fn by(self, by: &str) -> Decision {
        Decision {
            accepted: self.accepted,
            by: by.to_owned(),
            reason: self.reason,
            until: None,
            once: self.once,
        }
    }
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing but to be shown.
    Nothing,
    /// The end.
    End,
    /// An answer.
    Answer(Draft),
}

impl View {
    /// What the gate tells.
    pub fn hear(&mut self, word: Heard) {
        match word {
            None => self.now = None,
            Some(Word::Now(now)) => self.now = Some(now),
            Some(Word::Event(event)) => {
                // A gate that is asked anew tells its past again.
                if !self.events.contains(&event) {
                    self.events.push_front(*event);
                    self.events.truncate(MOST);
                }
            }
        }
    }

    /// The refusals as they are kept now.
    pub fn refusals(&mut self, list: Result<Vec<Record>, RefusalsError>) {
        match list {
            Ok(mut list) => {
                list.sort_by_key(|record| record.answer.is_some());
                self.refusals = list;
            }
            Err(error) => self.told = text::chain(&error),
        }
    }

    /// The chosen refusal's place; the first where the chosen one is gone.
    pub fn place(&self) -> usize {
        let chosen = self.chosen.as_ref();
        let mut ids = self.refusals.iter().map(|record| &record.id);
        ids.position(|id| Some(id) == chosen).unwrap_or(0)
    }

    /// The chosen refusal.
    pub fn chosen(&self) -> Option<&Record> {
        self.refusals.get(self.place())
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Act {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            let is_end = key.code == KeyCode::Char('c');
            return if is_end { Act::End } else { Act::Nothing };
        }
        self.told.clear();
        match std::mem::take(&mut self.mode) {
            Mode::Answer(draft) => self.write(draft, key.code),
            mode => self.choose(mode, key.code),
        }
    }

    fn choose(&mut self, mode: Mode, key: KeyCode) -> Act {
        let place = self.place();
        let reads = mode == Mode::Read;
        self.mode = mode;
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.go(place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.go(place + 1),
            KeyCode::Enter if reads => self.mode = Mode::Look,
            KeyCode::Enter if self.chosen().is_some() => {
                self.go(place);
                self.mode = Mode::Read;
            }
            KeyCode::Char('a') => self.draft(true),
            KeyCode::Char('d') => self.draft(false),
            KeyCode::Esc if reads => self.mode = Mode::Look,
            KeyCode::Char('q') | KeyCode::Esc => return Act::End,
            _ => {}
        }
        Act::Nothing
    }

    fn go(&mut self, place: usize) {
        let last = self.refusals.len().saturating_sub(1);
        let record = self.refusals.get(place.min(last));
        self.chosen = record.map(|record| record.id.clone());
    }

    fn draft(&mut self, accepted: bool) {
        if let Some(record) = self.chosen() {
            let id = record.id.clone();
            self.chosen = Some(id.clone());
            self.mode = Mode::Answer(Draft {
                id,
                accepted,
                ..Draft::default()
            });
        }
    }

    fn write(&mut self, mut draft: Draft, key: KeyCode) -> Act {
        match key {
            KeyCode::Esc => return Act::Nothing,
            KeyCode::Enter if !draft.reason.trim().is_empty() => return Act::Answer(draft),
            KeyCode::Tab if draft.accepted => draft.once = !draft.once,
            KeyCode::Backspace => drop(draft.reason.pop()),
            KeyCode::Char(character) if draft.reason.chars().count() < LONGEST => {
                draft.reason.push(character);
            }
            _ => {}
        }
        self.mode = Mode::Answer(draft);
        Act::Nothing
    }
}
