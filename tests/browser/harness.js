/**
 * What the tests share: a server that can be restarted, a site of another origin with the pages, and a browser.
 *
 * Each page has a context of its own, as if it were on another computer: no storage and no BroadcastChannel connects it
 * with the others. WebRTC goes over loopback.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const HERE = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
export const CHECKOUT = path.resolve(HERE, "../..");
const TWISTD = "from twisted.scripts.twistd import run; run()";

/** Debian's chromium, or the one that CHROMIUM names. */
export const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Milliseconds within which anything must have happened that is going to. */
export const PATIENCE = 20_000;

/** Milliseconds within which a page must have noticed that another one is gone. Chromium gives up a path after 15 s. */
export const LOSS = 40_000;

export const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-features=" +
    [
      // Names of multicast DNS are not resolved on a machine without a network.
      "WebRtcHideLocalIpsWithMdns",
      // Each context would have a window whose address bar takes more CPU time than the page.
      "WebUIOmniboxPopup",
      "WebUIOmniboxAimPopup",
      "SpareRendererForSitePerProcess",
    ].join(","),
  "--allow-loopback-in-peer-connection",
  // A camera and a microphone for calls.
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
];

/** `twistd rendezvous` in a process of its own, on the same port in all its lives. */
export class Server {
  port = 0;
  /** Its other ports, by the word that its log has for them: `UDP` and `operators`. */
  ports = {};
  #options;
  #isSecure;
  #directory;
  #process = null;
  #log = "";

  /** @param {string[]} options of the server, besides its ports; one that begins with `--http=ssl:` is its HTTP side. */
  constructor(...options) {
    this.#options = options;
    this.#isSecure = options.some((option) => option.startsWith("--http=ssl:"));
  }

  /** @returns {string} the root of its HTTP side. */
  get url() {
    return `${this.#isSecure ? "https" : "http"}://127.0.0.1:${this.port}`;
  }

  /** @returns {string} where its files are. */
  get directory() {
    return this.#directory;
  }

  /** @returns {string} where y-webrtc and trystero connect to. */
  get signal() {
    return `ws://127.0.0.1:${this.port}/signal`;
  }

  /** @returns {boolean} whether its process runs. */
  get #isRunning() {
    return this.#process !== null && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Start it, unless it runs, and wait until it listens. */
  async start() {
    if (this.#isRunning) {
      return;
    }
    this.ports = {};
    this.#directory ??= await mkdtemp(path.join(tmpdir(), "rendezvous-browser-"));
    const ports = ["--udp-port=0", "--interface=127.0.0.1"];
    if (!this.#isSecure) {
      ports.push(`--http-port=${this.port}`);
    }
    const python = process.env.PYTHON ?? path.join(CHECKOUT, ".venv/bin/python");
    const words = ["-c", TWISTD, "--nodaemon", "--pidfile=", "rendezvous", ...ports, ...this.#options];
    this.#process = spawn(python, words, {
      cwd: this.#directory,
      env: { ...process.env, PYTHONPATH: CHECKOUT, PYTHONUNBUFFERED: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process.stderr.on("data", (data) => (this.#log += data));
    await new Promise((resolve, reject) => {
      this.#process.once("error", reject);
      this.#process.once("exit", () => reject(new Error(`the server did not start:\n${this.#log}`)));
      createInterface({ input: this.#process.stdout }).on("line", (line) => {
        this.#log += `${line}\n`;
        const other = /\b(UDP|operators) on \S+:(\d+)/.exec(line);
        if (other) {
          this.ports[other[1]] = Number(other[2]);
        }
        const found = /\bHTTPS? on \S+:(\d+)$/.exec(line);
        if (found) {
          this.port = Number(found[1]);
          resolve();
        }
      });
    });
  }

  /** @param {NodeJS.Signals} signal SIGINT for a stop in order, SIGKILL for a crash. */
  async stop(signal = "SIGINT") {
    if (this.#isRunning) {
      const ended = once(this.#process, "exit");
      this.#process.kill(signal);
      await ended;
    }
  }

  /** @param {NodeJS.Signals} signal how it is ended before it is started again. */
  async restart(signal) {
    await this.stop(signal);
    await this.start();
  }

  /** End it, and forget what it has kept. */
  async close() {
    await this.stop();
    await rm(this.#directory, { recursive: true });
    if (/Traceback|Unhandled/.test(this.#log)) {
      throw new Error(`the server has logged an error:\n${this.#log}`);
    }
  }
}

/** A server, a page on a site of another origin, and a browser that opens this page as often as it is asked to. */
export class World {
  server;
  #site = null;
  #browser;
  #isOwner = true;
  #page;
  #contexts = new Set();

  /**
   * @param {string | null} page of the folder `pages`, without its suffix; `null` for none but the server's own.
   * @param {...string} options of the server.
   */
  static async open(page, ...options) {
    const world = new World();
    world.server = new Server(...options);
    [world.#site, world.#browser] = await Promise.all([page && site(page), launch(), world.server.start()]);
    world.#page = world.#site ? `http://127.0.0.1:${world.#site.address().port}/` : world.server.url;
    return world;
  }

  /**
   * For a test that restarts the server while others run.
   *
   * @param {...string} options of the server.
   * @returns {Promise<World>} another server, for the same page in the same browser.
   */
  async apart(...options) {
    const world = new World();
    world.server = new Server(...options);
    world.#browser = this.#browser;
    world.#isOwner = false;
    await world.server.start();
    world.#page = this.#site ? this.#page : world.server.url;
    return world;
  }

  /**
   * Open a page on a computer of its own, so to speak.
   *
   * @param {string} address of another page than that of this world.
   * @param {import("playwright-core").BrowserContextOptions} options such as the size of its window.
   * @returns {Promise<import("playwright-core").Page>} it keeps what it has `said` on its console and `asked` for, and the
   *   URLs of its `sockets`.
   */
  async page(address = this.#page, options = {}) {
    const context = await this.#browser.newContext(options);
    this.#contexts.add(context);
    const page = await context.newPage();
    const [said, asked, sockets] = [[], [], []];
    Object.assign(page, { said, asked, sockets });
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    page.on("request", (request) => asked.push(request.url()));
    page.on("websocket", (socket) => sockets.push(socket.url()));
    await page.goto(address);
    return page;
  }

  /** @returns {Promise<import("playwright-core").Page[]>} so many of them. */
  pages(count) {
    return Promise.all(Array.from({ length: count }, () => this.page()));
  }

  /** Close all pages, and start the server if a test has left it stopped. */
  async leave() {
    await Promise.all([...this.#contexts].map((context) => context.close()));
    this.#contexts.clear();
    await this.server.start();
  }

  /** Close everything. */
  async close() {
    await Promise.all([...this.#contexts].map((context) => context.close()));
    if (this.#isOwner) {
      await this.#browser.close();
      this.#site?.closeAllConnections();
      this.#site?.close();
    }
    await this.server.close();
  }
}

/** @returns {Promise<import("playwright-core").Browser>} */
export function launch() {
  return chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
}

/** Serve one page with its script, in which the libraries are as npm has installed them. */
async function site(page) {
  const made = await build({
    entryPoints: [path.join(HERE, "pages", `${page}.js`)],
    bundle: true,
    format: "iife",
    write: false,
    logLevel: "error",
  });
  const html = '<!doctype html><meta charset="utf-8"><title>Page</title><script src="page.js"></script>';
  return serve(html, made.outputFiles[0].contents);
}

/**
 * Serve one page on a port of its own.
 *
 * @param {string} html
 * @param {Uint8Array} script what its script `page.js` is.
 * @returns {Promise<http.Server>}
 */
export async function serve(html, script = new Uint8Array()) {
  const served = http.createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : html);
  });
  served.listen(0, "127.0.0.1");
  await once(served, "listening");
  return served;
}

/** @returns {Promise<any>} what a method of a page's `client` gives. */
export function ask(page, method, ...values) {
  return page.evaluate(([name, given]) => globalThis.client[name](...given), [method, values]);
}

/**
 * Wait until a method of a page's `client` gives something true.
 *
 * @throws {Error} if it does not in time; it names the method and what the page has written to its console.
 */
export async function until(page, method, values = [], patience = PATIENCE) {
  const call = ([name, given]) => globalThis.client[name](...given);
  try {
    await page.waitForFunction(call, [method, values], { timeout: patience, polling: 50 });
  } catch (error) {
    const said = page.said.slice(-5).join("\n  ");
    throw new Error(`${method}(${JSON.stringify(values)}) was not true within ${patience} ms: ${error}\n  ${said}`);
  }
}

/** The same of many pages, all at once. */
export function untilAll(pages, method, values = [], patience = PATIENCE) {
  return Promise.all(pages.map((page) => until(page, method, values, patience)));
}

/** @returns {(what: string) => void} adds a line with the seconds since the last one to the test's report. */
export function steps(test) {
  let last = performance.now();
  return (what) => {
    const now = performance.now();
    test.diagnostic(`${what}: ${((now - last) / 1000).toFixed(1)} s`);
    last = now;
  };
}
