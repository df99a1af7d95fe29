//! Puts the gate's own rules into one text, without what only readers and tests need.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a line begins with that no scan needs: comments and examples.
const LEFT_OUT: [&str; 3] = ["#", "finds = ", "passes = "];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=rules");
    let entries = fs::read_dir("rules")?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    files.sort();
    let mut tables = String::new();
    let mut templates = String::new();
    for file in files {
        // Keys that stand in no table come first in TOML.
        let text = fs::read_to_string(file)?;
        let first_table = text.find("\n[[").unwrap_or(text.len());
        let (head, rest) = text.split_at(first_table);
        keep(head, &mut templates);
        keep(rest, &mut tables);
    }
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("rules.toml"), templates + &tables)
}

fn keep(text: &str, out: &mut String) {
    let is_kept =
        |line: &&str| !line.is_empty() && !LEFT_OUT.iter().any(|start| line.starts_with(start));
    for line in text.lines().filter(is_kept) {
        let _ = writeln!(out, "{line}");
    }
}
