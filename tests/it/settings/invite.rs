//! Moderators invite people, who say yes themselves.

use super::super::harness::{Copy, Database, Sink, on_both};
use super::super::visitor::Visitor;
use super::{MIA, place, start};

on_both! {
    a_moderator_invites_people_who_confirm,
}

fn a_moderator_invites_people_who_confirm(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let (mia, zoe) = (Visitor::new(&server), Visitor::new(&server));
    mia.sign_in(&sink, MIA);
    zoe.sign_in(&sink, "zoe@example.net");
    let press = |who: &Visitor<'_>, list: &str, address: &str| {
        let path = format!("/{list}/settings/members/");
        who.press(&path, &[("do", "invite"), ("address", address)])
    };
    let members = || server.json(&["member", "ls", "dev"]).to_string();
    let two = "new@example.org, NEW@example.org\nana@example.org";
    let done = "/dev/settings/members/?done=invited%201%200%201";
    assert_eq!(place(&press(&mia, "dev", two)), done);
    let asked = "/dev/settings/members/?done=invited%200%201%200";
    assert_eq!(place(&press(&mia, "dev", "new@example.org")), asked);
    let page = mia.get(done).body;
    assert!(page.contains("Invited: 1 address."), "{page}");
    let letter = server.wait_for("the invitation", || {
        let all = sink.all().into_iter();
        let mut all = all.filter(|c: &Copy| c.recipients == ["new@example.org"]);
        all.next()
            .map(|c| String::from_utf8_lossy(&c.bytes).into_owned())
    });
    assert!(letter.contains("Please confirm: join the list"), "{letter}");
    assert!(!members().contains("new@example.org"), "nobody said yes");
    let at = letter.find("/-/confirm/").unwrap();
    let link = letter[at..].split_whitespace().next().unwrap();
    assert_eq!(Visitor::new(&server).post(link, &[]).status, 200);
    assert!(members().contains("new@example.org"));
    for wrong in ["dev@lists.example.org", "no address", ""] {
        let seen = press(&mia, "dev", wrong);
        assert!(seen.body.contains("Nobody was invited"), "{wrong}");
    }
    // One person invites 20 an hour, wherever he sits; who said yes is not counted.
    let many: Vec<String> = (0..20).map(|n| format!("m{n}@example.org")).collect();
    let most = "/dev/settings/members/?done=invited%2020%200%200";
    assert_eq!(place(&press(&mia, "dev", &many.join(" "))), most);
    assert_eq!(place(&press(&mia, "dev", "m20@example.org")), asked);
    // Nothing is looked up then.
    assert_eq!(place(&press(&mia, "dev", "a(b@example.org")), asked);
    let many = [many.join(" "), "m20@example.org".to_owned()].join(" ");
    let seen = press(&mia, "dev", &many);
    assert!(seen.body.contains("20 addresses at once are the most"));
    // Whom the operator has not let read a list that is not public, nobody invites there.
    let seen = press(&zoe, "rookery", "new@example.org");
    assert!(
        seen.body.contains("may not read this list"),
        "{}",
        seen.body
    );
    server.cli(&[
        "policy",
        "set",
        "rookery",
        "--person",
        "kim@example.org=browse",
    ]);
    let done = "/rookery/settings/members/?done=invited%201%200%200";
    assert_eq!(place(&press(&zoe, "rookery", "kim@example.org")), done);
    let noted = server.cli(&["events", "dev"]);
    assert!(noted.contains("new@example.org was invited"), "{noted}");
    // Who erases what is kept of an address is named in no note.
    let new = Visitor::new(&server);
    new.sign_in(&sink, "new@example.org");
    new.get("/me/erase");
    assert_eq!(new.press("/me/erase", &[("sure", "yes")]).status, 200);
    let noted = server.cli(&["events", "dev"]);
    assert!(!noted.contains("new@example.org"), "{noted}");
    assert!(noted.contains("m19@example.org was invited"), "{noted}");
}
