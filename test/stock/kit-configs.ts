import { nodeProvider } from '../../src/crypto/node.ts';
import { parseRelayConfig, type RelayConfig } from '../../src/relay/config.ts';
import { encodeKeyFile } from '../../src/relay/key-file.ts';
import { ed25519Key } from '../support/signing-keys.ts';

const crypto = nodeProvider();

/** Relay `number` with addresses and pools of both families, unless `lines` has others; peers are files "n.yaml". */
export function kitConfig(number: number, lines: readonly string[] = []): RelayConfig {
  const has = (key: string) => lines.some((line) => line.startsWith(`${key}:`));
  const text = [
    `name: relay-${number}`,
    'key: key.pem',
    ...(has('address') ? [] : [`address: { ip4: 192.0.2.${number}, ip6: "2001:db8::${number}" }`]),
    ...(has('pool') ? [] : [`pool: { ip4: 10.${number}.0.0/16, ip6: "fd0${number}::/48" }`]),
    ...lines,
  ].join('\n');
  return parseRelayConfig(text, 'relay.yaml', read(number), crypto);
}

function read(number: number): (name: string) => string {
  return (name) =>
    name === 'key.pem'
      ? encodeKeyFile(ed25519Key(crypto, number))
      : kitConfig(Number.parseInt(name, 10)).descriptor;
}
