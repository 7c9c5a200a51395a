// How the demo page comes into a room of a server that asks for a registration token.

import assert from "node:assert/strict"
import { test } from "node:test"

import { enter } from "../../rendezvous/web/static/demo/entrance.js"

const KEY = "rendezvous-demo-registration-token"
const GOOD = "a-token-for-pages-1"

/** A server that takes one token, a user who gives these, and the storage of a tab. */
class Case {
  shown = []
  problems = []
  items = new Map()
  storage = {
    getItem: key => this.items.get(key) ?? null,
    setItem: (key, value) => void this.items.set(key, value),
    removeItem: key => void this.items.delete(key)
  }

  constructor(...given) {
    this.given = given
  }

  join = async ({ registrationToken }) => {
    this.shown.push(registrationToken)
    if (registrationToken === "odd") throw new TypeError("A registration token has 16 to 256 letters.")
    if (registrationToken !== GOOD) throw Object.assign(new Error("not good"), { code: "registration-token" })
    return "the room"
  }

  ask = async problem => {
    this.problems.push(problem)
    return this.given.shift()
  }

  enter(storage = this.storage) {
    return enter(this.join, this.ask, storage)
  }
}

test("a server that asks for no token is shown none, and nobody is asked", async () => {
  const { ask, problems, storage } = new Case()
  assert.equal(await enter(async options => options.registrationToken ?? "none", ask, storage), "none")
  assert.deepEqual(problems, [])
})

test("the user is asked until a token is good, and is shown why one is not", async () => {
  const tried = new Case("another-token-of-pages", "odd", GOOD)
  assert.equal(await tried.enter(), "the room")
  assert.deepEqual(tried.shown, [undefined, "another-token-of-pages", "odd", GOOD])
  assert.deepEqual(tried.problems, ["", "not good", "A registration token has 16 to 256 letters."])
  assert.deepEqual([...tried.items], [[KEY, GOOD]])
})

test("a page that is loaded again shows the token that was good", async () => {
  const tried = new Case()
  tried.items.set(KEY, GOOD)
  assert.equal(await tried.enter(), "the room")
  assert.deepEqual([tried.shown, tried.problems], [[GOOD], []])
})

test("a token that was kept and is not good any more is forgotten", async () => {
  const tried = new Case(GOOD)
  tried.items.set(KEY, "a-token-of-yesterday")
  const forgotten = []
  const ask = async problem => {
    forgotten.push(tried.items.size, problem)
    return GOOD
  }
  assert.equal(await enter(tried.join, ask, tried.storage), "the room")
  assert.deepEqual(forgotten, [0, "not good"])
})

test("other errors end it, and keep the token", async () => {
  const tried = new Case()
  tried.items.set(KEY, GOOD)
  const join = async () => {
    throw Object.assign(new Error("The server cannot be reached."), { code: "network" })
  }
  await assert.rejects(enter(join, tried.ask, tried.storage), { code: "network" })
  assert.deepEqual([tried.problems, tried.items.get(KEY)], [[], GOOD])
  // Without a token a TypeError is a mistake of the page.
  await assert.rejects(enter(async () => assert.fail.missing(), tried.ask, null), TypeError)
})

test("a browser that keeps nothing is asked each time", async () => {
  const refusing = {
    getItem: () => assert.fail("no"),
    setItem: () => assert.fail("no"),
    removeItem: () => assert.fail("no")
  }
  for (const storage of [null, refusing]) {
    const tried = new Case(GOOD)
    assert.equal(await tried.enter(storage), "the room")
    assert.deepEqual(tried.problems, [""])
  }
})
