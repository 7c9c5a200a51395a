// Who is there: the list of peers with their paths, and the choice of who gets a message.

import { NAME_CHARS, pathInWords, plain } from "./words.js"

/** Peers whose failed connections are shown. */
const MOST_FAILED = 20
/** Milliseconds that a failed connection is shown, unless it fails again. */
const FAILED_TIME = 90_000
/** The name of a peer that has given none. */
const GUEST = "Guest"

/** Shows the peers of a room. */
export class People {
  #list = document.getElementById("peers")
  #alone = document.getElementById("alone")
  #to = document.getElementById("to")
  #template = document.getElementById("peer")
  #items = new Map()
  #names = new Map()
  #failed = new Map()

  /**
   * @param {string} id of a peer
   * @returns {string} its name
   */
  name(id) {
    return this.#names.get(id) ?? GUEST
  }

  /**
   * Show a peer, or its new name.
   *
   * @param {string} id
   * @param {unknown} name what the peer says
   */
  add(id, name) {
    this.#forgetFailure(id)
    this.#names.set(id, this.#unique(id, plain(name, NAME_CHARS) || GUEST))
    const item = this.#item(id)
    item.querySelector(".name").textContent = this.name(id)
    item.classList.remove("failed")
    this.#option(id).textContent = this.name(id)
    this.#count()
  }

  /**
   * Show which path carries the data of a peer.
   *
   * @param {string} id
   * @param {object | null} path as of the client module
   */
  path(id, path) {
    const { kind, detail } = pathInWords(path)
    this.#describe(this.#item(id), kind, detail)
  }

  /**
   * Show that no connection to a peer came about.
   *
   * @param {string} id
   * @param {unknown} name what the peer says
   * @param {string} reason a sentence
   */
  failed(id, name, reason) {
    if (this.#failed.size >= MOST_FAILED && !this.#failed.has(id)) return
    this.#forgetFailure(id)
    this.#failed.set(id, setTimeout(() => this.remove(id), FAILED_TIME))
    const item = this.#item(id)
    item.classList.add("failed")
    item.querySelector(".name").textContent = plain(name, NAME_CHARS) || GUEST
    this.#describe(item, "failed", `${reason} It is tried again.`)
    this.#count()
  }

  /**
   * Show a peer no more.
   *
   * @param {string} id
   */
  remove(id) {
    this.#items.get(id)?.remove()
    this.#items.delete(id)
    this.#forgetFailure(id)
    this.#removeOption(id)
    this.#names.delete(id)
    this.#count()
  }

  /** @returns {string} the name, with a number if somebody else has it already */
  #unique(id, name) {
    const others = new Set(Array.from(this.#names).filter(([other]) => other !== id).map(([, taken]) => taken))
    let unique = name
    for (let number = 2; others.has(unique); number++) unique = `${name} (${number})`
    return unique
  }

  #forgetFailure(id) {
    clearTimeout(this.#failed.get(id))
    this.#failed.delete(id)
  }

  #describe(item, kind, detail) {
    const badge = item.querySelector(".badge")
    badge.textContent = kind
    badge.dataset.kind = kind
    item.querySelector(".detail").textContent = detail
  }

  #item(id) {
    const known = this.#items.get(id)
    if (known) return known
    const item = this.#template.content.firstElementChild.cloneNode(true)
    this.#items.set(id, item)
    this.#list.append(item)
    return item
  }

  #find(id) {
    return Array.from(this.#to.options).find(option => option.value === id)
  }

  #option(id) {
    const known = this.#find(id)
    if (known) return known
    const option = new Option("", id)
    this.#to.append(option)
    return option
  }

  #removeOption(id) {
    const option = this.#find(id)
    if (!option?.selected) return option?.remove()
    // Without it, what is typed for one person would go to everyone.
    option.textContent = `${this.name(id)} (has left)`
    this.#to.addEventListener("change", () => this.#names.has(id) || option.remove(), { once: true })
  }

  #count() {
    this.#alone.hidden = this.#items.size > 0
  }
}
