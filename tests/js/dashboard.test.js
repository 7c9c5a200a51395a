// The logic of the operators' dashboard, without a page.

import assert from "node:assert/strict"
import { test } from "node:test"

import { Api, ApiError } from "../../rendezvous/operator/static/api.js"
import { PAGE, Pages } from "../../rendezvous/operator/static/clients.js"
import { Live } from "../../rendezvous/operator/static/live.js"
import { matrix } from "../../rendezvous/operator/static/sections.js"
import { Curve } from "../../rendezvous/operator/static/sparkline.js"
import { EventParser } from "../../rendezvous/operator/static/sse.js"
import * as words from "../../rendezvous/operator/static/words.js"

const STREAM = ': hello\nevent: figures\ndata: {"a":1}\n\ndata: one\ndata: two\n\nevent: empty\n\nid: 7\ndata:x\n\n'
const FOUND = [
  { event: "figures", data: '{"a":1}' },
  { event: "message", data: "one\ntwo" },
  { event: "message", data: "x" },
]

test("one of something has no plural", () => {
  assert.deepEqual([0, 1, 12_000, null].map(n => words.counted(n, "offer")), ["0 offers", "1 offer", "12,000 offers", "– offers"]);
});

test("a stream of events is the same however it is cut, and with each of the three line ends", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = STREAM.replaceAll("\n", end)
    for (let cut = 0; cut <= text.length; cut++) {
      const parser = new EventParser()
      const found = [...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut)), ...parser.feed("")]
      assert.deepEqual(found, FOUND, `${JSON.stringify(end)} at ${cut}`)
    }
  }
})

test("an event without an end is refused", () => {
  const parser = new EventParser()
  assert.throws(() => {
    for (let piece = 0; piece < 30; piece++) parser.feed("data: " + "x".repeat(100_000))
  }, /too long/)
  const lines = new EventParser()
  assert.throws(() => {
    for (let piece = 0; piece < 30; piece++) lines.feed(`data: ${"x".repeat(100_000)}\n`)
  }, /too long/)
})

test("a curve forgets what is old, has a gap where there is no value, and begins anew if the clock is set back", () => {
  const curve = new Curve(60, 5)
  for (let time = 0; time <= 100; time += 5) curve.add(time, time === 80 ? null : time)
  assert.equal(curve.points[0].time, 40)
  assert.equal(curve.path().match(/M/g).length, 2)
  assert.ok(curve.path().startsWith("M0.0 "))
  assert.ok(curve.path().endsWith("L180.0 2.0"), curve.path())
  curve.add(100, 7)
  assert.equal(curve.points.length, 13)
  curve.add(50, 1)
  assert.deepEqual(curve.points, [{ time: 50, value: 1 }])
  assert.equal(new Curve(60, 5).path(), "")
})

test("a curve of zeros lies at the bottom, and values that are none are gaps", () => {
  const curve = new Curve(60, 5)
  for (const [time, value] of [[0, 0], [5, 0], [10, NaN], [15, undefined], [20, 0]]) curve.add(time, value)
  assert.ok(!/NaN|Infinity/.test(curve.path()))
  assert.equal(curve.path(), "M120.0 38.0L135.0 38.0M180.0 38.0")
})

test("numbers in words", () => {
  const { inCount, inRate, inBytes, inDelay, inSpan } = words
  for (const [said, expected] of [
    [inCount(0), "0"], [inCount(9.96), "10"], [inCount(12_345), "12,345"], [inCount(1_234_567), "1.23 million"],
    [inCount(null), "–"], [inCount(undefined), "–"], [inCount(NaN), "–"],
    [inRate(0), "0 /s"], [inRate(0.5), "30 /min"], [inRate(0.001), "3.6 /h"], [inRate(null), "–"], [inRate(12), "12 /s"],
    [inBytes(1), "1 byte"], [inBytes(999), "999 bytes"], [inBytes(999.99), "1.0 kB"], [inBytes(52_400_000), "52.4 MB"],
    [inDelay(0.0004), "0.4 ms"], [inDelay(0.085), "85 ms"], [inDelay(0.9999), "1.0 s"],
    [inSpan(59), "59 s"], [inSpan(3600), "1 h"], [inSpan(12_000), "3 h 20 min"], [inSpan(1e6), "11 days"], [inSpan(-3), "0 s"],
  ]) {
    assert.equal(said, expected)
  }
})

test("addresses are found in a line of the log, and what only looks like one is not", () => {
  const found = text => words.addressesIn(text).filter(part => part.isAddress).map(part => part.text)
  assert.deepEqual(found("caused by 203.0.113.9 (2 times)"), ["203.0.113.9"])
  assert.deepEqual(found("networks 203.0.113.0/24, 2001:db8::/32 and ::1"), ["203.0.113.0/24", "2001:db8::/32", "::1"])
  assert.deepEqual(found("['2001:db8:1:2::', '::ffff:192.0.2.1']"), ["2001:db8:1:2::", "::ffff:192.0.2.1"])
  assert.deepEqual(found("HTTP on 0.0.0.0:5025"), ["0.0.0.0:5025"])
  assert.deepEqual(found("version 1.2.3 at 10:15:59, swept: clients: 12; {'a': 3}"), [])
  assert.deepEqual(found("HTTPS on [2001:db8::1]:443, 2001:db8:1:2:3:4:5:6"), ["[2001:db8::1]:443", "2001:db8:1:2:3:4:5:6"])
  const text = "from 203.0.113.9, then from 2001:db8::1."
  assert.equal(words.addressesIn(text).map(part => part.text).join(""), text)
})

test("a text of somebody else has no controls", () => {
  assert.equal(words.plain("a\u001b[2Jb\u202ec\n"), "a [2Jb c ")
  assert.equal(words.plain({}), "")
  assert.equal(words.plain("x".repeat(1000), 10).length, 10)
})

test("attempts of both orders of a pair of NATs are one cell, and those without a pair are none", () => {
  const { names, cell } = matrix([
    { mappings: ["none", "blocked"], ok: 1, failed: 2 },
    { mappings: ["blocked", "none"], ok: 3, failed: 4 },
    { mappings: null, ok: 9, failed: 9 },
    { mappings: ["new-one", "none"], ok: 0, failed: 1 },
  ])
  assert.deepEqual(names, ["none", "blocked", "new-one"])
  assert.deepEqual(cell("blocked", "none"), { ok: 4, failed: 6 })
  assert.deepEqual(cell("none", "new-one"), { ok: 0, failed: 1 })
  assert.equal(cell("blocked", "blocked"), null)
})

/** @returns {Pages} pages of a server that has so many clients, and looks at 1000 of them for each answer */
function pages(count, fits, asked = []) {
  return new Pages(async ({ after, limit }, signal) => {
    asked.push(after)
    await null
    const clients = []
    let at = Number(after || 0)
    const end = Math.min(count, at + 1000)
    for (; at < end && clients.length < limit; at++) if (fits(at)) clients.push({ client_id: String(at) })
    return { clients, next: at < count ? String(at) : null }
  })
}

test("pages of clients go forward and back, and the last one has no next", async () => {
  const all = pages(250, () => true)
  assert.equal((await all.read({})).length, PAGE)
  all.forward()
  assert.equal((await all.read({}))[0].client_id, "100")
  all.forward()
  assert.equal((await all.read({})).length, 50)
  assert.equal(all.next, null)
  all.forward()
  assert.equal(all.number, 3)
  all.back()
  assert.equal((await all.read({}))[0].client_id, "100")
  all.reset()
  all.back()
  assert.equal((await all.read({}))[0].client_id, "0")
})

test("a filter that few clients fit goes on until a page is full or all are looked at", async () => {
  const asked = []
  const few = pages(20_000, number => number % 5000 === 0, asked)
  const progress = []
  const found = await few.read({}, shown => progress.push(shown.length))
  assert.equal(found.length, 4)
  assert.equal(asked.length, 20)
  assert.equal(few.requests, 20)
  assert.deepEqual(progress.slice(0, 6), [1, 1, 1, 1, 1, 2])
  assert.equal(few.next, null)
})

test("a search that is given up says nothing, and the next one is whole", async () => {
  const few = pages(5000, number => number === 4999)
  const first = few.read({})
  const second = few.read({})
  assert.equal(await first, null)
  assert.equal((await second).length, 1)
  assert.equal(few.isSearching, false)
})

test("a search that fails can be begun again", async () => {
  let fails = true
  const once = new Pages(async () => {
    if (fails) throw new ApiError("The server does not answer.", 0, "")
    return { clients: [], next: null }
  })
  await assert.rejects(once.read({}), /does not answer/)
  assert.equal(once.isSearching, false)
  fails = false
  assert.deepEqual(await once.read({}), [])
})

/** @returns {Api} one whose requests are answered by a function */
function api(answer) {
  return new Api("secret", "alice", { base: "http://operators.example/below/", fetch: answer })
}

test("requests have the token and the name, and leave out what is empty", async () => {
  const sent = []
  const answering = api(async (url, how) => {
    sent.push([url, how])
    return Response.json({ ok: true })
  })
  await answering.get("clients", { prefix: "ab", network: "", after: null, limit: 5 })
  await answering.post("bans", { target: "192.0.2.1" })
  await answering.delete("bans/x%2F24")
  const [[url, read], [, written], [lifted, deleted]] = sent
  assert.equal(url, "http://operators.example/below/clients?prefix=ab&limit=5")
  assert.equal(read.headers.Authorization, "Bearer secret")
  assert.equal(read.headers["Rendezvous-Operator"], "alice")
  assert.deepEqual([read.credentials, read.cache, read.body], ["omit", "no-store", undefined])
  assert.deepEqual([written.method, written.body], ["POST", '{"target":"192.0.2.1"}'])
  assert.deepEqual([deleted.method, lifted], ["DELETE", "http://operators.example/below/bans/x%2F24"])
})

test("an answer that is an error says so in its own words, also if it is no JSON", async () => {
  const refused = api(async () => Response.json({ error: "No.", code: "unauthorized" }, { status: 401 }))
  await assert.rejects(refused.get("overview"), { message: "No.", status: 401, code: "unauthorized" })
  const proxy = api(async () => new Response("<html>", { status: 502 }))
  await assert.rejects(proxy.get("overview"), { message: "The server answers with status 502.", status: 502, code: "" })
  const gone = api(async () => { throw new TypeError("fetch failed") })
  await assert.rejects(gone.get("overview"), { message: "The server does not answer.", status: 0 })
  const cut = api(async () => new Response("{"))
  await assert.rejects(cut.get("overview"), { message: "The connection to the server was lost.", status: 0 })
})

test("the stream of updates gives its events, and says when it has ended", async () => {
  const text = 'event: figures\ndata: {"a": 1}\n\nevent: log\ndata: {"seq": 2}\n\n'
  const taken = []
  const streaming = api(async () => new Response(text))
  const ended = streaming.updates(0, new AbortController().signal, (event, data) => taken.push([event, data]))
  await assert.rejects(ended, { message: "The server has ended the stream of updates.", status: 0 })
  assert.deepEqual(taken, [["figures", { a: 1 }], ["log", { seq: 2 }]])
})

/** @returns {{page: object, said: string[]}} a page that notes what it is given */
function page() {
  const said = []
  const note = name => () => said.push(name)
  const noted = Object.fromEntries(["history", "figures", "overview", "log"].map(name => [name, note(name)]))
  return { said, page: { ...noted, state: state => said.push(state), refused: note("refused"), last: () => 0 } }
}

test("without a stream everything is asked for every 5 seconds, and the stream is tried again", async () => {
  const { page: shown, said } = page()
  let streams = 0
  const waits = []
  const live = new Live({
    get: async path => (path === "log" ? { lines: [{ seq: 1 }] } : {}),
    updates: async () => {
      streams += 1
      if (streams === 3) live.stop()
      throw new ApiError("lost", 0, "")
    },
  }, shown, async ms => void waits.push(ms))
  await live.run()
  assert.equal(streams, 3)
  assert.deepEqual(waits, Array(4).fill(5000))
  assert.deepEqual(said.slice(0, 6), ["history", "log", "history", "log", "overview", "polling"])
})

test("a server that does not answer is asked again, and one that refuses the token is left", async () => {
  const { page: shown, said } = page()
  let asked = 0
  const live = new Live({
    get: async () => {
      asked += 1
      throw new ApiError("", asked > 4 ? 401 : 0, "")
    },
    updates: () => assert.fail("it cannot be opened"),
  }, shown, async () => {})
  await live.run()
  assert.deepEqual(said, ["lost", "lost", "refused"])
})

test("what comes by the stream is shown, and an event of a later version is not", async () => {
  const { page: shown, said } = page()
  const live = new Live({
    get: async path => (path === "log" ? { lines: [] } : {}),
    updates: async (after, signal, take) => {
      for (const event of ["figures", "overview", "log", "constructor", "refused", "state"]) take(event, {})
      live.stop()
    },
  }, shown, async () => {})
  await live.run()
  assert.deepEqual(said.filter(each => each !== "stream"), ["history", "figures", "overview", "log"])
})
