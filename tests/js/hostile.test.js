/** Peers of a room, and strangers, that say whatever they like. */

import assert from "node:assert/strict"
import { test } from "node:test"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

import { FakeStream } from "./peers.js"
import { names, recorded, World } from "./world.js"

const MIB = 1_048_576

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc")

/** @returns {number} bytes in use after garbage was collected */
function inUse() {
  collect()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

/** @returns {object} the connection of a page to another one, with its channels by their labels */
function connectionOf(page, other) {
  const connection = page.connections.find(one => other.connections.includes(one.other))
  return { connection, ...Object.fromEntries(connection.channels.map(channel => [channel.label, channel])) }
}

/** Two or three pages that have met; `evil` says to `good` what a test wants. */
async function met(count = 2, world = new World()) {
  const [evil, good, other] = await world.rooms(count)
  await world.clock.advance(100)
  const [says, hears] = [connectionOf(evil.page, good.page), connectionOf(good.page, evil.page)]
  return { world, evil, good, other, says, hears }
}

async function reporting(run) {
  const reported = []
  globalThis.reportError = error => reported.push(error.message)
  try {
    await run()
  } finally {
    delete globalThis.reportError
  }
  return reported
}

test("pings whose answers are not read do not fill the memory", async () => {
  const { world, good, says, hears } = await met()
  hears.control.flush = () => {}
  for (let made = 0; made < 300; made++) says.control.send(JSON.stringify({ ping: "x".repeat(50_000) }))
  await world.clock.advance(100)
  assert.ok(hears.control.bufferedAmount < 3 * MIB, `${hears.control.bufferedAmount}`)
  assert.equal(good.room.state, "connected")
})

test("a peer that does not read what it is told is given up", async () => {
  const { world, good, hears } = await met()
  hears.data.flush = () => {}
  const refused = id => hears.data.onmessage({ data: JSON.stringify({ id, kind: "bytes", size: 1e9 }) })
  hears.data.bufferedAmount = 4 * MIB
  for (let id = 1; id < 1000; id++) refused(id)
  assert.ok(hears.data.bufferedAmount < 4 * MIB + 100, `${hears.data.bufferedAmount}`)
  await world.clock.advance(10)
  assert.equal(good.log.find(([event]) => event === "leave")[2], "The peer does not read what it is sent.")
})

test("descriptions in a flood do not queue up: the connection is closed", async () => {
  const { world, evil, good, other, hears } = await met(3)
  hears.connection.setRemoteDescription = () => new Promise(() => {})
  const description = { type: "offer", sdp: "v=0\r\n".padEnd(1000, "x") }
  for (let made = 0; made < 1000; made++) hears.control.onmessage({ data: JSON.stringify({ description }) })
  await world.clock.advance(100)
  const [, peer, reason] = good.log.find(([event]) => event === "leave")
  assert.equal(peer.id, evil.room.id)
  assert.equal(reason, "The peer negotiates more than this page can follow.")
  assert.deepEqual([...good.room.peers.keys()], [other.room.id])
})

test("a peer that negotiates without end loses its connection, one that does so now and then does not", async () => {
  for (const [pause, most] of [[50, 61], [500, Infinity]]) {
    const { world, says, hears } = await met()
    let taken = 0
    hears.connection.setRemoteDescription = async () => void taken++
    hears.connection.setLocalDescription = async () => {}
    const description = { type: "offer", sdp: `v=0\r\na=fingerprint:${says.connection.fingerprint}\r\n` }
    for (let made = 0; made < 200; made++) {
      hears.control.onmessage({ data: JSON.stringify({ description }) })
      await world.clock.advance(pause)
    }
    assert.equal(hears.connection.connectionState, most === Infinity ? "connected" : "closed")
    assert.ok(taken <= most, `${taken}`)
  }
})

test("a description of megabytes is not handed to the browser", async () => {
  const { world, says, hears } = await met()
  let taken = 0
  hears.connection.setRemoteDescription = async () => void taken++
  says.control.send(JSON.stringify({ description: { type: "offer", sdp: "x".repeat(2 * MIB) } }))
  await world.clock.advance(100)
  assert.equal(taken, 0)
})

test("candidates without end, and long ones, are not taken, but those of each restart of ICE are", async () => {
  const { world, says, hears } = await met()
  const taken = []
  hears.connection.addIceCandidate = async candidate => void taken.push(candidate)
  const say = candidate => says.control.send(JSON.stringify({ candidate }))
  say({ candidate: "x".repeat(100_000) })
  for (let made = 0; made < 1000; made++) say({ candidate: `candidate:${made}`, sdpMid: "0", more: "x" })
  await world.clock.advance(100)
  assert.ok(taken.length <= 256, `${taken.length}`)
  assert.deepEqual(Object.keys(taken[0]).filter(name => name === "more"), [])
  taken.length = 0
  const sdp = `v=0\r\na=fingerprint:${says.connection.fingerprint}\r\na=ice-ufrag:another\r\n`
  says.control.send(JSON.stringify({ description: { type: "offer", sdp } }))
  say({ candidate: "candidate:new", sdpMid: "0" })
  await world.clock.advance(100)
  assert.deepEqual(taken.map(({ candidate }) => candidate), ["candidate:new"])
})

test("a peer that sends data but no hello is given up when it has sent too much, and after a time", async () => {
  for (const flood of [true, false]) {
    const world = new World()
    const room = await world.wait(world.page().client.join("chess"))
    const log = recorded(room)
    const evil = world.page()
    const mute = { hello: { name: "x" } }
    const { RTCPeerConnection } = evil.client.environment
    evil.client.environment.RTCPeerConnection = class extends RTCPeerConnection {
      createDataChannel(label, options) {
        const channel = super.createDataChannel(label, options)
        const send = channel.send.bind(channel)
        channel.send = data => data !== JSON.stringify(mute) && send(data)
        return channel
      }
    }
    await world.wait(evil.client.join("chess", { name: "x" }))
    await world.clock.until(() => evil.connections[0]?.channels.every(({ readyState }) => readyState === "open"))
    const data = evil.connections[0].channels.find(({ label }) => label === "data")
    for (let sent = 0; flood && sent < 40 && data.readyState === "open"; sent++) {
      data.send(new Uint8Array(MIB))
      await world.clock.advance(10)
    }
    if (!flood) await world.clock.advance(21_000)
    const [, , error] = log.find(([event]) => event === "failed")
    assert.match(error.message, flood ? /sends more than this page can hold/ : /does not speak the protocol/)
  }
})

test("many short messages before the hello count as more than their length", async () => {
  const world = new World()
  const first = world.page()
  await world.wait(first.client.join("chess"))
  const second = world.page()
  const { RTCPeerConnection } = second.client.environment
  second.client.environment.RTCPeerConnection = class extends RTCPeerConnection {
    createDataChannel(...given) {
      return Object.assign(super.createDataChannel(...given), { send: () => {} })
    }
  }
  await world.wait(second.client.join("chess"))
  await world.clock.until(() => first.connections[0]?.connectionState === "connected")
  const data = first.connections[0].channels.find(({ label }) => label === "data")
  for (let made = 0; made < 170_000; made++) data.onmessage({ data: "x" })
  await world.clock.advance(100)
  assert.equal(first.connections[0].signalingState, "closed")
})

test("what a peer sends while join still waits is bounded", async () => {
  const world = new World()
  const first = await world.wait(world.page().client.join("chess"))
  const page = world.page()
  world.server.intercept = (method, path, query) =>
    path === "offers/by-topic/chess" && query.has("limit") ? new Promise(() => {}) : undefined
  page.client.join("chess").catch(() => {})
  await world.clock.until(() => first.peers.size === 1)
  const before = inUse()
  const big = "x".repeat(50_000)
  const channel = page.connections[0].channels.find(({ label }) => label === "data")
  for (let made = 0; made < 1200; made++) channel.onmessage({ data: JSON.stringify({ message: big + made }) })
  assert.ok(inUse() - before < 40 * MIB, `${(inUse() - before) / MIB}`)
  await world.clock.advance(100)
  assert.equal(page.connections[0].signalingState, "closed")
})

for (const [kind, size] of [["bytes", 1], ["bytes", 0], ["file", 0], ["file", 1]]) {
  test(`pieces of ${size} bytes of a ${kind} cost no more memory than what they carry`, async () => {
    const { good, hears } = await met()
    good.room.on("file", () => {})
    hears.data.onmessage({ data: JSON.stringify({ id: 1, kind, size: 2 * MIB }) })
    const before = inUse()
    for (let made = 0; made < 100_000; made++) {
      const piece = new Uint8Array(4 + size)
      piece[3] = 1
      hears.data.onmessage({ data: piece.buffer })
    }
    const grown = (inUse() - before) / MIB
    assert.ok(grown < 6, `${grown} MiB`)
  })
}

test("a file is no longer than its announcement", async () => {
  const { world, good, hears } = await met()
  let kept
  good.room.on("file", shown => (kept = shown))
  hears.data.onmessage({ data: JSON.stringify({ id: 1, kind: "file", size: 3 }) })
  hears.data.onmessage({ data: new Uint8Array([0, 0, 0, 1, 1, 2, 3, 4, 5]).buffer })
  const blob = await world.wait(kept.blob)
  assert.deepEqual(new Uint8Array(await blob.arrayBuffer()), new Uint8Array([1, 2, 3]))
  assert.equal(kept.received, 3)
})

test("the size of a file can be anything, and takes no memory", async () => {
  const { world, good, says } = await met()
  const sizes = []
  good.room.on("file", ({ size }) => sizes.push(size))
  const before = inUse()
  for (const size of [1e300, -1, 0.5, Number.MAX_SAFE_INTEGER, "7", null]) {
    says.data.send(JSON.stringify({ id: sizes.length + 1, kind: "file", size, name: "x".repeat(60_000) }))
    await world.clock.advance(10)
  }
  assert.deepEqual(sizes, [Number.MAX_SAFE_INTEGER])
  assert.ok(inUse() - before < MIB)
})

test("a peer cannot show more streams than a page can hold", async () => {
  const { world, good, hears } = await met()
  for (let made = 0; made < 1000; made++) {
    hears.connection.ontrack({ track: { id: `t${made}` }, streams: [new FakeStream(`s${made}`)] })
  }
  await world.clock.advance(10)
  const [peer] = good.room.peers.values()
  assert.equal(peer.streams.size, 64)
  assert.equal(names(good.log).filter(name => name === "stream").length, 64)
})

test("a name of 128 characters arrives whole, whatever they are", async () => {
  const world = new World()
  const name = "😀".repeat(128)
  const first = await world.wait(world.page().client.join("chess"))
  await world.wait(world.page().client.join("chess", { name }))
  await world.clock.until(() => first.peers.size === 1)
  assert.equal([...first.peers.values()][0].name, name)
})

test("a name that is too long is cut between characters", async () => {
  const world = new World()
  const room = await world.wait(world.page().client.join("chess"))
  const log = recorded(room)
  const info = `x${"😀".repeat(5000)}`
  const offer = { id: "long", peerId: "f".repeat(32), sdp: "rendezvous-room/1", topics: ["chess"], info }
  world.server.tell(room.id, "offer", offer)
  await world.clock.until(() => names(log).includes("failed"))
  const [, who] = log.find(([event]) => event === "failed")
  assert.equal(who.name, `x${"😀".repeat(127)}`)
})

test("a callback for progress that throws does not keep a file from arriving", async () => {
  const { world, evil, good } = await met()
  let kept
  good.room.on("file", shown => {
    kept = shown.blob
    shown.onprogress = () => {
      throw new Error("a bug of the page")
    }
  })
  const reported = await reporting(async () => {
    await world.wait(evil.room.sendFile(new Blob([new Uint8Array(10)])))
    assert.equal((await world.wait(kept)).size, 10)
  })
  assert.deepEqual([...new Set(reported)], ["a bug of the page"])
})

test("a callback of listen that throws is reported, and the others are called", async () => {
  const world = new World()
  const { client } = world.page()
  const seen = []
  const reported = await reporting(async () => {
    const { id } = await world.wait(
      client.listen(() => {
        throw new Error("a bug of the page")
      })
    )
    await world.wait(client.listen(peer => seen.push(peer)))
    const peer = await world.wait(world.page().client.connect(id))
    await world.clock.advance(100)
    assert.equal(peer.path.kind, "lan")
  })
  assert.deepEqual(reported, ["a bug of the page"])
  assert.equal(seen.length, 1)
})

test("a peer that takes nothing, but is alive, holds a message to all up for 30 s at most", async () => {
  const { world, evil, good, other, hears } = await met(3)
  hears.data.flush = () => {}
  const sending = good.room.send(new Uint8Array(4 * MIB))
  await world.wait(sending, 31_000)
  const [, peer, reason] = good.log.find(([event]) => event === "leave")
  assert.equal(peer.id, evil.room.id)
  assert.equal(reason, "The peer does not read what it is sent.")
  assert.equal(other.log.filter(([event]) => event === "message").length, 1)
})

test("a peer that took something before, and then takes nothing, is given up", async () => {
  const { world, good, hears } = await met()
  await world.wait(good.room.send(new Uint8Array(4 * MIB)))
  await world.clock.advance(10_000)
  hears.data.flush = () => {}
  good.room.send(new Uint8Array(4 * MIB)).catch(() => {})
  await world.clock.advance(31_000)
  assert.ok(names(good.log).includes("leave"))
})

test("a peer that takes little by little keeps its connection", async () => {
  const { world, evil, good, hears } = await met()
  const { flush } = Object.getPrototypeOf(hears.data)
  hears.data.flush = () => {}
  const sending = good.room.send(new Uint8Array(3 * MIB))
  sending.catch(() => {})
  for (let second = 0; second < 100; second++) {
    hears.data.bufferedAmount -= 1000
    await world.clock.advance(1000)
  }
  assert.equal(good.room.peers.size, 1)
  hears.data.flush = flush
  hears.data.flush()
  await world.wait(sending)
  await world.clock.advance(100)
  assert.ok(names(evil.log).includes("message"))
})

test("a browser that cannot say which path it uses does no harm", async () => {
  const world = new World()
  const page = world.page()
  const { RTCPeerConnection } = page.client.environment
  page.client.environment.RTCPeerConnection = class extends RTCPeerConnection {
    async getStats() {
      throw new Error("closed")
    }
  }
  const room = await world.wait(page.client.join("chess"))
  await world.wait(world.page().client.join("chess"))
  await world.clock.until(() => room.peers.size === 1)
  await world.clock.advance(10_000)
  assert.equal(room.peers.size, 1)
})

test("members that are named __proto__ change no prototype, and arrive as they are", async () => {
  const { world, good, says } = await met()
  good.room.on("file", () => {})
  const polluted = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'
  says.data.send(`{"message":${polluted}}`)
  says.data.send(`{"id":1,"kind":"file","size":1,"name":"x","__proto__":{"polluted":1}}`)
  for (const name of ["hello", "ping", "candidate", "description", "__proto__"]) {
    says.control.send(`{"${name}":${polluted}}`)
  }
  says.control.send('{"candidate":{"candidate":"candidate:1","__proto__":{"polluted":1}}}')
  await world.clock.advance(100)
  assert.equal({}.polluted, undefined)
  const [, data] = good.log.find(([event]) => event === "message")
  assert.equal(JSON.stringify(data), polluted)
  assert.equal(Object.getPrototypeOf(data), Object.prototype)
})

test("a peer cannot take the id of another one", async () => {
  const { world, evil, good, other, says } = await met(3)
  for (const text of [
    { hello: { name: "page 2", id: other.room.id } },
    { bye: "left", id: other.room.id },
    { from: other.room.id, message: "x" }
  ]) {
    says.control.send(JSON.stringify(text))
  }
  says.data.send(JSON.stringify({ from: other.room.id, peerId: other.room.id, message: "who am I" }))
  await world.clock.advance(100)
  const [, , sender] = good.log.find(([event]) => event === "message") ?? []
  assert.equal(sender?.id ?? evil.room.id, evil.room.id)
  assert.ok(good.room.peers.has(other.room.id))
  assert.equal(good.room.peers.get(other.room.id).name, "page 2")
})

test("strangers in the topic of a room with a secret get no connection, and the room goes on", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2, "chess", { secret: "s3cret" })
  const { client } = world.page()
  await world.wait(client.join("go"))
  const headers = { Authorization: `Bearer ${client.http.credential}` }
  const connections = alice.page.connections.length
  const sdp = "v=0\r\na=fingerprint:stranger\r\n"
  for (let made = 0; made < 200; made++) {
    const topics = [made % 2 ? "chess" : `chess@${alice.room.id}`]
    const given = { id: `x${made}`, topics, ttl: 60_000, sdp: made % 3 ? sdp : "rendezvous-room/1" }
    const offer = made % 4 < 2 ? given : { ...given, secret: "guess" }
    const body = JSON.stringify({ offers: [offer] })
    await world.server.fetch("http://server.example/offers", { method: "POST", headers, body })
  }
  await world.clock.advance(60_000)
  assert.equal(alice.room.peers.size + bob.room.peers.size, 2)
  await world.wait(alice.room.send("undisturbed"))
  await world.clock.advance(10)
  assert.ok(names(bob.log).includes("message"))
  assert.ok(alice.page.connections.length - connections < 120, `${alice.page.connections.length}`)
  assert.ok(!names(alice.log).includes("error"))
})

test("a stranger that shows thousands of pages in a room does not fill the memory of the others", async () => {
  const world = new World()
  const page = world.page()
  const room = await world.wait(page.client.join("chess"))
  for (let made = 0; made < 3000; made++) {
    const peerId = `${made}`.padStart(32, "f")
    world.server.tell(room.id, "offer", { id: `x${made}`, peerId, sdp: "rendezvous-room/1", topics: ["chess"] })
  }
  await world.clock.advance(20)
  assert.ok(world.clock.pending < 1200, `${world.clock.pending}`)
  assert.ok(page.connections.length <= 50)
  room.leave()
})

test("a peer that closes each connection at once is connected to more and more rarely", async () => {
  const world = new World()
  const room = await world.wait(world.page().client.join("chess"))
  const evil = await world.wait(world.page().client.join("chess"))
  const log = recorded(room)
  room.on("join", peer => peer.connection.other.channels[0].send('{"bye":"x"}'))
  await world.clock.advance(600_000)
  const met = names(log).filter(name => name === "join").length
  assert.ok(met >= 5 && met < 40, `${met}`)
  evil.leave()
})

test("an offer that is shown again is answered once", async () => {
  const { world, evil, good } = await met()
  const before = good.page.connections.length
  const sdp = `v=0\r\na=fingerprint:${evil.page.connections[0].fingerprint}\r\n`
  const offer = { id: "again", peerId: evil.room.id, sdp, topics: [`chess@${good.room.id}`], hasSecret: false }
  world.server.requests.length = 0
  for (let made = 0; made < 50; made++) world.server.tell(good.room.id, "offer", offer)
  await world.clock.advance(1000)
  assert.equal(world.server.requests.filter(line => line.endsWith("/again/answer")).length, 1)
  assert.ok(good.page.connections.length - before <= 1)
})
