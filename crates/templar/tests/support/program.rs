//! Running the program in a place of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// A folder with nothing of the user's in reach: no settings, no wallets, no cached text.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The program, not started yet.
    pub fn templar(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TEMPLAR_")) {
            command.env_remove(name);
        }
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(name, self.folder.path().join("home"));
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.templar(arguments).output().unwrap()
    }

    /// Runs it with this as its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.templar(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs it, expects success, gives its stdout.
    pub fn stdout(&self, arguments: &[&str]) -> String {
        succeeded(self.run(arguments))
    }

    /// Runs it, expects this exit code, gives its stderr.
    pub fn failure(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains("error:") || stderr.contains(r#"{"error":{"#), "{arguments:?}: {stderr}");
        stderr
    }

    /// Runs it, expects success, reads its stdout as one JSON document.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.stdout(arguments)).unwrap()
    }

    /// Starts it and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self.templar(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (read, heard) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).all(|line| read.send(line).is_ok()));
        Running { child, lines: heard }
    }
}

/// Expects success and gives the stdout.
pub fn succeeded(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Asks a server of ours: status and JSON of the answer. `base` is an address such as `http://127.0.0.1:8000/v1`; with a
/// body it is a POST.
pub fn http(base: &str, path: &str, key: &str, body: Option<&serde_json::Value>) -> (u16, serde_json::Value) {
    let (host, prefix) = base.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (method, body) = body.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
    let head = format!(
        "{method} /{prefix}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// The text at an address, such as that of metrics.
pub fn fetch_text(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{url}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// How long a process may be silent while it is waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// A process that goes on; it is killed when this is dropped.
pub struct Running {
    child: Child,
    /// Its stdout, until it ends.
    lines: Receiver<String>,
}

impl Running {
    /// The next line on its stdout; none at the end.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the process said nothing for {PATIENCE:?}"),
        }
    }

    /// The next line of JSON on its stdout.
    pub fn event(&mut self) -> serde_json::Value {
        let line = self.line().unwrap_or_else(|| panic!("the process ended: {:?}", self.child.wait()));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Reads on until there is such an event.
    pub fn wait_for(&mut self, is_wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            let event = self.event();
            if is_wanted(&event) {
                return event;
            }
        }
    }

    /// Asks it to stop as Ctrl-C does, and gives its exit code and its last event.
    pub fn interrupt(self) -> (Option<i32>, serde_json::Value) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.end()
    }

    /// Waits until it ends by itself, and gives its exit code and its last event.
    pub fn end(mut self) -> (Option<i32>, serde_json::Value) {
        let mut last = serde_json::Value::Null;
        while let Some(line) = self.line() {
            last = serde_json::from_str(&line).unwrap();
        }
        (self.child.wait().unwrap().code(), last)
    }

    /// Kills it, as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
