//! What is done beside all mail: old series are put away, and what waited in vain is tried.

use patchpost::git::Source;
use patchpost::store::{ListChange, NewCorrection, now};
use patchpost::types::{Job, RealmId, RepoId};
use patchpost::worker;

use super::site::{Site, patch};

/// A list with a repository of its own.
async fn with_repo(site: &Site) -> RepoId {
    let list = site.list("dev", "public").await;
    let new = ("init", String::new());
    site.ctx
        .add_repo("tool", Source::New, new, None)
        .await
        .unwrap();
    let change = ListChange {
        repos: Some(vec!["tool".to_owned()]),
        ..ListChange::default()
    };
    site.ctx.change_list(list.id, change).await.unwrap();
    RepoId(site.ctx.store.load_repos().await.unwrap()[0].id)
}

async fn set_state(site: &Site, id: &str, state: &str) {
    let list = site.ctx.store.find_list("dev").await.unwrap().unwrap();
    let new = NewCorrection {
        kind: "state",
        mail: site.mails(&list, id).await[0],
        others: vec![],
        detail: state.to_owned(),
        actor: "ana".to_owned(),
    };
    site.ctx.correct(RealmId::PUBLIC, new).await.unwrap();
}

/// Runs the job as the worker does.
async fn upkeep(site: &Site, repo: RepoId) {
    let job = vec![(Job::Upkeep(repo), 6)];
    site.ctx.store.insert_jobs(job, now()).await.unwrap();
    worker::drain(&site.ctx, &["upkeep"]).await.unwrap();
}

/// Message-IDs of the series that are put away.
async fn archived(site: &Site) -> Vec<String> {
    let text = "select m.message_id from series s join mail m on m.id = s.anchor where s.archived = 1 order by 1";
    let rows = site.rows(text).await;
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

pub async fn old_series_are_put_away_and_come_back_when_they_are_open_again(site: Site) {
    let repo = with_repo(&site).await;
    let list = site.ctx.store.find_list("dev").await.unwrap().unwrap();
    let day = |days: i64| now().plus_secs(-days * 24 * 3600);
    let mut mails = Vec::new();
    for (id, days) in [
        ("new@x", 1),
        ("a100@x", 100),
        ("b100@x", 100),
        ("c400@x", 400),
    ] {
        mails.push((patch(id, &format!("[PATCH] {id}"), ""), day(days)));
    }
    site.import(&list, &mails).await;
    site.drain().await;
    for id in ["new@x", "a100@x"] {
        set_state(&site, id, "3").await;
    }
    assert_eq!(archived(&site).await, Vec::<String>::new());
    upkeep(&site, repo).await;
    // Closed for 90 days, or open for a year.
    assert_eq!(archived(&site).await, ["a100@x", "c400@x"]);
    upkeep(&site, repo).await;
    assert_eq!(archived(&site).await, ["a100@x", "c400@x"]);
    set_state(&site, "a100@x", "0").await;
    upkeep(&site, repo).await;
    assert_eq!(archived(&site).await, ["c400@x"]);
    assert_eq!(
        site.rows("select count(*) from job where kind = 'upkeep'")
            .await,
        [["0"]]
    );
}

pub async fn a_series_that_waited_for_a_day_is_tried_without_what_it_names(site: Site) {
    let repo = with_repo(&site).await;
    let list = site.ctx.store.find_list("dev").await.unwrap().unwrap();
    let text = |id: &str| {
        let text = patch(id, &format!("[PATCH] {id}"), "");
        text.replace("Text.\n", "Text.\n\nDepends-on: <never@x>\n")
    };
    let hours = |hours: i64| now().plus_secs(-hours * 3600);
    let mails = [(text("old@x"), hours(23)), (text("new@x"), hours(1))];
    site.import(&list, &mails).await;
    site.drain().await;
    worker::drain(&site.ctx, &["apply"]).await.unwrap();
    let waiting = "select m.message_id from application a join series s on s.id = a.series join mail m on m.id = s.anchor \
         where a.outcome = 'waits' order by 1";
    assert_eq!(site.rows(waiting).await, [["new@x"], ["old@x"]]);
    // Two hours go by.
    let text = format!(
        "update series set arrived = arrived - {}",
        2 * 3_600_000_000i64
    );
    site.change(&text).await;
    upkeep(&site, repo).await;
    let owed = "select m.message_id from job j join series s on cast(s.id as text) = j.key join mail m on m.id = s.anchor \
         where j.kind = 'apply'";
    assert_eq!(site.rows(owed).await, [["old@x"]]);
    worker::drain(&site.ctx, &["apply"]).await.unwrap();
    assert_eq!(site.rows(waiting).await, [["new@x"]]);
}
