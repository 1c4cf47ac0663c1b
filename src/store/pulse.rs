//! Whether the database can be read and written now.

use std::time::Duration;

use super::writer::Writer;
use super::{Reader, Store, StoreError, connect};

/// So long the writer may take until a write of nothing is committed: more than the longest of its batches.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the operator's listener asks. It writes nothing, and reads on the connections of mail: readers of pages do not crowd it.
#[derive(Clone)]
pub struct Pulse {
    /// On the connections of mail and jobs.
    pub read: Reader,
    writer: Writer,
}

impl Store {
    /// For who watches over this process.
    pub fn pulse(&self) -> Pulse {
        Pulse {
            read: self.read.clone(),
            writer: self.writer.clone(),
        }
    }
}

impl Pulse {
    /// Whether the database answers a read, and the writer commits what it is given.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check_within(PATIENCE).await
    }

    async fn check_within(&self, time: Duration) -> Result<(), StoreError> {
        connect::check_file(&self.read).await?;
        self.read.check().await?;
        let nothing = self.writer.run(|_| Box::pin(async { Ok(()) }));
        let late = || StoreError::Temporary(sqlx::Error::PoolTimedOut);
        tokio::time::timeout(time, nothing)
            .await
            .unwrap_or_else(|_| Err(late()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Location;

    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_file_that_is_overwritten_or_gone_under_the_server_is_noticed() {
        for broken in [Some(vec![b'x'; 900_000]), Some(vec![]), None] {
            let dir = tempfile::tempdir().expect("a folder");
            let store = Store::open(dir.path(), &Location::File).await;
            let store = store.expect("a store");
            // All of it in the file, as in one that is used.
            assert!(store.vacuum().await.expect("it is written"));
            let pulse = store.pulse();
            pulse.check().await.expect("it is well");
            let file = dir.path().join("patchpost.db");
            match broken {
                Some(bytes) => std::fs::write(&file, bytes).expect("written"),
                None => std::fs::remove_file(&file).expect("removed"),
            }
            pulse.check().await.expect_err("it is not well");
        }
    }

    #[tokio::test]
    async fn a_writer_that_stands_still_is_noticed_and_one_that_goes_on_is_well() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), &Location::File)
            .await
            .expect("a store");
        let pulse = store.pulse();
        pulse.check().await.expect("it is well");
        let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel::<()>();
        let stuck = tokio::spawn(async move {
            let work = store.write(|_| {
                Box::pin(async {
                    let _told = begun.send(());
                    let _told = wait.await;
                    Ok(())
                })
            });
            work.await
        });
        begins.await.expect("the writer is at it");
        pulse.read.check().await.expect("it can be read");
        assert!(pulse.check_within(SHORT).await.is_err());
        go_on.send(()).expect("it waits");
        stuck.await.expect("no panic").expect("it is written");
        pulse.check().await.expect("it is well again");
    }
}
