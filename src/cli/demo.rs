//! `serve --demo`: a list, a repository, a sample series, and the exact commands to send one's own.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, anyhow};

use super::args;
use super::lists::add_repo;
use crate::config::Transport;
use crate::git::write_demo;
use crate::list::settings::Policy;
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
///
/// `listeners` are the names and addresses of what listens.
pub async fn demo(
    ctx: &Ctx,
    base_url: &str,
    listeners: &[(&str, String)],
    transport: Transport,
) -> Result<()> {
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
            // What one sends to try it is to be seen at once.
            policy: Policy::open(),
        };
        ctx.create_list(new).await?;
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
        };
        for answer in ctx.screen(new).await {
            answer.map_err(|reply| anyhow!("the demo's list does not take its sample: {reply}"))?;
        }
    }
    println!("{}", words(base_url, listeners, &work, transport));
    Ok(())
}

/// What a newcomer reads. The indented lines can be pasted into a shell as they are, more than once.
fn words(url: &str, listeners: &[(&str, String)], work: &Path, transport: Transport) -> String {
    let smtp = listeners.iter().find(|(name, _)| *name == "smtp");
    let smtp = smtp.map_or_else(String::new, |(_, address)| crate::serve::reachable(address));
    let (host, port) = smtp.rsplit_once(':').unwrap_or((&smtp, "25"));
    let reach = reach(listeners);
    let copies = match transport {
        Transport::Directory => {
            "Copies for members of the list are written to the folder outbox; nothing leaves this machine."
        }
        Transport::Smtp => {
            "Copies for members of the list are sent by the relay that delivery.relay names."
        }
    };
    let work = shell_word(&work.display().to_string());
    format!(
        r#"
{reach} A list is there, with a sample series that applies:

    {url}/demo/
    {url}/demo/patches/

Send a series of your own. These lines make three commits in a clone of the demo's project and mail them with a cover
letter; they need git send-email (Debian and Fedora: the package git-email). It is on the pages within seconds.

    cd {work}
    git checkout -q -B evening origin/main
    git config branch.evening.description "$(printf 'Greet at any hour\n\nThree greetings for later in the day.')"
    for hour in afternoon evening night; do echo "Good $hour" >> greeting.txt; git commit -qam "Say good $hour"; done
    git send-email --to=demo@lists.localhost --from='You <you@example.org>' --suppress-cc=all --confirm=never --smtp-server={host} --smtp-server-port={port} --smtp-encryption=none --smtp-auth=none --cover-letter --cover-from-description=subject -3

git send-email dates each mail anew: as commits they carry its dates, seconds from those of your own, and so have other
ids; trees, authors and messages are the same.

The same git send-email line works in any repository; -3 is the number of commits. demo@localhost is the list as well, for
mail programs that take an address without a dot; git send-email does not.

Get a series as commits, here the sample; the page of each series shows its own line:

    git fetch --no-tags {url}/demo.patches.git refs/patches/1/v1
    git log -p --reverse origin/main..FETCH_HEAD

{copies} Stop with Ctrl-C.
"#
    )
}

/// Who can reach the listeners.
fn reach(listeners: &[(&str, String)]) -> String {
    let open = |address: &str| {
        let parsed = address.parse::<SocketAddr>();
        parsed.is_ok_and(|a| !a.ip().is_loopback())
    };
    let open: Vec<&str> = listeners
        .iter()
        .filter(|(_, address)| open(address))
        .map(|(name, _)| *name)
        .collect();
    match open.is_empty() {
        true => "patchpost runs on this machine only.".to_owned(),
        false => format!(
            "patchpost can be reached from other machines, by {}.",
            open.join(", ")
        ),
    }
}

/// A word that a shell takes as it is.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_who_can_reach_the_demo() {
        let at = |http: &str| {
            [("smtp", "127.0.0.1:2525"), ("http", http), ("ops", "")]
                .map(|(name, address)| (name, address.to_owned()))
        };
        assert!(reach(&at("[::1]:80")).contains("this machine only"));
        let open = reach(&at("0.0.0.0:80"));
        assert!(open.contains("other machines, by http."), "{open}");
        let relayed = words(
            "http://x",
            &at("[::1]:80"),
            Path::new("/w"),
            Transport::Smtp,
        );
        assert!(relayed.contains("the relay") && !relayed.contains("nothing leaves"));
        let text = words(
            "http://x",
            &at("[::1]:80"),
            Path::new("/w"),
            Transport::Directory,
        );
        assert!(text.contains("nothing leaves this machine"));
        assert!(text.contains("--smtp-server=127.0.0.1 --smtp-server-port=2525"));
    }

    #[test]
    fn folders_with_blanks_and_quotes_are_one_word() {
        assert_eq!(shell_word("/srv/demo-1.git"), "/srv/demo-1.git");
        assert_eq!(shell_word("/it's a folder"), r"'/it'\''s a folder'");
    }
}
