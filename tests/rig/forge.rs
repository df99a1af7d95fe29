//! A real forge over HTTPS: nginx, fcgiwrap and git http-backend, with a CA of its own and Basic auth.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::{descendants, free_port, signal, wait_until};

pub struct Forge {
    folder: PathBuf,
    port: u16,
    nginx: Option<Child>,
    fcgiwrap: Child,
}

impl Forge {
    /// Serves the repositories below `root` at a free port of localhost.
    pub fn start(folder: &Path, root: &Path) -> Self {
        fs::create_dir_all(folder.join("tmp")).unwrap();
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
        let mut forge = Self {
            folder: folder.to_owned(),
            port: free_port(),
            nginx: None,
            fcgiwrap,
        };
        forge.write_config(root);
        forge.lets_in("nobody");
        wait_until("fcgiwrap listens", || socket.exists());
        forge.restart();
        forge
    }

    fn write_config(&self, root: &Path) {
        let folder = self.folder.display();
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
            ("HOME", self.folder.to_str().unwrap()),
            ("PATH", "/usr/bin:/bin"),
        ];
        let variables = variables.map(|(name, value)| format!("fastcgi_param {name} {value};\n"));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {folder}/tmp/{of};\n"));
        let port = self.port;
        let config = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n\
             events {{}}\nhttp {{\naccess_log {folder}/access.log;\nclient_max_body_size 0;\n{}\
             server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {folder}/server.pem;\n\
             ssl_certificate_key {folder}/server.key;\n\
             location /moved.git/ {{ return 301 https://127.0.0.1:{port}/app.git/$is_args$args; }}\n\
             location /broken.git/ {{ return 502; }}\n\
             location / {{\nauth_basic forge;\nauth_basic_user_file {folder}/users;\n\
             fastcgi_pass unix:{folder}/fcgi;\nfastcgi_buffering off;\n\
             fastcgi_request_buffering off;\n{}}}\n}}\n}}\n",
            temporary.concat(),
            variables.concat(),
        );
        fs::write(self.folder.join("nginx.conf"), config).unwrap();
    }

    /// Starts the server on its port, again if it was stopped.
    pub fn restart(&mut self) {
        self.stop();
        let nginx = Command::new(program("nginx"))
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(self.folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (tools/bring)");
        self.nginx = Some(nginx);
        let port = self.port;
        wait_until("nginx listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Ends the server and every connection it has.
    pub fn stop(&mut self) {
        if let Some(mut nginx) = self.nginx.take() {
            let _ = nginx.kill();
            let _ = nginx.wait();
        }
    }

    /// Sends `what` to the server (SIGSTOP, SIGCONT).
    pub fn signal(&self, what: Signal) {
        signal(self.nginx.as_ref().unwrap().id(), what);
    }

    /// From now on this token is the one that is let in.
    pub fn lets_in(&self, token: &str) {
        let line = format!("x-access-token:{{PLAIN}}{token}\n");
        fs::write(self.folder.join("users"), line).unwrap();
    }

    /// The URL of the repository `name`.
    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}.git", self.port)
    }

    /// The certificate of the CA that has signed the server's, or of another one.
    pub fn ca(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    /// The requests that were answered so far, one a line.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("access.log")).unwrap_or_default()
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        self.stop();
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

/// Debian puts it where only root has its PATH.
fn program(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];
    let mut paths = places.iter().map(|place| Path::new(place).join(name));
    let found = paths.find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run tools/bring"))
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
