//! Stored bytes: dictionaries, and what a purge leaves.

use patchpost::store::{RecallWish, Removal};
use patchpost::types::{MailId, MessageId, Timestamp};

use super::site::{self, Database, START, Site, mail, patch};

const CANARY: &str = "kanarienvogelgesang";

/// Mails enough for a dictionary that knows the canary by heart.
async fn fill(site: &Site, list: &str, word: &str, count: usize) {
    let list = site.ctx.store.find_list(list).await.unwrap().unwrap();
    let one = |n: usize| {
        let body = format!(
            "{word} sings for the {n}th time, {word} and nothing else\n{}",
            n * 7_919
        );
        let id = format!("{n}.{word}@x");
        (
            mail(&id, &format!("{word} {n}"), "", &body),
            START.plus_secs(n as i64),
        )
    };
    let mails: Vec<_> = (0..count).map(one).collect();
    site.import(&list, &mails).await;
    site.drain().await;
    site.ctx
        .store
        .train_dictionary(list.realm, START)
        .await
        .unwrap();
}

pub async fn a_dictionary_is_trained_and_bytes_stay_exact(site: Site) {
    let list = site.list("dev", "public").await;
    fill(&site, "dev", "first", 600).await;
    let made = site
        .rows("select count(*) from dictionary where id > 0")
        .await;
    assert_eq!(made, [["1"]]);
    assert!(
        !site
            .ctx
            .store
            .train_dictionary(list.realm, START)
            .await
            .unwrap(),
        "one is enough"
    );
    fill(&site, "dev", "second", 20).await;
    let with = site
        .rows("select count(*) from blob where dictionary > 0")
        .await;
    assert_eq!(with, [["20"]], "new mail is stored with it");
    let other = site.another().await;
    for word in ["first", "second"] {
        let mails = site.mails(&list, &format!("7.{word}@x")).await;
        let (bytes, _) = other.store.load_bytes(mails[0]).await.unwrap().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.ends_with(&format!("{word} and nothing else\n55433\n")),
            "{text}"
        );
    }
    let private = site.list("closed", "private").await;
    site.send(&["closed"], &mail("p@x", "s", "", "b")).await;
    let strange = format!(
        "select count(*) from blob where realm = {} and dictionary > 0",
        private.realm
    );
    assert_eq!(
        site.rows(&strange).await,
        [["0"]],
        "no realm uses another's"
    );
}

/// Every file of the store, and on PostgreSQL every row of every table.
pub async fn mentions(site: &Site, word: &str) -> Vec<String> {
    holds(site, word.as_bytes()).await
}

/// The same of any bytes: of a compressed mail, say.
async fn holds(site: &Site, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if site.database == Database::Postgres {
        let tables = "select cast(table_name as text) from information_schema.tables where table_schema = 'public'";
        for table in site.rows(tables).await {
            let hex = data_encoding::HEXLOWER.encode(bytes);
            let word = std::str::from_utf8(bytes).unwrap_or(&hex);
            let text = format!(
                "select count(*) from {0} t where cast(t as text) like '%{word}%' or cast(t as text) like '%{hex}%'",
                table[0]
            );
            if site.rows(&text).await != [["0"]] {
                found.push(table[0].clone());
            }
        }
        return found;
    }
    for (path, _) in crate::am::snapshot(site.dir.path()) {
        let Ok(all) = std::fs::read(&path) else {
            continue;
        };
        if memchr::memmem::find(&all, bytes).is_some() {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A piece of a mail's compressed bytes, from their middle.
async fn piece(site: &Site, mail: MailId) -> Vec<u8> {
    let hex = match site.database {
        Database::Sqlite => "lower(hex(b.data))",
        Database::Postgres => "encode(b.data, 'hex')",
    };
    let text = format!(
        "select {hex} from blob b join copy c on c.realm = b.realm and c.hash = b.hash \
         join mail m on m.realm = c.realm and m.identity = c.identity where m.id = {}",
        mail.0
    );
    let frame = &site.rows(&text).await[0][0];
    let frame = data_encoding::HEXLOWER.decode(frame.as_bytes()).unwrap();
    let middle = frame.len() / 2;
    frame[middle - 12..middle + 12].to_vec()
}

pub async fn a_purged_list_leaves_no_bytes(site: Site) {
    let kept = site.list("kept", "public").await;
    let list = site.list("closed", "private").await;
    site.post(&["kept"], &mail("k@x", "stays", "", "here"))
        .await;
    fill(&site, "closed", CANARY, 600).await;
    let id = format!("s.{CANARY}@x");
    site.post(&["closed"], &patch(&id, &format!("[PATCH] {CANARY}"), ""))
        .await;
    site.ctx
        .store
        .insert_members(list.id, vec![format!("{CANARY}@y.org")], START)
        .await
        .unwrap();
    let note = format!("list closed: too loud: {CANARY}");
    site.ctx
        .store
        .insert_event(&list, "dropped", String::new(), note, START)
        .await
        .unwrap();
    assert!(
        !mentions(&site, CANARY).await.is_empty(),
        "it is there before"
    );
    site.ctx.purge_list(&list).await.unwrap();
    assert_eq!(mentions(&site, CANARY).await, Vec::<String>::new());
    assert_eq!(site.ctx.store.find_list("closed").await.unwrap(), None);
    assert_eq!(site.mails(&kept, "k@x").await.len(), 1);
    let again = site.list("closed", "private").await;
    assert!(
        again.id > list.id && again.realm > list.realm,
        "ids are never used again"
    );
    assert_eq!(
        site.ctx.store.count_list(again.id).await.unwrap(),
        (0, 0, 0, 0)
    );
}

pub async fn a_purged_public_list_leaves_the_others_whole(site: Site) {
    let kept = site.list("kept", "public").await;
    let list = site.list("gone", "public").await;
    // The dictionary of all public mail is made of both.
    fill(&site, "gone", CANARY, 400).await;
    fill(&site, "kept", "stays", 400).await;
    site.post(&["kept", "gone"], &patch("1@x", "[PATCH 1/2] both", ""))
        .await;
    let more = site::answers("1@x");
    site.post(
        &["gone"],
        &patch("2@x", &format!("[PATCH 2/2] {CANARY}"), &more),
    )
    .await;
    let late = mail("3@x", "stays too", "", "with a dictionary");
    site.post(&["kept"], &late).await;
    let used = site
        .rows("select count(*) from blob where dictionary > 0")
        .await;
    assert_ne!(used, [["0"]]);
    let other = site.another().await;
    site.ctx.purge_list(&list).await.unwrap();
    assert_eq!(mentions(&site, CANARY).await, Vec::<String>::new());
    assert_eq!(
        site.ctx.store.count_list(kept.id).await.unwrap(),
        (402, 402, 1, 0)
    );
    let all = site.ctx.store.load_summaries(None, 9).await.unwrap();
    assert_eq!(
        (all.len(), all[0].patches.len(), all[0].complete),
        (1, 1, false)
    );
    let mails = site.mails(&kept, "3@x").await;
    let (bytes, crlf) = site.ctx.store.load_bytes(mails[0]).await.unwrap().unwrap();
    assert_eq!((String::from_utf8(bytes).unwrap(), crlf), (late, true));
    // Another process still compresses with the dictionary that is gone: one try fails, the next does not.
    let mut answers = Vec::new();
    for n in 0..2 {
        let text = mail(&format!("after{n}@x"), "s", "", "b").into_bytes();
        let mut import = patchpost::pipeline::Import::new(&other, kept.clone());
        import.add(text, None).await.unwrap();
        answers.push(import.flush().await.map_err(|e| format!("{e:?}")));
    }
    assert!(answers[1].is_ok(), "{answers:?}");
}

/// Takes one mail away as `patchpost remove` does.
async fn remove(site: &Site, list: &patchpost::store::ListRow, id: &str, how: Removal) {
    let mail = site.mails(list, id).await[0];
    let wish = RecallWish {
        how,
        why: "asked for".to_owned(),
        ..RecallWish::default()
    };
    site.ctx.recall(mail, wish, START).await.unwrap().unwrap();
    patchpost::worker::drain(&site.ctx, &["aftermath"])
        .await
        .unwrap();
    if how == Removal::Purge {
        site.ctx.scrub(list.realm).await.unwrap();
    }
}

pub async fn a_purged_mail_leaves_no_bytes_and_does_not_come_back(site: Site) {
    let (dev, other) = (
        site.list("dev", "public").await,
        site.list("other", "public").await,
    );
    fill(&site, "dev", "stays", 520).await;
    let used = "select count(*) from dictionary where id > 0";
    assert_eq!(site.rows(used).await, [["1"]]);
    let id = format!("p.{CANARY}@x");
    let series = patch(&id, &format!("[PATCH 1/2] {CANARY}"), "")
        .replace("From: ", &format!("X-Note: {CANARY}\nFrom: "));
    site.post(&["dev", "other"], &series).await;
    let answer = patch("2@x", "[PATCH 2/2] stays", &site::answers(&id));
    site.post(&["dev"], &answer.replace(CANARY, "x")).await;
    let note = format!("loop: {id}");
    site.ctx
        .store
        .insert_event(&dev, "dropped", String::new(), note, START)
        .await
        .unwrap();
    assert!(
        !mentions(&site, CANARY).await.is_empty(),
        "it is there before"
    );
    let compressed = piece(&site, site.mails(&dev, &id).await[0]).await;
    assert!(!holds(&site, &compressed).await.is_empty());
    // The answer names it, and so does what was made of the answer.
    remove(&site, &dev, "2@x", Removal::Purge).await;
    remove(&site, &dev, &id, Removal::Purge).await;
    assert_eq!(mentions(&site, CANARY).await, Vec::<String>::new());
    assert_eq!(holds(&site, &compressed).await, Vec::<String>::new());
    let stays = piece(&site, site.mails(&dev, "7.stays@x").await[0]).await;
    assert!(
        !holds(&site, &stays).await.is_empty(),
        "others can be found"
    );
    assert_eq!(
        site.ctx.store.load_summaries(None, 9).await.unwrap().len(),
        0
    );
    assert_eq!(site.mails(&dev, "7.stays@x").await.len(), 1);
    // Neither by mail to any list nor by import.
    for list in [&dev, &other] {
        site.import(list, &[(series.clone(), START)]).await;
        site.drain().await;
    }
    let again = patchpost::pipeline::NewMail {
        bytes: series.replace('\n', "\r\n").into_bytes(),
        sender: Some("ana@example.org".parse().unwrap()),
        recipients: vec!["other@x.org".parse().unwrap()],
        protocol: patchpost::session::Protocol::Smtp,
        ip: None,
        helo: "client.example".to_owned(),
    };
    let answers = site.ctx.screen(again).await;
    let refused = answers[0].clone().unwrap_err();
    assert_eq!((refused.code, refused.enhanced), (550, "5.7.1"));
    assert_eq!(site.ctx.store.count_list(dev.id).await.unwrap().0, 520);
    assert_eq!(site.ctx.store.count_list(other.id).await.unwrap().0, 0);
    assert_eq!(mentions(&site, CANARY).await, Vec::<String>::new());
}

pub async fn a_redacted_mail_leaves_its_place(site: Site) {
    let dev = site.list("dev", "public").await;
    let root = mail(
        "root@x",
        &format!("on {CANARY}"),
        "",
        &format!("a {CANARY} sings"),
    );
    site.post(&["dev"], &root).await;
    site.post(
        &["dev"],
        &mail("re@x", "Re: on birds", &site::answers("root@x"), "it does"),
    )
    .await;
    remove(&site, &dev, "root@x", Removal::Redact).await;
    let found = site
        .ctx
        .store
        .find_mails(&dev, &MessageId::parse("root@x").unwrap())
        .await
        .unwrap();
    assert!(found[0].taken_back && found[0].text.is_empty() && found[0].author.is_empty());
    let thread = site
        .ctx
        .store
        .load_thread(dev.id, found[0].thread, 0, 9)
        .await
        .unwrap();
    assert_eq!(thread.len(), 2, "its place stays");
    // A better or earlier copy of it changes nothing.
    site.import(&dev, &[(root, Timestamp::from_secs(1_600_000_000))])
        .await;
    site.drain().await;
    let found = site
        .ctx
        .store
        .find_mails(&dev, &MessageId::parse("root@x").unwrap())
        .await
        .unwrap();
    assert!(found[0].taken_back && found[0].text.is_empty());
    assert_eq!(
        site.ctx.store.load_bytes(found[0].mail).await.unwrap(),
        None
    );
}

/// Dead rows of a table stay in its file until that is written anew.
#[test]
fn a_purge_writes_every_table_of_postgresql_anew() {
    super::site::play(Database::Postgres, async |site: Site| {
        let text = "select cast(relname as text), cast(relfilenode as bigint) from pg_class \
             where relkind = 'r' and relnamespace = cast('public' as regnamespace) order by 1";
        let before = site.rows(text).await;
        let list = site.list("dev", "public").await;
        site.ctx.scrub(list.realm).await.unwrap();
        let after = site.rows(text).await;
        assert!(before.len() > 40, "{before:?}");
        for (old, new) in before.iter().zip(&after) {
            assert_ne!(old, new, "{} is as it was", old[0]);
        }
    });
}
