//! Who may read a list that is not public: one answer for pages and for mail.

use patchpost::list::settings::Bits;
use patchpost::store::{AccessChange, Eyes};

use super::site::{Database, START, Site, play};
use crate::harness::on_both;

on_both! {
    a_right_that_was_taken_away_comes_back_by_no_linked_address,
}

fn a_right_that_was_taken_away_comes_back_by_no_linked_address(database: Database) {
    play(database, linked);
}

const ANA: &str = "ana@example.org";
const HOME: &str = "ana@home.example";

async fn linked(site: Site) {
    let inner = site.list("inner", "private").await;
    let store = &site.ctx.store;
    let give = async |rights: Option<Bits>| {
        let change = AccessChange {
            people: vec![(ANA.to_owned(), rights)],
            ..AccessChange::default()
        };
        let done = store.update_access(inner.id, change, String::new(), START);
        done.await.unwrap();
    };
    let check = async |rights: Option<Bits>, expected: bool| {
        give(rights).await;
        for address in [ANA, HOME] {
            let eyes = Eyes::Person { address, tls: true };
            let shown = store.find_shown("inner", eyes).await.unwrap().is_some();
            let listed = store.load_shown(eyes).await.unwrap();
            let listed = listed.iter().any(|line| line.0.name == "inner");
            let by_mail = store.may_browse(&inner, address).await.unwrap();
            let all = [shown, listed, by_mail];
            assert_eq!(all, [expected; 3], "{address} {rights:?}");
        }
    };
    let members = vec![ANA.to_owned()];
    site.ctx.add_members(inner.id, members).await.unwrap();
    let both = [ANA.to_owned(), HOME.to_owned()];
    store.link_addresses(both, START).await.unwrap();
    check(None, true).await;
    check(Some(Bits(0)), false).await;
    check(Some(Bits(Bits::REPLY.0 | Bits::POST.0)), false).await;
    check(Some(Bits::BROWSE), true).await;
    check(Some(Bits::MODERATE), true).await;
    // Another address that is a member by itself still is.
    let members = vec![HOME.to_owned()];
    site.ctx.add_members(inner.id, members).await.unwrap();
    give(Some(Bits(0))).await;
    assert!(store.may_browse(&inner, HOME).await.unwrap());
    assert!(!store.may_browse(&inner, ANA).await.unwrap());
}
