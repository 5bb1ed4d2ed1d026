/**
 * Anonymous paths out of standard IPsec: `openTelescope` builds one over a `Link`, `Relay` serves them, `Endpoint` is
 * IKEv2 for anything else.
 * @module ike-telescope
 */

export { type DryRun, dryRun } from './backend/dry-run.ts';
export { userSpaceBackend } from './backend/userspace/backend.ts';
export { XfrmError } from './backend/xfrm/channel.ts';
export type { BackendChoice } from './client/kernel-support.ts';
export { openHost, type TelescopeHost, type TelescopeNamespace } from './client/open-host.ts';
export { defaultProvider } from './crypto/default.ts';
export { nobleProvider } from './crypto/noble.ts';
export { nodeProvider } from './crypto/node.ts';
export type { CryptoProvider, SigningKey } from './crypto/provider.ts';
export {
  parseDescriptor,
  type RelayDescriptor,
  type RelayStatement,
  signDescriptor,
} from './descriptor/descriptor.ts';
export { DescriptorError } from './descriptor/document.ts';
export type { PathRelay } from './descriptor/path.ts';
export { readPath } from './descriptor/path-file.ts';
export { RelayDirectory } from './descriptor/relay-directory.ts';
export { fixedRelaySet, type RefuseAt, type RelaySet } from './descriptor/relay-set.ts';
export type { ChildTunnel, IkeConnection } from './endpoint/connection.ts';
export { Endpoint, type EndpointOptions, type Handshakes, type Listener } from './endpoint/endpoint.ts';
export type { SourceLimits } from './endpoint/half-open.ts';
export type { Ending } from './endpoint/session.ts';
export { systemClock } from './endpoint/system-clock.ts';
export type { AddressKey } from './forward/address-key.ts';
export { DropReason } from './forward/drop-reason.ts';
export { type Exit, ExitError, type ReturnHandler } from './forward/exit.ts';
export type { ExitPolicy, ExitRule } from './forward/exit-policy.ts';
export { CommandError } from './host/command.ts';
export type { InitiatorConfig, ResponderConfig, ResponderProfile } from './ike/config.ts';
export {
  AuthenticationError,
  IkeError,
  LocalError,
  NoAnswerError,
  ProtocolError,
  RefusedError,
} from './ike/errors.ts';
export type { Clock, Millis } from './link/clock.ts';
export { type Attachment, type Link, LinkError, type LinkHandlers, type Origin } from './link/link.ts';
export { type Packet, packetBytes, packetFrom } from './link/packet.ts';
export type {
  AssignedAddresses,
  Backend,
  BackendFactory,
  EspSuite,
  SaEvent,
  SaLimits,
  SaMoved,
  SaOperation,
  SaParameters,
  SaResult,
  SaStore,
  SaUsed,
  Tunnel,
  TunnelHandler,
  TunnelPolicy,
} from './link/sa-store.ts';
export { NativeError } from './native/native.ts';
export { loadRelayConfig, type RelayBackend, type RelayConfig } from './relay/config.ts';
export { ConfigError } from './relay/config-document.ts';
export type { Drops } from './relay/data-plane.ts';
export type { ExitConfig } from './relay/exit-config.ts';
export { encodeKeyFile } from './relay/key-file.ts';
export { Relay, type RelayOptions, type RelayState } from './relay/relay.ts';
export type { HostLinks } from './relay/relay-link.ts';
export { ReloadError } from './relay/reload.ts';
export type { Carried, Traffic } from './relay/tunnel-sums.ts';
export type { UserSpaceParts } from './relay/user-space-plane.ts';
export type { Random } from './select/draw.ts';
export type { ExitNeed } from './select/exit-need.ts';
export { choosePath, type PathWish, SelectionError } from './select/paths.ts';
export { type TelescopeBackend, userSpaceHops } from './telescope/backend.ts';
export { TelescopeError } from './telescope/errors.ts';
export { entryAddress, type RelayTarget } from './telescope/relay-target.ts';
export {
  extend,
  type Hop,
  openTelescope,
  type Telescope,
  type TelescopeOptions,
} from './telescope/telescope.ts';
export { openUdp, type TelescopeUdp } from './telescope/udp.ts';
export { HostLink, type HostLinkCounters, type HostLinkOptions } from './transport/host-link.ts';
export { openHostLink } from './transport/open-host-link.ts';
export { type Address, type Family, type Prefix, parseAddress, parsePrefix } from './wire/address.ts';
export type { RandomSource } from './wire/bytes.ts';
export {
  addressSelector,
  anySelector,
  prefixSelector,
  type TrafficSelector,
} from './wire/traffic-selector.ts';
