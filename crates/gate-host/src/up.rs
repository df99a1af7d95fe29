//! A gate for a person without an orchestrator: prepared, run, and taken back, in one command.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use git_gate::serving_lock;

use super::interrupt::Interrupt;
use super::manifest::Manifest;
use super::prepare;
use super::revoke::{Revocation, revoke};
use super::running_gate::{Gate, mirrors};
use super::stage::StageError;

pub use super::running_gate::Options;
pub use super::up_error::UpError;

/// What is left when [`up`] returns.
#[derive(Debug)]
pub struct Down {
    /// How the gate ended: as it was asked, or why not.
    pub gate: Result<(), UpError>,
    /// What became of the deploy keys.
    pub revoked: Result<Vec<Revocation>, StageError>,
}

/// Prepares `manifest`, runs the gate until `interrupt` is raised or the gate ends, and revokes the
/// deploy keys in either case. `serving` hears when agents can begin.
pub fn up(
    manifest: &Manifest,
    options: &Options,
    interrupt: &Interrupt,
    say: &mut dyn FnMut(&str),
    serving: &mut dyn FnMut(),
) -> Result<Down, UpError> {
    let gate = Gate::find(options)?;
    check_free(&options.folder)?;
    gate.check_name()?;
    make_mirrors(&options.folder)?;
    let stage = options.folder.join("stage");
    let (slug, patience) = (&options.slug, &options.patience);
    // The stage stays locked for as long as the gate serves: a second run would take its keys.
    let (plan, stage) = prepare::prepare(manifest, slug, &stage, patience, interrupt, say)?;
    let ended = gate.run(&plan, manifest, options, interrupt, serving);
    say("the gate has ended; revoking its deploy keys");
    Ok(Down {
        gate: ended,
        revoked: revoke(manifest, &stage, patience),
    })
}

/// Refuses a directory whose gate still serves: one outlives a gate-host that was killed, and its deploy
/// keys would be replaced under it.
fn check_free(folder: &Path) -> Result<(), UpError> {
    let path = mirrors(folder);
    match serving_lock::servers_of(&path).first() {
        Some(&process) => Err(UpError::Serving { path, process }),
        None => Ok(()),
    }
}

/// Makes the directory of the mirrors, which the gate alone may enter.
fn make_mirrors(folder: &Path) -> Result<(), UpError> {
    let path = mirrors(folder);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|source| UpError::Folder { path, source })
}
