/** A server that answers nonsense, errors or nothing, and closes what it has opened. */

import assert from "node:assert/strict"
import { test } from "node:test"

import { seeded } from "./clock.js"
import { reply } from "./server.js"
import { names, recorded, World } from "./world.js"

const html = () => new Response("<!doctype html><title>Welcome</title>", { headers: { "Content-Type": "text/html" } })
const never = () => new Response(new ReadableStream({}), { headers: { "Content-Type": "application/json" } })

/** @returns {(method, path) => Response | undefined} answers one request, or all if it is "*", with what is given */
function answering(asked, given) {
  return (method, path) => (asked === "*" || `${method} ${path}` === asked ? given() : undefined)
}

for (const [what, given] of [
  ["a page of HTML", html],
  ["nothing", never],
  ["null", () => reply(200, null)],
  ["a list", () => reply(200, [])],
  ["an empty object", () => reply(200, {})],
  ["members of other types", () => reply(200, { peerId: 7, secret: {}, offers: 7, iceServers: "x", code: [] })],
  ["an error", () => reply(500, { error: "Broken.", code: "broken" })],
  ["an error without words", () => new Response("<h1>502</h1>", { status: 502 })],
  ["an error of other types", () => reply(500, { error: {}, code: 7 })],
  ["an error that is null", () => reply(500, null)]
]) {
  for (const asked of ["*", "POST register", "POST offers", "GET offers/by-topic/chess"]) {
    // Publishing says nothing that matters but whether it was done.
    const isGood = asked === "POST offers" && given().status === 200 && given !== html && given !== never
    if (isGood) continue
    test(`a server that answers ${what} to ${asked}: join is rejected with a sentence`, async () => {
      const world = new World()
      world.server.intercept = answering(asked, given)
      await assert.rejects(world.wait(world.page().client.join("chess"), 90_000), error => {
        assert.equal(error.name, "RendezvousError")
        assert.equal(typeof error.code, "string")
        assert.match(error.message, /^(The (server|peer|WebSocket|event)|Broken).*\.$/)
        return true
      })
      await world.clock.advance(60_000)
      assert.equal(world.clock.pending, 0)
    })
  }
}

for (const [what, offer] of [
  ["no offer", {}],
  ["an offer of another type", { offer: 7 }],
  ["a page of HTML", null]
]) {
  test(`a session whose server answers ${what} is rejected with a sentence`, async () => {
    const world = new World()
    world.server.intercept = answering("POST poll", () => (offer ? reply(200, offer) : html()))
    await assert.rejects(world.wait(world.page().client.enter("tea")), { name: "RendezvousError", code: "network" })
    world.server.intercept = answering("POST codes/offer", () => (offer ? reply(200, offer) : html()))
    await assert.rejects(world.wait(world.page().client.open()), { name: "RendezvousError", code: "network" })
  })
}

test("a session whose polls are answered with nonsense ends with a sentence", async () => {
  const world = new World()
  const session = await world.wait(world.page().client.open("tea"))
  world.server.intercept = answering("POST poll", () => reply(200, { answer: 7, answerCandidates: "x", latest: {} }))
  const before = world.server.requests.length
  await assert.rejects(world.wait(session.peer, 330_000), { name: "RendezvousError" })
  assert.ok(world.server.requests.length - before < 400)
})

test("a credential that is never accepted is said, and does not make the page register without end", async () => {
  const world = new World()
  const { authenticate } = world.server
  world.server.authenticate = () => null
  await assert.rejects(world.wait(world.page().client.join("chess"), 60_000), { status: 401 })
  await world.clock.advance(600_000)
  assert.ok(world.server.requests.filter(line => line === "POST register").length <= 4)
  world.server.authenticate = authenticate
})

for (const code of [1006, 1001, 4503, 4429, 4000, 4400]) {
  test(`sockets that are closed at once after they have opened (${code}) are not opened in a hurry`, async () => {
    const world = new World()
    const page = world.page()
    await world.wait(page.client.join("chess"))
    const before = world.server.requests.length
    const sockets = page.sockets.length
    const { deliver } = Object.getPrototypeOf(Object.getPrototypeOf(page.sockets[0]))
    const prototype = Object.getPrototypeOf(Object.getPrototypeOf(page.sockets[0]))
    prototype.deliver = function (event, ...more) {
      deliver.call(this, event, ...more)
      if (event === "open") world.clock.setTimeout(() => this.closedByServer(code, ""), 5)
    }
    try {
      page.sockets[0].closedByServer(code, "")
      await world.clock.advance(600_000)
    } finally {
      prototype.deliver = deliver
    }
    assert.ok(page.sockets.length - sockets < 250, `${page.sockets.length - sockets} sockets`)
    assert.ok(world.server.requests.length - before < 1000, `${world.server.requests.length - before} requests`)
    await world.clock.advance(120_000)
    assert.equal(page.client.feed.isOpen, true)
  })
}

test("a socket that the server refuses with a reason says so", async () => {
  const world = new World()
  world.server.authenticate = () => null
  const page = world.page()
  const joining = page.client.join("chess")
  joining.catch(() => {})
  await world.clock.until(() => page.sockets.length === 1)
  page.sockets[0].closedByServer(4503, "full-sockets")
  await assert.rejects(world.wait(joining), { status: 503, code: "full-sockets" })
})

test("a topic that cannot be listed is asked for again only while events arrive", async () => {
  const world = new World()
  const page = world.page()
  await world.wait(page.client.join("chess"))
  world.server.intercept = answering("GET offers/by-topic/chess", () => reply(500, {}))
  page.sockets[0].onmessage({ data: '{"event":"reset","data":{"topics":["chess"]}}' })
  const listed = () => world.server.requests.filter(line => line === "GET offers/by-topic/chess").length
  const before = listed()
  await world.clock.advance(10_000)
  assert.ok(listed() - before >= 2)
  world.server.stop()
  const stopped = listed()
  await world.clock.advance(120_000)
  assert.equal(listed(), stopped)
})

test("answers whose events were lost are read when the server says so", async () => {
  const world = new World()
  const [one, other] = [world.page(), world.page()]
  const { id } = await world.wait(other.client.listen(() => {}))
  const { tell } = world.server
  world.server.tell = (peerId, event, data) => event !== "answer" && tell.call(world.server, peerId, event, data)
  const asked = one.client.connect(id)
  asked.catch(() => {})
  await world.clock.until(() => [...world.server.offers.values()].some(({ answererId }) => answererId))
  await world.clock.advance(100)
  one.sockets[0].onmessage({ data: '{"event":"reset","data":{}}' })
  assert.equal((await world.wait(asked, 5000)).id, id)
})

test("a server that is busy is left alone for as long as it says, up to two minutes", async () => {
  for (const [said, least, most] of [["40", 40_000, 90_000], ["1e9", 60_000, 121_000]]) {
    const world = new World()
    const times = []
    let isBusy = false
    world.server.intercept = (method, path) => {
      if (path !== "events") return undefined
      if (!isBusy) return new Response(": x\n\n", { headers: { "Content-Type": "text/event-stream" } })
      times.push(world.clock.now())
      return reply(503, { code: "full-streams" }, { "Retry-After": said })
    }
    await world.wait(world.page({ WebSocket: null }).client.join("chess"))
    isBusy = true
    await world.clock.until(() => times.length === 2, 200_000)
    const pause = times[1] - times[0]
    assert.ok(pause >= least && pause <= most, `${pause}`)
  }
})

test("an id of an event that is too long is not sent back", async () => {
  const world = new World()
  const page = world.page()
  await world.wait(page.client.join("chess"))
  const known = page.client.feed.lastEventId
  page.sockets[0].onmessage({ data: JSON.stringify({ event: "x", data: {}, id: "7".repeat(100_000) }) })
  assert.equal(page.client.feed.lastEventId, known)
})

test("a stream that ends at once is not opened in a hurry, and without a byte gives way to long polling", async () => {
  for (const text of [": x\n\n", ""]) {
    const world = new World()
    let opened = 0
    world.server.intercept = (method, path) => {
      if (path !== "events") return undefined
      opened++
      return new Response(text, { headers: { "Content-Type": "text/event-stream" } })
    }
    const room = await world.wait(world.page({ WebSocket: null }).client.join("chess"), 60_000)
    await world.clock.advance(200_000)
    assert.ok(opened < 25, `${opened}`)
    if (!text) assert.equal(room.state, "connected")
  }
})

test("a browser that lets no WebSocket be made takes a stream or long polling", async () => {
  const world = new World()
  class Forbidden {
    constructor() {
      throw new DOMException("insecure", "SecurityError")
    }
  }
  world.server.intercept = answering("GET events", html)
  const room = await world.wait(world.page({ WebSocket: Forbidden }).client.join("chess"), 60_000)
  assert.equal(room.state, "connected")
})

const VALUES = [null, true, 7, -1, 1e308, "", "x", [], {}, [null], [{}], ["chess"], [7], { candidate: 7 }]
const NAMES = ["offer", "gone", "subscribed", "reset", "answer", "candidate", "withdrawn", "expired", "error", "open"]
const MEMBERS = [
  "offerId", "id", "peerId", "sdp", "topics", "info", "hasSecret", "code", "error", "answererId", "candidate"
]

for (const seed of [1, 2, 3, 4]) {
  test(`events at random raise nothing, and the room goes on (seed ${seed})`, async () => {
    const world = new World()
    const [alice, bob] = await world.rooms(2)
    const random = seeded(seed)
    const one = list => list[Math.floor(random() * list.length)]
    const [socket] = alice.page.sockets
    for (let made = 0; made < 500; made++) {
      const known = { offerId: [...alice.page.client.exchanges.keys()][0], topics: ["chess"], peerId: bob.room.id }
      const entries = Array.from({ length: Math.floor(random() * 5) }, () => [one(MEMBERS), one(VALUES)])
      const data = random() < 0.2 ? one(VALUES) : { ...(random() < 0.5 ? known : {}), ...Object.fromEntries(entries) }
      socket.onmessage({ data: JSON.stringify({ event: one(NAMES), data, id: one(VALUES) }) })
      if (made % 10 === 0) await world.clock.advance(50)
    }
    await world.clock.advance(200_000)
    await world.clock.until(() => alice.room.peers.has(bob.room.id), 120_000)
    await world.wait(bob.room.send("hello"))
    await world.clock.advance(100)
    assert.ok(names(alice.log).includes("message"))
  })
}

test("a listing of anything raises nothing, and shows those that are of the room", async () => {
  const world = new World()
  const peerId = "f".repeat(32)
  const good = { id: "good", peerId, sdp: "rendezvous-room/1", topics: ["chess"], hasSecret: true }
  const offers = [null, 7, {}, [], { peerId: 7, sdp: "rendezvous-room/1" }, { id: {}, peerId: [], sdp: {} }, good]
  world.server.intercept = answering("GET offers/by-topic/chess", () => reply(200, { offers, hasMore: true }))
  const room = await world.wait(world.page().client.join("chess"))
  const log = recorded(room)
  await world.clock.advance(15_000)
  assert.deepEqual(log.filter(([event]) => event === "failed").map(([, { id }]) => id), [peerId])
})

for (const [what, body] of [
  ["no lifetime", { iceServers: [] }],
  ["a lifetime that is no number", { iceServers: [], ttl: "x" }],
  ["a lifetime below zero", { iceServers: [], ttl: -1e9 }],
  ["a lifetime of years", { iceServers: [], ttl: 1e12 }],
  ["a lifetime that is too long for a timer", { iceServers: [], ttl: 3_000_000 }],
  ["no servers", { ttl: 3600 }],
  ["servers of another type", { iceServers: { urls: 7 }, ttl: 3600 }],
  [
    "servers that are nonsense",
    {
      iceServers: [null, 7, {}, { urls: 7 }, { urls: [7] }, { urls: [] }, { urls: "http://x" }, { urls: ["turn:x"] }],
      ttl: 3600
    }
  ],
  ["null", null]
]) {
  test(`ICE servers with ${what} neither keep pages apart nor are asked for without end`, async () => {
    const world = new World()
    // A timer of a browser that is too long ends at once.
    const { setTimeout } = world.clock
    world.clock.setTimeout = (callback, wait) => setTimeout(callback, wait > 0 && wait < 2 ** 31 ? wait : 0)
    world.server.intercept = answering("GET ice", () => reply(200, body))
    const [alice] = await world.rooms(2)
    await world.clock.advance(60_000)
    const asked = world.server.requests.filter(line => line === "GET ice").length
    assert.ok(asked <= 2 * 5, `${asked}`)
    assert.equal(alice.room.peers.size, 1)
    for (const { urls } of alice.page.connections[0].configuration.iceServers) {
      assert.ok([urls].flat().every(url => url.startsWith("stun:")))
    }
    world.network.hasPath = false
    const log = recorded(alice.room)
    await world.wait(world.page().client.join("chess"))
    await world.clock.until(() => names(log).includes("failed"), 60_000)
  })
}

test("a server without ICE servers is asked more and more rarely", async () => {
  const world = new World()
  world.server.intercept = answering("GET ice", () => reply(404, { code: "no-such-path", error: "No." }))
  await world.rooms(2)
  await world.clock.advance(3_600_000)
  const asked = world.server.requests.filter(line => line === "GET ice").length
  assert.ok(asked <= 2 * 14, `${asked}`)
})

test("a server that does not answer for ICE servers does not keep pages apart", async () => {
  const world = new World()
  world.server.intercept = answering("GET ice", () => new Promise(() => {}))
  const rooms = await world.wait(Promise.all([1, 2].map(() => world.page().client.join("chess"))))
  await world.clock.until(() => rooms.every(room => room.peers.size === 1), 9000)
})

test("when the server cannot take the offer of a page for a while, the page offers itself again soon", async () => {
  const world = new World()
  const [alice] = await world.rooms(2)
  world.server.stop({ forget: true })
  let left = 3
  world.server.intercept = (method, path, query, caller) => {
    if (caller !== alice.room.id || `${method} ${path}` !== "POST offers" || left-- <= 0) return undefined
    return reply(500, { error: "Broken.", code: "broken" })
  }
  await world.clock.advance(1000)
  world.server.start()
  await world.clock.until(() => alice.room.state === "connected", 60_000)
  assert.ok(world.server.offersIn("chess").some(({ peerId }) => peerId === alice.room.id))
  assert.ok(names(alice.log).includes("error"))
})

test("a stream without line ends takes bounded memory", async () => {
  for (const line of ["data: ", "data: x\n", ": "]) {
    const world = new World()
    let sent = 0
    let isEnded = false
    world.server.intercept = (method, path) => {
      if (path !== "events") return undefined
      const bytes = new TextEncoder().encode(line.padEnd(65_536, line.includes("\n") ? line : "x"))
      const body = new ReadableStream({
        pull(controller) {
          if (++sent > 400) return new Promise(() => {})
          controller.enqueue(bytes)
        },
        cancel: () => void (isEnded = true)
      })
      return new Response(body, { headers: { "Content-Type": "text/event-stream" } })
    }
    world.page({ WebSocket: null }).client.join("chess").catch(() => {})
    await world.clock.advance(100)
    assert.ok(isEnded && sent < 100, `${sent} times 64 KiB of ${JSON.stringify(line)}`)
  }
})

test("an answer without end is given up", async () => {
  const world = new World()
  let sent = 0
  const pull = controller => void controller.enqueue(new Uint8Array(8_388_608), sent++)
  const endless = () => new Response(new ReadableStream({ pull }), { headers: { "Content-Type": "application/json" } })
  world.server.intercept = answering("POST register", endless)
  const message = "The answer of the server is too long."
  await assert.rejects(world.wait(world.page().client.join("chess")), { code: "network", message })
  assert.ok(sent < 14, `${sent}`)
})

test("long polls that are answered at once, with nothing, become rare", async () => {
  const world = new World()
  const noEvents = answering("GET events", html)
  const page = world.page({ WebSocket: null })
  world.server.intercept = noEvents
  await world.wait(page.client.join("chess"), 60_000)
  world.server.intercept = (method, path, query) => {
    if (path === "offers/answers") return reply(200, { answers: [] })
    if (path.startsWith("offers/by-topic/")) {
      return reply(200, { offers: [], gone: [], hasMore: false, reset: false, since: query.get("since") ?? "1" })
    }
    return noEvents(method, path)
  }
  const before = world.server.requests.length
  await world.clock.advance(200_000)
  assert.ok(world.server.requests.length - before < 150, `${world.server.requests.length - before}`)
})

test("long polls that are answered with errors or nonsense say that the server is away", async () => {
  for (const given of [html, () => reply(500, {}), () => reply(200, {}), () => reply(200, null)]) {
    const world = new World()
    const page = world.page({ WebSocket: null })
    world.server.intercept = answering("GET events", html)
    const room = await world.wait(page.client.join("chess"), 60_000)
    world.server.intercept = answering("*", given)
    const before = world.server.requests.length
    await world.clock.advance(60_000)
    assert.equal(room.state, "reconnecting")
    assert.ok(world.server.requests.length - before < 150, `${world.server.requests.length - before}`)
    world.server.intercept = answering("GET events", html)
    await world.clock.until(() => room.state === "connected", 120_000)
  }
})

test("lies in Retry-After neither hurry nor stop the page", async () => {
  for (const lie of ["-5", "0", "1e300", "Infinity", "0.0001", "Wed, 21 Oct 2099 07:28:00 GMT", "x"]) {
    const world = new World()
    world.server.intercept = answering("POST register", () => reply(429, {}, { "Retry-After": lie }))
    const begun = world.clock.now()
    await assert.rejects(world.wait(world.page().client.join("chess"), 90_000), ({ retryAfter }) => {
      assert.ok(Number.isFinite(retryAfter) && retryAfter >= 0, `${retryAfter}`)
      return true
    })
    const took = world.clock.now() - begun
    assert.ok(took >= 3000 && took <= 61_000, `${lie}: ${took}`)
    assert.equal(world.server.requests.filter(line => line === "POST register").length, 4)
  }
})

test("an exchange that is under way is followed by the polls of a page that polls anew", async () => {
  const world = new World()
  const pages = [world.page({ WebSocket: null }), world.page()]
  let failures = 4
  world.server.intercept = (method, path) => {
    if (path === "events") return html()
    if (method === "GET" && path.endsWith("/ice-candidates") && failures-- > 0) return reply(500, {})
    return undefined
  }
  const rooms = await world.wait(Promise.all(pages.map(page => page.client.join("chess"))), 60_000)
  await world.clock.until(() => rooms.every(room => room.peers.size === 1))
  assert.ok(failures <= 0)
  assert.deepEqual(pages.map(({ connections }) => connections.length), [1, 1])
})

test("a room that could not be joined leaves nothing behind", async () => {
  const world = new World()
  const { client } = world.page()
  const room = await world.wait(client.join("chess"))
  await assert.rejects(world.wait(client.join("chess")), { code: "conflict" })
  await world.clock.advance(1000)
  assert.equal(world.server.offersIn("chess").length, 1)
  room.leave()
  await world.clock.advance(10_000)
  assert.equal(world.server.offersIn("chess").length, 0)
  assert.equal(world.server.sockets.size, 0)
  assert.equal(world.clock.pending, 0)
})

test("of rooms that are joined at one moment as many are joined as there can be", async () => {
  const world = new World()
  const { client } = world.page()
  const joining = Array.from({ length: 20 }, (_, at) => client.join(`room ${at}`))
  const ended = await world.wait(Promise.allSettled(joining))
  assert.equal(ended.filter(({ status }) => status === "fulfilled").length, 15)
  assert.ok(ended.slice(15).every(({ reason }) => reason.code === "too-many"))
})

test("what changed while a topic was being listed is listed again", async () => {
  const world = new World()
  const page = world.page()
  const room = await world.wait(page.client.join("chess"))
  const answers = []
  world.server.intercept = (method, path, query) => {
    if (path !== "offers/by-topic/chess" || !query.has("limit") || answers.length) return undefined
    return new Promise(resolve => answers.push(resolve))
  }
  const [socket] = page.sockets
  const reset = { event: "reset", data: { topics: ["chess"] } }
  socket.onmessage({ data: JSON.stringify(reset) })
  await world.clock.advance(10)
  const { RTCPeerConnection } = world.network.page()
  assert.ok(RTCPeerConnection)
  const peerId = "f".repeat(32)
  world.server.offers.set("missed", { id: "missed", peerId, sdp: "rendezvous-room/1", topics: ["chess"] })
  socket.onmessage({ data: JSON.stringify(reset) })
  answers[0](reply(200, { offers: [], hasMore: false }))
  const log = recorded(room)
  await world.clock.until(() => names(log).includes("failed"))
})
