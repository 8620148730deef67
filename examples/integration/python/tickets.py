"""A small ticketing system: asks for exceptions, and applies what Reprieve decides.

    python3 tickets.py submit TICKET NEW_DATE REQUESTER JUSTIFICATION
    python3 tickets.py follow [COUNT]

Needs pika. AMQP_URL is the broker; TICKETS is a JSON file that stands for the ticketing system's database.
"""

import json
import os
import sys

import pika

BOOK = os.environ.get("TICKETS", "tickets.json")


def submit(channel, user, ticket_id, new_date, requester, justification):
    with open(BOOK, encoding="utf-8") as file:
        ticket = json.load(file)["tickets"][ticket_id]
    exception_id = f"EX-{ticket_id}-{new_date}"
    event = {
        "specversion": "1.0",
        "type": "exception.submitted.v1",
        "source": "urn:tickets",
        # The same request has the same id: sent again after a lost confirm it is a repeat, without effect.
        "id": f"{exception_id}/submitted",
        "data": {
            "exception_id": exception_id,
            "ticket": {
                "id": ticket_id,
                "title": ticket["title"],
                "severity": ticket["severity"],
                "current_due_date": ticket["due_date"],
            },
            "requester": {"id": requester},
            "reason": "fix_unavailable",
            "justification": justification,
            "requested_due_date": new_date,
        },
    }
    properties = pika.BasicProperties(
        content_type="application/cloudevents+json",
        delivery_mode=2,  # kept on disk
        message_id=event["id"],
        user_id=user,  # needed where the operator has set [trust]
    )
    channel.confirm_delivery()  # from here on, publishing waits for the broker's word and raises if it is no
    channel.basic_publish("exceptions.inbound", event["type"], json.dumps(event), properties)
    print(f"confirmed by the broker: {event['id']}; applied only when GET /api/v1/exceptions/{exception_id} shows it")


def follow(channel, count):
    channel.basic_qos(prefetch_count=20)
    for handled, (method, _, body) in enumerate(channel.consume("exceptions.out.tickets"), start=1):
        print(apply(json.loads(body)), flush=True)
        channel.basic_ack(method.delivery_tag)  # only now: whatever ends the program before, the event comes again
        if handled == count:
            return


def apply(event):
    """Changes the ticket and notes that the event was seen, both in one write."""
    with open(BOOK, encoding="utf-8") as file:
        book = json.load(file)
    data, kind = event["data"], event["type"]
    ticket = book["tickets"].get(data["ticket_id"])
    # Dates and statuses of one exception are two rows of events, each in the order of `sequence`.
    row = f"{data['exception_id']}/{kind.split('.')[0]}"
    if event["id"] in book["seen"]:
        return f"repeated {kind}"
    if event["sequence"] <= book["last"].get(row, ""):
        outcome = "overtaken"
    elif ticket is None:
        outcome = "unknown ticket"
    elif kind == "exception.status_changed.v1":
        ticket["exceptions"][data["exception_id"]] = f"{data['to_status']}/{data['to_enforcement']}"
        outcome = "applied"
    elif kind == "ticket.deferral_requested.v1" and ticket["due_date"] == data["expected_due_date"]:
        ticket["due_date"] = data["new_due_date"]
        outcome = "applied"
    elif kind == "ticket.deferral_requested.v1" and ticket["due_date"] != data["new_due_date"]:
        outcome = "conflict"  # somebody changed the date meanwhile: a person has to look
    else:
        outcome = "nothing to do"
    book["seen"].append(event["id"])
    book["last"][row] = max(event["sequence"], book["last"].get(row, ""))
    with open(f"{BOOK}.new", "w", encoding="utf-8") as file:
        json.dump(book, file)
        file.flush()
        os.fsync(file.fileno())  # a power cut takes back nothing that is acknowledged; of a database, COMMIT sees to it
    os.replace(f"{BOOK}.new", BOOK)
    return f"{outcome} {kind}"


def main():
    command, *rest = sys.argv[1:] or [""]
    whole = all(text.isdecimal() for text in rest)
    if (command, len(rest)) != ("submit", 4) and not (command == "follow" and len(rest) < 2 and whole):
        print(*__doc__.splitlines()[2:4], sep="\n", file=sys.stderr)
        sys.exit(2)
    parameters = pika.URLParameters(os.environ["AMQP_URL"])
    with pika.BlockingConnection(parameters) as connection:
        if command == "submit":
            submit(connection.channel(), parameters.credentials.username, *rest)
        else:
            follow(connection.channel(), int(rest[0]) if rest else None)


main()
