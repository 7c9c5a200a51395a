// The table of clients, filtered by the server and read a page at a time; and all that is known of one client.

import { ask, say } from "./dialogs.js"
import { address, badge, clientLink, fill, result, withAddresses } from "./lists.js"
import { ban } from "./sections.js"
import { counted, inClock, inSpan, plain } from "./words.js"

/** Rows of a page. */
export const PAGE = 100
/** Attempts of one client that are shown, the latest first. */
const ATTEMPTS = 20
/** Milliseconds without a key before a filter is used. */
const PAUSE = 250

const element = id => document.getElementById(id)

/** Reads pages of clients. With a filter that few fit, the server answers after a part of its table. */
export class Pages {
  #read
  #searching = null
  starts = [""]
  next = null
  /** How many requests the last page took. */
  requests = 0

  /** @param {(query: object, signal: AbortSignal) => Promise<{clients: object[], next: string | null}>} read */
  constructor(read) {
    this.#read = read
  }

  /** @returns {boolean} whether a page is being read */
  get isSearching() {
    return this.#searching !== null
  }

  /** Begin with the first page. */
  reset() {
    this.starts = [""]
    this.next = null
  }

  /** Go to the next page. */
  forward() {
    if (this.next !== null) this.starts.push(this.next)
  }

  /** Go back to the page before. */
  back() {
    if (this.starts.length > 1) this.starts.pop()
  }

  /** @returns {number} the number of the page, from 1 on */
  get number() {
    return this.starts.length
  }

  /**
   * Read the page. One that is being read is given up.
   *
   * @param {object} filter
   * @param {(found: object[]) => void} [progress] is called with what was found so far
   * @returns {Promise<object[] | null>} `null` if it was given up
   */
  async read(filter, progress = () => {}) {
    this.#searching?.abort()
    const searching = (this.#searching = new AbortController())
    const found = []
    let after = this.starts.at(-1)
    let requests = 0
    try {
      do {
        const query = { ...filter, after, limit: PAGE - found.length }
        const answer = await this.#read(query, searching.signal)
        if (searching.signal.aborted) return null
        requests += 1
        found.push(...answer.clients)
        after = answer.next
        progress(found)
      } while (after !== null && found.length < PAGE)
    } catch (error) {
      if (searching.signal.aborted) return null
      throw error
    } finally {
      if (this.#searching === searching) this.#searching = null
    }
    this.next = after
    this.requests = requests
    return found
  }
}

/** The section of clients. */
export class Clients {
  #api
  #pages
  #typing
  #chosen = ""

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.#api = api
    this.#pages = new Pages((query, signal) => api.get("clients", query, signal))
    for (const id of ["client-prefix", "client-network", "client-state"]) {
      element(id).addEventListener("input", () => {
        clearTimeout(this.#typing)
        this.#typing = setTimeout(() => this.#first(), PAUSE)
      })
    }
    element("client-filter").addEventListener("submit", event => {
      event.preventDefault()
      clearTimeout(this.#typing)
      this.#first()
    })
    element("clients-next").addEventListener("click", () => this.#turn(() => this.#pages.forward()))
    element("clients-back").addEventListener("click", () => this.#turn(() => this.#pages.back()))
    element("client-kick").addEventListener("click", () => this.#kick(this.#chosen))
    element("client-ban").addEventListener("click", () => this.#ban(this.#chosen))
    element("client-close").addEventListener("click", () => element("client").close())
  }

  /** Read the page again, unless that is under way, or the server must look through more than a part of its table. */
  async refresh() {
    if (!this.#pages.isSearching && this.#pages.requests <= 1) await this.#show()
  }

  #first() {
    this.#turn(() => this.#pages.reset())
  }

  #turn(move) {
    move()
    this.#show()
  }

  #filter() {
    return {
      prefix: element("client-prefix").value.trim().toLowerCase(),
      network: element("client-network").value.trim(),
      state: element("client-state").value,
    }
  }

  async #show() {
    try {
      const shown = await this.#pages.read(this.#filter(), found => this.#count(found.length, true))
      if (shown === null) return
      fill(
        element("clients-rows"),
        shown,
        client => client.client_id,
        client => cells(client, id => this.open(id)),
      )
      this.#count(shown.length, false)
    } catch (error) {
      element("clients-count").textContent = error.message
    }
  }

  #count(count, isSearching) {
    const pages = this.#pages
    const now = inClock(Date.now() / 1000)
    const old = pages.requests > 1 ? `, as of ${now}. Press Enter in a field to search again.` : ""
    const text = isSearching ? `Searching: ${count} so far…` : `Page ${pages.number}: ${counted(count, "client")}${old}`
    // A count that is renewed every few seconds is not read aloud each time.
    if (element("clients-count").textContent !== text) element("clients-count").textContent = text
    element("clients-back").disabled = pages.number === 1
    element("clients-next").disabled = isSearching || pages.next === null
  }

  /**
   * Show all that is known of a client.
   *
   * @param {string} id
   */
  async open(id) {
    try {
      const [{ client }, { attempts }] = await Promise.all([
        this.#api.get(`clients/${id}`),
        this.#api.get("attempts", { client: id, limit: ATTEMPTS }),
      ])
      const { ban: held, last_seen: seen } = client
      this.#chosen = id
      element("client-title").textContent = `Client ${plain(id, 32)}`
      const facts = {
        State: client.state,
        Address: client.host ? address(at(client)) : "none yet",
        "Registered from": client.network ? address(client.network) : "unknown",
        "Last seen": seen === null ? "unknown" : `${inClock(seen)} (${inSpan(Date.now() / 1000 - seen)} ago)`,
        "Open now": openNow(client),
        Banned: held ? banned(held) : "no",
      }
      element("client-facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => fact(name, value)))
      const items = client.events.map(({ time, event, text }) => entry(time, event, text))
      element("client-events").replaceChildren(...items)
      element("client-attempts").replaceChildren(...attempts.map(each => tried(each, id, other => this.open(other))))
      element("client-kick").disabled = client.state === "gone"
      if (!element("client").open) element("client").showModal()
    } catch (error) {
      say(error.message, { isError: true })
    }
  }

  async #kick(id) {
    const isDone = await ask({
      title: "Kick this client?",
      text: `${id} is logged out: its credential, its offers and its address end. It may register again.`,
      action: "Kick",
      isDangerous: true,
    }, async () => {
      await this.#api.post(`clients/${id}/kick`)
      return "The client is kicked."
    })
    if (isDone) this.#close()
  }

  async #ban(id) {
    if (await ban(this.#api, id)) this.#close()
  }

  #close() {
    element("client").close()
    this.refresh()
  }
}

function cells(client, open) {
  return [
    clientLink(client.client_id, open),
    badge(client.state, client.state),
    client.host ? address(at(client)) : "–",
    client.network ? address(client.network) : "–",
    inSpan(Date.now() / 1000 - client.last_seen),
  ]
}

function openNow({ offers, attempts, sockets, event_stream: hasStream }) {
  const counts = [counted(offers, "offer"), counted(attempts, "attempt"), counted(sockets, "WebSocket")]
  return [...counts, `${hasStream ? "an" : "no"} event stream`].join(", ")
}

function banned({ until, reason }) {
  return withAddresses(`until ${until === null ? "it is lifted" : inClock(until)}: ${plain(reason)}`)
}

function at({ host, port }) {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
}

function fact(name, value) {
  const [term, definition] = [document.createElement("dt"), document.createElement("dd")]
  term.textContent = name
  definition.append(...[value].flat())
  return [term, definition]
}

function entry(time, event, text) {
  const item = document.createElement("li")
  const when = document.createElement("time")
  when.textContent = inClock(time)
  item.append(when, " ", badge(plain(event, 30).replaceAll("_", " "), event), " ", ...withAddresses(plain(text, 500)))
  return item
}

/** @returns {HTMLElement} an attempt of a client, with its peer, what came of it and why */
function tried({ begun, state, ok, controlling, controlled, why }, id, open) {
  const item = document.createElement("li")
  const when = document.createElement("time")
  when.textContent = inClock(begun)
  const [towards, peer] = controlling === id ? ["to", controlled] : ["from", controlling]
  item.append(when, " ", badge(state, result(ok)), ` ${towards} `, clientLink(peer, open, 8), ` ${plain(why, 300)}`)
  return item
}
