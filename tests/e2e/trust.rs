//! Who may do what: the users that `topology print` describes, on a real broker, with the trust table it prints beside them.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use sqlx::query_scalar;

use crate::support::amqp::{Client, Message};
use crate::support::stage::Stage;
use crate::support::worker::WorkerSetup;
use crate::traffic::{decision, envelope, submission};

const SOON: Duration = Duration::from_secs(20);
const PASSWORD: &str = "not-to-be-seen";

/// The users of a stage: imported as printed, which nobody can log in as, then each with a password.
struct Users<'a> {
    stage: &'a Stage,
    prefix: String,
}

impl<'a> Users<'a> {
    async fn import(stage: &'a Stage, setup: &WorkerSetup) -> Self {
        let file = stage.folder().join("definitions.json");
        std::fs::write(&file, setup.cli_ok(&["topology", "print", "-o", "json"]).await).unwrap();
        stage.servers().rabbitmqctl(&["import_definitions", &file.display().to_string()]).await;
        let users = Self { stage, prefix: stage.prefix() };
        let locked = setup.clone().amqp_url(&users.url_with("topology", "")).cli(&["topology", "check"]).await;
        assert_eq!(locked.status.code(), Some(6), "{}", String::from_utf8_lossy(&locked.stderr));
        let change = |name| {
            let name = users.name(name);
            format!("rabbit_auth_backend_internal:change_password(<<\"{name}\">>, <<\"{PASSWORD}\">>, <<\"test\">>)")
        };
        let all = ["worker", "topology", "tickets", "reviews", "notifications", "dashboards"].map(change).join(", ");
        stage.servers().rabbitmqctl(&["eval", &format!("{all}.")]).await;
        users
    }

    /// What stands there already does no harm, but everybody is locked out again: the guide says so.
    async fn import_again(&self, setup: &WorkerSetup) {
        let file = self.stage.folder().join("definitions.json");
        self.stage.servers().rabbitmqctl(&["import_definitions", &file.display().to_string()]).await;
        let locked = setup.clone().amqp_url(&self.url("topology")).cli(&["topology", "check"]).await;
        assert_eq!(locked.status.code(), Some(6));
    }

    fn name(&self, user: &str) -> String {
        format!("{}reprieve-{user}", self.prefix)
    }

    fn url(&self, user: &str) -> String {
        self.url_with(user, PASSWORD)
    }

    fn url_with(&self, user: &str, password: &str) -> String {
        self.stage.amqp_url().replacen("guest:guest", &format!("{}:{password}", self.name(user)), 1)
    }

    async fn client(&self, user: &str) -> Client {
        Client::connect_to(self.stage, &self.url(user)).await
    }

    /// A message that names the user who sends it.
    fn signed(&self, user: &str, routing_key: &str, envelope: &Value) -> Message {
        let mut message = Message::structured(envelope);
        routing_key.clone_into(&mut message.routing_key);
        message.properties = message.properties.with_user_id(self.name(user).as_str().into());
        message
    }
}

/// What the broker says to a message it does not take; it closes the channel with it.
async fn refused(client: &Client, exchange: &str, message: &Message) -> String {
    let channel = client.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let (key, options) = (message.routing_key.as_str().into(), BasicPublishOptions::default());
    let sent = channel.basic_publish(exchange.into(), key, options, &message.body, message.properties.clone()).await;
    match sent {
        Ok(confirm) => confirm.await.expect_err("the broker took it").to_string(),
        Err(error) => error.to_string(),
    }
}

async fn consume(client: &Client, queue: &str) -> lapin::Result<lapin::Consumer> {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    client.channel().await.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: lapin::Result<T>) {
    let error = answer.expect_err("the broker allowed it").to_string();
    assert!(error.contains("ACCESS_REFUSED"), "{error}");
}

pub(crate) async fn users_can_do_what_is_theirs_and_nothing_else() {
    let stage = Stage::shared("trust_users").await;
    let setup = stage.worker().rules(crate::traffic::RULES);
    setup.cli_ok(&["migrate", "up"]).await;
    let users = Users::import(&stage, &setup).await;
    the_administrator_declares(&stage, &setup, &users).await;

    let printed = setup.cli_ok(&["topology", "print"]).await;
    let (_, trust) = printed.split_once("[trust]").expect("the trust table is printed");
    std::fs::write(stage.folder().join("reprieve.toml"), format!("[trust]{trust}")).unwrap();
    let worker = setup.clone().amqp_url(&users.url("worker")).start();
    worker.wait_ready(SOON).await;

    let (tickets, reviews) = (users.client("tickets").await, users.client("reviews").await);
    let mut rejected = Client::connect(&stage).await.events_matching("event.rejected.#").await;
    let submitted = envelope("s-1", "exception.submitted.v1", &submission("1", "low"));
    tickets.publish(&[users.signed("tickets", "exception.submitted.v1", &submitted)]).await;

    the_broker_refuses(&stage, &users, &tickets, &reviews).await;

    // By routing key it is a ticket's event, by type a decision, under the id that the genuine decision will have.
    let mut forged = envelope("d-1", "exception.decision.v1", &decision("1", "deny", "alice"));
    tickets.publish(&[users.signed("tickets", "ticket.updated.v1", &forged)]).await;
    let event = rejected.until(SOON, |seen| seen.len() == 1).await[0].json();
    let told = ["code", "event_id", "event_source", "event_type"].map(|key| event["data"][key].clone());
    assert_eq!(told, ["unauthorized", "d-1", "urn:test", "exception.decision.v1"].map(|text| json!(text)));
    forged["data"]["comment"] = json!("unsigned");
    reviews.publish(&[Message::structured(&forged)]).await;
    let event = rejected.until(SOON, |seen| seen.len() == 2).await[1].json();
    assert_eq!(event["data"]["code"], "unauthenticated");
    let mut database = stage.connect().await;
    let history = "SELECT count(*) FROM history";
    assert_eq!(query_scalar::<_, i64>(history).fetch_one(&mut database).await.unwrap(), 1, "nothing has changed");

    let genuine = envelope("d-1", "exception.decision.v1", &decision("1", "approve", "alice"));
    reviews.publish(&[users.signed("reviews", "exception.decision.v1", &genuine)]).await;
    both_mailboxes_are_read(&stage, &users, &tickets).await;
    let status: String = query_scalar("SELECT status FROM exceptions").fetch_one(&mut database).await.unwrap();
    assert_eq!(status, "approved");
    let reasons = query_scalar::<_, String>("SELECT reason FROM failures ORDER BY reason").fetch_all(&mut database);
    assert_eq!(reasons.await.unwrap(), ["unauthenticated", "unauthorized"]);
    assert!(!worker.output().contains(PASSWORD));
    users.import_again(&setup).await;
}

/// What was imported is what `apply` declares, and both are within its rights.
async fn the_administrator_declares(stage: &Stage, setup: &WorkerSetup, users: &Users<'_>) {
    let setup = setup.clone().amqp_url(&users.url("topology"));
    setup.cli_ok(&["topology", "check"]).await;
    let channel = Client::connect(stage).await.channel().await;
    for queue in ["exceptions.worker", "exceptions.unrouted", "exceptions.out.tickets"] {
        let queue = stage.object(queue);
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    for exchange in ["exceptions.inbound", "exceptions.events", "exceptions.dlx"] {
        let exchange = stage.object(exchange);
        channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    }
    setup.cli_ok(&["topology", "apply"]).await;
    setup.cli_ok(&["topology", "check"]).await;
    let administrator = users.client("topology").await;
    for exchange in ["exceptions.inbound", "exceptions.events", "amq.topic"] {
        let exchange = if exchange.starts_with("amq") { exchange.to_owned() } else { stage.object(exchange) };
        let said = refused(&administrator, &exchange, &Message::raw("exception.decision.v1", "{}")).await;
        assert!(said.contains("ACCESS_REFUSED"), "{exchange}: {said}");
    }
}

async fn the_broker_refuses(stage: &Stage, users: &Users<'_>, tickets: &Client, reviews: &Client) {
    let (inbound, events, queue) =
        (stage.object("exceptions.inbound"), stage.object("exceptions.events"), stage.object("exceptions.worker"));
    let decided = envelope("d-0", "exception.decision.v1", &decision("1", "approve", "alice"));
    let by = |routing_key: &str| users.signed("tickets", routing_key, &decided);
    for (client, exchange, message) in [
        (tickets, inbound.as_str(), by("exception.decision.v1")),
        (tickets, inbound.as_str(), by("xexception.submitted.v1")),
        (tickets, inbound.as_str(), by("exception.submitted.v1x")),
        (tickets, inbound.as_str(), by("exception.submittedxv1")),
        (tickets, events.as_str(), by("ticket.deferral_requested.v1")),
        (tickets, "", by(&queue)),
        (tickets, stage.object("exceptions.unrouted").as_str(), by("")),
        (tickets, stage.object("exceptions.dlx").as_str(), by("")),
        (reviews, inbound.as_str(), users.signed("reviews", "exception.submitted.v1", &decided)),
        (reviews, inbound.as_str(), users.signed("reviews", "ticket.closed.v1", &decided)),
    ] {
        let said = refused(client, exchange, &message).await;
        assert!(said.contains("ACCESS_REFUSED"), "{exchange} {}: {said}", message.routing_key);
    }
    let forged = users.signed("reviews", "ticket.closed.v1", &decided);
    let said = refused(tickets, &inbound, &forged).await;
    assert!(said.contains("PRECONDITION_FAILED") && said.contains("user_id"), "{said}");
    for name in ["exceptions.worker", "exceptions.worker.dead", "exceptions.unrouted", "exceptions.out.notifications"] {
        is_refused(consume(tickets, &stage.object(name)).await);
    }
    is_refused(consume(reviews, &stage.object("exceptions.out.tickets")).await);
    let bridge = users.client("notifications").await;
    is_refused(consume(&bridge, &queue).await);
    let said = refused(&bridge, &inbound, &by("ticket.closed.v1")).await;
    assert!(said.contains("ACCESS_REFUSED"), "{said}");
    a_dashboard_has_queues_of_its_own(stage, users).await;
}

async fn a_dashboard_has_queues_of_its_own(stage: &Stage, users: &Users<'_>) {
    let dashboards = users.client("dashboards").await;
    let declare = async |name: &str| {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        dashboards
            .channel()
            .await
            .queue_declare(stage.object(name).as_str().into(), options, FieldTable::default())
            .await
    };
    let bind = async |exchange: &str, key: &str| {
        let queue = stage.object("exceptions.dashboard.wall");
        let (queue, exchange) = (queue.as_str().into(), stage.object(exchange));
        let channel = dashboards.channel().await;
        channel
            .queue_bind(queue, exchange.as_str().into(), key.into(), QueueBindOptions::default(), FieldTable::default())
            .await
    };
    declare("exceptions.dashboard.wall").await.unwrap();
    is_refused(declare("exceptions.other").await);
    bind("exceptions.events", "exception.#").await.unwrap();
    for key in ["#", "*.#", "notification.#", "#.v1", "*.*.v1"] {
        is_refused(bind("exceptions.events", key).await);
    }
    is_refused(bind("exceptions.inbound", "exception.#").await);
    consume(&dashboards, &stage.object("exceptions.dashboard.wall")).await.unwrap();
}

/// The notifications by the bridge, the deferral by the ticketing system.
async fn both_mailboxes_are_read(stage: &Stage, users: &Users<'_>, tickets: &Client) {
    let bridge = users.client("notifications").await;
    for (client, queue, expected) in [
        (&bridge, "exceptions.out.notifications", "notification.requester.v1"),
        (tickets, "exceptions.out.tickets", "ticket.deferral_requested.v1"),
    ] {
        let mut mailbox = consume(client, &stage.object(queue)).await.unwrap();
        let found = tokio::time::timeout(SOON, async {
            while let Some(delivery) = mailbox.next().await {
                let delivery = delivery.unwrap();
                let body: Value = serde_json::from_slice(&delivery.data).unwrap();
                if body["type"] == expected && body["data"]["status"] != "requested" {
                    return;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("{expected} is not in {queue}"));
    }
}
