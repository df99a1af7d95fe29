//! Keys that are long or taken apart, and places in objects where nobody looks: none may reach the upstream.

use crate::corpus::{self, Case, Clone, Push};
use crate::rig::Kind;

const HIDDEN: &[Case] = &[
    Case {
        name: "a PGP key of 150 KB",
        make: |c| c.file("key.asc", armored("PGP PRIVATE KEY BLOCK", "", 2400)),
    },
    Case {
        name: "a key behind 100 KB of headers",
        make: |c| {
            let headers = "Comment: a header as RFC 1421 has them\n".repeat(2600) + "\n";
            c.file("key.txt", armored("RSA PRIVATE KEY", &headers, 20))
        },
    },
    Case {
        name: "a key with its digits set apart between the literals of its first and last line",
        make: |c| {
            let apart = DIGITS
                .replace('\n', " ")
                .split("")
                .collect::<Vec<_>>()
                .join(" ");
            c.file(
                "conf/pem.rs",
                corpus::key_literals(&(apart + "\n").repeat(3)),
            )
        },
    },
    Case {
        name: "another PKCS #12 file where the upstream has one",
        make: |c| c.file("conf/old.p12", [0x30, 0x82, 0x0a, 0x11, 2, 1, 3, 9]),
    },
    Case {
        name: "the id of a submodule",
        make: |c| {
            let id: String = aws(&c.secret)
                .bytes()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let entry = format!("160000,{id},lib");
            c.git(&["update-index", "--add", "--cacheinfo", &entry]);
            c.git(&["commit", "-q", "-m", "lib"]);
            Push::head()
        },
    },
    Case {
        name: "the path of a file that the upstream has",
        make: |c| {
            let path = hook(c);
            let folder = path.rsplit_once('/').unwrap().0;
            std::fs::create_dir_all(c.work.path().join(folder)).unwrap();
            c.git(&["mv", "README", &path]);
            c.git(&["commit", "-q", "-m", "move"]);
            Push::head()
        },
    },
    Case {
        name: "the last of many paths of one file",
        make: |c| {
            for number in 0..20 {
                c.work.write(&format!("a{number}"), "the same");
            }
            c.file(&hook(c), "the same")
        },
    },
];

const DIGITS: &str = "MIIEowIBAAKCAQEAx4fT9pQ2mK7vR1sW8nB3cD5eF6gH\n";

/// A block that is none, of so many lines.
fn armored(kind: &str, headers: &str, lines: usize) -> String {
    let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} {kind}-----\n"));
    [&begin, headers, &DIGITS.repeat(lines), &end].concat()
}

/// A key of AWS, which has as many letters as an id has bytes.
fn aws(secret: &str) -> String {
    let letters = secret
        .to_uppercase()
        .replace(['0', '1', '8', '9', '_'], "Q");
    ["AK", "IA", &letters[6..22]].concat()
}

/// An address that is a secret only as a whole.
fn hook(c: &Clone) -> String {
    let word = &c.secret[4..];
    let upper = word.to_uppercase();
    format!(
        "hooks.slack.com/services/T{}/B{}/{}",
        &upper[..9],
        &upper[9..18],
        &word[..24]
    )
}

#[test]
fn hidden_secrets_are_refused() {
    assert_eq!(corpus::run(Kind::Init, HIDDEN, true), [""; 0]);
}
