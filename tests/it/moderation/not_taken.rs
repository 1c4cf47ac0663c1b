//! Authors hear of a list that refused a mail which another one took; over LMTP each list answers for itself.

use super::super::harness::{Database, on_both};
use super::super::identity::{LIST, Site};
use super::own_held::fresh;
use super::{EVE, outbox};

on_both!(an_author_hears_which_of_two_lists_refused_his_mail);

const OTHER: &str = "users@lists.example.org";

fn told(site: &Site) -> Vec<String> {
    site.server.drain();
    let mut all = outbox(&site.server);
    all.retain(|m| m.contains("Subject: Not taken: "));
    all
}

fn an_author_hears_which_of_two_lists_refused_his_mail(database: Database) {
    let site = Site::start_on(database, &[]);
    site.server
        .cli(&["list", "create", "users", "--address", OTHER]);
    let silenced = "eve@example.org=browse";
    site.server
        .cli(&["policy", "set", "users", "--person", silenced]);
    let both = |id: &str| fresh(id, EVE, "a question").replace(LIST, &format!("{LIST}, {OTHER}"));
    let post = |mail: &[u8]| site.server.send(&[LIST, OTHER], mail);

    // Nobody vouches for it; it does not name the list; a machine wrote it.
    for mail in [
        both("forged@x").into_bytes(),
        site.sign(&fresh("hidden@x", EVE, "a question")),
        site.sign(&both("machine@x").replace("\nDate:", "\nAuto-Submitted: auto-generated\nDate:")),
    ] {
        let reply = post(&mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
    // Who sends to it alone hears it from his own server.
    let alone = fresh("alone@x", EVE, "a question").replace(LIST, OTHER);
    let reply = site.server.send(&[OTHER], &site.sign(&alone));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert_eq!(told(&site), Vec::<String>::new());

    for id in ["one@x", "two@x"] {
        let reply = post(&site.sign(&both(id)));
        assert!(reply.starts_with("250"), "{reply}");
    }
    let letters = told(&site);
    let [letter] = letters.as_slice() else {
        panic!("once a day: {letters:?}");
    };
    for words in [
        "To: eve@example.org",
        "Subject: Not taken: your mail to users@lists.example.org",
        "In-Reply-To: <one@x>",
        "Auto-Submitted: auto-replied",
        "Subject:  a question",
        reply
            .split('\n')
            .next()
            .unwrap()
            .trim_end()
            .get(..20)
            .unwrap(),
        "send the mail to users@lists.example.org alone",
    ] {
        assert!(letter.contains(words), "{words}: {letter}");
    }
    let noted = site.server.cli(&["events", "users"]);
    assert!(noted.contains("two@x"), "{noted}");
}
