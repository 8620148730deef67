//! Limits and timers, as they stand under `defaults`, a rule or a level. Each key is merged by itself: the innermost place
//! that says it wins.

use super::Compiler;
use crate::domain::rules::Limits;
use crate::domain::rules::assignment::{KevDueDate, OnDeadline, Timers};
use crate::domain::rules::reader::{Members, Spot};

/// The longest extension where no limit says otherwise.
const MAX_EXTENSION_DAYS: u16 = 365;

/// The keys of [`Clock`], wherever they may stand.
pub(in crate::domain::rules) const TIMERS: [&str; 4] =
    ["remind_after", "escalate_after", "review_within", "on_deadline"];

/// The keys of [`Bounds`], and the words of keys here.
pub(in crate::domain::rules) const LIMITS: [&str; 4] =
    ["max_extension", "max_cumulative_extension", "max_previous_exceptions", "kev_due_date"];
pub(in crate::domain::rules) const KEV_DUE_DATES: [(&str, KevDueDate); 2] =
    [("cap", KevDueDate::Cap), ("ignore", KevDueDate::Ignore)];
pub(in crate::domain::rules) const DEADLINES: [(&str, OnDeadline); 3] =
    [("keep", OnDeadline::Keep), ("cancel", OnDeadline::Cancel), ("deny", OnDeadline::Deny)];

/// Limits as one place says them.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds<'a> {
    max_extension: Option<u16>,
    max_cumulative_extension: Option<u16>,
    max_previous_exceptions: Option<u32>,
    kev_due_date: Option<(KevDueDate, Spot<'a>)>,
}

/// Timers as one place says them, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    remind_after: Option<u64>,
    escalate_after: Option<u64>,
    review_within: Option<u64>,
    on_deadline: Option<OnDeadline>,
}

impl<'a> Bounds<'a> {
    pub(super) fn over(self, outer: &Self) -> Self {
        Self {
            max_extension: self.max_extension.or(outer.max_extension),
            max_cumulative_extension: self.max_cumulative_extension.or(outer.max_cumulative_extension),
            max_previous_exceptions: self.max_previous_exceptions.or(outer.max_previous_exceptions),
            kev_due_date: self.kev_due_date.or_else(|| outer.kev_due_date.clone()),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_extension_days: i64::from(self.max_extension.unwrap_or(MAX_EXTENSION_DAYS)),
            max_cumulative_extension_days: self.max_cumulative_extension.map(i64::from),
            max_previous_exceptions: self.max_previous_exceptions,
            kev_due_date: self.kev_due_date.as_ref().map_or(KevDueDate::Cap, |(kev, _)| *kev),
        }
    }

    /// Where the mandated date is ignored, if it is.
    pub(super) fn ignores_mandate(&self) -> Option<&Spot<'a>> {
        self.kev_due_date.as_ref().filter(|(kev, _)| *kev == KevDueDate::Ignore).map(|(_, spot)| spot)
    }
}

impl Clock {
    pub(super) fn over(self, outer: Self) -> Self {
        Self {
            remind_after: self.remind_after.or(outer.remind_after),
            escalate_after: self.escalate_after.or(outer.escalate_after),
            review_within: self.review_within.or(outer.review_within),
            on_deadline: self.on_deadline.or(outer.on_deadline),
        }
    }

    pub(super) fn timers(self) -> Timers {
        Timers {
            remind_after_s: self.remind_after,
            escalate_after_s: self.escalate_after,
            review_within_s: self.review_within,
            on_deadline: self.on_deadline.unwrap_or_default(),
        }
    }
}

impl<'a> Compiler<'a> {
    pub(super) fn bounds(&mut self, spot: Option<&Spot<'a>>) -> Bounds<'a> {
        let reader = &mut self.reader;
        let Some(limits) = spot.and_then(|spot| reader.members(spot, &LIMITS)) else { return Bounds::default() };
        Bounds {
            max_extension: limits.get("max_extension").and_then(|spot| reader.days(&spot)),
            max_cumulative_extension: limits.get("max_cumulative_extension").and_then(|spot| reader.days(&spot)),
            max_previous_exceptions: limits.get("max_previous_exceptions").and_then(|spot| reader.count(&spot)),
            kev_due_date: limits
                .get("kev_due_date")
                .and_then(|spot| reader.word(&spot, &KEV_DUE_DATES).map(|word| (word, spot))),
        }
    }

    /// The timers beside other keys. They are kept with the levels, and each is said not to act yet.
    pub(super) fn clock(&mut self, members: &Members<'a>) -> Clock {
        let reader = &mut self.reader;
        let mut seconds = |key: &'static str| {
            let spot = members.get(key)?;
            reader.dormant(&spot, key);
            reader.seconds(&spot)
        };
        let [remind_after, escalate_after, review_within] =
            ["remind_after", "escalate_after", "review_within"].map(&mut seconds);
        let on_deadline = members.get("on_deadline").and_then(|spot| {
            let word = reader.word(&spot, &DEADLINES)?;
            if word != OnDeadline::Keep {
                reader.dormant(&spot, "on_deadline");
            }
            Some(word)
        });
        Clock { remind_after, escalate_after, review_within, on_deadline }
    }
}
