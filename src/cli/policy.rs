//! `policy`: who may write what to a list, and why.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::args::{self, By, Outside, Own, PolicySet, Switch};
use super::output::{Table, print_json};
use crate::config::Config;
use crate::list::order::Outcome;
use crate::list::policy::Decision;
use crate::list::rules::Rule;
use crate::list::settings::{Bits, Policy};
use crate::pipeline::{Ctx, NewMail};
use crate::session::Protocol;
use crate::store::{AccessChange, ListChange, ListRow};
use crate::types::Address;

/// `patchpost policy …`
pub async fn policy(ctx: &Ctx, config: &Config, wish: args::Policy) -> Result<()> {
    match wish {
        args::Policy::Show { list, json } => show(ctx, &list, json.json).await,
        args::Policy::Set(wish) => set(ctx, *wish).await,
        args::Policy::Explain {
            list,
            file,
            from_ip,
            sender,
            lmtp,
            json,
        } => {
            let list = super::find_list(ctx, &list).await?;
            let mail = read_mail(&file, sender, &list)?;
            let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
            ensure!(
                !lmtp || from_ip.is_none() || !config.auth.xforward_from.is_empty(),
                "by LMTP nobody tells the client's address here: auth.xforward_from is empty, and `patchpost print postfix` says what it is for"
            );
            let mail = NewMail {
                protocol,
                ip: from_ip,
                ..mail
            };
            let mut ctx = ctx.clone();
            ctx.checks = Some(std::sync::Arc::new(crate::serve::checks(config)?));
            let outcome = ctx.explain(&list, mail).await?;
            explain(&outcome, json.json)
        }
    }
}

/// A mail in a file, as if it were sent to the list.
fn read_mail(file: &Path, sender: Option<String>, list: &ListRow) -> Result<NewMail> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (lf, _) = crate::mail::header::to_lf(&bytes);
    let sender = match sender {
        Some(given) => given,
        None => crate::mail::parse(&lf).author().address,
    };
    let sender = match sender.as_str() {
        "" => None,
        given => Some(Address::parse_sender(given)?),
    };
    // What comes by the wire has CRLF.
    let wire = lf
        .split(|b| *b == b'\n')
        .collect::<Vec<_>>()
        .join(&b"\r\n"[..]);
    Ok(NewMail {
        bytes: wire,
        sender,
        recipients: vec![list.address.parse()?],
        protocol: Protocol::Smtp,
        ip: None,
        helo: "localhost".to_owned(),
    })
}

fn explain(outcome: &Outcome, json: bool) -> Result<()> {
    let verdict = match &outcome.decision {
        Ok(Decision::Accept) if outcome.delay > 0 => {
            format!("accept; copies go out after {} seconds", outcome.delay)
        }
        Ok(Decision::Accept) => "accept".to_owned(),
        Ok(Decision::Hold(why)) => format!("hold: {why}"),
        Ok(Decision::Drop(why)) => format!("drop with a note: {why}"),
        Ok(other) => format!("{other:?}"),
        Err(reply) => format!("refuse: {reply}"),
    };
    if json {
        let all = serde_json::json!({"steps": outcome.steps, "outcome": verdict, "stranger": outcome.stranger, "delay_seconds": outcome.delay});
        return print_json(&all);
    }
    let mut table = Table::new(["STEP", "FOUND"]);
    outcome
        .steps
        .iter()
        .for_each(|s| table.row([s.name, &s.found]));
    table.print("no step was taken");
    println!("{verdict}");
    Ok(())
}

fn on(switch: bool) -> &'static str {
    if switch { "on" } else { "off" }
}

async fn show(ctx: &Ctx, name: &str, json: bool) -> Result<()> {
    let list = super::find_list(ctx, name).await?;
    let (people, bans) = (
        ctx.store.load_access(list.id).await?,
        ctx.store.load_bans(list.id).await?,
    );
    let p = &list.policy;
    if json {
        let rules: Vec<String> = p.rules.iter().map(Rule::to_string).collect();
        return print_json(&serde_json::json!({
            "list": list.name, "style": list.style, "anybody": p.anybody.to_string(), "subscribers": p.subscribers.to_string(), "any_list": p.any_list, "web": p.web,
            "people": people, "moderation": p.moderation, "proof": p.proof, "outsiders": p.outsiders, "emergency": p.emergency,
            "max_size": p.max_size, "html": p.html, "refused_types": p.refused_types, "rules": rules, "bans": bans,
            "strangers_per_hour": p.strangers_per_hour, "delay_seconds": p.delay, "hold_days": p.hold_days, "tls_only": p.tls_only,
            "own_removal": p.own_removal, "tell_held": p.tell_held,
        }));
    }
    let mut table = Table::new(["SETTING", "VALUE"]);
    table.row(["anybody", &p.anybody.to_string()]);
    table.row(["subscribers", &p.subscribers.to_string()]);
    table.row(["any-list", on(p.any_list)]);
    if list.visibility != "public" {
        table.row(["web", on(p.web)]);
    }
    for person in &people {
        let text = format!("{}={}", person.address, person.rights);
        table.row(["person", &text]);
    }
    table.row(["moderation", p.moderation.as_str()]);
    table.row(["proof", p.proof.as_str()]);
    table.row(["outsiders", p.outsiders.as_str()]);
    table.row(["emergency", on(p.emergency)]);
    table.row(["max-size", &p.max_size.to_string()]);
    table.row(["html", on(p.html)]);
    table.row(["tls-only", on(p.tls_only)]);
    for pattern in &p.refused_types {
        table.row(["refuse-type", pattern]);
    }
    for rule in &p.rules {
        table.row(["rule", &rule.to_string()]);
    }
    for ban in &bans {
        let at = if ban.everywhere { " (everywhere)" } else { "" };
        table.row(["ban", &format!("{}{at}", ban.name)]);
    }
    table.row(["strangers-per-hour", &p.strangers_per_hour.to_string()]);
    table.row(["delay", &p.delay.to_string()]);
    table.row(["hold-days", &p.hold_days.to_string()]);
    table.row(["tell-held", on(p.tell_held)]);
    table.row(["own-removal", p.own_removal.as_str()]);
    table.print("nothing is set");
    Ok(())
}

async fn set(ctx: &Ctx, wish: PolicySet) -> Result<()> {
    let list = super::find_list(ctx, &wish.list).await?;
    let access = access_of(&wish)?;
    let policy = changed(&list, &wish)?;
    if policy == list.policy && access == AccessChange::default() {
        bail!("say what to change; `patchpost policy set --help` shows what there is");
    }
    let mut noted = notes(&access);
    if policy != list.policy {
        noted.push(format!(
            "the policy was changed; `patchpost policy show {}` prints it",
            list.name
        ));
        let change = ListChange {
            policy: Some(policy),
            ..ListChange::default()
        };
        ctx.change_list(list.id, change).await?;
    }
    ctx.change_access(list.id, access, "by the operator")
        .await?;
    Ok(ctx.note_command(&list, "settings", noted).await?)
}

/// What changes for whom, a line each.
fn notes(access: &AccessChange) -> Vec<String> {
    let right = |(address, bits): &(String, Option<Bits>)| match bits {
        Some(bits) => format!("{address} has the rights {bits}"),
        None => format!("{address} has no rights of its own any more"),
    };
    let people = access.people.iter().map(right);
    let banned = access.ban.iter().map(|name| format!("{name} is banned"));
    let let_in = access.unban.iter();
    let let_in = let_in.map(|name| format!("{name} is banned no more"));
    people.chain(banned).chain(let_in).collect()
}

/// The list's policy as it is wished to be.
fn changed(list: &ListRow, wish: &PolicySet) -> Result<Policy> {
    let mut p = list.policy.clone();
    let bits = |text: &Option<String>, old: Bits| match text {
        Some(text) => Bits::parse(text).map_err(anyhow::Error::msg),
        None => Ok(old),
    };
    p.anybody = bits(&wish.anybody, p.anybody)?;
    p.subscribers = bits(&wish.subscribers, p.subscribers)?;
    let public = list.visibility == "public";
    if public && wish.web.is_some() {
        bail!(
            "list {} is public: everybody reads it on the pages; --web is for lists that are not",
            list.name
        );
    }
    if wish.anybody.is_some() && p.anybody.has(Bits::BROWSE) != public {
        match public {
            true => bail!(
                "list {} is public: everybody may browse; what not all may read wants a list that is made with --private",
                list.name
            ),
            false => bail!(
                "list {} is not public: it cannot be opened to everybody's eyes",
                list.name
            ),
        }
    }
    if p.anybody.has(Bits::MODERATE) || p.subscribers.has(Bits::MODERATE) {
        bail!("moderators are named one by one: --person ADDRESS=reply,post,moderate");
    }
    if let Some(moderation) = wish.moderation {
        p = p.moderated(moderation.into());
    }
    p.proof = wish.proof.map_or(p.proof, By::into);
    p.outsiders = wish.outsiders.map_or(p.outsiders, Outside::into);
    p.own_removal = wish.own_removal.map_or(p.own_removal, Own::into);
    let switch = |given: Option<Switch>, old| given.map_or(old, |s| s == Switch::On);
    p.emergency = switch(wish.emergency, p.emergency);
    p.html = switch(wish.html, p.html);
    p.any_list = switch(wish.any_list, p.any_list);
    p.tls_only = switch(wish.tls_only, p.tls_only);
    p.web = switch(wish.web, p.web);
    p.tell_held = switch(wish.tell_held, p.tell_held);
    p.max_size = wish.max_size.unwrap_or(p.max_size);
    p.strangers_per_hour = wish.strangers_per_hour.unwrap_or(p.strangers_per_hour);
    p.delay = wish.delay.unwrap_or(p.delay);
    p.hold_days = wish.hold_days.unwrap_or(p.hold_days);
    if wish.no_rules {
        p.rules.clear();
    }
    for text in &wish.rule {
        p.rules.push(Rule::parse(text)?);
    }
    if !wish.refuse_type.is_empty() {
        let given = wish.refuse_type.iter().filter(|t| !t.is_empty());
        p.refused_types = given.cloned().collect();
    }
    p.check().map_err(anyhow::Error::msg)?;
    Ok(p)
}

fn access_of(wish: &PolicySet) -> Result<AccessChange> {
    let mut people = Vec::new();
    for text in &wish.person {
        let Some((address, rights)) = text.rsplit_once('=') else {
            bail!("{text:?} is not ADDRESS=RIGHTS, such as ana@example.org=reply,post");
        };
        let address: Address = address.trim().parse()?;
        let rights = match rights.trim() {
            "" => None,
            rights => Some(Bits::parse(rights).map_err(anyhow::Error::msg)?),
        };
        people.push((address.key(), rights));
    }
    let names = |given: &[String]| {
        given
            .iter()
            .map(|n| ban_name(n))
            .collect::<Result<Vec<_>>>()
    };
    Ok(AccessChange {
        people,
        ban: names(&wish.ban)?,
        unban: names(&wish.unban)?,
        everywhere: wish.everywhere && !(wish.ban.is_empty() && wish.unban.is_empty()),
    })
}

/// An address or a domain, as bans are kept.
fn ban_name(text: &str) -> Result<String> {
    let text = text.trim().trim_start_matches('@').to_lowercase();
    let address = match text.contains('@') {
        true => text.clone(),
        false => format!("x@{text}"),
    };
    address.parse::<Address>()?;
    Ok(text)
}
