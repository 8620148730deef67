"""A bridge from Reprieve's notifications to mail. Needs pika.

    python3 mail.py

Environment: AMQP_URL; SMTP_HOST, SMTP_PORT (587), SMTP_USER, SMTP_PASSWORD, SMTP_TLS (`none` for a relay on this machine);
MAIL_FROM; MAIL_DOMAIN for user ids that are no address; QUEUE (exceptions.out.notifications); SENT (sent.db).

Each notification is sent once, however often it comes: its id goes into SENT when the server has taken the mail, then it is
acknowledged. Only an end just between the two sends a second copy, with the same Message-ID.
"""

import json
import os
import smtplib
import sqlite3
import ssl
import sys
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage

import pika

ENV = os.environ
WAIT_MAX = 60  # seconds between two tries


def render(event):
    """Subject and text. A notification has no justification and no evidence: the link leads to them."""
    data = event["data"]
    what = f"{data['kind'].replace('_', ' ')}: {data['ticket_id']} {data['ticket_title']}"
    facts = ("requester", "severity", "reason", "current_due_date", "requested_due_date", "status", "approved_due_date",
             "decided_by", "comment", "rule", "review_due_at", "link")
    lines = [f"{name.replace('_', ' ')}: {data[name]}" for name in facts if data.get(name) is not None]
    return " ".join(what.split()), "\n".join([f"Exception {data['exception_id']}", *lines])


def mail(event):
    subject, text = render(event)
    recipient = event["data"]["recipient"]["id"]
    message = EmailMessage()
    message["From"] = ENV["MAIL_FROM"]
    domain = ENV.get("MAIL_DOMAIN", "localhost")
    message["To"] = Address(addr_spec=recipient if "@" in recipient else f"{recipient}@{domain}")
    message["Subject"] = f"[exception] {subject}"
    message["Message-ID"] = f"<{event['id']}@reprieve.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text + "\n")
    return message


def send(event):
    """`sent`, or `refused` for what will never be taken: it is noted, and the others go on. Raises for what may pass."""
    try:
        message = mail(event)
        with smtplib.SMTP(ENV.get("SMTP_HOST", "localhost"), int(ENV.get("SMTP_PORT", "587")), timeout=20) as server:
            if ENV.get("SMTP_TLS") != "none":
                server.starttls(context=ssl.create_default_context())  # verifies the server
            if "SMTP_USER" in ENV:
                server.login(ENV["SMTP_USER"], ENV["SMTP_PASSWORD"])
            server.send_message(message)
        return "sent"
    except (ValueError, MessageError) as error:
        why = f"no address: {error}"
    except smtplib.SMTPRecipientsRefused as error:
        code, why = next(iter(error.recipients.values()))
        if code < 500:
            raise
    except smtplib.SMTPDataError as error:
        why = error.smtp_error
        if error.smtp_code < 500:
            raise
    print(f"{event['id']} refused: {why}", file=sys.stderr)
    return "refused"


def once(connection, sent, event):
    if sent.execute("SELECT 1 FROM sent WHERE id = ?", [event["id"]]).fetchone():
        return "repeated"
    wait = 1
    while True:
        try:
            outcome = send(event)
            break
        except OSError as error:  # an outage: nothing is given up
            print(f"{event['id']} again in {wait} s: {error}", file=sys.stderr)
            connection.sleep(wait)  # keeps the broker's heartbeat going
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
