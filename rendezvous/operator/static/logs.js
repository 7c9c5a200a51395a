// The last lines of the log.

import { badge, withAddresses } from "./lists.js"
import { inClock, plain } from "./words.js"

/** Lines that are shown. */
const MOST = 500
const LEVELS = ["info", "warn", "error", "critical"]

/** Shows lines as they come. Its style keeps the last one in view, unless the reader has scrolled back. */
export class LogView {
  #list = document.getElementById("log-lines")
  #least = document.getElementById("log-level")
  /** The number of the last line that is known. */
  last = 0

  constructor() {
    this.#least.addEventListener("change", () => {
      for (const item of this.#list.children) this.#hide(item)
    })
  }

  /**
   * @param {{seq: number, time: number, level: string, system: string, text: string}} line
   */
  add(line) {
    this.last = line.seq
    const item = document.createElement("li")
    item.dataset.level = LEVELS.includes(line.level) ? line.level : "info"
    const time = document.createElement("time")
    time.textContent = inClock(line.time)
    time.title = plain(line.system, 100)
    item.append(time, " ")
    if (item.dataset.level !== "info") item.append(badge(item.dataset.level, item.dataset.level), " ")
    item.append(...withAddresses(plain(line.text, 600)))
    this.#hide(item)
    this.#list.append(item)
    while (this.#list.children.length > MOST) this.#list.firstElementChild.remove()
  }

  #hide(item) {
    item.hidden = LEVELS.indexOf(item.dataset.level) < LEVELS.indexOf(this.#least.value)
  }
}
