import type { SaLimits } from '../../link/sa-store.ts';
import type { Address, Prefix } from '../../wire/address.ts';

/** What the kernel's IPsec calls SAs (states) and policies, as far as ESP in tunnel mode has it. */

/** Restricts what meets a state or policy; absent: nothing does. */
export interface XfrmScope {
  /** Packets with this mark (all 32 bits), as those have that go through a VTI device of this key. */
  readonly mark?: number;
  /** Packets of the XFRM interface with this number. */
  readonly interfaceId?: number;
}

/** What tells one state from another. */
export interface XfrmStateId extends XfrmScope {
  readonly destination: Address;
  readonly spi: number;
}

/** A cipher and its key, by the kernel's names. `icvLength` is in bits. */
export type XfrmAlgorithms =
  | { readonly aead: string; readonly key: Uint8Array; readonly icvLength: number }
  | {
      readonly cipher: string;
      readonly key: Uint8Array;
      readonly authentication: string;
      readonly authenticationKey: Uint8Array;
      readonly icvLength: number;
    };

/** Sequence numbers: the last that was sent, the highest that was received, and which of the `window` below that were. */
export interface XfrmReplay {
  readonly extended: boolean;
  readonly sent: number;
  readonly received: number;
  readonly window: number;
  /** `window` bits in 32-bit words; absent: none but `received`. */
  readonly bitmap?: readonly number[];
}

/** An ESP SA in tunnel mode, for inner packets of either family. */
export interface XfrmState extends XfrmStateId {
  readonly source: Address;
  readonly reqid: number;
  readonly algorithms: XfrmAlgorithms;
  readonly replay: XfrmReplay;
  /** In octets and packets, from now on. */
  readonly limits: SaLimits;
  /** Seconds until it is gone. Absent: it stays. */
  readonly lifetime?: number;
  /** ESP in UDP (RFC 3948), with the ports that its packets have. */
  readonly encapsulation?: { readonly sourcePort: number; readonly destinationPort: number };
}

/** What a state has carried, in inner packets and their octets, and refused. */
export interface XfrmUse {
  readonly octets: number;
  readonly packets: number;
  readonly replayed: number;
  readonly badIcv: number;
}

/** A state as the kernel tells of it: it may keep the keys to itself. */
export interface InstalledState extends Omit<XfrmState, 'algorithms'>, XfrmUse {}

/** What the kernel tells of a state that has reached a limit. */
export interface ExpiredState extends XfrmStateId, XfrmUse {
  readonly reqid: number;
}

/** Ports whose bits under `mask` are those of `port`: 0xffff is one port, 0 is every port. */
export interface PortMask {
  readonly port: number;
  readonly mask: number;
}

/** Which inner packets a policy is for. */
export interface XfrmSelector {
  readonly source: Prefix;
  readonly destination: Prefix;
  /** 0 is any. */
  readonly protocol: number;
  readonly sourcePorts: PortMask;
  readonly destinationPorts: PortMask;
}

/** Packets to local sockets, forwarded ones, and those that leave. */
export type XfrmDirection = 'in' | 'fwd' | 'out';

/** What tells one policy from another. */
export interface XfrmPolicyId extends XfrmScope {
  readonly direction: XfrmDirection;
  readonly selector: XfrmSelector;
}

/** The SA that a packet comes on, or is to leave on. */
export interface XfrmTemplate {
  readonly reqid: number;
  /** Outer addresses; absent: any of IPv4. */
  readonly path?: { readonly source: Address; readonly destination: Address };
  /** 0 is any. */
  readonly spi: number;
  /** A packet may also come without. */
  readonly optional?: true;
}

export interface XfrmPolicy extends XfrmPolicyId {
  /** A block policy's template is only looked at to know whose it is. */
  readonly action: 'allow' | 'block';
  /** Lower numbers come first. */
  readonly priority: number;
  readonly template: XfrmTemplate;
}

/** A change to what the kernel has. Deleting what is not there succeeds. */
export type XfrmRequest =
  | { readonly kind: 'add-state'; readonly state: XfrmState }
  | { readonly kind: 'delete-state'; readonly id: XfrmStateId }
  | { readonly kind: 'add-policy'; readonly policy: XfrmPolicy }
  /** Adds it, or replaces the one that has its selector and scope. */
  | { readonly kind: 'update-policy'; readonly policy: XfrmPolicy }
  | { readonly kind: 'delete-policy'; readonly id: XfrmPolicyId };

/** What the kernel tells of states, its own and those of others. */
export type XfrmEvent =
  /** It has reached a limit; past a hard one it is gone. */
  | { readonly kind: 'expired'; readonly hard: boolean; readonly state: ExpiredState }
  /** Packets in UDP come from another address or port. */
  | {
      readonly kind: 'moved';
      readonly id: { readonly destination: Address; readonly spi: number };
      readonly reqid: number;
      readonly address: Address;
      readonly port: number;
    }
  /** Events were lost: look for yourself. */
  | { readonly kind: 'lost' };
