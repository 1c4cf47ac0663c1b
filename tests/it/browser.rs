//! The pages in a real browser: wide and narrow, light and dark, with nothing in the console, nothing that scrolls
//! sideways, and no serious finding of axe-core.

mod personal;

use std::fmt::Write;

use serde_json::Value;

use super::harness::{TestServer, change, git, project, send_email};
use super::tools;
use super::webdriver::Browser;

const LIST: &str = "dev@lists.example.org";

/// A list with what pages have to show: versions, an answer with quotes, a conflict, long words, odd letters.
fn site() -> (TestServer, String) {
    let server = TestServer::start();
    let work = project(server.dir.path());
    let path = work.display().to_string();
    server.cli(&["repo", "add", "tool", "--path", &path, "--branch", "main"]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        LIST,
        "--description",
        "Development of tool",
        "--repo",
        "tool",
    ]);
    git(&work, &["checkout", "-q", "-b", "topic"]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Spell three");
    let long = format!(
        "line {} — naïve\n",
        "very_long_name_without_a_blank".repeat(12)
    );
    change(
        &work,
        "src/a.c",
        "line 30\n",
        &long,
        "Spell thirty\n\nAs asked for.",
    );
    send_email(
        &server,
        &work,
        LIST,
        &["--cover-letter", "--force", "--8bit-encoding=UTF-8", "-2"],
    );
    let (cover, first) = server.wait_for("the first version to be tried", || {
        let all = server.json(&["series", "ls"]);
        let tried = all[0]["applies"] == true;
        let name = |v: &Value| v.as_str().unwrap().to_owned();
        tried.then(|| {
            (
                name(&all[0]["cover"]),
                name(&all[0]["patches"][0]["message_id"]),
            )
        })
    });
    let answer = format!(
        "From: Ben <ben@example.com>\nSubject: Re: [PATCH 0/2] Spell numbers\nMessage-ID: <answer@example.com>\nIn-Reply-To: <{cover}>\n\n\
         On Monday Ana wrote:\n{}\nThis reads well. See https://example.org/{}\n\n>> Deeper\n> quoted\nReviewed-by: Ben <ben@example.com>\n-- \nBen\n",
        "> A quoted line that is folded away because there are many.\n".repeat(30),
        "a/very/long/path".repeat(15)
    );
    assert!(server.send(&[LIST], answer.as_bytes()).starts_with("250"));
    let remarks = format!(
        "From: Ben <ben@example.com>\nSubject: Re: [PATCH 1/2] Spell three\nMessage-ID: <remarks@example.com>\nIn-Reply-To: <{first}>\n\n\
         > -line 3\n> +line three\nWhy in words? See https://example.org/{}\n> +line three\n>  line 4\n{}\n> not of it\nIn general fine.\n",
        "a/very/long/path".repeat(15),
        "Again and again.\n".repeat(60)
    );
    assert!(server.send(&[LIST], remarks.as_bytes()).starts_with("250"));
    let hostile = "From: \"<b>Ana</b>\" <ana@x.org>\nMessage-ID: <hostile@x.org>\nSubject: <script>alert(1)</script> \u{202e} x\n\n\
        </pre><script>alert(1)</script> <img src=x onerror=alert(1)> ]]> \u{1} javascript:alert(1)\n";
    assert!(server.send(&[LIST], hostile.as_bytes()).starts_with("250"));
    git(&work, &["checkout", "-q", "-b", "topic2", "main"]);
    change(&work, "src/a.c", "line 3\n", "line drei\n", "Spell three");
    send_email(
        &server,
        &work,
        LIST,
        &["-v2", &format!("--in-reply-to=<{cover}>"), "-1"],
    );
    let patch = git(&work, &["format-patch", "--stdout", "-1"]);
    let broken = patch
        .replace(" line 5\n", " line five\n")
        .replace("index ", "index 1")
        .replace("Spell three", "Spell it again");
    assert!(
        server
            .send(&[LIST], broken.split_once('\n').unwrap().1.as_bytes())
            .starts_with("250")
    );
    server.wait_for("all to be tried", || {
        let all = server.json(&["series", "ls"]);
        let tried = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|s| s["applies"].is_boolean())
            .count();
        (tried == 3).then_some(())
    });
    server.drain();
    (server, cover)
}

/// Serious and critical findings of axe-core, in words.
fn findings(browser: &Browser, axe: &str) -> String {
    browser.run(&format!("{axe}; return true;"));
    let script = "return axe.run(document, { resultTypes: ['violations'] }).then(r => \
        r.violations.map(v => [v.impact, v.id, v.help, v.nodes.map(n => n.html + ' | ' + n.failureSummary)]))";
    let all = browser.run(script);
    let mut text = String::new();
    for finding in all.as_array().expect("a list of findings") {
        if ["serious", "critical"].contains(&finding[0].as_str().unwrap_or_default()) {
            writeln!(text, "  {} {}: {}", finding[0], finding[1], finding[2]).unwrap();
            for node in finding[3].as_array().unwrap().iter().take(3) {
                writeln!(text, "    {}", node.as_str().unwrap()).unwrap();
            }
        }
    }
    text
}

/// What reaches beyond the right edge.
const TOO_WIDE: &str = "const width = document.documentElement.clientWidth; \
    if (document.documentElement.scrollWidth <= width) return ''; \
    return document.documentElement.scrollWidth + ' > ' + width + ': ' + [...document.querySelectorAll('body *')] \
    .filter(e => e.getBoundingClientRect().right > width + 1).slice(0, 5).map(e => e.outerHTML.slice(0, 100)).join(' ; ')";

#[test]
fn pages_are_sound_wide_and_narrow_light_and_dark() {
    let axe = tools::folder().join("node/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe)
        .unwrap_or_else(|e| panic!("{}: {e}; `tests/install` installs it", axe.display()));
    let (server, cover) = site();
    let browser = Browser::start();
    let thread = format!("/dev/{cover}/T/");
    let message = format!("/dev/{cover}/");
    let pages = [
        "/",
        "/dev/",
        &thread,
        &message,
        "/dev/patches/",
        "/dev/patches/1/",
        "/dev/patches/1/v1/",
        "/dev/patches/2/",
        "/dev/hostile@x.org/T/",
        "/dev/?q=quoted",
        "/dev/?q=nothinglikethis",
        "/-/style",
    ];
    let mut wrong = String::new();
    for page in pages {
        for (width, dark) in [(360, false), (360, true), (1440, false), (1440, true)] {
            browser.look(width, dark);
            browser.open(&format!("{}{page}", server.base()));
            let place = format!(
                "{page} at {width} px, {}",
                if dark { "dark" } else { "light" }
            );
            assert_eq!(
                browser
                    .run("return [innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]"),
                serde_json::json!([width, dark])
            );
            let wide = browser.run(TOO_WIDE);
            if wide != "" {
                writeln!(wrong, "{place} scrolls sideways: {wide}").unwrap();
            }
            for line in browser.console() {
                writeln!(wrong, "{place}, console: {line}").unwrap();
            }
            let found = findings(&browser, &axe);
            if !found.is_empty() {
                writeln!(wrong, "{place}:\n{found}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // The three checks can say no.
    let spoil = "console.error('spoilt'); document.body.insertAdjacentHTML('beforeend', '<img src=\"/-/icon.svg\"><p class=\"spoilt\"></p>'); \
        document.querySelector('.spoilt').style.cssText = 'width: 5000px; height: 1px'";
    browser.run(spoil);
    assert_ne!(browser.run(TOO_WIDE), "");
    assert!(browser.console().iter().any(|l| l.contains("spoilt")));
    assert!(findings(&browser, &axe).contains("image-alt"));
}

/// Versions stand in thirds of their strip, however far it is scrolled; a row's tag and title share a line; there is room to search.
#[test]
fn a_phone_cuts_nothing_in_two() {
    let (server, _) = site();
    let browser = Browser::start();
    browser.look(360, false);
    browser.open(&format!("{}/dev/patches/1/", server.base()));
    let more = "const strip = document.querySelector('.versions'); \
        for (let n = 0; n < 4; n++) strip.append(strip.lastElementChild.cloneNode(true)); strip.scrollLeft = 1e6";
    browser.run(more);
    let cut = "const strip = document.querySelector('.versions').getBoundingClientRect(); \
        return [...document.querySelectorAll('.versions li')].map(li => li.getBoundingClientRect()) \
        .filter(li => li.left < strip.left - 2 && li.right > strip.left + 2).length";
    assert_eq!(browser.run(cut), 0);
    let scrolled = "return document.querySelector('.versions').scrollLeft > 100";
    assert_eq!(browser.run(scrolled), true, "there is more than fits");
    // A command scrolls in its own box: no letter of it is below the button or behind it.
    let below = "return [...document.querySelectorAll('.cmdbox')].map(box => [box.querySelector('pre'), box.querySelector('.copy')]\
        .map(one => one.getBoundingClientRect())).filter(([pre, copy]) => pre.right > copy.left + 1 && pre.bottom > copy.top + 1).length";
    let boxes = browser.run("return document.querySelectorAll('.cmdbox').length");
    assert!(boxes.as_u64() > Some(1), "{boxes}");
    assert_eq!(browser.run(below), 0);
    browser.open(&format!("{}/dev/", server.base()));
    let wide = browser.run("return document.querySelector('.find input').clientWidth");
    assert!(wide.as_u64() >= Some(110), "{wide}");
    let apart = "const row = document.querySelector('.rows li:has(.tag):has(.pills)'); \
        const top = what => row.querySelector(what).getBoundingClientRect().top; \
        return [Math.abs(top('.tag') - top('.title')) < 12, top('.pills') > top('.title'), top('.who') > top('.pills')]";
    assert_eq!(browser.run(apart), serde_json::json!([true, true, true]));
}

#[test]
fn the_script_helps_and_the_policy_holds() {
    let (server, cover) = site();
    let browser = Browser::start();
    browser.look(1440, false);
    let page = format!("{}/dev/patches/1/", server.base());
    browser.open(&page);
    let commands = browser.run("return [document.querySelectorAll('pre.cmd').length, document.querySelectorAll('button.copy').length]");
    assert!(
        commands[0].as_u64().unwrap() > 0 && commands[0] == commands[1],
        "a button for each command: {commands}"
    );
    let background = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(background);
    browser.click(".theme button[value=dark]");
    let dark = server.wait_for("the dark page", || {
        Some(browser.run(background)).filter(|b| *b != light)
    });
    assert_eq!(
        browser.run("return [document.documentElement.dataset.theme, location.href]"),
        serde_json::json!(["dark", page])
    );
    browser.open(&format!("{}/dev/{cover}/T/", server.base()));
    assert_eq!(browser.run(background), dark, "chosen for all pages");
    browser.press("j");
    let focused = "return document.activeElement.className || document.activeElement.tagName";
    let first = browser.run(focused);
    assert_ne!(first, "BODY", "j goes to a mail");
    browser.press("/");
    assert_eq!(
        browser.run(focused),
        Value::from("INPUT"),
        "/ goes to the search"
    );
    browser.open(&format!("{}/dev/patches/1/v1/", server.base()));
    browser.press("n");
    assert_eq!(
        browser.run(focused),
        Value::from("remark d0"),
        "n goes to a remark"
    );
    assert_eq!(browser.console(), Vec::<String>::new());
    // A script that got into a page would not run, and would be reported.
    browser.run("const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)");
    assert_eq!(browser.run("return window.ran === undefined"), true);
    assert!(
        browser
            .console()
            .iter()
            .any(|l| l.contains("Content Security Policy"))
    );
}
