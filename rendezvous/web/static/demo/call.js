// Calls: everyone who takes part sends camera and microphone to everyone in the room.

const CANNOT =
  "A browser gives camera and microphone only to pages of https:// or of localhost. Chat and files work here as well."
const REASONS = {
  NotAllowedError: "The browser does not let this page use the camera or the microphone.",
  NotFoundError: "This machine has neither a camera nor a microphone.",
  NotReadableError: "Another program uses the camera or the microphone.",
}

/** The call of a room: its buttons, and a tile for each stream. */
export class Call {
  #room
  #name
  #note
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
   * @param {(text: string) => void} note shows what has happened
   */
  constructor(room, name, note) {
    this.#room = room
    this.#name = name
    this.#note = note
    this.#start.addEventListener("click", () => this.#begin())
    this.#end.addEventListener("click", () => this.#hangUp())
    this.#mute.addEventListener("click", () => this.#toggle(this.#mute, "getAudioTracks"))
    this.#blind.addEventListener("click", () => this.#toggle(this.#blind, "getVideoTracks"))
    if (!globalThis.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
      this.#start.disabled = true
      this.#hint.textContent = CANNOT
      this.#hint.hidden = false
    }
  }

  /** Show the stream of a peer. */
  add(stream, peer) {
    const isFirst = this.#of(peer).length === 0
    this.#tile(stream, peer.id, this.#name(peer.id))
    if (isFirst) this.#note(`${this.#name(peer.id)} is in a call.`)
    this.#show()
  }

  /** Show a stream no more. */
  remove(stream, peer) {
    const had = this.#tiles.has(stream.id)
    this.#drop(stream.id)
    if (had && this.#of(peer).length === 0) this.#note(`${this.#name(peer.id)} has left the call.`)
    this.#show()
  }

  /** Show the streams of a peer no more. */
  forget(peer) {
    for (const [id, tile] of this.#tiles) if (tile.peer === peer.id) this.#drop(id)
    this.#show()
  }

  /** Show a peer's new name. */
  rename(id) {
    for (const tile of this.#tiles.values()) if (tile.peer === id) this.#caption(tile.figure, this.#name(id))
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
      this.#tile(own, "", "You")
      for (const track of own.getTracks()) track.addEventListener("ended", () => this.#ended(own))
      this.#room.addStream(own)
      this.#note(own.getVideoTracks().length ? "You are in a call." : "You are in a call, without a camera.")
    } catch (error) {
      this.#hint.textContent = REASONS[error.name] ?? `No call could be started: ${error.message}`
      this.#hint.hidden = false
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
    this.#note("You have left the call.")
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

  #tile(stream, peer, name) {
    if (this.#tiles.has(stream.id)) return
    const figure = document.getElementById("tile").content.firstElementChild.cloneNode(true)
    const [video, button] = [figure.querySelector("video"), figure.querySelector("button")]
    this.#caption(figure, name)
    figure.classList.toggle("own", peer === "")
    video.muted = peer === ""
    video.srcObject = stream
    button.addEventListener("click", () => video.play())
    video.addEventListener("playing", () => (button.hidden = true))
    this.#tiles.set(stream.id, { figure, peer })
    this.#area.append(figure)
    // Browsers play no sound of a page before its first click.
    video.play().catch(error => (button.hidden = error.name !== "NotAllowedError"))
  }

  #caption(figure, name) {
    figure.querySelector("figcaption").textContent = name
    figure.querySelector("video").setAttribute("aria-label", name === "You" ? "Your camera" : `Camera of ${name}`)
    figure.querySelector("button").setAttribute("aria-label", `Play ${name}`)
  }

  #drop(id) {
    const tile = this.#tiles.get(id)
    if (!tile) return
    tile.figure.querySelector("video").srcObject = null
    tile.figure.remove()
    this.#tiles.delete(id)
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
