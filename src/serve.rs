//! Starts the parts of the server and stops them in order.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Level;

use crate::config::{self, BareNewline, Config, LogFormat, LogLevel, Transport, addresses};
use crate::deliver::{self, Relay, Route};
use crate::dns::{self, Dns};
use crate::doctor;
use crate::net::{Gate, Listener, Rspamd, Tls, bind};
use crate::pipeline::{Checks, Ctx};
use crate::session::{Protocol, Settings};
use crate::smtp;
use crate::store::Store;
use crate::web::{self, App};
use crate::worker;

/// Sessions and requests may finish within this time after a signal to stop.
const DRAIN: Duration = Duration::from_secs(8);

/// The bound listeners.
struct Listeners {
    smtp: Vec<Listener>,
    lmtp: Vec<Listener>,
    http: Vec<Listener>,
    ops: Vec<Listener>,
}

/// `patchpost serve`
pub async fn run(
    data: &Path,
    config: Config,
    demo: bool,
    ready_file: Option<&Path>,
) -> Result<ExitCode> {
    logging(&config.log);
    // Root may write anywhere; what it made there, the server of that user could not use.
    if rustix::process::geteuid().is_root() {
        crate::cli::check_owner(data)?;
    }
    std::fs::create_dir_all(data)
        .with_context(|| format!("cannot make the folder {}", data.display()))?;
    let _folder = Store::lock_for_serving(data)?;
    ensure!(
        !demo || !(config.smtp.listen.is_empty() || config.http.listen.is_empty()),
        "--demo needs smtp.listen and http.listen: mail comes in by one and is read by the other"
    );
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .context("cannot count")?;
    let store = Store::open(data, &crate::cli::location(&config)).await?;
    store.free_claims().await?;
    let listeners = listen_all(&config).await?;
    let listened = listeners.http.first().map(Listener::address);
    let base_url = base_url(&config.http, listened.as_deref());
    let repos = crate::cli::repos(data, &config);
    let free_disk_mb = config.limits.free_disk_mb;
    let ctx = Ctx::open(store.clone(), repos.clone(), base_url.clone(), free_disk_mb).await?;
    let mut ctx = ctx.named(&config.site);
    ctx.name_operator().await?;
    ctx.checks = Some(Arc::new(checks(&config)?));
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let addresses = [
        ("smtp", first(&listeners.smtp)),
        ("lmtp", first(&listeners.lmtp)),
        ("http", first(&listeners.http)),
        ("ops", first(&listeners.ops)),
    ];
    let app = App {
        store: store.for_pages(),
        ctx: ctx.clone(),
        repos,
        limits: web::Limits::default(),
        site: config.site.name.clone().into(),
        base_url: base_url.clone().into(),
        smtp: reachable(&addresses[0].1).into(),
    };
    let tls = open_tls(&config)?;
    mail(
        &ctx,
        &config,
        tls.as_ref(),
        listeners.smtp,
        listeners.lmtp,
        &stop,
        &tracker,
    );
    pages(
        &store,
        app,
        metrics,
        listeners.http,
        listeners.ops,
        &stop,
        &tracker,
    );
    tracker.spawn(worker::run(
        ctx.clone(),
        config.repos.fetch_minutes,
        stop.clone(),
    ));
    let (own, settings) = (data.to_owned(), config.clone());
    tracker.spawn(doctor::watch::run(ctx.clone(), own, settings, stop.clone()));
    let settings = deliver::Settings {
        route: route(data, &config)?,
        hostname: config.site.hostname.clone(),
        base_url: base_url.clone().into(),
        feedback_id: config.delivery.feedback_id.as_str().into(),
        token_key: Arc::clone(&ctx.token_key),
        keys: Arc::new(deliver::keys::Keyring::new(data)),
    };
    tracker.spawn(deliver::run(store, settings, stop.clone()));
    tell(&addresses);
    if let Some(path) = ready_file {
        write_ready(path, &addresses)?;
    }
    if demo {
        crate::cli::demo(&ctx, &base_url, &addresses, config.delivery.transport).await?;
    }
    wait_for_stop(tls.as_deref()).await?;
    drain(stop, tracker).await;
    Ok(ExitCode::SUCCESS)
}

/// Says where it listens.
fn tell(addresses: &[(&str, String)]) {
    for (name, address) in addresses.iter().filter(|(_, a)| !a.is_empty()) {
        tracing::info!(
            listener = name,
            address = address,
            "{name} listens on {address}"
        );
    }
}

/// Lets what was begun be finished.
async fn drain(stop: CancellationToken, tracker: TaskTracker) {
    tracing::info!("stopping");
    stop.cancel();
    tracker.close();
    if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
        tracing::warn!(
            "some connections did not end in time; what they were sending was not taken"
        );
    }
    tracing::info!("stopped");
}

async fn listen_all(config: &Config) -> Result<Listeners> {
    Ok(Listeners {
        smtp: listen("smtp", &config.smtp.listen).await?,
        lmtp: listen("lmtp", &config.lmtp.listen).await?,
        http: listen("http", &config.http.listen).await?,
        ops: listen("ops", &config.ops.listen).await?,
    })
}

/// Binds the addresses of a section's `listen`; an error names that key.
async fn listen(section: &str, list: &str) -> Result<Vec<Listener>> {
    let variable = format!("PATCHPOST_{}_LISTEN", section.to_uppercase());
    let bound = bind(addresses(list)).await;
    bound.map_err(|e| anyhow!("{e}; set {section}.listen or {variable} to another address"))
}

/// Where the pages are: as the configuration says, else at the address listened on.
pub fn base_url(config: &config::Http, listened: Option<&str>) -> String {
    match config.base_url.as_str() {
        "" => format!(
            "http://{}",
            listened.map_or_else(|| "localhost".to_owned(), reachable)
        ),
        url => url.to_owned(),
    }
}

/// How a listener is reached from this machine: one on all addresses by that of the machine itself.
pub fn reachable(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(all) if all.ip().is_unspecified() => {
            let own = if all.is_ipv4() { "127.0.0.1" } else { "[::1]" };
            format!("{own}:{}", all.port())
        }
        _ => address.to_owned(),
    }
}

fn first(listeners: &[Listener]) -> String {
    listeners.first().map(Listener::address).unwrap_or_default()
}

fn logging(config: &config::Log) {
    let level = match config.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let lines = tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second logger in one process, as in tests, is no trouble.
    let _already = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// How senders are authenticated by these settings.
pub fn checks(config: &Config) -> Result<Checks> {
    Ok(Checks {
        dns: open_dns(config)?,
        hostname: config.site.hostname.clone(),
        trusted_authserv_id: config.auth.trusted_authserv_id.clone(),
        spam_header: config.spam.header.clone(),
        rspamd: (!config.spam.rspamd.is_empty()).then(|| Rspamd {
            address: config.spam.rspamd.clone(),
            timeout: Duration::from_secs(config.spam.timeout),
        }),
    })
}

/// The resolver that the settings ask for.
pub fn open_dns(config: &Config) -> Result<Dns> {
    let source = dns::source(&config.dns.servers, &config.dns.zone);
    Ok(Dns::open(&source, Duration::from_secs(config.dns.timeout))?)
}

fn open_tls(config: &Config) -> Result<Option<Arc<Tls>>> {
    match config.smtp.tls_cert.as_str() {
        "" => Ok(None),
        cert => {
            let opened = Tls::open(Path::new(cert), Path::new(&config.smtp.tls_key));
            Ok(Some(Arc::new(opened.map_err(anyhow::Error::msg)?)))
        }
    }
}

fn mail(
    ctx: &Ctx,
    config: &Config,
    tls: Option<&Arc<Tls>>,
    smtp: Vec<Listener>,
    lmtp: Vec<Listener>,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) {
    let settings = Settings {
        hostname: config.site.hostname.clone(),
        max_size: config.smtp.max_size,
        max_recipients: config.smtp.max_recipients,
        tls: tls.is_some(),
        // Each connection's own.
        trusted: false,
        normalise: config.smtp.bare_newline == BareNewline::Normalise,
    };
    let gate = Gate::new(
        config.smtp.max_connections,
        config.smtp.max_connections_per_ip,
    );
    let trusted = Arc::new(trusted(&config.auth.xforward_from));
    let both = smtp
        .into_iter()
        .map(|l| (l, Protocol::Smtp))
        .chain(lmtp.into_iter().map(|l| (l, Protocol::Lmtp)));
    for (listener, protocol) in both {
        let (ctx, settings, tls, gate) = (
            ctx.clone(),
            settings.clone(),
            tls.cloned(),
            Arc::clone(&gate),
        );
        let server = smtp::Server {
            ctx,
            settings,
            protocol,
            tls,
            gate,
            trusted: Arc::clone(&trusted),
        };
        tracker.spawn(smtp::serve(server, listener, stop.clone(), tracker.clone()));
    }
}

/// Reads `auth.xforward_from`, which the settings have checked.
fn trusted(list: &str) -> smtp::Trusted {
    smtp::Trusted {
        ips: addresses(list).filter_map(|a| a.parse().ok()).collect(),
        sockets: addresses(list).any(|a| a == "unix"),
    }
}

fn pages(
    store: &Store,
    app: App,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    http: Vec<Listener>,
    ops: Vec<Listener>,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) {
    let gate = Gate::new(1_000, 200);
    let router = web::router(app);
    for listener in http {
        tracker.spawn(web::serve(
            listener,
            router.clone(),
            Arc::clone(&gate),
            stop.clone(),
            tracker.clone(),
        ));
    }
    let router = web::ops_router(store.pulse(), metrics);
    for listener in ops {
        tracker.spawn(web::serve(
            listener,
            router.clone(),
            Gate::new(50, 50),
            stop.clone(),
            tracker.clone(),
        ));
    }
}

fn route(data: &Path, config: &Config) -> Result<Route> {
    Ok(match config.delivery.transport {
        Transport::Smtp => {
            let relay = Relay::open(&config.delivery).map_err(anyhow::Error::msg)?;
            Route::Relay(relay, config.delivery.connections)
        }
        Transport::Directory if config.delivery.directory.is_empty() => {
            Route::Directory(data.join("outbox"))
        }
        Transport::Directory => Route::Directory(PathBuf::from(&config.delivery.directory)),
    })
}

/// Written under another name first: who waits for the file finds all of it.
fn write_ready(path: &Path, addresses: &[(&str, String)]) -> Result<()> {
    let map: serde_json::Map<String, serde_json::Value> = addresses
        .iter()
        .map(|(name, address)| ((*name).to_owned(), address.clone().into()))
        .collect();
    let draft = path.with_extension("draft");
    std::fs::write(&draft, serde_json::to_string(&map)?)?;
    std::fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns at SIGTERM or SIGINT. SIGHUP reads the certificate again, as after a renewal.
async fn wait_for_stop(tls: Option<&Tls>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => match tls {
                Some(tls) => tls.reload(),
                None => tracing::info!("SIGHUP: there is no certificate to read again"),
            },
        }
    }
}
