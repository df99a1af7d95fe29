//! Disguises: pushes that hide a secret, none of which may reach the upstream.

use std::io::Write;

use crate::corpus::{self, Case, Clone, Push, raw, utf16};
use crate::rig::Kind;

const DISGUISES: &[Case] = &[
    Case {
        name: "a plain file",
        make: |c| c.file("a.txt", format!("token {}\n", c.secret)),
    },
    Case {
        name: "a new secret beside an old one",
        make: |c| {
            c.file(
                "conf/old.env",
                format!(
                    "# settings\nTOKEN={}\nNEW={}\n",
                    Clone::old_secret(),
                    c.secret
                ),
            )
        },
    },
    Case {
        name: "a new secret behind an old value in one match",
        make: |c| {
            // No shape of its own: only the header that it stands in tells it.
            let bearer = c.secret.replace("ghp_", "new.");
            let old = corpus::OLD_VALUE;
            let header = format!("-H \"X-Token: {old}\" -H \"Authorization: Bearer {bearer}\"");
            c.file("a.sh", format!("curl {header} https://example.com\n"))
        },
    },
    Case {
        name: "a new value behind several old ones in one Kubernetes secret",
        make: |c| {
            let (old, new) = (corpus::OLD_VALUE, base64(b"correct-horse-battery-staple"));
            let data = format!("data:\n  a: {old}\n  b: {old}\n  pin: {new}\n");
            c.file("deploy/secret.yaml", format!("kind: Secret\n{data}"))
        },
    },
    Case {
        name: "a file that a later commit removes",
        make: |c| {
            c.file("a.txt", &c.secret);
            c.git(&["rm", "-q", "a.txt"]);
            c.file("b.txt", "b")
        },
    },
    Case {
        name: "a middle version of a large file",
        make: |c| {
            let line = |n: u32| format!("line {n} of a large file\n");
            let text: String = (0..9000).map(line).collect();
            c.file("large.txt", &text);
            c.file(
                "large.txt",
                text.replace("line 4500 ", &format!("line {} ", c.secret)),
            );
            c.file("large.txt", text)
        },
    },
    Case {
        name: "a key put together over several commits and removed again",
        make: |c| {
            let line = |n: u32| format!("line {n} of a large file\n");
            let (above, below): (String, String) = (
                (0..3000).map(line).collect(),
                (3000..6000).map(line).collect(),
            );
            let key = pem();
            let mut lines = String::new();
            for part in key.split_inclusive('\n').rev() {
                lines = part.to_owned() + &lines;
                c.file("large.txt", format!("{above}{lines}{below}"));
            }
            c.file("large.txt", above + &below)
        },
    },
    Case {
        name: "a key whose halves a deletion brings together",
        make: |c| {
            let filler: String = (0..3000).map(|n| format!("filler {n}\n")).collect();
            let key = pem();
            let (head, tail) = key.split_at(key.find("\n").unwrap() + 1);
            c.file("large.txt", format!("{filler}{head}{filler}{tail}{filler}"));
            c.file("large.txt", format!("{filler}{key}{filler}"));
            c.file("large.txt", filler)
        },
    },
    Case {
        name: "only in a merge commit",
        make: |c| {
            c.git(&["checkout", "-q", "-b", "side", "HEAD~1"]);
            c.work.commit("side.txt", "side\n", "side");
            c.git(&["merge", "-q", "--no-commit", "--no-ff", "main"]);
            c.work.write("evil.txt", &c.secret);
            c.git(&["add", "evil.txt"]);
            c.git(&["commit", "-q", "-m", "merge"]);
            Push::head()
        },
    },
    Case {
        name: "an octopus merge",
        make: |c| {
            for side in ["one", "two"] {
                c.git(&["checkout", "-q", "-b", side, "main~1"]);
                c.work.commit(side, side, side);
            }
            c.git(&["checkout", "-q", "main"]);
            c.git(&["merge", "-q", "--no-commit", "one", "two"]);
            c.work.write("evil.txt", &c.secret);
            c.git(&["add", "evil.txt"]);
            c.git(&["commit", "-q", "-m", "merge"]);
            Push::head()
        },
    },
    Case {
        name: "a branch with another root",
        make: |c| {
            c.git(&["checkout", "-q", "--orphan", "pages"]);
            c.file("index.html", &c.secret)
        },
    },
    Case {
        name: "one of several refs",
        make: |c| {
            c.git(&["branch", "clean"]);
            c.file("a.txt", &c.secret);
            Push::of(&[
                "clean:refs/heads/clean",
                "HEAD:refs/heads/case",
                "main~1:refs/heads/other",
            ])
        },
    },
    Case {
        name: "a blob under a tag",
        make: |c| {
            let blob = c.object("blob", &c.secret);
            c.git(&["tag", "tag", &blob]);
            Push::tag()
        },
    },
    Case {
        name: "a tree under a tag",
        make: |c| {
            let blob = c.object("blob", &c.secret);
            let tree = c
                .work
                .git_with_input(&["mktree"], format!("100644 blob {blob}\tx\n").as_bytes());
            c.git(&["tag", "tag", &tree]);
            Push::tag()
        },
    },
    Case {
        name: "a tag of a tag of a blob",
        make: |c| {
            let blob = c.object("blob", &c.secret);
            c.git(&["tag", "-a", "-m", "inner", "inner", &blob]);
            c.git(&["tag", "-a", "-m", "outer", "tag", "inner"]);
            Push::tag()
        },
    },
    Case {
        name: "the message of an inner tag",
        make: |c| {
            c.git(&["tag", "-a", "-m", &c.secret, "inner"]);
            c.git(&["tag", "-a", "-m", "outer", "tag", "inner"]);
            c.git(&["tag", "-d", "inner"]);
            Push::tag()
        },
    },
    Case {
        name: "a tag's message",
        make: |c| {
            c.git(&["tag", "-a", "-m", &c.secret, "tag"]);
            Push::tag()
        },
    },
    Case {
        name: "a tag's tagger",
        make: |c| {
            let name = format!("user.name={}", c.secret);
            let mut tag = c.work.command();
            tag.env("GIT_COMMITTER_NAME", &c.secret)
                .args(["-c", &name, "tag", "-a", "-m", "x", "tag"]);
            assert!(tag.status().unwrap().success());
            Push::tag()
        },
    },
    Case {
        name: "a tag's name",
        make: |c| Push::of(&[&format!("HEAD:refs/tags/{}", c.secret)]),
    },
    Case {
        name: "a commit's message",
        make: |c| {
            c.work
                .commit("x", "x", &format!("subject\n\nkey {}", c.secret));
            Push::head()
        },
    },
    Case {
        name: "a commit's message behind a NUL byte",
        make: |c| raw(c, c.raw_commit("", &format!("subject\n\0{}", c.secret))),
    },
    Case {
        name: "a commit's message in UTF-16",
        make: |c| {
            let raw_commit = c.raw_commit("encoding UTF-16\n", "");
            let bytes = [
                raw_commit.into_bytes(),
                utf16(&format!("key {}\n", c.secret)),
            ]
            .concat();
            raw(c, bytes)
        },
    },
    Case {
        name: "an author's name",
        make: |c| {
            c.git(&[
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "x",
                &format!("--author={} <a@example.com>", c.secret),
            ]);
            Push::head()
        },
    },
    Case {
        name: "a committer's address",
        make: |c| {
            let mut commit = c.work.command();
            commit.env("GIT_COMMITTER_EMAIL", format!("{}@example.com", c.secret));
            commit.args(["commit", "-q", "--allow-empty", "-m", "x"]);
            assert!(commit.status().unwrap().success());
            Push::head()
        },
    },
    Case {
        name: "a time zone",
        make: |c| {
            let commit = c.raw_commit("", "x");
            raw(
                c,
                commit.replacen("+0000", &format!("+0000{}", c.secret), 1),
            )
        },
    },
    Case {
        name: "a header of its own",
        make: |c| raw(c, c.raw_commit(&format!("x-key {}\n", c.secret), "x")),
    },
    Case {
        name: "a signature that is none",
        make: |c| {
            let signature = format!(
                "gpgsig -----BEGIN PGP SIGNATURE-----\n \n {}\n -----END PGP SIGNATURE-----\n",
                c.secret
            );
            raw(c, c.raw_commit(&signature, "x"))
        },
    },
    Case {
        name: "a private key as a signature",
        make: |c| {
            raw(
                c,
                c.raw_commit(
                    &format!("gpgsig {}\n", pem().trim_end().replace('\n', "\n ")),
                    "x",
                ),
            )
        },
    },
    Case {
        name: "base64 over the lines of a signature",
        make: |c| {
            let text = base64(format!("the key is {} and more text follows", c.secret).as_bytes());
            raw(c, c.raw_commit(&format!("gpgsig {text}\n"), "x"))
        },
    },
    Case {
        name: "a merged tag in a header",
        make: |c| {
            c.git(&[
                "tag",
                "-a",
                "-m",
                &format!("merge me {}", c.secret),
                "inner",
            ]);
            let tag = c.git(&["cat-file", "tag", "inner"]);
            c.git(&["tag", "-d", "inner"]);
            raw(
                c,
                c.raw_commit(&format!("mergetag {}\n", tag.replace('\n', "\n ")), "x"),
            )
        },
    },
    Case {
        name: "a file's name",
        make: |c| c.file(&c.secret, "x"),
    },
    Case {
        name: "a folder's name",
        make: |c| c.file(&format!("a/{}/b.txt", c.secret), "x"),
    },
    Case {
        name: "a submodule's path",
        make: |c| {
            c.git(&[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("160000,{},{}", "1".repeat(40), c.secret),
            ]);
            c.git(&["commit", "-q", "-m", "lib"]);
            Push::head()
        },
    },
    Case {
        name: "a submodule's URL",
        make: |c| {
            c.file(
                ".gitmodules",
                format!(
                    "[submodule \"x\"]\n\tpath = x\n\turl = https://{}@example.com/x\n",
                    c.secret
                ),
            )
        },
    },
    Case {
        name: "a symlink's target",
        make: |c| {
            std::os::unix::fs::symlink(&c.secret, c.work.path().join("link")).unwrap();
            c.file("x", "x")
        },
    },
    Case {
        name: "the name of a known file in a tree under a tag",
        make: |c| {
            let blob = c.work.id("HEAD:README");
            let tree = c.work.git_with_input(
                &["mktree"],
                format!("100644 blob {blob}\t{}\n", c.secret).as_bytes(),
            );
            c.git(&["tag", "tag", &tree]);
            Push::tag()
        },
    },
    Case {
        name: "a branch's name",
        make: |c| Push::of(&[&format!("HEAD:refs/heads/fix/{}", c.secret)]),
    },
    Case {
        name: "the name of a deleted branch",
        make: |c| Push::of(&[&format!("HEAD:refs/heads/{}", c.secret)]),
    },
    Case {
        name: "a push option",
        make: |c| Push {
            options: vec![format!("ci.variable=TOKEN={}", c.secret)],
            ..c.file("x", "x")
        },
    },
    Case {
        name: "a note",
        make: |c| {
            c.git(&["notes", "add", "-m", &c.secret]);
            Push::of(&["refs/notes/commits:refs/notes/commits"])
        },
    },
    Case {
        name: "a ref outside of heads and tags",
        make: |c| {
            c.file("x", &c.secret);
            Push::of(&["HEAD:refs/meta/config"])
        },
    },
    Case {
        name: "an object behind a replacement",
        make: |c| {
            c.file("x", &c.secret);
            let (bad, parent) = (c.work.id("HEAD"), c.work.id("HEAD^"));
            let clean = c.git(&[
                "commit-tree",
                "-p",
                &parent,
                "-m",
                "clean",
                &format!("{parent}^{{tree}}"),
            ]);
            c.git(&["replace", &bad, &clean]);
            Push::of(&[&format!("{bad}:refs/heads/case")])
        },
    },
    Case {
        name: "binary data",
        make: |c| c.file("a.bin", format!("\0\x01\x02{}\0\0", c.secret)),
    },
    Case {
        name: "a NUL byte in front of every line",
        make: |c| c.file("a.txt", format!("\0text\n\0{}\n", c.secret)),
    },
    Case {
        name: "UTF-16 with a byte order mark",
        make: |c| c.file("a.txt", utf16(&c.secret)),
    },
    Case {
        name: "UTF-16, big end first, without a mark",
        make: |c| {
            c.file(
                "a.txt",
                c.secret
                    .encode_utf16()
                    .flat_map(u16::to_be_bytes)
                    .collect::<Vec<_>>(),
            )
        },
    },
    Case {
        name: "UTF-32 in either order",
        make: |c| {
            c.work.write(
                "big",
                c.secret
                    .chars()
                    .flat_map(|x| u32::from(x).to_be_bytes())
                    .collect::<Vec<_>>(),
            );
            c.file(
                "little",
                c.secret
                    .chars()
                    .flat_map(|x| u32::from(x).to_le_bytes())
                    .collect::<Vec<_>>(),
            )
        },
    },
    Case {
        name: "UTF-16 at an odd offset of binary data",
        make: |c| {
            let bytes = [
                vec![0xff, 0, 0x80],
                c.secret.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                vec![0, 7, 7],
            ];
            c.file("a.bin", bytes.concat())
        },
    },
    Case {
        name: "an allow comment",
        make: |c| c.file("a.py", format!("key = '{}'  # gitleaks:allow\n", c.secret)),
    },
    Case {
        name: "a .gitleaks.toml that allows everything",
        make: |c| {
            c.work
                .write(".gitleaks.toml", "[allowlist]\npaths = ['''.*''']\n");
            c.file("a.txt", &c.secret)
        },
    },
    Case {
        name: "a .gitleaksignore",
        make: |c| {
            c.work.write(".gitleaksignore", "a.txt:github-pat:1\n");
            c.file("a.txt", &c.secret)
        },
    },
    Case {
        name: "attributes that hide the file from diffs",
        make: |c| {
            c.work
                .write(".gitattributes", "* -diff -text binary export-ignore\n");
            c.file("a.txt", &c.secret)
        },
    },
    Case {
        name: "a lock file",
        make: |c| {
            c.file(
                "package-lock.json",
                format!("{{\"_auth\": \"{}\"}}", c.secret),
            )
        },
    },
    Case {
        name: "go.sum",
        make: |c| c.file("go.sum", &c.secret),
    },
    Case {
        name: "node_modules",
        make: |c| {
            c.file(
                "node_modules/a/index.js",
                format!("let key = '{}'", c.secret),
            )
        },
    },
    Case {
        name: "vendored code",
        make: |c| {
            c.file(
                "vendor/github.com/a/b/c.go",
                format!("const key = \"{}\"", c.secret),
            )
        },
    },
    Case {
        name: "an image's name",
        make: |c| c.file("logo.png", &c.secret),
    },
    Case {
        name: "an svg",
        make: |c| c.file("logo.svg", format!("<svg><!-- {} --></svg>", c.secret)),
    },
    Case {
        name: "a file that begins as a PDF",
        make: |c| c.file("a.pdf", format!("%PDF-1.4\n{}\n", c.secret)),
    },
    Case {
        name: "a file that begins as a program",
        make: |c| c.file("a.exe", format!("MZ{}\n", c.secret)),
    },
    Case {
        name: "gitleaks.toml",
        make: |c| c.file("gitleaks.toml", &c.secret),
    },
    Case {
        name: "base64",
        make: |c| c.file("a.txt", base64(format!("key={}", c.secret).as_bytes())),
    },
    Case {
        name: "base64 of base64",
        make: |c| {
            c.file(
                "a.txt",
                base64(base64(format!("key={}", c.secret).as_bytes()).as_bytes()),
            )
        },
    },
    Case {
        name: "wrapped base64",
        make: |c| {
            let text = base64(
                format!(
                    "{} {} {}",
                    "words ".repeat(20),
                    c.secret,
                    "words ".repeat(20)
                )
                .as_bytes(),
            );
            let lines: Vec<_> = text
                .as_bytes()
                .chunks(60)
                .map(|line| String::from_utf8_lossy(line))
                .collect();
            c.file("a.b64", lines.join("\n"))
        },
    },
    Case {
        name: "hexadecimal",
        make: |c| {
            c.file(
                "a.txt",
                c.secret
                    .bytes()
                    .map(|b| format!("{b:02x}"))
                    .collect::<String>(),
            )
        },
    },
    Case {
        name: "percent encoding",
        make: |c| {
            c.file(
                "a.txt",
                c.secret
                    .bytes()
                    .map(|b| format!("%{b:02X}"))
                    .collect::<String>(),
            )
        },
    },
    Case {
        name: "unicode escapes",
        make: |c| {
            c.file(
                "a.json",
                c.secret
                    .bytes()
                    .map(|b| format!("\\u{b:04x}"))
                    .collect::<String>(),
            )
        },
    },
    Case {
        name: "a zip",
        make: |c| c.file("a.zip", zip(&[("a.txt", c.secret.as_bytes())])),
    },
    Case {
        name: "a zip in a zip with other names",
        make: |c| {
            c.file(
                "picture.png",
                zip(&[("x.dat", &zip(&[("y", c.secret.as_bytes())]))]),
            )
        },
    },
    Case {
        name: "a zip behind other bytes",
        make: |c| {
            c.file(
                "a.sh",
                [
                    &b"#!/bin/sh\nexit\n"[..],
                    &zip(&[("a.txt", c.secret.as_bytes())]),
                ]
                .concat(),
            )
        },
    },
    Case {
        name: "the name of a zip's member",
        make: |c| c.file("a.zip", zip(&[(&c.secret, b"x")])),
    },
    Case {
        name: "a tar",
        make: |c| c.file("a.tar", tar(&c.secret)),
    },
    Case {
        name: "a compressed tar without an extension",
        make: |c| c.file("data", gzip(&tar(&c.secret))),
    },
    Case {
        name: "gzip",
        make: |c| c.file("a.txt", gzip(c.secret.as_bytes())),
    },
    Case {
        name: "gzip in base64",
        make: |c| c.file("a.txt", base64(&gzip(c.secret.as_bytes()))),
    },
    Case {
        name: "bzip2",
        make: |c| {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(c.secret.as_bytes()).unwrap();
            c.file("a.bz2", encoder.finish().unwrap())
        },
    },
    Case {
        name: "a git bundle",
        make: |c| {
            c.git(&["checkout", "-q", "--orphan", "hidden"]);
            c.work.commit("a.txt", &c.secret, "hidden");
            c.git(&["bundle", "create", "-q", "../a.bundle", "hidden"]);
            let bundle = std::fs::read(c.work.path().join("../a.bundle")).unwrap();
            c.git(&["checkout", "-q", "main"]);
            c.git(&["branch", "-D", "hidden"]);
            c.git(&["reflog", "expire", "--expire=now", "--all"]);
            c.git(&["prune", "--expire=now"]);
            c.file("a.bundle", bundle)
        },
    },
    Case {
        name: "at the edge of what is scanned at once",
        make: |c| c.file("a.txt", format!("{}{}\n", "x ".repeat(40_955), c.secret)),
    },
    Case {
        name: "in a line of a megabyte",
        make: |c| {
            c.file(
                "a.txt",
                format!(
                    "{} {} {}",
                    "x ".repeat(500_000),
                    c.secret,
                    "x ".repeat(500_000)
                ),
            )
        },
    },
    Case {
        name: "in the last line of a large file",
        make: |c| {
            c.file(
                "a.txt",
                format!("{}{}", "a line\n".repeat(60_000), c.secret),
            )
        },
    },
    Case {
        name: "in a file of 20 MB",
        make: |c| {
            c.file(
                "a.txt",
                format!(
                    "{}{}\n{}",
                    "a line of text\n".repeat(700_000),
                    c.secret,
                    "a line of text\n".repeat(700_000)
                ),
            )
        },
    },
    Case {
        name: "lines that end in carriage returns",
        make: |c| c.file("a.txt", format!("one\rkey {}\rthree\r", c.secret)),
    },
    Case {
        name: "under 500 folders",
        make: |c| c.file(&format!("{}x.txt", "d/".repeat(500)), &c.secret),
    },
    Case {
        name: "the same content at a quiet path first",
        make: |c| {
            let content = format!("password = \"{}\"\n", c.secret);
            c.work.write("vendor/a.lock", &content);
            c.file("src/a.txt", content)
        },
    },
    Case {
        name: "a private key",
        make: |c| c.file("id", pem()),
    },
    Case {
        name: "a private key behind another's beginning in a neighbour",
        make: |c| {
            let begin = [
                "-----BEGIN RSA ",
                "PRIVATE KEY-----\nabcdefghijklmnopqrstuvwxyz\n",
            ]
            .concat();
            c.work.write("a1", begin + &"words ".repeat(20));
            c.file("a2", pem())
        },
    },
    Case {
        name: "a Kubernetes secret",
        make: |c| c.file("deploy/secret.yaml", kubernetes()),
    },
    Case {
        name: "a Kubernetes secret under another name first",
        make: |c| {
            c.file("a.txt", kubernetes());
            c.git(&["mv", "a.txt", "a.yaml"]);
            c.file("x", "x")
        },
    },
    Case {
        name: "a PKCS #12 file",
        make: |c| c.file("conf/client.p12", [0x30, 0x82, 0x0a, 0x11, 2, 1, 3]),
    },
    Case {
        name: "a PKCS #12 file under another name first",
        make: |c| {
            c.file("client.bin", [0x30, 0x82, 0x0a, 0x11, 2, 1, 3]);
            c.git(&["mv", "client.bin", "client.pfx"]);
            c.file("x", "x")
        },
    },
    Case {
        name: "a folder that a later commit moves away from a quiet path",
        make: |c| {
            c.file("node_modules/x/a.js", shapeless(c));
            std::fs::create_dir(c.work.path().join("src")).unwrap();
            c.git(&["mv", "node_modules/x", "src/x"]);
            c.file("x", "x")
        },
    },
    Case {
        name: "behind many copies at quiet paths",
        make: |c| copies(c, "vendor/a", "", "src/a.js", shapeless(c).as_bytes()),
    },
    Case {
        name: "a Kubernetes secret behind many copies under other names",
        make: |c| copies(c, "a", ".txt", "a.yaml", kubernetes().as_bytes()),
    },
    Case {
        name: "a PKCS #12 file behind many copies under other names",
        make: |c| copies(c, "a", ".bin", "a.p12", &[0x30, 0x82, 0x0a, 0x11, 2, 1, 3]),
    },
    Case {
        name: "a middle version of a large file, moved away from a quiet path",
        make: |c| {
            let text = shapeless(c) + &"a line of a file that is large\n".repeat(2000);
            c.file("vendor/a.txt", &text);
            c.file("vendor/a.txt", text + "more\n");
            c.git(&["mv", "vendor/a.txt", "b.txt"]);
            c.file("x", "x");
            c.git(&["rm", "-q", "b.txt"]);
            c.file("x", "y")
        },
    },
    Case {
        name: "a PKCS #12 file in a tree under a tag",
        make: |c| {
            let blob = c.object("blob", [0x30, 0x82, 0x0a, 0x11, 2, 1, 3]);
            let entry = format!("100644 blob {blob}\tclient.p12\n");
            let tree = c.work.git_with_input(&["mktree"], entry.as_bytes());
            c.git(&["tag", "tag", &tree]);
            Push::tag()
        },
    },
    Case {
        name: "a PKCS #12 file in a zip",
        make: |c| c.file("a.zip", zip(&[("conf/client.p12", &[0x30, 0x82, 2, 1, 3])])),
    },
    Case {
        name: "a PKCS #12 file, compressed",
        make: |c| c.file("client.p12.gz", gzip(&[0x30, 0x82, 0x0a, 0x11, 2, 1, 3])),
    },
    Case {
        name: "a Kubernetes secret, compressed",
        make: |c| c.file("deploy/secret.yaml.gz", gzip(kubernetes().as_bytes())),
    },
    Case {
        name: "a key between the literals of its first and last line",
        make: |c| {
            let body = "MIIEowIBAAKCAQEAx4fT9pQ2mK7vR1sW8nB3cD5eF6gH\n".repeat(3);
            c.file("conf/pem.rs", corpus::key_literals(&body))
        },
    },
];

/// A secret that only the word before it tells from a checksum.
fn shapeless(c: &Clone) -> String {
    format!("api_key = \"{}\"\n", c.secret.trim_start_matches("ghp_"))
}

/// Many copies of `content`, `name` with a number and `end`, then one at `last`.
fn copies(c: &Clone, name: &str, end: &str, last: &str, content: &[u8]) -> Push {
    for number in 0..20 {
        c.work.write(&format!("{name}{number}{end}"), content);
    }
    c.file("x", "x");
    c.file(last, content)
}

/// A private key that is none.
fn pem() -> String {
    let body = "MIIEowIBAAKCAQEAx4fT9pQ2mK7vR1sW8nB3cD5eF6gH\n".repeat(20);
    [
        "-----BEGIN RSA ",
        "PRIVATE KEY-----\n",
        &body,
        "-----END RSA ",
        "PRIVATE KEY-----\n",
    ]
    .concat()
}

fn kubernetes() -> String {
    let value = base64(b"correct-horse-battery-staple");
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\ndata:\n  pin: {value}\n")
}

/// `bytes` in base64, on one line.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |part: &[u8]| {
        let bits = (0..3).fold(0u32, |bits, at| {
            bits << 8 | u32::from(part.get(at).copied().unwrap_or(0))
        });
        (0..4usize)
            .map(move |at| match at <= part.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]),
                false => '=',
            })
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// A zip of these members.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        let options = zip::write::SimpleFileOptions::default();
        writer
            .start_file(
                *name,
                options.compression_method(zip::CompressionMethod::Stored),
            )
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn tar(secret: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(secret.len() as u64);
    builder
        .append_data(&mut header, "dir/a.txt", secret.as_bytes())
        .unwrap();
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn disguises_are_refused() {
    assert_eq!(corpus::run(Kind::Init, DISGUISES, true), [""; 0]);
}

#[test]
fn disguises_are_refused_where_no_scanner_is_started_ahead() {
    assert_eq!(corpus::run(Kind::DropIn, DISGUISES, true), [""; 0]);
}
