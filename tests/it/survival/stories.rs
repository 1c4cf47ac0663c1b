//! People's stories between two Postfixes: what they send goes in by the one in front, what they get comes out of the one behind.

use super::super::dkim::{LIST, MEMBERS, wish};
use super::super::harness::{Copy, Smtp};
use super::super::identity::{mail, sign};
use super::super::members::{ONE_CLICK, curl, field, letter, link, members};
use super::super::visitor::Visitor;
use super::Road;

const ANA: &str = "Ana Lima <ana@example.org>";
const FAY: &str = "Fay <fay@example.org>";
const EVE: &str = "Eve <eve@example.org>";
const BEN: &str = "Ben <ben@example.org>";

/// The address in `Name <address>`.
fn address(of: &str) -> &str {
    of.split(['<', '>']).nth(1).unwrap()
}

impl Road {
    /// Hands a mail to the Postfix in front.
    #[track_caller]
    fn post(&self, from: &str, to: &str, mail: &[u8]) {
        let mut smtp = Smtp::connect(&self.front.address);
        let (reply, _) = smtp.send(address(from), &[to], mail);
        assert!(reply.starts_with("250"), "{reply}");
    }

    /// The same, signed by its author's domain.
    #[track_caller]
    fn post_signed(&self, from: &str, to: &str, mail: &str) {
        let mail = mail.replace(&format!("To: {LIST}"), &format!("To: {to}"));
        let wishes = [wish(mail.as_bytes(), "relaxed", &[])];
        self.post(from, to, &sign(&self.key, &wishes)[0]);
    }

    /// Somebody's copy of a mail, once it came out behind.
    #[track_caller]
    fn copy(&self, to: &str, id: &str) -> String {
        let found = self
            .server
            .wait_for(&format!("{to}'s copy of {id}"), || self.find(to, id));
        String::from_utf8(found.bytes).unwrap()
    }

    fn find(&self, to: &str, id: &str) -> Option<Copy> {
        let line = format!("Message-ID: <{id}>\r\n");
        let fits =
            |c: &Copy| c.recipients == [to] && String::from_utf8_lossy(&c.bytes).contains(&line);
        self.sink.all().into_iter().find(fits)
    }

    fn members(&self) -> Vec<String> {
        members(&self.server)
    }
}

#[test]
fn one_joins_gets_a_copy_answers_and_leaves_through_postfix_on_both_sides() {
    let road = Road::build();
    let (server, fay) = (&road.server, address(FAY));
    let subscribe = "dev+subscribe@lists.example.org";
    road.post_signed(
        FAY,
        subscribe,
        &mail("join@example.org", FAY, "hello", "x\n"),
    );
    let asked = letter(server, &road.sink, fay, 1);
    assert_eq!(
        road.members().len(),
        MEMBERS.len(),
        "not before it is confirmed"
    );
    let reply_to = field(&asked, "Reply-To").unwrap();
    road.post_signed(
        FAY,
        &reply_to,
        &mail("yes@example.org", FAY, "Re: hello", "yes\n"),
    );
    let welcome = letter(server, &road.sink, fay, 2);
    assert!(
        welcome.contains("Welcome to dev@lists.example.org."),
        "{welcome}"
    );
    assert!(road.members().iter().any(|m| m == fay));

    let post = "It does not build here.\n";
    road.post_signed(
        ANA,
        LIST,
        &mail("post@example.org", ANA, "a question", post),
    );
    let copy = road.copy(fay, "post@example.org");
    assert!(copy.ends_with("It does not build here.\r\n"), "{copy}");
    let answer = mail(
        "answer@example.org",
        FAY,
        "Re: a question",
        "It does here.\n",
    );
    let answer = answer.replace("\nDate:", "\nIn-Reply-To: <post@example.org>\nDate:");
    road.post_signed(FAY, LIST, &answer);
    for member in MEMBERS {
        let copy = road.copy(member, "answer@example.org");
        assert!(copy.ends_with("It does here.\r\n"), "{copy}");
    }
    server.drain();
    let thread = server.page("/dev/post@example.org/T/");
    assert!(thread.contains("It does here."), "{thread}");

    let leave = link(&field(&copy, "List-Unsubscribe").unwrap(), "/u/");
    assert_eq!(curl(server, &leave, &ONE_CLICK).0, "200 0");
    assert_eq!(road.members().len(), MEMBERS.len());
    road.post_signed(ANA, LIST, &mail("later@example.org", ANA, "later", "x\n"));
    for member in MEMBERS {
        road.copy(member, "later@example.org");
    }
    assert!(road.find(fay, "later@example.org").is_none());
}

#[test]
fn a_held_mail_is_accepted_by_a_signed_answer_through_postfix_on_both_sides() {
    let road = Road::build_with(&[("PATCHPOST_LISTS_MODERATION", "strangers")]);
    let (server, ben) = (&road.server, address(BEN));
    let right = "ben@example.org=reply,post,moderate";
    server.cli(&["policy", "set", "dev", "--person", right]);
    let question = mail("one@example.org", EVE, "a question", "How does it work?\n");
    road.post(EVE, LIST, question.as_bytes());
    let notice = letter(server, &road.sink, ben, 1);
    assert!(notice.contains("> How does it work?"), "{notice}");
    let to = field(&notice, "Reply-To").unwrap();
    let answer = |id: &str| mail(id, BEN, "Re: Held", "accept\n\n> discard\n");
    // Whoever only writes his name decides nothing.
    let forged = answer("forged@example.org").replace(LIST, &to);
    road.post(BEN, &to, forged.as_bytes());
    server.wait_for("a note of the forgery", || {
        let events = server.cli(&["events", "dev"]);
        events.contains("nothing proves who sent it").then_some(())
    });
    let held = server.json(&["held", "ls", "dev"]);
    assert_eq!(held.as_array().unwrap().len(), 1, "{held}");
    assert!(road.find(MEMBERS[0], "one@example.org").is_none());

    road.post_signed(BEN, &to, &answer("yes@example.org"));
    for member in MEMBERS {
        let copy = road.copy(member, "one@example.org");
        assert!(copy.ends_with("How does it work?\r\n"), "{copy}");
    }
    let told = letter(server, &road.sink, ben, 2);
    assert!(told.contains("It goes through now"), "{told}");
    let held = server.json(&["held", "ls", "dev"]);
    assert_eq!(held, serde_json::json!([]));
    server.drain();
    assert!(
        server
            .page("/dev/one@example.org/")
            .contains("How does it work?")
    );
}

/// Postfix takes the copies, and its own reports come back in front of nobody but patchpost.
#[test]
fn what_postfix_reports_is_kept_as_the_right_class_for_whom_it_names() {
    let road = Road::build();
    let server = &road.server;
    let [ben, chen, dora, ana] = MEMBERS;
    let refused = [
        (chen, "gone", "5.1.1", "No such user here"),
        (dora, "full", "5.2.2", "The mailbox is full"),
        (ben, "policy", "5.7.1", "Your address is <b>blocked"),
    ];
    for (who, _, code, words) in refused {
        road.sink.refuse(who, &format!("550 {code} {words}"));
    }
    road.post_signed(ANA, LIST, &mail("one@example.org", ANA, "one", "text\n"));
    road.copy(ana, "one@example.org");
    let bounces = |who: &str| server.json(&["member", "show", "dev", who])["bounces"].clone();
    for (who, class, code, words) in refused {
        let kept = server.wait_for(&format!("what came back of {who}"), || {
            Some(bounces(who)).filter(|b| b[0].is_object())
        });
        let text = kept[0]["text"].as_str().unwrap_or_default();
        assert_eq!(
            (&kept[0]["class"], &kept[0]["code"]),
            (&class.into(), &code.into()),
            "{kept}"
        );
        assert!(text.contains(words), "{kept}");
        assert_eq!(kept.as_array().unwrap().len(), 1, "once: {kept}");
    }
    assert_eq!(bounces(ana), serde_json::json!([]));

    // Whom it concerns reads it, and who looks after the list; nobody else.
    let right = "ana@example.org=reply,post,moderate";
    server.cli(&["policy", "set", "dev", "--person", right]);
    road.sink.take(chen);
    let (own, owner) = (Visitor::new(server), Visitor::new(server));
    own.sign_in(&road.sink, chen);
    let page = own.get("/me/").body;
    assert!(
        page.contains("a copy of dev: <bdi>550 5.1.1 No such user here"),
        "{page}"
    );
    assert!(!page.contains("The mailbox is full"), "{page}");
    owner.sign_in(&road.sink, ana);
    let page = owner.get("/dev/settings/members/").body;
    for words in [
        "No such user here",
        "The mailbox is full",
        "&#60;b&#62;blocked",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!owner.get("/me/").body.contains("a copy of dev"));
}
