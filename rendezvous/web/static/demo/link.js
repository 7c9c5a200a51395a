// The link of a room: /demo#TOPIC.SECRET. Browsers never send what follows "#", so it is not in any log of requests.
//
// The topic is where the offers of the room are found, and the server lists topics. So it is the secret that keeps
// strangers out: the server lets those answer an offer who know it.

const TOPIC_BYTES = 9
const SECRET_BYTES = 18
const LINK = /^#?([A-Za-z0-9_-]{12})\.([A-Za-z0-9_-]{24})$/

/**
 * Make a new room.
 *
 * @param {(bytes: Uint8Array) => Uint8Array} fill fills an array with random bytes
 * @returns {{topic: string, secret: string}} 12 and 24 characters of base64url: 72 and 144 random bits
 */
export function newRoom(fill) {
  const text = size => base64url(fill(new Uint8Array(size)))
  return { topic: text(TOPIC_BYTES), secret: text(SECRET_BYTES) }
}

/**
 * Read the room from a link.
 *
 * @param {string} hash what follows the path, such as `location.hash`
 * @returns {{topic: string, secret: string} | null} the room, or null if the link names none
 */
export function readRoom(hash) {
  const found = LINK.exec(hash)
  return found && { topic: found[1], secret: found[2] }
}

/**
 * @param {{topic: string, secret: string}} room
 * @returns {string} the part of a link that names the room, with its "#"
 */
export function hashOf(room) {
  return `#${room.topic}.${room.secret}`
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}
