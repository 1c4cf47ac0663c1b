//! `dkim`: the keys that sign our mail, and what DNS has to say of them.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::args::{Cli, Dkim};
use super::output::{print, print_json};
use crate::config::Config;
use crate::deliver::keys::{self, Keys, Record};
use crate::doctor::{self, records};
use crate::store::Store;

/// Days that a new key's record gets to be known everywhere, and old mail to arrive.
const GRACE_DAYS: i64 = 7;

/// `patchpost dkim`
pub fn dkim(cli: &Cli, wish: &Dkim) -> Result<()> {
    if !matches!(wish, Dkim::Show { .. }) {
        super::check_owner(&cli.data)?;
    }
    let config = super::load_config(cli)?;
    super::check_there(&cli.data, &config)?;
    if let Dkim::Rotate { domain, new, .. } = wish {
        let domain = domain.to_lowercase();
        let mut known = super::runtime()?.block_on(domains(&cli.data, &config))?;
        let lists = known.join(", ");
        // One that was made ready before.
        known.extend(keys::domains(&cli.data).context("cannot read the keys")?);
        ensure!(
            *new || known.contains(&domain),
            "no list has an address in {domain}, and no key was made; lists are in {lists}. Is it for lists to come, say so: `patchpost dkim rotate {domain} --new`"
        );
    }
    perform(&cli.data, wish)
}

/// The domains of the lists that are here, and that of new ones.
async fn domains(data: &Path, config: &Config) -> Result<Vec<String>> {
    let store = Store::open(data, &super::location(config)).await?;
    Ok(doctor::domains(&store.load_lists().await?, config))
}

/// Needs no database.
fn perform(data: &Path, wish: &Dkim) -> Result<()> {
    match wish {
        Dkim::Rotate { domain, json, .. } => {
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
            ensure!(
                keys.pairs.iter().any(|p| p.selector == *selector),
                "{}",
                no_such_key(data, &domain, selector, &keys)
            );
            let others = keys.pairs.iter().filter(|p| p.selector != *selector);
            let mut others = others.map(|p| p.selector.as_str());
            let today = crate::store::now()
                .plus_secs(-GRACE_DAYS * 86_400)
                .rfc3339();
            let before = format!("p{}", today[..10].replace('-', ""));
            ensure!(
                *now || others.any(|other| other
                    .get(..before.len())
                    .is_some_and(|day| day.starts_with('p') && *day <= *before)),
                "no other key of {domain} is {GRACE_DAYS} days old: mail would be refused where its record is not known yet; \
                 make one with `patchpost dkim rotate {domain}` and wait, or say --now"
            );
            let last = !keys.pairs.iter().any(|p| p.selector != *selector);
            keys::remove(data, &domain, selector)
                .with_context(|| format!("cannot delete key {selector} of {domain}"))?;
            print(&format!(
                "key {selector} of {domain} is deleted; leave its records in DNS for a week, as mail that it signed is on its way, then take them out\n"
            ))?;
            if last {
                print(&super::pasteable(&format!(
                    "it was the last: mail of {domain} goes out unsigned until `patchpost dkim rotate {domain}`\n"
                )))?;
            }
            Ok(())
        }
    }
}

/// That there is no such key, and which there are.
fn no_such_key(data: &Path, domain: &str, selector: &str, keys: &Keys) -> String {
    let all: Vec<&str> = keys.pairs.iter().map(|p| p.selector.as_str()).collect();
    if !all.is_empty() {
        return format!("{domain} has no key {selector}; it has {}", all.join(", "));
    }
    match keys::domains(data) {
        Ok(others) if others.is_empty() => {
            format!("there is no key of {domain}, nor of any other domain")
        }
        Ok(others) => format!(
            "there is no key of {domain}; there are keys of {}",
            others.join(", ")
        ),
        Err(error) => {
            format!(
                "there is no key of {domain}; which other domains have keys cannot be read: {error}"
            )
        }
    }
}

fn records(data: &Path, domain: &str) -> Result<Vec<Record>> {
    let keys = keys::load(data, domain).context("cannot read the keys")?;
    let records = keys.pairs.iter().flat_map(|pair| pair.records(domain));
    Ok(records.collect())
}

/// A record as scripts and forms of DNS providers want it: in parts, and as the line of a zone that `print dns` has too.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    record: Record,
    value: String,
    zone: String,
}

fn show(records: Vec<Record>, json: bool) -> Result<()> {
    let shown = |record: Record| {
        let value = record.strings.concat();
        let zone = records::text(&record.name, &value).to_string();
        Shown {
            record,
            value,
            zone,
        }
    };
    let all: Vec<Shown> = records.into_iter().map(shown).collect();
    if json {
        return print_json(&all);
    }
    let lines: Vec<String> = all.into_iter().map(|r| r.zone + "\n").collect();
    print(&lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_while_an_old_one_stays_whatever_was_made_since() {
        let data = tempfile::tempdir().expect("a folder");
        let data = data.path();
        let made = |days: i64| {
            let at = crate::store::now().plus_secs(-days * 86_400);
            keys::make(data, "x.org", at).expect("made")
        };
        let drop = |selector: &str| {
            let wish = Dkim::Drop {
                domain: "x.org".to_owned(),
                selector: selector.to_owned(),
                now: false,
            };
            perform(data, &wish)
        };
        let absent = |domain: &str, selector: &str| {
            let wish = Dkim::Drop {
                domain: domain.to_owned(),
                selector: selector.to_owned(),
                now: false,
            };
            perform(data, &wish).expect_err("there is none").to_string()
        };
        let none = "there is no key of x.org, nor of any other domain";
        assert_eq!(absent("x.org", "p1"), none);
        let (oldest, old, fresh) = (made(60), made(30), made(0));
        let said = absent("x.org", "p1");
        assert!(said.starts_with("x.org has no key p1; it has p"), "{said}");
        let said = absent("y.org", &old);
        assert_eq!(said, "there is no key of y.org; there are keys of x.org");
        drop(&oldest).expect("the other old one signs on");
        let refused = drop(&old).expect_err("only a fresh one is left");
        assert!(refused.to_string().contains("is 7 days old"), "{refused}");
        assert_eq!(keys::load(data, "x.org").expect("read").pairs.len(), 2);
        // A name that says no day, which is too short for one, is no old key's.
        let folder = data.join("dkim/x.org");
        let named = folder.join(format!("{fresh}.pem"));
        std::fs::rename(named, folder.join("a.pem")).expect("named");
        drop(&old).expect_err("nobody knows how old the other is");
    }
}
