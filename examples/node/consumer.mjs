// A downstream service: verifications counted per account, and the keys that were revoked.
//
//   npm install
//   node consumer.mjs --nats nats://reader:PASSWORD@127.0.0.1:4222 --state counts.json [--once]
//
// Effects and positions are in one file that is replaced as a whole, so a crash at any point
// neither loses nor doubles anything. The state alone says where to go on; the durable consumer is
// only a cursor, and is made anew from the state at every start and after every trouble.

import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { AckPolicy, DeliverPolicy, JetStreamApiError, jetstream, jetstreamManager }
  from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const EVENTS = "TOLLHOUSE_EVENTS", USAGE = "TOLLHOUSE_USAGE";
const BATCH = 100, ACK_WAIT_NS = 10e9, POLL_MS = 1000;

/** Nothing that trying again could mend; the message says what and why. */
class Stop extends Error {}
/** The message before this one has not been applied: read again, from where the state is. */
class Gap extends Error {}

/** Everything that the service knows, and where it is in each stream. */
class State {
  constructor(path) {
    this.path = path;
    try {
      Object.assign(this, JSON.parse(readFileSync(path, "utf8")));
    } catch (error) {
      if (error.code !== "ENOENT") throw new Stop(`${path} can't be read: ${error.message}`);
      this.progress = {}; // stream -> {log, position, made, sequence} of what was applied last
      this.counts = {}; // account -> outcome -> {verifications, cost}
      this.revoked = {}; // key -> when
    }
  }

  /** Replaces the file as a whole: whoever reads it sees the state before or the state after. */
  save() {
    const { progress, counts, revoked } = this, draft = `${this.path}.new`;
    try {
      const file = openSync(draft, "w", 0o600);
      writeFileSync(file, JSON.stringify({ progress, counts, revoked }));
      fsyncSync(file);
      closeSync(file);
      renameSync(draft, this.path);
      const folder = openSync(dirname(this.path), "r");
      fsyncSync(folder);
      closeSync(folder);
    } catch (error) {
      throw new Stop(`the state can't be written: ${error.message}`);
    }
  }

  /**
   * Takes the message `id` in; what it says, or null if it was taken before. Nothing is saved yet.
   * `at` is when its stream was made, and its sequence there; `previous` is the id of the message
   * before it.
   */
  apply(stream, at, id, previous, event, skipMissing) {
    const [log, position] = parts(id), done = this.progress[stream];
    if (event.type.startsWith("usage.counted.") !== (stream === USAGE)) {
      throw new Error(`${id} does not belong into this stream`);
    }
    if (done && log !== done.log) {
      throw new Stop(`${stream} carries the log ${log}, and this state began with ${done.log}: ` +
        "that is another installation. Give it a --state of its own.");
    }
    if (done && position <= done.position) return null;
    if (done && !(previous && parts(previous)[1] <= done.position) && !skipMissing) {
      throw new Gap(`what lies between ${log}:${done.position} and ${id}`);
    }
    const said = stream === USAGE ? this.count(event.data) : this.note(event);
    this.progress[stream] = { log, position, ...at };
    return said.map((words) => `${stream === USAGE ? "usage " : "events"} ${id}  ${words}`);
  }

  count({ rows, account, accounts, key, keys, code, cost }) {
    const seen = new Map();
    rows.forEach((_, i) => {
      // -1: what was presented is no key of ours, so no account can be named.
      const owner = account[i] < 0 ? "" : accounts[account[i]];
      const outcomes = (this.counts[owner] ??= {});
      const counted = (outcomes[code[i]] ??= { verifications: 0, cost: 0 });
      counted.verifications += 1;
      counted.cost += cost[i];
      const line = `${key[i] < 0 ? "(no key)" : keys[key[i]]} ${code[i]}`;
      seen.set(line, (seen.get(line) ?? 0) + 1);
    });
    return [...seen].map(([line, times]) => `${line} x${times}`);
  }

  note({ type, subject, time }) {
    if (type.startsWith("api_key.revoked.")) this.revoked[subject] = time;
    return [`${type}  ${subject}`];
  }
}

/** Applies `stream` in its order, for ever or until caught up, whatever happens to the server. */
async function follow(connection, state, stream, { name, once, "skip-missing": skipMissing }) {
  let again = false; // after a gap, the whole stream is read
  for (;;) {
    let consumer = null;
    try {
      const done = again ? undefined : state.progress[stream];
      let made, before; // before: the last delivery's number in this consumer, and its id
      ({ consumer, made, before } = await placed(connection, stream, name, done));
      for (;;) {
        const lines = [];
        let last = null, trouble = null;
        for await (const message of await consumer.fetch({ max_messages: BATCH, expires: POLL_MS })) {
          if (trouble) continue;
          try {
            const delivery = message.info.deliverySequence, id = message.headers.get("Nats-Msg-Id");
            let previous = message.headers.get("Nats-Expected-Last-Msg-Id");
            // Where the publisher did not say, the order does.
            if (!previous && delivery === before.delivery + 1) previous = before.id;
            before = { delivery, id };
            const said = state.apply(stream, { made, sequence: message.seq }, id, previous,
              message.json(), skipMissing && again);
            if (said) {
              again = false;
              lines.push(...said);
            }
            last = message;
          } catch (error) {
            trouble = error; // what was applied before it is saved first
          }
        }
        if (lines.length) state.save();
        for (const line of lines) console.log(line);
        if (last) last.ack(); // after the save; AckPolicy.All: for all so far
        if (trouble) throw trouble;
        if (last) continue;
        const left = await consumer.info();
        if (once && !left.num_pending && !left.num_ack_pending) return;
      }
    } catch (error) {
      if (error instanceof Gap) {
        if (again) {
          throw new Stop(`${stream} no longer holds ${error.message}, which this state never saw. ` +
            "Take it from the lake, or go on without it: --skip-missing.");
        }
        again = true;
        continue;
      }
      if (error instanceof Stop) throw error;
      if (connection.isClosed()) throw new Stop(`the connection is closed: ${error.message}`);
      if (once && !consumer && missing(error)) throw new Stop(`${stream} isn't there (yet).`);
      // Also for a message of somebody else's: the publisher puts its stream right.
      console.error(`${stream}: ${error.message}, trying again`);
      await pause(POLL_MS);
    }
  }
}

/**
 * A fresh durable consumer, when its stream was made, and what is known to lie before it.
 *
 * It begins with the last message that was applied, which is then skipped: what follows it is new.
 * A stream that was made anew has other sequences, so all of it is read, and positions tell what is
 * known already. No filter on subjects: it would hide the predecessors, and with them every gap.
 */
async function placed(connection, stream, name, done) {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const { created: made, state: { first_seq, last_seq } } = await manager.streams.info(stream);
  let from = { deliver_policy: DeliverPolicy.All }, before = { delivery: 0, id: null };
  if (done?.made === made) {
    if (first_seq <= done.sequence && done.sequence <= last_seq) {
      from = { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: done.sequence };
    } else if (first_seq === done.sequence + 1) { // it has aged out, and nothing after it
      before = { delivery: 0, id: `${done.log}:${done.position}` };
    }
  }
  await manager.consumers.delete(stream, name).catch((error) => {
    if (!missing(error)) throw error;
  });
  await manager.consumers.add(stream, {
    durable_name: name, ack_policy: AckPolicy.All, ack_wait: ACK_WAIT_NS, ...from,
  });
  const consumer = await jetstream(connection).consumers.get(stream, name);
  return { consumer, made, before };
}

/** `<log id>:<position>`, apart. */
function parts(id) {
  const colon = id.lastIndexOf(":");
  return [id.slice(0, colon), Number(id.slice(colon + 1))];
}

const missing = (error) => error instanceof JetStreamApiError && error.status === 404;

const { values } = parseArgs({
  options: {
    nats: { type: "string" },
    state: { type: "string" },
    name: { type: "string", default: "example-node" },
    once: { type: "boolean", default: false },
    "skip-missing": { type: "boolean", default: false },
  },
});
if (!values.nats || !values.state) {
  console.error("usage: node consumer.mjs --nats nats://user:password@host:4222 --state FILE" +
    " [--once] [--skip-missing] [--name NAME]");
  process.exit(2);
}
const address = new URL(values.nats);
try {
  const connection = await connect({
    servers: address.host,
    user: decodeURIComponent(address.username) || undefined,
    pass: decodeURIComponent(address.password) || undefined,
    maxReconnectAttempts: -1,
    name: values.name,
  });
  const state = new State(values.state);
  await Promise.all([EVENTS, USAGE].map((stream) => follow(connection, state, stream, values)));
  await connection.close();
} catch (error) {
  console.error(error instanceof Stop ? error.message : error);
  process.exit(1);
}
