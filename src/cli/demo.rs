//! `serve --demo`: a list, a repository, a sample series, and the exact commands to send one's own.

use std::collections::HashMap;

use anyhow::Result;

use super::args;
use super::lists::add_repo;
use crate::git::write_demo;
use crate::pipeline::{Ctx, NewMail};
use crate::session::Protocol;
use crate::store::NewList;

/// The sample: a cover letter, two patches and an answer.
const SAMPLE: [&str; 4] = [
    include_str!("../../fixtures/demo/0-cover.eml"),
    include_str!("../../fixtures/demo/1-greeting.eml"),
    include_str!("../../fixtures/demo/2-readme.eml"),
    include_str!("../../fixtures/demo/3-answer.eml"),
];

/// Makes what is not there yet, and says what to do.
pub async fn demo(ctx: &Ctx, base_url: &str, smtp: &str) -> Result<()> {
    let work = ctx.store.data().join("demo-work");
    if !ctx
        .store
        .load_repos()
        .await?
        .iter()
        .any(|r| r.name == "demo")
    {
        let source = ctx.store.data().join("demo-source.git");
        let (from, to) = (source.clone(), work.clone());
        tokio::task::spawn_blocking(move || write_demo(&from, &to)).await??;
        let wish = args::RepoSource {
            path: Some(source),
            clone: None,
            init: false,
        };
        add_repo(ctx, "demo", wish, Some("main".to_owned())).await?;
    }
    if ctx.store.find_list("demo").await?.is_none() {
        let new = NewList {
            name: "demo".to_owned(),
            address: "demo@lists.localhost".to_owned(),
            description: "A list to try things with".to_owned(),
            style: "patch".to_owned(),
            visibility: "public".to_owned(),
            repos: vec!["demo".to_owned()],
        };
        ctx.store.insert_list(new, crate::store::now()).await?;
    }
    for mail in SAMPLE {
        let bytes = mail
            .replace("\r\n", "\n")
            .replace('\n', "\r\n")
            .into_bytes();
        let recipients = vec!["demo@localhost".parse()?];
        let sender = Some("ana@example.org".parse()?);
        let new = NewMail {
            bytes,
            sender,
            recipients,
            protocol: Protocol::Smtp,
            ip: None,
            helo: "demo".to_owned(),
            tls: false,
        };
        ctx.screen(new).await;
    }
    let (host, port) = smtp.rsplit_once(':').unwrap_or((smtp, "25"));
    let values = HashMap::from([("url", base_url), ("host", host), ("port", port)]);
    let work = work.display().to_string();
    println!(
        "\npatchpost runs. Look at {url}/demo/ and {url}/demo/patches/\n\n\
         Send a series of your own; it shows up there within seconds:\n\n  \
         cd {work}\n  \
         echo 'Good evening' >> greeting.txt && git commit -qam 'Greet in the evening'\n  \
         git send-email --to=demo@lists.localhost --from='You <you@example.org>' --confirm=never --suppress-cc=all \\\n    \
         --smtp-server={host} --smtp-server-port={port} --smtp-encryption=none --no-validate -1\n\n\
         Copies for members are written to the folder outbox; nothing leaves this machine. Stop with Ctrl-C.\n",
        url = values["url"],
        host = values["host"],
        port = values["port"],
    );
    Ok(())
}
