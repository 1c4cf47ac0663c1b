//! Mails that wait for their rehearsal: not more than there is room for, and gone with the answer or with the list.

use patchpost::list::notice::REHEARSED;
use patchpost::store::{CappedLetter, NewLetter, NewRehearsal, NewRepo, Once, Room};
use patchpost::types::{Identity, ListId};
use patchpost::verdict::Verdict;

use super::site::{Database, START, Site, mail, patch, play};
use crate::harness::on_both;

on_both! {
    what_waits_for_its_rehearsal_takes_no_more_room_than_it_may,
    trouble_with_one_authors_mails_is_told_and_keeps_no_other_waiting,
    an_answer_goes_out_once,
}

fn trouble_with_one_authors_mails_is_told_and_keeps_no_other_waiting(database: Database) {
    play(database, trouble);
}

fn an_answer_goes_out_once(database: Database) {
    play(database, twice);
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
    store.erase_address(BEN.to_owned(), START).await.unwrap();
    assert_eq!(store.load_rehearsing(list.id).await.unwrap(), [ANA]);
    site.ctx.purge_list(&list).await.unwrap();
    assert_eq!(site.rows("select count(*) from rehearsal").await, [["0"]]);
}

/// Puts a mail in as if it had been sent to be tried.
async fn put(site: &Site, list: ListId, address: &str, text: &str) {
    let new = NewRehearsal {
        identity: patchpost::mail::parse(text.as_bytes()).identity,
        // Nothing more comes of it.
        arrived: site.ctx.store.time().await.unwrap().plus_secs(-3_600),
        data: text.as_bytes().to_vec(),
        ..new(list, address, 0)
    };
    let once = Once {
        word: "rehearse",
        keys: vec![new.identity],
    };
    let room = site.ctx.store.insert_rehearsal(new, once).await.unwrap();
    assert_eq!(room, Room::Taken);
}

async fn trouble(site: Site) {
    let store = &site.ctx.store;
    // A repository whose folder is gone.
    let repo = NewRepo {
        name: "tool".to_owned(),
        source_kind: "init".to_owned(),
        source: String::new(),
        branch: "main".to_owned(),
        tip: None,
    };
    store.insert_repo(repo, START).await.unwrap();
    site.list("dev", "public").await;
    site.change(
        "insert into list_repo (list, repo, position) select l.id, r.id, 0 from list l, repo r",
    )
    .await;
    let list = store.find_list("dev").await.unwrap().unwrap();
    put(&site, list.id, ANA, &patch("a1@x", "[PATCH] one", "")).await;
    put(&site, list.id, BEN, &mail("b1@x", "hello", "", "text")).await;
    let later = store.time().await.unwrap().plus_secs(60);
    let claims = store.claim_jobs("rehearse", 1, later).await.unwrap();
    for tries in 1..=4 {
        let done = site.ctx.rehearse(list.id, claims[0].held(), tries).await;
        let waiting = store.load_rehearsing(list.id).await.unwrap();
        match tries {
            4 => assert!(done.is_ok() && waiting.is_empty(), "{done:?} {waiting:?}"),
            _ => assert!(done.is_err() && waiting == [ANA], "{done:?} {waiting:?}"),
        }
    }
    let told = site.rows("select recipient from letter order by id").await;
    assert_eq!(told, [[BEN], [ANA]]);
}

async fn twice(site: Site) {
    let list = site.list("dev", "public").await;
    let store = &site.ctx.store;
    put(&site, list.id, BEN, &mail("b1@x", "hello", "", "text")).await;
    let row = store.load_rehearsals(list.id, BEN).await.unwrap()[0].id;
    let letter = || {
        let letter = NewLetter {
            list: Some(list.id),
            purpose: "rehearsal",
            recipient: BEN.to_owned(),
            return_path: String::new(),
            data: b"x".to_vec(),
            about: Vec::new(),
        };
        Some(CappedLetter {
            letter,
            cap: REHEARSED,
            counted: BEN.to_owned(),
            source: String::new(),
        })
    };
    for _ in 0..2 {
        let answered = store.answer_rehearsals(vec![row], letter(), START);
        answered.await.unwrap();
    }
    assert_eq!(site.rows("select count(*) from letter").await, [["1"]]);
}
