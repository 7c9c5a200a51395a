// The dashboard: signs in, shows what the server says, and lets an operator act.

import { Api } from "./api.js"
import { Clients } from "./clients.js"
import { ask, say } from "./dialogs.js"
import { showAddresses } from "./lists.js"
import { Live } from "./live.js"
import { LogView } from "./logs.js"
import { ban, sections } from "./sections.js"
import { Tiles } from "./tiles.js"
import { counted, inBytes, inCount, inDelay, inSpan } from "./words.js"

/** Where the token is: it survives a reload, and ends with the tab; see {@link isReloaded}. */
const TOKEN_KEY = "rendezvous-operator-token"
const NAME_KEY = "rendezvous-operator-name"
/** Milliseconds between two readings of the tables at least. */
const REFRESH = 4_000

const STATES = {
  stream: "Up to date",
  polling: "Up to date every 5 seconds: there is no stream of updates",
  lost: "The server does not answer; trying again…",
}
const element = id => document.getElementById(id)

/** sessionStorage; a browser can be set to keep nothing, and then each reload asks for the token. */
const kept = {
  get(key) {
    try {
      return sessionStorage.getItem(key) ?? ""
    } catch {
      return ""
    }
  },
  set(key, value) {
    try {
      if (value) sessionStorage.setItem(key, value)
      else sessionStorage.removeItem(key)
    } catch {
      // It lasts as long as the page.
    }
  },
}

/**
 * Browsers bring sessionStorage back with a tab that is opened again, also after a restart. It must ask then.
 *
 * @returns {boolean} whether the page that was here before was this one, and was reloaded
 */
function isReloaded() {
  return performance.getEntriesByType("navigation")[0]?.type === "reload"
}

function showState(state) {
  if (element("state").dataset.state === state) return
  element("state").dataset.state = state
  element("state").textContent = STATES[state]
}

/** Puts the parts of the page together. */
class Dashboard {
  #api
  #clients
  #tiles
  #log
  #sections
  #read = -Infinity
  #isReading = false
  #isDraining = false

  constructor(api) {
    this.#api = api
    this.#tiles = new Tiles(element("tiles"))
    this.#log = new LogView()
    this.#clients = new Clients(api)
    this.#sections = sections(api, id => this.#clients.open(id))
    element("drain").addEventListener("click", () => this.#drain())
    element("reload").addEventListener("click", () => this.#reload())
    element("ban-form").addEventListener("submit", event => {
      event.preventDefault()
      ban(api, element("ban-target").value.trim())
    })
    this.live = new Live(api, {
      history: history => this.#tiles.begin(history),
      figures: figures => this.#tiles.update(figures),
      overview: overview => this.#overview(overview),
      log: line => this.#log.add(line),
      last: () => this.#log.last,
      state: showState,
      refused: error => leave(error.message),
    })
  }

  /** Show what the server is and does. */
  #overview(overview) {
    this.#isDraining = overview.draining
    element("version").textContent = `${overview.version}, up for ${inSpan(overview.time - overview.started)}`
    element("draining").hidden = !overview.draining
    element("drain").textContent = overview.draining ? "End draining…" : "Drain…"
    element("failing").hidden = !overview.saving?.is_failing
    element("load").textContent = words(overview)
    if (!document.hidden) this.refresh()
  }

  /** Read all tables again, one after the other, unless that was just done. */
  async refresh() {
    if (this.#isReading || performance.now() - this.#read < REFRESH) return
    this.#isReading = true
    try {
      await this.#clients.refresh()
      for (const read of this.#sections) await read()
      element("stale").hidden = true
    } catch (error) {
      element("stale").textContent = `Some tables could not be read: ${error.message}`
      element("stale").hidden = false
    } finally {
      this.#isReading = false
      this.#read = performance.now()
    }
  }

  #drain() {
    if (this.#isDraining) {
      const question = { title: "End draining?", text: "The server takes new clients again.", action: "End draining" }
      return ask(question, async () => {
        await this.#api.delete("drain")
        return "The server takes new clients."
      })
    }
    const text = "The server refuses new clients, and load balancers send none any more. Those that are there stay."
    return ask({ title: "Drain the server?", text, action: "Drain", isDangerous: true }, async () => {
      await this.#api.post("drain")
      return "The server drains."
    })
  }

  #reload() {
    const text = "The file of settings, certificates and other files are read again. No connection is closed."
    return ask({ title: "Reload?", text, action: "Reload" }, async () => {
      const { changed, refused } = await this.#api.post("reload")
      const kept = refused.length ? `; only a restart can change ${refused.join(", ")}` : ""
      return `Reloaded: ${changed.length ? changed.join(", ") : "no setting has changed"}${kept}.`
    })
  }
}

/** @returns {string} how full the fullest tables are, and how the store does */
function words({ tables, signaling_memory: memory, saving, reactor_delay: delay, connections }) {
  const fills = Object.entries(tables).filter(([, { limit }]) => limit)
  const [name, fill] = fills.sort(([, one], [, other]) => other.entries / other.limit - one.entries / one.limit)[0] ?? []
  const said = [counted(connections, "connection"), `longest delay of the reactor: ${inDelay(delay)}`]
  if (fill) {
    const share = Math.round((100 * fill.entries) / fill.limit)
    said.push(`fullest table: ${name.replaceAll("_", " ")}, ${share} % of ${inCount(fill.limit)}`)
  }
  said.push(`signaling: ${inBytes(memory.entries)} of ${inBytes(memory.limit)}`)
  if (saving) said.push(`to be saved: ${inBytes(saving.backlog)}`)
  if (saving?.restored) {
    said.push(`last restart: ${inSpan(saving.restored.pause)} without a server, ${inCount(saving.restored.clients)} clients kept`)
  }
  return said.join(" · ")
}

/** Forget the token, and ask for it again. Everything that the page has read goes with it. */
function leave(reason = "") {
  kept.set(TOKEN_KEY, "")
  kept.set("rendezvous-operator-reason", reason)
  location.reload()
}

/** @returns {Promise<boolean>} whether a token opens the server; otherwise the page says why it does not */
async function enter(token, name) {
  const api = new Api(token, name)
  element("sign-in-error").textContent = ""
  try {
    const overview = await api.get("overview")
    kept.set(TOKEN_KEY, token)
    kept.set(NAME_KEY, name)
    element("sign-in").hidden = true
    for (const id of ["bar", "main"]) element(id).hidden = false
    element("token").value = ""
    const dashboard = new Dashboard(api)
    document.addEventListener("visibilitychange", () => document.hidden || dashboard.refresh())
    dashboard.live.run()
    document.title = `Rendezvous ${overview.version}`
    return true
  } catch (error) {
    element("sign-in-error").textContent = error.status === 401 ? "This is not the token of this server." : error.message
    return false
  }
}

async function begin() {
  element("name").value = kept.get(NAME_KEY)
  element("sign-in-form").addEventListener("submit", async event => {
    event.preventDefault()
    const fields = element("sign-in-fields")
    fields.disabled = true
    const isIn = await enter(element("token").value.trim(), element("name").value.trim())
    fields.disabled = false
    if (isIn) element("title").focus()
    else element("token").select()
  })
  element("sign-out").addEventListener("click", () => leave())
  element("addresses").addEventListener("click", () => {
    const shown = element("addresses").getAttribute("aria-pressed") !== "true"
    element("addresses").setAttribute("aria-pressed", String(shown))
    showAddresses(shown)
  })
  if (!isReloaded()) kept.set(TOKEN_KEY, "")
  const token = kept.get(TOKEN_KEY)
  if (token && (await enter(token, kept.get(NAME_KEY)))) return
  element("sign-in-fields").disabled = false
  element("sign-in").hidden = false
  const reason = kept.get("rendezvous-operator-reason")
  if (reason) say(reason, { isError: true })
  kept.set("rendezvous-operator-reason", "")
  element("token").focus()
}

begin()
