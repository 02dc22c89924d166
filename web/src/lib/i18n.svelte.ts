import en from '../messages/en.json'
import zh from '../messages/zh.json'

export type MessageKey = keyof typeof en
type Messages = Record<MessageKey, string>

export const LANGUAGES = { en: { name: 'English', messages: en as Messages }, zh: { name: '中文', messages: zh as Messages } }
export type Language = keyof typeof LANGUAGES

const STORAGE_KEY = 'millrace.language'

function initial(): Language {
  const stored = localStorage.getItem(STORAGE_KEY)
  if (stored === 'en' || stored === 'zh') return stored
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

let current = $state<Language>(initial())

export const i18n = {
  get language(): Language {
    return current
  },
  set language(language: Language) {
    current = language
    localStorage.setItem(STORAGE_KEY, language)
  },
}

/** The message in the current language, with each {name} replaced by the value of that name. */
export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  return LANGUAGES[current].messages[key].replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole))
}
