//! TLS with the roots of the system: a private authority works as soon as the system trusts it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{HOST_KEY, Operator, Ran};
use crate::rig::{self, free_port, wait_until};

/// openssl's own server, which answers every request with this test's words.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let port = free_port();
        let mut child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &port.to_string()])
            .args(["-cert", "server.pem", "-key", "server.key"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The body of a registration ends the request, without a line break behind it;
                // the blank line before it is the last that can be seen.
                if line.trim().is_empty() {
                    let body = r#"{"id":7}"#;
                    let _ = write!(
                        input,
                        "HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = input.flush();
                }
            }
        });
        wait_until("openssl listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            child,
            url: format!("https://localhost:{port}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority `ca.pem` and a certificate of its for localhost.
fn make_certificates(folder: &Path) {
    let openssl = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        rig::Ran::of(openssl.args(arguments).current_dir(folder)).success();
    };
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ];
    let authority = [
        "req",
        "-x509",
        "-subj",
        "/CN=our own",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ];
    openssl(&[&authority[..], &key[..]].concat());
    let server = [
        "req",
        "-x509",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-keyout",
        "server.key",
        "-out",
        "server.pem",
    ];
    openssl(&[&server[..], &key[..]].concat());
}

#[test]
fn a_private_authority_counts_when_the_system_trusts_it_and_not_before() {
    let operator = Operator::new();
    make_certificates(operator.folder.path());
    let server = Server::start(operator.folder.path());
    operator.write(
        "bottle.toml",
        &format!(
            "[git-gate.repos.app]\nupstream = \"git@forge.example:team/app.git\"\n\
             known_host_key = \"{HOST_KEY}\"\n[git-gate.repos.app.provisioned_key]\n\
             provider = \"gitea\"\ntoken_env = \"FORGE_TOKEN\"\napi_url = \"{}\"\n",
            server.url
        ),
    );
    let prepare = [
        "prepare",
        "bottle.toml",
        "--slug",
        "dev",
        "--stage",
        "stage",
    ];
    let ran = operator.run(&prepare);
    ran.expect(1, &["no usable answer", "certificate"]);
    assert!(!operator.path("stage").exists());
    // As openssl's and everybody else's programs name it (SSL_CTX_load_verify_locations(3)).
    let mut trusting = operator.command(&prepare);
    trusting.env("SSL_CERT_FILE", operator.path("ca.pem"));
    Ran::of(&mut trusting).expect(0, &["registered the deploy key 7 for app"]);
}
