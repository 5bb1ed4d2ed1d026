// A SOCKS 5 client, as a process: PORT connect|early|hold|udp HOST PORT TEXT [USER]. Prints what comes back, or "reply N" if it is
// refused. `early` sends the text before the answer, `hold` says that it is connected and stays.
import { createSocket } from 'node:dgram';
import { connect, isIPv4 } from 'node:net';

const [proxy, command, host, port, text, user = ''] = process.argv.slice(2);
const number = (value) => [value >> 8, value & 255];
const name = (value) => [value.length, ...Buffer.from(value)];
const target = [
  ...(isIPv4(host) ? [1, ...host.split('.').map(Number)] : [3, ...name(host)]),
  ...number(Number(port)),
];

const socket = connect({ host: '127.0.0.1', port: Number(proxy), allowHalfOpen: true });
let octets = Buffer.alloc(0);
let wake = () => {};
socket.on('data', (more) => {
  octets = Buffer.concat([octets, more]);
  wake();
});
socket.on('end', () => wake());
const take = async (length) => {
  while (octets.length < length) {
    if (socket.readableEnded) throw new Error(`ended after ${octets.length} octets`);
    await new Promise((resolve) => {
      wake = resolve;
    });
  }
  const taken = octets.subarray(0, length);
  octets = octets.subarray(length);
  return taken;
};

socket.write(Buffer.from([5, 1, user ? 2 : 0]));
await take(2);
if (user) {
  socket.write(Buffer.from([1, ...name(user), ...name('password')]));
  await take(2);
}
socket.write(
  Buffer.from([5, command === 'udp' ? 3 : 1, 0, ...(command === 'udp' ? [1, 0, 0, 0, 0, 0, 0] : target)]),
);
if (command === 'early') {
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.end(text);
}
const reply = await take(10);
if (reply[1] !== 0) {
  process.stdout.write(`reply ${reply[1]}`);
  process.exit(0);
}
if (command === 'udp') {
  const udp = createSocket('udp4');
  udp.on('message', (message) => {
    process.stdout.write(message.subarray(10));
    process.exit(0);
  });
  const datagram = Buffer.from([0, 0, 0, ...target, ...Buffer.from(text)]);
  setInterval(() => udp.send(datagram, reply.readUInt16BE(8), '127.0.0.1'), 200);
} else if (command === 'hold') {
  process.stdout.write('connected');
} else {
  // What the server sends after we have ended is read all the same.
  if (command === 'connect') socket.end(text);
  while (!socket.readableEnded) {
    await new Promise((resolve) => {
      wake = resolve;
    });
  }
  process.stdout.write(octets);
  process.exit(0);
}
