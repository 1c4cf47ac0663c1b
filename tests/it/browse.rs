//! Who may read a list, and whose membership elsewhere counts.

use super::harness::{Database, TestServer, on_both};
use super::identity::{LIST, Site, mail};

on_both! {
    members_of_any_list_here_may_write_if_the_list_says_so,
    who_may_read_a_private_list_joins_it_and_nobody_else_does,
}

const ANA: &str = "Ana Lima <ana@example.org>";
const BEN: &str = "Ben <ben@example.org>";
const SECRET: &str = "secret@lists.example.org";

#[track_caller]
fn said(site: &Site, to: &str, mail: &[u8], code: &str) {
    let reply = site.server.send(&[to], mail);
    assert!(reply.starts_with(code), "{reply}");
}

fn members_of_any_list_here_may_write_if_the_list_says_so(database: Database) {
    let site = Site::start_on(database, &[]);
    let server = &site.server;
    server.cli(&[
        "list",
        "create",
        "other",
        "--address",
        "other@lists.example.org",
    ]);
    server.cli(&["list", "create", "secret", "--address", SECRET, "--private"]);
    server.cli(&["member", "add", "other", "ana@example.org"]);
    server.cli(&["member", "add", "secret", "ben@example.org"]);
    server.cli(&["policy", "set", "dev", "--anybody", "browse"]);
    let from = |id: &str, who: &str| mail(id, who, "hello", "text\n");
    said(&site, LIST, &site.sign(&from("a1@x", ANA)), "550 5.7.1");
    server.cli(&["policy", "set", "dev", "--any-list", "on"]);
    assert!(server.cli(&["policy", "show", "dev"]).contains("any-list"));
    site.send(&site.sign(&from("a2@x", ANA)));
    assert_eq!(server.get("/dev/a2@x/").status, 200);
    // In her name is not she, and a list that is not public is nowhere known.
    said(&site, LIST, from("a3@x", ANA).as_bytes(), "550 5.7.1");
    said(&site, LIST, &site.sign(&from("b1@x", BEN)), "550 5.7.1");
    // Of a list in a realm of its own only its own members count.
    server.cli(&[
        "policy",
        "set",
        "secret",
        "--anybody",
        "none",
        "--any-list",
        "on",
    ]);
    said(&site, SECRET, &site.sign(&from("a4@x", ANA)), "550 5.7.1");
    said(&site, SECRET, &site.sign(&from("b2@x", BEN)), "250");
    // Another address of hers is she, once that is confirmed.
    let work = "Ana <ana@mail.example.org>";
    said(&site, LIST, &site.sign(&from("w1@x", work)), "550 5.7.1");
    server.cli(&["member", "link", "ana@example.org", "ana@mail.example.org"]);
    said(&site, LIST, &site.sign(&from("w2@x", work)), "250");
    // Strangers' first mails are held; hers is no stranger's.
    let held = [
        "policy",
        "set",
        "dev",
        "--anybody",
        "browse,reply,post",
        "--moderation",
        "strangers",
    ];
    server.cli(&held);
    server.cli(&["member", "add", "other", "eve@example.org"]);
    site.send(&site.sign(&from("e1@x", "Eve <eve@example.org>")));
    assert_eq!(server.get("/dev/e1@x/").status, 200);
    said(&site, LIST, &site.sign(&from("b3@x", BEN)), "250");
    server.drain();
    assert_eq!(server.get("/dev/b3@x/").status, 404);
}

fn letters(server: &TestServer, to: &str) -> Vec<String> {
    let folder = server.data().join("outbox");
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let texts = files.filter_map(|f| std::fs::read_to_string(f.unwrap().path()).ok());
    let ours = |t: &String| t.contains("Auto-Submitted:") && t.contains(&format!("To: {to}"));
    texts.filter(ours).collect()
}

fn who_may_read_a_private_list_joins_it_and_nobody_else_does(database: Database) {
    let site = Site::start_on(database, &[]);
    let server = &site.server;
    server.cli(&["list", "create", "secret", "--address", SECRET, "--private"]);
    server.cli(&[
        "policy",
        "set",
        "secret",
        "--person",
        "ana@example.org=browse,reply",
    ]);
    server.cli(&[
        "policy",
        "set",
        "secret",
        "--person",
        "eve@example.org=reply,post",
    ]);
    let to = "secret+subscribe@lists.example.org";
    let ask = |id: &str, who: &str| {
        let text = mail(id, who, "", "\n").replace(LIST, to);
        said(&site, to, &site.sign(&text), "250");
    };
    ask("b1@x", BEN);
    ask("e1@x", "Eve <eve@example.org>");
    ask("a1@x", ANA);
    let asked = server.wait_for("the confirmation", || letters(server, "ana@").pop());
    let reply_to = asked.lines().find_map(|l| l.strip_prefix("Reply-To: "));
    let reply_to = reply_to.unwrap().trim().to_owned();
    let text = mail("a2@x", ANA, "Re: confirm", "\n").replace(LIST, &reply_to);
    said(&site, &reply_to, &site.sign(&text), "250");
    let members = server.json(&["member", "ls", "secret"]);
    assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    assert_eq!(members[0]["address"], "ana@example.org");
    server.drain();
    assert!(letters(server, "eve@").is_empty() && letters(server, "ben@").is_empty());
    // Reading on the web is for those who need no right: such a list is not there, whoever has one.
    for path in [
        "/secret/",
        "/secret/join/",
        "/secret/new.atom",
        "/secret/?q=x",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}
