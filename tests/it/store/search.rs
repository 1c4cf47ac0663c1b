//! Search, the same on both databases.

use patchpost::query;
use patchpost::store::pages::Scope;

use super::site::{START, Site, mail};

pub async fn search_finds_the_same_on_both(site: Site) {
    let list = site.list("dev", "public").await;
    let at = |n: i64| START.plus_secs(n);
    let file = "---\ndiff --git a/kernel/sched/core.c b/kernel/sched/core.c\n--- a/kernel/sched/core.c\n+++ b/kernel/sched/core.c\n@@ -1 +1 @@\n-a\n+b\n";
    // Filed in another order than they arrived.
    let mails = [
        (
            mail("3@x", "memory leak in parser", "", "the naïve Zürich text"),
            at(30),
        ),
        (
            mail(
                "1@x",
                "[PATCH] scheduler",
                "",
                &format!("fix CVE-2024-1234\n{file}"),
            ),
            at(10),
        ),
        (
            mail("4@x", "leak of memory", "", "it's cgroups; don't panic"),
            at(40),
        ),
        (
            mail(
                "2@x",
                "plain",
                "",
                "memory leak here, cgroup there, 日本語 words",
            ),
            at(20),
        ),
    ];
    site.import(&list, &mails).await;
    site.drain().await;
    for (text, expected) in [
        ("memory", "4 3 2"),
        ("memory leak", "4 3 2"),
        ("\"memory leak\"", "3 2"),
        ("s:\"memory leak\"", "3"),
        ("b:leak", "2"),
        ("s:leak", "4 3"),
        ("leak NOT cgroup", "4 3"),
        ("leak -cgroup*", "3"),
        ("cgroup*", "4 2"),
        ("cgroup", "2"),
        ("CGROUPS", "4"),
        ("f:ana", "4 3 2 1"),
        ("f:lima memory", "4 3 2"),
        ("dfn:core.c", "1"),
        ("dfn:sched/core", "1"),
        ("core.c", "1"),
        ("cve-2024-1234", "1"),
        ("naïve", "3"),
        ("NAÏVE zürich", "3"),
        ("naive", ""),
        ("don't", "4"),
        ("parser OR scheduler", "3 1"),
        ("(parser OR scheduler) memory", "3"),
        ("bs:leak", "4 3 2"),
        ("the leak", "3"),
        ("m:2@x", "2"),
        ("absentword", ""),
        ("\"leak memory\"", ""),
        ("日本語", "2"),
        ("rt:1700000015..1700000035", "3 2"),
        ("memory rt:..1700000025", "2"),
    ] {
        let query = query::parse(text, at(100)).unwrap();
        let scope = Scope::List(list.id);
        let mut names = Vec::new();
        let mut before = i64::MAX;
        // By pages of two: the order holds over their ends.
        loop {
            let found = site
                .ctx
                .store
                .search(scope, &query, None, before, 2)
                .await
                .unwrap();
            let rows = site.ctx.store.load_mails(scope, &found).await.unwrap();
            for id in &found {
                let row = rows.iter().find(|r| r.mail == *id).unwrap();
                names.push(row.message_id.trim_end_matches("@x").to_owned());
                before = patchpost::store::index::position(row.arrived, row.mail);
            }
            if found.len() < 2 {
                break;
            }
        }
        assert_eq!(names.join(" "), expected, "{text} on {:?}", site.database);
    }
}
