import { generateKeyPairSync } from 'node:crypto';
import { connectNamespaces, openNamespace } from '../../../src/host/namespace.ts';
import { udpIn } from '../../support/namespaces.ts';
import type { Connection, KeyFiles } from './daemon.ts';
import { installStrongswan } from './strongswan.ts';

const [versionR = 'strongswan-5.9', versionI = versionR, suites = '{}', more = '{}'] = process.argv.slice(2);
const t0 = Date.now();
const lap = (what: string) => console.log(`${((Date.now() - t0) / 1000).toFixed(2)} s ${what}`);
const r = await installStrongswan(versionR as 'strongswan-5.9');
const i = await installStrongswan(versionI as 'strongswan-5.9');
lap(`${r.version} <- ${i.version}`);
const a = await openNamespace();
const b = await openNamespace();
await connectNamespaces(a, b, { aName: 'v', bName: 'v' });
await a.exec(['ip', 'address', 'add', '192.0.2.1/24', 'dev', 'v']);
await b.exec(['ip', 'address', 'add', '192.0.2.2/24', 'dev', 'v']);
await b.exec(['ip', 'address', 'add', '10.77.0.1/32', 'dev', 'lo']);
const pair = generateKeyPairSync('ed25519');
const key: KeyFiles = {
  type: 'ed25519',
  privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string,
};
const client = { kind: 'psk', identity: 'keyid:anonymous', secret: 'anonymous' } as const;
const relay = { kind: 'raw', identity: 'relay', key } as const;
const common = { suites: { ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16', ...JSON.parse(suites) } };
const responder: Connection = {
  ...common,
  role: 'responder',
  here: '192.0.2.2',
  there: 'any',
  local: relay,
  remote: client,
  localTs: ['0.0.0.0/0'],
  remoteTs: 'dynamic',
  pools: ['10.78.0.0/24'],
  dns: ['10.77.0.53'],
  ...JSON.parse(more),
};
const initiator: Connection = {
  ...common,
  role: 'initiator',
  here: '192.0.2.1',
  there: '192.0.2.2',
  local: client,
  remote: relay,
  localTs: [],
  remoteTs: ['10.77.0.0/24'],
  requests: [4],
  ...JSON.parse(more),
};
const echo = async () => {
  const ss = udpIn(b, '0.0.0.0', 7000);
  const cc = udpIn(a, '0.0.0.0', 0);
  for (let n = 0; n < 3; n++) {
    cc.send(new Uint8Array(1300), '10.77.0.1', 7000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const source = (await a.exec(['ip', '-br', '-4', 'a'])).stdout.match(/10\.78\.\d+\.\d+/)?.[0];
    if (source && ss.received.length) ss.send(new Uint8Array(1200), source, cc.port);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  console.log(`echo: ${ss.received.length} there, ${cc.received.length} back`);
  ss.close();
  cc.close();
};
const dr = await r.start(b, responder);
lap('responder runs');
const di = await i.start(a, initiator);
lap('initiator runs');
try {
  await di.initiate();
  lap('initiated');
  await echo();
  await di.rekey('child');
  await new Promise((resolve) => setTimeout(resolve, 500));
  await dr.rekey('ike');
  await new Promise((resolve) => setTimeout(resolve, 500));
  await echo();
  console.dir(await di.sas(), { depth: 9 });
  console.dir(await dr.sas(), { depth: 9 });
  await di.terminate('child');
  await dr.terminate('ike');
  console.dir(await dr.sas(), { depth: 9 });
} catch (error) {
  console.log(error);
  console.log(await dr.log());
}
if (process.env.LOG) console.log(await di.log(), '=======\n', await dr.log());
await a.close();
await b.close();
lap('closed');
process.exit();
