import type { Snippet } from 'svelte'

/** One column of a DataTable: plain text of each row, or where that is not enough, markup. */
export interface Column<Row> {
  heading: string
  /** To the right, with digits of one width. */
  number?: boolean
  /** Cut where it is too wide. */
  long?: boolean
  text?: (row: Row) => string
  /** More of the row, muted, behind the text. */
  aside?: (row: Row) => string
  cell?: Snippet<[Row]>
}
