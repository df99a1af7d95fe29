//! What is wrong with a file that is to be an ssh private key, before ssh says "error in libcrypto".
//! Nothing of its content is shown.

/// How an OpenSSH key without a passphrase begins: `openssh-key-v1`, NUL, and the length of the cipher's
/// name, `none`, with the start of that (openssh, PROTOCOL.key).
const UNLOCKED: &[u8] = b"b3BlbnNzaC1rZXktdjEAAAAABG5v";

/// What is wrong with `content`, and what to do about it.
pub fn problem(content: &[u8]) -> Option<&'static str> {
    let has = |words: &str| memchr::memmem::find(content, words.as_bytes()).is_some();
    let is_public = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|start| content.starts_with(start.as_bytes()));
    if is_public || has("-----BEGIN SSH2 PUBLIC KEY") || has("-----BEGIN PUBLIC KEY") {
        return Some("it is a public key; the private one has the same name without .pub");
    }
    if !has("PRIVATE KEY-----") {
        return Some("it is no private key as ssh-keygen makes it");
    }
    if content.contains(&b'\r') {
        return Some("its lines end with CR LF; write them with LF alone");
    }
    if !content.ends_with(b"\n") {
        return Some("its last line has no end; add a newline");
    }
    let body = memchr::memmem::find(content, b"OPENSSH PRIVATE KEY-----\n");
    let is_locked = body.is_some_and(|at| {
        let body = &content[at + b"OPENSSH PRIVATE KEY-----\n".len()..];
        !body.is_empty() && !body.starts_with(UNLOCKED)
    });
    if is_locked || has("ENCRYPTED") {
        return Some(
            "it has a passphrase, which nobody is there to enter; take one without (ssh-keygen -p)",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn each_mistake_has_its_own_words() {
        let directory = tempfile::tempdir().unwrap();
        let key = |name: &str, passphrase: &str, more: &[&str]| {
            let path = directory.path().join(name);
            let mut command = Command::new("ssh-keygen");
            command
                .args(["-q", "-N", passphrase, "-f"])
                .arg(&path)
                .args(more);
            assert!(command.status().unwrap().success());
            std::fs::read(path).unwrap()
        };
        for (name, more) in [
            ("a", &["-t", "ed25519"][..]),
            ("b", &["-t", "rsa", "-m", "PEM"]),
        ] {
            let plain = key(name, "", more);
            assert_eq!(problem(&plain), None);
            assert!(
                problem(&plain[..plain.len() - 1])
                    .unwrap()
                    .contains("newline")
            );
            let crlf = String::from_utf8(plain).unwrap().replace('\n', "\r\n");
            assert!(problem(crlf.as_bytes()).unwrap().contains("CR LF"));
            let locked = key(&format!("{name}-locked"), "a long word", more);
            assert!(problem(&locked).unwrap().contains("passphrase"));
            let public = std::fs::read(directory.path().join(format!("{name}.pub"))).unwrap();
            assert!(problem(&public).unwrap().contains("public key"));
        }
        assert!(problem(b"word").unwrap().contains("no private key"));
    }
}
