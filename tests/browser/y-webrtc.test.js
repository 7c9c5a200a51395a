/** Pages that share a document by y-webrtc find each other through the server's `/signal`. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { ask, LOSS, PATIENCE, steps, until, untilAll, World } from "./harness.js";

let world;

before(async () => {
  world = await World.open("y-webrtc");
});
after(() => world?.close());
afterEach(() => world?.leave());

/** Let each page write something, and see that all pages have all of it. */
async function share(pages, word) {
  await Promise.all(pages.map((page, number) => ask(page, "write", `${word} ${number}`, number)));
  const all = Object.fromEntries(pages.map((_, number) => [`${word} ${number}`, number]));
  await untilAll(pages, "has", [all]);
}

for (const password of [undefined, "a secret"]) {
  for (const [count, signal] of [
    [2, "SIGKILL"],
    [5, "SIGINT"],
  ]) {
    const kind = password ? "an encrypted" : "a plain";
    test(`${count} pages of ${kind} room meet, share, lose one and come back over a restart (${signal})`, async (t) => {
      const done = steps(t);
      const room = `${kind} room of ${count}`;
      const open = async (page) => {
        await ask(page, "open", world.server.signal, room, password);
        return page;
      };
      const pages = await world.pages(count);
      await Promise.all(pages.map(open));
      done("opened");
      await untilAll(pages, "hasLinks", [count - 1]);
      await share(pages, "hello");
      done("met and shared");

      await ask(pages[0], "disconnect");
      await ask(pages[0], "write", "meanwhile", 1);
      await ask(pages[0], "connect");
      await untilAll(pages, "has", [{ meanwhile: 1 }]);
      done("one went and came back");

      await pages.pop().context().close();
      const noticed = untilAll(pages, "hasLinks", [count - 2], LOSS);
      noticed.catch(() => {});
      await world.server.stop(signal);
      await share(pages, "still here");
      await world.server.start();
      await untilAll(pages, "isSignaling");
      done("came back after the restart");

      await noticed;
      done("noticed the loss");
      pages.push(await open(await world.page()));
      await untilAll(pages, "has", [{ "hello 0": 0, meanwhile: 1 }]);
      await share(pages, "all again");
      done("met again");
    });
  }
}

test("a page with another password sees nothing, and neither does who listens", async () => {
  const [right, friend, wrong, listener] = await world.pages(4);
  await ask(listener, "listen", world.server.signal, "closed");
  for (const [page, password] of [
    [right, "a secret"],
    [friend, "a secret"],
    [wrong, "a guess"],
  ]) {
    await ask(page, "open", world.server.signal, "closed", password);
  }
  await ask(right, "write", "a", "treasure");
  await until(friend, "has", [{ a: "treasure" }]);
  assert.equal(await ask(wrong, "has", { a: "treasure" }), false);
  const passed = await ask(listener, "passed");
  assert.ok(passed.length > 3, `${passed.length} messages were heard`);
  for (const message of passed) {
    assert.equal(typeof message.data, "string");
    assert.match(message.data, /^[A-Za-z0-9+/]+=*$/);
  }
});

test("rooms are kept apart", async () => {
  const [one, other, third] = await world.pages(3);
  await Promise.all([
    ask(one, "open", world.server.signal, "here"),
    ask(other, "open", world.server.signal, "there"),
    ask(third, "open", world.server.signal, "there"),
  ]);
  await Promise.all([until(other, "hasLinks", [1]), until(third, "hasLinks", [1], PATIENCE)]);
  assert.equal(await ask(one, "hasLinks", 0), true);
});
