// The demo page: joins the room that the link names, and shows what happens there.

import { join } from "../rendezvous.js"
import { Call } from "./call.js"
import { enter } from "./entrance.js"
import { Files, refuse } from "./files.js"
import { hashOf, newRoom, readRoom } from "./link.js"
import { Log } from "./log.js"
import { People } from "./people.js"
import { Talk } from "./talk.js"
import { NAME_CHARS, TEXT_CHARS, plain, randomName } from "./words.js"

const NAME_KEY = "rendezvous-demo-name"
const STATES = {
  connecting: "Connecting to the server…",
  connected: "Connected to the server",
  reconnecting: "The server does not answer; trying again. What is open between browsers goes on.",
  closed: "Not connected",
  asking: "This server lets in only those who have a registration token.",
}

/** Reasons why somebody has left that say no more than that. */
const ORDINARY = new Set([
  "The page was closed, or has ended the connection.",
  "The connection to the peer has closed.",
])

const element = id => document.getElementById(id)
const fill = bytes => crypto.getRandomValues(bytes)
const people = new People()
const log = new Log()
const talk = new Talk(log)
const files = new Files(log)

function showState(state, { reason = STATES[state], canRetry = state === "closed" } = {}) {
  element("state").textContent = reason
  element("state").dataset.state = state
  element("retry").hidden = !canRetry
  // Without a room there is nothing to do with the rest of the page.
  document.querySelector("main").hidden = state === "closed" || state === "asking"
  element("entrance").hidden = state !== "asking"
}

/** @returns {object | null} the room of the link; a new one if the link names none, and null if it is incomplete */
function roomOfLink() {
  const room = readRoom(location.hash)
  if (room || location.hash.length > 1) return room
  const made = newRoom(fill)
  history.replaceState(null, "", hashOf(made))
  return made
}

function tabStorage() {
  try {
    return sessionStorage
  } catch {
    return null // A browser can be set to keep nothing.
  }
}

function savedName() {
  try {
    const name = plain(sessionStorage.getItem(NAME_KEY) ?? "", NAME_CHARS) || randomName(fill)
    sessionStorage.setItem(NAME_KEY, name)
    return name
  } catch {
    return randomName(fill) // A browser can be set to keep nothing.
  }
}

/**
 * Ask for a registration token.
 *
 * @param {string} problem what the server has said of the last one; empty if there was none
 * @returns {Promise<string>}
 */
function askToken(problem) {
  showState("asking")
  element("token-problem").textContent = problem
  element("token").select()
  element("token").focus()
  return new Promise(resolve => {
    const given = () => {
      showState("connecting")
      resolve(element("token").value.trim())
    }
    element("entrance").addEventListener("submit", given, { once: true })
  })
}

function showInvitation() {
  const link = element("link")
  link.value = location.href
  link.addEventListener("focus", () => link.select())
  element("copy").addEventListener("click", () => copy(link))
  element("invite-local").hidden = !/^(localhost|127(\.\d+){3}|\[::1\]|.*\.localhost)$/.test(location.hostname)
  if (navigator.share) {
    element("share").hidden = false
    element("share").addEventListener("click", () => {
      navigator.share({ title: document.title, url: location.href }).catch(() => {}) // The user has changed their mind.
    })
  }
}

async function copy(link) {
  const button = element("copy")
  link.focus()
  link.select()
  try {
    await navigator.clipboard.writeText(link.value)
  } catch {
    // Without https:// there is no clipboard for pages, but what is selected can be copied.
    document.execCommand("copy")
  }
  button.textContent = "Copied"
  element("copied").textContent = "The link is copied."
  button.focus()
  setTimeout(() => {
    button.textContent = "Copy"
    element("copied").textContent = ""
  }, 2000)
}

/** Show what happens in a room. */
function follow(room, call, own) {
  room.on("state", state => showState(state))
  room.on("error", error => talk.event`${error.message}`)
  const arrive = peer => {
    people.add(peer.id, peer.name)
    people.path(peer.id, peer.path)
    talk.event`${people.name(peer.id)} has joined.`
    if (own.name !== room.name) room.send({ kind: "name", name: own.name }, peer).catch(() => {})
  }
  room.on("join", arrive)
  for (const peer of room.peers.values()) arrive(peer)
  room.on("leave", (peer, reason) => {
    talk.event`${people.name(peer.id)} has left. ${ORDINARY.has(reason) ? "" : plain(reason, 200)}`
    talk.forget(peer.id)
    call.forget(peer)
    people.remove(peer.id)
  })
  room.on("path", (path, peer) => people.path(peer.id, path))
  room.on("failed", ({ id, name }, error) => people.failed(id, name, error.message))
  room.on("message", (data, peer) => hear(data, peer, call))
  room.on("file", (incoming, peer) => {
    const name = people.name(peer.id)
    if (talk.hears(peer.id, name)) files.receive(name, incoming)
    else refuse(incoming)
  })
  room.on("stream", (stream, peer) => call.add(stream, peer))
  room.on("streamend", (stream, peer) => call.remove(stream, peer))
}

function hear(data, peer, call) {
  const before = people.name(peer.id)
  if (data?.kind === "chat") {
    if (talk.hears(peer.id, before)) talk.message(before, data.text, { isPrivate: data.isPrivate === true })
  } else if (data?.kind === "name") {
    people.add(peer.id, data.name)
    call.rename(peer.id)
    const name = people.name(peer.id)
    if (name !== before && talk.hears(peer.id, name)) talk.note`${before} is now called ${name}.`
  }
}

/** Let the forms of the page act on a room. */
function offerForms(room, own) {
  element("name-form").addEventListener("submit", () => {
    const name = plain(element("name").value, NAME_CHARS) || own.name
    element("name").value = name
    if (name === own.name) return
    own.name = name
    try {
      sessionStorage.setItem(NAME_KEY, name)
    } catch {
      // It lasts as long as the page.
    }
    room.send({ kind: "name", name }).catch(error => talk.note`${error.message}`)
    talk.note`You are now called ${name}.`
  })
  element("chat").addEventListener("submit", () => say(room))
  element("text").addEventListener("keydown", event => {
    // With Shift it begins a new line. While a word is composed from several keys, it only ends the word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
    event.preventDefault()
    element("chat").requestSubmit()
  })
  element("pick").addEventListener("click", () => element("files").click())
  element("files").addEventListener("change", () => {
    sendFiles(room, Array.from(element("files").files))
    element("files").value = "" // So that the same file can be chosen again.
  })
  document.addEventListener("drop", event => sendFiles(room, Array.from(event.dataTransfer?.files ?? [])))
}

/**
 * @param {object} room
 * @param {string} to the id of a peer; empty for everyone
 * @returns {{receivers: {id: string, name: string}[], whom: string}} those who are there, and the words for them
 */
function chosen(room, to) {
  const ids = Array.from(room.peers.keys()).filter(id => !to || id === to)
  const receivers = ids.map(id => ({ id, name: people.name(id) }))
  return { receivers, whom: to ? people.name(to) : "everyone" }
}

async function say(room) {
  const text = plain(element("text").value, TEXT_CHARS, { lines: true })
  if (!text) return
  const to = element("to").value
  const { receivers, whom } = chosen(room, to)
  if (receivers.length === 0) return talk.note`There is no one here to read it.`
  talk.message(to ? `You, to ${whom}` : "You", text, { isOwn: true })
  element("text").value = ""
  try {
    await room.send({ kind: "chat", text, isPrivate: to !== "" }, to || undefined)
  } catch (error) {
    talk.note`This did not reach ${whom}: ${error.message}`
  }
}

let sending = Promise.resolve()

/** Send files one after the other: a hundred at a time would all be slow. */
function sendFiles(room, chosenFiles) {
  const to = element("to").value
  for (const file of chosenFiles) {
    sending = sending.then(async () => {
      await files.turn()
      const { receivers, whom } = chosen(room, to)
      if (receivers.length === 0) return talk.note`There is no one here to get ${file.name}.`
      return files.send(room, file, receivers, whom)
    })
  }
}

async function begin() {
  // A file that is dropped must not take the place of the page.
  for (const name of ["submit", "dragover", "drop"]) document.addEventListener(name, event => event.preventDefault())
  // Another link in the address bar is another room.
  addEventListener("hashchange", () => location.reload())
  element("retry").addEventListener("click", () => location.reload())
  element("new-room").addEventListener("click", () => (location.hash = hashOf(newRoom(fill))))
  const where = roomOfLink()
  if (!where) {
    element("incomplete").hidden = false
    return showState("closed", { canRetry: false })
  }
  const own = { name: savedName() }
  element("name").value = own.name
  showInvitation()
  try {
    const options = { name: own.name, secret: where.secret }
    const room = await enter(
      entrance => join(`demo-${where.topic}`, { ...options, ...entrance }),
      askToken,
      tabStorage()
    )
    const call = new Call(room, id => people.name(id), talk)
    follow(room, call, own)
    offerForms(room, own)
    for (const fields of document.querySelectorAll("fieldset")) fields.disabled = false
    showState(room.state)
  } catch (error) {
    showState("closed", { reason: `No room could be joined: ${error.message}` })
  }
}

begin()
