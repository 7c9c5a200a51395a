import assert from "node:assert/strict"
import { test } from "node:test"

import { reply } from "./server.js"
import { names, recorded, World } from "./world.js"

/** A page without WebSockets and its room. */
async function joined(world, options) {
  const page = world.page(options)
  const room = await world.wait(page.client.join("chess"))
  return { page, room, log: recorded(room) }
}

/** Server-Sent Events of a page, as the server would send them: a Response that a test writes to. */
function streams(world, { isSilent = false } = {}) {
  const made = []
  world.server.intercept = (method, path, query) => {
    if (path !== "events") return undefined
    const stream = { query }
    const body = new ReadableStream({ start: controller => void (stream.controller = controller) })
    stream.write = text => stream.controller.enqueue(new TextEncoder().encode(text))
    made.push(stream)
    if (!isSilent) stream.write(": keep-alive\nid: 7\n\n")
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } })
  }
  return made
}

test("the socket authenticates in its first message and never names the credential in its URL", async () => {
  const world = new World()
  const { page } = await joined(world)
  const [url] = world.server.requests.filter(line => line.startsWith("WEBSOCKET"))
  assert.ok(!url.includes("secret"), url)
  assert.ok(url.includes("topic=chess") && url.includes(`topic=chess%40${page.client.id}`), url)
})

test("all rooms of a page share one socket, which ends with the last room", async () => {
  const world = new World()
  const { page, room } = await joined(world)
  const other = await world.wait(page.client.join("go"))
  const bob = await world.wait(world.page().client.join("go"))
  await world.clock.until(() => bob.peers.size === 1)
  assert.equal(page.sockets.length, 1)
  room.leave()
  assert.equal(page.sockets[0].readyState, 1)
  other.leave()
  assert.equal(page.sockets[0].readyState, 3)
})

test("a restart of the server leaves connections alone; afterwards newcomers are met", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  world.server.stop({ forget: true })
  await world.clock.advance(20_000)
  assert.equal(alice.room.state, "reconnecting")
  world.server.start()
  await world.clock.until(() => alice.room.state === "connected" && bob.room.state === "connected", 60_000)
  const carol = await world.wait(world.page().client.join("chess"))
  await world.clock.until(() => carol.peers.size === 2)
  assert.deepEqual(names(alice.log).filter(name => name === "leave"), [])
  assert.equal(alice.room.peers.size, 2)
})

test("clients come back at different moments after a stop, from half a second to 5 s", async () => {
  const world = new World()
  const pages = []
  for (let made = 0; made < 8; made++) pages.push(await joined(world))
  world.server.stop()
  world.server.start()
  const stopped = world.clock.now()
  const times = new Map()
  await world.clock.until(() => {
    for (const { page } of pages) {
      if (page.sockets.length === 2 && !times.has(page)) times.set(page, world.clock.now() - stopped)
    }
    return times.size === pages.length
  })
  const all = [...times.values()]
  assert.ok(Math.min(...all) >= 500 && Math.max(...all) <= 5200, `${all}`)
  assert.ok(Math.max(...all) - Math.min(...all) > 1000, `${all}`)
})

test("a socket that no longer answers is replaced, and resumes after the last event", async () => {
  const world = new World()
  const { page, room } = await joined(world)
  await world.clock.advance(100)
  page.client.feed.lastEventId = "41"
  page.sockets[0].isDead = true
  await world.clock.advance(16_000)
  assert.equal(page.sockets.length, 2)
  assert.equal(page.sockets[1].query.get("lastEventId"), "41")
  assert.equal(room.state, "connected")
})

test("tries become rarer while the server is away, up to 45 s, and at once when the network is back", async () => {
  const world = new World()
  const { page } = await joined(world)
  world.server.stop()
  const before = page.sockets.length
  await world.clock.advance(600_000)
  const tries = page.sockets.length - before
  assert.ok(tries >= 10 && tries < 40, `${tries}`)
  world.server.start()
  page.events.dispatchEvent(new Event("online"))
  await world.clock.advance(10)
  assert.equal(page.client.feed.isOpen, true)
})

test("where WebSockets do not come through, the events come as a stream", async () => {
  const world = new World()
  world.server.refusesSockets = true
  const made = streams(world)
  const { page } = await joined(world)
  assert.equal(page.sockets.length, 2)
  assert.equal(made.length, 1)
  assert.deepEqual(made[0].query.getAll("topic").sort(), ["chess", `chess@${page.client.id}`])
  assert.equal(page.client.feed.lastEventId, "7")
})

test("events of a stream are taken, however they are cut", async () => {
  const world = new World()
  const made = streams(world)
  const { page, room, log } = await joined(world, { WebSocket: null })
  const peerId = "f".repeat(32)
  const offer = { id: "x", peerId, sdp: "rendezvous-room/1", topics: ["chess"], hasSecret: true, info: "Zoë" }
  const bytes = new TextEncoder().encode(`id: 8\r\nevent: offer\r\ndata: ${JSON.stringify(offer)}\r\n\r\n`)
  for (const byte of bytes) made[0].controller.enqueue(new Uint8Array([byte]))
  await world.clock.until(() => page.connections.length === 1)
  assert.equal(page.client.feed.lastEventId, "8")
  await world.clock.advance(11_000)
  const [, who, error] = log.find(([event]) => event === "failed")
  assert.deepEqual(who, { id: peerId, name: "Zoë" })
  assert.equal(error.code, "no-answer")
  assert.equal(room.state, "connected")
})

test("a stream may carry as much as it likes, event by event", async () => {
  const world = new World()
  const made = streams(world)
  await joined(world, { WebSocket: null })
  const event = `event: x\ndata: {"x":"${"x".repeat(200_000)}"}\n\n`
  for (let sent = 0; sent < 20; sent++) made[0].write(event)
  await world.clock.advance(5000)
  assert.equal(made.length, 1)
})

test("a stream that has ended, or is silent, is opened again after the last event", async () => {
  const world = new World()
  const made = streams(world)
  await joined(world, { WebSocket: null })
  made[0].controller.close()
  await world.clock.until(() => made.length === 2)
  assert.equal(made[1].query.get("lastEventId"), "7")
  await world.clock.advance(45_000)
  assert.equal(made.length, 3)
})

test("another room opens another stream with both topics", async () => {
  const world = new World()
  const made = streams(world)
  const { page } = await joined(world, { WebSocket: null })
  await world.wait(page.client.join("go"))
  assert.deepEqual(made.at(-1).query.getAll("topic").filter(topic => !topic.includes("@")), ["chess", "go"])
})

test("where streams are held back, pages still meet by long polling, with offers that end by themselves", async () => {
  const world = new World()
  streams(world, { isSilent: true })
  const pages = [world.page({ WebSocket: null }), world.page({ WebSocket: null })]
  const rooms = await world.wait(Promise.all(pages.map(page => page.client.join("chess"))), 120_000)
  await world.clock.until(() => rooms.every(room => room.peers.size === 1))
  const presences = world.server.offersIn("chess")
  assert.deepEqual(presences.map(({ whileConnected }) => whileConnected), [false, false])
  assert.deepEqual(presences.map(({ ttl }) => ttl), [60_000, 60_000])
  const published = () => world.server.requests.filter(line => line === "POST offers").length
  const before = published()
  await world.clock.advance(60_000)
  assert.ok(published() - before >= 4)
})

test("a page that comes to another network tries a WebSocket again", async () => {
  const world = new World()
  world.server.refusesSockets = true
  const made = streams(world)
  const { page, room } = await joined(world)
  world.server.refusesSockets = false
  made[0].controller.close()
  await world.clock.until(() => room.state === "reconnecting")
  page.events.dispatchEvent(new Event("online"))
  await world.clock.until(() => room.state === "connected")
  assert.equal(page.sockets.at(-1).readyState, 1)
})

test("a room that was left is not polled any more", async () => {
  const world = new World()
  world.server.intercept = (method, path) => (path === "events" ? reply(200, {}) : undefined)
  const { page, room } = await joined(world, { WebSocket: null })
  await world.wait(page.client.join("go"))
  room.leave()
  await world.clock.advance(30_000)
  world.server.requests.length = 0
  await world.clock.advance(60_000)
  const polled = topic => world.server.requests.filter(line => line === `GET offers/by-topic/${topic}`).length
  assert.equal(polled("chess"), 0)
  assert.ok(polled("go") > 0)
})

test("candidates of an offer that has ended are not polled any more", async () => {
  const world = new World()
  const isOfCandidates = (method, path) => method === "GET" && path.endsWith("/ice-candidates")
  world.server.intercept = (method, path) => {
    if (path === "events") return reply(200, {})
    return isOfCandidates(method, path) ? reply(404, { code: "not-found", error: "No such offer." }) : undefined
  }
  const { page } = await joined(world, { WebSocket: null })
  await world.wait(world.page().client.join("chess"))
  await world.clock.until(() => page.connections.length === 1)
  await world.clock.advance(9000)
  const asked = world.server.requests.filter(line => line.startsWith("GET") && line.endsWith("/ice-candidates"))
  assert.equal(asked.length, 1)
})

test("a credential that the server does not accept any more is replaced, and the room is joined again", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const before = alice.room.id
  world.server.secrets.delete(before)
  alice.page.sockets[0].closedByServer(1001, "")
  await world.clock.until(() => alice.room.id !== before && alice.room.peers.size === 1)
  await world.clock.advance(10_000)
  assert.deepEqual([...bob.room.peers.keys()], [alice.room.id])
})

test("a request that the server refuses for now is sent again, after the time that it names", async () => {
  const world = new World()
  let left = 2
  world.server.intercept = (method, path) => {
    if (`${method} ${path}` !== "POST register" || left-- <= 0) return undefined
    return reply(503, { ok: false, error: "Full.", code: "full" }, { "Retry-After": "2" })
  }
  const begun = world.clock.now()
  await joined(world)
  assert.ok(world.clock.now() - begun >= 4000)
  left = 99
  await assert.rejects(world.wait(world.page().client.join("chess")), { code: "full", status: 503, message: "Full." })
})

test("a room that is joined while the socket opens is watched, too", async () => {
  const world = new World()
  const page = world.page()
  const first = page.client.join("chess")
  await world.clock.until(() => page.sockets.length === 1)
  const second = page.client.join("go")
  await world.wait(Promise.all([first, second]))
  const [socket] = world.server.sockets
  assert.deepEqual([...socket.topics].filter(topic => !topic.includes("@")).sort(), ["chess", "go"])
})

test("a page that leaves while the server is away does not come back to it", async () => {
  const world = new World()
  const { room } = await joined(world)
  world.server.stop()
  await world.clock.advance(10_000)
  room.leave()
  await world.clock.advance(10)
  world.server.start()
  const asked = world.server.requests.length
  await world.clock.advance(600_000)
  assert.equal(world.server.requests.length, asked)
  assert.equal(world.clock.pending, 0)
})

test("with a socket the offer of a page is published every 45 minutes", async () => {
  const world = new World()
  await joined(world)
  const published = () => world.server.requests.filter(line => line === "POST offers").length
  await world.clock.advance(2_600_000)
  assert.equal(published(), 1)
  await world.clock.advance(200_000)
  assert.equal(published(), 2)
})

test("a request without an answer fails after 15 s", async () => {
  const world = new World()
  world.server.fetch = (url, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("", "AbortError"))))
  const message = "The server server.example did not answer in time."
  await assert.rejects(world.wait(world.page().client.join("chess")), { code: "timeout", message })
  assert.equal(world.clock.now() >= 15_000 && world.clock.now() < 16_000, true)
})

test("ICE servers are asked for again before their credentials end, and given to open connections", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  world.server.iceServers = [{ urls: ["turn:server"], username: "new", credential: "new" }]
  await world.clock.advance(3_600_000 * 0.8)
  assert.deepEqual(alice.page.connections[0].configuration, { iceServers: world.server.iceServers })
})

test("without ICE servers pages still connect", async () => {
  const world = new World()
  world.server.intercept = (method, path) => (path === "ice" ? reply(404, { code: "no-such-path" }) : undefined)
  const [alice] = await world.rooms(2)
  assert.deepEqual(alice.page.connections[0].configuration, { iceServers: [] })
})

test("an event of the server that makes no sense changes nothing", async () => {
  const world = new World()
  const { page, room } = await joined(world)
  const [socket] = page.sockets
  const answer = '{"event":"answer","data":{}}'
  const others = ['{"event":"reset","data":{}}', '{"event":"x"}']
  for (const data of ["", "null", "[]", "7", "{", answer, ...others]) socket.onmessage({ data })
  await world.clock.advance(1000)
  assert.equal(room.state, "connected")
})
