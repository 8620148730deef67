//! Printing: the format that was asked for, colors where they are wanted, and a reader that went away is no error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, StdoutLock, Write as _};

use chrono::SecondsFormat;
use clap::ValueEnum;
use serde::Serialize;

use super::{Code, ExitError};
use crate::contract::shapes::desk::ListShape;
use crate::domain::dates::Timestamp;
use crate::domain::ids::is_hidden;
use crate::telemetry::no_color;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON document a line
    Jsonl,
}

/// When colors are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Where a command's data goes.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    paint: Paint,
}

impl Output {
    pub(super) fn new(format: Format, color: Color) -> Self {
        let colored = match color {
            Color::Auto => io::stdout().is_terminal() && !no_color(),
            Color::Always => true,
            Color::Never => false,
        };
        Self { format, paint: if colored { Paint::Ansi } else { Paint::Plain } }
    }

    /// Prints an array: as the table `render` makes of it, as it is, or one element a line.
    pub(super) fn array<T: Serialize>(
        &self,
        items: &[T],
        render: impl FnOnce(&[T], Paint) -> String,
    ) -> Result<(), ExitError> {
        if self.format == Format::Json { self.object(&items, |_, _| String::new()) } else { self.list(items, render) }
    }

    /// Whether what is printed is for people, and who looks at it sees it change.
    pub(super) fn is_live_table(&self) -> bool {
        self.format == Format::Table && io::stdout().is_terminal()
    }

    /// Prints an object once more, in the place of what was printed of it before: `lines` of them. On a terminal each line is written over the
    /// old one, so nothing flickers; elsewhere it follows on a line of its own.
    pub(super) fn again<T: Serialize>(
        &self,
        value: &T,
        lines: usize,
        render: impl FnOnce(&T, Paint) -> String,
    ) -> Result<Printed, ExitError> {
        let text = match self.format {
            Format::Table => render(value, self.paint),
            Format::Json | Format::Jsonl => visible(serde_json::to_string(value).map_err(unprintable)?),
        };
        if !self.is_live_table() {
            return write_out(|stdout| writeln!(stdout, "{text}"));
        }
        let back = if lines > 0 { format!("\x1b[{lines}A\r") } else { String::new() };
        let text: String = text.lines().flat_map(|line| [line, "\x1b[K\n"]).collect();
        write_out(|stdout| write!(stdout, "{back}{text}"))
    }

    /// Whether what is printed for people is colored.
    pub(super) fn paint(&self) -> Paint {
        self.paint
    }

    /// Prints one object: as the table `render` makes of it, or as JSON.
    pub(super) fn object<T: Serialize>(
        &self,
        value: &T,
        render: impl FnOnce(&T, Paint) -> String,
    ) -> Result<(), ExitError> {
        let text = match self.format {
            Format::Table => render(value, self.paint),
            Format::Json if io::stdout().is_terminal() => {
                visible(serde_json::to_string_pretty(value).map_err(unprintable)?)
            }
            Format::Json | Format::Jsonl => visible(serde_json::to_string(value).map_err(unprintable)?),
        };
        print(&text)
    }

    /// Prints one event of many that come one after the other: as the line `render` makes of it, as it is stored on one line, or as a
    /// document for people where one looks at it.
    pub(super) fn text(
        &self,
        envelope: &str,
        render: impl FnOnce(&str, Paint) -> String,
    ) -> Result<Printed, ExitError> {
        let text = match self.format {
            Format::Table => render(envelope, self.paint),
            Format::Json if io::stdout().is_terminal() => {
                let value: serde_json::Value = serde_json::from_str(envelope).map_err(unprintable)?;
                visible(serde_json::to_string_pretty(&value).map_err(unprintable)?)
            }
            // Between the tokens of JSON, the only place where a line can end, a space is the same.
            Format::Json | Format::Jsonl => visible(envelope.replace(['\n', '\r'], " ")),
        };
        write_out(|stdout| writeln!(stdout, "{text}"))
    }

    /// Prints items that are all there are: see [`Output::page`].
    pub(super) fn list<T: Serialize>(
        &self,
        items: &[T],
        render: impl FnOnce(&[T], Paint) -> String,
    ) -> Result<(), ExitError> {
        self.page(items, None, render)
    }

    /// Prints items: as the table `render` makes of them, as `{"items": […], "next_cursor": …}`, or one a line. Where the
    /// cursor has no place among the data it is told beside them.
    pub(super) fn page<T: Serialize>(
        &self,
        items: &[T],
        next_cursor: Option<&str>,
        render: impl FnOnce(&[T], Paint) -> String,
    ) -> Result<(), ExitError> {
        match self.format {
            Format::Table => print(&render(items, self.paint))?,
            Format::Json => return self.object(&ListShape { items, next_cursor }, |_, _| String::new()),
            Format::Jsonl => {
                let lines =
                    items.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(unprintable)?;
                print(&visible(lines.join("\n")))?;
            }
        }
        if let Some(cursor) = next_cursor {
            tell(&format!("there are more: add --cursor {cursor}"));
        }
        Ok(())
    }
}

/// Prints bytes as they are, but not to a terminal: nobody knows what is in them.
pub(super) fn raw(bytes: &[u8]) -> Result<(), ExitError> {
    if io::stdout().is_terminal() {
        return Err(ExitError::new(Code::Usage, "raw bytes are not printed on a terminal: add > FILE"));
    }
    write_out(|stdout| stdout.write_all(bytes)).map(drop)
}

/// Whether text gets colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// Colors.
    Ansi,
    /// None.
    Plain,
}

impl Paint {
    pub(super) fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    pub(super) fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    pub(super) fn good(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    pub(super) fn bad(self, text: impl Display) -> String {
        self.wrap("31", text)
    }

    pub(super) fn warn(self, text: impl Display) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        match self {
            Paint::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Paint::Plain => text.to_string(),
        }
    }
}

/// Text from outside as a terminal may see it: nothing that moves the cursor or hides.
pub(super) fn tame(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_hidden) {
        Cow::Owned(text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// JSON as a terminal may see it: it means the same, and nothing of it moves the cursor or hides.
fn visible(json: String) -> String {
    if io::stdout().is_terminal() { escaped(&json).into_owned() } else { json }
}

/// With `\u` in the place of what is hidden. Below the space JSON has only what stands between its tokens.
fn escaped(json: &str) -> Cow<'_, str> {
    if !json.chars().any(|c| c > ' ' && is_hidden(c)) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c > ' ' && is_hidden(c) {
            let mut units = [0; 2];
            text.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// A moment, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Rows below the names of their columns.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    paint: Paint,
) -> String {
    let head = head.map(|name| paint.bold(name)).to_vec();
    columns(&std::iter::once(head).chain(rows.into_iter().map(Vec::from)).collect::<Vec<_>>())
}

/// Rows with their columns in line, the last one ragged.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| shown(cell)).max();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let padding = width(column).unwrap_or(0) - shown(cell);
            format!("{cell}{}", " ".repeat(padding))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// How many characters are seen of it: those of a color are not.
fn shown(cell: &str) -> usize {
    let mut colors = false;
    let is_seen = |c: char| {
        let is_color = colors || c == '\x1b';
        colors = is_color && c != 'm';
        !is_color
    };
    cell.chars().map(is_seen).filter(|is_seen| *is_seen).count()
}

/// How long ago, short, as in `3d`.
pub(super) fn age(at: Timestamp, now: Timestamp) -> String {
    let past = (now - at).max(chrono::TimeDelta::zero());
    match (past.num_days(), past.num_hours(), past.num_minutes()) {
        (0, 0, 0) => format!("{}s", past.num_seconds()),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, _) => format!("{hours}h"),
        (days, _, _) => format!("{days}d"),
    }
}

/// Prints text for people, which is all the data there is.
pub(super) fn say(text: &str) -> Result<(), ExitError> {
    print(text)
}

/// Says something to the person, beside the data.
pub(super) fn tell(text: &str) {
    // Nobody is left to be told that stderr is gone.
    writeln!(io::stderr().lock(), "{text}").ok();
}

fn print(text: &str) -> Result<(), ExitError> {
    if text.is_empty() {
        return Ok(());
    }
    write_out(|stdout| writeln!(stdout, "{text}")).map(drop)
}

/// What became of what was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Printed {
    /// It is out.
    All,
    /// Nobody reads any more.
    Enough,
}

fn write_out(write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> Result<Printed, ExitError> {
    let mut stdout = io::stdout().lock();
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Printed::All),
        // `| head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Printed::Enough),
        Err(error) => Err(ExitError::failed(format!("cannot write to stdout: {error}"))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unprintable(error: serde_json::Error) -> ExitError {
    ExitError::failed(format!("cannot print this as JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_line() {
        let rows = [vec!["a".to_owned(), "b".into()], vec!["long".to_owned(), "ü".into(), "c".into()]];
        assert_eq!(columns(&rows), "a     b\nlong  ü  c");
    }

    #[test]
    fn colors_take_no_room() {
        let rows = [vec![Paint::Ansi.bold("A"), "B".into()], vec!["aa".to_owned(), "b".into()]];
        assert_eq!(columns(&rows), "\x1b[1mA\x1b[0m   B\naa  b");
    }

    #[test]
    fn an_age_is_short() {
        let now = Timestamp::from_timestamp_micros(9_000_000_000_000).unwrap();
        for (seconds, text) in [(-5, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (86_399, "23h"), (864_000, "10d")]
        {
            assert_eq!(age(now - chrono::TimeDelta::seconds(seconds), now), text);
        }
    }

    #[test]
    fn json_on_a_terminal_hides_nothing_and_means_the_same() {
        let value = serde_json::json!({"a": "1\u{9b}2\u{202e}3\u{200b}4\u{7f}5\u{e9}\n", "b": [1]});
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let text = escaped(&pretty);
        assert!(text.contains(r"1\u009b2\u202e3\u200b4\u007f5é\n") && text.contains("\n  \"b\""), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(matches!(escaped("{\n\t}"), Cow::Borrowed(_)));
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(tame("a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(tame("plain"), "plain");
    }
}
