// Curves of the last 15 minutes.

const SVG = "http://www.w3.org/2000/svg"
/** The box that curves are drawn in; the style gives it its size. */
const WIDTH = 180
const HEIGHT = 40
/** Room above and below, so that the line is not cut. */
const MARGIN = 2

/** Values over time, the oldest of them forgotten. Times are in seconds. */
export class Curve {
  /**
   * @param {number} seconds how long values are kept
   * @param {number} interval between two values; where it is more than twice as long, the line has a gap
   */
  constructor(seconds, interval) {
    this.seconds = seconds
    this.interval = interval
    this.points = []
  }

  /**
   * @param {number} time not before the last one
   * @param {number | null | undefined} value none leaves a gap
   */
  add(time, value) {
    const last = this.points.at(-1)
    if (last && time <= last.time) {
      if (time === last.time) return
      this.points = [] // The clock of the server was set back.
    }
    this.points.push({ time, value: typeof value === "number" && Number.isFinite(value) ? value : null })
    const first = this.points.findIndex(point => point.time >= time - this.seconds)
    if (first > 0) this.points.splice(0, first)
  }

  /** @returns {number} the greatest value; 0 if there is none */
  get most() {
    return this.points.reduce((most, { value }) => Math.max(most, value ?? 0), 0)
  }

  /** @returns {string} what the `d` of an SVG path is: from 0 at the bottom to the greatest value at the top */
  path() {
    const end = this.points.at(-1)?.time ?? 0
    const most = this.most || 1
    let drawn = ""
    let before = null
    for (const { time, value } of this.points) {
      if (value === null) {
        before = null
        continue
      }
      const x = WIDTH - ((end - time) / this.seconds) * WIDTH
      const y = HEIGHT - MARGIN - (Math.max(0, value) / most) * (HEIGHT - 2 * MARGIN)
      const joins = before !== null && time - before <= 2.5 * this.interval
      drawn += `${joins ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`
      before = time
    }
    return drawn
  }
}

/** @returns {{svg: SVGElement, show: (curve: Curve) => void}} a drawing; numbers beside it say the same in words */
export function drawing() {
  const svg = document.createElementNS(SVG, "svg")
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`)
  svg.setAttribute("preserveAspectRatio", "none")
  svg.setAttribute("aria-hidden", "true")
  svg.setAttribute("focusable", "false")
  const [area, line] = [document.createElementNS(SVG, "path"), document.createElementNS(SVG, "path")]
  area.setAttribute("class", "area")
  line.setAttribute("vector-effect", "non-scaling-stroke")
  svg.append(area, line)
  const show = curve => {
    const drawn = curve.path()
    line.setAttribute("d", drawn)
    area.setAttribute("d", below(drawn))
  }
  return { svg, show }
}

/** @returns {string} what is below each part of a line, down to the bottom */
function below(drawn) {
  const close = part => `M${part}V${HEIGHT}H${part.split(" ", 1)[0]}Z`
  return drawn.split("M").slice(1).map(close).join("")
}
