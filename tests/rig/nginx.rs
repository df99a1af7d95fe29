//! A real nginx on a free port of loopback, in one process, with nothing of this machine's configuration.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::{free_port, signal, wait_until};

pub struct Nginx {
    folder: PathBuf,
    pub port: u16,
    server: Option<Child>,
}

impl Nginx {
    /// Serves what `http` says for the port, the content of nginx's block of that name. Files lie in
    /// `folder`.
    pub fn start(folder: &Path, http: impl FnOnce(u16) -> String) -> Self {
        fs::create_dir_all(folder.join("tmp")).unwrap();
        let port = free_port();
        let place = folder.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {place}/tmp/{of};\n"));
        let config = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;\n\
             events {{ worker_connections 4096; }}\nhttp {{\naccess_log {place}/access.log;\n\
             client_max_body_size 0;\n{}{}\n}}\n",
            temporary.concat(),
            http(port),
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut nginx = Self {
            folder: folder.to_owned(),
            port,
            server: None,
        };
        nginx.restart();
        nginx
    }

    /// Starts the server on its port, again if it was stopped.
    pub fn restart(&mut self) {
        self.stop();
        let server = Command::new(program("nginx"))
            .arg("-p")
            .arg(&self.folder)
            .arg("-c")
            .arg(self.folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (tools/bring)");
        self.server = Some(server);
        let port = self.port;
        wait_until("nginx listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Ends the server and every connection it has.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Sends `what` to the server (SIGSTOP, SIGCONT).
    pub fn signal(&self, what: Signal) {
        signal(self.server.as_ref().unwrap().id(), what);
    }

    /// The requests that were answered so far, one a line.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("access.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Debian puts it where only root has its PATH.
pub(super) fn program(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];
    let mut paths = places.iter().map(|place| Path::new(place).join(name));
    let found = paths.find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run tools/bring"))
}
