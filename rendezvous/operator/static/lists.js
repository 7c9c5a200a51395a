// Rows of tables, which change without losing the focus; and addresses, which are shown only when asked for.

import { addressesIn, plain } from "./words.js"

/** What stands in the place of an address. It has nothing of it, not even its length. */
const MASK = "•••••"

let isShown = false

/**
 * Show all addresses, or hide them.
 *
 * @param {boolean} shown
 */
export function showAddresses(shown) {
  isShown = shown
  for (const element of document.querySelectorAll("[data-address]")) write(element)
}

/**
 * @param {string} text an address or a network
 * @returns {HTMLElement} it, or a mask in its place
 */
export function address(text) {
  const element = document.createElement("span")
  element.className = "address"
  element.dataset.address = plain(text, 80)
  write(element)
  return element
}

/**
 * @param {string} text in which there may be addresses
 * @returns {(string | HTMLElement)[]} the parts of the text
 */
export function withAddresses(text) {
  return addressesIn(text).map(part => (part.isAddress ? address(part.text) : part.text))
}

function write(element) {
  const text = isShown ? element.dataset.address : MASK
  element.classList.toggle("masked", !isShown)
  if (element.textContent !== text) element.textContent = text
  if (isShown) {
    for (const name of ["title", "role", "aria-label"]) element.removeAttribute(name)
  } else {
    element.title = "Hidden. Use “Show addresses”."
    element.role = "img"
    element.ariaLabel = "hidden address"
  }
}

/**
 * Make the rows of a table be these. A row that stays is the same element as before, and so are its buttons.
 *
 * @template T
 * @param {HTMLElement} body of the table
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => (string | Node | (string | Node)[])[]} cells the first of them is the heading of the row
 */
export function fill(body, items, key, cells) {
  const before = new Map(Array.from(body.children, row => [row.dataset.key, row]))
  let place = body.firstElementChild
  for (const item of items) {
    const name = key(item)
    let row = before.get(name)
    if (row) before.delete(name)
    else {
      row = document.createElement("tr")
      row.dataset.key = name
    }
    put(row, cells(item))
    if (row === place) place = place.nextElementSibling
    else body.insertBefore(row, place)
  }
  for (const row of before.values()) row.remove()
}

function put(row, cells) {
  cells.forEach((content, index) => {
    const parts = [content].flat()
    let cell = row.children[index]
    if (!cell) {
      cell = document.createElement(index ? "td" : "th")
      if (!index) cell.scope = "row"
      row.append(cell)
    }
    // What has not changed stays, so that a selection and the focus do.
    const is = parts.map(part => (typeof part === "string" ? part : `\0${part.dataset?.address ?? part.textContent}`))
    const said = is.join("\u0001")
    if (cell.said === said) return
    cell.said = said
    cell.replaceChildren(...parts)
  })
}

/**
 * @param {string} text of the button
 * @param {string} about what it is about, for those who do not see the row
 * @param {() => void} act
 * @returns {HTMLButtonElement}
 */
export function button(text, about, act) {
  const made = document.createElement("button")
  made.type = "button"
  made.className = "small"
  made.append(text)
  const hidden = document.createElement("span")
  hidden.className = "hidden"
  hidden.textContent = ` ${about}`
  made.append(hidden)
  made.addEventListener("click", act)
  return made
}

/**
 * @param {string} id of a client
 * @param {(id: string) => void} open
 * @param {number} [digits] how many are shown
 * @returns {HTMLButtonElement} what opens all that is known of the client
 */
export function clientLink(id, open, digits = 32) {
  const made = document.createElement("button")
  made.type = "button"
  made.className = "link"
  const shown = plain(id, 32)
  made.textContent = digits < 32 ? `${shown.slice(0, digits)}…` : shown
  made.addEventListener("click", () => open(shown))
  return made
}

/**
 * @param {boolean | null} ok what came of an attempt; `null` while it goes on
 * @returns {string} the kind of its badge
 */
export function result(ok) {
  if (ok === null) return "going"
  return ok ? "good" : "bad"
}

/** @returns {HTMLElement} a word with a colour of its kind; the word says the same as the colour */
export function badge(text, kind) {
  const made = document.createElement("span")
  made.className = "badge"
  made.dataset.kind = kind
  made.textContent = text
  return made
}
