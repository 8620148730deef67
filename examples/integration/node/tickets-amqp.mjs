// A small ticketing system: asks for exceptions, and applies what Reprieve decides. Over AMQP.
//
//   node tickets-amqp.mjs submit TICKET NEW_DATE REQUESTER JUSTIFICATION
//   node tickets-amqp.mjs follow [COUNT]
//
// Needs amqplib. AMQP_URL is the broker; TICKETS is a JSON file that stands for the ticketing system's database.

import amqp from "amqplib";
import { apply, commandLine, confirmed } from "./tickets.mjs";

async function submit(connection, event) {
  const channel = await connection.createConfirmChannel();
  channel.publish("exceptions.inbound", event.type, Buffer.from(JSON.stringify(event)), {
    contentType: "application/cloudevents+json",
    persistent: true, // kept on disk
    messageId: event.id,
    userId: decodeURIComponent(new URL(process.env.AMQP_URL).username), // needed where the operator has set [trust]
  });
  await channel.waitForConfirms(); // throws if the broker says no
  console.log(confirmed(event));
}

async function follow(connection, count) {
  const channel = await connection.createChannel();
  await channel.prefetch(20);
  let handled = 0;
  await new Promise((resolve, reject) => {
    channel.on("error", reject);
    connection.on("close", () => reject(new Error("the connection is gone")));
    channel.consume("exceptions.out.tickets", (message) => {
      if (message === null) return reject(new Error("the queue is gone"));
      if (handled === count) return; // prefetched; goes back to the queue
      try {
        console.log(apply(JSON.parse(message.content)));
      } catch (error) {
        return reject(error);
      }
      channel.ack(message); // only now: whatever ends the program before, the event comes again
      handled += 1;
      if (handled === count) resolve();
    }).catch(reject);
  });
  await channel.close();
}

const { request, count } = commandLine("tickets-amqp.mjs");
const connection = await amqp.connect(process.env.AMQP_URL);
if (request) await submit(connection, request);
else await follow(connection, count);
connection.removeAllListeners("close");
await connection.close();
