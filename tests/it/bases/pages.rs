//! What a series is built on, named by the address of its page; and what is built on a series, on its page.

use super::site::{LIST, Site, assert_says, named, text};
use crate::harness::{Database, on_both};

on_both! {
    a_series_may_name_the_page_of_the_one_that_it_depends_on,
    a_page_tells_what_is_built_on_it,
    what_a_list_that_is_not_public_builds_is_on_no_page,
}

/// A series, its second version, and the page of each; the contributor stands at what the project has.
fn two_versions(site: &Site) -> [String; 3] {
    let first = site.patch("line 5", "line five", "First");
    site.back();
    let again = site.patch("line 5", "line Five", "First");
    let again = again.replace("[PATCH]", "[PATCH v2]");
    let again = named("first2@x", &again, "").replacen("To:", "In-Reply-To: <first@x>\nTo:", 1);
    site.back();
    site.send(&named("first@x", &first, ""));
    site.send(&again);
    let number = site.series("First", "1")["patchset"].to_string();
    let page = format!("{}/dev/patches/{number}", site.server.base());
    [page.clone(), format!("{page}/v1/"), format!("{page}/v2/")]
}

fn a_series_may_name_the_page_of_the_one_that_it_depends_on(database: Database) {
    let site = Site::new(database);
    let [newest, v1, v2] = two_versions(&site);
    let elsewhere = "https://elsewhere.example/dev/patches/1/v1/";
    // The series below are patchsets 2 to 7, and this is the one that comes after them.
    let missing = format!("{}/dev/patches/8/v1/", site.server.base());
    for (n, (address, version)) in [
        (v1.as_str(), "1"),
        (v2.trim_end_matches('/'), "2"),
        (newest.as_str(), "2"),
        (&format!("{v1}#patch"), "1"),
    ]
    .into_iter()
    .enumerate()
    {
        let title = format!("Change {n}");
        let mail = site.patch("line 30", &format!("line {n}"), &title);
        site.back();
        let trailer = format!("Depends-on: {address}\n");
        site.send(&named(&format!("c{n}@x"), &mail, &trailer));
        site.assert_on(&site.series(&title, "1"), &site.series("First", version));
    }
    // What another site has is nothing here; what ours has not is waited for.
    let mail = site.patch("line 30", "line thirty", "Other");
    site.send(&named("o@x", &mail, &format!("Depends-on: {elsewhere}\n")));
    let other = site.series("Other", "1");
    assert_eq!(other["base"], site.tip().as_str(), "{other:#}");
    let mail = mail.replace("Other", "Missing");
    site.send(&named("m@x", &mail, &format!("Depends-on: {missing}\n")));
    let one = site.series("Missing", "1");
    assert!(one["ref"].is_null(), "{one:#}");
    let words = one["detail"].as_str().unwrap();
    assert!(
        words.starts_with("waits for <https://")
            && words.ends_with("/dev/patches/8/v1/>, which is not here"),
        "{words}"
    );
    site.back();
    let last = site.patch("line 12", "line twelve", "Last");
    site.send(&named("l@x", &last, ""));
    site.server.drain();
    assert_eq!(site.series("Last", "1")["patchset"], 8);
    site.assert_on(&site.series("Missing", "1"), &site.series("Last", "1"));
}

fn a_page_tells_what_is_built_on_it(database: Database) {
    let site = Site::new(database);
    let [_, v1, _] = two_versions(&site);
    let second = site.patch("line 30", "line thirty", "Second");
    site.back();
    site.send(&named("second@x", &second, "Depends-on: <first2@x>\n"));
    let third = site.patch("line 20", "line twenty", "Third <b>");
    site.send(&named("third@x", &third, &format!("Depends-on: {v1}\n")));
    let (first, again) = (site.series("First", "1"), site.series("First", "2"));
    let needed = |title: &str| {
        let number = &site.series(title, "1")["patchset"];
        (
            number.clone(),
            format!("Needed by patchset {number} v1: {title}."),
        )
    };
    let (number, words) = needed("Second");
    let page = site.page(&again);
    assert_says(&page, &words);
    assert!(
        page.contains(&format!("href=\"/dev/patches/{number}/v1/\"")),
        "{page}"
    );
    assert!(!page.contains("Third"), "it names the other version");
    let page = site.page(&first);
    assert_says(&page, &needed("Third <b>").1);
    assert!(!page.contains("Second"));
    let shown = site
        .server
        .json(&["series", "show", &first["patchset"].to_string()]);
    assert_eq!(shown[1]["needed_by"][0]["patchset"], number);
    assert_eq!(shown[1]["needed_by"][0]["title"], "Second");
    let said = site
        .server
        .cli(&["series", "show", &first["patchset"].to_string()]);
    assert!(
        said.contains(&format!("v2 is needed by patchset {number} v1: Second")),
        "{said}"
    );
    assert!(
        first["needed_by"].is_null(),
        "long listings are not longer by it"
    );

    // A newer version that needs nothing takes the place of the one that did.
    site.back();
    let again = site.patch("line 20", "line Twenty", "Third <b>");
    let again = again.replace("[PATCH]", "[PATCH v2]");
    let again = named("third2@x", &again, "").replacen("To:", "In-Reply-To: <third@x>\nTo:", 1);
    site.send(&again);
    assert_eq!(text(&site.series("Third <b>", "1")["state"]), "superseded");
    assert!(!site.page(&first).contains("Needed by"));
}

fn what_a_list_that_is_not_public_builds_is_on_no_page(database: Database) {
    let site = Site::new(database);
    let inner = [
        "list",
        "create",
        "inner",
        "--address",
        "inner@x.org",
        "--repo",
        "tool",
    ];
    site.server.cli(&[&inner[..], &["--private"]].concat());
    let first = site.patch("line 5", "line five", "First");
    let second = site.patch("line 30", "line thirty", "Second");
    let send = |mail: &str, to: &str| {
        let reply = site.server.send(&[to], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        site.server.drain();
    };
    let on_first = named("second@x", &second, "Depends-on: <first@x>\n");
    send(&named("first@x", &first, ""), LIST);
    send(&on_first, "inner@x.org");
    let one = site.series("First", "1");
    let page = site.page(&one);
    assert!(
        !page.contains("Needed by") && !page.contains("Second"),
        "{page}"
    );
    let shown = site
        .server
        .json(&["series", "show", &one["patchset"].to_string()]);
    assert_eq!(shown[0]["needed_by"], serde_json::json!([]));
}
