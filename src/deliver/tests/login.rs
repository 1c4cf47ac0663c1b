//! A relay that wants TLS and a login, as a smarthost on the internet does.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{Delivery, RelayTls};
use crate::deliver::client::{Answer, Trouble};
use crate::deliver::relay::{Security, Wire, trust};

/// A server for `localhost` with a certificate of its own authority, and the file that makes it trusted.
struct Smarthost {
    address: SocketAddr,
    ca: std::path::PathBuf,
    commands: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

async fn start(implicit: bool, offers: &'static str, password: &'static str) -> Smarthost {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, key) = (folder.path().join("ca.pem"), folder.path().join("key.pem"));
    std::fs::write(&ca, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let acceptor = crate::net::Tls::open(&ca, &key).expect("TLS").acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = Smarthost {
        address: listener.local_addr().expect("an address"),
        ca,
        commands: Arc::default(),
        _folder: folder,
    };
    let commands = Arc::clone(&host.commands);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, commands) = (acceptor.clone(), Arc::clone(&commands));
            tokio::spawn(async move {
                // A client that does not like the certificate hangs up.
                if implicit {
                    let stream = acceptor.accept(stream).await.ok()?;
                    return serve(Box::new(stream), None, true, offers, password, &commands).await;
                }
                serve(
                    Box::new(stream),
                    Some(acceptor),
                    true,
                    offers,
                    password,
                    &commands,
                )
                .await
            });
        }
    });
    host
}

/// Serves one connection; with an acceptor, what comes before TLS is answered in clear.
async fn serve(
    stream: Box<dyn Wire>,
    acceptor: Option<TlsAcceptor>,
    greet: bool,
    offers: &'static str,
    password: &'static str,
    commands: &Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    if greet {
        stream.write_all(b"220 smarthost\r\n").await.ok()?;
        stream.flush().await.ok()?;
    }
    let mut in_mail = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if in_mail {
            if line != "." {
                continue;
            }
            in_mail = false;
        } else {
            lock(commands).push(line.to_owned());
        }
        let answer = match line.split(' ').next().unwrap_or_default() {
            "EHLO" if acceptor.is_some() => "250-x\r\n250 STARTTLS".to_owned(),
            "EHLO" => format!("250-x\r\n{offers}"),
            "STARTTLS" => "220 go".to_owned(),
            "AUTH" if line == "AUTH LOGIN" => "334 VXNlcm5hbWU6".to_owned(),
            "YW5h" => "334 UGFzc3dvcmQ6".to_owned(),
            "DATA" => {
                in_mail = true;
                "354 go".to_owned()
            }
            // "\0ana\0PASSWORD" or PASSWORD alone
            _ if line.starts_with("AUTH PLAIN") || !line.contains([' ', '.']) && line != "RSET" => {
                let plain = data_encoding::BASE64.encode(format!("\0ana\0{password}").as_bytes());
                let alone = data_encoding::BASE64.encode(password.as_bytes());
                match line.strip_prefix("AUTH PLAIN ").unwrap_or(line) {
                    word if word == plain || word == alone => "235 welcome".to_owned(),
                    _ => "535 5.7.8 wrong".to_owned(),
                }
            }
            _ => "250 fine".to_owned(),
        };
        stream
            .write_all(format!("{answer}\r\n").as_bytes())
            .await
            .ok()?;
        stream.flush().await.ok()?;
        if line == "STARTTLS"
            && let Some(acceptor) = acceptor
        {
            let stream = acceptor.accept(stream.into_inner()).await.ok()?;
            let served = serve(Box::new(stream), None, false, offers, password, commands);
            return Box::pin(served).await;
        }
    }
}

const ALL: &str = "250-AUTH PLAIN LOGIN\r\n250-DSN\r\n250 SIZE";

/// Our side: by name, so that the certificate can be checked.
fn relay(host: &Smarthost, tls: RelayTls, password: &str) -> Relay {
    let mut delivery: Delivery = crate::config::Config::default().delivery;
    delivery.relay = format!("localhost:{}", host.address.port());
    delivery.relay_tls = tls;
    delivery.relay_ca = host.ca.display().to_string();
    delivery.relay_user = "ana".to_owned();
    delivery.relay_password = password.to_owned();
    Relay::open(&delivery).expect("a relay")
}

async fn connect(relay: &Relay) -> Result<Client, String> {
    let opened = Client::connect(relay, "here.example", Waits::USUAL).await;
    opened.map_err(|trouble: Trouble| trouble.to_string())
}

#[tokio::test]
async fn mail_goes_through_a_smarthost_by_starttls_and_by_tls_with_a_login() {
    for (implicit, tls) in [(false, RelayTls::Starttls), (true, RelayTls::Tls)] {
        for offers in [ALL, "250-DSN\r\n250 AUTH LOGIN"] {
            let host = start(implicit, offers, "secret").await;
            let mut client = connect(&relay(&host, tls, "secret")).await.expect("open");
            let mail = Mail {
                sender: "dev+b-t=1@x.org",
                recipient: "o+k@y.org",
                ..SMALL
            };
            assert_eq!(client.send(&mail).await.expect("sent"), Answer::Taken);
            let commands = lock(&host.commands).clone();
            let sent = |start: &str| commands.iter().find(|c| c.starts_with(start)).cloned();
            let from = sent("MAIL ").expect("it was sent");
            assert!(from.ends_with(" RET=HDRS ENVID=dev+2Bb-t+3D1"), "{from}");
            let to = sent("RCPT ").expect("it was sent");
            let expected = "RCPT TO:<o+k@y.org> NOTIFY=FAILURE ORCPT=rfc822;o+2Bk@y.org";
            assert_eq!(to, expected);
        }
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_login_are_the_operators_to_mend_and_never_printed() {
    let host = start(false, ALL, "secret").await;
    let wrong = connect(&relay(&host, RelayTls::Starttls, "guess-7")).await;
    let wrong = wrong.err().expect("refused");
    assert!(
        wrong.contains("it refuses the login of ana: 535 5.7.8"),
        "{wrong}"
    );
    let shown = format!("{:?}", relay(&host, RelayTls::Starttls, "guess-7"));
    assert!(
        !wrong.contains("guess-7") && !shown.contains("guess-7"),
        "{shown}"
    );
    let host = start(false, "250 SIZE", "secret").await;
    let none = connect(&relay(&host, RelayTls::Starttls, "secret")).await;
    assert!(none.err().expect("refused").contains("no login by PLAIN"));
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_neither_mail_nor_password() {
    let (host, other) = (start(false, ALL, "s").await, start(false, ALL, "s").await);
    let mut stranger = relay(&host, RelayTls::Starttls, "s");
    stranger.tls = relay(&other, RelayTls::Starttls, "s").tls;
    assert!(connect(&stranger).await.is_err());
    let mut renamed = relay(&host, RelayTls::Starttls, "s");
    renamed.address = host.address.to_string();
    if let Some(tls) = &mut renamed.tls {
        tls.name = "mail.example.org".try_into().expect("a name");
    }
    assert!(connect(&renamed).await.is_err());
    // A relay that does not begin TLS, be it made so by somebody on the way.
    let plain = Sink::start(|_, _| None).await;
    let mut stripped = relay(&host, RelayTls::Starttls, "s");
    stripped.address = plain.address.clone();
    let problem = connect(&stripped).await.err().expect("refused");
    assert!(problem.contains("does not offer STARTTLS"), "{problem}");
    let commands = lock(&host.commands).clone();
    assert!(
        !commands.iter().any(|c| c.starts_with("AUTH")),
        "{commands:?}"
    );
}

#[test]
fn a_password_is_told_over_tls_or_on_this_machine_only() {
    let mut relay = Relay::from("mail.example.org:25".to_owned());
    let peer = |text: &str| Some(text.parse().expect("an address"));
    assert!(relay.may_log_in(peer("127.0.0.1:25")));
    assert!(relay.may_log_in(peer("[::1]:25")));
    assert!(!relay.may_log_in(peer("192.0.2.1:25")) && !relay.may_log_in(None));
    relay.tls = Some(Security {
        starttls: true,
        name: "x.org".try_into().expect("a name"),
        config: trust(std::path::Path::new("/etc/ssl/certs/ca-certificates.crt"))
            .expect("the system's authorities"),
    });
    assert!(relay.may_log_in(peer("192.0.2.1:25")));
}
