//! The configuration: one TOML file, then the environment, checked; errors name key, line and allowed values.
//!
//! Pure: texts come in, values go out. Every key has a default, so that no file at all is a working set-up on loopback.

mod keys;
mod kind;

#[cfg(test)]
mod tests;

use std::fmt;

use toml::de::{DeTable, DeValue};

pub use keys::{
    Auth, Config, Database, Delivery, Dns, Http, Limits, Lists, Lmtp, Log, Ops, Repos, Site, Smtp,
    SpamFilter,
};
pub use kind::{BareNewline, LogFormat, LogLevel, RelayTls, Transport, is_hostname};

use keys::{KEYS, Key, SECTIONS};

/// What is wrong with the settings: all of it, so that it is mended in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the file, then of the environment.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `FILE line N`, `environment NAME`, or a key.
    pub place: String,
    /// What is wrong there and what is allowed, in a line.
    pub text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let apart = if n == 0 { "" } else { "\n" };
            write!(f, "{apart}{}: {}", problem.place, problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Environment names with the prefix that are no settings.
const OTHER_NAMES: [&str; 4] = [
    "PATCHPOST_DATA",
    "PATCHPOST_CONFIG",
    "PATCHPOST_CORPUS",
    // Where `make test` keeps the clients that tests use.
    "PATCHPOST_TOOLS",
];
const OTHER_PREFIXES: [&str; 2] = ["PATCHPOST_TEST_", "PATCHPOST_BENCH_"];

/// Reads the file's text (named in errors), then the environment's `PATCHPOST_<SECTION>_<KEY>`, and checks the whole.
pub fn parse(
    name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let (config, problems) = parse_all(name, text, environment);
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError { problems })
    }
}

/// The same for who shows settings that may be wrong: what is has its default, and is told of.
pub fn parse_all(
    name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> (Config, Vec<Problem>) {
    let mut config = Config::default();
    let mut problems = read_file(&mut config, name, text);
    let mut environment: Vec<_> = environment.into_iter().collect();
    environment.sort();
    for (name, value) in environment {
        problems.extend(read_variable(&mut config, &name, &value));
    }
    if problems.is_empty() {
        problems = check_together(&config);
    }
    (config, problems)
}

/// The effective configuration as a file in which every key is explained, for `patchpost config`.
pub fn render(config: &Config) -> String {
    let mut text = String::from(
        "# The settings of patchpost as they are in force. A key that a file leaves out has its default.\n\
         # PATCHPOST_<SECTION>_<KEY> in the environment wins over the file, such as PATCHPOST_SMTP_LISTEN.\n",
    );
    push_keys(&mut text, config, |_| true);
    text
}

/// The settings that are not the defaults, and those of `also` (`section.key`), as a file in which each is explained.
pub fn render_changed(config: &Config, also: &[&str]) -> String {
    let mut text = String::new();
    let default = Config::default();
    push_keys(&mut text, config, |key| {
        let name = format!("{}.{}", key.section, key.name);
        also.contains(&name.as_str()) || (key.render)(config) != (key.render)(&default)
    });
    text
}

/// Sections with those keys that are wanted, each under the words that explain it.
fn push_keys(text: &mut String, config: &Config, wanted: impl Fn(&Key) -> bool) {
    for section in SECTIONS {
        let of_section = KEYS.iter().filter(|key| key.section == section.name);
        let mut keys = of_section.filter(|key| wanted(key)).peekable();
        if keys.peek().is_none() {
            continue;
        }
        text.push('\n');
        push_comment(text, section.doc);
        text.push_str(&format!("[{}]\n", section.name));
        for key in keys {
            push_comment(text, key.doc);
            text.push_str(&format!("{} = {}\n", key.name, (key.render)(config)));
        }
    }
}

impl Site {
    /// The domain of lists that are made without an address of their own.
    pub fn list_domain(&self) -> &str {
        match self.domain.as_str() {
            "" => &self.hostname,
            domain => domain,
        }
    }
}

/// The addresses of a `listen` value, and of others that are lists.
pub fn addresses(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|a| !a.is_empty())
}

fn push_comment(text: &mut String, doc: &[&str]) {
    for line in doc {
        text.push_str(&format!("#{line}\n"));
    }
}

fn read_file(config: &mut Config, name: &str, text: &str) -> Vec<Problem> {
    let mut problems = match DeTable::parse(text) {
        Ok(table) => read_sections(config, table.get_ref()),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            let message = error.message().replace('\n', ", ");
            vec![(start, format!("not TOML: {message}"))]
        }
    };
    // The parser hands keys out by name; people mend a file from its top.
    problems.sort();
    let place = |offset| format!("{name} line {}", line_of(text, offset));
    let problems = problems.into_iter();
    problems
        .map(|(offset, text)| Problem {
            place: place(offset),
            text,
        })
        .collect()
}

/// Sets what the sections say; returns what is wrong, each with its offset in the file.
fn read_sections(config: &mut Config, sections: &DeTable<'_>) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    for (section, value) in sections {
        let name = section.get_ref().as_ref();
        let problem = match value.get_ref() {
            _ if !SECTIONS.iter().any(|known| known.name == name) => {
                let known: Vec<&str> = SECTIONS.iter().map(|known| known.name).collect();
                format!("there is no section {name}; allowed: {}", known.join(", "))
            }
            DeValue::Table(keys) => {
                problems.extend(read_keys(config, name, keys));
                continue;
            }
            _ => format!("{name} is a section: write [{name}], and its keys below"),
        };
        problems.push((section.span().start, problem));
    }
    problems
}

fn read_keys(config: &mut Config, section: &str, keys: &DeTable<'_>) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    for (name, value) in keys {
        let key = KEYS
            .iter()
            .find(|key| key.section == section && key.name == name.get_ref());
        let set = match (key, text_of(value.get_ref())) {
            (None, _) => Err(unknown_key(section, name.get_ref())),
            (Some(key), Some(text)) => set(config, key, &text),
            (Some(key), None) => Err(format!(
                "{section}.{} cannot be a table, date or fraction; allowed: {}",
                key.name,
                (key.allowed)()
            )),
        };
        if let Err(problem) = set {
            problems.push((name.span().start, problem));
        }
    }
    problems
}

fn read_variable(config: &mut Config, name: &str, value: &str) -> Option<Problem> {
    let rest = name.strip_prefix("PATCHPOST_")?;
    if OTHER_NAMES.contains(&name) || OTHER_PREFIXES.iter().any(|p| name.starts_with(p)) {
        return None;
    }
    let named = |key: &&Key| format!("{}_{}", key.section, key.name).to_uppercase() == rest;
    let text = match KEYS.iter().find(named) {
        Some(key) => set(config, key, value).err()?,
        None => {
            let lower = rest.to_lowercase();
            let (section, key) = lower.split_once('_').unwrap_or((&lower, ""));
            if SECTIONS.iter().any(|known| known.name == section) {
                unknown_key(section, key)
            } else {
                format!("there is no section {section}; `patchpost config` shows all settings")
            }
        }
    };
    Some(Problem {
        place: format!("environment {name}"),
        text,
    })
}

fn set(config: &mut Config, key: &Key, text: &str) -> Result<(), String> {
    (key.set)(config, text).map_err(|why| {
        let why = if why.is_empty() {
            why
        } else {
            format!(": {why}")
        };
        let (section, name, allowed) = (key.section, key.name, (key.allowed)());
        let secret = key.name.ends_with("password");
        let shown = if secret {
            "***".to_owned()
        } else {
            kind::masked(text)
        };
        format!("{section}.{name} cannot be {shown:?}{why}; allowed: {allowed}")
    })
}

fn unknown_key(section: &str, name: &str) -> String {
    let known = KEYS.iter().filter(|key| key.section == section);
    let known: Vec<&str> = known.map(|key| key.name).collect();
    format!(
        "there is no key {section}.{name}; allowed: {}",
        known.join(", ")
    )
}

/// What no single key shows.
fn check_together(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |key: &str, text: &str| {
        problems.push(Problem {
            place: key.to_owned(),
            text: text.to_owned(),
        });
    };
    if config.delivery.transport == Transport::Smtp && config.delivery.relay.is_empty() {
        wrong(
            "delivery.relay",
            "delivery.transport = \"smtp\" needs it: the mail server, such as 127.0.0.1:25",
        );
    }
    let delivery = &config.delivery;
    let passwords = [&delivery.relay_password, &delivery.relay_password_file];
    let given = passwords.iter().filter(|text| !text.is_empty()).count();
    if given != usize::from(!delivery.relay_user.is_empty()) {
        wrong(
            "delivery.relay_user",
            "delivery.relay_user and one of delivery.relay_password and delivery.relay_password_file belong together",
        );
    }
    let here = ["127.", "[::1]:", "localhost:"];
    let here = here.iter().any(|start| delivery.relay.starts_with(start));
    if !delivery.relay_user.is_empty() && delivery.relay_tls == RelayTls::None && !here {
        wrong(
            "delivery.relay_tls",
            "a password is never told without TLS to another machine: set delivery.relay_tls to \"starttls\" or \"tls\"",
        );
    }
    if config.smtp.tls_cert.is_empty() != config.smtp.tls_key.is_empty() {
        wrong(
            "smtp.tls_cert",
            "smtp.tls_cert and smtp.tls_key belong together: set both or none",
        );
    }
    problems
}

/// The text form of a TOML value, as it would stand in an environment variable.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => items
            .iter()
            .map(|item| text_of(item.get_ref()))
            .collect::<Option<Vec<_>>>()
            .map(|parts| parts.join(",")),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

/// The line, counted from 1, that the byte at `offset` stands on.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}
