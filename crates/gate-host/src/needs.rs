//! What each upstream needs, found before anything is touched.

use std::fs;
use std::path::Path;

use git_gate::text;

use super::forge::{Collection, Token};
use super::key_pair;
use super::manifest::{Credential, Entry, ProvisionedKey};
use super::plan;
use super::prepare_error::PrepareError;
use super::stage;

/// The largest file of the operator that is copied, in bytes. Keys are below 16 KiB; gitleaks' own
/// rules are 100 KB.
const FILE_LIMIT: u64 = 1 << 20;

/// What one upstream needs, found before anything is touched.
pub(crate) struct Needs {
    /// Files of the stage and their content, copied from the operator's.
    pub(crate) copies: Vec<(String, Vec<u8>)>,
    /// Where a deploy key will be registered, and the token for it.
    pub(crate) deploy: Option<(Collection, Token)>,
}

impl Needs {
    pub(crate) fn gather(entry: &Entry) -> Result<Self, PrepareError> {
        let name = &entry.name;
        let mut copies = Vec::new();
        let mut deploy = None;
        match &entry.credential {
            Credential::IdentityFile(path) => {
                copies.push((stage::key_file(name), read_identity(name, path)?));
            }
            Credential::Token { file, ca } => {
                copies.push((stage::token_file(name), read_token(name, file)?));
                if let Some(ca) = ca {
                    copies.push((stage::ca_file(name), read_file(name, "ca_file", ca)?));
                }
            }
            Credential::Provisioned(key) => {
                deploy = Some((plan::collection(entry, key)?, token(name, key)?));
            }
        }
        for (key, path, staged) in [
            (
                "gitleaks_config",
                &entry.gitleaks_config,
                stage::gitleaks_file(name),
            ),
            (
                "exceptions",
                &entry.exceptions,
                stage::exceptions_file(name),
            ),
        ] {
            if let Some(path) = path {
                copies.push((staged, read_file(name, key, path)?));
            }
        }
        Ok(Self { copies, deploy })
    }
}

fn token(name: &str, key: &ProvisionedKey) -> Result<Token, PrepareError> {
    Token::from_env(&key.token_env).map_err(|source| PrepareError::Forge {
        name: name.to_owned(),
        source,
    })
}

/// The content of an identity file that the gate will be able to use.
fn read_identity(name: &str, path: &Path) -> Result<Vec<u8>, PrepareError> {
    let content = read_file(name, "identity_file", path)?;
    match key_pair::problem(&content) {
        Some(problem) => Err(file_error(name, "identity_file", path, problem.to_owned())),
        None => Ok(content),
    }
}

/// The content of a token file that the gate will be able to use.
fn read_token(name: &str, path: &Path) -> Result<Vec<u8>, PrepareError> {
    let content = read_file(name, "token_file", path)?;
    let token = content.trim_ascii();
    match !token.is_empty() && token.iter().all(u8::is_ascii_graphic) {
        true => Ok(content),
        false => {
            let problem = "must hold one token and nothing else".to_owned();
            Err(file_error(name, "token_file", path, problem))
        }
    }
}

/// The content of a file that the manifest names under `key`.
fn read_file(name: &str, key: &'static str, path: &Path) -> Result<Vec<u8>, PrepareError> {
    let refuse = |problem| file_error(name, key, path, problem);
    let unreadable = |error| refuse(format!("cannot be read: {error}"));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse("is not a file".to_owned()));
    }
    if metadata.len() > FILE_LIMIT {
        return Err(refuse(format!("is larger than {}", text::size(FILE_LIMIT))));
    }
    fs::read(path).map_err(unreadable)
}

fn file_error(name: &str, key: &'static str, path: &Path, problem: String) -> PrepareError {
    PrepareError::File {
        name: name.to_owned(),
        key,
        path: path.to_owned(),
        problem,
    }
}
