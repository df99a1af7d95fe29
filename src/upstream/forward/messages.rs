//! What the upstream says while it takes a push, line by line.

use crate::text;

/// How many lines of the upstream's are shown to the agent.
const MESSAGE_LINES: usize = 40;

/// How much of one is kept until its end has come.
const LINE_BYTES: usize = 4096;

/// What the upstream says: git's `remote: ` lines, as they come.
pub(super) struct Messages<'a> {
    hear: &'a mut dyn FnMut(String),
    /// A line that is not whole yet.
    line: Vec<u8>,
    /// How many more are passed on. Nobody may be reading, and a full pipe would stop the push.
    left: usize,
}

impl<'a> Messages<'a> {
    pub fn new(hear: &'a mut dyn FnMut(String)) -> Self {
        Self {
            hear,
            line: Vec::new(),
            left: MESSAGE_LINES,
        }
    }

    pub fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n' || byte == b'\r') {
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") || part.ends_with(b"\r") {
                self.pass_on();
            }
        }
    }

    fn pass_on(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = text::lines(&line).next().unwrap_or_default();
        let said = line.strip_prefix("remote:").map(str::trim);
        if let Some(said) = said.filter(|said| !said.is_empty() && self.left > 0) {
            self.left -= 1;
            (self.hear)(said.to_owned());
        }
    }
}
