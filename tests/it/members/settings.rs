//! What members get: of their own mail, of mail that names them, as an archive; and how members come from other servers.

use super::super::harness::{Copy, Database, Sink, TestServer, on_both};
use super::{LIST, field, start, swaks};

on_both! {
    each_member_gets_what_he_wants_and_an_archive_no_token,
    members_come_and_go_as_files,
}

/// Who got copies of the mail with that word in it.
#[track_caller]
fn copies(server: &TestServer, sink: &Sink, word: &str, count: usize) -> Vec<(String, String)> {
    server.drain();
    let of = |c: &Copy| !c.sender.is_empty() && String::from_utf8_lossy(&c.bytes).contains(word);
    let mut all: Vec<(String, String)> = server.wait_for("the copies", || {
        let all: Vec<Copy> = sink.all().into_iter().filter(of).collect();
        (all.len() >= count).then(|| {
            let text = |c: &Copy| String::from_utf8_lossy(&c.bytes).into_owned();
            all.iter()
                .map(|c| (c.recipients[0].clone(), text(c)))
                .collect()
        })
    });
    all.sort();
    all
}

fn to(copies: &[(String, String)]) -> Vec<&str> {
    copies.iter().map(|c| c.0.as_str()).collect()
}

fn each_member_gets_what_he_wants_and_an_archive_no_token(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&[
        "member",
        "add",
        "dev",
        "ana@example.org",
        "ben@example.com",
        "archive@example.net",
    ]);
    server.cli(&[
        "member",
        "set",
        "dev",
        "archive@example.net",
        "--kind",
        "archive",
    ]);
    let named = |id: &str| {
        let mail = format!(
            "From: Ana <ana@example.org>\nTo: {LIST}\nCc: Ben <Ben@home.example>, ben@example.com\nMessage-ID: <{id}@x>\nSubject: {id}\n\nx\n"
        );
        assert!(server.send(&[LIST], mail.as_bytes()).starts_with("250"));
    };
    named("everybody");
    let all = copies(&server, &sink, "everybody", 3);
    assert_eq!(
        to(&all),
        ["ana@example.org", "archive@example.net", "ben@example.com"]
    );
    for (who, copy) in &all {
        let ways = field(copy, "List-Unsubscribe").unwrap();
        let plain = "<mailto:dev+unsubscribe@lists.example.org>";
        let archive = who == "archive@example.net";
        assert_eq!(ways == plain, archive, "{who}: {ways}");
        assert_eq!(field(copy, "List-Unsubscribe-Post").is_none(), archive);
        assert_eq!(copy.contains("/u/"), !archive);
        let cc = field(copy, "Cc").unwrap();
        assert_eq!(
            cc, "Ben <Ben@home.example>, ben@example.com",
            "Cc is never edited"
        );
    }

    // Nor a token that would confirm that it leaves: whoever asked in its name could read it there.
    for who in ["archive@example.net", "ben@example.com"] {
        swaks(&server, who, "dev+unsubscribe@lists.example.org", "leave");
    }
    let asked = || {
        let mut all = sink.all();
        all.retain(|c| String::from_utf8_lossy(&c.bytes).contains("Subject: Please confirm"));
        all.into_iter()
            .flat_map(|c| c.recipients)
            .collect::<Vec<_>>()
    };
    server.wait_for("a question", || (!asked().is_empty()).then_some(()));
    assert_eq!(asked(), ["ben@example.com"]);

    // Off on style patch, unless a member wants it; an address that is linked counts as well.
    server.cli(&["member", "set", "dev", "ben@example.com", "--nodupes", "on"]);
    named("nodupes");
    let some = copies(&server, &sink, "nodupes", 2);
    assert_eq!(to(&some), ["ana@example.org", "archive@example.net"]);
    server.cli(&["member", "rm", "dev", "ben@example.com"]);
    server.cli(&["member", "add", "dev", "ben@work.example"]);
    server.cli(&[
        "member",
        "set",
        "dev",
        "ben@work.example",
        "--nodupes",
        "on",
    ]);
    server.cli(&["member", "link", "ben@home.example", "ben@work.example"]);
    named("linked");
    let some = copies(&server, &sink, "linked", 2);
    assert_eq!(to(&some), ["ana@example.org", "archive@example.net"]);
    // On where the style is discuss.
    server.cli(&[
        "member",
        "set",
        "dev",
        "ben@work.example",
        "--nodupes",
        "default",
    ]);
    server.cli(&["list", "set", "dev", "--style", "discuss"]);
    named("discussed");
    let some = copies(&server, &sink, "discussed", 2);
    assert_eq!(to(&some), ["ana@example.org", "archive@example.net"]);

    // A forged From keeps nothing from the one in whose name it is.
    server.cli(&["member", "set", "dev", "ana@example.org", "--own", "off"]);
    named("forged");
    let some = copies(&server, &sink, "forged", 2);
    assert_eq!(to(&some), ["ana@example.org", "archive@example.net"]);
    server.cli(&["member", "set", "dev", "ana@example.org", "--mail", "off"]);
    swaks(&server, "chen@example.net", LIST, "paused");
    let some = copies(&server, &sink, "paused", 2);
    assert_eq!(to(&some), ["archive@example.net", "ben@work.example"]);
    let said = server.cli_fails(&["member", "set", "dev", "nobody@example.org", "--own", "off"]);
    assert!(said.contains("not among the members of dev"), "{said}");
    assert!(
        server
            .cli_fails(&["member", "set", "dev", "ana@example.org"])
            .contains("say what to change")
    );
}

fn members_come_and_go_as_files(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&[
        "list",
        "create",
        "other",
        "--address",
        "other@lists.example.org",
    ]);
    let folder = server.dir.path().to_owned();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let csv = "address,mail,nodupes,own,kind\nana@example.org,no,yes,no,person\narchive@example.net,yes,default,yes,archive\n";
    let said = server.cli(&["member", "import", "dev", &file("m.csv", csv)]);
    assert!(said.contains("2 new members"), "{said}");
    let written = server.cli(&["member", "export", "dev"]);
    let expected = csv
        .replace("ana@example.org", "\"ana@example.org\"")
        .replace("archive@example.net", "\"archive@example.net\"");
    assert_eq!(written, expected);
    server.cli(&["member", "import", "other", &file("again.csv", &written)]);
    assert_eq!(server.cli(&["member", "export", "other"]), written);

    let mailman = "Ana Lima <ana@example.org>\nben@example.com\n";
    let said = server.cli(&["member", "import", "dev", &file("mailman.txt", mailman)]);
    assert!(said.contains("1 new member, 1 there already"), "{said}");
    assert!(
        server
            .cli(&["member", "export", "dev"])
            .contains("\"ana@example.org\",no,yes"),
        "settings stay"
    );
    file("mlmmj/subscribers.d/a", "amy@example.org\n");
    file("mlmmj/subscribers.d/b", "bo@example.org\nbob@example.org\n");
    file("mlmmj/nomailsubs.d/n", "nomail@example.org\n");
    file("mlmmj/digesters.d/d", "digest@example.org\n");
    let mlmmj = folder.join("mlmmj").display().to_string();
    let said = server.cli(&["member", "import", "dev", &mlmmj]);
    assert!(said.contains("5 new members"), "{said}");
    let all = server.cli(&["member", "export", "dev"]);
    assert!(
        all.contains("\"nomail@example.org\",no") && all.contains("\"digest@example.org\",yes"),
        "{all}"
    );

    // All or none: what cannot be is said, and nothing is changed.
    for (text, why) in [
        ("x@example.org\nno address\n", "line 2"),
        ("Adresse;Name\nx@example.org;X\n", "line 1"),
        (
            "x@example.org\ndev@lists.example.org\n",
            "is the list itself",
        ),
        (
            "x@example.org\ndev+owner@lists.example.org\n",
            "is the list itself",
        ),
        (
            "x@example.org\nother+subscribe@lists.example.org\n",
            "takes commands",
        ),
    ] {
        let said = server.cli_fails(&["member", "import", "dev", &file("bad.txt", text)]);
        assert!(said.contains(why), "{text}: {said}");
    }
    // All that is wrong is named at once, each with its line.
    let mut text = "x@example.org\nno address\ny@example.org\nnor this\n".to_owned();
    let said = server.cli_fails(&["member", "import", "dev", &file("bad.txt", &text)]);
    for words in [
        "bad.txt has 2 lines that cannot be read",
        "\n  line 2: ",
        "\n  line 4: ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    text.push_str(&"odd\n".repeat(30));
    let said = server.cli_fails(&["member", "import", "dev", &file("bad.txt", &text)]);
    assert!(
        said.contains("has 32 lines that") && said.contains("\n  line 22: "),
        "{said}"
    );
    assert!(said.contains("\n  and 12 more"), "{said}");
    assert_eq!(said.matches("\n  line ").count(), 20, "{said}");
    assert_eq!(server.cli(&["member", "export", "dev"]), all);
    let said = server.cli(&["member", "add", "dev", "other@lists.example.org"]);
    assert!(
        said.contains("1 new member"),
        "another list may be a member: {said}"
    );
    let pickle = file("config.pck", "}q\u{1}(U\u{5}");
    let said = server.cli_fails(&["member", "import", "dev", &pickle]);
    assert!(said.contains("list_members"), "{said}");
    assert!(sink.all().is_empty(), "nobody gets a mail about it");
}
