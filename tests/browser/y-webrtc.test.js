/** Pages that share a document by y-webrtc find each other through the server's `/signal`. */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { ask, LOSS, steps, until, untilAll, World } from "./harness.js";

let world;

before(async () => {
  world = await World.open("y-webrtc");
});
after(() => world?.close());
afterEach(() => world?.leave());

/**
 * Let pages join a room, one after the other; each has a link with all before it.
 *
 * Two pages of y-webrtc that announce themselves at the same moment may never meet, whatever the server is: each offers
 * a connection to the other one. If an offer comes while a page is still making its own, its `setLocalDescription` fails,
 * so it destroys the connection. The next candidate of the other page makes an empty connection in its place. The other
 * page waits for the answer to its offer for ever, and ignores announcements of a page that it has a connection for.
 */
async function join(pages, server, room, password) {
  for (const [number, page] of pages.entries()) {
    await ask(page, "open", server.signal, room, password);
    await untilAll(pages.slice(0, number + 1), "hasLinks", [number]);
  }
}

/** Let each page write something, and see that all pages have all of it. */
async function share(pages, word) {
  await Promise.all(pages.map((page, number) => ask(page, "write", `${word} ${number}`, number)));
  const all = Object.fromEntries(pages.map((_, number) => [`${word} ${number}`, number]));
  await untilAll(pages, "has", [all]);
}

/** What pages of one room do, with a server of their own. */
async function live(t, { count, signal, kind, password }) {
  const done = steps(t);
  const own = await world.apart();
  t.after(() => own.close());
  const room = `${kind} room of ${count}`;
  const pages = await own.pages(count);
  done("opened");
  await join(pages, own.server, room, password);
  await share(pages, "hello");
  done("met and shared");

  const others = pages.slice(1);
  await ask(pages[0], "disconnect");
  await untilAll(others, "hasLinks", [count - 2]);
  await ask(pages[0], "write", "meanwhile", 1);
  await ask(pages[0], "connect");
  await untilAll(pages, "has", [{ meanwhile: 1 }]);
  done("one went and came back");

  await own.server.stop(signal);
  await Promise.all([own.server.start(), share(pages, "without a server")]);
  await untilAll(pages, "isSignaling");
  await share(pages, "still here");
  done("came back after the restart");

  await pages.pop().context().close();
  await untilAll(pages, "hasLinks", [count - 2], LOSS);
  done("noticed the loss");
  pages.push(await own.page());
  await ask(pages.at(-1), "open", own.server.signal, room, password);
  await untilAll(pages, "hasLinks", [count - 1]);
  await untilAll(pages, "has", [{ "hello 0": 0, meanwhile: 1, "still here 0": 0 }]);
  await share(pages, "all again");
  done("met again");
}

for (const [kind, password] of [
  ["a plain", undefined],
  ["an encrypted", "a secret"],
]) {
  describe(`pages of ${kind} room meet, share, come back over a restart, and lose one`, { concurrency: true }, () => {
    test("2 of them (SIGKILL)", (t) => live(t, { count: 2, signal: "SIGKILL", kind, password }));
    test("5 of them (SIGINT)", (t) => live(t, { count: 5, signal: "SIGINT", kind, password }));
  });
}

test("a page with another password sees nothing, and neither does who listens", async () => {
  const [right, friend, wrong, listener] = await world.pages(4);
  await ask(listener, "listen", world.server.signal, "closed");
  await ask(wrong, "open", world.server.signal, "closed", "a guess");
  await join([right, friend], world.server, "closed", "a secret");
  await ask(right, "write", "a", "treasure");
  await until(friend, "has", [{ a: "treasure" }]);
  assert.equal(await ask(wrong, "has", { a: "treasure" }), false);
  assert.equal(await ask(wrong, "hasLinks", 0), true);
  const passed = await ask(listener, "passed");
  assert.ok(passed.length > 3, `${passed.length} messages were heard`);
  for (const message of passed) {
    assert.equal(typeof message.data, "string");
    assert.match(message.data, /^[A-Za-z0-9+/]+=*$/);
  }
});

test("what pages say that join at the same moment comes to everyone, in one order", async () => {
  const [one, other, ...pages] = await world.pages(6);
  const listeners = [one, other];
  await Promise.all(listeners.map((page) => ask(page, "listen", world.server.signal, "crowded")));
  await Promise.all(pages.map((page) => ask(page, "open", world.server.signal, "crowded")));
  await untilAll(listeners, "hasPassed", ["announce", pages.length]);
  await untilAll(listeners, "hasPassed", ["signal", pages.length]);
  const [mine, others] = await Promise.all(listeners.map((page) => ask(page, "passed")));
  const common = Math.min(mine.length, others.length);
  assert.deepEqual(mine.slice(0, common), others.slice(0, common));
  const announced = new Set(mine.filter(({ data }) => data.type === "announce").map(({ data }) => data.from));
  assert.equal(announced.size, pages.length);
});

test("rooms are kept apart", async () => {
  const [one, other, third] = await world.pages(3);
  await ask(one, "open", world.server.signal, "here");
  await join([other, third], world.server, "there");
  assert.equal(await ask(one, "hasLinks", 0), true);
});
