//! gitleaks' own configuration, read out of the gitleaks that runs: the program holds it as text.
//!
//! The gate reads it, since no option of gitleaks changes a rule: where its tokens end, and what lets
//! one through, is more than an agent may be left to choose (see `ends`).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memchr::memmem::Finder;
use toml::Table;

use super::EngineError;

/// How its first line begins, in all versions so far.
const HEAD: &[u8] = b"# This file has been auto-generated. Do not edit manually.\n";

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// The longest configuration that is looked for, in bytes: ten times what it was seen to be.
const LONGEST: usize = 1 << 20;

/// Fewer rules are not all of them.
const FEWEST: usize = 100;

/// How often the text is cut where it stops to be a configuration: other text follows it.
const CUTS: usize = 8;

/// Reads it from the gitleaks at `program`.
pub(crate) fn read(program: &Path) -> Result<Table, EngineError> {
    let text = text(program).map_err(EngineError::system("read gitleaks"))?;
    let config = text.as_deref().and_then(parse);
    config.ok_or_else(|| EngineError::Foreign(program.to_owned()))
}

/// What begins with [`HEAD`] in `program`, up to a byte that is no text.
fn text(program: &Path) -> std::io::Result<Option<String>> {
    let (mut file, finder) = (File::open(program)?, Finder::new(HEAD));
    let (mut window, mut block) = (Vec::new(), vec![0; BLOCK]);
    let mut found = false;
    loop {
        let read = file.read(&mut block)?;
        window.extend_from_slice(&block[..read]);
        if !found && let Some(at) = finder.find(&window) {
            window.drain(..at);
            found = true;
        }
        let is_text = |b: &u8| matches!(b, b'\t' | b'\n' | b' '..=b'~');
        let end = window.iter().position(|b| !is_text(b));
        match (found, end) {
            (false, _) if read == 0 => return Ok(None),
            (false, _) => drop(window.drain(..window.len().saturating_sub(HEAD.len()))),
            (true, None) if read > 0 && window.len() < LONGEST => {}
            (true, end) => {
                window.truncate(end.unwrap_or(window.len()));
                return Ok(String::from_utf8(window).ok());
            }
        }
    }
}

/// The configuration that `text` begins with.
fn parse(text: &str) -> Option<Table> {
    let mut text = text;
    for _ in 0..CUTS {
        let error = match text.parse::<Table>() {
            Ok(config) => {
                let rules = config.get("rules")?.as_array()?;
                return (rules.len() >= FEWEST).then_some(config);
            }
            Err(error) => error,
        };
        let wrong = error.span()?.start;
        let line = text.get(..wrong)?.rfind('\n')?;
        text = &text[..=line];
        // The line itself may be whole but for what follows it.
        if text.len() == wrong {
            text = text.trim_end_matches('\n');
            text = &text[..=text.rfind('\n')?];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> String {
        let rule = |n| format!("[[rules]]\nid = \"{n}\"\nkeywords = [\"a\"]\n");
        let head = String::from_utf8_lossy(HEAD).into_owned();
        head + &(0..FEWEST).map(rule).collect::<String>()
    }

    #[test]
    fn it_is_found_between_other_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        for (before, behind) in [(0, "\0"), (BLOCK - 20, "no more of it"), (3 * BLOCK, "")] {
            let bytes = [vec![7; before], config().into(), behind.into()].concat();
            std::fs::write(&program, bytes).unwrap();
            let read = read(&program).unwrap();
            assert_eq!(read["rules"].as_array().unwrap().len(), FEWEST, "{before}");
        }
    }

    #[test]
    fn a_program_without_it_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        for text in ["#!/bin/sh\nexec gitleaks\n", &config()[..2000]] {
            std::fs::write(&program, text).unwrap();
            assert!(matches!(read(&program), Err(EngineError::Foreign(_))));
        }
    }
}
