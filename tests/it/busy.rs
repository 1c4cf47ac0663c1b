//! Readers who ask for as much as they can keep no mail out, and are told so in plain words.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::harness::{Database, TestServer, change, git, on_both, project, request};

on_both!(mail_is_taken_while_many_search_for_all_they_can);

/// Mails whose words are all different and begin alike: `abc*` has to put together hundreds of thousands of lists.
fn words(mail: usize) -> String {
    let word = |n: usize| format!("abc{mail:x}g{n:x}");
    let lines: Vec<String> = (0..8_000)
        .step_by(8)
        .map(|line| (line..line + 8).map(word).collect::<Vec<_>>().join(" "))
        .collect();
    format!(
        "From: Ana <ana@example.org>\nSubject: words {mail}\nMessage-ID: <w{mail}@x>\n\n{}\n",
        lines.join("\n")
    )
}

fn mail_is_taken_while_many_search_for_all_they_can(database: Database) {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let mbox = server.dir.path().join("words.mbox");
    let mails: Vec<String> = (0..40)
        .map(|n| format!("From mboxrd@z Thu Jan  1 00:00:00 1970\n{}\n", words(n)))
        .collect();
    std::fs::write(&mbox, mails.concat()).unwrap();
    server.cli(&["import", "dev", mbox.to_str().unwrap()]);

    let (enough, answered, told) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let hostile = [
        "GET /dev/?q=abc*+NOT+abd*+NOT+(abe*+OR+abcz*) HTTP/1.1",
        "GET /all/?q=m:nobody@x+OR+abc* HTTP/1.1",
        "GET /all/?q=m:nobody@x HTTP/1.1",
        "POST /dev/?x=m&t=1&q=abc* HTTP/1.1",
        "GET /dev/patches/?state=any&words=a+b+c+d+e+f+g+h HTTP/1.1",
    ];
    std::thread::scope(|scope| {
        for at in 0..24 {
            let line = hostile[at % hostile.len()];
            let (address, enough, answered, told) =
                (&server.addresses["http"], &enough, &answered, &told);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let text = format!(
                        "{line}\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    );
                    let answer = request(address, &text);
                    if answer.status == 503 {
                        assert!(answer.header("Retry-After").is_some(), "{}", answer.head);
                        let text = answer.text();
                        assert!(
                            text.contains("Too many searches") || text.contains("takes too long"),
                            "{text}"
                        );
                        told.fetch_add(1, Ordering::Relaxed);
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        server.wait_for("searches to be answered", || {
            (answered.load(Ordering::Relaxed) >= 24).then_some(())
        });
        for n in 0..30 {
            let mail =
                format!("From: Ben <b@x>\nSubject: live {n}\nMessage-ID: <live{n}@x>\n\nx\n");
            let reply = server.send(&["dev@x.org"], mail.as_bytes());
            assert!(reply.starts_with("250"), "{reply}");
        }
        // Filed too, and shown: other pages do not wait for searches.
        server.wait_for("the last mail's page", || {
            (server.get("/dev/live29@x/").status == 200).then_some(())
        });
        enough.store(true, Ordering::Relaxed);
    });
    println!(
        "{} searches answered, {} told to come again",
        answered.into_inner(),
        told.into_inner()
    );
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 70);
    // Whoever asks for one mail gets it, by the name it has or had elsewhere.
    assert!(server.page("/dev/?q=m:live7@x").contains("live 7"));
}

/// The `git upload-pack`s of a server: processes whose parent it is.
fn children(server: &TestServer) -> usize {
    let parent = format!("\nPPid:\t{}\n", server.pid());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let statuses = processes.filter_map(|p| std::fs::read_to_string(p.path().join("status")).ok());
    statuses
        .filter(|s| s.contains(&parent) && !s.contains("\nState:\tZ"))
        .count()
}

fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

#[test]
fn clients_that_do_not_read_what_they_fetch_are_bounded_and_leave_nothing_behind() {
    let server = TestServer::start();
    let work = project(server.dir.path());
    // Nothing packs it: it fills every buffer on the way.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(24 << 20)
    .collect();
    std::fs::write(work.join("noise"), noise).unwrap();
    git(&work, &["add", "."]);
    change(&work, "README", "A", "Any", "Noise");
    let tip = git(&work, &["rev-parse", "HEAD"]);
    server.cli(&["repo", "add", "tool", "--path", work.to_str().unwrap()]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@x.org",
        "--repo",
        "tool",
    ]);
    let body = [
        line("command=fetch"),
        "0001".to_owned(),
        line("no-progress"),
        line(&format!("want {tip}\n")),
        line("done\n"),
        "0000".to_owned(),
    ]
    .concat();
    let ask = format!(
        "POST /tool.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nGit-Protocol: version=2\r\n\
         Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let lazy: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.addresses["http"]).unwrap();
            stream.write_all(ask.as_bytes()).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            stream
        })
        .collect();
    assert_eq!(children(&server), 8);
    let refs = "/tool.git/info/refs?service=git-upload-pack";
    let answer = server.get(refs);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("Retry-After").is_some(), "{}", answer.head);
    assert!(
        answer.text().contains("Too many clones and fetches"),
        "{}",
        answer.text()
    );
    assert_eq!(server.get("/dev/").status, 200, "reading goes on");
    drop(lazy);
    server.wait_for("their processes to end", || {
        (children(&server) == 0).then_some(())
    });
    let url = format!("{}/tool.git", server.base());
    git(server.dir.path(), &["clone", "-q", &url, "cloned"]);
    assert_eq!(
        git(&server.dir.path().join("cloned"), &["rev-parse", "HEAD"]),
        tip
    );
}

#[test]
fn a_source_that_says_nothing_is_given_up_with_all_that_was_started_for_it() {
    let server = TestServer::start_with(&[("PATCHPOST_REPOS_FETCH_SECONDS", "1")]);
    let work = project(server.dir.path());
    server.cli(&["repo", "add", "tool", "--path", work.to_str().unwrap()]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/tool.git", listener.local_addr().unwrap());
    // It is taken and kept, and never answered.
    let keeping = std::thread::spawn(move || listener.accept().map(|(stream, _)| stream));
    let clone = server.data().join("repos/tool.git");
    git(&clone, &["config", "remote.origin.url", &silent]);
    let said = server.cli_fails(&["repo", "fetch", "tool"]);
    assert!(said.contains("within 1 seconds"), "{said}");
    let listed = server.cli(&["repo", "ls"]);
    assert!(listed.contains("within 1 seconds"), "{listed}");
    server.wait_for("its processes to end", || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
        let named = |l: Vec<u8>| String::from_utf8_lossy(&l).contains(&silent);
        (!lines.any(named)).then_some(())
    });
    drop(keeping.join().unwrap());
    git(
        &clone,
        &["config", "remote.origin.url", work.to_str().unwrap()],
    );
    server.cli(&["repo", "fetch", "tool"]);
}
