//! Failures for a person: one on a page of its own, many in lines, kinds with their counts.

use crate::cli::failures::body;
use crate::cli::output::{Paint, columns, table, tame, time};
use crate::contract::reason::Reason;
use crate::contract::shapes::desk::{FailureShape, GroupShape};
use crate::store::desk::{FailureState, StoredFailure};

/// Characters of a message in a line; the page has all of it.
const MESSAGE_CHARS_MAX: usize = 80;

/// A line for each.
pub(super) fn list(failures: &[FailureShape<'_>], paint: Paint) -> String {
    if failures.is_empty() {
        return "no failures".to_owned();
    }
    let head = ["FAILURE", "STATE", "RECEIVED", "REASON", "TYPE", "MESSAGE"];
    let row = |failure: &FailureShape<'_>| {
        [
            failure.failure_id.to_string(),
            failure.state.to_owned(),
            time(failure.received_at),
            tame(failure.reason).into_owned(),
            tame(failure.event_type.unwrap_or("-")).into_owned(),
            shortened(&tame(failure.message)),
        ]
    };
    table(head, failures.iter().map(row), paint)
}

/// A line for each.
pub(super) fn groups(groups: &[GroupShape<'_>], paint: Paint) -> String {
    if groups.is_empty() {
        return "no failures".to_owned();
    }
    let row = |group: &GroupShape<'_>| {
        [
            group.count.to_string(),
            time(group.first_at),
            time(group.last_at),
            group.example_failure_id.to_string(),
            tame(group.fingerprint).into_owned(),
        ]
    };
    table(["COUNT", "FIRST", "LAST", "EXAMPLE", "FINGERPRINT"], groups.iter().map(row), paint)
}

fn shortened(message: &str) -> String {
    if message.chars().count() <= MESSAGE_CHARS_MAX {
        return message.to_owned();
    }
    message.chars().take(MESSAGE_CHARS_MAX - 1).chain(['…']).collect()
}

/// The whole page.
pub(super) fn one(failure: &StoredFailure, paint: Paint) -> String {
    let state = match failure.state {
        FailureState::Open => paint.bad("open"),
        FailureState::Resolved => resolved(failure, paint),
        other => paint.bold(other),
    };
    let mut sections = vec![format!("{}  {state}", paint.bold(failure.id)), columns(&facts(failure))];
    if !failure.properties.headers.is_empty() {
        let row = |(name, value): (&String, &String)| vec![format!("  {}", tame(name)), tame(value).into_owned()];
        let rows: Vec<_> = failure.properties.headers.iter().map(row).collect();
        sections.push(format!("{}\n{}", paint.bold("Headers"), columns(&rows)));
    }
    let size = match failure.body.len() as u64 {
        shown if shown < failure.body_bytes => {
            format!("Body ({} bytes, of which the first {shown})", failure.body_bytes)
        }
        _ => format!("Body ({} bytes)", failure.body_bytes),
    };
    sections.push(format!("{}\n{}", paint.bold(size), body::shown(&failure.body)).trim_end().to_owned());
    sections.push(format!("{}\n{}", paint.bold("Next"), columns(&next(failure))));
    sections.join("\n\n")
}

/// That it is resolved does not mean that it was applied.
fn resolved(failure: &StoredFailure, paint: Paint) -> String {
    match (failure.outcome.as_deref(), failure.code.as_deref()) {
        (Some("refused"), Some(code)) => paint.bad(format!("resolved: refused, {code}")),
        (Some("parked"), _) => paint.bold("resolved: waits for its submission"),
        (Some("repeated"), _) => paint.bold("resolved: its event had an outcome already"),
        (Some(outcome), _) => paint.good(format!("resolved: {outcome}")),
        (None, _) => paint.good("resolved"),
    }
}

fn facts(failure: &StoredFailure) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &str| rows.push(vec![format!("  {name}"), tame(value).into_owned()]);
    let is_resolved = failure.state == FailureState::Resolved;
    row(if is_resolved { "was" } else { "reason" }, &failure.reason);
    row("message", &failure.message);
    if let Some(reason) = Reason::of(&failure.reason).filter(|_| !is_resolved) {
        row("remedy", reason.remedy());
    }
    row("event", &format!("{} from {}", failure.event_id, failure.source));
    row("type", failure.event_type.as_deref().unwrap_or("-"));
    if let Some(id) = &failure.exception_id {
        row("exception", id);
    }
    row("received", &time(failure.received_at));
    if failure.attempts > 0 {
        row("attempts", &failure.attempts.to_string());
    }
    row("kind", &failure.fingerprint);
    for (name, value) in [
        ("content type", &failure.properties.content_type),
        ("encoding", &failure.properties.content_encoding),
        ("user", &failure.properties.user_id),
    ] {
        if let Some(value) = value {
            row(name, value);
        }
    }
    for (name, id) in [("edited from", failure.edited_from), ("edited to", failure.edited_to)] {
        if let Some(id) = id {
            row(name, &id.to_string());
        }
    }
    rows
}

/// What can be done now. Only ids stand in these lines: they are copied into a shell, and nothing of the sender's may be.
fn next(failure: &StoredFailure) -> Vec<Vec<String>> {
    let id = failure.id;
    let row = |(command, what): (String, &str)| vec![format!("  reprieve {command}"), format!("# {what}")];
    let check = ("schema validate body.json".to_owned(), "see whether they would be read");
    let save = (format!("failures show {id} --raw > body.json"), "save the bytes");
    let edit = (format!("failures edit {id} --body body.json"), "have other bytes tried");
    let retry = (format!("failures retry {id}"), "have it tried again");
    let discard = (format!("failures discard {id}"), "put it aside");
    let again = (format!("failures show {id}"), "see whether it has been tried");
    if let Some(edited) = failure.edited_to {
        let edited = (format!("failures show {edited}"), "see what became of the edit");
        return vec![row(edited), row(save)];
    }
    let commands = match failure.state {
        FailureState::Open => vec![retry, save, check, edit, discard],
        FailureState::Discarded => vec![retry, save, check, edit],
        FailureState::Retrying => vec![again],
        FailureState::Resolved => vec![save],
    };
    commands.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::desk::tests::failure;

    #[test]
    fn a_page_says_what_is_wrong_and_what_to_do() {
        let text = one(&StoredFailure { edited_to: None, ..failure() }, Paint::Plain);
        for part in [
            "00000000-0000-0000-0000-000000000007  open",
            "  message       data.reason: expected a string",
            "  remedy        edit the place that the message names",
            "  event         e-1 from urn:test",
            "  content type  application/json",
            "  ce-id  e-1",
            "Body (14 bytes)\n  {\n    \"reason\": 7\n  }",
            "reprieve failures retry 00000000-0000-0000-0000-000000000007",
            "reprieve failures edit 00000000-0000-0000-0000-000000000007 --body body.json",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn what_a_sender_wrote_steers_no_terminal() {
        let mut failure = failure();
        let nasty = "\x1b[2J\u{202e}".to_owned();
        failure.message.clone_from(&nasty);
        failure.event_type = Some(nasty.clone());
        failure.event_id.clone_from(&nasty);
        failure.fingerprint.clone_from(&nasty);
        failure.properties.content_type = Some(nasty.clone());
        failure.properties.headers.insert(nasty.clone(), nasty.clone());
        failure.body = nasty.into_bytes();
        failure.body_bytes = failure.body.len() as u64;
        let shape = crate::shapes::failure(&failure);
        for text in [one(&failure, Paint::Plain), list(&[shape], Paint::Plain)] {
            assert!(!text.contains(['\x1b', '\u{202e}']), "{text:?}");
        }
    }

    #[test]
    fn what_can_be_done_depends_on_the_state() {
        for (state, commands) in [
            (FailureState::Open, "retry show validate edit discard"),
            (FailureState::Discarded, "retry show validate edit"),
            (FailureState::Retrying, "show"),
            (FailureState::Resolved, "show"),
        ] {
            let rows = next(&StoredFailure { state, edited_to: None, ..failure() });
            let verbs: Vec<&str> = rows.iter().filter_map(|row| row[0].split_whitespace().nth(2)).collect();
            assert_eq!(verbs.join(" "), commands);
        }
    }

    #[test]
    fn a_resolved_failure_says_what_its_event_came_to() {
        for (outcome, code, said) in [
            ("applied", None, "resolved: applied"),
            ("refused", Some("not_assigned"), "resolved: refused, not_assigned"),
            ("parked", None, "resolved: waits for its submission"),
            ("repeated", None, "resolved: its event had an outcome already"),
        ] {
            let (outcome, code) = (Some(outcome.to_owned()), code.map(str::to_owned));
            let text = one(&StoredFailure { state: FailureState::Resolved, outcome, code, ..failure() }, Paint::Plain);
            assert!(text.contains(said) && !text.contains("remedy"), "{text}");
            assert!(text.contains("failures show 00000000-0000-0000-0000-000000000008 "), "{text}");
        }
    }

    #[test]
    fn a_long_message_ends_in_its_line() {
        assert_eq!(shortened(&"é".repeat(200)).chars().count(), MESSAGE_CHARS_MAX);
        assert_eq!(shortened("short"), "short");
    }
}
