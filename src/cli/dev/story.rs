//! The sample that `reprieve dev` plays: what people and systems around the worker would send in a day, each with a sentence that says
//! who does what. Ids and dates are of the day it is played: played again on that day it is a repeat, the next day a new story.

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};

/// Something that happens.
#[derive(Debug)]
pub(super) struct Step {
    /// Who does what, for people.
    pub(super) says: String,
    /// The envelope that is handed in.
    pub(super) event: String,
}

/// A day of it.
pub(super) struct Story {
    today: NaiveDate,
    steps: Vec<Step>,
}

/// A request of the sample.
struct Request<'a> {
    title: &'a str,
    severity: &'a str,
    service: &'a str,
    known_exploited: bool,
    requester: &'a str,
    team: &'a str,
    reason: &'a str,
    justification: &'a str,
    /// From today to the date that is asked for.
    days: u64,
}

impl Story {
    /// The whole day, in order.
    pub(super) fn of(today: NaiveDate) -> Vec<Step> {
        let mut story = Self { today, steps: Vec::new() };
        story.approved_by_two_levels();
        story.denied();
        story.overtaken();
        story.for_oneself();
        story.decided_by_rules();
        story.again();
        story.steps
    }

    /// The id of one of the day's exceptions.
    pub(super) fn exception_id(today: NaiveDate, number: u32) -> String {
        format!("EX-{}-{number}", today.format("%Y%m%d"))
    }

    fn approved_by_two_levels(&mut self) {
        let request = Request {
            title: "OpenSSL 3.0 on payments-api",
            severity: "critical",
            service: "payments-api",
            known_exploited: false,
            requester: "zoe@example.com",
            team: "payments",
            reason: "fix_unavailable",
            justification: "The vendor's patch comes in six weeks.",
            days: 50,
        };
        self.submit("zoe asks for more time: a critical finding on payments-api, and no fix yet.", 1, &request);
        self.decide(
            "dana owns payments and approves. That is the first of two levels.",
            (1, 1),
            ("approve", "dana@example.com", "The WAF rule holds until then."),
            None,
        );
        self.decide(
            "alice of AppSec approves too, for a shorter time. Now the ticket is deferred.",
            (2, 1),
            ("approve", "alice@example.com", "Until the vendor ships."),
            Some(43),
        );
    }

    fn denied(&mut self) {
        let request = Request {
            title: "Old jQuery on the intranet",
            severity: "medium",
            service: "intranet",
            known_exploited: false,
            requester: "yan@example.com",
            team: "web",
            reason: "business_impact",
            justification: "Release freeze until the end of the quarter.",
            days: 40,
        };
        self.submit("yan asks for the intranet. No rule is special about it: AppSec decides.", 2, &request);
        self.decide(
            "bob denies it. The ticket keeps its date, and nobody touches it.",
            (3, 2),
            ("deny", "bob@example.com", "The fix is one line; please ship it."),
            None,
        );
    }

    fn overtaken(&mut self) {
        let request = Request {
            title: "Weak TLS on the build server",
            severity: "low",
            service: "build",
            known_exploited: false,
            requester: "ana@example.com",
            team: "platform",
            reason: "awaiting_maintenance_window",
            justification: "The window is in three weeks.",
            days: 30,
        };
        self.decide(
            "chen approves something that is not there yet: the decision has overtaken its request, and waits.",
            (4, 3),
            ("approve", "chen@example.com", "Fine until the window."),
            None,
        );
        self.submit("The request arrives, and what waited for it acts at once.", 3, &request);
    }

    fn for_oneself(&mut self) {
        let request = Request {
            title: "Log4j on reporting",
            severity: "high",
            service: "reporting",
            known_exploited: false,
            requester: "alice@example.com",
            team: "appsec",
            reason: "other",
            justification: "Needs a new JVM first.",
            days: 30,
        };
        self.submit("alice asks for a ticket of her own. She is of AppSec, but will not be asked.", 4, &request);
        self.decide(
            "alice tries to approve her own request, with another spelling of her name.",
            (5, 4),
            ("approve", " ALICE@example.com ", "It is only for a month."),
            None,
        );
    }

    fn decided_by_rules(&mut self) {
        let request = Request {
            title: "Known-exploited flaw in the VPN gateway",
            severity: "critical",
            service: "vpn",
            known_exploited: true,
            requester: "vic@example.com",
            team: "network",
            reason: "technical_limitation",
            justification: "Needs new hardware.",
            days: 80,
        };
        let what =
            "vic wants ten weeks for a known-exploited flaw. The rules allow 14 days: denied at once, by policy.";
        self.submit(what, 5, &request);
        let request = Request { requester: "kim@example.com", team: "ext-acme", known_exploited: false, ..request };
        let what =
            "kim is a contractor; nobody is assigned to those on purpose. Triage is told, and nothing is approved.";
        self.submit(what, 6, &Request { title: "Open admin port on staging", days: 20, ..request });
    }

    /// What a broker or a client does when an answer was lost.
    fn again(&mut self) {
        let Some(first) = self.steps.first().map(|step| step.event.clone()) else { return };
        let says = "The very first event comes a second time, as after a lost answer: it has no effect.".to_owned();
        self.steps.push(Step { says, event: first });
    }

    fn submit(&mut self, says: &str, number: u32, request: &Request<'_>) {
        let due = self.in_days(10);
        let data = json!({
            "exception_id": Self::exception_id(self.today, number),
            "ticket": {
                "id": format!("SEC-{}-{number}", self.today.format("%Y%m%d")),
                "title": request.title,
                "severity": request.severity,
                "original_due_date": due,
                "current_due_date": due,
                "asset": { "service": request.service },
                "kev": request.known_exploited,
            },
            "requester": { "id": request.requester, "team": request.team },
            "reason": request.reason,
            "justification": request.justification,
            "requested_due_date": self.in_days(request.days),
        });
        self.push(says, "urn:demo:ticketing", "exception.submitted.v1", &data);
    }

    fn decide(&mut self, says: &str, (id, number): (u32, u32), what: (&str, &str, &str), days: Option<u64>) {
        let (decision, reviewer, comment) = what;
        let data = json!({
            "decision_id": format!("D-{}-{id}", self.today.format("%Y%m%d")),
            "exception_id": Self::exception_id(self.today, number),
            "decision": decision,
            "reviewer": { "id": reviewer },
            "approved_due_date": days.map(|days| self.in_days(days)),
            "comment": comment,
        });
        self.push(says, "urn:demo:review", "exception.decision.v1", &data);
    }

    fn push(&mut self, says: &str, source: &str, event_type: &str, data: &Value) {
        let id = format!("{}-{}", self.today.format("%Y%m%d"), self.steps.len() + 1);
        let event = json!({ "specversion": "1.0", "id": id, "source": source, "type": event_type, "data": data });
        self.steps.push(Step { says: says.to_owned(), event: event.to_string() });
    }

    fn in_days(&self, days: u64) -> String {
        self.today.checked_add_days(Days::new(days)).unwrap_or(self.today).to_string()
    }
}
