// The ticketing system itself: a JSON file, TICKETS, that stands for its database. It knows nothing of AMQP and HTTP.

import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const path = process.env.TICKETS ?? "tickets.json";
export const load = () => JSON.parse(readFileSync(path, "utf8"));

// The arguments of a command, if they are such; else how they are to be, and the end.
export function commandLine(program) {
  const [command, ...rest] = process.argv.slice(2);
  if (command === "submit" && rest.length === 4) return { request: submission(...rest) };
  if (command === "follow" && rest.length < 2 && /^[0-9]*$/.test(rest)) return { count: Number(rest[0] ?? Infinity) };
  console.error(`  node ${program} submit TICKET NEW_DATE REQUESTER JUSTIFICATION\n  node ${program} follow [COUNT]`);
  process.exit(2);
}

function submission(ticketId, newDate, requester, justification) {
  const ticket = load().tickets[ticketId];
  const exceptionId = `EX-${ticketId}-${newDate}`;
  return {
    specversion: "1.0",
    type: "exception.submitted.v1",
    source: "urn:tickets",
    // The same request has the same id: sent again after a lost answer it is a repeat, without effect.
    id: `${exceptionId}/submitted`,
    data: {
      exception_id: exceptionId,
      ticket: { id: ticketId, title: ticket.title, severity: ticket.severity, current_due_date: ticket.due_date },
      requester: { id: requester },
      reason: "fix_unavailable",
      justification,
      requested_due_date: newDate,
    },
  };
}

export const confirmed = ({ id, data }) =>
  `confirmed by the broker: ${id}; applied only when GET /api/v1/exceptions/${data.exception_id} shows it`;

// Changes the ticket and notes that the event was seen, both in one write; `position` is where a stream over HTTP is.
export function apply({ id, type, sequence, data }, position) {
  const book = load();
  const ticket = book.tickets[data.ticket_id];
  // Dates and statuses of one exception are two rows of events, each in the order of `sequence`.
  const row = `${data.exception_id}/${type.split(".")[0]}`;
  const last = book.last[row] ?? "";
  const deferral = type === "ticket.deferral_requested.v1";
  let outcome = "nothing to do";
  if (book.seen.includes(id)) {
    outcome = "repeated";
  } else if (sequence <= last) {
    outcome = "overtaken";
  } else if (!ticket) {
    outcome = "unknown ticket";
  } else if (type === "exception.status_changed.v1") {
    ticket.exceptions[data.exception_id] = `${data.to_status}/${data.to_enforcement}`;
    outcome = "applied";
  } else if (deferral && ticket.due_date === data.expected_due_date) {
    ticket.due_date = data.new_due_date;
    outcome = "applied";
  } else if (deferral && ticket.due_date !== data.new_due_date) {
    outcome = "conflict"; // somebody changed the date meanwhile: a person has to look
  }
  if (outcome !== "repeated") book.seen.push(id);
  book.last[row] = sequence > last ? sequence : last;
  if (position !== undefined) book.position = position;
  const file = openSync(`${path}.new`, "w");
  writeFileSync(file, JSON.stringify(book));
  fsyncSync(file); // a power cut takes back nothing that is acknowledged; of a database, COMMIT sees to it
  closeSync(file);
  renameSync(`${path}.new`, path);
  return `${outcome} ${type}`;
}
