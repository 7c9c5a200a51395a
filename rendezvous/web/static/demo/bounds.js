// What keeps one person from filling the page: how often something may happen, and how many bytes may be kept.

/** Lets something happen so many times at once, and then so many times a second (a token bucket). */
export class Pace {
  #most
  #perSecond
  #now
  #left
  #at
  #isOver = false

  /**
   * @param {number} most times at once
   * @param {number} perSecond
   * @param {() => number} [now] milliseconds
   */
  constructor(most, perSecond, now = () => performance.now()) {
    this.#most = this.#left = most
    this.#perSecond = perSecond
    this.#now = now
    this.#at = now()
  }

  /**
   * @param {() => void} [onOver] is called when it happens too often, and not again before it has been quiet
   * @returns {boolean} whether it may happen now
   */
  take(onOver) {
    const now = this.#now()
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) * this.#perSecond) / 1000)
    this.#at = now
    if (this.#left >= 1) {
      this.#isOver &&= this.#left < this.#most
      this.#left -= 1
      return true
    }
    if (!this.#isOver) onOver?.()
    this.#isOver = true
    return false
  }
}

/** Bytes that may be kept at one time. */
export class Budget {
  #left

  /** @param {number} most bytes */
  constructor(most) {
    this.#left = most
  }

  /**
   * @param {number} bytes
   * @returns {(() => void) | null} gives the bytes back, once; null if there are not so many left
   */
  take(bytes) {
    if (!(bytes <= this.#left)) return null
    this.#left -= bytes
    let taken = bytes
    return () => {
      this.#left += taken
      taken = 0
    }
  }
}
