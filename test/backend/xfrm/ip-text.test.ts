import { describe, expect, it } from 'vitest';
import { parseEvent, parseStates, requestLine } from '../../../src/backend/xfrm/ip-text.ts';
import type { XfrmState } from '../../../src/backend/xfrm/model.ts';

/** What `ip -s xfrm state` of iproute2 6.1.0 prints: an SA of ours, one in transport mode, and one that the kernel waits for. */
const PRINTED = `src 192.0.2.77 dst 192.0.2.2
\tproto esp spi 0x8a3393e3(2318636003) reqid 2801795074(0xa7000002) mode tunnel
\treplay-window 0 seq 0x00000000 flag noecn af-unspec esnextra_flag dont-encap-dscp (0x10100001)
\tmark 0xa7000001/0xffffffff 
\taead rfc4106(gcm(aes)) 0x0707070707070707070707070707070707070707 (160 bits) 128
\tencap type espinudp sport 4501 dport 4500 addr 0.0.0.0
\tanti-replay esn context:
\t seq-hi 0x1, seq 0x5, oseq-hi 0x0, oseq 0x0
\t replay_window 64, bitmap-length 2
\t 0000001f 80000000 
\tlifetime config:
\t  limit: soft 1000(bytes), hard (INF)(bytes)
\t  limit: soft (INF)(packets), hard 40(packets)
\t  expire add: soft 0(sec), hard 5700(sec)
\t  expire use: soft 0(sec), hard 0(sec)
\tlifetime current:
\t  84(bytes), 2(packets)
\t  add 2026-11-22 22:54:03 use -
\tstats:
\t  replay-window 1 replay 2 failed 3
src 192.0.2.1 dst 192.0.2.2
\tproto esp spi 0x00000064(100) reqid 0(0x00000000) mode transport
\treplay-window 0 seq 0x00000000 flag  (0x00000000)
\taead rfc4106(gcm(aes)) 0x0707070707070707070707070707070707070707 (160 bits) 128
\tlifetime current:
\t  0(bytes), 0(packets)
src 192.0.2.2 dst 192.0.2.77
\tproto esp spi 0x00000384(900) reqid 2801795074(0xa7000002) mode tunnel
\treplay-window 0 seq 0x00000000 flag  (0x00000000)
\tmark 0xa7000001/0xffffffff 
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
\tlifetime config:
\t  expire add: soft 0(sec), hard 30(sec)
`;

const state: XfrmState = {
  source: '192.0.2.77',
  destination: '192.0.2.2',
  spi: 2318636003,
  reqid: 2801795074,
  mark: 0xa7000001,
  algorithms: { aead: 'rfc4106(gcm(aes))', key: new Uint8Array(20).fill(7), icvLength: 128 },
  replay: { extended: true, sent: 0, received: 2 ** 32 + 5, window: 64, bitmap: [0x1f, 0x80000000] },
  limits: { softOctets: 1000, hardPackets: 40 },
  lifetime: 5700,
  encapsulation: { sourcePort: 4501, destinationPort: 4500 },
};

describe('what ip prints', () => {
  it('of ESP SAs in tunnel mode is all there is, but for their keys', () => {
    const { algorithms: _, ...told } = state;
    expect(parseStates(PRINTED)).toEqual([{ ...told, octets: 84, packets: 2, replayed: 3, badIcv: 3 }]);
  });

  it('of events is where a peer has moved, or that something has expired', () => {
    const text =
      'Mapping change 192.0.2.1:4500 -> 192.0.2.77:31000\n\tdst 192.0.2.2  reqid 0xa7000002 protocol esp  SPI 0x8a3393e3\n';
    expect(parseEvent(text)).toEqual({
      kind: 'moved',
      id: { destination: '192.0.2.2', spi: 2318636003 },
      reqid: 2801795074,
      address: '192.0.2.77',
      port: 31000,
    });
    expect(parseEvent('Expired src 192.0.2.1 dst 192.0.2.2\n\tproto esp')).toEqual({ kind: 'lost' });
    expect(parseEvent('Updated src 192.0.2.1 dst 192.0.2.2\n\tproto esp')).toBeUndefined();
  });
});

describe('what ip is told', () => {
  it('of a replay window has all of it count as received, since it cannot be told which packets were', () => {
    const line = requestLine({ kind: 'add-state', state });
    expect(line).toContain('replay-window 64 replay-seq 69 replay-seq-hi 1');
    expect(line).toContain(' limit packet-hard 40 limit time-hard 5700 ');
    const fresh = requestLine({
      kind: 'add-state',
      state: { ...state, replay: { ...state.replay, received: 0 } },
    });
    expect(fresh).not.toContain('replay-seq ');
  });
});
