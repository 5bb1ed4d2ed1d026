import type { Native } from '../native/native.ts';
import type { WatchPackets } from './outer-headers.ts';

const ETHERNET_HEADER = 14;
const ETHERTYPES_IP = [0x0800, 0x86dd];

/** The IP packets of an interface, in both directions. @throws NativeError */
export function watchInterface(native: Native, name: string): WatchPackets {
  const socket = native.openCapture(name);
  return (handler) => {
    socket.start(({ bytes }) => {
      // Interfaces without link-layer headers, such as TUN devices, have the packet alone.
      const etherType = (bytes[12] << 8) | bytes[13];
      handler(ETHERTYPES_IP.includes(etherType) ? bytes.subarray(ETHERNET_HEADER) : bytes);
    });
    return () => socket.close();
  };
}
