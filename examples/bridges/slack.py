"""A bridge from Reprieve's notifications to Slack. Needs pika.

    python3 slack.py

Environment: AMQP_URL; SLACK_WEBHOOK_URL, an incoming webhook, which is a secret; SLACK_USERS, a JSON file from user ids to
Slack's member ids, to mention people; QUEUE (exceptions.out.notifications); SENT (sent.db).

Each notification is posted once, however often it comes: its id goes into SENT when Slack has taken it, then it is
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


def escaped(value):
    """Nothing that people typed is read as a mention or a link."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render(event):
    """A notification has no justification and no evidence: the link leads to them."""
    data = event["data"]
    users = json.load(open(ENV["SLACK_USERS"], encoding="utf-8")) if "SLACK_USERS" in ENV else {}
    recipient = data["recipient"]["id"]
    to = f"<@{users[recipient]}>" if recipient in users else escaped(recipient)
    facts = ("requester", "severity", "reason", "current_due_date", "requested_due_date", "status", "approved_due_date",
             "decided_by", "comment", "rule", "review_due_at")
    lines = [f"*{to}* {data['kind'].replace('_', ' ')}: {escaped(data['ticket_id'])} {escaped(data['ticket_title'])}"]
    lines += [f"• {name.replace('_', ' ')}: {escaped(data[name])}" for name in facts if data.get(name) is not None]
    lines += [f"<{data['link']}|{data['exception_id']}>" if data.get("link") else data["exception_id"]]
    return {"text": "\n".join(lines), "unfurl_links": False}


def send(event):
    """Raises for what may pass; a message that the other side will never take is `refused`."""
    body = json.dumps(render(event)).encode()
    request = urllib.request.Request(ENV["SLACK_WEBHOOK_URL"], body, {"Content-Type": "application/json"})
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
