//! What an author hears of a mail of his that waits for a moderator: why, for how long, and what he can do. Pure.

use askama::Template;

use super::{Cap, wrap};
use crate::list::settings::{Bits, Moderation, Policy};
use crate::types::Address;

/// Who is told once knows that mail is looked at there. What is held counts a day, as a series is many mails.
pub const OWN_HELD: Cap = Cap {
    name: "own-held",
    per_list: 1,
    per_address: 3,
    per_source: i64::MAX,
};

/// `templates/mail/own_held.txt`
#[derive(Debug, Template)]
#[template(path = "mail/own_held.txt")]
pub struct OwnHeld<'a> {
    /// Posting address.
    pub list: &'a Address,
    /// Which mail, as [`super::which_mail`] says it.
    pub which: &'a [String],
    /// Why it waits and what its author can do.
    pub why: &'a [String],
    /// How long it takes.
    pub time: &'a [String],
    /// The people who run the list.
    pub owner: &'a str,
}

/// Characters of a line.
const WIDTH: usize = 72;
/// From so few decisions nobody can tell how long the next one takes.
const FEW: usize = 5;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Why a mail is held that a step of the policy's order held, and what its author can do; `None` where he is told nothing: of rules
/// and the spam filter, lest mail is fitted to them, and where nobody vouches for him. `may_join`: he may, and it would change something.
pub fn why_held(
    step: &str,
    policy: &Policy,
    list: &Address,
    may_join: bool,
) -> Option<Vec<String>> {
    let (local, domain) = (list.local(), list.domain());
    let join = format!("by a mail to {local}+subscribe@{domain}");
    let text = match step {
        "emergency" => "The list holds everybody's mail for the moment.".to_owned(),
        "size" => format!(
            "It is larger than the {} bytes that pass by themselves.",
            policy.max_size
        ),
        "rights" if may_join && policy.subscribers.has(Bits::WRITE) => {
            format!("Only members write to the list without being looked at. You can join {join}.")
        }
        "rights" => "Not everybody writes to the list without being looked at.".to_owned(),
        "strangers" if policy.moderation == Moderation::All => {
            "The list holds everybody's mail.".to_owned()
        }
        "strangers" => {
            let known = "None of your mails was let through there yet. Once one is, the list knows your address, and does not hold your mail for this again. Mail of yours that is held already still waits.";
            match may_join {
                true => format!(
                    "{known} Neither does it hold the mail of members: you can join {join}."
                ),
                false => known.to_owned(),
            }
        }
        "rate" => {
            "Many mails of people whom the list does not know came within the hour.".to_owned()
        }
        _ => return None,
    };
    Some(wrap(&text, WIDTH))
}

/// How long it takes, by how many seconds the last decisions took, and after how many days nobody decides any more.
pub fn time_held(seconds: &[i64], days: i64) -> Vec<String> {
    let mut sorted = seconds.to_vec();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= FEW);
    let usual = usual.map(|half| {
        let within = match *half {
            secs if secs <= HOUR => "an hour".to_owned(),
            secs if secs <= DAY => format!("{} hours", (secs + HOUR - 1) / HOUR),
            secs => format!("{} days", (secs + DAY - 1) / DAY),
        };
        format!("Most mails that were held there lately were decided within {within}. ")
    });
    let text = format!(
        "{}If nobody decides within {days} days, it is dropped.",
        usual.unwrap_or_default()
    );
    wrap(&text, WIDTH)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::list::order;

    #[track_caller]
    fn check(step: &str, policy: &Policy, may_join: bool, seconds: &[i64], expected: Expect) {
        let list = "dev@x.org".parse().expect("an address");
        let why = why_held(step, policy, &list, may_join).expect("it is told");
        let text = OwnHeld {
            list: &list,
            which: &["Subject:  hello".to_owned()],
            why: &why,
            time: &time_held(seconds, policy.hold_days),
            owner: "dev+owner@x.org",
        };
        expected.assert_eq(&text.render().expect("it renders"));
    }

    #[test]
    fn a_first_mail_waits_and_its_author_can_join() {
        let minutes = [60, 7_000, 120, 7_200, 90_000];
        let expected = expect![[r#"
            Hello,

            your mail to dev@x.org came, and waits for a moderator:

                Subject:  hello

            None of your mails was let through there yet. Once one is, the list
            knows your address, and does not hold your mail for this again. Mail of
            yours that is held already still waits. Neither does it hold the mail of
            members: you can join by a mail to dev+subscribe@x.org.

            Most mails that were held there lately were decided within 2 hours. If
            nobody decides within 14 days, it is dropped.

            Once it is let through, it stands in the archive and goes to the members.
            Please do not send it again: it would be held as well.

            This is told at most once a day. People who can help: dev+owner@x.org"#]];
        check("strangers", &Policy::default(), true, &minutes, expected);
    }

    #[test]
    fn where_few_were_decided_no_time_is_told_and_nobody_joins_what_he_may_not_read() {
        let expected = expect![[r#"
            Hello,

            your mail to dev@x.org came, and waits for a moderator:

                Subject:  hello

            None of your mails was let through there yet. Once one is, the list
            knows your address, and does not hold your mail for this again. Mail of
            yours that is held already still waits.

            If nobody decides within 14 days, it is dropped.

            Once it is let through, it stands in the archive and goes to the members.
            Please do not send it again: it would be held as well.

            This is told at most once a day. People who can help: dev+owner@x.org"#]];
        check("strangers", &Policy::default(), false, &[60; 4], expected);
    }

    #[test]
    fn each_step_that_holds_has_words_or_is_kept_quiet() {
        let list = "dev@x.org".parse().expect("an address");
        let told = |step: &str| why_held(step, &Policy::default(), &list, true).is_some();
        let told: Vec<&str> = order::step_names().filter(|name| told(name)).collect();
        assert_eq!(told, ["emergency", "size", "rights", "strangers", "rate"]);
    }

    #[track_caller]
    fn check_time(seconds: &[i64], expected: &str) {
        let text = time_held(seconds, 14).join(" ");
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn half_of_the_last_decisions_say_how_long_it_takes() {
        check_time(&[1; 5], "within an hour.");
        check_time(&[HOUR + 1; 5], "within 2 hours.");
        check_time(&[DAY; 5], "within 24 hours.");
        check_time(&[DAY + 1, DAY + 1, DAY + 1, 0, 0], "within 2 days.");
        assert!(!time_held(&[1; 4], 14).join(" ").contains("Most"));
    }
}
