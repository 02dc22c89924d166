/** What the server's live stream sends; docs/manual/http-api.md describes it. Counts are totals since the server started. */
export interface Topic {
  name: string
  partitions: number
  records_in: number
  records_out: number
}
export interface Group {
  name: string
  state: string
  members: number
  lag: number
}
export interface Pipeline {
  name: string
  state: 'starting' | 'running' | 'stopped' | 'failed'
  error: string | null
  rows_in: number
  rows_out: number
  filtered: number
  dead_letters: number
  waiting: number
}
export interface Model {
  name: string
  algorithm: string
  version: number
  champion: number
  rows: number
  /** Which of the metrics leads, as the server recommends for this label's balance. */
  leading: string
  learner: Record<string, number | null>
  live: Record<string, number | null>
}
/** A table of the warehouse. */
export interface Table {
  name: string
  topic: string
  rows: number
  /** Records that were no rows. */
  rejected: number
  lag: number
  /** What keeps it from being filled at the moment. */
  error: string | null
}
export interface StreamEvent {
  topic: string
  partition: number
  offset: string
  timestamp_ms: number
  key: string | null
  value: string | null
}
export interface Overview {
  at_ms: number
  version: string
  kafka: string
  topics: Topic[]
  groups: Group[]
  pipelines: Pipeline[]
  models: Model[]
  tables: Table[]
  events: StreamEvent[]
}
