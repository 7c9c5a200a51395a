/** The dashboard of a real server: a client that comes, goes late and is kicked, and ten thousand of them. */

import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as passed } from "node:timers/promises";
import { after, afterEach, before, test } from "node:test";

import { chromium } from "playwright-core";

import { EXECUTABLE, FLAGS, PATIENCE, serve, steps, World } from "./harness.js";

const OPTIONS = ["--admin-token-file=token", "--no-source-limits"];
/** Seconds: a client that pulses every second is late after three. */
const TIMES = ["--pulse-interval=2", "--pulse-grace=1", "--error-time=60"];
const CLIENTS = 10_000;
/** Requests at the same time. */
const TOGETHER = 50;
/** Milliseconds after which chromium has written which tabs there are, and their sessionStorage. */
const WRITTEN = 6000;
/** Milliseconds that no task of the page may take. */
const STALL = 200;

let world;

before(async () => {
  // The port stays the same when the server is started again.
  const free = await serve("");
  const { port } = free.address();
  await new Promise((closed) => free.close(closed));
  world = await World.open(null, `--admin=tcp:${port}:interface=127.0.0.1`, ...OPTIONS, ...TIMES);
});
after(() => world?.close());
afterEach(() => world?.leave());

/** @returns {Promise<string>} where the dashboard is; the server says so right after it says where the rest is. */
async function dashboard() {
  while (!world.server.ports.operators) await passed(10);
  return `http://127.0.0.1:${world.server.ports.operators}/`;
}

/** Open the dashboard and sign in. */
async function signedIn() {
  const page = await world.page(await dashboard());
  page.setDefaultTimeout(PATIENCE);
  await enter(page);
  return page;
}

async function enter(page) {
  await page.locator("#token").fill(await token());
  await page.keyboard.press("Enter");
  await page.locator('#state[data-state="stream"]').waitFor();
}

async function token() {
  return (await readFile(path.join(world.server.directory, "token"), "ascii")).trim();
}

/** A browser with files of its own, which it may open its last tabs from. */
function profile(directory, ...options) {
  const args = [...FLAGS, "--hide-crash-restore-bubble", ...options];
  const ignoreDefaultArgs = ["about:blank"];
  return chromium.launchPersistentContext(directory, { executablePath: EXECUTABLE, args, ignoreDefaultArgs });
}

/** Wait until something is found. */
async function eventually(find) {
  const end = performance.now() + PATIENCE;
  while (performance.now() < end) {
    const found = find();
    if (found) return found;
    await passed(50);
  }
  throw new Error(`${find} has found nothing`);
}

async function register() {
  const response = await fetch(`${world.server.url}/register`, { method: "POST" });
  return response.json();
}

/** @returns {Promise<number>} what a pulse is answered with. */
async function pulse(socket, client) {
  socket.send(Buffer.from(client.private_id, "hex"), world.server.ports.UDP, "127.0.0.1");
  const [reply] = await once(socket, "message", { signal: AbortSignal.timeout(5000) });
  return reply.readInt32BE(0);
}

/** Wait until an element has a text. */
async function has(page, selector, text) {
  await page.locator(selector).filter({ hasText: text }).first().waitFor();
}

test("a wrong token opens nothing of a real server, and the right one survives a reload", async () => {
  const page = await world.page(await dashboard());
  await page.locator("#token").fill("a-token-that-is-not-the-one-of-this-server");
  await page.keyboard.press("Enter");
  await has(page, "#sign-in-error", "This is not the token of this server.");
  await page.close();
  const entered = await signedIn();
  await entered.reload();
  await entered.locator('#state[data-state="stream"]').waitFor();
  assert.deepEqual(entered.said.filter((line) => /policy|refused|uncaught|error:|trusted/i.test(line)), []);
});

test("a tab that the browser opens again asks for the token, and nothing of it is left", async () => {
  const directory = await mkdtemp(path.join(tmpdir(), "rendezvous-profile-"));
  const address = await dashboard();
  try {
    let context = await profile(directory);
    const page = context.pages()[0];
    await page.goto(address);
    await enter(page);
    await page.reload();
    await page.locator('#state[data-state="stream"]').waitFor();
    await page.goto("about:blank");
    await page.goBack();
    await page.locator("#sign-in").waitFor();
    await enter(page);
    await passed(WRITTEN);
    await context.close();
    context = await profile(directory, "--restore-last-session");
    const restored = await eventually(() => context.pages().find((each) => each.url() === address));
    await restored.locator("#sign-in").waitFor();
    assert.deepEqual(await restored.evaluate(() => Object.keys(sessionStorage)), []);
    assert.deepEqual(await restored.evaluate(() => Object.keys(localStorage)), []);
    await context.close();
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("a page of another site cannot frame the dashboard, read its port or change anything", async () => {
  const address = await dashboard();
  await (await signedIn()).locator("#main").waitFor(); // The operator is signed in, in another tab.
  const site = await serve('<!doctype html><title>Other</title><iframe name="hidden"></iframe>', "");
  try {
    const page = await world.page(`http://127.0.0.1:${site.address().port}/`);
    await page.evaluate((src) => (document.querySelector("iframe").src = src), address);
    await eventually(() => page.said.some((line) => /frame-ancestors/.test(line)));
    const found = await page.evaluate(tried, [address, await token()]);
    assert.deepEqual(found, Array(5).fill("TypeError"));
    await page.evaluate((action) => {
      const form = Object.assign(document.createElement("form"), { action, method: "post", target: "hidden" });
      document.body.append(form);
      form.submit();
    }, `${address}drain`);
    await passed(500);
    assert.equal((await fetch(`${world.server.url}/ready`)).status, 200);
  } finally {
    site.close();
  }
});

/** In a page of another site, which even has the token: what comes of requests. */
async function tried([address, secret]) {
  const json = { Authorization: `Bearer ${secret}`, "Content-Type": "application/json" };
  const requests = [
    ["overview", { headers: { Authorization: `Bearer ${secret}` } }],
    ["drain", { method: "POST", headers: json, body: "{}" }],
    ["bans/192.0.2.1%2F32", { method: "DELETE" }],
    ["drain", { method: "POST", mode: "no-cors", body: "{}", credentials: "include" }],
    ["", { mode: "no-cors" }],
  ];
  const kinds = [];
  for (const [where, how] of requests) {
    kinds.push(await fetch(address + where, how).then((answer) => answer.type, (error) => error.name));
  }
  return kinds;
}

test("a client comes, goes late, is kicked, and is no one afterwards", async (t) => {
  const done = steps(t);
  const page = await signedIn();
  const client = await register();
  const row = `#clients-rows tr[data-key="${client.client_id}"]`;
  await has(page, row, "registered");
  done("it is there");
  const socket = dgram.createSocket("udp4");
  try {
    assert.equal(await pulse(socket, client), 1020);
    const pulses = setInterval(() => socket.send(Buffer.from(client.private_id, "hex"), world.server.ports.UDP), 1000);
    await has(page, row, "online");
    clearInterval(pulses);
    done("it is online");
    await has(page, row, "late");
    done("it is late");
    await page.locator(`${row} .link`).click();
    await has(page, "#client-events", "first pulse");
    assert.doesNotMatch(await page.locator("#client").innerText(), /127\.0\.0\.1/);
    await page.locator("#client-kick").click();
    await page.locator("#confirm-yes").click();
    await has(page, "#notice", "The client is kicked.");
    await page.locator(row).waitFor({ state: "detached" });
    await passed(100);
    socket.removeAllListeners("message");
    assert.equal(await pulse(socket, client), 1060);
    await has(page, "#log-lines", client.client_id);
    done("it is kicked");
  } finally {
    socket.close();
  }
});

test("a ban and its end, drain and its end, on a real server", async () => {
  const page = await signedIn();
  await page.locator("#ban-target").fill("198.51.100.0/24");
  await page.keyboard.press("Enter");
  await page.locator("#confirm-reason").fill("a flood");
  await page.locator("#confirm-yes").click();
  await has(page, "#bans-rows", "a flood");
  await page.locator("#bans-rows button").click();
  await page.locator("#confirm-yes").click();
  await page.locator("#bans-rows tr").waitFor({ state: "detached" });
  await page.locator("#drain").click();
  await page.locator("#confirm-yes").click();
  await page.locator("#draining").waitFor();
  assert.equal((await fetch(`${world.server.url}/ready`)).status, 503);
  assert.equal((await fetch(`${world.server.url}/register`, { method: "POST" })).status, 503);
  await page.locator("#drain").click();
  await page.locator("#confirm-yes").click();
  await page.locator("#draining").waitFor({ state: "hidden" });
  assert.equal((await fetch(`${world.server.url}/ready`)).status, 200);
});

test("ten thousand clients of a real server are listed and filtered without a stall", async (t) => {
  const done = steps(t);
  const page = await signedIn();
  const ids = [];
  const work = async () => {
    while (ids.length < CLIENTS) ids.push((await register()).client_id);
  };
  await Promise.all(Array.from({ length: TOGETHER }, work));
  done(`${ids.length} registered`);
  await page.evaluate(() => {
    globalThis.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, duration);
    }).observe({ type: "longtask" });
  });
  await has(page, '[data-name="clients_online"] .more', `${ids.length.toLocaleString("en")} not seen yet`);
  for (let turn = 2; turn <= 10; turn++) {
    await page.locator("#clients-next").click();
    await has(page, "#clients-count", `Page ${turn}: 100 clients`);
  }
  done("ten pages");
  await page.locator("#client-prefix").fill(ids.at(-1));
  await has(page, "#clients-count", "Page 1: 1 client");
  done("one of them");
  await page.locator("#client-prefix").fill("");
  await page.locator("#client-network").fill("127.0.0.0/8");
  await has(page, "#clients-count", "Page 1: 100 clients");
  const longest = await page.evaluate(() => globalThis.longest);
  t.diagnostic(`longest task of the page: ${longest.toFixed(0)} ms`);
  assert.ok(longest < STALL, `${longest} ms`);
});

test("a server that has stopped is said to be away, and after a restart the page goes on by itself", async () => {
  const page = await signedIn();
  const starts = page.locator("#log-lines li").filter({ hasText: "has started" });
  const before = await starts.count();
  await world.server.stop();
  await page.locator('#state[data-state="lost"]').waitFor();
  await world.server.start();
  await page.locator('#state[data-state="stream"]').waitFor();
  await starts.nth(before).waitFor();
  assert.equal(await starts.count(), before + 1);
});
