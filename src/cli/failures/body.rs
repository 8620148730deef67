//! A body for a person. JSON is put in lines without being read into values: what is wrong with it, a name that stands there
//! twice or a number with too many digits, is to be seen.

use std::iter::Peekable;
use std::str::Chars;

use serde::de::IgnoredAny;

use crate::cli::output::tame;

/// A few screens. The rest is in the bytes themselves.
const SHOWN_BYTES_MAX: usize = 16 * 1024;

/// Bytes shown of what is no text.
const HEX_BYTES_MAX: usize = 256;

/// The body in lines, indented by two.
pub(super) fn shown(body: &[u8]) -> String {
    let (text, cut) = match std::str::from_utf8(body) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => clipped(&in_lines(text)),
        Ok(text) => clipped(&text.replace('\t', "    ")),
        Err(error) => {
            let head = format!("no UTF-8 from byte {} on", error.valid_up_to());
            (format!("{head}\n{}", hexadecimal(body)), body.len() > HEX_BYTES_MAX)
        }
    };
    let mut lines: Vec<String> = text.lines().map(|line| format!("  {}", tame(line))).collect();
    if cut {
        lines.push("  … cut here".to_owned());
    }
    lines.join("\n")
}

fn clipped(text: &str) -> (String, bool) {
    let end = text.floor_char_boundary(SHOWN_BYTES_MAX);
    (text.get(..end).unwrap_or_default().to_owned(), end < text.len())
}

/// Every token as it is written, with the white space between them made anew. It ends when there is more than is shown: deep
/// nesting makes much white space of little text.
fn in_lines(json: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next().filter(|_| out.len() <= SHOWN_BYTES_MAX) {
        match c {
            '"' => take_string(&mut chars, &mut out),
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    break_line(depth, &mut out);
                }
            }
            '}' | ']' => {
                depth -= 1;
                break_line(depth, &mut out);
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(depth, &mut out);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn take_string(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('"');
    let mut is_escaped = false;
    for c in chars.by_ref() {
        out.push(c);
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return,
            _ => {}
        }
    }
}

fn break_line(depth: usize, out: &mut String) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
}

fn hexadecimal(body: &[u8]) -> String {
    let shown = body.get(..HEX_BYTES_MAX).unwrap_or(body);
    let line = |(number, bytes): (usize, &[u8])| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = bytes.iter().map(|b| if matches!(b, b' '..=b'~') { char::from(*b) } else { '.' }).collect();
        format!("{:04x}  {:47}  {text}", number * 16, hex.join(" "))
    };
    shown.chunks(16).enumerate().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_put_in_lines_and_stays_as_it_is_written() {
        let body = br#"{"a":1.50,"a" : [ ],"b":{"c":"x\",\" {1}"},"d":[1,{ }]}"#;
        let lines = r#"  {
    "a": 1.50,
    "a": [],
    "b": {
      "c": "x\",\" {1}"
    },
    "d": [
      1,
      {}
    ]
  }"#;
        assert_eq!(shown(body), lines);
    }

    #[test]
    fn what_is_no_json_is_shown_and_steers_no_terminal() {
        assert_eq!(shown(b"{ not\tjson\x1b[2J\r\nnext"), "  { not    json\u{fffd}[2J\n  next");
        assert_eq!(shown("\"\u{202e}\"".as_bytes()), "  \"\u{fffd}\"");
        assert_eq!(shown(b""), "");
    }

    #[test]
    fn what_is_no_text_is_shown_in_hexadecimal() {
        let text = shown(b"ab\xff\x1b");
        assert_eq!(text.lines().next(), Some("  no UTF-8 from byte 2 on"));
        assert!(text.contains("0000  61 62 ff 1b") && text.ends_with("ab.."), "{text}");
    }

    #[test]
    fn a_large_body_is_cut_and_a_deep_one_is_no_larger() {
        let deep = format!("{}{}{}", "[".repeat(100), "1,".repeat(50_000) + "1", "]".repeat(100));
        assert!(in_lines(&deep).len() < 2 * SHOWN_BYTES_MAX, "not made only to be thrown away");
        for body in ["é".repeat(SHOWN_BYTES_MAX).into_bytes(), deep.into_bytes(), vec![0xff; 100_000]] {
            let text = shown(&body);
            assert!(text.ends_with("cut here") && text.len() < 2 * SHOWN_BYTES_MAX, "{}", text.len());
        }
    }
}
