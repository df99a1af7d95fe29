//! Packs the gate's own rules into one text, without what only readers and tests need, and keeps what no
//! release reads out of its programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// What a line begins with that no scan needs: comments and examples.
const LEFT_OUT: [&str; 3] = ["#", "finds = ", "passes = "];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=rules");
    println!("cargo::rerun-if-changed=build.rs");
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
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all((templates + &tables).as_bytes())?;
    fs::write(out.join("rules.toml.zlib"), packed.finish()?)?;
    leave_out_unwind_tables(&out.join("no-unwind-tables.ld"))
}

/// A release aborts at a panic, so the tables by which it would unwind are never read; they are a tenth of
/// a program. The compiler has no switch for those of C and of the standard library, the linker has.
fn leave_out_unwind_tables(script: &Path) -> io::Result<()> {
    let is = |variable, value: &str| env::var_os(variable).is_some_and(|found| found == value);
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return Ok(());
    }
    // Put into the linker's own script (ld(1), INSERT).
    let discarded = "*(.eh_frame) *(.gcc_except_table .gcc_except_table.*)";
    let text = format!("SECTIONS {{ /DISCARD/ : {{ {discarded} }} }} INSERT AFTER .text;\n");
    fs::write(script, text)?;
    let script = format!("-T{}", script.display());
    // And the places that the loader moves with the program, each in a bit instead of 24 bytes: glibc
    // reads that since 2.36, Debian's of 2023.
    let relocations = "-Wl,-z,pack-relative-relocs";
    for argument in [&script, "-Wl,--no-eh-frame-hdr", relocations] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    Ok(())
}

fn keep(text: &str, out: &mut String) {
    let is_kept =
        |line: &&str| !line.is_empty() && !LEFT_OUT.iter().any(|start| line.starts_with(start));
    for line in text.lines().filter(is_kept) {
        let _ = writeln!(out, "{line}");
    }
}
