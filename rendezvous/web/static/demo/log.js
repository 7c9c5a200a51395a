// The log: what was said and sent, and what has happened, as entries of a list.

import { NAME_CHARS, plain } from "./words.js"

/** Entries that the log keeps. */
const MOST_ENTRIES = 300

/** Shows entries. Its style keeps it at its end, unless the reader has scrolled back. */
export class Log {
  #place = document.getElementById("log")
  #list = document.getElementById("entries")
  #endings = new Map()

  /**
   * @param {string} template the id of the template of the entry
   * @param {string} kind its class: "own", "other" or "note"
   * @param {string} who the sender's name; empty for none
   * @param {(string | Node)[]} text
   * @returns {Element} the entry
   */
  add(template, kind, who, text) {
    const item = document.getElementById(template).content.firstElementChild.cloneNode(true)
    const now = new Date()
    item.classList.add(kind)
    item.querySelector(".who").textContent = plain(who, NAME_CHARS + 20)
    item.querySelector("time").textContent = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    item.querySelector("time").dateTime = now.toISOString()
    item.querySelector(".text").append(...text)
    this.#list.append(item)
    if (this.#list.children.length > MOST_ENTRIES) this.drop(this.#list.firstElementChild)
    if (kind === "own") this.#place.scrollTop = 0 // The end: its style reverses the direction.
    return item
  }

  /**
   * @param {Element} item
   * @param {() => void} callback is called when the entry goes, and replaces an earlier one
   */
  whenDropped(item, callback) {
    if (item.isConnected) this.#endings.set(item, callback)
    else callback()
  }

  /** Take an entry out. */
  drop(item) {
    const hadFocus = item.contains(document.activeElement)
    item.remove()
    if (hadFocus) this.#place.focus()
    const ending = this.#endings.get(item)
    this.#endings.delete(item)
    ending?.()
  }
}

/**
 * Put a text of somebody else among our words, whatever the direction of its letters.
 *
 * @param {string} text
 * @returns {HTMLElement}
 */
export function apart(text) {
  const element = document.createElement("bdi")
  element.textContent = text
  return element
}
