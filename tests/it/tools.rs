//! Programs of others that the tests use as clients; `tests/install` puts them there.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The folder that `tests/install` fills.
pub fn folder() -> PathBuf {
    std::env::var_os("PATCHPOST_TOOLS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools")),
        PathBuf::from,
    )
}

/// A program of the Python environment.
pub fn tool(name: &str) -> Command {
    Command::new(folder().join("venv/bin").join(name))
}

/// Runs a program; it must be there and succeed. What it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let out = output(command);
    assert!(out.status.success(), "{}", shown(command, &out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs a program, whatever comes of it.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}; `tests/install` installs it"))
}

/// A run for people who look for the reason of a failure.
pub fn shown(command: &Command, out: &Output) -> String {
    format!(
        "{command:?} {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// Runs a script of this folder in Python: a JSON value goes in at standard input, one comes out.
#[track_caller]
pub fn python(script: &str, arguments: &[&str], input: &serde_json::Value) -> serde_json::Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it")
        .join(script);
    let mut command = tool("python");
    // Isolated: a script's neighbours must not stand in for the packages that they are named after.
    command.arg("-I").arg(path).args(arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}; `tests/install` installs it"));
    let mut pipe = child.stdin.take().unwrap();
    let text = input.to_string();
    let writing = std::thread::spawn(move || pipe.write_all(text.as_bytes()));
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", shown(&command, &out));
    writing.join().unwrap().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&command, &out)))
}

/// Bytes as JSON carries them between the tests and their scripts: a character for each byte.
pub fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// And back.
pub fn from_text(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(c).expect("one byte for each character"))
        .collect()
}
