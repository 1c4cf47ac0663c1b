//! The configuration: one TOML file, then the environment, checked; errors name key, line and allowed values.
//!
//! Pure: texts come in, values go out. Every key has a default, so that no file at all is a working set-up on loopback.

use serde::{Deserialize, Serialize};

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this site is.
    pub site: Site,
    /// Mail from other servers.
    pub smtp: Smtp,
    /// Mail from a mail server on this machine.
    pub lmtp: Lmtp,
    /// The web pages.
    pub http: Http,
    /// Health and metrics.
    pub ops: Ops,
    /// Where everything is stored.
    pub database: Database,
    /// How copies leave.
    pub delivery: Delivery,
    /// Project repositories.
    pub repos: Repos,
    /// When to stop taking mail.
    pub limits: Limits,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// `[site]`
    Site {
        /// Host name: in greetings, and the domain of new lists' addresses.
        hostname: String = "localhost".to_owned(),
        /// Name shown on pages.
        name: String = "patchpost".to_owned(),
    }
}

section! {
    /// `[smtp]`
    Smtp {
        /// Addresses to listen on, separated by commas; empty: none.
        listen: String = "127.0.0.1:2525".to_owned(),
        /// Largest mail in bytes.
        max_size: usize = 10 << 20,
        /// Recipients of one mail.
        max_recipients: usize = 100,
        /// Connections at once.
        max_connections: usize = 500,
        /// Connections at once from one address.
        max_connections_per_ip: usize = 50,
        /// What to do with bare CR or LF in a mail.
        bare_newline: BareNewline = BareNewline::Reject,
        /// Certificate chain (PEM file); empty: no STARTTLS.
        tls_cert: String = String::new(),
        /// Its private key (PEM file).
        tls_key: String = String::new(),
    }
}

section! {
    /// `[lmtp]`
    Lmtp {
        /// Addresses to listen on, separated by commas; `unix:PATH` for a socket; empty: none.
        listen: String = "127.0.0.1:2424".to_owned(),
    }
}

section! {
    /// `[http]`
    Http {
        /// Addresses to listen on, separated by commas.
        listen: String = "127.0.0.1:8080".to_owned(),
        /// How readers reach the pages, without a slash at the end; empty: the address listened on.
        base_url: String = String::new(),
    }
}

section! {
    /// `[ops]`
    Ops {
        /// Addresses for `/health` and `/metrics`, separated by commas; keep them off the internet. Empty: none.
        listen: String = "127.0.0.1:9090".to_owned(),
    }
}

section! {
    /// `[database]`
    Database {
        /// Empty: SQLite in the data folder; else `postgres://user@host/database`.
        url: String = String::new(),
    }
}

section! {
    /// `[delivery]`
    Delivery {
        /// Where copies go.
        transport: Transport = Transport::Directory,
        /// Folder for `directory`; empty: `outbox` in the data folder.
        directory: String = String::new(),
        /// `host:port` of the mail server for `smtp`.
        relay: String = String::new(),
        /// Connections to it at once.
        connections: usize = 4,
    }
}

section! {
    /// `[repos]`
    Repos {
        /// Minutes between looks at a repository's source; 0: only by `patchpost repo fetch`.
        fetch_minutes: u64 = 5,
    }
}

section! {
    /// `[limits]`
    Limits {
        /// Free megabytes on the data folder's disk below which mail is refused for the time being.
        free_disk_mb: u64 = 200,
    }
}

/// `smtp.bare_newline`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BareNewline {
    /// Refuse the mail, as RFC 5321 section 2.3.8 has it.
    Reject,
    /// Turn each into CRLF, for old senders on one's own network.
    Normalise,
}

/// `delivery.transport`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Into files: nothing leaves the machine.
    Directory,
    /// To a mail server.
    Smtp,
}

/// A setting that cannot be used; the text names key, place and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Environment names that are no settings.
const OTHER_NAMES: [&str; 4] = [
    "PATCHPOST_DATA",
    "PATCHPOST_CONFIG",
    "PATCHPOST_LOG",
    "PATCHPOST_CORPUS",
];

/// Reads the file's text (named in errors), then the environment's `PATCHPOST_<SECTION>_<KEY>`, and checks the whole.
pub fn parse(
    name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let config: Config = toml::from_str(text)
        .map_err(|e| ConfigError(format!("{name}: {}", e.to_string().trim_end())))?;
    let config = with_environment(config, environment)?;
    check(&config)?;
    Ok(config)
}

/// The effective configuration as a file, for `patchpost config`.
pub fn render(config: &Config) -> String {
    toml::to_string(config).expect("plain values are written as TOML")
}

fn with_environment(
    config: Config,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let bad = |text: String| Err(ConfigError(text));
    let mut table = toml::Table::try_from(&config).expect("plain values are a table");
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix("PATCHPOST_") else {
            continue;
        };
        if OTHER_NAMES.contains(&name.as_str())
            || rest.starts_with("TEST_")
            || rest.starts_with("BENCH_")
        {
            continue;
        }
        let lower = rest.to_lowercase();
        let (section, key) = lower.split_once('_').unwrap_or((&lower, ""));
        let Some(toml::Value::Table(keys)) = table.get_mut(section) else {
            return bad(format!("environment {name}: there is no section {section}"));
        };
        let known = keys.keys().cloned().collect::<Vec<_>>().join(", ");
        let Some(old) = keys.get_mut(key) else {
            return bad(format!(
                "environment {name}: section {section} has no key {key}; it has {known}"
            ));
        };
        *old = match (&*old, value.parse::<i64>()) {
            (toml::Value::Integer(_), Ok(number)) => toml::Value::Integer(number),
            (toml::Value::Integer(_), Err(_)) => {
                return bad(format!(
                    "environment {name}: {section}.{key} takes a whole number, not {value:?}"
                ));
            }
            _ => toml::Value::String(value),
        };
        let one = toml::Table::from_iter([(section.to_owned(), toml::Value::Table(keys.clone()))]);
        if let Err(error) = one.try_into::<Config>() {
            return bad(format!("environment {name}: {}", error.message()));
        }
    }
    table
        .try_into()
        .map_err(|e| ConfigError(format!("environment: {}", e.message())))
}

fn check(config: &Config) -> Result<(), ConfigError> {
    let bad = |text: String| Err(ConfigError(text));
    for (key, list) in [
        ("smtp.listen", &config.smtp.listen),
        ("lmtp.listen", &config.lmtp.listen),
        ("http.listen", &config.http.listen),
        ("ops.listen", &config.ops.listen),
    ] {
        for address in addresses(list) {
            let fine =
                address.starts_with("unix:/") || address.parse::<std::net::SocketAddr>().is_ok();
            if !fine {
                return bad(format!(
                    "{key}: {address:?} is not an address; write 127.0.0.1:2525, [::1]:2525 or unix:/path"
                ));
            }
        }
    }
    if config.delivery.transport == Transport::Smtp && config.delivery.relay.is_empty() {
        return bad("delivery.transport is \"smtp\": delivery.relay must name the mail server, such as \"127.0.0.1:25\"".into());
    }
    if config.smtp.tls_cert.is_empty() != config.smtp.tls_key.is_empty() {
        return bad("smtp.tls_cert and smtp.tls_key belong together: set both or none".into());
    }
    let url = &config.database.url;
    if !(url.is_empty() || url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return bad(format!(
            "database.url: {url:?} is not usable; leave it empty for SQLite, or write postgres://user@host/database"
        ));
    }
    let base = &config.http.base_url;
    if !(base.is_empty() || base.starts_with("http://") || base.starts_with("https://"))
        || base.ends_with('/')
    {
        return bad(format!(
            "http.base_url: {base:?} must begin with http:// or https:// and have no slash at its end"
        ));
    }
    if config.smtp.max_size < 65_536 || config.smtp.max_size > 200 << 20 {
        return bad("smtp.max_size takes 65536 to 209715200 bytes".into());
    }
    if config.delivery.connections == 0
        || config.smtp.max_connections == 0
        || config.smtp.max_recipients < 100
    {
        return bad("delivery.connections and smtp.max_connections take 1 or more, smtp.max_recipients 100 or more".into());
    }
    Ok(())
}

/// The addresses of a `listen` value.
pub fn addresses(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|a| !a.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let pairs = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        parse("patchpost.toml", text, pairs).map_err(|e| e.to_string())
    }

    #[track_caller]
    fn check_error(text: &str, environment: &[(&str, &str)], words: &[&str]) {
        let error = read(text, environment).expect_err("must be refused");
        for word in words {
            assert!(error.contains(word), "{word:?} is missing in: {error}");
        }
    }

    #[test]
    fn no_file_at_all_is_a_working_set_up() {
        let config = read("", &[]).expect("defaults");
        assert_eq!(config.smtp.listen, "127.0.0.1:2525");
        assert_eq!(
            read(&render(&config), &[]).expect("what is printed can be read"),
            config
        );
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = read(
            "[smtp]\nmax_size = 100000",
            &[
                ("PATCHPOST_SMTP_MAX_SIZE", "200000"),
                ("PATCHPOST_HTTP_BASE_URL", "https://x"),
            ],
        );
        let config = config.expect("fine");
        assert_eq!(
            (config.smtp.max_size, config.http.base_url.as_str()),
            (200_000, "https://x")
        );
    }

    #[test]
    fn errors_name_key_line_and_what_is_allowed() {
        check_error(
            "[smtp]\nlisten = \"127.0.0.1:25\"\nlisen = \"x\"",
            &[],
            &["patchpost.toml", "line 3", "lisen", "listen"],
        );
        check_error(
            "[delivery]\ntransport = \"pigeon\"",
            &[],
            &["line 2", "pigeon", "directory", "smtp"],
        );
        check_error("[delivery]\ntransport = \"smtp\"", &[], &["delivery.relay"]);
        check_error("[smtp]\nlisten = \"here\"", &[], &["smtp.listen", "here"]);
        check_error(
            "",
            &[("PATCHPOST_SMTP_LISEN", "x")],
            &["PATCHPOST_SMTP_LISEN", "listen"],
        );
        check_error(
            "",
            &[("PATCHPOST_SMTP_MAX_SIZE", "big")],
            &["smtp.max_size", "whole number"],
        );
        check_error(
            "",
            &[("PATCHPOST_DELIVERY_TRANSPORT", "pigeon")],
            &["PATCHPOST_DELIVERY_TRANSPORT", "directory"],
        );
        check_error("", &[("PATCHPOST_NOPE_X", "1")], &["nope"]);
        check_error("[database]\nurl = \"mysql://x\"", &[], &["database.url"]);
        check_error("[http]\nbase_url = \"https://x/\"", &[], &["http.base_url"]);
    }
}
