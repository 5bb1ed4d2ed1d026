// Ways to break the code, one by one: in `file`, where it is there once, `find` becomes `replace`; a test that cites `cites`
// has to fail of it. What is cited: fixtures/wire-rules.json. Read by scripts/test-mutate.mjs.

/** @type {readonly { cites: string, file: string, find: string, replace: string }[]} */
export const mutations = [
  // Messages and windows.
  { cites: 'rule 2', file: 'src/ike/window.ts', find: 'this.#messageId++;', replace: '' },
  {
    cites: 'rule 2',
    file: 'src/ike/message-stream.ts',
    find: 'header.messageId !== this.#outgoing.messageId ||',
    replace: '',
  },
  {
    cites: 'rule 3',
    file: 'src/ike/message-stream.ts',
    find: 'const { timer, message, exchangeType } = outstanding;',
    replace:
      'const { timer, exchangeType } = outstanding; const message = outstanding.message.with(-1, timer.sends);',
  },
  {
    cites: 'rule 3',
    file: 'src/ike/message-stream.ts',
    find: 'this.#outbox.transmit(arrival.response, origin);',
    replace: 'this.#outbox.transmit(arrival.response.with(-1, 0), origin);',
  },
  {
    cites: 'rule 4',
    file: 'src/ike/message-stream.ts',
    find: "arrival.kind === 'repeated' && arrival.response",
    replace: "arrival.kind !== 'repeated' && arrival.response",
  },
  {
    cites: 'bad input 4',
    file: 'src/ike/window.ts',
    find: 'equalBytes(last.digest, this.#digest(message))',
    replace: 'true',
  },
  {
    cites: 'rule 7',
    file: 'src/ike/message-stream.ts',
    find: "if (arrival.kind !== 'new' ||",
    replace: "if (arrival.kind === 'repeated' ||",
  },
  // Authentication.
  {
    cites: 'rule 27',
    file: 'src/ike/auth.ts',
    find: 'return concat(message, nonce,',
    replace: 'return concat(nonce, message,',
  },
  {
    cites: 'rule 35',
    file: 'src/ike/procedures/ike-auth.ts',
    find: '  NotifyType.INVALID_SYNTAX,\n  NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,\n];',
    replace: '];',
  },
  {
    cites: 'rule 35',
    file: 'src/ike/ike-sa.ts',
    find: 'const isFatal = !this.#sa.established ||',
    replace: 'const isFatal =',
  },
  // The syntax of payloads.
  {
    cites: 'rule 43',
    file: 'src/ike/payload/index.ts',
    find: '.u8(critical ? 0x80 : 0)',
    replace: '.u8(0x80)',
  },
  {
    cites: 'rule 43',
    file: 'src/ike/message.ts',
    find: "if (payload.kind !== 'UNKNOWN' || !payload.critical) continue;",
    replace: 'continue;',
  },
  {
    cites: 'rule 44',
    file: 'src/ike/payload/authentication.ts',
    find: 'out.u8(payload.method).zeros(3)',
    replace: 'out.u8(payload.method).u8(1).zeros(2)',
  },
  {
    cites: 'rule 44',
    file: 'src/ike/payload/configuration.ts',
    find: 'body.u16() & 0x7fff',
    replace: 'body.u16()',
  },
  { cites: 'rule 45', file: 'src/ike/proposal.ts', find: 'number: index + 1', replace: 'number: index' },
  {
    cites: 'rule 45',
    file: 'src/ike/payload/sa.ts',
    find: 'proposal.number <= (proposals',
    replace: 'proposal.number < (proposals',
  },
  {
    cites: 'rule 48',
    file: 'src/ike/proposal.ts',
    find: 'canBeNone && theirs.length === 0)',
    replace: 'canBeNone)',
  },
  {
    cites: 'rule 50',
    file: 'src/ike/proposal.ts',
    find: '!mandatory.includes(type) && !optional.includes(type)',
    replace: 'type === 0',
  },
  {
    cites: 'rule 51',
    file: 'src/ike/payloads.ts',
    find: 'payload.type === type,',
    replace: 'payload.type === type && payload.spi.length === 0,',
  },
  {
    cites: 'rule 52',
    file: 'src/ike/procedures/delete.ts',
    find: 'encodeSpi(child.spiIn)',
    replace: 'encodeSpi(child.spiOut)',
  },
  {
    cites: 'rule 53',
    file: 'src/ike/payload/nonce.ts',
    find: 'data.length < 16',
    replace: 'data.length < 15',
  },
  {
    cites: 'rule 53',
    file: 'src/ike/key-agreement.ts',
    find: 'outputLength / 2',
    replace: 'outputLength / 4',
  },
  {
    cites: 'rule 54',
    file: 'src/ike/message.ts',
    find: 'text.length - 1 - text[text.length - 1];',
    replace: 'text.length - 1 - (text[text.length - 1] & 15);',
  },
  {
    cites: 'rule 55',
    file: 'src/ike/message.ts',
    find: 'aad: message.subarray(0, ivStart)',
    replace: 'aad: message.subarray(0, ivStart - 4)',
  },
  {
    cites: 'rule 56',
    file: 'src/ike/payload/notify.ts',
    find: 'payload.type < 16384',
    replace: 'payload.type < 100',
  },
  {
    cites: 'rule 57',
    file: 'src/ike/payload/traffic-selectors.ts',
    find: ' && !(startPort === 65535 && endPort === 0)',
    replace: '',
  },
  {
    cites: 'bad input 7',
    file: 'src/ike/payload/traffic-selectors.ts',
    find: '  rest.expectEnd();',
    replace: '',
  },
  {
    cites: 'rule 58',
    file: 'src/cp/configuration.ts',
    find: '[INTERNAL_IP6_ADDRESS]: 17',
    replace: '[INTERNAL_IP6_ADDRESS]: 16',
  },
  {
    cites: 'rule 58',
    file: 'src/ike/procedures/ike-auth.ts',
    find: 'NotifyType.FAILED_CP_REQUIRED',
    replace: 'NotifyType.INVALID_SYNTAX',
  },
  {
    cites: 'bad input 12',
    file: 'src/cp/configuration.ts',
    find: 'type === wanted && hasSoundLength(type, value)',
    replace: 'type === wanted',
  },
  {
    cites: 'rule 60',
    file: 'src/ike/message.ts',
    find: 'header.length !== bytes.length',
    replace: 'header.length > bytes.length',
  },
  {
    cites: 'bad input 14',
    file: 'src/ike/message.ts',
    find: '    if (header.flags.response) return discard(reason);\n    const data',
    replace: '    const data',
  },
  {
    cites: 'bad input 15',
    file: 'src/ike/payload/delete.ts',
    find: 'if (spiSize !== expected)',
    replace: 'if (spiSize > 100)',
  },
  {
    cites: 'bad input 18',
    file: 'src/ike/message.ts',
    find: 'if (end < 0)',
    replace: 'if (end < -1000)',
  },
  {
    cites: 'bad input 20',
    file: 'src/cp/address-pool.ts',
    find: '    this.#resting.delete(index);\n    this.#taken.add(index);',
    replace: '    this.#resting.delete(index);',
  },
  // ESP.
  {
    cites: 'rule 83',
    file: 'src/esp/sa.ts',
    find: 'const sequence = ++this.#sequence;',
    replace: 'const sequence = this.#sequence++;',
  },
  {
    cites: 'rule 85',
    file: 'src/esp/overhead.ts',
    find: 'return Math.max(4, blockLength);',
    replace: 'return blockLength;',
  },
  {
    cites: 'rule 85',
    file: 'src/esp/sa.ts',
    find: 'buffer[i] !== i - innerEnd + 1',
    replace: 'buffer[i] > 255',
  },
  {
    cites: 'rule 86',
    file: 'src/esp/sa.ts',
    find: 'if (nextHeader === NextHeader.NONE) return FAILED.dummy;',
    replace: '',
  },
  {
    cites: 'rule 87',
    file: 'src/esp/replay-window.ts',
    find: 'REPLAY_WINDOW = 1024',
    replace: 'REPLAY_WINDOW = 32',
  },
  {
    cites: 'rule 87',
    file: 'src/esp/sa.ts',
    find: 'if (sequence === undefined) return FAILED.replayed;',
    replace: 'if (sequence === undefined) return FAILED.replayed;\n    this.#window.advance(sequence);',
  },
  {
    cites: 'rule 90',
    file: 'src/backend/userspace/tunnel.ts',
    find: "!selectorsCover(this.policy.remote, packet.buffer, header, 'source') ||",
    replace: '',
  },
  {
    cites: 'rule 91',
    file: 'src/esp/overhead.ts',
    find: '(outer.encapsulated ? UDP_HEADER : 0)',
    replace: '0',
  },
  // Hints.
  {
    cites: 'rule 92',
    file: 'src/ike/message-stream.ts',
    find: 'established ? undefined : refusalHint(bytes)',
    replace: 'refusalHint(bytes)',
  },
  {
    cites: 'rule 92',
    file: 'src/ike/ike-sa.ts',
    find: ' || now - this.#hintedLivenessAt < HINTED_LIVENESS_INTERVAL',
    replace: '',
  },
];
