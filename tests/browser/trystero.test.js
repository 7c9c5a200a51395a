/** Pages that use trystero find each other through the server's `/signal`. */

import { after, before, describe, test } from "node:test";

import { ask, LOSS, steps, until, untilAll, World } from "./harness.js";

/** Milliseconds within which trystero tries again: after a random part of 3.3 s, then of 6.7 s, 13.3 s and 26.7 s. */
const RETRY = 55_000;

let world;

before(async () => {
  world = await World.open("trystero");
});
after(() => world?.close());

const others = (ids, own) => ids.filter((_, at) => at !== own);

/** See that all pages see all others, and hear what they say. */
async function talk(pages, ids, words) {
  await Promise.all(pages.map((page, own) => until(page, "sees", [others(ids, own)])));
  await Promise.all(pages.map((page) => ask(page, "say", words)));
  const heard = (own) => others(ids, own).map((id) => `${id}: ${words}`);
  await Promise.all(pages.map((page, own) => until(page, "hasHeard", [heard(own)])));
}

/** What pages of one room do, with a server of their own. */
async function live(t, { count, signal, password }) {
  const done = steps(t);
  const own = await world.apart();
  t.after(() => own.close());
  const open = (page) => ask(page, "open", own.server.signal, `room of ${count}`, password);
  const pages = await own.pages(count);
  done("opened");
  const ids = await Promise.all(pages.map(open));
  await talk(pages, ids, "hello");
  done("met and talked");

  await ask(pages[0], "leave");
  await Promise.all(pages.slice(1).map((page, at) => until(page, "sees", [others(ids.slice(1), at)])));
  // Pages that have met keep their connections when they leave a room, and meet in it again without the server.
  await pages[0].reload();
  ids[0] = await open(pages[0]);
  await talk(pages, ids, "back");
  done("one left and came back");

  await own.server.stop(signal);
  await Promise.all([own.server.start(), talk(pages, ids, "without a server")]);
  await untilAll(pages, "isSignaling", [], RETRY);
  await talk(pages, ids, "still here");
  done("came back after the restart");

  await pages.pop().context().close();
  ids.pop();
  await Promise.all(pages.map((page, at) => until(page, "sees", [others(ids, at)], LOSS)));
  done("noticed the loss");
  pages.push(await own.page());
  const id = await open(pages.at(-1));
  await untilAll(pages.slice(0, -1), "hasAnnounced", [id]);
  // A page of trystero makes its offers when it joins, and cannot use them after 57 s: it makes new ones from them, and
  // sends one that it has already replaced. So pages that may be older than that are loaded again.
  await Promise.all(pages.map((page) => page.reload()));
  await talk(pages, await Promise.all(pages.map(open)), "all again");
  done("met again");
}

describe("pages of one room meet, talk, come back over a restart, and lose one", { concurrency: true }, () => {
  for (const [count, signal, password] of [
    [2, "SIGINT", undefined],
    [5, "SIGKILL", "a secret"],
  ]) {
    test(`${count} in a room${password ? " with a password" : ""} (${signal})`, (t) =>
      live(t, { count, signal, password }));
  }
});
