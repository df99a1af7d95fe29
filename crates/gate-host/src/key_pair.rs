//! ssh private keys: made for one gate, or the operator's own, looked at before they are copied.

use std::ops::Deref;

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

/// A fresh ed25519 key pair.
pub struct KeyPair(PrivateKey);

impl KeyPair {
    /// Makes a pair from the system's randomness; `title` becomes its comment.
    pub fn generate(title: &str) -> Result<Self, ssh_key::Error> {
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
        key.set_comment(title);
        Ok(Self(key))
    }

    /// The private key in OpenSSH's own format (its PROTOCOL.key), without passphrase. The text is
    /// wiped from memory when it is dropped.
    pub fn private(&self) -> Result<impl Deref<Target = String> + use<>, ssh_key::Error> {
        self.0.to_openssh(LineEnding::LF)
    }

    /// The public key as one line: type, base64, title.
    pub fn public(&self) -> Result<String, ssh_key::Error> {
        self.0.public_key().to_openssh()
    }
}

/// What keeps the gate, which asks nobody for a passphrase, from using the private key in
/// `content`; `None` when nothing is known against it. Old formats are ssh's to judge.
pub fn problem(content: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(content);
    if !text.contains("PRIVATE KEY-----") {
        let public = ["ssh-", "ecdsa-", "sk-"]
            .iter()
            .any(|kind| text.starts_with(kind));
        return Some(if public {
            "is a public key; the private one has the same name without .pub"
        } else {
            "is not a private key"
        });
    }
    let openssh = PrivateKey::from_openssh(content).is_ok_and(|key| key.is_encrypted());
    // PEM (RFC 1421) and PKCS#8 (RFC 5958) say so in words.
    (openssh || text.contains("ENCRYPTED"))
        .then_some("has a passphrase, which nobody can type into a gate; use a key without one")
}
