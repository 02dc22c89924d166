import type { Overview } from './overview'

/** One moment of an Overview, reduced to what the charts draw. */
export interface Sample {
  at_ms: number
  records_in: number
  records_out: number
  lag: Record<string, number>
  rows: Record<string, number>
  metric: Record<string, number | null>
}

/** Half an hour at a sample a second. */
const SAMPLES_MAX = 1800

export function toSample(overview: Overview): Sample {
  const total = (pick: (topic: Overview['topics'][number]) => number) =>
    overview.topics.reduce((sum, topic) => sum + pick(topic), 0)
  return {
    at_ms: overview.at_ms,
    records_in: total((topic) => topic.records_in),
    records_out: total((topic) => topic.records_out),
    lag: Object.fromEntries(overview.groups.map((group) => [group.name, group.lag])),
    rows: Object.fromEntries(overview.pipelines.map((pipeline) => [pipeline.name, pipeline.rows_in])),
    metric: Object.fromEntries(overview.models.map((model) => [model.name, model.learner[model.leading] ?? null])),
  }
}

/** `samples` with `sample` behind them: the oldest go past the limit, and a clock that went back starts anew. */
export function append(samples: Sample[], sample: Sample): Sample[] {
  const last = samples.at(-1)
  if (last && sample.at_ms < last.at_ms) return [sample]
  if (last && sample.at_ms === last.at_ms) return samples
  return [...samples.slice(-(SAMPLES_MAX - 1)), sample]
}

/** Per-second growth of a total between neighbouring samples; unknown at the first one and after a restart. */
export function rates(samples: Sample[], total: (sample: Sample) => number | undefined): (number | null)[] {
  return samples.map((sample, i) => {
    const before = samples[i - 1]
    if (!before) return null
    const now = total(sample)
    const then = total(before)
    const seconds = (sample.at_ms - before.at_ms) / 1000
    if (now === undefined || then === undefined || seconds <= 0 || now < then) return null
    return (now - then) / seconds
  })
}

/** The names that occur in any sample's `pick`, in a stable order. */
export function namesOf(samples: Sample[], pick: (sample: Sample) => Record<string, unknown>): string[] {
  const names = new Set<string>()
  for (const sample of samples) for (const name of Object.keys(pick(sample))) names.add(name)
  return [...names].sort()
}
