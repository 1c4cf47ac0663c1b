//! `patchpost doctor --probe`: sends a mail through the relay, waits for it to come back, and says what became of it.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::report::Report;
use super::{Form, finish};
use crate::config::{Config, Transport};
use crate::deliver::{self, Relay, keys};
use crate::list::dkim::Draft;
use crate::list::echo::{self, Carried, Probe};
use crate::list::{address, token};
use crate::mail;
use crate::pipeline::{TOKEN_KEY, TOKEN_KEY_DAMAGED, token_key_of};
use crate::store::{Echo, ListRow, Store};
use crate::types::Address;

/// How often the store is looked into.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is said that one still waits.
const TELL: Duration = Duration::from_secs(10);

/// A probe as it goes out.
struct Sent {
    sender: String,
    recipient: String,
    token: String,
    bytes: Vec<u8>,
}

/// Sends a probe to an address and reports what the relay changed; exit status 1 when something does not hold.
pub async fn probe(
    data: &Path,
    config: &Config,
    to: &str,
    wait: Duration,
    form: Form,
) -> Result<ExitCode> {
    if config.delivery.transport != Transport::Smtp {
        bail!("copies are written into a folder: set delivery.transport and delivery.relay first");
    }
    let to: Address = to
        .parse()
        .with_context(|| format!("{to:?} is no address"))?;
    let store = Store::open(data, &crate::cli::location(config)).await?;
    let lists = store.load_lists().await?;
    let sent = prepare(&store, data, &lists, &to).await?;
    let relay = Relay::open(&config.delivery).map_err(|e| anyhow!(e))?;
    let mut report = Report::default();
    let name = &config.delivery.relay;
    let envelope = (sent.sender.as_str(), sent.recipient.as_str());
    let handed = deliver::hand_over(&relay, &config.site.hostname, envelope, &sent.bytes).await;
    if let Err(why) = handed {
        let mend = "this is what copies meet, too: mend it there, or set delivery.relay to another";
        report.bad(
            "relay",
            &format!("{name} does not take the probe: {why}"),
            mend,
        );
        return finish(report, form);
    }
    eprintln!("{name} took a probe for {}", sent.recipient);
    let begun = Instant::now();
    match await_echo(&store, &sent.token, wait).await? {
        Some(came) => {
            let took = begun.elapsed().as_secs_f64();
            report.ok("probe", &format!("came back after {took:.1} s"));
            judge(&sent, &came, &mut report);
        }
        None => {
            let detail = format!("it did not come back within {} s", wait.as_secs());
            let mend = format!(
                "look whether `patchpost serve` runs, and for {} in the relay's log and queue; more time: --wait SECONDS",
                sent.recipient
            );
            report.bad("probe", &detail, &mend);
        }
    }
    finish(report, form)
}

/// Makes the probe for the list whose address it is, or, for an address elsewhere, in the name of the first list.
async fn prepare(store: &Store, data: &Path, lists: &[ListRow], to: &Address) -> Result<Sent> {
    let bases: Vec<String> = address::readings(to).into_iter().map(|(b, _)| b).collect();
    let own = lists
        .iter()
        .find(|l| bases.iter().any(|b| b.eq_ignore_ascii_case(&l.address)));
    let Some(list) = own.or(lists.first()) else {
        bail!(
            "there is no list yet, whose address the probe comes back to: `patchpost list create dev`"
        );
    };
    let key = store.find_meta(TOKEN_KEY).await?;
    let key = key.context("the server was never started on this folder")?;
    let key = token_key_of(&key).context(TOKEN_KEY_DAMAGED)?;
    let now = crate::store::now();
    let token = token::render_echo(&key, now.secs(), now.0.rem_euclid(1_000_000));
    let token = token.context("the clock of this machine is far off")?;
    let (local, domain) = list.address.split_once('@').unwrap_or((&list.address, ""));
    let back = format!("{local}+echo-{token}@{domain}");
    let recipient = match own {
        Some(_) => back.clone(),
        None => to.to_string(),
    };
    let bytes = echo::render(&Probe {
        list: &list.address,
        to: &recipient,
        token: &token,
        now,
    });
    let keys =
        keys::load(data, &domain.to_lowercase()).context("cannot read the keys that sign")?;
    let signed = keys.sign(&Draft::new(&[], &bytes), &[], now);
    let signed = signed.context("cannot sign the probe")?;
    Ok(Sent {
        sender: back,
        recipient,
        token,
        bytes: [signed.as_bytes(), &bytes].concat(),
    })
}

/// Waits until the probe is back, and says so now and then.
async fn await_echo(store: &Store, token: &str, wait: Duration) -> Result<Option<Echo>> {
    let begun = Instant::now();
    let mut told = Duration::ZERO;
    loop {
        if let Some(came) = store.find_echo(token).await? {
            return Ok(Some(came));
        }
        let passed = begun.elapsed();
        if passed >= wait {
            return Ok(None);
        }
        if told.is_zero() || passed >= told + TELL {
            told = passed.max(LOOK);
            eprintln!(
                "waiting for it to come back: {} s of {} s",
                passed.as_secs(),
                wait.as_secs()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn judge(sent: &Sent, came: &Echo, report: &mut Report) {
    let message = mail::parse(&came.bytes);
    if came.sender.is_empty() && message.header("Auto-Submitted").is_some()
        || message
            .header("Content-Type")
            .is_some_and(|t| t.to_ascii_lowercase().starts_with("multipart/report"))
    {
        let said: Vec<&str> = message
            .text
            .lines()
            .filter(|l| !l.trim().is_empty())
            .collect();
        let said = said.join(" ").chars().take(600).collect::<String>();
        let mend = "what came back is a bounce: the relay could not deliver to that address";
        return report.bad("probe", &said, mend);
    }
    let sent = Carried {
        sender: &sent.sender,
        bytes: &sent.bytes,
    };
    let came = Carried {
        sender: &came.sender,
        bytes: &came.bytes,
    };
    for seen in echo::compare(sent, came) {
        match seen.found {
            Ok(found) => report.ok(seen.what, &found),
            Err(found) => report.bad(seen.what, &found, &format!("void: {}", seen.void)),
        }
    }
}
