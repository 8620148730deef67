//! The fields of `data`: presence, kind, form and size of each.

use serde_json::{Value, json};

use super::{Outcome, REMOVE, Table};

const SUBMISSION_REQUIRED: [&str; 10] = [
    "exception_id",
    "ticket",
    "ticket.id",
    "ticket.title",
    "ticket.severity",
    "ticket.current_due_date",
    "requester",
    "requester.id",
    "reason",
    "requested_due_date",
];
const DECISION_REQUIRED: [&str; 5] = ["decision_id", "exception_id", "decision", "reviewer", "reviewer.id"];

const SCHEMA: Outcome = Outcome::Failed("schema");
const BAD_TEXT: Outcome = Outcome::Failed("bad_text");
const BAD_TIME: Outcome = Outcome::Failed("bad_time");

pub(super) fn add(table: &mut Table) {
    required(table);
    optional(table);
    ids(table);
    people(table);
    texts(table);
    dates(table);
    scores(table);
    lists(table);
    unknown(table);
}

/// The same path with each of the values.
fn each(path: &str, values: impl IntoIterator<Item = Value>) -> Vec<(String, Value)> {
    values.into_iter().map(|value| (format!("data.{path}"), value)).collect()
}

fn submissions(table: &mut Table, input: &str, outcome: Outcome, changes: &[(String, Value)]) {
    let changes: Vec<_> = changes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
    table.submissions(input, outcome, &changes);
}

fn decisions(table: &mut Table, input: &str, outcome: Outcome, changes: &[(String, Value)]) {
    let changes: Vec<_> = changes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
    table.decisions(input, outcome, &changes);
}

fn wrong() -> [Value; 5] {
    [json!(REMOVE), Value::Null, json!(7), json!(true), json!([["x"]])]
}

fn required(table: &mut Table) {
    table.section = "Required fields";
    for path in SUBMISSION_REQUIRED {
        let input = format!("submission: `{path}` missing, null, a number, a boolean, a list");
        submissions(table, &input, SCHEMA, &each(path, wrong()));
    }
    for path in DECISION_REQUIRED {
        let input = format!("decision: `{path}` missing, null, a number, a boolean, a list");
        decisions(table, &input, SCHEMA, &each(path, wrong()));
    }
    submissions(
        table,
        "an object in place of a text, a text in place of an object",
        SCHEMA,
        &[
            ("data.ticket.title".into(), json!({ "x": 1 })),
            ("data.ticket".into(), json!("SEC-1")),
            ("data.requester".into(), json!("zoe@example.com")),
        ],
    );
}

fn optional(table: &mut Table) {
    table.section = "Optional fields";
    let fields = [
        "ticket.url",
        "ticket.asset",
        "ticket.kev",
        "ticket.epss",
        "ticket.cves",
        "requester.manager",
        "justification",
        "attachments",
        "batch_id",
        "custom",
        "ticket.original_due_date",
    ];
    let nulls: Vec<_> = fields.iter().flat_map(|path| each(path, [Value::Null])).collect();
    submissions(table, "null in any of them: as if missing", Outcome::Applied, &nulls);
    submissions(
        table,
        "one of another kind: text, boolean, object, list of texts, list of objects",
        SCHEMA,
        &[
            ("data.ticket.url".into(), json!(7)),
            ("data.ticket.kev".into(), json!("no")),
            ("data.ticket.kev".into(), json!(0)),
            ("data.ticket.asset".into(), json!(["payments-api"])),
            ("data.ticket.asset.internet_facing".into(), json!("true")),
            ("data.ticket.cves".into(), json!("CVE-2026-1234")),
            ("data.ticket.tags".into(), json!(["pci", 7])),
            ("data.ticket.tags".into(), json!([null])),
            ("data.attachments".into(), json!(["a1"])),
            ("data.attachments".into(), json!([{ "id": 7 }])),
            ("data.attachments".into(), json!({ "id": "a1" })),
            ("data.custom".into(), json!("x")),
            ("data.batch_id".into(), json!(7)),
        ],
    );
    decisions(
        table,
        "decision: `comment` an object, `expected_revision` negative, a fraction, a text, too large",
        SCHEMA,
        &[
            ("data.comment".into(), json!({})),
            ("data.expected_revision".into(), json!(-1)),
            ("data.expected_revision".into(), json!(1.5)),
            ("data.expected_revision".into(), json!("1")),
            ("data.expected_revision".into(), json!(4_294_967_296_u64)),
        ],
    );
    decisions(table, "`decision` in any case", Outcome::Applied, &each("decision", [json!("DENY"), json!("Deny")]));
    decisions(
        table,
        "`decision`: a word that is not built yet, another word, with blanks, empty",
        SCHEMA,
        &each(
            "decision",
            [
                json!("acknowledge"),
                json!("request_info"),
                json!("reassign"),
                json!("revoke"),
                json!("maybe"),
                json!(" deny"),
                json!(""),
            ],
        ),
    );
}

fn ids(table: &mut Table) {
    table.section = "Ids and people";
    let bad = |path: &'static str| {
        each(
            path,
            ["", " ", "a b", " EX-1", "EX/1", "é", "EX-１", "'; DROP TABLE exceptions; --"]
                .map(Value::from)
                .into_iter()
                .chain([json!("x".repeat(129))]),
        )
    };
    for path in ["exception_id", "ticket.id", "previous_exception_id"] {
        submissions(table, &format!("`{path}` empty, with blanks, other characters, over 128"), SCHEMA, &bad(path));
    }
    decisions(table, "`decision_id` empty, with blanks, other characters, over 128", SCHEMA, &bad("decision_id"));
    let hidden = ["a\nb", "a\u{1b}[31m", "a\u{202e}b", "\u{200b}a", "a\u{feff}", "a\u{2066}b"].map(Value::from);
    for path in ["exception_id", "ticket.id", "requester.id", "requester.manager", "ticket.severity", "reason"] {
        let input = format!("control, bidirectional or zero-width characters in `{path}`");
        submissions(table, &input, BAD_TEXT, &each(path, hidden.clone()));
    }
    for path in ["decision_id", "reviewer.id", "reassign_to", "decision"] {
        let input = format!("control, bidirectional or zero-width characters in `{path}`");
        decisions(table, &input, BAD_TEXT, &each(path, hidden.clone()));
    }
}

fn people(table: &mut Table) {
    submissions(
        table,
        "an id of 128 characters of the alphabet",
        Outcome::Applied,
        &each("exception_id", [json!(format!("{}._:@+-", "x".repeat(122)))]),
    );
    submissions(
        table,
        "`requester.id` with blanks around it, in capitals, of 128 characters",
        Outcome::Applied,
        &each(
            "requester.id",
            [
                json!(" ZOE@Example.COM\t"),
                json!("\r\nzoe@example.com\n"),
                json!("!#$%&'*+/=?^_`{|}~@x"),
                json!(format!("   {}   ", "u".repeat(128))),
            ],
        ),
    );
    let people =
        || ["", "  ", "zoe maria", "zoé@example.com"].map(Value::from).into_iter().chain([json!("u".repeat(129))]);
    submissions(
        table,
        "`requester.id` empty, blank, with a blank inside, not ASCII, over 128",
        SCHEMA,
        &each("requester.id", people()),
    );
    decisions(table, "`reviewer.id` in the same ways", SCHEMA, &each("reviewer.id", people()));
    decisions(
        table,
        "`reassign_to` is a user id too",
        SCHEMA,
        &each("reassign_to", people().chain([json!(7), json!(["a"])])),
    );
    submissions(
        table,
        "`severity`, `reason` in any case",
        Outcome::Applied,
        &[
            ("data.ticket.severity".into(), json!("LOW")),
            ("data.ticket.severity".into(), json!("Medium")),
            ("data.reason".into(), json!("Fix_UNAVAILABLE")),
        ],
    );
    submissions(
        table,
        "`severity` that is none, `reason` with blanks or not ASCII",
        SCHEMA,
        &[
            ("data.ticket.severity".into(), json!("urgent")),
            ("data.ticket.severity".into(), json!("")),
            ("data.ticket.severity".into(), json!("low ")),
            ("data.reason".into(), json!("fix unavailable")),
            ("data.reason".into(), json!("")),
            ("data.reason".into(), json!("fıx")),
        ],
    );
}

fn texts(table: &mut Table) {
    table.section = "Texts";
    let texts = [
        "'; DROP TABLE exceptions; --",
        "$1 %s {0} \\ \\\\ \\' \" `id` $(id)",
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "${jndi:ldap://x.example.com/a}",
        "=HYPERLINK(\"http://x\",\"y\")",
        "+1-2|cmd '/C calc'!A0",
        "x\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}",
        "\u{1b}[2J\u{7}\u{8}\u{85}\u{2028}",
        "\u{202e}txt.exe \u{200b}\u{feff}",
        "../../etc/passwd\t~",
        "e\u{301} \u{fffd}\u{ffff} 👩‍👩‍👧",
    ];
    submissions(
        table,
        "SQL, HTML, `${jndi:…}`, formulas, forged log lines, control and bidirectional characters in a free text: kept literally",
        Outcome::Applied,
        &each("ticket.title", texts.map(Value::from)),
    );
    submissions(
        table,
        "the same in `justification`, below `custom`, in a field nobody knows",
        Outcome::Applied,
        &[
            ("data.justification".into(), json!(texts.concat())),
            ("data.custom".into(), json!({ texts[1]: texts })),
            ("data.unknown".into(), json!({ texts[6]: texts })),
        ],
    );
    submissions(
        table,
        "a text of 4 KiB, also in two-byte characters; a `justification` of 16 KiB",
        Outcome::Applied,
        &[
            ("data.ticket.title".into(), json!("x".repeat(4096))),
            ("data.ticket.title".into(), json!("é".repeat(2048))),
            ("data.custom".into(), json!({ "x": "x".repeat(4096) })),
            ("data.justification".into(), json!("x".repeat(16 * 1024))),
            ("data.ticket.title".into(), json!("")),
        ],
    );
    submissions(
        table,
        "a text over 4 KiB, known or not; a `justification` over 16 KiB, or elsewhere over 4",
        SCHEMA,
        &[
            ("data.ticket.title".into(), json!("x".repeat(4097))),
            ("data.ticket.url".into(), json!("x".repeat(4097))),
            ("data.unknown".into(), json!("x".repeat(4097))),
            ("data.custom".into(), json!({ "x": ["x".repeat(4097)] })),
            ("data.custom".into(), json!({ "justification": "x".repeat(4097) })),
            ("data.ticket.tags".into(), json!(["x".repeat(4097)])),
            ("data.justification".into(), json!("x".repeat(16 * 1024 + 1))),
        ],
    );
    submissions(
        table,
        "a text over 4 KiB of fewer characters",
        SCHEMA,
        &[("data.ticket.title".into(), json!("é".repeat(2049)))],
    );
    decisions(
        table,
        "decision: a `comment` over 4 KiB, also a `justification`, which it has none",
        SCHEMA,
        &[("data.comment".into(), json!("x".repeat(4097))), ("data.justification".into(), json!("x".repeat(4097)))],
    );
}

fn dates(table: &mut Table) {
    table.section = "Dates and times";
    let dates = || {
        [
            "2026-02-30",
            "2026-13-01",
            "10000-01-01",
            "2026-2-3",
            "20260203",
            "03.02.2026",
            "2026-02-03T00:00:00Z",
            "2026-02-03 ",
            "-026-02-03",
            "٢٠٢٦-02-03",
            "tomorrow",
            "",
        ]
        .map(Value::from)
    };
    for path in ["ticket.current_due_date", "ticket.original_due_date", "ticket.kev_due_date", "requested_due_date"] {
        let input = format!("`{path}`: 30 February, month 13, year 10000, another form, with a time");
        submissions(table, &input, BAD_TIME, &each(path, dates()));
    }
    submissions(table, "year 0", BAD_TIME, &each("requested_due_date", [json!("0000-01-01")]));
    submissions(
        table,
        "a number or a list in place of a date",
        SCHEMA,
        &each("requested_due_date", [json!(20_370_131), json!(["2037-01-31"]), json!({})]),
    );
    decisions(table, "decision: `approved_due_date` in the same ways", BAD_TIME, &each("approved_due_date", dates()));
    decisions(
        table,
        "decision: `decided_at` without offset, year 10000, a date",
        BAD_TIME,
        &each("decided_at", ["2026-11-24T09:00:00", "10000-01-01T00:00:00Z", "2026-11-24"].map(Value::from)),
    );
    submissions(
        table,
        "29 February of a leap year",
        Outcome::Applied,
        &each("ticket.original_due_date", [json!("2036-02-29")]),
    );
    submissions(
        table,
        "29 February of any other year",
        BAD_TIME,
        &each("ticket.original_due_date", [json!("2037-02-29")]),
    );
}

fn scores(table: &mut Table) {
    table.section = "Scores";
    table.text(
        "a decimal string or any JSON number, kept as written",
        Outcome::Applied,
        &[
            &|good| put(good, "\"epss\":\"0.42\",\"cvss\":\"10\""),
            &|good| put(good, "\"epss\":0.420,\"cvss\":8"),
            &|good| put(good, "\"epss\":4.2e-1,\"cvss\":1E+1"),
            &|good| put(good, "\"epss\":-0.0,\"cvss\":1e999"),
            &|good| put(good, "\"epss\":\"0.000000000000000000000000000001\""),
            &|good| put(good, "\"cvss\":0.123456789012345678901234567890"),
        ],
    );
    let bad = |path| {
        each(
            path,
            ["", "0,42", "4.2e-1", "-1", "+1", ".5", "5.", "1.2.3", "0x1", "NaN", "high", " 1", "١"]
                .map(Value::from)
                .into_iter()
                .chain([json!(true), json!([1]), json!({ "score": 1 })]),
        )
    };
    submissions(table, "`epss`: a text that is no decimal, a boolean, a list", SCHEMA, &bad("ticket.epss"));
    submissions(table, "`cvss` in the same ways", SCHEMA, &bad("ticket.cvss"));
    submissions(
        table,
        "a decimal of more than 32 characters",
        SCHEMA,
        &each("ticket.epss", [json!(format!("0.{}", "1".repeat(31)))]),
    );
    table.text(
        "a number of more than 32 characters",
        SCHEMA,
        &[&|good| put(good, &format!("\"cvss\":0.{}", "1".repeat(31)))],
    );
    table.text(
        "numbers no float holds, in fields nobody knows",
        Outcome::Applied,
        &[&|good| {
            put(good, "\"x\":[1e999999999,-1E-999999999,123456789012345678901234567890123456789012345678901234567890]")
        }],
    );
}

/// Puts members into the ticket.
fn put(good: &str, members: &str) -> String {
    good.replacen("\"title\"", &format!("{members},\"title\""), 1)
}

fn lists(table: &mut Table) {
    table.section = "Lists";
    let list = |n: usize| json!(vec!["x"; n]);
    submissions(
        table,
        "1,000 items; an empty list",
        Outcome::Applied,
        &[
            ("data.ticket.tags".into(), list(1_000)),
            ("data.unknown".into(), list(1_000)),
            ("data.ticket.cves".into(), json!([])),
            ("data.attachments".into(), json!(vec![json!({ "id": "a", "url": null }); 1_000])),
        ],
    );
    submissions(
        table,
        "1,001 items, in a field that is known or not, at any depth",
        SCHEMA,
        &[
            ("data.ticket.tags".into(), list(1_001)),
            ("data.compensating_controls".into(), list(1_001)),
            ("data.attachments".into(), json!(vec![json!({ "id": "a" }); 1_001])),
            ("data.unknown".into(), list(1_001)),
            ("data.custom".into(), json!({ "x": [list(1_001)] })),
        ],
    );
}

fn unknown(table: &mut Table) {
    table.section = "Unknown fields";
    submissions(
        table,
        "at any level: ignored and kept",
        Outcome::Applied,
        &[
            ("data.new_field".into(), json!({ "a": [1, null, { "b": "c" }] })),
            ("data.ticket.new_field".into(), json!(["x"])),
            ("data.requester.new_field".into(), json!(1.50)),
            ("data.ticket.asset".into(), json!({ "new_field": null })),
        ],
    );
    decisions(table, "of a decision", Outcome::Applied, &each("new_field", [json!({ "a": 1 })]));
    table.section = "Several faults at once";
    submissions(
        table,
        "a bad date and a missing field: the date",
        BAD_TIME,
        &[("data".into(), json!({ "requested_due_date": "2026-02-30" }))],
    );
    submissions(
        table,
        "a hidden character, a bad date and a missing field: the character",
        BAD_TEXT,
        &[("data".into(), json!({ "exception_id": "a\u{200b}", "requested_due_date": "2026-02-30" }))],
    );
    table.text(
        "an unknown type and a name twice: the name",
        Outcome::Failed("duplicate_key"),
        &[&|good| good.replacen("exception.submitted.v1", "x.v1", 1).replacen("\"title\"", "\"id\":1,\"title\"", 1)],
    );
    table.text(
        "a version and a type nobody knows: the version",
        Outcome::Failed("unsupported_version"),
        &[&|good| good.replacen("exception.submitted.v1", "x.v1", 1).replacen("\"1.0\"", "\"2.0\"", 1)],
    );
}
