//! What an author who wants it hears of decisions about his patches: which are news to him, and the letter. He alone gets it, and his mail
//! was authenticated.

use askama::Template;

use crate::types::Timestamp;

/// What may be told of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Somebody set its state: Patchwork's number, 0 for "as the rules say".
    State(i64),
    /// The same of one patch, by its place: 0 for "as its series".
    PatchState(i64, i64),
    /// Patches of it landed.
    Landed,
}

/// A note about a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Its number; a later note has a higher one.
    pub id: i64,
    /// What it says.
    pub what: What,
    /// Who did it: an address, a user of the machine, or both as `root, as Ana <ana@x.org>`.
    pub who: String,
    /// When.
    pub when: Timestamp,
}

impl Happened {
    /// The address of who did it, if one is known.
    pub fn address(&self) -> Option<&str> {
        let inner = self.who.rsplit_once('<').map(|(_, rest)| rest);
        let text = inner.map_or(self.who.as_str(), |rest| rest.trim_end_matches('>'));
        text.contains('@').then_some(text)
    }

    fn is_by(&self, own: &[String]) -> bool {
        let mut own = own.iter();
        self.address()
            .is_some_and(|who| own.any(|a| a.eq_ignore_ascii_case(who)))
    }

    /// What is decided by it, and how.
    fn state(&self) -> Option<(Option<i64>, i64)> {
        match self.what {
            What::State(state) => Some((None, state)),
            What::PatchState(patch, state) => Some((Some(patch), state)),
            What::Landed => None,
        }
    }
}

/// Those of the notes about a version, oldest first, that are news to its author: of states the last word, if it is not his own and says
/// another state than he knew; what landed by others.
///
/// `told` is the number up to which he was told, `since` when he began to want it, `own` his addresses.
pub fn untold<'a>(
    all: &'a [Happened],
    told: i64,
    since: Timestamp,
    own: &[String],
) -> Vec<&'a Happened> {
    let is_new = |h: &Happened| h.id > told && h.when >= since;
    let is_news = |(at, h): (usize, &'a Happened)| {
        if !is_new(h) || h.is_by(own) {
            return None;
        }
        let Some((of, state)) = h.state() else {
            return Some(h);
        };
        let same = |o: &&Happened| o.state().is_some_and(|(other, _)| other == of);
        if all[at + 1..].iter().any(|o| same(&o)) {
            return None;
        }
        let mut before = all[..at].iter().rev().filter(same);
        let before = before.find(|o| !is_new(o) || o.is_by(own));
        let knew = before.and_then(Happened::state).map_or(0, |(_, s)| s);
        (knew != state).then_some(h)
    };
    all.iter().enumerate().filter_map(is_news).collect()
}

/// `templates/mail/news.txt`; all lines are wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "mail/news.txt", escape = "none")]
pub struct News {
    /// Posting address.
    pub list: String,
    /// Title, version, how many patches.
    pub title: Vec<String>,
    /// What was decided, and where they landed.
    pub said: Vec<String>,
    /// Its page; empty: there is none to be seen.
    pub page: String,
    /// Where such mail is chosen.
    pub choose: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEN: &str = "ben@example.org";

    fn happened(all: &[(What, &str)]) -> Vec<Happened> {
        let one = |(at, (what, who)): (usize, &(What, &str))| Happened {
            id: at as i64 + 1,
            what: *what,
            who: (*who).to_owned(),
            when: Timestamp(at as i64 + 1),
        };
        all.iter().enumerate().map(one).collect()
    }

    #[track_caller]
    fn check(all: &[(What, &str)], told: i64, since: i64, expected: &[i64]) {
        let own = ["ana@example.org".to_owned(), "ana@home.example".to_owned()];
        let all = happened(all);
        let news = untold(&all, told, Timestamp(since), &own);
        let ids: Vec<i64> = news.iter().map(|h| h.id).collect();
        assert_eq!(ids, expected, "{all:?}");
    }

    #[test]
    fn the_last_word_is_told_once() {
        let all = [
            (What::State(2), BEN),
            (What::PatchState(1, 4), "root"),
            (What::State(7), BEN),
            (What::Landed, "repository tool"),
        ];
        check(&all, 0, 0, &[2, 3, 4]);
        check(&all, 2, 0, &[3, 4]);
        check(&all, 4, 0, &[]);
    }

    #[test]
    fn what_was_before_the_wish_is_no_news() {
        let all = [(What::State(2), BEN), (What::State(7), BEN)];
        check(&all, 0, 2, &[2]);
        check(&all, 0, 3, &[]);
    }

    #[test]
    fn nobody_hears_of_what_he_did() {
        check(&[(What::State(10), "ana@example.org")], 0, 0, &[]);
        check(
            &[(What::State(3), "root, as Ana <Ana@Home.example>")],
            0,
            0,
            &[],
        );
        // Ben's word of before is replaced by his own.
        let all = [(What::State(2), BEN), (What::State(10), "ana@example.org")];
        check(&all, 0, 0, &[]);
        let all = [(What::State(10), "ana@example.org"), (What::State(10), BEN)];
        check(&all, 0, 0, &[]);
        check(&[(What::Landed, "x, as Ana <ana@example.org>")], 0, 0, &[]);
    }

    #[test]
    fn a_state_that_it_had_is_no_news() {
        let all = [(What::State(7), BEN), (What::State(7), "root")];
        check(&all, 1, 0, &[]);
        check(&all, 0, 0, &[2]);
        // There and back before anybody was told.
        let all = [
            (What::State(7), BEN),
            (What::State(4), BEN),
            (What::State(7), BEN),
        ];
        check(&all, 1, 0, &[]);
        check(&[(What::State(0), BEN)], 0, 0, &[]);
    }
}
