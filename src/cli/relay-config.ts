import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { defaultProvider } from '../crypto/default.ts';
import { loadRelayConfig } from '../relay/config.ts';
import { FIREWALLS, type Firewall } from '../stock/network-script.ts';
import { DAEMONS, type KitFile, relayKit, type StockDaemon } from '../stock/relay-kit.ts';
import { UsageError } from './failure.ts';

interface RelayConfigOptions {
  readonly for: StockDaemon;
  readonly config: string;
  readonly firewall: Firewall;
  readonly out?: string;
}

const HELP = `
Without --out the files are printed one after the other, each after a line with its name, and the private key is left out.

On the router, with strongSwan: copy DIR to /etc; /etc/ike-telescope-network up; then start the daemon, or
"swanctl --load-all". docs/stock-routers.md has more.`;

export function relayConfigCommand(): Command {
  return new Command('relay-config')
    .description('print the configuration of a router that is a relay without this software')
    .addOption(new Option('--for <daemon>', 'what runs on it').choices(DAEMONS).makeOptionMandatory())
    .requiredOption('--config <file>', 'relay.yaml, as for "relay"')
    .addOption(
      new Option('--firewall <kind>', 'what it filters packets with').choices(FIREWALLS).default('nftables'),
    )
    .option('--out <dir>', 'write the files into this directory, as they belong into /etc')
    .addHelpText('after', HELP)
    .action(({ for: daemon, config, firewall, out }: RelayConfigOptions) => {
      const files = relayKit(loadRelayConfig(config, defaultProvider()), { daemon, firewall, where: config });
      if (out === undefined) process.stdout.write(files.map(printed).join('\n'));
      else for (const file of files) write(out, file);
    });
}

function printed({ path, text }: KitFile): string {
  const isSecret = text.includes('PRIVATE KEY');
  return `# ==== /etc/${path}\n${isSecret ? '# the key of relay.yaml, as PKCS #8; --out writes it\n' : text}`;
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
