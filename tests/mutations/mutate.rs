//! Valid events, and what a seed makes of them: the members, the values, the spelling, the bytes, the headers.

use fastrand::Rng;

use super::oracle::{self, Sight};
use super::properties::Input;
use crate::domain::json::Json;

/// Every field of a submission, every field of a decision, and the least that may be sent of each.
const EVENTS: [(&str, &str); 4] = [
    (
        "exception.submitted.v1",
        r#"{"exception_id":"EX-2026-000123","ticket":{"id":"SEC-812","title":"OpenSSL 3.0 on payments-api – 😀","url":"https://tickets.example.com/SEC-812","severity":"High","original_due_date":"2026-12-05","current_due_date":"2026-12-05","assignee":"zoe@example.com","business_unit":"payments","environment":"prod","asset":{"id":"payments-api","service":"payments-api","criticality":"high","internet_facing":true},"cves":["CVE-2026-1234"],"kev":false,"kev_due_date":null,"epss":"0.42","cvss":8.10,"fix_available":false,"tags":["pci"]},"requester":{"id":" Zoe@Example.com ","name":"Zoe","team":"payments","manager":"dana@example.com"},"reason":"Fix_Unavailable","justification":"Vendor patch is due in \"January\".\nSee \\ there.","compensating_controls":["WAF rule 812"],"requested_due_date":"2027-01-31","attachments":[{"id":"a1","name":"vendor.pdf","url":"https://example.com/a1"}],"previous_exception_id":null,"batch_id":null,"custom":{"n":[1,-2.50,3e5,{"deep":[]}]}}"#,
    ),
    (
        "exception.submitted.v1",
        r#"{"exception_id":"E","ticket":{"id":"T","title":"","severity":"low","current_due_date":"2026-12-05"},"requester":{"id":"z"},"reason":"other","requested_due_date":"2027-01-31"}"#,
    ),
    (
        "exception.decision.v1",
        r#"{"decision_id":"D-1","exception_id":"EX-2026-000123","decision":"Approve","reviewer":{"id":"dana@example.com"},"approved_due_date":"2027-01-15","comment":"Until the vendor ships.","reassign_to":null,"expected_revision":1,"decided_at":"2026-11-24T09:00:00Z"}"#,
    ),
    ("exception.decision.v1", r#"{"decision_id":"D","exception_id":"E","decision":"deny","reviewer":{"id":"d"}}"#),
];

const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "-1",
    "4294967296",
    "9007199254740993",
    "1e999",
    "-1E-999",
    "0.1000",
    "1E+2",
    "1.7976931348623157e309",
    "0.30000000000000004",
    "123456789012345678901234567890123456789",
];
const TEXTS: [&str; 22] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\u{202e}x",
    "\u{200b}",
    "\u{feff}",
    "\u{85}",
    "\u{7f}",
    "\n",
    "\u{ffff}",
    "e\u{301}",
    "2026-02-30",
    "10000-01-01",
    "2027-01-31T00:00:00Z",
    "approve",
    "1.0",
    "'; DROP TABLE exceptions; --",
    "${jndi:ldap://x}",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "null",
];
const NAMES: [&str; 14] = [
    "id",
    "type",
    "source",
    "specversion",
    "data",
    "data_base64",
    "time",
    "exception_id",
    "reviewer",
    "a\u{200b}",
    "",
    "__proto__",
    "new\nfield",
    "traceparent",
];
/// Written as one half of a surrogate pair, which no string of Rust's can hold.
const LONE: char = '\u{f0000}';

/// A mutation, and what it has to come to where that is known beforehand.
pub(crate) struct Mutated {
    pub(crate) input: Input,
    /// Only the spelling and fields nobody knows were changed: it has to be accepted.
    pub(crate) neutral: bool,
}

/// What a seed makes. The same seed, the same message.
pub(crate) fn mutated(seed: u64) -> Mutated {
    let rng = &mut Rng::with_seed(seed);
    let (event_type, data) = EVENTS[rng.usize(..EVENTS.len())];
    let Sight::Read(data) = oracle::look(data.as_bytes()) else { panic!("a valid event") };
    let text = |text: &str| Json::Text(text.to_owned());
    let mut members = vec![
        ("specversion".to_owned(), text("1.0")),
        ("id".to_owned(), Json::Text(format!("e-{}", rng.u8(..)))),
        ("source".to_owned(), text("urn:test")),
        ("type".to_owned(), text(event_type)),
        ("data".to_owned(), data.value),
    ];
    if rng.bool() {
        members.push(("time".to_owned(), text("2026-11-24T09:00:00+01:00")));
        members.push(("subject".to_owned(), text("anything")));
    }
    let mut event = Json::Object(members);
    let kind = rng.u8(..100);
    if (15..75).contains(&kind) {
        for _ in 0..=rng.u8(..3) {
            change(&mut event, rng);
        }
    }
    let mut input = sent(event, rng);
    match kind {
        60..85 => bytes(&mut input.body, rng),
        85.. => properties(&mut input, rng),
        _ => {}
    }
    Mutated { input, neutral: kind < 15 }
}

/// Changes one value somewhere, or what stands around it.
fn change(event: &mut Json, rng: &mut Rng) {
    let mut at = rng.usize(..count(event));
    let other = nth(event, &mut rng.usize(..count(event))).cloned().unwrap_or(Json::Null);
    let Some(value) = nth(event, &mut at) else { return };
    match (rng.u8(..10), &mut *value) {
        (0, _) => *value = retyped(rng),
        (1, _) => *value = other,
        (2, _) => *value = deep(value.clone(), [1, 3, 28, 29, 30, 31, 32, 33, 150][rng.usize(..9)], rng),
        (_, Json::Object(members)) if !members.is_empty() => change_members(members, other, rng),
        (_, Json::List(items)) => match rng.u8(..4) {
            0 => items.clear(),
            1 => items.push(other),
            _ => *items = vec![text_of(rng); [999, 1_000, 1_001][rng.usize(..3)]],
        },
        (_, Json::Text(text)) => change_text(text, rng),
        _ => *value = Json::Number(NUMBERS[rng.usize(..NUMBERS.len())].to_owned()),
    }
}

fn change_members(members: &mut Vec<(String, Json)>, other: Json, rng: &mut Rng) {
    let at = rng.usize(..members.len());
    let to = rng.usize(..members.len());
    match rng.u8(..9) {
        0 | 1 => drop(members.remove(at)),
        2 => members.insert(to, members[at].clone()),
        3 => members.push((members[at].0.clone(), other)),
        4 => NAMES[rng.usize(..NAMES.len())].clone_into(&mut members[at].0),
        5 => members[at].0 = members[at].0.to_ascii_uppercase(),
        6 => {
            let value = members[to].1.clone();
            members[at].1 = value;
        }
        7 => members.push((NAMES[rng.usize(..NAMES.len())].to_owned(), other)),
        _ => members.extend((0..rng.usize(..300)).map(|number| (format!("wide{number}"), Json::Null))),
    }
}

fn change_text(text: &mut String, rng: &mut Rng) {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let place = places[rng.usize(..places.len())];
    match rng.u8(..8) {
        0 => text.truncate(place),
        1 | 2 => text.insert_str(place, TEXTS[rng.usize(..TEXTS.len())]),
        3 => text.insert(place, rng.char(..)),
        4 => text.insert(place, LONE),
        5 => *text = "x".repeat([128, 129, 256, 257, 4_096, 4_097, 16_384, 16_385][rng.usize(..8)]),
        6 => *text = text.to_uppercase(),
        _ => TEXTS[rng.usize(..TEXTS.len())].clone_into(text),
    }
}

fn retyped(rng: &mut Rng) -> Json {
    match rng.u8(..7) {
        0 => Json::Null,
        1 => Json::Bool(rng.bool()),
        2 | 3 => Json::Number(NUMBERS[rng.usize(..NUMBERS.len())].to_owned()),
        4 => text_of(rng),
        5 => Json::List(vec![text_of(rng)]),
        _ => Json::Object(vec![("id".to_owned(), text_of(rng))]),
    }
}

fn text_of(rng: &mut Rng) -> Json {
    Json::Text(TEXTS[rng.usize(..TEXTS.len())].to_owned())
}

fn deep(value: Json, levels: usize, rng: &mut Rng) -> Json {
    (0..levels).fold(value, |inner, _| {
        if rng.bool() { Json::List(vec![inner]) } else { Json::Object(vec![("a".to_owned(), inner)]) }
    })
}

fn count(value: &Json) -> usize {
    1 + match value {
        Json::List(items) => items.iter().map(count).sum(),
        Json::Object(members) => members.iter().map(|(_, member)| count(member)).sum(),
        _ => 0,
    }
}

fn nth<'a>(value: &'a mut Json, at: &mut usize) -> Option<&'a mut Json> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Json::List(items) => items.iter_mut().find_map(|item| nth(item, at)),
        Json::Object(members) => members.iter_mut().find_map(|(_, member)| nth(member, at)),
        _ => None,
    }
}

/// As a message in one of the modes, spelled somehow. What headers cannot carry stays structured.
fn sent(mut event: Json, rng: &mut Rng) -> Input {
    if let Json::Object(members) = &mut event {
        rng.shuffle(members);
        let data = members.iter().filter(|(name, _)| name == "data").count();
        let texts = members.iter().all(|(name, value)| name == "data" || matches!(value, Json::Text(_)));
        if data == 1 && texts && rng.bool() {
            let prefix = ["ce-", "cloudEvents:", "CE-"][rng.usize(..3)];
            let mut input = Input::new("application/json", "");
            for (name, value) in members {
                match value {
                    Json::Text(text) if name != "data" => {
                        drop(input.headers.insert(format!("{prefix}{name}"), text.clone()));
                    }
                    data => input.body = spelled(data, rng).into_bytes(),
                }
            }
            return input;
        }
    }
    Input::new("application/cloudevents+json", spelled(&event, rng))
}

fn spelled(value: &Json, rng: &mut Rng) -> String {
    let mut out = String::new();
    let loose = rng.u8(..3) == 0;
    spell(value, loose, rng, &mut out);
    out
}

fn spell(value: &Json, loose: bool, rng: &mut Rng, out: &mut String) {
    let space = |rng: &mut Rng, out: &mut String| {
        if loose {
            out.push_str(["", " ", "\n", "\t\r\n"][rng.usize(..4)]);
        }
    };
    space(rng, out);
    match value {
        Json::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                spell(item, loose, rng, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (at, (name, member)) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                spell(&Json::Text(name.clone()), loose, rng, out);
                out.push(':');
                spell(member, loose, rng, out);
            }
            out.push('}');
        }
        Json::Text(text) => spell_text(text, loose, rng, out),
        plain => out.push_str(&oracle::canonical(plain)),
    }
    space(rng, out);
}

fn spell_text(text: &str, loose: bool, rng: &mut Rng, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            LONE => out.push_str(["\\ud800", "\\uDFFF", "\\udc00\\ud800"][rng.usize(..3)]),
            '/' if loose => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' || matches!(c, '"' | '\\') || (loose && rng.u8(..4) == 0) => {
                out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Changes the bytes without knowing what they mean.
fn bytes(body: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..=body.len());
    let to = (at + rng.usize(..16)).min(body.len());
    match rng.u8(..11) {
        0 | 1 => body.truncate(at),
        2 => drop(body.drain(at..to)),
        3 => body.insert(at, rng.u8(..)),
        4 => body.extend_from_within(at..to),
        5 => body.extend(b"\xef\xbb\xbf{}"),
        6 => drop(body.splice(..0, *b"\xef\xbb\xbf")),
        7 => *body = String::from_utf8_lossy(body).encode_utf16().flat_map(u16::to_le_bytes).collect(),
        8 => drop(body.splice(at..at, b"[{\"".repeat(rng.usize(..40)))),
        9 if rng.u8(..10) == 0 => drop(body.splice(..0, vec![b' '; 262_100])),
        _ => {
            if let Some(byte) = body.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
    }
}

/// Changes what stands around the body.
fn properties(input: &mut Input, rng: &mut Rng) {
    let types = [
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents+json; charset=latin1",
        "text/plain",
        "",
        "application/json;charset=\"utf-8\"; x=y",
        "application/json; charset=a\0\nb",
        "application/cloudevents-batch+json",
    ];
    let names =
        ["ce-id", "CE-source", "cloudEvents:type", "ce-specversion", "ce-time", "ce-", "traceparent", "ce-data"];
    match rng.u8(..5) {
        0 => input.content_type = Some(types[rng.usize(..types.len())].to_owned()),
        1 => input.content_type = None,
        2 => input.content_encoding = Some(["gzip", "identity", "", "\0"][rng.usize(..4)].to_owned()),
        3 => {
            let value =
                if rng.bool() { TEXTS[rng.usize(..TEXTS.len())].to_owned() } else { "x".repeat(rng.usize(..300)) };
            input.headers.insert(names[rng.usize(..names.len())].to_owned(), value);
        }
        _ => {
            let name = input.headers.keys().nth(rng.usize(..8)).cloned().unwrap_or_default();
            input.headers.remove(&name);
        }
    }
}
