import { ipChannel } from '../../../src/backend/xfrm/ip-channel.ts';
import type { XfrmPolicy, XfrmRequest, XfrmState } from '../../../src/backend/xfrm/model.ts';
import { openXfrm, type XfrmOptions } from '../../../src/backend/xfrm/xfrm.ts';
import { CommandError, run } from '../../../src/host/command.ts';
import { openNamespace } from '../../../src/host/namespace.ts';
import { loadNative } from '../../../src/native/load.ts';
import { parsePrefix } from '../../../src/wire/address.ts';
import { CheckError } from '../checks.ts';
import type { PlainScenario } from '../scenarios.ts';

/** What vitest tells of tests. */
interface TestReport {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    /** Why none of its tests could be run. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** Tests of the kernel backend that a kernel without ESP cannot run (*.guest.ts). */
export const backend: PlainScenario = {
  title: 'the kernel backend does what every backend does, and how long it takes the kernel',
  async run() {
    return {
      'tests passed': await passedTests(),
      'us per hop by netlink': await microsecondsPerHop(500),
      'us per hop by ip': await microsecondsPerHop(50, ipChannel),
    };
  },
};

/** How many. @throws CheckError with what those that failed say */
async function passedTests(): Promise<number> {
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'vitest.guest.config.ts'];
  const { stdout } = await run([process.execPath, ...vitest, '--reporter=json']).catch((error) => {
    if (error instanceof CommandError && error.stdout.includes('{"num')) return error;
    throw error;
  });
  const { numPassedTests, testResults }: TestReport = JSON.parse(stdout.slice(stdout.indexOf('{"num')));
  const failures = testResults.flatMap(({ name, message, assertionResults }) => [
    ...(message === '' ? [] : [`${name}: ${message}`]),
    ...assertionResults
      .filter(({ status }) => status !== 'passed')
      .map(({ fullName, status, failureMessages }) =>
        [`${fullName}: ${status}`, ...failureMessages].join('\n'),
      ),
  ]);
  if (numPassedTests === 0 || failures.length > 0)
    throw new CheckError(`${numPassedTests} tests passed, others did not:\n${failures.join('\n')}`);
  return numPassedTests;
}

/** What it takes to install what a hop has: two SAs and three policies. The first hops are not counted. */
async function microsecondsPerHop(hops: number, channel?: XfrmOptions['channel']): Promise<number> {
  const loaded = loadNative();
  if ('unavailable' in loaded) throw new Error(loaded.unavailable);
  const namespace = await openNamespace();
  const options = { native: loaded.native, namespace: namespace.file, ...(channel && { channel }) };
  const xfrm = await openXfrm(options);
  try {
    let started = 0;
    for (let hop = -10; hop < hops; hop++) {
      if (hop === 0) started = performance.now();
      const failure = await xfrm.channel.apply(hopRequests(xfrm.allocate(), hop + 10));
      if (failure !== undefined) throw new Error(failure.error);
    }
    return Math.round(((performance.now() - started) * 1000) / hops);
  } finally {
    await xfrm.close();
    await namespace.close();
  }
}

function hopRequests(reqid: number, hop: number): readonly XfrmRequest[] {
  const [self, peer] = ['192.0.2.1', '192.0.2.2'];
  const state = (source: string, destination: string): XfrmState => ({
    source,
    destination,
    spi: 1000 + hop,
    reqid,
    mark: reqid,
    algorithms: { aead: 'rfc4106(gcm(aes))', key: new Uint8Array(20).fill(hop), icvLength: 128 },
    replay: { extended: false, sent: 0, received: 0, window: 1024 },
    limits: {},
  });
  const any = { port: 0, mask: 0 };
  const policy = (direction: XfrmPolicy['direction'], source: string, destination: string): XfrmPolicy => ({
    direction,
    selector: {
      source: parsePrefix(source),
      destination: parsePrefix(destination),
      protocol: 0,
      sourcePorts: any,
      destinationPorts: any,
    },
    mark: reqid,
    action: 'allow',
    priority: 1000,
    template: { reqid, spi: 0, path: { source: self, destination: peer } },
  });
  const [assigned, everywhere] = [`10.${hop >> 8}.${hop & 255}.1/32`, '0.0.0.0/0'];
  return [
    { kind: 'add-state', state: state(peer, self) },
    { kind: 'add-state', state: state(self, peer) },
    { kind: 'add-policy', policy: policy('in', everywhere, assigned) },
    { kind: 'add-policy', policy: policy('fwd', everywhere, assigned) },
    { kind: 'add-policy', policy: policy('out', assigned, everywhere) },
  ];
}
