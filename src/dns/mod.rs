//! What DNS says about a mail: DKIM keys, SPF and DMARC records, asked within bounded time.
//!
//! The only user of the authentication crate. Facts go to `verdict`, which judges. No answer is "unknown", never a refusal.

mod check;
mod lookup;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::MessageAuthenticator;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::net::NetError;
use mail_auth::hickory_resolver::proto::rr::{Name, RecordType};
use mail_auth::hickory_resolver::system_conf::read_system_conf;

pub use check::Client;
pub use lookup::{RecordKind, reverse_name};
use zone::Zone;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The machine's own settings.
    System,
    /// These servers.
    Servers(Vec<SocketAddr>),
    /// Nobody: the records of a file.
    Zone(std::path::PathBuf),
}

/// Answers about names, within a set time.
#[derive(Clone)]
pub struct Dns {
    authenticator: MessageAuthenticator,
    zone: Option<Arc<Zone>>,
    timeout: Duration,
}

/// Why look-ups cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The zone file cannot be read.
    #[error("cannot read the zone file {path}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of the zone file makes no sense.
    #[error("zone file {path} line {line}: {problem}")]
    Line {
        /// Which file.
        path: std::path::PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The resolver does not start.
    #[error("the DNS resolver does not start: {0}")]
    Resolver(String),
}

impl Dns {
    /// Starts a resolver; nothing is asked yet. Without settings of the machine it starts all the same, and finds nothing.
    pub fn open(source: &Source, timeout: Duration) -> Result<Dns, DnsError> {
        let mut zone = None;
        let (config, mut options) = match source {
            Source::Zone(path) => {
                zone = Some(Arc::new(Zone::open(path)?));
                (ResolverConfig::default(), ResolverOpts::default())
            }
            Source::Servers(servers) => {
                let servers = servers.iter().map(|s| name_server(*s)).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                (config, ResolverOpts::default())
            }
            Source::System => read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "this machine has no DNS settings: senders are not authenticated"
                );
                (ResolverConfig::default(), ResolverOpts::default())
            }),
        };
        // Two tries within the time that a mail may take.
        options.timeout = timeout / 2;
        options.attempts = 1;
        // What the world sees counts, not this machine's own table of hosts.
        options.use_hosts_file = ResolveHosts::Never;
        let authenticator = MessageAuthenticator::new(config, options);
        Ok(Dns {
            authenticator: authenticator.map_err(|e| DnsError::Resolver(e.to_string()))?,
            zone,
            timeout,
        })
    }

    /// Whether DNS answers; the error says why not. With a zone file nobody is asked.
    pub async fn check(&self) -> Result<String, String> {
        if self.zone.is_some() {
            return Ok("answers out of the zone file (dns.zone)".to_owned());
        }
        let asked = self
            .authenticator
            .resolver()
            .lookup(Name::root(), RecordType::NS);
        match tokio::time::timeout(self.timeout, asked).await {
            // That there are no such records is an answer, too.
            Ok(Ok(_) | Err(NetError::Dns(_))) => Ok("answers".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", self.timeout.as_secs())),
        }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

/// Reads `dns.servers`: addresses with or without a port, separated by commas; the settings have checked them.
pub fn source(servers: &str, zone: &str) -> Source {
    if !zone.is_empty() {
        return Source::Zone(Path::new(zone).to_owned());
    }
    let one = |text: &str| {
        let plain = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        plain.or_else(|_| text.parse()).ok()
    };
    let servers: Vec<SocketAddr> = servers.split(',').map(str::trim).filter_map(one).collect();
    if servers.is_empty() {
        Source::System
    } else {
        Source::Servers(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_with_and_without_port() {
        let servers = |list: &[&str]| {
            Source::Servers(
                list.iter()
                    .map(|s| s.parse().expect("as written above"))
                    .collect(),
            )
        };
        assert_eq!(source("", ""), Source::System);
        assert_eq!(
            source("192.0.2.1, [2001:db8::1]:5353,2001:db8::2", ""),
            servers(&["192.0.2.1:53", "[2001:db8::1]:5353", "[2001:db8::2]:53"])
        );
        assert_eq!(source("192.0.2.1", "zone"), Source::Zone("zone".into()));
    }
}
