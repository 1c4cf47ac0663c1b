//! `/-/style`: every piece that pages are made of, together.

use std::collections::BTreeMap;

use askama::Template;

use super::page::{Answer, Frame, Pill, Post, Row, html};
use super::routes::{App, Wish};
use crate::patchset::{Mark, Note};
use crate::store::pages::MailRow;
use crate::types::{MailId, Timestamp};
use crate::view::remark::{Remark, Source};
use crate::view::text::{blocks_with, snippet};

#[derive(Template)]
#[template(path = "style.html")]
struct StylePage {
    frame: Frame,
    pills: Vec<Pill>,
    rows: Vec<Row>,
    stated: Vec<Row>,
    mails: Vec<Post>,
}

const PATCH: &str = "See https://example.org/ and\nIn-Reply-To: <first@example.org>\n\nSigned-off-by: Ana Lima <ana@example.org>\n---\n\
diff --git a/src/count.c b/src/count.c\nindex 1111111..2222222 100644\n--- a/src/count.c\n+++ b/src/count.c\n@@ -1,4 +1,4 @@ int main(void)\n \
int main(void)\n {\n-\tint count = 1;\n+\tint count = 2;\n \treturn count;\ndiff --git a/old.png b/new.png\nsimilarity index 100%\n\
rename from old.png\nrename to new.png\n-- \n2.47.3\n";
const ANSWER: &str = "On Thursday Ana Lima wrote:\n> one\n> two\n>> two deeper\n> three\n> four\n> five\n> six\n> seven\n\nA long line: \
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\
Yes, thank you. \u{1f44d}\n-- \nBen\n";

/// `GET /-/style`
pub fn show(app: &App, wish: &Wish) -> Answer {
    let mut pills: Vec<Pill> = (1..=10).map(Pill::state).collect();
    pills.extend([
        Pill::fact("", "v3"),
        Pill::fact("", "5/5"),
        Pill::fact("caution", "4/5"),
        Pill::fact("good", "applies"),
        Pill::fact("bad", "conflicts"),
        Pill::fact("bad", "not usable"),
        Pill::fact("", "other project"),
    ]);
    let when = Timestamp::from_secs(1_774_000_000);
    let mut row = Row::new(
        "/-/style".to_owned(),
        "[PATCH v3 0/5] libsepol: bound recursion in CIL",
        when,
    );
    row.who = "Ana Lima, Ben +3".to_owned();
    row.count = "12 mails".to_owned();
    row.pills = pills[10..14].to_vec();
    let mut stated = Row::new(
        "/-/style".to_owned(),
        "libsepol: bound recursion in CIL",
        when,
    );
    stated.who = "Ana Lima".to_owned();
    stated.count = "2 answers".to_owned();
    stated.state = Some(Pill::state(2));
    stated.pills = pills[10..14].to_vec();
    let mut found = Row::new(
        "/-/style".to_owned(),
        "מכתב ארוך מאוד with a very long subject that goes on and on, and on, and on, and on, until it wraps",
        when,
    );
    found.who = "שרה לוי".to_owned();
    found.snippet = snippet(
        "A piece of the text that shows why it was found, with the word.",
        &["word".to_owned()],
    );
    let patch = sample(1, "Ana Lima", "[PATCH v3 1/2] count: begin at two", PATCH);
    let answer = sample(
        2,
        "Ben Ode",
        "Re: [PATCH v3 1/2] count: begin at two",
        ANSWER,
    );
    let mut gone = sample(3, "", "", "");
    gone.taken_back = true;
    let mails = [(patch, 0), (answer, 1), (gone, 2)];
    let post = |(m, depth): &(MailRow, u32)| Post::new("dev", "dev@example.org", m, *depth);
    let mut posts: Vec<Post> = mails.iter().map(post).collect();
    posts[0].blocks = blocks_with(PATCH, remarks());
    posts[0].gone = vec![remark("And here?", Some(Mark::Gone), 0)];
    posts.iter_mut().for_each(Post::name_files);
    Ok(html(&StylePage {
        frame: wish.frame(app, None, ""),
        pills,
        rows: vec![row, found],
        stated: vec![stated],
        mails: posts,
    }))
}

/// Below the line that is changed, an answer to a remark on the version before.
fn remarks() -> BTreeMap<usize, Vec<Remark>> {
    let line = PATCH.lines().position(|l| l.starts_with("+\tint"));
    let both = vec![
        remark("Why two?", Some(Mark::Changed), 0),
        remark("One for each. See https://example.org/", None, 1),
    ];
    BTreeMap::from([(line.unwrap_or_default(), both)])
}

fn remark(text: &str, mark: Option<Mark>, depth: u32) -> Remark {
    let note = Note {
        mail: MailId(2),
        number: text.len(),
        text: text.to_owned(),
        cut: false,
        mark,
        depth,
        about: match mark {
            Some(Mark::Gone) => "+\tint last = 3;".to_owned(),
            _ => String::new(),
        },
    };
    let source = Source {
        number: 2,
        href: "/-/style".to_owned(),
        author: ("Ben Ode", "ben.ode@example.org"),
        verdict: "authenticated: DKIM example.org".to_owned(),
        date: Timestamp::from_secs(1_774_000_000),
        version: mark.map(|_| "2"),
    };
    Remark::new(&note, &source)
}

fn sample(number: i64, author: &str, subject: &str, text: &str) -> MailRow {
    let name = if author.is_empty() {
        "somebody"
    } else {
        author
    };
    MailRow {
        mail: MailId(number),
        number,
        message_id: format!("sample{number}@example.org"),
        subject: subject.to_owned(),
        author: author.to_owned(),
        address: format!("{}@example.org", name.to_lowercase().replace(' ', ".")),
        date: None,
        arrived: Timestamp::from_secs(1_774_000_000),
        kind: "patch".to_owned(),
        flaws: String::new(),
        text: text.to_owned(),
        node: 0,
        thread: 0,
        verdict: Default::default(),
        taken_back: false,
    }
}
