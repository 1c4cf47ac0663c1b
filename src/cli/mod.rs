//! The commands: each loads what it needs, does it, and prints the outcome.

/// As the standard library's, but a reader that closes early (`| head`) has seen enough: that is no panic.
macro_rules! println {
    () => {
        $crate::cli::output::print_line("")
    };
    ($($words:tt)+) => {
        $crate::cli::output::print_line(&format!($($words)+))
    };
}

mod am;
mod archive;
pub mod args;
mod backup;
mod correct;
mod demo;
mod dkim;
mod events;
mod held;
mod hint;
mod init;
mod landing;
mod lists;
mod members;
mod output;
mod owner;
mod policy;
mod print;
mod queue;
mod series;
mod setup;
mod standing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::CommandFactory;

use crate::config::{self, Config};
use crate::doctor::Form;
use crate::git::Repos;
use crate::pipeline::{Ctx, Reclassify};
use crate::store::{ListRow, Location, Store};
use crate::types::{MailId, PatchsetId, RealmId};
pub use demo::demo;
pub use hint::{command_anywhere, pasteable, pasteable_anywhere};
pub use owner::{as_owner, check_owner, is_denied};

use args::{Cli, Command};
use output::{Table, count};
pub use output::{print, print_json};

/// Runs a command.
pub fn run(mut cli: Cli) -> Result<ExitCode> {
    // git runs in folders of its own: a name relative to ours would mean another place there.
    cli.data = std::path::absolute(&cli.data)
        .with_context(|| format!("{} is no folder name", cli.data.display()))?;
    // Units, scripts and hints name it for use elsewhere.
    if let Some(file) = &cli.config {
        cli.config = Some(std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    }
    hint::remember(&cli);
    let data = cli.data.clone();
    run_command(cli).map_err(|error| owner::explained(&data, error))
}

fn run_command(cli: Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(
                *shell,
                &mut Cli::command(),
                "patchpost",
                &mut std::io::stdout(),
            );
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man { folder } => {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(Cli::command(), folder)
                .context("cannot write the manual pages")?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Am(wish) => return am::am(wish),
        _ => {}
    }
    // Mail, members and keys are for the user that runs the server, and for its group.
    let closed = rustix::fs::Mode::from_raw_mode(0o027);
    let set = rustix::process::umask(closed);
    rustix::process::umask(set | closed);
    if let Command::Dkim(wish) = &cli.command {
        dkim::dkim(&cli, wish)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Restore { file } = &cli.command {
        check_owner(&cli.data)?;
        backup::restore(&cli.data, file)?;
        let config = load_config(&cli)?;
        runtime()?.block_on(async {
            let ctx = open(&cli.data, &config).await?;
            backup::settle(&ctx).await
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Init(wish) = cli.command {
        let runtime = runtime()?;
        runtime.block_on(init::init(&cli.data, cli.config.as_deref(), wish))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Config = cli.command {
        return show_config(&cli);
    }
    let config = match load_config(&cli) {
        // It says what is wrong with them, and looks at the rest.
        Err(error) if let Command::Doctor(wish) = &cli.command => {
            return crate::doctor::without_settings(&cli.data, &error, form(&wish.json));
        }
        config => config?,
    };
    let runtime = runtime()?;
    let done = runtime.block_on(async move {
        match cli.command {
            Command::Serve(serve) => {
                crate::serve::run(&cli.data, config, serve.demo, serve.ready_file.as_deref()).await
            }
            Command::Doctor(wish) => {
                let settings = settings_file(cli.data.as_path(), cli.config.as_deref());
                let form = form(&wish.json);
                match &wish.probe {
                    None => crate::doctor::run(&cli.data, &settings, &config, form).await,
                    Some(to) => {
                        let wait = Duration::from_secs(wish.wait);
                        crate::doctor::probe(&cli.data, &config, to, wait, form).await
                    }
                }
            }
            Command::Print(wish) => {
                print::run(&cli.data, cli.config.as_deref(), &config, &wish).await?;
                Ok(ExitCode::SUCCESS)
            }
            command => {
                check_there(&cli.data, &config)?;
                if let Command::Repo(args::Repo::Add { .. }) = &command {
                    check_owner(&cli.data)?;
                }
                let ctx = open(&cli.data, &config).await?;
                perform(&ctx, &config, command).await
            }
        }
    });
    // A fetch from a silent source must not keep the server from stopping; whatever matters was waited for.
    runtime.shutdown_timeout(Duration::from_secs(2));
    done
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("cannot start")
}

fn form(json: &args::Json) -> Form {
    match json.json {
        true => Form::Json,
        false => Form::Text,
    }
}

fn settings_file(data: &Path, given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| data.join("patchpost.toml"), Path::to_owned)
}

fn load_config(cli: &Cli) -> Result<Config> {
    let (name, text) = read_settings(cli)?;
    Ok(config::parse(&name, &text, std::env::vars())?)
}

/// The file of settings, by its name and text; empty if there is none.
fn read_settings(cli: &Cli) -> Result<(String, String)> {
    let path = settings_file(&cli.data, cli.config.as_deref());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && cli.config.is_none() => {
            String::new()
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok((path.display().to_string(), text))
}

/// `patchpost config`: also where settings are wrong, as it is what shows how they are meant.
fn show_config(cli: &Cli) -> Result<ExitCode> {
    let (name, text) = read_settings(cli)?;
    let (config, problems) = config::parse_all(&name, &text, std::env::vars());
    if problems.is_empty() {
        print(&config::render(&config))?;
        return Ok(ExitCode::SUCCESS);
    }
    let wrong = config::ConfigError { problems };
    eprintln!("{}", pasteable(&format!("patchpost: {wrong}")));
    print(&format!(
        "# Some settings are wrong, as standard error says: where they stand below they have their defaults, and the server does not start.\n{}",
        config::render(&config)
    ))?;
    Ok(ExitCode::FAILURE)
}

/// Where the configuration says the database is.
pub fn location(config: &Config) -> Location {
    match config.database.url.as_str() {
        "" => Location::File,
        url => Location::Url(url.to_owned()),
    }
}

/// The repositories of a folder, as the configuration wants them treated.
pub fn repos(data: &std::path::Path, config: &Config) -> Repos {
    Repos::new(data).fetching_within(Duration::from_secs(config.repos.fetch_seconds))
}

/// Refuses a folder without data: a slip in its name must not make another site.
fn check_there(data: &std::path::Path, config: &Config) -> Result<()> {
    let elsewhere = location(config) != Location::File;
    ensure!(
        elsewhere || Store::is_file_in(data),
        "there is no data of patchpost in {}; name the folder with --data or PATCHPOST_DATA, \
         or make it: `patchpost init` sets a site up, `patchpost serve` begins one to try on this machine",
        data.display()
    );
    Ok(())
}

/// Opens the folder for a command; `serve` may run on it at the same time.
pub async fn open(data: &std::path::Path, config: &Config) -> Result<Ctx> {
    std::fs::create_dir_all(data)
        .with_context(|| format!("cannot make the folder {}", data.display()))?;
    let store = Store::open(data, &location(config)).await?;
    // Which port 0 became, only the server knows.
    let listened = config::addresses(&config.http.listen).find(|a| !a.ends_with(":0"));
    let base = crate::serve::base_url(&config.http, listened);
    let ctx = Ctx::open(store, repos(data, config), base, config.limits.free_disk_mb).await?;
    Ok(ctx.named(&config.site))
}

/// The list of that name, or an error that says which there are.
async fn find_list(ctx: &Ctx, name: &str) -> Result<ListRow> {
    if let Some(list) = ctx.store.find_list(name).await? {
        return Ok(list);
    }
    let known: Vec<String> = ctx
        .store
        .load_lists()
        .await?
        .into_iter()
        .map(|l| l.name)
        .collect();
    match known.is_empty() {
        true => bail!("there is no list {name}; make one with `patchpost list create {name}`"),
        false => bail!("there is no list {name}; there are: {}", known.join(", ")),
    }
}

async fn perform(ctx: &Ctx, config: &Config, command: Command) -> Result<ExitCode> {
    match command {
        Command::List(list) => lists::list(ctx, config, list).await?,
        Command::Repo(repo) => lists::repo(ctx, repo).await?,
        Command::Member(member) => members::member(ctx, member).await?,
        Command::Policy(wish) => policy::policy(ctx, config, wish).await?,
        Command::Held(wish) => held::held(ctx, wish).await?,
        Command::Recall(wish) => held::recall(ctx, wish).await?,
        Command::Remove(wish) => held::remove(ctx, wish).await?,
        Command::Import(import) => archive::import(ctx, import).await?,
        Command::Export(export) => archive::export(ctx, export).await?,
        Command::Series(series) => show_series(ctx, series).await?,
        Command::Reclassify(wish) => reclassify(ctx, wish).await?,
        Command::Jobs(wish) => jobs(ctx, wish).await?,
        Command::Events(wish) => events::events(ctx, wish).await?,
        Command::Backup { file } => backup::backup(ctx, &file).await?,
        Command::Queue(wish) => queue::queue(ctx, wish).await?,
        Command::Serve(_)
        | Command::Am(_)
        | Command::Doctor(_)
        | Command::Init(_)
        | Command::Print(_)
        | Command::Dkim(_)
        | Command::Config
        | Command::Restore { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_series(ctx: &Ctx, wish: args::Series) -> Result<()> {
    let (all, json, whole) = match wish {
        args::Series::Ls { list, json } => {
            let list = match list {
                Some(name) => Some(find_list(ctx, &name).await?.id),
                None => None,
            };
            let all = ctx.store.load_summaries(list, 1_000_000).await?;
            (all, json.json, false)
        }
        args::Series::Show { patchset, json } => {
            let all = series::show(ctx, PatchsetId(patchset)).await?;
            if all.is_empty() {
                bail!("there is no patchset {patchset}; `patchpost series ls` shows all");
            }
            (all, json.json, true)
        }
        args::Series::RangeDiff {
            patchset,
            old,
            new,
            json,
        } => return range_diff(ctx, patchset, [&old, &new], json.json).await,
        args::Series::Mbox(wish) => return series::mbox(ctx, wish).await,
        args::Series::Apply(wish) => return landing::apply(ctx, wish).await,
        correction => return correct::correct(ctx, correction).await,
    };
    if json {
        return print_json(&all);
    }
    let mut table = Table::new([
        "PATCHSET", "VERSION", "PATCHES", "STATE", "APPLIES", "TITLE",
    ]);
    for s in &all {
        let patches = format!("{}/{}", s.patches.len(), s.total);
        let applies = s.applies.map_or("-", |a| if a { "yes" } else { "no" });
        table.row([
            &s.patchset.to_string(),
            &format!("v{}", s.version),
            &patches,
            &series::states(s),
            applies,
            &s.title,
        ]);
    }
    table.print("no series yet");
    let mut lines = series::needing_lines(&all);
    if whole {
        lines.extend(series::version_lines(&all));
    }
    print(&lines.iter().map(|l| format!("{l}\n")).collect::<String>())
}

async fn range_diff(ctx: &Ctx, patchset: i64, versions: [&str; 2], json: bool) -> Result<()> {
    let labels = versions.map(|v| v.strip_prefix('v').unwrap_or(v));
    let compared = crate::pipeline::compare(&ctx.store, patchset, labels).await?;
    let Some(pairs) = compared else {
        let known = ctx.store.load_versions(patchset).await?;
        let known: Vec<&str> = known.iter().map(|v| v.label.as_str()).collect();
        match known.is_empty() {
            true => bail!("there is no patchset {patchset}; `patchpost series ls` shows all"),
            false => bail!(
                "patchset {patchset} has {}",
                crate::pipeline::missing_versions(&known, labels)
            ),
        }
    };
    match json {
        true => print_json(&pairs),
        false => print(&crate::patchset::range_diff::render(&pairs)),
    }
}

async fn reclassify(ctx: &Ctx, wish: args::Reclassify) -> Result<()> {
    let mut realms: Vec<RealmId> = match &wish.list {
        Some(name) => vec![find_list(ctx, name).await?.realm],
        None => ctx
            .store
            .load_lists()
            .await?
            .into_iter()
            .map(|l| l.realm)
            .collect(),
    };
    realms.sort_unstable();
    realms.dedup();
    let how = match wish.dry_run {
        true => Reclassify::DryRun,
        false => Reclassify::Write,
    };
    let mut lines = 0;
    for realm in realms {
        let mails = ctx.store.count_mails(realm).await?;
        let passes = if wish.dry_run { 1 } else { 2 };
        let bar = archive::progress(mails * passes, "mails");
        let said = |line: String| {
            lines += 1;
            bar.suspend(|| println!("{line}"));
        };
        ctx.reclassify(realm, how, |done| bar.set_position(done), said)
            .await?;
        bar.finish_and_clear();
    }
    match (lines, wish.dry_run) {
        (0, _) => println!("nothing changes"),
        (n, true) => println!("{}; nothing was written", count(n, "difference")),
        (n, false) => println!("{} written", count(n, "difference")),
    }
    Ok(())
}

async fn jobs(ctx: &Ctx, wish: args::Jobs) -> Result<()> {
    if wish.retry {
        let (parked, waiting) = ctx.try_jobs_again().await?;
        eprintln!("tried again: {}", count(parked, "parked job"));
        if waiting > 0 {
            eprintln!("DNS is asked again about {}", count(waiting, "mail"));
        }
    }
    let jobs = ctx.store.load_jobs(1_000, crate::store::now()).await?;
    if wish.json.json {
        return print_json(&jobs);
    }
    let mut table = Table::new(["KIND", "OF", "STATE", "TRIES", "PROBLEM"]);
    for j in &jobs {
        table.row([
            &j.kind,
            &j.key,
            j.state,
            &j.attempts.to_string(),
            &j.problem,
        ]);
    }
    table.print("no work is owed");
    Ok(())
}

/// The bytes of a mail as stored, or an error that names it.
async fn bytes_of(ctx: &Ctx, mail: MailId) -> Result<Vec<u8>> {
    let found = ctx.store.load_bytes(mail).await?;
    Ok(found
        .with_context(|| format!("the bytes of mail {mail} are missing"))?
        .0)
}
