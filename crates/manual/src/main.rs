//! `manual SHARE`: writes the man pages and the shell completions of the four programs below the
//! directory SHARE, where man-db, bash-completion, zsh and fish look for them. A program of its own, so
//! that no installed one carries what writes them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use gate_host::command_line::GateHost;
use git_gate::command_line::{AccessHook, GateInit, PRE_RECEIVE, PRE_RECEIVE_EXIT_CODES};

/// Where each shell looks below `share`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(share), None) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: manual SHARE"));
    };
    let share = PathBuf::from(share);
    programs().into_iter().try_for_each(|it| write(it, &share))
}

fn programs() -> [Command; 4] {
    let pre_receive = Command::new("gate-pre-receive")
        .version(env!("CARGO_PKG_VERSION"))
        .about(PRE_RECEIVE.lines().next())
        .long_about(PRE_RECEIVE)
        .after_help(PRE_RECEIVE_EXIT_CODES);
    [
        GateInit::command(),
        AccessHook::command(),
        pre_receive,
        GateHost::command(),
    ]
}

/// Writes the pages of `program` and of its subcommands, and its completions.
fn write(mut program: Command, share: &Path) -> io::Result<()> {
    let pages = made(share, "man/man1")?;
    clap_mangen::generate_to(program.clone(), pages)?;
    let name = program.get_name().to_owned();
    for (shell, directory) in COMPLETIONS {
        let directory: OsString = made(share, directory)?.into();
        clap_complete::generate_to(shell, &mut program, &name, directory)?;
    }
    // bash-completion loads a file by the bare name of the command.
    let bash = share.join(COMPLETIONS[0].1);
    fs::rename(bash.join(format!("{name}.bash")), bash.join(name))
}

fn made(share: &Path, directory: &str) -> io::Result<PathBuf> {
    let path = share.join(directory);
    fs::create_dir_all(&path)?;
    Ok(path)
}
