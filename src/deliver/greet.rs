//! The next hop without the queue: a look at it that sends nothing, and one mail to try it.

use std::time::Duration;

use super::Relay;
use super::client::{Answer, Client, Mail, Trouble, Waits};
use super::outgoing::stuff;

/// Says hello to the next hop, names a sender, takes that back and says goodbye; the error says in words why it takes no mail now.
pub async fn greet(relay: &Relay, hostname: &str, sender: &str) -> Result<(), String> {
    let soon = Duration::from_secs(10);
    let waits = Waits {
        connect: soon,
        command: soon,
        ..Waits::USUAL
    };
    let opened = Client::connect(relay, hostname, waits).await;
    let mut client = opened.map_err(|e| e.to_string())?;
    let offered = client.ask(&format!("MAIL FROM:<{sender}>")).await;
    let offered = offered.map_err(|e| Trouble::from(e).to_string())?;
    if !offered.is_positive() {
        let said = offered.says();
        client.quit().await;
        return Err(format!("it takes no mail from {sender}: {said}"));
    }
    let reset = client.ask("RSET").await;
    reset.map_err(|e| Trouble::from(e).to_string())?;
    client.quit().await;
    Ok(())
}

/// Hands one mail with CRLF to the next hop at once, without a place in the queue; the error says in words why it was not taken.
pub async fn hand_over(
    relay: &Relay,
    hostname: &str,
    (sender, recipient): (&str, &str),
    bytes: &[u8],
) -> Result<(), String> {
    let mut open = Client::connect(relay, hostname, Waits::USUAL)
        .await
        .map_err(|e| e.to_string())?;
    let mail = Mail {
        sender,
        recipient,
        parts: [&stuff(bytes), b"", b""],
        size: bytes.len(),
        eight_bit: !bytes.is_ascii(),
    };
    let answer = open.send(&mail).await.map_err(|e| e.to_string())?;
    open.quit().await;
    match answer {
        Answer::Taken => Ok(()),
        Answer::Temporary(_, text) | Answer::Permanent(_, text) | Answer::Unfit(text) => Err(text),
    }
}
