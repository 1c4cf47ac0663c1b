//! The one order in which a list looks at a mail for it; each step says in words what it found. Pure.
//!
//! The first step that decides ends it. `docs/policy.md` has the same order; `patchpost policy explain` prints it for a mail.

use super::policy::Decision;
use super::rules::{self, Action};
use super::settings::{Bits, Moderation, Outsiders, Policy, Proof};
use crate::mail::{Flaw, Message};
use crate::session::{Protocol, Reply};
use crate::types::{Address, Identity};
use crate::verdict::{self, Level, Verdict};

/// What is asked about a mail.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The mail.
    pub message: &'a Message,
    /// Its bytes as they came.
    pub size: usize,
    /// The envelope sender was the null one.
    pub null_sender: bool,
    /// How it came.
    pub protocol: Protocol,
    /// Who speaks for it.
    pub verdict: &'a Verdict,
    /// The list's policy.
    pub policy: &'a Policy,
    /// The List-Id of the list that is meant, without `<>`.
    pub list_id: &'a str,
    /// Where help is, without a slash at the end.
    pub help_url: &'a str,
    /// What the store knows of the sender here.
    pub known: &'a Known,
    /// What a filter says.
    pub spam: &'a Spam,
}

/// What a list knows of an address and of the mails that a mail answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Rights that this address was given by itself.
    pub bits: Option<Bits>,
    /// It is subscribed.
    pub member: bool,
    /// It, or an address that is linked with it, is subscribed to another list, and this list's policy lets that count.
    pub elsewhere: bool,
    /// The list has a mail of it.
    pub seen: bool,
    /// The list has a mail that this one answers.
    pub reply: bool,
    /// The ban that holds for it or for the envelope sender.
    pub ban: Option<String>,
    /// This very mail was redacted or purged here.
    pub removed: bool,
    /// Mails of strangers that the list took within the last hour.
    pub strangers: i64,
}

/// What a filter says of a mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Spam {
    /// Nobody was asked, or there was trouble.
    #[default]
    Unknown,
    /// It is not; in words.
    No(String),
    /// It is; in words.
    Yes(String),
}

/// Who a mail says it is from, and what that is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The one address in From, in lower case; empty if there is none or more than one.
    pub address: String,
    /// It is known to be that person's: their rights are the mail's.
    pub proven: bool,
}

/// One step and what it found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What it found.
    pub found: String,
}

/// What becomes of a mail, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer; a refusal is `Err`.
    pub decision: Result<Decision, Reply>,
    /// The steps that were taken, the last one decided.
    pub steps: Vec<Step>,
    /// It is from somebody whom the list does not know: it counts among the strangers' of the hour.
    pub stranger: bool,
    /// Its copies wait for so many seconds.
    pub delay: i64,
}

impl From<Result<Decision, Reply>> for Outcome {
    fn from(decision: Result<Decision, Reply>) -> Outcome {
        Outcome {
            decision,
            steps: Vec::new(),
            stranger: false,
            delay: 0,
        }
    }
}

/// What a step says.
enum Say {
    Pass(String),
    Decide(String, Result<Decision, Reply>),
}

type Judge = fn(&Asked<'_>) -> Say;

/// The order. The mail's own form comes first: what is wrong there its sender can mend, whoever he is. Then what nobody's
/// rights help against, then rights, then doubts.
const STEPS: [(&str, Judge); 15] = [
    ("loop", has_looped),
    ("sender", is_bounce),
    ("form", is_mail),
    ("removed", was_removed),
    ("html", has_text),
    ("ban", is_banned),
    ("rules", by_rules),
    ("emergency", by_emergency),
    ("types", by_types),
    ("size", by_size),
    ("rights", by_rights),
    ("spam", by_spam),
    ("strangers", by_moderation),
    ("dmarc", by_dmarc),
    ("rate", by_rate),
];

#[cfg(test)]
pub fn step_names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|(name, _)| *name)
}

/// A question with what several steps need of it.
struct Asked<'a> {
    q: Question<'a>,
    who: Who,
    bits: Bits,
    /// The rule that matched first.
    rule: Option<&'a rules::Rule>,
}

impl Asked<'_> {
    fn may(&self, bits: Bits) -> bool {
        self.bits.has(bits)
    }

    /// What a moderator sends is held for no doubts; rules, types and rights count for it as for any.
    fn moderates(&self) -> bool {
        self.who.proven && self.may(Bits::MODERATE)
    }

    fn is_stranger(&self) -> bool {
        let known = self.q.known;
        !(self.who.proven
            && (known.bits.is_some() || known.member || known.elsewhere || known.seen))
    }

    /// A rule accepted it, or it is a moderator's: doubts do not count.
    fn is_waved(&self) -> bool {
        self.moderates() || self.rule.is_some_and(|r| r.action == Action::Accept)
    }

    fn name(&self) -> &str {
        match self.who.address.as_str() {
            "" => "nobody in particular",
            address => address,
        }
    }
}

/// Who a mail is from. A From field alone proves nothing, unless the list's policy says that it does.
pub fn who(message: &Message, verdict: &Verdict, proof: Proof) -> Who {
    let one = verdict::from_domain(message).and(message.from.first());
    let address = one.and_then(|m| m.address.parse::<Address>().ok());
    let address = address.map_or_else(String::new, |a| a.key());
    let speaks = verdict.level == Level::Aligned || proof == Proof::From;
    Who {
        proven: speaks && !address.is_empty(),
        address,
    }
}

/// Whether the author himself wrote the fields of that name (one of [`verdict::FREE`]): where a From field is enough, that is, too.
pub fn holds(verdict: &Verdict, proof: Proof, name: &str) -> bool {
    proof == Proof::From || verdict.holds(name)
}

/// Whether the author himself named such an address in To or Cc.
pub fn names(
    message: &Message,
    verdict: &Verdict,
    proof: Proof,
    is_meant: impl Fn(&str) -> bool,
) -> bool {
    let named = |boxes: &[crate::mail::Mailbox], name| {
        boxes.iter().any(|m| is_meant(&m.address)) && holds(verdict, proof, name)
    };
    named(&message.to, "to") || named(&message.cc, "cc")
}

/// Walks the steps for a mail to the list itself.
pub fn walk(q: Question<'_>) -> Outcome {
    let who = who(q.message, q.verdict, q.policy.proof);
    let (bits, rule) = (rights(&q, &who), matching(&q));
    let asked = Asked { q, who, bits, rule };
    let mut steps = Vec::new();
    let mut decision = Ok(Decision::Accept);
    for (name, judge) in STEPS {
        match judge(&asked) {
            Say::Pass(found) => steps.push(Step { name, found }),
            Say::Decide(found, decided) => {
                steps.push(Step { name, found });
                decision = decided;
                break;
            }
        }
    }
    let stranger = asked.is_stranger();
    let first = stranger && !asked.q.known.seen && !asked.is_waved();
    let delay = match decision {
        Ok(Decision::Accept) if first => delay(q.policy.delay, &q.message.identity),
        _ => 0,
    };
    Outcome {
        decision,
        steps,
        stranger,
        delay,
    }
}

/// How many seconds a first post's copies wait: `least` to twice as many, by the mail itself, so that it can be foretold.
pub fn delay(least: i64, identity: &Identity) -> i64 {
    let lot = i64::from(u16::from_be_bytes([identity.0[0], identity.0[1]]));
    least + lot * least / i64::from(u16::MAX)
}

/// A claim gives no rights, but takes those that the person has lost.
fn rights(q: &Question<'_>, who: &Who) -> Bits {
    let everybody = match who.proven && (q.known.member || q.known.elsewhere) {
        true => q.policy.subscribers,
        false => q.policy.anybody,
    };
    match q.known.bits {
        Some(own) if who.proven => own,
        Some(own) => everybody.and(own),
        None => everybody,
    }
}

fn matching<'a>(q: &Question<'a>) -> Option<&'a rules::Rule> {
    let mut rules = q.policy.rules.iter();
    rules.find(|rule| rule.matches(&q.message.headers))
}

/// Of refusals only those go back by the mail server in front whose sender is no forgery: its bounce would hit a third party.
fn refuse(asked: &Asked<'_>, what: &'static str, reply: Reply) -> Result<Decision, Reply> {
    let heard = asked.q.protocol == Protocol::Smtp || asked.q.verdict.level == Level::Aligned;
    match heard {
        true => Err(reply),
        false => Ok(Decision::Drop(what)),
    }
}

fn no(found: &str, decision: Result<Decision, Reply>) -> Say {
    Say::Decide(found.to_owned(), decision)
}

fn hold(found: String) -> Say {
    Say::Decide(found.clone(), Ok(Decision::Hold(found)))
}

fn pass(found: impl Into<String>) -> Say {
    Say::Pass(found.into())
}

fn has_looped(asked: &Asked<'_>) -> Say {
    match super::policy::has_looped(asked.q.message, asked.q.list_id) {
        // What went round is the list's own copy: whoever hears of it, it is not the author's doing.
        true => {
            let reply = Reply::new(
                554,
                "5.4.6",
                "Mail loop: this list has sent this mail already",
            );
            let decided = match asked.q.protocol {
                Protocol::Smtp => Err(reply),
                Protocol::Lmtp => Ok(Decision::Drop("loop")),
            };
            no(
                "it went through this list before, or through too many servers",
                decided,
            )
        }
        false => pass("it did not go through this list before"),
    }
}

fn is_bounce(asked: &Asked<'_>) -> Say {
    if !asked.q.null_sender {
        return pass("it names a sender in its envelope");
    }
    let reply = Reply::new(550, "5.7.1", "A list does not take bounces");
    let decided = refuse(asked, "bounce to the list", reply);
    no("its envelope sender is empty: it is a bounce", decided)
}

fn is_mail(asked: &Asked<'_>) -> Say {
    if !asked.q.message.headers.is_empty() {
        return pass("it has a header");
    }
    let text = "This is no mail: it has no header, not even a From field";
    let decided = refuse(asked, "no header", Reply::new(550, "5.6.0", text));
    no("it has no header", decided)
}

fn was_removed(asked: &Asked<'_>) -> Say {
    if !asked.q.known.removed {
        return pass("it was not removed here before");
    }
    let text = "This mail was removed from the archive here and does not come back";
    let decided = refuse(asked, "removed", Reply::new(550, "5.7.1", text));
    no("it was removed here before", decided)
}

fn has_text(asked: &Asked<'_>) -> Say {
    if !asked.q.message.flaws.contains(&Flaw::HtmlOnly) {
        return pass("it is not HTML alone");
    }
    if asked.q.policy.html {
        return pass("it has only HTML, which this list takes");
    }
    let text = format!(
        "This list takes plain text; your mail had only HTML. {}/help/plain-text",
        asked.q.help_url
    );
    let decided = refuse(asked, "only HTML", Reply::new(550, "5.6.1", text));
    no("it has only HTML", decided)
}

fn is_banned(asked: &Asked<'_>) -> Say {
    let Some(ban) = &asked.q.known.ban else {
        return pass("its sender is not banned");
    };
    let text = "This list takes no mail from this sender; write to its owner address to ask why";
    let decided = refuse(asked, "banned", Reply::new(550, "5.7.1", text));
    no(&format!("{ban} is banned"), decided)
}

fn by_rules(asked: &Asked<'_>) -> Say {
    let Some(rule) = asked.rule else {
        return pass(match asked.q.policy.rules.len() {
            0 => "there are no rules".to_owned(),
            n => format!("none of {n} matches"),
        });
    };
    let found = format!("rule \"{rule}\" matches");
    match rule.action {
        Action::Accept => pass(found),
        Action::Hold => hold(found),
        Action::Discard => no(&found, Ok(Decision::Drop("a rule of the list"))),
        Action::Reject => {
            let text =
                "This list does not take mail of this kind; write to its owner address to ask why";
            let reply = Reply::new(550, "5.7.1", text);
            no(&found, refuse(asked, "a rule of the list", reply))
        }
    }
}

fn by_emergency(asked: &Asked<'_>) -> Say {
    match (asked.q.policy.emergency, asked.moderates()) {
        (false, _) => pass("off"),
        (true, true) => pass("on, but it is a moderator's"),
        (true, false) => hold("the list holds everything for now".to_owned()),
    }
}

fn by_types(asked: &Asked<'_>) -> Say {
    let refused = &asked.q.policy.refused_types;
    let mut types = asked
        .q
        .message
        .parts
        .iter()
        .map(|p| p.content_type.as_str());
    let found = types.find(|t| refused.iter().any(|pattern| rules::is_match(pattern, t)));
    let Some(found) = found else {
        return pass("no part is of a refused type");
    };
    let text = format!("This list does not take parts of type {found}; send the mail without it");
    let decided = refuse(asked, "refused type", Reply::new(550, "5.6.1", text));
    no(&format!("a part is {found}"), decided)
}

fn by_size(asked: &Asked<'_>) -> Say {
    let (size, limit) = (asked.q.size, asked.q.policy.max_size);
    let fits = i64::try_from(size).is_ok_and(|size| size <= limit);
    match fits || asked.moderates() {
        true => pass(format!("{size} bytes, up to {limit} pass")),
        false => hold(format!("it has {size} bytes, up to {limit} pass")),
    }
}

fn by_rights(asked: &Asked<'_>) -> Say {
    let reply = asked.q.known.reply;
    let what = if reply {
        "answers a mail of the list"
    } else {
        "begins a thread"
    };
    let (who, bits) = (asked.name(), asked.bits);
    let proof = if asked.who.proven {
        ""
    } else {
        ", not authenticated"
    };
    let found = format!("{who}{proof}, {what}; has {bits}");
    // Who may begin threads may answer, too: from outside nobody can tell whether what is answered is here.
    if asked.may(Bits::POST) || (reply && asked.may(Bits::REPLY)) {
        return pass(found);
    }
    let found = format!("{found}: that is not enough");
    let unheard = asked.q.protocol == Protocol::Lmtp && asked.q.verdict.level != Level::Aligned;
    if asked.q.policy.outsiders == Outsiders::Hold || unheard {
        return hold(found);
    }
    no(&found, Err(lacking(asked)))
}

/// What a sender hears who may not write here; it is the same for members' and strangers' addresses.
fn lacking(asked: &Asked<'_>) -> Reply {
    let others = asked.q.policy.anybody.has(Bits::REPLY);
    let text = match (asked.who.proven, others) {
        (_, true) => "Only some people begin threads on this list; answers to its mails are taken",
        (true, false) => {
            "This list takes mail of some people only, and your address is not among them"
        }
        (false, false) => {
            "This list takes mail of some people only, and nothing proves that yours is from one of them: your domain's \
             signature (DKIM) or SPF would"
        }
    };
    Reply::new(550, "5.7.1", text)
}

fn by_spam(asked: &Asked<'_>) -> Say {
    match asked.q.spam {
        Spam::Unknown => pass("no filter said anything"),
        Spam::No(why) => pass(why.clone()),
        Spam::Yes(why) if asked.is_waved() => {
            pass(format!("{why}, which does not count for this mail"))
        }
        Spam::Yes(why) => hold(why.clone()),
    }
}

fn by_moderation(asked: &Asked<'_>) -> Say {
    let who = asked.name();
    if asked.is_waved() {
        return pass(format!("nothing of {who} is held"));
    }
    let known = asked.q.known;
    match asked.q.policy.moderation {
        Moderation::None => pass("nobody's mail is held"),
        Moderation::All => hold("the list holds everybody's mail".to_owned()),
        Moderation::Strangers if !asked.is_stranger() => pass(format!("the list knows {who}")),
        Moderation::Strangers if asked.who.proven && known.reply => {
            pass(format!("{who} is new and answers a mail of the list"))
        }
        Moderation::Strangers if asked.who.proven => hold(format!("the first mail of {who} here")),
        Moderation::Strangers => hold(format!("nothing proves that it is from {who}")),
    }
}

fn by_dmarc(asked: &Asked<'_>) -> Say {
    let policy = asked.q.verdict.policy.as_deref().unwrap_or("none");
    let failed = matches!(asked.q.verdict.level, Level::None | Level::Unaligned);
    let strict = matches!(policy, "reject" | "quarantine");
    if asked.q.policy.moderation == Moderation::None {
        return pass("nobody's mail is held");
    }
    if !(failed && strict) || asked.is_waved() {
        return pass(match failed {
            true => format!("nothing speaks for its domain, which asks for {policy}"),
            false => "its domain speaks for it, or nobody could look".to_owned(),
        });
    }
    // RFC 9989 section 7: the policy alone is no ground to refuse; many lists and forwarders break signatures.
    let known = asked.q.known;
    let second = match (known.seen, known.reply) {
        (true, true) => {
            return pass(format!(
                "p={policy} fails, but the list knows the address and the thread"
            ));
        }
        (false, _) => "the address was never seen here",
        (true, false) => "it answers no mail of the list",
    };
    hold(format!(
        "its domain asks for p={policy}, nothing speaks for it, and {second}"
    ))
}

fn by_rate(asked: &Asked<'_>) -> Say {
    let (limit, count) = (asked.q.policy.strangers_per_hour, asked.q.known.strangers);
    if !asked.is_stranger() || asked.is_waved() {
        return pass("it is nobody new");
    }
    match limit > 0 && count >= limit {
        true => hold(format!(
            "{count} mails of strangers came within the hour, {limit} pass"
        )),
        false => pass(format!("{count} mails of strangers came within the hour")),
    }
}

#[cfg(test)]
mod tests;
