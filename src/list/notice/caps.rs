//! How much automatic mail there is at most. Pure.

/// How many mails of a kind may go out; `i64::MAX` is no limit. Kinds with one name are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// What is counted together.
    pub name: &'static str,
    /// For one address and list in 24 hours.
    pub per_list: i64,
    /// For one address in 24 hours, whatever the list.
    pub per_address: i64,
    /// Caused from one network (IPv4 /24, IPv6 /64) in an hour.
    pub per_source: i64,
}

/// What goes to an address whose owner has not shown that he asked: the numbers are those of the flood that Fedora saw in
/// 2015, 160,000 attempts a day from 8,000 addresses.
pub const ASK: Cap = Cap {
    name: "ask",
    per_list: 1,
    per_address: 3,
    per_source: 20,
};
/// Answers to people who are known to have written, so that two machines never talk to each other for long.
pub const ANSWER: Cap = Cap {
    name: "answer",
    per_list: 10,
    per_address: 30,
    per_source: i64::MAX,
};
/// Help is long and says always the same.
pub const HELP: Cap = Cap {
    name: "help",
    per_list: 1,
    per_address: 3,
    per_source: i64::MAX,
};

/// What the operator is told of his own site; each thing is told once a day, and there are few things.
pub const TELL: Cap = Cap {
    name: "tell",
    per_list: 50,
    per_address: 50,
    per_source: i64::MAX,
};
/// Moderators want to hear of what they decide about; a wave must not fill their mailbox.
pub const MODERATORS: Cap = Cap {
    name: "moderation",
    per_list: 100,
    per_address: 500,
    per_source: i64::MAX,
};
/// Authors' wishes about their own mail: one author with many wishes leaves moderators their notices of held mail.
pub const REMOVALS: Cap = Cap {
    name: "removal",
    per_list: 20,
    per_address: 100,
    per_source: i64::MAX,
};
/// That there is a wave is news a few times a day.
pub const WAVES: Cap = Cap {
    name: "waves",
    per_list: 4,
    per_address: 20,
    per_source: i64::MAX,
};
/// Mailman's "no more today": one denial a day and list says it.
pub const REJECTED: Cap = Cap {
    name: "rejected",
    per_list: 1,
    per_address: 3,
    per_source: i64::MAX,
};

/// What the rules on bounces call for: they send each mail once (`list::score`).
pub const BOUNCES: Cap = Cap {
    name: "bounces",
    per_list: i64::MAX,
    per_address: i64::MAX,
    per_source: i64::MAX,
};

/// A moderator may decide on many series a day; two machines never talk to each other, as none is obeyed.
pub const STEERED: Cap = Cap {
    name: "wish",
    per_list: 200,
    per_address: 500,
    per_source: i64::MAX,
};

/// One may sign in from some browsers a day; each mail gives a few guesses of its code, and no more than these.
pub const SIGN_IN: Cap = Cap {
    name: "sign-in",
    per_list: 5,
    per_address: 5,
    per_source: 20,
};

/// A rehearsal costs as much as the real thing, and is repeated until it is right.
pub const REHEARSED: Cap = Cap {
    name: "rehearsal",
    per_list: 30,
    per_address: 60,
    per_source: i64::MAX,
};

/// Who sends patches all day hears of those that do not apply.
pub const REPORTED: Cap = Cap {
    name: "report",
    per_list: 20,
    per_address: 50,
    per_source: i64::MAX,
};

/// Copies that somebody asks for at a page: he is counted as a network is, too.
pub const ON_REQUEST: Cap = Cap {
    name: "on-request",
    per_list: i64::MAX,
    per_address: 100,
    per_source: 20,
};
