//! `patchpost print setup`: a shell script that does as root what is left to do on this machine.
//!
//! It may be given again: settings of Postfix are set and not added, and files that are there stay. The settings and lists that it is made of
//! are written by the user that runs the server, who must not tell root what to do by them.

use std::path::Path;

use anyhow::{Result, ensure};

use super::hint::quoted;
use super::print;
use crate::config::{Config, addresses, is_hostname};
use crate::store::ListRow;

const HEAD: &str = r#"set -eu
say() { echo "setup: $*"; }
stop() { say "$*" >&2; exit 1; }
here() { command -v "$1" >/dev/null; }
small() { printf '%s' "$1" | tr '[:upper:]' '[:lower:]'; }
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
    check_words(config, domains)?;
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
            "done; look whether all is well: {}patchpost doctor {options}",
            super::owner::prefix_for_root(data)
        ))
    ));
    Ok(text)
}

/// Refuses names and paths in which a shell or another program's configuration could read more than a name.
fn check_words(config: &Config, domains: &[String]) -> Result<()> {
    let host = print::pages(config).ok().map(|(host, _)| host);
    let own = [&*config.site.hostname].into_iter().chain(host);
    for name in own.chain(domains.iter().map(String::as_str)) {
        ensure!(
            is_hostname(name),
            "{name:?} is no host name: nothing is made of it for root"
        );
    }
    let listens = [&config.lmtp.listen, &config.http.listen];
    for address in listens.into_iter().flat_map(|list| addresses(list)) {
        let path = address.strip_prefix("unix:").unwrap_or_default();
        let fine = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
        ensure!(
            path.chars().all(fine),
            "{address:?}: a socket's path for root's programs is of letters, digits and . _ / - only"
        );
    }
    Ok(())
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
    let mut text = format!(
        "\nsay {}\n",
        quoted(&format!(
            "Postfix takes the mail for {} and hands it to patchpost",
            domains.join(", ")
        ))
    );
    text.push_str(
        "here postconf || stop 'there is no Postfix here; apt-get install postfix, then give this again'\n",
    );
    let all = print::postfix(config, domains)?;
    let transport = all.iter().find(|s| s.name == print::TRANSPORT);
    let transport = transport.map_or("", |s| &s.value);
    text.push_str(&kept(&quoted(&domains.join(" ")), &quoted(transport)));
    text.push_str("postconf -e");
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

/// What has to stay as it is: other domains stop the script, other names and restrictions come behind ours. A domain that is checked
/// by [`print::RESTRICTIONS`] was set by an earlier run.
fn kept(domains: &str, transport: &str) -> String {
    let restrictions = print::RESTRICTIONS;
    format!(
        r#"domains={domains}
ours() {{ case " $domains " in *" $(small "$1") "*) ;; *) return 1 ;; esac; }}
restrictions=$(postconf -h {restrictions})
set -f
for name in $(postconf -xh virtual_mailbox_domains | tr , ' '); do
    case $restrictions in *"{{$name = reject_unverified_recipient}}"*) continue ;; esac
    ours "$name" || stop "Postfix takes mail for $name (virtual_mailbox_domains), which would be lost; nothing was changed. Take it out if nothing needs it, then give this again; else set Postfix up by hand: the domains of lists beside yours, with transport_maps to patchpost for them, and the rest as 'patchpost print postfix' shows it"
done
transport=$(postconf -xh virtual_transport)
case $transport in
virtual | {transport}) ;;
*) case $restrictions in *' = reject_unverified_recipient}}'*) ;; *) stop "Postfix hands mail of virtual domains to $transport; nothing was changed. If nothing needs that: postconf -e virtual_transport=virtual, then give this again" ;; esac ;;
esac
# Other names of this machine stay, and other restrictions of recipients, behind ours.
own=
for name in $(postconf -xh mydestination | tr , ' '); do
    ours "$name" || own="$own${{own:+, }}$name"
done
set +f
theirs=$(printf '%s
' "$restrictions" | sed 's/check_recipient_access inline:{{\({{[^{{}}]* = reject_unverified_recipient}}[, ]*\)*}}[, ]*//')
main=$(postconf -h config_directory)/main.cf
[ -e "$main.before-patchpost" ] || cp -p "$main" "$main.before-patchpost"
"#
    )
}

/// The unit, unless there is one that will do, and the server.
fn server(data: &Path, given: Option<&Path>) -> String {
    let program = print::program();
    let unit = print::unit(&program, data, given);
    let other = match print::is_usual(&program, data, given) {
        // The package's is the same.
        true => "elif systemctl cat patchpost >/dev/null 2>&1; then :
",
        false => {
            "elif systemctl is-enabled --quiet patchpost 2>/dev/null; then
                 stop 'patchpost.service runs another folder or program, as systemctl cat patchpost shows; if nothing needs that: systemctl disable --now patchpost, then give this again'
"
        }
    };
    format!(
        "\nsay 'the server starts, now and with the machine'\n\
         wanted() {{ cat <<'END'\n{unit}END\n}}\n\
         unit=/etc/systemd/system/patchpost.service\n\
         if [ -e \"$unit\" ]; then\n    \
             [ \"$(cat \"$unit\")\" = \"$(wanted)\" ] || stop \"$unit is there and is not what would be written, which 'patchpost print systemd' shows; take it away, or go on by hand\"\n\
         {other}\
         else\n    wanted >\"$unit\"\nfi\n\
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
    // A host name has nothing else that is special in a pattern.
    let pattern = host.replace('.', "\\.");
    Ok(format!(
        "\nif here nginx; then\n\
         say 'nginx shows the pages at https://{host}/'\n\
         site=/etc/nginx/sites-enabled/patchpost\n\
         [ -d /etc/nginx/sites-enabled ] || site=/etc/nginx/conf.d/patchpost.conf\n\
         if [ -e \"$site\" ]; then\n    \
             grep -Eqi 'server_name[^;]*[[:blank:]]{pattern}[[:blank:];]' \"$site\" || stop \"$site is there and has no server_name {host};\"\n\
         fi\n\
         if ! [ -e /etc/letsencrypt/live/{host}/fullchain.pem ]; then\n\
         here certbot || stop 'there is no certbot here; apt-get install python3-certbot-nginx, then give this again'\n\
         certbot plugins 2>/dev/null | grep -q nginx || stop 'certbot has no plugin for nginx here; apt-get install python3-certbot-nginx, then give this again'\n\
         certbot certonly --nginx --domain {host} || stop 'there is no certificate, as certbot says; the address of {host} has to be in DNS first; then give this again'\n\
         fi\n\
         if ! [ -e \"$site\" ]; then\n\
         cat >\"$site\" <<'END'\n{nginx}END\n\
         nginx -t || {{ rm \"$site\"; stop \"nginx does not take $site, as it says, so that it is taken away again; mend what it names, then give this again\"; }}\n\
         else\n\
         nginx -t || stop 'nginx does not take its files, as it says; mend what it names, then give this again'\n\
         fi\n\
         systemctl reload-or-restart nginx\n\
         elif here caddy; then\n\
         say 'Caddy shows the pages at https://{host}/'\n\
         file=/etc/caddy/Caddyfile\n\
         if ! grep -qsi '^{pattern} {{' \"$file\"; then\n\
         # The last line may have no end.\n\
         [ ! -s \"$file\" ] || [ -z \"$(tail -c 1 \"$file\")\" ] || echo >>\"$file\"\n\
         cat >>\"$file\" <<'END'\n{caddy}END\n\
         fi\n\
         systemctl reload-or-restart caddy\n\
         elif here apache2 || here httpd; then\n\
         say 'Apache is here, and is not set up by this: let it pass https://{host}/ on by hand; patchpost print nginx shows what is needed'\n\
         else\n\
         stop 'there is no web server here; apt-get install nginx python3-certbot-nginx, then give this again'\n\
         fi\n"
    ))
}
