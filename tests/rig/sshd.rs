//! A real sshd whose only command is git-shell.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::{descendants, free_address, signal, wait_until};

pub struct Sshd {
    folder: PathBuf,
    address: SocketAddr,
    server: Option<Child>,
}

impl Sshd {
    /// Makes keys and configuration in `folder` and starts the server on a free port of `ip`.
    pub fn start(folder: &Path, ip: IpAddr) -> Self {
        fs::create_dir_all(folder.join("home")).unwrap();
        for name in ["host_key", "client_key", "other_key"] {
            let path = folder.join(name);
            let args = [
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "",
                "-f",
                path.to_str().unwrap(),
            ];
            assert!(
                Command::new("ssh-keygen")
                    .args(args)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        fs::copy(
            folder.join("client_key.pub"),
            folder.join("authorized_keys"),
        )
        .unwrap();
        let mut sshd = Self {
            folder: folder.to_owned(),
            address: free_address(ip),
            server: None,
        };
        sshd.write_config();
        sshd.restart();
        sshd
    }

    /// The account's only command is git-shell, as on a forge. `ForceCommand` stands in for an
    /// account of its own, which only root could make; the empty home keeps this machine's shell and
    /// git settings out.
    fn write_config(&self) {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let git_shell = ["/usr/bin/git-shell", "/usr/local/bin/git-shell"];
        let git_shell = git_shell
            .iter()
            .find(|path| Path::new(path).exists())
            .expect("git-shell");
        let config = format!(
            "ListenAddress {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\nLogLevel VERBOSE\nMaxStartups 200\n\
             MaxSessions 200\nSetEnv HOME={}\nForceCommand {git_shell} -c \"$SSH_ORIGINAL_COMMAND\"\n",
            self.address,
            at("host_key"),
            at("authorized_keys"),
            at("home"),
        );
        fs::write(self.folder.join("sshd_config"), config).unwrap();
    }

    /// Starts the server on its port, again if it was stopped.
    pub fn restart(&mut self) {
        // sshd as root wants its separation folder; the package makes it only under an init system.
        let _ = fs::create_dir_all("/run/sshd");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd is installed (apt-get install openssh-server)");
        self.server = Some(server);
        wait_until("sshd listens", || TcpStream::connect(self.address).is_ok());
    }

    /// From now on no client's `GIT_PROTOCOL` is heard: git answers in version 0.
    pub fn refuse_protocol(&mut self) {
        let file = self.folder.join("sshd_config");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, config.replace("AcceptEnv GIT_PROTOCOL\n", "")).unwrap();
        self.stop();
        self.restart();
    }

    /// Ends the server and every connection it has.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            for pid in descendants(server.id()) {
                signal(pid, Signal::KILL);
            }
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Sends `what` to the server and every process of its connections (SIGSTOP, SIGCONT, SIGKILL).
    pub fn signal_all(&self, what: Signal) {
        for pid in self
            .server
            .iter()
            .flat_map(|server| descendants(server.id()))
        {
            signal(pid, what);
        }
    }

    /// Clients reach it there, through a relay.
    pub fn is_reached_at(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The private key that it lets in.
    pub fn client_key(&self) -> PathBuf {
        self.folder.join("client_key")
    }

    /// A private key that it does not let in; its public half stands for a wrong host key too.
    pub fn other_key(&self) -> PathBuf {
        self.folder.join("other_key")
    }

    /// The line that pins the host key, with an address of the `[host]:port` form (sshd(8)).
    pub fn known_hosts_line(&self) -> String {
        self.line_for("host_key.pub")
    }

    /// A line that pins another key for the same host.
    pub fn wrong_known_hosts_line(&self) -> String {
        self.line_for("other_key.pub")
    }

    fn line_for(&self, key: &str) -> String {
        let key = fs::read_to_string(self.folder.join(key)).unwrap();
        format!("[{}]:{} {key}", self.address.ip(), self.address.port())
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// How many commands (sessions, multiplexed or not) were started so far.
    pub fn sessions(&self) -> usize {
        self.log().matches("Starting session: ").count()
    }

    /// How many connections were authenticated so far.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}
