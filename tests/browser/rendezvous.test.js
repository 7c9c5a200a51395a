/** Pages of another origin that use the module at `/rendezvous.js`. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { ask, PATIENCE, steps, until, untilAll, World } from "./harness.js";

/** Milliseconds within which a page must have noticed that another one is gone. */
const GONE = 5_000;

let world;

before(async () => {
  world = await World.open("rendezvous");
});
after(() => world?.close());
afterEach(() => world?.leave());

const others = (names, own) => names.filter((_, at) => at !== own);

/** See that all pages see all others, and hear what they say. */
async function talk(pages, names, words) {
  await Promise.all(pages.map((page, own) => until(page, "sees", [others(names, own)])));
  await Promise.all(pages.map((page) => ask(page, "say", words)));
  const heard = (own) => others(names, own).map((name) => `${name}: ${words}`);
  await Promise.all(pages.map((page, own) => until(page, "hasHeard", [heard(own)])));
}

for (const [count, signal] of [
  [2, "SIGKILL"],
  [5, "SIGINT"],
]) {
  test(`${count} pages meet, talk, lose one and come back over a restart (${signal})`, async (t) => {
    const done = steps(t);
    const names = Array.from({ length: count }, (_, number) => `page ${number}`);
    const topic = `room-of-${count}`;
    const open = (page, name) => ask(page, "open", world.server.url, topic, name);
    const pages = await world.pages(count);
    await Promise.all(pages.map((page, own) => open(page, names[own])));
    done("opened");
    await talk(pages, names, "hello");
    await untilAll(pages, "knowsPaths");
    done("met and talked");

    await ask(pages[0], "sendFile", "sevens", 3_000_000);
    await Promise.all(pages.slice(1).map((page) => until(page, "hasFile", ["page 0", "sevens", 3_000_000])));
    done("sent a file");

    await ask(pages[0], "leave");
    await until(pages[1], "sees", [names.slice(2)], GONE);
    await open(pages[0], names[0]);
    await talk(pages, names, "back");
    done("one left and came back");

    await pages.pop().context().close();
    const lost = names.pop();
    await Promise.all(pages.map((page, own) => until(page, "sees", [others(names, own)], GONE)));
    done("noticed the loss");

    await world.server.stop(signal);
    await talk(pages, names, "without a server");
    await world.server.start();
    await untilAll(pages, "isConnected", [], 2 * PATIENCE);
    done("came back after the restart");

    const page = await world.page();
    await open(page, lost);
    pages.push(page);
    names.push(lost);
    await talk(pages, names, "all again");
    done("met again");
    assert.deepEqual(page.said, []);
  });
}
