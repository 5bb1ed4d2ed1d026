// Imports point down (ARCHITECTURE.md, "Layers"): for each folder of src/, the folders that it may import.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';

const CORE = ['wire', 'link'];
const ALLOWED = {
  wire: [],
  link: ['wire'],
  crypto: ['wire'],
  cp: CORE,
  esp: [...CORE, 'crypto'],
  ike: [...CORE, 'crypto', 'cp'],
  decode: [...CORE, 'crypto', 'cp', 'ike', 'transport'],
  native: CORE,
  host: ['wire'],
  transport: [...CORE, 'native', 'host'],
  forward: [...CORE, 'native', 'host'],
  backend: [...CORE, 'crypto', 'esp', 'native', 'host'],
  firewall: [...CORE, 'native', 'host', 'backend'],
  descriptor: [...CORE, 'crypto'],
  endpoint: [...CORE, 'crypto', 'cp', 'ike', 'backend'],
  telescope: [...CORE, 'crypto', 'cp', 'ike', 'esp', 'backend', 'endpoint', 'descriptor'],
  control: CORE,
  relay: [
    ...CORE,
    'control',
    'crypto',
    'cp',
    'ike',
    'esp',
    'transport',
    'backend',
    'endpoint',
    'forward',
    'firewall',
    'descriptor',
    'native',
    'host',
  ],
  socks: CORE,
  select: [...CORE, 'crypto', 'forward', 'descriptor'],
  stock: [...CORE, 'crypto', 'ike', 'endpoint', 'forward', 'firewall', 'descriptor', 'relay'],
  probe: [...CORE, 'crypto', 'ike', 'backend', 'decode', 'endpoint', 'forward', 'telescope', 'native'],
  client: [
    ...CORE,
    'crypto',
    'transport',
    'backend',
    'firewall',
    'endpoint',
    'decode',
    'descriptor',
    'telescope',
    'forward',
    'select',
    'socks',
    'native',
    'host',
  ],
};
// sans-IO layers: no sockets, clock, timers or promises (ARCHITECTURE.md, "Layers").
const SANS_IO = ['wire', 'crypto', 'cp', 'ike', 'esp'];
const FORBIDDEN_IO =
  /\b(setTimeout|setInterval|setImmediate|Date\.now|performance\.now|Promise|async|await)\b/;
const NODE_OK = { crypto: ['node:crypto'] };

const problems = [];
for (const file of readdirSync('src', { recursive: true })
  .map((name) => join('src', name))
  .filter((name) => name.endsWith('.ts'))) {
  const [, layer] = file.split(sep);
  if (layer.endsWith('.ts')) continue;
  const text = readFileSync(file, 'utf8');
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
  for (const [, from] of text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
    if (from === 'koffi' && layer !== 'native') problems.push(`${file}: only src/native may import koffi`);
    if (SANS_IO.includes(layer) && from.startsWith('node:') && !NODE_OK[layer]?.includes(from)) {
      problems.push(`${file}: ${layer}/ is sans-IO and may not import ${from}`);
    }
    if (!from.startsWith('.')) continue;
    const target = normalize(join(dirname(file), from)).split(sep)[1];
    const allowed = ALLOWED[layer];
    if (target === layer || allowed === undefined) continue;
    if (!allowed.includes(target)) problems.push(`${file}: ${layer}/ may not import ${target}/ (${from})`);
  }
  if (SANS_IO.includes(layer)) {
    const hit = FORBIDDEN_IO.exec(code);
    if (hit) problems.push(`${file}: ${layer}/ is sans-IO and may not use ${hit[0]}`);
  }
}
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log('imports: every import points down');
