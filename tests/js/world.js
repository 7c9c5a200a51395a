/** Pages, a server and a network between them, on one clock. */

import { Client } from "../../rendezvous/web/static/rendezvous.js"
import { Clock, seeded } from "./clock.js"
import { Network } from "./peers.js"
import { Server } from "./server.js"

export class World {
  clock = new Clock()
  network = new Network(this.clock)
  server = new Server(this.clock)
  #made = 0

  /** One page: its client, and what a test does to it. */
  page(options = {}) {
    const { RTCPeerConnection, made, vanish } = this.network.page()
    const events = new EventTarget()
    const sockets = []
    const { server } = this
    class Socket extends server.WebSocket {
      constructor(url) {
        super(url)
        sockets.push(this)
      }
    }
    const random = seeded(++this.#made)
    let id = 0
    const number = this.#made
    const client = new Client({
      server: "http://server.example/",
      fetch: server.fetch,
      WebSocket: Socket,
      RTCPeerConnection,
      setTimeout: this.clock.setTimeout,
      clearTimeout: this.clock.clearTimeout,
      now: this.clock.now,
      random,
      randomId: () => `offer-${number}-${++id}`,
      storage: null,
      page: events,
      ...options
    })
    /** The browser is killed: its sockets end, and no page code runs that could say so. */
    const kill = () => {
      vanish()
      for (const socket of sockets) {
        socket.onmessage = socket.onclose = null
        socket.close()
      }
    }
    return { client, connections: made, sockets, events, kill, vanish }
  }

  /** Wait for a promise, letting time pass. */
  async wait(promise, limit = 30_000) {
    const result = {}
    promise.then(
      value => Object.assign(result, { value, isDone: true }),
      error => Object.assign(result, { error, isDone: true })
    )
    await this.clock.until(() => result.isDone, limit)
    if ("error" in result) throw result.error
    return result.value
  }

  /** @returns {Promise<Array>} the rooms of so many pages that have met in one topic, with the pages */
  async rooms(count, topic = "chess", options = {}) {
    const pages = Array.from({ length: count }, () => this.page())
    const rooms = []
    for (const [at, page] of pages.entries()) {
      rooms.push(await this.wait(page.client.join(topic, { name: `page ${at}`, ...options })))
    }
    await this.clock.until(() => rooms.every(room => room.peers.size === count - 1))
    return rooms.map((room, at) => ({ room, page: pages[at], log: recorded(room) }))
  }
}

/** @returns {object[]} the events of a room from now on, as [name, ...values] */
export function recorded(room) {
  const log = []
  for (const event of ["join", "leave", "message", "file", "stream", "streamend", "path", "failed", "state", "error"]) {
    room.on(event, (...values) => log.push([event, ...values]))
  }
  return log
}

export function names(log) {
  return log.map(([event]) => event)
}
