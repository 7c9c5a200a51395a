// Topics, attempts, limited sources and bans: tables that are read again every few seconds.

import { ask } from "./dialogs.js"
import { address, badge, button, clientLink, fill, result, withAddresses } from "./lists.js"
import { inClock, inCount, inSpan, plain } from "./words.js"

const element = id => document.getElementById(id)
/** The mappings of NATs (RFC 4787, section 4.1), in the order in which they are shown. */
const MAPPINGS = ["none", "endpoint-independent", "sequential", "endpoint-dependent", "unknown", "blocked"]
const NAMES = { none: "no NAT", blocked: "UDP blocked" }
/** Rows that are shown of each table. */
const MOST = 50

/**
 * @param {import("./api.js").Api} api
 * @param {(id: string) => void} open shows all that is known of a client
 * @returns {(() => Promise<void>)[]} what reads each section again
 */
export function sections(api, open) {
  element("topic-prefix").addEventListener("input", () => topics(api))
  element("ban-target").addEventListener("input", () => showBans(api))
  element("topic-filter").addEventListener("submit", event => event.preventDefault())
  return [() => topics(api), () => attempts(api, open), () => pairs(api), () => limited(api), () => bans(api)]
}

async function topics(api) {
  const { topics: found, total } = await api.get("topics", { startsWith: element("topic-prefix").value, limit: MOST })
  fill(element("topics-rows"), found, ({ topic }) => topic, ({ topic, peers }) => [plain(topic, 256), inCount(peers)])
  element("topics-count").textContent = `${inCount(found.length)} of ${inCount(total)} topics`
}

async function attempts(api, open) {
  const { attempts: found } = await api.get("attempts", { limit: MOST })
  fill(element("attempts-rows"), found, ({ attempt }) => attempt, attempt => [
    inClock(attempt.begun),
    badge(attempt.state, result(attempt.ok)),
    [clientLink(attempt.controlling, open, 8), " → ", clientLink(attempt.controlled, open, 8)],
    attempt.mappings ? attempt.mappings.map(inNat).join(" and ") : "–",
    plain(attempt.via ?? attempt.strategy ?? "–", 30),
    plain(attempt.why, 300),
  ])
  element("attempts-none").hidden = found.length > 0
}

/**
 * @param {{mappings: [string, string] | null, ok: number, failed: number}[]} found
 * @returns {{names: string[], cell: (one: string, other: string) => {ok: number, failed: number} | null}} which mappings
 *   there are, and what came of a pair of them
 */
export function matrix(found) {
  const cells = new Map()
  for (const { mappings, ok, failed } of found) {
    if (!mappings) continue
    const key = [...mappings].sort().join("|")
    const cell = cells.get(key) ?? { ok: 0, failed: 0 }
    cells.set(key, { ok: cell.ok + ok, failed: cell.failed + failed })
  }
  const there = new Set(found.flatMap(({ mappings }) => mappings ?? []))
  const names = [...MAPPINGS.filter(name => there.has(name)), ...[...there].filter(name => !MAPPINGS.includes(name))]
  return { names, cell: (one, other) => cells.get([one, other].sort().join("|")) ?? null }
}

async function pairs(api) {
  const { pairs: found } = await api.get("attempt-pairs")
  const { names, cell } = matrix(found)
  element("pairs").hidden = names.length === 0
  const head = names.map(name => heading(inNat(name), "col"))
  element("pairs-head").replaceChildren(document.createElement("td"), ...head)
  const rows = names.map((one, index) => {
    const row = document.createElement("tr")
    row.append(heading(inNat(one), "row"), ...names.map((other, at) => share(at > index ? null : cell(one, other))))
    return row
  })
  element("pairs-rows").replaceChildren(...rows)
}

function heading(text, scope) {
  const made = document.createElement("th")
  made.scope = scope
  made.textContent = text
  return made
}

function share(cell) {
  const made = document.createElement("td")
  const total = cell ? cell.ok + cell.failed : 0
  if (!total) return made
  made.textContent = `${inCount(cell.ok)} of ${inCount(total)}`
  made.dataset.share = cell.ok >= 0.9 * total ? "good" : cell.ok >= 0.5 * total ? "some" : "bad"
  return made
}

async function limited(api) {
  const { limits, full, dropped, networks } = await api.get("limited")
  const all = [["limit of one source", limits], ["full table", full], ["datagram", dropped]]
  const reasons = all.flatMap(([kind, counts]) => Object.entries(counts).map(([reason, count]) => [kind, reason, count]))
  const met = reasons.filter(([, , count]) => count > 0).sort((one, other) => other[2] - one[2])
  fill(element("reasons-rows"), met, ([kind, reason]) => `${kind} ${reason}`, ([kind, reason, count]) => [
    plain(reason, 60),
    kind,
    inCount(count),
  ])
  fill(
    element("networks-rows"),
    networks.slice(0, MOST),
    ({ network, reason }) => `${network} ${reason}`,
    ({ network, reason, times, last }) => [
      address(network),
      plain(reason, 60),
      inCount(times),
      inSpan(Date.now() / 1000 - last),
      button("Ban…", "this network", () => ban(api, network)),
    ],
  )
  element("networks-none").hidden = networks.length > 0
}

/**
 * Ask for a ban, and set it. The question names the target, also while addresses are hidden: it says what is done.
 *
 * @param {import("./api.js").Api} api
 * @param {string} target a network, an address, or the id of a client
 * @returns {Promise<boolean>} whether it was done
 */
export async function ban(api, target) {
  const what = isClient(target) ? "client" : "network"
  const text = `All requests and datagrams of ${target} are refused.`
  const question = { title: `Ban this ${what}?`, text, action: "Ban", isDangerous: true, fields: "ban" }
  const isDone = await ask(question, async answer => {
    await api.post("bans", { target, ...answer })
    return `The ${what} is banned.`
  })
  bans(api).catch(() => {}) // The next round shows it.
  return isDone
}

let held = []

async function bans(api) {
  held = (await api.get("bans")).bans
  showBans(api)
}

/** There may be ten thousand: the latest are shown of those that begin with what is in the field. */
function showBans(api) {
  const begin = element("ban-target").value.trim().toLowerCase()
  const found = held.filter(({ target }) => target.startsWith(begin))
  fill(element("bans-rows"), found.slice(0, MOST), ({ target }) => target, ({ target, until, reason }) => [
    isClient(target) ? target : address(target),
    until === null ? "for good" : inClock(until),
    withAddresses(plain(reason, 200)),
    button("Lift…", "this ban", () => lift(api, target)),
  ])
  const more = found.length > MOST ? `The latest ${MOST} of ${inCount(found.length)}. Type above to find others.` : ""
  const none = held.length ? "None of the bans begins like this." : "There are none."
  element("bans-none").textContent = found.length ? more : none
  element("bans-none").hidden = found.length > 0 && !more
}

async function lift(api, target) {
  await ask({ title: "Lift this ban?", text: `${target} may come back.`, action: "Lift" }, async () => {
    await api.delete(`bans/${encodeURIComponent(target)}`)
    return "The ban is lifted."
  })
  bans(api).catch(() => {}) // The next round shows it.
}

function isClient(target) {
  return /^[0-9a-f]{32}$/i.test(target)
}

function inNat(mapping) {
  return NAMES[mapping] ?? plain(mapping, 30)
}
