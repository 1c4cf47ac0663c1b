//! `member`: who gets copies, of what, and how lists of members come and go.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::args::{self, Switch};
use super::output::{Table, count, print, print_json};
use crate::list::roster::{self, Entry, Kind};
use crate::pipeline::Ctx;
use crate::store::{ListRow, MemberRow};
use crate::types::Address;

/// `patchpost member …`
pub async fn member(ctx: &Ctx, wish: args::Member) -> Result<()> {
    match wish {
        args::Member::Add { list, addresses } => add(ctx, &list, addresses).await,
        args::Member::Rm { list, addresses } => remove(ctx, &list, &addresses).await,
        args::Member::Ls { list, json } => show(ctx, &list, json.json).await,
        args::Member::Show {
            list,
            address,
            json,
        } => {
            let list = super::find_list(ctx, &list).await?;
            super::standing::show(ctx, &list, &address, json.json).await
        }
        args::Member::Enable { addresses } => super::standing::enable(ctx, &addresses).await,
        args::Member::Set(wish) => set(ctx, wish).await,
        args::Member::Import { list, path } => import(ctx, &list, &path).await,
        args::Member::Export { list } => {
            let list = super::find_list(ctx, &list).await?;
            let all = load_all(ctx, &list).await?;
            let entries: Vec<Entry> = all.into_iter().map(MemberRow::into_entry).collect();
            print(&roster::render(&entries))
        }
        args::Member::Link { address, other } => {
            let addresses = [address.parse::<Address>()?, other.parse::<Address>()?];
            ctx.link(&addresses).await?;
            println!("{address} and {other} are one person");
            Ok(())
        }
        args::Member::Unlink { address } => {
            let key = address.parse::<Address>()?.key();
            if !ctx.store.unlink_address(key).await? {
                bail!("{address} is linked with no other address");
            }
            println!("{address} stands for itself");
            Ok(())
        }
    }
}

async fn add(ctx: &Ctx, list: &str, addresses: Vec<String>) -> Result<()> {
    let list = super::find_list(ctx, list).await?;
    let given = match addresses.is_empty() {
        true => read_standard_input()?,
        false => addresses,
    };
    let wanted = keys(&given)?;
    refuse_own(ctx, &list, &wanted).await?;
    let asked = wanted.len() as u64;
    let new = ctx.add_members(list.id, wanted).await?;
    note(ctx, &list, &new, "added").await?;
    say_added(asked, new.len() as u64);
    Ok(())
}

/// Addresses as a file has them.
fn read_standard_input() -> Result<Vec<String>> {
    let text =
        std::io::read_to_string(std::io::stdin().lock()).context("cannot read the addresses")?;
    let entries = roster::parse(&text);
    let entries = entries.map_err(|why| anyhow::anyhow!("standard input {why}"))?;
    let plain = |e: &Entry| {
        let address = e.address.clone();
        let bare = Entry {
            address,
            ..Entry::default()
        };
        *e == bare
    };
    if !entries.iter().all(plain) {
        bail!(
            "these have settings: put them into a file and give `patchpost member import LIST FILE`"
        );
    }
    Ok(entries.into_iter().map(|e| e.address).collect())
}

/// Addresses that are noted one by one.
const NOTED: usize = 20;

async fn note(ctx: &Ctx, list: &ListRow, addresses: &[String], word: &str) -> Result<()> {
    let details = match addresses.len() {
        0 => return Ok(()),
        1..=NOTED => addresses
            .iter()
            .map(|a| format!("{a} was {word}"))
            .collect(),
        many => vec![format!("{} were {word}", count(many as u64, "member"))],
    };
    Ok(ctx.note_command(list, "members", details).await?)
}

fn say_added(asked: u64, new: u64) {
    let already = match asked - new {
        0 => String::new(),
        n => format!(", {n} there already"),
    };
    println!("{}{already}", count(new, "new member"));
}

async fn remove(ctx: &Ctx, list: &str, addresses: &[String]) -> Result<()> {
    let list = super::find_list(ctx, list).await?;
    let wanted = keys(addresses)?;
    let gone = ctx.remove_members(list.id, wanted.clone()).await?;
    note(ctx, &list, &gone, "removed").await?;
    if !gone.is_empty() {
        println!("{} removed", count(gone.len() as u64, "member"));
    }
    let strangers: Vec<&str> = wanted
        .iter()
        .filter(|a| !gone.contains(a))
        .map(String::as_str)
        .collect();
    if !strangers.is_empty() {
        bail!(
            "not among the members of {}: {}",
            list.name,
            strangers.join(", ")
        );
    }
    Ok(())
}

async fn load_all(ctx: &Ctx, list: &ListRow) -> Result<Vec<MemberRow>> {
    let mut all: Vec<MemberRow> = Vec::new();
    loop {
        let after = all.last().map_or(String::new(), |m| m.address.clone());
        let page = ctx.store.load_members(list.id, &after, 1_000).await?;
        let last = page.len() < 1_000;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

async fn show(ctx: &Ctx, list: &str, json: bool) -> Result<()> {
    let list = super::find_list(ctx, list).await?;
    let all = load_all(ctx, &list).await?;
    let disabled = ctx.store.load_disabled(list.id).await?;
    if json {
        let value = |m: &MemberRow| {
            serde_json::json!({
                "address": m.address, "mail": m.mail, "disabled": disabled.contains(&m.address), "nodupes": m.nodupes, "own": m.own, "kind": m.kind.as_str(),
                "since": m.created.rfc3339(),
            })
        };
        return print_json(&all.iter().map(value).collect::<Vec<_>>());
    }
    let mut table = Table::new(["ADDRESS", "MAIL", "NODUPES", "OWN", "KIND", "SINCE"]);
    let word = |flag| if flag { "yes" } else { "no" };
    for m in &all {
        table.row([
            &m.address,
            match disabled.contains(&m.address) {
                true => "disabled by bounces",
                false => word(m.mail),
            },
            m.nodupes.map_or("default", word),
            word(m.own),
            m.kind.as_str(),
            &m.created.human(),
        ]);
    }
    table.print("no members yet; add some with `patchpost member add LIST ADDRESS`");
    Ok(())
}

async fn set(ctx: &Ctx, wish: args::MemberSet) -> Result<()> {
    let list = super::find_list(ctx, &wish.list).await?;
    let switch = |s: Switch| s == Switch::On;
    let entry = Entry {
        address: wish.address.parse::<Address>()?.key(),
        mail: wish.mail.map(switch),
        nodupes: wish.nodupes.map(|n| match n {
            args::Nodupes::On => Some(true),
            args::Nodupes::Off => Some(false),
            args::Nodupes::Default => None,
        }),
        own: wish.own.map(switch),
        kind: wish.kind.map(|k| match k {
            args::MemberKind::Person => Kind::Person,
            args::MemberKind::Archive => Kind::Archive,
        }),
    };
    let nothing = Entry {
        address: entry.address.clone(),
        ..Entry::default()
    };
    if entry == nothing {
        bail!("say what to change: --mail, --nodupes, --own or --kind");
    }
    if !ctx.set_member(list.id, entry).await? {
        bail!("{} is not among the members of {}", wish.address, list.name);
    }
    let key = wish.address.parse::<Address>()?.key();
    note(ctx, &list, &[key], "changed").await?;
    println!("{} is changed in {}", wish.address, list.name);
    Ok(())
}

async fn import(ctx: &Ctx, list: &str, path: &Path) -> Result<()> {
    let list = super::find_list(ctx, list).await?;
    let entries = match path.is_dir() {
        true => read_mlmmj(path)?,
        false => read(path)?,
    };
    let wanted: Vec<String> = entries.iter().map(|e| e.address.clone()).collect();
    refuse_own(ctx, &list, &wanted).await?;
    let asked = entries.len() as u64;
    let new = ctx.import_members(list.id, entries).await?;
    note(ctx, &list, &wanted, "imported").await?;
    say_added(asked, new);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Entry>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Mailman 2 keeps its members in a pickle of Python.
    if bytes.starts_with(b"}") || bytes.starts_with(&[0x80]) {
        bail!(
            "{} is a file of Mailman itself; print the members with Mailman 2's `list_members LIST` \
             or Mailman 3's `mailman members LIST` into a file, and import that",
            path.display()
        );
    }
    let text = String::from_utf8(bytes)
        .with_context(|| format!("{} is no text in UTF-8; save it as that", path.display()))?;
    roster::parse(&text).map_err(|why| anyhow::anyhow!("{} {why}", path.display()))
}

/// A list's folder of mlmmj: a folder for each way of being subscribed, with files of addresses. Those who got digests get copies.
fn read_mlmmj(folder: &Path) -> Result<Vec<Entry>> {
    let kinds = [
        ("subscribers.d", true),
        ("digesters.d", true),
        ("nomailsubs.d", false),
    ];
    if !folder.join("subscribers.d").is_dir() {
        bail!(
            "{} is no list of mlmmj: it has no folder subscribers.d",
            folder.display()
        );
    }
    let mut all: Vec<Entry> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for (name, mail) in kinds {
        let Ok(files) = std::fs::read_dir(folder.join(name)) else {
            continue;
        };
        for file in files {
            for mut entry in read(&file?.path())? {
                entry.mail = Some(mail);
                if known.insert(entry.address.clone()) {
                    all.push(entry);
                }
            }
        }
    }
    Ok(all)
}

async fn refuse_own(ctx: &Ctx, list: &ListRow, keys: &[String]) -> Result<()> {
    if let Some((key, why)) = ctx.find_own(list, keys).await? {
        bail!("{key} {why}; members are people and other lists");
    }
    Ok(())
}

fn keys(addresses: &[String]) -> Result<Vec<String>> {
    let (mut out, mut seen) = (Vec::new(), std::collections::HashSet::new());
    for address in addresses {
        let key = roster::key_of(address).map_err(anyhow::Error::msg)?;
        if seen.insert(key.clone()) {
            out.push(key);
        }
    }
    Ok(out)
}
