//! `patchpost print …`: the configuration of other programs that fits this site's.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::args::Print;
use super::output::print;
use crate::config::{Config, addresses};
use crate::doctor;
use crate::doctor::records::{Site, Weight};
use crate::store::{ListRow, Location, Store};

/// The unit as it is installed for the usual folder.
const UNIT: &str = include_str!("../../deploy/patchpost.service");
const USUAL_FOLDER: &str = "/var/lib/patchpost";

/// `patchpost print`
pub async fn run(data: &Path, given: Option<&Path>, config: &Config, wish: &Print) -> Result<()> {
    let text = match wish {
        Print::Systemd => unit(data, given),
        Print::Nginx => nginx(config)?,
        Print::Caddy => caddy(config)?,
        Print::Dns | Print::Postfix => {
            let (site, lists) = load_site(data, config).await?;
            match wish {
                Print::Dns => zone(&site),
                _ => postfix(config, &site.domains)? + &tls_only(&lists),
            }
        }
    };
    print(&text)
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

/// The records as a zone file that explains itself; no line but records and comments.
pub fn zone(site: &Site) -> String {
    let host = &site.hostname;
    let mut text = format!(
        "; The DNS records of {host}. Most providers' forms ask for name, type and value apart.\n"
    );
    if site.addresses.is_empty() {
        text.push_str(&format!(
            "; site.addresses is empty: {host} needs an A record with this machine's public address, and that address a PTR record.\n"
        ));
    }
    for record in site.of_machine() {
        if record.kind == crate::dns::RecordKind::Ptr {
            text.push_str(
                "; Set by whoever gave you the address, often on a page called reverse DNS:\n",
            );
        }
        text.push_str(&format!("{record}\n"));
    }
    for domain in &site.domains {
        text.push_str(&format!(
            "; {domain}: where its mail goes, who may send for it, and what receivers shall do with other mail.\n"
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

/// Lines for `main.cf`.
fn postfix(config: &Config, domains: &[String]) -> Result<String> {
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
    let list = domains.join(", ");
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
    let mut text = format!(
        "# patchpost's lists behind Postfix, made by `patchpost print postfix`. For the end of main.cf.\n\
         # Mail for these domains goes to patchpost, and nowhere else.\n\
         virtual_mailbox_domains = {list}\n\
         # None of them may stand in mydestination, where Debian puts the machine's own name: Postfix would look for users of this machine\n\
         # in the place of lists, and refuse all mail.\n\
         mydestination = {own}\n\
         virtual_transport = {lmtp}\n\
         lmtp_destination_recipient_limit = 50\n\
         # Who brought a mail is told to patchpost, which believes it of the servers in auth.xforward_from: SPF needs it.\n\
         lmtp_send_xforward_command = yes\n\
         # Not above smtp.max_size: what is too large is refused while its sender waits.\n\
         message_size_limit = {size}\n\
         # Ask whether a list is there before its mail is taken: nobody gets a bounce for a sender that was forged.\n\
         # This takes the place of restrictions of recipients that stand further up in main.cf: if there are any, put them on this line, behind it.\n\
         smtpd_recipient_restrictions = check_recipient_access inline:{{{checked}}}\n\
         unverified_recipient_reject_code = 550\n\
         # What is known of an address is asked again soon: lists come and go.\n\
         address_verify_positive_refresh_time = 1h\n\
         address_verify_negative_refresh_time = 1m\n\
         address_verify_negative_expire_time = 1h\n\
         # Patches have long lines and any octets: nothing is folded or encoded anew, in and out.\n\
         lmtp_line_length_limit = 0\n\
         smtp_line_length_limit = 0\n\
         disable_mime_output_conversion = yes\n\
         # Copies that come back from patchpost are not completed: authors signed their fields as they are.\n\
         local_header_rewrite_clients =\n"
    );
    let told = !config.auth.xforward_from.is_empty();
    if config.auth.trusted_authserv_id.is_empty() && !told {
        text.push_str(
            "# patchpost looks at DKIM itself, on the bytes as they came. SPF needs the client's address, which only Postfix sees: set\n\
             # auth.xforward_from to the address that Postfix comes from, such as \"127.0.0.1\", so that its word is taken.\n",
        );
    }
    if !config.auth.trusted_authserv_id.is_empty() {
        let id = &config.auth.trusted_authserv_id;
        text.push_str(&format!(
            "# A milter must put Authentication-Results of {id} (auth.trusted_authserv_id) on top of every mail, and take away\n\
             # such fields that came with it. With rspamd:\n\
             #   smtpd_milters = inet:127.0.0.1:11332\n"
        ));
    }
    Ok(text)
}

/// Further lines, if there are lists whose copies go over TLS only: Postfix is to know them by their return paths.
fn tls_only(lists: &[ListRow]) -> String {
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
        return String::new();
    }
    let names: Vec<&str> = closed.iter().map(|l| l.name.as_str()).collect();
    let rules: Vec<String> = closed.into_iter().filter_map(rule).collect();
    format!(
        "# What leaves for members of {} goes over TLS or waits: make the service for it once, as root:\n\
         #   postconf -M 'encrypted/unix=encrypted unix - - n - - smtp -o smtp_tls_security_level=encrypt'\n\
         sender_dependent_default_transport_maps = regexp:{{{}}}\n",
        names.join(", "),
        rules.join(", ")
    )
}

/// Where the pages are: the host that readers type, and the listener behind it.
fn pages(config: &Config) -> Result<(&str, &str)> {
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

fn nginx(config: &Config) -> Result<String> {
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

fn caddy(config: &Config) -> Result<String> {
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

/// The unit, with this site's folder and file of settings in the place of the usual ones.
fn unit(data: &Path, given: Option<&Path>) -> String {
    let folder = data.display().to_string();
    let usual = format!("serve --data {USUAL_FOLDER}");
    let mut serve = format!("serve --data {folder}");
    if let Some(file) = given {
        serve.push_str(&format!(" --config {}", file.display()));
    }
    let mut text = UNIT.replace(&usual, &serve);
    // systemd makes the usual folder itself; another must be opened for writing.
    if folder != USUAL_FOLDER {
        text = text.replace(
            "StateDirectory=patchpost\nStateDirectoryMode=0750\n",
            &format!("ReadWritePaths={folder}\n"),
        );
    }
    text
}
