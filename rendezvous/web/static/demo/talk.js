// Chat and files: the log of what was said and sent, and the form below it.

import { NAME_CHARS, TEXT_CHARS, inBytes, inTime, plain } from "./words.js"

/** Entries that the log keeps. */
const MOST_ENTRIES = 300
/** Bytes of a file that is received: the browser keeps it in memory or in a temporary file. */
const LONGEST_FILE = 2 ** 30
/** Bytes of a picture that is shown, not only offered to be saved. */
const LONGEST_PICTURE = 20 * 2 ** 20
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"])

/** Shows messages and files, and what happens in the room. */
export class Talk {
  #log = document.getElementById("log")
  #urls = new Map()

  /** @param {string} text what has happened */
  note(text) {
    this.#add("entry", "note", "", text)
  }

  /**
   * @param {string} who the sender's name
   * @param {unknown} text what it has sent
   * @param {{isOwn?: boolean, isPrivate?: boolean}} [how]
   */
  message(who, text, { isOwn = false, isPrivate = false } = {}) {
    this.#add("entry", isOwn ? "own" : "other", isPrivate ? `${who} (only to you)` : who, plain(text, TEXT_CHARS))
  }

  /**
   * Show a file that comes in, and offer to save it.
   *
   * @param {string} who the sender's name
   * @param {object} incoming as of the client module
   */
  async receive(who, incoming) {
    const name = plain(incoming.name, 200) || "file"
    const transfer = this.#transfer("other", who, `${name}, ${inBytes(incoming.size)}`, incoming.size)
    if (!(incoming.size <= LONGEST_FILE)) {
      incoming.blob.catch(() => {})
      incoming.cancel()
      return transfer.fail(`It is too long: this page takes up to ${inBytes(LONGEST_FILE)}.`)
    }
    incoming.onprogress = ({ received }) => transfer.progress(received)
    transfer.cancellable(() => incoming.cancel())
    try {
      const blob = await incoming.blob
      transfer.done("Received")
      this.#offer(transfer.item, blob, name, String(incoming.type))
    } catch (error) {
      transfer.fail(error.message)
    }
  }

  /**
   * Send a file, and show how far it is.
   *
   * @param {object} room as of the client module
   * @param {File} file
   * @param {{id: string, name: string}[]} receivers peers, one at least
   * @param {string} whom the words for all of them
   */
  async send(room, file, receivers, whom) {
    const transfer = this.#transfer("own", "You", `${file.name}, ${inBytes(file.size)}, to ${whom}`, file.size)
    const sent = new Map(receivers.map(({ id }) => [id, 0]))
    const progress = ({ peer, sent: bytes }) => {
      sent.set(peer.id, bytes)
      transfer.progress(Math.min(...sent.values()))
    }
    const failures = []
    const sendTo = async ({ id, name }) => {
      try {
        await room.sendFile(file, id, progress)
      } catch (error) {
        sent.delete(id)
        failures.push(receivers.length > 1 ? `${name}: ${error.message}` : error.message)
      }
    }
    await Promise.all(receivers.map(sendTo))
    if (failures.length === 0) return transfer.done("Sent")
    const others = receivers.length - failures.length
    if (receivers.length > 1) failures.unshift(`Sent to ${others} of ${receivers.length}.`)
    return transfer.fail(failures.join(" "))
  }

  #offer(item, blob, name, type) {
    // Whatever the sender calls it: a page among the files must not run as one of this server.
    const url = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }))
    const link = item.querySelector("a")
    link.href = url
    link.download = name
    link.textContent = `Save ${name}`
    link.hidden = false
    const urls = [url]
    if (PICTURES.has(type) && blob.size <= LONGEST_PICTURE) {
      const picture = item.querySelector("img")
      const wasAtEnd = this.#isAtEnd()
      picture.addEventListener("load", () => wasAtEnd && this.#goToEnd())
      picture.src = URL.createObjectURL(new Blob([blob], { type }))
      picture.alt = name
      picture.hidden = false
      urls.push(picture.src)
    }
    this.#urls.set(item, urls)
  }

  #transfer(kind, who, text, size) {
    const item = this.#add("file", kind, who, text)
    const [bar, amount, button] = ["progress", ".amount", "button"].map(name => item.querySelector(name))
    bar.setAttribute("aria-label", text)
    const begun = performance.now()
    const end = words => {
      bar.hidden = true
      button.hidden = true
      amount.removeAttribute("aria-live") // From "off", so that screen readers say how it ended, and not each step.
      amount.textContent = words
    }
    return {
      item,
      progress: bytes => {
        bar.value = size ? bytes / size : 1
        amount.textContent = `${inBytes(bytes)} of ${inBytes(size)}`
      },
      cancellable: cancel => {
        button.hidden = false
        button.setAttribute("aria-label", `Cancel ${text}`)
        button.addEventListener("click", cancel, { once: true })
      },
      done: word => {
        const ms = performance.now() - begun
        end(`${word} in ${inTime(ms)}, ${inBytes(Math.round((size * 1000) / Math.max(ms, 1)))} a second.`)
      },
      fail: reason => {
        item.classList.add("failed")
        end(reason)
      },
    }
  }

  #add(template, kind, who, text) {
    const item = document.getElementById(template).content.firstElementChild.cloneNode(true)
    const now = new Date()
    item.classList.add(kind)
    item.querySelector(".who").textContent = plain(who, NAME_CHARS + 20)
    item.querySelector("time").textContent = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    item.querySelector("time").dateTime = now.toISOString()
    item.querySelector(".text").textContent = text
    // A reader who has scrolled back stays there.
    const wasAtEnd = this.#isAtEnd()
    this.#log.append(item)
    while (this.#log.children.length > MOST_ENTRIES) this.#drop(this.#log.firstElementChild)
    if (wasAtEnd || kind === "own") this.#goToEnd()
    return item
  }

  #isAtEnd() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40
  }

  #goToEnd() {
    this.#log.scrollTop = this.#log.scrollHeight
  }

  #drop(item) {
    for (const url of this.#urls.get(item) ?? []) URL.revokeObjectURL(url)
    this.#urls.delete(item)
    item.remove()
  }
}
