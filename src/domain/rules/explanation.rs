//! How an assignment was found: the rules that were tried, the levels and who of them was left out. Stored and published
//! with every assignment, so it has a bound.

use serde::{Deserialize, Serialize};

use crate::domain::exception::Exception;
use crate::domain::ids::UserId;

/// Largest explanation, in bytes of JSON: it goes out with every assignment and stands in the exception's row, which every
/// decision rewrites.
pub(super) const EXPLANATION_BYTES_MAX: usize = 16 * 1024;

/// Room for the rules that were tried: the rest is for the levels, which are filled later.
const TRIED_BYTES_MAX: usize = 12 * 1024;

/// People of one level that an explanation still shows when it would be too long otherwise.
const SHOWN_PEOPLE_MAX: usize = 10;

/// How an assignment was found. Published with it and shown by the look-ups: the names never change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Explanation {
    /// The file's `version`.
    pub rules_version: String,
    /// SHA-256 of the file, in hex.
    pub rules_hash: String,
    /// The rule that matched.
    pub rule: String,
    /// Whether parts were left out to keep it below 16 KiB.
    pub truncated: bool,
    /// The rules in order, up to the one that matched.
    pub tried: Vec<Tried>,
    /// The levels that have begun or will.
    pub levels: Vec<LevelExplained>,
}

/// One rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tried {
    /// Its name.
    pub rule: String,
    /// Whether all its conditions held.
    pub matched: bool,
    /// All of the matched rule; of another the first that failed.
    pub conditions: Vec<Condition>,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Condition {
    /// The path.
    pub field: String,
    /// What the rule wants.
    pub wanted: String,
    /// What was there; `None` for a missing field.
    pub actual: Option<String>,
    /// Whether it held.
    pub holds: bool,
}

/// One level, as it was filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LevelExplained {
    /// Counts from 1.
    pub level: u32,
    /// Whom the rule names.
    pub candidates: Vec<UserId>,
    /// Who of them was left out, and why.
    pub dropped: Vec<Dropped>,
    /// Who reviews, once the level has begun.
    pub reviewers: Vec<UserId>,
    /// How many must approve, once the level has begun.
    pub quorum: Option<u32>,
    /// How reviewers are picked from those who are left.
    pub pick: String,
}

/// A candidate who does not review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dropped {
    /// Who.
    pub id: UserId,
    /// `requester`, `not_eligible` or `away`.
    pub why: String,
}

/// Why a candidate does not review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Requester,
    NotEligible,
    Away,
}

impl Why {
    pub(super) fn word(self) -> &'static str {
        match self {
            Why::Requester => "requester",
            Why::NotEligible => "not_eligible",
            Why::Away => "away",
        }
    }
}

/// As many rules as there is room for, in the order of the file, and whether some were left out. They come from the one that
/// matched backwards, and are made only while there is room. The first is always taken.
pub(super) fn nearest(backwards: impl Iterator<Item = Tried>) -> (Vec<Tried>, bool) {
    let (mut taken, mut bytes, mut left_out) = (Vec::new(), 0, false);
    for tried in backwards {
        bytes += tried.bytes_max();
        left_out = bytes > TRIED_BYTES_MAX && !taken.is_empty();
        if left_out {
            break;
        }
        taken.push(tried);
    }
    taken.reverse();
    (taken, left_out)
}

/// Length of a text as JSON, at most: what has to be escaped counts as the longest escape, and nothing is written for it.
fn text_bytes_max(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\').count();
    text.len() + 5 * escaped + r#""","#.len()
}

impl Tried {
    fn bytes_max(&self) -> usize {
        const NAMES: usize = r#"{"rule":,"matched":false,"conditions":[]},"#.len();
        const CONDITION: usize = r#"{"field":,"wanted":,"actual":null,"holds":false},"#.len();
        let conditions = self.conditions.iter().map(|condition| {
            let actual = condition.actual.as_deref().map_or(0, text_bytes_max);
            CONDITION + text_bytes_max(&condition.field) + text_bytes_max(&condition.wanted) + actual
        });
        NAMES + text_bytes_max(&self.rule) + conditions.sum::<usize>()
    }
}

impl LevelExplained {
    fn bytes_max(&self) -> usize {
        const NAMES: usize =
            r#"{"level":4294967295,"candidates":[],"dropped":[],"reviewers":[],"quorum":4294967295,"pick":},"#.len();
        const DROPPED: usize = r#"{"id":,"why":},"#.len();
        let people = self.candidates.iter().chain(&self.reviewers).map(|user| text_bytes_max(user.as_str()));
        let dropped = self
            .dropped
            .iter()
            .map(|dropped| DROPPED + text_bytes_max(dropped.id.as_str()) + text_bytes_max(&dropped.why));
        NAMES + text_bytes_max(&self.pick) + people.sum::<usize>() + dropped.sum::<usize>()
    }
}

impl Explanation {
    /// Takes over how the levels of an exception were filled: its own explanation says who reviews those that have begun, and
    /// who was dropped on that day.
    pub fn begun(&mut self, exception: &Exception) {
        for stored in exception.assignment.explanation.levels.iter().filter(|stored| stored.quorum.is_some()) {
            if let Some(level) = self.levels.iter_mut().find(|level| level.level == stored.level) {
                level.reviewers.clone_from(&stored.reviewers);
                level.dropped.clone_from(&stored.dropped);
                level.quorum = stored.quorum;
                self.truncated |= exception.assignment.explanation.truncated;
            }
        }
    }

    /// What was found for a field, if any of the conditions that are told looked at it.
    pub fn found(&self, field: &str) -> Option<&str> {
        let mut conditions = self.tried.iter().flat_map(|tried| &tried.conditions);
        conditions.find(|condition| condition.field == field)?.actual.as_deref()
    }

    /// Leaves out people of long lists that take more than half, then the farthest rules, then other long lists, then the later
    /// levels, then the conditions, until it is below 16 KiB. The matched rule stays, if only by name.
    pub(super) fn fit(&mut self) {
        while self.is_too_large() {
            self.truncated = true;
            let crowded = |level: &LevelExplained| [level.candidates.len(), level.reviewers.len(), level.dropped.len()];
            let is_crowded = self.levels.iter().flat_map(crowded).any(|people| people > SHOWN_PEOPLE_MAX);
            let levels: usize = self.levels.iter().map(LevelExplained::bytes_max).sum();
            if self.tried.len() > 1 && !(is_crowded && levels > EXPLANATION_BYTES_MAX / 2) {
                self.tried.drain(..self.tried.len() / 2);
            } else if is_crowded {
                for level in &mut self.levels {
                    level.candidates.truncate(SHOWN_PEOPLE_MAX);
                    level.reviewers.truncate(SHOWN_PEOPLE_MAX);
                    level.dropped.truncate(SHOWN_PEOPLE_MAX);
                }
            } else if self.levels.len() > 1 {
                self.levels.truncate(self.levels.len() / 2);
            } else if self.tried.iter().any(|tried| !tried.conditions.is_empty()) {
                for tried in &mut self.tried {
                    tried.conditions.truncate(tried.conditions.len() / 2);
                }
            } else {
                return;
            }
        }
    }

    fn is_too_large(&self) -> bool {
        self.bytes_max() > EXPLANATION_BYTES_MAX
    }

    /// Length as JSON, at most. Added up, because it is asked whenever a level begins and an explanation is long.
    pub(super) fn bytes_max(&self) -> usize {
        const NAMES: usize =
            r#"{"rules_version":,"rules_hash":,"rule":,"truncated":false,"tried":[],"levels":[]}"#.len();
        let texts = [&self.rules_version, &self.rules_hash, &self.rule].map(|text| text_bytes_max(text));
        NAMES
            + texts.iter().sum::<usize>()
            + self.tried.iter().map(Tried::bytes_max).sum::<usize>()
            + self.levels.iter().map(LevelExplained::bytes_max).sum::<usize>()
    }
}
