/** Pages that use trystero find each other through the server's `/signal`. */

import { after, afterEach, before, test } from "node:test";

import { ask, LOSS, steps, until, untilAll, World } from "./harness.js";

let world;

before(async () => {
  world = await World.open("trystero");
});
after(() => world?.close());
afterEach(() => world?.leave());

const others = (ids, own) => ids.filter((_, at) => at !== own);

/** See that all pages see all others, and hear what they say. */
async function talk(pages, ids, words) {
  await Promise.all(pages.map((page, own) => until(page, "sees", [others(ids, own)])));
  await Promise.all(pages.map((page) => ask(page, "say", words)));
  const heard = (own) => others(ids, own).map((id) => `${id}: ${words}`);
  await Promise.all(pages.map((page, own) => until(page, "hasHeard", [heard(own)])));
}

for (const [count, signal, password] of [
  [2, "SIGINT", undefined],
  [5, "SIGKILL", "a secret"],
]) {
  test(`${count} pages meet, talk, lose one and come back over a restart (${signal})`, async (t) => {
    const done = steps(t);
    const open = (page) => ask(page, "open", world.server.signal, `room of ${count}`, password);
    const pages = await world.pages(count);
    const ids = await Promise.all(pages.map(open));
    done("opened");
    await talk(pages, ids, "hello");
    done("met and talked");

    await ask(pages[0], "leave");
    await until(pages[1], "sees", [ids.slice(2)]);
    await open(pages[0]);
    await talk(pages, ids, "back");
    done("one left and came back");

    await pages.pop().context().close();
    ids.pop();
    const noticed = Promise.all(pages.map((page, own) => until(page, "sees", [others(ids, own)], LOSS)));
    noticed.catch(() => {});
    await world.server.restart(signal);
    await Promise.all(pages.map((page) => ask(page, "say", "still here")));
    const still = (own) => others(ids, own).map((id) => `${id}: still here`);
    await Promise.all(pages.map((page, own) => until(page, "hasHeard", [still(own)])));
    await untilAll(pages, "isSignaling");
    done("came back after the restart");

    await noticed;
    done("noticed the loss");
    const page = await world.page();
    ids.push(await open(page));
    pages.push(page);
    await talk(pages, ids, "all again");
    done("met again");
  });
}
