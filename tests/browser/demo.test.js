/** The page at `/demo`, as people use it: with a keyboard, and in a browser that says what it must not load. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, afterEach, before, test } from "node:test";

import { PATIENCE, steps, World } from "./harness.js";

/** Milliseconds within which a page must have said that another one is gone. */
const GONE = 5_000;
/** Bytes of the file that is sent. */
const SIZE = 50_000_000;

let world;
let directory;

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "rendezvous-demo-"));
  world = await World.open(null);
});
after(async () => {
  await world?.close();
  await rm(directory, { recursive: true });
});
afterEach(() => world?.leave());

/** Open the page, at the link of a room or of a new one, and wait until it is in the room. */
async function opened(link = `${world.server.url}/demo`, options = {}) {
  const page = await world.page(link, options);
  await page.locator('#state[data-state="connected"]').waitFor({ timeout: PATIENCE });
  return page;
}

/** Open a room on so many pages that see each other. */
async function room(count, options = {}, server = world.server) {
  const first = await opened(`${server.url}/demo`, options);
  const pages = [first];
  const link = await first.locator("#link").inputValue();
  while (pages.length < count) {
    pages.push(await opened(link, options));
  }
  await Promise.all(pages.map((page) => see(page, count - 1)));
  return pages;
}

/** Wait until a page shows so many peers, each with the path that carries its data. */
async function see(page, count) {
  await page.waitForFunction(
    (expected) => {
      const shown = [...document.querySelectorAll("#peers .badge")].map((badge) => badge.dataset.kind);
      return shown.length === expected && shown.every((kind) => kind === "lan");
    },
    count,
    { timeout: PATIENCE },
  );
}

const nameOf = (page) => page.locator("#name").inputValue();

/** Wait until the log of a page has this text. */
async function logs(page, text, patience = PATIENCE) {
  await page.locator("#log").getByText(text).first().waitFor({ timeout: patience });
}

async function say(page, text) {
  await page.locator("#text").fill(text);
  await page.keyboard.press("Enter");
}

/** See that nothing was refused by the policy of the page, and that it has asked no other host for anything. */
function behaves(page, server = world.server) {
  assert.deepEqual(
    page.said.filter((line) => /policy|refused|uncaught|error:/i.test(line)),
    [],
  );
  const elsewhere = page.asked.filter((url) => !url.startsWith(server.url) && !url.startsWith("blob:"));
  assert.deepEqual(elsewhere, []);
}

/** @returns {Promise<string>} the path of a file that takes seconds to send. */
async function long() {
  const file = path.join(directory, "long.bin");
  await writeFile(file, Buffer.alloc(2 * SIZE));
  return file;
}

async function digest(file) {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(file)) {
    hash.update(piece);
  }
  return hash.digest("hex");
}

test("two pages chat, send 50 MB, and one says within 5 s that the other is closed", async (t) => {
  const done = steps(t);
  const [first, second] = await room(2);
  const name = await nameOf(second);
  done("met");
  await say(first, "Hello from the first");
  await logs(second, "Hello from the first");
  await say(second, "Hello from the second");
  await logs(first, "Hello from the second");
  done("talked");

  const sent = path.join(directory, "sent.bin");
  const received = path.join(directory, "received.bin");
  await writeFile(sent, randomBytes(SIZE));
  await first.locator("#files").setInputFiles(sent);
  await second.getByText("Save sent.bin").waitFor({ timeout: 3 * PATIENCE });
  await first.locator("#log").getByText(/^Sent in /).waitFor({ timeout: PATIENCE });
  done("sent 50 MB");
  const [download] = await Promise.all([second.waitForEvent("download"), second.getByText("Save sent.bin").click()]);
  await download.saveAs(received);
  assert.equal(download.suggestedFilename(), "sent.bin");
  assert.equal(await digest(received), await digest(sent));

  behaves(second);
  await second.close();
  await logs(first, `${name} has left.`, GONE);
  done("said that the other is closed");
  await first.getByText("You are the only one here.").waitFor();
  behaves(first);
});

test("a page that crashes is gone within 5 s as well", async () => {
  const [first, second] = await room(2);
  const name = await nameOf(second);
  second.goto("chrome://crash").catch(() => {});
  await logs(first, `${name} has left.`, GONE);
});

for (const signal of ["SIGINT", "SIGKILL"]) {
  test(`pages go on without the server, and meet others after a restart (${signal})`, async () => {
    const [first, second] = await room(2);
    await world.server.stop(signal);
    await say(first, "Still here");
    await logs(second, "Still here");
    await first.locator('#state[data-state="reconnecting"]').waitFor({ timeout: PATIENCE });
    await world.server.start();
    await first.locator('#state[data-state="connected"]').waitFor({ timeout: 2 * PATIENCE });
    await second.locator('#state[data-state="connected"]').waitFor({ timeout: 2 * PATIENCE });
    const third = await opened(await first.locator("#link").inputValue());
    await Promise.all([first, second, third].map((page) => see(page, 2)));
    await say(third, "I am new");
    await Promise.all([first, second].map((page) => logs(page, "I am new")));
  });
}

test("pages call each other, and the call ends", async () => {
  const pages = await room(2);
  await pages[0].locator("#call-start").click();
  const other = pages[1].locator("#tiles figure");
  await other.waitFor({ timeout: PATIENCE });
  const isHeard = () => other.locator("video").first().evaluate((video) => !video.muted);
  assert.equal(await isHeard(), false);
  await other.getByRole("button", { name: `Listen to ${await nameOf(pages[0])}` }).click();
  assert.equal(await isHeard(), true);
  await other.getByRole("button", { name: `Silence ${await nameOf(pages[0])}` }).click();
  assert.equal(await isHeard(), false);
  await pages[1].locator("#call-start").click();
  for (const page of pages) {
    await page.waitForFunction(
      () => {
        const videos = [...document.querySelectorAll("#tiles video")];
        return videos.length === 2 && videos.every((video) => video.videoWidth > 0 && video.currentTime > 0);
      },
      null,
      { timeout: PATIENCE },
    );
  }
  assert.equal(await isHeard(), true);
  await pages[0].locator("#call-end").click();
  await pages[0].locator("#call-start").waitFor();
  await pages[1].waitForFunction(() => document.querySelectorAll("#tiles figure").length === 1, null, {
    timeout: PATIENCE,
  });
  pages.forEach((page) => behaves(page));
});

test("pages that come over TLS meet through a WebSocket", async (t) => {
  const [key, certificate] = ["key.pem", "cert.pem"].map((name) => path.join(directory, name));
  // As the README makes them.
  const making = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=rendezvous".split(" ");
  execFileSync("openssl", [...making, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  const secure = await world.apart(`--http=ssl:0:privateKey=${key}:certKey=${certificate}:interface=127.0.0.1`);
  t.after(() => secure.close());
  const pages = await room(2, { ignoreHTTPSErrors: true }, secure.server);
  await say(pages[0], "Hello over TLS");
  await logs(pages[1], "Hello over TLS");
  for (const page of pages) {
    assert.match(page.url(), /^https:/);
    const sockets = page.sockets.map((url) => url.split("?")[0]);
    assert.deepEqual(sockets, [`${secure.server.url.replace("https:", "wss:")}/events`]);
    behaves(page, secure.server);
  }
});

test("the link is needed to come in", async () => {
  const [first] = await room(1);
  const link = await first.locator("#link").inputValue();
  const stranger = await opened(link.slice(0, -1) + (link.endsWith("A") ? "B" : "A"));
  const friend = await opened(link);
  await see(friend, 1);
  await see(first, 1);
  assert.equal(await stranger.locator("#peers .peer").count(), 0);
  const other = await world.page(link.slice(0, -3));
  await other.getByText("This link is incomplete.").waitFor();
  assert.equal(await other.locator("main").isVisible(), false);
  await other.getByRole("link", { name: "open a new room" }).click();
  await other.locator('#state[data-state="connected"]').waitFor({ timeout: PATIENCE });
});

test("the keyboard alone is enough", async () => {
  const [first, second] = await room(2);
  await first.locator("#link").focus();
  const reached = [];
  for (let presses = 0; presses < 20; presses++) {
    reached.push(await first.evaluate(() => document.activeElement.id));
    const outline = await first.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", `${reached.at(-1)} does not show that it has the focus`);
    if (reached.at(-1) === "text") {
      break;
    }
    await first.keyboard.press("Tab");
  }
  const expected = ["link", "copy", "new-room", "name", "call-start", "log", "to", "pick", "text"];
  assert.deepEqual(reached.filter((id) => id), expected);
  await first.keyboard.type("Typed");
  await first.keyboard.press("Shift+Enter");
  await first.keyboard.type("in two lines");
  await first.keyboard.press("Enter");
  await logs(second, "Typed in two lines");
  assert.equal(await first.locator("#text").inputValue(), "");
});

test("what has the focus keeps it, or passes it on, when the page changes", async () => {
  const [first, second] = await room(2);
  const focused = () => first.evaluate(() => document.activeElement.id);
  await first.locator("#call-start").focus();
  await first.keyboard.press("Space");
  await first.waitForFunction(() => document.activeElement.id === "call-end");
  await second.locator("#call-start").click();
  await first.getByRole("button", { name: "Silence" }).focus();
  await second.locator("#call-end").click();
  await first.waitForFunction(() => document.querySelectorAll("#tiles figure").length === 1);
  assert.equal(await focused(), "call-title");
  await first.locator("#call-end").focus();
  await first.keyboard.press("Enter");
  await first.waitForFunction(() => document.activeElement.id === "call-start");

  await second.locator("#files").setInputFiles(await long());
  await first.getByRole("button", { name: "Cancel long.bin" }).focus();
  await first.keyboard.press("Enter");
  await logs(first, "You have cancelled it.");
  assert.equal(await focused(), "log");
  await second.locator("#files").setInputFiles({ name: "short.txt", mimeType: "text/plain", buffer: Buffer.from("a") });
  await first.getByRole("button", { name: "Remove short.txt" }).focus();
  await first.keyboard.press("Enter");
  assert.equal(await focused(), "log");
  assert.equal(await first.getByText("short.txt").count(), 0);
});

test("who sends a file can cancel it", async () => {
  const [first, second] = await room(2);
  await first.locator("#files").setInputFiles(await long());
  await first.getByRole("button", { name: "Cancel long.bin" }).click();
  await logs(first, "You have cancelled it.");
  await logs(second, "The peer has given up sending the file.");
});

test("the log stays at its end, unless one reads further back", async () => {
  const [first, second] = await room(2);
  for (let number = 0; number < 20; number++) {
    await say(second, `Message ${number}.`);
  }
  await second.locator("#files").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("a") });
  await first.getByText("Save a.txt").waitFor({ timeout: PATIENCE });
  const fromEnd = () =>
    first.evaluate(() => {
      const last = document.querySelector("#entries li:last-child").getBoundingClientRect();
      return Math.round(document.getElementById("log").getBoundingClientRect().bottom - last.bottom);
    });
  assert.ok((await fromEnd()) >= 0, `the last entry ends ${-(await fromEnd())} pixels below the log`);

  await first.evaluate(() => document.getElementById("log").scrollBy(0, -400));
  const place = () => first.getByText("Message 10.").evaluate((text) => Math.round(text.getBoundingClientRect().top));
  const before = await place();
  for (let number = 0; number < 5; number++) {
    await say(second, `Later message ${number}.`);
  }
  await first.getByText("Later message 4.").waitFor({ state: "attached" });
  assert.ok(Math.abs((await place()) - before) <= 2, `it has moved by ${(await place()) - before} pixels`);
  await say(first, "My own");
  assert.ok((await fromEnd()) >= 0);
});

test("a server with registration tokens asks for one, until the tab is closed", async (t) => {
  const token = "a-token-for-pages-1";
  const file = path.join(directory, "tokens");
  await writeFile(file, `${token}\n`, { mode: 0o600 });
  const own = await world.apart(`--registration-token-file=${file}`);
  t.after(() => own.close());
  const { server } = own;
  const page = await world.page(`${server.url}/demo`, LOOKS.phone);
  const field = page.getByLabel("Registration token");
  await field.waitFor({ timeout: PATIENCE });
  assert.equal(await page.locator("main").isVisible(), false);
  assert.match(await page.locator("#state").textContent(), /only those who have a registration token/);
  // The field has the focus, so that a keyboard is enough.
  await page.keyboard.type("another-token-of-pages");
  await page.keyboard.press("Enter");
  await page.locator("#token-problem").getByText("not good").waitFor({ timeout: PATIENCE });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `the page is ${wide} pixels wider than its window`);
  await page.keyboard.type("odd");
  await page.keyboard.press("Enter");
  await page.locator("#token-problem").getByText("16 to 256").waitFor({ timeout: PATIENCE });
  await field.fill(token);
  await page.keyboard.press("Enter");
  await page.locator('#state[data-state="connected"]').waitFor({ timeout: PATIENCE });
  assert.equal(await field.isVisible(), false);
  const link = await page.locator("#link").inputValue();
  assert.ok(!link.includes(token), "the link that is handed on holds the token");
  await page.reload();
  await page.locator('#state[data-state="connected"]').waitFor({ timeout: PATIENCE });
  // Another tab is asked again.
  const other = await world.page(link);
  await other.locator("#token").fill(token);
  await other.getByRole("button", { name: "Enter" }).click();
  await see(other, 1);
  // A refused registration is a line in the console of a browser, so only other hosts are looked for here.
  assert.deepEqual([page, other].flatMap((each) => each.asked.filter((url) => !url.startsWith(server.url))), []);
});

test("every control has a name", async () => {
  const [first, second] = await room(2);
  await first.locator("#call-start").click();
  await first.locator("#call-end").waitFor();
  await second.locator("#call-start").click();
  await first.getByRole("button", { name: "Silence" }).waitFor({ timeout: PATIENCE });
  await second.locator("#files").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("a") });
  await first.getByText("Save a.txt").waitFor({ timeout: PATIENCE });
  const session = await first.context().newCDPSession(first);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const controls = new Set(["button", "textbox", "combobox", "link", "log", "region", "progressbar"]);
  const found = nodes.filter((node) => !node.ignored && controls.has(node.role?.value));
  assert.ok(found.length > 15, `only ${found.length} controls`);
  assert.deepEqual(found.filter((node) => !node.name?.value).map((node) => node.role.value), []);
});

/** Pictures for the documentation: `SCREENSHOTS=docs/images make browser PAGES=demo`. */
const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1100, height: 860 } },
  dark: { colorScheme: "dark", viewport: { width: 1100, height: 860 } },
  phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true },
};

for (const [look, options] of Object.entries(LOOKS)) {
  test(`nothing is wider than the page (${look})`, async () => {
    const [first, second] = await room(2, options);
    await say(first, "Have you seen the plans?");
    await logs(second, "Have you seen the plans?");
    await say(second, "Yes. Here they are:");
    await logs(first, "Here they are");
    await second.locator("#files").setInputFiles({
      name: "plans.pdf",
      mimeType: "application/pdf",
      buffer: Buffer.alloc(2_400_000),
    });
    await first.getByText("Save plans.pdf").waitFor({ timeout: PATIENCE });
    await say(first, "Thank you!");
    if (process.env.SCREENSHOTS) {
      await first.locator("#text").blur();
      await first.screenshot({ path: path.join(process.env.SCREENSHOTS, `demo-${look}.png`), fullPage: true });
    }
    await say(second, `More is at https://example.org/${"long".repeat(40)}`);
    await logs(first, "More is at");
    const wide = await first.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} pixels wider than its window`);
  });
}
