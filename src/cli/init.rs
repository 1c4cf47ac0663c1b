//! `patchpost init`: asks the few things that must be known, writes the settings, and says what is left to do.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::args::Init;
use super::print::zone;
use crate::config::{self, Config};
use crate::deliver::keys;
use crate::doctor;
use crate::list::settings::{Bits, Policy};
use crate::pipeline::Ctx;
use crate::store::{AccessChange, NewList};
use crate::types::{Address, ListName};

/// Keys that a new file shows even where they have their default.
const SHOWN: [&str; 6] = [
    "site.hostname",
    "smtp.listen",
    "lmtp.listen",
    "http.listen",
    "http.base_url",
    "delivery.transport",
];

/// What is answered to the questions: settings by their variables.
type Answers = Vec<(String, String)>;

/// Asks where an option does not answer already.
struct Asker<'a> {
    yes: bool,
    input: &'a mut dyn BufRead,
    answers: Answers,
}

impl Asker<'_> {
    /// The value of a key: the option's, or what is typed, or the default for an empty line. An answer that cannot be is asked
    /// for again; an option that cannot be is an error.
    fn ask(
        &mut self,
        key: &str,
        given: Option<String>,
        question: &str,
        default: &str,
    ) -> Result<String> {
        if let Some(value) = given {
            return self.keep(key, value);
        }
        if self.yes {
            return self.keep(key, default.to_owned());
        }
        loop {
            let shown = if default.is_empty() {
                String::new()
            } else {
                format!(" [{default}]")
            };
            eprint!("{question}{shown}: ");
            let mut line = String::new();
            let read = self
                .input
                .read_line(&mut line)
                .context("cannot read the answer")?;
            ensure!(
                read > 0,
                "the answers ended before all was asked; say --yes to take the defaults"
            );
            let value = match line.trim() {
                "" => default.to_owned(),
                typed => typed.to_owned(),
            };
            match self.keep(key, value) {
                Ok(value) => return Ok(value),
                Err(error) => eprintln!("{error}"),
            }
        }
    }

    /// Sets a key that nobody is asked about.
    fn keep(&mut self, key: &str, value: String) -> Result<String> {
        let variable = format!("PATCHPOST_{}", key.replace('.', "_").to_uppercase());
        let one = [(variable.clone(), value.clone())];
        let checked = config::parse("init", "", one);
        // What belongs together is looked at when all is known.
        if let Err(error) = checked
            && let Some(problem) = error.problems.iter().find(|p| p.place.ends_with(&variable))
        {
            bail!("{}", problem.text);
        }
        self.answers.push((variable, value.clone()));
        Ok(value)
    }

    fn is_yes(&mut self, question: &str, default: bool) -> Result<bool> {
        if self.yes {
            return Ok(default);
        }
        loop {
            eprint!("{question} [{}]: ", if default { "yes" } else { "no" });
            let mut line = String::new();
            let read = self
                .input
                .read_line(&mut line)
                .context("cannot read the answer")?;
            ensure!(
                read > 0,
                "the answers ended before all was asked; say --yes to take the defaults"
            );
            match line.trim().to_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => eprintln!("say yes or no"),
            }
        }
    }
}

/// `patchpost init`
pub async fn init(data: &Path, file: Option<&Path>, wish: Init) -> Result<()> {
    let file = super::settings_file(data, file);
    ensure!(
        !file.exists(),
        "{} exists already: change it by hand; `patchpost print dns` prints the records, `patchpost doctor` says what is missing",
        file.display()
    );
    super::check_owner(data)?;
    let first = wish.list.clone();
    let first: Option<ListName> = first.map(|name| name.parse()).transpose()?;
    let config = ask_all(wish, &mut std::io::stdin().lock())?;
    make_folder(data)?;
    let ctx = super::open(data, &config).await?;
    if let Some(name) = &first {
        make_list(&ctx, &config, name).await?;
    }
    make_key(data, config.site.list_domain())?;
    write_settings(&file, &config)?;
    println!("; Settings: {}", file.display());
    let lists = ctx.store.load_lists().await?;
    let site = doctor::site(data, &config, &lists).context("cannot read the keys that sign")?;
    print!("{}", zone(&site));
    let records = doctor::wanted(&site).len();
    let hint = format!(
        " --data {}{}",
        super::hint::shell_word(data),
        super::hint::config_option()
    );
    let patchpost = format!("{}patchpost", super::owner::prefix(data));
    println!(
        "{}",
        steps(&config, (&patchpost, &hint), records, first.is_some())
    );
    Ok(())
}

/// All that must be known, as settings that fit together.
fn ask_all(wish: Init, input: &mut dyn BufRead) -> Result<Config> {
    let mut asker = Asker {
        yes: wish.yes,
        input,
        answers: Answers::new(),
    };
    let own = own_name();
    ensure!(
        !wish.yes || wish.hostname.is_some() || !own.is_empty(),
        "this machine has no name that others find; say --hostname, such as --hostname lists.example.org"
    );
    let hostname = asker.ask(
        "site.hostname",
        wish.hostname,
        "Name of this machine in the mail system",
        &own,
    )?;
    ensure!(
        hostname.contains('.'),
        "{hostname:?} is no name that others find; say --hostname, such as --hostname lists.example.org"
    );
    let domain = asker.ask("site.domain", wish.domain, "Domain of the lists", &hostname)?;
    let question = "Your own address, for mail to the postmaster and for trouble";
    let operator = asker.ask("site.operator", wish.operator, question, "")?;
    ensure!(
        !operator.is_empty(),
        "an address is needed that reaches you when something is wrong; say --operator ADDRESS"
    );
    let ours = operator
        .rsplit_once('@')
        .is_some_and(|(_, d)| d.eq_ignore_ascii_case(&domain));
    ensure!(
        !ours,
        "{operator} is at the lists' own domain; name an address that works without this server"
    );
    let joined = |ips: &[IpAddr]| {
        let all: Vec<String> = ips.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    let given = (!wish.address.is_empty()).then(|| joined(&wish.address));
    let guess = joined(&crate::net::public_addresses());
    let question = "Public IP addresses of this machine, separated by commas";
    asker.ask("site.addresses", given, question, &guess)?;
    let postfix = match (wish.postfix, wish.direct) {
        (true, _) => true,
        (_, true) => false,
        _ => {
            let there = Path::new("/usr/sbin/postfix").exists();
            asker.is_yes("Does Postfix on this machine take the mail", there)?
        }
    };
    let (smtp, lmtp) = match postfix {
        true => (String::new(), "127.0.0.1:2424".to_owned()),
        false => (port_25(), String::new()),
    };
    if postfix {
        asker.keep("auth.xforward_from", "127.0.0.1".to_owned())?;
    }
    asker.keep("smtp.listen", smtp)?;
    asker.keep("lmtp.listen", lmtp)?;
    let default = if postfix { "127.0.0.1:25" } else { "" };
    let question = "Mail server that copies go out by, as HOST:PORT";
    let relay = asker.ask("delivery.relay", wish.relay, question, default)?;
    ensure!(
        !relay.is_empty(),
        "copies go out by a mail server; say --relay HOST:PORT, such as that of your provider"
    );
    ask_way(
        &mut asker,
        &relay,
        wish.relay_tls,
        (wish.relay_user, wish.relay_password_file),
    )?;
    asker.keep("delivery.transport", "smtp".to_owned())?;
    let url = format!("https://{hostname}");
    asker.ask(
        "http.base_url",
        wish.base_url,
        "How readers reach the pages",
        &url,
    )?;
    if let Some(name) = wish.name {
        asker.keep("site.name", name)?;
    }
    Ok(config::parse("init", "", asker.answers)?)
}

/// How the way to the relay is kept from others' eyes, and who we are there; on this machine neither is needed.
fn ask_way(
    asker: &mut Asker<'_>,
    relay: &str,
    tls: Option<String>,
    (user, file): (Option<String>, Option<String>),
) -> Result<()> {
    let open = crate::deliver::Relay::from(relay.to_owned()).is_open();
    if open || tls.is_some() {
        let default = if relay.ends_with(":465") {
            "tls"
        } else {
            "starttls"
        };
        let question = "TLS on the way there: starttls, tls (from the first octet on) or none";
        asker.ask("delivery.relay_tls", tls, question, default)?;
    }
    if !open && user.is_none() {
        return Ok(());
    }
    let question = "User that we log in as there, if it wants a login";
    let user = asker.ask("delivery.relay_user", user, question, "")?;
    if !user.is_empty() {
        let question = "File that holds the password";
        let file = asker.ask("delivery.relay_password_file", file, question, "")?;
        ensure!(
            !file.is_empty(),
            "a login needs a password; say --relay-password-file FILE, readable by the user that runs the server only"
        );
    }
    Ok(())
}

/// What the machine calls itself, if that is a name with a domain.
fn own_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if name.contains('.') {
        name
    } else {
        String::new()
    }
}

/// One socket for both kinds of addresses, if this machine knows IPv6.
fn port_25() -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let both = !text("/proc/net/if_inet6").is_empty()
        && text("/proc/sys/net/ipv6/bindv6only").trim() == "0";
    if both { "[::]:25" } else { "0.0.0.0:25" }.to_owned()
}

fn make_folder(data: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o750).create(data);
    made.with_context(|| format!("cannot make the folder {}", data.display()))
}

async fn make_list(ctx: &Ctx, config: &Config, name: &ListName) -> Result<()> {
    if ctx.store.find_list(name.as_str()).await?.is_some() {
        return Ok(());
    }
    let new = NewList {
        name: name.to_string(),
        address: format!("{name}@{}", config.site.list_domain()).to_lowercase(),
        description: String::new(),
        style: "patch".to_owned(),
        visibility: "public".to_owned(),
        repos: Vec::new(),
        policy: Policy::of_style("patch").moderated(config.lists.moderation),
    };
    let list = ctx.create_list(new).await?;
    // Somebody has to look at what is held.
    let people = match config.site.operator.parse::<Address>() {
        Ok(operator) => vec![(operator.key(), Some(Bits(Bits::WRITE.0 | Bits::MODERATE.0)))],
        Err(_) => Vec::new(),
    };
    let change = AccessChange {
        people,
        ..AccessChange::default()
    };
    Ok(ctx.change_access(list, change, "").await?)
}

/// What signs the lists' mail; keys that are there already stay.
fn make_key(data: &Path, domain: &str) -> Result<()> {
    let domain = domain.to_lowercase();
    let there = keys::load(data, &domain).context("cannot read the keys that sign")?;
    if there.pairs.is_empty() {
        let made = keys::make(data, &domain, crate::store::now());
        made.with_context(|| format!("cannot make a key for {domain}"))?;
    }
    Ok(())
}

/// Readable by its owner and group only, as a password may come into it. Flushed: what is printed after it is true.
fn write_settings(file: &Path, config: &Config) -> Result<()> {
    let text = format!(
        "# Settings of patchpost, made by `patchpost init`. `patchpost config` shows every key with its default.\n{}",
        config::render_changed(config, &SHOWN)
    );
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o640).open(file);
    let written = opened.and_then(|mut f| {
        f.write_all(text.as_bytes())?;
        f.sync_all()
    });
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// What is left to do, counted. Commands begin as `patchpost` says, and need `hint` besides to find this site.
fn steps(
    config: &Config,
    (patchpost, hint): (&str, &str),
    records: usize,
    has_list: bool,
) -> String {
    let mut steps = Vec::new();
    if !has_list {
        steps.push(format!("make a list: {patchpost} list create dev{hint}"));
    }
    let front = match super::setup::is_behind_postfix(config) {
        true => "Postfix, ",
        false => "",
    };
    steps.push(format!(
        "as root, when the first of them is there, let {front}the server and the web server be set up (without sh -c it is only shown):\n;       \
         sh -c \"$(patchpost print setup{hint})\""
    ));
    steps.push(format!(
        "look whether all is well: {patchpost} doctor{hint}"
    ));
    let all = records + steps.len();
    let mut text = format!("; Left to do, {all} steps:\n");
    text.push_str(&format!(
        ";  1-{records}  set the {records} DNS records above\n"
    ));
    for (n, step) in steps.iter().enumerate() {
        text.push_str(&format!(";  {:>3}  {step}\n", records + n + 1));
    }
    text.pop();
    text
}
