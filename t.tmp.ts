import { readFileSync } from 'node:fs'
import { readPhoto } from './src/images/index.ts'
const f = (n: string) => readFileSync(n)
for (const n of ['test/fixtures/photo.heic', 'test/fixtures/photo.jxl']) { await readPhoto(f(n)); const c = process.cpuUsage(); const t = performance.now(); for (let i = 0; i < 8; i++) await readPhoto(f(n)); const d = process.cpuUsage(c); console.log(n, (performance.now() - t) / 8, 'ms wall', (d.user + d.system) / 8000, 'ms cpu') }
for (const n of ['/tmp/photos-work/big.heic', '/tmp/photos-work/big.jxl']) { const c = process.cpuUsage(); const t = performance.now(); await readPhoto(f(n)); const d = process.cpuUsage(c); console.log(n, (performance.now() - t), 'ms wall', (d.user + d.system) / 1000, 'ms cpu', process.memoryUsage().rss / 1e6) }
