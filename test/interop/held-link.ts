import type { Attachment, Link, LinkHandlers, Origin } from '../../src/link/link.ts';
import type { Address } from '../../src/wire/address.ts';

/** A link whose IKE messages can be held back, so that those of both ends cross. */
export class HeldLink implements Link {
  readonly #link: Link;
  #held: (() => void)[] | undefined;

  constructor(link: Link) {
    this.#link = link;
  }

  get id(): string {
    return this.#link.id;
  }

  get mtu(): number {
    return this.#link.mtu;
  }

  origin(address: Address, encapsulated: boolean): Origin {
    return this.#link.origin(address, encapsulated);
  }

  async attach(handlers: LinkHandlers): Promise<Attachment> {
    const attachment = await this.#link.attach(handlers);
    return {
      ...attachment,
      sendIke: (message, to) => {
        if (this.#held === undefined) attachment.sendIke(message, to);
        else this.#held.push(() => attachment.sendIke(message, to));
      },
    };
  }

  onMoved(handler: () => void): () => void {
    return this.#link.onMoved?.(handler) ?? (() => {});
  }

  hold(): void {
    this.#held ??= [];
  }

  /** Sends what was held back, in order. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const send of held) send();
  }
}
