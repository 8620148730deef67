"""A bridge from Reprieve's notifications to mail. Needs pika.

    python3 mail.py

Environment: AMQP_URL; SMTP_HOST, SMTP_PORT (587), SMTP_USER, SMTP_PASSWORD, SMTP_TLS (`none` for a relay on this machine);
MAIL_FROM; MAIL_DOMAIN for user ids that are no address; QUEUE (exceptions.out.notifications); SENT (sent.db).

Each notification is sent once, however often it comes: its id goes into SENT when the server has taken the mail, then it is
acknowledged. Only an end just between the two, or a lost answer, sends a second copy, with the same Message-ID.
"""

import contextlib
import json
import os
import smtplib
import sqlite3
import ssl
import sys
import unicodedata
from email.headerregistry import Address
from email.message import EmailMessage

import pika

ENV = os.environ
QUEUE = ENV.get("QUEUE", "exceptions.out.notifications")
REMEDIES = {403: "give the user of AMQP_URL the right to read it", 404: "declare it, or name another one in QUEUE"}
WAIT_MAX = 60  # seconds between two tries


def line(value):
    """What people typed begins no line of its own, and has no control characters and none that turn the text around."""
    return "".join(c for c in " ".join(str(value).split()) if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def render(event):
    """Subject and text. A notification has no justification and no evidence: the link leads to them."""
    data = event["data"]
    facts = ("requester", "severity", "reason", "current_due_date", "requested_due_date", "status", "approved_due_date",
             "decided_by", "comment", "rule", "review_due_at", "link")
    shown = {name: line(data[name]) for name in facts if data.get(name) is not None}
    if "comment" in shown:
        shown["comment"] = f'"{shown["comment"]}"'
    lines = [f"Exception {line(data['exception_id'])}", *(f"{name.replace('_', ' ')}: {shown[name]}" for name in shown)]
    return line(f"{data['kind'].replace('_', ' ')}: {data['ticket_id']} {data['ticket_title']}"), "\n".join(lines)


def mail(body):
    event = json.loads(body)
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


def send(message):
    """Returns why the server will never take it, or None: it has. Raises for what may pass."""
    server = smtplib.SMTP(ENV.get("SMTP_HOST", "localhost"), int(ENV.get("SMTP_PORT", "587")), timeout=20)
    try:
        if ENV.get("SMTP_TLS") != "none":
            server.starttls(context=ssl.create_default_context())  # verifies the server
        if "SMTP_USER" in ENV:
            server.login(ENV["SMTP_USER"], ENV["SMTP_PASSWORD"])
        return refusal(server, message)
    finally:
        with contextlib.suppress(OSError):
            server.quit()  # whatever it answers: what was taken before is taken


def refusal(server, message):
    try:
        server.send_message(message)
    except smtplib.SMTPNotSupportedError as error:  # an address that this server cannot write
        return error
    except smtplib.SMTPRecipientsRefused as error:
        [(code, why)] = error.recipients.values()
        if may_pass(code):
            raise
        return why
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        if may_pass(error.smtp_code):
            raise
        return error.smtp_error
    return None


def may_pass(code):
    return code < 500 or code == 530  # 530 asks for a login: the next mail would fare no better


def once(connection, sent, key, body):
    if sent.execute("SELECT 1 FROM sent WHERE id = ?", [key]).fetchone():
        return "repeated"
    try:
        message = mail(body)
    except Exception as error:  # whatever is wrong with this one, an address that is none: the others go on
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
        except OSError as error:  # an outage: nothing is given up
            print(f"{key} again in {wait} s: {error}", file=sys.stderr)
            connection.sleep(wait)  # keeps the broker's heartbeat going
            wait = min(2 * wait, WAIT_MAX)


def settings():
    """What cannot work is told at once, without the value: an address may hold a password."""
    try:
        sender = EmailMessage()
        sender["From"] = ENV["MAIL_FROM"]
        _ = sender["From"].addresses[0]
        return pika.URLParameters(ENV["AMQP_URL"])
    except Exception:
        print("AMQP_URL has to be amqp://USER:PASSWORD@HOST/VHOST, MAIL_FROM an address of mail", file=sys.stderr)
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
