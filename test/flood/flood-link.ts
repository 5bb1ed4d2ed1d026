import type { Attachment, Link, LinkHandlers, Origin } from '../../src/link/link.ts';

const SERVER = { address: '192.0.2.1', port: 500 } as const;

/** The responder's link: the flood puts datagrams into it and sees every answer. */
export class FloodLink implements Link {
  readonly id = 'flood';
  readonly mtu = 1500;
  #handlers: LinkHandlers | undefined;
  #onAnswer: (message: Uint8Array, to: Origin) => void = () => {};
  readonly #clients = new Map<string, ClientLink>();

  /** Of what is sent to nobody who is attached. */
  onAnswer(handler: (message: Uint8Array, to: Origin) => void): void {
    this.#onAnswer = handler;
  }

  origin(address: string): Origin {
    return originOf({ address });
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    this.#handlers = handlers;
    return {
      sendIke: (message, to) => {
        const client = this.#clients.get(to.address);
        if (client === undefined) this.#onAnswer(message, to);
        else client.deliver(message);
      },
      sendEsp: () => {},
      close: async () => {},
    };
  }

  deliver(message: Uint8Array, origin: Origin): void {
    this.#handlers?.ike(message, origin);
  }

  /** An honest client's way to the responder. */
  client(source: Source): ClientLink {
    const link = new ClientLink((message) => this.deliver(message, originOf(source)), source.address);
    this.#clients.set(source.address, link);
    return link;
  }
}

/** Where a datagram claims to come from. */
export type Source = Pick<Origin, 'address' | 'overlayPeer'>;

/** What the responder sees of a source. */
export function originOf(source: Source): Origin {
  return {
    linkId: 'flood',
    ...source,
    port: 500,
    localAddress: SERVER.address,
    localPort: SERVER.port,
    encapsulated: false,
  };
}

/** Each datagram waits for its turn among those of the flood. */
class ClientLink implements Link {
  readonly id = 'client';
  readonly mtu = 1500;
  readonly #send: (message: Uint8Array) => void;
  readonly #address: string;
  #handlers: LinkHandlers | undefined;

  constructor(send: (message: Uint8Array) => void, address: string) {
    this.#send = send;
    this.#address = address;
  }

  origin(): Origin {
    const { address, port } = SERVER;
    return {
      linkId: this.id,
      address,
      port,
      localAddress: this.#address,
      localPort: 500,
      encapsulated: false,
    };
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    this.#handlers = handlers;
    return {
      sendIke: (message) => void setImmediate(() => this.#send(message)),
      sendEsp: () => {},
      close: async () => {},
    };
  }

  deliver(message: Uint8Array): void {
    setImmediate(() => this.#handlers?.ike(message, this.origin()));
  }
}
