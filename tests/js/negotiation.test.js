/** What happens between the first offer and the open connection, and when ICE is restarted. */

import assert from "node:assert/strict"
import { test } from "node:test"

import { FakeStream } from "./peers.js"
import { names, recorded, World } from "./world.js"

/** Pages whose browsers take their time to make a description. */
function slow(world, page, milliseconds) {
  const { RTCPeerConnection } = page.client.environment
  page.client.environment.RTCPeerConnection = class extends RTCPeerConnection {
    async setLocalDescription(...given) {
      await new Promise(resolve => world.clock.setTimeout(resolve, milliseconds))
      return await super.setLocalDescription(...given)
    }
  }
}

/** Two pages that have lost both their path and the server. */
async function cutOff() {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  await world.clock.advance(2000)
  world.server.isUp = false
  world.network.breakPaths()
  await world.clock.until(() => alice.page.connections[0].iceRestarts > 0, 3400)
  return { world, alice, bob }
}

/** A page that comes to another one, with no path between them. */
async function withoutPath() {
  const world = new World()
  world.network.hasPath = false
  await world.wait(world.page().client.join("chess"))
  const page = world.page()
  const room = await world.wait(page.client.join("chess"))
  return { world, page, room, log: recorded(room) }
}

test("candidates that are found before the server has the offer wait for it", async () => {
  const world = new World()
  const pages = [world.page(), world.page()]
  const posted = []
  const fetch = world.server.fetch
  for (const { client } of pages) {
    client.environment.fetch = async (url, request) => {
      const isOffer = request.method === "POST" && url.endsWith("/offers") && request.body.includes("v=0")
      if (isOffer) await new Promise(resolve => world.clock.setTimeout(resolve, 1000))
      const response = await fetch(url, request)
      if (url.endsWith("/ice-candidates") && request.method === "POST") posted.push(response.status)
      return response
    }
  }
  const rooms = await world.wait(Promise.all(pages.map(({ client }) => client.join("chess"))))
  await world.clock.until(() => rooms.every(room => room.peers.size === 1), 9000)
  assert.ok(posted.length > 0)
  assert.ok(posted.every(status => status === 200), `${posted}`)
})

test("a restart of ICE that could not be offered is tried again while there is time", async () => {
  const { world, alice, bob } = await cutOff()
  world.server.isUp = true
  await world.clock.advance(10_000)
  assert.deepEqual(names(alice.log).concat(names(bob.log)).filter(name => name === "leave"), [])
})

test("a restart of ICE that could not be offered leaves nothing behind", async () => {
  const { world, alice, bob } = await cutOff()
  world.network.repair(alice.page.connections[0])
  await world.clock.advance(3000)
  assert.equal(alice.page.connections[0].signalingState, "stable")
  alice.room.addStream(new FakeStream("late", "video"))
  await world.clock.advance(500)
  assert.deepEqual(bob.log.filter(([event]) => event === "stream").map(([, { id }]) => id), ["late"])
})

test("while the server cannot be reached, an offer is made again twice in a second, not more often", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  await world.clock.advance(2000)
  world.server.intercept = method => (method === "POST" ? new Response("{}", { status: 500 }) : undefined)
  world.network.breakPaths()
  world.server.requests.length = 0
  await world.clock.until(() => names(alice.log).includes("leave"))
  const tried = world.server.requests.filter(line => line === "POST offers").length
  assert.ok(tried >= 2 && tried <= 2 * 4, `${tried}`)
})

test("ICE is restarted through the server two seconds after the last word of the peer, once", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  await world.clock.advance(2010)
  world.network.breakPaths()
  bob.page.vanish()
  const published = () => world.server.requests.filter(line => line === "POST offers").length
  const before = published()
  await world.clock.advance(2100)
  assert.equal(alice.page.connections[0].iceRestarts, 1)
  assert.ok(published() > before)
  await world.clock.advance(1000)
  assert.equal(alice.page.connections[0].iceRestarts, 1)
})

test("one that leaves while it answers does not answer any more", async () => {
  const world = new World()
  const first = await world.wait(world.page().client.join("chess"))
  const page = world.page()
  slow(world, page, 500)
  const room = await world.wait(page.client.join("chess"))
  await world.clock.until(() => page.connections.length === 1)
  room.leave()
  world.server.requests.length = 0
  await world.clock.advance(5000)
  assert.deepEqual(world.server.requests.filter(line => line.endsWith("/answer")), [])
  assert.equal(first.peers.size, 0)
})

test("one that leaves, or whose page goes, while it connects is not told that this has failed", async () => {
  for (const go of [room => room.leave(), (_, page) => page.events.dispatchEvent(new Event("pagehide"))]) {
    const { world, page, room, log } = await withoutPath()
    await world.clock.until(() => page.connections.length === 1)
    go(room, page)
    await world.clock.advance(1000)
    assert.deepEqual(names(log).filter(name => name === "failed"), [])
  }
})

test("a page whose secret is another one is not told at once that a connection has failed", async () => {
  const world = new World()
  await world.wait(world.page().client.join("chess", { secret: "s3cret" }))
  const page = world.page()
  const room = await world.wait(page.client.join("chess", { secret: "guess" }))
  const log = recorded(room)
  await world.clock.advance(1000)
  assert.ok(world.server.requests.some(line => line.endsWith("/answer")))
  assert.equal(page.connections.length, 1)
  assert.deepEqual(names(log).filter(name => name === "failed"), [])
})

test("a connection that its peer closes without a word has ended at once", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  bob.page.connections[0].close()
  await world.clock.advance(100)
  const [, , reason] = alice.log.find(([event]) => event === "leave")
  assert.equal(reason, "The connection to the peer has closed.")
})

test("a page that was seen for a moment only is not connected to", async () => {
  const world = new World()
  const page = world.page()
  const room = await world.wait(page.client.join("chess"))
  const offer = { id: "short", peerId: "0".repeat(32), sdp: "rendezvous-room/1", topics: ["chess"] }
  world.server.tell(room.id, "offer", offer)
  await world.clock.advance(2000)
  assert.ok(room.id > offer.peerId)
  world.server.tell(room.id, "gone", { offerId: "short", topics: ["chess"], reason: "withdrawn" })
  await world.clock.advance(10_000)
  assert.equal(page.connections.length, 0)
})

test("a connection that the browser gives up before it is open has failed at once", async () => {
  const { world, page, log } = await withoutPath()
  await world.clock.until(() => page.connections[0]?.remoteDescription)
  page.connections[0].fail()
  await world.clock.advance(10)
  assert.deepEqual(names(log).filter(name => name === "failed"), ["failed"])
})

test("a connection that the browser gives up when it is open restarts ICE", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  alice.page.connections[0].fail()
  assert.equal(alice.page.connections[0].iceRestarts, 1)
})

test("the one that has offered withdraws its offer, and the other one does not", async () => {
  const world = new World()
  const foreign = []
  world.server.intercept = (method, path, query, caller) => {
    const offer = world.server.offers.get(path.split("/")[1])
    if (method === "DELETE" && offer && offer.peerId !== caller) foreign.push(path)
  }
  await world.rooms(3)
  await world.clock.advance(1000)
  assert.deepEqual(foreign, [])
  assert.equal(world.server.offers.size, 3)
})

/** The ICE servers of a page come late the first times that a connection asks for them. */
function lateIceServers(world, page, ...milliseconds) {
  const get = page.client.iceServers.get.bind(page.client.iceServers)
  page.client.iceServers.get = async () => {
    const late = milliseconds.shift() ?? 0
    if (late) await new Promise(resolve => world.clock.setTimeout(resolve, late))
    return await get()
  }
}

test("one that leaves while it gets ICE servers makes no connection", async () => {
  for (const isFirst of [true, false]) {
    const world = new World()
    const [page, other] = [world.page(), world.page()]
    for (const { client } of isFirst ? [page, other] : [other, page]) (await world.wait(client.listen(() => {})))()
    lateIceServers(world, page, 1000, 1000, 1000, 1000)
    const room = await world.wait(page.client.join("chess"))
    await world.wait(other.client.join("chess"))
    await world.clock.advance(100)
    room.leave()
    await world.clock.advance(5000)
    assert.equal(page.connections.length, 0)
  }
})

test("an offer that comes while this side gets ICE servers for its own is the only one", async () => {
  const world = new World()
  const [one, other] = [world.page(), world.page()]
  const ids = []
  for (const { client } of [one, other]) ids.push((await world.wait(client.listen(() => {}))).id)
  lateIceServers(world, one, 1000)
  const asked = one.client.connect(ids[1])
  const answered = other.client.connect(ids[0])
  await world.wait(Promise.all([asked, answered]), 5000)
  await world.clock.advance(3000)
  assert.deepEqual([one.connections.length, other.connections.length], [1, 1])
})
