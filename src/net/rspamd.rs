//! Asks rspamd whether a mail is spam: one HTTP request in bounded time. Whatever goes wrong is "unknown": a filter in trouble
//! keeps no mail out.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::list::order::Spam;

/// The filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rspamd {
    /// Host and port of a worker that scans, such as 127.0.0.1:11333.
    pub address: String,
    /// How long one answer may take.
    pub timeout: Duration,
}

/// What the filter is told beside the mail.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The client's address, if it is known.
    pub ip: Option<IpAddr>,
    /// What the client called itself.
    pub helo: String,
    /// Envelope sender; empty is the null one.
    pub sender: String,
    /// Envelope recipients.
    pub recipients: Vec<String>,
}

/// Answers hold a few kilobytes.
const MAX_ANSWER: u64 = 1 << 20;

/// What rspamd's answer says that we use (its `checkv2` protocol).
#[derive(serde::Deserialize)]
struct Answer {
    score: f64,
    required_score: f64,
    action: String,
}

impl Rspamd {
    /// What the filter says of a mail, given as it came over the wire.
    pub async fn ask(&self, mail: &[u8], scan: &Scan) -> Spam {
        let asked = tokio::time::timeout(self.timeout, self.exchange(mail, scan)).await;
        let trouble = match asked {
            Ok(Ok(answer)) => match read(&answer) {
                Some(spam) => return spam,
                None => "its answer makes no sense".to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} seconds", self.timeout.as_secs()),
        };
        metrics::counter!("patchpost_spam_filter_trouble").increment(1);
        tracing::warn!(
            filter.address = self.address,
            "rspamd was asked in vain: {trouble}; the mail goes on without its word"
        );
        Spam::Unknown
    }

    async fn exchange(&self, mail: &[u8], scan: &Scan) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream
            .write_all(head(&self.address, mail.len(), scan).as_bytes())
            .await?;
        stream.write_all(mail).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// The request's header. HTTP/1.0: the answer ends with the connection, in one piece.
fn head(address: &str, length: usize, scan: &Scan) -> String {
    let mut head = format!(
        "POST /checkv2 HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n"
    );
    let mut field = |name: &str, value: &str| {
        // Clients write into these what they like: no line end may pass.
        let value: String = value
            .chars()
            .filter(|c| !c.is_control())
            .take(500)
            .collect();
        if !value.is_empty() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    field("From", &scan.sender);
    for recipient in scan.recipients.iter().take(100) {
        field("Rcpt", recipient);
    }
    if let Some(ip) = scan.ip {
        field("IP", &ip.to_canonical().to_string());
    }
    field("Helo", &scan.helo);
    head.push_str("\r\n");
    head
}

/// The answer in words; `None` if it is none.
fn read(answer: &[u8]) -> Option<Spam> {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let status = answer.get(9..12)?;
    if status != b"200" {
        return None;
    }
    let Answer {
        score,
        required_score,
        action,
    } = serde_json::from_slice(&answer[at + 4..]).ok()?;
    let action: String = action
        .chars()
        .filter(|c| !c.is_control())
        .take(40)
        .collect();
    let words = format!("rspamd gives it {score:.1} of {required_score:.1}: {action}");
    Some(match action.as_str() {
        "reject" | "add header" | "rewrite subject" => Spam::Yes(words),
        // Greylisting and its kin are for the server that speaks to the client.
        _ => Spam::No(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: &str) {
        assert_eq!(
            format!("{:?}", read(answer.as_bytes())),
            expected,
            "{answer}"
        );
    }

    #[test]
    fn an_answer_is_read_or_is_none() {
        let ok =
            |json: &str| format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{json}");
        check(
            &ok(r#"{"score":17.25,"required_score":15.0,"action":"reject","symbols":{}}"#),
            "Some(Yes(\"rspamd gives it 17.2 of 15.0: reject\"))",
        );
        check(
            &ok(r#"{"score":4,"required_score":15,"action":"greylist"}"#),
            "Some(No(\"rspamd gives it 4.0 of 15.0: greylist\"))",
        );
        check(&ok("{}"), "None");
        check("HTTP/1.0 500 No\r\n\r\n{}", "None");
        check("", "None");
        check("\r\n\r\n", "None");
    }

    #[test]
    fn nothing_that_a_client_says_makes_a_line_of_its_own() {
        let scan = Scan {
            ip: Some([192, 0, 2, 7].into()),
            helo: "x\r\nSettings: y".to_owned(),
            sender: "a@b.c\n".to_owned(),
            recipients: vec!["d@x.org".to_owned()],
        };
        let head = head("127.0.0.1:11333", 5, &scan);
        assert_eq!(
            head.split("\r\n").skip(4).collect::<Vec<_>>(),
            [
                "From: a@b.c",
                "Rcpt: d@x.org",
                "IP: 192.0.2.7",
                "Helo: xSettings: y",
                "",
                ""
            ]
        );
    }
}
