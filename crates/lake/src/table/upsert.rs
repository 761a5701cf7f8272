//! Replaces rows by key.
//!
//! The old rows are found and marked as deleted in their files' vectors, or left out of rewritten files if the
//! table has no vectors. The new rows get files of their own. The work on a file stays valid while the file is
//! unchanged, so a repeated commit searches only the files that changed meanwhile: a compacted file is searched
//! under its new name.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake::kernel::{Add, DeletionVectorDescriptor, Remove};
use roaring::RoaringTreemap;

use crate::Result;
use crate::files::read::Pick;
use crate::files::{stage, vectors};
use crate::log::Log;
use crate::log::file::{DataFile, FileKey, key};
use crate::log::snapshot::Snapshot;
use crate::store::wall_ms;
use crate::table::finder::KeySet;
use crate::table::lake::Shared;

/// The rows to remove from a table, and the work prepared so far.
pub(crate) struct Upsert {
    keys: Arc<KeySet>,
    prepared: HashMap<FileKey, FileRewrite>,
}

/// What the upsert does to one file.
enum FileRewrite {
    /// No live row has one of the keys.
    None,
    /// All live rows have one of the keys.
    Drop,
    /// Some rows have one of the keys. This vector hides them and the rows hidden before.
    Mark(DeletionVectorDescriptor),
    /// Some rows have one of the keys. These files hold the other rows.
    Rewrite(Vec<Add>),
}

impl Upsert {
    pub fn new(keys: KeySet) -> Self {
        Self { keys: Arc::new(keys), prepared: HashMap::new() }
    }

    /// The actions that remove the keys' rows from this snapshot.
    pub async fn derive(
        &mut self,
        shared: &Arc<Shared>,
        log: &Log,
        snapshot: &Snapshot,
    ) -> Result<(Vec<Remove>, Vec<Add>)> {
        self.prepare(shared, log, snapshot).await?;
        let (mut removes, mut adds) = (Vec::new(), Vec::new());
        let now = wall_ms();
        for file in snapshot.files.values() {
            match self.prepared.get(&file.key()) {
                None | Some(FileRewrite::None) => continue,
                Some(FileRewrite::Drop) => {}
                Some(FileRewrite::Mark(vector)) => adds.push(file.with_vector(vector.clone())),
                Some(FileRewrite::Rewrite(files)) => adds.extend_from_slice(files),
            }
            removes.push(file.remove(true, now));
        }
        Ok((removes, adds))
    }

    async fn prepare(&mut self, shared: &Arc<Shared>, log: &Log, snapshot: &Snapshot) -> Result<()> {
        let unknown = |file: &&Arc<DataFile>| !self.prepared.contains_key(&file.key());
        let files: Vec<_> = snapshot.files.values().filter(unknown).cloned().collect();
        let keys: Vec<FileKey> = files.iter().map(|file| file.key()).collect();
        let found = shared.finder.find(shared, log, files, self.keys.clone()).await?;
        self.prepared.extend(keys.into_iter().map(|key| (key, FileRewrite::None)));
        let mut marks = Vec::new();
        for (file, hits) in found {
            let before = shared.vectors.of(log, &file).await?;
            let hidden = before.as_ref() | &hits;
            if hidden.len() == before.len() {
                continue;
            }
            let rows = match file.physical_rows() {
                Some(rows) => rows,
                None => shared.reader.count(log, &file).await?,
            };
            if hidden.len() == rows {
                self.prepared.insert(file.key(), FileRewrite::Drop);
            } else if snapshot.vectors {
                marks.push((file, hidden));
            } else {
                let files = rewrite(shared, log, snapshot, &file, hidden).await?;
                self.prepared.insert(file.key(), FileRewrite::Rewrite(files));
            }
        }
        if marks.is_empty() {
            return Ok(());
        }
        let (files, marks): (Vec<_>, Vec<RoaringTreemap>) = marks.into_iter().unzip();
        let descriptors = vectors::write(log, &marks).await?;
        for ((file, descriptor), rows) in files.into_iter().zip(descriptors).zip(marks) {
            // The next commit extends this vector, so it stays in the cache.
            shared.vectors.keep(key(&file.add.path, Some(&descriptor)), Arc::new(rows));
            self.prepared.insert(file.key(), FileRewrite::Mark(descriptor));
        }
        Ok(())
    }
}

async fn rewrite(
    shared: &Arc<Shared>,
    log: &Log,
    snapshot: &Snapshot,
    file: &DataFile,
    hidden: RoaringTreemap,
) -> Result<Vec<Add>> {
    let schema = &snapshot.meta.schema;
    let rows = shared.reader.rows(log, file, schema, Pick::Without(Arc::new(hidden))).await?;
    let staged =
        stage::stage(log, schema, &snapshot.meta.line.partition_columns, snapshot.vectors, rows).await?;
    Ok(staged.into_iter().map(|file| file.add).collect())
}
