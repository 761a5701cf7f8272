//! Opens a partition: all state except the batches is derived from the batches' heads.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::{PartitionLog, SEGMENT, Segment, Slot, parse};
use crate::store::batch::{self, HEAD, Head};
use crate::store::producers::Producers;

impl PartitionLog {
    /// Opens the partition in `dir`, which need not exist; `start` is the first visible offset.
    pub(in super::super) fn open(dir: PathBuf, start: i64) -> io::Result<Self> {
        let mut bases = Vec::new();
        match fs::read_dir(&dir) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry?.file_name();
                    bases.extend(name.to_str().and_then(|n| n.strip_suffix(".log")?.parse::<i64>().ok()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        bases.sort_unstable();
        let mut log = Self {
            dir,
            limit: SEGMENT,
            segments: Vec::new(),
            start,
            next: 0,
            producers: Producers::default(),
            open: BTreeMap::new(),
            aborted: Vec::new(),
        };
        let newest = bases.last().copied();
        for base in bases {
            log.recover(base, Some(base) == newest)?;
        }
        log.start = log.start.max(log.segments.first().map_or(0, |segment| segment.base)).min(log.next);
        Ok(log)
    }

    /// Reads the heads of one file. A torn end is cut off the newest file; in any other file it is an error.
    fn recover(&mut self, base: i64, newest: bool) -> io::Result<()> {
        let path = self.path(base);
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut segment = Segment::new(base);
        self.next = self.next.max(base);
        let mut bytes = [0; HEAD];
        while segment.bytes + HEAD as u64 <= length {
            reader.read_exact(&mut bytes)?;
            let Some(head) = Head::parse(&bytes) else { break };
            let end = segment.bytes + u64::from(head.size);
            if end > length || head.base < self.next {
                break;
            }
            let commits = if head.is_control() {
                let mut whole = bytes.to_vec();
                whole.resize(head.size as usize, 0);
                reader.read_exact(&mut whole[HEAD..])?;
                batch::commits(&parse(whole.into())?)
            } else {
                reader.seek_relative(i64::from(head.size) - HEAD as i64)?;
                None
            };
            segment.slots.push(Slot {
                base: head.base,
                last: head.last,
                position: segment.bytes,
                size: head.size,
                max_timestamp: head.max_timestamp,
            });
            segment.bytes = end;
            self.note(&head, commits);
        }
        if segment.bytes < length {
            if !newest {
                return Err(damaged(&path, segment.bytes));
            }
            tracing::warn!(file = %path.display(), cut = length - segment.bytes, "torn batch cut off");
            OpenOptions::new().write(true).open(&path)?.set_len(segment.bytes)?;
        }
        segment.synced = segment.bytes;
        self.segments.push(segment);
        Ok(())
    }
}

fn damaged(path: &Path, position: u64) -> io::Error {
    let text = format!(
        "`{}` holds no batch at byte {position}; move it away to lose what is behind",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}
