"""What can go wrong at a bridge, without a broker: each is run in this process with a pika that hands out given messages.

    python3 tests/e2e/guide/bridges.py [Case[.test]]

The other side is a server of this file's that answers as it is told. That each message arrives once over a real broker is
the business of bridges.rs, which runs this file too.
"""

import contextlib
import http.server
import io
import json
import os
import re
import runpy
import socketserver
import sys
import tempfile
import threading
import types
import unittest
from email import message_from_string, policy
from pathlib import Path
from unittest import mock

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ACKED = "acked"


class Waits(BaseException):
    """There are no more messages: a real program would wait now."""


class Connection:
    """Of pika's, as much as the examples use."""

    def __init__(self, bodies, happened):
        self.bodies, self.happened = bodies, happened

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def channel(self):
        return self

    def basic_qos(self, **_):
        pass

    def sleep(self, _):
        self.happened.append("slept")
        if self.happened.count("slept") == 5:
            raise AssertionError("it is tried again and again")

    def consume(self, _):
        for tag, body in enumerate(self.bodies):
            properties = types.SimpleNamespace(message_id=re.search(rb'"id": "([^"]+)"|$', body)[1])
            yield types.SimpleNamespace(delivery_tag=tag), properties, body
        raise Waits

    def basic_ack(self, _):
        self.happened.append(ACKED)


def run(file, bodies, arguments=(), **environment):
    """Runs an example on these messages: its exit code, what it printed, what happened."""
    happened, said, complained, code = [], io.StringIO(), io.StringIO(), 0
    pika = types.ModuleType("pika")
    pika.exceptions = types.ModuleType("pika.exceptions")
    for name in ["AMQPError", "ChannelClosedByBroker"]:
        setattr(pika.exceptions, name, type(name, (Exception,), {}))
    pika.URLParameters = lambda url: url
    pika.BlockingConnection = lambda _: Connection(bodies, happened)
    modules = {"pika": pika, "pika.exceptions": pika.exceptions}
    environment = {"AMQP_URL": "amqp://localhost", "SENT": ":memory:", **environment}
    fsync = mock.patch("os.fsync", lambda _: happened.append("synced"))
    with mock.patch.dict(sys.modules, modules), mock.patch.dict(os.environ, environment), fsync:
        with mock.patch("sys.argv", [file, *arguments]):
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
                try:
                    runpy.run_path(str(EXAMPLES / file), run_name="__main__")
                except Waits:
                    pass
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else 1
                    print(end.code, file=sys.stderr)
    return code, said.getvalue(), complained.getvalue(), happened


def notification(number, recipient="zoe@example.com", **data):
    facts = {"kind": "decided", "exception_id": "EX-1", "ticket_id": "SEC-1", "ticket_title": "OpenSSL", "status": "denied",
             "recipient": {"id": recipient}, "link": "https://reprieve.example/EX-1", **data}
    return json.dumps({"id": f"n-{number}", "type": "notification.requester.v1", "data": facts}).encode()


def outcomes(said):
    return [line.split()[0] for line in said.splitlines()]


NO_EVENTS = [b'{"id": "n-x"}', b"{", b"\xff", b"[]"]
FORGED = {
    "ticket_title": "harmless\n• severity: info\nlink: https://evil.example/login",
    "comment": "no\r\n\r\nlink: https://evil.example/login\u2028status: approved\x1b[2J \u202egnp.exe\u200b ok",
    "requester": "zoe\nstatus: approved",
}


class Server:
    """On a free port while the block lasts."""

    def __init__(self, handler):
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Mail(unittest.TestCase):
    def send(self, bodies, answers=(), **environment):
        """`answers`: for a verb, what to answer first, one after the other; then all is well."""
        answers, mails = {verb: list(texts) for verb, texts in dict(answers).items()}, []

        class Smtp(socketserver.StreamRequestHandler):
            def say(self, verb, text):
                queue = answers.get(verb)
                self.wfile.write(f"{queue.pop(0) if queue else text}\r\n".encode())

            def handle(self):
                self.say("connect", "220 fake")
                for line in self.rfile:
                    verb = line.split()[0].decode().upper()
                    if verb == "DATA":
                        self.wfile.write(b"354 go on\r\n")
                        mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                        mails.append(mail.decode())
                    self.say(verb, {"QUIT": "221 bye"}.get(verb, "250 ok"))

        with Server(Smtp) as port:
            environment = {"MAIL_FROM": "reprieve@example.com", **environment}
            servers = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_TLS": "none"}
            return *run("bridges/mail.py", bodies, **{**servers, **environment}), mails

    def test_a_recipient_that_is_no_address_stops_nobody(self):
        bad = ["zoe@", "a@[", "@", "a@b@c", "\"", "<", "zoe@exa mple", "(", "a@b\nBcc: all@example.com"]
        bodies = [notification(number, recipient) for number, recipient in enumerate(bad)]
        code, said, complained, happened, mails = self.send([*bodies, *NO_EVENTS, notification("last")])
        refused = len(bad) + len(NO_EVENTS)
        self.assertEqual((code, outcomes(said)), (0, ["refused"] * refused + ["sent"]), complained)
        self.assertEqual((happened.count(ACKED), len(mails)), (refused + 1, 1))

    def test_what_was_taken_is_sent_whatever_the_goodbye(self):
        for answer in ["421 4.3.2 closing", "500 what", "nonsense"]:
            with self.subTest(answer):
                code, said, complained, happened, mails = self.send([notification(1)], {"QUIT": [answer] * 9})
                self.assertEqual((code, outcomes(said), len(mails)), (0, ["sent"], 1), complained)
                self.assertEqual(happened, [ACKED])

    def test_the_server_says_no(self):
        rows = [
            ("MAIL", "552 5.3.4 too big", "refused"),
            ("MAIL", "451 4.3.0 later", "again"),
            ("MAIL", "530 5.7.0 authentication required", "again"),  # about this program, not about this mail
            ("RCPT", "550 5.1.1 unknown", "refused"),
            ("RCPT", "450 4.2.1 greylisted", "again"),
            ("DATA", "554 5.7.1 spam", "refused"),
            ("DATA", "451 4.3.0 later", "again"),
            ("EHLO", "554 5.7.1 nobody", "sent"),  # asked again by HELO
            ("connect", "554 5.7.1 nobody", "again"),
        ]
        for verb, answer, expected in rows:
            with self.subTest(f"{verb}: {answer}"):
                code, said, complained, happened, _ = self.send([notification(1), notification(2)], {verb: [answer]})
                first = "refused" if expected == "refused" else "sent"
                self.assertEqual((code, outcomes(said)), (0, [first, "sent"]), complained)
                self.assertEqual(happened.count("slept"), 1 if expected == "again" else 0, complained)

    def test_an_address_that_this_server_cannot_take_is_refused(self):
        code, said, complained, happened, _ = self.send([notification(1, "zoë@example.com"), notification(2)])
        self.assertEqual((code, outcomes(said)), (0, ["refused", "sent"]), complained)

    def test_a_server_without_what_was_asked_for_is_an_outage(self):
        with self.assertRaisesRegex(AssertionError, "again and again"):
            self.send([notification(1)], SMTP_TLS="starttls")

    def test_nothing_typed_makes_a_line_of_its_own(self):
        *_, (mail,) = self.send([notification(1, **FORGED)])
        mail = message_from_string(mail, policy=policy.default)
        lines = mail.get_content().splitlines()
        self.assertEqual([line for line in lines if line.startswith("link:")], ["link: https://reprieve.example/EX-1"])
        self.assertEqual([line for line in lines if line.startswith("status:")], ["status: denied"])
        comment = "no link: https://evil.example/login status: approved[2J gnp.exe ok"
        self.assertIn(f'comment: "{comment}"', lines)
        self.assertIn("harmless • severity: info link:", mail["Subject"])

    def test_settings_that_cannot_work_are_told_at_once(self):
        for settings in [{"MAIL_FROM": ""}, {"MAIL_FROM": "a@["}]:
            code, said, complained, happened, _ = self.send([notification(1)], **settings)
            self.assertEqual((code, said, happened), (2, "", []), complained)
            self.assertIn("MAIL_FROM", complained)


class Hooks(unittest.TestCase):
    """Slack and Teams."""

    def post(self, bridge, bodies, answers=(), url=None, **environment):
        """`answers`: status lines, one after the other, with headers; then 200."""
        answers, requests = list(answers), []

        class Hook(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                requests.append((self.command, body))
                answer = answers.pop(0) if answers else "HTTP/1.0 200 OK"
                self.wfile.write(f"{answer}\r\n\r\n".encode("latin-1"))
                self.close_connection = True

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        with Server(Hook) as port:
            url = f"http://127.0.0.1:{port}/secret" if url is None else url
            environment[f"{bridge.upper()}_WEBHOOK_URL"] = url
            return *run(f"bridges/{bridge}.py", bodies, **environment), requests

    def test_a_redirected_message_is_not_sent(self):
        for bridge in ["slack", "teams"]:
            for code in [301, 302, 303, 307, 308]:
                with self.subTest(f"{bridge}: {code}"):
                    answer = f"HTTP/1.0 {code} Elsewhere\r\nLocation: /login"
                    end, said, complained, happened, requests = self.post(bridge, [notification(1)], [answer])
                    self.assertEqual((end, outcomes(said), happened), (0, ["sent"], ["slept", ACKED]), complained)
                    self.assertEqual([method for method, body in requests if body], ["POST", "POST"], requests)
                    self.assertEqual(len(requests), 2, requests)

    def test_an_answer_that_is_none_is_an_outage(self):
        answers = ["nonsense", "", "HTTP/1.0 503 Not now\r\nRetry-After: \xb2", "HTTP/1.0 429 Slow\r\nRetry-After: 9" + "9" * 400]
        for bridge in ["slack", "teams"]:
            for answer in answers:
                with self.subTest(f"{bridge}: {answer[:40]}"):
                    end, said, complained, happened, _ = self.post(bridge, [notification(1)], [answer])
                    self.assertEqual((end, outcomes(said), happened), (0, ["sent"], ["slept", ACKED]), complained)

    def test_a_message_that_cannot_be_built_or_is_never_taken_stops_nobody(self):
        for bridge in ["slack", "teams"]:
            with self.subTest(bridge):
                bodies = [*NO_EVENTS, notification(1), notification(2)]
                end, said, complained, *_ = self.post(bridge, bodies, ["HTTP/1.0 400 invalid_payload"])
                self.assertEqual((end, outcomes(said)), (0, ["refused"] * (len(NO_EVENTS) + 1) + ["sent"]), complained)

    def test_an_address_that_is_none_is_not_shown(self):
        urls = ["", "hooks.example/secret", "https:///secret", "ftp://hooks.example/secret", "https://hooks.example/a secret",
                "https://hooks.example:x/secret", "https://hooks.example/secret\n", "https://[hooks.example/secret"]
        for bridge in ["slack", "teams"]:
            for url in urls:
                with self.subTest(f"{bridge}: {url}"):
                    end, said, complained, happened, requests = self.post(bridge, [notification(1)], url=url)
                    self.assertEqual((end, said, happened, requests), (2, "", [], []), complained)
                    self.assertIn(f"{bridge.upper()}_WEBHOOK_URL", complained)
                    self.assertNotIn("secret", complained)

    def test_nothing_typed_makes_a_line_of_its_own(self):
        *_, ((_, body),) = self.post("slack", [notification(1, **FORGED)])
        lines = json.loads(body)["text"].split("\n")
        comment = "no link: https://evil.example/login status: approved[2J gnp.exe ok"
        self.assertEqual(lines, [
            "*zoe@example.com* decided: SEC-1 harmless • severity: info link: https://evil.example/login",
            "• requester: zoe status: approved", "• status: denied", f"• comment: “{comment}”",
            "<https://reprieve.example/EX-1|EX-1>"])
        *_, ((_, body),) = self.post("teams", [notification(1, **FORGED)])
        title, _, facts = json.loads(body)["attachments"][0]["content"]["body"]
        self.assertNotIn("\n", title["text"])
        facts = {fact["title"]: fact["value"] for fact in facts["facts"]}
        self.assertEqual(facts["requester"], "zoe status: approved")
        self.assertEqual(facts["comment"], "“{}”".format(comment.replace("[", "\\[")))


class Tickets(unittest.TestCase):
    def test_without_arguments_it_says_how_it_is_used(self):
        for arguments in [[], ["submit"], ["submit", "SEC-812", "2037-01-31"], ["follow", "x"], ["follow", "1", "2"], ["help"]]:
            with self.subTest(arguments):
                code, said, complained, happened = run("integration/python/tickets.py", [], arguments)
                self.assertEqual((code, said, happened), (2, "", []), complained)
                self.assertIn("tickets.py follow [COUNT]", complained)

    def test_what_is_acknowledged_is_on_the_disk(self):
        event = {"id": "1", "type": "exception.status_changed.v1", "sequence": "0000000001",
                 "data": {"exception_id": "EX-1", "ticket_id": "SEC-812", "to_status": "requested", "to_enforcement": "none"}}
        with tempfile.TemporaryDirectory() as folder:
            book = Path(folder) / "tickets.json"
            book.write_text((EXAMPLES / "integration/tickets.json").read_text())
            bodies = [json.dumps(event).encode()]
            code, said, complained, happened = run("integration/python/tickets.py", bodies, ["follow"], TICKETS=str(book))
        self.assertEqual((code, outcomes(said), happened), (0, ["applied"], ["synced", ACKED]), complained)


if __name__ == "__main__":
    unittest.main()
