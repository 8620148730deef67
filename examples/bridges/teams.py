"""A bridge from Reprieve's notifications to Microsoft Teams. Needs pika.

    python3 teams.py

Environment: AMQP_URL; TEAMS_WEBHOOK_URL, of the workflow "post to a channel when a webhook request is received", which is a
secret; QUEUE (exceptions.out.notifications); SENT (sent.db).

Each notification is posted once, however often it comes: its id goes into SENT when Teams has taken it, then it is
acknowledged. Only an end just between the two, or a lost answer, posts it a second time.
"""

import json
import os
import sqlite3
import sys
import urllib.error
import urllib.request

import pika

ENV = os.environ
WAIT_MAX = 60  # seconds between two tries


def render(event):
    """An adaptive card. A notification has no justification and no evidence: the button leads to them."""
    data = event["data"]
    facts = ("requester", "severity", "reason", "current_due_date", "requested_due_date", "status", "approved_due_date",
             "decided_by", "comment", "rule", "review_due_at")
    shown = [{"title": name.replace("_", " "), "value": plain(data[name])} for name in facts if data.get(name) is not None]
    title = f"{data['kind'].replace('_', ' ')}: {data['ticket_id']} {data['ticket_title']}"
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": plain(title), "weight": "bolder", "wrap": True},
            {"type": "TextBlock", "text": f"for {plain(data['recipient']['id'])}, exception {plain(data['exception_id'])}"},
            {"type": "FactSet", "facts": shown},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": data["link"]}] if data.get("link") else [],
    }
    return {"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]}


def plain(value):
    """Nothing that people typed is read as Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_[]()#" else c for c in str(value))


def send(event):
    """Raises for what may pass; a message that the other side will never take is `refused`."""
    body = json.dumps(render(event)).encode()
    request = urllib.request.Request(ENV["TEAMS_WEBHOOK_URL"], body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        # 400 is about this message. 403, 404, 410 are about the webhook: the next message would fare no better.
        if error.code != 400:
            raise
        print(f"{event['id']} refused: {error.read(200)!r}", file=sys.stderr)
        return "refused"
    return "sent"


def once(connection, sent, event):
    if sent.execute("SELECT 1 FROM sent WHERE id = ?", [event["id"]]).fetchone():
        return "repeated"
    wait = 1
    while True:
        try:
            outcome = send(event)
            break
        except OSError as error:  # an outage or a limit: nothing is given up. The URL, a secret, is not shown
            asked = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
            pause = max(wait, int(asked)) if asked.isdigit() else wait
            print(f"{event['id']} again in {pause} s: {error}", file=sys.stderr)
            connection.sleep(pause)  # keeps the broker's heartbeat going
            wait = min(2 * wait, WAIT_MAX)
    with sent:
        sent.execute("INSERT INTO sent (id, outcome) VALUES (?, ?)", [event["id"], outcome])
    return outcome


def main():
    sent = sqlite3.connect(ENV.get("SENT", "sent.db"))
    sent.execute("CREATE TABLE IF NOT EXISTS sent (id TEXT PRIMARY KEY, outcome TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP)")
    # A lost broker ends the program; whatever starts it again, a unit file or a container, is its supervisor.
    with pika.BlockingConnection(pika.URLParameters(ENV["AMQP_URL"])) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=10)
        for method, _, body in channel.consume(ENV.get("QUEUE", "exceptions.out.notifications")):
            event = json.loads(body)
            print(once(connection, sent, event), event["id"], flush=True)
            channel.basic_ack(method.delivery_tag)


main()
