//! What a key's value may be: how its text form is checked, and how it is shown as TOML.

use crate::list::settings::Moderation;

/// One kind of value, stored as `T`.
pub(super) trait Kind<T> {
    /// What a value may be: the end of a sentence that begins with "allowed:".
    fn allowed() -> String;
    /// Reads the text form. The error says what is wrong, or is empty when [`Kind::allowed`] says it all.
    fn parse(text: &str) -> Result<T, String>;
    /// The TOML form, secrets masked.
    fn render(value: &T) -> String;
}

/// `smtp.bare_newline`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewline {
    /// Refuse the mail, as RFC 5321 section 2.3.8 has it.
    Reject,
    /// Turn each into CRLF, for old senders on one's own network.
    Normalise,
}

/// `delivery.transport`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Into files: nothing leaves the machine.
    Directory,
    /// To a mail server.
    Smtp,
}

/// `delivery.relay_tls`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayTls {
    /// No TLS.
    None,
    /// After STARTTLS, which the relay must offer.
    Starttls,
    /// From the first octet.
    Tls,
}

/// `log.level`: what is not worth less than this is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// Something is not as it should be.
    Warn,
    /// A line for each thing that happened.
    Info,
    /// For those who look for a mistake.
    Debug,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line, for collectors.
    Json,
}

/// A whole number with its limits.
pub(super) struct Number<const MIN: u64, const MAX: u64>;

/// Up to a year, as more is a slip.
pub(super) type Minutes = Number<0, 525_600>;

/// Up to a petabyte.
pub(super) type Megabytes = Number<0, 1_000_000_000>;

impl<const MIN: u64, const MAX: u64> Kind<u64> for Number<MIN, MAX> {
    fn allowed() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn parse(text: &str) -> Result<u64, String> {
        let number = text.parse().ok();
        number
            .filter(|n| (MIN..=MAX).contains(n))
            .ok_or_else(String::new)
    }
    fn render(value: &u64) -> String {
        value.to_string()
    }
}

impl<const MIN: u64, const MAX: u64> Kind<usize> for Number<MIN, MAX> {
    fn allowed() -> String {
        <Self as Kind<u64>>::allowed()
    }
    fn parse(text: &str) -> Result<usize, String> {
        let number = <Self as Kind<u64>>::parse(text)?;
        usize::try_from(number).map_err(|_| "this machine cannot count so far".to_owned())
    }
    fn render(value: &usize) -> String {
        value.to_string()
    }
}

/// Refuses with nothing more to say than what is allowed.
fn require(fine: bool) -> Result<(), String> {
    if fine { Ok(()) } else { Err(String::new()) }
}

/// Kinds whose value is kept as the text that was given.
macro_rules! texts {
    ($( $(#[$doc:meta])* $kind:ident, $allowed:literal, $check:expr; )*) => {$(
        $(#[$doc])*
        pub(super) struct $kind;

        impl Kind<String> for $kind {
            fn allowed() -> String {
                $allowed.to_owned()
            }
            fn parse(text: &str) -> Result<String, String> {
                if text.chars().any(char::is_control) {
                    return Err("it has a control character".to_owned());
                }
                let check: fn(&str) -> Result<(), String> = $check;
                check(text)?;
                Ok(text.to_owned())
            }
            fn render(value: &String) -> String {
                quote(&masked(value))
            }
        }
    )*};
}

texts! {
    /// Any text.
    Line, "one line of text", |_| Ok(());
    /// A file or folder; empty when there is none.
    Path, "a path, or empty", |_| Ok(());
    /// Where to listen.
    Listen, "IP:PORT such as 127.0.0.1:2525 or [::1]:2525, or unix:PATH; several separated by commas; or empty", check_listen;
    /// A DNS name.
    Hostname, "a host name such as lists.example.org", |text| require(is_hostname(text));
    /// A DNS name, if there is one.
    MaybeHostname, "a domain such as lists.example.org, or empty", |text| require(text.is_empty() || is_hostname(text));
    /// IP addresses.
    Addresses, "IP addresses such as 192.0.2.10 or 2001:db8::10; several separated by commas; or empty", |text| {
        let wrong = super::addresses(text).find(|t| t.parse::<std::net::IpAddr>().is_err());
        wrong.map_or(Ok(()), |t| Err(format!("{t:?} is not an address")))
    };
    /// Mail servers in front.
    Peers, "IP addresses such as 127.0.0.1, and unix; several separated by commas; or empty", |text| {
        let wrong = super::addresses(text).find(|t| *t != "unix" && t.parse::<std::net::IpAddr>().is_err());
        wrong.map_or(Ok(()), |t| Err(format!("{t:?} is not an address")))
    };
    /// The next hop.
    HostPort, "HOST:PORT such as 127.0.0.1:25 or [::1]:25, or empty", check_host_port;
    /// Somebody's address.
    MaybeAddress, "an e-mail address such as ana@example.org, or empty", |text| {
        require(text.is_empty() || text.parse::<crate::types::Address>().is_ok())
    };
    /// The root of all links.
    BaseUrl, "a URL such as https://lists.example.org without a slash at its end, or empty", check_base_url;
    /// Who signs Authentication-Results.
    AuthservId, "a name such as mx.example.org, or empty", |text| {
        require(text.bytes().all(|b| b.is_ascii_graphic() && !b";()\"=,".contains(&b)))
    };
    /// The name of a header field.
    FieldName, "the name of a header field such as X-Spam, or empty", |text| {
        require(text.len() <= 76 && text.bytes().all(|b| b.is_ascii_graphic() && b != b':'))
    };
    /// The last part of Feedback-ID.
    SenderId, "5 to 15 letters and digits, or empty", |text| {
        let fits = (5..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        require(text.is_empty() || fits)
    };
    /// DNS servers.
    Servers, "IP or IP:PORT such as 127.0.0.1 or [::1]:5353; several separated by commas; or empty", check_servers;
    /// The database, if it is not SQLite.
    DatabaseUrl, "empty for SQLite, or a URL such as postgres://user:password@host/name", |text| {
        let known = text.starts_with("postgres://") || text.starts_with("postgresql://");
        require(text.is_empty() || known)
    };
}

/// Text that is never shown.
pub(super) struct Secret;

impl Kind<String> for Secret {
    fn allowed() -> String {
        "one line of text".to_owned()
    }
    fn parse(text: &str) -> Result<String, String> {
        match text.chars().any(char::is_control) {
            true => Err("it has a control character".to_owned()),
            false => Ok(text.to_owned()),
        }
    }
    fn render(value: &String) -> String {
        quote(if value.is_empty() { "" } else { "***" })
    }
}

fn check_listen(text: &str) -> Result<(), String> {
    for address in super::addresses(text) {
        let fine = match address.strip_prefix("unix:") {
            Some(path) => !path.is_empty(),
            None => address.parse::<std::net::SocketAddr>().is_ok(),
        };
        if !fine {
            return Err(format!("{address:?} is not an address"));
        }
    }
    Ok(())
}

fn check_servers(text: &str) -> Result<(), String> {
    let plain = |t: &str| t.parse::<std::net::IpAddr>().is_ok();
    let wrong =
        super::addresses(text).find(|t| !plain(t) && t.parse::<std::net::SocketAddr>().is_err());
    wrong.map_or(Ok(()), |t| Err(format!("{t:?} is not an address")))
}

/// RFC 1123 section 2.1: labels of letters, digits and inner hyphens; 253 characters in all.
pub fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn check_host_port(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err("the port is a number from 1 to 65535".to_owned());
    }
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let fine = match literal {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_hostname(host),
    };
    fine.then_some(())
        .ok_or_else(|| format!("{host:?} is not a host"))
}

fn check_base_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or("it begins with https:// or http://")?;
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#@\"<>\\".contains(&b);
    let fine = !rest.is_empty() && !rest.starts_with('/') && !rest.ends_with('/');
    require(fine && rest.bytes().all(plain))
}

/// A URL with `***` in the place of a password; other text as it is.
pub(super) fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // The last @ before the path ends the credentials: a password may hold an unescaped @.
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let credentials = authority
        .rsplit_once('@')
        .map(|(credentials, _)| credentials);
    match credentials.and_then(|c| c.split_once(':').map(|(user, _)| (c, user))) {
        Some((all, user)) => format!("{scheme}://{user}:***{}", &rest[all.len()..]),
        None => text.to_owned(),
    }
}

/// Kinds with a few words to choose from.
macro_rules! choices {
    ($( $type:ident { $( $variant:ident = $word:literal ),* } )*) => {$(
        impl Kind<$type> for $type {
            fn allowed() -> String {
                [$( concat!("\"", $word, "\"") ),*].join(" or ")
            }
            fn parse(text: &str) -> Result<$type, String> {
                match text {
                    $( $word => Ok($type::$variant), )*
                    _ => Err(String::new()),
                }
            }
            fn render(value: &$type) -> String {
                quote(match value { $( $type::$variant => $word, )* })
            }
        }
    )*};
}

choices! {
    BareNewline { Reject = "reject", Normalise = "normalise" }
    Transport { Directory = "directory", Smtp = "smtp" }
    RelayTls { None = "none", Starttls = "starttls", Tls = "tls" }
    LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug" }
    Moderation { None = "none", Strangers = "strangers", All = "all" }
    LogFormat { Text = "text", Json = "json" }
}

/// A TOML basic string (TOML 1.0, "String").
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
