import assert from "node:assert/strict"
import { test } from "node:test"

import { FakeStream } from "./peers.js"
import { names, recorded, World } from "./world.js"

test("two pages that join a topic see each other, by name, over one connection", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const [peer] = alice.room.peers.values()
  assert.equal(peer.id, bob.room.id)
  assert.equal(peer.name, "page 1")
  assert.equal([...bob.room.peers.values()][0].name, "page 0")
  assert.equal(alice.page.connections.length, 1)
  assert.equal(bob.page.connections.length, 1)
})

test("pages that join at the same moment have one connection with each other", async () => {
  const world = new World()
  const pages = Array.from({ length: 5 }, () => world.page())
  const rooms = await Promise.all(pages.map(page => world.wait(page.client.join("chess"))))
  await world.clock.until(() => rooms.every(room => room.peers.size === 4))
  assert.deepEqual(pages.map(page => page.connections.length), [4, 4, 4, 4, 4])
})

test("the offers of connections are withdrawn when these are open; only the presences stay", async () => {
  const world = new World()
  await world.rooms(3)
  await world.clock.advance(1000)
  const offers = [...world.server.offers.values()]
  assert.deepEqual(offers.map(({ topics }) => topics), [["chess"], ["chess"], ["chess"]])
  assert.ok(offers.every(offer => offer.whileConnected && offer.hasSecret))
})

test("a page does not see pages of another topic", async () => {
  const world = new World()
  await world.rooms(2)
  const other = await world.wait(world.page().client.join("go"))
  await world.clock.advance(10_000)
  assert.equal(other.peers.size, 0)
})

test("a page cannot join a room twice", async () => {
  const world = new World()
  const { client } = world.page()
  await world.wait(client.join("chess"))
  await assert.rejects(world.wait(client.join("chess")), { code: "conflict" })
})

test("join is rejected with a sentence if the server cannot be reached", async () => {
  const world = new World()
  world.server.isUp = false
  await assert.rejects(world.wait(world.page().client.join("chess")), {
    code: "network",
    message: "The server server.example cannot be reached."
  })
  await world.clock.advance(120_000)
  assert.equal(world.server.sockets.size, 0)
})

test("names, secrets and topics that are too long are refused", async () => {
  const { client } = new World().page()
  await assert.rejects(client.join("chess", { name: "x".repeat(129) }), { code: "too-long" })
  await assert.rejects(client.join("chess", { secret: "x".repeat(129) }), { code: "too-long" })
  await assert.rejects(client.join("x".repeat(201)), { code: "too-long" })
  await assert.rejects(client.join(""), { code: "too-long" })
})

test("messages go to all peers, or to some, in their order", async () => {
  const world = new World()
  const [alice, bob, carol] = await world.rooms(3)
  await world.wait(alice.room.send({ move: "e4" }))
  await world.wait(alice.room.send("only you", bob.room.id))
  await world.wait(alice.room.send(new Uint8Array([1, 2, 3]), [...alice.room.peers.values()]))
  await world.clock.advance(100)
  const heard = log => log.filter(([event]) => event === "message").map(([, data]) => data)
  assert.deepEqual(heard(bob.log), [{ move: "e4" }, "only you", new Uint8Array([1, 2, 3]).buffer])
  assert.deepEqual(heard(carol.log), [{ move: "e4" }, new Uint8Array([1, 2, 3]).buffer])
  assert.throws(() => alice.room.send("x", "somebody"), { code: "left" })
})

test("a message can be sent as soon as there is a peer, and who joins last hears it", async () => {
  const world = new World()
  const first = await world.wait(world.page().client.join("chess"))
  first.on("join", peer => void first.send(`Hello ${peer.name}`, peer))
  const second = await world.wait(world.page().client.join("chess", { name: "Bob" }))
  const log = recorded(second)
  await world.clock.until(() => log.some(([event]) => event === "message"))
  assert.deepEqual(log.filter(([event]) => event === "message").map(([, data]) => data), ["Hello Bob"])
})

test("one that leaves is gone at once, with a reason, and the server shows it no longer", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  bob.room.leave()
  await world.clock.advance(100)
  const [, peer, reason] = alice.log.find(([event]) => event === "leave")
  assert.equal(peer.id, bob.room.id)
  assert.equal(reason, "The peer has left.")
  assert.equal(alice.room.peers.size, 0)
  assert.deepEqual(world.server.offersIn("chess").map(({ peerId }) => peerId), [alice.room.id])
  assert.equal(bob.room.state, "closed")
})

test("one whose browser is killed is gone within 5 s", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  await world.clock.advance(3333)
  bob.page.kill()
  await world.clock.advance(5000)
  const [, peer, reason] = alice.log.find(([event]) => event === "leave")
  assert.equal(peer.id, bob.room.id)
  assert.equal(reason, "The peer has not answered for 4 s.")
})

test("one that is there stays, for hours", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  await world.clock.advance(7_200_000)
  assert.deepEqual(names(alice.log).filter(name => name !== "path"), [])
  assert.equal(bob.room.peers.size, 1)
  assert.equal(world.server.offersIn("chess").length, 2)
})

test("a computer that slept does not take the silence for the end of its peers", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const { clock } = world
  let offset = 0
  for (const { page } of [alice, bob]) page.client.environment.now = () => clock.now() + offset
  await clock.advance(500)
  offset = 3_600_000
  await clock.advance(10_000)
  assert.deepEqual(names(alice.log).concat(names(bob.log)).filter(name => name === "leave"), [])
})

test("a path that breaks is found anew without the peer being lost, and nothing that was sent is", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  await world.clock.advance(2000)
  world.network.breakPaths()
  await world.wait(alice.room.send("on the way"))
  await world.clock.advance(10_000)
  assert.ok(alice.page.connections[0].iceRestarts + bob.page.connections[0].iceRestarts > 0)
  assert.deepEqual(names(alice.log).concat(names(bob.log)).filter(name => name === "leave"), [])
  assert.deepEqual(bob.log.filter(([event]) => event === "message").map(([, data]) => data), ["on the way"])
  assert.equal(alice.page.connections.length, 1)
})

test("streams reach those that are there and those that come, and end", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const stream = new FakeStream("camera", "video", "audio")
  alice.room.addStream(stream)
  await world.clock.advance(200)
  const seen = log => log.filter(([event]) => event === "stream").map(([, { id }, peer]) => [id, peer.id])
  assert.deepEqual(seen(bob.log), [["camera", alice.room.id]])
  const late = await world.wait(world.page().client.join("chess"))
  const lateLog = recorded(late)
  await world.clock.until(() => seen(lateLog).length === 1)
  alice.room.removeStream(stream)
  await world.clock.advance(200)
  assert.ok(names(bob.log).includes("streamend"))
  assert.ok(names(lateLog).includes("streamend"))
})

test("both sides may add a stream at the same moment", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  alice.room.addStream(new FakeStream("a", "video-a"))
  bob.room.addStream(new FakeStream("b", "video-b"))
  await world.clock.advance(1000)
  assert.deepEqual(alice.log.filter(([event]) => event === "stream").map(([, { id }]) => id), ["b"])
  assert.deepEqual(bob.log.filter(([event]) => event === "stream").map(([, { id }]) => id), ["a"])
  assert.equal(alice.page.connections[0].signalingState, "stable")
})

test("when both sides offer a connection at once, there is one", async () => {
  const world = new World()
  const one = world.page()
  const other = world.page()
  const stops = [await world.wait(one.client.listen(() => {})), await world.wait(other.client.listen(() => {}))]
  const [mine, theirs] = await world.wait(
    Promise.all([one.client.connect(stops[1].id), other.client.connect(stops[0].id)])
  )
  assert.equal(mine.id, stops[1].id)
  assert.equal(theirs.id, stops[0].id)
  assert.equal(one.connections.length, 1)
  assert.equal(other.connections.length, 1)
})

test("the path is said, with the time that it took", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  const [peer] = alice.room.peers.values()
  await world.clock.advance(10)
  assert.equal(peer.path.kind, "lan")
  assert.equal(peer.path.rtt, 4)
  assert.ok(peer.path.ms > 0 && peer.path.ms < 1000)
})

test("without a path the reason is said, and it is tried again", async () => {
  const world = new World()
  world.network.hasPath = false
  const mapped = port => `candidate:2 1 udp 1 203.0.113.7 ${port} typ srflx raddr 0.0.0.0 rport 0`
  world.network.candidates = [mapped(1000), mapped(2000)]
  const one = await world.wait(world.page().client.join("chess"))
  const log = recorded(one)
  await world.wait(world.page().client.join("chess"))
  await world.clock.advance(21_000)
  const [, who, error] = log.find(([event]) => event === "failed")
  assert.equal(who.id.length, 32)
  assert.equal(error.code, "symmetric-pair")
  assert.equal(error.message, "Both networks give every peer another port; the server offers no relay.")
  world.network.hasPath = true
  await world.clock.until(() => one.peers.size === 1, 60_000)
})

test("only pages with the secret of a room are connected", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2, "chess", { secret: "s3cret" })
  const stranger = await world.wait(world.page().client.join("chess", { secret: "guess" }))
  const open = await world.wait(world.page().client.join("chess"))
  await world.clock.advance(60_000)
  assert.equal(stranger.peers.size + open.peers.size, 0)
  assert.equal(alice.room.peers.size + bob.room.peers.size, 2)
})

test("a callback that throws does not keep the others from being called", async () => {
  const world = new World()
  const reported = []
  globalThis.reportError = error => reported.push(error)
  try {
    const room = await world.wait(world.page().client.join("chess"))
    const seen = []
    room.on("join", () => {
      throw new Error("a bug of the page")
    })
    const stop = room.on("join", peer => seen.push(peer))
    await world.wait(world.page().client.join("chess"))
    await world.clock.until(() => seen.length === 1)
    assert.equal(reported[0].message, "a bug of the page")
    stop()
    await world.wait(world.page().client.join("chess"))
    await world.clock.until(() => room.peers.size === 2)
    assert.equal(seen.length, 1)
  } finally {
    delete globalThis.reportError
  }
})

test("a peer that connects while join still waits is seen by who joins", async () => {
  const world = new World()
  const first = await world.wait(world.page().client.join("chess"))
  const page = world.page()
  let isFirst = true
  world.server.intercept = (method, path, query) => {
    const isListing = path === "offers/by-topic/chess" && query.has("limit")
    if (!isListing || !isFirst) return
    isFirst = false
    return new Promise(resolve => {
      const empty = new Response(JSON.stringify({ offers: [], hasMore: false }))
      world.clock.setTimeout(() => resolve(empty), 5000)
    })
  }
  let log = []
  const joining = page.client.join("chess").then(room => (log = recorded(room)))
  await world.clock.until(() => first.peers.size === 1)
  await world.wait(joining)
  await world.clock.advance(1)
  assert.deepEqual(names(log).filter(name => name === "join"), ["join"])
})
