/**
 * RTCPeerConnections that are connected within one process: the state machine of signaling, trickle, negotiated data
 * channels, tracks, paths that break, and pages that vanish.
 */

import assert from "node:assert/strict"

export class Network {
  #made = 0
  #connections = new Map()
  /** Pairs whose path has broken, as texts of both fingerprints, until ICE is restarted. */
  #broken = new Set()
  latency = 1
  /** Candidates that each connection finds. */
  candidates = ["candidate:1 1 udp 2130706431 192.168.1.5 5000 typ host"]
  /** Whether ICE finds a path. */
  hasPath = true

  constructor(clock) {
    this.clock = clock
  }

  /** A class as `RTCPeerConnection` for one page. */
  page() {
    const network = this
    const made = []
    class Connection extends FakeConnection {
      constructor(configuration) {
        super(network, `page-${++network.#made}`, configuration)
        network.#connections.set(this.fingerprint, this)
        made.push(this)
      }
    }
    return { RTCPeerConnection: Connection, made, vanish: () => made.forEach(connection => connection.vanish()) }
  }

  find(fingerprint) {
    return this.#connections.get(fingerprint)
  }

  /** The path between all connections breaks until they restart ICE. */
  breakPaths() {
    for (const connection of this.#connections.values()) if (connection.other) this.#broken.add(key(connection))
  }

  isBroken(connection) {
    return this.#broken.has(key(connection))
  }

  repair(connection) {
    this.#broken.delete(key(connection))
    connection.flush()
    connection.other.flush()
  }

  later(callback, milliseconds = this.latency) {
    this.clock.setTimeout(callback, milliseconds)
  }
}

function key(connection) {
  return [connection.fingerprint, connection.other?.fingerprint].sort().join(" ")
}

class FakeConnection {
  signalingState = "stable"
  connectionState = "new"
  localDescription = null
  remoteDescription = null
  sctp = { maxMessageSize: 262_144, transport: { iceTransport: {} } }
  /** Candidates of the other side that the page has added. */
  added = new Set()
  other = null
  channels = []
  iceRestarts = 0
  #senders = []
  #remoteTracks = new Map()
  #stable = { local: null, remote: null }
  #isNeeded = false
  #hasCandidate = false
  #ufrag = 0
  #restart = false
  #isRestarting = false
  #offered = ""
  #lines = 0
  #carried = true
  #isGone = false

  constructor(network, fingerprint, configuration) {
    this.network = network
    this.fingerprint = fingerprint
    this.configuration = configuration
  }

  // What a page calls.

  createDataChannel(label, { negotiated, id }) {
    assert.equal(negotiated, true)
    const channel = new FakeChannel(this, label, id)
    this.channels.push(channel)
    this.#need()
    return channel
  }

  addTrack(track, stream) {
    const sender = { track, stream }
    this.#senders.push(sender)
    this.#need()
    return sender
  }

  removeTrack(sender) {
    sender.track = null
    this.#need()
  }

  getSenders() {
    return [...this.#senders]
  }

  setConfiguration(configuration) {
    this.configuration = configuration
  }

  restartIce() {
    this.iceRestarts++
    this.#restart = true
    this.#need()
  }

  async setLocalDescription(description) {
    assert.notEqual(this.signalingState, "closed")
    if (description?.type === "rollback") {
      this.#rollback()
      // As browsers do: what was to be offered is still to be offered.
      return queueMicrotask(() => this.#ask())
    }
    const type = this.signalingState === "have-remote-offer" ? "answer" : "offer"
    this.#isRestarting = this.#restart && type === "offer"
    if (this.#isRestarting) this.#ufrag++
    this.#restart = false
    // An answer has no more media than its offer, and what both had before.
    const lines = type === "answer" ? this.#lines : Infinity
    this.localDescription = { type, sdp: this.#sdp(lines) }
    this.#carried = this.#senders.filter(({ track }) => track).length <= lines
    if (type === "offer") {
      this.#lines = Math.max(this.#lines, this.#senders.length)
      this.#offered = this.#wanted()
      this.signalingState = "have-local-offer"
    } else {
      this.#becomeStable()
    }
    this.network.candidates.forEach((candidate, at) =>
      this.network.later(() => {
        if (this.signalingState !== "closed") this.onicecandidate?.({ candidate: { candidate, sdpMid: "0" } })
      }, 2 + at)
    )
  }

  async setRemoteDescription({ type, sdp }) {
    assert.notEqual(this.signalingState, "closed")
    if (type === "offer" && this.signalingState === "have-local-offer") this.#rollback()
    const expected = type === "offer" ? "stable" : "have-local-offer"
    if (this.signalingState !== expected) throw new Error(`${type} in state ${this.signalingState}`)
    this.remoteDescription = { type, sdp }
    this.other = this.network.find(/fingerprint:(.*)\r/.exec(sdp)[1])
    this.#lines = Math.max(this.#lines, [...sdp.matchAll(/msid/g)].length)
    if (type === "offer") this.signalingState = "have-remote-offer"
    else this.#becomeStable()
    this.#takeTracks(sdp)
  }

  async addIceCandidate({ candidate }) {
    if (!this.remoteDescription) throw new Error("a candidate without a description")
    this.#hasCandidate = Boolean(candidate)
    this.added.add(candidate)
    this.#tryPath()
  }

  async getStats() {
    if (this.connectionState !== "connected") return new Map()
    const end = (id, address) => [id, { id, type: "candidate", candidateType: "host", address, protocol: "udp" }]
    const pair = { id: "P", type: "candidate-pair" }
    return new Map([
      ["T", { id: "T", type: "transport", selectedCandidatePairId: "P" }],
      ["P", { ...pair, localCandidateId: "L", remoteCandidateId: "R", currentRoundTripTime: 0.004 }],
      end("L", "192.168.1.5"),
      end("R", "192.168.1.6")
    ])
  }

  close() {
    if (this.signalingState === "closed") return
    this.signalingState = this.connectionState = "closed"
    const { other } = this
    if (other && !this.#isGone && !this.network.isBroken(this)) this.network.later(() => other.closedByOther())
  }

  // What the network does.

  get isReachable() {
    return this.connectionState === "connected" && !this.#isGone && !this.network.isBroken(this)
  }

  /** The page is killed: nothing is said. */
  vanish() {
    this.#isGone = true
  }

  get isGone() {
    return this.#isGone
  }

  closedByOther() {
    if (this.signalingState === "closed") return
    for (const channel of this.channels) channel.end()
  }

  flush() {
    for (const channel of this.channels) channel.flush()
  }

  fail() {
    this.connectionState = "failed"
    this.onconnectionstatechange?.()
  }

  #need() {
    this.#isNeeded = true
    if (this.signalingState === "stable") queueMicrotask(() => this.#ask())
  }

  #ask() {
    if (!this.#isNeeded || this.signalingState !== "stable") return
    this.#isNeeded = false
    this.onnegotiationneeded?.()
  }

  #wanted() {
    const tracks = this.#senders.filter(({ track }) => track).map(({ track, stream }) => `${track.id}/${stream.id}`)
    return [this.channels.length ? "data" : "", ...tracks, this.#ufrag].join(" ")
  }

  #sdp(lines) {
    const senders = this.#senders.filter(({ track }) => track).slice(0, lines)
    const tracks = senders.map(({ track, stream }) => `a=msid:${stream.id} ${track.id}\r\n`)
    return `v=0\r\na=fingerprint:${this.fingerprint}\r\na=ice-ufrag:${this.#ufrag}\r\n${tracks.join("")}`
  }

  #rollback() {
    this.localDescription = this.#stable.local
    this.signalingState = "stable"
    this.#isNeeded = true
    this.#restart ||= this.#isRestarting
  }

  #becomeStable() {
    this.signalingState = "stable"
    this.#stable = { local: this.localDescription, remote: this.remoteDescription }
    // What was wanted when the offer was made is negotiated now; an answer carries what this side has.
    const isCarried = this.localDescription.type === "answer" ? this.#carried : this.#offered === this.#wanted()
    this.#isNeeded = !isCarried
    queueMicrotask(() => this.#ask())
    if (this.other && this.network.isBroken(this) && this.#ufrag + this.other.#ufrag > 0 && !this.other.#isGone) {
      this.network.later(() => this.network.repair(this), 5)
    }
    this.#tryPath()
  }

  #takeTracks(sdp) {
    const found = new Map([...sdp.matchAll(/msid:(\S+) (\S+)\r/g)].map(([, stream, track]) => [track, stream]))
    for (const [track, stream] of found) {
      if (this.#remoteTracks.has(track)) continue
      const shown = this.#streams.get(stream) ?? new FakeStream(stream)
      this.#streams.set(stream, shown)
      shown.tracks.push({ id: track })
      this.#remoteTracks.set(track, shown)
      this.ontrack?.({ track: { id: track }, streams: [shown] })
    }
    for (const [track, stream] of [...this.#remoteTracks]) {
      if (found.has(track)) continue
      this.#remoteTracks.delete(track)
      stream.tracks = stream.tracks.filter(({ id }) => id !== track)
      stream.onremovetrack?.()
    }
  }
  #streams = new Map()

  #tryPath() {
    const { other, network } = this
    const isReady = one => one.signalingState === "stable" && one.#stable.remote && one.#hasCandidate
    if (!network.hasPath || !other || !isReady(this) || !isReady(other)) return
    network.later(() => [this, other].forEach(one => one.#connect()), 3)
  }

  #connect() {
    if (this.connectionState === "connected" || this.signalingState === "closed") return
    this.connectionState = "connected"
    this.onconnectionstatechange?.()
    for (const channel of this.channels) channel.start()
  }
}

class FakeChannel {
  readyState = "connecting"
  bufferedAmount = 0
  bufferedAmountLowThreshold = 0
  binaryType = "blob"
  #waiting = []

  constructor(connection, label, id) {
    this.connection = connection
    this.label = label
    this.id = id
  }

  start() {
    if (this.readyState !== "connecting") return
    this.readyState = "open"
    this.onopen?.()
  }

  send(data) {
    if (this.readyState !== "open") throw new Error("the channel is not open")
    const size = typeof data === "string" ? data.length : data.byteLength
    this.bufferedAmount += size
    const whole = typeof data === "string" ? data : data.slice().buffer
    this.#waiting.push([whole, size])
    this.flush()
  }

  flush() {
    const { connection } = this
    if (!connection.isReachable) return
    for (const [data, size] of this.#waiting.splice(0)) {
      connection.network.later(() => {
        const wasHigh = this.bufferedAmount > this.bufferedAmountLowThreshold
        this.bufferedAmount -= size
        if (wasHigh && this.bufferedAmount <= this.bufferedAmountLowThreshold) this.onbufferedamountlow?.()
        const { other } = connection
        const channel = other?.channels.find(({ id }) => id === this.id)
        if (channel && !other.isGone) channel.receive(data)
      })
    }
  }

  receive(data) {
    if (this.readyState === "open") this.onmessage?.({ data })
    else if (this.readyState === "connecting") this.connection.network.later(() => this.receive(data))
  }

  end() {
    if (this.readyState === "closed") return
    this.readyState = "closed"
    this.onclose?.()
  }
}

/** A MediaStream with tracks that have ids. */
export class FakeStream {
  constructor(id, ...tracks) {
    this.id = id
    this.tracks = tracks.map(track => ({ id: track }))
  }

  getTracks() {
    return this.tracks
  }
}
