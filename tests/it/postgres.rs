//! One real PostgreSQL for the whole test run: started when the first test wants it, on a unix socket
//! in a temporary folder, and gone when the test process is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

struct Server {
    folder: PathBuf,
    programs: PathBuf,
    /// Stops the server and removes its folder when its standard input ends, which it does even when
    /// the test process is killed.
    _guard: Child,
}

const DEADLINE: Duration = Duration::from_secs(60);

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

/// The URL of a new, empty database that belongs to the caller alone.
pub fn new_database() -> String {
    let server = SERVER.get_or_init(start);
    let name = format!("test{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    query(server, "postgres", &format!("create database {name}"));
    format!(
        "postgres://postgres@localhost/{name}?host={}",
        server.folder.display()
    )
}

/// What the server has logged of a database, by its own name there.
pub fn log_of(url: &str) -> String {
    let server = SERVER.get().expect("who has a database has a server");
    let place = url.split('?').next().unwrap_or_default();
    let name = format!("[{}] ", place.rsplit('/').next().unwrap_or_default());
    let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
    let lines = log.lines().filter(|line| line.contains(&name));
    lines.collect::<Vec<_>>().join("\n")
}

fn query(server: &Server, database: &str, text: &str) -> String {
    let output = run(as_nobody(&server.programs.join("psql"))
        .args([
            "-X", "-q", "-A", "-t", "-U", "postgres", "-d", database, "-c", text,
        ])
        .arg("-h")
        .arg(&server.folder)
        .current_dir("/"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn start() -> Server {
    let programs = find_programs();
    let folder = tempfile::Builder::new()
        .prefix("patchpost-pg-")
        .tempdir_in("/tmp")
        .expect("a temporary folder")
        .keep();
    // PostgreSQL refuses to run as root, so its user must be able to write here.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open the folder");
    let data = folder.join("data");
    run(as_nobody(&programs.join("initdb"))
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"])
        // A locale that sorts unlike bytes: whoever forgets `collate "C"` finds out here.
        .args(locale(&programs))
        .arg("-D")
        .arg(&data)
        .current_dir("/"));
    let guard = guard(&programs, &folder, &data);
    let server = Server {
        folder,
        programs,
        _guard: guard,
    };
    wait_until_it_answers(&server);
    server
}

/// A shell that outlives the test process just long enough to stop the server and tidy up.
fn guard(programs: &Path, folder: &Path, data: &Path) -> Child {
    let script = r#"
        folder=$1
        shift
        "$@" >"$folder/log" 2>&1 </dev/null &
        server=$!
        cat >/dev/null
        kill -INT $server
        wait $server
        rm -rf "$folder"
    "#;
    let server = as_nobody(&programs.join("postgres"));
    Command::new("sh")
        .args(["-c", script, "guard"])
        .arg(folder)
        .arg(server.get_program())
        .args(server.get_args())
        .args([
            "-D".as_ref(),
            data.as_os_str(),
            "-k".as_ref(),
            folder.as_os_str(),
        ])
        .args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=300",
            "-c",
            "log_line_prefix=%m [%p] [%d] ",
        ])
        .current_dir("/")
        .stdin(Stdio::piped())
        .spawn()
        .expect("start PostgreSQL")
}

fn wait_until_it_answers(server: &Server) {
    let begun = Instant::now();
    while !server.folder.join(".s.PGSQL.5432").exists() || !is_ready(server) {
        if begun.elapsed() > DEADLINE {
            let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            panic!("PostgreSQL does not answer; its log:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_ready(server: &Server) -> bool {
    let status = Command::new(server.programs.join("pg_isready"))
        .args(["-q", "-h"])
        .arg(&server.folder)
        .status();
    status.is_ok_and(|s| s.success())
}

fn locale(programs: &Path) -> Vec<&'static str> {
    let help = run(Command::new(programs.join("initdb")).arg("--help"));
    // PostgreSQL 15 and later.
    if String::from_utf8_lossy(&help.stdout).contains("--icu-locale") {
        vec![
            "--locale=C.UTF-8",
            "--locale-provider=icu",
            "--icu-locale=en",
        ]
    } else {
        vec!["--locale=C.UTF-8"]
    }
}

/// The newest of Debian's installations, else the one in PATH.
fn find_programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return bin;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .expect("tests need PostgreSQL (Debian: the package postgresql); `make test` installs it")
}

fn run(command: &mut Command) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|e| {
        panic!("cannot run {command:?}: {e}; `make test` installs what tests need")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    output
}

/// A command that runs as `nobody` when the tests run as root.
fn as_nobody(program: &Path) -> Command {
    let id = run(Command::new("id").arg("-u"));
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
    command.arg(program);
    command
}

#[test]
fn a_database_is_new_and_sorts_unlike_bytes() {
    let first = new_database();
    let second = new_database();
    assert_ne!(first, second);
    let server = SERVER.get().expect("started by the line above");
    let name = first
        .rsplit_once('/')
        .and_then(|(_, rest)| rest.split_once('?'));
    let name = name.map(|(name, _)| name).unwrap_or_default();
    assert_eq!(
        query(
            server,
            "postgres",
            "select current_setting('server_encoding')"
        ),
        "UTF8"
    );
    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(query(server, name, tables), "0");
    assert_eq!(query(server, name, "select 'a' < 'B'"), "t");
}
