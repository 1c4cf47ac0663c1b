//! A consistent copy of an SQLite database while others write.

use std::path::Path;

use sqlx::Connection;

use super::{Reader, StoreError, connect, sql};

impl Reader {
    /// Writes the database as it is now into a new file, flushed; later writes are not in it.
    ///
    /// SQLite only (`VACUUM INTO`). Writers go on meanwhile; their log grows until the copy is done. An error if the file exists.
    pub async fn write_snapshot(&self, file: &Path) -> Result<(), StoreError> {
        let from = self.data().join("patchpost.db");
        let to = file.to_string_lossy().into_owned();
        let dialect = self.dialect();
        // A connection of its own: those of the pool may not write, not even into another file.
        let mut connection = sqlx::AnyConnection::connect(&connect::sqlite_url(&from)).await?;
        sql::execute(
            &mut connection,
            dialect,
            "vacuum into $1".into(),
            vec![to.into()],
        )
        .await?;
        connection.close().await?;
        let flushed = std::fs::File::open(file).and_then(|f| f.sync_all());
        flushed.map_err(|e| StoreError::Unusable(format!("cannot flush {}: {e}", file.display())))
    }
}
