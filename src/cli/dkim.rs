//! `dkim`: the keys that sign our mail, and what DNS has to say of them.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::args::Dkim;
use super::output::{print, print_json};
use crate::deliver::keys::{self, Record};

/// Days that a new key's record gets to be known everywhere, and old mail to arrive.
const GRACE_DAYS: i64 = 7;

/// `patchpost dkim`; needs no database.
pub fn dkim(data: &Path, wish: &Dkim) -> Result<()> {
    match wish {
        Dkim::Rotate { domain, json } => {
            let domain = domain.to_lowercase();
            let made = keys::make(data, &domain, crate::store::now());
            let selector = made.with_context(|| format!("cannot make a key for {domain}"))?;
            let records = records(data, &domain)?.into_iter();
            let records = records.filter(|r| r.selector == selector).collect();
            show(records, json.json)
        }
        Dkim::Show { domain, json } => {
            let domains = match domain {
                Some(domain) => vec![domain.to_lowercase()],
                None => keys::domains(data).context("cannot read the keys")?,
            };
            let mut all = Vec::new();
            for domain in &domains {
                all.extend(records(data, domain)?);
            }
            let hint = "make one with `patchpost dkim rotate DOMAIN`";
            ensure!(!all.is_empty() || json.json, "there is no key; {hint}");
            show(all, json.json)
        }
        Dkim::Drop {
            domain,
            selector,
            now,
        } => {
            let domain = domain.to_lowercase();
            let keys = keys::load(data, &domain).context("cannot read the keys")?;
            let others = keys.pairs.iter().filter(|p| p.selector != *selector);
            let newest = others.map(|p| p.selector.as_str()).next_back();
            let today = crate::store::now()
                .plus_secs(-GRACE_DAYS * 86_400)
                .rfc3339();
            let before = format!("p{}", today[..10].replace('-', ""));
            ensure!(
                *now || newest.is_some_and(|newest| *newest <= *before),
                "no other key of {domain} is {GRACE_DAYS} days old: mail would be refused where its record is not known yet; \
                 make one with `patchpost dkim rotate {domain}` and wait, or say --now"
            );
            keys::remove(data, &domain, selector)
                .with_context(|| format!("cannot delete key {selector} of {domain}"))
        }
    }
}

fn records(data: &Path, domain: &str) -> Result<Vec<Record>> {
    let keys = keys::load(data, domain).context("cannot read the keys")?;
    let records = keys.pairs.iter().flat_map(|pair| pair.records(domain));
    Ok(records.collect())
}

fn show(records: Vec<Record>, json: bool) -> Result<()> {
    if json {
        return print_json(&records);
    }
    let lines: Vec<String> = records.into_iter().map(|r| r.zone + "\n").collect();
    print(&lines.concat())
}
