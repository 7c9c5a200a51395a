/** Pages at `/demo` with a hostile person in their room: they stay usable, and what they show stays bounded. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { PATIENCE, World } from "./harness.js";

/** Entries that the log keeps. */
const ENTRIES = 300;

let world;

before(async () => {
  world = await World.open(null);
});
after(() => world?.close());
afterEach(() => world?.leave());

/**
 * Open the demo page, and a page that joins its room by the module and does there what it wants: `room` in it.
 *
 * @returns {Promise<[import("playwright-core").Page, import("playwright-core").Page]>}
 */
async function besieged(name = "Mallory") {
  const page = await world.page(`${world.server.url}/demo`);
  await page.locator('#state[data-state="connected"]').waitFor({ timeout: PATIENCE });
  // A page with an incomplete link joins no room by itself.
  const hostile = await world.page(`${world.server.url}/demo#nowhere`);
  await prepare(hostile);
  await comeIn(page, hostile, name);
  return [page, hostile];
}

const prepare = (hostile) =>
  hostile.evaluate(async () => {
    const { join } = await import(new URL("rendezvous.js", location.origin).href);
    globalThis.comeIn = async (link, who) => {
      const [topic, secret] = link.split("#")[1].split(".");
      globalThis.room = await join(`demo-${topic}`, { name: who, secret });
      await new Promise((resolve) => {
        if (globalThis.room.peers.size) resolve();
        globalThis.room.on("join", () => setTimeout(resolve, 100));
      });
    };
  });

const comeIn = async (page, hostile, name) =>
  hostile.evaluate(([link, who]) => globalThis.comeIn(link, who), [await page.locator("#link").inputValue(), name]);

/** Let the hostile page send these messages, and then one that the page shows in the end. */
const send = (hostile, messages) =>
  hostile.evaluate((all) => Promise.all(all.map((data) => globalThis.room.send(data))), messages);

const chat = (text) => ({ kind: "chat", text });

const shows = (page, text) => page.locator("#log").getByText(text).first().waitFor({ timeout: PATIENCE });

/** See that somebody can still write, and that nothing is wider than the page. */
async function isUsable(page) {
  await page.locator("#text").fill("I can still write");
  await page.keyboard.press("Enter");
  await shows(page, "I can still write");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `the page is ${wide} pixels wider than its window`);
  assert.ok((await page.locator("#log li").count()) <= ENTRIES);
}

test("names and texts are text, however long, and change nothing outside of them", async () => {
  const markup = '<img src="x" onerror="document.title=1"><b>bold</b>';
  const [page, hostile] = await besieged(markup.slice(0, 30));
  const long = "W".repeat(100_000);
  await send(hostile, [
    chat(markup),
    chat(long),
    chat(`e${"\u0301".repeat(2000)}`),
    chat("line\n".repeat(1000)),
    chat("\u202egnp.exe"),
    chat({ text: "an object" }),
    chat(null),
    { kind: "name", name: `\u202e\u2066${long}` },
    { kind: "name", name: "\u200b\u2060" },
    { kind: "name", name: "You" },
    "nothing that the page knows",
    chat("the end"),
  ]);
  await shows(page, "the end");
  assert.equal(await page.title(), "Rendezvous demo");
  assert.equal(await page.locator("#log b, #log img[src]").count(), 0);
  assert.equal(await page.locator("#peers .name").textContent(), "You");
  const texts = await page.locator("#log .text").allTextContents();
  assert.ok(texts.includes(markup));
  assert.ok(texts.every((text) => text.length <= 2200 && !/[\u202a-\u202e\u2066-\u2069]/.test(text)));
  // No entry paints over others, and none fills the log for many screens.
  const heights = await page.locator("#log li").evaluateAll((items) => items.map((item) => item.offsetHeight));
  assert.ok(Math.max(...heights) < 500, `an entry is ${Math.max(...heights)} pixels high`);
  assert.equal(await page.locator("#log li").last().evaluate((item) => getComputedStyle(item).overflow), "clip");
  await isUsable(page);
});

test("two people of one name can be told apart", async () => {
  const [page, first] = await besieged("Twin");
  const second = await world.page(`${world.server.url}/demo#nowhere`);
  await first.evaluate(() => globalThis.room.send({ kind: "name", name: "Twin" }));
  await prepare(second);
  await comeIn(page, second, "Twin");
  await page.locator("#peers").getByText("Twin (2)").waitFor({ timeout: PATIENCE });
  assert.deepEqual(await page.locator("#to option").allTextContents(), ["Everyone", "Twin", "Twin (2)"]);
});

test("who sends a thousand messages a second does not wash away what others have said", async () => {
  const [page, hostile] = await besieged();
  await page.locator("#text").fill("Remember this");
  await page.keyboard.press("Enter");
  await shows(page, "Remember this");
  await hostile.evaluate(async () => {
    for (let second = 0; second < 3; second++) {
      for (let number = 0; number < 1000; number++) {
        void globalThis.room.send({ kind: "chat", text: `${number} ${"flood ".repeat(50)}` });
        void globalThis.room.send({ kind: "name", name: `Mallory ${number}` });
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    await globalThis.room.send({ kind: "name", name: "Eve" });
  });
  await page.locator("#peers").getByText("Eve").waitFor({ timeout: PATIENCE });
  await shows(page, "Remember this");
  await shows(page, "sends more than this page shows");
  await isUsable(page);
});

test("who comes and goes all the time does not wash away what others have said", async () => {
  const [page, hostile] = await besieged();
  await page.locator("#text").fill("Remember this");
  await page.keyboard.press("Enter");
  const link = await page.locator("#link").inputValue();
  for (let round = 0; round < 25; round++) {
    await hostile.evaluate(
      async ([where, who]) => {
        globalThis.room.leave();
        await globalThis.comeIn(where, who);
      },
      [link, `Mallory ${round}`],
    );
  }
  await page.locator("#peers").getByText("Mallory 24").waitFor({ timeout: PATIENCE });
  assert.equal(await page.locator("#peers .peer").count(), 1);
  assert.equal(await page.locator("#to option").count(), 2);
  assert.ok((await page.locator("#log li").count()) < 40);
  await shows(page, "Remember this");
  await isUsable(page);
});

test("files are bounded in size, in number, and all together", async () => {
  const [page, hostile] = await besieged();
  await hostile.evaluate(() => {
    // A file that says how long it is, and of which hardly any bytes come.
    globalThis.pretend = (name, size) => {
      const few = () => new Promise((resolve) => setTimeout(resolve, 100, new ArrayBuffer(10)));
      const slice = () => ({ arrayBuffer: few });
      const file = new File([], name, { type: "image/png" });
      Object.defineProperties(file, { size: { value: size }, slice: { value: slice } });
      return globalThis.room.sendFile(file).catch((error) => error.message);
    };
    globalThis.offer = (name, size) => globalThis.room.sendFile(new File([new Uint8Array(size)], name));
  });
  await hostile.evaluate(() => globalThis.offer("nothing.txt", 0));
  await page.getByText("Save nothing.txt").waitFor({ timeout: PATIENCE });
  await hostile.evaluate(() => globalThis.offer("photo\u202egpj.exe", 3));
  await page.getByText("Save photo gpj.exe").waitFor({ timeout: PATIENCE });

  assert.equal(await hostile.evaluate(() => globalThis.pretend("huge", 2 ** 31)), "The peer does not want the file.");
  await shows(page, "It is too long");
  const answers = hostile.evaluate(() => Promise.race([1, 2, 3].map(() => globalThis.pretend("large", 2 ** 30))));
  assert.equal(await answers, "The peer does not want the file.");
  await shows(page, "There is no room for it");

  await hostile.evaluate(async () => {
    for (let number = 0; number < 600; number++) await globalThis.offer(`${number}`, 0).catch(() => {});
  });
  await isUsable(page);
  await shows(page, "large");
});

test("the streams of one person take a few places", async () => {
  const [page, hostile] = await besieged();
  await hostile.evaluate(async () => {
    for (let number = 0; number < 8; number++) {
      globalThis.room.addStream(document.createElement("canvas").captureStream(5));
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  });
  await page.locator("#tiles figure").first().waitFor({ timeout: PATIENCE });
  await page.waitForTimeout(2000);
  assert.ok((await page.locator("#tiles figure").count()) <= 3);
  // One hears others only after one has asked for it.
  assert.deepEqual(
    await page.locator("#tiles video").evaluateAll((videos) => videos.filter((video) => !video.muted).length),
    0,
  );
  await isUsable(page);
});
