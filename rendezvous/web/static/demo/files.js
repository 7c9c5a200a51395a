// Files: what is sent and what is received, as entries of the log with their progress.

import { Budget, Pace } from "./bounds.js"
import { apart } from "./log.js"
import { inBytes, inTime, plain } from "./words.js"

/** Bytes of one file, and of all received files that the page keeps: a browser has them in memory or on its disk. */
const LONGEST_FILE = 2 ** 30
const MOST_KEPT = 2 ** 31
/** Bytes of a picture that is shown, not only offered to be saved. */
const LONGEST_PICTURE = 20 * 2 ** 20
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"])

/** Files that are sent at once and a second: fewer than those who get them take of one person. */
const SENT = [30, 3]
/** Milliseconds between two looks whether the next one may be sent. */
const SENT_LOOK = 100

const TOO_LONG = `It is too long: this page takes files of up to ${inBytes(LONGEST_FILE)}.`
const NO_ROOM = `There is no room for it: this page keeps ${inBytes(MOST_KEPT)} of files. Remove some.`
const CANCELLED = "You have cancelled it."

/** Sends and receives files. */
export class Files {
  #log
  #budget = new Budget(MOST_KEPT)
  #pace = new Pace(...SENT)

  /** @param {import("./log.js").Log} log */
  constructor(log) {
    this.#log = log
  }

  /**
   * Show a file that comes in, and offer to save it.
   *
   * @param {string} who the sender's name
   * @param {object} incoming as of the client module
   */
  async receive(who, incoming) {
    const name = plain(incoming.name, 200) || "file"
    const { item, ...transfer } = this.#transfer("other", who, name, incoming.size, "")
    const giveBack = incoming.size <= LONGEST_FILE ? this.#budget.take(incoming.size) : null
    if (!giveBack) {
      refuse(incoming)
      return transfer.fail(incoming.size <= LONGEST_FILE ? NO_ROOM : TOO_LONG)
    }
    let isCancelled = false
    const cancel = () => {
      isCancelled = true
      incoming.cancel()
    }
    incoming.onprogress = ({ received }) => transfer.progress(received)
    transfer.offer("Cancel", cancel)
    this.#log.whenDropped(item, cancel)
    try {
      const urls = offer(item, await incoming.blob, name, String(incoming.type))
      this.#log.whenDropped(item, () => {
        for (const url of urls) URL.revokeObjectURL(url)
        giveBack()
      })
      transfer.done("Received")
      transfer.offer("Remove", () => this.#log.drop(item))
    } catch (error) {
      giveBack()
      transfer.fail(isCancelled ? CANCELLED : error.message)
    }
  }

  /** Wait until one more file may be sent. */
  async turn() {
    while (!this.#pace.take()) await new Promise(resolve => setTimeout(resolve, SENT_LOOK))
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
    const { item, ...transfer } = this.#transfer("own", "You", file.name, file.size, `, to ${whom}`)
    if (file.size > LONGEST_FILE) return transfer.fail(TOO_LONG)
    let isCancelled = false
    const cancel = () => (isCancelled = true)
    transfer.offer("Cancel", cancel)
    this.#log.whenDropped(item, cancel)
    const sent = new Map(receivers.map(({ id }) => [id, 0]))
    const progress = ({ peer, sent: bytes }) => {
      if (isCancelled) throw new Error(CANCELLED) // The module then gives up, and the peer learns it.
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
    if (isCancelled) return transfer.fail(CANCELLED)
    const others = receivers.length - failures.length
    if (receivers.length > 1) failures.unshift(`Sent to ${others} of ${receivers.length}.`)
    return transfer.fail(failures.join(" "))
  }

  #transfer(kind, who, name, size, whom) {
    const item = this.#log.add("file", kind, who, [apart(name), `, ${inBytes(size)}${whom}`])
    const [bar, amount, button] = ["progress", ".amount", "button"].map(part => item.querySelector(part))
    bar.setAttribute("aria-label", `Progress of ${name}`)
    const begun = performance.now()
    let act = () => {}
    button.addEventListener("click", () => act())
    const end = words => {
      // Who has waited on the button goes on from here.
      if (button === document.activeElement) document.getElementById("log").focus()
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
      offer: (word, callback) => {
        act = callback
        button.hidden = false
        button.textContent = word
        button.setAttribute("aria-label", `${word} ${name}`)
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
}

/** Take nothing of a file. */
export function refuse(incoming) {
  incoming.blob.catch(() => {})
  incoming.cancel()
}

/** @returns {string[]} the URLs that are to be revoked when the entry goes */
function offer(item, blob, name, type) {
  // Whatever the sender calls it: a page among the files must not run as one of this server.
  const url = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }))
  const link = item.querySelector("a")
  link.href = url
  link.download = name
  link.querySelector(".hidden").textContent = ` ${name}`
  link.hidden = false
  if (!PICTURES.has(type) || blob.size > LONGEST_PICTURE) return [url]
  const picture = item.querySelector("img")
  picture.src = URL.createObjectURL(new Blob([blob], { type }))
  picture.alt = name
  picture.hidden = false
  return [url, picture.src]
}
