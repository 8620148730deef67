// A small ticketing system: asks for exceptions, and applies what Reprieve decides. Over HTTP, with nothing but Node 18.
//
//   node tickets-http.mjs submit TICKET NEW_DATE REQUESTER JUSTIFICATION
//   node tickets-http.mjs follow [COUNT]
//
// REPRIEVE_URL is the worker, REPRIEVE_TOKEN its `http.token` if it has one; TICKETS is a JSON file that stands for the
// ticketing system's database. `follow` misses nothing where AMQP_URL=embedded: keeps positions.

import { apply, commandLine, confirmed, load } from "./tickets.mjs";

const url = `${process.env.REPRIEVE_URL ?? "http://127.0.0.1:8080"}/api/v1/events`;
const token = process.env.REPRIEVE_TOKEN;
const headers = token ? { authorization: `Bearer ${token}` } : {};

async function submit(event) {
  for (let wait = 1; ; wait = Math.min(2 * wait, 30)) {
    const body = JSON.stringify(event);
    const sent = { ...headers, "content-type": "application/cloudevents+json" };
    // No answer, or 503: it is not known whether it was taken. Sent again it is a repeat.
    const answer = await fetch(url, { method: "POST", headers: sent, body }).catch(() => ({ status: 503 }));
    if (answer.status === 200) {
      const [{ outcome, code }] = await answer.json();
      return console.log(outcome, code ?? "", event.id);
    }
    if (answer.status === 202) return console.log(confirmed(event));
    if (answer.status !== 503) throw new Error(`${answer.status} ${await answer.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
  }
}

async function follow(count) {
  for (let handled = 0; handled < count; ) {
    const place = { ...headers, "last-event-id": String(load().position ?? 0) };
    try {
      const answer = await fetch(url, { headers: place });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      for await (const { position, event } of events(answer.body)) {
        if (event.type === "exception.status_changed.v1" || event.type.startsWith("ticket.")) {
          console.log(apply(event, position)); // position and effect in one write: after an end it goes on from there
          handled += 1;
          if (handled === count) break;
        }
      }
    } catch (error) {
      console.error("again in a second:", error.message);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

// Server-sent events: blocks of lines `field: value`, ended by an empty line; a line `:` is a sign of life.
async function* events(body) {
  let rest = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
      if (fields.data) yield { position: fields.id, event: JSON.parse(fields.data) };
    }
  }
}

const { request, count } = commandLine("tickets-http.mjs");
if (request) await submit(request);
else await follow(count);
process.exit();
