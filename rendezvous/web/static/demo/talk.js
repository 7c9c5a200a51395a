// What is said, and what happens in the room.

import { Pace } from "./bounds.js"
import { apart } from "./log.js"
import { TEXT_CHARS, plain } from "./words.js"

/** Messages and files of one person at once and a second. People are slower, and this page is, too: see `SENT`. */
const RECEIVED = [50, 5]
/** The same of notes that people come, go, and take part in a call. */
const NOTES = [20, 0.5]

/** Shows messages and notes in the log. */
export class Talk {
  #log
  #paces = new Map()
  #notes = new Pace(...NOTES)

  /** @param {import("./log.js").Log} log */
  constructor(log) {
    this.#log = log
  }

  /**
   * Show what has happened: note`${name} has joined.` Names and reasons keep to themselves, whatever their letters.
   *
   * @param {TemplateStringsArray} words ours
   * @param {...string} values of others
   */
  note(words, ...values) {
    this.#log.add("entry", "note", "", words.flatMap((word, at) => (at ? [apart(values[at - 1]), word] : [word])))
  }

  /** The same of what others cause, so it is left out when it happens too often. */
  event(words, ...values) {
    const isShown = this.#notes.take(() => this.note`More happens here than this page shows.`)
    if (isShown) this.note(words, ...values)
  }

  /**
   * @param {string} id of a peer
   * @param {string} name
   * @returns {boolean} whether what the peer has sent is to be shown: not if it sends too much
   */
  hears(id, name) {
    if (!this.#paces.has(id)) this.#paces.set(id, new Pace(...RECEIVED))
    return this.#paces.get(id).take(() => this.note`${name} sends more than this page shows.`)
  }

  /** @param {string} id of a peer that has left */
  forget(id) {
    this.#paces.delete(id)
  }

  /**
   * @param {string} who the sender's name
   * @param {unknown} text what it has sent
   * @param {{isOwn?: boolean, isPrivate?: boolean}} [how]
   */
  message(who, text, { isOwn = false, isPrivate = false } = {}) {
    const item = this.#log.add("entry", isOwn ? "own" : "other", who, [plain(text, TEXT_CHARS, { lines: true })])
    item.querySelector(".aside").hidden = !isPrivate
  }
}
