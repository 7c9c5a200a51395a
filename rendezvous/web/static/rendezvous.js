/**
 * Rooms of web pages that are connected directly with each other (WebRTC), through a rendezvous server.
 *
 *     import { join } from "https://rendezvous.example/rendezvous.js"
 *
 *     const room = await join("chess", { name: "Alice" })
 *     room.on("join", peer => room.send(`Hello ${peer.name}`, peer))
 *     room.on("message", (data, peer) => console.log(peer.name, data))
 *
 * The server only brings pages together: messages, files and media go directly from page to page. The module has no
 * dependencies. Times are in milliseconds and sizes in bytes, unless a name says otherwise.
 *
 * The parts of this file, each of which uses only those above it:
 *
 * * Limits
 * * Errors, callbacks, environment
 * * What others send: what of it is taken
 * * Requests, identity, ICE servers: `Http`, `Identity`, `IceServers`
 * * Events of the server: `Feed`, over one of `SocketCarrier`, `StreamCarrier`, `PollCarrier`
 * * Paths: which one there is, or why there is none: `explain`, `pathOf`
 * * One connection: `Link`, a negotiated RTCPeerConnection over any `Signal`
 * * Messages and files: `Transfers`, over the data channel of a link
 * * Peers: `Peer`, a link with its transfers, as pages see it
 * * Connections through offers: `OfferSignal`, `Exchange`, and `Mesh`, one connection to each of many pages
 * * Rooms: `Room`, a mesh of all pages that show themselves in a topic
 * * Connections by peer id: `Direct`, a mesh of those that ask for each other
 * * Sessions by code: `SessionSignal`
 * * The client: `Client`, and the functions that use the client of a server
 *
 * @module rendezvous
 */

export { Client, RendezvousError, connect, enter, explain, join, listen, open, pathOf }

// --- Limits ----------------------------------------------------------------------------------------------------------

/** A request that is not answered for so long has failed. A long poll may take its waiting time longer. */
const REQUEST_TIMEOUT = 15_000
/** A page that publishes an offer for a peer waits so long for its answer. */
const ANSWER_TIMEOUT = 10_000
/** ICE may look for a path so long: browsers give up after 15 to 30 s, some of them never. */
const PATH_TIMEOUT = 20_000
/** A peer is sent a ping at this interval when it is quiet. */
const PING_INTERVAL = 1000
/**
 * After so long without a message the paths are checked anew (ICE restart), and after so long the peer is gone. Answers
 * come a round trip after their pings, so that the silence at the second ping without an answer is less than 2 s.
 */
const RESTART_AFTER = 1800
const GONE_AFTER = 3500
/** An offer that could not be sent is made again after this pause. */
const OFFER_PAUSE = 500
/** A timer that is so late means that this page did not run: the silence of others then proves nothing. */
const STALLED = 2500
/** An event stream without a byte for so long is opened again. The server sends a keep-alive every 15 s. */
const STREAM_SILENCE = 40_000
/** The server is sent a ping at this interval when it is quiet, and has so long to answer; less if there is doubt. */
const SOCKET_PING = 10_000
const SOCKET_PATIENCE = 5000
const SOCKET_DOUBT = 1000
/**
 * Between two long polls; and the longest pause if they are answered sooner than after HASTY with nothing new: a proxy
 * that answers in the place of the server is not asked without end.
 */
const POLL_PAUSE = 100
const HASTY = 1000
const HASTY_PAUSE = 10_000
/** Events that have arrived for so long show that their way is good: the next loss of it begins with short pauses. */
const STEADY = 10_000
/** Bytes of an answer, and characters of an event in a stream, that are taken of the server. */
const LONGEST_BODY = 64 * 1_048_576
const LONGEST_EVENT = 1_048_576
/** Characters of the id of an event, which is sent back when a stream is opened again. */
const LONGEST_ID = 64
/** Seconds that a busy server can keep a page from opening its stream of events again. */
const LONGEST_BUSY = 60
/** ICE servers must be there before an offer gives up waiting. They are asked for at these times at the soonest. */
const ICE_TIMEOUT = 5000
const ICE_SOONEST = 15_000
const ICE_RETRY_LIMIT = 600_000
const ICE_LATEST = 86_400_000
/** Offers for one peer end after a minute, the shortest time that the server takes. */
const OFFER_TTL = 60_000
/** The offer that shows a page in a room, and when it is published again. */
const PRESENCE_TTL = 3_600_000
const PRESENCE_REFRESH = 2_700_000
/** Without an event stream the server cannot see a page go, so its offer must end by itself. */
const POLLED_REFRESH = 25_000
/** A message that is longer than the first is sent in pieces; the second is the most that is kept for one message. */
const SHORT_MESSAGE = 16_384
const LONGEST_MESSAGE = 16 * 1_048_576
/** Every browser takes pieces of this size; those that say so take larger ones. */
const SMALL_PIECE = 16_384
const LARGE_PIECE = 65_536
/** Bytes that wait in a channel before a sender pauses, and at which it goes on. */
const HIGH_WATER = 1_048_576
const LOW_WATER = 262_144
/** A peer that takes nothing of what waits for it at so many checks, one after the other, does not read. */
const UNREAD_CHECKS = 6
const UNREAD_INTERVAL = 5000
/** Bytes of one peer that are kept until there is somebody to deliver them to. */
const LONGEST_HELD = 16 * 1_048_576
/** Pieces of a file are put into a Blob after so many bytes or pieces: a browser may keep a Blob on its disk. */
const BLOB_PART = 8 * 1_048_576
const BLOB_PIECES = 512
/** Messages and files of one peer that may be on their way at one time. */
const INCOMING_AT_ONCE = 64
/** Characters of a description and of a candidate that are taken of a peer. */
const LONGEST_SDP = 262_144
const LONGEST_CANDIDATE = 4096
/** Descriptions of a peer that may wait, and that it may send in so long: each costs a browser some milliseconds. */
const DESCRIPTIONS = 8
const DESCRIPTIONS_IN_TIME = 60
const DESCRIPTIONS_TIME = 10_000
/** Candidates that are taken of a peer until it restarts ICE. The server takes as many for one offer. */
const CANDIDATES = 256
/** Streams of one peer. */
const MAX_STREAMS = 64
/** Candidates that the server takes in one request. */
const CANDIDATES_PER_REQUEST = 50
/**
 * Connections of one page in one room: those that it offers, and all with those that it accepts. So offers that are not
 * answered do not keep others from connecting.
 */
const MAX_OFFERED = 50
const MAX_PEERS = 100
/** Pages of a room that one page knows of. */
const MAX_KNOWN = 1000
/** One event stream watches 32 topics: two for each room, and one for connections without a room. */
const MAX_ROOMS = 15
/** Characters of a name or a secret. */
const NAME_CHARS = 128
/** What a registration token looks like; anything else could not be put into a header. */
const TOKEN = /^[A-Za-z0-9._~+/=-]{16,256}$/

// --- Errors, callbacks, environment ----------------------------------------------------------------------------------

/** What went wrong. `code` is for programs and never changes, `message` is a sentence for people. */
class RendezvousError extends Error {
  /**
   * @param {string} code of the server (docs/protocol), or of this module: "network", "timeout", "unsupported",
   *     "conflict", "no-answer", "dead", "left", "closed", "flood", "refused", "cancelled", "too-long", "too-many",
   *     "symmetric-pair", "udp-blocked", "no-common-family", "no-path"
   * @param {string} message
   * @param {{status?: number, retryAfter?: number, cause?: unknown}} [more] status of HTTP; retryAfter in seconds
   */
  constructor(code, message, { status = 0, retryAfter = 0, cause } = {}) {
    super(message, { cause })
    this.name = "RendezvousError"
    this.code = code
    this.status = status
    this.retryAfter = retryAfter
  }
}

/** @returns {RendezvousError} */
function failure(code, message) {
  return new RendezvousError(code, message)
}

function asError(error, code = "network") {
  return error instanceof RendezvousError ? error : new RendezvousError(code, error.message, { cause: error })
}

/** @returns {boolean} whether the server does not want to do what was asked, and will not want to the next time */
function isRefusal({ status }) {
  return status >= 400 && status < 500 && status !== 429
}

/** Call what the page has given. What it throws is reported as the browser reports errors, and stops nothing here. */
function call(callback, ...values) {
  try {
    callback(...values)
  } catch (error) {
    if (globalThis.reportError) globalThis.reportError(error)
    else console.error(error)
  }
}

/** Callbacks by the name of an event. */
class Listeners {
  #callbacks = new Map()

  on(event, callback) {
    const callbacks = this.#callbacks.get(event) ?? new Set()
    this.#callbacks.set(event, callbacks.add(callback))
    return () => void callbacks.delete(callback)
  }

  has(event) {
    return (this.#callbacks.get(event)?.size ?? 0) > 0
  }

  emit(event, ...values) {
    for (const callback of [...(this.#callbacks.get(event) ?? [])]) call(callback, ...values)
  }
}

/** What a browser gives, or what the options of a `Client` give in its place. */
class Environment {
  constructor(options) {
    this.fetch = options.fetch ?? ((...request) => globalThis.fetch(...request))
    this.WebSocket = "WebSocket" in options ? options.WebSocket : globalThis.WebSocket
    this.RTCPeerConnection = options.RTCPeerConnection ?? globalThis.RTCPeerConnection
    this.setTimeout = options.setTimeout ?? ((...timer) => globalThis.setTimeout(...timer))
    this.clearTimeout = options.clearTimeout ?? (timer => globalThis.clearTimeout(timer))
    this.now = options.now ?? (() => globalThis.performance.now())
    this.random = options.random ?? Math.random
    this.randomId = options.randomId ?? randomId
    this.page = options.page ?? globalThis
    this.storage = "storage" in options ? options.storage : sessionStorageOrNull()
  }

  sleep(milliseconds) {
    return new Promise(resolve => this.setTimeout(resolve, milliseconds))
  }

  /** @returns {number} milliseconds before another try: doubled with each one up to a limit, and never quite equal. */
  backoff(tries, first = 500, limit = 30_000) {
    return Math.min(limit, first * 2 ** tries) * (0.5 + this.random())
  }
}

function withResolvers() {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

function sessionStorageOrNull() {
  try {
    return globalThis.sessionStorage ?? null
  } catch {
    return null // Pages in a sandbox, and browsers without cookies, may not touch it.
  }
}

/** @returns {string} 32 hex digits. `crypto.randomUUID` is missing on pages of plain HTTP. */
function randomId() {
  return Array.from(globalThis.crypto.getRandomValues(new Uint8Array(16)), byte =>
    byte.toString(16).padStart(2, "0")
  ).join("")
}

// --- What others send ------------------------------------------------------------------------------------------------

/** @returns {any} the object of a JSON text, or null if it is none */
function parsed(text) {
  try {
    const value = JSON.parse(text)
    return typeof value === "object" ? value : null
  } catch {
    return null
  }
}

function isText(value) {
  return typeof value === "string" && value !== ""
}

function listOf(value) {
  return Array.isArray(value) ? value : []
}

/** @returns {boolean} whether the server has sent an offer */
function isOffer(value) {
  return isText(value?.id) && isText(value.peerId) && isText(value.sdp)
}

/** @returns {boolean} whether a browser takes it: one that makes no sense would keep it from making connections */
function isIceServer(value) {
  const { urls, username, credential } = value ?? {}
  const isKnown = isText(username) && isText(credential)
  const isGood = url => isText(url) && (/^stuns?:/i.test(url) || (isKnown && /^turns?:/i.test(url)))
  return [urls].flat().length > 0 && [urls].flat().every(isGood)
}

/** @returns {RTCIceCandidateInit | null} what a peer has sent, if it is a candidate of bounded length */
function candidateOf(value) {
  const { candidate, sdpMid = null, sdpMLineIndex = null, usernameFragment = null } = value ?? {}
  const found = { candidate, sdpMid, sdpMLineIndex, usernameFragment }
  return typeof candidate === "string" && JSON.stringify(found).length <= LONGEST_CANDIDATE ? found : null
}

/** @returns {string} a name that another page has sent: a text of bounded length, or nothing */
function nameOf(value) {
  // A character takes up to two units of a text.
  return typeof value === "string" ? [...value.slice(0, 2 * NAME_CHARS)].slice(0, NAME_CHARS).join("") : ""
}

/** @returns {string} what tells one RTCPeerConnection from another: a page that was reloaded has another one */
function fingerprintOf(sdp) {
  return /^a=fingerprint:(.*)$/m.exec(sdp ?? "")?.[1].trim() ?? ""
}

/** @returns {string} what tells the candidates before a restart of ICE from those after it */
function ufragOf(sdp) {
  return /^a=ice-ufrag:(.*)$/m.exec(sdp)?.[1].trim() ?? ""
}

// --- Requests, identity, ICE servers ---------------------------------------------------------------------------------

/** Requests to the server, in JSON. */
class Http {
  /** @param {URL} server with a slash at its end */
  constructor(server, environment) {
    this.server = server
    this.environment = environment
    this.credential = null
    this.registrationToken = null
  }

  /** @returns {Record<string, string>} the headers of a request that only those may send who have a registration token */
  get entrance() {
    return this.registrationToken === null ? {} : { Authorization: `Bearer ${this.registrationToken}` }
  }

  /**
   * @param {object} [options] body: a value, sent as JSON; timeout; signal: an AbortSignal; keepalive: whether the
   *     request may outlive the page; wait: seconds that the server may hold the request; tries: how often it is sent
   *     if the server is busy (429, 503) and so has changed nothing; check(body): whether the answer has what is needed
   * @returns {Promise<any>} the body of the answer, an object
   * @throws {RendezvousError}
   */
  async json(method, path, options = {}) {
    for (let left = options.tries ?? 4; ; ) {
      try {
        return await this.send(method, path, { ...options, read: response => this.#object(response, options.check) })
      } catch (error) {
        const isBusy = error.status === 429 || error.status === 503
        if (--left <= 0 || !isBusy) throw asError(error)
        const pause = Math.min(Math.max(error.retryAfter, 1), 10) * 1000
        await this.environment.sleep(pause * (1 + this.environment.random()))
      }
    }
  }

  async #object(response, check = () => true) {
    const body = parsed(await textOf(response))
    if (body && check(body)) return body
    throw failure("network", `The server ${this.server.host} answered something that makes no sense.`)
  }

  /** @returns {Promise<any>} what `options.read` makes of the answer, in time; the Response without it */
  async send(method, path, options = {}) {
    const { body, headers = {}, signal, keepalive = false, wait = 0, timeout = REQUEST_TIMEOUT, read } = options
    const { fetch, setTimeout, clearTimeout } = this.environment
    const abort = new AbortController()
    const stop = () => abort.abort()
    if (signal?.aborted) stop()
    signal?.addEventListener("abort", stop)
    const timer = setTimeout(stop, timeout + wait * 1000)
    const all = { ...headers }
    if (this.credential) all.Authorization ??= `Bearer ${this.credential}`
    if (body !== undefined) all["Content-Type"] = "application/json"
    try {
      const url = new URL(path, this.server).href
      const request = { method, headers: all, signal: abort.signal, keepalive, cache: "no-store" }
      if (body !== undefined) request.body = JSON.stringify(body)
      const response = await fetch(url, request)
      if (!response.ok) throw await refusal(response, this.server.host)
      return read ? await read(response) : response
    } catch (error) {
      if (error instanceof RendezvousError) throw error
      if (signal?.aborted) throw new RendezvousError("closed", "The request was given up.", { cause: error })
      const what = abort.signal.aborted ? "did not answer in time" : "cannot be reached"
      const code = abort.signal.aborted ? "timeout" : "network"
      throw new RendezvousError(code, `The server ${this.server.host} ${what}.`, { cause: error })
    } finally {
      clearTimeout(timer)
      // A stream goes on after its headers, and must still end with its signal.
      if (!headers.Accept) signal?.removeEventListener("abort", stop)
    }
  }
}

/** @returns {Promise<string>} the body of an answer */
async function textOf(response) {
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let text = ""
  for (let size = 0; reader; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.length
    if (size > LONGEST_BODY) {
      reader.cancel().catch(() => {})
      throw failure("network", "The answer of the server is too long.")
    }
    text += decoder.decode(value, { stream: true })
  }
  return text
}

/** @returns {Promise<RendezvousError>} what the server says, or a proxy in its place */
async function refusal(response, host) {
  const { status, headers } = response
  const said = parsed(await textOf(response)) ?? {}
  const seconds = Number(headers.get("Retry-After"))
  const retryAfter = seconds > 0 && Number.isFinite(seconds) ? seconds : 0
  return refused(said, `The server ${host} answered ${status}.`, { status, retryAfter })
}

/** @returns {RendezvousError} of `code` and `error` that the server has sent */
function refused({ code, error }, otherwise, more) {
  return new RendezvousError(isText(code) ? code : "network", isText(error) ? error : otherwise, more)
}

/**
 * The identity of this page, which survives its reload.
 *
 * A browser copies `sessionStorage` into the copy of a tab, and two pages must not have one identity. So it is in the
 * storage only while no page uses it: a page takes it out, and puts it back when it goes (`pagehide`).
 */
class Identity {
  #http
  #key
  #pending = null
  peerId = null

  constructor(http) {
    this.#http = http
    this.#key = `rendezvous ${http.server.href}`
  }

  /** @returns {Promise<string>} the peer id, after registration if there is none yet */
  get() {
    if (this.#http.credential) return Promise.resolve(this.peerId)
    this.#pending ??= this.#make().finally(() => (this.#pending = null))
    return this.#pending
  }

  async #make() {
    const kept = this.#taken()
    const { peerId, secret } = kept ?? (await this.#register())
    this.peerId = peerId
    this.#http.credential = `${peerId}:${secret}`
    return peerId
  }

  #register() {
    const check = made => isText(made.peerId) && isText(made.secret)
    return this.#http.json("POST", "register", { headers: this.#http.entrance, check })
  }

  /** Forget an identity that the server does not accept any more. */
  forget() {
    this.peerId = this.#http.credential = null
    this.#taken()
  }

  /** Put it into the storage for the next page of this tab. */
  keep() {
    try {
      if (this.#http.credential) this.#http.environment.storage?.setItem(this.#key, this.#http.credential)
    } catch {
      // The storage is full or forbidden: the next page registers.
    }
  }

  #taken() {
    const storage = this.#http.environment.storage
    try {
      const [peerId, secret] = (storage?.getItem(this.#key) ?? "").split(":")
      storage?.removeItem(this.#key)
      return secret ? { peerId, secret } : null
    } catch {
      return null
    }
  }

  /** Take it out of the storage again: the page is back out of the cache of the browser. */
  resume() {
    this.#taken()
  }
}

/** The STUN and TURN servers, which are asked for again before their credentials end. */
class IceServers {
  #http
  #servers = []
  #until = 0
  #failures = 0
  #pending = null
  #timer = null
  #users = new Set()

  constructor(http) {
    this.#http = http
  }

  /** @returns {Promise<RTCIceServer[]>} an empty list if the server offers none, and the last one while it is silent */
  async get() {
    if (this.#http.environment.now() >= this.#until) await (this.#pending ??= this.#ask())
    return this.#servers
  }

  async #ask() {
    const { environment } = this.#http
    let good = Math.min(ICE_RETRY_LIMIT, ICE_SOONEST * 2 ** this.#failures)
    const check = body => Array.isArray(body.iceServers) && body.ttl > 0
    try {
      const { iceServers, ttl } = await this.#http.json("GET", "ice", { tries: 1, timeout: ICE_TIMEOUT, check })
      this.#servers = iceServers.filter(isIceServer)
      this.#failures = 0
      good = Math.min(Math.max(ICE_SOONEST, ttl * 800), ICE_LATEST)
    } catch {
      // Without them pages of one network still find each other.
      this.#failures++
    } finally {
      this.#until = environment.now() + good
      this.#pending = null
    }
    for (const user of this.#users) user(this.#servers)
    this.#plan()
  }

  #plan() {
    const { environment } = this.#http
    environment.clearTimeout(this.#timer)
    this.#timer = null
    if (!this.#users.size) return
    const wait = Math.max(0, this.#until - environment.now())
    this.#timer = environment.setTimeout(() => void (this.#pending ??= this.#ask()), wait)
  }

  /** @returns {() => void} ends the use; until then the callback gets each new list */
  use(callback) {
    this.#users.add(callback)
    if (this.#timer === null) this.#plan()
    return () => {
      this.#users.delete(callback)
      if (!this.#users.size) this.#plan()
    }
  }
}

// --- Events of the server --------------------------------------------------------------------------------------------

/**
 * One way in which events come from the server. It is used once: from its beginning until it says `closed`.
 *
 * @typedef {object} Sink what a carrier calls
 * @property {() => void} opened
 * @property {(name: string, data: any, id?: string) => void} event
 * @property {(error: RendezvousError, isUnfit: boolean) => void} closed isUnfit: this way does not work here, while the
 *     server itself may be well
 */

function eventsPath(feed) {
  const query = new URLSearchParams()
  if (feed.lastEventId) query.set("lastEventId", feed.lastEventId)
  for (const topic of feed.topics) query.append("topic", topic)
  return query.size ? `events?${query}` : "events"
}

/** All events over one WebSocket: it does not take one of the six connections that a browser makes to a host. */
class SocketCarrier {
  #feed
  #sink
  #socket
  #timer
  #isOpen = false

  constructor(feed, sink) {
    this.#feed = feed
    this.#sink = sink
    const url = new URL(eventsPath(feed), feed.http.server)
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
    const socket = (this.#socket = new feed.environment.WebSocket(url.href))
    socket.onopen = () => this.#send({ type: "authenticate", credential: feed.http.credential })
    socket.onmessage = ({ data }) => this.#received(data)
    socket.onclose = ({ code, reason }) => this.#closed(code, reason)
    this.#expect(REQUEST_TIMEOUT)
  }

  changeTopics(added, removed) {
    if (!this.#isOpen) return false
    if (added.length) this.#send({ type: "subscribe", topics: added })
    if (removed.length) this.#send({ type: "unsubscribe", topics: removed })
    return true
  }

  close() {
    this.#sink = null
    this.#feed.environment.clearTimeout(this.#timer)
    this.#socket.close()
  }

  #send(message) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message))
  }

  /** Close the socket unless something arrives in time. */
  #expect(patience) {
    const { environment } = this.#feed
    environment.clearTimeout(this.#timer)
    this.#timer = environment.setTimeout(() => {
      this.#closed(0, "")
      this.#socket.close()
    }, patience)
  }

  check(patience = SOCKET_DOUBT) {
    this.#send({ type: "ping" })
    this.#expect(patience)
  }

  #pingLater() {
    const { environment } = this.#feed
    environment.clearTimeout(this.#timer)
    this.#timer = environment.setTimeout(() => this.check(SOCKET_PATIENCE), SOCKET_PING)
  }

  #received(text) {
    const message = parsed(text)
    if (!this.#sink || !message) return
    this.#pingLater()
    if (message.event === "open") {
      this.#isOpen = true
      this.#sink.opened()
    } else {
      this.#sink.event(message.event, message.data ?? {}, message.id)
    }
  }

  #closed(code, reason) {
    const sink = this.#sink
    if (!sink) return
    this.close()
    const status = code >= 4000 && code < 4600 ? code - 4000 : 0
    const what = new RendezvousError(reason || "network", "The WebSocket to the server has closed.", { status })
    what.isStop = code === 1001
    sink.closed(what, !this.#isOpen && status === 0 && !what.isStop)
  }
}

/** All events over one response of HTTP (Server-Sent Events), read with `fetch` so that no ticket is needed. */
class StreamCarrier {
  #feed
  #sink
  #abort = new AbortController()
  #timer
  #isOpen = false

  constructor(feed, sink) {
    this.#feed = feed
    this.#sink = sink
    this.#expect(REQUEST_TIMEOUT)
    const ended = failure("network", "The event stream of the server has ended.")
    this.#run().then(
      () => this.#closed(ended, !this.#isOpen),
      error => this.#closed(asError(error), error.isUnfit === true)
    )
  }

  /** The topics of a stream are those of its request. */
  changeTopics() {
    return false
  }

  close() {
    this.#sink = null
    this.#feed.environment.clearTimeout(this.#timer)
    this.#abort.abort()
  }

  #expect(patience) {
    const { environment } = this.#feed
    environment.clearTimeout(this.#timer)
    this.#timer = environment.setTimeout(() => {
      this.#closed(failure("timeout", "The event stream of the server is silent."), !this.#isOpen)
    }, patience)
  }

  #closed(error, isUnfit) {
    const sink = this.#sink
    if (!sink) return
    this.close()
    sink.closed(error, isUnfit)
  }

  async #run() {
    const headers = { Accept: "text/event-stream" }
    const response = await this.#feed.http.send("GET", eventsPath(this.#feed), { headers, signal: this.#abort.signal })
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      throw Object.assign(failure("network", "The server sends no event stream."), { isUnfit: true })
    }
    const reader = response.body.getReader()
    try {
      await this.#read(reader)
    } finally {
      reader.cancel().catch(() => {})
    }
  }

  async #read(reader) {
    const lines = new EventLines((name, data, id) => this.#sink?.event(name, data, id))
    const decoder = new TextDecoder()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || !this.#sink) return
      this.#expect(STREAM_SILENCE)
      if (!this.#isOpen) {
        // A proxy that collects the response would hold even the first comment back.
        this.#isOpen = true
        this.#sink.opened()
      }
      lines.add(decoder.decode(value, { stream: true }))
    }
  }
}

/** Reads Server-Sent Events (HTML Standard, section 9.2) whose data is JSON. */
class EventLines {
  #deliver
  #rest = ""
  #name = "message"
  #data = []
  #size = 0
  #id

  constructor(deliver) {
    this.#deliver = deliver
  }

  add(text) {
    const lines = (this.#rest + text).split("\n")
    this.#rest = lines.pop()
    for (const line of lines) this.#line(line.replace(/\r$/, ""))
    if (this.#rest.length + this.#size > LONGEST_EVENT) {
      throw failure("network", "The server sends an event that is too long.")
    }
  }

  #line(line) {
    if (line === "") return this.#end()
    this.#size += line.length
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line)
    if (field === "event") this.#name = value
    else if (field === "data") this.#data.push(value)
    else if (field === "id") this.#id = value
  }

  #end() {
    const data = this.#data.length ? parsed(this.#data.join("\n")) : null
    // A block without data is no event, but its id counts.
    if (data) this.#deliver(this.#name, data, this.#id)
    else if (this.#id) this.#deliver("keep-alive", {}, this.#id)
    this.#name = "message"
    this.#data = []
    this.#size = 0
    this.#id = undefined
  }
}

/** All events by long polling: for networks whose proxies pass on neither WebSockets nor streams. */
class PollCarrier {
  #feed
  #sink
  #abort = new AbortController()
  #polled = new Map()
  #isOpen = false

  constructor(feed, sink) {
    this.#feed = feed
    this.#sink = sink
    this.#poll("answers", "offers/answers", "answers", ({ answers }) => {
      for (const answer of answers) this.#sink?.event("answer", answer)
      return answers.at(-1)?.answeredAt
    })
    this.changeTopics(feed.topics, [])
    for (const offerId of feed.followed) this.follow(offerId)
  }

  changeTopics(added, removed) {
    for (const topic of removed) this.#polled.delete(`topic ${topic}`)
    for (const topic of added) {
      const read = ({ reset, offers, gone, since }) => {
        if (reset) this.#sink?.event("reset", { topics: [topic] })
        else for (const offer of offers) this.#sink?.event("offer", offer)
        for (const one of listOf(gone)) this.#sink?.event("gone", { topics: [topic], ...one })
        return since
      }
      this.#poll(`topic ${topic}`, `offers/by-topic/${encodeURIComponent(topic)}`, "offers", read, "0")
    }
    return true
  }

  /** Read the candidates of an offer until a connection has come about. */
  follow(offerId) {
    const path = `offers/${encodeURIComponent(offerId)}/ice-candidates`
    this.#poll(`offer ${offerId}`, path, "candidates", ({ candidates }) => {
      for (const candidate of candidates) this.#sink?.event("candidate", { offerId, ...candidate })
      return candidates.at(-1)?.createdAt
    })
  }

  unfollow(offerId) {
    this.#polled.delete(`offer ${offerId}`)
  }

  close() {
    this.#sink = null
    this.#polled.clear()
    this.#abort.abort()
  }

  /** Ask again and again, each time for what is later than the answer before, which has a list of this name. */
  async #poll(name, path, list, read, since) {
    const token = {}
    this.#polled.set(name, token)
    const pauses = new Pauses(this.#feed.environment)
    const check = body => Array.isArray(body[list])
    for (let tries = 0; this.#sink && this.#polled.get(name) === token; ) {
      // A browser makes six connections to a host. With more polls than four, each must leave room for others.
      const wait = this.#polled.size > 4 ? 2 : 25
      const query = new URLSearchParams({ wait })
      if (since !== undefined) query.set("since", since)
      try {
        pauses.begin()
        const body = await this.#feed.http.json("GET", `${path}?${query}`, { wait, signal: this.#abort.signal, check })
        if (this.#polled.get(name) !== token) return
        this.#opened()
        const latest = read(body) ?? since
        const isNew = latest !== since
        since = latest
        tries = 0
        await pauses.after(isNew)
      } catch (error) {
        if (!this.#sink || this.#polled.get(name) !== token) return
        if (error.status === 401) return this.#closed(error)
        // The answerer may read candidates only after it has answered, and an offer ends.
        if (error.status === 404) return void this.#polled.delete(name)
        if (!isRefusal(error) && tries > 2) return this.#closed(error)
        await this.#feed.environment.sleep(error.status === 403 ? 300 : this.#feed.environment.backoff(tries++))
      }
    }
  }

  #opened() {
    if (this.#isOpen) return
    this.#isOpen = true
    this.#sink.opened()
  }

  #closed(error) {
    const sink = this.#sink
    this.close()
    sink?.closed(error, false)
  }
}

/** The pauses between long polls. */
class Pauses {
  #environment
  #asked = 0
  #hasty = 0

  constructor(environment) {
    this.#environment = environment
  }

  /** A poll is sent. */
  begin() {
    this.#asked = this.#environment.now()
  }

  /** It was answered: wait until the next one. */
  async after(isNew) {
    const isHasty = !isNew && this.#environment.now() - this.#asked < HASTY
    this.#hasty = isHasty ? this.#hasty + 1 : 0
    await this.#environment.sleep(isHasty ? this.#environment.backoff(this.#hasty, 250, HASTY_PAUSE) : POLL_PAUSE)
  }
}

/** The events of this page, over the best carrier that works here, as long as they are used. */
class Feed {
  topics = []
  followed = new Set()
  lastEventId = null
  #hooks
  #carriers
  #carrier = null
  #kind = 0
  #unfit = 0
  #tries = 0
  #users = 0
  #timer = null
  #opening = null
  #attempt = null
  #openedAt = 0
  #rejections = 0
  isOpen = false

  /**
   * @param {object} hooks prepare(): gets a credential, opened(), event(name, data), lost(error), rejected(): the
   *     server does not accept the credential any more
   */
  constructor(http, hooks) {
    this.http = http
    this.environment = http.environment
    this.#hooks = hooks
    this.#carriers = [SocketCarrier, StreamCarrier, PollCarrier].slice(this.environment.WebSocket ? 0 : 1)
  }

  /** Whether the server sees it when this page goes. */
  get endsWithPage() {
    return this.#carriers[this.#kind] !== PollCarrier
  }

  /** @returns {() => void} ends the use */
  use() {
    if (this.#users++ === 0) this.#open()
    let isUsed = true
    return () => {
      if (isUsed && --this.#users === 0) this.stop()
      isUsed = false
    }
  }

  /** @returns {Promise<void>} that is resolved when events arrive, and rejected if the server cannot be reached now */
  opened() {
    if (this.isOpen) return Promise.resolve()
    this.#opening ??= withResolvers()
    this.#opening.promise.catch(() => {})
    return this.#opening.promise
  }

  stop() {
    this.environment.clearTimeout(this.#timer)
    this.#attempt = null
    this.#carrier?.close()
    this.#carrier = null
    this.isOpen = false
  }

  /** @param {RendezvousError} error what those get who still wait for the first event */
  end(error) {
    this.stop()
    this.#opening?.reject(error)
    this.#opening = null
  }

  /** Try again at once: the network is back, or the page. */
  hurry() {
    if (!this.#users || this.#carrier) return
    this.#tries = 0
    // Another network may let WebSockets through.
    this.#kind = this.#unfit = 0
    this.#open()
  }

  /** See soon whether the server still answers. */
  check() {
    this.#carrier?.check?.()
  }

  watch(topic) {
    if (this.topics.includes(topic)) return
    this.topics = [...this.topics, topic]
    this.#changed([topic], [])
  }

  unwatch(topic) {
    if (!this.topics.includes(topic)) return
    this.topics = this.topics.filter(other => other !== topic)
    this.#changed([], [topic])
  }

  follow(offerId) {
    this.followed.add(offerId)
    this.#carrier?.follow?.(offerId)
  }

  unfollow(offerId) {
    this.followed.delete(offerId)
    this.#carrier?.unfollow?.(offerId)
  }

  #changed(added, removed) {
    if (!this.#carrier || this.#carrier.changeTopics(added, removed)) return
    // A stream has its topics from its beginning on. What is not watched any more does no harm.
    if (added.length) {
      this.stop()
      this.#open()
    }
  }

  #open() {
    this.environment.clearTimeout(this.#timer)
    const attempt = (this.#attempt = {})
    const isCurrent = () => attempt === this.#attempt
    this.#hooks.prepare().then(
      () => isCurrent() && this.#begin(),
      error => isCurrent() && this.#closed(asError(error), false)
    )
  }

  #begin() {
    let carrier = null
    const sink = {
      opened: () => this.#carrierOpened(),
      event: (name, data, id) => this.#event(name, data, id),
      closed: (error, isUnfit) => this.#carrier === carrier && this.#closed(error, isUnfit)
    }
    try {
      carrier = this.#carrier = new this.#carriers[this.#kind](this, sink)
    } catch (error) {
      // Pages of HTTPS may not open every WebSocket.
      this.#closed(asError(error), true)
    }
  }

  #carrierOpened() {
    this.isOpen = true
    this.#openedAt = this.environment.now()
    this.#unfit = this.#rejections = 0
    this.#opening?.resolve()
    this.#opening = null
    this.#hooks.opened()
  }

  #event(name, data, id) {
    if (isText(id) && id.length <= LONGEST_ID) this.lastEventId = id
    if (name !== "keep-alive" && name !== "pong") this.#hooks.event(name, data && typeof data === "object" ? data : {})
  }

  /** A carrier that does not come through while the server answers requests gives way to the next one. */
  async #unfitted(error) {
    const attempt = (this.#attempt = {})
    try {
      await this.http.json("GET", "health")
    } catch {
      return attempt === this.#attempt && this.#closed(error, false)
    }
    if (attempt !== this.#attempt) return
    if (++this.#unfit === 2 && this.#kind < this.#carriers.length - 1) {
      this.#kind++
      this.#unfit = 0
    }
    this.#open()
  }

  #closed(error, isUnfit) {
    // One that is closed soon after it was opened is no reason to hurry.
    if (this.isOpen && this.environment.now() - this.#openedAt >= STEADY) this.#tries = 0
    this.#carrier = null
    this.isOpen = false
    if (isUnfit && this.#unfit < 2) return void this.#unfitted(error)
    if (error.status === 400 || error.status === 401) this.lastEventId = null
    if (error.status === 401) this.#hooks.rejected()
    // A credential of an earlier visit may have ended. One that was made just now has not.
    if (error.status !== 401 || ++this.#rejections > 1) {
      this.#opening?.reject(error)
      this.#opening = null
    }
    this.#hooks.lost(error)
    if (!this.#users) return
    // When a server stops, all of its clients lose it at the same moment, and must not come back at the same one.
    const spread = error.isStop ? 500 + 4500 * this.environment.random() : 0
    const busy = Math.min(error.retryAfter, LONGEST_BUSY) * 1000 * (1 + this.environment.random())
    const wait = Math.max(spread, busy, this.environment.backoff(this.#tries++))
    this.#timer = this.environment.setTimeout(() => this.#open(), wait)
  }
}

// --- Paths: which one there is, or why there is none -----------------------------------------------------------------

/** @returns {object} the fields of a candidate (RFC 8839, section 5.1) that say something about its network */
function fieldsOf(init) {
  const words = (init.candidate ?? "").split(" ")
  const after = word => words[words.indexOf(word, 6) + 1]
  const isRelated = words.includes("raddr") && after("rport") !== "0"
  return {
    base: [init.sdpMid, words[1], isRelated ? `${after("raddr")} ${after("rport")}` : words[0]].join(" "),
    protocol: (words[2] ?? "").toLowerCase(),
    address: words[4] ?? "",
    port: words[5],
    type: words[7]
  }
}

function networkOf(candidates) {
  const udp = candidates.map(fieldsOf).filter(({ protocol, type }) => protocol === "udp" && type)
  const reflexive = udp.filter(({ type }) => type === "srflx")
  const ports = new Map()
  for (const { base, address, port } of reflexive) {
    const key = `${base} ${address}`
    ports.set(key, (ports.get(key) ?? new Set()).add(port))
  }
  const isVisible = ({ type, address }) => type !== "host" || (address.includes(".") && !isLocal(address))
  const families = new Set(
    udp.filter(({ address }) => !address.endsWith(".local")).map(({ address }) => (address.includes(":") ? 6 : 4))
  )
  return {
    // One socket has two ports from outside: the NAT has endpoint-dependent mapping (RFC 4787, section 4.1).
    isSymmetric: [...ports.values()].some(seen => seen.size > 1),
    isBlocked: !udp.some(isVisible) && !udp.some(({ address }) => address.includes(":") && !isLocal(address)),
    onlyFamily: families.size === 1 && udp.every(({ address }) => !address.endsWith(".local")) ? [...families][0] : null
  }
}

/** @returns {boolean} whether an address is of a private network, of one link, or hidden (mDNS) */
function isLocal(address) {
  if (!address || address.endsWith(".local")) return true
  if (address.includes(":")) return /^(f[cd]|fe[89ab]|::1$)/i.test(address)
  return /^(0|10|127|169\.254|192\.168|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(address)
}

/**
 * Say why ICE has found no path. Browsers say only that there is none.
 *
 * @param {readonly RTCIceCandidateInit[]} local all candidates of this page
 * @param {readonly RTCIceCandidateInit[]} remote all candidates of the peer
 * @param {readonly RTCIceServer[]} iceServers
 * @returns {{code: string, message: string}} code: as for attempts (docs/protocol/connect), or "no-path"
 */
function explain(local, remote, iceServers) {
  const urls = iceServers.flatMap(server => server.urls)
  const hasRelay = urls.some(url => /^turns?:/i.test(url))
  const hasStun = hasRelay || urls.some(url => /^stuns?:/i.test(url))
  const relay = hasRelay ? "the relay of the server could not be used either" : "the server offers no relay"
  const [mine, theirs] = [networkOf(local), networkOf(remote)]
  const said = (code, what) => ({ code, message: `${what}; ${relay}.` })
  if (!remote.length) return said("no-path", "The peer has sent no address")
  if (mine.isSymmetric && theirs.isSymmetric) {
    return said("symmetric-pair", "Both networks give every peer another port")
  }
  if (hasStun && mine.isBlocked) return said("udp-blocked", "No UDP packet of this network reaches the server")
  if (hasStun && theirs.isBlocked) return said("udp-blocked", "No UDP packet of the peer's network reaches the server")
  if (mine.onlyFamily && theirs.onlyFamily && mine.onlyFamily !== theirs.onlyFamily) {
    return said("no-common-family", "One network has only IPv4, and the other one only IPv6")
  }
  if (mine.isSymmetric || theirs.isSymmetric) {
    const which = mine.isSymmetric ? "This network" : "The network of the peer"
    return said("no-path", `${which} gives every peer another port, which the other network does not let through`)
  }
  return said("no-path", "No path was found between the two networks")
}

/**
 * Find which path carries a connection.
 *
 * @param {RTCStatsReport} stats
 * @returns {{kind: "lan" | "direct" | "relay", protocol: string, rtt: number | null} | null} rtt: the last round trip,
 *     in milliseconds; null if no pair is in use
 */
function pathOf(stats) {
  const all = new Map()
  stats.forEach(entry => all.set(entry.id, entry))
  const entries = [...all.values()]
  const transport = entries.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId)
  const pairs = entries.filter(({ type, state }) => type === "candidate-pair" && state === "succeeded")
  const pair =
    all.get(transport?.selectedCandidatePairId) ??
    pairs.find(({ selected }) => selected) ??
    pairs.find(({ nominated }) => nominated)
  const ends = [all.get(pair?.localCandidateId), all.get(pair?.remoteCandidateId)]
  if (!ends[0] || !ends[1]) return null
  const rtt = pair.currentRoundTripTime === undefined ? null : Math.round(pair.currentRoundTripTime * 1000)
  const { protocol } = ends[0]
  if (ends.some(end => end.candidateType === "relay")) return { kind: "relay", protocol, rtt }
  const isNear = end => end.candidateType !== "srflx" && isLocal(end.address ?? end.ip ?? "")
  // Only a page of the same computer is reached at a loopback address, whichever address it is reached from.
  const isLoopback = end => /^(127\.|::1$)/.test(end.address ?? end.ip ?? "")
  const isLan = ends.every(isNear) || ends.some(isLoopback) || sameNetwork(...ends)
  return { kind: isLan ? "lan" : "direct", protocol, rtt }
}

/** @returns {boolean} whether both are in one IPv6 /64, or have the same address */
function sameNetwork(one, other) {
  const [mine, theirs] = [one, other].map(end => networkPart(end.address ?? end.ip ?? ""))
  return mine !== "" && mine === theirs
}

/** @returns {string} the first half of an IPv6 address; another address as it is */
function networkPart(address) {
  if (!address.includes(":")) return address
  const [head, tail] = address.split("::").map(part => (part ? part.split(":") : []))
  const zeros = tail ? Array(8 - head.length - tail.length).fill("0") : []
  const words = [...head, ...zeros, ...(tail ?? [])].slice(0, 4)
  return words.map(word => parseInt(word, 16).toString(16)).join(":")
}

// --- One connection --------------------------------------------------------------------------------------------------

/** Why a peer that is alive, but takes nothing, is given up. */
const NOT_READ = "The peer does not read what it is sent."

/**
 * One RTCPeerConnection with its negotiation ("perfect negotiation": WebRTC, section 10.7) and two data channels.
 *
 * "control" carries descriptions and candidates once it is open, and pings. "data" carries what users send.
 *
 * @typedef {object} Signal carries descriptions and candidates as long as there is no connection
 * @property {boolean} canRestart whether it can carry another offer after the first one
 * @property {number} patience how long an answer may take
 * @property {(sdp: string) => Promise<void>} offer
 * @property {(via: string) => void} answering candidates from now on belong to the answer
 * @property {(sdp: string) => Promise<void>} answer
 * @property {(candidate: RTCIceCandidateInit) => void} candidate
 * @property {() => void} settled it is not needed until the next offer
 * @property {() => void} doubt it is needed soon; called only if `canRestart`
 * @property {() => void} end
 */
class Link {
  #environment
  #signal
  #hooks
  #isPolite
  #name
  #control = null
  #isMaking = false
  #isIgnoring = false
  #isHelloHere = false
  #early = []
  #chain = Promise.resolve()
  #timer = null
  #deadline = null
  #release
  #heard = 0
  #lastTick = 0
  #ticks = 0
  #hasRestarted = false
  #isDeferred = false
  #isPausing = false
  #viaControl = false
  #local = []
  #remote = []
  #remoteUfrag = null
  #waiting = 0
  #counted = 0
  #countedSince = -Infinity
  #streams = []
  #began
  #pathAfter = null
  data = null
  path = null
  isOpen = false
  isClosed = false

  /**
   * @param {object} options iceServers, isPolite: gives way when both offer at once, name: of this page, use: called
   *     with what takes new ICE servers, returns what ends that
   * @param {object} hooks opened(), closed(error), frame(data), path(path), stream(stream), streamEnd(stream)
   */
  constructor(environment, signal, options, hooks) {
    this.#environment = environment
    this.#signal = signal
    this.#hooks = hooks
    this.#isPolite = options.isPolite
    this.#name = options.name
    this.iceServers = options.iceServers
    this.#began = environment.now()
    const pc = (this.connection = new environment.RTCPeerConnection({ iceServers: this.iceServers }))
    pc.onnegotiationneeded = () => void this.#negotiate()
    pc.onicecandidate = ({ candidate }) => candidate?.candidate && this.#found(candidate)
    pc.onconnectionstatechange = () => this.#stateChanged()
    pc.ontrack = ({ track, streams }) => this.#arrived(track, streams)
    this.#release = options.use(iceServers => this.#renew(iceServers))
  }

  /** The fingerprint of the page that this is a connection to; empty until it is known. */
  get fingerprint() {
    return fingerprintOf(this.connection.remoteDescription?.sdp)
  }

  /** Offer a connection: the creation of the channels asks for a negotiation. */
  begin(streams) {
    this.#makeChannels()
    for (const stream of streams) this.addStream(stream)
  }

  /** Take the first offer of the peer, and answer it. */
  accept(sdp, streams, via) {
    this.#streams = streams
    this.#giveUpIn(PATH_TIMEOUT, () => this.#noPath())
    return this.description({ type: "offer", sdp }, via)
  }

  addStream(stream) {
    for (const track of stream.getTracks()) {
      const isThere = this.connection.getSenders().some(sender => sender.track === track)
      if (!isThere) this.connection.addTrack(track, stream)
    }
  }

  removeStream(stream) {
    const tracks = new Set(stream.getTracks())
    for (const sender of this.connection.getSenders()) {
      if (sender.track && tracks.has(sender.track)) this.connection.removeTrack(sender)
    }
  }

  /**
   * Take a description of the peer.
   *
   * @param {string | null} via what the signal needs for an answer; null if it came over the control channel
   */
  description({ type, sdp }, via = null) {
    const isGood = ["offer", "answer"].includes(type) && typeof sdp === "string" && sdp.length <= LONGEST_SDP
    if (!isGood) return Promise.resolve()
    if (this.#isFlood()) {
      this.close(failure("flood", "The peer negotiates more than this page can follow."))
      return Promise.resolve()
    }
    const ufrag = ufragOf(sdp)
    if (this.#remoteUfrag !== null && ufrag !== this.#remoteUfrag) this.#remote = []
    this.#remoteUfrag = ufrag
    this.#waiting++
    return this.#inOrder(() => this.#describe({ type, sdp }, via)).finally(() => this.#waiting--)
  }

  #isFlood() {
    const now = this.#environment.now()
    if (now - this.#countedSince >= DESCRIPTIONS_TIME) {
      this.#countedSince = now
      this.#counted = 0
    }
    return ++this.#counted > DESCRIPTIONS_IN_TIME || this.#waiting >= DESCRIPTIONS
  }

  candidate(value) {
    const candidate = candidateOf(value)
    if (!candidate || this.#remote.length >= CANDIDATES) return Promise.resolve()
    this.#remote.push(candidate)
    return this.#inOrder(async () => {
      if (this.connection.remoteDescription) return this.#addCandidate(candidate)
      this.#early.push(candidate)
    })
  }

  /** @param {RendezvousError} error why; the peer gets its code, unless it cannot be reached any more */
  close(error) {
    if (this.isClosed) return
    if (this.isOpen && error.code !== "dead") this.#say({ bye: error.code })
    this.isClosed = true
    this.#environment.clearTimeout(this.#timer)
    this.#environment.clearTimeout(this.#deadline)
    this.#release()
    this.#signal.end()
    // What was said must leave before the channel closes.
    this.#environment.setTimeout(() => this.connection.close(), this.isOpen && error.code !== "dead" ? 50 : 0)
    this.#hooks.closed(error)
  }

  // Messages that arrive one after the other take effect one after the other.
  #inOrder(step) {
    const result = this.#chain.then(() => (this.isClosed ? false : step()))
    this.#chain = result.catch(error => this.close(asError(error, "no-path")))
    return this.#chain
  }

  async #describe({ type, sdp }, via) {
    const pc = this.connection
    const isCollision = type === "offer" && (this.#isMaking || pc.signalingState !== "stable")
    this.#isIgnoring = isCollision && !this.#isPolite
    // An answer to an offer that this side has taken back in the meantime.
    if (this.#isIgnoring || (type === "answer" && pc.signalingState !== "have-local-offer")) return
    await pc.setRemoteDescription({ type, sdp })
    for (const candidate of this.#early.splice(0)) await this.#addCandidate(candidate)
    if (!this.isOpen) this.#giveUpIn(PATH_TIMEOUT, () => this.#noPath())
    if (type === "offer") await this.#answer(via)
  }

  async #answer(via) {
    this.#viaControl = via === null
    if (!this.#control) this.#makeChannels()
    for (const stream of this.#streams.splice(0)) this.addStream(stream)
    if (via !== null) this.#signal.answering(via)
    await this.connection.setLocalDescription()
    if (this.isClosed) return
    const { sdp } = this.connection.localDescription
    if (via === null) this.#say({ description: { type: "answer", sdp } })
    else await this.#signal.answer(sdp)
  }

  async #addCandidate(candidate) {
    try {
      await this.connection.addIceCandidate(candidate)
    } catch (error) {
      // One that belongs to an offer that was ignored, or that this browser does not understand, is not needed.
      if (!this.#isIgnoring) console.debug("A candidate of the peer was not used:", error)
    }
  }

  async #negotiate() {
    if (this.isClosed) return
    // Another negotiation would take the place of the one whose candidates are still on their way.
    this.#isDeferred = !this.isOpen && this.connection.remoteDescription !== null
    if (this.#isDeferred || this.#isPausing) return
    try {
      this.#isMaking = true
      await this.connection.setLocalDescription()
      if (this.isClosed || this.connection.localDescription?.type !== "offer") return
      this.#viaControl = this.isOpen && (this.#isWell() || !this.#signal.canRestart)
      const { sdp } = this.connection.localDescription
      if (this.#viaControl) return this.#say({ description: { type: "offer", sdp } })
      if (!this.isOpen) this.#giveUpIn(this.#signal.patience, () => this.#noAnswer())
      const sent = this.#signal.offer(sdp)
      this.#isMaking = false
      await sent
    } catch (error) {
      if (!this.isOpen) return this.close(asError(error, "no-path"))
      await this.#offerAgain()
    } finally {
      this.#isMaking = false
    }
  }

  /** The server cannot be reached now. The offer is taken back, so that one of the peer can be answered. */
  async #offerAgain() {
    // A browser asks for a negotiation at once when an offer was taken back.
    this.#isPausing = true
    this.#environment.setTimeout(() => {
      this.#isPausing = false
      if (this.connection.signalingState === "stable") void this.#negotiate()
    }, OFFER_PAUSE)
    if (this.connection.signalingState === "have-local-offer") {
      await this.connection.setLocalDescription({ type: "rollback" }).catch(() => {})
    }
  }

  /** @returns {boolean} whether the control channel carries what is said on it now */
  #isWell() {
    const silence = this.#environment.now() - this.#heard
    return this.connection.connectionState === "connected" && silence < RESTART_AFTER
  }

  #found(candidate) {
    const init = candidate.toJSON?.() ?? candidate
    // They are of interest as long as there may be no path.
    if (!this.isOpen) this.#local.push(init)
    if (this.#viaControl) this.#say({ candidate: init })
    else this.#signal.candidate(init)
  }

  #renew(iceServers) {
    this.iceServers = iceServers
    try {
      this.connection.setConfiguration({ iceServers })
    } catch {
      // A browser that cannot change them keeps the old ones, which are good until a restart of ICE.
    }
  }

  #makeChannels() {
    const control = (this.#control = this.connection.createDataChannel("control", { negotiated: true, id: 0 }))
    const data = (this.data = this.connection.createDataChannel("data", { negotiated: true, id: 1 }))
    data.binaryType = "arraybuffer"
    data.bufferedAmountLowThreshold = LOW_WATER
    control.onopen = () => this.#say({ hello: { name: this.#name } })
    control.onmessage = event => this.#controlled(parsed(event.data) ?? {})
    data.onopen = () => this.#opened()
    data.onmessage = event => {
      this.#heard = this.#environment.now()
      if (!this.isClosed) this.#hooks.frame(event.data)
    }
    control.onclose = data.onclose = () => this.close(failure("dead", "The connection to the peer has closed."))
  }

  #say(message) {
    if (this.#control?.readyState !== "open") return
    // A peer that asks for answers and does not read them would fill the memory.
    if (this.#control.bufferedAmount > HIGH_WATER) return this.close(failure("dead", NOT_READ))
    try {
      this.#control.send(JSON.stringify(message))
    } catch {
      // The connection has just closed, and says so itself.
    }
  }

  #controlled(message) {
    if (this.isClosed) return
    this.#heard = this.#environment.now()
    if (message.hello) {
      this.#isHelloHere = true
      this.peerName = nameOf(message.hello.name)
      this.#opened()
    } else if ("ping" in message) {
      this.#say({ pong: message.ping })
    } else if (message.description) {
      void this.description(message.description)
    } else if (message.candidate) {
      void this.candidate(message.candidate)
    } else if (message.bye) {
      this.close(failure("left", "The page was closed, or has ended the connection."))
    }
  }

  /** The connection is open when each side knows that the other one hears it. */
  #opened() {
    const isReady = this.#isHelloHere && this.data.readyState === "open" && this.#control.readyState === "open"
    if (this.isOpen || this.isClosed || !isReady) return
    this.isOpen = true
    this.#environment.clearTimeout(this.#deadline)
    this.#signal.settled()
    this.#viaControl = true
    this.#heard = this.#lastTick = this.#environment.now()
    this.#pathAfter ??= Math.round(this.#environment.now() - this.#began)
    this.#timer = this.#environment.setTimeout(() => this.#tick(), PING_INTERVAL)
    this.#hooks.opened()
    // Those that are still on their way through the server are lost, because the offer ends now. ICE may need them for
    // a better path than the first one. A candidate that comes twice does no harm.
    for (const candidate of this.#local) this.#say({ candidate })
    if (this.#isDeferred) void this.#negotiate()
    this.#watchPath()
  }

  #tick() {
    const now = this.#environment.now()
    // This page, or the whole computer, slept.
    if (now - this.#lastTick > STALLED) this.#heard = now
    this.#lastTick = now
    const silence = now - this.#heard
    if (silence >= GONE_AFTER) {
      return this.close(failure("dead", `The peer has not answered for ${Math.round(silence / 1000)} s.`))
    }
    if (silence >= RESTART_AFTER && !this.#hasRestarted && this.#signal.canRestart) {
      // Its network, or ours, may have changed; then the link to the server has broken, too.
      this.#hasRestarted = true
      this.#signal.doubt()
      this.connection.restartIce?.()
    }
    if (this.#hasRestarted && silence < RESTART_AFTER && this.connection.signalingState === "stable") {
      this.#hasRestarted = false
      this.#viaControl = true
      this.#signal.settled()
    }
    if (silence >= PING_INTERVAL * 0.8) this.#say({ ping: now })
    // Browsers do not name the path at once, and it may change.
    if (++this.#ticks % 5 === 0 || !this.path) void this.#readPath()
    this.#timer = this.#environment.setTimeout(() => this.#tick(), PING_INTERVAL)
  }

  #stateChanged() {
    const state = this.connection.connectionState
    if (state === "connected") {
      this.#pathAfter ??= Math.round(this.#environment.now() - this.#began)
      if (this.isOpen) void this.#readPath()
    } else if (state === "failed") {
      if (!this.isOpen) this.#noPath()
      else if (this.#signal.canRestart) this.connection.restartIce?.()
    }
  }

  /** ICE often replaces its first path by a better one. Browsers that do not say so are asked at every fifth tick. */
  #watchPath() {
    const ice = this.connection.sctp?.transport?.iceTransport
    if (ice) ice.onselectedcandidatepairchange = () => void this.#readPath()
    void this.#readPath()
  }

  async #readPath() {
    const stats = await this.connection.getStats().catch(() => new Map())
    const found = pathOf(stats)
    if (!found || this.isClosed) return
    const isNew = found.kind !== this.path?.kind || found.protocol !== this.path?.protocol
    this.path = { ...found, ms: this.#pathAfter }
    if (isNew) this.#hooks.path(this.path)
  }

  #giveUpIn(milliseconds, what) {
    this.#environment.clearTimeout(this.#deadline)
    this.#deadline = this.#environment.setTimeout(what, milliseconds)
  }

  #noAnswer() {
    const time = `${Math.round(this.#signal.patience / 1000)} s`
    const message = `The peer did not answer within ${time}: it may be gone, or does not accept this page.`
    this.close(failure("no-answer", message))
  }

  #noPath() {
    if (this.connection.connectionState === "connected") {
      return this.close(failure("no-answer", "The peer is there, but does not speak the protocol of this page."))
    }
    const { code, message } = explain(this.#local, this.#remote, this.iceServers)
    this.close(failure(code, message))
  }

  #arrived(track, streams) {
    for (const stream of streams) {
      this.#hooks.stream(stream)
      stream.onremovetrack = () => stream.getTracks().length || this.#hooks.streamEnd(stream)
    }
  }
}

// --- Messages and files ----------------------------------------------------------------------------------------------

/**
 * Messages and files over one data channel.
 *
 * A text frame is a JSON object: `{"message": value}` is a short message, `{"id", "kind", "size", ...}` begins a long
 * one or a file, `{"done": id}` says that all of it has arrived, `{"refuse": id}` that the reader wants no more, and
 * `{"cancel": id}` that the sender has given up. A binary frame is the id in four bytes and the next bytes.
 */
class Transfers {
  #environment
  #link
  #hooks
  #nextId = 1
  #sent = new Map()
  #incoming = new Map()
  #last = Promise.resolve()
  #ended = null
  #waiting = new Set()
  #timer = null
  #written = 0

  /** @param {object} hooks message(data), file(incoming): returns whether a callback takes it */
  constructor(environment, link, hooks) {
    this.#environment = environment
    this.#link = link
    this.#hooks = hooks
  }

  get #channel() {
    return this.#link.data
  }

  /** Messages arrive in the order in which they were sent. Files arrive beside them. */
  send(data) {
    const sending = this.#last.then(() => this.#message(data))
    this.#last = sending.catch(() => {})
    return sending
  }

  async #message(data) {
    if (this.#ended) throw this.#ended
    const bytes = bytesOf(data)
    if (!bytes) {
      const text = JSON.stringify({ message: data })
      if (text === "{}") throw new TypeError("A message is a text, a value of JSON, an ArrayBuffer or a typed array.")
      if (text.length * 3 <= SHORT_MESSAGE) return this.#frame(text)
    }
    const whole = bytes ?? new TextEncoder().encode(JSON.stringify(data))
    if (whole.length > LONGEST_MESSAGE) {
      throw failure("too-long", `A message may have ${LONGEST_MESSAGE >> 20} MiB; send it as a file.`)
    }
    const id = this.#nextId++
    await this.#frame(JSON.stringify({ id, kind: bytes ? "bytes" : "json", size: whole.length }))
    await this.#pieces(id, whole, () => {})
  }

  /**
   * @param {Blob} file with a name if it is a File
   * @param {(progress: {sent: number, size: number}) => void} [onProgress]
   * @returns {Promise<void>} resolved when the peer has all of it
   */
  async sendFile(file, onProgress = () => {}) {
    if (typeof file?.arrayBuffer !== "function") throw new TypeError("A file is a File or a Blob.")
    if (this.#ended) throw this.#ended
    const { size, type = "" } = file
    const id = this.#nextId++
    const transfer = withResolvers()
    transfer.promise.catch(() => {})
    this.#sent.set(id, transfer)
    try {
      await this.#frame(JSON.stringify({ id, kind: "file", size, type, name: file.name ?? "" }))
      onProgress({ sent: 0, size })
      for (let at = 0; at < size && this.#sent.has(id); at += HIGH_WATER) {
        const part = new Uint8Array(await file.slice(at, at + HIGH_WATER).arrayBuffer())
        await this.#pieces(id, part, sent => onProgress({ sent: at + sent, size }), () => this.#sent.has(id))
      }
      await transfer.promise
      if (size === 0) onProgress({ sent: 0, size })
    } catch (error) {
      if (this.#sent.has(id) && !this.#ended) this.#tell({ cancel: id })
      throw error
    } finally {
      this.#sent.delete(id)
    }
  }

  async #pieces(id, bytes, onSent, isWanted = () => true) {
    const length = (this.#link.connection.sctp?.maxMessageSize ?? 0) > LARGE_PIECE ? LARGE_PIECE : SMALL_PIECE
    for (let at = 0; at < bytes.length && isWanted(); at += length - 4) {
      const piece = bytes.subarray(at, at + length - 4)
      const frame = new Uint8Array(piece.length + 4)
      new DataView(frame.buffer).setUint32(0, id)
      frame.set(piece, 4)
      await this.#frame(frame)
      onSent(at + piece.length)
    }
  }

  /** Send one frame, when the channel has room for it. */
  async #frame(frame) {
    while (!this.#ended && this.#channel.bufferedAmount > HIGH_WATER) await this.#room()
    if (this.#ended) throw this.#ended
    this.#put(frame)
  }

  #put(frame) {
    const before = this.#channel.bufferedAmount
    this.#channel.send(frame)
    this.#written += this.#channel.bufferedAmount - before
  }

  #room() {
    return new Promise(resolve => {
      this.#waiting.add(resolve)
      this.#channel.onbufferedamountlow = () => this.#goOn()
      if (this.#timer === null) this.#watch()
    })
  }

  /** A peer that is alive but takes nothing would hold up what is sent to all for ever. */
  #watch(left = UNREAD_CHECKS) {
    const taken = this.#written - this.#channel.bufferedAmount
    this.#timer = this.#environment.setTimeout(() => {
      this.#timer = null
      if (this.#ended || !this.#waiting.size) return
      if (this.#written - this.#channel.bufferedAmount > taken) this.#watch()
      else if (left > 1) this.#watch(left - 1)
      else this.#link.close(failure("dead", NOT_READ))
    }, UNREAD_INTERVAL)
  }

  #goOn() {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const resolve of waiting) resolve()
  }

  #tell(message) {
    // What a peer makes this side say must not fill the memory.
    if (this.#channel.bufferedAmount > 4 * HIGH_WATER) return this.#link.close(failure("dead", NOT_READ))
    try {
      this.#put(JSON.stringify(message))
    } catch {
      // The connection has just closed, and says so itself.
    }
  }

  receive(frame) {
    if (typeof frame !== "string") return this.#piece(new Uint8Array(frame))
    const message = parsed(frame)
    if (!message) return
    if ("message" in message) this.#hooks.message(message.message)
    else if ("kind" in message) this.#begin(message)
    else if ("done" in message) this.#sent.get(message.done)?.resolve()
    else if ("refuse" in message) this.#refused(message.refuse)
    else if ("cancel" in message) this.#cancelled(message.cancel)
  }

  #refused(id) {
    const transfer = this.#sent.get(id)
    this.#sent.delete(id)
    transfer?.reject(failure("refused", "The peer does not want the file."))
  }

  #cancelled(id) {
    this.#incoming.get(id)?.fail(failure("cancelled", "The peer has given up sending the file."))
    this.#incoming.delete(id)
  }

  #begin({ id, kind, size, name, type }) {
    const isGood = Number.isSafeInteger(id) && Number.isSafeInteger(size) && size >= 0 && !this.#incoming.has(id)
    const refuse = () => {
      this.#incoming.delete(id)
      this.#tell({ refuse: id })
    }
    if (!isGood) return
    // A peer sends one message after the other.
    const isSecond = kind !== "file" && [...this.#incoming.values()].some(({ isMessage }) => isMessage)
    const isLong = kind !== "file" && size > LONGEST_MESSAGE
    if (isSecond || isLong || this.#incoming.size >= INCOMING_AT_ONCE) return refuse()
    const incoming = kind === "file" ? new IncomingFile({ size, name, type }, refuse) : new IncomingMessage(kind, size)
    this.#incoming.set(id, incoming)
    if (kind === "file" && !this.#hooks.file(incoming.shown)) return incoming.shown.cancel()
    if (size === 0) this.#end(id, incoming)
  }

  #piece(frame) {
    if (frame.length < 4) return
    const id = new DataView(frame.buffer, frame.byteOffset).getUint32(0)
    const incoming = this.#incoming.get(id)
    if (!incoming) return
    const piece = frame.subarray(4, 4 + incoming.size - incoming.received)
    if (piece.length) incoming.add(piece)
    if (incoming.received === incoming.size) this.#end(id, incoming)
  }

  #end(id, incoming) {
    this.#incoming.delete(id)
    if (!incoming.isMessage) {
      incoming.end()
      return this.#tell({ done: id })
    }
    try {
      this.#hooks.message(incoming.end())
    } catch {
      // What the peer has sent is not JSON.
    }
  }

  /** The connection has ended: nothing is on its way any more. */
  end(error) {
    this.#ended = error
    for (const transfer of this.#sent.values()) transfer.reject(error)
    for (const incoming of this.#incoming.values()) incoming.fail(error)
    this.#incoming.clear()
    this.#environment.clearTimeout(this.#timer)
    this.#goOn()
  }
}

function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : null
}

/** A long message that is arriving. */
class IncomingMessage {
  isMessage = true
  received = 0
  #kind
  #bytes

  constructor(kind, size) {
    this.#kind = kind
    this.size = size
    this.#bytes = new Uint8Array(size)
  }

  add(piece) {
    this.#bytes.set(piece, this.received)
    this.received += piece.length
  }

  end() {
    return this.#kind === "bytes" ? this.#bytes.buffer : JSON.parse(new TextDecoder().decode(this.#bytes))
  }

  fail() {}
}

/** A file that is arriving; `shown` is what users see of it. */
class IncomingFile {
  received = 0
  #parts = []
  #recent = []
  #recentSize = 0
  #result = withResolvers()

  constructor({ size, name, type }, refuse) {
    this.size = size
    this.#result.promise.catch(() => {})
    this.shown = {
      name: typeof name === "string" ? name.slice(0, 255) : "",
      type: typeof type === "string" ? type.slice(0, 255) : "",
      size,
      received: 0,
      blob: this.#result.promise,
      onprogress: null,
      cancel: () => {
        refuse()
        this.fail(failure("cancelled", "The file was refused."))
      }
    }
  }

  add(piece) {
    this.#recent.push(piece)
    this.#recentSize += piece.length
    if (this.#recentSize >= BLOB_PART || this.#recent.length >= BLOB_PIECES) this.#pack()
    this.received = this.shown.received += piece.length
    if (this.shown.onprogress) call(this.shown.onprogress, { received: this.received, size: this.size })
  }

  #pack() {
    this.#parts.push(new Blob(this.#recent))
    this.#recent = []
    this.#recentSize = 0
  }

  end() {
    this.#pack()
    this.#result.resolve(new Blob(this.#parts, { type: this.shown.type }))
  }

  fail(error) {
    this.#parts = this.#recent = []
    this.#result.reject(error)
  }
}

// --- Peers -----------------------------------------------------------------------------------------------------------

/** Another page, to which there is a connection. */
class Peer {
  #link
  #transfers
  #listeners = new Listeners()
  #outer
  #held = []
  #heldSize = 0

  /**
   * @param {object} made id, name, link: a function of the hooks that makes it; ready: resolved when events may be
   *     delivered; outer: gets all events
   */
  constructor(environment, { id, name, link, ready = Promise.resolve(), outer, opened, closed }) {
    this.id = id
    this.name = name
    this.streams = new Set()
    this.#outer = outer
    this.#link = link({
      opened: () => {
        this.name = this.#link.peerName || this.name
        opened(this)
        void ready.then(() => environment.setTimeout(() => this.#deliver(), 0))
      },
      closed: error => {
        const wasOpen = this.#link.isOpen
        // What came before the end is delivered before it.
        if (wasOpen && error.code !== "flood") this.#deliver()
        this.#held = null
        this.#transfers.end(error)
        if (wasOpen) this.#listeners.emit("leave", error.message)
        closed(this, error, wasOpen)
      },
      frame: data => (this.#held ? this.#hold(data) : this.#transfers.receive(data)),
      path: path => this.#emit("path", path),
      stream: stream => this.#gotStream(stream),
      streamEnd: stream => this.streams.delete(stream) && this.#emit("streamend", stream)
    })
    this.#transfers = new Transfers(environment, this.#link, {
      message: data => this.#emit("message", data),
      file: incoming => this.#emit("file", incoming)
    })
  }

  /** @returns {RTCPeerConnection} */
  get connection() {
    return this.#link.connection
  }

  get path() {
    return this.#link.path
  }

  on(event, callback) {
    return this.#listeners.on(event, callback)
  }

  send(data) {
    return this.#transfers.send(data)
  }

  sendFile(file, onProgress) {
    return this.#transfers.sendFile(file, onProgress && (progress => onProgress({ peer: this, ...progress })))
  }

  addStream(stream) {
    this.#link.addStream(stream)
  }

  removeStream(stream) {
    this.#link.removeStream(stream)
  }

  close() {
    this.#link.close(failure("closed", "The connection was closed on this side."))
  }

  #hold(data) {
    this.#held.push(data)
    // A frame takes memory of its own, however short it is.
    this.#heldSize += (data.length ?? data.byteLength) + 100
    if (this.#heldSize > LONGEST_HELD) {
      this.#link.close(failure("flood", "The peer sends more than this page can hold."))
    }
  }

  // Who waits for the connection must have the chance to listen before the first message is delivered.
  #deliver() {
    const held = this.#held
    if (!held) return
    this.#held = null
    for (const data of held) this.#transfers.receive(data)
    for (const stream of this.streams) this.#emit("stream", stream)
  }

  #gotStream(stream) {
    if (this.streams.has(stream) || this.streams.size >= MAX_STREAMS) return
    this.streams.add(stream)
    if (!this.#held) this.#emit("stream", stream)
  }

  #emit(event, value) {
    const isWanted = this.#listeners.has(event)
    this.#listeners.emit(event, value)
    return this.#outer(event, value, this) || isWanted
  }
}

// --- Connections through offers --------------------------------------------------------------------------------------

/** Descriptions and candidates through an offer of the server, or through several of them, one after the other. */
class OfferSignal {
  canRestart = true
  patience = ANSWER_TIMEOUT
  #client
  #inbox
  #page
  #exchange = null
  link = null

  /**
   * @param {string} inbox the topic in which the peer looks for offers to itself
   * @param {string} peerId who may answer them
   * @param {{name: string, secret: string}} page what this page says in offers; secret: of the room, or empty
   */
  constructor(client, inbox, peerId, page) {
    this.#client = client
    this.#inbox = inbox
    this.#page = page
    this.peerId = peerId
  }

  async offer(sdp) {
    const id = this.#client.environment.randomId()
    const exchange = this.#begin(id, true)
    const offer = { id, sdp, topics: [this.#inbox], ttl: OFFER_TTL, whileConnected: this.#client.feed.endsWithPage }
    if (this.#page.name) offer.info = this.#page.name
    if (this.#page.secret) offer.secret = this.#page.secret
    await this.#client.http.json("POST", "offers", { body: { offers: [offer] } })
    exchange.open()
  }

  answering(id) {
    this.#begin(id, false)
  }

  async answer(sdp) {
    const exchange = this.#exchange
    const body = this.#page.secret ? { sdp, secret: this.#page.secret } : { sdp }
    await this.#client.http.json("POST", `offers/${encodeURIComponent(exchange.id)}/answer`, { body })
    exchange.open()
  }

  candidate(candidate) {
    this.#exchange?.add(candidate)
  }

  settled() {
    this.end()
  }

  doubt() {
    this.#client.feed.check()
  }

  end() {
    this.#exchange?.end()
    this.#exchange = null
  }

  #begin(id, isOwner) {
    // The answer to another offer of this page would be of no use any more.
    this.#exchange?.end()
    return (this.#exchange = new Exchange(this.#client, id, isOwner, this))
  }
}

/** One offer that is under way, with the candidates of this side. */
class Exchange {
  #client
  #queue = []
  #isOpen = false
  #isSending = false
  #isEnded = false

  constructor(client, id, isOwner, signal) {
    this.#client = client
    this.id = id
    this.isOwner = isOwner
    this.signal = signal
    client.exchanges.set(id, this)
  }

  get #path() {
    return `offers/${encodeURIComponent(this.id)}`
  }

  add(candidate) {
    this.#queue.push(candidate)
    if (this.#isOpen && !this.#isSending) void this.#send()
  }

  /** The server knows the offer, or the answer, and so takes candidates. */
  open() {
    if (this.#isEnded) return void this.#withdraw()
    this.#isOpen = true
    this.#client.feed.follow(this.id)
    void this.#send()
  }

  end() {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#client.exchanges.delete(this.id)
    this.#client.feed.unfollow(this.id)
    if (this.#isOpen) void this.#withdraw()
  }

  /** Read again what may have been missed. What was already there does no harm. */
  async reread() {
    if (!this.#isOpen) return
    const { candidates } = await this.#client.http.json("GET", `${this.#path}/ice-candidates`)
    for (const { candidate } of candidates) void this.signal.link.candidate(candidate)
  }

  async #send() {
    this.#isSending = true
    try {
      while (this.#queue.length && !this.#isEnded) {
        const candidates = this.#queue.splice(0, CANDIDATES_PER_REQUEST)
        await this.#client.http.json("POST", `${this.#path}/ice-candidates`, { body: { candidates } })
      }
    } catch {
      // The offer has ended. If there is no path without these candidates, the link says so.
    } finally {
      this.#isSending = false
    }
  }

  async #withdraw() {
    if (!this.isOwner) return
    try {
      await this.#client.http.json("DELETE", this.#path, { keepalive: true })
    } catch {
      // It ends by itself.
    }
  }
}

/** The connections of one page to others, in one room or without one. At most one to each. */
class Mesh {
  #client
  #prefix
  #page
  #hooks
  #entries = new Map()
  #seen = new Set()
  #isEnded = false

  /**
   * @param {string} topic of the room; empty without one. The topic in which a page looks for offers to itself is
   *     `<topic>@<peer id>`.
   * @param {{name: string, secret: string}} page the server lets only those answer who know the secret, so each side
   *     of a connection has it; empty without one
   * @param {object} hooks ready: a promise, or nothing; accepts(peerId), streams(peerId), event(name, value, peer),
   *     opened(peer), closed(peer, error, wasOpen), trouble(peerId, error): the browser makes no connection
   */
  constructor(client, topic, page, hooks) {
    this.#client = client
    this.#prefix = topic
    this.#page = page
    this.#hooks = hooks
  }

  get inbox() {
    return `${this.#prefix}@${this.#client.id}`
  }

  /** Take an offer to this page. Its `peerId` is authenticated by the server. */
  async take(offer) {
    const { id, peerId, sdp, info, hasSecret } = offer
    if (this.#isEnded || peerId === this.#client.id || this.#seen.has(id)) return
    if (hasSecret !== Boolean(this.#page.secret)) return
    this.#remember(id)
    const entry = this.#entries.get(peerId)
    const isSame = entry && (!entry.link.fingerprint || entry.link.fingerprint === fingerprintOf(sdp))
    if (isSame) return void entry.link.description({ type: "offer", sdp }, id)
    // The page of the peer was reloaded: what was connected to the earlier one is of no use.
    entry?.link.close(failure("dead", "The peer has loaded its page again."))
    if (!this.#hooks.accepts(peerId) || this.#entries.size >= MAX_PEERS) return
    const iceServers = await this.#client.iceServers.get()
    if (this.#isEnded) return
    if (this.#entries.has(peerId)) {
      // This page has made an offer meanwhile.
      this.#seen.delete(id)
      return this.take(offer)
    }
    void this.#make(peerId, nameOf(info), iceServers)?.link.accept(sdp, this.#hooks.streams(peerId), id)
  }

  /** @returns {Promise<boolean>} whether there was room for an offer to the peer, or it was not needed */
  async dial(peerId, name) {
    if (this.#isEnded || this.#entries.has(peerId)) return true
    const iceServers = await this.#client.iceServers.get()
    if (this.#isEnded || this.#entries.has(peerId)) return true
    if (this.#entries.size >= MAX_OFFERED) return false
    this.#make(peerId, name, iceServers)?.link.begin(this.#hooks.streams(peerId))
    return true
  }

  has(peerId) {
    return this.#entries.has(peerId)
  }

  /** Close all connections, and go on. */
  clear(error) {
    for (const { link } of [...this.#entries.values()]) link.close(error)
    this.#seen.clear()
  }

  end(error) {
    this.#isEnded = true
    this.clear(error)
  }

  #make(id, name, iceServers) {
    try {
      return this.#made(id, name, iceServers)
    } catch (error) {
      this.#hooks.trouble(id, asError(error, "unsupported"))
      return null
    }
  }

  #made(id, name, iceServers) {
    const client = this.#client
    const signal = new OfferSignal(client, `${this.#prefix}@${id}`, id, this.#page)
    const options = {
      iceServers,
      isPolite: client.id > id,
      name: this.#page.name,
      use: callback => client.iceServers.use(callback)
    }
    const entry = { link: null }
    new Peer(client.environment, {
      id,
      name,
      link: hooks => (entry.link = signal.link = new Link(client.environment, signal, options, hooks)),
      ready: this.#hooks.ready,
      outer: this.#hooks.event,
      opened: this.#hooks.opened,
      closed: (...ended) => {
        if (this.#entries.get(id) === entry) this.#entries.delete(id)
        this.#hooks.closed(...ended)
      }
    })
    this.#entries.set(id, entry)
    return entry
  }

  #remember(id) {
    this.#seen.add(id)
    if (this.#seen.size > 1000) this.#seen.delete(this.#seen.values().next().value)
  }
}

// --- Rooms -----------------------------------------------------------------------------------------------------------

/** What stands in place of a description in the offer that shows a page in a room. */
const PRESENCE = "rendezvous-room/1"

/** Pages that have joined the same topic, each connected with each. */
class Room {
  #client
  #mesh
  #listeners = new Listeners()
  #offerId
  #unknown
  #known = new Map()
  #streams = new Map()
  #stops = []
  #timer = null
  #failures = 0
  #isPublished = false
  #ready = withResolvers()
  #held = []
  #released = withResolvers()
  #isListed = false

  constructor(client, topic, { name = "", secret = "", streams = [] }) {
    this.#client = client
    this.topic = topic
    this.name = name
    /** @type {"connected" | "reconnecting" | "closed"} */
    this.state = "reconnecting"
    this.peers = new Map()
    this.#offerId = client.environment.randomId()
    this.#unknown = client.environment.randomId()
    this.#ready.promise.catch(() => {})
    for (const stream of streams) this.#streams.set(stream, null)
    this.#mesh = new Mesh(client, topic, { name, secret }, {
      ready: this.#released.promise,
      accepts: () => true,
      streams: peerId => this.#streamsFor(peerId),
      event: (event, value, peer) => this.#pass(event, value, peer),
      opened: peer => this.#opened(peer),
      closed: (peer, error, wasOpen) => this.#closed(peer, error, wasOpen),
      trouble: (_, error) => this.#emit("error", error)
    })
  }

  get id() {
    return this.#client.id
  }

  on(event, callback) {
    return this.#listeners.on(event, callback)
  }

  /** @returns {Promise<Room>} resolved when others can see this page */
  async begin() {
    const client = this.#client
    const watcher = {
      listed: offers => this.#listed(offers),
      failed: error => this.#ready.reject(error),
      offer: offer => this.#appeared(offer),
      gone: ({ offerId }) => this.#disappeared(offerId)
    }
    try {
      for (const begin of [() => client.watch(this.topic, watcher), () => client.add(this), () => client.feed.use()]) {
        this.#stops.push(begin())
      }
      await client.feed.opened()
      await this.#ready.promise
      client.environment.setTimeout(() => this.#release(), 0)
    } catch (error) {
      this.leave()
      throw error
    }
    return this
  }

  async send(data, to) {
    const isForAll = to === undefined || to === null
    const sent = async peer => {
      try {
        await peer.send(data)
      } catch (error) {
        // "All" are those that stay.
        if (!isForAll || this.peers.get(peer.id) === peer) throw error
      }
    }
    await Promise.all(this.#chosen(to).map(sent))
  }

  async sendFile(file, to, onProgress) {
    await Promise.all(this.#chosen(to).map(peer => peer.sendFile(file, onProgress)))
  }

  addStream(stream, to) {
    const isForAll = to === undefined || to === null
    this.#streams.set(stream, isForAll ? null : new Set(this.#chosen(to).map(peer => peer.id)))
    for (const peer of this.#chosen(to)) peer.addStream(stream)
  }

  removeStream(stream, to) {
    const chosen = this.#chosen(to)
    const some = this.#streams.get(stream)
    if (to === undefined || to === null) this.#streams.delete(stream)
    else for (const peer of chosen) some?.delete(peer.id)
    for (const peer of chosen) peer.removeStream(stream)
  }

  leave() {
    if (this.state === "closed") return
    this.#setState("closed")
    this.#ready.reject(failure("closed", "This page has left the room."))
    this.#client.environment.clearTimeout(this.#timer)
    this.#forget()
    this.#mesh.end(failure("closed", "This page has left the room."))
    if (this.#isPublished) void this.#withdraw()
    for (const stop of this.#stops) stop()
  }

  // What the client calls.

  /** Topics in which this page looks for others and for offers to itself. */
  inboxes() {
    return [[this.#mesh.inbox, offer => void this.#mesh.take(offer)]]
  }

  /** Events arrive again. The offer may have ended meanwhile; to publish it once more changes nothing if not. */
  async online() {
    const { environment, feed } = this.#client
    environment.clearTimeout(this.#timer)
    const refresh = feed.endsWithPage ? PRESENCE_REFRESH : POLLED_REFRESH
    this.#timer = environment.setTimeout(() => feed.isOpen && void this.online(), refresh)
    try {
      await this.#publish()
      if (this.state === "closed") return
      this.#failures = 0
      this.#setState("connected")
      if (this.#isListed) this.#ready.resolve()
      for (const known of this.#known.values()) this.#plan(known)
    } catch (error) {
      if (this.state === "closed") return
      const wait = environment.backoff(this.#failures++)
      environment.clearTimeout(this.#timer)
      this.#timer = environment.setTimeout(() => feed.isOpen && void this.online(), wait)
      this.refused(error)
    }
  }

  refused(error) {
    this.#ready.reject(error)
    this.#emit("error", error)
  }

  offline() {
    if (this.state === "connected") this.#setState("reconnecting")
  }

  /** This page has another identity, or comes back from the cache of the browser: all others see another peer. */
  restart(error) {
    this.#offerId = this.#client.environment.randomId()
    this.#forget()
    this.#mesh.clear(error)
  }

  /** The page goes. */
  hide() {
    this.offline()
    this.#mesh.clear(failure("closed", "The page was closed."))
    void this.#withdraw()
  }

  async #publish() {
    const isSeen = this.#client.feed.endsWithPage
    const offer = {
      id: this.#offerId,
      sdp: PRESENCE,
      topics: [this.topic],
      ttl: isSeen ? PRESENCE_TTL : OFFER_TTL,
      whileConnected: isSeen,
      // It is there to be seen. With a secret that is known nowhere else, it cannot be answered.
      secret: this.#unknown
    }
    if (this.name) offer.info = this.name
    this.#isPublished = true
    await this.#client.http.json("POST", "offers", { body: { offers: [offer] } })
  }

  async #withdraw() {
    try {
      await this.#client.http.json("DELETE", `offers/${this.#offerId}`, { keepalive: true })
    } catch {
      // It ends with the event stream of this page, or by itself.
    }
  }

  #forget() {
    for (const known of this.#known.values()) this.#client.environment.clearTimeout(known.timer)
    this.#known.clear()
  }

  /** Who joins must have the chance to listen before the first event. */
  #emit(...event) {
    if (this.#held) this.#held.push(event)
    else this.#listeners.emit(...event)
  }

  #release() {
    const held = this.#held
    this.#held = null
    for (const event of held) this.#listeners.emit(...event)
    this.#released.resolve()
  }

  #setState(state) {
    if (this.state === state) return
    this.state = state
    this.#emit("state", state)
  }

  #listed(offers) {
    const present = new Set(offers.map(offer => offer.id))
    for (const known of [...this.#known.values()]) {
      for (const id of known.offers) if (!present.has(id)) this.#disappeared(id)
    }
    for (const offer of offers) this.#appeared(offer)
    this.#isListed = true
    if (this.state === "connected") this.#ready.resolve()
  }

  #appeared({ id, peerId, sdp, info }) {
    if (sdp !== PRESENCE || peerId === this.id || this.state === "closed") return
    const unknown = { id: peerId, name: "", offers: new Set(), tries: 0, openedAt: 0, timer: null, isLeftOut: false }
    const known = this.#known.get(peerId) ?? unknown
    if (known === unknown && this.#known.size >= MAX_KNOWN) return
    known.name = nameOf(info)
    // A page that was reloaded is another one: what has failed before says nothing.
    if (!known.offers.has(id)) known.tries = 0
    known.offers.add(id)
    this.#known.set(peerId, known)
    this.#plan(known)
  }

  #disappeared(offerId) {
    for (const known of this.#known.values()) {
      known.offers.delete(offerId)
      if (known.offers.size) continue
      // A connection that is there stays: the peer may only have lost the server.
      this.#client.environment.clearTimeout(known.timer)
      this.#known.delete(known.id)
    }
  }

  /** One of two peers offers; if it does not, because it has not seen the other one, the other one does. */
  #plan(known) {
    const { environment } = this.#client
    environment.clearTimeout(known.timer)
    if (this.#mesh.has(known.id)) return
    const isOther = this.id > known.id
    const wait = (known.tries ? environment.backoff(known.tries, 1000, 60_000) : 0) + (isOther ? 2500 : 0)
    known.timer = environment.setTimeout(() => void this.#dial(known), wait)
  }

  async #dial(known) {
    // Without the server it would fail. Once it is back, all of them are planned again.
    if (this.state === "connected") known.isLeftOut = !(await this.#mesh.dial(known.id, known.name))
  }

  #opened(peer) {
    this.peers.set(peer.id, peer)
    const known = this.#known.get(peer.id)
    if (known) known.openedAt = this.#client.environment.now()
    this.#emit("join", peer)
  }

  #closed(peer, error, wasOpen) {
    if (wasOpen) {
      if (this.peers.get(peer.id) === peer) this.peers.delete(peer.id)
      this.#emit("leave", peer, error.message)
    } else if (this.state !== "closed" && error.code !== "closed" && error.code !== "wrong-secret") {
      this.#emit("failed", { id: peer.id, name: peer.name }, error)
    }
    // There is room for another one, if all places were taken.
    for (const other of this.#known.values()) if (other.isLeftOut) this.#plan(other)
    const known = this.#known.get(peer.id)
    // One that does not know the secret of the room is not of this room.
    if (!known || this.state === "closed" || error.code === "wrong-secret") return
    // One that closes each connection at once must not keep this page busy.
    if (wasOpen && this.#client.environment.now() - known.openedAt >= STEADY) known.tries = 0
    known.tries++
    this.#plan(known)
  }

  #pass(event, value, peer) {
    const isWanted = this.#listeners.has(event)
    this.#emit(event, value, peer)
    return isWanted
  }

  #chosen(to) {
    if (to === undefined || to === null) return [...this.peers.values()]
    return (Array.isArray(to) ? to : [to]).map(one => {
      const peer = this.peers.get(typeof one === "string" ? one : one.id)
      if (!peer) throw failure("left", "There is no connection to this peer.")
      return peer
    })
  }

  #streamsFor(peerId) {
    return [...this.#streams].filter(([, some]) => some === null || some.has(peerId)).map(([stream]) => stream)
  }
}

// --- Connections by peer id ------------------------------------------------------------------------------------------

/** Connections by peer id, without a room. */
class Direct {
  #client
  #meshes = new Map()
  #mesh
  #open = new Set()
  #waiting = new Map()
  #callbacks = new Set()
  #releases = []

  constructor(client) {
    this.#client = client
  }

  /** @returns {Promise<(() => void) & {id: string}>} ends it */
  async listen(callback, name) {
    this.#start(name)
    this.#callbacks.add(callback)
    const stop = () => void (this.#callbacks.delete(callback) && this.#stopIfIdle())
    try {
      await this.#client.feed.opened()
    } catch (error) {
      stop()
      throw error
    }
    return Object.assign(stop, { id: this.#client.id })
  }

  async connect(peerId, name) {
    this.#start(name)
    const asked = withResolvers()
    if (this.#waiting.has(peerId) || this.#mesh.has(peerId)) {
      throw failure("conflict", "There is a connection to this peer already.")
    }
    asked.promise.catch(() => {})
    this.#waiting.set(peerId, asked)
    try {
      await this.#client.feed.opened()
      if (peerId === this.#client.id) throw failure("conflict", "A page cannot connect to itself.")
      if (!(await this.#mesh.dial(peerId, ""))) {
        throw failure("too-many", "This page offers as many connections as it can.")
      }
      return await asked.promise
    } finally {
      this.#waiting.delete(peerId)
      this.#stopIfIdle()
    }
  }

  #start(name) {
    if (this.#mesh) return
    this.#mesh = new Mesh(this.#client, "", { name, secret: "" }, {
      accepts: () => this.#callbacks.size > 0,
      streams: () => [],
      event: () => false,
      opened: peer => this.#opened(peer),
      closed: (peer, error) => {
        this.#open.delete(peer)
        this.#waiting.get(peer.id)?.reject(error)
        this.#stopIfIdle()
      },
      trouble: (peerId, error) => this.#waiting.get(peerId)?.reject(error)
    })
    this.#releases = [this.#client.add(this), this.#client.feed.use()]
  }

  #opened(peer) {
    this.#open.add(peer)
    const asked = this.#waiting.get(peer.id)
    if (asked) return asked.resolve(peer)
    for (const callback of this.#callbacks) call(callback, peer)
  }

  #stopIfIdle() {
    if (!this.#mesh || this.#callbacks.size || this.#waiting.size || this.#open.size) return
    this.#mesh.end(failure("closed", "This page accepts no connections any more."))
    this.#mesh = null
    for (const release of this.#releases.splice(0)) release()
  }

  inboxes() {
    return [[this.#mesh.inbox, offer => void this.#mesh.take(offer)]]
  }

  online() {}

  offline() {}

  refused(error) {
    for (const asked of this.#waiting.values()) asked.reject(error)
  }

  restart(error) {
    this.#mesh?.clear(error)
  }

  hide() {
    this.#mesh?.clear(failure("closed", "The page was closed."))
  }

  leave() {
    this.#callbacks.clear()
    this.refused(failure("closed", "This page has closed all connections."))
    this.hide()
    this.#stopIfIdle()
  }
}

// --- Sessions by code ------------------------------------------------------------------------------------------------

/** Descriptions and candidates through a session of the server (docs/protocol/sessions). */
class SessionSignal {
  /** A session is answered once. Later descriptions go over the connection itself. */
  canRestart = false
  #client
  #side
  #begin
  #sending = Promise.resolve()
  #abort = new AbortController()
  #read = 0
  link = null

  /**
   * @param {"offerer" | "answerer"} side
   * @param {object} options code, patience: of the offerer; begin: sends the offer and returns the code
   */
  constructor(client, side, { code = null, patience = ANSWER_TIMEOUT, begin = null }) {
    this.#client = client
    this.#side = side
    this.#begin = begin
    this.code = code
    this.patience = patience
  }

  offer(sdp) {
    // Candidates wait until the session is there.
    return (this.#sending = this.#begin(sdp).then(code => {
      this.code = code
      void this.poll(undefined)
    }))
  }

  answering() {}

  answer(answer) {
    return (this.#sending = this.#post("answer", { answer }))
  }

  candidate(candidate) {
    this.#sending = this.#sending.then(() => this.#post("answer", { candidate })).catch(() => {})
  }

  settled() {
    this.#abort.abort()
  }

  end() {
    this.#abort.abort()
  }

  /** @returns {Promise<object>} all that the other side has sent so far */
  ask(more, check) {
    return this.#post("poll", more, { wait: more.wait, check })
  }

  /** Read what the other side sends until there is a connection. */
  async poll(since) {
    const [description, candidates] =
      this.#side === "offerer" ? ["answer", "answerCandidates"] : [null, "offerCandidates"]
    const pauses = new Pauses(this.#client.environment)
    const check = body => Array.isArray(body[candidates])
    let isAnswered = false
    for (let tries = 0; !this.#abort.signal.aborted; ) {
      try {
        pauses.begin()
        const body = await this.ask(since === undefined ? { wait: 25 } : { wait: 25, since }, check)
        const isNew = body.latest !== since
        since = body.latest
        tries = 0
        if (description && body[description] && !isAnswered) {
          isAnswered = true
          void this.link.description({ type: "answer", sdp: body[description] })
        }
        for (const candidate of body[candidates].slice(this.#read)) void this.link.candidate(candidate)
        this.#read = body[candidates].length
        await pauses.after(isNew)
      } catch (error) {
        if (this.#abort.signal.aborted) return
        if (isRefusal(error) || tries > 5) return this.link.close(asError(error))
        await this.#client.environment.sleep(this.#client.environment.backoff(tries++))
      }
    }
  }

  #post(path, more, options = {}) {
    const body = { code: this.code, side: this.#side, ...more }
    return this.#client.http.json("POST", path, { body, signal: this.#abort.signal, ...options })
  }
}

// --- The client ------------------------------------------------------------------------------------------------------

/** Everything that this page has to do with one server: one identity, one stream of events. */
class Client {
  #identity
  #direct
  #users = new Set()
  #watchers = new Map()
  #inboxes = new Map()
  #sessions = new Set()
  #page = []
  exchanges = new Map()
  /** The peer id of this page; null before the first connection to the server. */
  id = null

  /**
   * @param {object} [options]
   * @param {string | URL} [options.server] the URL of the server, with its prefix if it has one; the folder that this
   *     module came from if it is left out
   * @param {string} [options.registrationToken] where the operator of the server has given out such; `join`, `listen`,
   *     `connect`, `open` and `enter` take it, too
   * @param {typeof fetch} [options.fetch] and WebSocket (null for none), RTCPeerConnection, setTimeout, clearTimeout,
   *     now (milliseconds that only grow), random (0 to 1), randomId, storage (null for none) and page (gives the
   *     events pagehide, pageshow and online) in place of those of the browser
   */
  constructor(options = {}) {
    const server = serverOf(options)
    if (!server.pathname.endsWith("/")) server.pathname += "/"
    server.search = server.hash = ""
    this.environment = new Environment(options)
    this.http = new Http(server, this.environment)
    this.#show(options.registrationToken)
    this.iceServers = new IceServers(this.http)
    this.#identity = new Identity(this.http)
    this.#direct = new Direct(this)
    this.feed = new Feed(this.http, {
      prepare: () => this.#prepare(),
      opened: () => this.#opened(),
      event: (name, data) => this.#event(name, data),
      lost: () => this.#users.forEach(user => user.offline()),
      rejected: () => this.#identity.forget()
    })
    this.#listen("pagehide", () => this.#hidden())
    this.#listen("pageshow", event => event.persisted && this.#shown())
    this.#listen("online", () => this.feed.hurry())
  }

  /**
   * Join a room.
   *
   * @param {string} topic the name of the room, 1 to 200 characters; the server lists it for everybody
   * @param {object} [options] name: of this page, up to 128 characters; secret: without it no page gets a connection
   *     to others in the room, up to 128 characters; streams: media that every peer gets
   * @returns {Promise<Room>} resolved when others can see this page
   * @throws {RendezvousError} if the server cannot be reached or refuses
   */
  async join(topic, options = {}) {
    this.#check(options)
    if (typeof topic !== "string" || topic === "" || [...topic].length > 200) {
      throw failure("too-long", "The name of a room has 1 to 200 characters.")
    }
    return await new Room(this, topic, options).begin()
  }

  /**
   * Accept the connections of pages that know the peer id of this one.
   *
   * @param {(peer: Peer) => void} callback
   * @returns {Promise<(() => void) & {id: string}>} ends it; `id` is what other pages call `connect` with
   */
  async listen(callback, options = {}) {
    this.#check(options)
    return await this.#direct.listen(callback, options.name ?? "")
  }

  /**
   * Connect to a page that listens.
   *
   * @returns {Promise<Peer>}
   * @throws {RendezvousError} "no-answer" after 10 s, or a reason why there is no path
   */
  async connect(peerId, options = {}) {
    this.#check(options)
    if (!isText(peerId)) throw new TypeError("The id of a peer is a text.")
    return await this.#direct.connect(peerId, options.name ?? "")
  }

  /**
   * Open a session and wait for one other page of the same origin to enter its code.
   *
   * @param {string} [code] the server makes one if it is left out
   * @param {object} [options] name; topic: in which the session is listed, "codes" if it is left out
   * @returns {Promise<{code: string, peer: Promise<Peer>, close: () => void}>}
   * @throws {RendezvousError} "code-taken"
   */
  async open(code, options = {}) {
    this.#check(options)
    const opened = withResolvers()
    const begin = async offer => {
      const body = { offer, info: options.name ?? "" }
      if (code) body.code = code
      const path = `${encodeURIComponent(options.topic ?? "codes")}/offer`
      const { entrance: headers } = this.http
      const made = await this.http.json("POST", path, { body, headers, check: ({ code }) => isText(code) })
      opened.resolve(made.code)
      return made.code
    }
    // A session lives 300 s, and its end is said by the server.
    const signal = new SessionSignal(this, "offerer", { patience: 310_000, begin })
    const session = await this.#session(signal, options)
    session.opened.catch(error => opened.reject(error))
    session.link.begin([])
    session.peer.id = await opened.promise
    const close = () => session.link.close(failure("closed", "The session was closed."))
    return { code: session.peer.id, peer: session.opened, close }
  }

  /**
   * Enter the code of a session that another page of the same origin has opened.
   *
   * @returns {Promise<Peer>}
   * @throws {RendezvousError} "not-found" if there is no such session, "already-answered" if another page has entered
   */
  async enter(code, options = {}) {
    this.#check(options)
    const signal = new SessionSignal(this, "answerer", { code })
    const { offer } = await signal.ask({}, body => isText(body.offer))
    const session = await this.#session(signal, options)
    session.peer.id = code
    void session.link.accept(offer, [], code).then(() => signal.poll(0))
    return await session.opened
  }

  /** Leave all rooms, close all connections, and end the stream of events. */
  close() {
    const error = failure("closed", "This page has closed all connections.")
    for (const user of [...this.#users]) user.leave()
    for (const link of [...this.#sessions]) link.close(error)
    for (const [name, callback] of this.#page) this.environment.page.removeEventListener?.(name, callback)
    this.feed.end(error)
  }

  async #session(signal, options) {
    await this.#prepare()
    const iceServers = await this.iceServers.get()
    const opened = withResolvers()
    const settings = {
      iceServers,
      isPolite: signal.code !== null,
      name: options.name ?? "",
      use: callback => this.iceServers.use(callback)
    }
    const peer = new Peer(this.environment, {
      id: "",
      name: "",
      link: hooks => (signal.link = new Link(this.environment, signal, settings, hooks)),
      outer: () => false,
      opened: opened.resolve,
      closed: (_, error) => {
        this.#sessions.delete(signal.link)
        opened.reject(error)
      }
    })
    this.#sessions.add(signal.link)
    return { link: signal.link, peer, opened: opened.promise }
  }

  /** Show a registration token from now on; without one the last one stays. */
  #show(token) {
    if (token === undefined) return
    if (typeof token !== "string" || !TOKEN.test(token)) {
      throw new TypeError("A registration token has 16 to 256 letters, digits and the characters . _ ~ + / = -.")
    }
    this.http.registrationToken = token
  }

  #check({ name = "", secret = "", registrationToken }) {
    this.#show(registrationToken)
    for (const text of [name, secret]) {
      if (typeof text === "string" && [...text].length <= NAME_CHARS) continue
      throw failure("too-long", `A name and a secret have up to ${NAME_CHARS} characters.`)
    }
    if (!this.environment.RTCPeerConnection) {
      throw failure("unsupported", "This browser has no WebRTC, or it is turned off.")
    }
  }

  // What rooms use.

  /** @returns {() => void} ends it; until then the user is called when events begin and end to arrive */
  add(user) {
    const rooms = this.#users.size - this.#users.has(this.#direct)
    if (user !== this.#direct && rooms >= MAX_ROOMS) {
      throw failure("too-many", `A page can be in ${MAX_ROOMS} rooms at one time.`)
    }
    this.#users.add(user)
    if (this.id) this.#watchInboxes(user)
    if (this.feed.isOpen) void user.online()
    return () => {
      this.#users.delete(user)
      for (const stop of this.#inboxes.get(user) ?? []) stop()
      this.#inboxes.delete(user)
    }
  }

  /**
   * Watch a topic.
   *
   * @param {object} watcher listed(offers): all of them, failed(error): they cannot be listed now, offer(offer),
   *     gone({offerId})
   * @returns {() => void} ends it
   */
  watch(topic, watcher) {
    if (this.#watchers.has(topic)) throw failure("conflict", "This page is in this room already.")
    const watched = { ...watcher, changes: null, isListed: false, isStale: false, tries: 0 }
    this.#watchers.set(topic, watched)
    this.feed.watch(topic)
    return () => {
      if (this.#watchers.get(topic) !== watched) return
      this.#watchers.delete(topic)
      this.feed.unwatch(topic)
    }
  }

  #watchInboxes(user) {
    const stops = user.inboxes().map(([topic, take]) =>
      this.watch(topic, { listed: offers => offers.forEach(take), failed: () => {}, offer: take, gone: () => {} })
    )
    this.#inboxes.set(user, stops)
  }

  /** Get a credential, and ask for the ICE servers, which are needed soon. */
  async #prepare() {
    const id = await this.#identity.get()
    if (id === this.id) return
    const isRenewed = this.id !== null
    this.id = id
    void this.iceServers.get()
    for (const stops of this.#inboxes.values()) for (const stop of stops) stop()
    for (const user of this.#users) {
      if (isRenewed) user.restart(failure("closed", "The server has given this page another identity."))
      this.#watchInboxes(user)
    }
  }

  #opened() {
    for (const user of this.#users) void user.online()
    for (const topic of this.#watchers.keys()) void this.#list(topic)
  }

  #event(name, data) {
    const exchange = this.exchanges.get(data.offerId)
    const topics = listOf(data.topics)
    if (name === "offer" && isOffer(data)) this.#changed(topics, "offer", data)
    else if (name === "gone" && isText(data.offerId)) this.#changed(topics, "gone", data)
    else if (name === "subscribed") this.#subscribed(topics)
    else if (name === "reset" && data.topics) for (const topic of topics) void this.#list(topic)
    else if (name === "reset") void this.#reread()
    else if (name === "answer") this.#answered(exchange, data)
    else if (name === "candidate") void exchange?.signal.link.candidate(data.candidate)
    else if (name === "withdrawn" || name === "expired") this.#ended(exchange)
    else if (name === "error") this.#refused(refused(data, "The server has refused something."))
  }

  #refused(error) {
    for (const user of this.#users) user.refused(error)
  }

  #changed(topics, what, data) {
    for (const topic of topics) {
      const watched = this.#watchers.get(topic)
      if (watched?.changes) watched.changes.push([what, data])
      else watched?.[what](data)
    }
  }

  #subscribed(topics) {
    for (const topic of topics) if (this.#watchers.get(topic)?.isListed === false) void this.#list(topic)
  }

  #answered(exchange, { answererId, sdp }) {
    if (!exchange?.isOwner) return
    const { link, peerId } = exchange.signal
    if (answererId === peerId) void link.description({ type: "answer", sdp })
    else link.close(failure("no-answer", "Another page has answered in the place of the peer."))
  }

  #ended(exchange) {
    if (!exchange) return
    const { link } = exchange.signal
    this.exchanges.delete(exchange.id)
    if (!exchange.isOwner && !link.isOpen) link.close(failure("no-answer", "The peer has given up the connection."))
  }

  /** Read all offers of a topic. What changes meanwhile takes effect afterwards. */
  async #list(topic) {
    const watched = this.#watchers.get(topic)
    if (!watched) return
    // What was missed meanwhile may be missing in the pages that were read already.
    watched.isStale = watched.changes !== null
    if (watched.isStale) return
    watched.changes = []
    watched.isListed = true
    try {
      watched.listed(await this.#offersIn(topic))
      watched.tries = 0
    } catch (error) {
      this.#notListed(topic, watched, asError(error))
    } finally {
      const changes = watched.changes
      watched.changes = null
      for (const [what, data] of changes) watched[what](data)
    }
    if (watched.isStale) void this.#list(topic)
  }

  /** @returns {Promise<object[]>} as many as ten pages have */
  async #offersIn(topic) {
    const path = `offers/by-topic/${encodeURIComponent(topic)}`
    const check = body => Array.isArray(body.offers)
    const found = []
    for (let next, page = 0; page < 10; page++) {
      const query = new URLSearchParams(next ? { limit: 200, next } : { limit: 200 })
      const body = await this.http.json("GET", `${path}?${query}`, { check })
      found.push(...body.offers.filter(isOffer))
      if (!body.hasMore) break
      next = body.next
    }
    return found
  }

  #notListed(topic, watched, error) {
    if (isRefusal(error)) return this.#refused(error)
    watched.failed(error)
    const again = () => this.#watchers.get(topic) === watched && this.feed.isOpen && void this.#list(topic)
    this.environment.setTimeout(again, this.environment.backoff(++watched.tries))
  }

  /** Events were lost, so what they said is read instead. */
  async #reread() {
    try {
      const { answers } = await this.http.json("GET", "offers/answers")
      for (const answer of answers) this.#answered(this.exchanges.get(answer.offerId), answer)
      await Promise.all([...this.exchanges.values()].map(exchange => exchange.reread()))
    } catch {
      // The offers that this concerns end in time, and are made again.
    }
  }

  #listen(name, callback) {
    this.environment.page.addEventListener?.(name, callback)
    this.#page.push([name, callback])
  }

  #hidden() {
    for (const user of this.#users) user.hide()
    for (const link of [...this.#sessions]) link.close(failure("closed", "The page was closed."))
    this.#identity.keep()
    this.feed.stop()
  }

  #shown() {
    this.#identity.resume()
    for (const user of this.#users) user.restart(failure("closed", "The page was away."))
    this.feed.hurry()
  }
}

/** Clients by the URL of their server: all that one page does there has one identity and one stream of events. */
const clients = new Map()

/** @returns {URL} `options.server`, relative to the page, or the folder that this module came from */
function serverOf({ server }) {
  const found = server ? resolved(server, globalThis.location?.href) : resolved(".", import.meta.url)
  if (/^https?:$/.test(found?.protocol)) return found
  throw new TypeError('Name the server as an http or https URL: { server: "https://rendezvous.example/" }.')
}

/** @returns {URL | null} null if there is none, as in a bundle, which has no URL of its own */
function resolved(url, base) {
  try {
    return new URL(url, base)
  } catch {
    return null
  }
}

function clientOf(options) {
  const key = serverOf(options).href
  if (!clients.has(key)) clients.set(key, new Client({ server: key }))
  return clients.get(key)
}

/** `Client.join` at a server: `options.server`, or the one that this module came from. */
async function join(topic, options = {}) {
  return await clientOf(options).join(topic, options)
}

/** `Client.listen` at a server. */
async function listen(callback, options = {}) {
  return await clientOf(options).listen(callback, options)
}

/** `Client.connect` at a server. */
async function connect(peerId, options = {}) {
  return await clientOf(options).connect(peerId, options)
}

/** `Client.open` at a server. */
async function open(code, options = {}) {
  return await clientOf(options).open(code, options)
}

/** `Client.enter` at a server. */
async function enter(code, options = {}) {
  return await clientOf(options).enter(code, options)
}
