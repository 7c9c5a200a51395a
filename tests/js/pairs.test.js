import assert from "node:assert/strict"
import { test } from "node:test"

import { Client, explain, pathOf } from "../../rendezvous/web/static/rendezvous.js"
import { FakeStream } from "./peers.js"
import { recorded, World } from "./world.js"

/** @returns {object} the storage of a tab, as a browser has it, over these items */
function storageOf(items) {
  const getItem = key => items.get(key) ?? null
  return { getItem, setItem: (...item) => void items.set(...item), removeItem: key => void items.delete(key) }
}

test("one page listens, another one connects by its id, and both send", async () => {
  const world = new World()
  const [server, client] = [world.page().client, world.page().client]
  const accepted = []
  const stop = await world.wait(server.listen(peer => accepted.push(peer), { name: "server" }))
  const peer = await world.wait(client.connect(stop.id, { name: "client" }))
  const heard = []
  peer.on("message", data => heard.push(data))
  assert.equal(peer.name, "server")
  assert.equal(accepted[0].name, "client")
  assert.equal(accepted[0].id, client.id)
  await world.wait(accepted[0].send({ welcome: true }))
  await world.clock.advance(10)
  assert.deepEqual(heard, [{ welcome: true }])
  await assert.rejects(world.wait(client.connect(stop.id)), { code: "conflict" })
  const left = []
  peer.on("leave", reason => left.push(reason))
  accepted[0].close()
  await world.clock.advance(100)
  assert.deepEqual(left, ["The page was closed, or has ended the connection."])
})

test("a page that does not listen, or does not exist, does not answer", async () => {
  const world = new World()
  const { client } = world.page()
  const begun = world.clock.now()
  await assert.rejects(world.wait(client.connect("f".repeat(32))), { code: "no-answer" })
  assert.ok(world.clock.now() - begun < 11_000)
  assert.equal(world.server.offers.size, 0)
  await world.clock.advance(100)
  assert.equal(world.server.sockets.size, 0)
})

test("a page that has stopped to listen accepts no more", async () => {
  const world = new World()
  const listener = world.page().client
  const stop = await world.wait(listener.listen(() => assert.fail("it accepted")))
  stop()
  await assert.rejects(world.wait(world.page().client.connect(stop.id)), { code: "no-answer" })
})

test("what is no peer id is refused at once", async () => {
  const { client } = new World().page()
  for (const id of [undefined, null, "", 7]) await assert.rejects(client.connect(id), TypeError)
})

test("a page that has stopped to listen can listen again", async () => {
  const world = new World()
  const { client } = world.page()
  const stop = await world.wait(client.listen(() => {}))
  stop()
  await world.clock.advance(100)
  const { id } = await world.wait(client.listen(() => {}))
  const peer = await world.wait(world.page().client.connect(id))
  assert.equal(peer.id, id)
})

test("the answer of another page than the one that was asked is not taken", async () => {
  const world = new World()
  const [asker, target, thief] = [world.page(), world.page(), world.page()]
  const { id } = await world.wait(target.client.listen(() => {}))
  await world.wait(thief.client.listen(() => {}))
  target.kill()
  const asked = world.wait(asker.client.connect(id))
  asked.catch(() => {})
  const offer = await world.clock.until(() => world.server.offersIn(`@${id}`)[0])
  const body = JSON.stringify({ sdp: "v=0\r\na=fingerprint:thief\r\n" })
  const headers = { Authorization: `Bearer ${thief.client.http.credential}` }
  await world.server.fetch(`http://server.example/offers/${offer.id}/answer`, { method: "POST", headers, body })
  await assert.rejects(asked, { code: "no-answer", message: "Another page has answered in the place of the peer." })
})

test("a page that is loaded again under the same identity gets another connection", async () => {
  const world = new World()
  const storage = new Map()
  const shared = storageOf(storage)
  const first = world.page({ storage: shared })
  const stays = await world.wait(world.page().client.join("chess", { name: "stays" }))
  const log = recorded(stays)
  const before = await world.wait(first.client.join("chess"))
  await world.clock.until(() => stays.peers.size === 1)
  assert.equal(storage.size, 0)
  first.events.dispatchEvent(new Event("pagehide"))
  assert.equal(storage.size, 1)
  const second = world.page({ storage: shared, randomId: () => `again-${Math.random()}` })
  const after = await world.wait(second.client.join("chess"))
  assert.equal(after.id, before.id)
  assert.equal(storage.size, 0)
  await world.clock.until(() => after.peers.size === 1 && stays.peers.size === 1)
  assert.deepEqual(log.map(([event]) => event).filter(event => event !== "path"), ["join", "leave", "join"])
})

test("a page that was loaded again is met at once, although the others did not hear it go", async () => {
  const world = new World()
  const storage = new Map()
  const shared = storageOf(storage)
  const first = world.page({ storage: shared })
  const before = await world.wait(first.client.join("chess"))
  const stays = await world.wait(world.page().client.join("chess"))
  await world.clock.until(() => stays.peers.size === 1 && before.peers.size === 1)
  const [old] = stays.peers.values()
  first.kill()
  first.events.dispatchEvent(new Event("pagehide"))
  const second = world.page({ storage: shared, randomId: () => `again-${Math.random()}` })
  const after = await world.wait(second.client.join("chess"))
  assert.equal(after.id, before.id)
  await world.clock.until(() => after.peers.size === 1 && stays.peers.get(after.id) !== old, 1000)
})

test("a copy of a tab gets an identity of its own", async () => {
  const world = new World()
  const storage = new Map()
  const copy = () => storageOf(new Map(storage))
  const [one, other] = [world.page({ storage: copy() }), world.page({ storage: copy() })]
  const rooms = await world.wait(Promise.all([one.client.join("chess"), other.client.join("chess")]))
  assert.notEqual(rooms[0].id, rooms[1].id)
})

test("a page that comes back out of the cache of the browser joins again", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  bob.page.events.dispatchEvent(new Event("pagehide"))
  await world.clock.advance(6000)
  assert.equal(alice.room.peers.size, 0)
  bob.page.events.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }))
  await world.clock.until(() => alice.room.peers.size === 1 && bob.room.peers.size === 1)
  await world.wait(bob.room.send("back"))
  await world.clock.advance(10)
  assert.deepEqual(alice.log.filter(([event]) => event === "message").map(([, data]) => data), ["back"])
})

test("a session: one page opens it, another one enters its code, and both send", async () => {
  const world = new World()
  const [opener, guest] = [world.page().client, world.page().client]
  const session = await world.wait(opener.open(undefined, { name: "opener" }))
  const entering = guest.enter(session.code, { name: "guest" })
  const [mine, theirs] = await world.wait(Promise.all([session.peer, entering]))
  assert.deepEqual([mine.name, theirs.name], ["guest", "opener"])
  assert.deepEqual([mine.id, theirs.id], [session.code, session.code])
  const heard = []
  theirs.on("message", data => heard.push(data))
  await world.wait(mine.send("welcome"))
  await world.clock.advance(10)
  assert.deepEqual(heard, ["welcome"])
  const asked = world.server.requests.length
  await world.clock.advance(60_000)
  assert.equal(world.server.requests.length, asked)
})

test("a stream that is added to a session while its path is down arrives afterwards", async () => {
  const world = new World()
  const [opener, guest] = [world.page(), world.page()]
  const session = await world.wait(opener.client.open())
  const [mine, theirs] = await world.wait(Promise.all([session.peer, guest.client.enter(session.code)]))
  await world.clock.advance(2000)
  world.network.breakPaths()
  await world.clock.advance(2500)
  mine.addStream(new FakeStream("camera", "video"))
  await world.clock.advance(500)
  world.network.repair(opener.connections[0])
  await world.clock.advance(500)
  assert.deepEqual([...theirs.streams].map(({ id }) => id), ["camera"])
})

test("a code of one's own is used, and cannot be used twice", async () => {
  const world = new World()
  const session = await world.wait(world.page().client.open("tea"))
  assert.equal(session.code, "tea")
  await assert.rejects(world.wait(world.page().client.open("tea")), { code: "code-taken" })
})

test("a code that does not exist is refused, and so is one that was entered already", async () => {
  const world = new World()
  await assert.rejects(world.wait(world.page().client.enter("no")), { code: "not-found" })
  const session = await world.wait(world.page().client.open("tea"))
  await world.wait(Promise.all([session.peer, world.page().client.enter("tea")]))
  await assert.rejects(world.wait(world.page().client.enter("tea")), { code: "already-answered" })
})

test("a session that has expired or was closed says so", async () => {
  const world = new World()
  const { client } = world.page()
  const expired = await world.wait(client.open("tea"))
  world.server.sessions.clear()
  await assert.rejects(world.wait(expired.peer), { code: "not-found" })
  const closed = await world.wait(client.open("coffee"))
  closed.close()
  await assert.rejects(world.wait(closed.peer), { code: "closed" })
})

test("a closed client asks nothing more, whatever it did", async () => {
  const world = new World()
  const [alice, bob] = await world.rooms(2)
  const { id } = await world.wait(alice.page.client.listen(() => {}))
  await world.wait(bob.page.client.connect(id))
  const session = await world.wait(alice.page.client.open())
  await world.wait(bob.page.client.enter(session.code))
  await world.wait(alice.page.client.open("waits"))
  alice.page.client.close()
  await world.clock.advance(1000)
  assert.equal(bob.room.peers.size, 0)
  bob.page.client.close()
  await world.clock.advance(1000)
  const asked = world.server.requests.length
  await world.clock.advance(3_600_000)
  assert.equal(world.server.requests.length, asked)
  assert.equal(world.clock.pending, 0)
})

test("what waits when a client is closed is rejected", async () => {
  for (const path of ["register", "health", "offers", "offers/by-topic/chess"]) {
    const world = new World()
    const page = world.page()
    world.server.intercept = (method, asked) => (asked === path ? new Promise(() => {}) : undefined)
    if (path === "health") world.server.refusesSockets = true
    const waiting = [page.client.join("chess"), page.client.connect("f".repeat(32))]
    if (path !== "offers" && !path.includes("topic")) waiting.push(page.client.listen(() => {}))
    for (const promise of waiting) promise.catch(() => {})
    await world.clock.advance(1000)
    page.client.close()
    for (const promise of waiting) await assert.rejects(world.wait(promise, 1000), { code: "closed" }, path)
  }
})

test("a browser without WebRTC is refused with a reason", async () => {
  const client = new Client({ server: "http://server.example", page: new EventTarget(), storage: null })
  await assert.rejects(client.join("chess"), { code: "unsupported" })
})

const host = "candidate:1 1 udp 2122260223 192.168.1.5 50000 typ host"
const hidden = "candidate:1 1 udp 2122260223 3f2a.local 50000 typ host"
const mapped = (port, base = "0.0.0.0 rport 0") =>
  `candidate:2 1 udp 1686052607 203.0.113.7 ${port} typ srflx raddr ${base}`
const six = "candidate:3 1 udp 2122260223 2001:db8::5 50000 typ host"
const unknown = "No path was found between the two networks; the server offers no relay."
const stun = [{ urls: ["stun:server:5024"] }]
const turn = [...stun, { urls: "turn:server:3478", username: "u", credential: "c" }]
const list = (...candidates) => candidates.map(candidate => ({ candidate, sdpMid: "0" }))

for (const [name, local, remote, servers, code, message] of [
  [
    "both networks are symmetric", list(hidden, mapped(1), mapped(2)), list(mapped(3), mapped(4)), stun,
    "symmetric-pair", "Both networks give every peer another port; the server offers no relay."
  ],
  [
    "one network is symmetric", list(hidden, mapped(1), mapped(2)), list(hidden, mapped(3)), stun, "no-path",
    "This network gives every peer another port, which the other network does not let through; " +
      "the server offers no relay."
  ],
  [
    "two sockets with a port each are no symmetric NAT",
    list(mapped(1, "10.0.0.1 rport 5"), mapped(2, "10.0.0.1 rport 6")),
    list(mapped(3), mapped(4)), turn, "no-path",
    "The network of the peer gives every peer another port, which the other network does not let through; " +
      "the relay of the server could not be used either."
  ],
  [
    "no packet of this network comes back", list(hidden, host), list(mapped(3)), stun, "udp-blocked",
    "No UDP packet of this network reaches the server; the server offers no relay."
  ],
  [
    "no packet of the other network comes back", list(mapped(3)), list(hidden), stun, "udp-blocked",
    "No UDP packet of the peer's network reaches the server; the server offers no relay."
  ],
  [
    "one has IPv4, the other one IPv6", list(host, mapped(1)), list(six), stun, "no-common-family",
    "One network has only IPv4, and the other one only IPv6; the server offers no relay."
  ],
  [
    "two sockets without a base are no symmetric NAT",
    list("candidate:1 1 udp 1 203.0.113.7 1 typ srflx", "candidate:2 1 udp 1 203.0.113.7 2 typ srflx"),
    list(mapped(3)), stun, "no-path", unknown
  ],
  ["without STUN", list(hidden), list(hidden), [], "no-path", unknown],
  [
    "the peer has sent nothing", list(host), [], stun, "no-path",
    "The peer has sent no address; the server offers no relay."
  ],
  ["what is no candidate", list("", "x y z"), list("candidate:"), [], "no-path", unknown]
]) {
  test(`why there is no path: ${name}`, () => {
    assert.deepEqual(explain(local, remote, servers), { code, message })
  })
}

function stats(local, remote, more = {}) {
  const entries = [
    { id: "T", type: "transport", selectedCandidatePairId: "P" },
    { id: "P", type: "candidate-pair", localCandidateId: "L", remoteCandidateId: "R", ...more },
    { id: "L", type: "local-candidate", protocol: "udp", ...local },
    { id: "R", type: "remote-candidate", protocol: "udp", ...remote }
  ]
  return new Map(entries.map(entry => [entry.id, entry]))
}

for (const [kind, local, remote] of [
  ["lan", { candidateType: "host", address: "192.168.1.5" }, { candidateType: "host", address: "192.168.1.6" }],
  ["lan", { candidateType: "host" }, { candidateType: "prflx", address: "10.1.2.3" }],
  ["lan", { candidateType: "host", address: "2001:db8:1:2::5" }, { candidateType: "host", address: "2001:db8:1:2::5" }],
  ["lan", { candidateType: "host", address: "2001:db8:0:0:a::1" }, { candidateType: "host", address: "2001:DB8::6" }],
  ["lan", { candidateType: "host", address: "::1" }, { candidateType: "host", address: "::1" }],
  ["lan", { candidateType: "host", address: "203.0.113.7" }, { candidateType: "host", address: "127.0.0.1" }],
  ["lan", { candidateType: "host", address: "::1" }, { candidateType: "host", address: "2001:db8:1::6" }],
  ["direct", { candidateType: "host", address: "2001:db8:1::6" }, { candidateType: "host", address: "2001:db8:9::6" }],
  ["direct", { candidateType: "srflx", address: "203.0.113.7" }, { candidateType: "host", address: "192.168.1.6" }],
  ["direct", { candidateType: "host", address: "192.168.1.5" }, { candidateType: "prflx", address: "203.0.113.7" }],
  ["relay", { candidateType: "relay", address: "198.51.100.1" }, { candidateType: "host", address: "192.168.1.6" }],
  ["relay", { candidateType: "host", address: "192.168.1.5" }, { candidateType: "relay", address: "198.51.100.1" }]
]) {
  const ends = [local, remote].map(({ candidateType, address }) => `${candidateType} ${address}`)
  test(`a path from ${ends.join(" to ")} is ${kind}`, () => {
    assert.deepEqual(pathOf(stats(local, remote, { currentRoundTripTime: 0.0123 })), { kind, protocol: "udp", rtt: 12 })
  })
}

test("the path of browsers that do not name the pair in the transport is found, too", () => {
  const report = stats({ candidateType: "relay" }, { candidateType: "host" }, { state: "succeeded", selected: true })
  report.delete("T")
  assert.deepEqual(pathOf(report), { kind: "relay", protocol: "udp", rtt: null })
  assert.equal(pathOf(new Map()), null)
})

test("where the operator has given out registration tokens, a page shows its own", async () => {
  const world = new World()
  world.server.registrationToken = "a-token-for-pages-1"
  const registrationToken = world.server.registrationToken
  // As an option of the client, of a verb, and for a session, which shows it although the page has a credential.
  const first = world.page({ registrationToken }).client
  const second = world.page().client
  const { id } = await world.wait(first.listen(() => {}))
  assert.equal((await world.wait(second.connect(id, { registrationToken }))).id, id)
  const session = await world.wait(second.open())
  await world.wait(Promise.all([session.peer, first.enter(session.code)]))
})

test("a page without a registration token is refused at once, and can show one afterwards", async () => {
  const world = new World()
  const page = world.page()
  world.server.registrationToken = "a-token-for-pages-1"
  const verbs = [
    options => page.client.join("chess", options),
    options => page.client.listen(() => {}, options),
    options => page.client.open(undefined, options)
  ]
  for (const verb of verbs) {
    for (const options of [{}, { registrationToken: "another-token-of-pages" }]) {
      const begun = world.clock.now()
      await assert.rejects(world.wait(verb(options)), { code: "registration-token", status: 401 })
      assert.ok(world.clock.now() - begun < 1000)
    }
  }
  const room = await world.wait(page.client.join("chess", { registrationToken: world.server.registrationToken }))
  assert.equal(room.state, "connected")
})

test("a page that is known needs no registration token to come back", async () => {
  const world = new World()
  const page = world.page()
  await world.wait(page.client.join("chess"))
  world.server.registrationToken = "a-token-for-pages-1"
  await world.wait(page.client.join("go"))
})

test("what is no registration token is refused before anything is sent", async () => {
  const world = new World()
  const { client } = world.page()
  for (const registrationToken of [null, 7, "", "short", "a token with spaces in it", "x".repeat(257), "a-token-of-pages\n"]) {
    await assert.rejects(client.join("chess", { registrationToken }), TypeError)
  }
  assert.deepEqual(world.server.requests, [])
  assert.throws(() => world.page({ registrationToken: "short" }), TypeError)
})
