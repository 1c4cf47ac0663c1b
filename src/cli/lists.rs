//! `list`, `repo`.

use anyhow::{Context, Result, bail};

use super::args;
use super::output::{Table, count, print_json};
use crate::config::Config;
use crate::git::Source;
use crate::list::settings::{Bits, Policy};
use crate::pipeline::Ctx;
use crate::store::{ListChange, ListRow, NewList};
use crate::types::{Address, ListName, RepoId, RepoName};

/// `patchpost list …`
pub async fn list(ctx: &Ctx, config: &Config, wish: args::List) -> Result<()> {
    match wish {
        args::List::Create {
            name,
            address,
            description,
            repo,
            style,
            private,
            moderation,
        } => {
            let name: ListName = name.parse()?;
            let address =
                address.unwrap_or_else(|| format!("{name}@{}", config.site.list_domain()));
            let address: Address = address.parse()?;
            // A hole must not be read by all before it is mended.
            let private = private || style == args::Style::Security;
            let visibility = if private { "private" } else { "public" }.to_owned();
            let policy = first_policy(style, private, moderation, config);
            let (style, description) = (style.as_str().to_owned(), one_line(&description)?);
            let new = NewList {
                name: name.to_string(),
                address: address.key(),
                description,
                style,
                visibility,
                repos: repo,
                policy,
            };
            ctx.create_list(new).await?;
            println!("list {name} takes mail at {address}");
        }
        args::List::Set {
            name,
            address,
            description,
            repo,
            style,
            dmarc_unaligned,
        } => {
            let list = super::find_list(ctx, &name).await?;
            let address = address
                .map(|a| a.parse::<Address>())
                .transpose()?
                .map(|a| a.key());
            let description = description.map(|d| one_line(&d)).transpose()?;
            let repos = (!repo.is_empty()).then_some(repo);
            let policy = style.map(|s| restyled(&list, s)).transpose()?;
            let style = style.map(|s| s.as_str().to_owned());
            let change = ListChange {
                address,
                description,
                style,
                repos,
                policy,
                dmarc_unaligned: dmarc_unaligned.map(|d| d.as_str().to_owned()),
            };
            if change == ListChange::default() {
                bail!(
                    "say what to change: --address, --description, --repo, --style or --dmarc-unaligned"
                );
            }
            let moved = change.address.clone().filter(|a| *a != list.address);
            ctx.change_list(list.id, change).await?;
            println!("list {name} is changed");
            if let Some(new) = moved {
                let old = &list.address;
                let detail =
                    format!("the list moved from {old} to {new}; mail to {old} is refused");
                ctx.note_command(&list, "settings", vec![detail]).await?;
                println!("{}", moved_words(old, &new));
            }
        }
        args::List::Show { name, json } => show(ctx, &name, json.json).await?,
        args::List::Ls(json) => {
            let lists = ctx.store.load_lists().await?;
            if json.json {
                let value = |l: &ListRow| serde_json::json!({"name": l.name, "address": l.address, "description": l.description});
                return print_json(&lists.iter().map(value).collect::<Vec<_>>());
            }
            let mut table = Table::new(["NAME", "ADDRESS", "DESCRIPTION"]);
            lists
                .iter()
                .for_each(|l| table.row([&l.name, &l.address, &l.description]));
            table.print("no list yet; make one with `patchpost list create NAME`");
        }
        args::List::Rm { name, purge } => {
            let list = super::find_list(ctx, &name).await?;
            match purge {
                true => ctx.purge_list(&list).await?,
                false => ctx.remove_empty_list(&list).await?,
            }
            println!("list {name} is gone");
        }
    }
    Ok(())
}

/// What a new list starts with.
fn first_policy(
    style: args::Style,
    private: bool,
    moderation: Option<args::Moderation>,
    config: &Config,
) -> Policy {
    let mut policy = Policy::of_style(style.as_str());
    let moderation = match moderation {
        Some(given) => given.into(),
        // Who reports a hole must not wait, whatever other lists do.
        None if style == args::Style::Security => policy.moderation,
        None => config.lists.moderation,
    };
    if private {
        policy.anybody = Bits(policy.anybody.0 & !Bits::BROWSE.0);
    }
    policy.moderated(moderation)
}

/// The policy of a list whose style changes.
fn restyled(list: &ListRow, style: args::Style) -> Result<Policy> {
    let public = list.visibility == "public";
    if style == args::Style::Security && public {
        bail!(
            "list {} is public, and what it has stays so; make another with --style security",
            list.name
        );
    }
    let mut policy = list.policy.clone().restyled(style.as_str());
    if !public {
        policy.anybody = Bits(policy.anybody.0 & !Bits::BROWSE.0);
    }
    Ok(policy)
}

fn one_line(text: &str) -> Result<String> {
    if text.chars().any(char::is_control) || text.chars().count() > 200 {
        bail!("a description is one line of at most 200 characters");
    }
    Ok(text.trim().to_owned())
}

async fn show(ctx: &Ctx, name: &str, json: bool) -> Result<()> {
    let list = super::find_list(ctx, name).await?;
    let (postings, threads, patchsets, members) = ctx.store.count_list(list.id).await?;
    let repos: Vec<String> = ctx
        .store
        .load_list_repos(list.id)
        .await?
        .into_iter()
        .map(|r| r.name)
        .collect();
    if json {
        return print_json(&serde_json::json!({
            "name": list.name, "address": list.address, "description": list.description, "style": list.style,
            "visibility": list.visibility, "postings": postings, "threads": threads, "patchsets": patchsets,
            "members": members, "repos": repos,
        }));
    }
    println!(
        "{} <{}>  {}, {}",
        list.name, list.address, list.style, list.visibility
    );
    if !list.description.is_empty() {
        println!("{}", list.description);
    }
    let counted = |number: i64, one| count(number.unsigned_abs(), one);
    println!(
        "{} in {}, {}, {}",
        counted(postings, "mail"),
        counted(threads, "thread"),
        counted(patchsets, "patchset"),
        counted(members, "member")
    );
    println!(
        "repositories: {}",
        if repos.is_empty() {
            "none".to_owned()
        } else {
            repos.join(", ")
        }
    );
    Ok(())
}

/// `patchpost repo …`
pub async fn repo(ctx: &Ctx, wish: args::Repo) -> Result<()> {
    match wish {
        args::Repo::Add {
            name,
            source,
            branch,
            follow,
        } => {
            let name: RepoName = name.parse()?;
            follow
                .iter()
                .try_for_each(|f| crate::git::check_pattern(f))?;
            let mut all = vec![add_repo(ctx, name.as_str(), source, branch).await?];
            if !follow.is_empty() {
                ctx.follow(find_repo(ctx, name.as_str()).await?, &follow)
                    .await?;
                all.extend(follow);
            }
            println!("repository {name} follows {}", all.join(", "));
        }
        args::Repo::Set(wish) => {
            let repo = find_repo(ctx, &wish.name).await?;
            ctx.follow(repo, &wish.follow).await?;
            let what = match wish.follow.is_empty() {
                true => "its main branch only".to_owned(),
                false => format!("{} beside its main branch", wish.follow.join(", ")),
            };
            println!("repository {} follows {what}", wish.name);
        }
        args::Repo::Ls(json) => {
            let repos = ctx.store.load_repos().await?;
            if json.json {
                return print_json(&repos);
            }
            let mut table = Table::new(["NAME", "BRANCH", "TIP", "SOURCE", "PROBLEM"]);
            for r in &repos {
                let tip: String = r.tip.as_deref().unwrap_or("-").chars().take(12).collect();
                let branches = [std::slice::from_ref(&r.branch), &r.follow].concat();
                table.row([
                    &r.name,
                    &branches.join(", "),
                    &tip,
                    &r.source,
                    r.problem.as_deref().unwrap_or_default(),
                ]);
            }
            table.print("no repository yet; add one with `patchpost repo add NAME --clone URL`");
        }
        args::Repo::Rm { name } => {
            let repos = ctx.store.load_repos().await?;
            let repo = repos
                .into_iter()
                .find(|r| r.name == name)
                .with_context(|| format!("there is no repository {name}"))?;
            ctx.remove_repo(&repo).await?;
            println!("repository {name} is gone");
        }
        args::Repo::Fetch { name } => {
            let repos = ctx.store.load_repos().await?;
            let repo = repos
                .iter()
                .find(|r| r.name == name)
                .with_context(|| format!("there is no repository {name}"))?;
            let tip = ctx.fetch_now(RepoId(repo.id)).await?;
            println!(
                "{name}: {} is at {}",
                repo.branch,
                tip.as_deref().unwrap_or("no commit yet")
            );
        }
    }
    Ok(())
}

async fn find_repo(ctx: &Ctx, name: &str) -> Result<RepoId> {
    let repos = ctx.store.load_repos().await?;
    let repo = repos.iter().find(|r| r.name == name);
    let repo = repo.with_context(|| format!("there is no repository {name}"))?;
    Ok(RepoId(repo.id))
}

/// Makes a repository and its row; returns the branch that it follows.
pub async fn add_repo(
    ctx: &Ctx,
    name: &str,
    source: args::RepoSource,
    branch: Option<String>,
) -> Result<String> {
    let (source, kind, text) = match (source.path, source.clone) {
        (Some(path), _) => (
            Source::Path(path.clone()),
            "path",
            path.display().to_string(),
        ),
        (None, Some(url)) => (Source::Url(url.clone()), "clone", url),
        (None, None) => (Source::New, "init", String::new()),
    };
    Ok(ctx.add_repo(name, source, (kind, text), branch).await?)
}

/// What the operator has to know and do when a list has another address.
fn moved_words(old: &str, new: &str) -> String {
    format!(
        "from now on mail to {old} is refused, also answers to old threads, and to its addresses for leaving and bounces.\n\
         Let the mail server in front hand it on to {new}: \"Moving a list\" in docs/operating.md has the lines for Postfix.\n\
         In another domain, its keys, DNS records and Postfix come next: `patchpost doctor` says what is missing"
    )
}
