import { expect, test } from 'vitest'

import { append, namesOf, rates, type Sample } from './history'

const sample = (at_ms: number, records_in: number, lag: Record<string, number> = {}): Sample => ({
  at_ms,
  records_in,
  records_out: 0,
  lag,
  rows: {},
  metric: {},
})

test('a rate is growth over elapsed seconds, and needs two samples', () => {
  const samples = [sample(0, 0), sample(2000, 100), sample(3000, 100)]
  expect(rates(samples, (s) => s.records_in)).toEqual([null, 50, 0])
})

test('a total that falls is a restart, not a negative rate', () => {
  expect(rates([sample(0, 100), sample(1000, 5)], (s) => s.records_in)).toEqual([null, null])
})

test('history keeps its bound and drops repeats', () => {
  let samples: Sample[] = []
  for (let i = 0; i < 2000; ++i) samples = append(samples, sample(i, i))
  expect(samples).toHaveLength(1800)
  expect(samples[0]!.at_ms).toBe(200)
  expect(append(samples, sample(1999, 1))).toBe(samples)
})

test('a clock that went back starts the history anew', () => {
  expect(append([sample(5000, 1)], sample(1000, 1))).toHaveLength(1)
})

test('names come from all samples, sorted', () => {
  expect(namesOf([sample(0, 0, { b: 1 }), sample(1, 0, { a: 1 })], (s) => s.lag)).toEqual(['a', 'b'])
})
