// Server-Sent Events from the body of an answer. EventSource cannot send an Authorization header.

/** Characters of one event that are kept: the server's are much shorter. */
const MOST = 1_000_000

/** Takes apart a stream of events (HTML Standard, section 9.2.6), however it arrives. */
export class EventParser {
  #rest = ""
  #event = ""
  #data = []
  #size = 0
  #afterReturn = false

  /**
   * @param {string} text the next piece of the stream
   * @returns {{event: string, data: string}[]} the events that are whole now
   * @throws {Error} one event is too long
   */
  feed(text) {
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1)
    if (text) this.#afterReturn = text.endsWith("\r")
    const lines = (this.#rest + text).split(/\r\n|\n|\r/)
    this.#rest = lines.pop()
    const found = []
    for (const line of lines) {
      const event = this.#line(line)
      if (event) found.push(event)
    }
    if (this.#rest.length + this.#size > MOST) throw new Error("The server has sent an event that is too long.")
    return found
  }

  #line(line) {
    if (line === "") return this.#end()
    const colon = line.indexOf(":")
    if (colon === 0) return null
    const [name, value] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")]
    if (name === "event") this.#event = value
    if (name === "data") {
      this.#data.push(value)
      this.#size += value.length
    }
    return null
  }

  #end() {
    const event = this.#data.length ? { event: this.#event || "message", data: this.#data.join("\n") } : null
    this.#event = ""
    this.#data = []
    this.#size = 0
    return event
  }
}
