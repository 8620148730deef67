//! One exception for a person: key facts, votes, history.

use serde::Serialize;

use crate::cli::output::{Paint, columns, tame, time};
use crate::contract::shapes::{Detail, HistoryShape};
use crate::domain::exception::{Enforcement, Status};

/// The whole page.
pub(super) fn detail(detail: &Detail<'_>, paint: Paint) -> String {
    let exception = &detail.exception;
    let status = match exception.status {
        Status::Approved => paint.good("approved"),
        Status::Denied => paint.bad("denied"),
        other => paint.bold(word(&other)),
    };
    let enforcement = match exception.enforcement {
        Enforcement::None => String::new(),
        other => format!(", enforcement {}", word(&other)),
    };
    let headline = format!("{}  {status}{enforcement}", paint.bold(exception.exception_id));
    let mut sections = vec![headline, columns(&facts(detail))];
    if !exception.votes.is_empty() {
        let vote = |vote: &crate::domain::exception::Vote| {
            let until = format!("until {}", vote.approved_due_date);
            vec![format!("  level {}", vote.level), vote.reviewer.to_string(), until, time(vote.at)]
        };
        let rows = exception.votes.iter().map(vote).collect::<Vec<_>>();
        sections.push(format!("{}\n{}", paint.bold("Votes"), columns(&rows)));
    }
    let earlier = match detail.history.first().map_or(0, |entry| entry.seq.saturating_sub(1)) {
        0 => String::new(),
        count => {
            let id = exception.exception_id;
            paint.dim(format!("\n  {count} earlier entries: `reprieve exceptions history {id}` shows all"))
        }
    };
    sections.push(format!("{}{earlier}\n{}", paint.bold("History"), history(&detail.history, paint)));
    let (version, hash) = (exception.rules_version, exception.rules_hash.get(..12).unwrap_or(exception.rules_hash));
    sections.push(paint.dim(format!("rules version {}, hash {}", tame(version), tame(hash))));
    sections.join("\n\n")
}

/// A line for each entry.
pub(super) fn history(entries: &[HistoryShape<'_>], _: Paint) -> String {
    columns(&entries.iter().map(entry).collect::<Vec<_>>())
}

fn facts(detail: &Detail<'_>) -> Vec<Vec<String>> {
    let exception = &detail.exception;
    let team = exception.team.map(|team| format!(" ({})", tame(team))).unwrap_or_default();
    let title = tame(exception.ticket_title);
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![format!("  {name}"), value]);
    row("ticket", format!("{} {title}", exception.ticket_id));
    row("severity", tame(exception.severity).into_owned());
    row("requester", format!("{}{team}", exception.requester));
    row("reason", tame(exception.reason).into_owned());
    let original = match exception.original_due_date {
        date if date == exception.current_due_date => String::new(),
        date => format!(" (originally {date})"),
    };
    row("due", format!("{}{original}", exception.current_due_date));
    row("requested", exception.requested_due_date.to_string());
    if let Some(date) = exception.approved_due_date {
        row("approved", date.to_string());
    }
    let unassigned = if exception.unassigned { ", unassigned: triage was added" } else { "" };
    row("rule", format!("{}, level {} of {}{unassigned}", tame(exception.rule), exception.level, exception.levels));
    if !exception.reviewers.is_empty() {
        let names = exception.reviewers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        row("reviewers", format!("{names} ({} needed)", exception.quorum));
    }
    if let Some(previous) = exception.previous_exception_id {
        row("previous", previous.to_string());
    }
    row("cause", word(&exception.cause));
    row("revision", exception.revision.to_string());
    row("created", time(exception.created_at));
    row("updated", time(exception.updated_at));
    rows
}

fn entry(entry: &HistoryShape<'_>) -> Vec<String> {
    let outcome = match entry.code {
        Some(code) => format!("{} ({})", tame(entry.outcome), tame(code)),
        None => tame(entry.outcome).into_owned(),
    };
    let event = entry.event.as_ref().map(|event| format!("{} {}", tame(event.source), tame(event.id)));
    vec![
        format!("  {}", entry.seq),
        time(entry.at),
        tame(entry.kind).into_owned(),
        outcome,
        tame(entry.actor.id).into_owned(),
        event.unwrap_or_default(),
    ]
}

/// A value of the contract as its word.
pub(super) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::shapes::Row;
    use crate::contract::shapes::tests::{light, sample};

    #[test]
    fn a_person_sees_the_facts_the_votes_and_the_history() {
        let (exception, entries) = sample();
        let stored: Vec<_> = entries.iter().map(|entry| (entry.number, light(entry), entry.hash)).collect();
        let rows = stored.iter().map(|(number, fields, hash)| Row { number: *number, fields, hash });
        let text = detail(&crate::contract::shapes::detail(&exception, None, None, rows).unwrap(), Paint::Plain);
        for part in [
            "EX-1  requested",
            "SEC-812 OpenSSL on payments",
            "high, level 1 of 2",
            "dana@example.com (1 needed)",
            "level 1  dana@example.com  until 2027-01-15",
            "refused (exception_exists)",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }
}
