//! The operator's side: what runs on their machine, before, beside and after a gate. A crate of its own,
//! so that the image's build has no HTTP client and no TLS.
//!
//! | file            | what it holds                                                     |
//! |-----------------|-------------------------------------------------------------------|
//! | [`command_line`] | options and arguments                                            |
//! | [`manifest`]    | the git part of a bottle: read, checked                           |
//! | [`plan`]        | what will be done, as text and JSON                               |
//! | [`prepare`]     | the stage filled, deploy keys registered                          |
//! | [`revoke`]      | deploy keys taken back                                            |
//! | [`stage`]       | the directory that the gate mounts                                   |
//! | [`forge`]       | deploy keys on Gitea, Forgejo, GitHub, GitLab                     |
//! | [`key_pair`]    | private keys                                                      |
//! | [`host_key`]    | host keys: pinned, scanned                                        |
//! | [`gitconfig`]   | the agent's rules                                                 |
//! | [`up`]          | all of it around a running gate                                   |
//! | [`interrupt`]   | Ctrl-C as a flag                                                  |

pub mod command_line;
pub mod forge;
pub mod gitconfig;
pub mod host_key;
pub mod interrupt;
pub mod key_pair;
pub mod manifest;
mod needs;
pub mod plan;
pub mod prepare;
pub mod prepare_error;
pub mod revoke;
mod running_gate;
pub mod stage;
pub mod up;
mod up_error;
