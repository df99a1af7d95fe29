//! A real forge over HTTPS: nginx, fcgiwrap and git http-backend, with a CA of its own and Basic auth.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::nginx::{Nginx, program};
use super::{descendants, signal, wait_until};

pub struct Forge {
    folder: PathBuf,
    pub nginx: Nginx,
    fcgiwrap: Child,
}

impl Forge {
    /// Serves the repositories below `root` at a free port of localhost.
    pub fn start(folder: &Path, root: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        for (name, subject) in [("ca", "/CN=the rig's CA"), ("other-ca", "/CN=another CA")] {
            authority(folder, name, subject);
        }
        certificate(folder);
        let socket = folder.join("fcgi");
        let fcgiwrap = Command::new(program("fcgiwrap"))
            .args(["-c", "16", "-s"])
            .arg(format!("unix:{}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("fcgi.log")).unwrap())
            .spawn()
            .expect("fcgiwrap is installed (tools/bring)");
        wait_until("fcgiwrap listens", || socket.exists());
        let forge = Self {
            nginx: Nginx::start(folder, |port| config(folder, root, port)),
            folder: folder.to_owned(),
            fcgiwrap,
        };
        forge.lets_in("nobody");
        forge
    }

    /// From now on this token is the one that is let in.
    pub fn lets_in(&self, token: &str) {
        let line = format!("x-access-token:{{PLAIN}}{token}\n");
        fs::write(self.folder.join("users"), line).unwrap();
    }

    /// The URL of the repository `name`.
    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}.git", self.nginx.port)
    }

    /// The certificate of the CA that has signed the server's, or of another one.
    pub fn ca(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        for pid in descendants(self.fcgiwrap.id()) {
            signal(pid, Signal::KILL);
        }
        let _ = self.fcgiwrap.kill();
        let _ = self.fcgiwrap.wait();
    }
}

/// Puts a token where the gate finds it.
pub fn write_token(file: &Path, token: &str) {
    fs::write(file, format!("{token}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// git http-backend behind Basic auth, and two places that lead nowhere.
fn config(folder: &Path, root: &Path, port: u16) -> String {
    let variables = [
        ("REQUEST_METHOD", "$request_method"),
        ("QUERY_STRING", "$query_string"),
        ("CONTENT_TYPE", "$content_type"),
        ("CONTENT_LENGTH", "$content_length"),
        ("PATH_INFO", "$uri"),
        ("REMOTE_USER", "$remote_user"),
        ("SERVER_PROTOCOL", "$server_protocol"),
        ("HTTP_GIT_PROTOCOL", "$http_git_protocol"),
        ("HTTP_CONTENT_ENCODING", "$http_content_encoding"),
        ("SCRIPT_FILENAME", "/usr/lib/git-core/git-http-backend"),
        ("GIT_PROJECT_ROOT", root.to_str().unwrap()),
        ("GIT_HTTP_EXPORT_ALL", "1"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("HOME", folder.to_str().unwrap()),
        ("PATH", "/usr/bin:/bin"),
    ];
    let variables = variables.map(|(name, value)| format!("fastcgi_param {name} {value};\n"));
    let folder = folder.display();
    format!(
        "server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {folder}/server.pem;\n\
         ssl_certificate_key {folder}/server.key;\n\
         location /moved.git/ {{ return 301 https://localhost:{port}/app.git/$is_args$args; }}\n\
         location /broken.git/ {{ return 502; }}\n\
         location / {{\nauth_basic forge;\nauth_basic_user_file {folder}/users;\n\
         fastcgi_pass unix:{folder}/fcgi;\nfastcgi_buffering off;\n\
         fastcgi_request_buffering off;\n{}}}\n}}",
        variables.concat(),
    )
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments.split(' '));
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "openssl {arguments}: {said}");
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn authority(folder: &Path, name: &str, subject: &str) {
    let mut command = Command::new("openssl");
    let arguments = format!("req -x509 {KEY} -days 2 -keyout {name}.key -out {name}.pem -subj");
    command
        .current_dir(folder)
        .args(arguments.split(' '))
        .arg(subject);
    assert!(command.output().unwrap().status.success());
}

fn certificate(folder: &Path) {
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        folder,
        &format!("req {KEY} -keyout server.key -out request -subj /CN=localhost"),
    );
    openssl(
        folder,
        "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
}
