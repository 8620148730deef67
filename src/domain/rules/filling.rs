//! How a level is filled when it begins: who is not eligible is dropped, then the requester; who is away is replaced by the
//! delegate; then reviewers are picked. Where fewer are left than the quorum needs, `escalate_to` is added, and where it is
//! still fewer, triage. Nothing here changes an assignment that exists.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::RuleSet;
use super::assignment::{Assignment, Level, LevelPlan, Pick, Quorum};
use super::explanation::{Dropped, Why};
use crate::domain::ids::{ExceptionId, UserId};

/// How many delegates may stand in for one another: the third must be there.
const DELEGATES_MAX: usize = 3;

/// What is known about people when a level begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// Who is away today, and who stands in.
    pub away: BTreeMap<UserId, Option<UserId>>,
    /// How many open assignments each has; whoever is not here has none.
    pub load: BTreeMap<UserId, u32>,
}

/// For whom a level is filled, and what is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// The exception.
    pub exception: &'a ExceptionId,
    /// Who never reviews it.
    pub requester: &'a UserId,
    /// Absences and load.
    pub people: &'a People,
    /// Says which delegates may review.
    pub rules: &'a RuleSet,
}

impl Assignment {
    /// Fills a level; `None` where there is none of this number. The quorum is a number from here on and never 0: an empty
    /// level never approves.
    pub fn begin(&mut self, number: u32, filling: Filling<'_>) -> Option<Level> {
        let plan = self.levels.get(number.checked_sub(1)? as usize)?;
        let mut dropped = Vec::new();
        let left = filling.left(plan, &plan.candidates, &mut dropped);
        let mut quorum = match plan.quorum {
            Quorum::Any => 1,
            Quorum::All => count(&left).max(1),
            Quorum::Number(number) => number.max(1),
        };
        let mut reviewers = left;
        if count(&reviewers) < quorum {
            let was_empty = reviewers.is_empty();
            for user in filling.left(plan, &plan.escalate_to, &mut dropped) {
                add(&mut reviewers, &user);
            }
            // `all` of nobody is nobody: then it means all of those who stepped in.
            if was_empty && plan.quorum == Quorum::All {
                quorum = count(&reviewers).max(1);
            }
        } else {
            reviewers = filling.pick(plan.pick, number, reviewers, quorum);
        }
        let unassigned = count(&reviewers) < quorum;
        if unassigned {
            for user in self.triage.iter().filter(|user| *user != filling.requester) {
                add(&mut reviewers, user);
            }
        }
        if let Some(explained) = self.explanation.levels.iter_mut().find(|explained| explained.level == number) {
            explained.quorum = Some(quorum);
            explained.reviewers.clone_from(&reviewers);
            explained.dropped = dropped;
        }
        self.explanation.fit();
        Some(Level { number, reviewers, quorum, unassigned })
    }
}

impl LevelPlan {
    /// Who could review on a day when nobody is away, before `pick`, in alphabetical order.
    pub fn available(&self, requester: &UserId) -> BTreeSet<UserId> {
        self.candidates.iter().filter(|user| self.drops(user, requester).is_none()).cloned().collect()
    }

    /// Who of the named is dropped whatever the day, and why.
    pub(super) fn drops(&self, user: &UserId, requester: &UserId) -> Option<Why> {
        if self.not_eligible.contains(user) {
            return Some(Why::NotEligible);
        }
        (user == requester).then_some(Why::Requester)
    }
}

impl Filling<'_> {
    /// Who of the named can review today: themselves, or who stands in for them; each once.
    fn left(&self, plan: &LevelPlan, named: &[UserId], dropped: &mut Vec<Dropped>) -> Vec<UserId> {
        let mut left = Vec::new();
        for user in named {
            let (why, stand_in) = match plan.drops(user, self.requester) {
                Some(why) => (Some(why), None),
                None if !self.people.away.contains_key(user) => (None, Some(user)),
                None => (Some(Why::Away), self.delegate(user)),
            };
            if let Some(why) = why.filter(|_| dropped.iter().all(|dropped| dropped.id != *user)) {
                dropped.push(Dropped { id: user.clone(), why: why.word().to_owned() });
            }
            if let Some(stand_in) = stand_in {
                add(&mut left, stand_in);
            }
        }
        left
    }

    /// Who stands in for somebody who is away. Nobody in the row may be the requester, who would choose the own reviewer, or
    /// not eligible. Delegates who stand in for each other are all away, so the bound ends their row too.
    fn delegate(&self, user: &UserId) -> Option<&UserId> {
        let mut next = self.people.away.get(user)?.as_ref();
        for _ in 0..DELEGATES_MAX {
            let delegate = next?;
            if delegate == self.requester || !self.rules.may_review(delegate) {
                return None;
            }
            match self.people.away.get(delegate) {
                None => return Some(delegate),
                Some(further) => next = further.as_ref(),
            }
        }
        None
    }

    /// As many as the quorum, in the order they were in.
    fn pick(&self, pick: Pick, level: u32, left: Vec<UserId>, quorum: u32) -> Vec<UserId> {
        let load = |user: &UserId| match pick {
            Pick::LeastLoaded => self.people.load.get(user).copied().unwrap_or(0),
            Pick::All | Pick::Hash => 0,
        };
        if pick == Pick::All {
            return left;
        }
        let mut ranked: Vec<_> =
            left.iter().map(|user| (load(user), rank(self.exception, level, user), user.clone())).collect();
        ranked.sort();
        let chosen: BTreeSet<_> = ranked.into_iter().take(quorum as usize).map(|(_, _, user)| user).collect();
        left.into_iter().filter(|user| chosen.contains(user)).collect()
    }
}

/// Where a member stands in the order of `hash`: SHA-256 over exception, level and member, the texts preceded by their
/// length. The same question has the same answer on every machine.
fn rank(exception: &ExceptionId, level: u32, member: &UserId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((exception.as_str().len() as u64).to_be_bytes());
    hash.update(exception.as_str());
    hash.update(level.to_be_bytes());
    hash.update((member.as_str().len() as u64).to_be_bytes());
    hash.update(member.as_str());
    hash.finalize().into()
}

fn count(users: &[UserId]) -> u32 {
    u32::try_from(users.len()).unwrap_or(u32::MAX)
}

fn add(users: &mut Vec<UserId>, user: &UserId) {
    if !users.contains(user) {
        users.push(user.clone());
    }
}

#[cfg(test)]
mod tests;
