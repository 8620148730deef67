//! A small ticketing system: asks for exceptions, and applies what Reprieve decides.
//!
//!     cargo run --example tickets -- submit TICKET NEW_DATE REQUESTER JUSTIFICATION
//!     cargo run --example tickets -- follow [COUNT]
//!
//! Needs futures-util, lapin, `serde_json`, tokio. `AMQP_URL` is the broker; `TICKETS` is a JSON file that stands for the
//! ticketing system's database.
#![expect(clippy::indexing_slicing, reason = "what is missing reads as null; a file of another shape ends the program")]

use std::error::Error;
use std::io::Write as _;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A command with its arguments.
enum Ask {
    Submit(Value),
    Follow(u64),
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ask = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["submit", ticket, new_date, requester, justification] => {
            Ask::Submit(submission(ticket, new_date, requester, justification)?)
        }
        ["follow"] => Ask::Follow(u64::MAX),
        ["follow", count] => Ask::Follow(count.parse()?),
        _ => {
            eprintln!("tickets submit TICKET NEW_DATE REQUESTER JUSTIFICATION\ntickets follow [COUNT]");
            std::process::exit(2);
        }
    };
    let url = std::env::var("AMQP_URL")?;
    let user = url.parse::<AMQPUri>()?.authority.userinfo.username;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    match ask {
        Ask::Submit(event) => submit(&channel, &user, event).await?,
        Ask::Follow(count) => follow(&channel, count).await?,
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

fn submission(ticket_id: &str, new_date: &str, requester: &str, justification: &str) -> Result<Value> {
    let ticket = &load()?["tickets"][ticket_id];
    let exception_id = format!("EX-{ticket_id}-{new_date}");
    Ok(json!({
        "specversion": "1.0",
        "type": "exception.submitted.v1",
        "source": "urn:tickets",
        // The same request has the same id: sent again after a lost confirm it is a repeat, without effect.
        "id": format!("{exception_id}/submitted"),
        "data": {
            "exception_id": exception_id,
            "ticket": {
                "id": ticket_id,
                "title": ticket["title"],
                "severity": ticket["severity"],
                "current_due_date": ticket["due_date"],
            },
            "requester": { "id": requester },
            "reason": "fix_unavailable",
            "justification": justification,
            "requested_due_date": new_date,
        },
    }))
}

async fn submit(channel: &Channel, user: &str, event: Value) -> Result<()> {
    let properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2) // kept on disk
        .with_message_id(text(&event["id"]).into())
        .with_user_id(user.into()); // needed where the operator has set [trust]
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (key, body) = (text(&event["type"]), event.to_string());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("exceptions.inbound".into(), key.into(), options, body.as_bytes(), properties);
    match sent.await?.await? {
        Confirmation::Ack(_) => println!(
            "confirmed by the broker: {}; applied only when GET /api/v1/exceptions/{} shows it",
            text(&event["id"]),
            text(&event["data"]["exception_id"])
        ),
        _ => return Err("the broker did not take it: send it again".into()),
    }
    Ok(())
}

async fn follow(channel: &Channel, count: u64) -> Result<()> {
    channel.basic_qos(20, BasicQosOptions::default()).await?;
    let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut events = channel.basic_consume("exceptions.out.tickets".into(), "".into(), options, table).await?;
    for _ in 0..count {
        let Some(delivery) = events.next().await.transpose()? else { break };
        println!("{}", apply(&serde_json::from_slice(&delivery.data)?)?);
        // Only now: whatever ends the program before, the event comes again.
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// Changes the ticket and notes that the event was seen, both in one write.
fn apply(event: &Value) -> Result<String> {
    let mut book = load()?;
    let (id, kind, data) = (text(&event["id"]), text(&event["type"]), &event["data"]);
    let (exception, ticket) = (text(&data["exception_id"]), text(&data["ticket_id"]));
    if book["seen"].as_array().is_some_and(|seen| seen.contains(&event["id"])) {
        return Ok(format!("repeated {kind}"));
    }
    // Dates and statuses of one exception are two rows of events, each in the order of `sequence`.
    let row = format!("{exception}/{}", kind.split('.').next().unwrap_or_default());
    let last = text(&book["last"][&row]).to_owned();
    let mut unknown = Value::Null;
    let ticket = book["tickets"].get_mut(ticket).unwrap_or(&mut unknown);
    let outcome = if text(&event["sequence"]) <= last.as_str() {
        "overtaken"
    } else if ticket.is_null() {
        "unknown ticket"
    } else if kind == "exception.status_changed.v1" {
        let status = format!("{}/{}", text(&data["to_status"]), text(&data["to_enforcement"]));
        ticket["exceptions"][exception] = status.into();
        "applied"
    } else if kind == "ticket.deferral_requested.v1" && ticket["due_date"] == data["expected_due_date"] {
        ticket["due_date"] = data["new_due_date"].clone();
        "applied"
    } else if kind == "ticket.deferral_requested.v1" && ticket["due_date"] != data["new_due_date"] {
        "conflict" // somebody changed the date meanwhile: a person has to look
    } else {
        "nothing to do"
    };
    book["seen"].as_array_mut().ok_or("the file has no list `seen`")?.push(id.into());
    book["last"][&row] = text(&event["sequence"]).max(&last).into();
    let mut file = std::fs::File::create(format!("{}.new", path()))?;
    file.write_all(book.to_string().as_bytes())?;
    file.sync_all()?; // a power cut takes back nothing that is acknowledged; of a database, COMMIT sees to it
    std::fs::rename(format!("{}.new", path()), path())?;
    Ok(format!("{outcome} {kind}"))
}

fn load() -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(path())?)?)
}

fn path() -> String {
    std::env::var("TICKETS").unwrap_or_else(|_| "tickets.json".to_owned())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
