import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  plugins: [svelte()],
  // The binary serves what is built here under fixed names: it embeds the files and tells browsers to revalidate.
  build: {
    target: 'es2023',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rollupOptions: {
      output: { entryFileNames: 'console.js', chunkFileNames: '[name].js', assetFileNames: 'console[extname]' },
    },
  },
  // `npm run dev` beside a running server: the page from Vite, the data from the server.
  server: { proxy: { '/v1': { target: 'http://127.0.0.1:8080', headers: { origin: 'http://127.0.0.1:8080' } } } },
  test: { include: ['src/**/*.test.ts'] },
})
