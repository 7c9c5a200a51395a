// The tiles: what is now, how it was within the last 15 minutes, and rates.

import { Curve, drawing } from "./sparkline.js"
import { inBytes, inCount, inDelay, inRate } from "./words.js"

/** Seconds that curves show. */
const SPAN = 900

/** What is shown: a gauge has a value, a rate has windows. Each may have a line in other words below. */
const TILES = [
  {
    name: "clients_online",
    title: "Clients online",
    more: ({ values }) => `${inCount(values.clients_late)} late, ${inCount(values.clients_registered)} not seen yet`,
  },
  { name: "pulses", title: "Pulses", isRate: true },
  { name: "signed", title: "Signed requests", isRate: true },
  {
    name: "requests",
    title: "HTTP requests",
    isRate: true,
    more: ({ rates }) => `errors of the server: ${inRate(rates.request_errors?.["10m"])}`,
  },
  { name: "registrations", title: "Registrations", isRate: true },
  {
    name: "offers",
    title: "Offers",
    more: ({ rates }) => `published: ${inRate(rates.publications?.["1m"])}, answered: ${inRate(rates.answers?.["1m"])}`,
  },
  { name: "sessions", title: "Sessions" },
  { name: "sockets", title: "WebSockets", more: ({ values }) => `${inCount(values.event_streams)} event streams` },
  {
    name: "attempts_ok",
    title: "Attempts with a path",
    isRate: true,
    more: ({ rates }) => `without a path: ${inRate(rates.attempts_failed?.["10m"])}`,
  },
  {
    name: "limited",
    title: "Refused to one source",
    isRate: true,
    more: ({ rates }) => `because a table is full: ${inRate(rates.full?.["10m"])}`,
  },
  { name: "dropped", title: "Datagrams dropped", isRate: true },
  {
    name: "stun",
    title: "STUN requests",
    isRate: true,
    more: ({ rates }) => `tracker: ${inRate(rates.tracker?.["1m"])}`,
  },
  {
    name: "datagram_bytes_received",
    title: "Bytes received by UDP",
    isRate: true,
    inWords: value => (typeof value === "number" ? `${inBytes(value)} /s` : "–"),
    more: ({ rates }) => `sent: ${inBytes(rates.datagram_bytes_sent?.["1m"] ?? undefined)} /s`,
  },
  { name: "signaling_memory", title: "Memory of signaling", inWords: inBytes },
  { name: "reactor_delay", title: "Delay of the reactor", inWords: inDelay },
]

/** Shows the numbers of the server. */
export class Tiles {
  #shown = new Map()
  #last = null

  /** @param {HTMLElement} place */
  constructor(place) {
    for (const tile of TILES) {
      const item = document.getElementById("tile").content.firstElementChild.cloneNode(true)
      item.dataset.name = tile.name
      item.querySelector("h3").textContent = tile.title
      item.querySelector("h3").id = `tile-${tile.name}`
      item.setAttribute("aria-labelledby", `tile-${tile.name}`)
      item.querySelector(".rates").hidden = !tile.isRate
      const { svg, show } = drawing()
      item.append(svg)
      this.#shown.set(tile.name, { tile, item, show, curve: new Curve(SPAN, 5) })
      place.append(item)
    }
  }

  /** @param {{times: number[], interval: number, series: Record<string, (number | null)[]>}} history */
  begin(history) {
    this.#last = null
    for (const shown of this.#shown.values()) {
      shown.curve = new Curve(SPAN, history.interval)
      const values = history.series[shown.tile.name] ?? []
      history.times.forEach((time, index) => shown.curve.add(time, values[index]))
      shown.show(shown.curve)
    }
  }

  /**
   * @param {{time: number, values: Record<string, number>,
   *   rates: Record<string, Record<string, number | null>>}} figures
   */
  update(figures) {
    for (const { tile, item, show, curve } of this.#shown.values()) {
      const value = tile.isRate ? this.#growth(tile.name, figures) : figures.values[tile.name]
      // The first figures have no growth; the curve goes on behind them.
      if (value !== null) curve.add(figures.time, value)
      show(curve)
      const inWords = tile.inWords ?? (tile.isRate ? inRate : inCount)
      const rates = figures.rates[tile.name] ?? {}
      item.querySelector(".value").textContent = inWords(tile.isRate ? rates["1m"] : value)
      for (const each of item.querySelectorAll("[data-window]")) {
        each.textContent = inWords(rates[each.dataset.window])
      }
      // A number and its unit stay on one line.
      item.querySelector(".more").textContent = (tile.more?.(figures) ?? "").replaceAll(" /", "\u00a0/")
    }
    this.#last = figures
  }

  /** @returns {number | null} by how much a total has grown per second since the last figures */
  #growth(name, { time, values }) {
    const last = this.#last
    if (!last || time <= last.time) return null
    return Math.max(0, (values[name] - last.values[name]) / (time - last.time))
  }
}
