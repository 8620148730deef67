//! The differences for a person: the counts first, then request by request.

use super::{DiffShape, Differing, changes};
use crate::cli::output::{Paint, columns, tame};

/// Requests that are shown one by one: more would hide the counts.
const SHOWN_MAX: usize = 50;

pub(super) fn table(shape: &DiffShape, paint: Paint) -> String {
    let mut sections = vec![summary(shape, paint)];
    if !shape.moves.is_empty() {
        let row = |it: &super::Move| {
            let to = if it.old == it.new { "says something else".into() } else { format!("-> {}", tame(&it.new)) };
            vec![format!("  {}", it.count), tame(&it.old).into_owned(), to]
        };
        let rows = columns(&shape.moves.iter().map(row).collect::<Vec<_>>());
        sections.push(format!("{}\n{rows}", paint.bold("Rules")));
    }
    if !shape.items.is_empty() {
        let items: Vec<_> = shape.items.iter().take(SHOWN_MAX).map(|item| request(item, paint)).collect();
        sections.push(format!("{}\n{}", paint.bold("Requests"), items.join("\n")));
    }
    if shape.items.len() > SHOWN_MAX {
        sections.push(format!("and {} more: -o json shows them all", shape.items.len() - SHOWN_MAX));
    }
    sections.join("\n\n")
}

fn summary(shape: &DiffShape, paint: Paint) -> String {
    let counts = format!("{} of {} requests would be routed differently", shape.different, shape.looked_at);
    let mut lines = vec![if shape.different == 0 { paint.good(counts) } else { paint.warn(counts) }];
    if shape.skipped > 0 {
        lines.push(format!("{} were skipped: no submission that could be read", shape.skipped));
    }
    if !shape.complete {
        lines.push("there are more: only the newest were looked at, --max says how many".to_owned());
    }
    lines.join("\n")
}

fn request(item: &Differing, paint: Paint) -> String {
    let head = format!("  {}  {}", paint.bold(&item.exception_id), item.requester);
    let changes = changes(&item.old, &item.new).into_iter().map(|change| format!("    {change}"));
    std::iter::once(head).chain(changes).collect::<Vec<_>>().join("\n")
}
