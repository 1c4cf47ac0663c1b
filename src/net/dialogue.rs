//! A few lines said to a mail server, and what it answers: enough to see who it is and whom it takes mail for.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest answer that is read: RFC 5321 section 4.5.3.1.5 knows lines of 512 octets, and an answer may have many.
const MAX_ANSWER: u64 = 16 << 10;

/// Connects, waits for the greeting and says the lines one by one. The answers, greeting first, each as its last line; ends
/// at the first that says to go away (421), and within `limit`.
pub async fn ask(address: &str, lines: &[&str], limit: Duration) -> Result<Vec<String>, String> {
    let asked = tokio::time::timeout(limit, talk(address, lines)).await;
    let answers = asked.map_err(|_| format!("no answer within {} s", limit.as_secs()))?;
    answers.map_err(|e| e.to_string())
}

async fn talk(address: &str, lines: &[&str]) -> std::io::Result<Vec<String>> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let mut answers = vec![answer(&mut stream).await?];
    for line in lines {
        if answers.last().is_some_and(|a| a.starts_with("421")) {
            break;
        }
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        answers.push(answer(&mut stream).await?);
    }
    Ok(answers)
}

async fn answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut stream = stream.take(MAX_ANSWER);
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.get(3) != Some(&b'-') {
            return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
}
