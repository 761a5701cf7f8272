//! All operations that change records, producers and offsets.

use runtime::time::Instant;
use std::collections::BTreeMap;
use std::io;

use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::deflated;

use super::batch::{self, Head};
use super::journal::{JournalEntry, Place};
use super::log::Appended;
use super::txn::{Ending, Phase, Txn};
use super::{BrokerState, Refusal, Store, StoredTopic};

/// The most bytes of a batch unless the topic sets `max.message.bytes`.
const MAX_BATCH: i64 = 64 << 20;
/// Ids are journalled in blocks ahead, so that assigning one seldom writes.
const PRODUCER_BLOCK: i64 = 1000;

/// A producer id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub id: i64,
    pub epoch: i16,
}

impl Store {
    /// Stores a batch that a client sent. Returns the offset of its first record.
    pub(crate) fn produce(
        &self,
        topic: &StoredTopic,
        partition: i32,
        batch: deflated::Batch,
    ) -> Result<i64, Refusal> {
        let place = topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let head = Head::of(&batch);
        if batch.magic != 2 {
            return Err(ErrorCode::UnsupportedForMessageFormat.into());
        }
        if head.records == 0 || batch.last_offset_delta < 0 || head.is_control() {
            return Err(ErrorCode::InvalidRecord.into());
        }
        if i64::from(head.size) > topic.number("max.message.bytes").unwrap_or(MAX_BATCH) {
            return Err(ErrorCode::MessageTooLarge.into());
        }
        let appended = if head.is_transactional() {
            // Held over the append, so that no marker comes between the check and the records.
            let state = self.0.state.lock();
            let txn = state.txns.values().find(|txn| txn.producer == head.producer);
            let txn = txn.ok_or(ErrorCode::InvalidProducerIdMapping)?;
            txn.check(head.producer, head.epoch)?;
            if !txn.may_write(&(topic.name.clone(), partition)) {
                return Err(ErrorCode::InvalidTxnState.into());
            }
            place.append(batch)?
        } else {
            place.append(batch)?
        };
        match appended {
            Appended::At(offset) => {
                self.0.moved.send_modify(|moved| *moved += 1);
                Ok(offset)
            }
            Appended::Repeat(offset) => Ok(offset),
            Appended::Refused(code) => Err(code.into()),
        }
    }

    /// A producer id: a new one, or the given one with a higher epoch.
    pub(crate) fn idempotent(&self, current: Option<Identity>) -> Result<Identity, Refusal> {
        match current {
            Some(Identity { id, epoch }) if epoch < i16::MAX - 1 => Ok(Identity { id, epoch: epoch + 1 }),
            _ => Ok(Identity { id: new_producer(&mut self.0.state.lock())?, epoch: 0 }),
        }
    }

    /// Assigns a transactional id to the caller. The previous holder is fenced, and its open transaction is
    /// aborted.
    pub(crate) fn transactional(
        &self,
        name: &str,
        timeout_ms: i32,
        current: Option<Identity>,
    ) -> Result<Identity, Refusal> {
        let mut state = self.0.state.lock();
        if let Some(txn) = state.txns.get(name)
            && let Some(claimed) = current
            && (claimed.id, claimed.epoch) != (txn.producer, txn.epoch)
        {
            return Err(ErrorCode::ProducerFenced.into());
        }
        self.abort_if_open(&mut state, name)?;
        let identity = match state.txns.get(name) {
            Some(txn) if txn.epoch < i16::MAX - 1 => Identity { id: txn.producer, epoch: txn.epoch + 1 },
            _ => Identity { id: new_producer(&mut state)?, epoch: 0 },
        };
        let Identity { id: producer, epoch } = identity;
        state.journal.append(&JournalEntry::Producer {
            txn: name.to_owned(),
            producer,
            epoch,
            timeout_ms,
        })?;
        state.txns.insert(name.to_owned(), Txn::new(producer, epoch, timeout_ms));
        Ok(identity)
    }

    /// Lets a transaction write to `places`, and opens it if needed.
    pub(crate) fn txn_writes(&self, name: &str, who: Identity, places: Vec<Place>) -> Result<(), Refusal> {
        let mut state = self.0.state.lock();
        let txn = txn_of(&mut state, name, who)?;
        if matches!(txn.phase, Phase::Ending { .. }) {
            return Err(ErrorCode::ConcurrentTransactions.into());
        }
        if matches!(txn.phase, Phase::Open(_)) && places.iter().all(|place| txn.places.contains(place)) {
            return Ok(());
        }
        state.journal.append(&JournalEntry::Writes { txn: name.to_owned(), places: places.clone() })?;
        let txn = txn_of(&mut state, name, who)?;
        txn.begin(Instant::now());
        txn.places.extend(places);
        Ok(())
    }

    /// Adds offsets that the group gets when the transaction commits.
    pub(crate) fn txn_promises(
        &self,
        name: &str,
        who: Identity,
        group: &str,
        offsets: Vec<(Place, i64)>,
    ) -> Result<(), Refusal> {
        let mut state = self.0.state.lock();
        if matches!(txn_of(&mut state, name, who)?.phase, Phase::Ending { .. }) {
            return Err(ErrorCode::ConcurrentTransactions.into());
        }
        let change = JournalEntry::Promises {
            txn: name.to_owned(),
            group: group.to_owned(),
            offsets: offsets.clone(),
        };
        state.journal.append(&change)?;
        let txn = txn_of(&mut state, name, who)?;
        txn.begin(Instant::now());
        txn.promises.extend(offsets.into_iter().map(|(place, offset)| (group.to_owned(), place, offset)));
        Ok(())
    }

    /// Commits or aborts a transaction.
    pub(crate) fn txn_end(&self, name: &str, who: Identity, commit: bool) -> Result<(), Refusal> {
        let mut state = self.0.state.lock();
        match txn_of(&mut state, name, who)?.ending(commit)? {
            Ending::Done => Ok(()),
            Ending::Now => self.end(&mut state, name, commit),
        }
    }

    /// Commits offsets of a group.
    pub(crate) fn commit_offsets(&self, group: &str, offsets: Vec<(Place, i64)>) -> Result<(), Refusal> {
        let mut state = self.0.state.lock();
        state.journal.append(&JournalEntry::Offsets { group: group.to_owned(), offsets: offsets.clone() })?;
        state.offsets.entry(group.to_owned()).or_default().extend(offsets);
        Ok(())
    }

    /// Offsets a group has committed.
    pub(crate) fn offsets(&self, group: &str) -> BTreeMap<Place, i64> {
        self.0.state.lock().offsets.get(group).cloned().unwrap_or_default()
    }

    /// Deletes a group.
    pub(crate) fn drop_group(&self, group: &str) -> Result<(), Refusal> {
        let mut state = self.0.state.lock();
        if state.groups.get(group).is_some_and(|(detail, _)| !detail.members.is_empty()) {
            return Err(ErrorCode::NonEmptyGroup.into());
        }
        let known = state.groups.remove(group).is_some() | state.offsets.remove(group).is_some();
        if !known {
            return Err(ErrorCode::GroupIdNotFound.into());
        }
        Ok(state.journal.append(&JournalEntry::Group { dropped: group.to_owned() })?)
    }

    /// Aborts transactions that are open for too long, and fences their producers.
    pub(super) fn abort_overdue(&self, now: Instant) {
        let mut state = self.0.state.lock();
        let overdue: Vec<String> =
            state.txns.iter().filter(|(_, txn)| txn.is_overdue(now)).map(|(name, _)| name.clone()).collect();
        for name in overdue {
            tracing::warn!(transactional_id = name, "transaction aborted, it was open for too long");
            if let Err(refusal) = self.expire(&mut state, &name) {
                let code = self.code(refusal);
                tracing::error!(?code, transactional_id = name, "an overdue transaction stays open");
            }
        }
    }

    /// Finishes transactions that were decided when the process died, and aborts records of unknown
    /// transactions.
    pub(super) fn finish_decided(&self) -> io::Result<()> {
        let disk = |refusal| match refusal {
            Refusal::Disk(error) => error,
            Refusal::Code(code) => io::Error::other(format!("{code:?}")),
        };
        let mut state = self.0.state.lock();
        let decided = state.txns.iter().filter_map(|(name, txn)| match txn.phase {
            Phase::Ending { commit } => Some((name.clone(), commit)),
            _ => None,
        });
        for (name, commit) in decided.collect::<Vec<_>>() {
            self.finish(&mut state, &name, commit).map_err(disk)?;
        }
        for topic in self.topics() {
            for (index, partition) in (0_i32..).zip(&topic.partitions) {
                let place = (topic.name.clone(), index);
                let open: Vec<i64> = partition.with(|log| log.open_producers().collect());
                for producer in open {
                    let known = state.txns.values().find(|txn| txn.producer == producer);
                    if !known.is_some_and(|txn| txn.may_write(&place)) {
                        let epoch = known.map_or(0, |txn| txn.epoch);
                        mark(partition, producer, epoch, false).map_err(disk)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn abort_if_open(&self, state: &mut BrokerState, name: &str) -> Result<(), Refusal> {
        match state.txns.get(name).map(|txn| txn.phase) {
            Some(Phase::Open(_)) => self.end(state, name, false),
            Some(Phase::Ending { commit }) => self.finish(state, name, commit),
            _ => Ok(()),
        }
    }

    fn expire(&self, state: &mut BrokerState, name: &str) -> Result<(), Refusal> {
        self.abort_if_open(state, name)?;
        let Some(txn) = state.txns.get(name) else { return Ok(()) };
        let (producer, timeout_ms) = (txn.producer, txn.timeout_ms);
        let (producer, epoch) =
            if txn.epoch < i16::MAX - 1 { (producer, txn.epoch + 1) } else { (new_producer(state)?, 0) };
        state.journal.append(&JournalEntry::Producer {
            txn: name.to_owned(),
            producer,
            epoch,
            timeout_ms,
        })?;
        state.txns.insert(name.to_owned(), Txn::new(producer, epoch, timeout_ms));
        Ok(())
    }

    fn end(&self, state: &mut BrokerState, name: &str, commit: bool) -> Result<(), Refusal> {
        state.journal.append(&JournalEntry::Decided { txn: name.to_owned(), commit })?;
        if let Some(txn) = state.txns.get_mut(name) {
            txn.phase = Phase::Ending { commit };
        }
        self.finish(state, name, commit)
    }

    /// Writes the missing markers, then the end.
    fn finish(&self, state: &mut BrokerState, name: &str, commit: bool) -> Result<(), Refusal> {
        let Some(txn) = state.txns.get(name) else { return Ok(()) };
        for (topic, index) in &txn.places {
            let Some(topic) = self.topic(topic) else { continue };
            let Some(partition) = topic.partition(*index) else { continue };
            // Nothing was written there, or the marker was written before the process died.
            if partition.with(|log| log.open_producers().any(|open| open == txn.producer)) {
                mark(partition, txn.producer, txn.epoch, commit)?;
            }
        }
        state.journal.append(&JournalEntry::Ended { txn: name.to_owned() })?;
        let Some(txn) = state.txns.get_mut(name) else { return Ok(()) };
        let promises = std::mem::take(&mut txn.promises);
        txn.close(commit);
        if commit {
            for (group, place, offset) in promises {
                state.offsets.entry(group).or_default().insert(place, offset);
            }
        }
        self.0.moved.send_modify(|moved| *moved += 1);
        Ok(())
    }
}

fn mark(partition: &super::Partition, producer: i64, epoch: i16, commit: bool) -> Result<(), Refusal> {
    let marker = batch::marker(producer, epoch, commit, super::now())
        .map_err(|error| Refusal::Disk(io::Error::other(error)))?;
    partition.append(marker)?;
    Ok(())
}

fn txn_of<'a>(state: &'a mut BrokerState, name: &str, who: Identity) -> Result<&'a mut Txn, ErrorCode> {
    let txn = state.txns.get_mut(name).ok_or(ErrorCode::InvalidProducerIdMapping)?;
    txn.check(who.id, who.epoch)?;
    Ok(txn)
}

fn new_producer(state: &mut BrokerState) -> Result<i64, Refusal> {
    let id = state.next_producer;
    if id >= state.reserved_producers {
        let next = id + PRODUCER_BLOCK;
        state.journal.append(&JournalEntry::Producers { next })?;
        state.reserved_producers = next;
    }
    state.next_producer = id + 1;
    Ok(id)
}
