//! What an author hears of a list that refused a mail of his which another list took: his client heard one answer for all. Pure.

use askama::Template;

use super::Cap;
use crate::types::Address;

/// Who is told once knows that the list did not take such mail.
pub const NOT_TAKEN: Cap = Cap {
    name: "not-taken",
    per_list: 1,
    per_address: 3,
    per_source: i64::MAX,
};

/// `templates/mail/not_taken.txt`
#[derive(Debug, Template)]
#[template(path = "mail/not_taken.txt")]
pub struct NotTaken<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// Which mail, as [`super::which_mail`] says it.
    pub which: &'a [String],
    /// The refusal, as a client that sends to this list alone hears it; wrapped.
    pub said: &'a [String],
    /// The people who run the list.
    pub owner: &'a str,
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_refusal_stands_in_it() {
        let text = NotTaken {
            list: &"dev@x.org".parse().expect("an address"),
            which: &["Subject:  hello".to_owned()],
            said: &["550 5.7.1 Only members write".to_owned(), "here".to_owned()],
            owner: "dev+owner@x.org",
        };
        let expected = expect![[r#"
            Hello,

            your mail went to several lists at once, and dev@x.org did not take it:

                Subject:  hello

            Its answer:

                550 5.7.1 Only members write
                here

            Another list took it. One answer is given for all of them, and that was
            "taken": so your mail program could not tell you. Mend what the answer
            names, and send the mail to dev@x.org alone.

            This is told at most once a day. People who can help: dev+owner@x.org"#]];
        expected.assert_eq(&text.render().expect("it renders"));
    }
}
