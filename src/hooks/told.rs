//! What a hook tells: the client in lines, the operator in an event.

use std::io::Write;

use anyhow::Result;

use crate::audit::{Kind, Recorder};
use crate::push::PolicyError;
use crate::text;

/// Records what was `done`, or why it was not.
pub(super) fn finish(recorder: Recorder, done: Kind, result: &Result<()>) {
    let Err(error) = result else {
        return recorder.finish(done, None);
    };
    let kind = match error.is::<PolicyError>() {
        true => Kind::Policy,
        false => Kind::Refusal,
    };
    recorder.finish(kind, Some(text::line(format!("{error:#}").as_bytes())));
}

/// Shows one line to the client. A client that is gone does not stop a push that is under way.
pub(super) fn say(terminal: &mut impl Write, line: &str) {
    let _ = writeln!(terminal, "git-gate: {line}");
}

/// Shows why a push or a fetch is refused: one line, the chain of causes in it.
pub fn refuse(terminal: &mut impl Write, error: &anyhow::Error) {
    say(terminal, &text::line(format!("{error:#}").as_bytes()));
}
