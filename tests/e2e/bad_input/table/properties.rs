//! What stands around the body: content type, encoding, headers; and the attributes of the envelope.

use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use serde_json::{Value, json};

use super::{
    DECISION, Input, Outcome, REMOVE, STRUCTURED, SUBMITTED, Table, binary, set, structured, text, unreadable,
};
use crate::support::amqp::Message;

const SPACE: &str = "(space)";

pub(super) fn add(table: &mut Table) {
    content_type(table);
    binary_mode(table);
    headers(table);
    attributes(table);
    time_and_data(table);
    types(table);
}

fn content_type(table: &mut Table) {
    table.section = "Content type and encoding";
    let mut unread = |input: &str, change: &[&dyn Fn(Message) -> Message]| {
        let inputs = change.iter().map(|change| {
            let message = Message::raw(SUBMITTED, table.submission().to_string());
            unreadable(change(message))
        });
        let inputs = inputs.collect();
        table.row(input, Outcome::Failed("bad_properties"), inputs);
    };
    let typed = |value: &'static str| move |message: Message| message.content_type(value);
    unread(
        "no content type, an empty one, another one",
        &[
            &|message| message,
            &typed(""),
            &typed("text/plain"),
            &typed("application/cloudevents"),
            &typed("application/cloudevents+avro"),
            &typed("application/octet-stream; x=\"application/json\""),
            &typed("application/json\u{0}"),
        ],
    );
    unread("the batch type", &[&typed("application/cloudevents-batch+json")]);
    unread(
        "a charset other than utf-8",
        &[
            &typed("application/cloudevents+json; charset=latin1"),
            &typed("application/cloudevents+json;charset=utf-16"),
            &typed("application/cloudevents+json; charset=utf-8; charset=latin1"),
            &typed("application/cloudevents+json; charset"),
        ],
    );
    let encoded =
        |value: &'static str| move |message: Message| message.content_type(STRUCTURED).content_encoding(value);
    unread(
        "`content_encoding` gzip, deflate, br: never decompressed",
        &[&encoded("gzip"), &encoded("deflate"), &encoded("br"), &encoded("identity, gzip")],
    );
    let mut read = |input: &str, change: &[&dyn Fn(Message) -> Message]| {
        let inputs = change.iter().map(|change| {
            let good = table.submission();
            Input { message: change(Message::raw(SUBMITTED, good.to_string())), ..structured(&good) }
        });
        let inputs = inputs.collect();
        table.row(input, Outcome::Applied, inputs);
    };
    read(
        "the content type in any case, with charset utf-8 in any spelling, with other parameters",
        &[
            &typed("APPLICATION/CloudEvents+JSON"),
            &typed("application/cloudevents+json; charset=\"UTF-8\""),
            &typed("application/cloudevents+json;x=y;Charset=Utf-8"),
        ],
    );
    read(
        "`content_encoding` that changes nothing: identity, utf-8",
        &[&encoded("identity"), &encoded("utf-8"), &encoded("UTF-8")],
    );
}

fn binary_mode(table: &mut Table) {
    table.section = "Binary mode";
    for (prefix, input) in
        [("ce-", "headers `ce-*`"), ("cloudEvents:", "headers `cloudEvents:*`"), ("CE-", "header names in any case")]
    {
        let good = table.submission();
        table.row(input, Outcome::Applied, vec![binary(&good, prefix)]);
    }
    let good = table.submission();
    let (one, two) = (binary(&good, "ce-"), binary(&good, "cloudEvents:"));
    let mut both = one.clone();
    for (name, value) in two.message.properties.headers().as_ref().unwrap().inner() {
        both.message = both.message.header(name.as_str(), value.clone());
    }
    table.row("both spellings with the same values", Outcome::Applied, vec![both]);
    let contradicting = binary(&table.submission(), "ce-").message.header("cloudEvents:id", text("other"));
    table.row("both spellings with two values", Outcome::Failed("bad_properties"), vec![unreadable(contradicting)]);
    let bare = Message::raw(SUBMITTED, table.submission()["data"].to_string()).content_type("application/json");
    table.row("no attributes at all", Outcome::Failed("unsupported_version"), vec![unreadable(bare)]);
    let good = table.submission();
    let whole = Input { message: binary(&good, "ce-").message, ..structured(&good) };
    let envelope = Message { body: good.to_string().into_bytes(), ..whole.message.clone() };
    let inputs = vec![Input { message: envelope, ..whole }];
    table.row("the whole envelope as body: it is no `data`", Outcome::Failed("schema"), inputs);
    let good = table.submission();
    let mut broken = binary(&good, "ce-");
    broken.message.body = b"{broken".to_vec();
    table.row("a body that cannot be read is known by its headers", Outcome::Failed("bad_json"), vec![broken]);
    let odd = binary(&table.submission(), "ce-").message.header("ce-id", AMQPValue::LongInt(7));
    table.row("an attribute that is no text is missing", Outcome::Failed("schema"), vec![unreadable(odd)]);
    for (input, reason, name, value) in [
        ("`ce-time` without offset", "bad_time", "ce-time", "2026-11-24T09:00:00"),
        ("`ce-specversion` 0.3", "unsupported_version", "ce-specversion", "0.3"),
        ("`ce-data_base64`", "schema", "ce-data_base64", "e30="),
    ] {
        let good = table.submission();
        let mut changed = binary(&good, "ce-");
        changed.message = changed.message.header(name, text(value));
        table.row(input, Outcome::Failed(reason), vec![changed]);
    }
    let hidden = binary(&table.submission(), "ce-").message.header("ce-id", text("a\u{202e}b"));
    let control = binary(&table.submission(), "ce-").message.header("ce-source", text("a\nb"));
    table.row(
        "hidden or control characters in `ce-id`, `ce-source`",
        Outcome::Failed("bad_text"),
        vec![unreadable(hidden), unreadable(control)],
    );
}

fn headers(table: &mut Table) {
    table.section = "Hostile headers";
    let mut row = |input: &str, headers: &[(&str, AMQPValue)]| {
        let mut found = structured(&table.submission());
        for (name, value) in headers {
            found.message = found.message.header(name, value.clone());
        }
        table.row(input, Outcome::Applied, vec![found]);
    };
    let mut deep = AMQPValue::Void;
    for _ in 0..500 {
        let mut outer = FieldTable::default();
        outer.insert("t".into(), deep);
        deep = AMQPValue::FieldTable(outer);
    }
    row("500 nested tables", &[("deep", deep)]);
    row(
        "every type a header can have, text that is no UTF-8, names of control characters",
        &[
            ("bool", AMQPValue::Boolean(true)),
            ("float", AMQPValue::Double(f64::MIN)),
            ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 255, value: u32::MAX })),
            ("time", AMQPValue::Timestamp(u64::MAX)),
            ("bytes", AMQPValue::ByteArray(vec![0u8; 100].into())),
            ("void", AMQPValue::Void),
            ("text", AMQPValue::LongString(vec![0xffu8, 0xfe, 0].into())),
            ("long", text(&"x".repeat(50_000))),
            ("\u{1b}[31m\n", text("\u{1b}[2J\r\n{\"level\":\"ERROR\"}")),
        ],
    );
    let mut death = FieldTable::default();
    for (name, value) in [("count", AMQPValue::LongLongInt(i64::MAX)), ("reason", text("delivery_limit"))] {
        death.insert(name.into(), value);
    }
    let deaths = || AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death.clone())]));
    row("a forged `x-death`", &[("x-death", deaths()), ("x-first-death-queue", text("exceptions.worker"))]);
    row("an `x-death` that is a number", &[("x-death", AMQPValue::LongInt(-1))]);
    for value in [AMQPValue::LongLongInt(i64::MAX), AMQPValue::LongLongInt(-1), text("many"), AMQPValue::Void] {
        row("a forged `x-delivery-count`", &[("x-delivery-count", value)]);
    }
    row("`ce-*` headers beside an envelope: the envelope decides", &[("ce-id", text("x")), ("ce-type", text("y.v9"))]);
    row("a `traceparent` that is none: it is not passed on", &[("traceparent", text("00-\u{0}\r\nx: y"))]);
}

fn attributes(table: &mut Table) {
    table.section = "Attributes";
    table.submissions(
        "`specversion` missing, null, a number, 0.3, 1.1",
        Outcome::Failed("unsupported_version"),
        &[
            ("specversion", json!(REMOVE)),
            ("specversion", Value::Null),
            ("specversion", json!(1.0)),
            ("specversion", json!("0.3")),
            ("specversion", json!("1.1")),
            ("specversion", json!("1.0 ")),
        ],
    );
    table.submissions(
        "`type` missing, null, a number",
        Outcome::Failed("schema"),
        &[("type", json!(REMOVE)), ("type", Value::Null), ("type", json!(7))],
    );
    let mut hidden = |input: &str, reason: &'static str, values: &[Value]| {
        let mut inputs = Vec::new();
        for name in ["id", "source"] {
            inputs.extend(values.iter().map(|value| {
                let changed = set(table.submission(), name, value);
                unreadable(structured(&changed).message)
            }));
        }
        table.row(input, Outcome::Failed(reason), inputs);
    };
    hidden(
        "`id` or `source` missing, null, empty, a number, a list, over 256 characters",
        "schema",
        &[json!(REMOVE), Value::Null, json!(""), json!(7), json!(["x"]), json!("x".repeat(257))],
    );
    hidden(
        "a control character in `id` or `source`",
        "bad_text",
        &[json!("a\nb"), json!("a\u{7f}"), json!("\u{85}"), json!("a\u{1b}[31m")],
    );
    hidden(
        "a bidirectional or zero-width character in `id` or `source`",
        "bad_text",
        &[json!("a\u{202e}b"), json!("a\u{200b}b"), json!("\u{feff}a"), json!("a\u{2066}b"), json!("a\u{ad}b")],
    );
    let longest: String = "é".repeat(240);
    let changes: Vec<(String, String)> =
        [longest.clone(), SPACE.to_owned(), "é/%00?#'\"\\<b>".to_owned(), "🦀".to_owned()]
            .into_iter()
            .map(|id| ("id".to_owned(), id))
            .collect();
    let mut inputs = Vec::new();
    for (name, value) in &changes {
        let good = table.submission();
        let unique = format!("{value}{}", good["id"].as_str().unwrap());
        inputs.push(structured(&set(good, name, &json!(unique))));
    }
    table.row("an `id` of any other characters, up to 256", Outcome::Applied, inputs);
}

fn time_and_data(table: &mut Table) {
    table.submissions(
        "`time` without offset, year 10000, no text, a number, a date, with a space, second 61",
        Outcome::Failed("bad_time"),
        &[
            ("time", json!("2026-11-24T09:00:00")),
            ("time", json!("10000-01-01T00:00:00Z")),
            ("time", json!("soon")),
            ("time", json!(1_795_507_200)),
            ("time", json!("2026-11-24")),
            ("time", json!("2026-11-24 09:00:00Z")),
            ("time", json!("2026-11-24T09:00:61Z")),
            ("time", json!("2026-02-30T09:00:00Z")),
            ("time", json!("2026-11-24T24:00:00Z")),
            ("time", json!("2026-11-24T09:00:00+25:00")),
        ],
    );
    table.submissions(
        "a second 60 where no leap second can be",
        Outcome::Failed("bad_time"),
        &[("time", json!("2026-11-24T09:00:60Z"))],
    );
    table.submissions(
        "`time` with any offset, a fraction, a leap second, long ago, null, missing",
        Outcome::Applied,
        &[
            ("time", json!("2026-11-24T09:00:00+05:45")),
            ("time", json!("2026-11-24t09:00:00.123456789z")),
            ("time", json!("2016-12-31T23:59:60Z")),
            ("time", json!("0001-01-01T00:00:00Z")),
            ("time", Value::Null),
        ],
    );
    table.submissions(
        "`data_base64`, alone, beside `data`, null",
        Outcome::Failed("schema"),
        &[("data_base64", json!("e30=")), ("data_base64", Value::Null)],
    );
    table.submissions(
        "`data` missing, null, a list, a text that holds JSON",
        Outcome::Failed("schema"),
        &[
            ("data", json!(REMOVE)),
            ("data", Value::Null),
            ("data", json!([])),
            ("data", json!("{}")),
            ("data", json!({})),
        ],
    );
    table.submissions(
        "attributes nobody knows, `subject`, `traceparent`, `dataschema` of any kind",
        Outcome::Applied,
        &[
            ("comexampleextension", json!({ "x": [1] })),
            ("subject", json!(7)),
            ("traceparent", json!("00-xyz\r\n")),
            ("traceparent", json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
            ("dataschema", json!("urn:other")),
            ("datacontenttype", json!("application/json; charset=utf-8")),
        ],
    );
}

fn types(table: &mut Table) {
    table.section = "Types";
    table.submissions(
        "a type nobody knows, in another case, with blanks, with hidden characters, empty",
        Outcome::Failed("unknown_type"),
        &[
            ("type", json!("exception.nonsense.v1")),
            ("type", json!("Exception.Submitted.v1")),
            ("type", json!("exception.submitted.v1 ")),
            ("type", json!("exception.submitted.\u{200b}v1")),
            ("type", json!("exception.submitted")),
            ("type", json!("exception.submitted.v1.1")),
            ("type", json!("exception.submitted.v")),
            ("type", json!("exception.status_changed.v1")),
            ("type", json!("x".repeat(10_000))),
            ("type", json!("")),
        ],
    );
    for not_built in [
        "exception.amended.v1",
        "exception.withdrawn.v1",
        "exception.info_provided.v1",
        "ticket.updated.v1",
        "ticket.closed.v1",
        "ticket.deferral_applied.v1",
        "ticket.deferral_rejected.v1",
        "reviewer.availability_changed.v1",
    ] {
        let input = format!("`{not_built}`: not built yet");
        table.submissions(&input, Outcome::Failed("unknown_type"), &[("type", json!(not_built))]);
    }
    table.submissions(
        "another major version of a type",
        Outcome::Failed("unsupported_version"),
        &[
            ("type", json!("exception.submitted.v2")),
            ("type", json!("exception.submitted.v0")),
            ("type", json!("exception.decision.v99999999999999999999")),
            ("type", json!("ticket.closed.v2")),
        ],
    );
    table.submissions("the data of another type", Outcome::Failed("schema"), &[("type", json!(DECISION))]);
    let mut lost = structured(&table.submission());
    "exeption.submited".clone_into(&mut lost.message.routing_key);
    table.row("a mistyped routing key: `type` decides", Outcome::Applied, vec![lost]);
}
