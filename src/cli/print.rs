//! `patchpost print …`: the configuration of other programs that fits this site's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::args::Print;
use super::output::{print, print_json};
use super::pasteable;
use crate::config::{Config, addresses};
use crate::dns::RecordKind;
use crate::doctor;
use crate::doctor::records::{Record, Site, Weight};
use crate::store::{ListRow, Location, Store};

/// The unit as it is installed for the usual program and folder.
const UNIT: &str = include_str!("../../deploy/patchpost.service");
const USUAL_PROGRAM: &str = "/usr/bin/patchpost";
const USUAL_FOLDER: &str = "/var/lib/patchpost";

/// `patchpost print`
pub async fn run(data: &Path, given: Option<&Path>, config: &Config, wish: &Print) -> Result<()> {
    let text = match wish {
        Print::Systemd => unit(&program(), data, given),
        Print::Nginx | Print::Caddy => {
            ensure!(is_there(data, given, config), "{}", no_site(data));
            match wish {
                Print::Nginx => nginx(config)?,
                _ => caddy(config)?,
            }
        }
        Print::Dns(_) | Print::Postfix | Print::Setup => {
            let settled = is_there(data, given, config) && config.site.hostname != "localhost";
            ensure!(settled, "{}", no_site(data));
            let (site, lists) = load_site(data, config).await?;
            match wish {
                Print::Dns(json) if json.json => return print_json(&parts(&site)),
                Print::Dns(_) => zone(&site),
                Print::Setup => super::setup::script(data, given, config, &site.domains, &lists)?,
                _ => main_cf(config, &site.domains, &lists)?,
            }
        }
    };
    print(&text)
}

/// Whether somebody set a site up: after a slip in the folder's name no program is to be told of one.
fn is_there(data: &Path, given: Option<&Path>, config: &Config) -> bool {
    let elsewhere = super::location(config) != Location::File;
    super::settings_file(data, given).exists() || Store::is_file_in(data) || elsewhere
}

fn no_site(data: &Path) -> String {
    format!(
        "there is no site with a name of its own in {}; name the folder of one with --data or PATCHPOST_DATA, \
         or set it up with `patchpost init`",
        data.display()
    )
}

/// The site with the domains of its lists, if it has any yet.
async fn load_site(data: &Path, config: &Config) -> Result<(Site, Vec<ListRow>)> {
    let location = super::location(config);
    let mut lists = Vec::new();
    if location != Location::File || Store::is_file_in(data) {
        lists = Store::open(data, &location).await?.load_lists().await?;
    }
    let site = doctor::site(data, config, &lists).context("cannot read the keys that sign")?;
    Ok((site, lists))
}

/// A record in the parts that scripts and forms of DNS providers ask for.
#[derive(serde::Serialize)]
struct Part {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    value: String,
    zone: String,
    needed: bool,
}

fn parts(site: &Site) -> Vec<Part> {
    let part = |needed: bool| {
        move |record: Record| Part {
            zone: record.to_string(),
            kind: record.kind.to_string(),
            name: record.name,
            value: record.value,
            needed,
        }
    };
    let spare = site.domains.iter().flat_map(|domain| {
        let keys = site.keys_of(domain, Weight::Spare);
        std::iter::once(doctor::records::tls_reports(domain)).chain(keys)
    });
    let needed = doctor::wanted(site).into_iter().map(part(true));
    needed.chain(spare.map(part(false))).collect()
}

/// The records as a zone file that explains itself; no line but records and comments.
pub fn zone(site: &Site) -> String {
    let host = &site.hostname;
    let mut text = pasteable(&format!(
        "; The DNS records of {host}. Where your provider's form asks for name, type and value apart: `patchpost print dns --json`.\n"
    ));
    if site.addresses.is_empty() {
        text.push_str(&format!(
            "; site.addresses is empty: {host} needs an A record with this machine's public address, and that address a PTR record.\n"
        ));
    }
    for record in site.of_machine() {
        text.push_str(match record.kind {
            RecordKind::Ptr => {
                "; Set by whoever gave you the address, often on a page called reverse DNS:\n"
            }
            RecordKind::Txt => {
                "; Who may call himself so, for mail without a return path (RFC 7208 section 2.4); a name has one SPF record only:\n"
            }
            _ => "",
        });
        text.push_str(&format!("{record}\n"));
    }
    for domain in &site.domains {
        text.push_str(&format!(
            "; {domain}: where its mail goes, who may send for it (a name has one SPF record only), and what receivers shall do with other mail.\n"
        ));
        if let Some(relay) = site.provider() {
            text.push_str(&format!("; SPF: {}.\n", doctor::provider_mend(relay)));
        }
        for record in site.of_domain(domain) {
            text.push_str(&format!("{record}\n"));
        }
    }
    text.push_str(
        "; Not needed, but good to have: others then tell the postmaster when TLS fails.\n",
    );
    for domain in &site.domains {
        text.push_str(&format!("; {}\n", doctor::records::tls_reports(domain)));
    }
    if site.keys.iter().any(|key| key.weight == Weight::Spare) {
        text.push_str(
            "; Our mail has a second signature, by a shorter key, which few receivers read yet:\n",
        );
    }
    for domain in &site.domains {
        for record in site.keys_of(domain, Weight::Spare) {
            text.push_str(&format!("; {record}\n"));
        }
    }
    text
}

/// A setting of Postfix, with what is said of it.
pub(super) struct Setting {
    why: String,
    pub name: &'static str,
    pub value: String,
}

/// The names of the machine itself, of which none may be a domain of lists.
pub(super) const OWN_NAMES: &str = "mydestination";

/// Where mail of the virtual domains goes.
pub(super) const TRANSPORT: &str = "virtual_transport";

/// Restrictions of recipients that are Postfix's own come behind ours, which are this one.
pub(super) const RESTRICTIONS: &str = "smtpd_recipient_restrictions";

/// Lines for `main.cf`.
fn main_cf(config: &Config, domains: &[String], lists: &[ListRow]) -> Result<String> {
    let mut text = "# patchpost's lists behind Postfix, made by `patchpost print postfix`. For the end of main.cf.\n".to_owned();
    for setting in postfix(config, domains)? {
        for line in setting.why.lines() {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(format!("{} = {}", setting.name, setting.value).trim_end());
        text.push('\n');
    }
    let told = !config.auth.xforward_from.is_empty();
    let id = &config.auth.trusted_authserv_id;
    if id.is_empty() && !told {
        text.push_str(
            "# patchpost looks at DKIM itself, on the bytes as they came. SPF needs the client's address, which only Postfix sees: set\n\
             # auth.xforward_from to the address that Postfix comes from, such as \"127.0.0.1\", so that its word is taken.\n",
        );
    }
    if !id.is_empty() {
        text.push_str(&format!(
            "# A milter must put Authentication-Results of {id} (auth.trusted_authserv_id) on top of every mail, and take away\n\
             # such fields that came with it. With rspamd:\n\
             #   smtpd_milters = inet:127.0.0.1:11332\n"
        ));
    }
    if let Some(closed) = tls_only(lists) {
        text.push_str(&format!(
            "# What leaves for members of {} goes over TLS or waits: make the service for it once, as root:\n\
             #   {SERVICE}\n{} = {}\n",
            closed.why, closed.name, closed.value
        ));
    }
    Ok(text)
}

/// Makes Postfix's service that sends by TLS or not at all.
pub(super) const SERVICE: &str =
    "postconf -M 'encrypted/unix=encrypted unix - - n - - smtp -o smtp_tls_security_level=encrypt'";

/// All that Postfix has to be told for lists in these domains.
pub(super) fn postfix(config: &Config, domains: &[String]) -> Result<Vec<Setting>> {
    // Postfix's own programs run in a changed root on Debian, from where our socket is not seen: TCP comes first.
    let tcp = addresses(&config.lmtp.listen).find(|a| !a.starts_with("unix:"));
    let Some(lmtp) = tcp.or_else(|| addresses(&config.lmtp.listen).next()) else {
        bail!(
            "lmtp.listen is empty: set it, such as to 127.0.0.1:2424, so that Postfix can hand mail over"
        );
    };
    let lmtp = match lmtp.starts_with("unix:") {
        true => format!("lmtp:{lmtp}"),
        false => format!("lmtp:inet:{lmtp}"),
    };
    // Postfix counts its own trace field, which it adds, too.
    let size = config
        .smtp
        .max_size
        .saturating_sub(config.smtp.max_size / 40);
    let checked: Vec<String> = domains
        .iter()
        .map(|d| format!("{{{d} = reject_unverified_recipient}}"))
        .collect();
    let checked = checked.join(", ");
    let host = config.site.hostname.to_lowercase();
    let own = match domains.contains(&host) {
        true => "localhost".to_owned(),
        false => format!("{host}, localhost"),
    };
    let all: [(&str, &'static str, String); 16] = [
        (
            "Mail for these domains goes to patchpost, and nowhere else.",
            "virtual_mailbox_domains",
            domains.join(", "),
        ),
        (
            "None of them may stand in mydestination, where Debian puts the machine's own name: Postfix would look for users of this machine\n\
          in the place of lists, and refuse all mail.",
            OWN_NAMES,
            own,
        ),
        ("", TRANSPORT, lmtp),
        ("", "lmtp_destination_recipient_limit", "50".to_owned()),
        (
            "Who brought a mail is told to patchpost, which believes it of the servers in auth.xforward_from: SPF needs it.",
            "lmtp_send_xforward_command",
            "yes".to_owned(),
        ),
        (
            "Not above smtp.max_size: what is too large is refused while its sender waits.",
            "message_size_limit",
            size.to_string(),
        ),
        (
            "Ask whether a list is there before its mail is taken: nobody gets a bounce for a sender that was forged.\n\
          This takes the place of restrictions of recipients that stand further up in main.cf: if there are any, put them on this line, behind it.",
            RESTRICTIONS,
            format!("check_recipient_access inline:{{{checked}}}"),
        ),
        ("", "unverified_recipient_reject_code", "550".to_owned()),
        (
            "What is known of an address is asked again soon: lists come and go.",
            "address_verify_positive_refresh_time",
            "1h".to_owned(),
        ),
        (
            "That there is no answer, as while patchpost starts, or no such list, is asked again after seconds: what waited comes in at once.",
            "address_verify_negative_refresh_time",
            "10s".to_owned(),
        ),
        ("", "address_verify_negative_expire_time", "10s".to_owned()),
        (
            "Mail that waits for patchpost makes Postfix take it for dead, and ask it nothing for five minutes; not with this.",
            "lmtp_destination_concurrency_failed_cohort_limit",
            "0".to_owned(),
        ),
        (
            "Patches have long lines and any octets: nothing is folded or encoded anew, in and out.",
            "lmtp_line_length_limit",
            "0".to_owned(),
        ),
        ("", "smtp_line_length_limit", "0".to_owned()),
        ("", "disable_mime_output_conversion", "yes".to_owned()),
        (
            "Copies that come back from patchpost are not completed: authors signed their fields as they are.",
            "local_header_rewrite_clients",
            String::new(),
        ),
    ];
    let setting = |(why, name, value): (&str, &'static str, String)| Setting {
        why: why.to_owned(),
        name,
        value,
    };
    Ok(all.into_iter().map(setting).collect())
}

/// One setting more, if there are lists whose copies go over TLS only: Postfix is to know them by their return paths. It needs
/// [`SERVICE`], and is for the lists in `why`.
pub(super) fn tls_only(lists: &[ListRow]) -> Option<Setting> {
    let quoted = |text: &str| -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let one = |c: char| match plain(c) {
            true => c.to_string(),
            false => format!("[{c}]"),
        };
        text.chars().map(one).collect()
    };
    let rule = |list: &ListRow| {
        let (local, domain) = list.address.split_once('@')?;
        let (local, domain) = (quoted(local), quoted(domain));
        Some(format!("{{/^{local}([+].*)?@{domain}$$/ encrypted:}}"))
    };
    let closed: Vec<&ListRow> = lists.iter().filter(|l| l.policy.tls_only).collect();
    if closed.is_empty() {
        return None;
    }
    let names: Vec<&str> = closed.iter().map(|l| l.name.as_str()).collect();
    let rules: Vec<String> = closed.iter().filter_map(|l| rule(l)).collect();
    Some(Setting {
        why: names.join(", "),
        name: "sender_dependent_default_transport_maps",
        value: format!("regexp:{{{}}}", rules.join(", ")),
    })
}

/// Where the pages are: the host that readers type, and the listener behind it.
pub(super) fn pages(config: &Config) -> Result<(&str, &str)> {
    let url = &config.http.base_url;
    let Some(host) = url.strip_prefix("https://") else {
        bail!("http.base_url is {url:?}: set it to https:// and the name that readers type");
    };
    if host.contains(['/', ':']) {
        bail!("http.base_url is {url:?}: the pages are at the root of a host, on the usual port");
    }
    let mut listeners = addresses(&config.http.listen);
    let Some(listener) = listeners.next() else {
        bail!("http.listen is empty: set it, such as to 127.0.0.1:8080");
    };
    Ok((host, listener))
}

pub(super) fn nginx(config: &Config) -> Result<String> {
    let (host, listener) = pages(config)?;
    let upstream = match listener.strip_prefix("unix:") {
        Some(path) => format!("http://unix:{path}:"),
        None => format!("http://{listener}"),
    };
    Ok(format!(
        "# patchpost's pages behind nginx, made by `patchpost print nginx`.\n\
         # The certificate first: certbot certonly --nginx --domain {host}\n\
         server {{\n    \
             listen 80;\n    \
             listen [::]:80;\n    \
             server_name {host};\n    \
             location / {{ return 301 https://$host$request_uri; }}\n\
         }}\n\
         server {{\n    \
             listen 443 ssl;\n    \
             listen [::]:443 ssl;\n    \
             server_name {host};\n    \
             ssl_certificate /etc/letsencrypt/live/{host}/fullchain.pem;\n    \
             ssl_certificate_key /etc/letsencrypt/live/{host}/privkey.pem;\n\n    \
             # What a fetch asks may be large; patchpost itself sets the limit.\n    \
             client_max_body_size 64m;\n    \
             location / {{\n        \
                 proxy_pass {upstream};\n        \
                 proxy_http_version 1.1;\n        \
                 proxy_set_header Connection \"\";\n        \
                 proxy_set_header Host $host;\n        \
                 # Limits are counted by who asks.\n        \
                 proxy_set_header X-Forwarded-For $remote_addr;\n        \
                 # Clones are passed on as they come, in both directions, and may take their time.\n        \
                 proxy_buffering off;\n        \
                 proxy_request_buffering off;\n        \
                 proxy_read_timeout 600s;\n        \
                 proxy_send_timeout 600s;\n    \
             }}\n\
         }}\n"
    ))
}

pub(super) fn caddy(config: &Config) -> Result<String> {
    let (host, listener) = pages(config)?;
    let upstream = match listener.strip_prefix("unix:") {
        Some(path) => format!("unix/{path}"),
        None => listener.to_owned(),
    };
    Ok(format!(
        "# patchpost's pages behind Caddy, made by `patchpost print caddy`. Caddy gets the certificate by itself.\n\
         {host} {{\n\
         \treverse_proxy {upstream} {{\n\
         \t\t# Clones are passed on as they come.\n\
         \t\tflush_interval -1\n\
         \t}}\n\
         }}\n"
    ))
}

/// The program that runs, by the name under which it is installed.
pub(super) fn program() -> PathBuf {
    let usual = PathBuf::from(USUAL_PROGRAM);
    let Ok(running) = std::env::current_exe() else {
        return usual;
    };
    let installed = usual.canonicalize().is_ok_and(|path| path == running);
    match installed {
        true => usual,
        false => running,
    }
}

/// The unit, with this site's program, folder and file of settings in the place of the usual ones.
pub(super) fn unit(program: &Path, data: &Path, given: Option<&Path>) -> String {
    let (notes, rest) = UNIT.split_once("\n[Unit]").unwrap_or(("", UNIT));
    let shell = super::hint::shell_word;
    let notes = notes.replace(USUAL_FOLDER, &shell(data));
    let notes = notes.replace(USUAL_PROGRAM, &shell(program));
    let mut serve = format!("serve --data {}", argument(data));
    if let Some(file) = given {
        serve.push_str(&format!(" --config {}", argument(file)));
    }
    let mut text = rest.replace(&format!("serve --data {USUAL_FOLDER}"), &serve);
    // systemd makes the usual folder itself; another must be opened for writing.
    if data != Path::new(USUAL_FOLDER) {
        text = text.replace(
            "StateDirectory=patchpost\nStateDirectoryMode=0750\n",
            &format!("ReadWritePaths={}\n", word(data)),
        );
    }
    // The group is then that user's own.
    if let Some(user) = super::owner::user(data).filter(|user| user != "patchpost") {
        text = text.replace(
            "User=patchpost\nGroup=patchpost\n",
            &format!("User={user}\n"),
        );
    }
    text = text.replace(
        &format!("ExecStart={USUAL_PROGRAM} "),
        &format!("ExecStart={} ", word(program)),
    );
    let used = [Some(program), Some(data), given];
    let homes = ["/home", "/root", "/run/user"];
    let is_home = |path: &Path| homes.iter().any(|home| path.starts_with(home));
    if used.into_iter().flatten().any(is_home) {
        text = text.replace("ProtectHome=yes", "ProtectHome=read-only");
    }
    format!("{notes}\n[Unit]{text}")
}

/// Whether the unit that the package installs fits.
pub(super) fn is_usual(program: &Path, data: &Path, given: Option<&Path>) -> bool {
    program == Path::new(USUAL_PROGRAM) && data == Path::new(USUAL_FOLDER) && given.is_none()
}

/// A path as a word of a unit: `%` begins a specifier there, blanks part words, and quotes and backslashes are quoted by a backslash.
fn word(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    match text.contains([' ', '\t', '\'', '"', '\\']) {
        true => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        false => text,
    }
}

/// A path as an argument in a unit, where `$` begins the name of a variable.
fn argument(path: &Path) -> String {
    word(path).replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_what_runs_and_where() {
        let at = |program: &str, data: &str, given: Option<&str>| {
            let line = unit(Path::new(program), Path::new(data), given.map(Path::new));
            let lines = line.lines().map(str::to_owned);
            let wanted = |l: &String| {
                let starts = [
                    "ExecStart=",
                    "StateDirectory=",
                    "ReadWritePaths=",
                    "ProtectHome=",
                ];
                starts.iter().any(|s| l.starts_with(s))
            };
            lines.filter(wanted).collect::<Vec<_>>()
        };
        assert_eq!(
            unit(Path::new(USUAL_PROGRAM), Path::new(USUAL_FOLDER), None),
            UNIT
        );
        assert_eq!(
            at(
                "/usr/local/bin/patchpost",
                USUAL_FOLDER,
                Some("/etc/patchpost.toml")
            ),
            [
                "ExecStart=/usr/local/bin/patchpost serve --data /var/lib/patchpost --config /etc/patchpost.toml",
                "StateDirectory=patchpost",
                "ProtectHome=yes",
            ]
        );
        assert_eq!(
            at("/home/ana/patchpost", "/srv/my lists", None),
            [
                "ExecStart=/home/ana/patchpost serve --data \"/srv/my lists\"",
                "ReadWritePaths=\"/srv/my lists\"",
                "ProtectHome=read-only",
            ]
        );
        assert_eq!(
            at("/opt/$p/patchpost", r#"/srv/a"b\c$d%e"#, None),
            [
                r#"ExecStart=/opt/$p/patchpost serve --data "/srv/a\"b\\c$$d%%e""#,
                r#"ReadWritePaths="/srv/a\"b\\c$d%%e""#,
                "ProtectHome=yes",
            ]
        );
    }
}
