"""A bridge from Reprieve's notifications to Slack. Needs pika.

    python3 slack.py

Environment: AMQP_URL; SLACK_WEBHOOK_URL, an incoming webhook, which is a secret; SLACK_USERS, a JSON file from user ids to
Slack's member ids, to mention people; QUEUE (exceptions.out.notifications); SENT (sent.db).

Each notification is posted once, however often it comes: its id goes into SENT when Slack has taken it, then it is
acknowledged. Only an end just between the two, or a lost answer, posts it a second time.
"""

import http.client
import json
import os
import re
import sqlite3
import sys
import unicodedata
import urllib.error
import urllib.request

import pika

ENV = os.environ
QUEUE = ENV.get("QUEUE", "exceptions.out.notifications")
REMEDIES = {403: "give the user of AMQP_URL the right to read it", 404: "declare it, or name another one in QUEUE"}
WAIT_MAX = 60  # seconds between two tries
USERS = {}  # of SLACK_USERS


def line(value):
    """What people typed begins no line of its own, and has no control characters and none that turn the text around."""
    return "".join(c for c in " ".join(str(value).split()) if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def escaped(value):
    """Nothing that people typed is read as a mention or a link."""
    return line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render(event):
    """A notification has no justification and no evidence: the link leads to them."""
    data = event["data"]
    recipient = data["recipient"]["id"]
    to = f"<@{USERS[recipient]}>" if recipient in USERS else escaped(recipient)
    facts = ("requester", "severity", "reason", "current_due_date", "requested_due_date", "status", "approved_due_date",
             "decided_by", "comment", "rule", "review_due_at")
    shown = {name: escaped(data[name]) for name in facts if data.get(name) is not None}
    if "comment" in shown:
        shown["comment"] = f"“{shown['comment']}”"
    lines = [f"*{to}* {data['kind'].replace('_', ' ')}: {escaped(data['ticket_id'])} {escaped(data['ticket_title'])}"]
    lines += [f"• {name.replace('_', ' ')}: {shown[name]}" for name in shown]
    lines += [f"<{data['link']}|{data['exception_id']}>" if data.get("link") else data["exception_id"]]
    return {"text": "\n".join(lines), "unfurl_links": False}


class Stay(urllib.request.HTTPRedirectHandler):
    """Followed, a redirect would make a GET of the POST, without the message: it is an error like any other."""

    def redirect_request(self, *_):
        return None


HTTP = urllib.request.build_opener(Stay)


def send(message):
    """Returns why the other side will never take it, or None: it has. Raises for what may pass."""
    request = urllib.request.Request(ENV["SLACK_WEBHOOK_URL"], message, {"Content-Type": "application/json"})
    try:
        HTTP.open(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        # 400 is about this message. 403, 404, 410 are about the webhook: the next message would fare no better.
        if error.code != 400:
            raise
        return error.read(200)
    return None


def once(connection, sent, key, body):
    if sent.execute("SELECT 1 FROM sent WHERE id = ?", [key]).fetchone():
        return "repeated"
    try:
        message = json.dumps(render(json.loads(body))).encode()
    except Exception as error:  # whatever is wrong with this one: the others go on
        why = repr(error)
    else:
        why = tried(connection, key, message)
    if why is not None:
        print(f"{key} refused: {why}", file=sys.stderr)
    outcome = "sent" if why is None else "refused"
    with sent:
        sent.execute("INSERT INTO sent (id, outcome) VALUES (?, ?)", [key, outcome])
    return outcome


def tried(connection, key, message):
    wait = 1
    while True:
        try:
            return send(message)
        except (OSError, http.client.HTTPException) as error:  # an outage or a limit: nothing is given up
            asked = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
            pause = max(wait, int(asked)) if re.fullmatch("[0-9]{1,4}", asked) else wait
            print(f"{key} again in {pause} s: {error}", file=sys.stderr)
            connection.sleep(pause)  # keeps the broker's heartbeat going
            wait = min(2 * wait, WAIT_MAX)


def settings():
    """What cannot work is told at once, without the value: both addresses are secrets."""
    try:
        if not re.fullmatch(r"https?://[\w.-]+(:[0-9]{1,5})?/[!-~]+", ENV["SLACK_WEBHOOK_URL"], re.ASCII):
            raise ValueError
        if "SLACK_USERS" in ENV:
            with open(ENV["SLACK_USERS"], encoding="utf-8") as file:
                USERS.update(json.load(file))
        return pika.URLParameters(ENV["AMQP_URL"])
    except (KeyError, OSError, ValueError):
        print("AMQP_URL has to be amqp://USER:PASSWORD@HOST/VHOST, SLACK_WEBHOOK_URL https://HOST/PATH, SLACK_USERS the name "
              "of a JSON file or not there", file=sys.stderr)
        sys.exit(2)


def main():
    parameters = settings()
    sent = sqlite3.connect(ENV.get("SENT", "sent.db"))
    sent.execute("CREATE TABLE IF NOT EXISTS sent (id TEXT PRIMARY KEY, outcome TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP)")
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=10)
        for method, properties, body in channel.consume(QUEUE):
            key = properties.message_id  # the event's id
            print(once(connection, sent, key, body), key, flush=True)
            channel.basic_ack(method.delivery_tag)
    sys.exit(f"queue {QUEUE}: it is gone: {REMEDIES[404]}")


# A lost broker ends the program; whatever starts it again, a unit file or a container, is its supervisor.
try:
    main()
except pika.exceptions.ChannelClosedByBroker as error:
    sys.exit(f"queue {QUEUE}: {error.reply_text}: {REMEDIES.get(error.reply_code, 'start this again')}")
except (pika.exceptions.AMQPError, OSError) as error:
    sys.exit(f"broker: {error!r}: see that it runs, and that the user of AMQP_URL may log in; then start this again")
