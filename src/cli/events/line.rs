//! One published event as one line for people: when, what, about which exception or ticket, and the few facts that matter by type.
//! It never fails: what it does not know it leaves out. All text is tamed, since much of it was typed by somebody outside.

use serde_json::Value;

use crate::cli::output::{Paint, tame, time};
use crate::domain::dates::parse_time;

/// Longest text of facts, in characters: longer ones wrap, and then it is no line any more.
const FACTS_CHARS_MAX: usize = 160;
/// Longest subject, in characters: as long as an id may be.
const SUBJECT_CHARS_MAX: usize = 128;
/// As wide as the longest type, without its version.
const TYPE_WIDTH: usize = 25;

/// The line, without its end.
pub(in crate::cli) fn line(envelope: &str, paint: Paint) -> String {
    let at = serde_json::from_str::<Value>(envelope).ok();
    let at = at.as_ref().and_then(|event| event.get("time")).and_then(Value::as_str).and_then(parse_time);
    format!("{}  {}", paint.dim(at.map_or_else(|| "-".to_owned(), time)), what(envelope, paint))
}

/// The line without its time, for whoever sees it happen.
pub(in crate::cli) fn what(envelope: &str, paint: Paint) -> String {
    let Ok(event) = serde_json::from_str::<Value>(envelope) else {
        return paint.bad(format!("not an event: {}", cut(envelope, FACTS_CHARS_MAX)));
    };
    let Some(event_type) = event.get("type").and_then(Value::as_str) else {
        return paint.bad(format!("an event without type: {}", cut(envelope, FACTS_CHARS_MAX)));
    };
    let name = cut(event_type.strip_suffix(".v1").unwrap_or(event_type), SUBJECT_CHARS_MAX);
    let subject = event.get("subject").and_then(Value::as_str).unwrap_or("-");
    let data = Data(event.get("data").unwrap_or(&Value::Null));
    let (tone, facts) = data.facts(event_type);
    let facts = tone.paint(paint, cut(&facts, FACTS_CHARS_MAX));
    let padding = " ".repeat(TYPE_WIDTH.saturating_sub(name.chars().count()));
    let subject = paint.bold(cut(subject, SUBJECT_CHARS_MAX));
    format!("{name}{padding}  {subject}  {facts}").trim_end().to_owned()
}

/// How a line sounds.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Bad,
    Warn,
    Plain,
}

impl Tone {
    fn paint(self, paint: Paint, text: String) -> String {
        match self {
            _ if text.is_empty() => text,
            Tone::Good => paint.good(text),
            Tone::Bad => paint.bad(text),
            Tone::Warn => paint.warn(text),
            Tone::Plain => text,
        }
    }
}

/// The event's `data`, or what stands in its place.
#[derive(Clone, Copy)]
struct Data<'a>(&'a Value);

impl Data<'_> {
    fn facts(self, event_type: &str) -> (Tone, String) {
        match event_type {
            "exception.status_changed.v1" => self.status_changed(),
            "exception.assigned.v1" => self.assigned(),
            "exception.vote_recorded.v1" => self.vote_recorded(),
            "notification.reviewer.v1" => {
                let level = self.text("/recipient/level");
                (Tone::Plain, format!("{} -> {}, level {level}", self.text("/kind"), self.text("/recipient/id")))
            }
            "notification.requester.v1" => {
                let (kind, whom, status) = (self.text("/kind"), self.text("/recipient/id"), self.text("/status"));
                (Tone::Plain, format!("{kind} -> {whom}: {status}"))
            }
            "ticket.deferral_requested.v1" => {
                let (from, to) = (self.text("/expected_due_date"), self.text("/new_due_date"));
                let (days, exception) = (self.text("/extension_days"), self.text("/exception_id"));
                (Tone::Good, format!("due {from} -> {to} ({days} days), by {exception}"))
            }
            "ticket.deferral_reversed.v1" => {
                let (from, to) = (self.text("/expected_due_date"), self.text("/restore_due_date"));
                (Tone::Warn, format!("due {from} -> {to}: {}", self.text("/cause")))
            }
            "event.rejected.v1" => self.rejected(),
            _ => (Tone::Plain, String::new()),
        }
    }

    fn status_changed(self) -> (Tone, String) {
        let (to, enforcement) = (self.text("/to_status"), self.text("/to_enforcement"));
        let tone = match (to.as_str(), enforcement.as_str()) {
            (_, "ended") => Tone::Warn,
            ("approved", _) => Tone::Good,
            ("denied", _) => Tone::Bad,
            _ => Tone::Plain,
        };
        let step = |from: String, to: String| if from == "-" || from == to { to } else { format!("{from} -> {to}") };
        let mut facts = step(self.text("/from_status"), to);
        if enforcement != "none" {
            facts = format!("{facts}, {}", step(self.text("/from_enforcement"), enforcement));
        }
        (tone, format!("{facts}: {} by {}", self.text("/cause"), self.text("/actor/id")))
    }

    fn assigned(self) -> (Tone, String) {
        let (level, rule) = (self.text("/level"), self.text("/rule"));
        if self.0.pointer("/unassigned") == Some(&Value::Bool(true)) {
            return (Tone::Warn, format!("level {level}: nobody can review it, rule {rule}"));
        }
        let reviewers = self.0.pointer("/reviewers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let names = reviewers.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        (Tone::Plain, format!("level {level}: {names} ({} needed), rule {rule}", self.text("/quorum")))
    }

    fn vote_recorded(self) -> (Tone, String) {
        let (level, votes, needed) = (self.text("/level"), self.text("/votes"), self.text("/votes_needed"));
        let (reviewer, until) = (self.text("/reviewer"), self.text("/approved_due_date"));
        (Tone::Good, format!("level {level}: {reviewer} approves until {until}, {votes} of {needed} votes"))
    }

    fn rejected(self) -> (Tone, String) {
        let kind = self.text("/kind");
        let tone = if kind == "failed" { Tone::Bad } else { Tone::Warn };
        let (code, id, source) = (self.text("/code"), self.text("/event_id"), self.text("/event_source"));
        (tone, format!("{kind} {code}: {}; event {id} of {source}", self.text("/message")))
    }

    /// The value at a place, in words; `-` for what is null or not there.
    fn text(self, place: &str) -> String {
        match self.0.pointer(place) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// Text as a terminal may see it, and not more of it than fits.
fn cut(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars();
    let mut kept: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        kept.pop();
        kept.push('…');
    }
    tame(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(event_type: &str, subject: &str, data: &Value, expected: &str) {
        let time = "2026-11-24T09:00:00.000001Z";
        let event = json!({ "type": event_type, "subject": subject, "time": time, "data": data });
        assert_eq!(line(&event.to_string(), Paint::Plain), format!("2026-11-24T09:00:00Z  {expected}"));
    }

    #[test]
    fn each_type_says_what_matters() {
        check(
            "exception.status_changed.v1",
            "EX-1",
            &json!({ "from_status": null, "to_status": "requested", "from_enforcement": null, "to_enforcement": "none",
                     "cause": "submitted", "actor": { "id": "zoe@x.org", "kind": "user" } }),
            "exception.status_changed   EX-1  requested: submitted by zoe@x.org",
        );
        check(
            "exception.status_changed.v1",
            "EX-1",
            &json!({ "from_status": "requested", "to_status": "approved", "from_enforcement": "none",
                     "to_enforcement": "in_force", "cause": "approved", "actor": { "id": "dana@x.org" } }),
            "exception.status_changed   EX-1  requested -> approved, none -> in_force: approved by dana@x.org",
        );
        check(
            "exception.assigned.v1",
            "EX-1",
            &json!({ "level": 1, "reviewers": ["dana@x.org", "bob@x.org"], "quorum": 2, "unassigned": false, "rule": "pay" }),
            "exception.assigned         EX-1  level 1: dana@x.org, bob@x.org (2 needed), rule pay",
        );
        check(
            "exception.assigned.v1",
            "EX-1",
            &json!({ "level": 1, "reviewers": [], "quorum": 1, "unassigned": true, "rule": "pay" }),
            "exception.assigned         EX-1  level 1: nobody can review it, rule pay",
        );
        check(
            "exception.vote_recorded.v1",
            "EX-1",
            &json!({ "level": 1, "reviewer": "dana@x.org", "approved_due_date": "2027-01-15", "votes": 1, "votes_needed": 2 }),
            "exception.vote_recorded    EX-1  level 1: dana@x.org approves until 2027-01-15, 1 of 2 votes",
        );
        check(
            "notification.reviewer.v1",
            "EX-1",
            &json!({ "kind": "assigned", "recipient": { "id": "dana@x.org", "level": 1 } }),
            "notification.reviewer      EX-1  assigned -> dana@x.org, level 1",
        );
        check(
            "notification.requester.v1",
            "EX-1",
            &json!({ "kind": "decided", "recipient": { "id": "zoe@x.org" }, "status": "approved" }),
            "notification.requester     EX-1  decided -> zoe@x.org: approved",
        );
        check(
            "ticket.deferral_requested.v1",
            "SEC-1",
            &json!({ "expected_due_date": "2026-12-05", "new_due_date": "2027-01-15", "extension_days": 41, "exception_id": "EX-1" }),
            "ticket.deferral_requested  SEC-1  due 2026-12-05 -> 2027-01-15 (41 days), by EX-1",
        );
        check(
            "event.rejected.v1",
            "EX-1",
            &json!({ "kind": "refused", "code": "self_approval", "message": "no", "event_id": "e", "event_source": "urn:s" }),
            "event.rejected             EX-1  refused self_approval: no; event e of urn:s",
        );
        check("new.type.v2", "X", &json!({}), "new.type.v2                X");
    }

    #[test]
    fn what_comes_from_outside_neither_steers_the_terminal_nor_fills_it() {
        let told =
            line(&json!({ "type": "event.rejected.v1", "data": { "message": "\u{1b}[2J" } }).to_string(), Paint::Ansi);
        assert!(told.contains("\u{fffd}[2J") && !told.contains("\u{1b}[2J"), "{told:?}");
        let long =
            json!({ "type": "x\n".repeat(1_000), "subject": "s".repeat(1_000), "data": { "kind": "k".repeat(1_000) } });
        assert!(line(&long.to_string(), Paint::Plain).chars().count() < 500);
        assert!(!line(&long.to_string(), Paint::Plain).contains('\n'));
        for nonsense in ["", "{", "42", "null", "[]", r#"{"type":7}"#, "\u{1b}]0;x\u{7}"] {
            let told = line(nonsense, Paint::Plain);
            assert!(told.contains("event") && !told.contains('\u{1b}'), "{told:?}");
        }
        assert_eq!(line(r#"{"type":"event.rejected.v1","data":7}"#, Paint::Plain).lines().count(), 1);
    }
}
