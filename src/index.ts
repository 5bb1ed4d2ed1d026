export { dryRun, type DryRun } from './backend/dry-run.ts';
export { userSpaceBackend } from './backend/userspace/backend.ts';
export { defaultProvider } from './crypto/default.ts';
export { nobleProvider } from './crypto/noble.ts';
export { nodeProvider } from './crypto/node.ts';
export type { CryptoProvider } from './crypto/provider.ts';
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
export type { Backend, BackendFactory, Tunnel, TunnelPolicy } from './link/sa-store.ts';
export { TelescopeError } from './telescope/errors.ts';
export type { RelayTarget } from './telescope/relay-target.ts';
export { extend, type Hop, openTelescope, type Telescope, type TelescopeOptions } from './telescope/telescope.ts';
export { openUdp, type TelescopeUdp } from './telescope/udp.ts';
