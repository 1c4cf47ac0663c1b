//! A real PostgreSQL for the test run, started as an unprivileged user in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

struct Server {
    port: u16,
    _dir: tempfile::TempDir,
    child: Mutex<Child>,
}

static SERVER: LazyLock<Server> = LazyLock::new(start);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The URL of a database that nobody else uses.
pub fn new_database() -> String {
    let name = format!(
        "test_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let port = SERVER.port.to_string();
    let out = Command::new("psql")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-c",
            &format!("create database {name}"),
            "postgres",
        ])
        .output()
        .expect("psql is installed");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    format!("postgres://postgres@127.0.0.1:{port}/{name}")
}

fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .map(|e| e.path().join("bin").join(name))
                .filter(|p| p.exists())
                .collect()
        })
        .unwrap_or_default();
    found.sort();
    found.pop().unwrap_or_else(|| {
        panic!("PostgreSQL is not installed: no {name}; `tests/install` installs it")
    })
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|o| o.stdout.starts_with(b"0\n"));
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=nobody",
            "--regid=nogroup",
            "--clear-groups",
            "--pdeathsig=KILL",
        ])
        .arg(program);
    command
}

fn start() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("pg");
    std::fs::create_dir(&data).unwrap();
    // The unprivileged user must reach and own it.
    for step in [vec!["chmod", "755"], vec!["chown", "nobody:nogroup"]] {
        let target = if step[0] == "chmod" {
            dir.path()
        } else {
            &data
        };
        Command::new(step[0])
            .arg(step[1])
            .arg(target)
            .status()
            .unwrap();
    }
    let out = unprivileged(&program("initdb"))
        .args([
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ])
        .arg(&data)
        .current_dir(&data)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = unprivileged(&program("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
        .arg(&data)
        .current_dir(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server {
        port,
        _dir: dir,
        child: Mutex::new(child),
    };
    for _ in 0..600 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            let ready = Command::new("psql")
                .args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &port.to_string(),
                    "-U",
                    "postgres",
                    "-c",
                    "select 1",
                    "postgres",
                ])
                .output();
            if ready.is_ok_and(|o| o.status.success()) {
                return server;
            }
        }
        let ended = server.child.lock().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "PostgreSQL ended at once: {ended:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("PostgreSQL did not start");
}
