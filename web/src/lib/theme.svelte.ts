export type Theme = 'system' | 'light' | 'dark'

const STORAGE_KEY = 'millrace.theme'
const systemDark = matchMedia('(prefers-color-scheme: dark)')

function initial(): Theme {
  const stored = localStorage.getItem(STORAGE_KEY)
  return stored === 'light' || stored === 'dark' ? stored : 'system'
}

let chosen = $state<Theme>(initial())
let systemIsDark = $state(systemDark.matches)
systemDark.addEventListener('change', (event) => (systemIsDark = event.matches))

export const theme = {
  get chosen(): Theme {
    return chosen
  },
  set chosen(value: Theme) {
    chosen = value
    localStorage.setItem(STORAGE_KEY, value)
  },
  /** What is shown: the choice, or the system's where that was chosen. */
  get shown(): 'light' | 'dark' {
    return chosen === 'system' ? (systemIsDark ? 'dark' : 'light') : chosen
  },
}
