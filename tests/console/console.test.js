// Opens the console in Chromium while the demonstration runs, as a user would, and sees the numbers move.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'

import { chromium } from '../../web/node_modules/playwright-core/index.mjs'

let demo, browser, url

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  return port
}

// Opens the page and collects what must not happen: script errors, and requests that fail or go elsewhere.
async function open(options) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1400 }, ...options })
  const problems = []
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
  page.on('request', (request) => !request.url().startsWith(url) && !request.url().startsWith('data:') && problems.push(request.url()))
  await page.goto(url)
  return { page, problems }
}

before(async () => {
  const [kafka, http] = [await freePort(), await freePort()]
  url = `http://127.0.0.1:${http}/`
  demo = spawn(process.env.MILLRACE_BINARY, ['demo', '--kafka', `127.0.0.1:${kafka}`, '--http', `127.0.0.1:${http}`, '--rate', '500'])
  let printed = ''
  for await (const chunk of demo.stdout) {
    printed += chunk
    if (printed.includes('Ctrl-C')) break
  }
  assert.match(printed, /Console: +http/)
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
})

after(async () => {
  await browser?.close()
  if (demo && demo.exitCode === null) {
    demo.kill('SIGTERM')
    await once(demo, 'exit')
  }
})

test('the numbers move, and nothing fails', async () => {
  const { page, problems } = await open({ locale: 'en-GB', colorScheme: 'light' })
  await page.getByText('Live', { exact: true }).waitFor()
  const rowsIn = async () => {
    const cell = page.getByRole('region', { name: 'Pipelines', exact: true }).getByRole('row').filter({ hasText: 'cards' }).getByRole('cell').nth(3)
    return Number((await cell.textContent()).replaceAll(',', ''))
  }
  const first = await rowsIn()
  await page.waitForFunction(
    (before) => [...document.querySelectorAll('tr')].some((row) => row.cells[0]?.textContent === 'cards' && row.cells.length === 8 && Number(row.cells[3].textContent.replaceAll(',', '')) > before),
    first,
  )
  assert.ok((await rowsIn()) > first)
  await page.locator('canvas').first().waitFor()
  assert.ok((await page.locator('canvas').count()) >= 3)
  assert.deepEqual(problems, [])
  await page.close()
})

test('the theme follows the system, and the choice is kept', async () => {
  const { page } = await open({ colorScheme: 'dark' })
  const shown = () => page.evaluate(() => document.documentElement.dataset.theme)
  await page.getByRole('status').waitFor()
  assert.equal(await shown(), 'dark')
  await page.getByLabel('Theme').selectOption('light')
  assert.equal(await shown(), 'light')
  await page.reload()
  await page.getByRole('status').waitFor()
  assert.equal(await shown(), 'light')
  await page.close()
})

test('text is readable in both themes: contrast of at least 4.5 to 1', async () => {
  for (const colorScheme of ['light', 'dark']) {
    const { page } = await open({ colorScheme })
    await page.getByRole('status').waitFor()
    const ratios = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement)
      const luminance = (name) => {
        const written = style.getPropertyValue(name).trim()
        const hex = written.length === 4 ? written.replace(/[0-9a-f]/gi, '$&$&') : written
        const [r, g, b] = [1, 3, 5].map((i) => {
          const part = parseInt(hex.slice(i, i + 2), 16) / 255
          return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
      }
      const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
      return ['--text', '--muted', '--accent', '--ok', '--warn', '--bad'].flatMap((text) =>
        ['--page', '--surface'].map((ground) => [`${text} on ${ground}`, contrast(luminance(text), luminance(ground))]),
      )
    })
    for (const [what, ratio] of ratios) assert.ok(ratio >= 4.5, `${colorScheme}: ${what} is ${ratio.toFixed(2)}`)
    await page.close()
  }
})

test('a Chinese browser gets Chinese, and can switch', async () => {
  const { page } = await open({ locale: 'zh-CN' })
  await page.getByRole('heading', { name: '概览' }).waitFor()
  await page.getByLabel('语言').selectOption('en')
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'en')
  await page.close()
})
