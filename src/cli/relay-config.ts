import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { defaultProvider } from '../crypto/default.ts';
import { loadRelayConfig, requirePrivate } from '../relay/config.ts';
import type { KitFile } from '../stock/kit-file.ts';
import { decodeEcdsaKey } from '../stock/libreswan.ts';
import { FIREWALLS, type Firewall } from '../stock/network-script.ts';
import { relayKit, type StockDaemon } from '../stock/relay-kit.ts';
import { UsageError } from './failure.ts';

interface RelayConfigOptions {
  readonly for: StockDaemon['name'];
  readonly config: string;
  readonly firewall: Firewall;
  readonly key?: string;
  readonly out?: string;
}

const HELP = `
Without --out the files are printed one after the other, each after a line with its name, and the private key is left out.

On the router: copy what is in DIR to /etc; /etc/ike-telescope-network up; with libreswan /etc/ike-telescope-import-key; then start
the daemon. docs/stock-routers.md has more.`;

export function relayConfigCommand(): Command {
  return new Command('relay-config')
    .description('print the configuration of a router that is a relay without this software')
    .addOption(
      new Option('--for <daemon>', 'what runs on it')
        .choices(['strongswan', 'libreswan'])
        .makeOptionMandatory(),
    )
    .requiredOption('--config <file>', 'relay.yaml, as for "relay"')
    .addOption(
      new Option('--firewall <kind>', 'what it filters packets with').choices(FIREWALLS).default('nftables'),
    )
    .option('--key <file>', 'for libreswan: the ECDSA key of the router (PEM), for it has no Ed25519')
    .option('--out <dir>', 'write the files into this directory, as they belong into /etc')
    .addHelpText('after', HELP)
    .action(({ for: name, config, firewall, key, out }: RelayConfigOptions) => {
      const relay = loadRelayConfig(config, defaultProvider());
      const files = relayKit(relay, { daemon: daemonOf(name, key), firewall, where: config });
      if (out === undefined) process.stdout.write(files.map(printed).join('\n'));
      else for (const file of files) write(out, file);
    });
}

function daemonOf(name: StockDaemon['name'], file: string | undefined): StockDaemon {
  if (name === 'strongswan') {
    if (file === undefined) return { name };
    throw new UsageError('--key is for libreswan; strongSwan uses the key of relay.yaml');
  }
  const remedy =
    "make one with 'ike-telescope keygen --type ecdsa-p256 --out ecdsa.pem' and name it with --key";
  if (file === undefined) {
    throw new UsageError(
      `libreswan has no Ed25519, which the key of relay.yaml is, and needs an ECDSA key: ${remedy}`,
    );
  }
  try {
    requirePrivate(file);
    return { name, key: decodeEcdsaKey(readFileSync(file, 'utf8'), defaultProvider()) };
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}; ${remedy}`);
  }
}

function printed({ path, text }: KitFile): string {
  const isSecret = text.includes('PRIVATE KEY');
  return `# ==== /etc/${path}\n${isSecret ? '# a private key, as PKCS #8; --out writes it\n' : text}`;
}

function write(directory: string, { path, mode, text }: KitFile): void {
  const file = join(directory, path);
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text, { mode });
  } catch (error) {
    throw new UsageError(`${file}: cannot be written: ${(error as Error).message}`);
  }
  process.stdout.write(`${file}\n`);
}
