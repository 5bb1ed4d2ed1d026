/**
 * Anonymous paths out of standard IPsec: `openTelescope` builds one over a `Link`, `Relay` serves them, `Endpoint` is
 * IKEv2 for anything else.
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
export { parseDescriptor, type RelayDescriptor, signDescriptor } from './descriptor/descriptor.ts';
export { DescriptorError } from './descriptor/document.ts';
export type { PathRelay } from './descriptor/path.ts';
export { readPath } from './descriptor/path-file.ts';
export type { IkeConnection } from './endpoint/connection.ts';
export { Endpoint, type EndpointOptions, type Listener } from './endpoint/endpoint.ts';
export { systemClock } from './endpoint/system-clock.ts';
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
  SaOperation,
  SaParameters,
  SaResult,
  Tunnel,
  TunnelPolicy,
} from './link/sa-store.ts';
export { loadRelayConfig, type RelayConfig } from './relay/config.ts';
export { ConfigError } from './relay/config-document.ts';
export { Relay, type RelayOptions, type RelayState } from './relay/relay.ts';
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
export { HostLink, type HostLinkOptions } from './transport/host-link.ts';
export { openHostLink } from './transport/open-host-link.ts';
