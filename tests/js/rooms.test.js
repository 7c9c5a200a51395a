import assert from "node:assert/strict"
import { test } from "node:test"

import { Client, join } from "../../rendezvous/web/static/rendezvous.js"
import { FakeStream } from "./peers.js"
import { reply } from "./server.js"
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
  assert.equal(world.server.requests.filter(line => line === "POST offers").length, 3)
})

test("pages that join at the same moment have one connection with each other", async () => {
  const world = new World()
  const pages = Array.from({ length: 5 }, () => world.page())
  const rooms = await Promise.all(pages.map(page => world.wait(page.client.join("chess"))))
  await world.clock.until(() => rooms.every(room => room.peers.size === 4))
  assert.deepEqual(pages.map(page => page.connections.length), [4, 4, 4, 4, 4])
  // One offer for each page, and one for each pair.
  assert.equal(world.server.requests.filter(line => line === "POST offers").length, 5 + 10)
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

test("a server that is none, such as one of static files, is named in the error", async () => {
  const world = new World()
  const page = world.page({ fetch: async () => new Response("<h1>Not here</h1>", { status: 501 }) })
  await assert.rejects(world.wait(page.client.join("chess")), {
    name: "RendezvousError",
    code: "network",
    message: "The server server.example answered 501."
  })
})

test("a page has to name its server if the module did not come from one, as in a bundle", async () => {
  const message = /^Name the server as an http or https URL: /
  await assert.rejects(join("chess"), { name: "TypeError", message })
  await assert.rejects(join("chess", { server: "nowhere" }), { name: "TypeError", message })
  assert.throws(() => new Client({ server: "ftp://server.example/" }), { name: "TypeError", message })
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
  await assert.rejects(alice.room.send("x", "somebody"), { code: "left" })
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
  assert.equal(reason, "The page was closed, or has ended the connection.")
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
  assert.equal(alice.page.connections[0].iceRestarts, 1)
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

test("the time until there was a path does not count what is said on it", async () => {
  const world = new World()
  world.network.latency = 300
  const [alice] = await world.rooms(2)
  await world.clock.advance(1000)
  const [peer] = alice.room.peers.values()
  assert.ok(peer.path.ms < 100, `${peer.path.ms}`)
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

test("what a peer has sent while join still waited is heard, also if it has left since", async () => {
  const world = new World()
  const first = await world.wait(world.page().client.join("chess", { name: "Alice" }))
  first.on("join", peer => void peer.send("hello").then(() => first.leave()))
  const page = world.page()
  const listing = []
  world.server.intercept = (method, path, query) => {
    if (path !== "offers/by-topic/chess" || !query.has("limit")) return undefined
    return new Promise(resolve => listing.push(resolve))
  }
  let log = []
  const joining = page.client.join("chess").then(room => (log = recorded(room)))
  await world.clock.until(() => first.state === "closed")
  await world.clock.advance(1000)
  for (const resolve of listing) resolve(new Response(JSON.stringify({ offers: [], hasMore: false })))
  await world.wait(joining)
  await world.clock.advance(10)
  assert.deepEqual(names(log).filter(name => name !== "path" && name !== "state"), ["join", "message", "leave"])
  assert.equal(log.find(([event]) => event === "message")[1], "hello")
})

test("streams of both sides arrive, when each had them before there was a connection", async () => {
  const world = new World()
  const clients = [world.page().client, world.page().client]
  const streams = [[], [new FakeStream("b", "video-b"), new FakeStream("c", "video-c")]]
  const rooms = await world.wait(Promise.all(clients.map((one, at) => one.join("chess", { streams: streams[at] }))))
  const logs = rooms.map(recorded)
  await world.clock.advance(3000)
  const seen = log => log.filter(([event]) => event === "stream").map(([, { id }]) => id)
  assert.deepEqual(seen(logs[0]).sort(), ["b", "c"])
  assert.deepEqual(seen(logs[1]), [])
  assert.equal(world.server.requests.filter(line => line === "POST offers").length, 3)
  assert.ok(logs.every(log => !names(log).includes("failed")))
})

test("when both offer at once, the offer of the one that does not give way is never lost", async () => {
  const world = new World()
  const [small, large] = [world.page(), world.page()]
  const ids = []
  for (const page of [small, large]) ids.push((await world.wait(page.client.listen(() => {}))).id)
  // The ICE servers of the larger one come late: its own connection and the offer of the other one wait for them.
  const real = large.client.iceServers.get.bind(large.client.iceServers)
  large.client.iceServers.get = async () => {
    await new Promise(resolve => world.clock.setTimeout(resolve, 500))
    return await real()
  }
  const both = Promise.all([large.client.connect(ids[0]), small.client.connect(ids[1])])
  await world.wait(both, 5000)
  assert.deepEqual([small.connections.length, large.connections.length], [1, 1])
})

test("a message to all does not fail because one of them leaves", async () => {
  const world = new World()
  const [alice, bob, carol] = await world.rooms(3)
  const late = alice.room.send(new Uint8Array(8_000_000))
  await world.clock.advance(1)
  bob.room.leave()
  await world.wait(late)
  await world.clock.advance(100)
  assert.equal(carol.log.filter(([event]) => event === "message").length, 1)
})

test("a candidate that arrives before the answer is kept until then", async () => {
  const world = new World()
  const clients = [world.page().client, world.page().client]
  let isEarly = false
  world.server.intercept = (method, path, query, caller) => {
    if (method === "POST" && path.endsWith("/answer") && !isEarly) {
      isEarly = true
      const offerId = path.split("/")[1]
      const candidate = { candidate: "candidate:9 1 udp 1 192.168.1.9 9 typ host", sdpMid: "0" }
      world.server.tell(clients[0].id, "candidate", { offerId, candidate })
    }
    // What the answerer finds afterwards is lost.
    const isLost = method === "POST" && path.endsWith("/ice-candidates") && caller === clients[1].id
    return isLost ? new Response(JSON.stringify({ candidatesAdded: 1 })) : undefined
  }
  const rooms = await world.wait(Promise.all(clients.map(client => client.join("chess"))))
  await world.clock.until(() => rooms.every(room => room.peers.size === 1), 5000)
})

test("candidates and descriptions of any kind from a peer raise nothing", async () => {
  const world = new World()
  world.network.hasPath = false
  const clients = [world.page().client, world.page().client]
  const rooms = await world.wait(Promise.all(clients.map(client => client.join("chess"))))
  const log = recorded(rooms[1])
  await world.clock.advance(100)
  const offers = [...world.server.offers.values()].filter(({ answererId }) => answererId)
  assert.equal(offers.length, 1)
  for (const candidate of [null, 7, "x", {}, { candidate: 7 }, { candidate: "candidate:1" }, []]) {
    world.server.tell(rooms[1].id, "candidate", { offerId: offers[0].id, candidate })
    world.server.tell(rooms[0].id, "candidate", { offerId: offers[0].id, candidate })
  }
  await world.clock.advance(21_000)
  assert.equal(log.find(([event]) => event === "failed")[2].code, "udp-blocked")
})

test("a page can be in 15 rooms, and learns why not in more", async () => {
  const world = new World()
  const { client } = world.page()
  for (let made = 0; made < 15; made++) await world.wait(client.join(`room ${made}`))
  await world.wait(client.listen(() => {}))
  await assert.rejects(world.wait(client.join("one more")), { code: "too-many" })
})

test("join is rejected if the server refuses what it needs", async () => {
  const world = new World()
  for (const refused of ["GET offers/by-topic/chess", "POST offers"]) {
    world.server.intercept = (method, path) => {
      if (`${method} ${path}` !== refused) return undefined
      return new Response(JSON.stringify({ code: "too-long", error: "Too long." }), { status: 400 })
    }
    await assert.rejects(world.wait(world.page().client.join("chess")), { code: "too-long", message: "Too long." })
  }
})

test("when the network of both pages changes, they have each other again within 9 s", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  await world.clock.advance(5000)
  world.network.breakPaths()
  for (const { page } of [alice, bob]) for (const socket of page.sockets) socket.isDead = true
  await world.clock.advance(5000)
  await world.clock.until(() => alice.room.peers.size === 1 && bob.room.peers.size === 1, 4000)
})

test("once there is a connection, what is negotiated goes over it", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  await world.clock.advance(1000)
  const control = alice.page.connections[0].channels.find(({ label }) => label === "control")
  const said = []
  const send = control.send.bind(control)
  control.send = text => {
    said.push(...Object.keys(JSON.parse(text)).filter(key => key !== "ping" && key !== "pong"))
    send(text)
  }
  const before = world.server.requests.length
  alice.room.addStream(new FakeStream("camera", "video"))
  await world.clock.advance(500)
  assert.equal(world.server.requests.length, before)
  assert.deepEqual(said, ["description", "candidate"])
})

test("one page of each pair offers, also when all that they say takes its time", async () => {
  const world = new World()
  const { fetch } = world.server
  const pause = () => new Promise(resolve => world.clock.setTimeout(resolve, 20))
  world.server.fetch = async (...request) => {
    await pause()
    const response = await fetch(...request)
    await pause()
    return response
  }
  const pages = Array.from({ length: 3 }, () => world.page())
  const rooms = await world.wait(Promise.all(pages.map(page => page.client.join("chess"))))
  await world.clock.until(() => rooms.every(room => room.peers.size === 2))
  assert.equal(world.server.requests.filter(line => line === "POST offers").length, 3 + 3)
})

test("peers that do not answer take 50 places at most, and keep no other one from connecting", async () => {
  const world = new World()
  const page = world.page()
  const room = await world.wait(page.client.join("chess"))
  const body = number => ({ id: `p${number}`, sdp: "rendezvous-room/1", topics: ["chess"], secret: "x", ttl: 60_000 })
  for (let number = 0; number < 60; number++) {
    const registered = await (await world.server.fetch("http://server.example/register", { method: "POST" })).json()
    await world.server.fetch("http://server.example/offers", {
      method: "POST",
      headers: { Authorization: `Bearer ${registered.peerId}:${registered.secret}` },
      body: JSON.stringify({ offers: [body(number)] })
    })
  }
  const offered = () => [...world.server.offers.values()].filter(({ sdp }) => sdp.startsWith("v=0"))
  await world.clock.until(() => offered().length === 50)
  await world.clock.advance(1000)
  assert.equal(offered().length, 50)
  const guest = await world.wait(world.page().client.join("chess"))
  await world.clock.until(() => room.peers.size === 1 && guest.peers.size === 1, 9000)
  // Those that were left out have their turn.
  const asked = new Set()
  await world.clock.until(() => {
    for (const { topics } of offered()) asked.add(topics[0])
    return asked.size >= 60
  }, 40_000)
  room.leave()
  guest.leave()
})

test("a browser that makes no connection says so", async () => {
  const world = new World()
  class Refuses {
    constructor() {
      throw new Error("too many connections")
    }
  }
  const room = await world.wait(world.page({ RTCPeerConnection: Refuses }).client.join("chess"))
  const log = recorded(room)
  const other = world.page()
  await world.wait(other.client.join("chess"))
  await world.clock.until(() => names(log).includes("error"))
  assert.equal(log.find(([event]) => event === "error")[1].message, "too many connections")
  const { id } = await world.wait(other.client.listen(() => {}))
  const connecting = world.page({ RTCPeerConnection: Refuses }).client.connect(id)
  await assert.rejects(world.wait(connecting), { code: "unsupported" })
})

test("a path that the browser names late, or that changes, is said soon", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  const [peer] = alice.room.peers.values()
  const [connection] = alice.page.connections
  const { getStats } = connection
  connection.getStats = async () => new Map()
  await world.clock.advance(500)
  alice.log.length = 0
  connection.getStats = async () => {
    const stats = await getStats.call(connection)
    return new Map([...stats].map(([id, entry]) => [id, id === "R" ? { ...entry, candidateType: "relay" } : entry]))
  }
  await world.clock.advance(5000)
  assert.deepEqual(alice.log.map(([event, path]) => [event, path.kind]), [["path", "relay"]])
  assert.equal(peer.path.kind, "relay")
})

test("a path that the browser replaces by another one is said at once", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  const [connection] = alice.page.connections
  alice.log.length = 0
  const relayed = { id: "R", candidateType: "relay", protocol: "udp" }
  const stats = await connection.getStats()
  connection.getStats = async () => new Map([...stats, ["R", relayed]])
  connection.sctp.transport.iceTransport.onselectedcandidatepairchange()
  await world.clock.advance(1)
  assert.deepEqual(alice.log.map(([event, path]) => [event, path.kind]), [["path", "relay"]])
})

test("candidates that come to the server after a connection has opened are not lost", async () => {
  const world = new World()
  world.network.candidates = [5000, 5001, 5002, 5003].map(port => `candidate:1 1 udp 1 192.168.1.5 ${port} typ host`)
  const begun = new Set()
  // The first candidate of each page opens the connection, which ends the offer.
  world.server.intercept = (method, path, _, caller) => {
    if (method !== "POST" || !path.endsWith("/ice-candidates")) return undefined
    if (begun.has(caller)) return reply(404, { error: "there is no such offer", code: "not-found" })
    begun.add(caller)
    return undefined
  }
  const [alice, bob] = await world.rooms(2)
  await world.clock.advance(100)
  for (const { page } of [alice, bob]) {
    assert.deepEqual([...page.connections[0].added].sort(), world.network.candidates)
  }
})

test("a path that the browser does not name when the connection opens is said within two seconds", async () => {
  const world = new World()
  const isNamed = connection => connection.network.clock.now() > 1000
  const page = world.page()
  const { RTCPeerConnection } = page.client.environment
  page.client.environment.RTCPeerConnection = class extends RTCPeerConnection {
    async getStats() {
      return isNamed(this) ? await super.getStats() : new Map()
    }
  }
  const room = await world.wait(page.client.join("chess"))
  const log = recorded(room)
  await world.wait(world.page().client.join("chess"))
  await world.clock.advance(2000)
  assert.deepEqual(log.filter(([event]) => event === "path").map(([, { kind }]) => kind), ["lan"])
})
