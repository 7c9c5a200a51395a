// Joining a room, also where the operator of the server has given out registration tokens: then the page asks for one.

const KEY = "rendezvous-demo-registration-token"

/**
 * @param {(options: {registrationToken?: string}) => Promise<T>} join joins the room
 * @param {(problem: string) => Promise<string>} ask asks the user for a token; `problem` is what the server has said of
 *     the last one, and empty the first time
 * @param {Pick<Storage, "getItem" | "setItem" | "removeItem"> | null} storage where the token is kept while the page is
 *     loaded again, and no longer; null if the browser keeps nothing
 * @returns {Promise<T>} what `join` gives in the end
 * @throws {Error} what it throws for other reasons than a missing token
 * @template T
 */
export async function enter(join, ask, storage) {
  for (let token = kept(storage); ; ) {
    try {
      const room = await join(token ? { registrationToken: token } : {})
      if (token) keep(storage, token)
      return room
    } catch (error) {
      // A text that is no token at all is a TypeError.
      if (error.code !== "registration-token" && !(token && error instanceof TypeError)) throw error
      forget(storage)
      token = await ask(token ? error.message : "")
    }
  }
}

function kept(storage) {
  try {
    return storage?.getItem(KEY) ?? ""
  } catch {
    return "" // A browser can be set to keep nothing.
  }
}

function keep(storage, token) {
  try {
    storage?.setItem(KEY, token)
  } catch {
    // It lasts as long as the page.
  }
}

function forget(storage) {
  try {
    storage?.removeItem(KEY)
  } catch {
    // Nothing is kept.
  }
}
