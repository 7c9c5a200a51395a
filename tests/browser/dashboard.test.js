/** The dashboard of operators in a browser, on a server that is made up: it can have a million clients at once. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { launch, PATIENCE, steps } from "./harness.js";
import { Operator, TOKEN } from "./operator.js";

/** Milliseconds that no task of the page may take. */
const STALL = 200;

let browser;
let operator;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  operator?.close();
});

/** Open the page of a new server. */
async function opened(count = 250, options = {}) {
  operator = new Operator(count);
  await operator.start();
  const context = await browser.newContext(options);
  return arrived(await context.newPage());
}

/** Open the page once more. */
async function arrived(page) {
  page.setDefaultTimeout(PATIENCE);
  page.said = [];
  page.elsewhere = [];
  page.on("console", (message) => page.said.push(message.text()));
  page.on("pageerror", (error) => page.said.push(`error: ${error}`));
  page.on("request", (request) => request.url().startsWith(operator.url) || page.elsewhere.push(request.url()));
  await page.goto(operator.url);
  return page;
}

/** Sign in with the keyboard, and wait until there is something to see. */
async function signIn(page, token = TOKEN) {
  await page.locator("#token:focus").waitFor();
  await page.keyboard.type(token);
  await page.keyboard.press("Enter");
}

async function signedIn(count = 250, options = {}) {
  const page = await opened(count, options);
  await signIn(page);
  await page.locator('#state[data-state="stream"]').waitFor();
  await page.locator("#clients-rows tr").first().waitFor();
  return page;
}

/** See that nothing was refused by the policy of the page, and that it has asked no other host for anything. */
function behaves(page) {
  assert.deepEqual(page.said.filter((line) => /policy|refused|uncaught|error:|trusted/i.test(line)), []);
  assert.deepEqual(page.elsewhere, []);
}

const rows = (page) => page.locator("#clients-rows tr").count();

/** Wait until an element has a text. */
async function has(page, selector, text) {
  await page.locator(selector).filter({ hasText: text }).first().waitFor();
}

/** Answer the question that the page asks. */
async function agree(page) {
  await page.locator("#confirm[open]").waitFor();
  await page.locator("#confirm-yes").click();
}

test("a wrong token is refused in words, and the right one opens the page until the tab is closed", async () => {
  const page = await opened();
  await signIn(page, "wrong");
  await has(page, "#sign-in-error", "This is not the token of this server.");
  assert.equal(await page.locator("#main").isVisible(), false);
  assert.deepEqual(operator.asked, []);
  await page.keyboard.type(TOKEN); // What was wrong is selected, so it is replaced.
  await page.keyboard.press("Enter");
  await page.locator('#state[data-state="stream"]').waitFor();
  assert.equal(await page.locator("#token").inputValue(), "");
  await page.reload();
  await page.locator('#state[data-state="stream"]').waitFor();
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);
  assert.equal(await page.evaluate(() => document.cookie), "");
  const other = await arrived(await page.context().newPage());
  await other.locator("#sign-in").waitFor();
  await page.locator("#sign-out").click();
  await page.locator("#sign-in").waitFor();
  await page.reload();
  await page.locator("#sign-in").waitFor();
  behaves(page);
});

test("a token that is replaced while the page is open ends it, with a reason", async () => {
  const page = await signedIn();
  await page.evaluate(() => sessionStorage.setItem("rendezvous-operator-token", "replaced-token"));
  await page.reload();
  await has(page, "#sign-in-error", "This is not the token of this server.");
  assert.equal(await page.locator("#main").isVisible(), false);
});

test("figures, curves and lines of the log come by the stream", async () => {
  const page = await signedIn(1000);
  await has(page, '[data-name="clients_online"] .value', "600");
  const line = await page.locator('[data-name="pulses"] path:not(.area)').getAttribute("d");
  assert.match(line, /^M[\d.]+ [\d.]+(L[\d.]+ [\d.]+){100}/);
  operator.count = 2000;
  operator.update();
  await has(page, '[data-name="clients_online"] .value', "1,200");
  operator.log("something new from 203.0.113.77", "error");
  await has(page, "#log-lines", "something new from");
  await page.locator("#log-level").selectOption("error");
  assert.equal(await page.locator("#log-lines li:visible").count(), 1);
  behaves(page);
});

test("without a stream the page asks, and says so; without a server it says that", async () => {
  const page = await opened();
  operator.hasStream = false;
  await signIn(page);
  await page.locator('#state[data-state="polling"]').waitFor();
  await page.locator("#clients-rows tr").first().waitFor();
  operator.isUp = false;
  await page.locator('#state[data-state="lost"]').waitFor();
  operator.isUp = true;
  await page.locator('#state[data-state="polling"]').waitFor();
});

test("a stream that is cut is opened again, and no line of the log is shown twice", async () => {
  const page = await signedIn();
  operator.log("before the cut");
  await has(page, "#log-lines", "before the cut");
  operator.cut();
  await page.locator('#state[data-state="polling"]').waitFor();
  assert.equal(await page.locator("#log-lines li").filter({ hasText: "before the cut" }).count(), 1);
});

test("addresses are nowhere on the page until they are asked for", async () => {
  const page = await signedIn();
  await has(page, "#log-lines", "(2 times)");
  await page.locator("#clients-rows .link").first().click();
  await page.locator("#client[open]").waitFor();
  const text = () => page.evaluate(() => document.body.innerText);
  assert.doesNotMatch(await text(), /\d+\.\d+\.\d+\.\d+/);
  await page.keyboard.press("Escape");
  await page.locator("#addresses").click();
  assert.match(await text(), /198\.51\.0\.0:40000/);
  assert.match(await text(), /from 203\.0\.113\.9/);
  operator.update();
  await page.locator("#addresses").click();
  assert.doesNotMatch(await text(), /\d+\.\d+\.\d+\.\d+/);
});

test("why a client reaches none of its peers is said where the client is, and there is a way to the peer", async () => {
  const page = await signedIn();
  await page.locator("#attempts-rows tr").nth(1).locator(".link").first().click();
  await has(page, "#client-title", "ab".repeat(16));
  await has(page, "#client-attempts li", "a relay is needed");
  assert.match(await page.locator("#client-attempts li").nth(1).innerText(), /failed to cdcdcdcd…/);
  const query = `?client=${"ab".repeat(16)}&limit=20`;
  assert.ok(operator.asked.some(([, path, , asked]) => path === "/attempts" && asked === query));
  await page.locator("#client-attempts .link").first().click();
  await has(page, "#client-title", "cd".repeat(16));
  assert.match(await page.locator("#client-attempts li").nth(1).innerText(), /failed from abababab…/);
  behaves(page);
});

test("a ban can be lifted without scrolling, also beside a long reason", async () => {
  const page = await opened();
  const rest = { until: null, reason: "long ".repeat(30), since: 0 };
  operator.bans = ["198.51.100.0/24", "ab".repeat(16)].map((target) => ({ target, ...rest }));
  await signIn(page);
  await page.locator("#bans-rows button").first().waitFor();
  const wide = await page.evaluate(() => {
    const box = document.querySelector("#bans .scroll");
    return box.scrollWidth - box.clientWidth;
  });
  assert.equal(wide, 0);
});

test("one of ten thousand bans is found by what it begins with", async (t) => {
  const page = await opened();
  const target = (number) => `10.${number >> 8}.${number & 255}.0/24`;
  const rest = { until: null, reason: "", since: 0 };
  operator.bans = Array.from({ length: 10_000 }, (_, number) => ({ target: target(number), ...rest }));
  await signIn(page);
  await has(page, "#bans-none", "The latest 50 of 10,000.");
  await page.evaluate(watchTasks);
  operator.update();
  await page.locator("#ban-target").fill("10.39.15.");
  await page.locator("#bans-none").waitFor({ state: "hidden" });
  assert.equal(await page.locator("#bans-rows tr").count(), 1);
  await page.locator("#bans-rows button").click();
  await agree(page);
  await has(page, "#bans-none", "None of the bans begins like this.");
  assert.equal(operator.bans.length, 9_999);
  await shortTasks(t, page);
});

test("a client is kicked, after a question", async () => {
  const page = await signedIn();
  await page.locator("#clients-rows .link").nth(1).focus();
  await page.keyboard.press("Enter");
  await page.locator("#client[open]").waitFor();
  const id = operator.client(1).client_id;
  await has(page, "#client-title", id);
  await page.locator("#client-kick").click();
  await page.locator("#confirm[open]").waitFor();
  await page.keyboard.press("Escape");
  assert.deepEqual(operator.kicked, []);
  await page.locator("#client-kick").click();
  await agree(page);
  await has(page, "#notice", "The client is kicked.");
  assert.deepEqual(operator.kicked, [id]);
  await page.waitForFunction((gone) => !document.querySelector(`[data-key="${gone}"]`), id);
  behaves(page);
});

test("a network is banned for a time with a reason, and the ban is lifted", async () => {
  const page = await signedIn();
  await page.locator("#ban-target").fill("198.51.100.0/24");
  await page.keyboard.press("Enter");
  await page.locator("#confirm[open]").waitFor();
  await page.locator("#confirm-time").selectOption("86400");
  await page.locator("#confirm-reason").fill("a flood");
  await page.locator("#confirm-yes").click();
  await has(page, "#notice", "The network is banned.");
  const [ban] = operator.bans;
  assert.deepEqual([ban.target, ban.reason, Math.round(ban.until - ban.since)], ["198.51.100.0/24", "a flood", 86400]);
  await has(page, "#bans-rows", "a flood");
  await page.locator("#bans-rows button").click();
  await agree(page);
  await has(page, "#notice", "The ban is lifted.");
  assert.deepEqual(operator.bans, []);
});

test("the server is drained and taken back, and reloaded", async () => {
  const page = await signedIn();
  await page.locator("#drain").click();
  await agree(page);
  await has(page, "#notice", "The server drains.");
  operator.update();
  await page.locator("#draining").waitFor();
  await page.locator("#drain").filter({ hasText: "End draining" }).click();
  await agree(page);
  operator.update();
  await page.locator("#draining").waitFor({ state: "hidden" });
  assert.equal(operator.draining, false);
  await page.locator("#reload").click();
  await agree(page);
  await has(page, "#notice", "Reloaded: udp-answers.");
});

test("10,000 clients are listed and filtered without a stall, and a million in slices", async (t) => {
  const done = steps(t);
  const page = await signedIn(10_000);
  await page.evaluate(watchTasks);
  for (let turn = 2; turn <= 20; turn++) {
    await page.locator("#clients-next").click();
    await has(page, "#clients-count", `Page ${turn}: 100 clients`);
  }
  done("20 pages of 10,000");
  await page.locator("#client-state").selectOption("late");
  await has(page, "#clients-count", "Page 1: 100 clients");
  await page.waitForFunction(() => [...document.querySelectorAll("#clients-rows .badge")].every((b) => b.textContent === "late"));
  operator.count = 1_000_000;
  await page.locator("#client-state").selectOption("");
  const wanted = operator.client(999_999).client_id;
  await page.locator("#client-prefix").fill(wanted.slice(0, 9));
  await has(page, "#clients-count", "Page 1: 1 client");
  assert.equal(await rows(page), 1);
  assert.equal(await page.locator("#clients-rows .link").innerText(), wanted);
  done("one of a million");
  await shortTasks(t, page);
  behaves(page);
});

test("what clients have chosen is text, never markup", async () => {
  const page = await signedIn();
  await has(page, "#topics-rows", "<b>bold</b>");
  assert.equal(await page.locator("#topics-rows b").count(), 0);
  behaves(page);
});

test("on a phone nothing is wider than the window, in both themes all text can be read", async () => {
  const page = await signedIn(250, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  const wide = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(await wide(), 0);
  await page.locator("#addresses").click();
  assert.equal(await wide(), 0);
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await page.evaluate(faint), [], colorScheme);
  }
});

test("every control can be reached with the keyboard and has a name", async () => {
  const page = await signedIn();
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select, [tabindex='0']")]
      .filter((each) => each.checkVisibility())
      .filter((each) => !(each.textContent.trim() || each.labels?.length || each.ariaLabel || each.getAttribute("aria-labelledby")))
      .map((each) => each.outerHTML.slice(0, 100)),
  );
  assert.deepEqual(nameless, []);
  const said = await page.locator("#main").ariaSnapshot();
  assert.match(said, /region "Table of clients"/);
  assert.match(said, /article "Clients online"/);
  assert.match(said, /cell "hidden address"/);
  const seen = new Set();
  for (let step = 0; step < 20; step++) {
    await page.keyboard.press("Tab");
    seen.add(await page.evaluate(() => document.activeElement.id));
  }
  for (const id of ["addresses", "drain", "reload", "sign-out", "client-prefix", "client-state"]) assert.ok(seen.has(id), id);
});

/** In the page: keep how long its longest task was, in milliseconds; those below 50 count as 0. */
function watchTasks() {
  globalThis.longest = 0;
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, duration);
  }).observe({ type: "longtask" });
}

/** See that no task was longer than it may be. */
async function shortTasks(test, page) {
  const longest = await page.evaluate(() => globalThis.longest);
  test.diagnostic(`longest task of the page: ${longest.toFixed(0)} ms`);
  assert.ok(longest < STALL, `${longest} ms`);
}

/** In the page: the texts whose contrast with what is behind them is less than 4.5 to 1 (WCAG 2.1, section 1.4.3). */
function faint() {
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("#main *, header *")]
    .filter((each) => each.checkVisibility() && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((each) => !each.disabled && !each.closest("option"))
    .filter((each) => {
      const [one, other] = [light(rgb(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => b - a);
      return (one + 0.05) / (other + 0.05) < 4.5;
    })
    .map((each) => each.outerHTML.slice(0, 120));
}
