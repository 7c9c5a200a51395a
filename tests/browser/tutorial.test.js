/** The page of "Two tabs in ten minutes" in docs/tutorials/web.rst, as it stands there. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { CHECKOUT, PATIENCE, serve, World } from "./harness.js";

/** Milliseconds within which a page must have said that another one is gone. */
const GONE = 5_000;

let world;
let site;

/** @returns {string} the first example of HTML on the page, without its indentation. */
function example(text) {
  const lines = text.split(".. code-block:: html\n\n")[1].split("\n");
  const end = lines.findIndex((line) => line && !line.startsWith("    "));
  return lines.slice(0, end).map((line) => line.slice(4)).join("\n");
}

before(async () => {
  world = await World.open(null);
  const text = await readFile(path.join(CHECKOUT, "docs/tutorials/web.rst"), "utf-8");
  const html = example(text);
  assert.match(html, /http:\/\/127\.0\.0\.1:5025\/rendezvous\.js/);
  site = await serve(html.replace("127.0.0.1:5025", `127.0.0.1:${world.server.port}`));
});
after(async () => {
  site?.closeAllConnections();
  site?.close();
  await world?.close();
});

const shows = (page, text, patience = PATIENCE) => page.getByText(text).first().waitFor({ timeout: patience });

test("two tabs talk, also without the server, and one says that the other has left", async () => {
  const address = `http://127.0.0.1:${site.address().port}/`;
  const first = await world.page(address);
  const second = await first.context().newPage();
  await second.goto(address);
  await shows(first, /^Guest \d+ is here\.$/);
  await shows(second, /^Guest \d+ is here\.$/);
  await first.getByLabel("Message").fill("Hello");
  await first.getByRole("button", { name: "Send" }).click();
  await shows(first, "You: Hello");
  await shows(second, /^Guest \d+: Hello$/);

  await world.server.stop();
  await second.getByLabel("Message").fill("Still here");
  await second.keyboard.press("Enter");
  await shows(first, /^Guest \d+: Still here$/);

  await second.close();
  await shows(first, /^Guest \d+ has left\.$/, GONE);
  assert.deepEqual(first.said.filter((line) => /uncaught|refused by|error:/i.test(line)), []);
});
