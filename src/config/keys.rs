//! Every key once: its type, what it may be, its default, and the words that explain it.
//!
//! The table makes the structs, the list of keys that the parser knows, and the reference that
//! `patchpost config` prints, so the three cannot disagree.

use super::kind::{
    Addresses, AuthservId, BaseUrl, DatabaseUrl, FieldName, HostPort, Hostname, Kind, Line, Listen,
    MaybeAddress, MaybeHostname, Megabytes, Minutes, Number, Path, Peers, Servers,
};
use super::kind::{BareNewline, LogFormat, LogLevel, RelayTls, Secret, SenderId, Transport};
use crate::list::settings::Moderation;

/// One key as the parser and the reference see it.
pub(super) struct Key {
    pub section: &'static str,
    pub name: &'static str,
    /// What the reference says above the key, a line each.
    pub doc: &'static [&'static str],
    /// What a value may be.
    pub allowed: fn() -> String,
    /// Sets the key from its text form.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// The TOML form of the value, secrets masked.
    pub render: fn(&Config) -> String,
}

/// One section as the reference sees it.
pub(super) struct Section {
    pub name: &'static str,
    pub doc: &'static [&'static str],
}

macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $type:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $value:ty as $kind:ty = $default:literal, )*
        }
    )*) => {
        /// All settings, checked. The default is what holds without a file.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $( $(#[doc = $section_doc])* pub $section: $type, )*
        }

        $(
            $(#[doc = $section_doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $type {
                $( $(#[doc = $doc])* pub $key: $value, )*
            }
        )*

        impl Default for Config {
            fn default() -> Self {
                Config {
                    $( $section: $type {
                        $( $key: <$kind as Kind<$value>>::parse($default)
                            .expect("the defaults of the table are valid, as a test shows"), )*
                    }, )*
                }
            }
        }

        pub(super) const SECTIONS: &[Section] = &[
            $( Section { name: stringify!($section), doc: &[$($section_doc),*] }, )*
        ];

        pub(super) const KEYS: &[Key] = &[
            $( $( Key {
                section: stringify!($section),
                name: stringify!($key),
                doc: &[$($doc),*],
                allowed: <$kind as Kind<$value>>::allowed,
                set: |config, text| {
                    config.$section.$key = <$kind as Kind<$value>>::parse(text)?;
                    Ok(())
                },
                render: |config| <$kind as Kind<$value>>::render(&config.$section.$key),
            }, )* )*
        ];
    };
}

sections! {
    /// Who this site is.
    site: Site {
        /// Name of this machine in the mail system: in greetings, and where mail for its lists is sent.
        hostname: String as Hostname = "localhost",
        /// Domain of lists that are made without an address of their own; empty: that of hostname.
        domain: String as MaybeHostname = "",
        /// Where the internet finds this machine: its public IP addresses, separated by commas. `patchpost init` prints DNS
        /// records with them and `patchpost doctor` compares; empty: those that DNS has for hostname.
        addresses: String as Addresses = "",
        /// Who gets the mail for postmaster@ this machine and at the domains of lists; empty: it is only
        /// kept, `patchpost export postmaster FILE --format mbox` shows it.
        operator: String as MaybeAddress = "",
        /// What the pages call this site.
        name: String as Line = "patchpost",
    }

    /// Mail from other servers.
    smtp: Smtp {
        /// Addresses to listen on, separated by commas; empty: none.
        listen: String as Listen = "127.0.0.1:2525",
        /// Largest mail in bytes; announced as SIZE, and the limit of LMTP as well.
        max_size: usize as Number<65_536, 209_715_200> = "10485760",
        /// Recipients of one mail (RFC 5321 section 4.5.3.1.8 wants 100 at least).
        max_recipients: usize as Number<100, 1_000_000> = "100",
        /// Connections at once; a further one is told to come back later.
        max_connections: usize as Number<1, 1_000_000> = "500",
        /// Connections at once from one IP address.
        max_connections_per_ip: usize as Number<1, 1_000_000> = "50",
        /// A mail with a bare carriage return or line feed: "reject" refuses it (RFC 5321 section 2.3.8),
        /// "normalise" makes them line ends, for old senders on one's own network.
        bare_newline: BareNewline as BareNewline = "reject",
        /// Certificate chain (PEM file) for STARTTLS; empty: no STARTTLS.
        tls_cert: String as Path = "",
        /// The private key (PEM file) that belongs to tls_cert.
        tls_key: String as Path = "",
    }

    /// Mail from the mail server on this machine.
    lmtp: Lmtp {
        /// Addresses to listen on, separated by commas; unix:PATH for a socket; empty: none.
        listen: String as Listen = "127.0.0.1:2424",
    }

    /// Who speaks for a mail.
    auth: Auth {
        /// The name by which the mail server in front signs its Authentication-Results (RFC 8601 section 2.5), if it puts
        /// them on top of every mail; then its word on DMARC is taken. Empty: nobody's word is.
        trusted_authserv_id: String as AuthservId = "",
        /// Mail servers in front, by address, whose word on their own clients is taken (Postfix's XFORWARD): SPF and limits go by it. unix is
        /// whoever comes by a unix socket. Name no machine whose users you do not trust. Empty: nobody's word is.
        xforward_from: String as Peers = "",
    }

    /// Who says that a mail is spam. It is held then, never refused.
    spam: SpamFilter {
        /// The field with which the mail server in front marks spam, such as X-Spam or X-Spam-Flag: a value that begins with
        /// "yes" is its word. It counts by LMTP only. Empty: none.
        header: String as FieldName = "",
        /// An rspamd worker that scans, such as 127.0.0.1:11333; it is asked about every mail to a list. Empty: nobody is asked.
        rspamd: String as HostPort = "",
        /// Seconds that it may take; without an answer the mail goes on without its word.
        timeout: u64 as Number<1, 30> = "5",
    }

    /// Look-ups of DKIM keys, SPF and DMARC.
    dns: Dns {
        /// Servers to ask, separated by commas, such as 127.0.0.1 or 127.0.0.1:5353; empty: those of this machine.
        servers: String as Servers = "",
        /// Seconds that the look-ups for one mail may take; what is not answered by then is unknown, and the mail is taken.
        timeout: u64 as Number<1, 30> = "5",
        /// A file of records that is asked instead of DNS, for tests and closed networks; docs/identity.md tells its form.
        zone: String as Path = "",
    }

    /// The web pages.
    http: Http {
        /// Addresses to listen on, separated by commas; empty: none.
        listen: String as Listen = "127.0.0.1:8080",
        /// How readers reach the pages, without a slash at the end; empty: http:// and the address
        /// listened on. Links in mails are made from it.
        base_url: String as BaseUrl = "",
    }

    /// Health and metrics.
    ops: Ops {
        /// Addresses for /health and /metrics, separated by commas; keep them off the internet. Empty: none.
        listen: String as Listen = "127.0.0.1:9090",
    }

    /// Where everything but the git repositories is stored.
    database: Database {
        /// Empty: SQLite in the data folder; else postgres://user:password@host/name. The password is
        /// shown as ***.
        url: String as DatabaseUrl = "",
    }

    /// How copies leave.
    delivery: Delivery {
        /// "directory" writes them into a folder and nothing leaves this machine; "smtp" hands them to the relay.
        transport: Transport as Transport = "directory",
        /// Folder for "directory"; empty: outbox in the data folder.
        directory: String as Path = "",
        /// The mail server for "smtp", such as 127.0.0.1:25.
        relay: String as HostPort = "",
        /// How the connection to it is encrypted: "none" (on this machine only), "starttls" (port 587, as a rule) or "tls" from the
        /// first octet (port 465). Its certificate has to be good for the name in relay.
        relay_tls: RelayTls as RelayTls = "none",
        /// Authorities to trust (PEM file) instead of those of this system.
        relay_ca: String as Path = "",
        /// Who we are there; empty: nobody logs in. A password is told over TLS only, or on this machine.
        relay_user: String as Line = "",
        /// The password; better in the environment, or in relay_password_file. Shown as ***.
        relay_password: String as Secret = "",
        /// A file with the password in its first line.
        relay_password_file: String as Path = "",
        /// What Gmail's Postmaster Tools are to know this site by: copies say Feedback-ID: LIST:post::THIS then.
        feedback_id: String as SenderId = "",
        /// Connections to it at once.
        connections: usize as Number<1, 1_000> = "4",
    }

    /// Project repositories.
    repos: Repos {
        /// Minutes between looks at a repository's source; 0: only by `patchpost repo fetch`.
        fetch_minutes: u64 as Minutes = "5",
        /// Seconds that a fetch may take; what takes longer is ended and tried again later.
        fetch_seconds: u64 as Number<1, 86_400> = "600",
    }

    /// When to stop taking mail.
    limits: Limits {
        /// Free megabytes on the data folder's disk below which mail is refused for the time being.
        free_disk_mb: u64 as Megabytes = "200",
    }

    /// What lists start with that are made from now on; `patchpost policy` shows and changes it list by list.
    lists: Lists {
        /// Whose mail a person looks at first: "strangers" is people whom the list does not know, unless they are
        /// authenticated and answer a mail that it has.
        moderation: Moderation as Moderation = "strangers",
    }

    /// What is written to standard error, a line for each thing that happened.
    log: Log {
        /// The least that is worth a line.
        level: LogLevel as LogLevel = "info",
        /// "text" for people, "json" for collectors: an object a line.
        format: LogFormat as LogFormat = "text",
    }
}
