// Calls: everyone who takes part sends camera and microphone to everyone in the room. The others see them, and hear
// them when they take part, too, or ask for it.

const CANNOT =
  "This page cannot call: browsers give camera and microphone only to pages of https:// and of localhost. " +
  "Chat and files work."
const REASONS = {
  NotAllowedError: "The browser does not let this page use the camera or the microphone.",
  NotFoundError: "This machine has neither a camera nor a microphone.",
  NotReadableError: "Another program uses the camera or the microphone.",
}

/** Streams that are shown of one person, and of all. */
const MOST_OF_ONE = 3
const MOST_TILES = 24

/** The call of a room: its buttons, and a tile for each stream. */
export class Call {
  #room
  #name
  #talk
  #own = null
  #isStarting = false
  #tiles = new Map()
  #area = document.getElementById("tiles")
  #hint = document.getElementById("call-hint")
  #start = document.getElementById("call-start")
  #mute = document.getElementById("call-mute")
  #blind = document.getElementById("call-blind")
  #end = document.getElementById("call-end")

  /**
   * @param {object} room as of the client module
   * @param {(id: string) => string} name gives the name of a peer
   * @param {import("./talk.js").Talk} talk shows what has happened
   */
  constructor(room, name, talk) {
    this.#room = room
    this.#name = name
    this.#talk = talk
    this.#start.addEventListener("click", () => this.#begin())
    this.#end.addEventListener("click", () => this.#hangUp())
    this.#mute.addEventListener("click", () => this.#toggle(this.#mute, "getAudioTracks"))
    this.#blind.addEventListener("click", () => this.#toggle(this.#blind, "getVideoTracks"))
    const isPossible = globalThis.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia)
    this.#start.disabled = !isPossible
    this.#start.parentElement.hidden = !isPossible
    if (!isPossible) this.#explain(CANNOT)
  }

  /** Show the stream of a peer. */
  add(stream, peer) {
    const shown = this.#of(peer).length
    if (shown >= MOST_OF_ONE || this.#tiles.size >= MOST_TILES) return
    this.#tile(stream, peer.id)
    if (shown === 0) this.#talk.event`${this.#name(peer.id)} is in a call.`
    this.#show()
  }

  /** Show a stream no more. */
  remove(stream, peer) {
    const had = this.#tiles.has(stream.id)
    this.#drop(stream.id)
    if (had && this.#of(peer).length === 0) this.#talk.event`${this.#name(peer.id)} has left the call.`
    this.#show()
  }

  /** Show the streams of a peer no more. */
  forget(peer) {
    for (const [id, tile] of this.#tiles) if (tile.peer === peer.id) this.#drop(id)
    this.#show()
  }

  /** Show a peer's new name. */
  rename(id) {
    for (const tile of this.#tiles.values()) if (tile.peer === id) this.#caption(tile)
  }

  #explain(text) {
    this.#hint.textContent = text
    this.#hint.hidden = false
  }

  #of(peer) {
    return Array.from(this.#tiles.values()).filter(tile => tile.peer === peer.id)
  }

  async #begin() {
    if (this.#own || this.#isStarting) return
    this.#isStarting = true
    this.#hint.hidden = true
    try {
      const own = await media()
      this.#own = own
      this.#tile(own, "")
      for (const track of own.getTracks()) track.addEventListener("ended", () => this.#ended(own))
      this.#room.addStream(own)
      if (own.getVideoTracks().length) this.#talk.note`You are in a call.`
      else this.#talk.note`You are in a call, without a camera.`
      this.#hear(true)
    } catch (error) {
      this.#explain(REASONS[error.name] ?? `No call could be started: ${error.message}`)
    }
    this.#isStarting = false
    this.#show()
    if (this.#own) this.#end.focus()
  }

  #ended(own) {
    // A device was unplugged, or the browser was asked to take the permission back.
    if (this.#own === own && own.getTracks().every(track => track.readyState === "ended")) this.#hangUp()
  }

  #hangUp() {
    const own = this.#own
    if (!own) return
    this.#own = null
    this.#room.removeStream(own)
    for (const track of own.getTracks()) track.stop()
    this.#drop(own.id)
    this.#talk.note`You have left the call.`
    this.#hear(false)
    this.#show()
    this.#start.focus()
  }

  #toggle(button, tracks) {
    const isOff = button.getAttribute("aria-pressed") !== "true"
    button.setAttribute("aria-pressed", String(isOff))
    for (const track of this.#own?.[tracks]() ?? []) track.enabled = !isOff
  }

  #show() {
    const isIn = this.#own !== null
    this.#start.hidden = isIn
    this.#start.textContent = this.#tiles.size ? "Join the call" : "Start a call"
    this.#end.hidden = !isIn
    for (const [button, tracks] of [[this.#mute, "getAudioTracks"], [this.#blind, "getVideoTracks"]]) {
      button.hidden = !isIn || this.#own[tracks]().length === 0
      if (!isIn) button.setAttribute("aria-pressed", "false")
    }
  }

  #tile(stream, peer) {
    if (this.#tiles.has(stream.id)) return
    const figure = document.getElementById("tile").content.firstElementChild.cloneNode(true)
    const [video, button] = [figure.querySelector("video"), figure.querySelector("button")]
    const tile = { figure, peer, video, button }
    figure.classList.toggle("own", peer === "")
    button.hidden = peer === ""
    button.addEventListener("click", () => this.#sound(tile, video.muted))
    video.srcObject = stream
    this.#tiles.set(stream.id, tile)
    this.#area.append(figure)
    this.#sound(tile, peer !== "" && this.#own !== null)
  }

  #hear(isOn) {
    for (const tile of this.#tiles.values()) if (tile.peer !== "") this.#sound(tile, isOn)
  }

  #sound(tile, isOn) {
    tile.video.muted = !isOn
    this.#caption(tile)
    // Browsers play no sound of a page before its first click.
    tile.video.play().catch(error => isOn && error.name === "NotAllowedError" && this.#sound(tile, false))
  }

  #caption({ figure, peer, video, button }) {
    const name = peer === "" ? "You" : this.#name(peer)
    const word = video.muted ? "Listen" : "Silence"
    figure.querySelector(".name").textContent = name
    video.setAttribute("aria-label", peer === "" ? "Your camera" : `Camera of ${name}`)
    button.textContent = word
    button.setAttribute("aria-label", video.muted ? `Listen to ${name}` : `Silence ${name}`)
  }

  #drop(id) {
    const tile = this.#tiles.get(id)
    if (!tile) return
    const hadFocus = tile.figure.contains(document.activeElement)
    tile.video.srcObject = null
    tile.figure.remove()
    this.#tiles.delete(id)
    if (hadFocus) document.getElementById("call-title").focus()
  }
}

/** @returns {Promise<MediaStream>} of camera and microphone, or of the microphone alone. */
async function media() {
  const audio = { echoCancellation: true }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio, video: { width: 640, height: 480 } })
  } catch (error) {
    if (error.name === "NotAllowedError") throw error
    return navigator.mediaDevices.getUserMedia({ audio })
  }
}
