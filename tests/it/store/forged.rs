//! No token that somebody made up, changed, took from elsewhere or used again takes anybody off a list, whatever comes with it.

use patchpost::list::score::State;
use patchpost::list::token::{self, Bounce, Confirmation, Standing};
use patchpost::pipeline::NewMail;
use patchpost::session::Protocol;
use patchpost::types::{ListId, MemberId};

use super::bounces::{REPORT, day, send};
use super::site::{Database, START, Site, play};
use crate::harness::size;
use crate::signing::Dice;

stories! {
    no_forged_changed_or_misused_token_does_anything,
    no_true_token_used_on_fewer_than_three_days_takes_anybody_off,
}

/// What may come back, or be sent by somebody who wants it to look so.
const FULL: &str = "From: MAILER-DAEMON@example.net\nSubject: Undelivered Mail\n\nThis could not be delivered:\n552 5.2.2 Mailbox full\n";
const FAILED: &str =
    "From: MAILER-DAEMON@example.net\nSubject: failure notice\n\n550 5.3.0 This host is broken\n";
const COMPLAINT: &str = "From: abuse@example.net\nSubject: FW\nContent-Type: multipart/report; boundary=b\n\n--b\n\
     Content-Type: message/feedback-report\n\nFeedback-Type: abuse\n\n--b--\n";

/// Members, each of a domain of its own: many at once are no storm.
async fn members(site: &Site, count: usize) -> (ListId, Vec<MemberId>) {
    let list = site.list("dev", "public").await;
    let address = |n: usize| format!("m{n}@d{n}.example");
    let added = (0..count).map(address).collect();
    let store = &site.ctx.store;
    store.insert_members(list.id, added, START).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..count {
        let found = store.find_member_by_address(list.id, &address(n)).await;
        ids.push(found.unwrap().unwrap().id);
    }
    (list.id, ids)
}

/// A token that nobody was given for what it is used for; the word of its address goes with it.
fn wrong(dice: &mut Dice, key: &[u8], copy: Bounce) -> (&'static str, String) {
    let standing = Standing {
        id: 1 + dice.roll(3) as i64,
        since: START.0 / 1_000_000 + dice.roll(9) as i64,
    };
    let other = [b"".as_slice(), b"a stranger's key", &key[1..], &key[..8]][dice.roll(4)];
    let words = ["b", "probe", "unsubscribe", "confirm"];
    let confirmation = Confirmation {
        nonce: dice.roll(1_000) as i64,
        list: copy.list,
    };
    let of = |key: &[u8], purpose: usize| match words[purpose] {
        "b" => token::render_bounce(key, copy),
        "probe" => token::render_probe(key, standing),
        "unsubscribe" => token::render_leave(key, copy.member),
        _ => token::render_confirm(key, confirmation),
    };
    let purpose = dice.roll(4);
    let mut token = of(key, purpose).unwrap();
    match dice.roll(4) {
        // By another's key.
        0 => return (words[purpose], of(other, purpose).unwrap()),
        // A bit or two turned.
        1 => {
            for _ in 0..=dice.roll(2) {
                let at = dice.roll(token.len());
                token.replace_range(at..=at, turned(&token[at..=at], dice.roll(5)));
            }
            if token == of(key, purpose).unwrap() {
                token.pop();
            }
            return (words[purpose], token);
        }
        // Cut, or longer.
        2 => match dice.roll(3) {
            0 => token.truncate(dice.roll(token.len())),
            1 => token.insert(dice.roll(token.len()), 'a'),
            _ => token.push_str(&of(key, purpose).unwrap()[..8]),
        },
        // True, and for something else.
        _ => {
            let own = purpose;
            // Both of the first are return paths: a bounce may come to either, and says by its token what it is.
            let purpose = match own {
                0 | 1 => 2 + dice.roll(2),
                _ => (own + 1 + dice.roll(3)) % 4,
            };
            let more = [
                token::render_enable(key, standing),
                token::render_echo(key, standing.since, 1),
                token::render_moderate(key, 1, 0, "m1@d1.example"),
                of(key, own),
            ];
            return (words[purpose], more[dice.roll(4)].clone().unwrap());
        }
    }
    (words[purpose], token)
}

/// A sign of base32 with one of its five bits turned.
fn turned(sign: &str, bit: usize) -> &'static str {
    const SIGNS: &str = "abcdefghijklmnopqrstuvwxyz234567";
    let at = SIGNS.find(sign).unwrap() ^ 1 << bit;
    &SIGNS[at..=at]
}

/// Writes to an address as a person does; the reply's code.
async fn write(site: &Site, to: &str) -> u16 {
    let new = NewMail {
        bytes: b"From: m1@d1.example\r\nMessage-ID: <yes@d1.example>\r\n\r\nyes\r\n".to_vec(),
        sender: Some("m1@d1.example".parse().unwrap()),
        recipients: vec![to.parse().unwrap()],
        protocol: Protocol::Smtp,
        ip: None,
        helo: "client.example".to_owned(),
    };
    let answers = site.ctx.screen(new).await;
    answers[0]
        .as_ref()
        .map_or_else(|reply| reply.code, |()| 250)
}

/// What holds of all members all the time.
async fn all_is_well(site: &Site, count: usize) {
    let reading = "select count(*) from member where mail = 1 and address like 'm%'";
    assert_eq!(site.rows(reading).await, [[count.to_string()]]);
    let standing = "select address, state from standing where state <> 'fine'";
    assert_eq!(site.rows(standing).await, Vec::<Vec<String>>::new());
}

async fn no_forged_changed_or_misused_token_does_anything(site: Site) {
    let rounds = [300, 1_500, 5_000][size() - 1];
    let (list, ids) = members(&site, 3).await;
    let key = site.ctx.token_key.clone();
    let mut dice = Dice(20_261_126);
    for round in 0..rounds {
        let copy = Bounce {
            list,
            number: 1 + dice.roll(50) as i64,
            member: ids[dice.roll(ids.len())],
        };
        let (word, token) = wrong(&mut dice, &key, copy);
        let to = format!("dev+{word}-{token}@x.org");
        let code = match word {
            "b" | "probe" => {
                let mail = [REPORT, FULL, FAILED, COMPLAINT][dice.roll(4)];
                send(&site, &to, mail).await
            }
            _ => write(&site, &to).await,
        };
        assert_eq!(code, 550, "{round}: {to}");
        // Nor named in a complaint that reaches a person.
        let named = COMPLAINT.replace(
            "Feedback-Type: abuse\n",
            &format!("Feedback-Type: abuse\nOriginal-Mail-From: <dev+b-{token}@x.org>\n"),
        );
        let is_copy = token::parse_bounce(&key, &token).is_some();
        if round % 10 == 0 && !is_copy {
            let id = format!("Message-ID: <{round}@x>\nSubject: FW");
            let named = named.replacen("Subject: FW", &id, 1);
            assert_eq!(send(&site, "postmaster@x.org", &named).await, 250);
        }
    }
    assert_eq!(site.rows("select count(*) from bounce").await, [["0"]]);
    let told = "select count(*) from letter where purpose like '%stopped%'";
    assert_eq!(site.rows(told).await, [["0"]]);
    for at in [1, 2, 40] {
        site.ctx.check_bounces(day(at)).await.unwrap();
    }
    all_is_well(&site, ids.len()).await;
}

async fn no_true_token_used_on_fewer_than_three_days_takes_anybody_off(site: Site) {
    let count = [24, 60, 150][size() - 1];
    let (list, ids) = members(&site, count).await;
    let key = site.ctx.token_key.clone();
    let mut dice = Dice(20_261_127);
    let two_days = |dice: &mut Dice, n: usize| {
        let days = [dice.roll(30) as i64, 31 + dice.roll(30) as i64];
        days[..1 + n % 2].to_vec()
    };
    let days: Vec<Vec<i64>> = (0..count).map(|n| two_days(&mut dice, n)).collect();
    for today in 0..62_i64 {
        for (at, member) in ids.iter().enumerate() {
            if !days[at].contains(&today) {
                continue;
            }
            // As many true tokens of somebody else's copies as one likes, each used as often as one likes.
            for number in 0..=dice.roll(4) as i64 {
                let to = true_path(&key, list, 10 * today + number, *member);
                for _ in 0..=dice.roll(3) {
                    let mail = [REPORT, REPORT, FULL, FAILED][dice.roll(4)];
                    assert_eq!(send(&site, &to, mail).await, 250);
                }
            }
        }
        count_at(&site, today).await;
        let disabled = site.ctx.store.count_disabled().await.unwrap();
        assert_eq!(disabled, 0, "day {today}");
    }
    all_is_well(&site, count).await;
    let counted = "select count(*) from bounce where state = 1";
    assert_ne!(site.rows(counted).await, [["0"]], "they did count");
    // On a third day the address is asked, so what is looked for above can be seen; it stays on the list.
    let last = ids.len() - 1;
    for today in 100..103_i64 {
        let to = true_path(&key, list, 10 * today, ids[last]);
        assert_eq!(send(&site, &to, REPORT).await, 250);
        count_at(&site, today).await;
    }
    let address = format!("m{last}@d{last}.example");
    let found = site.ctx.store.find_standing(&address).await;
    assert_eq!(found.unwrap().unwrap().standing.state, State::Probed);
}

fn true_path(key: &[u8], list: ListId, number: i64, member: MemberId) -> String {
    let copy = Bounce {
        list,
        number,
        member,
    };
    let token = token::render_bounce(key, copy).unwrap();
    format!("dev+b-{token}@x.org")
}

/// What came just now came at some hour of that day, and is counted the day after.
async fn count_at(site: &Site, today: i64) {
    let midnight = day(today).0 / (86_400 * 1_000_000) * (86_400 * 1_000_000);
    let text = format!(
        "update bounce set arrived = {midnight} + 1000000 * (id * 7919 % 86400) where arrived > {}",
        day(1_000).0
    );
    site.change(&text).await;
    let tomorrow = day(today + 1).plus_secs(3_600);
    site.ctx.check_bounces(tomorrow).await.unwrap();
}
