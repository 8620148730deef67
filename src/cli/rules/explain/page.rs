//! The trace for a person: the rules in order with what was wanted and found, then who reviews.

use super::Explained;
use crate::cli::output::{Paint, columns, tame, time};
use crate::cli::rules::diff::changes;
use crate::domain::ids::UserId;
use crate::domain::rules::{Condition, LevelExplained, Tried};

pub(super) fn page(it: &Explained, paint: Paint) -> String {
    let mut sections = vec![head(it, paint)];
    sections.push(it.explanation.tried.iter().map(|tried| rule(tried, paint)).collect::<Vec<_>>().join("\n"));
    sections.extend(verdict(it, paint));
    if !decides_alone(it) {
        let wanted = |at: usize| it.routing.as_ref().and_then(|routing| routing.levels.get(at)).map(|it| &it.quorum);
        let levels = it.explanation.levels.iter().enumerate();
        sections.extend(levels.map(|(at, it)| level(it, wanted(at).map(String::as_str), paint)));
    }
    let mut notes: Vec<_> = it.notes.iter().map(|note| paint.warn(tame(note))).collect();
    if it.explanation.truncated {
        notes.push(paint.warn("parts of what was explained then were left out, because it was too long"));
    }
    notes.extend(today(it).map(|line| paint.warn(line)));
    if !notes.is_empty() {
        sections.push(notes.join("\n"));
    }
    sections.join("\n\n")
}

fn head(it: &Explained, paint: Paint) -> String {
    let explanation = &it.explanation;
    let status = it.status.map(|status| format!("  {}", super::super::diff::word(&status))).unwrap_or_default();
    let hash = explanation.rules_hash.get(..12).unwrap_or(&explanation.rules_hash);
    let when = if it.status.is_some() { "submitted" } else { "as if submitted" };
    let mut lines = vec![
        format!(
            "{}{status}  {}",
            paint.bold(&it.exception_id),
            paint.bold(format!("rule {}", tame(&explanation.rule)))
        ),
        paint.dim(format!(
            "{when} {}, rules version {}, hash {}",
            time(it.at),
            tame(&explanation.rules_version),
            tame(hash)
        )),
    ];
    if let Some(derived) = it.derived {
        lines.push(paint.dim(format!(
            "extension_days {}, cumulative_extension_days {}, previous_exceptions {}, days_to_due {}",
            derived.extension_days, derived.cumulative_extension_days, derived.previous_exceptions, derived.days_to_due
        )));
    }
    lines.join("\n")
}

fn rule(tried: &Tried, paint: Paint) -> String {
    let mark = mark(tried.matched, paint);
    let name = tame(&tried.rule);
    let name = if tried.matched { paint.bold(name) } else { name.into_owned() };
    let row = |condition: &Condition| {
        let found = condition.actual.as_deref().map_or_else(|| "nothing".into(), tame);
        vec![
            tame(&condition.field).into_owned(),
            format!("wants {}", tame(&condition.wanted)),
            format!("found {found}"),
        ]
    };
    // Marks are put before the columns, whose widths are counted without colors.
    let rows = columns(&tried.conditions.iter().map(row).collect::<Vec<_>>());
    let rows = rows.lines().zip(&tried.conditions);
    let rows = rows.map(|(row, condition)| format!("    {} {row}", self::mark(condition.holds, paint)));
    std::iter::once(format!("{mark} {name}")).chain(rows).collect::<Vec<_>>().join("\n")
}

fn mark(good: bool, paint: Paint) -> String {
    if good { paint.good("✓") } else { paint.bad("✗") }
}

/// Whether nobody is asked.
fn decides_alone(it: &Explained) -> bool {
    it.routing.as_ref().is_some_and(|it| it.refused.is_some() || it.limit.is_some() || it.auto.is_some())
}

fn verdict(it: &Explained, paint: Paint) -> Option<String> {
    let routing = it.routing.as_ref()?;
    match (routing.refused, routing.limit, routing.auto) {
        (Some(code), _, _) => Some(paint.bad(format!("refused: {code}"))),
        (None, Some(limit), _) => Some(paint.bad(format!("denied: beyond {}", super::super::diff::word(&limit)))),
        (None, None, Some("approve")) => Some(paint.good("approved by the rule itself: nobody is asked")),
        (None, None, Some(_)) => Some(paint.bad("denied by the rule itself: nobody is asked")),
        (None, None, None) => None,
    }
}

fn level(level: &LevelExplained, wanted: Option<&str>, paint: Paint) -> String {
    let names = |users: &[UserId]| users.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ");
    let needed = match (level.quorum, wanted) {
        (Some(1), _) | (None, Some("any" | "1")) => "one must approve".to_owned(),
        (Some(number), _) => format!("{number} must approve"),
        (None, Some(wanted)) => format!("{wanted} must approve"),
        (None, None) => "not begun".to_owned(),
    };
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![format!("  {name}"), value]);
    match level.quorum {
        Some(_) => row("review", names(&level.reviewers)),
        None => row("review", "decided when the level begins".to_owned()),
    }
    if level.candidates.is_empty() {
        row("candidates", "none: triage reviews".to_owned());
    } else {
        row("candidates", format!("{}{}", names(&level.candidates), pick(&level.pick)));
    }
    let dropped = |it: &crate::domain::rules::Dropped| format!("{} ({})", it.id, why(&it.why));
    if !level.dropped.is_empty() {
        row("dropped", level.dropped.iter().map(dropped).collect::<Vec<_>>().join(", "));
    }
    format!("{}\n{}", paint.bold(format!("Level {}: {needed}", level.level)), columns(&rows))
}

fn pick(pick: &str) -> String {
    if pick == "all" { String::new() } else { format!(" (of whom are picked as many, {})", tame(pick)) }
}

fn why(word: &str) -> &str {
    match word {
        "requester" => "the requester never reviews",
        "not_eligible" => "may not review",
        other => other,
    }
}

/// What the present file would do, in one line.
fn today(it: &Explained) -> Option<String> {
    let today = it.today.as_ref()?;
    let rule = tame(&today.rule);
    Some(match &it.routing {
        Some(then) if then.rule == today.rule => {
            let changes: Vec<_> = changes(then, today).iter().map(ToString::to_string).collect();
            format!("today: rule {rule} still, but {}", changes.join("; "))
        }
        _ => format!("today: rule {rule}"),
    })
}

#[cfg(test)]
mod tests;
