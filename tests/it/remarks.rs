//! Remarks on a version's page: real patches, answered as mail clients answer, followed into the next version.

use super::harness::{Database, TestServer, change, git, on_both, project, send_email};

on_both! {
    remarks_stand_below_their_lines_and_are_followed_into_the_next_version,
}

const LIST: &str = "dev@lists.example.org";
const LONG: &str = "line 30 and now a very long one that every mail client in the world wraps when somebody answers, as it has 120 letters";

/// A list, and the first version of two patches; Message-IDs of the cover and of both.
fn first_version(server: &TestServer) -> (std::path::PathBuf, Vec<String>) {
    let work = project(server.dir.path());
    server.cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    server.cli(&["list", "create", "dev", "--address", LIST, "--repo", "tool"]);
    git(&work, &["checkout", "-q", "-b", "topic"]);
    first_patch(&work, "line twenty");
    change(
        &work,
        "src/a.c",
        "line 38\n",
        "line 38!\n",
        "Shout at the end",
    );
    let options = ["--cover-letter", "--force", "-2"];
    send_email(server, &work, LIST, &options);
    server.drain();
    let all = server.json(&["series", "ls"]);
    let mut names = vec![all[0]["cover"].as_str().unwrap().to_owned()];
    for patch in all[0]["patches"].as_array().unwrap() {
        names.push(patch["message_id"].as_str().unwrap().to_owned());
    }
    (work, names)
}

/// One commit that changes three lines of a file, and another file if the first version is made.
fn first_patch(work: &std::path::Path, twenty: &str) {
    let readme = work.join("README");
    if twenty == "line twenty" {
        std::fs::write(&readme, "A small project\n").unwrap();
    }
    let path = work.join("src/a.c");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text
        .replace("line 3\n", "line three\n")
        .replace("line 20\n", &format!("{twenty}\n"))
        .replace("line 30\n", &format!("{LONG}\n"));
    std::fs::write(&path, text).unwrap();
    git(work, &["commit", "-q", "-am", "Spell numbers"]);
}

fn answer(server: &TestServer, id: &str, from: &str, parent: &str, rest: &str) {
    let mail = format!(
        "From: {from}\nSubject: Re: [PATCH 1/2] Spell numbers\nMessage-ID: <{id}>\nIn-Reply-To: <{parent}>\n\
         Date: Mon, 18 Mar 2024 10:{:02}:00 +0000\n{rest}",
        id.len()
    );
    assert!(server.send(&[LIST], mail.as_bytes()).starts_with("250"));
    server.drain();
}

/// The page without what marks changes within lines.
fn page(server: &TestServer, path: &str) -> String {
    let page = server.page(path);
    page.replace("<mark>", "").replace("</mark>", "")
}

/// The remarks right below the row that holds `line`, as text.
fn below(page: &str, line: &str) -> Vec<String> {
    let row = format!(">{line}\n</span></pre>");
    let Some((_, rest)) = page.split_once(&row) else {
        return Vec::new();
    };
    let end = rest.find("<pre class=\"rowset\">").unwrap_or(rest.len());
    remarks(&rest[..end])
}

/// The remarks in a piece of a page: author, pills, and what is said.
fn remarks(piece: &str) -> Vec<String> {
    let one = |text: &str| {
        let text = text.split("</article>").next().unwrap_or_default();
        let between = |start: &str, end: &str| {
            let (_, rest) = text.split_once(start)?;
            Some(rest.split(end).next().unwrap_or_default().trim().to_owned())
        };
        let pills: Vec<&str> = text
            .split("<span class=\"pill ")
            .skip(1)
            .chain(text.split("<span class=\"pill\">").skip(1))
            .map(|p| p.split('<').next().unwrap_or_default())
            .map(|p| p.rsplit("\">").next().unwrap_or_default())
            .collect();
        let depth = text
            .trim_start()
            .split('"')
            .next()
            .unwrap_or_default()
            .trim();
        let said = between("<div class=\"said\">", "</div>").unwrap_or_default();
        let mut pills: Vec<&str> = pills.into_iter().filter(|p| !p.is_empty()).collect();
        pills.sort_unstable();
        format!(
            "{depth} {}: {said} {pills:?}",
            between("<bdi>", "</bdi>").unwrap_or_default()
        )
    };
    piece
        .split("<article class=\"remark ")
        .skip(1)
        .map(one)
        .collect()
}

/// Answers as mutt, Gmail and Thunderbird write them, to the first patch and to each other.
fn answer_as_people_do(server: &TestServer, names: &[String]) {
    let mutt = "\nOn Mon, Mar 18, 2024 at 09:11:12AM +0000, Ana Lima wrote:\n> diff --git a/README b/README\n> --- a/README\n\
        > +++ b/README\n> @@ -1 +1 @@\n> -A project\n> +A small project\n\nIt is not small.\n\n[...]\n> @@ -1,6 +1,6 @@\n>  line 1\n>  line 2\n\
        > -line 3\n> +line three\n\nWhy in words?\n<img src=x onerror=alert(1)> </pre><script>alert(1)</script>\n\n> -line 20\n\
        > +line twenty\n\nAnd here?\n\nReviewed-by: Ben Ode <ben@example.com>\n-- \nBen\n";
    answer(
        server,
        "m@ben",
        "Ben Ode <ben@example.com>",
        &names[1],
        mutt,
    );
    let nested = "\n> > +line three\n> \n> Why in words?\n\nBecause they are read aloud.\n\n>> -line 20\n>> +line twenty\n> And here?\nTrue.\n";
    answer(
        server,
        "mm@ana",
        "Ana Lima <ana@example.org>",
        "m@ben",
        nested,
    );
    // Gmail: the line that says who wrote is wrapped, long quoted lines are without a mark, and there is HTML beside it.
    let (head, tail) = LONG.split_at(LONG[..72].rfind(' ').unwrap());
    let gmail = format!(
        "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"b\"\n\n--b\nContent-Type: text/plain; charset=\"UTF-8\"\n\n\
         Nice, Ana! One thing below, else fine.\n\nOn Mon, Mar 18, 2024 at 9:11 AM Ana Lima\n<ana@example.org> wrote:\n>\n> -line 30\n> +{}\n{}\n\n\
         Too long.\n\n--b\nContent-Type: text/html; charset=\"UTF-8\"\n\n<div dir=\"ltr\">HTML-ONLY-WORDS</div>\n\n--b--\n",
        head.trim_end(),
        tail.trim_start()
    );
    answer(
        server,
        "mmm@chen",
        "Chen <chen@example.net>",
        &names[1],
        &gmail,
    );
    // Thunderbird: format=flowed (RFC 3676), a blank before the line's end says that it goes on.
    let flowed = format!(
        "Content-Type: text/plain; charset=UTF-8; format=flowed\n\nOn 18.03.24 09:11, Ana Lima wrote:\n> +{} \n> {}\nI like it.\n",
        head.trim_end(),
        tail.trim_start()
    );
    answer(
        server,
        "mmmm@dee",
        "Dee <dee@example.net>",
        &names[1],
        &flowed,
    );
    // The next one quotes only what was answered.
    let only = "\n> I like it.\nSo do I.\n";
    answer(
        server,
        "mmmmm@eve",
        "Eve <eve@example.net>",
        "mmmm@dee",
        only,
    );
    let second = "\n> -line 38\n> +line 38!\nNo need to shout.\n";
    answer(
        server,
        "mmmmmm@ben",
        "Ben Ode <ben@example.com>",
        &names[2],
        second,
    );
}

fn remarks_stand_below_their_lines_and_are_followed_into_the_next_version(database: Database) {
    let server = TestServer::start_on(database);
    let (work, names) = first_version(&server);
    answer_as_people_do(&server, &names);

    let first = page(&server, "/dev/patches/1/");
    assert_eq!(
        below(&first, "+A small project"),
        ["d0 Ben Ode: It is not small. []"]
    );
    let harmless = "&#60;img src=x onerror=alert(1)&#62; &#60;/pre&#62;&#60;script&#62;alert(1)&#60;/script&#62;";
    assert_eq!(
        below(&first, "+line three"),
        [
            format!("d0 Ben Ode: Why in words?\n{harmless} []"),
            "d1 Ana Lima: Because they are read aloud. []".to_owned()
        ]
    );
    assert_eq!(
        below(&first, "+line twenty"),
        [
            "d0 Ben Ode: And here?\n\nReviewed-by: Ben Ode &#60;ben@example.com&#62; []",
            "d1 Ana Lima: True. []"
        ]
    );
    let long = format!("+{LONG}");
    assert_eq!(
        below(&first, &long),
        [
            "d0 Chen: Too long. []",
            "d0 Dee: I like it. []",
            "d1 Eve: So do I. []"
        ]
    );
    assert_eq!(
        below(&first, "+line 38!"),
        ["d0 Ben Ode: No need to shout. []"]
    );
    let whole = first.split("On this patch as a whole").nth(1).unwrap();
    let whole = whole.split("</article>").next().unwrap();
    assert_eq!(
        remarks(whole),
        ["d0 Chen: Nice, Ana! One thing below, else fine. []"]
    );
    for words in [
        "not authenticated",
        "<a href=\"/dev/m@ben/\">mail</a>",
        ">9 remarks<",
        ">1 remark<",
    ] {
        assert!(first.contains(words), "{words}: {first}");
    }
    for gone in [
        "<img",
        "HTML-ONLY-WORDS",
        "<script>alert",
        "more in the thread",
    ] {
        assert!(!first.contains(gone), "{gone}: {first}");
    }

    git(&work, &["checkout", "-q", "-b", "topic2", "main"]);
    first_patch(&work, "line 20 in words");
    let reply_to = format!("--in-reply-to=<{}>", names[0]);
    send_email(&server, &work, LIST, &["-v2", &reply_to, "-1"]);
    server.drain();
    let own = "\n> -line 20\n> +line 20 in words\nBetter.\n";
    let versions = server.json(&["series", "show", "1"]);
    let second = versions[1]["patches"][0]["message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    answer(
        &server,
        "mmmmmmm@ben",
        "Ben Ode <ben@example.com>",
        &second,
        own,
    );

    let later = page(&server, "/dev/patches/1/");
    assert!(later.contains("v2 by"), "{later}");
    assert_eq!(
        below(&later, "+line three")[1],
        "d1 Ana Lima: Because they are read aloud. [\"line unchanged\", \"on v1\"]"
    );
    assert_eq!(
        below(&later, "-line 20")[1],
        "d1 Ana Lima: True. [\"line changed\", \"on v1\"]"
    );
    assert_eq!(below(&later, &long).len(), 3);
    assert_eq!(
        below(&later, "+line 20 in words"),
        ["d0 Ben Ode: Better. []"]
    );
    let gone = later.split("On lines that are gone").nth(1).unwrap();
    let gone = gone.split("<details").next().unwrap();
    assert_eq!(
        remarks(gone),
        ["d0 Ben Ode: It is not small. [\"gone\", \"on v1\"]"]
    );
    assert!(
        gone.contains("<pre class=\"about\">+A small project</pre>"),
        "{gone}"
    );
    let dropped = later
        .split("On a patch that is not in this version")
        .nth(1)
        .unwrap();
    assert!(
        dropped.contains("patch 2 of v1: Shout at the end"),
        "{dropped}"
    );
    let dropped = dropped.split("id=\"discussion\"").next().unwrap();
    assert_eq!(
        remarks(dropped),
        ["d0 Ben Ode: No need to shout. [\"gone\", \"on v1\"]"]
    );
    // What was said of the first version as a whole is not said of this one.
    assert!(!later.contains("One thing below"), "{later}");
    // The first version's page is as it was.
    let again = page(&server, "/dev/patches/1/v1/");
    assert_eq!(below(&again, "+line three").len(), 2);
    assert!(!again.contains("on v1<") && !again.contains("Better."));
}
