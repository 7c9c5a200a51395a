/** Pages that use PeerJS find each other through the server's PeerServer. */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { ask, LOSS, steps, until, untilAll, World } from "./harness.js";

let world;

before(async () => {
  world = await World.open("peerjs", "--peerjs-discovery");
});
after(() => world?.close());
afterEach(() => world?.leave());

/** Open a page under each of these ids. */
async function opened(ids, own = world) {
  const pages = await own.pages(ids.length);
  const given = await Promise.all(pages.map((page, number) => ask(page, "open", own.server.port, ids[number])));
  assert.deepEqual(given, ids);
  return pages;
}

/** Connect each page to all before it. */
async function mesh(pages, ids) {
  for (const [number, page] of pages.entries()) {
    for (const other of ids.slice(0, number)) {
      await ask(page, "connect", other);
    }
  }
  await Promise.all(pages.map((page, own) => until(page, "isConnected", [ids.filter((_, at) => at !== own)])));
}

/** Let each page say something to all others, and see that they hear it. */
async function talk(pages, ids, words) {
  await Promise.all(pages.map((page) => ask(page, "say", words)));
  const heard = (own) => ids.filter((id) => id !== ids[own]).map((id) => `${id}: ${words}`);
  await Promise.all(pages.map((page, own) => until(page, "hasHeard", [heard(own)])));
}

/** What pages do that are connected with each other, with a server of their own. */
async function live(t, { count, signal }) {
  const done = steps(t);
  const own = await world.apart("--peerjs-discovery");
  t.after(() => own.close());
  const ids = Array.from({ length: count }, (_, number) => `page-${number}-of-${count}`);
  const pages = await opened(ids, own);
  assert.deepEqual((await ask(pages[0], "ids")).sort(), ids);
  done("opened");
  await mesh(pages, ids);
  await talk(pages, ids, "hello");
  done("met and talked");

  // A page that leaves the server keeps its connections, and gets its id back.
  assert.equal(await ask(pages[0], "disconnect"), true);
  await talk(pages, ids, "one is away");
  await until(pages[0], "isOpen");
  done("one came back to the server");

  await own.server.stop(signal);
  await Promise.all([own.server.start(), talk(pages, ids, "without a server")]);
  await untilAll(pages, "isOpen");
  assert.deepEqual((await ask(pages[0], "ids")).sort(), ids);
  await talk(pages, ids, "still here");
  done("came back after the restart");

  const lost = ids.at(-1);
  await pages.pop().context().close();
  await untilAll(pages, "hasLost", [lost], LOSS);
  done("noticed the loss");
  // The lost one has its id again at once, and meets the others, who have come back with theirs.
  const page = await own.page();
  assert.equal(await ask(page, "open", own.server.port, lost), lost);
  pages.push(page);
  for (const other of ids.slice(0, -1)) {
    await ask(page, "connect", other);
  }
  await until(page, "isConnected", [ids.slice(0, -1)]);
  await talk(pages, ids, "all again");
  done("met again");
}

describe("pages meet, talk, come back over a restart, and lose one", { concurrency: true }, () => {
  for (const [count, signal] of [
    [2, "SIGINT"],
    [5, "SIGKILL"],
  ]) {
    test(`${count} of them (${signal})`, (t) => live(t, { count, signal }));
  }
});

test("pages call each other", async () => {
  const pages = await opened(["caller", "called"]);
  await ask(pages[0], "call", "called");
  await until(pages[0], "hasStream", ["called"]);
  await until(pages[1], "hasStream", ["caller"]);
});

test("the server draws an id, lists the pages, keeps ids apart and says who is not there", async () => {
  const [first, second] = await world.pages(2);
  const id = await ask(first, "open", world.server.port);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(await ask(first, "ids"), [id]);
  await assert.rejects(ask(second, "open", world.server.port, id), /unavailable-id/);
  await ask(first, "connect", "not-there");
  await until(first, "hasFailed", ["peer-unavailable"]);
});
