//! What people decide about groups and states: it wins, and every recomputation replays it.

use patchpost::pipeline::Reclassify;
use patchpost::store::summary::SeriesSummary;
use patchpost::store::{Location, NewCorrection};
use patchpost::types::{ListId, MailId, PatchsetId, RealmId};

use super::site::{Site, answers, patch};
use super::{groups, reclassify};

async fn correct(site: &Site, kind: &'static str, named: &[MailId], detail: &str) {
    let new = NewCorrection {
        kind,
        mail: named[0],
        others: named[1..].to_vec(),
        detail: detail.to_owned(),
        actor: "ana".to_owned(),
    };
    site.ctx.correct(RealmId::PUBLIC, new).await.unwrap();
}

async fn mail_of(site: &Site, id: &str) -> MailId {
    let list = site.ctx.store.find_list("dev").await.unwrap().unwrap();
    site.mails(&list, id).await[0]
}

/// The numbers of all patchsets and what they hold: `number: v1 1@x 2@x, v2 …`, the lowest number first.
async fn shown(site: &Site) -> Vec<String> {
    let mut all = std::collections::BTreeMap::new();
    let list: Option<ListId> = None;
    for s in site.ctx.store.load_summaries(list, 99).await.unwrap() {
        let names: Vec<&str> = s.patches.iter().map(|p| p.message_id.as_str()).collect();
        let line = format!("v{} {}", s.version, names.join(" "));
        all.entry(s.patchset).or_insert_with(Vec::new).push(line);
    }
    let line = |(id, series): (i64, Vec<String>)| format!("{id}: {}", series.join(", "));
    all.into_iter().map(line).collect()
}

/// What was decided outlives a recomputation, which changes nothing.
async fn survives(site: &Site) {
    let states = "select mail, series, state, hand from patch order by mail, series";
    let before = (shown(site).await, groups(site).await);
    let states_before = site.rows(states).await;
    for how in [Reclassify::DryRun, Reclassify::Write, Reclassify::DryRun] {
        assert_eq!(
            reclassify(site, RealmId::PUBLIC, how).await,
            Vec::<String>::new()
        );
    }
    assert_eq!((shown(site).await, groups(site).await), before);
    assert_eq!(site.rows(states).await, states_before);
}

/// `patchpost` on the folder of the story: what it printed.
async fn command(site: &Site, arguments: &'static [&'static str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_patchpost"));
    command.env("PATCHPOST_DATA", site.dir.path());
    if let Location::Url(url) = &site.location {
        command.env("PATCHPOST_DATABASE_URL", url);
    }
    let out = command.args(arguments).output().await.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{arguments:?}: {said}");
    String::from_utf8(out.stdout).unwrap()
}

/// All that is known of mails and groups, row by row.
async fn dump(site: &Site) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for text in [
        "select id, kind, recognised, level from mail order by id",
        "select id, patchset, label, total, state, reason, title from series order by id",
        "select series, number, mail, taken_over from patch order by series, number",
        "select series, mail, target from comment order by mail",
        "select id, anchor from patchset order by id",
        "select id, version from realm order by id",
    ] {
        all.extend(site.rows(text).await);
    }
    all
}

/// What an older version of the program took for something else is said, by a dry run in the same words, and then mended.
pub async fn reclassify_says_what_changes_and_a_dry_run_says_the_same(site: Site) {
    site.list("dev", "public").await;
    let wrote = |words: &str| format!("1 difference{words}\n");
    for (id, subject, parent) in [
        ("a@x", "[PATCH 1/2] one", ""),
        ("b@x", "[PATCH 2/2] two", "a@x"),
        ("c@x", "Re: [PATCH 1/2] one", "a@x"),
    ] {
        let head = if parent.is_empty() {
            String::new()
        } else {
            answers(parent)
        };
        site.post(&["dev"], &patch(id, subject, &head)).await;
    }
    let (right, groups_then) = (shown(&site).await, groups(&site).await);
    assert_eq!(right, ["1: v1 a@x b@x"]);
    // As if the second patch had been read as an answer, and grouped as one when the next answer came.
    let of =
        |column: &str, id: &str| format!("(select {column} from mail where message_id = '{id}')");
    let (kind, facts) = (of("kind", "c@x"), of("recognised", "c@x"));
    site.change(&format!(
        "update mail set kind = {kind}, recognised = {facts} where message_id = 'b@x'"
    ))
    .await;
    let late = patch("d@x", "Re: [PATCH 1/2] one", &answers("a@x"));
    site.post(&["dev"], &late).await;
    assert_eq!(shown(&site).await, ["1: v1 a@x"]);
    let before = dump(&site).await;

    let tried = command(&site, &["reclassify", "--dry-run"]).await;
    assert_eq!(dump(&site).await, before, "a dry run writes nothing");
    let said = tried.strip_suffix(&wrote("; nothing was written"));
    let said = said.unwrap_or_else(|| panic!("{tried}"));
    assert_eq!(said, "changed series: v1 \"one\" by ana@example.org\n");

    let done = command(&site, &["reclassify"]).await;
    assert_eq!(done.strip_suffix(&wrote(" written")), Some(said));
    assert_eq!(shown(&site).await, right);
    let now = groups(&site).await;
    assert_eq!(now.len(), groups_then.len());
    for wish in [&["reclassify", "--dry-run"][..], &["reclassify"]] {
        assert_eq!(command(&site, wish).await, "nothing changes\n");
    }
}

pub async fn ids_are_stable_over_merge_and_split(site: Site) {
    site.list("dev", "public").await;
    for (id, subject) in [
        ("a@x", "[PATCH] one"),
        ("b@x", "[PATCH v2] two"),
        ("c@x", "[PATCH] three"),
    ] {
        site.post(&["dev"], &patch(id, subject, "")).await;
    }
    assert_eq!(shown(&site).await, ["1: v1 a@x", "2: v2 b@x", "3: v1 c@x"]);
    let (a, b, c) = (
        mail_of(&site, "a@x").await,
        mail_of(&site, "b@x").await,
        mail_of(&site, "c@x").await,
    );
    correct(&site, "merge", &[b, a], &a.to_string()).await;
    assert_eq!(
        shown(&site).await,
        ["1: v1 a@x, v2 b@x", "3: v1 c@x"],
        "the lowest id stays"
    );
    let old = site
        .ctx
        .store
        .load_patchset_summaries(PatchsetId(2))
        .await
        .unwrap();
    assert_eq!(
        (old.len(), old[0].patchset),
        (2, 1),
        "the other leads to it"
    );
    assert_eq!(old[0].state, "superseded");
    survives(&site).await;
    correct(&site, "merge", &[c, a], &a.to_string()).await;
    survives(&site).await;
    assert_eq!(shown(&site).await.len(), 1);
    correct(&site, "split", &[b], "").await;
    let now = shown(&site).await;
    assert_eq!(
        now.last().unwrap(),
        "4: v2 b@x",
        "no number is used again: {now:?}"
    );
    assert!(now[0].starts_with("1: ") && now.len() == 2, "{now:?}");
    let old = site
        .ctx
        .store
        .load_patchset_summaries(PatchsetId(3))
        .await
        .unwrap();
    assert_eq!(
        old[0].patchset, 1,
        "what was joined leads on to where it was joined"
    );
    survives(&site).await;
    correct(&site, "merge", &[b, c], &c.to_string()).await;
    assert_eq!(shown(&site).await.len(), 1, "the last word counts");
    survives(&site).await;
}

pub async fn a_move_takes_a_patch_to_another_series(site: Site) {
    site.list("dev", "public").await;
    site.post(&["dev"], &patch("1@x", "[PATCH 1/2] a", ""))
        .await;
    site.post(&["dev"], &patch("2@x", "[PATCH 2/2] b", &answers("1@x")))
        .await;
    let other = patch("2b@x", "[PATCH 2/2] b, better", &answers("ghost@x"));
    site.post(
        &["dev"],
        &other.replace("ana@example.org", "ben@example.org"),
    )
    .await;
    assert_eq!(shown(&site).await, ["1: v1 1@x 2@x", "2: v1 2b@x"]);
    let (mail, to) = (mail_of(&site, "2b@x").await, mail_of(&site, "1@x").await);
    correct(&site, "move", &[mail, to], &to.to_string()).await;
    let now = shown(&site).await;
    assert!(now[0].starts_with("1: v1 1@x 2b@x"), "{now:?}");
    assert!(
        now.iter().any(|l| l.ends_with(" 2@x")),
        "what had the number stands alone: {now:?}"
    );
    survives(&site).await;
}

pub async fn a_cut_answer_starts_a_series_of_its_own(site: Site) {
    site.list("dev", "public").await;
    site.post(&["dev"], &patch("a@x", "[PATCH] one", "")).await;
    site.post(
        &["dev"],
        &patch("b@x", "[PATCH v2] other words", &answers("a@x")),
    )
    .await;
    assert_eq!(shown(&site).await, ["1: v1 a@x, v2 b@x"]);
    let (child, parent) = (mail_of(&site, "b@x").await, mail_of(&site, "a@x").await);
    correct(&site, "cut", &[child, parent], &parent.to_string()).await;
    assert_eq!(shown(&site).await, ["1: v1 a@x", "2: v2 b@x"]);
    let all = site.ctx.store.load_summaries(None, 9).await.unwrap();
    assert!(
        all.iter().all(|s| s.state == "new"),
        "nothing is superseded any more"
    );
    survives(&site).await;
}

pub async fn a_version_can_be_set(site: Site) {
    site.list("dev", "public").await;
    site.post(&["dev"], &patch("a@x", "[PATCH] one", "")).await;
    site.post(&["dev"], &patch("b@x", "[PATCH] one", "")).await;
    let mail = mail_of(&site, "b@x").await;
    correct(&site, "version", &[mail], "3").await;
    assert_eq!(shown(&site).await.join("; ").matches("v3 b@x").count(), 1);
    survives(&site).await;
}

pub async fn a_state_set_by_a_person_wins(site: Site) {
    site.list("dev", "public").await;
    site.post(&["dev"], &patch("a@x", "[PATCH] one", "")).await;
    let a = mail_of(&site, "a@x").await;
    let states = async || {
        let all = site.ctx.store.load_summaries(None, 9).await.unwrap();
        all.iter().map(|s| s.state).collect::<Vec<_>>()
    };
    correct(&site, "state", &[a], "2").await;
    assert_eq!(states().await, ["under review"]);
    site.post(&["dev"], &patch("b@x", "[PATCH v2] one", &answers("a@x")))
        .await;
    assert_eq!(
        states().await,
        ["under review", "new"],
        "a newer version changes nothing of it"
    );
    survives(&site).await;
    correct(&site, "state", &[a], "0").await;
    assert_eq!(
        states().await,
        ["superseded", "new"],
        "taken back: as the rules say"
    );
    let b = mail_of(&site, "b@x").await;
    correct(&site, "state", &[b], "4").await;
    correct(&site, "state", &[b], "3").await;
    assert_eq!(
        states().await,
        ["superseded", "accepted"],
        "the last word counts"
    );
    let shown = site
        .rows("select state from patchset where versions > 0")
        .await;
    assert_eq!(shown, [["3"]], "the patchset shows its newest version's");
    survives(&site).await;
}

/// The state of one patch stands beside its series', goes with its mail, and is made anew out of what was said.
pub async fn a_state_of_one_patch_is_its_own(site: Site) {
    site.list("dev", "public").await;
    for (id, subject, parent) in [
        ("1@x", "[PATCH 1/2] a", ""),
        ("2@x", "[PATCH 2/2] b", "1@x"),
    ] {
        let head = if parent.is_empty() {
            String::new()
        } else {
            answers(parent)
        };
        site.post(&["dev"], &patch(id, subject, &head)).await;
    }
    let states = async || {
        let all = site.ctx.store.load_summaries(None, 9).await.unwrap();
        let line = |s: &SeriesSummary| {
            let own = |own| if own { "!" } else { "" };
            let patches = s.patches.iter();
            let patches = patches.map(|p| format!(" {}{}", p.state, own(p.own_state)));
            format!("v{} {}:{}", s.version, s.state, patches.collect::<String>())
        };
        all.iter().map(line).collect::<Vec<_>>()
    };
    let (one, two) = (mail_of(&site, "1@x").await, mail_of(&site, "2@x").await);
    correct(&site, "patch state", &[two], "4").await;
    assert_eq!(states().await, ["v1 new: new rejected!"]);
    correct(&site, "state", &[one], "2").await;
    assert_eq!(states().await, ["v1 under review: under review rejected!"]);
    survives(&site).await;

    // A partial reroll takes the patch over as it is; a version that sends it again does not.
    let again = patch("1b@x", "[PATCH v2 1/2] a", &answers("1@x"));
    site.post(&["dev"], &again).await;
    let rerolled = states().await;
    assert_eq!(rerolled[1], "v2-r1 new: new rejected!", "{rerolled:?}");
    for (id, subject, parent) in [
        ("1c@x", "[PATCH v3 1/2] a", "1@x"),
        ("2c@x", "[PATCH v3 2/2] b", "1c@x"),
    ] {
        let mail = patch(id, subject, &answers(parent));
        site.post(&["dev"], &mail).await;
    }
    let sent_again = states().await;
    assert_eq!(sent_again[2], "v3 new: new new", "{sent_again:?}");
    survives(&site).await;

    // Nothing but what was said is needed to have it all again.
    for text in [
        "update patch set state = null, hand = 0",
        "update series set digest = 'of before'",
    ] {
        site.change(text).await;
    }
    reclassify(&site, RealmId::PUBLIC, Reclassify::Write).await;
    assert_eq!(states().await, sent_again);

    // It stays with the mail in another series, until it is taken back.
    correct(&site, "split", &[two], "").await;
    let apart = states().await;
    let own = apart.iter().filter(|s| s.ends_with(": rejected!")).count();
    assert_eq!(own, 1, "{apart:?}");
    survives(&site).await;
    correct(&site, "patch state", &[two], "0").await;
    assert!(!states().await.concat().contains('!'));
    let set = site.rows("select id from patch where hand = 1").await;
    assert_eq!(set, Vec::<Vec<String>>::new());
    survives(&site).await;
}
