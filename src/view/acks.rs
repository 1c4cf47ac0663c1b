//! Who gave which trailer to which patches, as a page says it.

use std::collections::BTreeMap;

use crate::patchset::{Ack, Claim, People};
use crate::types::MessageId;

/// One trailer of one reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckLine {
    /// `Reviewed-by`
    pub name: String,
    /// Whom it names, or what, if it names nobody.
    pub who: String,
    /// `all patches`, `patch 2`, `patches 1, 3`, and the earlier version that it was given on
    pub patches: String,
    /// Message-ID of the reply.
    pub message_id: MessageId,
    /// If it is only a claim: address of who sent it, and what stands against it.
    pub claim: Option<(String, &'static str)>,
}

/// Patch numbers that are spelt out in one line; more are counted.
const MAX_NUMBERS: usize = 12;

/// Lines for the patches of one version (number, what it was given), in the order in which they were given.
pub fn ack_lines(patches: &[(i64, &[Ack])]) -> Vec<AckLine> {
    let mut lines: Vec<(&Ack, Vec<i64>)> = Vec::new();
    let mut known: BTreeMap<(i64, String), usize> = BTreeMap::new();
    for (number, acks) in patches {
        for ack in *acks {
            let key = (ack.mail.0, ack.trailer.to_string());
            let at = *known.entry(key).or_insert_with(|| {
                lines.push((ack, Vec::new()));
                lines.len() - 1
            });
            lines[at].1.push(*number);
        }
    }
    let line = |(ack, numbers): (&Ack, Vec<i64>)| AckLine {
        name: ack.trailer.name.clone(),
        who: who(ack),
        patches: match &ack.given_on {
            Some(label) => format!("{}, on v{label}", spell(&numbers, patches.len())),
            None => spell(&numbers, patches.len()),
        },
        message_id: ack.message_id.clone(),
        claim: ack.claim.map(|claim| (ack.sender.clone(), words(claim))),
    };
    lines.into_iter().map(line).collect()
}

/// How many people gave something that is theirs to give: `2 acks`; `None` if nobody did.
pub fn ack_count(patches: &[(i64, &[Ack])]) -> Option<String> {
    let theirs = patches.iter().flat_map(|p| p.1).filter(|a| a.matches());
    let mut people = People::default();
    for (_, address) in theirs.filter_map(|a| a.trailer.person()) {
        people.add(address);
    }
    match people.count() {
        0 => None,
        1 => Some("1 ack".to_owned()),
        count => Some(format!("{count} acks")),
    }
}

fn words(claim: Claim) -> &'static str {
    match claim {
        Claim::OtherPerson => "it names somebody else",
        Claim::NoAddress => "no address can be read in it",
        Claim::NotAuthenticated => "the mail is not authenticated as well as the patch",
    }
}

fn who(ack: &Ack) -> String {
    match ack.trailer.person() {
        Some(("", address)) => address.to_owned(),
        Some((name, _)) => name.to_owned(),
        None => ack.trailer.value.clone(),
    }
}

fn spell(numbers: &[i64], all: usize) -> String {
    match numbers {
        _ if numbers.len() == all && all > 1 => "all patches".to_owned(),
        [one] => format!("patch {one}"),
        _ if numbers.len() > MAX_NUMBERS => format!("{} of {all} patches", numbers.len()),
        _ => {
            let words: Vec<String> = numbers.iter().map(i64::to_string).collect();
            format!("patches {}", words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patchset::Trailer;
    use crate::types::MailId;

    fn ack(mail: i64, name: &str, value: &str, claim: Option<Claim>) -> Ack {
        Ack {
            trailer: Trailer::new(name, value),
            mail: MailId(mail),
            message_id: MessageId::parse("r@x").expect("an id"),
            name: String::new(),
            sender: "eve@x".to_owned(),
            claim,
            given_on: None,
        }
    }

    #[test]
    fn trailers_of_one_reply_are_one_line() {
        let all = ack(1, "Reviewed-by", "Ana <ana@x>", None);
        let one = ack(2, "Tested-by", "Ben <ben@x>", Some(Claim::OtherPerson));
        let (first, second) = ([all.clone()], [all, one]);
        let patches: [(i64, &[Ack]); 2] = [(1, &first), (2, &second)];
        let found: Vec<String> = ack_lines(&patches)
            .into_iter()
            .map(|l| format!("{} {} {} {:?}", l.name, l.who, l.patches, l.claim))
            .collect();
        let expected = [
            "Reviewed-by Ana all patches None",
            "Tested-by Ben patch 2 Some((\"eve@x\", \"it names somebody else\"))",
        ];
        assert_eq!(found, expected);
        assert_eq!(ack_count(&patches), Some("1 ack".to_owned()));
        let detailed = [ack(3, "Tested-by", "Ana <Ana+git@x>", None)];
        assert_eq!(
            ack_count(&[(1, &first), (2, &detailed)]),
            Some("1 ack".to_owned())
        );
        assert_eq!(ack_count(&[]), None);
        let person = |n: i64| ack(n, "Acked-by", &format!("<{}@x.example.org>", n % 400), None);
        let many: Vec<Ack> = (0..20_000).map(person).collect();
        assert_eq!(ack_count(&[(1, &many)]), Some("400 acks".to_owned()));
    }
}
