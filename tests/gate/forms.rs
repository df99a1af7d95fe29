//! The forms in which files hold tokens: what stands around one hides none, in text as in binary data.

use std::collections::BTreeSet;

use git_gate::scan::Place;

use crate::rig::Mirror;

/// Letters and figures that are random enough for every rule.
pub fn random(seed: u64, alphabet: &[u8], length: usize) -> String {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let letter = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(alphabet[(state >> 33) as usize % alphabet.len()])
    });
    letter.take(length).collect()
}

const ALL: &[u8] = b"aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eFxL";
const SMALL: &[u8] = b"a3d6g9j2m5p8s1v4y7b0exkq";
const HEX: &[u8] = b"0123456789abcdef";
const BASE32: &[u8] = b"QRSTUVWXYZABCDEFGH234567";

/// A token of each of these kinds: with a prefix, of one length and of any.
fn tokens() -> Vec<(&'static str, String)> {
    let jwt = || {
        let part = |seed, length| random(seed, ALL, length);
        format!("eyJ{}.eyJ{}.{}", part(1, 30), part(2, 50), part(3, 43))
    };
    vec![
        (
            "anthropic",
            ["sk-ant-", "api03-"].concat() + &random(1, ALL, 93) + "AA",
        ),
        ("aws", ["AK", "IA"].concat() + &random(2, BASE32, 16)),
        (
            "digitalocean",
            ["dop", "_v1_"].concat() + &random(3, HEX, 64),
        ),
        ("github", ["gh", "p_"].concat() + &random(4, ALL, 36)),
        ("google", ["AI", "za"].concat() + &random(5, ALL, 35)),
        ("jwt", jwt()),
        ("npm", ["np", "m_"].concat() + &random(6, SMALL, 36)),
        (
            "sendgrid",
            ["SG", "."].concat() + &random(7, ALL, 22) + "." + &random(8, ALL, 43),
        ),
        ("stripe", ["sk_", "live_"].concat() + &random(9, ALL, 24)),
    ]
}

/// Values that only a name tells.
fn named() -> Vec<(&'static str, String)> {
    vec![
        ("adafruit", random(1, SMALL, 32)),
        ("contentful", random(2, SMALL, 43)),
    ]
}

/// Files that hold `token`, of a name `name`.
fn files(name: &str, token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let text = |file, text: String| (file, text.into_bytes());
    vec![
        text(
            "strings.xml",
            format!("<string name=\"{name}_key\">{token}</string>\n"),
        ),
        text("list.csv", format!("1,{name},{token},x\n")),
        text(
            "book.ipynb",
            format!("\"source\": [\n \"{name}_key = \\\"{token}\\\"\\n\"\n]\n"),
        ),
        text(
            "inner.json",
            format!("{{\"a\": \"{{\\\"{name}\\\":\\\"{token}\\\"}}\"}}\n"),
        ),
        text(
            "har.json",
            format!("\"text\": \"{{\\\\\\\"{name}\\\\\\\":\\\\\\\"{token}\\\\\\\"}}\"\n"),
        ),
        text(
            "colour.log",
            format!("{name}: \x1b[32m{token}\x1b[0m\n").replace("\x1b[32m", ""),
        ),
        text(
            "map.html",
            format!("https://x.example/js?{name}={token}&callback=x\n"),
        ),
        text("call.py", format!("client({name}={token})\n")),
        text("brace.js", format!("{{{name}:{token}}}\n")),
        text(
            "table.md",
            format!("|{name}=|{token}|x|\n").replace("=|", "="),
        ),
        text("comment.cfg", format!("{name}={token}# mine\n")),
    ]
}

/// Files that hold `token` among other bytes, with a printable one behind it.
fn binaries(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let length = u8::try_from(token.len()).unwrap_or(0xfa);
    let joined = |parts: &[&[u8]]| parts.concat();
    let token = token.as_bytes();
    vec![
        (
            "a.pyc",
            joined(&[b"\xa7\r\r\n\0\0\0\0z", &[length], token, b"z\x05printN"]),
        ),
        (
            "a.sqlite",
            joined(&[
                b"SQLite format 3\0\x10\0\x01\x01\0",
                b"\x03",
                token,
                b"user@example\0\0",
            ]),
        ),
        (
            "a.pb",
            joined(&[b"\0\x0a", &[length], token, b"\x12\x05hello\x18\0"]),
        ),
        (
            "a.pb2",
            joined(&[b"\0\x0a", &[length], token, b"*\x05hello\x18\0"]),
        ),
        (
            "a.msgpack",
            joined(&[b"\0\x82\xa3key\xd9", &[length], token, b"l\0\xa1b"]),
        ),
    ]
}

/// The files of `all` in which a push finds nothing.
fn missed(all: &[(String, Vec<u8>)]) -> Vec<String> {
    let mirror = Mirror::new();
    for (path, content) in all {
        mirror.work.write(path, content);
    }
    mirror.work.commit("x", "x", "forms");
    let verdict = mirror.push(&["main:refs/heads/main"]).unwrap();
    let paths = verdict
        .findings
        .iter()
        .filter_map(|finding| match &finding.place {
            Place::File { path } => Some(path),
            _ => None,
        });
    let found: BTreeSet<_> = paths.collect();
    let missed = all.iter().filter(|(path, _)| !found.contains(path));
    missed.map(|(path, _)| path.clone()).collect()
}

#[test]
fn a_token_ends_where_its_letters_end() {
    let each = |(kind, token): &(&str, String)| -> Vec<_> {
        let is_name = named().iter().any(|(name, _)| name == kind);
        let name = if is_name { kind } else { "x" };
        let all = files(name, token).into_iter();
        all.map(|(file, content)| (format!("{kind}/{file}"), content))
            .collect()
    };
    let all: Vec<_> = tokens().iter().chain(&named()).flat_map(each).collect();
    assert_eq!(missed(&all), [""; 0]);
}

#[test]
fn a_token_among_printable_bytes_of_binary_data_is_found() {
    let each = |(kind, token): &(&str, String)| -> Vec<_> {
        let all = binaries(token).into_iter();
        all.map(|(file, content)| (format!("{kind}/{file}"), content))
            .collect()
    };
    let all: Vec<_> = tokens().iter().flat_map(each).collect();
    assert_eq!(missed(&all), [""; 0]);
}

/// A private key with `header` in it.
fn key(kind: &str, header: &str) -> Vec<u8> {
    let body = "MIIEowIBAAKCAQEAx4fT9pQ2mK7vR1sW8nB3cD5eF6gH\n".repeat(20);
    let line = |word: &str| format!("-----{word} {kind}-----\n");
    let key = [&line("BEGIN"), header, "\n", &body, &line("END")];
    key.concat().into_bytes()
}

#[test]
fn what_stands_beside_a_secret_lets_nothing_through() {
    let pgp = ["PGP PRIVATE", " KEY BLOCK"].concat();
    let rsa = ["RSA PRIVATE", " KEY"].concat();
    let alphabet: String = ('a'..='z').collect();
    let value = random(1, ALL, 40);
    let env = format!("RUN --mount=type=secret,id=x API_KEY={value} make\n");
    let import = format!("import {{ x }} from \"y\"; api_key = \"{value}\"\n");
    let glued = ["sk_", "live_"].concat() + &random(2, ALL, 24) + &alphabet;
    let all = [
        ("pgp", key(&pgp, "Comment: false\n")),
        ("pem", key(&rsa, "X-Is: True\n")),
        ("null", key(&rsa, "X-Is: null\n")),
        ("alphabet", key(&pgp, &format!("Comment: {alphabet}\n"))),
        ("Dockerfile", env.into_bytes()),
        ("a.js", import.into_bytes()),
        ("glued", format!("key: {glued}\n").into_bytes()),
    ];
    let all = all.map(|(path, content)| (path.to_owned(), content));
    assert_eq!(missed(&all), [""; 0]);
}

#[test]
fn what_only_looks_like_a_token_passes() {
    let alphabet: String = ('a'..='z').collect();
    let placeholder = ["gh", "p_"].concat() + &alphabet + "0123456789";
    let all = [
        ("placeholder.md", format!("export TOKEN={placeholder}\n")),
        (
            "a.rs",
            "fn key(key: PrivatePkcs8KeyDer<'_>, token: &Oauth2TokenValue) {}\n".to_owned(),
        ),
        (
            "a.py",
            "seal(secret, vault_id=None, key=sha256_digest_of_it, token=oauth2_token)\n".to_owned(),
        ),
        (
            "b.py",
            "task_test_something_1234 = disk_live_partition_2(sk_test_publishable_key)\n"
                .to_owned(),
        ),
        (
            "Dockerfile",
            "RUN --mount=type=secret,id=npm_config2 make\n".to_owned(),
        ),
        (
            "a.js",
            "import { useToken2 } from \"@/auth/token-2\"\n".to_owned(),
        ),
        (
            "emoji.md",
            "<:discord:123456789012345678> and {linkedin}\n".to_owned(),
        ),
        (
            "turbo.json",
            "[\"CF_R2_DOCS_TOKEN\",\n\t\t\t\t\"CF_R2_DOCS_BUCKET\"]\n".to_owned(),
        ),
        (
            "null.env",
            "API_KEY=null\nAPI_TOKEN=true\nSECRET_KEY=${SECRET_KEY}\n".to_owned(),
        ),
    ];
    let all = all.map(|(path, content)| (path.to_owned(), content.into_bytes()));
    let names: Vec<_> = all.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(missed(&all), names);
}
