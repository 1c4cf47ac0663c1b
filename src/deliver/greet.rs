//! A look at the next hop that sends nothing.

use std::time::Duration;

use super::Relay;
use super::client::{Client, Trouble, Waits};

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
