//! Who of a group has which partitions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{Offset, TopicName};

/// A partition of a topic.
pub(super) type Place = (TopicName, i32);

/// What the group tells a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Assigned(Vec<Place>),
    Revoked(Vec<Place>),
}

#[derive(Default)]
struct Member {
    topics: BTreeSet<TopicName>,
    owned: BTreeSet<Place>,
    told: VecDeque<Told>,
}

/// The members of a group, in the order in which they joined.
#[derive(Default)]
pub(super) struct Group {
    members: BTreeMap<u64, Member>,
    /// What was stored for people to see.
    pub lag: BTreeMap<Place, Offset>,
}

impl Group {
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
    pub fn join(&mut self, member: u64, topics: &[TopicName]) {
        self.members.insert(member, Member { topics: topics.iter().cloned().collect(), ..Member::default() });
    }
    pub fn leave(&mut self, member: u64) {
        self.members.remove(&member);
    }
    /// The next that a member is told.
    pub fn told(&mut self, member: u64) -> Option<Told> {
        self.members.get_mut(&member)?.told.pop_front()
    }

    /// Shares what there is: everyone keeps what it has, as far as that is its share.
    pub fn share(&mut self, there: &BTreeSet<Place>) {
        let wanted = |member: &Member, place: &Place| member.topics.contains(&place.0);
        let is_read = |place: &&Place| self.members.values().any(|member| wanted(member, place));
        let there: BTreeSet<Place> = there.iter().filter(is_read).cloned().collect();
        let mut free = there.clone();
        let count = self.members.len().max(1);
        let (least, more) = (there.len() / count, there.len() % count);
        let mut keep: BTreeMap<u64, BTreeSet<Place>> = BTreeMap::new();
        for (at, (id, member)) in self.members.iter().enumerate() {
            let share = least + usize::from(at < more);
            let kept: BTreeSet<Place> =
                member.owned.iter().filter(|place| there.contains(*place)).take(share).cloned().collect();
            free.retain(|place| !kept.contains(place));
            keep.insert(*id, kept);
        }
        for (at, (id, member)) in self.members.iter().enumerate() {
            let share = least + usize::from(at < more);
            let kept = keep.entry(*id).or_default();
            let lacking = share.saturating_sub(kept.len());
            let given: Vec<Place> =
                free.iter().filter(|place| wanted(member, place)).take(lacking).cloned().collect();
            for place in given {
                free.remove(&place);
                kept.insert(place);
            }
        }
        // What is beyond the shares of those that want it goes to the first that does.
        for place in free {
            if let Some((id, _)) = self.members.iter().find(|(_, member)| wanted(member, &place)) {
                keep.entry(*id).or_default().insert(place);
            }
        }
        for (id, member) in &mut self.members {
            let now = keep.remove(id).unwrap_or_default();
            let revoked: Vec<Place> = member.owned.difference(&now).cloned().collect();
            let assigned: Vec<Place> = now.difference(&member.owned).cloned().collect();
            if !revoked.is_empty() {
                member.told.push_back(Told::Revoked(revoked));
            }
            if !assigned.is_empty() {
                member.told.push_back(Told::Assigned(assigned));
            }
            member.owned = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: i32) -> BTreeSet<Place> {
        let topic: TopicName = "t".parse().expect("valid");
        (0..count).map(|partition| (topic.clone(), partition)).collect()
    }

    /// Joins, leaves and growth in any order: every partition has one owner, and shares differ by one at most.
    #[test]
    fn every_partition_has_one_owner_and_the_shares_are_even() {
        let topic: TopicName = "t".parse().expect("valid");
        let mut group = Group::default();
        let mut count = 0;
        for (step, id) in [(0, 1), (3, 2), (0, 3), (2, 4), (0, -2), (1, 5), (0, -1), (0, -3)] {
            count += step;
            match u64::try_from(id) {
                Ok(id) => group.join(id, std::slice::from_ref(&topic)),
                Err(_) => group.leave(i32::unsigned_abs(id).into()),
            }
            group.share(&places(count));
            let owned: Vec<&Place> = group.members.values().flat_map(|member| &member.owned).collect();
            assert_eq!(owned.len(), usize::try_from(count).expect("few"));
            assert_eq!(owned.into_iter().cloned().collect::<BTreeSet<_>>(), places(count));
            let sizes: Vec<usize> = group.members.values().map(|member| member.owned.len()).collect();
            assert!(sizes.iter().max() <= sizes.iter().min().map(|least| least + 1).as_ref(), "{sizes:?}");
        }
    }

    #[test]
    fn what_nobody_reads_counts_for_no_share() {
        let topic: TopicName = "t".parse().expect("valid");
        let mut all = places(2);
        all.extend((0..10).map(|partition| ("other".parse().expect("valid"), partition)));
        let mut group = Group::default();
        group.join(1, std::slice::from_ref(&topic));
        group.join(2, std::slice::from_ref(&topic));
        group.share(&all);
        assert!(group.members.values().all(|member| member.owned.len() == 1));
    }

    #[test]
    fn nobody_gives_up_what_is_within_its_share() {
        let topic: TopicName = "t".parse().expect("valid");
        let mut group = Group::default();
        group.join(1, std::slice::from_ref(&topic));
        group.share(&places(4));
        assert_eq!(group.told(1), Some(Told::Assigned(places(4).into_iter().collect())));
        group.join(2, std::slice::from_ref(&topic));
        group.share(&places(4));
        let Some(Told::Revoked(revoked)) = group.told(1) else { panic!("half of it goes") };
        assert_eq!(revoked.len(), 2);
        assert_eq!(group.told(1), None, "and the other half stays");
        assert_eq!(group.told(2), Some(Told::Assigned(revoked)));
    }
}
