//! `patchpost print setup`: a shell script that does as root what is left to do on this machine.
//!
//! It may be given again: settings of Postfix are set and not added, and files that are there stay.

use std::path::Path;

use anyhow::Result;

use super::hint::quoted;
use super::print;
use crate::config::Config;
use crate::store::ListRow;

const HEAD: &str = r#"set -eu
say() { echo "setup: $*"; }
stop() { say "$*" >&2; exit 1; }
here() { command -v "$1" >/dev/null; }
[ "$(id -u)" = 0 ] || stop "this is for root"
"#;

/// The parts in an order in which mail comes in though the certificate has to wait for DNS.
pub fn script(
    data: &Path,
    given: Option<&Path>,
    config: &Config,
    domains: &[String],
    lists: &[ListRow],
) -> Result<String> {
    let host = &config.site.hostname;
    let mut text = format!(
        "# What is left to do as root on {host}, made by `patchpost print setup`. It stops at the first trouble, and may be given again.\n{HEAD}"
    );
    if is_behind_postfix(config) {
        text.push_str(&postfix(config, domains, lists)?);
    }
    text.push_str(&server(data, given));
    text.push_str(&web(config)?);
    let options = format!(
        "--data {}{}",
        super::hint::shell_word(data),
        given_option(given)
    );
    text.push_str(&format!(
        "say {}\n",
        quoted(&format!(
            "done; look whether all is well: runuser --user=patchpost -- patchpost doctor {options}"
        ))
    ));
    Ok(text)
}

/// Whether a mail server on this machine takes the world's mail and hands it over.
pub fn is_behind_postfix(config: &Config) -> bool {
    crate::doctor::public_listener(config).is_none() && !config.lmtp.listen.is_empty()
}

fn given_option(given: Option<&Path>) -> String {
    given.map_or_else(String::new, |file| {
        format!(" --config {}", super::hint::shell_word(file))
    })
}

fn postfix(config: &Config, domains: &[String], lists: &[ListRow]) -> Result<String> {
    let names = domains.join(", ");
    let mut text = format!(
        "\nsay 'Postfix takes the mail for {names} and hands it to patchpost'\n\
         here postconf || stop 'there is no Postfix here; apt-get install postfix, then give this again'\n\
         # Other names of this machine stay, and other restrictions of recipients, behind ours.\n\
         own=\n\
         set -f\n\
         for name in $(postconf -xh mydestination | tr , ' '); do\n\
         case ' {words} ' in *\" $name \"*) ;; *) own=\"$own${{own:+, }}$name\" ;; esac\n\
         done\n\
         set +f\n\
         theirs=$(postconf -h {restrictions} | sed 's/check_recipient_access inline:{{\\({{[^{{}}]* = reject_unverified_recipient}}[, ]*\\)*}}[, ]*//')\n\
         postconf -e",
        restrictions = print::RESTRICTIONS,
        words = domains.join(" "),
    );
    let all = print::postfix(config, domains)?;
    let closed = print::tls_only(lists);
    for setting in all.iter().chain(&closed) {
        let line = quoted(&format!("{} = {}", setting.name, setting.value));
        let line = match setting.name {
            print::OWN_NAMES => format!("\"{} = ${{own:-localhost}}\"", setting.name),
            print::RESTRICTIONS => format!("{line}\"${{theirs:+, $theirs}}\""),
            _ => line,
        };
        text.push_str(&format!(" \\\n    {line}"));
    }
    if closed.is_some() {
        text.push_str(&format!("\n{}", print::SERVICE));
    }
    text.push_str("\nif postfix status 2>/dev/null; then postfix reload; else postfix start; fi\n");
    Ok(text)
}

/// The unit, unless the package brought it, and the server.
fn server(data: &Path, given: Option<&Path>) -> String {
    let program = print::program();
    let unit = print::unit(&program, data, given);
    let there = match print::is_usual(&program, data, given) {
        true => "systemctl cat patchpost >/dev/null 2>&1 || ",
        false => "",
    };
    format!(
        "\nsay 'the server starts, now and with the machine'\n\
         {there}cat >/etc/systemd/system/patchpost.service <<'END'\n{unit}END\n\
         systemctl daemon-reload\nsystemctl enable --now patchpost\n"
    )
}

/// The web server that is there; the certificate for nginx is asked for on the terminal.
fn web(config: &Config) -> Result<String> {
    let Ok((host, _)) = print::pages(config) else {
        return Ok(
            "\n# The pages are not at the root of a host by TLS: no web server is set up.\n"
                .to_owned(),
        );
    };
    let (nginx, caddy) = (print::nginx(config)?, print::caddy(config)?);
    Ok(format!(
        "\nif here nginx; then\n\
         say 'nginx shows the pages at https://{host}/'\n\
         site=/etc/nginx/sites-enabled/patchpost\n\
         [ -d /etc/nginx/sites-enabled ] || site=/etc/nginx/conf.d/patchpost.conf\n\
         if ! [ -e /etc/letsencrypt/live/{host}/fullchain.pem ]; then\n\
         here certbot || stop 'there is no certbot here; apt-get install python3-certbot-nginx, then give this again'\n\
         certbot certonly --nginx --domain {host} || stop 'there is no certificate, as certbot says; the address of {host} has to be in DNS first; then give this again'\n\
         fi\n\
         [ -e \"$site\" ] || cat >\"$site\" <<'END'\n{nginx}END\n\
         nginx -t\n\
         nginx -s reload\n\
         elif here caddy; then\n\
         say 'Caddy shows the pages at https://{host}/'\n\
         grep -qs '^{host} {{' /etc/caddy/Caddyfile || cat >>/etc/caddy/Caddyfile <<'END'\n{caddy}END\n\
         systemctl reload caddy\n\
         else\n\
         stop 'there is no web server here; apt-get install nginx python3-certbot-nginx, then give this again'\n\
         fi\n"
    ))
}
