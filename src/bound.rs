//! A command that ends with the process that started it, without unsafe code: our own program is started
//! in its place, told to become it (`upstream::helper_role::play_if_asked`).

use std::path::Path;
use std::process::{Command, Stdio};

/// Set: this process is to become the named program, bound to the life of its parent.
pub const AS_BOUND: &str = "GIT_GATE_BOUND";

/// `command`, started through our own `program`; its standard input is empty.
pub fn bound(command: &Command, program: &Path) -> Command {
    let mut bound = Command::new(program);
    bound.env(AS_BOUND, command.get_program());
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound.stdin(Stdio::null());
    bound
}
