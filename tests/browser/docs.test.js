/** The pages of the documentation fit into the windows of computers and of phones, and their links lead somewhere. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { CHECKOUT, launch } from "./harness.js";

const SITE = path.join(CHECKOUT, "docs/_build/html");

/** Widths of windows, in pixels, with the most columns of a table that must fit. Wider ones are scrolled by themselves. */
const WINDOWS = [
  [1280, 20],
  [390, 4],
];

/** Pixels of the smallest text that can be read without effort. */
const LEGIBLE = 8.9;

let browser;
let names;

before(async () => {
  const python = process.env.PYTHON ?? path.join(CHECKOUT, ".venv/bin/python");
  execFileSync(python, ["-m", "sphinx", "-q", "-W", "-b", "html", path.join(CHECKOUT, "docs"), SITE]);
  // A page whose source is gone may be left of an earlier build.
  names = readdirSync(SITE, { recursive: true })
    .filter((name) => name.endsWith(".html"))
    .filter((name) => existsSync(path.join(CHECKOUT, "docs", name.replace(/html$/, "rst"))));
  browser = await launch();
});

after(() => browser?.close());

/** @returns {string[]} what does not fit, in words. It runs in the page. */
function misfits([columns, legible]) {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) {
    found.push(`the page is ${document.documentElement.scrollWidth} pixels wide`);
  }
  for (const table of document.querySelectorAll(".content table.docutils")) {
    const width = table.parentElement.clientWidth;
    const isWide = Math.max(...[...table.rows].map((row) => row.cells.length)) > columns;
    const isFixed = innerWidth < 600 && table.classList.contains("fixed");
    if (!isWide && !isFixed && table.scrollWidth > width + 1) {
      found.push(`a table is ${table.scrollWidth} of ${width} pixels wide: ${table.innerText.replace(/\s+/g, " ").slice(0, 60)}`);
    }
  }
  for (const text of document.querySelectorAll(".diagram text")) {
    const pixels = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
    if (pixels < legible) {
      found.push(`text of a diagram has ${pixels.toFixed(1)} pixels: ${text.textContent}`);
    }
  }
  return found;
}

test("every page fits, and every link leads to a place that there is", async () => {
  const page = await browser.newPage();
  const [wrong, places, links] = [[], new Set(), []];
  for (const name of names) {
    const url = pathToFileURL(path.join(SITE, name)).href;
    await page.goto(url);
    for (const [width, columns] of WINDOWS) {
      await page.setViewportSize({ width, height: 900 });
      for (const each of await page.evaluate(misfits, [columns, LEGIBLE])) {
        wrong.push(`${name}, ${width} pixels: ${each}`);
      }
    }
    const [ids, hrefs] = await page.evaluate(() => [
      [...document.querySelectorAll("[id]")].map((element) => element.id),
      [...document.querySelectorAll("a[href]")].map((element) => element.href),
    ]);
    places.add(url);
    ids.forEach((id) => places.add(`${url}#${id}`));
    links.push(...hrefs.map((href) => [name, decodeURI(href).replace(/#$/, "")]));
  }
  for (const [name, href] of links.filter(([, href]) => href.startsWith("file:"))) {
    const isThere = names.some((name) => href.split("#")[0].endsWith(`/${name}`))
      ? places.has(href)
      : existsSync(fileURLToPath(href.split("#")[0]));
    if (!isThere) {
      wrong.push(`${name}: there is no ${href}`);
    }
  }
  assert.ok(names.length > 40 && links.length > 1000, `${names.length} pages, ${links.length} links`);
  assert.deepEqual([...new Set(wrong)], []);
});
