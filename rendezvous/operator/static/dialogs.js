// Questions before something is changed, and what came of it.

const element = id => document.getElementById(id)

/**
 * Ask before something is done.
 *
 * @param {{title: string, text: string, action: string, isDangerous?: boolean, fields?: "ban" | ""}} question
 * @returns {Promise<{seconds: number | null, reason: string} | null>} `null` if it must not be done
 */
export function confirm({ title, text, action, isDangerous = false, fields = "" }) {
  const dialog = element("confirm")
  element("confirm-title").textContent = title
  element("confirm-text").textContent = text
  element("confirm-ban").hidden = fields !== "ban"
  element("confirm-reason").value = ""
  const yes = element("confirm-yes")
  yes.textContent = action
  yes.classList.toggle("danger", isDangerous)
  return new Promise(resolve => {
    const close = answer => {
      yes.removeEventListener("click", agree)
      element("confirm-no").removeEventListener("click", refuse)
      dialog.removeEventListener("close", refuse)
      if (dialog.open) dialog.close()
      resolve(answer)
    }
    const agree = () => {
      const seconds = element("confirm-time").value
      close({ seconds: seconds ? Number(seconds) : null, reason: element("confirm-reason").value.trim() })
    }
    const refuse = () => close(null)
    yes.addEventListener("click", agree)
    element("confirm-no").addEventListener("click", refuse)
    dialog.addEventListener("close", refuse) // With the key Escape.
    dialog.showModal()
    element("confirm-no").focus()
  })
}

let hiding

/**
 * Say what came of something.
 *
 * @param {string} text
 * @param {{isError?: boolean}} [how]
 */
export function say(text, { isError = false } = {}) {
  const notice = element("notice")
  clearTimeout(hiding)
  notice.textContent = text
  notice.hidden = false
  notice.classList.toggle("failed", isError)
  hiding = setTimeout(() => (notice.hidden = true), isError ? 15_000 : 6_000)
}

/**
 * Ask, do, and say what came of it.
 *
 * @param {Parameters<typeof confirm>[0]} question
 * @param {(answer: {seconds: number | null, reason: string}) => Promise<string>} act returns what to say
 * @returns {Promise<boolean>} whether it was done
 */
export async function ask(question, act) {
  const answer = await confirm(question)
  if (!answer) return false
  try {
    say(await act(answer))
    return true
  } catch (error) {
    say(error.message, { isError: true })
    return false
  }
}
