//! A second, independent idea of the lifecycle: it folds the events in the order in which the database first saw them, and
//! says what has to come of each. It knows nothing of the crate's domain but dates and digests.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use reprieve::domain::ids::Digest;
use reprieve::store::EventKey;
use sha2::{Digest as _, Sha256};

use super::database::Logged;
use super::traffic::{Decide, MANAGER, Meaning, Sent, Submit};
use super::world::Poison;

const TRIAGE: &str = "lead@x.org";
const EXTENSION_DAYS_MAX: i64 = 200;
const BY_LOAD: &str = "simulation.2";
const JUST_PASSED: &str = "2100-01-01";

/// Reviewers and quorum of a level.
type Level = (&'static [&'static str], usize);

/// The rules of the simulation, as a person would say them: name and levels. Those of version 2 pick by load.
fn rule(version: &str, severity: &str) -> (&'static str, &'static [Level]) {
    match (severity, version == BY_LOAD) {
        ("critical", false) => ("critical", &[(&["ada@x.org", "ben@x.org", "cyd@x.org"], 2), (&["dee@x.org"], 1)]),
        ("critical", true) => {
            ("critical", &[(&["ada@x.org", "ben@x.org", "cyd@x.org"], 2), (&["dee@x.org", MANAGER], 1)])
        }
        ("low", _) => ("nobody", &[(&[], 1)]),
        (_, false) => ("fallback", &[(&["fay@x.org", "ada@x.org"], 1)]),
        (_, true) => ("fallback", &[(&["fay@x.org", "ada@x.org", "ben@x.org"], 1)]),
    }
}

/// Open assignments of each reviewer.
pub(crate) type Load = BTreeMap<&'static str, u32>;

/// Of equals whoever has the lower SHA-256 over exception, level and member, each text preceded by its length.
fn tie(exception: &str, level: usize, member: &str) -> Vec<u8> {
    let length = |text: &str| (text.len() as u64).to_be_bytes();
    let level = u32::try_from(level).unwrap().to_be_bytes();
    let whole = [&length(exception), exception.as_bytes(), &level, &length(member), member.as_bytes()].concat();
    Sha256::digest(&whole).to_vec()
}

/// What has to become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Applied,
    Refused(&'static str),
    Failed(&'static str),
    Parked,
}

/// One exception as it has to be.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) submit: Submit,
    pub(crate) state: (&'static str, &'static str),
    pub(crate) superseded: bool,
    pub(crate) revision: u32,
    pub(crate) approved: Option<NaiveDate>,
    pub(crate) level: usize,
    pub(crate) votes: Vec<(&'static str, usize, NaiveDate)>,
    /// What it has to have said, in order.
    pub(crate) said: Vec<String>,
    /// What its history has to hold, in order.
    pub(crate) history: Vec<String>,
    digest: Digest,
    /// The version of the rules that were in force when it was submitted.
    rules: String,
    reviewers: Vec<&'static str>,
    quorum: usize,
    unassigned: bool,
    decisions: BTreeMap<String, Digest>,
}

/// The fold.
#[derive(Default)]
pub(crate) struct Model<'a> {
    pub(crate) cases: BTreeMap<String, Case>,
    pub(crate) ends: BTreeMap<EventKey, End>,
    /// Answers to what was refused or failed, with the number of each.
    pub(crate) rejected: BTreeMap<String, u32>,
    /// Contents that came under a known id.
    pub(crate) conflicts: BTreeSet<(EventKey, Digest)>,
    /// Which exceptions of a ticket were approved.
    pub(crate) approved: BTreeMap<String, u32>,
    /// The content of each event that had an effect, or came first.
    acting: BTreeMap<EventKey, Digest>,
    /// Contents that were looked at, other than as conflicts.
    pub(crate) processed: BTreeSet<(EventKey, Digest)>,
    /// Failures that nobody has resolved, each with its reason.
    pub(crate) open: BTreeMap<(EventKey, Digest), &'static str>,
    /// Which rules were in force when an exception was submitted: any that some instance has; all else follows from it.
    versions: BTreeMap<String, String>,
    parked: Vec<&'a Sent>,
    poison: BTreeMap<EventKey, Poison>,
    /// What was announced as failed, and why.
    announced: BTreeSet<(EventKey, Digest, &'static str)>,
    /// Events that fail the next time, because of what processing them did before.
    blamed: BTreeMap<EventKey, &'static str>,
}

impl<'a> Model<'a> {
    /// Folds the log. `Err` says what in it cannot be.
    pub(crate) fn fold(
        log: &[Logged],
        sent: &BTreeMap<(EventKey, Digest), &'a Sent>,
        poison: &BTreeMap<EventKey, Poison>,
        versions: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let mut model = Self { poison: poison.clone(), versions, ..Self::default() };
        for logged in log {
            let find = |key, digest| sent.get(&(key, digest)).copied().ok_or("an event that nobody sent");
            match *logged {
                Logged::First(key, digest) => model.first(find(key, digest)?),
                Logged::Conflict(key, digest) => model.conflict(find(key, digest)?),
                Logged::Again(key, digest) => model.again(find(key, digest)?),
                Logged::Mended(key) => drop(model.poison.remove(&key)),
                Logged::Blamed(key, reason) => drop(model.blamed.insert(key, reason)),
                Logged::Orphaned(key) => {
                    let at = model.parked.iter().position(|sent| sent.key == key);
                    let sent = model.parked.remove(at.ok_or("an event ended as orphaned but was not waiting")?);
                    model.end(sent, End::Failed("orphaned"));
                }
            }
        }
        Ok(model)
    }

    fn first(&mut self, sent: &'a Sent) {
        let end = self.process(sent);
        self.end(sent, end);
        if end == End::Parked {
            self.parked.push(sent);
        }
        self.release();
    }

    /// An operator lets a failure in again: only where its (source, id) has had no effect so far.
    fn again(&mut self, sent: &'a Sent) {
        let was = self.open.remove(&(sent.key, sent.digest));
        if !matches!(self.ends.get(&sent.key), Some(End::Failed(_))) {
            if self.acting.get(&sent.key) != Some(&sent.digest) {
                self.conflict(sent);
            }
            return;
        }
        let end = match self.process(sent) {
            End::Parked if was == Some("orphaned") => End::Failed("orphaned"),
            end => end,
        };
        self.end(sent, end);
        if end == End::Parked {
            self.parked.push(sent);
        }
        self.release();
    }

    fn conflict(&mut self, sent: &Sent) {
        self.conflicts.insert((sent.key, sent.digest));
        self.fail(sent, "id_conflict");
    }

    fn process(&mut self, sent: &'a Sent) -> End {
        self.processed.insert((sent.key, sent.digest));
        if let Some(reason) = self.blamed.remove(&sent.key) {
            return End::Failed(reason);
        }
        match (self.poison.get(&sent.key), &sent.meaning) {
            (_, Meaning::Broken(reason)) => End::Failed(reason),
            (Some(Poison::RefusedLate), Meaning::Decide(decide)) if !self.cases.contains_key(&decide.exception) => {
                End::Parked
            }
            (Some(Poison::Crash | Poison::Kill), _) => End::Failed("crash_loop"),
            (Some(_), _) => End::Failed("attempts_exhausted"),
            (None, Meaning::Submit(submit)) => self.submit(sent, submit),
            (None, Meaning::Decide(decide)) => self.decide(sent, decide),
        }
    }

    /// What waited for an exception that is there now.
    fn release(&mut self) {
        let is_there =
            |sent: &&Sent| matches!(&sent.meaning, Meaning::Decide(d) if self.cases.contains_key(&d.exception));
        let (early, waiting): (Vec<_>, Vec<_>) = self.parked.drain(..).partition(is_there);
        self.parked = waiting;
        // One that the database refuses takes with it what waited beside it, but not the submission.
        let refused = early.iter().any(|sent| self.poison.contains_key(&sent.key));
        for sent in early {
            if let Meaning::Decide(decide) = &sent.meaning {
                let end = match self.blamed.remove(&sent.key) {
                    Some(reason) => End::Failed(reason),
                    None if refused => End::Failed("attempts_exhausted"),
                    None => self.decide(sent, decide),
                };
                self.end(sent, end);
            }
        }
    }

    fn end(&mut self, sent: &Sent, end: End) {
        self.ends.insert(sent.key, end);
        if !matches!(end, End::Failed(_)) {
            self.acting.insert(sent.key, sent.digest);
        }
        match end {
            End::Refused(code) => self.reject(sent, "refused", code),
            End::Failed(reason) => self.fail(sent, reason),
            End::Applied | End::Parked => {}
        }
    }

    fn fail(&mut self, sent: &Sent, reason: &'static str) {
        self.open.insert((sent.key, sent.digest), reason);
        if self.announced.insert((sent.key, sent.digest, reason)) {
            self.reject(sent, "failed", reason);
        }
    }

    fn reject(&mut self, sent: &Sent, kind: &str, code: &str) {
        *self.rejected.entry(format!("{} {} {kind} {code}", sent.source, sent.id)).or_default() += 1;
    }

    fn submit(&mut self, sent: &Sent, submit: &Submit) -> End {
        if let Some(case) = self.cases.get_mut(&submit.exception) {
            if case.digest == sent.digest {
                return End::Applied;
            }
            case.remember(sent, "submitted", submit.requester, "refused exception_exists");
            return End::Refused("exception_exists");
        }
        let open = |case: &Case| case.submit.ticket == submit.ticket && case.state.0 == "requested";
        let refusals = [
            (submit.reason != "business_impact", "unknown_reason"),
            (submit.requested <= submit.current, "date_not_after_current"),
            (has_passed(submit.requested), "date_in_past"),
            (self.cases.values().any(open), "open_request_exists"),
            (!submit.justified, "field_required"),
        ];
        if let Some((_, code)) = refusals.into_iter().find(|(fails, _)| *fails) {
            return End::Refused(code);
        }
        let rules = self.versions.get(&submit.exception).cloned().unwrap_or_default();
        let case = Case::submitted(sent, submit, rules, &self.load());
        self.cases.insert(submit.exception.clone(), case);
        End::Applied
    }

    /// What everybody has to review: of whoever is open, the reviewers of its level.
    pub(crate) fn load(&self) -> Load {
        let mut load = Load::new();
        for reviewer in self.cases.values().filter(|case| case.state.0 == "requested").flat_map(|case| &case.reviewers)
        {
            *load.entry(*reviewer).or_default() += 1;
        }
        load
    }

    fn decide(&mut self, sent: &Sent, decide: &Decide) -> End {
        let load = self.load();
        let Some(case) = self.cases.get_mut(&decide.exception) else { return End::Parked };
        match case.decisions.get(&decide.decision) {
            Some(known) if *known == sent.digest => return End::Applied,
            _ => {}
        }
        let kind = if decide.approve { "approve" } else { "deny" };
        if let Some(code) = case.refusal(decide) {
            case.remember(sent, kind, decide.reviewer, &format!("refused {code}"));
            return End::Refused(code);
        }
        case.revision += 1;
        case.decisions.insert(decide.decision.clone(), sent.digest);
        if decide.approve {
            case.approve(sent, decide, &load);
        } else {
            case.deny(sent, decide);
        }
        case.remember(sent, kind, decide.reviewer, "applied ");
        if case.state.0 == "approved" {
            let ticket = case.submit.ticket.clone();
            *self.approved.entry(ticket.clone()).or_default() += 1;
            let older = |(id, case): &(&String, &mut Case)| {
                **id != decide.exception && case.submit.ticket == ticket && case.state.1 == "in_force"
            };
            self.cases.iter_mut().filter(older).for_each(|(_, case)| case.supersede(sent, decide.reviewer));
        }
        End::Applied
    }
}

/// Dates in the traffic lie in other centuries, so that no clock that is off can change what comes of them.
fn has_passed(date: NaiveDate) -> bool {
    date.to_string().as_str() < JUST_PASSED
}

impl Case {
    fn submitted(sent: &Sent, submit: &Submit, rules: String, load: &Load) -> Self {
        let mut case = Self {
            submit: submit.clone(),
            state: ("requested", "none"),
            superseded: false,
            revision: 1,
            approved: None,
            level: 0,
            votes: Vec::new(),
            said: Vec::new(),
            history: Vec::new(),
            digest: sent.digest,
            rules,
            reviewers: Vec::new(),
            quorum: 1,
            unassigned: false,
            decisions: BTreeMap::new(),
        };
        case.begin(load);
        case.say(sent, &format!("status null/null>requested/none submitted {}", submit.requester));
        if (submit.requested - submit.current).num_days() > EXTENSION_DAYS_MAX {
            let policy = format!("policy:{}", rule(&case.rules, submit.severity).0);
            case.turn_to(sent, ("denied", "none"), "max_extension", &policy);
            case.tell_requester(sent, "decided");
        } else {
            case.assign(sent, if case.unassigned { "unassigned" } else { "assigned" });
            case.tell_requester(sent, "received");
        }
        case.remember(sent, "submitted", submit.requester, "applied ");
        case
    }

    /// Fills the next level; says whether there is one.
    fn begin(&mut self, load: &Load) -> bool {
        let Some((named, quorum)) = rule(&self.rules, self.submit.severity).1.get(self.level) else { return false };
        let requester = self.submit.requester;
        self.level += 1;
        self.reviewers = named.iter().copied().filter(|user| *user != requester).collect();
        self.quorum = *quorum;
        self.unassigned = self.reviewers.len() < self.quorum;
        if self.rules == BY_LOAD && !self.unassigned {
            let open = |user: &str| load.get(user).copied().unwrap_or_default();
            let mut ranked = self.reviewers.clone();
            ranked.sort_by_key(|user| (open(user), tie(&self.submit.exception, self.level, user)));
            let picked: BTreeSet<_> = ranked.into_iter().take(self.quorum).collect();
            self.reviewers.retain(|user| picked.contains(user));
        }
        if self.unassigned && requester != TRIAGE {
            self.reviewers.push(TRIAGE);
        }
        true
    }

    fn refusal(&self, decide: &Decide) -> Option<&'static str> {
        let levels = rule(&self.rules, self.submit.severity).1;
        let reviewer = decide.reviewer;
        let others = levels.iter().zip(1..).filter(|(_, number)| *number != self.level);
        let elsewhere = others.into_iter().any(|((named, _), _)| named.contains(&reviewer))
            || self.votes.iter().any(|(voter, ..)| *voter == reviewer);
        let date = decide.date.unwrap_or(self.submit.requested);
        let refusals = [
            (self.decisions.contains_key(&decide.decision), "decision_exists"),
            (self.state.0 != "requested", "already_final"),
            (reviewer == self.submit.requester, "self_approval"),
            (!self.reviewers.contains(&reviewer), if elsewhere { "wrong_level" } else { "not_assigned" }),
            (!decide.approve && !decide.comment, "comment_required"),
            (decide.approve && self.voted(reviewer), "already_voted"),
            (decide.approve && date <= self.submit.current, "date_not_after_current"),
            (decide.approve && has_passed(date), "date_in_past"),
            (decide.approve && (date - self.submit.current).num_days() > EXTENSION_DAYS_MAX, "date_over_limit"),
        ];
        refusals.into_iter().find(|(fails, _)| *fails).map(|(_, code)| code)
    }

    fn voted(&self, reviewer: &str) -> bool {
        self.votes.iter().any(|(voter, level, _)| *voter == reviewer && *level == self.level)
    }

    fn deny(&mut self, sent: &Sent, decide: &Decide) {
        self.turn_to(sent, ("denied", "none"), "denied", decide.reviewer);
        self.tell_requester(sent, "decided");
    }

    fn approve(&mut self, sent: &Sent, decide: &Decide, load: &Load) {
        let date = decide.date.unwrap_or(self.submit.requested);
        let level = self.level;
        self.votes.push((decide.reviewer, level, date));
        let votes = self.votes.iter().filter(|(_, at, _)| *at == level).count();
        let recorded = format!("vote {} level {level} until {date} {votes}/{}", decide.reviewer, self.quorum);
        if votes < self.quorum {
            self.say(sent, &recorded);
        } else if self.begin(load) {
            self.say(sent, &recorded);
            self.assign(sent, "level_ready");
        } else {
            let earliest = self.votes.iter().map(|(.., date)| *date).min();
            self.approved = earliest;
            self.turn_to(sent, ("approved", "in_force"), "approved", decide.reviewer);
            let by: Vec<_> = self.votes.iter().map(|(voter, ..)| *voter).collect();
            self.say(sent, &format!("defer {} until {} by {}", self.submit.ticket, earliest.unwrap(), by.join(",")));
            self.tell_requester(sent, "decided");
        }
    }

    fn supersede(&mut self, sent: &Sent, actor: &str) {
        self.revision += 1;
        self.superseded = true;
        self.turn_to(sent, ("approved", "ended"), "superseded", actor);
        self.remember(sent, "superseded", actor, "applied ");
    }

    fn turn_to(&mut self, sent: &Sent, to: (&'static str, &'static str), cause: &str, actor: &str) {
        let from = std::mem::replace(&mut self.state, to);
        self.say(sent, &format!("status {}/{}>{}/{} {cause} {actor}", from.0, from.1, to.0, to.1));
    }

    fn assign(&mut self, sent: &Sent, kind: &str) {
        let reviewers = self.reviewers.clone();
        let (level, quorum, unassigned) = (self.level, self.quorum, self.unassigned);
        let list = reviewers.join(",");
        self.say(sent, &format!("assigned level {level} to {list} quorum {quorum} unassigned {unassigned}"));
        for reviewer in reviewers {
            self.say(sent, &format!("tell {reviewer} {kind} level {level}"));
        }
    }

    fn tell_requester(&mut self, sent: &Sent, kind: &str) {
        self.say(sent, &format!("tell {} {kind} {}", self.submit.requester, self.state.0));
    }

    fn say(&mut self, sent: &Sent, what: &str) {
        let number = self.said.len() + 1;
        self.said.push(format!("{number:010} r{} because of {}: {what}", self.revision, sent.id));
    }

    fn remember(&mut self, sent: &Sent, kind: &str, actor: &str, outcome: &str) {
        self.history.push(format!("r{} {} {kind} by {actor}: {outcome}", self.revision, sent.id));
    }
}
