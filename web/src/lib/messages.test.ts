import { expect, test } from 'vitest'

import en from '../messages/en.json'
import zh from '../messages/zh.json'

const placeholders = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort()

test('both languages have every message, with the same placeholders', () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort())
  for (const key of Object.keys(en) as (keyof typeof en)[]) expect(placeholders(zh[key]), key).toEqual(placeholders(en[key]))
})
