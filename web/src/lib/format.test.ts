import { expect, test } from 'vitest'

import { formatMetric, formatRate } from './format'

test('rates get shorter as they grow', () => {
  expect(formatRate(3.14159, 'en')).toBe('3.1')
  expect(formatRate(1234.5, 'en')).toBe('1,235')
  expect(formatRate(123_456, 'en')).toBe('123K')
})

test('what is unknown is a dash, never a zero', () => {
  expect(formatRate(null, 'en')).toBe('–')
  expect(formatMetric(undefined)).toBe('–')
})

test('metrics show four digits', () => expect(formatMetric(0.66177)).toBe('0.6618'))
