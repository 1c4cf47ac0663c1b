//! Options of commands for who sets a site up.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::Json;

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// Name of this machine in the mail system
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Domain of the lists' addresses
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Your own address: you get what is written to the postmaster, and are told of trouble
    #[arg(long, value_name = "ADDRESS")]
    pub operator: Option<String>,
    /// Public IP address of this machine; may be repeated
    #[arg(long, value_name = "IP")]
    pub address: Vec<IpAddr>,
    /// Postfix on this machine takes the mail and hands it over
    #[arg(long, conflicts_with = "direct")]
    pub postfix: bool,
    /// patchpost listens on port 25 itself
    #[arg(long)]
    pub direct: bool,
    /// The mail server that copies go out by
    #[arg(long, value_name = "HOST:PORT")]
    pub relay: Option<String>,
    /// TLS on the way there, unless it is on this machine: starttls, tls or none
    #[arg(long, value_name = "HOW")]
    pub relay_tls: Option<String>,
    /// User that we log in as there
    #[arg(long, value_name = "USER")]
    pub relay_user: Option<String>,
    /// File that holds the password for that
    #[arg(long, value_name = "FILE", requires = "relay_user")]
    pub relay_password_file: Option<String>,
    /// How readers reach the pages
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// What the pages call this site
    #[arg(long)]
    pub name: Option<String>,
    /// Make a first list of this name
    #[arg(long, value_name = "NAME")]
    pub list: Option<String>,
    /// Ask nothing: what no option says has its default
    #[arg(long)]
    pub yes: bool,
}

/// `doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Send a probe through the relay to this address, and compare what comes back
    #[arg(long, value_name = "ADDRESS")]
    pub probe: Option<String>,
    /// Seconds to wait for the probe
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        requires = "probe"
    )]
    pub wait: u64,
    /// How to print
    #[command(flatten)]
    pub json: Json,
}

/// `print`
#[derive(Debug, Subcommand)]
pub enum Print {
    /// A shell script for root that does on this machine what `init` leaves to do: Postfix, the server, nginx or Caddy with a certificate
    #[command(
        after_help = "Example:\n  patchpost print setup --data /var/lib/patchpost | less\n\n\
        As root, this runs it: sh -c \"$(patchpost print setup --data /var/lib/patchpost)\"\n\
        It may be given again, such as after a list in another domain was made. A unit and files of a web server that are there stay as they are, and it\n\
        stops where they do not fit, or where Postfix takes mail for other virtual domains."
    )]
    Setup,
    /// The DNS records that this site needs, as lines of a zone
    #[command(after_help = "Examples:\n  patchpost print dns\n  patchpost print dns --json")]
    Dns(Json),
    /// Lines for Postfix's main.cf: mail for the lists comes here unchanged, and copies go out unchanged
    #[command(after_help = "Example:\n  patchpost print postfix >> /etc/postfix/main.cf")]
    Postfix,
    /// A site of nginx in front of the pages, with TLS
    #[command(
        after_help = "Example:\n  patchpost print nginx > /etc/nginx/sites-enabled/patchpost"
    )]
    Nginx,
    /// A site of Caddy in front of the pages, which gets its certificate itself
    #[command(after_help = "Example:\n  patchpost print caddy >> /etc/caddy/Caddyfile")]
    Caddy,
    /// A unit of systemd that runs the server
    #[command(
        after_help = "Example:\n  patchpost print systemd > /etc/systemd/system/patchpost.service"
    )]
    Systemd,
}
