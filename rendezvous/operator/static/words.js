// What is shown of numbers, times and addresses.

/** Controls of the direction of text, and of terminals. */
const CONTROLS = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+/gu

/**
 * What may be an address, with or without a length or a port behind it: IPv4, or IPv6, which has "::" or six colons at
 * least.
 */
const ADDRESSES = new RegExp(
  [
    /(?<![\w.:])\d{1,3}(?:\.\d{1,3}){3}(?:\/\d{1,2}|:\d{1,5})?(?!\w)/,
    /\[(?=[\da-f:]*::|(?:[\da-f]+:){6})[\da-f:]{2,39}(?:(?:\.\d{1,3}){3})?\]:\d{1,5}(?!\w)/,
    /(?<![\w.:])(?=[\da-f:]*::|(?:[\da-f]+:){6})[\da-f:]{2,39}(?:(?:\.\d{1,3}){3})?(?:\/\d{1,3})?(?!\w)/,
  ].map(each => each.source).join("|"),
  "gi",
)

/**
 * @param {unknown} value
 * @param {number} most characters that are kept
 * @returns {string} it without control characters
 */
export function plain(value, most = 200) {
  return typeof value === "string" ? value.slice(0, most).replace(CONTROLS, " ") : ""
}

/**
 * @param {number | null | undefined} value
 * @returns {string} such as "12", "12,345" or "1.2 million"; "–" if there is none
 */
export function inCount(value) {
  if (!isNumber(value)) return "–"
  if (value >= 999_950) return `${(value / 1e6).toLocaleString("en", { maximumFractionDigits: 2 })} million`
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 })
}

/**
 * @param {number | null | undefined} value
 * @param {string} word for one of them
 * @returns {string} such as "1 offer" or "12 offers"
 */
export function counted(value, word) {
  return `${inCount(value)} ${word}${value === 1 ? "" : "s"}`
}

/**
 * @param {number | null | undefined} value per second
 * @returns {string} such as "12 /s" or "3 /min", whichever says more; "–" if there is none
 */
export function inRate(value) {
  if (!isNumber(value)) return "–"
  if (value === 0) return "0 /s"
  if (value >= 1) return `${inCount(value)} /s`
  if (value * 60 >= 1) return `${inCount(value * 60)} /min`
  return `${inCount(value * 3600)} /h`
}

/**
 * @param {number | null | undefined} bytes
 * @returns {string} such as "12 bytes" or "52.4 MB"
 */
export function inBytes(bytes) {
  if (!isNumber(bytes)) return "–"
  const units = ["bytes", "kB", "MB", "GB", "TB"]
  let unit = 0
  while (unit < units.length - 1 && bytes >= 999.95) {
    bytes /= 1000
    unit += 1
  }
  return unit ? `${bytes.toFixed(1)} ${units[unit]}` : `${Math.round(bytes)} ${bytes === 1 ? "byte" : "bytes"}`
}

/**
 * @param {number | null | undefined} seconds
 * @returns {string} such as "0.4 ms", "85 ms" or "1.3 s"
 */
export function inDelay(seconds) {
  if (!isNumber(seconds)) return "–"
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`
  return seconds < 0.9995 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`
}

/**
 * @param {number | null | undefined} seconds
 * @returns {string} such as "12 s", "5 min", "3 h 20 min" or "12 days"
 */
export function inSpan(seconds) {
  if (!isNumber(seconds)) return "–"
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`
  return `${Math.floor(hours / 24)} days`
}

/**
 * @param {number | null | undefined} time seconds since the epoch
 * @returns {string} the time of the day on this computer, with the date if it is not within 12 hours
 */
export function inClock(time, now = Date.now() / 1000) {
  if (!isNumber(time)) return "–"
  const date = new Date(time * 1000)
  const clock = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" })
  return Math.abs(now - time) < 43_200 ? clock : `${date.toLocaleDateString()} ${clock}`
}

/**
 * Find addresses in a text.
 *
 * @param {string} text
 * @returns {{text: string, isAddress: boolean}[]} the parts of the text, in order
 */
export function addressesIn(text) {
  const parts = []
  let end = 0
  for (const match of text.matchAll(ADDRESSES)) {
    if (match.index > end) parts.push({ text: text.slice(end, match.index), isAddress: false })
    parts.push({ text: match[0], isAddress: true })
    end = match.index + match[0].length
  }
  if (end < text.length) parts.push({ text: text.slice(end), isAddress: false })
  return parts
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value)
}
