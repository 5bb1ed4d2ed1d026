/*
 * The process inside a telescope's namespaces, started by launcher.ts. It is their init: when it ends, however that
 * comes about, the kernel ends every process in them and takes the TUN device away.
 */
import { type FlowHandle, type Orders, serve } from './inside.ts';
import { type ClientEvent, type ExtendOrder, type FlowOrder, parseOrder } from './protocol.ts';

// The terminal sends these to us too; what follows from them is the launcher's to say.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => {});

let written = Promise.resolve();
const orders = receiveOrders();
report({ event: 'ready' });
await serve(orders, report);
await written;
process.exit(0);

/** Messages are written in order, so all have been when the last one has. */
function report(event: ClientEvent): void {
  if (!process.connected) return;
  written = new Promise((resolve) => {
    process.send!(event, undefined, undefined, () => resolve());
  });
}

function receiveOrders(): Orders {
  const close = new AbortController();
  const closeNow = new AbortController();
  const asked = new Error('closing was asked for');
  let extend!: (order: ExtendOrder) => void;
  let run!: (command: readonly string[]) => void;
  const early: [FlowOrder, FlowHandle][] = [];
  let take = (order: FlowOrder, handle: FlowHandle): void => {
    early.push([order, handle]);
  };
  const orders: Orders = {
    extend: new Promise((resolve, reject) => {
      extend = resolve;
      close.signal.addEventListener('abort', () => reject(asked), { once: true });
    }),
    run: new Promise((resolve) => {
      run = resolve;
    }),
    takeFlows(taker) {
      take = taker;
      for (const [order, handle] of early.splice(0)) take(order, handle);
    },
    close: close.signal,
    closeNow: closeNow.signal,
  };
  process.on('message', (message, handle) => {
    const order = parseOrder(message);
    switch (order.type) {
      case 'extend':
        return extend(order);
      case 'run':
        return run(order.command);
      case 'connect':
      case 'associate-socket':
      case 'associate':
        return take(order, handle as FlowHandle);
      case 'close':
        if (close.signal.aborted) closeNow.abort();
        return close.abort(asked);
    }
  });
  // The launcher is gone, perhaps killed: nobody is left to ask.
  process.on('disconnect', () => {
    close.abort(asked);
    closeNow.abort();
  });
  return orders;
}
