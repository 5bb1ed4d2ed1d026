import { nobleProvider } from '../src/crypto/noble.ts';
import { nodeProvider } from '../src/crypto/node.ts';
import { defaultIkeProposals, postQuantumIkeProposals } from '../src/ike/proposal.ts';
import { type EspFigures, espPackets } from './esp.ts';
import { type HandshakeFigures, responderHandshakes } from './handshakes.ts';
import { type BuildFigures, telescopeBuilds } from './telescopes.ts';

const json = process.argv.includes('--json');
const say = (line: string) => {
  if (!json) console.log(line);
};

say('IKE handshakes as responder, one core (X25519, Ed25519 relay, NULL client, CP, AES-256-GCM)');
const handshakes: Record<string, HandshakeFigures> = {};
for (const [name, provider, count, proposals] of [
  ['node', nodeProvider(), 3_000, defaultIkeProposals],
  ['node with ML-KEM-768', nodeProvider(), 1_000, postQuantumIkeProposals],
  ['noble', nobleProvider(), 200, defaultIkeProposals],
  ['noble with ML-KEM-768', nobleProvider(), 200, postQuantumIkeProposals],
] as const) {
  const figures = responderHandshakes(provider, count, proposals);
  handshakes[name] = figures;
  const { perSecond, microseconds, cryptoShare } = figures;
  const share = `${Math.round(cryptoShare * 100)} % of it crypto`;
  say(`  ${name.padEnd(21)} ${perSecond} handshakes/s, ${microseconds} us each, ${share}`);
}

say('Telescopes at zero RTT, client and relays in one process (node:crypto)');
const telescopes: BuildFigures[] = [];
for (const hops of [1, 2, 3, 4, 5]) {
  const figures = await telescopeBuilds(hops, 20);
  telescopes.push(figures);
  say(`  ${hops} hops: ${figures.milliseconds} ms, ${figures.cpuMillisecondsPerHop} ms CPU per hop`);
}

say('ESP in place, us per packet');
const esp: EspFigures[] = [];
for (const provider of [nodeProvider(), nobleProvider()]) {
  for (const suite of ['AES-GCM-16-128', 'ChaCha20-Poly1305'] as const) {
    for (const length of [64, 1280]) {
      for (const layers of [1, 3]) {
        const figures = await espPackets(provider, suite, length, layers, 300);
        esp.push(figures);
        say(
          `  ${provider.name.padEnd(6)} ${suite.padEnd(17)} ${String(length).padStart(5)} B x${layers}: seal ${figures.seal}, open ${figures.open}`,
        );
      }
    }
  }
}
if (json) console.log(JSON.stringify({ node: process.version, handshakes, telescopes, esp }));
