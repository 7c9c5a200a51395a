/** A clock that stands still until it is advanced. */
export class Clock {
  #now = 0
  #next = 1
  #timers = new Map()

  now = () => this.#now

  setTimeout = (callback, milliseconds = 0) => {
    const id = this.#next++
    this.#timers.set(id, { id, callback, at: this.#now + milliseconds })
    return id
  }

  clearTimeout = id => void this.#timers.delete(id)

  get pending() {
    return this.#timers.size
  }

  /** Let time pass. All that promises do at a moment is done before the next timer. Fails if that has no end. */
  async advance(milliseconds) {
    const end = this.#now + milliseconds
    for (let at = this.#now, ran = 0; ; ran = this.#now === at ? ran + 1 : 0) {
      if (ran > 5000) throw new Error(`5000 timers at ${at} ms: something spins`)
      at = this.#now
      await settle()
      const due = [...this.#timers.values()].filter(timer => timer.at <= end)
      if (!due.length) break
      const first = due.reduce((one, other) => (other.at < one.at ? other : one))
      this.#timers.delete(first.id)
      this.#now = Math.max(this.#now, first.at)
      first.callback()
    }
    this.#now = end
  }

  /** Let time pass until something holds. Fails after so many milliseconds of this clock. */
  async until(holds, limit = 30_000) {
    for (const end = this.#now + limit; this.#now < end; ) {
      await settle()
      const found = holds()
      if (found) return found
      const times = [...this.#timers.values()].map(timer => timer.at)
      await this.advance(Math.max(0, Math.min(100, Math.min(...times, end) - this.#now)) || 1)
    }
    throw new Error(`did not happen within ${limit} ms: ${holds}`)
  }
}

/** All promises that wait for nothing have done what they do afterwards. */
export async function settle() {
  await new Promise(resolve => setImmediate(resolve))
}

/** Numbers that look random and are the same each time. */
export function seeded(seed = 1) {
  let state = seed
  return () => {
    state = (state * 1103515245 + 12345) % 2147483648
    return state / 2147483648
  }
}
