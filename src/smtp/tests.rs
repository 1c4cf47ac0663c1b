//! Real connections to a real store: what a mail server or a hostile client sees over the wire.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::git::Repos;
use crate::net::tls_tests::{Pair, client, make_pair, name};
use crate::store::{Location, NewList, Store};
use crate::types::ReceiptId;

/// No wait in these tests takes longer, or it fails.
const DEADLINE: Duration = Duration::from_secs(20);

struct Site {
    _folder: tempfile::TempDir,
    store: Store,
    address: String,
    gate: Arc<Gate>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// What a test changes about the usual site.
struct Choice {
    protocol: Protocol,
    unix: bool,
    connections: usize,
    free_disk_mb: u64,
    times: Times,
    pair: Option<Pair>,
}

impl Default for Choice {
    fn default() -> Choice {
        Choice {
            protocol: Protocol::Smtp,
            unix: false,
            connections: 100,
            free_disk_mb: 0,
            times: Times::USUAL,
            pair: None,
        }
    }
}

impl Site {
    /// A site with the lists `dev@example.org` and `users@example.org`.
    async fn start(choice: &Choice) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let store = Store::open(data, &Location::File).await.expect("opens");
        for list in ["dev", "users"] {
            let list = NewList {
                name: list.to_owned(),
                address: format!("{list}@example.org"),
                description: String::new(),
                style: "patch".to_owned(),
                visibility: "public".to_owned(),
                repos: vec![],
                policy: crate::list::settings::Policy::open(),
            };
            store
                .insert_list(list, crate::store::now())
                .await
                .expect("a list");
        }
        let ctx = Ctx::open(
            store.clone(),
            Repos::new(data),
            "http://localhost".to_owned(),
            choice.free_disk_mb,
        );
        let tls = choice.pair.as_ref().map(|pair| {
            let (cert, key) = (data.join("chain.pem"), data.join("key.pem"));
            std::fs::write(&cert, &pair.cert).expect("writes");
            std::fs::write(&key, &pair.key).expect("writes");
            Arc::new(Tls::open(&cert, &key).expect("fits"))
        });
        let address = match choice.unix {
            true => format!("unix:{}", data.join("lmtp.sock").display()),
            false => "127.0.0.1:0".to_owned(),
        };
        let listener = crate::net::bind(std::iter::once(address.as_str()))
            .await
            .expect("binds")
            .remove(0);
        let address = listener.address();
        let gate = Gate::new(choice.connections, 50);
        let server = Server {
            ctx: ctx.await.expect("a context"),
            settings: Settings {
                hostname: "mx.example.org".to_owned(),
                max_size: 100_000,
                max_recipients: 100,
                tls: false,
                trusted: false,
                normalise: false,
            },
            protocol: choice.protocol,
            tls,
            gate: Arc::clone(&gate),
            trusted: Arc::default(),
        };
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let serving = serve_within(
            choice.times,
            server,
            listener,
            stop.clone(),
            tracker.clone(),
        );
        tracker.spawn(serving);
        Site {
            _folder: folder,
            store,
            address,
            gate,
            stop,
            tracker,
        }
    }

    async fn connect(&self) -> Client<Stream> {
        let stream = match self.address.strip_prefix("unix:") {
            Some(path) => Stream::Unix(UnixStream::connect(path).await.expect("connects")),
            None => Stream::Tcp(TcpStream::connect(&self.address).await.expect("connects")),
        };
        Client(BufReader::new(stream))
    }

    /// How many mails were taken: each is owed a filing for each of its lists.
    async fn taken(&self) -> i64 {
        self.store.count_jobs().await.expect("counts").0
    }

    /// The bytes of the first mail taken, with CRLF.
    async fn first_mail(&self) -> String {
        let receipts = self.store.load_receipts(&[ReceiptId(1)]).await;
        let receipts = receipts.expect("loads");
        let text = String::from_utf8(receipts[0].bytes.clone()).expect("text");
        text.replace('\n', "\r\n")
    }

    /// Tells the server to stop; panics if it does not end in time.
    async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        within(self.tracker.wait()).await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("in time")
}

struct Client<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("sends");
        self.0.flush().await.expect("sends");
    }

    /// The next reply, all its lines.
    async fn reply(&mut self) -> String {
        let mut text = String::new();
        loop {
            let start = text.len();
            let read = within(self.0.read_line(&mut text)).await.expect("reads");
            assert!(read > 0, "the server closed after {text:?}");
            if text.as_bytes().get(start + 3) != Some(&b'-') {
                return text;
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, code: &str) -> impl Future<Output = String> {
        let place = std::panic::Location::caller();
        async move {
            let reply = self.reply().await;
            assert!(
                reply.starts_with(code),
                "{place}: wanted {code}, got {reply}"
            );
            reply
        }
    }

    /// Sends commands and expects a reply with each code.
    async fn say(&mut self, text: &str, codes: &[&str]) {
        self.send(text).await;
        for code in codes {
            self.expect(code).await;
        }
    }

    /// The server has nothing more to say and closed.
    async fn closed(&mut self) {
        let mut rest = String::new();
        within(self.0.read_to_string(&mut rest))
            .await
            .expect("reads");
        assert_eq!(rest, "");
    }
}

/// An envelope to the list dev, up to 354.
const ENVELOPE: &str = "MAIL FROM:<ana@example.com>\r\nRCPT TO:<dev@example.org>\r\nDATA\r\n";
const TAKEN: [&str; 3] = ["250", "250", "354"];

fn mail(number: usize) -> String {
    format!(
        "From: ana@example.com\r\nSubject: {number}\r\nMessage-ID: <{number}@example.com>\r\n\r\nHello\r\n"
    )
}

#[tokio::test]
async fn a_mail_by_smtp_is_stored_before_it_is_answered_for() {
    let site = Site::start(&Choice::default()).await;
    let mut client = site.connect().await;
    client.expect("220 mx.example.org ESMTP").await;
    client.say("EHLO client.example\r\n", &["250-mx"]).await;
    client.say(ENVELOPE, &TAKEN).await;
    let text = mail(1);
    client
        .say(&format!("{text}..dot\r\n.\r\n"), &["250 2.0.0"])
        .await;
    assert_eq!(site.taken().await, 1);
    assert_eq!(site.first_mail().await, text + ".dot\r\n");
    client.say("QUIT\r\n", &["221"]).await;
    client.closed().await;
    site.stop().await;
    assert_eq!(site.gate.open(), 0);
}

#[tokio::test]
async fn lmtp_over_a_unix_socket_answers_each_recipient() {
    let choice = Choice {
        protocol: Protocol::Lmtp,
        unix: true,
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut client = site.connect().await;
    client.expect("220 mx.example.org LMTP").await;
    client.say("LHLO relay.example\r\n", &["250-mx"]).await;
    let recipients =
        ["dev", "nobody", "dev", "users"].map(|l| format!("RCPT TO:<{l}@example.org>\r\n"));
    let envelope = format!(
        "MAIL FROM:<ana@example.com>\r\n{}DATA\r\n",
        recipients.concat()
    );
    client
        .say(&envelope, &["250", "250", "550", "250", "250", "354"])
        .await;
    client
        .say(&format!("{}.\r\n", mail(1)), &["250", "250", "250"])
        .await;
    // Named twice, filed once; and once for the other list.
    assert_eq!(site.taken().await, 2);
    client.say("QUIT\r\n", &["221"]).await;
    site.stop().await;
}

#[tokio::test]
async fn many_sessions_at_once_lose_and_double_nothing() {
    let site = Site::start(&Choice::default()).await;
    let mut sessions = tokio::task::JoinSet::new();
    for session in 0..20 {
        let mut client = site.connect().await;
        sessions.spawn(async move {
            client.expect("220").await;
            client.say("EHLO client.example\r\n", &["250"]).await;
            for number in 0..5 {
                client.say(ENVELOPE, &TAKEN).await;
                let text = mail(session * 100 + number);
                client.say(&format!("{text}.\r\n"), &["250 2.0.0"]).await;
            }
        });
    }
    within(sessions.join_all()).await;
    assert_eq!(site.taken().await, 100);
    site.stop().await;
}

#[tokio::test]
async fn a_refused_mail_leaves_the_session_usable() {
    let site = Site::start(&Choice::default()).await;
    let mut client = site.connect().await;
    client.expect("220").await;
    client.say("EHLO client.example\r\n", &["250"]).await;
    client.say(ENVELOPE, &TAKEN).await;
    client.say("bare\nline end\r\n.\r\n", &["550 5.5.2"]).await;
    client.say(ENVELOPE, &TAKEN).await;
    client
        .say(&format!("{}\r\n.\r\n", "x".repeat(200_000)), &["552 5.3.4"])
        .await;
    assert_eq!(site.taken().await, 0);
    client.say(ENVELOPE, &TAKEN).await;
    client.say(&format!("{}.\r\n", mail(1)), &["250"]).await;
    assert_eq!(site.taken().await, 1);
}

#[tokio::test]
async fn starttls_encrypts_and_forgets_what_was_said_before() {
    let pair = make_pair();
    let choice = Choice {
        pair: Some(make_pair()),
        ..Choice::default()
    };
    let trusted = choice.pair.as_ref().expect("made");
    let site = Site::start(&choice).await;
    let mut plain = site.connect().await;
    plain.expect("220").await;
    plain.send("EHLO client.example\r\n").await;
    assert!(plain.reply().await.contains("STARTTLS"));
    plain.say("STARTTLS\r\n", &["220"]).await;
    let stream = within(client(trusted).connect(name(), plain.0.into_inner())).await;
    let mut secure = Client(BufReader::new(stream.expect("a handshake")));
    secure.say(ENVELOPE, &["503", "503", "503"]).await;
    secure.send("EHLO client.example\r\n").await;
    assert!(!secure.reply().await.contains("STARTTLS"));
    secure.say("STARTTLS\r\n", &["503"]).await;
    secure.say(ENVELOPE, &TAKEN).await;
    secure.say(&format!("{}.\r\n", mail(1)), &["250"]).await;
    secure.say("QUIT\r\n", &["221"]).await;
    secure.closed().await;
    assert_eq!(site.taken().await, 1);
    // A client that trusts another certificate does not get through, and harms nobody.
    let mut other = site.connect().await;
    other.expect("220").await;
    other
        .say("EHLO client.example\r\nSTARTTLS\r\n", &["250", "220"])
        .await;
    assert!(
        within(client(&pair).connect(name(), other.0.into_inner()))
            .await
            .is_err()
    );
    site.stop().await;
}

#[tokio::test]
async fn commands_injected_before_the_handshake_are_never_run() {
    let choice = Choice {
        pair: Some(make_pair()),
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut plain = site.connect().await;
    plain.expect("220").await;
    plain.say("EHLO client.example\r\n", &["250"]).await;
    plain.say("STARTTLS\r\nNOOP\r\nNOOP\r\n", &["220"]).await;
    let pair = choice.pair.as_ref().expect("made");
    // Either the bytes were dropped and the handshake goes through, or it fails over them; no answer comes to them.
    if let Ok(stream) = within(client(pair).connect(name(), plain.0.into_inner())).await {
        let mut secure = Client(BufReader::new(stream));
        secure.say("MAIL FROM:<>\r\n", &["503"]).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away_and_room_comes_back() {
    let choice = Choice {
        connections: 2,
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut first = site.connect().await;
    first.expect("220").await;
    let mut second = site.connect().await;
    second.expect("220").await;
    let mut third = site.connect().await;
    third.expect("421 4.7.0").await;
    third.closed().await;
    first.say("QUIT\r\n", &["221"]).await;
    first.closed().await;
    within(async {
        while site.gate.open() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    site.connect().await.expect("220").await;
    site.stop().await;
}

#[tokio::test]
async fn who_speaks_before_the_greeting_is_no_mail_server() {
    let site = Site::start(&Choice::default()).await;
    let mut early = site.connect().await;
    // On this one thread the server does not see the connection before the words are there.
    early
        .0
        .write_all(b"EHLO client.example\r\nQUIT\r\n")
        .await
        .expect("sends");
    early.expect("554 5.5.0").await;
    early.closed().await;
}

#[tokio::test]
async fn text_in_one_piece_with_data_ends_the_session() {
    let site = Site::start(&Choice::default()).await;
    let mut client = site.connect().await;
    client.expect("220").await;
    client.say("EHLO client.example\r\n", &["250"]).await;
    let hasty = format!("{ENVELOPE}{}.\r\n", mail(1));
    client.say(&hasty, &["250", "250", "554 5.5.0"]).await;
    client.closed().await;
    assert_eq!(site.taken().await, 0);
}

fn hasty() -> Times {
    Times {
        command: Duration::from_millis(200),
        grace: Duration::from_millis(200),
        rate: 100_000,
        handshake: Duration::from_millis(200),
        drain: Duration::from_millis(200),
        linger: Duration::from_millis(50),
        ..Times::USUAL
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let choice = Choice {
        times: hasty(),
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut silent = site.connect().await;
    silent.expect("220").await;
    silent.expect("421 4.4.2").await;
    silent.closed().await;
    site.stop().await;
    assert_eq!(site.gate.open(), 0, "its place is free again");
}

#[tokio::test]
async fn a_command_byte_by_byte_does_not_hold_a_session_open() {
    let choice = Choice {
        times: hasty(),
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut slow = site.connect().await;
    slow.expect("220").await;
    let (read, mut write) = tokio::io::split(slow.0.into_inner());
    let dripping = async {
        // Ends when the server has closed.
        while write.write_all(b"N").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reading = async {
        let mut said = String::new();
        // A reset behind the answer is an end as well.
        let _reset = BufReader::new(read).read_line(&mut said).await;
        said
    };
    let said = within(async {
        tokio::select! { said = reading => said, () = dripping => "closed".to_owned() }
    })
    .await;
    assert!(said.starts_with("421 4.4.2"), "{said}");
}

#[tokio::test]
async fn data_that_drips_is_cut_off_and_not_stored() {
    let choice = Choice {
        times: hasty(),
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut slow = site.connect().await;
    slow.expect("220").await;
    slow.say("EHLO client.example\r\n", &["250"]).await;
    slow.say(ENVELOPE, &TAKEN).await;
    slow.send(&mail(1)).await;
    slow.expect("421 4.4.2").await;
    slow.closed().await;
    assert_eq!(site.taken().await, 0);
}

#[tokio::test]
async fn a_handshake_that_never_comes_frees_its_place() {
    let choice = Choice {
        times: hasty(),
        pair: Some(make_pair()),
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut stuck = site.connect().await;
    stuck.expect("220").await;
    stuck
        .say("EHLO client.example\r\nSTARTTLS\r\n", &["250", "220"])
        .await;
    stuck.closed().await;
}

#[tokio::test]
async fn a_client_that_vanishes_in_its_mail_leaves_nothing() {
    let site = Site::start(&Choice::default()).await;
    let mut client = site.connect().await;
    client.expect("220").await;
    client.say("EHLO client.example\r\n", &["250"]).await;
    client.say(ENVELOPE, &TAKEN).await;
    client.send(&mail(1)).await;
    drop(client);
    site.stop().await;
    assert_eq!(site.taken().await, 0);
    assert_eq!(site.gate.open(), 0);
}

#[tokio::test]
async fn a_mail_whose_client_did_not_wait_for_the_answer_is_whole() {
    let site = Site::start(&Choice::default()).await;
    let mut client = site.connect().await;
    client.expect("220").await;
    client.say("EHLO client.example\r\n", &["250"]).await;
    client.say(ENVELOPE, &TAKEN).await;
    client.send(&format!("{}.\r\n", mail(1))).await;
    drop(client);
    within(async {
        while site.taken().await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(site.first_mail().await, mail(1));
    site.stop().await;
}

#[tokio::test]
async fn at_a_stop_idle_sessions_end_and_a_mail_on_its_way_is_taken() {
    let site = Site::start(&Choice::default()).await;
    let mut idle = site.connect().await;
    idle.expect("220").await;
    let mut busy = site.connect().await;
    busy.expect("220").await;
    busy.say("EHLO client.example\r\n", &["250"]).await;
    busy.say(ENVELOPE, &TAKEN).await;
    busy.send("Subject: half\r\n").await;
    site.stop.cancel();
    idle.expect("421 4.3.2").await;
    idle.closed().await;
    busy.say("\r\nthe other half\r\n.\r\n", &["250", "421 4.3.2"])
        .await;
    busy.closed().await;
    assert_eq!(site.taken().await, 1);
    site.stop().await;
    assert!(
        TcpStream::connect(&site.address).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn at_a_stop_a_mail_that_does_not_go_on_is_given_up() {
    let times = Times {
        grace: DEADLINE,
        command: DEADLINE,
        ..hasty()
    };
    let site = Site::start(&Choice {
        times,
        ..Choice::default()
    })
    .await;
    let mut busy = site.connect().await;
    busy.expect("220").await;
    busy.say("EHLO client.example\r\n", &["250"]).await;
    busy.say(ENVELOPE, &TAKEN).await;
    site.stop.cancel();
    busy.expect("421 4.3.2").await;
    busy.closed().await;
    site.stop().await;
    assert_eq!(site.taken().await, 0);
}

#[tokio::test]
async fn a_full_disk_is_said_before_the_mail_is_sent() {
    let choice = Choice {
        free_disk_mb: u64::MAX,
        ..Choice::default()
    };
    let site = Site::start(&choice).await;
    let mut client = site.connect().await;
    client.expect("220").await;
    client.say("EHLO client.example\r\n", &["250"]).await;
    client.say(ENVELOPE, &["452 4.3.1", "503", "503"]).await;
}
