//! Smart HTTP for reading: `git upload-pack --stateless-rpc` (git's http-protocol document).

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdout, Command};

use super::{GitError, run};

/// Which half of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `GET …/info/refs?service=git-upload-pack`
    Advertise,
    /// `POST …/git-upload-pack`
    Rpc,
}

/// A running `git upload-pack`; ended when dropped.
pub struct UploadPack {
    child: Child,
    /// What it prints.
    pub stdout: ChildStdout,
}

impl UploadPack {
    /// Starts it in a repository. `protocol` is the client's Git-Protocol header, if it sent one.
    ///
    /// Clients of protocol 0 would be told of every series: these refs are hidden from them.
    pub fn start(
        repo: PathBuf,
        service: Service,
        protocol: Option<&str>,
    ) -> Result<UploadPack, GitError> {
        let second = protocol.is_some_and(|p| p.split(':').any(|word| word == "version=2"));
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(run::environment())
            .current_dir(&repo)
            .args(run::settings());
        if second {
            command.env("GIT_PROTOCOL", "version=2");
        } else {
            command.args([
                "-c",
                "uploadpack.hideRefs=refs/patches",
                "-c",
                "uploadpack.allowTipSHA1InWant=true",
            ]);
        }
        command.args(["upload-pack", "--stateless-rpc", "--strict"]);
        if service == Service::Advertise {
            command.arg("--advertise-refs");
        }
        command
            .arg(".")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|source| GitError::Start { repo, source })?;
        let stdout = child.stdout.take().expect("its output is a pipe");
        Ok(UploadPack { child, stdout })
    }

    /// Gives it the request's body. Its output must be read at the same time.
    pub fn feed(&mut self, body: bytes::Bytes) {
        if let Some(mut pipe) = self.child.stdin.take() {
            tokio::spawn(async move {
                // A client that asked for nothing more makes git stop reading: the answer says all.
                let _stopped = pipe.write_all(&body).await;
            });
        }
    }
}
