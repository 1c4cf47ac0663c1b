//! Somebody at a browser, as curl with a jar of cookies, who gets mail in a sink.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;

use super::harness::{Sink, TestServer};
use super::tools;

pub struct Visitor<'a> {
    server: &'a TestServer,
    pub jar: PathBuf,
}

/// What a page answered.
pub struct Seen {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<String> {
        let start = format!("{}: ", name.to_lowercase());
        let mut lines = self.head.lines();
        lines.find_map(|l| {
            let fits = l.to_lowercase().starts_with(&start);
            fits.then(|| l[start.len()..].trim().to_owned())
        })
    }

    /// The value of a form's hidden field.
    #[track_caller]
    pub fn hidden(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let found = self.body.split(&start).nth(1);
        let found = found.unwrap_or_else(|| panic!("no field {name}: {}", self.body));
        found.split('"').next().unwrap().to_owned()
    }
}

thread_local! {
    static JARS: Cell<usize> = const { Cell::new(0) };
}

impl<'a> Visitor<'a> {
    pub fn new(server: &'a TestServer) -> Visitor<'a> {
        JARS.set(JARS.get() + 1);
        let jar = server.dir.path().join(format!("jar{}", JARS.get()));
        Visitor { server, jar }
    }

    /// curl with these arguments.
    #[track_caller]
    pub fn ask(&self, path: &str, arguments: &[&str]) -> Seen {
        let jar = self.jar.display().to_string();
        let mut curl = Command::new("curl");
        curl.args(["-s", "-i", "--max-time", "60", "-b", &jar, "-c", &jar]);
        curl.args(arguments)
            .arg(format!("{}{path}", self.server.base()));
        let out = tools::run(&mut curl);
        let (head, body) = out.split_once("\r\n\r\n").expect("a header");
        Seen {
            status: head[9..12].parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Seen {
        self.ask(path, &[])
    }

    #[track_caller]
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let pairs: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut arguments = vec!["-X", "POST"];
        for pair in &pairs {
            arguments.extend(["--data-urlencode", pair.as_str()]);
        }
        self.ask(path, &arguments)
    }

    /// Presses a button on a page: with what guards its forms.
    #[track_caller]
    pub fn press(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let guard = self.guard();
        let mut all = vec![("guard", guard.as_str())];
        all.extend(fields);
        self.post(path, &all)
    }

    #[track_caller]
    pub fn guard(&self) -> String {
        self.get("/me/").hidden("guard")
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(&self.jar).unwrap_or_default();
        let mut rows = text.lines().map(|l| l.split('\t').collect::<Vec<_>>());
        let found = rows.find(|row| row.len() == 7 && row[5] == name)?;
        Some(found[6].to_owned())
    }

    /// Writes an address into the form.
    #[track_caller]
    pub fn ask_to_sign_in(&self, address: &str) -> Seen {
        let form = self.get("/sign-in").hidden("form");
        self.post("/sign-in", &[("form", &form), ("address", address)])
    }

    /// Signs in by the code of a mail.
    #[track_caller]
    pub fn sign_in(&self, sink: &Sink, address: &str) {
        let before = letters(sink, address).len();
        assert_eq!(self.ask_to_sign_in(address).status, 200);
        let mail = wait(self.server, sink, address, before);
        let seen = self.post("/sign-in/code", &[("code", &code(&mail))]);
        assert_eq!(seen.status, 303, "{}", seen.body);
        assert_eq!(seen.header("location").as_deref(), Some("/me/"));
    }
}

/// Mails to an address that sign in.
pub fn letters(sink: &Sink, to: &str) -> Vec<String> {
    let all = sink.all().into_iter().filter(|c| c.recipients == [to]);
    let texts = all.map(|c| String::from_utf8_lossy(&c.bytes).into_owned());
    texts.filter(|t| t.contains("/sign-in/")).collect()
}

/// The one that comes after so many.
#[track_caller]
pub fn wait(server: &TestServer, sink: &Sink, to: &str, before: usize) -> String {
    server.wait_for(&format!("a mail to {to}"), || {
        letters(sink, to).into_iter().nth(before)
    })
}

/// The six digits in a mail.
#[track_caller]
pub fn code(mail: &str) -> String {
    let mut lines = mail.lines().map(str::trim);
    let found = lines.find(|l| l.len() == 6 && l.bytes().all(|b| b.is_ascii_digit()));
    found
        .unwrap_or_else(|| panic!("no code: {mail}"))
        .to_owned()
}

/// The path of the link in a mail.
#[track_caller]
pub fn link(mail: &str) -> String {
    let at = mail
        .find("/sign-in/")
        .unwrap_or_else(|| panic!("no link: {mail}"));
    mail[at..].split_whitespace().next().unwrap().to_owned()
}

/// Copies go to the sink.
pub fn to(sink: &Sink) -> [(&'static str, &str); 2] {
    [
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &sink.address),
    ]
}
