//! Honest pushes: only what is new refuses.

use crate::corpus::{self, Case, Clone, Push, raw, utf16};
use crate::evasion::{base64, gzip};
use crate::rig::Kind;

const HONEST: &[Case] = &[
    Case {
        name: "another line of a file with an old secret",
        make: |c| {
            c.file(
                "conf/old.env",
                format!("# settings\nTOKEN={}\nNAME=y\n", Clone::old_secret()),
            )
        },
    },
    Case {
        name: "a line moved in a file with an old secret",
        make: |c| {
            c.file(
                "conf/old.env",
                format!("NAME=x\n# settings\nTOKEN={}\n", Clone::old_secret()),
            )
        },
    },
    Case {
        name: "another line of a UTF-16 file with an old secret",
        make: |c| {
            c.file(
                "conf/old.txt",
                utf16(&format!("TOKEN={}\nNAME=y\n", Clone::old_secret())),
            )
        },
    },
    Case {
        name: "a file with an old secret renamed",
        make: |c| {
            c.git(&["mv", "conf/old.env", "conf/new.env"]);
            c.file("README", "renamed\n")
        },
    },
    Case {
        name: "a file with an old secret renamed and changed",
        make: |c| {
            c.git(&["mv", "conf/old.env", "new.env"]);
            c.file(
                "new.env",
                format!("# renamed\nTOKEN={}\nNAME=x\n", Clone::old_secret()),
            )
        },
    },
    Case {
        name: "a folder with an old secret renamed",
        make: |c| {
            c.git(&["mv", "conf", "etc"]);
            c.file("README", "renamed\n")
        },
    },
    Case {
        name: "an old secret copied into another file",
        make: |c| c.file("copy.env", format!("TOKEN={}\n", Clone::old_secret())),
    },
    Case {
        name: "an old secret in base64 moved into another file",
        make: |c| {
            let [old, ..] = Clone::encoded_secrets();
            let digits = base64(format!("TOKEN={old}").as_bytes());
            c.git(&["rm", "-q", "conf/old.b64"]);
            c.file("settings.txt", format!("# moved\nnew: {digits}\n"))
        },
    },
    Case {
        name: "a UTF-16 file with an old secret renamed and changed",
        make: |c| {
            let [_, old, _] = Clone::encoded_secrets();
            c.git(&["mv", "conf/wide.txt", "wide.txt"]);
            c.file("wide.txt", utf16(&format!("TOKEN={old}\nNAME=y\n")))
        },
    },
    Case {
        name: "a compressed file with an old secret renamed and changed",
        make: |c| {
            let [.., old] = Clone::encoded_secrets();
            c.git(&["mv", "conf/old.gz", "new.gz"]);
            let text = "another line\n".repeat(20);
            c.file("new.gz", gzip(format!("TOKEN={old}\n{text}").as_bytes()))
        },
    },
    Case {
        name: "code between the literals of a key's first and last line",
        make: |c| {
            let code =
                "fn parsePrivateKeyFromPemString(text: &str) -> Option<Key> {\n    read(text)\n}\n";
            c.file("conf/pem.rs", corpus::key_literals(code))
        },
    },
    Case {
        name: "a new branch at an old commit",
        make: |_| Push::of(&["HEAD~2:refs/heads/case"]),
    },
    Case {
        name: "a tag on an old commit",
        make: |c| {
            c.git(&["tag", "-a", "-m", "release", "tag", "HEAD~1"]);
            Push::tag()
        },
    },
    Case {
        name: "a merge of two branches from old commits",
        make: |c| {
            c.git(&["checkout", "-q", "-b", "side", "HEAD~2"]);
            c.work.commit("side.txt", "side\n", "side");
            c.git(&["merge", "-q", "--no-edit", "main"]);
            Push::head()
        },
    },
    Case {
        name: "a revert that brings an old file back",
        make: |c| {
            c.git(&["revert", "--no-edit", "HEAD"]);
            Push::head()
        },
    },
    Case {
        name: "a revert that brings an old secret back, changed since",
        make: |c| {
            c.git(&["revert", "--no-commit", "HEAD"]);
            c.file("gone.env", format!("KEY={}\nA=2\n", Clone::gone_secret()))
        },
    },
    Case {
        name: "a revert whose message repeats an old secret",
        make: |c| {
            c.work
                .commit("x", "x", &format!("Revert \"add {}\"", Clone::old_secret()));
            Push::head()
        },
    },
    Case {
        name: "an old commit cherry-picked onto an older branch",
        make: |c| {
            c.git(&["checkout", "-q", "-b", "older", "HEAD~3"]);
            c.work.commit("other", "other\n", "other");
            c.git(&["cherry-pick", "main~2"]);
            Push::of(&["HEAD:refs/heads/case"])
        },
    },
    Case {
        name: "a lock file full of checksums",
        make: |c| {
            let entry = |n: u64| {
                let sum = hex(n, 64);
                format!(
                    "\"node_modules/auth-token-{n}\": {{\"integrity\": \"sha512-{sum}\", \"token\": \"{sum}\"}},\n"
                )
            };
            c.file(
                "web/package-lock.json",
                (0..50).map(entry).collect::<String>(),
            )
        },
    },
    Case {
        name: "go.sum",
        make: |c| {
            let entry = |n: u64| format!("example.com/auth/key v1.0.{n} h1:{}=\n", hex(n, 43));
            c.file("go.sum", (0..50).map(entry).collect::<String>())
        },
    },
    Case {
        name: "minified code and its map",
        make: |c| {
            let code = format!("var token=\"{}\",key='{}';", hex(1, 40), hex(2, 32));
            c.work.write("dist/app.min.js.map", &code);
            c.file("dist/app.min.js", code)
        },
    },
    Case {
        name: "an svg with random-looking attributes",
        make: |c| {
            c.file(
                "a.svg",
                format!("<svg><path key=\"{}\"/></svg>", hex(7, 40)),
            )
        },
    },
    Case {
        name: "checksums",
        make: |c| {
            c.file(
                "SHA256SUMS",
                (0..9)
                    .map(|n| format!("{}  key-{n}.tar.gz\n", hex(n, 64)))
                    .collect::<String>(),
            )
        },
    },
    Case {
        name: "random bytes",
        make: |c| {
            let mut state = 1u64;
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .take(300_000)
            .collect();
            c.file("random.bin", bytes)
        },
    },
    Case {
        name: "a certificate and a public key",
        make: |c| {
            let body = format!("{}\n", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A").repeat(12);
            let block =
                |kind: &str| format!("-----BEGIN {kind}-----\n{body}-----END {kind}-----\n");
            c.file("ca.pem", block("CERTIFICATE") + &block("PUBLIC KEY"))
        },
    },
    Case {
        name: "a beginning of a key in one file and an end in another",
        make: |c| {
            let text = "words ".repeat(30);
            c.work.write(
                "a.md",
                format!(
                    "{text}\n{}",
                    ["-----BEGIN RSA ", "PRIVATE KEY-----"].concat()
                ),
            );
            c.file(
                "b.md",
                format!("{}\n{text}", ["-----END RSA ", "PRIVATE KEY-----"].concat()),
            )
        },
    },
    Case {
        name: "a key's name in one file and a random value in the next",
        make: |c| {
            c.work.write("n1", "the secret_key =");
            c.file("n2", format!("{}\n", hex(9, 40)))
        },
    },
    Case {
        name: "environment variables and placeholders for secrets",
        make: |c| {
            c.file(
                "run.sh",
                "export TOKEN=\"$GITHUB_TOKEN\"\nKEY=${API_KEY}\npassword: {{ vault_password }}\n",
            )
        },
    },
    Case {
        name: "an empty commit, an empty file, a mode change, a symlink",
        make: |c| {
            c.git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
            std::os::unix::fs::symlink("notes.txt", c.work.path().join("link")).unwrap();
            c.git(&["update-index", "--chmod=+x", "notes.txt"]);
            c.file("empty", "")
        },
    },
    Case {
        name: "a submodule",
        make: |c| {
            c.git(&[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("160000,{},lib", "1".repeat(40)),
            ]);
            c.git(&["commit", "-q", "-m", "lib"]);
            Push::head()
        },
    },
    Case {
        name: "another root",
        make: |c| {
            c.git(&["checkout", "-q", "--orphan", "pages"]);
            c.git(&["rm", "-rfq", "."]);
            c.file("index.html", "<p>hi</p>\n")
        },
    },
    Case {
        name: "a time zone of six figures, as a commit of 2011 in psf/requests has it",
        make: |c| raw(c, c.raw_commit("", "x").replace("+0000", "+051800")),
    },
    Case {
        name: "no space between an author's address and the date",
        make: |c| raw(c, c.raw_commit("", "x").replace("> 17", ">17")),
    },
    Case {
        name: "notes",
        make: |c| {
            c.git(&["notes", "add", "-m", "seen"]);
            Push::of(&["refs/notes/commits:refs/notes/commits"])
        },
    },
];

/// Something that looks like a checksum.
fn hex(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let digit = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b"0123456789abcdef"[(state >> 60) as usize])
    });
    digit.take(length).collect()
}

#[test]
fn honest_pushes_pass() {
    assert_eq!(corpus::run(Kind::Init, HONEST, false), [""; 0]);
}
