// What is shown of numbers and paths, in words.

/** Characters of a name and of a message that are shown; peers may send longer ones. */
export const NAME_CHARS = 40
export const TEXT_CHARS = 2000

const COLOURS = ["Amber", "Blue", "Coral", "Green", "Ivory", "Jade", "Olive", "Pearl", "Red", "Silver", "Teal", "Violet"]
const ANIMALS = ["Badger", "Crane", "Dolphin", "Falcon", "Fox", "Heron", "Ibex", "Lynx", "Otter", "Raven", "Seal", "Wolf"]

/**
 * @param {(bytes: Uint8Array) => Uint8Array} fill fills an array with random bytes
 * @returns {string} a name for somebody who has not given one, such as "Amber Otter"
 */
export function randomName(fill) {
  const [colour, animal] = fill(new Uint8Array(2))
  return `${COLOURS[colour % COLOURS.length]} ${ANIMALS[animal % ANIMALS.length]}`
}

/** Controls of the direction of text, which could make a file name look like another one. */
const CONTROLS = /[\p{Cc}\u2028-\u202e\u2066-\u2069]+/gu
const CONTROLS_BUT_LINES = /[^\P{Cc}\n]+|[\u2028-\u202e\u2066-\u2069]+/gu
/** What takes no place: two names could differ in nothing that one sees. */
const UNSEEN = /[\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u2065\u206a-\u206f\ufeff]+/gu
const SEEN = /[^\s\p{M}\u115f\u1160\u200c\u200d\u2800\u3164\uffa0]/u

/**
 * Make a text of a peer fit to be shown.
 *
 * @param {unknown} value what the peer has sent
 * @param {number} most characters that are kept
 * @param {{lines?: boolean}} [how] lines: whether it may have more than one line
 * @returns {string} the text without control characters; empty if it is not one, or nothing of it can be seen
 */
export function plain(value, most, { lines = false } = {}) {
  if (typeof value !== "string") return ""
  const text = value.slice(0, 4 * most).replace(lines ? CONTROLS_BUT_LINES : CONTROLS, " ").replace(UNSEEN, "").trim()
  return SEEN.test(text) ? Array.from(text.slice(0, 2 * most)).slice(0, most).join("") : ""
}

/**
 * @param {number} bytes
 * @returns {string} such as "12 bytes" or "52.4 MB"
 */
export function inBytes(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"]
  let unit = 0
  while (unit < units.length - 1 && (unit ? Math.round(bytes * 10) / 10 : bytes) >= 1000) {
    bytes /= 1000
    unit += 1
  }
  const shown = unit ? bytes.toFixed(1) : String(bytes)
  return `${shown} ${unit === 0 && bytes === 1 ? "byte" : units[unit]}`
}

/**
 * @param {number} ms milliseconds
 * @returns {string} such as "85 ms" or "1.3 s"
 */
export function inTime(ms) {
  return ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

const KINDS = {
  lan: "within this network",
  direct: "directly over the internet",
  relay: "through a relay",
}

/**
 * Say which path carries the data of a peer.
 *
 * @param {{kind: string, protocol: string, ms: number, rtt: number | null} | null} path times are in milliseconds
 * @returns {{kind: string, detail: string}} `kind` is "lan", "direct" or "relay", and empty without a path; `detail`
 *   is a sentence
 */
export function pathInWords(path) {
  if (!path) return { kind: "", detail: "Connected; looking at the path…" }
  const way = KINDS[path.kind] ?? path.kind
  const carrier = path.protocol ? ` (${path.protocol.toUpperCase()})` : ""
  const rtt = path.rtt === null || path.rtt === undefined ? "" : ` Round trip: ${inTime(path.rtt)}.`
  return { kind: path.kind, detail: `Connected ${way}${carrier} in ${inTime(path.ms)}.${rtt}` }
}
