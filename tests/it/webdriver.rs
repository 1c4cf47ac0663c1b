//! A small WebDriver client (W3C WebDriver, over plain HTTP) for headless Chromium.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::tools;

/// One browser window; it closes with the value.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    _home: tempfile::TempDir,
}

type Lines = std::io::Lines<BufReader<std::process::ChildStdout>>;

impl Browser {
    /// The driver, what it prints, and its port; `None` if it ended.
    fn listen(home: &std::path::Path) -> Option<(Child, Lines, u16)> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("chromedriver: {e}; `tests/install` installs it"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        if port.is_none() {
            driver.wait().unwrap();
        }
        Some((driver, lines, port?))
    }

    pub fn start() -> Browser {
        let home = tempfile::tempdir().unwrap();
        // It ends at once if the port that it got by IPv4 is somebody's by IPv6.
        let tries = (0..5).find_map(|_| Browser::listen(home.path()));
        let (driver, lines, port) = tries.expect("chromedriver says on which port it listens");
        // Nobody reads the rest, and it must not stop over a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Browser {
            driver,
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
            _home: home,
        };
        let mut arguments = vec![
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ];
        // Chromium's sandbox refuses to run as root.
        if tools::run(Command::new("id").arg("-u")).trim() == "0" {
            arguments.push("--no-sandbox");
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let begun = browser.ask(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": capabilities } }),
        );
        browser.session = format!("/session/{}", begun["sessionId"].as_str().unwrap());
        browser
    }

    /// One command of the protocol; it must succeed. Its value.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self
            .try_ask(method, path, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        let error = answer["value"]["error"].as_str();
        assert_eq!(error, None, "{method} {path}: {answer}");
        answer["value"].clone()
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let body = body.to_string();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }

    #[track_caller]
    fn command(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
    }

    /// A command of Chromium's own protocol.
    #[track_caller]
    fn chromium(&self, command: &str, parameters: &Value) {
        self.command(
            "/goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        );
    }

    /// The window's width in CSS pixels, and whether the system asks for dark colours.
    pub fn look(&self, width: u32, dark: bool) {
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
        let colours = if dark { "dark" } else { "light" };
        // A page that scrolls smoothly moves away under a click.
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": colours },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.chromium("Emulation.setEmulatedMedia", &media);
    }

    pub fn open(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
    }

    /// Runs a script in the page, past its content security policy; what it returned, a promise's value included.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Keeps a picture of the whole page in the folder that `PATCHPOST_TEST_SHOTS` names, if it does.
    pub fn shoot(&self, name: &str) {
        let Some(folder) = std::env::var_os("PATCHPOST_TEST_SHOTS") else {
            return;
        };
        let whole =
            json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } });
        let taken = self.command("/goog/cdp/execute", &whole);
        let picture = taken["data"].as_str().unwrap();
        let picture = data_encoding::BASE64.decode(picture.as_bytes()).unwrap();
        let plain = |c: char| if c.is_alphanumeric() { c } else { '-' };
        let name: String = name.chars().map(plain).collect();
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(path, picture).unwrap();
    }

    /// Clicks the first element that the selector finds.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let found = self.command(
            "/element",
            &json!({ "using": "css selector", "value": selector }),
        );
        let id = found.as_object().unwrap().values().next().unwrap();
        self.command(
            &format!("/element/{}/click", id.as_str().unwrap()),
            &json!({}),
        );
    }

    /// Presses a key.
    pub fn press(&self, key: &str) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.command(
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keys", "actions": keys }] }),
        );
    }

    /// What the browser wrote to its console since it was asked last.
    pub fn console(&self) -> Vec<String> {
        let entries = self.command("/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|e| {
                format!(
                    "{} {}",
                    e["level"].as_str().unwrap(),
                    e["message"].as_str().unwrap()
                )
            })
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Best effort: a failed test must not leave a browser behind.
        let _closed = self.try_ask("DELETE", &self.session, &json!({}));
        let _gone = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}
