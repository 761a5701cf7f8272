//! Deletion vectors: the deleted rows of a file.
//!
//! All vectors of one commit are in one object. A vector is a 64-bit roaring bitmap of row positions, after
//! four bytes of size and four bytes of magic, as the Delta protocol defines it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use delta_kernel::actions::deletion_vector_writer::{KernelDeletionVector, StreamingDeletionVectorWriter};
use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use uuid::Uuid;

use crate::files::stage::at;
use crate::log::Log;
use crate::log::file::{DataFile, FileKey};
use crate::{Error, Result};

/// Vectors kept in memory, because every commit and scan needs the vectors of a table's files again.
const KEPT: usize = 4096;

/// Reads vectors, with a cache.
#[derive(Debug, Default)]
pub(crate) struct Vectors(Mutex<HashMap<FileKey, Arc<RoaringTreemap>>>);

impl Vectors {
    /// The deleted rows of a file.
    pub async fn of(&self, log: &Log, file: &DataFile) -> Result<Arc<RoaringTreemap>> {
        let Some(vector) = &file.add.deletion_vector else { return Ok(Arc::default()) };
        let key = file.key();
        if let Some(known) = self.0.lock().get(&key) {
            return Ok(known.clone());
        }
        let read = Arc::new(read(log, &file.add.path, vector).await?);
        self.keep(key, read.clone());
        Ok(read)
    }

    pub fn keep(&self, key: FileKey, vector: Arc<RoaringTreemap>) {
        let mut kept = self.0.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, vector);
    }
}

/// The object below the table's folder that holds a vector; `None` if the vector is inline in the log.
pub(crate) fn object(vector: &DeletionVectorDescriptor) -> Option<String> {
    if vector.storage_type != StorageType::UuidRelativePath {
        return None;
    }
    let text = vector.path_or_inline_dv.as_str();
    let (prefix, id) = text.split_at_checked(text.len().checked_sub(20)?)?;
    let id = Uuid::from_slice(&z85::decode(id).ok()?).ok()?;
    let name = format!("deletion_vector_{id}.bin");
    Some(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
}

async fn read(log: &Log, path: &str, vector: &DeletionVectorDescriptor) -> Result<RoaringTreemap> {
    let bad = |fault: &str| Error::BadVector { path: path.to_owned(), fault: fault.to_owned() };
    let size = u64::try_from(vector.size_in_bytes).map_err(|_| bad("its size is negative"))?;
    let body = if vector.storage_type == StorageType::Inline {
        Bytes::from(z85::decode(&vector.path_or_inline_dv).map_err(|_| bad("it is no base85"))?)
    } else {
        let name = object(vector).ok_or_else(|| bad("it lies outside the table"))?;
        // The size precedes the body, and the descriptor repeats it.
        let start =
            u64::try_from(vector.offset.unwrap_or_default()).map_err(|_| bad("its offset is negative"))? + 4;
        log.store.range(&at(&log.dir, &name)?, start..start + size).await?
    };
    let bitmap = body.get(4..).ok_or_else(|| bad("it is cut short"))?;
    let rows = RoaringTreemap::deserialize_from(bitmap).map_err(|e| bad(&e.to_string()))?;
    if u64::try_from(vector.cardinality) != Ok(rows.len()) {
        return Err(bad("it does not hold as many rows as the log says"));
    }
    Ok(rows)
}

/// Writes vectors into one object. Returns their descriptors in the same order.
pub(crate) async fn write(log: &Log, vectors: &[RoaringTreemap]) -> Result<Vec<DeletionVectorDescriptor>> {
    let id = runtime::random::uuid();
    let mut bytes = Vec::new();
    let mut descriptors = Vec::with_capacity(vectors.len());
    let mut writer = StreamingDeletionVectorWriter::new(&mut bytes);
    for rows in vectors {
        let mut vector = KernelDeletionVector::new();
        vector.add_deleted_row_indexes(rows.iter());
        let place = writer.write_deletion_vector(vector).map_err(|e| log.bad(e))?;
        descriptors.push(DeletionVectorDescriptor {
            storage_type: StorageType::UuidRelativePath,
            path_or_inline_dv: z85::encode(id.as_bytes()),
            offset: Some(place.offset),
            size_in_bytes: place.size_in_bytes,
            cardinality: place.cardinality,
        });
    }
    writer.finalize().map_err(|e| log.bad(e))?;
    log.store.put(&at(&log.dir, &format!("deletion_vector_{id}.bin"))?, bytes.into()).await?;
    Ok(descriptors)
}
