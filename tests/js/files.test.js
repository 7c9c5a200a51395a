import assert from "node:assert/strict"
import { test } from "node:test"

import { seeded } from "./clock.js"
import { recorded, World } from "./world.js"

const MIB = 1_048_576

function bytes(size) {
  const made = new Uint8Array(size)
  for (let at = 0; at < size; at++) made[at] = (at * 31 + (at >> 10)) & 255
  return made
}

/** Waits for what needs the event loop of node, besides the clock: reading Blobs. */
async function done(world, promise) {
  let isDone = false
  promise.then(() => (isDone = true), () => (isDone = true))
  while (!isDone) await world.clock.advance(5)
  return await promise
}

test("a file arrives whole, with progress on both sides, and the sender knows when", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const content = bytes(3 * MIB + 17)
  const file = new File([content], "board.bin", { type: "application/x-board" })
  const progress = []
  const incoming = []
  const received = []
  bob.room.on("file", shown => {
    incoming.push(shown)
    shown.onprogress = step => received.push(step)
  })
  await done(world, alice.room.sendFile(file, undefined, step => progress.push(step)))
  const [shown] = incoming
  assert.deepEqual([shown.name, shown.type, shown.size], ["board.bin", "application/x-board", content.length])
  const blob = await shown.blob
  assert.deepEqual(new Uint8Array(await blob.arrayBuffer()), content)
  assert.equal(blob.type, "application/x-board")
  assert.equal(progress[0].sent, 0)
  assert.equal(progress.at(-1).sent, content.length)
  assert.equal(progress[0].peer.id, bob.room.id)
  assert.deepEqual(received.at(-1), { received: content.length, size: content.length })
  assert.ok(received.every((step, at) => at === 0 || step.received > received[at - 1].received))
})

test("an empty file arrives, too", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const incoming = []
  bob.room.on("file", shown => incoming.push(shown))
  await done(world, alice.room.sendFile(new File([], "empty")))
  assert.equal((await incoming[0].blob).size, 0)
})

test("what is no file is refused at once", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  for (const wrong of ["text", { name: "a", size: 1 }, new Uint8Array(3), null]) {
    await assert.rejects(world.wait(alice.room.sendFile(wrong)), { name: "TypeError", message: /File or a Blob/ })
  }
})

test("the sender pauses while the channel is full", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  bob.room.on("file", () => {})
  world.network.latency = 50
  const [channel] = alice.page.connections[0].channels.filter(({ label }) => label === "data")
  let most = 0
  const send = channel.send.bind(channel)
  channel.send = data => {
    send(data)
    most = Math.max(most, channel.bufferedAmount)
  }
  await done(world, alice.room.sendFile(new Blob([bytes(8 * MIB)])))
  assert.ok(most > MIB / 2 && most < 1.2 * MIB, `${most}`)
})

test("messages are not held up by a file", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const log = []
  bob.room.on("file", shown => shown.blob.then(() => log.push("file")))
  bob.room.on("message", data => log.push(data))
  world.network.latency = 20
  const sending = alice.room.sendFile(new Blob([bytes(6 * MIB)]))
  await world.clock.advance(30)
  void alice.room.send("chat")
  await done(world, sending)
  await world.clock.advance(100)
  assert.deepEqual(log, ["chat", "file"])
})

test("two files at once do not mix", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const blobs = new Map()
  bob.room.on("file", shown => shown.blob.then(blob => blobs.set(shown.name, blob)))
  const [one, two] = [bytes(MIB + 5), bytes(2 * MIB).reverse()]
  const sent = [alice.room.sendFile(new File([one], "one")), alice.room.sendFile(new File([two], "two"))]
  await done(world, Promise.all(sent))
  assert.deepEqual(new Uint8Array(await blobs.get("one").arrayBuffer()), one)
  assert.deepEqual(new Uint8Array(await blobs.get("two").arrayBuffer()), two)
})

test("a file that is not listened for, or cancelled, is refused", async () => {
  const world = new World()
  const alice = await world.wait(world.page().client.join("chess"))
  const bob = await world.wait(world.page().client.join("chess"))
  await world.clock.until(() => alice.peers.size === 1 && bob.peers.size === 1)
  await assert.rejects(done(world, alice.sendFile(new Blob([bytes(2 * MIB)]))), { code: "refused" })
  let kept
  bob.on("file", shown => {
    kept = shown.blob
    shown.onprogress = ({ received }) => received > MIB && shown.cancel()
  })
  await assert.rejects(done(world, alice.sendFile(new Blob([bytes(4 * MIB)]))), { code: "refused" })
  await assert.rejects(kept, { code: "cancelled" })
})

test("when a peer vanishes, both ends of a file say so", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  let kept
  bob.room.on("file", shown => (kept = shown.blob))
  world.network.latency = 500
  const sending = alice.room.sendFile(new Blob([bytes(8 * MIB)]))
  sending.catch(() => {})
  await world.clock.advance(900)
  bob.room.leave()
  await assert.rejects(done(world, sending), { code: "left" })
  await assert.rejects(kept, { code: "closed" })
})

test("a sender whose file cannot be read tells the other side", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  let kept
  bob.room.on("file", shown => (kept = shown.blob))
  const file = new File([bytes(4 * MIB)], "gone")
  file.slice = () => ({ arrayBuffer: () => Promise.reject(new Error("the file is gone")) })
  await assert.rejects(done(world, alice.room.sendFile(file)), { message: "the file is gone" })
  await world.clock.advance(100)
  await assert.rejects(kept, { code: "cancelled" })
})

test("long messages arrive whole and in order among short ones; what is too long is refused", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const log = recorded(bob.room)
  const text = "ü".repeat(600_000)
  const data = bytes(MIB)
  const sent = [alice.room.send(text), alice.room.send(1), alice.room.send(data), alice.room.send({ end: true })]
  await done(world, Promise.all(sent))
  await world.clock.advance(1000)
  const messages = log.filter(([event]) => event === "message").map(([, message]) => message)
  assert.deepEqual(messages, [text, 1, data.buffer, { end: true }])
  await assert.rejects(done(world, alice.room.send(new Uint8Array(16 * MIB + 1))), { code: "too-long" })
  await assert.rejects(done(world, alice.room.send(undefined)), TypeError)
})

test("frames of any kind from a peer raise nothing and keep nothing", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const log = recorded(bob.room)
  const [control, data] = ["control", "data"].map(name =>
    alice.page.connections[0].channels.find(({ label }) => label === name)
  )
  const frames = [
    "", "{", "null", "[]", "7", "{}",
    '{"id":1,"kind":"json","size":-1}', '{"id":1,"kind":"json","size":1e300}', '{"id":"x","kind":"file","size":1}',
    '{"id":2,"kind":"bytes","size":99999999}', '{"done":5}', '{"refuse":{}}', '{"cancel":null}',
    '{"id":3,"kind":"json","size":1}', new Uint8Array([0, 0, 0, 3, 123]), new Uint8Array([1]), new Uint8Array(0),
    new Uint8Array([9, 9, 9, 9, 9]), '{"id":4,"kind":"file","size":3,"name":7,"type":{}}'
  ]
  for (const frame of frames) data.send(frame)
  const said = ['{"hello":7}', '{"description":{"type":"answer"}}', '{"candidate":7}', "x", '{"ping":{}}']
  for (const text of said) control.send(text)
  await world.clock.advance(1000)
  assert.deepEqual(log.filter(([event]) => event === "message"), [])
  await world.wait(alice.room.send("still there"))
  await world.clock.advance(100)
  assert.deepEqual(log.filter(([event]) => event === "message").map(([, message]) => message), ["still there"])
})

test("a message that is too long, or begins before the last one has ended, is refused", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const [data, answers] = [alice, bob].map(({ page }) =>
    page.connections[0].channels.find(({ label }) => label === "data")
  )
  const said = []
  const send = answers.send.bind(answers)
  answers.send = frame => {
    said.push(frame)
    send(frame)
  }
  data.send(`{"id":1,"kind":"bytes","size":${16 * MIB + 1}}`)
  data.send('{"id":2,"kind":"bytes","size":10}')
  data.send('{"id":3,"kind":"json","size":10}')
  for (let id = 10; id < 100; id++) data.send(`{"id":${id},"kind":"file","size":10}`)
  await world.clock.advance(100)
  const refused = said.map(text => JSON.parse(text).refuse)
  assert.deepEqual(refused.slice(0, 2), [1, 3])
  assert.equal(refused.length, 2 + 90 - 63)
})

const MEMBERS = [
  "message", "id", "kind", "size", "name", "type", "done", "refuse", "cancel", "hello", "ping", "pong", "description",
  "candidate", "sdp"
]
const VALUES = [
  null, true, 0, 1, 2, -1, 0.5, 1e308, 4294967297, "", "x", "file", "json", "bytes", "offer", "answer", [], {}
]

/** A JSON object, or nearly one, with members that mean something and values that do not. */
function nonsense(random, depth = 0) {
  const one = list => list[Math.floor(random() * list.length)]
  const value = () => (depth < 2 && random() < 0.2 ? nonsense(random, depth + 1) : one(VALUES))
  const entries = Array.from({ length: 1 + Math.floor(random() * 4) }, () => [one(MEMBERS), value()])
  return Object.fromEntries(entries)
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`what a peer says at random raises nothing, and ends no other connection (seed ${seed})`, async () => {
    const world = new World()
    const [alice, bob, carol] = await world.rooms(3)
    const random = seeded(seed)
    const toBob = alice.page.connections.find(({ other }) => bob.page.connections.includes(other))
    for (let said = 0; said < 300; said++) {
      const channel = toBob.channels[random() < 0.5 ? 0 : 1]
      if (channel.readyState !== "open") break
      const bytes = Uint8Array.from({ length: 9 }, () => random() * 4)
      channel.send(random() < 0.2 ? bytes : JSON.stringify(nonsense(random)))
      await world.clock.advance(2)
    }
    await world.clock.advance(10_000)
    await world.wait(carol.room.send("hello", bob.room.id))
    await world.clock.advance(10)
    const heard = bob.log.filter(([event, , peer]) => event === "message" && peer.id === carol.room.id)
    assert.deepEqual(heard.map(([, data]) => data), ["hello"])
  })
}
