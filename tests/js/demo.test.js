// What the demo page computes, without a browser: links of rooms, and words.

import assert from "node:assert/strict"
import { test } from "node:test"

import { Budget, Pace } from "../../rendezvous/web/static/demo/bounds.js"
import { hashOf, newRoom, readRoom } from "../../rendezvous/web/static/demo/link.js"
import { inBytes, inTime, pathInWords, plain, randomName } from "../../rendezvous/web/static/demo/words.js"

const counting = bytes => bytes.map((_, place) => (place * 37 + bytes.length) % 256)

test("a link names its room, and nothing else does", () => {
  const room = newRoom(bytes => crypto.getRandomValues(bytes))
  assert.match(hashOf(room), /^#[\w-]{12}\.[\w-]{24}$/)
  assert.deepEqual(readRoom(hashOf(room)), room)
  const whole = hashOf(room)
  for (const text of ["", "#", "#chess", whole.slice(0, -1), `${whole}x`, whole.replace(".", "/"), `${whole}\n`]) {
    assert.equal(readRoom(text), null, JSON.stringify(text))
  }
})

test("each room is another one", () => {
  const rooms = Array.from({ length: 50 }, () => hashOf(newRoom(bytes => crypto.getRandomValues(bytes))))
  assert.equal(new Set(rooms).size, 50)
})

test("every random byte counts", () => {
  const made = hashOf(newRoom(counting))
  for (const size of [9, 18]) {
    for (let place = 0; place < size; place++) {
      const other = newRoom(bytes => counting(bytes).map((byte, at) => byte ^ (bytes.length === size && at === place)))
      assert.notEqual(hashOf(other), made)
    }
  }
})

test("a name is made of two words", () => {
  assert.equal(randomName(bytes => bytes), "Amber Badger")
  assert.match(randomName(bytes => bytes.fill(255)), /^\w+ \w+$/)
})

test("sizes have units of thousands", () => {
  const cases = [
    [0, "0 bytes"],
    [1, "1 byte"],
    [999, "999 bytes"],
    [1000, "1.0 kB"],
    [52_428_800, "52.4 MB"],
    [999_940, "999.9 kB"],
    [999_960, "1.0 MB"],
    [3e12, "3.0 TB"],
    [2e15, "2000.0 TB"],
  ]
  for (const [bytes, words] of cases) assert.equal(inBytes(bytes), words)
})

test("times are in milliseconds or seconds", () => {
  for (const [ms, words] of [[0, "0 ms"], [84.6, "85 ms"], [999.4, "999 ms"], [999.5, "1.0 s"], [1250, "1.3 s"]]) {
    assert.equal(inTime(ms), words)
  }
})

test("a path is a sentence", () => {
  const path = { kind: "direct", protocol: "udp", ms: 212, rtt: 31.4 }
  const words = "Connected directly over the internet (UDP) in 212 ms. Round trip: 31 ms."
  assert.deepEqual(pathInWords(path), { kind: "direct", detail: words })
  assert.equal(pathInWords({ ...path, kind: "lan", rtt: null }).detail, "Connected within this network (UDP) in 212 ms.")
  assert.equal(pathInWords({ ...path, kind: "relay", rtt: 0 }).detail, "Connected through a relay (UDP) in 212 ms. Round trip: 0 ms.")
  assert.equal(pathInWords(null).kind, "")
})

test("texts of peers are fit to be shown", () => {
  assert.equal(plain("Alice", 40), "Alice")
  assert.equal(plain("  two\nlines\u0000 ", 40), "two lines")
  assert.equal(plain("photo\u202egpj.exe", 40), "photo gpj.exe")
  assert.equal(plain("x".repeat(41), 40), "x".repeat(40))
  assert.equal(Array.from(plain("😀".repeat(50), 40)).length, 40)
  for (const value of [undefined, null, 7, {}, ["Alice"]]) assert.equal(plain(value, 40), "")
})

test("texts of peers may have lines, names may not", () => {
  assert.equal(plain("one\r\ntwo\tthree\u0000", 40, { lines: true }), "one \ntwo three")
  assert.equal(plain("one\ntwo", 40), "one two")
  assert.equal(plain("a\u2028b\u202ec", 40, { lines: true }), "a b c")
})

test("what cannot be seen does not make a name", () => {
  for (const name of ["\u200b", "\u200d\u2060", "\u3164", "\u0301\u0302", "\u202e", "\ufeff "]) assert.equal(plain(name, 40), "")
  assert.equal(plain("Ali\u200bce\u00ad", 40), "Alice")
  // Words of some languages, and some emoji, need joiners.
  assert.equal(plain("👩\u200d🚀", 40), "👩\u200d🚀")
})

test("a text of 16 MiB costs no more than its beginning", () => {
  const long = "\u202e ".repeat(2 ** 23)
  plain(long, 2000)
  const begun = performance.now()
  for (let round = 0; round < 100; round++) plain(long, 2000)
  const one = performance.now() - begun
  assert.ok(one < 2000, `${one} ms`)
})

test("a pace allows so much at once, and so much a second", () => {
  let now = 0
  let calls = 0
  const pace = new Pace(3, 2, () => now)
  const take = () => pace.take(() => calls++)
  assert.deepEqual([take(), take(), take(), take(), take()], [true, true, true, false, false])
  assert.equal(calls, 1)
  now += 500
  assert.deepEqual([take(), take()], [true, false])
  // It is not said again before it has been quiet.
  assert.equal(calls, 1)
  now += 60_000
  assert.deepEqual([take(), take(), take(), take()], [true, true, true, false])
  assert.equal(calls, 2)
})

test("a budget gives what is left, and takes it back once", () => {
  const budget = new Budget(10)
  const back = budget.take(7)
  assert.equal(budget.take(4), null)
  for (const bytes of [NaN, undefined, Infinity, "x"]) assert.equal(budget.take(bytes), null)
  back()
  back()
  assert.equal(budget.take(11), null)
  assert.notEqual(budget.take(10), null)
  assert.equal(budget.take(1), null)
})
