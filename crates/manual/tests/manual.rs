//! The manual and the completions, as they are installed.

use std::fs;
use std::process::Command;

#[test]
fn each_program_and_subcommand_has_a_page_and_bash_completes_them() {
    let share = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_manual"))
        .arg(share.path())
        .status();
    assert!(made.unwrap().success());

    for (page, said) in [
        ("gate-init", "\\fBGIT_GATE_CREDS_DIR\\fR"),
        ("gate-init-accept", "\\-\\-until"),
        ("gate-access-hook", "informative\\-errors"),
        ("gate-pre-receive", "git\\-gate.identityFile"),
        ("gate-host-scan-host-key", "\\-\\-yes\\-i\\-compared"),
    ] {
        let path = share.path().join(format!("man/man1/{page}.1"));
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(said), "{page} is silent on {said}:\n{text}");
    }

    let script = r#". "$1"/gate-init && COMP_WORDS=(gate-init ref) COMP_CWORD=1
        [[ $(complete -p gate-init) =~ -F\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" gate-init ref gate-init
        echo "${COMPREPLY[@]}""#;
    let completed = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(share.path().join("bash-completion/completions"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&completed.stdout),
        "refusals\n",
        "{completed:?}"
    );
    for other in [
        "zsh/site-functions/_gate-host",
        "fish/vendor_completions.d/gate-host.fish",
    ] {
        let text = fs::read_to_string(share.path().join(other)).unwrap();
        assert!(text.contains("scan-host-key"), "{other}");
    }
}
