/** A server of the offers and sessions protocols in memory, as far as the module uses them, with its WebSocket. */

export class Server {
  #made = 0
  #seq = 0
  secrets = new Map()
  offers = new Map()
  sessions = new Map()
  sockets = new Set()
  requests = []
  /** Answers in place of the server's: called with method, path, query and caller; a Response or nothing. */
  intercept = () => undefined
  isUp = true
  /** The registration token that a page must show to register and to open a session; null for none. */
  registrationToken = null
  iceServers = [{ urls: ["stun:server:5024", "stun:server:5026"] }]

  constructor(clock) {
    this.clock = clock
  }

  // What one page sees.

  fetch = async (url, { method = "GET", headers = {}, body, signal } = {}) => {
    const { pathname, searchParams } = new URL(url)
    const path = pathname.slice(1)
    this.requests.push(`${method} ${path}`)
    if (!this.isUp) throw new TypeError("fetch failed")
    const caller = this.#caller(headers.Authorization)
    if (!this.#admits(method, path, headers.Authorization)) {
      return reply(401, { ok: false, error: "A registration token is needed.", code: "registration-token" })
    }
    const given = this.intercept(method, path, searchParams, caller)
    if (given) return await abortable(given, signal)
    const wait = Number(searchParams.get("wait") ?? parse(body).wait ?? 0)
    const parts = path.split("/").map(decodeURIComponent)
    const answer = () => this.#answer(method, parts, searchParams, caller, parse(body))
    let made = answer()
    const end = this.clock.now() + wait * 1000
    while (made.isEmpty && this.clock.now() < end && !signal?.aborted) {
      await new Promise(resolve => this.clock.setTimeout(resolve, 100))
      made = answer()
    }
    if (signal?.aborted) throw new DOMException("aborted", "AbortError")
    return reply(made.status ?? 200, made.body)
  }

  /** A class as `WebSocket`. */
  get WebSocket() {
    const server = this
    return class extends FakeSocket {
      constructor(url) {
        super(server, url)
      }
    }
  }

  // What tests do.

  /** Stop: sockets are closed with 1001. With `forget`, nothing is remembered but the credentials. */
  stop({ forget = false } = {}) {
    this.isUp = false
    for (const socket of [...this.sockets]) socket.closedByServer(1001, "")
    if (forget) this.offers.clear()
  }

  start() {
    this.isUp = true
  }

  offersIn(topic) {
    return [...this.offers.values()].filter(offer => offer.topics.includes(topic) && !offer.answererId)
  }

  remove(id, reason = "withdrawn") {
    const offer = this.offers.get(id)
    if (!offer) return
    this.offers.delete(id)
    if (!offer.answererId) this.#tellTopics(offer, "gone", { offerId: id, topics: offer.topics, reason })
    else this.tell(offer.answererId, "withdrawn", { offerId: id, topics: offer.topics })
  }

  tell(peerId, event, data) {
    for (const socket of this.sockets) if (socket.peerId === peerId) socket.deliver(event, data, `${++this.#seq}`)
  }

  #tellTopics(offer, event, data) {
    for (const socket of this.sockets) {
      const topics = offer.topics.filter(topic => socket.topics.has(topic))
      if (topics.length) socket.deliver(event, { ...data, topics }, `${++this.#seq}`)
    }
  }

  #admits(method, path, shown) {
    const isEntrance = method === "POST" && (path === "register" || /^[^/]+\/offer$/.test(path))
    return !isEntrance || this.registrationToken === null || shown === `Bearer ${this.registrationToken}`
  }

  #caller(header) {
    const [peerId, secret] = (header ?? "").replace("Bearer ", "").split(":")
    return this.secrets.get(peerId) === secret ? peerId : null
  }

  authenticate(credential) {
    return this.#caller(`Bearer ${credential}`)
  }

  #answer(method, parts, query, caller, body) {
    const route = `${method} ${parts[0]}`
    if (route === "GET health") return { body: { status: "ok" } }
    if (route === "POST register") return this.#register()
    if (route === "POST answer") return this.#sessionAnswer(body)
    if (route === "POST poll") return this.#sessionPoll(body)
    if (method === "POST" && parts[1] === "offer") return this.#sessionOpen(body)
    if (route === "GET offers" && parts[1] === "by-topic") return this.#list(parts[2], query)
    if (!caller) return refused(401, "unauthorized")
    if (route === "GET ice") return { body: { iceServers: this.iceServers, ttl: 3600, expires: 0 } }
    if (route === "POST offers" && parts.length === 1) return this.#publish(caller, body)
    if (route === "GET offers" && parts[1] === "answers") return this.#answers(caller, query)
    const offer = this.offers.get(parts[1])
    if (!offer) return refused(404, "not-found")
    if (method === "DELETE") return this.remove(offer.id), { body: { deleted: true } }
    if (parts[2] === "answer") return this.#take(offer, caller, body)
    return method === "POST" ? this.#add(offer, caller, body) : this.#candidates(offer, caller, query)
  }

  #register() {
    const peerId = String(++this.#made).padStart(32, "0")
    this.secrets.set(peerId, `secret${this.#made}`)
    return { body: { peerId, secret: `secret${this.#made}` } }
  }

  #publish(caller, { offers }) {
    const isTaken = ({ id }) => this.offers.has(id) && this.offers.get(id).peerId !== caller
    if (offers.some(isTaken)) return refused(409, "id-taken")
    for (const { secret = "", ...given } of offers) {
      const known = this.offers.get(given.id)
      const candidates = known?.candidates ?? []
      const offer = { ...given, secret, peerId: caller, hasSecret: Boolean(secret), candidates }
      this.offers.set(offer.id, offer)
      this.#tellTopics(offer, "offer", shown(offer))
    }
    return { body: { offers } }
  }

  #take(offer, caller, { sdp, secret = "" }) {
    if (offer.secret && secret !== offer.secret) return refused(403, "wrong-secret")
    if (offer.answererId) return refused(409, "already-answered")
    Object.assign(offer, { answererId: caller, answer: sdp, answeredAt: ++this.#seq })
    this.#tellTopics(offer, "gone", { offerId: offer.id, topics: offer.topics, reason: "answered" })
    this.tell(offer.peerId, "answer", { offerId: offer.id, answererId: caller, sdp, topics: offer.topics })
    for (const made of offer.candidates) this.tell(caller, "candidate", { offerId: offer.id, ...made })
    return { body: { offerId: offer.id } }
  }

  #add(offer, caller, { candidates }) {
    if (caller !== offer.peerId && caller !== offer.answererId) return refused(403, "not-a-side")
    const other = caller === offer.peerId ? offer.answererId : offer.peerId
    for (const candidate of candidates) {
      const made = { candidate, peerId: caller, createdAt: ++this.#seq }
      offer.candidates.push(made)
      if (other) this.tell(other, "candidate", { offerId: offer.id, ...made })
    }
    return { body: { candidatesAdded: candidates.length } }
  }

  #candidates(offer, caller, query) {
    if (caller !== offer.peerId && caller !== offer.answererId) return refused(403, "not-a-side")
    const since = Number(query.get("since") ?? -1)
    const candidates = offer.candidates.filter(({ peerId, createdAt }) => peerId !== caller && createdAt > since)
    return { body: { offerId: offer.id, candidates }, isEmpty: !candidates.length }
  }

  #answers(caller, query) {
    const since = Number(query.get("since") ?? -1)
    const all = [...this.offers.values()]
    const answered = all.filter(offer => offer.peerId === caller && offer.answererId && offer.answeredAt > since)
    const answers = answered.map(({ id, answererId, answer, answeredAt }) => {
      return { offerId: id, answererId, sdp: answer, answeredAt }
    })
    return { body: { answers }, isEmpty: !answers.length }
  }

  #list(topic, query) {
    const offers = this.offersIn(topic).map(shown)
    if (!query.has("since")) return { body: { topic, offers, hasMore: false } }
    // Every change counts as one that was missed, so a poll lists all again.
    const since = offers.map(({ id }) => id).join(" ") || "none"
    const isNew = query.get("since") !== since
    return { body: { topic, offers: [], gone: [], since, reset: isNew }, isEmpty: !isNew }
  }

  #sessionOpen({ code = `code${++this.#made}`, offer }) {
    if (this.sessions.has(code)) return refused(409, "code-taken")
    this.sessions.set(code, { offer, answer: null, offerCandidates: [], answerCandidates: [], latest: ++this.#seq })
    return { body: { code } }
  }

  #sessionAnswer({ code, side, answer, candidate }) {
    const session = this.sessions.get(code)
    if (!session) return refused(404, "not-found")
    if (answer && session.answer) return refused(409, "already-answered")
    if (answer) session.answer = answer
    else session[side === "offerer" ? "offerCandidates" : "answerCandidates"].push(candidate)
    session.latest = ++this.#seq
    return { body: { success: true } }
  }

  #sessionPoll({ code, side, since = -1 }) {
    const session = this.sessions.get(code)
    if (!session) return refused(404, "not-found")
    const { offer, answer, offerCandidates, answerCandidates, latest } = session
    const body = side === "offerer" ? { answer, answerCandidates, latest } : { offer, offerCandidates, latest }
    return { body, isEmpty: latest <= since }
  }
}

function shown({ id, peerId, sdp, topics, hasSecret, info }) {
  return { id, peerId, sdp, topics, hasSecret, ...(info ? { info } : {}) }
}

function refused(status, code) {
  return { status, body: { ok: false, error: `Refused: ${code}.`, code } }
}

export function reply(status, body, headers = {}) {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } })
}

/** @returns {Promise<Response>} what comes as long as the request is not aborted, its headers and its body */
async function abortable(given, signal) {
  const aborted = new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")))
  })
  aborted.catch(() => {})
  const { body, status, headers } = await Promise.race([given, aborted])
  return new Response(body?.pipeThrough(new TransformStream(), { signal }) ?? null, { status, headers })
}

function parse(body) {
  return body === undefined ? {} : JSON.parse(body)
}

class FakeSocket {
  readyState = 0
  peerId = null
  topics = new Set()

  constructor(server, url) {
    this.server = server
    this.query = new URL(url).searchParams
    server.requests.push(`WEBSOCKET ${new URL(url).search}`)
    server.clock.setTimeout(() => this.#open(), 1)
  }

  #open() {
    if (this.readyState !== 0) return
    if (!this.server.isUp || this.server.refusesSockets) return this.closedByServer(1006, "")
    this.readyState = 1
    this.server.sockets.add(this)
    this.onopen?.()
  }

  send(text) {
    const message = JSON.parse(text)
    if (message.type === "authenticate") this.#authenticate(message.credential)
    else if (message.type === "subscribe") this.#subscribe(message.topics)
    else if (message.type === "unsubscribe") message.topics.forEach(topic => this.topics.delete(topic))
    else if (message.type === "ping" && !this.isDead) this.deliver("pong", {})
  }

  #authenticate(credential) {
    this.peerId = this.server.authenticate(credential)
    if (!this.peerId) return this.closedByServer(4401, "unauthorized")
    this.topics = new Set(this.query.getAll("topic"))
    this.deliver("open", { peerId: this.peerId, topics: [...this.topics] })
  }

  #subscribe(topics) {
    for (const topic of topics) this.topics.add(topic)
    this.deliver("subscribed", { topics: [...this.topics] })
  }

  deliver(event, data, id) {
    if (this.isDead) return
    this.server.clock.setTimeout(() => {
      if (this.readyState === 1) this.onmessage?.({ data: JSON.stringify({ event, data, id }) })
    }, 1)
  }

  close() {
    this.#end()
    // Browsers say that a socket has closed also to the page that has closed it.
    this.server.clock.setTimeout(() => this.onclose?.({ code: 1005, reason: "" }), 1)
  }

  closedByServer(code, reason) {
    this.#end()
    this.server.clock.setTimeout(() => this.onclose?.({ code, reason }), 1)
  }

  /** With the last socket of a page, the offers end that last only while it is connected. */
  #end() {
    this.readyState = 3
    if (!this.server.sockets.delete(this)) return
    this.server.clock.setTimeout(() => {
      if ([...this.server.sockets].some(({ peerId }) => peerId === this.peerId)) return
      for (const offer of [...this.server.offers.values()]) {
        if (offer.whileConnected && offer.peerId === this.peerId) this.server.remove(offer.id)
      }
    }, 5000)
  }
}
