//! What the image's binaries are built from.

use std::process::Command;

/// The crates that `package` is built from, one a line.
fn crates(package: &str) -> String {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges=normal", "--prefix=none"])
        .args(["--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    String::from_utf8(tree.stdout).unwrap()
}

#[test]
fn the_image_is_built_without_an_http_client_and_without_tls() {
    let (image, host) = (crates("git-gate"), crates("gate-host"));
    for name in ["ureq", "rustls", "ring", "ssh-key"] {
        let line = format!("{name} v");
        let has = |tree: &str| tree.lines().any(|one| one.starts_with(&line));
        assert!(has(&host), "gate-host is built without {name}");
        assert!(!has(&image), "the image is built with {name}");
    }
}
