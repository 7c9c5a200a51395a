// Updates as they come: by a stream, or by asking every few seconds while there is no stream.

/** Milliseconds between two requests without a stream. */
const POLLING = 5_000
/** Milliseconds until a stream is tried again. */
const RETRY = 10_000

/** Keeps the page up to date. */
export class Live {
  #api
  #page
  #ending = new AbortController()
  #wait

  /**
   * @param {import("./api.js").Api} api
   * @param {{history: Function, figures: Function, overview: Function, log: Function, state: Function,
   *   refused: Function, last: () => number}} page takes what is new; `state` is "stream", "polling" or "lost", and
   *   `refused` is called once when the token opens nothing any more
   * @param {(ms: number, signal: AbortSignal) => Promise<void>} [wait]
   */
  constructor(api, page, wait = pause) {
    this.#api = api
    this.#page = page
    this.#wait = wait
  }

  /** Run until it is stopped. */
  async run() {
    const signal = this.#ending.signal
    while (!signal.aborted) {
      try {
        await this.#catchUp()
        await this.#api.updates(this.#page.last(), signal, (event, data) => this.#take(event, data))
      } catch (error) {
        if (signal.aborted || this.#isRefused(error)) return
        await this.#poll()
      }
    }
  }

  /** Stop for good. */
  stop() {
    this.#ending.abort()
  }

  async #catchUp() {
    this.#page.history(await this.#api.get("history"))
    const { lines } = await this.#api.get("log", { after: this.#page.last() })
    for (const line of lines) this.#page.log(line)
  }

  #take(event, data) {
    this.#page.state("stream")
    if (event === "figures" || event === "overview" || event === "log") this.#page[event](data)
  }

  /** Ask for everything, for as long as a stream is not tried again. */
  async #poll() {
    const signal = this.#ending.signal
    for (let waited = 0; waited < RETRY && !signal.aborted; waited += POLLING) {
      try {
        const overview = await this.#api.get("overview")
        await this.#catchUp()
        this.#page.overview(overview)
        this.#page.state("polling")
      } catch (error) {
        if (this.#isRefused(error)) return
        this.#page.state("lost")
      }
      await this.#wait(POLLING, signal)
    }
  }

  #isRefused(error) {
    if (error?.status !== 401) return false
    if (!this.#ending.signal.aborted) {
      this.stop()
      this.#page.refused(error)
    }
    return true
  }
}

function pause(ms, signal) {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true })
  })
}
