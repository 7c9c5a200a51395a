// The API for operators, as the page uses it.

import { EventParser } from "./sse.js"

/** Milliseconds of silence after which a stream of updates is taken for lost. The server says something every 5 s. */
const SILENCE = 40_000

/** What the server, or the way to it, has refused. */
export class ApiError extends Error {
  /**
   * @param {string} message a sentence
   * @param {number} status of the answer; 0 if there was none
   * @param {string} code a stable word; empty if there was no answer
   */
  constructor(message, status, code) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** Sends requests with the token. */
export class Api {
  #token
  #operator
  #fetch
  #base

  /**
   * @param {string} token
   * @param {string} operator who the log names; empty for no name
   * @param {{fetch?: typeof fetch, base?: string}} [parts] base: the address of the page
   */
  constructor(token, operator, { fetch = globalThis.fetch.bind(globalThis), base = document.baseURI } = {}) {
    this.#token = token
    this.#operator = operator
    this.#fetch = fetch
    this.#base = base
  }

  /**
   * @param {string} path relative to the page
   * @param {Record<string, string | number | null | undefined>} [query] those that are empty are left out
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   * @throws {ApiError}
   */
  get(path, query = {}, signal = undefined) {
    return this.#json("GET", path, { query, signal })
  }

  /** The same with a body; see {@link Api.get}. */
  post(path, body = {}) {
    return this.#json("POST", path, { body })
  }

  /** The same without one; see {@link Api.get}. */
  delete(path) {
    return this.#json("DELETE", path, {})
  }

  /**
   * Read the stream of updates until it ends.
   *
   * @param {number} after the number of the last line of the log that is known
   * @param {AbortSignal} signal ends it
   * @param {(event: string, data: any) => void} take is called with each event
   * @throws {ApiError} it could not be opened, or was lost
   */
  async updates(after, signal, take) {
    const silence = new AbortController()
    const response = await this.#send("GET", "updates", { query: { after }, signal: either(signal, silence.signal) })
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    const parser = new EventParser()
    let timer
    try {
      for (;;) {
        clearTimeout(timer)
        timer = setTimeout(() => silence.abort(), SILENCE)
        const { done, value } = await reader.read()
        if (done) throw new ApiError("The server has ended the stream of updates.", 0, "")
        for (const { event, data } of parser.feed(value)) take(event, JSON.parse(data))
      }
    } catch (error) {
      throw error instanceof ApiError ? error : new ApiError("The stream of updates was lost.", 0, "")
    } finally {
      clearTimeout(timer)
      reader.cancel().catch(() => {}) // It has ended already.
    }
  }

  async #json(method, path, parts) {
    const response = await this.#send(method, path, parts)
    try {
      return await response.json()
    } catch {
      throw new ApiError("The connection to the server was lost.", 0, "")
    }
  }

  async #send(method, path, { query = {}, body = undefined, signal = undefined }) {
    const url = new URL(path, this.#base)
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value))
    }
    const headers = { Authorization: `Bearer ${this.#token}` }
    if (this.#operator) headers["Rendezvous-Operator"] = this.#operator
    if (body !== undefined) headers["Content-Type"] = "application/json"
    let response
    try {
      const how = { method, headers, signal, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" }
      response = await this.#fetch(url.href, { ...how, body: body === undefined ? undefined : JSON.stringify(body) })
    } catch (error) {
      if (signal?.aborted) throw error
      throw new ApiError("The server does not answer.", 0, "")
    }
    if (!response.ok) throw await refusal(response)
    return response
  }
}

/** @returns {Promise<ApiError>} what an answer says */
async function refusal(response) {
  let said = {}
  try {
    said = await response.json()
  } catch {
    // A proxy answers with a page.
  }
  const text = typeof said?.error === "string" ? said.error : `The server answers with status ${response.status}.`
  return new ApiError(text.slice(0, 500), response.status, typeof said?.code === "string" ? said.code : "")
}

/** @returns {AbortSignal} one that is aborted when either is; AbortSignal.any is not everywhere yet */
function either(one, other) {
  const both = new AbortController()
  for (const signal of [one, other]) {
    if (signal.aborted) both.abort()
    signal.addEventListener("abort", () => both.abort(), { once: true })
  }
  return both.signal
}
