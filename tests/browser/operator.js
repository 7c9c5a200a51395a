/**
 * A server that speaks the API for operators, made up: as many clients as a test wants, and every action is kept.
 *
 * The files of the dashboard are the real ones.
 */

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";

import { CHECKOUT } from "./harness.js";

const STATIC = path.join(CHECKOUT, "rendezvous/operator/static");
const TYPES = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
const STATES = ["online", "online", "online", "late", "registered"];
const NAT = ["none", "endpoint-independent", "endpoint-dependent"];
const TOTALS = ["requests", "request_errors", "registrations", "publications", "answers", "pulses", "signed", "stun"];
TOTALS.push("tracker", "datagram_bytes_received", "datagram_bytes_sent", "dropped", "limited", "full");
TOTALS.push("attempts_ok", "attempts_failed");
const GAUGES = ["clients_online", "clients_late", "clients_registered", "offers", "sessions", "event_streams"];
GAUGES.push("sockets", "tracker_entries", "signaling_memory", "reactor_delay");
/** Clients that the server looks at before it answers with what it has found. */
const SLICE = 50_000;

/** The token that opens it. */
export const TOKEN = "a-token-of-operators-for-tests-0123456789";

/** The server. */
export class Operator {
  policy = "";
  draining = false;
  hasStream = true;
  isUp = true;
  kicked = [];
  bans = [];
  asked = [];
  #server;
  #streams = new Set();
  #seq = 1;

  /** @param {number} count of clients. */
  constructor(count) {
    this.count = count;
  }

  /** @returns {string} the address of the page. */
  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  /** Listen. */
  async start() {
    const source = await readFile(path.join(CHECKOUT, "rendezvous/operator/page.py"), "utf-8");
    const [, policy] = /_POLICY = \(\n(.*?)\n\)/s.exec(source);
    this.policy = policy.replaceAll(/^ *"|"$/gm, "").replaceAll("\n", "");
    this.#server = http.createServer((request, response) => this.#answer(request, response));
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** End. */
  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Cut all streams of updates. */
  cut() {
    for (const stream of this.#streams) stream.destroy();
  }

  /** Send an event to all streams. */
  send(event, data) {
    for (const stream of this.#streams) stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** Log a line. */
  log(text, level = "info") {
    this.#seq += 1;
    this.send("log", { seq: this.#seq, time: Date.now() / 1000, level, system: "rendezvous.test", text });
  }

  /** Say how things are now. */
  update() {
    this.send("figures", this.#figures());
    this.send("overview", this.overview());
  }

  /** @returns {object} a client by its number. */
  client(number) {
    const id = (number * 2654435761).toString(16).padStart(32, "0").split("").reverse().join("");
    const state = STATES[number % STATES.length];
    const host = state === "registered" ? null : `198.51.${(number >> 8) & 255}.${number & 255}`;
    const network = `198.51.${(number >> 8) & 255}.${number & 255}`;
    return { client_id: id, state, network, host, port: 40_000, last_seen: Date.now() / 1000 - (number % 200) };
  }

  overview() {
    const [online, rest] = [Math.round(this.count * 0.6), Math.round(this.count * 0.2)];
    return {
      version: "1.0", started: Date.now() / 1000 - 7300, time: Date.now() / 1000, draining: this.draining, ready: true,
      clients: { online, late: rest, registered: rest }, offers: 12, sessions: 3, event_streams: 4, sockets: 5,
      tracker_entries: 0, bans: this.bans.length, connections: 17, reactor_delay: 0.004,
      tables: { clients: { entries: this.count, limit: 1_000_000 } }, signaling_memory: { entries: 8e6, limit: 256e6 },
      saving: { is_failing: false, backlog: 1200, waiting: 0, failed: 0, size: 1e6, restored: null },
    };
  }

  #figures() {
    const time = Date.now() / 1000;
    const values = Object.fromEntries([...TOTALS, ...GAUGES].map((name, at) => [name, Math.floor(time * (at + 1)) % 1e6]));
    Object.assign(values, { clients_online: this.overview().clients.online, reactor_delay: 0.0007, offers: 12 });
    const rates = Object.fromEntries(TOTALS.map((name, at) => [name, { "1m": at * 3.2, "10m": at * 3, "1h": null }]));
    return { time, values, rates };
  }

  #history() {
    const now = Date.now() / 1000;
    const times = Array.from({ length: 180 }, (_, at) => now - 5 * (180 - at));
    const curve = (name, k) => times.map((_, at) => (at < 20 ? null : 50 + 40 * Math.sin(at / (5 + k)) + (at % 7)));
    const series = Object.fromEntries([...TOTALS, ...GAUGES].map((name, k) => [name, curve(name, k)]));
    return { time: now, interval: 5, times, series, rates: this.#figures().rates };
  }

  #clients(query) {
    const [prefix, state] = [query.get("prefix") ?? "", query.get("state") ?? ""];
    const network = (query.get("network") ?? "").split("/")[0].replace(/(\.0)+$/, ".");
    const limit = Number(query.get("limit") ?? 100);
    const found = [];
    let at = Number(query.get("after") ?? 0);
    const end = Math.min(this.count, at + SLICE);
    for (; at < end && found.length < limit; at++) {
      const client = this.client(at);
      if (this.kicked.includes(client.client_id)) continue;
      if (prefix && !client.client_id.startsWith(prefix)) continue;
      if (state && client.state !== state) continue;
      if (network && !`${client.host}.`.startsWith(network)) continue;
      found.push(client);
    }
    return { clients: found, next: at < this.count ? String(at) : null };
  }

  async #answer(request, response) {
    const url = new URL(request.url, "http://x");
    if (!this.isUp) return void request.socket.destroy();
    const file = /^\/(?:dashboard\/([a-z.]+))?$/.exec(url.pathname);
    if (file && request.method === "GET") return this.#file(file[1] ?? "index.html", response);
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      return say(response, 401, { ok: false, error: "This is not the token of operators.", code: "unauthorized" });
    }
    let body = "";
    for await (const piece of request) body += piece;
    this.asked.push([request.method, url.pathname, request.headers["rendezvous-operator"] ?? "", url.search]);
    if (url.pathname === "/updates" && this.hasStream) return this.#stream(response);
    const found = this.#route(request.method, url, body ? JSON.parse(body) : {});
    if (found) say(response, 200, found);
    else say(response, 404, { ok: false, error: "There is nothing here.", code: "no-such-path" });
  }

  #route(method, url, body) {
    const [, name, id, verb] = url.pathname.split("/");
    if (method === "POST" && verb === "kick") return this.kicked.push(id) && { client_id: id, kicked: true };
    if (method === "POST" && name === "bans") return this.#ban(body);
    if (method === "DELETE" && name === "bans") return this.#lift(decodeURIComponent(id));
    if (name === "drain") return { draining: (this.draining = method === "POST") };
    if (name === "reload") return { changed: ["udp-answers"], refused: [], certificates: 0 };
    if (name === "clients" && id) return this.#client(id);
    if (name === "clients") return this.#clients(url.searchParams);
    const pairs = NAT.flatMap((one, at) => NAT.slice(at).map((other) => ({ mappings: [one, other], ok: 9, failed: at })));
    const rest = { network: "203.0.113.7", reason: "source-requests", times: 4321, last: Date.now() / 1000 - 30 };
    const limited = { limits: { source_requests: 4321 }, full: {}, dropped: { unreadable: 12 }, networks: [rest] };
    const topics = [{ topic: "game-lobby", peers: 12 }, { topic: "<b>bold</b>", peers: 1 }];
    return {
      overview: this.overview(), history: this.#history(), "attempt-pairs": { pairs }, limited,
      log: { lines: [{ seq: 1, time: Date.now() / 1000, level: "warn", system: "s", text: "from 203.0.113.9 (2 times)" }],
        next: 1, lost: 0 },
      topics: { topics, total: 2 }, bans: { bans: this.bans },
      attempts: { attempts: [attempt("done", true, "direct", "A direct path."), attempt("failed", false, null,
        "Both NATs give every destination another port; a relay is needed, and this server offers none.")], next: null },
    }[name];
  }

  #client(id) {
    const events = [{ time: Date.now() / 1000 - 60, event: "registered", text: "from 203.0.113.9" }];
    const rest = { offers: 1, attempts: 2, event_stream: true, sockets: 0, ban: null, events };
    return { client: { ...this.client(0), client_id: id, ...rest } };
  }

  #ban({ target, seconds, reason }) {
    const ban = { target, until: seconds === null ? null : Date.now() / 1000 + seconds, reason, since: Date.now() / 1000 };
    this.bans.push(ban);
    return ban;
  }

  #lift(target) {
    this.bans = this.bans.filter((ban) => ban.target !== target);
    return { target, until: null, reason: "", since: 0 };
  }

  async #file(name, response) {
    try {
      const data = await readFile(path.join(STATIC, name));
      response.setHeader("Content-Type", TYPES[name.split(".")[1]] ?? "text/html; charset=utf-8");
      response.setHeader("Content-Security-Policy", this.policy);
      response.end(data);
    } catch {
      say(response, 401, { ok: false, error: "No token.", code: "unauthorized" });
    }
  }

  #stream(response) {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
    this.update();
  }
}

function attempt(state, ok, via, why) {
  const [controlling, controlled] = ["ab".repeat(16), "cd".repeat(16)];
  const mappings = ok ? ["none", "endpoint-independent"] : ["endpoint-dependent", "endpoint-dependent"];
  const begun = Date.now() / 1000 - 50;
  return { attempt: state, state, begun, ended: begun + 3, controlling, controlled, mappings, strategy: "direct", via,
    code: null, ok, why };
}

function say(response, status, data) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(data));
}
