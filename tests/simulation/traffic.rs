//! What upstream sends: stories of tickets and their exceptions as real events, with everything that goes wrong there. What
//! an event means is said beside it, so that the model need not read it again.

use chrono::NaiveDate;
use reprieve::broker::Properties;
use reprieve::domain::dates::parse_date;
use reprieve::domain::ids::Digest;
use reprieve::store::EventKey;
use reprieve::worker::input::decode;
use serde_json::{Value, json};

/// The rules with which some instances begin; [`super::model`] has its own idea of them and of the others.
pub(crate) const RULES: &str = r#"
apiVersion: reprieve/v1
version: "simulation.1"
settings:
  triage: [lead@x.org]
  reasons: [business_impact, fix_unavailable]
groups:
  appsec: { members: [ada@x.org, ben@x.org, cyd@x.org] }
defaults:
  require: [justification]
  limits: { max_extension: 200d }
rules:
  - name: critical
    match: { ticket.severity: critical }
    levels:
      - { reviewers: { groups: [appsec] }, quorum: 2 }
      - { reviewers: { users: [dee@x.org] } }
  - name: nobody
    match: { ticket.severity: low }
    reviewers: none
fallback:
  levels:
    - { reviewers: { users: [fay@x.org, ada@x.org] } }
"#;

/// The rules by load: every level with a choice leaves it to the open assignments.
pub(crate) const RULES_BY_LOAD: &str = r#"
apiVersion: reprieve/v1
version: "simulation.2"
settings:
  triage: [lead@x.org]
  reasons: [business_impact, fix_unavailable]
defaults:
  require: [justification]
  limits: { max_extension: 200d }
rules:
  - name: critical
    match: { ticket.severity: critical }
    levels:
      - { reviewers: { users: [ada@x.org, ben@x.org, cyd@x.org] }, quorum: 2, pick: least_loaded }
      - { reviewers: { users: [dee@x.org], fields: [requester.manager] }, pick: least_loaded }
  - name: nobody
    match: { ticket.severity: low }
    reviewers: none
fallback:
  levels:
    - { reviewers: { users: [fay@x.org, ada@x.org, ben@x.org] }, pick: least_loaded }
"#;

/// Everybody who reviews something somewhere, in an order in which they complete every rule.
const REVIEWERS: [&str; 6] = ["ada@x.org", "ben@x.org", "cyd@x.org", "dee@x.org", "fay@x.org", "lead@x.org"];
const REQUESTERS: [&str; 6] = ["ana@x.org", "bo@x.org", "kim@x.org", "ada@x.org", "dee@x.org", "lead@x.org"];
/// The manager of every requester.
pub(crate) const MANAGER: &str = "cyd@x.org";
const SEVERITIES: [&str; 4] = ["critical", "medium", "high", "low"];

/// A message and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) properties: Properties,
    pub(crate) body: Vec<u8>,
    pub(crate) key: EventKey,
    pub(crate) digest: Digest,
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) meaning: Meaning,
}

/// What a message asks for.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Submit(Submit),
    Decide(Decide),
    /// It can never be processed, for this reason.
    Broken(&'static str),
}

/// A submission.
#[derive(Clone, Debug)]
pub(crate) struct Submit {
    pub(crate) exception: String,
    pub(crate) ticket: String,
    pub(crate) requester: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) justified: bool,
    pub(crate) current: NaiveDate,
    pub(crate) requested: NaiveDate,
}

/// A decision.
#[derive(Clone, Debug)]
pub(crate) struct Decide {
    pub(crate) exception: String,
    pub(crate) decision: String,
    pub(crate) reviewer: &'static str,
    pub(crate) approve: bool,
    pub(crate) comment: bool,
    pub(crate) date: Option<NaiveDate>,
}

/// Writes the stories of one seed.
pub(crate) struct Author<'a> {
    rng: &'a mut fastrand::Rng,
    events: u32,
}

impl<'a> Author<'a> {
    /// An author who draws from this generator.
    pub(crate) fn new(rng: &'a mut fastrand::Rng) -> Self {
        Self { rng, events: 0 }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }

    /// All messages, in an order in which upstream could send them.
    pub(crate) fn write(&mut self) -> Vec<Sent> {
        let tickets = self.rng.u32(3..=6);
        let mut stories: Vec<_> = (1..=tickets).map(|ticket| self.ticket(ticket)).collect();
        stories.push(self.strays());
        let mut all = Vec::new();
        for story in &mut stories {
            story.reverse();
        }
        while !stories.is_empty() {
            let at = self.rng.usize(..stories.len());
            match stories[at].pop() {
                Some(sent) => all.push(sent),
                None => drop(stories.swap_remove(at)),
            }
        }
        self.spoil(&mut all);
        all
    }

    /// One to three exceptions of a ticket, one after the other.
    fn ticket(&mut self, ticket: u32) -> Vec<Sent> {
        let mut story = Vec::new();
        for attempt in 1..=self.rng.u32(1..=3) {
            let submit = self.submission(ticket, attempt);
            let meant = submit.clone();
            story.push(self.submitted(submit));
            story.extend(self.review(&meant));
        }
        story
    }

    fn submission(&mut self, ticket: u32, attempt: u32) -> Submit {
        let current = date("2200-03-01");
        let past = self.chance(4);
        let days = if self.chance(8) { 300 } else { self.rng.i64(10..=190) };
        let requested = if self.chance(5) { current } else { current + chrono::Duration::days(days) };
        Submit {
            exception: format!("EX-{ticket}-{attempt}"),
            ticket: format!("T-{ticket}"),
            requester: self.pick(&REQUESTERS),
            severity: self.pick(&SEVERITIES),
            reason: if self.chance(5) { "boredom" } else { "business_impact" },
            justified: !self.chance(5),
            current: if past { date("2001-01-01") } else { current },
            requested: if past { date("2001-02-01") } else { requested },
        }
    }

    /// What reviewers, and others, say about a request.
    fn review(&mut self, about: &Submit) -> Vec<Sent> {
        let mut said = Vec::new();
        let denies = self.chance(25);
        for reviewer in REVIEWERS {
            if self.chance(6) {
                said.push(self.opinion(about, "mallory@x.org", true));
            }
            if self.chance(6) {
                said.push(self.opinion(about, about.requester, true));
            }
            if self.chance(85) {
                let approve = !(denies && self.chance(40));
                said.push(self.opinion(about, reviewer, approve));
            }
        }
        for at in 0..said.len() {
            if self.chance(8) {
                let again = self.again(&said[at].clone());
                said.push(again);
            }
        }
        said
    }

    fn opinion(&mut self, about: &Submit, reviewer: &'static str, approve: bool) -> Sent {
        let date = match self.rng.u8(..20) {
            0 => Some(about.current),
            1 => Some(date("2300-01-01")),
            2..6 => Some(about.current + chrono::Duration::days(self.rng.i64(1..=150))),
            _ => None,
        };
        let decide = Decide {
            exception: about.exception.clone(),
            decision: format!("D-{}", self.events),
            reviewer,
            approve,
            comment: approve || !self.chance(20),
            date,
        };
        self.decided(decide)
    }

    /// Decisions about what was never submitted, and what cannot be read.
    fn strays(&mut self) -> Vec<Sent> {
        let mut strays = Vec::new();
        if self.chance(40) {
            let about = Submit { exception: "EX-0".into(), ..self.submission(0, 1) };
            strays.extend((0..self.rng.u32(1..=3)).map(|_| self.opinion(&about, "ada@x.org", true)));
        }
        for at in 0..self.rng.usize(..4) {
            let (id, body) = (self.next_id(), json!({ "exception_id": "EX-1-1" }));
            let sent = match at {
                0 => broken("bad_json", format!("{{\"specversion\": \"1.0\", \"id\": \"{id}\"").into_bytes()),
                1 => broken("schema", envelope(&id, "exception.decision.v1", &body)),
                2 => broken("unknown_type", envelope(&id, "exception.pondered.v1", &body)),
                _ => broken("bad_encoding", vec![b'{', 0xff, b'0' + self.rng.u8(..10), b'}']),
            };
            strays.push(sent);
        }
        strays
    }

    /// Repeats under new ids, other content under old ids, and messages sent twice.
    fn spoil(&mut self, all: &mut Vec<Sent>) {
        for at in 0..all.len() {
            let original = all[at].clone();
            let place = self.rng.usize(at..=all.len());
            match self.rng.u8(..100) {
                0..4 => all.insert(place, self.again(&original)),
                4..7 => {
                    let changed = Self::changed(&original);
                    all.extend(std::iter::repeat_n(changed, self.rng.usize(1..=2)).flatten());
                }
                7..15 => all.insert(place, original),
                _ => {}
            }
        }
    }

    /// The same content under a new event id, or nearly the same under a natural key that is taken.
    fn again(&mut self, original: &Sent) -> Sent {
        let other = self.chance(40);
        match original.meaning.clone() {
            Meaning::Submit(submit) => {
                let requested = submit.requested + chrono::Duration::days(i64::from(other));
                self.submitted(Submit { requested, ..submit })
            }
            Meaning::Decide(decide) => {
                let date = if other { Some(date("2200-03-09")) } else { decide.date };
                self.decided(Decide { date, ..decide })
            }
            Meaning::Broken(_) => original.clone(),
        }
    }

    /// Other content under the same event id.
    fn changed(original: &Sent) -> Option<Sent> {
        let Meaning::Decide(decide) = original.meaning.clone() else { return None };
        let decide = Decide { date: Some(date("2200-03-07")), ..decide };
        Some(sent(&original.id, "exception.decision.v1", &decision(&decide), Meaning::Decide(decide)))
    }

    fn submitted(&mut self, submit: Submit) -> Sent {
        let data = json!({
            "exception_id": submit.exception,
            "ticket": {
                "id": submit.ticket, "title": "Old library", "severity": submit.severity,
                "current_due_date": submit.current,
            },
            "requester": { "id": submit.requester, "team": "platform", "manager": MANAGER },
            "reason": submit.reason,
            "justification": if submit.justified { "Window in spring." } else { " " },
            "requested_due_date": submit.requested,
        });
        sent(&self.next_id(), "exception.submitted.v1", &data, Meaning::Submit(submit))
    }

    fn decided(&mut self, decide: Decide) -> Sent {
        sent(&self.next_id(), "exception.decision.v1", &decision(&decide), Meaning::Decide(decide))
    }

    fn next_id(&mut self) -> String {
        self.events += 1;
        format!("evt-{}", self.events)
    }
}

fn date(text: &str) -> NaiveDate {
    parse_date(text).unwrap()
}

fn decision(decide: &Decide) -> Value {
    // Another spelling of the same person, every now and then.
    let reviewer = match decide.decision.len() % 2 {
        0 => decide.reviewer.to_owned(),
        _ => format!(" {} ", decide.reviewer.to_uppercase()),
    };
    json!({
        "decision_id": decide.decision,
        "exception_id": decide.exception,
        "reviewer": { "id": reviewer },
        "decision": if decide.approve { "approve" } else { "deny" },
        "comment": if decide.comment { "As discussed." } else { "" },
        "approved_due_date": decide.date,
    })
}

fn envelope(id: &str, kind: &str, data: &Value) -> Vec<u8> {
    let envelope = json!({ "specversion": "1.0", "id": id, "source": "urn:upstream", "type": kind, "data": data });
    envelope.to_string().into_bytes()
}

fn sent(id: &str, kind: &str, data: &Value, meaning: Meaning) -> Sent {
    read(envelope(id, kind, data), meaning)
}

fn broken(reason: &'static str, body: Vec<u8>) -> Sent {
    read(body, Meaning::Broken(reason))
}

/// Its identity is the wire's business, held by vectors there.
fn read(body: Vec<u8>, meaning: Meaning) -> Sent {
    let content_type = Some("application/cloudevents+json".to_owned());
    let properties = Properties { content_type, ..Properties::default() };
    let inbound = decode(&properties, &body);
    Sent { key: inbound.key, digest: inbound.digest, source: inbound.source, id: inbound.id, properties, body, meaning }
}
