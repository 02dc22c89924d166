import { append, toSample, type Sample } from './history'
import type { Overview } from './overview'

/** How old the newest data may be before the page says so. */
const STALE_AFTER_MS = 3000

let overview = $state.raw<Overview | null>(null)
let samples = $state.raw<Sample[]>([])
let receivedAt = $state(0)
let now = $state(Date.now())

/** The server's live stream: one connection a tab, opened by `connect`. Old data stays visible, marked as stale. */
export const live = {
  get overview(): Overview | null {
    return overview
  },
  get samples(): Sample[] {
    return samples
  },
  get staleSeconds(): number {
    const age = now - receivedAt
    return overview && age > STALE_AFTER_MS ? Math.round(age / 1000) : 0
  },
}

/** Start listening; the browser reconnects by itself. Returns how to stop. */
export function connect(): () => void {
  const stream = new EventSource('/v1/live')
  stream.addEventListener('history', (event) => {
    samples = (JSON.parse(event.data) as Overview[]).map(toSample)
  })
  stream.addEventListener('overview', (event) => {
    overview = JSON.parse(event.data) as Overview
    samples = append(samples, toSample(overview))
    receivedAt = now = Date.now()
  })
  const clock = setInterval(() => (now = Date.now()), 1000)
  return () => {
    stream.close()
    clearInterval(clock)
  }
}
