import { anyAddress } from '../../../src/wire/address.ts';
import type { Connection, Proof } from './daemon.ts';
import { HALF_OPEN } from './half-open.ts';
import type { Section } from './vici.ts';

/** What the connection and its Child SA are called in the daemon. */
export const CONNECTION = 'interop';

/** The order matters in one place: the first of two that install SAs is the one that does. */
const PLUGINS = [
  ...[
    'random',
    'nonce',
    'openssl',
    'ml',
    'aes',
    'sha1',
    'sha2',
    'md5',
    'hmac',
    'kdf',
    'mgf1',
    'gcm',
    'ccm',
    'ctr',
  ],
  ...[
    'xcbc',
    'cmac',
    'chapoly',
    'curve25519',
    'gmp',
    'pem',
    'pkcs1',
    'pkcs8',
    'pubkey',
    'x509',
    'constraints',
  ],
  ...['kernel-libipsec', 'kernel-netlink', 'socket-default', 'resolve', 'vici'],
];

/** Its own packets carry this mark, and no packet with it is sent through a tunnel. */
const MARK = '0x42';

/** strongswan.conf: what is not of one connection but of the whole daemon. `socket`: where it is told what to do. */
export function daemonConfig(connection: Connection, socket: string): string {
  const { cookies, fragmentSize } = connection;
  return `
charon {
  load = ${PLUGINS.join(' ')}
  plugins {
    vici { socket = unix://${socket} }
    kernel-libipsec {
      load = yes
      allow_peer_ts = yes
      raw_esp = yes
    }
    kernel-netlink { fwmark = !${MARK} }
    socket-default { fwmark = ${MARK} }
    resolve { file = /run/resolv.conf }
  }
  retransmit_timeout = 1
  retransmit_base = 1.4
  retransmit_tries = 5
  keep_alive = 5
  rsa_pss = yes
  make_before_break = yes
  half_open_timeout = 600
  ${cookies ? 'cookie_threshold = 1' : ''}
  ${fragmentSize === undefined ? '' : `fragment_size = ${fragmentSize}`}
}
charon-systemd {
  journal { default = -1 }
  filelog { stderr { default = 1 } }
}
`;
}

/** A request of VICI and its message. */
export type Request = readonly [name: string, message: Section];

/** What tells the daemon of a connection: keys and pools, then the connection, which needs them. */
export function connectionRequests(connection: Connection): readonly Request[] {
  const { local, remote, pools = [], dns = [] } = connection;
  return [
    ...secrets(connection),
    ...keys(local),
    ...authorities(local, remote),
    ...pools.map(
      (addrs, i): Request => [
        'load-pool',
        { [pool(i)]: { addrs, ...(i === 0 && dns.length > 0 && { dns }) } },
      ],
    ),
    ...(connection.cookies ? [HALF_OPEN_CONNECTION] : []),
    ['load-conn', { [CONNECTION]: connectionSection(connection) }],
  ];
}

const HALF_OPEN_CONNECTION: Request = [
  'load-conn',
  {
    'half-open': {
      version: '2',
      local_addrs: [HALF_OPEN.address],
      remote_addrs: [HALF_OPEN.address],
      proposals: [HALF_OPEN.proposal],
      local: { auth: 'psk' },
      remote: { auth: 'psk' },
    },
  },
];

function connectionSection(connection: Connection): Section {
  const { here, there, local, remote, suites, pools = [], requests = [], ppk } = connection;
  return {
    version: '2',
    local_addrs: [here],
    remote_addrs: [there],
    proposals: suites.ike.split(','),
    unique: 'never',
    mobike: yesNo(connection.mobike),
    fragmentation: 'yes',
    childless: connection.childless ? 'force' : 'allow',
    send_cert: local.kind === 'certificate' ? 'always' : 'ifasked',
    ...(connection.dpdDelay && { dpd_delay: `${connection.dpdDelay}s` }),
    rekey_time: '0',
    reauth_time: '0',
    pools: pools.map((_, i) => pool(i)),
    vips: requests.map(anyAddress),
    ...(ppk && { ppk_id: ppk.id, ppk_required: yesNo(ppk.required) }),
    local: proofSection(local, 'local'),
    remote: proofSection(remote, 'remote'),
    children: {
      [CONNECTION]: {
        esp_proposals: suites.esp.split(','),
        local_ts: selectors(connection.localTs),
        remote_ts: selectors(connection.remoteTs),
        mode: 'tunnel',
        rekey_time: '0',
        life_time: '0',
        start_action: 'none',
        close_action: 'none',
        dpd_action: 'clear',
      },
    },
  };
}

function proofSection(proof: Proof, whose: 'local' | 'remote'): Section {
  switch (proof.kind) {
    case 'psk':
      return { auth: 'psk', id: proof.identity };
    case 'raw':
      return { auth: 'pubkey', id: proof.identity, pubkeys: [proof.key.publicKey] };
    case 'certificate': {
      const { certificates = [] } = proof.key;
      const id = { auth: 'pubkey', id: proof.identity };
      if (whose === 'local') return { ...id, certs: certificates.slice(0, 1) };
      return { ...id, cacerts: certificates.slice(-1) };
    }
    case 'null':
      return { auth: 'null' };
  }
}

function secrets({ local, remote, ppk }: Connection): readonly Request[] {
  const shared = [local, remote].flatMap((proof): Request[] =>
    proof.kind === 'psk'
      ? [['load-shared', { type: 'IKE', data: proof.secret, owners: [proof.identity] }]]
      : [],
  );
  const mixed: Request[] = ppk ? [['load-shared', { type: 'PPK', data: ppk.secret, owners: [ppk.id] }]] : [];
  return [...shared, ...mixed];
}

function keys(local: Proof): readonly Request[] {
  return 'key' in local ? [['load-key', { type: 'any', data: local.key.privateKey }]] : [];
}

/** Those whom the daemon trusts, and those that it shows to be trusted itself. */
function authorities(local: Proof, remote: Proof): readonly Request[] {
  const own = local.kind === 'certificate' ? (local.key.certificates ?? []).slice(1) : [];
  const trusted = remote.kind === 'certificate' ? (remote.key.certificates ?? []).slice(-1) : [];
  return [...own, ...trusted].map((data) => ['load-cert', { type: 'X509', flag: 'CA', data }]);
}

function pool(index: number): string {
  return `pool${index}`;
}

function selectors(ts: Connection['localTs']): readonly string[] {
  return ts === 'dynamic' ? [ts] : ts;
}

function yesNo(value: boolean | undefined): string {
  return value ? 'yes' : 'no';
}
