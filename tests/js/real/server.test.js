/** The module against a running server, whose URL is in SERVER, in real time. Only the connections are made up. */

import assert from "node:assert/strict"
import { test } from "node:test"

import { Client } from "../../../rendezvous/web/static/rendezvous.js"
import { Network } from "../peers.js"
import { recorded } from "../world.js"

const server = process.env.SERVER
const registrationToken = process.env.REGISTRATION_TOKEN
const network = new Network({ setTimeout, clearTimeout, now: () => performance.now() })
const topic = `topic, with a comma ${Math.random()}`

function page(options = {}) {
  const { RTCPeerConnection } = network.page()
  // Cross-origin pages of browsers send an Origin with each request, and node does not.
  const fetch = (url, request) =>
    globalThis.fetch(url, { ...request, headers: { ...request.headers, Origin: "https://page.example" } })
  const made = { server, RTCPeerConnection, fetch, storage: null, page: new EventTarget(), registrationToken }
  return new Client({ ...made, ...options })
}

async function until(holds, limit = 8000) {
  for (const end = Date.now() + limit; Date.now() < end; ) {
    const found = holds()
    if (found) return found
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  throw new Error(`did not happen: ${holds}`)
}

/** A WebSocket that proxies do not let through, and streams that they hold back. */
class NoSocket {
  constructor() {
    setTimeout(() => this.onclose({ code: 1006, reason: "" }), 1)
  }
  close() {}
}

async function noStreams(url, request) {
  const { pathname } = new URL(url)
  if (pathname === "/events") return new Response("cut", { headers: { "Content-Type": "text/plain" } })
  return await globalThis.fetch(url, request)
}

for (const [name, options] of [
  ["a WebSocket", {}],
  ["a stream", { WebSocket: NoSocket }],
  ["long polling", { WebSocket: NoSocket, fetch: noStreams }]
]) {
  const skip = name === "a WebSocket" && !globalThis.WebSocket && "this node has no WebSockets"
  test(`two pages meet over ${name}, send, and one leaves`, { skip }, async () => {
    const clients = [page(options), page(options)]
    const room = `${topic} ${name}`
    const alice = await clients[0].join(room, { name: "Alice", secret: "s3cret" })
    const log = recorded(alice)
    const bob = await clients[1].join(room, { name: "Bob ☃", secret: "s3cret" })
    await until(() => alice.peers.size === 1 && bob.peers.size === 1)
    assert.equal(alice.peers.get(bob.id).name, "Bob ☃")
    const bobs = recorded(bob)
    await alice.send({ text: "hello" })
    await until(() => bobs.some(([event]) => event === "message"))
    assert.equal(alice.state, "connected")
    const opened = clients[0].feed.lastEventId
    assert.ok(name === "long polling" ? opened === null : /^\d+$/.test(opened), `${opened}`)
    bob.leave()
    await until(() => log.some(([event]) => event === "leave"))
    assert.ok(!log.some(([event]) => event === "failed" || event === "error"), `${log.map(String)}`)
    alice.leave()
    for (const client of clients) client.close()
  })
}

test("a page that joins another room is found there, over the socket that it has", async () => {
  const clients = [page(), page()]
  const rooms = [`${topic} one`, `${topic} two`]
  const [first, second] = [await clients[0].join(rooms[0]), await clients[0].join(rooms[1])]
  const guest = await clients[1].join(rooms[1])
  await until(() => second.peers.size === 1 && guest.peers.size === 1)
  assert.equal(first.peers.size, 0)
  for (const client of clients) client.close()
})

test("a page connects to one that listens, and one enters the code of another", async () => {
  const clients = [page(), page()]
  const accepted = []
  const stop = await clients[0].listen(peer => accepted.push(peer), { name: "listener" })
  const peer = await clients[1].connect(stop.id)
  assert.equal(peer.name, "listener")
  const session = await clients[0].open()
  const [mine, theirs] = await Promise.all([session.peer, clients[1].enter(session.code, { name: "guest" })])
  assert.equal(mine.name, "guest")
  const heard = []
  theirs.on("message", data => heard.push(data))
  await mine.send([1, 2])
  await until(() => heard.length === 1)
  await assert.rejects(clients[1].enter("no such code"), { status: 404 })
  for (const client of clients) client.close()
})

test("the server gives ICE servers, and the connections use them", async () => {
  const client = page()
  const room = await client.join(`${topic} ice`)
  const servers = await client.iceServers.get()
  assert.match(servers[0].urls[0], /^stun:/)
  room.leave()
  client.close()
})

test("what the server refuses is said in its words", async () => {
  const client = page({ fetch: (url, request) => globalThis.fetch(url.replace("/register", "/nothing"), request) })
  await assert.rejects(client.join(topic), { name: "RendezvousError", code: "no-such-path", status: 404 })
  client.close()
})

test("a page without a registration token is refused", { skip: !registrationToken && "this server has none" }, async () => {
  for (const token of [undefined, `${registrationToken}x`]) {
    const client = page({ registrationToken: token })
    await assert.rejects(client.join(topic), { code: "registration-token", status: 401 })
    await assert.rejects(client.open(), { code: "registration-token", status: 401 })
    client.close()
  }
})
