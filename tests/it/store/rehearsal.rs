//! Mails that wait for their rehearsal: not more than there is room for, and gone with the answer or with the list.

use patchpost::store::{NewRehearsal, Once, Room};
use patchpost::types::{Identity, ListId};
use patchpost::verdict::Verdict;

use super::site::{Database, START, Site, play};
use crate::harness::on_both;

on_both! {
    what_waits_for_its_rehearsal_takes_no_more_room_than_it_may,
}

fn what_waits_for_its_rehearsal_takes_no_more_room_than_it_may(database: Database) {
    play(database, room);
}

const ANA: &str = "ana@example.org";
const BEN: &str = "ben@example.org";

fn new(list: ListId, address: &str, n: u16) -> NewRehearsal {
    let mut identity = [0u8; 32];
    identity[..2].copy_from_slice(&n.to_be_bytes());
    NewRehearsal {
        list,
        address: address.to_owned(),
        identity: Identity(identity),
        arrived: START.plus_secs(i64::from(n)),
        verdict: Verdict::default(),
        said: String::new(),
        data: b"Subject: x\n\nx\n".to_vec(),
    }
}

async fn room(site: Site) {
    let list = site.list("dev", "public").await;
    let store = &site.ctx.store;
    let put = async |who: &str, n: u16| {
        let new = new(list.id, who, n);
        let mut key = new.identity.0;
        key[2] = who.as_bytes()[0];
        let once = Once {
            word: "rehearse",
            keys: vec![Identity(key)],
        };
        store.insert_rehearsal(new, once).await.unwrap()
    };
    for n in 0..300 {
        assert_eq!(put(ANA, n).await, Room::Taken);
    }
    assert_eq!(put(ANA, 300).await, Room::Full);
    assert_eq!(
        put(BEN, 0).await,
        Room::Taken,
        "one author's room is not another's"
    );
    let waiting = store.load_rehearsals(list.id, ANA).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].mail.arrived), (300, START));
    let answered = waiting[..299].iter().map(|w| w.id).collect();
    store
        .answer_rehearsals(answered, None, START)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            put(ANA, 300).await,
            Room::Taken,
            "the same mail is the same"
        );
    }
    assert_eq!(store.load_rehearsals(list.id, ANA).await.unwrap().len(), 2);
    assert_eq!(store.load_rehearsing(list.id).await.unwrap(), [ANA, BEN]);
    site.ctx.purge_list(&list).await.unwrap();
    assert_eq!(site.rows("select count(*) from rehearsal").await, [["0"]]);
}
